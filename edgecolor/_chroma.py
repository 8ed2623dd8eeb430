"""From the grid's chroma to the picture's colours, without touching its lightness.

Chroma is carried as a locally linear function of lightness (the guided filter of He, Sun & Tang 2010, worked out on the
small grid as in its fast variant of 2015), so colour stops where the luma has an edge. It is added in linear light as a
difference that has no luminance; where it would leave the gamut it shrinks, and the luminance still is the input's own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._color import XYZN_TO_RGB, linear_to_srgb
from edgecolor._luma import Luma, Plane

GUIDE_RADIUS = 4
"""Grid pixels on each side of the window in which chroma is taken as linear in lightness."""

GUIDE_EPSILON = 36.0
"""Variance of L* below which a window counts as flat and its chroma is only averaged."""

_STRIP_PIXELS = 1 << 16
"""Pixels worked on at once: a few planes of them stay in a core's second-level cache."""

_DARKEST_ROOT = np.float32(6 / 29)
_GAMMA_KNEE = np.float32(0.0031308)


@dataclass(frozen=True)
class ChromaField:
    """a*, b* of every pixel of a picture, as ``slope * L* + offset`` with coefficients that vary slowly over it."""

    coefficients: npt.NDArray[np.float32]
    """(h, w, 4) on the grid: slope of a*, offset of a*, slope of b*, offset of b*."""
    size: tuple[int, int]
    """Height and width of the picture in pixels."""

    def rows(self, start: int, stop: int, root: Plane) -> tuple[Plane, Plane]:
        """a*/500 and -b*/200 of some rows, the steps from f(Y) to f(X) and f(Z), each (stop - start, W) float32.

        Args:
            start: First row.
            stop: Row after the last.
            root: f(Y) of these rows, (stop - start, W).
        """
        height, width = self.size
        cell, following, way = _between(np.arange(start, stop), height, len(self._steps))
        narrow = self._steps[cell]
        narrow += way[:, None, None] * (self._steps[following] - narrow)
        slope_x, step_x, slope_z, step_z = cv2.split(cv2.resize(narrow, (width, stop - start)))
        cv2.accumulateProduct(slope_x, root, step_x)
        cv2.accumulateProduct(slope_z, root, step_z)
        return step_x, step_z  # type: ignore[return-value]

    @cached_property
    def _steps(self) -> npt.NDArray[np.float32]:
        """The coefficients for f(Y) instead of L* = 116 f(Y) - 16, and in units of f instead of a*, b*."""
        slope, offset = self.coefficients[..., 0::2], self.coefficients[..., 1::2]
        unit = np.array([1 / 500, -1 / 200], np.float32)
        return np.stack([116 * slope * unit, (offset - 16 * slope) * unit], axis=-1).reshape(*slope.shape[:2], 4)

    def at(self, x: float, y: float) -> npt.NDArray[np.float32]:
        """The four coefficients (4,) at one pixel."""
        height, width = self.size
        grid_height, grid_width = self.coefficients.shape[:2]
        row, next_row, down = _between(np.array(int(y)), height, grid_height)
        column, next_column, across = _between(np.array(int(x)), width, grid_width)
        upper, lower = self.coefficients[row], self.coefficients[next_row]
        line = upper + down * (lower - upper)
        point: npt.NDArray[np.float32] = line[column] + across * (line[next_column] - line[column])
        return point


def guide(ab: npt.NDArray[np.float32], lightness: Plane, size: tuple[int, int]) -> ChromaField:
    """Carry chroma along lightness.

    Args:
        ab: (h, w, 2) a*, b*, on the network's cells or any other small grid.
        lightness: (H, W) L* of the analysis grid.
        size: Height and width of the picture.
    """
    grid_height, grid_width = lightness.shape
    fine = cv2.resize(ab, (grid_width, grid_height), interpolation=cv2.INTER_LINEAR)
    mean_l = _blur(lightness)
    variance = _blur(lightness * lightness) - mean_l * mean_l
    planes = []
    for chroma in cv2.split(fine):
        mean = _blur(chroma)
        slope = (_blur(lightness * chroma) - mean_l * mean) / (variance + np.float32(GUIDE_EPSILON))
        planes += [_blur(slope), _blur(mean - slope * mean_l)]
    return ChromaField(np.dstack(planes), size)


def colored(luma: Luma, field: ChromaField) -> npt.NDArray[Any]:
    """(H, W, 3) sRGB in the dtype of the luma's picture, with the luma's lightness and the field's chroma."""
    out = np.empty((*luma.size, 3), luma.picture.dtype)

    def work(start: int, stop: int) -> None:
        cv2.merge(encoded_rows(luma, field, start, stop, out.dtype), out[start:stop])

    in_strips(luma.size, work)
    return out


