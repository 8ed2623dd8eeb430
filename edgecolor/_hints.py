"""What the user says about colour: hints, palettes, and how they become planes and weights.

A hint enters twice: as planes the network reads, so that what belongs to it takes the colour too, and as a pin afterwards,
so that at the point itself the colour is exactly the one asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._chroma import ChromaField
from edgecolor._color import WHITE_XYZ, FloatArray, ab_bins, compress_chroma, lab_f, rgb_to_lab
from edgecolor._errors import ImageError
from edgecolor._luma import Plane

PIN_RADIUS = 3.0
"""Deviation, in pixels of the analysis grid, of the correction that makes a hint exact."""

PINS_MAX = 2000
"""Points of all hints, those left out that lie close to the one before; more would take minutes."""

_STEP = 1.0
"""Pixels of the analysis grid from which on a stroke's points are made exact one by one."""

_AB_MAX = 1e6
"""Beyond it a colour overflows on the way."""

PALETTE_WIDTH = 8.0
"""How far, in units of CIEDE2000, a palette colour reaches among the bins."""

PALETTE_FLOOR = 0.001
"""Weight, beside 1, of a bin that the palette does not hold: what the network is sure of stays."""


@dataclass(frozen=True)
class Hint:
    """A colour at a point of a picture, or along a stroke. Its lightness is ignored: the picture keeps its own."""

    x: float
    """Pixels from the left edge, [0, width)."""
    y: float
    """Pixels from the top edge, [0, height)."""
    color: str
    """Any CSS colour: ``"#8a2f2f"``, ``"teal"``, ``"rgb(138 47 47)"``, ``"hsl(0 49% 36%)"``, ``"oklch(45% .12 25)"``."""
    radius: float | None = None
    """Of the dot or half the width of the stroke, in pixels; by default 1 % of the picture's shorter side."""
    path: tuple[tuple[float, float], ...] = ()
    """Further points (x, y) that a stroke runs through after the first."""

    def __post_init__(self) -> None:
        """A path may be any iterable: it is looked at more than once."""
        with suppress(TypeError):  # what is none is said when it is used
            object.__setattr__(self, "path", tuple(self.path))

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """All points (x, y), one for a dot."""
        return ((self.x, self.y), *self.path)


