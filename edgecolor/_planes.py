"""Video frames as Y'CbCr planes: the Y plane is the film and stays as it is, only chroma is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._chroma import ChromaField, encode_levels, fitted_rows, in_strips, scratch
from edgecolor._errors import ImageError
from edgecolor._luma import Luma, read_luma

Matrix = Literal["auto", "bt601", "bt709"]
Plane = npt.NDArray[Any]
Planes = tuple[Plane, Plane]

LUMA_WEIGHTS = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}
"""Of R', G', B' in Y' (ITU-R BT.601-7 and BT.709-6)."""

BITS = (8, 10, 12, 16)
"""Depths of codes that are understood."""


class Coding(NamedTuple):
    """How the codes of a frame's planes are meant."""

    matrix: Matrix = "auto"
    """Y'CbCr matrix; "auto" is BT.709 from 720 lines up and BT.601 below."""
    full_range: bool = False
    """Whether codes use their whole range, as in JPEG, or 16 to 235 (times 4 at 10 bits), as in most video."""
    bits: int = 8
    """Per code; above 8 they are the low bits of uint16."""


_PARTLY = (10, 12)
"""Bits per code that leave some of uint16 empty."""


def chroma_of_frame(y: Plane, chroma_of: Callable[[Luma], ChromaField], coding: Coding, out: Planes | None = None) -> Planes:
    """Cb and Cr at half size for a Y plane; see ``Colorizer.chroma_planes``.

    Chroma is worked out at the size it is delivered in: the luma is halved first, then coloured as every picture is.
    """
    plane: Plane = np.asarray(y)
    _check_coding(plane, coding)
    plane = _in_rows(plane)
    height, width = (plane.shape[0] + 1) // 2, (plane.shape[1] + 1) // 2
    cb, cr = check_out(out, (height, width), plane.dtype) or (np.empty((height, width), plane.dtype) for _ in range(2))
    half = scratch(f"half {plane.dtype}", (height, width), plane.dtype)
    cv2.resize(plane, (width, height), half, interpolation=cv2.INTER_AREA)
    luma = read_luma(_grey(half, coding, scratch("grey", half.shape, np.uint8)))
    _write_chroma(luma, chroma_of(luma), LUMA_WEIGHTS[matrix_of(coding, plane.shape[0])], coding, (cb, cr))
    return cb, cr


def matrix_of(coding: Coding, height: int) -> str:
    """The matrix that "auto" stands for in a frame of a height.

    Raises:
        ImageError: There is no such matrix.
    """
    if coding.matrix not in ("auto", *LUMA_WEIGHTS):
        raise ImageError(f"matrix must be 'auto', 'bt601' or 'bt709', got {coding.matrix!r}")
    return coding.matrix if coding.matrix != "auto" else ("bt709" if height >= 720 else "bt601")


def _in_rows(plane: Plane) -> Plane:
    """The plane as OpenCV reads it without copying: whole rows, which may lie apart, such as a view into a larger one."""
    rows = plane.strides[1] == plane.itemsize and plane.strides[0] >= plane.shape[1] * plane.itemsize and plane.dtype.isnative
    return plane if rows else np.ascontiguousarray(plane, plane.dtype.newbyteorder("="))


def grey_of_frame(y: Plane, coding: Coding) -> npt.NDArray[np.uint8]:
    """A Y plane as grey levels 0 to 255, (H, W) uint8."""
    plane: Plane = np.asarray(y)
    _check_coding(plane, coding)
    return _grey(np.ascontiguousarray(plane, plane.dtype.newbyteorder("=")), coding)


def _check_coding(y: Plane, coding: Coding) -> None:
    dtype = "uint8" if coding.bits == 8 else "uint16"
    if coding.bits not in BITS:
        raise ImageError(f"bits must be one of {', '.join(map(str, BITS))}, got {coding.bits!r}")
    if y.ndim != 2 or y.dtype.name != dtype:
        raise ImageError(f"a Y plane of {coding.bits} bits must be (H, W) {dtype}, got {y.dtype} {y.shape}")
    if 0 in y.shape:
        raise ImageError(f"a Y plane must have at least one pixel, got the shape {y.shape}")
    if coding.bits in _PARTLY and (greatest := int(y.max())) >> coding.bits:
        raise ImageError(
            f"codes of {coding.bits} bits reach {(1 << coding.bits) - 1}, got {greatest}; where they lie in the high bits, as "
            f"in P010, shift them: y >> {16 - coding.bits}"
        )
    matrix_of(coding, y.shape[0])


