"""Hold every shipped file for TensorRT to the same checks.

    python -m engines.verify [--photos FOLDER] [--write benchmarks/results/plans.json]

Types and operators of the graph, colours against the float32 network, and, with the extra ``verify``, a real build for every
GPU that TensorRT-RTX offers, on a machine that needs none: its log tells the type of every fused layer and the memory.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, numpy_helper

from edgecolor._color import delta_e00
from edgecolor._colorizer import Colorizer
from edgecolor._frame import rgb_inputs
from edgecolor._models import ModelFile, ShippedFile, find_model, registry
from edgecolor._ort import OrtEngine
from edgecolor._source import read_picture
from edgecolor._trt import BuildOptions, build_plan, offered_capabilities, release, tensorrt
from edgecolor._trt_engine import frame_profile, network_profile
from engines.agreement import agreement, session_of

OPSET = 20
"""The newest that TensorRT 10.3 reads."""

ALLOWED = {"fp16": {"mean": 0.1, "p99": 0.6, "shrink": 0.01}, "int8": {"mean": 0.5, "p99": 2.5, "shrink": 0.03}}
"""CIEDE2000 to the float32 network, mean and 99th percentile, and the share of the chroma that may be lost."""

FRAME_DELTA_E00 = 1.0
"""Mean CIEDE2000 of a whole frame to the library's own way: the grid is averaged from half the frame there."""

MATRIX_PRODUCTS = 2
"""Convolutions that TensorRT may turn into matrix products: those on the mean of the whole picture."""

_FLOATS = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}


class VerificationError(Exception):
    """A shipped file does not hold what is promised; the message says which and how."""


@dataclass(frozen=True)
class Build:
    """What building one graph showed."""

    graph: str
    sha256: str
    builder: str
    compute_capabilities: tuple[str, ...]
    build_s: float
    plan_mb: float
    activation_mb: float
    convolutions: dict[str, int]
    """Type of their input -> number of convolutions."""


def graphs_of(file: ModelFile) -> dict[str, ShippedFile]:
    """The graphs of a model by purpose."""
    return {"network": file.network, **file.frames}


def check_graph(file: ShippedFile, precision: str) -> dict[str, int]:
    """Check types and operators; how many of the network's convolutions compute in which type.

    Raises:
        VerificationError: Something that TensorRT would refuse, or would do in another precision than the file's name says.
    """
    model = onnx.load(file.path)
    onnx.checker.check_model(model, full_check=True)
    opset = model.opset_import[0].version
    if opset != OPSET:
        raise VerificationError(f"{file.path.name} has opset {opset}, it must have {OPSET}")
    _check_bytes(model, file.path.name)
    made = {output: node for node in model.graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    kinds: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        source = made.get(node.input[1])
        if source is None:
            kinds[_FLOATS.get(weights[node.input[1]].data_type, "other")] += 1
        elif source.op_type == "DequantizeLinear" and made[node.input[0]].op_type == "DequantizeLinear":
            kinds["int8"] += 1
        else:
            raise VerificationError(f"{file.path.name}: {node.name} is neither float nor explicitly quantised on both sides")
    if kinds["fp32"] or kinds["other"] or (precision == "int8") != bool(kinds["int8"]):
        raise VerificationError(f"{file.path.name} is called {precision}, but its convolutions are {dict(kinds)}")
    return dict(kinds)


def _check_bytes(model: onnx.ModelProto, name: str) -> None:
    """TensorRT takes uint8 only into a Cast, and gives it only out of one."""
    for value in model.graph.input:
        readers = {node.op_type for node in model.graph.node if value.name in node.input}
        if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8 and not readers <= {"Cast", "Shape"}:
            raise VerificationError(f"{name}: {value.name} is uint8 and must be read by a Cast, not by {sorted(readers)}")
    for value in model.graph.output:
        makers = [node.op_type for node in model.graph.node if value.name in node.output]
        if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8 and makers != ["Cast"]:
            raise VerificationError(f"{name}: {value.name} is uint8 and must be made by a Cast, not by {makers}")
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in {tensor.name for tensor in model.graph.initializer}:
            zero = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[2])
            if numpy_helper.to_array(zero).any() or helper.get_node_attr_value(node, "axis") != 0:
                raise VerificationError(f"{name}: {node.name} is not symmetric per output channel")


def check_colours(file: ModelFile, pictures: list[Any]) -> dict[str, float]:
    """CIEDE2000 of a network to the float32 one on (H, W[, 3]) pictures.

    Raises:
        VerificationError: More than ALLOWED.
    """
    sessions = [session_of(graph.path) for graph in (find_model(file.model).network, file.network)]
    found = agreement(sessions, pictures, file.grid_area)
    figures = {"mean": found["mean_delta_e00"], "p99": found["p99_delta_e00"], "shrink": 1 - found["chroma_ratio"]}
    for name, allowed in ALLOWED[file.precision].items():
        if figures[name] > allowed:
            raise VerificationError(f"{file.network.path.name}: {name} is {figures[name]:.3f} from fp32, {allowed} allowed")
    return figures


