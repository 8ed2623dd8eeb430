"""A photograph as the library shows it to the network, and the colours its cells should have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._color import rgb_to_lab
from edgecolor._grid import grid_size
from edgecolor._luma import read_luma

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Shown:
    """What a network that is measured sees, and the truth."""

    planes: Array
    """(1, 4, H, W) float32: L*, and no hints."""
    truth: Array
    """(H/4, W/4, 3) float32 L*a*b* at each cell's centre."""


def shown(photo: Array, area: int) -> Shown:
    """Of an (H, W, 3) uint8 sRGB photograph, on a grid of about ``area`` pixels."""
    rows, columns = grid_size(*photo.shape[:2], area)
    planes = np.zeros((1, 4, rows, columns), np.float32)
    planes[0, 0] = read_luma(photo).lightness(rows, columns)
    lab = rgb_to_lab(photo / 255.0).astype(np.float32)
    truth: Array = cv2.resize(lab, (columns, rows), interpolation=cv2.INTER_AREA)
    return Shown(planes, np.ascontiguousarray(truth[2::4, 2::4]))
