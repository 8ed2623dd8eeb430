r"""Train a network that ships on what the teacher believes, and on the truth.

    python -m tools.distill --teacher runs/TEACHER --features FOLDER --photos PHOTOS.tar [MORE.tar ...] \
        --validate VAL.tar --run runs/NAME [--size-of tiny] [--begin runs/EARLIER]

The teacher sees every photograph clean and whole; the student sees a crop of it, sometimes as old film would show it, and is
to believe the same. It also learns to understand what the teacher's eyes understand. Where hints are given, which the
teacher does not know of, the truth alone counts. Otherwise as ``tools.train``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

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
        assert batch.tokens is not None
        assert batch.belief is not None
        planes, target, tokens, belief = (
            torch.from_numpy(array).to(device) for array in (batch.planes, batch.target, batch.tokens, batch.belief)
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            features = net.see(planes.contiguous(memory_format=torch.channels_last))
            logits, sure = net.paint(features, planes)
            read = self.reader(features[TOKEN_STRIDE])
        logits, sure = logits.float(), sure.float()
        trust = self.trust * torch.from_numpy(~batch.hinted).to(logits).view(-1, 1, 1)
        truth = ((1 - trust) * distance(logits, soft_labels(target[:, 1:]), target[:, 1:])).mean()
        taught = (trust * self._disagreement(logits, belief)).mean()
        understood = 1 - functional.cosine_similarity(read.float(), tokens, 1).mean()
        confidence = doubt(logits, sure, target)
        total = truth + taught + self.understanding * understood + 0.5 * confidence
        return {"total": total, "truth": truth, "taught": taught, "understood": understood, "confidence": confidence}

    def _disagreement(self, logits: Tensor, belief: Tensor) -> Tensor:
        """``distance`` where the teacher's cells are: the student's are smaller, and averaged."""
        likely = functional.avg_pool2d(torch.softmax(logits, 1), BELIEF_STRIDE // STRIDE)
        return distance(likely.clamp_min(1e-7).log(), torch.softmax(belief, 1), expected_ab(belief))


@torch.no_grad()
def believed(teacher: Teacher, photos: list[Photo], seen: list[Seen], batch: int = 32) -> list[Seen]:
    """With the teacher's logits for every token of every photograph, those of one shape together."""
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, one in enumerate(seen):
        groups[one.tokens.codes.shape[:2]].append(index)
    found: dict[int, Tokens] = {}
    for shape, members in groups.items():
        for first in range(0, len(members), batch):
            chosen = members[first : first + batch]
            lightness = np.stack([_lightness(photos[index], shape) for index in chosen])
            tokens = np.stack([seen[index].tokens.codes * seen[index].tokens.scale for index in chosen])
            with torch.autocast("cpu", torch.bfloat16):
                logits, _ = teacher.answer(torch.from_numpy(lightness), torch.from_numpy(tokens).permute(0, 3, 1, 2))
            for index, codes in zip(chosen, logits.permute(0, 2, 3, 1).to(torch.float16).numpy(), strict=True):
                found[index] = Tokens(codes.copy(), np.ones(1, np.float32))
    return [replace(one, belief=found[index]) for index, one in enumerate(seen)]


def _lightness(photo: Photo, shape: tuple[int, ...]) -> Array:
    rgb = cv2.resize(photo, (shape[1] * DETAIL, shape[0] * DETAIL), interpolation=cv2.INTER_AREA)
    lab: Array = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return lab[..., 0]


def begun(options: argparse.Namespace) -> tuple[ColorNet, int]:
    """The student as it stands before its first step, and how many photographs made it so."""
    net = new_student(options.size_of, options.freeze)
    if options.begin:
        earlier = read_network(options.begin)
        if options.size_of == "lite":
            net.load_state_dict(earlier.state_dict())
        else:
            slim(earlier, net)
        return net, photographs_seen(options.begin)
    return net, 0


def main(arguments: list[str] | None = None) -> None:
    """Read the photographs and what the teacher sees of them, then train from where the run stands."""
    parser = options_parser(__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the teacher's run")
    parser.add_argument(
        "--begin", type=Path, help="folder of a run of the lite network to begin with (default: ImageNet's weights)"
    )
    parser.add_argument("--trust", type=float, default=0.7, help="in the teacher, beside the truth (default %(default)s)")
    parser.add_argument("--understanding", type=float, default=1.0, help="weight of its features (default %(default)s)")
    options = parser.parse_args(arguments)
    if not options.features:
        parser.error("--features is needed: the folder that tools.features wrote")
    options.run.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    net, seen_before = begun(options)
    losses = Distillation(net, options.trust, options.understanding)
    run = Run(options, net, losses.reader, seen_before)
    data = read_data(options, Kind(options.size))
    assert data.seen is not None
    seen = believed(read_teacher(options.teacher), data.photos, data.seen)
    print("the teacher has looked at all of them", flush=True)
    fit(run, replace(data, seen=seen), losses)


if __name__ == "__main__":
    main()
