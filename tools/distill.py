r"""Train a network that ships on what the teacher believes, and on the truth.

    python -m tools.distill --teacher runs/LITE --photos PHOTOS.tar [MORE.tar ...] --validate VAL.tar --run runs/NAME \
        [--size-of tiny] [--begin runs/EARLIER]
    python -m tools.distill --teacher runs/TEACHER --features FOLDER ...

The teacher sees every photograph clean and whole; the student sees a crop of it, sometimes as old film would show it, and is
to believe the same. Where hints are given, which the teacher is not told of, the truth alone counts. The teacher is a run
of the network that ships, or, with what ``tools.features`` wrote, one of ``tools.train --role teacher``; then the student also
learns to understand what the teacher's eyes understand. Otherwise as ``tools.train``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecolor._color import BIN_COUNT
from edgecolor._grid import grid_size
from tools.data import BELIEF_STRIDE, TOKEN_STRIDE, Array, Batch, Kind, Photo, Seen
from tools.network import STRIDE, ColorNet, expected_ab, photographs_seen, read_network, slim
from tools.teacher import Teacher, read_teacher
from tools.tokens import DETAIL, Tokens
from tools.train import Run, distance, doubt, fit, new_student, options_parser, read_data, soft_labels
from tools.vision import FEATURES


class Distillation:
    """The losses of a student, and what they need."""

    def __init__(self, student: ColorNet, trust: float, understanding: float) -> None:
        """Trust: the teacher's share beside the truth's. Understanding: weight of the features."""
        self.reader = nn.Conv2d(student.encoder.channels[TOKEN_STRIDE], FEATURES, 1)
        self.trust, self.understanding = trust, understanding

    def __call__(self, net: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
        """As ``Losses``."""
        assert isinstance(net, ColorNet)
        assert batch.belief is not None
        planes, target, belief = (torch.from_numpy(array).to(device) for array in (batch.planes, batch.target, batch.belief))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            features = net.see(planes.contiguous(memory_format=torch.channels_last))
            logits, sure = net.paint(features, planes)
        logits, sure = logits.float(), sure.float()
        trust = self.trust * torch.from_numpy(~batch.hinted).to(logits).view(-1, 1, 1)
        truth = ((1 - trust) * distance(logits, soft_labels(target[:, 1:]), target[:, 1:])).mean()
        taught = (trust * self._disagreement(logits, belief)).mean()
        confidence = doubt(logits, sure, target)
        total = truth + taught + 0.5 * confidence
        parts = {"truth": truth, "taught": taught, "confidence": confidence}
        if batch.tokens is not None:
            read = self.reader(features[TOKEN_STRIDE].float())
            parts["understood"] = 1 - functional.cosine_similarity(read, torch.from_numpy(batch.tokens).to(device), 1).mean()
            total = total + self.understanding * parts["understood"]
        return {"total": total, **parts}

    def _disagreement(self, logits: Tensor, belief: Tensor) -> Tensor:
        """``distance`` where the teacher's cells are."""
        return distance(_averaged(logits).log(), torch.softmax(belief, 1), expected_ab(belief))