def check_out(out: Any, size: tuple[int, int], dtype: np.dtype[Any], *, resident: bool = False) -> tuple[Any, Any] | None:
    """Two arrays that Cb and Cr can be written to, if any are given; ``resident`` allows such as lie on the GPU.

    Raises:
        ImageError: They are not two, not of the size and dtype, or read-only.
    """
    if out is None:
        return None
    wanted = f"out must be two writeable arrays {dtype} {size}"
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise ImageError(f"{wanted}, got {type(out).__name__}")
    for plane in out:
        interface = getattr(plane, "__cuda_array_interface__", None) if resident else None
        if interface is not None:
            found = tuple(interface["shape"]), np.dtype(interface["typestr"]), not interface["data"][1]
        elif isinstance(plane, np.ndarray):
            found = plane.shape, plane.dtype, plane.flags.writeable
        else:
            raise ImageError(f"{wanted}, got {plane!r}")
        if found != (size, dtype, True):
            raise ImageError(f"{wanted}, got {'' if found[2] else 'read-only '}{found[1]} {found[0]}")
    cb, cr = out
    return cb, cr


def _grey(codes: Plane, coding: Coding, out: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
    levels = np.empty(codes.shape, np.uint8) if out is None else out
    if coding.bits > 8:
        return np.take(_levels(coding.full_range, coding.bits), codes, mode="clip", out=levels)
    return codes if coding.full_range else cv2.LUT(codes, _levels(coding.full_range, 8), levels)  # type: ignore[return-value]


def _write_chroma(luma: Luma, field: ChromaField, weights: tuple[float, float, float], coding: Coding, out: Planes) -> None:
    steps = 2 ** (coding.bits - 8)
    neutral, white = 128 * steps, 2**coding.bits - 1
    scale = (white if coding.full_range else 224 * steps) / 255
    depth = cv2.CV_8U if coding.bits == 8 else cv2.CV_16U

    def work(start: int, stop: int) -> None:
        red, green, blue = encode_levels(*fitted_rows(luma, field, start, stop), "float32")
        y = cv2.addWeighted(red, weights[0], green, weights[1], 0)
        y = cv2.addWeighted(y, 1, blue, weights[2], 0, y)
        for plane, weight, target in ((blue, weights[2], out[0]), (red, weights[0], out[1])):
            factor = scale / (2 * (1 - weight))
            codes: Plane = cv2.addWeighted(plane, factor, y, -factor, neutral, dtype=depth)
            target[start:stop] = codes if coding.bits in (8, 16) else np.minimum(codes, white, out=codes)

    in_strips(luma.size, work)


@cache
def _levels(full_range: bool, bits: int) -> npt.NDArray[np.uint8]:  # noqa: FBT001  # a key of the cache
    """Grey levels 0 to 255 of all luma codes."""
    steps = 2 ** (bits - 8)
    black, white = (0, 2**bits - 1) if full_range else (16 * steps, 235 * steps)
    levels: npt.NDArray[np.float64] = np.clip((np.arange(2**bits) - black) * (255 / (white - black)), 0, 255)
    return np.rint(levels).astype(np.uint8)


def rgb_of_frame(y: Plane, chroma: Planes, coding: Coding, width_max: int | None = None) -> npt.NDArray[np.uint8]:
    """The (h, w, 3) uint8 R'G'B' picture that a Y plane and its chroma make, to look at; no wider than ``width_max``."""
    shift = coding.bits - 8
    height, width = y.shape
    if width_max is not None and width > width_max:
        height, width = max(1, round(height * width_max / width)), width_max
    eight = [plane if shift == 0 else (plane >> shift).astype(np.uint8) for plane in (y, *chroma)]
    codes = cv2.merge([cv2.resize(np.ascontiguousarray(p), (width, height), interpolation=cv2.INTER_AREA) for p in eight])
    red, green, blue = LUMA_WEIGHTS[matrix_of(coding, y.shape[0])]
    luma, chroma_scale, black = (1.0, 1.0, 0) if coding.full_range else (255 / 219, 255 / 224, 16)
    to_red, to_blue = 2 * (1 - red) * chroma_scale, 2 * (1 - blue) * chroma_scale
    rows = np.array([[luma, 0, to_red], [luma, -to_blue * blue / green, -to_red * red / green], [luma, to_blue, 0]])
    offsets = -rows @ np.array([black, 128, 128])
    return cv2.transform(codes, np.column_stack([rows, offsets]))  # type: ignore[return-value]