def css_ab(color: str) -> tuple[float, float]:
    """a*, b* of a CSS colour.

    Raises:
        ImageError: It is not one that can be understood.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        a, b = _chroma_of_css(color)
    if not max(abs(a), abs(b)) < _AB_MAX:
        raise ImageError(f"the colour {color!r} is not a colour anyone could see: its a*, b* are {a:g}, {b:g}")
    return a, b


def _chroma_of_css(color: str) -> tuple[float, float]:
    from tinycss2 import color4

    parsed = color4.parse_color(color) if isinstance(color, str) else None
    if not isinstance(parsed, color4.Color):
        raise ImageError(f"{color!r} is not a CSS colour; write it like 'teal', '#8a2f2f' or 'rgb(138 47 47)'")
    if parsed.alpha == 0:
        raise ImageError(f"the colour {color!r} is no colour: nothing of it can be seen")
    if parsed.space in ("lab", "lch"):
        # its white is D50, but a*, b* are relative to the white and carry over
        _, a, b = parsed.to("lab").coordinates
        return float(a), float(b)
    if parsed.space in ("srgb", "hsl", "hwb"):
        _, a, b = rgb_to_lab(np.array(parsed.to("srgb").coordinates))
        return float(a), float(b)
    if parsed.space in ("oklab", "oklch", "xyz-d65"):
        x, y, z = lab_f(np.array(parsed.to("xyz-d65").coordinates) / WHITE_XYZ)
        return float(500 * (x - y)), float(200 * (y - z))
    raise ImageError(f"the colour {color!r} is in {parsed.space}, which is not understood; write it as rgb(), lab() or oklch()")


def listed(hints: Iterable[Hint]) -> tuple[Hint, ...]:
    """Hints of any iterable, for it is looked at more than once.

    Raises:
        ImageError: It is none.
    """
    try:
        return tuple(hints)
    except TypeError as error:
        raise ImageError(f"hints must be a list of edgecolor.Hint, got {hints!r}") from error


def check_hints(hints: Sequence[Hint], size: tuple[int, int]) -> tuple[Hint, ...]:
    """The hints, none of which lies outside the picture or lacks a colour or size.

    Raises:
        ImageError: Saying which hint, and the picture's size.
    """
    height, width = size
    for x, y in hint_points(hints):
        if not (0 <= x < width and 0 <= y < height):
            raise ImageError(f"the hint at x={x:g}, y={y:g} is outside the picture of {width} by {height} pixels")
    return tuple(hints)


def hint_points(hints: Sequence[Hint]) -> tuple[tuple[float, float], ...]:
    """x, y of all points of all hints, for a picture of any size.

    Raises:
        ImageError: A hint that makes no sense on any picture.
    """
    for hint in hints:
        if not isinstance(hint, Hint):
            raise ImageError(f"hints must be edgecolor.Hint, got {hint!r}")
        _check_numbers(hint)
        css_ab(hint.color)
    return tuple(point for hint in hints for point in hint.points)


def _check_numbers(hint: Hint) -> None:
    radius = 1.0 if hint.radius is None else hint.radius
    try:
        numbers: list[Any] = [radius, *(number for x, y in hint.points for number in (x, y))]
    except (TypeError, ValueError):
        numbers = [None]
    if not all(isinstance(number, Real) for number in numbers):
        raise ImageError(f"a hint's x, y and radius must be numbers and its path pairs (x, y) of them, got {hint!r}")
    try:
        [float(number) for number in numbers]
    except OverflowError as error:
        raise ImageError(f"a hint's x, y and radius must be numbers of pixels, got {hint!r}") from error
    if not 0 < radius < np.inf:
        raise ImageError(f"a hint's radius must be above 0 pixels, got {hint.radius}")


def check_region(region: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The region itself.

    Raises:
        ImageError: It is no bool array of the picture's ``size``.
    """
    if region.shape != size or region.dtype != np.bool_:
        remedy = "; write region > 0" if region.shape == size and region.dtype.kind in "iuf" else ""
        if region.ndim == 2 and region.shape != size:
            height, width = size
            remedy = f": the picture, upright, is {width} by {height} pixels, the region {region.shape[1]} by {region.shape[0]}"
        raise ImageError(f"a region must be a bool array of shape {size}, got {region.dtype} {region.shape}{remedy}")
    return region


def hint_planes(hints: Sequence[Hint], size: tuple[int, int], grid: tuple[int, int]) -> Plane:
    """(3, h, w) float32 on the grid: a*, b* of the hints and the trust in them, 1 where there is one, else 0."""
    planes = np.zeros((3, *grid), np.float32)
    scale = np.array([grid[1] / size[1], grid[0] / size[0]])
    for hint in hints:
        # a line from a point to itself: of one point alone nothing is drawn
        spots = np.floor(np.array([*hint.points, hint.points[-1]]) * scale).astype(np.int32)
        radius = min(size) / 100 if hint.radius is None else hint.radius
        mask = np.zeros(grid, np.uint8)
        reach = min(radius * float(scale.mean()), max(grid))
        cv2.polylines(mask, [spots], isClosed=False, color=1, thickness=1 + 2 * round(reach))
        planes[:, mask == 1] = np.array([*css_ab(hint.color), 1.0], np.float32)[:, None]
    return planes


def pin(field: ChromaField, hints: Sequence[Hint], lightness: FloatArray, finer: int = 1) -> ChromaField:
    """Change the field around each hint's points so that it holds the hint's colour exactly there.

    Args:
        field: Of the whole picture.
        hints: In the picture.
        lightness: (n,) L* of the picture at all their points, one hint's after the other's.
        finer: How many times finer than the analysis grid the field's is, per side.
    """
    colors = [(hint, css_ab(hint.color)) for hint in hints]
    spots = [(x, y, *ab) for hint, ab in colors for x, y in hint.points]
    grid_height, grid_width = field.coefficients.shape[:2]
    kept = _apart(hints, (grid_height / field.size[0], grid_width / field.size[1]), _STEP * finer)
    if len(kept) > PINS_MAX:
        raise ImageError(f"the hints mark {len(kept)} places, {PINS_MAX} at most; draw fewer or shorter strokes")
    spots, lightness = [spots[number] for number in kept], lightness[kept]
    x, y = np.array([spot[:2] for spot in spots]).astype(int).T
    across, across_at = _bumps(x, grid_width, field.size[1], PIN_RADIUS * finer)
    down, down_at = _bumps(y, grid_height, field.size[0], PIN_RADIUS * finer)

    wanted = np.array([[a, b] for _, _, a, b in spots])
    at = np.array([field.at(x, y) for x, y, _, _ in spots])
    missing = wanted - (at[:, 0::2] * lightness[:, None] + at[:, 1::2])
    weights = np.linalg.lstsq(down_at * across_at, missing, rcond=1e-3)[0]

    coefficients = field.coefficients.copy()
    coefficients[..., 1::2] += np.einsum("nr,nc,nk->rck", down, across, weights, optimize=True).astype(np.float32)
    return replace(field, coefficients=coefficients)


