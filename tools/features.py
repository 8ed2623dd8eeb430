"""What the teacher's eyes see of photographs, worked out once: they never change while the teacher learns.

    python -m tools.features --photos PHOTOS.tar [MORE.tar ...] --out FOLDER

One file for each source, written whole; sources that have one are skipped. 26,000 photographs take 5 GB.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from tools.data import Photo, read_photos
from tools.tokens import Tokens, token_grid
from tools.vision import FEATURES, PATCH, Vision, read_vision

BATCH = 16

_SPREAD = 5.0
"""Deviations of a feature that 8 bits reach."""


@dataclass(frozen=True)
class Features:
    """Of the photographs of one source, by name."""

    tokens: npt.NDArray[np.int8]
    """(all tokens, 768), row by row, photograph by photograph."""
    scale: npt.NDArray[np.float32]
    """(768,) what 1 stands for."""
    start: dict[str, int]
    shape: dict[str, tuple[int, int]]
    """Tokens down and across."""

    def of(self, name: str) -> Tokens:
        """Those of one photograph."""
        height, width = self.shape[name]
        start = self.start[name]
        return Tokens(self.tokens[start : start + height * width].reshape(height, width, FEATURES), self.scale)


def grey_of(photo: Photo, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(14 h, 14 w) in [0, 1]: what the colour photograph is without its colour."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    height, width = (PATCH * count for count in shape)
    method = cv2.INTER_AREA if height <= grey.shape[0] and width <= grey.shape[1] else cv2.INTER_CUBIC
    resized: Any = cv2.resize(grey, (width, height), interpolation=method)
    unit: npt.NDArray[np.float32] = resized.astype(np.float32) / 255
    return unit


@torch.no_grad()
def see(vision: Vision, photos: dict[str, Photo]) -> Features:
    """The features of photographs, those of one shape together."""
    groups = defaultdict(list)
    for name, photo in photos.items():
        groups[token_grid(photo.shape[:2])].append(name)
    kind = next(vision.parameters()).dtype
    found: dict[str, npt.NDArray[np.int8]] = {}
    scale: npt.NDArray[np.float32] | None = None
    start = time.monotonic()
    for shape in sorted(groups, key=lambda key: -len(groups[key])):
        names = groups[shape]
        for first in range(0, len(names), BATCH):
            chosen = names[first : first + BATCH]
            greys = np.stack([grey_of(photos[name], shape) for name in chosen])
            seen = vision(torch.from_numpy(greys).to(kind)).float().permute(0, 2, 3, 1).flatten(1, 2).numpy()
            if scale is None:
                scale = (_SPREAD * seen.std((0, 1)) / 127).astype(np.float32)
            codes = np.clip(np.rint(seen / scale), -127, 127).astype(np.int8)
            found.update(zip(chosen, codes, strict=True))
            if len(found) % (BATCH * 64) < BATCH:
                print(f"{len(found)} of {len(photos)}, {len(found) / (time.monotonic() - start):.1f} a second", flush=True)
    starts = np.cumsum([0, *(len(found[name]) for name in photos)])
    assert scale is not None
    return Features(
        tokens=np.concatenate([found[name] for name in photos]),
        scale=scale,
        start=dict(zip(photos, starts.tolist(), strict=False)),
        shape={name: token_grid(photo.shape[:2]) for name, photo in photos.items()},
    )


def write_features(features: Features, path: Path) -> None:
    """As one ``.npz``."""
    partial = path.with_suffix(".partial.npz")
    names = list(features.start)
    np.savez(
        partial,
        tokens=features.tokens,
        scale=features.scale,
        names=np.array(names),
        starts=np.array([features.start[name] for name in names]),
        shapes=np.array([features.shape[name] for name in names]),
    )
    partial.replace(path)


def read_features(path: Path) -> Features:
    """What ``write_features`` wrote."""
    with np.load(path) as held:
        names = held["names"].tolist()
        return Features(
            tokens=held["tokens"],
            scale=held["scale"],
            start=dict(zip(names, held["starts"].tolist(), strict=True)),
            shape={name: (int(h), int(w)) for name, (h, w) in zip(names, held["shapes"], strict=True)},
        )


def main(arguments: list[str] | None = None) -> None:
    """See every source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="tar files or folders of photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the features")
    parser.add_argument("--limit", type=int, default=None, help="photographs to take from each source (default all)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    vision = read_vision().to(torch.bfloat16)
    for source in options.photos:
        target = options.out / f"{source.stem}.npz"
        if not target.exists():
            print(source, flush=True)
            write_features(see(vision, read_photos(source, options.limit)), target)


if __name__ == "__main__":
    main()
