"""A picture's own lightness: checked, exact, at full size and depth.

The first step of the way. Nothing here rounds: 8- and 16-bit codes go through tables, floats through the formula.
A picture may come whole, as a :class:`Luma`, or strip by strip, each strip a Luma and their means an :class:`AreaMean`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from os import PathLike
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._color import LUMINANCE, lab_f, luminance_to_lightness, srgb_to_linear
from edgecolor._errors import ImageError

Plane = npt.NDArray[np.float32]
Picture = npt.NDArray[Any]

DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True, eq=False)
class Tone:
    """What the codes of a grey picture mean: luminance for each of 256 or 65536 codes, evenly spaced from black to white."""

    luminance: Plane
    """(n,) Y in [0, 1], rising."""
    root: Plane
    """(n,) f(Y), the CIE cube root."""

    def of(self, part: Picture) -> tuple[Plane, Plane]:
        """Y and f(Y) of grey (..., W) codes; floats in [0, 1] fall between two codes."""
        if part.dtype == np.float32:
            place = np.linspace(0, 1, len(self.luminance))
            return np.interp(part, place, self.luminance).astype(np.float32), np.interp(part, place, self.root).astype(
                np.float32
            )
        return _look_up(self.luminance, part), _look_up(self.root, part)


_FRAME_PIXELS = 1 << 21
"""Up to the size of a video frame, OpenCV's mean over areas is the faster one; it is the same."""


