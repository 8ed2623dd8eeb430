"""What a board could do, on paper: operations and bytes of the shipped graph over the board's published rates.

    python -m engines.estimate [--write docs/jetson.md]

An estimate, not a measurement. Two figures. The operations alone, over the rates of the cores: no direct convolution is faster
at those rates. And, layer by layer, the longer of computing and moving, on the assumption that every layer reads its inputs and
weights from memory and writes its outputs there: what a layer leaves in the L2 cache for the next need not be moved, so this
can be beaten. Real kernels reach a fraction of all these rates: ``REACHED`` is the range we take for networks of this size.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from edgecolor._grid import grid_size
from edgecolor._models import find_model
from tools.pages import placed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOARDS = Path(__file__).parent / "boards.toml"

REACHED = (0.10, 0.35)
"""Share that small convolutional networks reach of the speed with every layer through memory. The range is ours.

One published point: YOLOv8n at 640 x 640, 8.7 GFLOP, is 0.52 ms of FP16 operations alone on an Orin Nano in Super mode, and was
reported at 3.49 ms in INT8 (hokwangchoi.com/blog/vision-benchmarks, 2026): 15 % of the speed of the operations, and so a
greater share of the speed through memory. Smaller networks, whose launches weigh more, may reach less.
"""

HALF = 2
"""Bytes of a float16."""


@dataclass(frozen=True)
class Work:
    """What one layer asks for."""

    operations: float
    """Twice the multiply-adds."""
    moved: float
    """Bytes read and written: activations and weights."""
    tensor: bool
    """Whether tensor cores can do it; depthwise convolutions run on the others."""


def boards() -> dict[str, dict[str, Any]]:
    """The recipes, by short name."""
    return tomllib.loads(BOARDS.read_text(encoding="utf-8"))


def network_work(height: int, width: int) -> list[Work]:
    """Every convolution and product of the FP16 network on a grid, taking what stands between them as fused."""
    model = onnx.load(find_model(engine="tensorrt").network.path)
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 4, height, width), strict=True):
        dimension.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            dimension.Clear()
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in [*inferred.value_info, *inferred.input, *inferred.output]
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    work = []
    for node in inferred.node:
        if node.op_type == "Conv":
            group = helper.get_node_attr_value(node, "group")
            weight, source, target = (shapes[name] for name in (node.input[1], node.input[0], node.output[0]))
            cells = target[2] * target[3]
            operations = 2.0 * cells * _product(weight)
            moved = HALF * (_product(source) + _product(target) + _product(weight))
            work.append(Work(operations, moved, tensor=group == 1))
    return work


def frame_work(height: int, width: int, *, chroma: bool) -> list[Work]:
    """The pixel work around the network: one pass that averages, one that merges."""
    rows, columns = grid_size(height, width, find_model().grid_area)
    pixels = height * width
    averaging = Work(2.0 * rows * (pixels / 4 + columns * width / 2), pixels + 4 * pixels / 4, tensor=True)
    merged = pixels / 4 if chroma else pixels
    # About 150 operations a pixel: two powers to decode and encode, cubes, gamut; 4 coefficients are read
    merge = Work(150.0 * merged, merged * (5 + (2 if chroma else 3)), tensor=False)
    return [averaging, merge]


def operations_ms(work: list[Work], board: dict[str, Any]) -> float:
    """Time in ms of computing alone, as if all that is moved stayed in caches: least at the published rates."""
    rates = {True: board["tensor_tflops"] * 1e12, False: board["vector_tflops"] * 1e12}
    return 1e3 * sum(layer.operations / rates[layer.tensor] for layer in work)


def floor_ms(work: list[Work], board: dict[str, Any]) -> float:
    """Least time in ms if every layer goes through memory: for each the longer of computing and moving."""
    rates = {True: board["tensor_tflops"] * 1e12, False: board["vector_tflops"] * 1e12}
    bandwidth = board["bandwidth_gb_s"] * 1e9
    return 1e3 * sum(max(layer.operations / rates[layer.tensor], layer.moved / bandwidth) for layer in work)


def table() -> str:
    """The estimates as Markdown."""
    columns = (
        "board",
        "network, operations alone",
        "network, each layer through memory",
        "network, expected",
        "1080p to RGB, expected",
        "1080p to Cb, Cr, expected",
    )
    lines = [f"| {' | '.join(columns)} |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    network = network_work(*grid_size(1080, 1920, find_model().grid_area))
    frames = [network + frame_work(1080, 1920, chroma=chroma) for chroma in (False, True)]
    for board in boards().values():
        if board["engine"] != "tensorrt":
            lines.append(f"| {board['name']} | no TensorRT that reads these graphs: ONNX Runtime on its CPU | | | | |")
            continue
        least = [f"{operations_ms(network, board):.2f} ms", f"{floor_ms(network, board):.2f} ms"]
        cells = least + [_range(floor_ms(work, board)) for work in (network, *frames)]
        lines.append(f"| {board['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _range(floor: float) -> str:
    low, high = floor / REACHED[1], floor / REACHED[0]
    return f"{low:.1f} to {high:.1f} ms"


def _product(shape: list[int]) -> float:
    product = 1.0
    for side in shape:
        product *= side
    return product


def main(arguments: list[str] | None = None) -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="page with the markers of the table")
    options = parser.parse_args(arguments)
    if options.write:
        options.write.write_text(
            placed(options.write.read_text(encoding="utf-8"), "estimate", f"{table()}\n\n"), encoding="utf-8"
        )
    else:
        print(table())


if __name__ == "__main__":
    main()