@torch.no_grad()
def believed(teacher: Teacher, photos: list[Photo], seen: list[Seen], batch: int = 32) -> list[Seen]:
    """With the teacher's logits for every token of every photograph, those of one shape together."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, one in enumerate(seen):
        assert one.tokens is not None
        groups[one.tokens.codes.shape[:2]].append(index)
    found: dict[int, Tokens] = {}
    for shape, members in groups.items():
        for first in range(0, len(members), batch):
            chosen = members[first : first + batch]
            lightness = np.stack([_lightness(photos[index], (shape[0] * DETAIL, shape[1] * DETAIL)) for index in chosen])
            known = [tokens for index in chosen if (tokens := seen[index].tokens)]
            features = np.stack([tokens.codes * tokens.scale for tokens in known])
            with torch.autocast("cpu", torch.bfloat16):
                logits, _ = teacher.answer(torch.from_numpy(lightness), torch.from_numpy(features).permute(0, 3, 1, 2))
            for index, codes in zip(chosen, logits.permute(0, 2, 3, 1).to(torch.float16).numpy(), strict=True):
                found[index] = Tokens(codes.copy(), np.ones(1, np.float32))
    return [replace(one, belief=found[index]) for index, one in enumerate(seen)]


@torch.no_grad()
def believed_alike(teacher: ColorNet, photos: list[Photo], keep: Path | None = None, batch: int = 16) -> list[Seen]:
    """The same of a teacher of the student's own kind, on the grid the library would take; its cells are averaged.

    ``keep`` is a file that what was found is written to, whole, and read from the next time.
    """
    sizes = [grid_size(*photo.shape[:2]) for photo in photos]
    shapes = [(height // BELIEF_STRIDE, width // BELIEF_STRIDE) for height, width in sizes]
    starts = np.cumsum([0, *(rows * columns for rows, columns in shapes)])
    codes: Any
    if keep and keep.exists():
        codes = np.load(keep)
        if codes.shape != (starts[-1], BIN_COUNT):
            raise SystemExit(f"{keep} holds {codes.shape[0]} cells, and these photographs have {starts[-1]}: remove it")
    else:
        codes = np.empty((starts[-1], BIN_COUNT), np.float16)
        groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, size in enumerate(sizes):
            groups[size].append(index)
        for size, members in groups.items():
            for first in range(0, len(members), batch):
                chosen = members[first : first + batch]
                planes = np.zeros((len(chosen), 4, *size), np.float32)
                planes[:, 0] = [_lightness(photos[index], size) for index in chosen]
                logits, _ = teacher(torch.from_numpy(planes).contiguous(memory_format=torch.channels_last))
                answers = _averaged(logits).log().permute(0, 2, 3, 1).flatten(1, 2).to(torch.float16).numpy()
                for index, answer in zip(chosen, answers, strict=True):
                    codes[starts[index] : starts[index + 1]] = answer
        if keep:
            partial = keep.with_suffix(".partial.npy")
            np.save(partial, codes)
            partial.replace(keep)
    one = np.ones(1, np.float32)
    return [
        Seen(belief=Tokens(codes[first:last].reshape(*shape, BIN_COUNT), one))
        for shape, first, last in zip(shapes, starts[:-1], starts[1:], strict=True)
    ]


def _averaged(logits: Tensor) -> Tensor:
    """Probabilities where the teacher's cells are, from logits where the student's are, which are smaller."""
    return functional.avg_pool2d(torch.softmax(logits, 1), BELIEF_STRIDE // STRIDE).clamp_min(1e-7)


def _lightness(photo: Photo, size: tuple[int, int]) -> Array:
    rgb = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    lab: Array = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return lab[..., 0]


def begun(options: argparse.Namespace) -> tuple[ColorNet, int]:
    """The student as it stands before its first step, and how many photographs made it so."""
    net = new_student(options.size_of, options.freeze)
    if options.begin:
        earlier = read_network(options.begin)
        if earlier.size == net.size:
            net.load_state_dict(earlier.state_dict())
        else:
            slim(earlier, net)
        return net, photographs_seen(options.begin)
    return net, 0


def main(arguments: list[str] | None = None) -> None:
    """Read the photographs and what the teacher sees of them, then train from where the run stands."""
    parser = options_parser(__doc__)
    parser.add_argument(
        "--teacher", type=Path, required=True, help="folder of the teacher's run; with --features, of one trained on them"
    )
    parser.add_argument(
        "--begin",
        type=Path,
        help="folder of a run to begin with, of the same size or of a larger one (default: ImageNet's weights)",
    )
    parser.add_argument("--beliefs", type=Path, help="file to keep what such a teacher believes in, for the next start (.npy)")
    parser.add_argument("--trust", type=float, default=0.7, help="in the teacher, beside the truth (default %(default)s)")
    parser.add_argument("--understanding", type=float, default=1.0, help="weight of its features (default %(default)s)")
    options = parser.parse_args(arguments)
    teacher: Teacher | ColorNet
    if options.features:
        teacher = read_teacher(options.teacher)
    else:
        try:
            teacher = read_network(options.teacher)
        except RuntimeError:
            parser.error(f"{options.teacher} is no run of the network that ships; if it is a teacher's, --features is needed")
    options.run.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    net, seen_before = begun(options)
    losses = Distillation(net, options.trust, options.understanding)
    run = Run(options, net, losses.reader, seen_before)
    data = read_data(options, Kind(options.size))
    if isinstance(teacher, Teacher):
        assert data.seen is not None
        seen = believed(teacher, data.photos, data.seen)
    else:
        seen = believed_alike(teacher, data.photos, options.beliefs)
    print("the teacher has looked at all of them", flush=True)
    fit(run, replace(data, seen=seen), losses)


if __name__ == "__main__":
    main()
