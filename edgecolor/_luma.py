"""A picture's own lightness: checked, exact, at full size and depth.

The first step of the way. Nothing here rounds: 8- and 16-bit codes go through tables, floats through the formula.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._color import LUMINANCE, lab_f, luminance_to_lightness, srgb_to_linear
from edgecolor._errors import ImageError

Plane = npt.NDArray[np.float32]
Picture = npt.NDArray[Any]

DTYPES = ("uint8", "uint16", "float32")


@dataclass(frozen=True)
class Luma:
    """The lightness of one picture, worked out a few rows at a time."""

    picture: Picture
    """(H, W) grey or (H, W, 3) sRGB; uint8, uint16 or float32 in [0, 1]; gamma-encoded."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.picture.shape[0], self.picture.shape[1]

    def rows(self, start: int, stop: int) -> tuple[Plane, Plane]:
        """Y in [0, 1] and its CIE cube root f(Y) of some rows, each (stop - start, W) float32."""
        part = self.picture[start:stop]
        if part.ndim == 2 and part.dtype != np.float32:
            luminance_of, root_of = _tables(part.dtype.name)
            return _look_up(luminance_of, part), _look_up(root_of, part)
        luminance = _luminance(part)
        return luminance, lab_f(luminance).astype(np.float32)

    def lightness(self, height: int, width: int) -> Plane:
        """L* in [0, 100] of the picture resized to (height, width) float32; detail is averaged, never skipped."""
        shrinking = height < self.size[0] or width < self.size[1]
        method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
        small = cv2.resize(self.picture, (width, height), interpolation=method)
        if small.dtype == np.float32:  # cubic interpolation overshoots
            small = np.clip(small, 0, 1)
        return luminance_to_lightness(_luminance(small)).astype(np.float32)


def read_luma(picture: Picture) -> Luma:
    """Check an array and take its lightness.

    Args:
        picture: (H, W), (H, W, 1) or (H, W, 3); uint8, uint16, or float32 in [0, 1]; any memory layout.

    Raises:
        ImageError: The shape, the type or a value is none of these.
    """
    array = np.asarray(picture)
    if array.dtype.name not in DTYPES:
        remedy = "; convert it with .astype('float32'), scaled to [0, 1]" if array.dtype.kind in "biuf" else ""
        raise ImageError(f"a picture must be uint8, uint16 or float32, got dtype {array.dtype}{remedy}")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise ImageError(f"a picture must have the shape (H, W), (H, W, 1) or (H, W, 3), got {array.shape}")
    if 0 in array.shape:
        raise ImageError(f"a picture must have at least one pixel, got the shape {array.shape}")
    if array.dtype.name == "float32":
        array = _checked_floats(array)
    if array.ndim == 3 and (array.shape[2] == 1 or _is_grey(array)):
        array = array[..., 0]
    return Luma(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def _checked_floats(array: Picture) -> Picture:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("a float picture must be finite, this one holds NaN or infinity")
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
        linear = _look_up(_tables(part.dtype.name)[0], part)
    return linear if linear.ndim == 2 else cv2.transform(linear, LUMINANCE[None].astype(np.float32))  # type: ignore[return-value]


def _look_up(table: Plane, codes: Picture) -> Plane:
    """``table[codes]``, four times faster where OpenCV can do it."""
    return cv2.LUT(codes, table) if codes.dtype == np.uint8 else table[codes]  # type: ignore[return-value]


@cache
def _tables(dtype: str) -> tuple[Plane, Plane]:
    """Y and f(Y) of every code of an integer type."""
    codes = np.arange(np.iinfo(dtype).max + 1)
    luminance = srgb_to_linear(codes / codes[-1])
    return luminance.astype(np.float32), lab_f(luminance).astype(np.float32)
