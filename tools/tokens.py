"""How a vision transformer's tokens lie over a photograph, and the part of them that a crop shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

TOKENS_SHORT, TOKENS_LONG = 14, 21
"""Along a photograph's short side, and at most along its long side."""

DETAIL = 8
"""Pixels per side of the piece of lightness that stands beside each token."""


@dataclass(frozen=True)
class Tokens:
    """What was seen of one photograph."""

    codes: npt.NDArray[Any]
    """(h, w, n) int8 or float16."""
    scale: npt.NDArray[np.float32]
    """(n,) what 1 stands for."""

    def part(self, top: float, left: float, height: float, width: float, cells: int) -> npt.NDArray[np.float32]:
        """(n, cells, cells): a window, given as shares of the photograph's sides, interpolated linearly."""
        rows = between(self.codes.shape[0], top, height, cells)
        columns = between(self.codes.shape[1], left, width, cells)
        down, across = (slice(*np.flatnonzero(weights.any(0))[[0, -1]] + [0, 1]) for weights in (rows, columns))
        near = self.codes[down, across].astype(np.float32)
        lines = (rows[:, down] @ near.reshape(len(near), -1)).reshape(cells, *near.shape[1:])
        part: Any = np.matmul(columns[:, across], lines) * self.scale
        return np.ascontiguousarray(part.transpose(2, 0, 1))


def token_grid(size: tuple[int, int]) -> tuple[int, int]:
    """Tokens down and across for a picture of height and width ``size``."""
    share = TOKENS_SHORT / min(size)
    rows, columns = (min(TOKENS_LONG, max(TOKENS_SHORT, round(side * share))) for side in size)
    return rows, columns


def between(count: int, start: float, share: float, cells: int) -> npt.NDArray[np.float32]:
    """(cells, count) weights that interpolate ``count`` values, at their centres, at the centres of cells of a window."""
    places = np.clip((start + share * (np.arange(cells) + 0.5) / cells) * count - 0.5, 0, count - 1)
    below = np.minimum(places.astype(int), max(0, count - 2))
    weights = np.zeros((cells, count), np.float32)
    weights[np.arange(cells), below] = 1 - (places - below)
    weights[np.arange(cells), np.minimum(below + 1, count - 1)] += places - below
    return weights
