"""Sheets of pictures in rows and columns, for the docs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Photo = npt.NDArray[Any]
"""(H, W, 3) uint8 sRGB."""

WIDTH = 300
"""Of one picture on a sheet, in pixels; a standing one is cropped to a square."""

_GAP, _TITLE = 6, 28
_INK = (60, 60, 60)


def fitted(picture: npt.NDArray[Any], wide: int = WIDTH) -> Photo:
    """A picture as wide as a sheet's column, cropped to a square if it stands."""
    rgb = picture if picture.ndim == 3 else cv2.merge([picture] * 3)
    height, width = rgb.shape[:2]
    rgb = rgb[: min(height, width)]  # heads are at the top
    size = wide, round(wide * rgb.shape[0] / width)
    small: Photo = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return small


def titled(titles: Sequence[str], wide: int = WIDTH) -> Photo:
    """A line with a title above the middle of each column."""
    line = np.full((_TITLE, len(titles) * (wide + _GAP) - _GAP, 3), 255, np.uint8)
    for number, title in enumerate(titles):
        (width, _), _ = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.52, 1)
        left = number * (wide + _GAP) + (wide - width) // 2
        cv2.putText(line, title, (left, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.52, _INK, 1, cv2.LINE_AA)
    return line


def row_of(pictures: Sequence[npt.NDArray[Any]], wide: int = WIDTH) -> Photo:
    """Pictures of one shape side by side."""
    parts: list[Photo] = []
    for picture in pictures:
        part = fitted(picture, wide)
        parts += [part, np.full((part.shape[0], _GAP, 3), 255, np.uint8)]
    return np.hstack(parts[:-1])


def stacked(rows: Sequence[Photo]) -> Photo:
    """A sheet of rows, one below the other."""
    gap = np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.vstack([part for row in rows for part in (row, gap)][:-1])
