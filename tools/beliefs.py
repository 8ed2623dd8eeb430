"""Ask a teacher once what it believes of every photograph, for a student whose machine is too slow to ask at every step.

    python -m tools.beliefs --teacher runs/TEACHER --photos PHOTOS.tar [MORE.tar ...] --out FOLDER

One file for each source, written whole; sources that have one are skipped. 24,000 photographs take 3 GB.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional

from edgecolor._color import BIN_COUNT
from tools.data import BELIEF_STRIDE, Array, Photo, read_photos
from tools.network import STRIDE
from tools.teacher import read_believer

SHORT, LONG = 160, (160, 208, 240)
"""Pixels along a photograph's sides when it is shown; of the long one, the nearest."""

Ask = Callable[[Array], Array]
"""(N, 4, H, W) float32 planes to (N, 128, H/8, W/8) probabilities."""


def shown_at(photo: Photo) -> tuple[int, int]:
    """Height and width at which a photograph is shown to the teacher."""
    height, width = photo.shape[:2]
    long = min(LONG, key=lambda side: abs(side - SHORT * max(height, width) / min(height, width)))
    return (SHORT, long) if width >= height else (long, SHORT)


def believed(photos: list[Photo], ask: Ask, batch: int = 8) -> list[Array]:
    """(h, w, 128) float16 probabilities of each photograph, those of one shape asked of together."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        groups[shown_at(photo)].append(index)
    found: dict[int, Array] = {}
    start = time.monotonic()
    for size, members in groups.items():
        for first in range(0, len(members), batch):
            chosen = members[first : first + batch]
            planes = np.zeros((batch, 4, *size), np.float32)
            for place, index in enumerate(chosen):
                planes[place, 0] = _lightness(photos[index], size)
            for index, answer in zip(chosen, ask(planes), strict=False):
                found[index] = np.ascontiguousarray(answer.transpose(1, 2, 0)).astype(np.float16)
        print(f"{len(found)} of {len(photos)}, {len(found) / (time.monotonic() - start):.1f}/s", flush=True)
    return [found[index] for index in range(len(photos))]


def _lightness(photo: Photo, size: tuple[int, int]) -> Array:
    rgb = cv2.resize(photo, size[::-1], interpolation=cv2.INTER_AREA)
    lab: Array = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return lab[..., 0]


def asked(run: Path) -> Ask:
    """A teacher of a training run, in bfloat16."""
    teacher = read_believer(run).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def ask(planes: Array) -> Array:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits, _ = teacher(torch.from_numpy(planes).contiguous(memory_format=torch.channels_last))
            return functional.avg_pool2d(torch.softmax(logits.float(), 1), BELIEF_STRIDE // STRIDE).numpy()

    return ask


def write_beliefs(path: Path, beliefs: list[Array]) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial.npz")
    shapes = np.array([belief.shape[:2] for belief in beliefs])
    np.savez(partial, shapes=shapes, codes=np.concatenate([belief.reshape(-1, BIN_COUNT) for belief in beliefs]))
    partial.replace(path)


def read_beliefs(folder: Path, sources: list[Path], count: int) -> list[Array]:
    """Of the photographs of the sources, in their order."""
    beliefs: list[Any] = []
    for source in sources:
        with np.load(folder / f"{source.stem}.npz") as file:
            shapes, codes = file["shapes"], file["codes"]
        parts = np.split(codes, np.cumsum(shapes.prod(1))[:-1])
        beliefs += [part.reshape(*shape, BIN_COUNT) for part, shape in zip(parts, shapes, strict=True)]
    if len(beliefs) != count:
        raise SystemExit(f"{folder} tells of {len(beliefs)} photographs, and these are {count}: write it again")
    return beliefs


def main(arguments: list[str] | None = None) -> None:
    """Look at every source that has no file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the teacher's run")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="tar files or folders of photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--limit", type=int, default=None, help="photographs to take from each source (default all)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    ask = asked(options.teacher)
    for source in options.photos:
        path = options.out / f"{source.stem}.npz"
        if not path.exists():
            write_beliefs(path, believed(list(read_photos(source, options.limit).values()), ask))


if __name__ == "__main__":
    main()