def check_frame(file: ModelFile, picture: Any) -> float:
    """Mean CIEDE2000 of the whole-frame graph to the library's own way on an (H, W) uint8 picture with even sides.

    Raises:
        VerificationError: More than FRAME_DELTA_E00.
    """
    from edgecolor._color import rgb_to_lab

    colorizer = Colorizer(OrtEngine(find_model(file.model).network.read()), find_model(file.model))
    session = session_of(file.frames["rgb"].path)
    (rgb,) = session.run(["rgb"], dict(rgb_inputs(picture, file.grid_area)))
    difference = float(delta_e00(*(rgb_to_lab(image / 255.0) for image in (rgb, colorizer(picture)))).mean())
    if difference > FRAME_DELTA_E00:
        raise VerificationError(f"{file.frames['rgb'].path.name}: {difference:.2f} from the library's own way")
    return difference


def check_build(file: ModelFile, purpose: str, expected: dict[str, int], capabilities: tuple[str, ...]) -> Build:
    """Build one plan for several GPUs, and read the log.

    Raises:
        VerificationError: A convolution computes in another type than its file says.
        EngineBuildError: It cannot be built.
    """
    area, graph = file.grid_area, graphs_of(file)[purpose]
    profile = network_profile(area) if purpose == "network" else frame_profile(1080, 1920, area)
    said: list[tuple[str, str]] = []
    start = time.perf_counter()
    plan = build_plan(graph.path, profile, BuildOptions(compute_capabilities=capabilities), messages=said)
    seconds = time.perf_counter() - start
    text = [line for _, message in said for line in message.splitlines()]
    built = convolutions_in(text)
    if not built or set(built) - set(expected):
        raise VerificationError(f"{graph.path.name}: built with convolutions {built}, the file has {expected}")
    if sum(built.values()) < sum(expected.values()) - MATRIX_PRODUCTS:
        raise VerificationError(f"{graph.path.name}: of the convolutions {expected} only {built} were found in the plan")
    memory = [int(found[1]) for line in text if (found := re.search(r"Total Activation Memory: (\d+)", line))]
    return Build(
        graph=graph.path.name,
        sha256=graph.sha256,
        builder=release(tensorrt()),
        compute_capabilities=capabilities,
        build_s=round(seconds, 2),
        plan_mb=round(len(plan) / 1e6, 1),
        activation_mb=round(max(memory, default=0) / 1e6, 1),
        convolutions=built,
    )


def convolutions_in(log: list[str]) -> dict[str, int]:
    """Type of the input -> number of layers that convolve, in the words of the builder's verbose log."""
    names = {"Float": "fp32", "Half": "fp16", "Int8": "int8"}
    kinds: Counter[str] = Counter()
    for line in log:
        layer = re.match(r"\s*Name: (\S+), LayerType: (\w+), Inputs: \[(.*?)\](?:, Constants|, Outputs)", line)
        if layer and (layer[2] == "correlation" or "Corr" in layer[1]):
            types = set(re.findall(r"Datatype: (\w+)", layer[3]))
            kinds["/".join(sorted(names.get(kind, kind) for kind in types))] += 1
    return dict(kinds)


def main(arguments: list[str] | None = None) -> None:
    """Check everything, print a line for each graph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parent.parent / "tests" / "photos"
    parser.add_argument("--photos", type=Path, default=default, help="folder of photographs (default %(default)s)")
    parser.add_argument("--write", type=Path, help="JSON file for what was measured")
    options = parser.parse_args(arguments)
    pictures = [read_picture(path) for path in sorted(options.photos.glob("*.jpg"))]
    record: dict[str, Any] = {"colours": {}, "builds": []}
    for name, precision in product(registry()["model"], ("fp16", "int8")):
        file = find_model(name, precision, "tensorrt")
        file.check()
        record["colours"][f"{name}.{precision}"] = figures = check_colours(file, pictures)
        print(f"{name} {precision}: CIEDE2000 to fp32 {figures['mean']:.3f}, 99 % within {figures['p99']:.2f}")
        for purpose, graph in graphs_of(file).items():
            expected = check_graph(graph, precision)
            for capability in offered_capabilities(tensorrt()):
                build = check_build(file, purpose, expected, (capability,))
                record["builds"].append(asdict(build))
                print(
                    f"{build.graph:22} {capability:5} {build.build_s:5.2f} s, plan {build.plan_mb} MB, "
                    f"activations {build.activation_mb} MB, convolutions {build.convolutions}",
                    flush=True,
                )
    if options.write:
        options.write.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
