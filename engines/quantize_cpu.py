"""Quantise an exported network to INT8 for ONNX Runtime's CPU, and keep it only if it is faster and as good.

    python -m engines.quantize_cpu lite.fp32.onnx --photos HELD-OUT.tar --out lite.cpu-int8.onnx

Static, calibrated on photographs: activations uint8, weights int8 per channel. The decoding of the bins stays float.
(TensorRT's INT8 wants signed, symmetric activations and float16 scales: ``engines.quantize``.)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from engines.agreement import Planes, agreement, planes_of
from tools.data import Photo, read_photos
from tools.network import SIZES

MEAN_DELTA_E00 = 0.5
"""Greatest mean CIEDE2000 between the colours of the two files."""

FLOAT_CONVOLUTIONS = 8
"""Convolutions from the input on that stay in float: everything behind them inherits their error.

Measured on an early checkpoint: none 0.76 mean CIEDE2000 at 0.56 of the time, 8 0.37 at 0.68, 14 0.31 at 0.72.
"""


def area_of(file: Path) -> int:
    """Pixels of the grid that an exported network sees, about: by the file's name, and as ``lite`` where that is another."""
    name = file.name.split(".")[0]
    return SIZES[name if name in SIZES else "lite"].grid_area


def planes_with_hints(photo: Photo, area: int, rng: np.random.Generator) -> Planes:
    """The network's input for a photograph, half of the time with a few hints, so that their range is seen."""
    planes = planes_of(photo, area)
    if rng.random() < 0.5:
        rows, columns = planes.shape[2:]
        for _ in range(10):
            y, x = rng.integers(0, rows - 4), rng.integers(0, columns - 4)
            planes[0, 1:, y : y + 4, x : x + 4] = np.array([*rng.normal(0, 30, 2), 1.0])[:, None, None]
    return planes


class Photographs(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration with one photograph at a time."""

    def __init__(self, photos: list[Photo], area: int) -> None:
        rng = np.random.default_rng(0)
        self._planes: Iterator[Planes] = (planes_with_hints(photo, area, rng) for photo in photos)

    def get_next(self) -> dict[str, Planes] | None:
        """The next input, or None at the end."""
        planes = next(self._planes, None)
        return None if planes is None else {"planes": planes}


def tail_of(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that lie behind the logits: the decoding, which stays in float."""
    behind = {"logits"}
    names = []
    for node in model.graph.node:
        if behind & set(node.input):
            behind |= set(node.output)
            names.append(node.name)
    return names


def first_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions nearest to the input."""
    return [node.name for node in model.graph.node if node.op_type == "Conv"][:FLOAT_CONVOLUTIONS]


def quantized(source: Path, photos: list[Photo], area: int, target: Path) -> None:
    """Write the quantised form of ``source``, which sees photographs on grids of about ``area`` pixels."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared)
        quantize_static(
            prepared,
            target,
            Photographs(photos, area),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=[*first_convolutions(graph), *tail_of(graph)],
            extra_options={"CalibMovingAverage": True},
        )


def compare(first: Path, second: Path, photos: list[Photo], area: int) -> dict[str, float]:
    """How the second file agrees with the first, and the time ratio at 256²."""
    sessions = [onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (first, second)]
    return {**agreement(sessions, photos, area), "time_ratio": time_ratio(sessions)}


def time_ratio(sessions: list[Any], runs: int = 40) -> float:
    """Median over paired runs of the second session's time by the first's, on a 256 x 256 grid."""
    planes = np.zeros((1, 4, 256, 256), np.float32)
    ratios = []
    for _ in range(runs):
        seconds = []
        for session in sessions:
            start = time.perf_counter()
            session.run(["colors"], {"planes": planes})
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[1] / seconds[0])
    return float(np.median(ratios[5:]))


def main(arguments: list[str] | None = None) -> None:
    """Quantise, compare, keep or refuse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="exported fp32 ONNX file")
    parser.add_argument("--photos", type=Path, required=True, help="tar or folder of photographs that were not trained on")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--limit", type=int, default=200, help="photographs, half to calibrate, half to compare (default 200)")
    options = parser.parse_args(arguments)
    photos = list(read_photos(options.photos, options.limit).values())
    area = area_of(options.source)
    partial = options.out.with_suffix(".partial")
    quantized(options.source, photos[::2], area, partial)
    figures = compare(options.source, partial, photos[1::2], area)
    print(" ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if figures["mean_delta_e00"] > MEAN_DELTA_E00 or figures["time_ratio"] >= 1:
        partial.unlink()
        raise SystemExit(f"not kept: it must be within CIEDE2000 {MEAN_DELTA_E00} and faster than fp32")
    partial.replace(options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
