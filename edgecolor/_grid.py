"""Where the analysis grid and its tiles lie, the small picture on which colours are decided, and which way is up."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

STEP = 32
"""The network halves its input five times."""

CELL = 4
"""Grid pixels per side of a cell of the network's answer."""

OVERLAP = 0.25
"""Of a tile's side, at least, that it shares with the next one."""

_ROUNDNESS = 1.1
"""Of the weights of a tile: 1 is a roof, 2 is about a bell."""

_SIDE_MAX = 32 * STEP


@cache
def grid_size(height: int, width: int, area: int) -> tuple[int, int]:
    """Height and width of the grid for a picture of any size, each a multiple of 32.

    Of all grids of about ``area`` pixels, of which each model has its own number, the one whose aspect is nearest to the
    picture's, so that nothing is squashed: within 8 % anywhere up to 3:1, exact at 1:1. Beyond 32:1 no grid is that thin and
    the picture is widened.
    """
    aspect = math.log(width / height)
    best, best_cost = (STEP, STEP), math.inf
    for rows in range(STEP, _SIDE_MAX + 1, STEP):
        for columns in range(STEP, _SIDE_MAX + 1, STEP):
            stretch = abs(math.log(columns / rows) - aspect)
            growth = abs(math.log(rows * columns / area))
            cost = stretch + 0.15 * growth
            if growth <= math.log(1.5) and cost < best_cost:
                best, best_cost = (rows, columns), cost
    return best


def tile_starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along one side of a grid, evenly spaced on whole cells, the last one ending where the grid ends."""
    count = max(1, math.ceil((length / tile - OVERLAP) / (1 - OVERLAP)))
    return [round((length - tile) * index / max(1, count - 1) / CELL) * CELL for index in range(count)]


def tile_weights(height: int, width: int) -> Array:
    """(height, width) of a tile in the mean of all that overlap: almost a roof, so that each passes evenly into the next.

    A bell changes faster in between, which shows where tiles disagree; a roof has bends, which show at its border. How much
    chroma changes at borders over how much elsewhere, in crowds at detail 4: 0.955 to 0.987 with a bell, 0.999 to 1.022 with a
    roof, 0.987 to 1.013 with these.
    """
    down, across = ((1 - np.abs(2 * (np.arange(side) + 0.5) / side - 1)) ** _ROUNDNESS for side in (height, width))
    return np.outer(down, across)


def upright(stored: Array, orientation: int) -> Array:
    """(H, W, ...) as it lies in a file, turned to stand upright.

    Args:
        stored: Any picture, grid or mask.
        orientation: 1 to 8, as EXIF numbers it.
    """
    if orientation >= 5:
        stored = stored.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        stored = stored[:, ::-1]
    if orientation in (3, 4, 7, 8):
        stored = stored[::-1]
    return np.ascontiguousarray(stored)


def laid(standing: Array, orientation: int) -> Array:
    """The inverse of :func:`upright`: as it lies in the file."""
    return upright(standing, {6: 8, 8: 6}.get(orientation, orientation))