def _apart(hints: Sequence[Hint], scale: tuple[float, float], step: float) -> list[int]:
    """Numbers, among all points, of those no nearer on the grid than ``step`` to the last one kept of the same stroke."""
    kept: list[int] = []
    number = 0
    for hint in hints:
        last: tuple[float, float] | None = None
        for x, y in hint.points:
            if last is None or np.hypot((x - last[0]) * scale[1], (y - last[1]) * scale[0]) >= step:
                kept.append(number)
                last = x, y
            number += 1
    return kept


def _bumps(pixels: npt.NDArray[np.int_], cells: int, length: int, radius: float) -> tuple[FloatArray, FloatArray]:
    """Along one side: a bell around each of n pixels, (n, cells); and all bells at each of the pixels, (n, n)."""
    place = (pixels + 0.5) * (cells / length) - 0.5
    bells: FloatArray = np.exp(-((np.arange(cells) - place[:, None]) ** 2) / (2 * radius**2))
    return bells, np.stack([np.interp(place, np.arange(cells), bell) for bell in bells], axis=1)


def palette_weights(palette: Sequence[str] | npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Factors (128,) on the colour bins that favour a palette.

    Args:
        palette: CSS colours, or a reference picture (H, W, 3) sRGB, uint8, uint16 or float32, whose colours count by area.

    Raises:
        ImageError: No colours, or an array that is not a colour picture.
    """
    if isinstance(palette, np.ndarray):
        colors, shares = _colors_of(palette)
    else:
        if not isinstance(palette, Sequence) or isinstance(palette, str) or not palette:
            raise ImageError(f"a palette is a list of CSS colours or a picture, got {palette!r}")
        colors = np.array([css_ab(color) for color in palette])
        shares = np.full(len(colors), 1 / len(colors))
    distance2 = np.square(compress_chroma(ab_bins())[:, None] - compress_chroma(colors)[None]).sum(-1)
    weights = np.exp(-distance2 / (2 * PALETTE_WIDTH**2)) @ shares
    relative: npt.NDArray[np.floating[Any]] = PALETTE_FLOOR + weights / weights.max()
    return relative.astype(np.float32)


def _colors_of(picture: npt.NDArray[Any]) -> tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.floating[Any]]]:
    if (
        picture.ndim != 3
        or picture.shape[2] != 3
        or picture.dtype.name not in ("uint8", "uint16", "float32")
        or not picture.size
    ):
        raise ImageError(f"a reference picture must be (H, W, 3) uint8, uint16 or float32, got {picture.shape} {picture.dtype}")
    if picture.dtype.name == "float32" and not (picture.min() >= -1e-4 and picture.max() <= 1 + 1e-4):
        raise ImageError(
            f"a float reference picture must be in [0, 1] without NaN, this one spans [{picture.min():g}, {picture.max():g}]"
        )
    picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
    small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float64)
    white = 1.0 if picture.dtype == np.float32 else float(np.iinfo(picture.dtype).max)
    ab = rgb_to_lab(np.clip(small / white, 0, 1)).reshape(-1, 3)[:, 1:]
    # Every colour counts with the root of its area: a small bright dress must not drown in a large sky.
    nearest = np.square(ab[:, None] - ab_bins()[None]).sum(-1).argmin(1)
    found, counts = np.unique(nearest, return_counts=True)
    return ab_bins()[found].astype(np.float64), np.sqrt(counts / counts.sum())
