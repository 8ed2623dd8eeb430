"""From the grid's chroma to the picture's colours, without touching its lightness.

Chroma is carried as a locally linear function of lightness (the guided filter of He, Sun & Tang 2010, worked out on the
small grid as in its fast variant of 2015), so colour stops where the luma has an edge. It is added in linear light as a
difference that has no luminance; where it would leave the gamut it shrinks, and the luminance still is the input's own.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._color import XYZN_TO_RGB, linear_to_srgb
from edgecolor._luma import Luma, Plane

Given = TypeVar("Given")
Made = TypeVar("Made")

GUIDE_RADIUS = 2
"""Grid pixels on each side of the window in which chroma is taken as linear in lightness."""

GUIDE_EPSILON = 36.0
"""Variance of L* below which a window counts as flat and its chroma is only averaged."""

_STRIP_PIXELS = 1 << 17
"""Pixels worked on at once: few enough to stay in the cache, so many that threads seldom wait for the interpreter's lock."""

_DARKEST_ROOT = np.float32(6 / 29)
_GAMMA_KNEE = np.float32(0.0031308)


@dataclass(frozen=True, eq=False)
class RgbSpace:
    """The RGB that colours are written in."""

    from_xyz: npt.NDArray[np.float64]
    """(3, 3) white-relative XYZ to linear light; every row sums to 1."""
    curve: npt.NDArray[np.float64] | None = None
    """(65536,) what is written, in [0, 1], for linear light (i / 65535)²; by default sRGB's own curve."""

    @cached_property
    def codes(self) -> dict[str, npt.NDArray[Any]]:
        """The curve in codes of every dtype."""
        curve = np.zeros(65536) if self.curve is None else np.clip(self.curve, 0, 1)
        codes: dict[str, npt.NDArray[Any]] = {"float32": curve.astype(np.float32)}
        codes["uint8"] = np.rint(curve * 255).astype(np.uint8)
        codes["uint16"] = np.rint(curve * 65535).astype(np.uint16)
        return codes


SRGB = RgbSpace(XYZN_TO_RGB)
"""IEC 61966-2-1. Lightness and chroma are relative to D65."""


@dataclass(frozen=True)
class ChromaField:
    """a*, b* of every pixel of a picture, as ``slope * L* + offset`` with coefficients that vary slowly over it."""

    coefficients: npt.NDArray[np.float32]
    """(h, w, 4) on the grid: slope of a*, offset of a*, slope of b*, offset of b*."""
    size: tuple[int, int]
    """Height and width of the picture in pixels."""

    def rows(self, start: int, stop: int, root: Plane, planes: Plane | None = None) -> tuple[Plane, Plane]:
        """a*/500 and -b*/200 of some rows, the steps from f(Y) to f(X) and f(Z), each (stop - start, W) float32.

        Args:
            start: First row.
            stop: Row after the last.
            root: f(Y) of these rows, (stop - start, W).
            planes: (4, stop - start, W) to work in and to return two of; new ones by default.
        """
        height, width = self.size
        cell, following, way = _between(np.arange(start, stop), height, len(self._steps))
        narrow = self._steps[cell]
        narrow += way[:, None, None] * (self._steps[following] - narrow)
        if planes is None:
            planes = np.empty((4, stop - start, width), np.float32)
        cv2.split(cv2.resize(narrow, (width, stop - start), scratch("coefficients", (stop - start, width, 4))), list(planes))
        slope_x, step_x, slope_z, step_z = planes
        cv2.accumulateProduct(slope_x, root, step_x)
        cv2.accumulateProduct(slope_z, root, step_z)
        return step_x, step_z

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
    fine = cv2.resize(ab, (grid_width, grid_height), interpolation=cv2.INTER_CUBIC)
    mean_l = _blur(lightness)
    variance = _blur(lightness * lightness) - mean_l * mean_l
    planes = []
    for chroma in cv2.split(fine):
        mean = _blur(chroma)
        slope = (_blur(lightness * chroma) - mean_l * mean) / (variance + np.float32(GUIDE_EPSILON))
        planes += [slope, mean - slope * mean_l]
    return ChromaField(_blur(cv2.merge(planes)), size)


def colored(luma: Luma, field: ChromaField) -> npt.NDArray[Any]:
    """(H, W, 3) sRGB in the dtype of the luma's picture, with the luma's lightness and the field's chroma."""
    out = np.empty((*luma.size, 3), luma.picture.dtype)
    in_strips(luma.size, lambda start, stop: _color_rows(luma, field, SRGB, start, out[start:stop]))
    return out


