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
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._color import XYZN_TO_RGB
from edgecolor._luma import Luma, Plane

GUIDE_RADIUS = 4
"""Grid pixels on each side of the window in which chroma is taken as linear in lightness."""

GUIDE_EPSILON = 36.0
"""Variance of L* below which a window counts as flat and its chroma is only averaged."""

_STRIP_PIXELS = 1 << 16
"""Pixels worked on at once: a few planes of them stay in a core's second-level cache."""

_DARKEST_ROOT = np.float32(6 / 29)


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
        first, weights = _interpolation(start, stop, height, len(self._steps))
        part = self._steps[first : first + weights.shape[1]]
        narrow = (weights @ part.reshape(len(part), -1)).reshape(stop - start, -1, 4)
        slope_x, offset_x, slope_z, offset_z = cv2.split(cv2.resize(narrow, (width, stop - start)))
        for slope, offset in ((slope_x, offset_x), (slope_z, offset_z)):
            np.multiply(slope, root, out=slope)
            np.add(slope, offset, out=slope)
        return slope_x, slope_z  # type: ignore[return-value]

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
        column, across = _interpolation(int(x), int(x) + 1, width, grid_width)
        row, down = _interpolation(int(y), int(y) + 1, height, grid_height)
        part = self.coefficients[row : row + down.shape[1], column : column + across.shape[1]]
        return np.einsum("r,c,rck->k", down[0], across[0], part, dtype=np.float32)


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
        out[start:stop] = _encode(linear_rows(luma, field, start, stop), out.dtype)

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
    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1)) as pool:
        list(pool.map(work, starts, stops))


def linear_rows(luma: Luma, field: ChromaField, start: int, stop: int) -> list[Plane]:
    """Linear-light R, G and B planes in [0, 1] of some rows, in gamut, with exactly the luma's luminance."""
    luminance, root = luma.rows(start, stop)
    steps = field.rows(start, stop, root)
    np.maximum(root, _DARKEST_ROOT, out=root)  # below it the CIE curve is straight, with the slope it has there
    x, z = _cube_differences(root, steps)
    differences = [cv2.addWeighted(x, float(row[0]), z, float(row[2]), 0) for row in XYZN_TO_RGB]
    scale = _gamut_scale(luminance, differences)
    for difference in differences:
        np.multiply(difference, scale, out=difference)
        np.add(difference, luminance, out=difference)
        np.clip(difference, 0, 1, out=difference)
    return differences  # type: ignore[return-value]


def encode_plane(linear: Plane) -> Plane:
    """One linear-light plane in [0, 1] to gamma-encoded sRGB (IEC 61966-2-1)."""
    encoded = cv2.pow(linear, 1 / 2.4)
    np.multiply(encoded, np.float32(1.055), out=encoded)
    np.subtract(encoded, np.float32(0.055), out=encoded)
    np.copyto(encoded, linear * np.float32(12.92), where=linear <= np.float32(0.0031308))
    return encoded  # type: ignore[return-value]


def _encode(planes: list[Plane], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    encoded = [encode_plane(plane) for plane in planes]
    if dtype == np.uint8:
        return cv2.merge([cv2.convertScaleAbs(plane, alpha=255) for plane in encoded])
    if dtype == np.uint16:
        return cv2.merge([np.rint(plane * np.float32(65535)).astype(np.uint16) for plane in encoded])
    return cv2.merge(encoded)


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


def _gamut_scale(luminance: Plane, differences: list[Any]) -> Plane:
    """The largest factor in [0, 1] on the differences that keeps luminance + difference within [0, 1]."""
    red, green, blue = differences
    up, down = cv2.max(red, green), cv2.min(red, green)
    cv2.max(up, blue, up)
    cv2.min(down, blue, down)
    # How many times its room each side takes; at black and white there is none, and chroma goes to zero.
    np.divide(up, np.float32(1 + 1e-6) - luminance, out=up)
    np.divide(down, luminance + np.float32(1e-12), out=down)
    np.negative(down, out=down)
    np.maximum(up, down, out=up)
    np.maximum(up, 1, out=up)
    return np.reciprocal(up, out=up)


def _blur(plane: Any) -> Any:
    side = 2 * GUIDE_RADIUS + 1
    return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REPLICATE)


def _interpolation(start: int, stop: int, length: int, cells: int) -> tuple[int, npt.NDArray[np.float32]]:
    """First cell and (stop - start, n) weights that enlarge ``cells`` to ``length`` linearly, as cv2.resize does."""
    centre = np.clip((np.arange(start, stop) + 0.5) * (cells / length) - 0.5, 0, cells - 1)
    cell = np.arange(int(centre[0]), min(int(centre[-1]) + 1, cells - 1) + 1)
    weights = np.maximum(0, 1 - np.abs(centre[:, None] - cell))
    return int(cell[0]), weights.astype(np.float32)
