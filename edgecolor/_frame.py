"""A frame as the inputs of its whole-frame graph: its size as averaging weights, its codes as levels, its matrix as weights.

What varies from stream to stream enters the graph here, so that one graph, and one plan, serves them all.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecolor._engine import FrameInputs
from edgecolor._errors import ImageError
from edgecolor._grid import grid_size
from edgecolor._planes import LUMA_WEIGHTS

Weights = npt.NDArray[np.float32]


def rgb_inputs(luma: Any, area: int) -> FrameInputs:
    """Of a grey picture, (H, W) uint8 sRGB codes with even sides, on the host or on the GPU, for a grid of about ``area``."""
    return {"luma": luma, **_sizes(*luma.shape, area), "levels": _levels(full_range=True)}


def chroma_inputs(luma: Any, area: int, matrix: str, *, full_range: bool) -> FrameInputs:
    """Of a Y plane, (H, W) uint8 codes with even sides; ``matrix`` is "bt601" or "bt709"."""
    weights = _chroma_weights(matrix, full_range=full_range)
    return {"luma": luma, **_sizes(*luma.shape, area), "levels": _levels(full_range=full_range), "weights": weights}


def on_gpu(picture: Any) -> bool:
    """Whether a picture lies on the GPU.

    Raises:
        ImageError: It does, and is not (H, W) uint8.
    """
    interface = getattr(picture, "__cuda_array_interface__", None)
    if interface is None:
        return False
    if len(interface["shape"]) != 2 or interface["typestr"] != "|u1":
        raise ImageError(f"a frame on the GPU must be (H, W) uint8, got {interface['typestr']} {tuple(interface['shape'])}")
    return True


def averaging(length: int, cells: int) -> Weights:
    """(cells, length) weights that average ``length`` pixels into fewer cells, each pixel by its share of the cell."""
    edges = np.arange(cells + 1) * (length / cells)
    pixels = np.arange(length)
    share = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    share = np.clip(share, 0, None)
    return _constant(share / share.sum(1, keepdims=True))


@lru_cache(8)  # of 24 megapixels they take 10 MB
def _sizes(height: int, width: int, area: int) -> dict[str, Weights]:
    rows, columns = grid_size(height, width, area)
    return {"rows": averaging(height // 2, rows), "columns": _constant(averaging(width // 2, columns).T)}


@cache
def _levels(*, full_range: bool) -> Weights:
    """The code of black, and 1 over the number of codes from it to white."""
    return _constant(np.array([0, 1 / 255] if full_range else [16, 1 / 219]))


@cache
def _chroma_weights(matrix: str, *, full_range: bool) -> Weights:
    """(2, 3): of R', G', B' in [0, 1] in the codes of Cb and Cr, less 128."""
    luma = np.array(LUMA_WEIGHTS[matrix])
    rows = [(np.eye(3)[channel] - luma) / (2 * (1 - luma[channel])) for channel in (2, 0)]
    return _constant(np.stack(rows) * (255 if full_range else 224))


def _constant(values: npt.NDArray[Any]) -> Weights:
    """Read-only, so that an engine need not copy it with every frame."""
    array = np.array(values, np.float32, order="C")
    array.setflags(write=False)
    return array
