"""Quantise exported graphs to INT8 for TensorRT: explicit, symmetric, strongly typed.

    python -m engines.quantize FOLDER/lite.fp16.onnx --photos HELD-OUT.tar --out FOLDER

The convolutions of the network, but for the first, the depthwise ones and the colour tail, read int8 (per tensor) and have int8
weights (per output channel); all else stays float16. The scales are float16, calibrated on photographs with the network's
own grid. The network and both whole-frame graphs get the same scales. (ONNX Runtime's CPU wants another file:
``engines.quantize_cpu``.)
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from engines.agreement import agreement, session_of
from engines.quantize_cpu import area_of, planes_with_hints
from engines.share import write_graphs
from tools.data import Photo, read_photos

MEAN_DELTA_E00 = 0.5
"""Greatest mean CIEDE2000 of the quantised network's colours to float16's."""

CHROMA_SHRINK = 0.03
"""Greatest loss of mean chroma."""

FLOAT_CONVOLUTIONS = 8
"""Convolutions from the input on that stay in float16: everything behind them inherits their error.

Measured on 60 photographs: 2 0.47 mean CIEDE2000 to float16, 8 0.37. On an earlier checkpoint: none 0.46, 2 0.36, 8 0.29,
14 0.25.
"""

TAIL = ("bins.", "sure.")
"""The heads, whose answer is the colour: they stay in float16."""

PURPOSES = ("network", "rgb", "chroma")

Ranges = dict[str, float]
"""Greatest |input| of each convolution, by the name of its weight."""


def weight_name(node: onnx.NodeProto) -> str:
    """Name of a convolution's weight within the network, the same in every graph: ``encoder.stem.0.weight``."""
    return str(node.input[1].rpartition("net.")[2])


def quantizable(graph: onnx.GraphProto, skip: int = FLOAT_CONVOLUTIONS) -> list[onnx.NodeProto]:
    """The network's own dense convolutions, but for the first ``skip`` convolutions and the heads."""
    own = [node for node in graph.node if node.op_type == "Conv" and "net." in node.input[1]]
    dense = [node for node in own[skip:] if helper.get_node_attr_value(node, "group") == 1]
    return [node for node in dense if not weight_name(node).startswith(TAIL)]


def input_ranges(model: onnx.ModelProto, photos: list[Photo], area: int) -> Ranges:
    """What reaches each convolution, on grids of about ``area``: the mean over photographs of the greatest magnitude."""
    nodes = quantizable(model.graph, skip=0)
    watched = onnx.ModelProto.FromString(model.SerializeToString())
    tensors = sorted({node.input[0] for node in nodes})
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT16, None) for name in tensors)
    session = session_of(watched)
    rng = np.random.default_rng(0)
    seen = [
        [np.abs(value).max() for value in session.run(tensors, {"planes": planes_with_hints(photo, area, rng)})]
        for photo in photos
    ]
    means = dict(zip(tensors, np.mean(np.asarray(seen, np.float64), axis=0).tolist(), strict=True))
    return {weight_name(node): float(means[node.input[0]]) for node in nodes}


def quantized(model: onnx.ModelProto, ranges: Ranges, skip: int = FLOAT_CONVOLUTIONS) -> onnx.ModelProto:
    """A copy of a graph with quantise-dequantise pairs before, and int8 weights in, its quantisable convolutions."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    before: dict[str, list[onnx.NodeProto]] = {}
    rounded: dict[str, str] = {}
    for node in quantizable(graph, skip):
        source, kernel, name = node.input[0], numpy_helper.to_array(weights[node.input[1]]), weight_name(node)
        pair = before.setdefault(node.name, [])
        if source not in rounded:
            scale = np.float16(ranges[name] / 127)
            pair += _pair(graph, source, scale)
            rounded[source] = f"{source}.dequantized"
        codes, scales = weight_codes(kernel)
        pair.append(_dequantized_weight(graph, node.input[1], codes, scales))
        graph.initializer.remove(weights[node.input[1]])
        node.input[0], node.input[1] = rounded[source], f"{node.input[1]}.dequantized"
    nodes = [copy for node in graph.node for copy in (*before.get(node.name, []), node)]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model


def weight_codes(kernel: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """(O, I, h, w) weights as int8 codes and (O,) scales; a channel of zeros keeps the scale 1."""
    peak = np.abs(kernel.astype(np.float32)).max(axis=(1, 2, 3))
    scales = np.where(peak > 0, peak / 127, 1).astype(np.float16)
    scales = np.maximum(scales, np.float16(6e-8))  # the least that float16 holds
    codes = np.rint(kernel.astype(np.float32) / scales.astype(np.float32)[:, None, None, None])
    return codes.clip(-127, 127).astype(np.int8), scales


def _pair(graph: onnx.GraphProto, source: str, scale: np.float16) -> list[onnx.NodeProto]:
    graph.initializer.append(numpy_helper.from_array(np.array(scale), f"{source}.scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), f"{source}.zero"))
    constants = [f"{source}.scale", f"{source}.zero"]
    return [
        helper.make_node("QuantizeLinear", [source, *constants], [f"{source}.codes"], f"{source}.quantize"),
        helper.make_node(
            "DequantizeLinear", [f"{source}.codes", *constants], [f"{source}.dequantized"], f"{source}.dequantize"
        ),
    ]


def _dequantized_weight(
    graph: onnx.GraphProto, name: str, codes: npt.NDArray[np.int8], scales: npt.NDArray[np.float16]
) -> onnx.NodeProto:
    for suffix, value in (("codes", codes), ("scale", scales), ("zero", np.zeros(len(scales), np.int8))):
        graph.initializer.append(numpy_helper.from_array(value, f"{name}.{suffix}"))
    parts = [f"{name}.codes", f"{name}.scale", f"{name}.zero"]
    return helper.make_node("DequantizeLinear", parts, [f"{name}.dequantized"], f"{name}.dequantize", axis=0)


def read_graphs(network: Path) -> dict[str, onnx.ModelProto]:
    """The three graphs that stand beside each other, with their weights, given the path of the network's."""
    paths = {purpose: network.with_suffix("" if purpose == "network" else f".{purpose}") for purpose in PURPOSES}
    return {purpose: onnx.load(path.with_name(f"{path.name}.onnx")) for purpose, path in paths.items()}


def main(arguments: list[str] | None = None) -> None:
    """Quantise, compare, keep or refuse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the exported fp16 network; its whole-frame graphs stand beside it")
    parser.add_argument("--photos", type=Path, required=True, help="tar or folder of photographs that were not trained on")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--limit", type=int, default=200, help="photographs, half to calibrate, half to compare (default 200)")
    options = parser.parse_args(arguments)
    photos = list(read_photos(options.photos, options.limit).values())
    halves = read_graphs(options.source)
    stem = options.source.name.split(".")[0]
    area = area_of(options.source)
    ranges = input_ranges(halves["network"], photos[::2], area)
    graphs = {purpose: quantized(graph, ranges) for purpose, graph in halves.items()}
    figures = agreement((session_of(halves["network"]), session_of(graphs["network"])), photos[1::2], area)
    print(" ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if figures["mean_delta_e00"] > MEAN_DELTA_E00 or figures["chroma_ratio"] < 1 - CHROMA_SHRINK:
        raise SystemExit(
            f"not kept: it must be within CIEDE2000 {MEAN_DELTA_E00} and keep {1 - CHROMA_SHRINK:.0%} of the chroma"
        )
    for path in write_graphs(graphs, options.out, f"{stem}.int8"):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
