"""Every shipped file for TensorRT is checked, and really built, on a machine without a GPU."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("onnx", reason="checking graphs needs the extra 'verify': pip install '.[verify]'")

import onnx
from fakes import AREA
from onnx import TensorProto, helper

from edgecolor import EngineBuildError, _trt
from edgecolor._models import ShippedFile, find_model, registry
from edgecolor._trt import BuildOptions, build_plan, offered_capabilities
from edgecolor._trt_engine import network_profile
from engines import verify

FILES = list(product(registry()["model"], ("fp16", "int8")))
"""Model, precision."""

GRAPHS = [(model, precision, purpose) for model, precision in FILES for purpose in ("network", "rgb", "chroma")]


@pytest.fixture
def builder() -> Any:
    """TensorRT-RTX, which builds for GPUs that are not there."""
    _trt.tensorrt.cache_clear()
    rt = pytest.importorskip("tensorrt_rtx_bindings", reason="building plans needs the extra 'verify': pip install '.[verify]'")
    if not offered_capabilities(_trt.tensorrt()):
        pytest.skip("the TensorRT installed here builds only for the GPU that it runs on; tests/gpu does that")
    return rt


@pytest.mark.parametrize(("model", "precision", "purpose"), GRAPHS)
def test_every_graph_has_the_types_that_its_name_says(model: str, precision: str, purpose: str) -> None:
    graph = verify.graphs_of(find_model(model, precision, "tensorrt"))[purpose]
    kinds = verify.check_graph(graph, precision)
    assert "fp32" not in kinds
    single = onnx.load(find_model(model).network.path).graph.node
    assert sum(kinds.values()) == [node.op_type for node in single].count("Conv")
    if precision == "int8":
        assert kinds["int8"] >= 0.5 * sum(kinds.values())


@pytest.mark.parametrize(("model", "precision"), FILES)
def test_colours_are_those_of_the_float32_network(model: str, precision: str, photographs: dict[str, Any]) -> None:
    figures = verify.check_colours(find_model(model, precision, "tensorrt"), list(photographs.values()))
    assert figures["mean"] > 0, "they cannot be the same file"


@pytest.mark.parametrize(("model", "precision"), FILES)
def test_a_whole_frame_is_what_the_library_makes_of_it(model: str, precision: str, greys: dict[str, Any]) -> None:
    grey = next(grey for grey in greys.values() if min(grey.shape) >= 400)
    # Of smaller frames the half is smaller than the grid, and no plan takes them
    height, width = (side // 2 * 4 for side in grey.shape)
    frame = cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC)
    verify.check_frame(find_model(model, precision, "tensorrt"), frame)


@pytest.mark.parametrize("capabilities", ["7.5", "the rest"])
@pytest.mark.parametrize(("model", "precision", "purpose"), GRAPHS)
def test_every_graph_builds_for_every_gpu(builder: Any, model: str, precision: str, purpose: str, capabilities: str) -> None:
    # Apart: a plan for Turing is four times as large as the others, and does int8 its own way
    offered = tuple(offered_capabilities(builder))
    chosen = tuple(name for name in offered if (name == "7.5") == (capabilities == "7.5"))
    assert chosen
    file = find_model(model, precision, "tensorrt")
    written = verify.check_graph(verify.graphs_of(file)[purpose], precision)
    build = verify.check_build(file, purpose, written, chosen)
    assert build.plan_mb > 1
    assert "fp32" not in build.convolutions
    if precision == "int8" and capabilities != "7.5":
        assert build.convolutions["int8"] >= written["int8"]
    if purpose != "network":
        assert build.activation_mb <= 150, "a 1080p frame must leave a small board its memory"


# What is wrong is seen


def _model(nodes: list[Any], *, inputs: list[Any], outputs: list[Any], weights: list[Any], opset: int = 20) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _convolution(dtype: int, opset: int = 20, kind: str = "Conv") -> onnx.ModelProto:
    weight = helper.make_tensor("w", dtype, [8, 4, 1, 1], [0.5] * 32)
    names = ["planes", "w"] if kind == "Conv" else ["planes"]
    return _model(
        [helper.make_node(kind, names, ["colors"], "node")],
        inputs=[helper.make_tensor_value_info("planes", dtype, [1, 4, "height", "width"])],
        outputs=[helper.make_tensor_value_info("colors", dtype, [1, 8 if kind == "Conv" else 4, "height", "width"])],
        weights=[weight] if kind == "Conv" else [],
        opset=opset,
    )


def _shipped(folder: Path, model: onnx.ModelProto | bytes) -> ShippedFile:
    path = folder / "made.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return ShippedFile(path, "0" * 64)


@pytest.mark.parametrize(
    ("model", "words"),
    # TensorRT takes a file of any opset, and does what it can with it: the check is ours
    [
        (_convolution(TensorProto.FLOAT), "called fp16, but its convolutions are {'fp32': 1}"),
        (_convolution(TensorProto.FLOAT16, opset=17), "has opset 17, it must have 20"),
    ],
)
def test_wrong_types_and_opsets_are_noticed(tmp_path: Path, model: onnx.ModelProto, words: str) -> None:
    with pytest.raises(verify.VerificationError, match=words):
        verify.check_graph(_shipped(tmp_path, model), "fp16")


def test_bytes_that_tensorrt_would_refuse_are_noticed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Transpose", ["luma"], ["turned"]), helper.make_node("Cast", ["turned"], ["out"], to=1)]
    model = _model(
        nodes,
        inputs=[helper.make_tensor_value_info("luma", TensorProto.UINT8, [4, 4])],
        outputs=[helper.make_tensor_value_info("out", TensorProto.FLOAT, [4, 4])],
        weights=[],
    )
    with pytest.raises(verify.VerificationError, match="luma is uint8 and must be read by a Cast"):
        verify.check_graph(_shipped(tmp_path, model), "fp16")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda model: model.SerializeToString()[:-40], "cannot read"),
        (lambda _: b"no graph at all", "cannot read"),
        (lambda _: b"", "cannot (read|build)"),
        (lambda _: _convolution(TensorProto.FLOAT16, kind="Bernoulli").SerializeToString(), "cannot read.*Bernoulli"),
        (lambda _: _convolution(TensorProto.INT32, kind="Erf").SerializeToString(), "cannot (read|build)"),
    ],
    ids=["truncated", "junk", "empty", "unsupported operator", "wrong type"],
)
def test_files_that_cannot_be_built_have_tensorrts_own_words(builder: Any, tmp_path: Path, damage: Any, words: str) -> None:
    path = _shipped(tmp_path, damage(_convolution(TensorProto.FLOAT16))).path
    with pytest.raises(EngineBuildError, match=words):
        build_plan(path, network_profile(AREA), BuildOptions(compute_capabilities=("8.6",)))


def test_weights_that_are_missing_are_named(builder: Any, tmp_path: Path) -> None:
    source = find_model(engine="tensorrt").network.path
    (tmp_path / source.name).write_bytes(source.read_bytes())
    with pytest.raises(EngineBuildError, match=r"lite\.fp16\.weights"):
        build_plan(tmp_path / source.name, network_profile(AREA), BuildOptions(compute_capabilities=("8.6",)))


def test_a_gpu_that_is_not_offered_is_named(builder: Any) -> None:
    with pytest.raises(EngineBuildError, match=r"cannot build for compute capability 3\.5; it can for: .*8\.6"):
        build_plan(
            find_model(engine="tensorrt").network.path, network_profile(AREA), BuildOptions(compute_capabilities=("3.5",))
        )


def test_every_option_is_taken(builder: Any) -> None:
    options = BuildOptions(workspace_mb=512, hardware_compatible=True, compute_capabilities=("8.6",))
    assert len(build_plan(find_model(engine="tensorrt").network.path, network_profile(AREA, 512), options)) > 1_000_000


def test_building_reports_its_progress(builder: Any) -> None:
    told: list[float] = []
    build_plan(
        find_model(engine="tensorrt").network.path,
        network_profile(AREA, 512),
        BuildOptions(compute_capabilities=("8.6",)),
        lambda _, share: told.append(share),
    )
    assert told
    assert all(0 <= share <= 1 for share in told)