def colored_strip(luma: Luma, field: ChromaField, dtype: npt.DTypeLike, space: RgbSpace = SRGB) -> npt.NDArray[Any]:
    """The same on the calling thread alone, for a strip of a picture.

    Args:
        luma: The strip's.
        field: The whole picture's.
        dtype: uint8, uint16 or float32, to encode in.
        space: To encode in.
    """
    height, width = luma.size
    out = np.empty((height, width, 3), dtype)
    count = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, count):
        _color_rows(luma, field, space, start, out[start : start + count])
    return out


def _color_rows(luma: Luma, field: ChromaField, space: RgbSpace, start: int, out: npt.NDArray[Any]) -> None:
    luminance, differences = fitted_rows(luma, field, start, start + len(out), space)
    if space.curve is None:
        bands = _ENCODERS[out.dtype.name](luminance, differences)
    else:
        bands = _look_up_root(luminance, differences, space.codes[out.dtype.name])
    cv2.merge(list(bands), out)


def in_strips(size: tuple[int, int], work: Callable[[int, int], None]) -> None:
    """Call ``work(start, stop)`` for all rows of a picture of ``size``, a few rows a time, on all cores."""
    height, width = size
    count = max(1, _STRIP_PIXELS // width)
    waiting = deque((start, min(start + count, height)) for start in range(0, height, count))

    def drain() -> None:
        while True:
            try:
                strip = waiting.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                work(*strip)
            except BaseException:
                waiting.clear()  # after a failure no strip is begun any more
                raise

    helpers = [_threads().submit(drain) for _ in range(min(len(waiting), os.cpu_count() or 1) - 1)]
    try:
        drain()
    finally:
        for helper in helpers:
            helper.result()


def aside(work: Callable[[Given], Made], item: Given) -> Future[Made]:
    """``work`` of an item on another thread."""
    return _threads().submit(work, item)


def ahead(work: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """``work`` of every item, in their order, on all cores: a few items ahead of whoever takes them, never more."""
    underway: deque[Future[Made]] = deque()
    try:
        for item in items:
            underway.append(_threads().submit(work, item))
            if len(underway) > (os.cpu_count() or 1):
                yield underway.popleft().result()
        while underway:
            yield underway.popleft().result()
    finally:
        for future in underway:
            future.cancel()


def fitted_rows(luma: Luma, field: ChromaField, start: int, stop: int, space: RgbSpace = SRGB) -> tuple[Plane, Plane]:
    """Linear light of some rows: Y, and what R, G and B differ from it, within the gamut and with no luminance of its own.

    Args:
        luma: Of the picture, or of a strip of it.
        field: Of the whole picture.
        start: First row, counted in ``luma``.
        stop: Row after the last.
        space: Whose linear light.

    Returns:
        (stop - start, W) in [0, 1] and (3, stop - start, W) in [-1, 1]; their sums lie in [0, 1] but for rounding. The
        memory is used again by the thread's next call.
    """
    luminance, root = luma.rows(start, stop)
    steps = field.rows(luma.top + start, luma.top + stop, root, scratch("steps", (4, *root.shape)))
    np.clip(root, _DARKEST_ROOT, 1, out=root)  # below it the CIE curve is straight, with the slope it has there
    x, z = _cube_differences(root, steps)
    differences = scratch("differences", (3, *root.shape))
    for row, difference in zip(space.from_xyz, differences, strict=True):
        cv2.addWeighted(x, float(row[0]), z, float(row[2]), 0, difference)
    np.divide(differences, _gamut_excess(luminance, differences), out=differences)
    return luminance, differences


def encode_levels(luminance: Plane, differences: Plane, dtype: Literal["uint8", "float32"] = "uint8") -> npt.NDArray[Any]:
    """luminance + each of three differences, gamma-encoded in [0, 255], (3, h, w); used again by the thread's next call.

    By a table of 16 bits of linear light, of which one step is never more than a twentieth of a level.
    """
    codes = scratch("codes", differences.shape, np.uint16)
    encoded = scratch(dtype, differences.shape, dtype)
    for difference, code, level in zip(differences, codes, encoded, strict=True):
        cv2.addWeighted(luminance, 65535, difference, 65535, 0, code, cv2.CV_16U)
        if _opencv_looks_up_16_bits():
            cv2.LUT(code, _levels(dtype), level)
        else:
            np.take(_levels(dtype), code, mode="clip", out=level)
    return encoded


def _encode_16(luminance: Plane, differences: Plane) -> npt.NDArray[np.uint16]:
    encoded = _encode_float(luminance, differences)
    np.multiply(encoded, np.float32(65535), out=encoded)
    np.add(encoded, np.float32(0.5), out=encoded)
    codes = scratch("codes", encoded.shape, np.uint16)
    np.copyto(codes, encoded, casting="unsafe")
    return codes


def _encode_float(luminance: Plane, differences: Plane) -> Plane:
    """luminance + each difference, in its place, gamma-encoded in [0, 1] (IEC 61966-2-1)."""
    linear = np.add(differences, luminance, out=differences)
    np.clip(linear, 0, 1, out=linear)
    straight = np.multiply(linear, np.float32(12.92), out=scratch("straight", linear.shape))
    curve = np.clip(linear, _GAMMA_KNEE, 1, out=linear).reshape(-1, linear.shape[-1])
    cv2.log(curve, curve)
    np.multiply(curve, np.float32(1 / 2.4), out=curve)
    cv2.exp(curve, curve)  # with the logarithm, twice as fast as cv2.pow
    np.multiply(curve, np.float32(1.055), out=curve)
    np.subtract(curve, np.float32(0.055), out=curve)
    encoded: Plane = np.minimum(linear, straight, out=linear)  # above the knee the curve is the lower one
    return encoded


def _look_up_root(luminance: Plane, differences: Plane, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``codes`` at the root of luminance + each difference; over the root, the usual curves are nearly straight."""
    linear = np.add(differences, luminance, out=differences)
    np.clip(linear, 0, 1, out=linear)
    np.sqrt(linear, out=linear)
    np.multiply(linear, np.float32(65535), out=linear)
    np.add(linear, np.float32(0.5), out=linear)
    places = scratch("codes", linear.shape, np.uint16)
    np.copyto(places, linear, casting="unsafe")
    encoded: npt.NDArray[Any] = codes[places]
    return encoded


_ENCODERS: dict[str, Callable[[Plane, Plane], npt.NDArray[Any]]] = {
    "uint8": encode_levels,
    "uint16": _encode_16,
    "float32": _encode_float,
}


def _cube_differences(root: Plane, steps: tuple[Plane, Plane]) -> tuple[Plane, Plane]:
    """(root + step)³ - root³ in place of each step; zero where the step is zero."""
    cube = cv2.pow(root, 3, scratch("cube", root.shape))
    for step in steps:
        cv2.add(step, root, step)
        cv2.pow(step, 3, step)
        cv2.subtract(step, cube, step)
    return steps


def _gamut_excess(luminance: Plane, differences: Plane) -> Plane:
    """How many times too large the differences (3, h, w) are for luminance + difference to be in [0, 1], at least 1."""
    red, green, blue = differences
    up, down, room = scratch("gamut", differences.shape)
    cv2.max(cv2.max(red, green, up), blue, up)
    cv2.min(cv2.min(red, green, down), blue, down)
    # Each side over the room it has; at black and white there is none, and chroma goes to zero.
    np.subtract(np.float32(1 + 1e-6), luminance, out=room)
    np.divide(up, room, out=up)
    np.subtract(np.float32(-1e-12), luminance, out=room)
    np.divide(down, room, out=down)
    excess: Plane = np.maximum(up, down, out=up)
    return np.clip(excess, 1, np.inf, out=excess)


@cache
def _levels(dtype: str) -> npt.NDArray[Any]:
    """Gamma-encoded levels [0, 255] of 16-bit codes of linear light."""
    levels = linear_to_srgb(np.arange(65536) / 65535) * 255
    return (np.rint(levels) if dtype == "uint8" else levels).astype(dtype)


@cache
def _opencv_looks_up_16_bits() -> bool:
    """Only OpenCV 5 does; NumPy, for older ones, takes three times as long."""
    try:
        cv2.LUT(np.zeros((1, 1), np.uint16), _levels("uint8"))
    except cv2.error:
        return False
    return True


def scratch(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> npt.NDArray[Any]:
    """An array that the thread keeps under that name, whatever is in it: getting new memory can cost more than using it."""
    held: dict[str, npt.NDArray[Any]] = _held.__dict__  # every thread sees its own
    size = math.prod(shape)
    if name not in held or held[name].size < size:
        held[name] = np.empty(size, dtype)
    return held[name][:size].reshape(shape)


_held = threading.local()


@cache
def _threads() -> ThreadPoolExecutor:
    """Kept from call to call: to start threads takes as long as a strip."""
    return ThreadPoolExecutor(os.cpu_count(), "edgecolor")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive a fork


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
