"""How near two files of one network come to each other: the same pictures through both, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from edgecolor._color import delta_e00
from edgecolor._grid import grid_size
from edgecolor._luma import read_luma

GARBLING = ["WeightBiasQuantization"]
"""An optimiser of ONNX Runtime that makes nonsense of float16 scales."""

Planes = npt.NDArray[np.float32]


def session_of(file: Path | onnx.ModelProto) -> Any:
    """ONNX Runtime on the CPU for any of our files, also those for TensorRT, without the optimiser that cannot read them."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(file) if isinstance(file, Path) else file.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=GARBLING,
    )


def planes_of(picture: npt.NDArray[Any], area: int) -> Planes:
    """The network's input for an (H, W[, 3]) picture without hints, (1, 4, h, w) of about ``area`` pixels."""
    luma = read_luma(picture)
    grid = grid_size(*luma.size, area)
    planes = np.zeros((1, 4, *grid), np.float32)
    planes[0, 0] = luma.lightness(*grid)
    return planes


def agreement(sessions: Sequence[Any], pictures: Iterable[npt.NDArray[Any]], area: int) -> dict[str, float]:
    """Mean and 99th percentile of CIEDE2000 between two sessions' colours, and the chroma of the second over the first's."""
    errors, chroma = [], []
    for picture in pictures:
        planes = planes_of(picture, area)
        answers = [session.run(["colors"], {"planes": planes})[0][0] for session in sessions]
        labs = [np.dstack([planes[0, 0, 2::4, 2::4], *answer[:2]]) for answer in answers]
        errors.append(delta_e00(*labs).ravel())
        chroma.append([float(np.hypot(*answer[:2]).mean()) for answer in answers])
    means = np.mean(chroma, axis=0)
    return {
        "mean_delta_e00": float(np.mean([error.mean() for error in errors])),
        "p99_delta_e00": float(np.percentile(np.concatenate(errors), 99)),
        "chroma_ratio": float(means[1] / means[0]),
    }
