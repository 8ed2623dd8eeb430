"""A second, closer look at a picture that holds more than its analysis grid shows, such as many scenes side by side.

The grid is made finer and worked through in tiles that overlap. A tile sees what the whole could not, but not what it is a part
of; so its colours and those of the whole are averaged, each by how sure it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np

from edgecolor._errors import ImageError
from edgecolor._grid import CELL, grid_size, tile_starts, tile_weights
from edgecolor._luma import Plane

Detail = Literal["auto", 1, 2, 4]

AUTO_PIXELS = 1_000_000
"""Of a picture. In a smaller one "auto" takes no closer look: it would take longer than all the rest."""

SURENESS = 4
"""Power of the confidence by which colours are averaged. Measured: gains in crowds as with 1, costs nothing elsewhere."""


SURER = 0.03
"""By how much the mean confidence must rise for "auto" to keep a closer look. Measured on crowds and photographs of one thing:
at 0.006, one in four of the latter were looked at closer, and one came out much worse; at 0.04 most crowds of four were not."""


class Answer(NamedTuple):
    """What the network says of a grid."""

    ab: Plane
    """(h, w, 2) a*, b* of its cells."""
    confidence: Plane
    """(h, w) in [0, 1]."""
    logits: Plane | None = None
    """(h, w, bins) of their colour bins, where they were asked for."""


def check_detail(detail: Detail) -> None:
    """Refuse what is no choice of detail.

    Raises:
        ImageError: Naming the choices.
    """
    if isinstance(detail, bool) or not isinstance(detail, str | int) or detail not in get_args(Detail):
        raise ImageError(f"detail must be one of {', '.join(map(repr, get_args(Detail)))}, got {detail!r}")


def finer_grids(detail: Detail, size: tuple[int, int], area: int) -> tuple[int, ...]:
    """How many times finer per side the grids are that are to be looked at, rising; none for a picture without such detail.

    Args:
        detail: What was asked for. A picture has it as far as it has a pixel for every one of the grid.
        size: Height and width of the picture.
        area: Pixels of the analysis grid, about.
    """
    grid = grid_size(*size, area)
    held = tuple(finer for finer in (2, 4) if finer * grid[0] <= size[0] and finer * grid[1] <= size[1])
    if detail == "auto":
        return held if size[0] * size[1] >= AUTO_PIXELS else ()
    return tuple(finer for finer in held if finer <= detail)[-1:]


def look(
    judge: Callable[[Plane], Answer], planes_of: Callable[[int], Plane], finer: tuple[int, ...], detail: Detail
) -> tuple[int, Answer]:
    """Decide the colours of a picture, as a whole and more closely.

    Args:
        judge: The network: (1, 4, h, w) planes to its answer.
        planes_of: The picture's planes on the analysis grid (1), or one so many times finer.
        finer: Grids there are besides the first, rising.
        detail: "auto" goes on only as long as the answer that a closer look leads to is surer than that of the whole alone: so
            it is in crowds; in pictures of one thing a part alone is harder to understand than the whole.

    Returns:
        How many times finer than the analysis grid the chosen one is, and the answer on it.
    """
    planes = planes_of(1)
    whole = judge(planes)
    chosen = 1, whole
    for number in finer:
        both = _averaged(whole, _in_tiles(judge, planes_of(number), planes.shape[2:]))
        if detail == "auto" and both.confidence.mean() <= whole.confidence.mean() + SURER:
            break
        chosen = number, both
    return chosen


def _in_tiles(judge: Callable[[Plane], Answer], planes: Plane, tile: tuple[int, ...]) -> Answer:
    """The answers for tiles of a size, averaged where they overlap."""
    height, width = (side // CELL for side in planes.shape[2:])
    rows, columns = (side // CELL for side in tile)
    weights = tile_weights(rows, columns)[..., None].astype(np.float32)
    total, weight = np.zeros((height, width, 1), np.float32), np.zeros((height, width, 1), np.float32)
    for top in tile_starts(planes.shape[2], tile[0]):
        for left in tile_starts(planes.shape[3], tile[1]):
            part = _stacked(judge(np.ascontiguousarray(planes[:, :, top : top + tile[0], left : left + tile[1]])))
            if total.shape[2] != part.shape[2]:
                total = np.zeros((height, width, part.shape[2]), np.float32)
            place = np.s_[top // CELL : top // CELL + rows, left // CELL : left // CELL + columns]
            total[place] += weights * part
            weight[place] += weights
    total /= weight
    return _unstacked(total)


def _averaged(whole: Answer, closer: Answer) -> Answer:
    """Both on the finer grid, by their confidence."""
    size = closer.confidence.shape[::-1]
    own, near = closer.confidence, cv2.resize(whole.confidence, size, interpolation=cv2.INTER_LINEAR)
    share = (own**SURENESS / np.maximum(own**SURENESS + near**SURENESS, 1e-9)).astype(np.float32)
    ab = cv2.resize(whole.ab, size, interpolation=cv2.INTER_CUBIC)
    logits: Plane | None = None
    if whole.logits is not None and closer.logits is not None:
        first: Plane = cv2.resize(whole.logits, size, interpolation=cv2.INTER_LINEAR).astype(np.float32, copy=False)
        logits = first + share[..., None] * (closer.logits - first)
    return Answer(ab + share[..., None] * (closer.ab - ab), near + share * (own - near), logits)


def _stacked(answer: Answer) -> Plane:
    """(h, w, 3 or 3 + bins): a*, b*, confidence, and the logits if there are any."""
    return np.dstack([part for part in answer if part is not None])


def _unstacked(planes: Plane) -> Answer:
    ab, confidence = (np.ascontiguousarray(part) for part in (planes[..., :2], planes[..., 2]))
    return Answer(ab, confidence, planes[..., 3:] if planes.shape[2] > 3 else None)
