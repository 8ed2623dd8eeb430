"""Video frames as Y'CbCr planes: the Y plane is the film and stays as it is, only chroma is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._chroma import ChromaField, encode_levels, fitted_rows, in_strips
from edgecolor._errors import ImageError
from edgecolor._luma import Luma, read_luma

Matrix = Literal["auto", "bt601", "bt709"]
Plane8 = npt.NDArray[np.uint8]

_LUMA_WEIGHTS = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}
"""Of R', G', B' in Y' (ITU-R BT.601-7 and BT.709-6)."""


def chroma_of_frame(
    y: Plane8, chroma_of: Callable[[Luma], ChromaField], matrix: Matrix, *, full_range: bool
) -> tuple[Plane8, Plane8]:
    """Cb and Cr at half size for a Y plane; see ``Colorizer.chroma_planes``.

    Chroma is worked out at the size it is delivered in: the luma is halved first, then coloured as every picture is.
    """
    plane: npt.NDArray[Any] = np.asarray(y)
    if plane.ndim != 2 or plane.dtype != np.uint8:
        raise ImageError(f"a Y plane must be (H, W) uint8, got {plane.dtype} {plane.shape}")
    if matrix not in ("auto", *_LUMA_WEIGHTS):
        raise ImageError(f"matrix must be 'auto', 'bt601' or 'bt709', got {matrix!r}")
    name = matrix if matrix != "auto" else ("bt709" if plane.shape[0] >= 720 else "bt601")
    codes = read_luma(plane).picture
    half = cv2.resize(codes, ((codes.shape[1] + 1) // 2, (codes.shape[0] + 1) // 2), interpolation=cv2.INTER_AREA)
    grey = half if full_range else cv2.LUT(half, _video_to_full())
    luma = read_luma(grey)
    return _chroma(luma, chroma_of(luma), _LUMA_WEIGHTS[name], full_range=full_range)


def _chroma(luma: Luma, field: ChromaField, weights: tuple[float, float, float], *, full_range: bool) -> tuple[Plane8, Plane8]:
    cb, cr = np.empty(luma.size, np.uint8), np.empty(luma.size, np.uint8)
    scale = 1.0 if full_range else 224 / 255

    def work(start: int, stop: int) -> None:
        red, green, blue = encode_levels(*fitted_rows(luma, field, start, stop), "float32")
        y = cv2.addWeighted(red, weights[0], green, weights[1], 0)
        y = cv2.addWeighted(y, 1, blue, weights[2], 0)
        for plane, weight, out in ((blue, weights[2], cb), (red, weights[0], cr)):
            factor = scale / (2 * (1 - weight))
            out[start:stop] = cv2.addWeighted(plane, factor, y, -factor, 128, dtype=cv2.CV_8U)

    in_strips(luma.size, work)
    return cb, cr


@cache
def _video_to_full() -> Plane8:
    """Luma codes 16 to 235 as grey levels 0 to 255."""
    levels: npt.NDArray[np.float64] = np.clip((np.arange(256) - 16) * (255 / 219), 0, 255)
    return np.rint(levels).astype(np.uint8)