def in_strips(size: tuple[int, int], work: Callable[[int, int], None]) -> None:
    """Call ``work(start, stop)`` for all rows of a picture of ``size``, a few rows a time, on all cores."""
    height, width = size
    count = max(1, _STRIP_PIXELS // width)
    starts = range(0, height, count)
    stops = (min(start + count, height) for start in starts)
    if len(starts) == 1:
        work(0, height)
        return
    for _ in _pool().map(work, starts, stops):
        pass


def encoded_rows(luma: Luma, field: ChromaField, start: int, stop: int, dtype: npt.DTypeLike) -> list[npt.NDArray[Any]]:
    """Gamma-encoded R, G and B planes of some rows, in gamut, with the luma's luminance, each (stop - start, W).

    Args:
        luma: The picture's lightness.
        field: Its chroma.
        start: First row.
        stop: Row after the last.
        dtype: uint8, uint16, or float32 in [0, 1].
    """
    luminance, root = luma.rows(start, stop)
    steps = field.rows(start, stop, root)
    np.clip(root, _DARKEST_ROOT, 1, out=root)  # below it the CIE curve is straight, with the slope it has there
    x, z = _cube_differences(root, steps)
    differences = [cv2.addWeighted(x, float(row[0]), z, float(row[2]), 0) for row in XYZN_TO_RGB]
    excess = _gamut_excess(luminance, differences)
    for difference in differences:
        np.divide(difference, excess, out=difference)
    encode = _ENCODERS[np.dtype(dtype).name]
    return [encode(luminance, difference) for difference in differences]


def _cube_differences(root: Plane, steps: tuple[Plane, Plane]) -> tuple[Plane, Plane]:
    """(root + step)³ - root³ in place of each step; zero where the step is zero."""
    linear = np.float32(3) * root
    square = linear * root
    for step in steps:
        inner = step + linear
        np.multiply(inner, step, out=inner)
        np.add(inner, square, out=inner)
        np.multiply(step, inner, out=step)
    return steps


def _gamut_excess(luminance: Plane, differences: list[Any]) -> Plane:
    """How many times too large the differences are for luminance + difference to lie within [0, 1]; at least 1."""
    red, green, blue = differences
    up, down = cv2.max(red, green), cv2.min(red, green)
    cv2.max(up, blue, up)
    cv2.min(down, blue, down)
    # How many times its room each side takes; at black and white there is none, and chroma goes to zero.
    room = np.float32(1 + 1e-6) - luminance
    np.divide(up, room, out=up)
    np.subtract(np.float32(-1e-12), luminance, out=room)
    np.divide(down, room, out=down)
    cv2.max(up, down, up)
    return np.clip(up, 1, np.inf, out=up)


def _encode_8(luminance: Plane, difference: Plane) -> npt.NDArray[np.uint8]:
    """Through 16 bits of linear light: there, a code is at most a twentieth of a step of the 8-bit result."""
    codes = cv2.addWeighted(luminance, 65535, difference, 65535, 0, dtype=cv2.CV_16U)
    return cv2.LUT(codes, _gamma_table())  # type: ignore[return-value]


def _encode_16(luminance: Plane, difference: Plane) -> npt.NDArray[np.uint16]:
    encoded = _encode_float(luminance, difference)
    np.multiply(encoded, np.float32(65535), out=encoded)
    np.add(encoded, np.float32(0.5), out=encoded)
    return encoded.astype(np.uint16)


def _encode_float(luminance: Plane, difference: Plane) -> Plane:
    """sRGB's curve (IEC 61966-2-1): the power above its knee, and the line, which is the lower of the two, below."""
    linear = np.add(luminance, difference, out=difference)
    np.clip(linear, 0, 1, out=linear)
    line = linear * np.float32(12.92)
    np.clip(linear, _GAMMA_KNEE, 1, out=linear)
    cv2.log(linear, linear)
    np.multiply(linear, np.float32(1 / 2.4), out=linear)
    cv2.exp(linear, linear)  # with the logarithm, half the time of the power
    np.multiply(linear, np.float32(1.055), out=linear)
    np.subtract(linear, np.float32(0.055), out=linear)
    return np.minimum(linear, line, out=linear)


_ENCODERS: dict[str, Callable[[Plane, Plane], npt.NDArray[Any]]] = {
    "uint8": _encode_8,
    "uint16": _encode_16,
    "float32": _encode_float,
}


@cache
def _gamma_table() -> npt.NDArray[np.uint8]:
    """sRGB of linear light, 16 bits to 8."""
    return np.rint(linear_to_srgb(np.arange(65536) / 65535) * 255).astype(np.uint8)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "edgecolor")


def _blur(plane: Any) -> Any:
    side = 2 * GUIDE_RADIUS + 1
    return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REPLICATE)


def _between(
    pixels: npt.NDArray[np.integer[Any]], length: int, cells: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Where pixels lie when ``cells`` are enlarged to ``length`` linearly, as cv2.resize does.

    Returns:
        The cell before each pixel, the one after it, and how far on the way from one to the other it is, [0, 1).
    """
    centre = np.clip((pixels + 0.5) * (cells / length) - 0.5, 0, cells - 1)
    cell = centre.astype(np.intp)
    return cell, np.minimum(cell + 1, cells - 1), (centre - cell).astype(np.float32)