@dataclass(frozen=True)
class Luma:
    """The lightness of one picture, or of a strip of one, worked out a few rows at a time."""

    picture: Picture
    """(H, W) grey or (H, W, 3) sRGB; uint8, uint16 or float32 in [0, 1]; gamma-encoded."""
    tone: Tone | None = None
    """For grey, what the codes mean; by default sRGB's own curve."""
    top: int = 0
    """For a strip, the row of the picture that it begins with."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.picture.shape[0], self.picture.shape[1]

    def rows(self, start: int, stop: int) -> tuple[Plane, Plane]:
        """Y in [0, 1] and its CIE cube root f(Y) of some rows, each (stop - start, W) float32."""
        part = self.picture[start:stop]
        if part.ndim == 2 and (self.tone or part.dtype != np.float32):
            return (self.tone or srgb_tone(part.dtype.name)).of(part)
        luminance = _luminance(part)
        return luminance, lab_f(luminance).astype(np.float32)

    def at(self, points: Sequence[tuple[float, float]]) -> npt.NDArray[np.float64]:
        """(n,) L* in [0, 100] at x, y."""
        spots = [replace(self, picture=self.picture[int(y) : int(y) + 1, int(x) : int(x) + 1]) for x, y in points]
        return np.array([116 * float(spot.rows(0, 1)[1][0, 0]) - 16 for spot in spots])

    def lightness(self, height: int, width: int) -> Plane:
        """L* in [0, 100] of the picture resized to (height, width) float32; detail is averaged, never skipped."""
        if self._is_grey_frame() and height <= self.size[0] and width <= self.size[1]:
            codes = cv2.resize(self.picture.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
            return luminance_to_lightness(_luminance(codes * np.float32(1 / 255))).astype(np.float32)
        mean = AreaMean(self.size, (height, width), bands=1 if self.picture.ndim == 2 else 3)
        mean.add(0, self.picture)
        return mean.lightness(self.tone)

    def _is_grey_frame(self) -> bool:
        picture = self.picture
        return self.tone is None and picture.ndim == 2 and picture.dtype == np.uint8 and picture.size <= _FRAME_PIXELS


class AreaMean:
    """The mean of a picture's codes over each cell of a grid, gathered strip by strip. Cells may cut through pixels."""

    def __init__(self, size: tuple[int, int], grid: tuple[int, int], bands: int = 1) -> None:
        """Begin.

        Args:
            size: Height and width of the picture in pixels.
            grid: Height and width of the grid. Where it is larger than the picture, the picture is enlarged at the end.
            bands: 1 for grey, 3 for sRGB.
        """
        self._size, self._grid, self._bands = size, grid, bands
        self._cells = min(grid[0], size[0]), min(grid[1], size[1])
        self._sums = np.zeros((*self._cells, bands))

    def add(self, top: int, strip: Picture) -> None:
        """Add the rows from ``top`` on: (n, W) or (n, W, bands), uint8, uint16 or float32 in [0, 1]."""
        rows, columns = self._cells
        height, width = self._size
        first, last = top * rows // height, -(-(top + len(strip)) * rows // height)
        flat = strip.reshape(len(strip), -1)
        lines = np.empty((last - first, flat.shape[1]))
        for cell in range(first, last):
            low, high = max(cell * height / rows - top, 0), min((cell + 1) * height / rows - top, len(strip))
            lines[cell - first] = _row_sum(flat, low, high)
        if flat.dtype != np.float32:
            lines /= np.iinfo(flat.dtype).max
        self._sums[first:last] += _column_sums(lines.reshape(last - first, width, -1), columns)

    def coarser(self, factor: int) -> AreaMean:
        """The same over a grid of which every cell is ``factor`` x ``factor`` of these, for a picture that is no smaller."""
        if factor == 1:
            return self
        height, width = (side // factor for side in self._cells)
        merged = AreaMean(self._size, (height, width), self._bands)
        merged._sums = self._sums.reshape(height, factor, width, factor, self._bands).sum((1, 3))
        return merged

    def lightness(self, tone: Tone | None = None) -> Plane:
        """(h, w) float32 L* in [0, 100] of the mean codes, once all rows have been added."""
        mean: Plane = (self._sums * (self._cells[0] * self._cells[1] / (self._size[0] * self._size[1]))).astype(np.float32)
        if self._cells != self._grid:
            mean = np.reshape(cv2.resize(mean, self._grid[::-1], interpolation=cv2.INTER_CUBIC), (*self._grid, -1))
        mean = np.clip(mean, 0, 1)  # cubic interpolation overshoots
        if self._bands == 1 and tone is not None:
            return 116 * tone.of(mean[..., 0])[1] - 16
        return luminance_to_lightness(_luminance(mean if self._bands == 3 else mean[..., 0])).astype(np.float32)


def _row_sum(rows: Picture, low: float, high: float) -> npt.NDArray[np.float64]:
    """The sum of (n, W) rows from ``low`` to ``high``, of which the first and last row may be cut."""
    start, stop = int(low), min(math.ceil(high), len(rows))
    total: npt.NDArray[np.float64] = cv2.reduce(rows[start:stop], 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F)[0]
    if low > start:
        total = total - (low - start) * rows[start]
    if high < stop:
        total = total - (stop - high) * rows[stop - 1]
    return total


def _column_sums(lines: npt.NDArray[np.float64], cells: int) -> npt.NDArray[np.float64]:
    """(n, W, bands) summed over ``cells`` equal widths, which may cut through a column: (n, cells, bands)."""
    width = lines.shape[1]
    edges = np.arange(cells + 1) * (width / cells)
    column = np.minimum(edges.astype(np.intp), width - 1)
    cut = (edges - column)[:, None] * lines[:, column]
    cut[:, -1] = 0
    sums: npt.NDArray[np.float64] = np.add.reduceat(lines, column[:-1], axis=1) + cut[:, 1:] - cut[:, :-1]
    return sums


def read_luma(picture: Picture) -> Luma:
    """Check an array and take its lightness.

    Args:
        picture: (H, W), (H, W, 1) or (H, W, 3); uint8, uint16, or float32 in [0, 1]; any memory layout.

    Raises:
        ImageError: The shape, the type or a value is none of these.
    """
    try:
        array = np.asarray(picture)
    except ValueError as error:  # lists of unequal length
        raise ImageError(f"a picture must be an array: {error}") from error
    if array.dtype.kind in "OU" and array.ndim == 0:
        raise ImageError(_no_array(array.item()))
    if array.dtype.name not in DTYPES:
        remedy = "; convert it with .astype('float32'), scaled to [0, 1]" if array.dtype.kind in "biuf" else ""
        raise ImageError(f"a picture must be uint8, uint16 or float32, got dtype {array.dtype}{remedy}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        remedy = "; leave out the alpha: picture[..., :3]" if array.ndim == 3 and array.shape[2] == 4 else ""
        raise ImageError(f"a picture must have the shape (H, W), (H, W, 1) or (H, W, 3), got {array.shape}{remedy}")
    if 0 in array.shape:
        raise ImageError(f"a picture must have at least one pixel, got the shape {array.shape}")
    if array.dtype.name == "float32":
        array = _checked_floats(array)
    if array.ndim == 3 and (array.shape[2] == 1 or _is_grey(array)):
        array = array[..., 0]
    return Luma(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _no_array(given: object) -> str:
    if given is None:
        return "a picture must be an array, got None, which is what OpenCV gives for a file that it cannot read"
    if isinstance(given, str | PathLike):
        return f"a picture must be an array, got the name {str(given)!r}; read it first, or use colorizer.image(source, target)"
    return f"a picture must be an array, got {given!r}"


def _checked_floats(array: Picture) -> Picture:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("a float picture must be finite, this one holds NaN or infinity; see numpy.nan_to_num")
    if low < -1e-4 or high > 1 + 1e-4:
        raise ImageError(f"a float picture must lie in [0, 1], this one spans [{low:g}, {high:g}]; divide by its white")
    return np.clip(array, 0, 1)


def _is_grey(array: Picture) -> bool:
    red, green, blue = array[..., 0], array[..., 1], array[..., 2]
    return np.array_equal(red, green) and np.array_equal(green, blue)


def _luminance(part: Picture) -> Plane:
    """Y in [0, 1] of grey or sRGB values of any accepted type."""
    if part.dtype == np.float32:
        linear = srgb_to_linear(part.astype(np.float64)).astype(np.float32)
    else:
        linear = _look_up(srgb_tone(part.dtype.name).luminance, part)
    return linear if linear.ndim == 2 else cv2.transform(linear, LUMINANCE[None].astype(np.float32))  # type: ignore[return-value]


def _look_up(table: Plane, codes: Picture) -> Plane:
    """``table[codes]``, four times faster where OpenCV can do it."""
    return cv2.LUT(codes, table) if codes.dtype == np.uint8 else table[codes]  # type: ignore[return-value]


@cache
def srgb_tone(dtype: str) -> Tone:
    """What every code of an integer type means in sRGB."""
    codes = np.arange(np.iinfo(dtype).max + 1)
    return tone_of(srgb_to_linear(codes / codes[-1]))


def tone_of(luminance: npt.NDArray[np.floating[Any]]) -> Tone:
    """The tone of (n,) Y in [0, 1]."""
    return Tone(luminance.astype(np.float32), lab_f(luminance).astype(np.float32))
