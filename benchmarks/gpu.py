"""All that is promised of a GPU, measured on the one that is here.

    python -m benchmarks.gpu [--runs 500] [--results benchmarks/results]

Latency of the bare network and of whole frames beside the floor that operations, bytes and the card's own rates set; plans,
memory, and agreement with ONNX Runtime. Written to RESULTS/<gpu>.json and printed as Markdown; it takes minutes, most of them
for plans. Beside NumPy, OpenCV and ONNX Runtime it needs TensorRT or TensorRT-RTX, cuda-bindings, and onnx, which counts the
operations; nothing of the other extras.

The floor takes every layer as read from the card's memory and written there. What stays in a cache between layers can beat it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from benchmarks.cases import FRAMES, GPU_PRECISIONS, GPU_ROUNDS, PHOTOS, Call, GpuWork, OnGpu, gpu_engine, gpu_works
from benchmarks.record import RESULTS, figures, seconds, write
from benchmarks.table import section
from edgecolor import EdgecolorError, _cuda
from edgecolor._color import delta_e00, rgb_to_lab
from edgecolor._engine import FRAME_OUTPUTS, Purpose, why_not_tensorrt
from edgecolor._grid import CELL, grid_size
from edgecolor._models import ModelFile, Precision, find_model
from edgecolor._plans import FOLDER_VARIABLE
from edgecolor._trt import BuildOptions, Plan, build_plan
from edgecolor._trt_engine import TensorRtEngine

Rates = dict[str, float]

WARM_UP_S = 0.5
"""Seconds before a case is measured, in which the clocks of the GPU rise."""

COPIED = 1 << 28
"""Bytes of a copy that no cache holds."""

SIDE = 8192
"""Of the matrices whose product is timed."""

PRODUCT = """<ir_version: 9, opset_import: ["": 20]>
product (float16[n, n] a, float16[n, n] b) => (float16[n, n] c) { c = MatMul (a, b) }"""

HALF_LANES = 256
"""Multiply-adds of float16 that a multiprocessor does in a clock without tensor cores: the most of any card since Volta."""

FRAME_BAR = 2
"""A whole 1080p frame may take so many times the bare network."""

HOST_BAR_MS = 0.1
"""And the host so long with it."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=GPU_ROUNDS, help="of each case (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to (default: benchmarks/results)")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs must be 1 or more, got {options.runs}")
    reason = why_not()
    if reason:
        sys.exit(f"benchmarks.gpu: {reason}")
    try:
        # A folder of its own: plans that are kept already would tell no build time
        with tempfile.TemporaryDirectory() as plans, mock.patch.dict(os.environ, {FOLDER_VARIABLE: plans}):
            path = measure_all(options.runs, options.results)
    except EdgecolorError as error:
        sys.exit(f"benchmarks.gpu: {error}")
    print(section(json.loads(path.read_text(encoding="utf-8"))))


def why_not() -> str | None:
    """Why nothing can be measured here, or None."""
    reason = why_not_tensorrt()
    if reason is None and not hasattr(_cuda.open_cuda(), "_call"):
        reason = "cuda-bindings is needed, pycuda does not do; run: pip install 'edgecolor[cuda13]'"
    if reason is None and not find_spec("onnx"):
        reason = "onnx, which counts the operations of the floor, is not installed; run: pip install onnx"
    return reason


def measure_all(runs: int, folder: Path) -> Path:
    """Everything, written after each precision, so that what is done survives what is not."""
    cuda: Any = _cuda.open_cuda()
    _say("the card's own rates")
    rates = card_rates(cuda)
    measured: dict[str, Any] = {}
    found: dict[str, Any] = {"rates": rates, "graphs": {}, "plans": {}, "agreement": {}, "bars": []}
    for precision in GPU_PRECISIONS:
        file = find_model("auto", precision, "tensorrt")
        found["graphs"][precision] = hashes(file)
        found["plans"] |= build_all(file)
        colorizer = edgecolor.load(engine="tensorrt", precision=precision)
        _say(f"{precision}: agreement with ONNX Runtime")
        found["agreement"][precision] = agreement_of(colorizer)
        for work in (work for work in gpu_works() if work.precision == precision):
            _say(work.title)
            pace = GpuWork(precision, "network", grid_size(*FRAMES["1080p"], find_model().grid_area), work.resident).call(
                colorizer
            )
            measured[work.name] = {**measure(work, pace, runs, cuda), **floor_of(work, rates, cuda.device.shares_memory)}
        found["bars"] += bars_of(precision, measured, found["agreement"][precision])
        path = write(folder, measured, **found)
    _say(str(path))
    return path


def measure(work: GpuWork, network: Call, runs: int, cuda: Any) -> dict[str, Any]:
    """Time one case round by round, the bare network before each; what of it was the host's work, and what memory it took."""
    network()  # its own memory is not the case's
    gc.collect()
    free, start = _free_bytes(cuda), time.perf_counter()
    call = work.prepare()
    call()
    first = time.perf_counter() - start
    until = time.perf_counter() + WARM_UP_S
    warm = 0
    while warm < 3 or time.perf_counter() < until:  # the third time it is replayed
        network()
        call()
        warm += 1
    memory = free - _free_bytes(cuda)
    times, paces, hosts = [], [], []
    with _waits(cuda) as waits:
        for _ in range(runs):
            paces.append(seconds(network))
            waits.clear()
            times.append(seconds(call))
            hosts.append(times[-1] - sum(waits))
    return {
        "title": work.title,
        **figures(times, paces),
        "host_ms": round(1000 * float(np.median(hosts)), 4),
        "host_p99_ms": round(1000 * float(np.percentile(hosts, 99)), 4),
        "first_s": round(first, 3),
        "gpu_memory_mb": round(memory / 1e6, 1),
    }


@contextmanager
def _waits(cuda: Any) -> Iterator[list[float]]:
    """Seconds of every wait for the GPU: what else a call takes, the host works."""
    spent: list[float] = []
    wait = type(cuda).wait

    def timed(self: Any, stream: int) -> None:
        spent.append(seconds(lambda: wait(self, stream)))

    with mock.patch.object(type(cuda), "wait", timed):
        yield spent


def _free_bytes(cuda: Any) -> int:
    return int(cuda._call("tell its free memory", "cudaMemGetInfo"))


# Plans


def build_all(file: ModelFile) -> dict[str, dict[str, float]]:
    """Every plan, built as a first use does it: seconds until it is kept and loaded, and its size."""
    opened: list[TensorRtEngine] = []
    plans = {f"{file.precision} network": _built(lambda: opened.append(TensorRtEngine(file, BuildOptions())))}
    purposes: tuple[Purpose, ...] = ("rgb", "chroma")
    for purpose, (name, size) in product(purposes, FRAMES.items()):
        _say(f"{file.precision}: the plan for {name} frames, {purpose}")
        plans[f"{file.precision} {purpose} {name}"] = _built(partial(opened[0].prepare, purpose, *size))
    return plans


def _built(work: Call) -> dict[str, float]:
    folder = Path(os.environ[FOLDER_VARIABLE])
    before = set(folder.glob("*.plan"))
    taken = seconds(work)
    (plan,) = set(folder.glob("*.plan")) - before
    return {"build_s": round(taken, 2), "plan_mb": round(plan.stat().st_size / 1e6, 2)}


def hashes(file: ModelFile) -> dict[str, str]:
    """SHA-256 of every file of a model."""
    parts = {"network": file.network, **file.frames, **({"weights": file.weights} if file.weights else {})}
    return {name: shipped.sha256 for name, shipped in parts.items()}


# The floor


def card_rates(cuda: Any) -> Rates:
    """What the card copies and multiplies, measured; and what it computes without tensor cores, from its clock."""
    attributes = cuda._cuda.cudaDeviceAttr
    processors, kilohertz = (
        int(cuda._call("ask the GPU", "cudaDeviceGetAttribute", attribute, 0))
        for attribute in (attributes.cudaDevAttrMultiProcessorCount, attributes.cudaDevAttrClockRate)
    )
    with cuda.active():
        copied = copy_rates(cuda)
    rates = copied | {
        "half_tflops": half_rate(cuda),
        "vector_tflops": 2 * HALF_LANES * processors * kilohertz * 1e3 / 1e12,
    }
    return {name: round(rate, 3) for name, rate in rates.items()}


def copy_rates(cuda: Any) -> Rates:
    """GB/s on the card, read and written, and to and from it."""
    stream, pinned = cuda.stream(), cuda.pinned(COPIED)
    source, target = OnGpu(np.random.default_rng(0).integers(0, 256, COPIED, np.uint8), cuda), cuda.allocate(COPIED)
    address = source.__cuda_array_interface__["data"][0]
    kind = cuda._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
    copy = ("copy on the GPU", "cudaMemcpyAsync", target, address, COPIED, kind, stream)
    rates = {
        "copy_gb_s": 2 * COPIED / _fastest(lambda: cuda._call(*copy), cuda, stream),
        "upload_gb_s": COPIED / _fastest(lambda: cuda.upload(target, pinned.host, stream), cuda, stream),
        "download_gb_s": COPIED / _fastest(lambda: cuda.download(pinned.host, address, stream), cuda, stream),
    }
    cuda.release(stream=stream, allocated=[target], pinned=[pinned])
    return {name: rate / 1e9 for name, rate in rates.items()}


def _fastest(work: Call, cuda: Any, stream: int, repeats: int = 5) -> float:
    def together() -> None:
        for _ in range(repeats):
            work()
        cuda.wait(stream)

    return min(seconds(together) for _ in range(6)) / repeats


def half_rate(cuda: Any) -> float:
    """TFLOP/s of a large product of half matrices in TensorRT."""
    from onnx import parser, save

    shape = (SIDE, SIDE)
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder, "product.onnx")
        save(parser.parse_model(PRODUCT), graph)
        plan = Plan(build_plan(graph, dict.fromkeys("ab", (shape, shape, shape)), BuildOptions()), cuda)
    matrix = OnGpu(np.random.default_rng(0).standard_normal(shape, np.float32).astype(np.float16), cuda)
    taken = min(seconds(lambda: plan.run({"a": matrix, "b": matrix}, {})) for _ in range(20))
    return 2 * SIDE**3 / taken / 1e12


def floor_of(work: GpuWork, rates: Rates, shares_memory: bool) -> dict[str, float]:  # noqa: FBT001  # of the device
    """Least ms of the operations alone; and with every layer through memory, the copies between host and card counted in.

    In INT8 what tensor cores do is counted with half the bytes and twice the rate, which was not measured.
    """
    from engines.estimate import floor_ms, frame_work, operations_ms

    height, width = work.size
    framed = work.purpose != "network"
    layers = _network_layers(*(grid_size(height, width, find_model().grid_area) if framed else work.size))
    if work.precision == "int8":
        halves = [replace(layer, operations=layer.operations / 2, moved=layer.moved / 2) for layer in layers]
        layers = [half if half.tensor else layer for half, layer in zip(halves, layers, strict=True)]
    if framed:
        layers = layers + frame_work(height, width, chroma=work.purpose == "chroma")
    card = {
        "tensor_tflops": rates["half_tflops"],
        "vector_tflops": rates["vector_tflops"],
        "bandwidth_gb_s": rates["copy_gb_s"],
    }
    copies = 0.0
    if not work.resident and not shares_memory:
        up, down = _copied_bytes(work)
        copies = 1e3 * (up / rates["upload_gb_s"] + down / rates["download_gb_s"]) / 1e9
    return {"operations_ms": round(operations_ms(layers, card), 4), "floor_ms": round(floor_ms(layers, card) + copies, 4)}


@cache
def _network_layers(height: int, width: int) -> list[Any]:
    from engines.estimate import network_work

    return network_work(height, width)


def _copied_bytes(work: GpuWork) -> tuple[int, int]:
    pixels = work.size[0] * work.size[1]
    if work.purpose == "network":
        return 4 * 4 * pixels, 4 * 3 * pixels // CELL**2
    return pixels, sum(int(np.prod(shape)) for _, shape in FRAME_OUTPUTS[work.purpose](*work.size))


# Agreement


class _Session:
    """An engine as :func:`engines.agreement.agreement` asks for answers."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def run(self, outputs: list[str], feed: dict[str, Any]) -> Any:
        return self._run(feed["planes"], *outputs)


def agreement_of(colorizer: edgecolor.Colorizer) -> dict[str, dict[str, float]]:
    """CIEDE2000 to the float32 network in ONNX Runtime on the photographs of the tests: of the network, and of 1080p frames."""
    from engines.agreement import agreement, session_of

    photos: list[Any] = [cv2.imread(str(path)) for path in sorted(PHOTOS.glob("*.jpg"))]
    sessions = [session_of(find_model().network.path), _Session(gpu_engine(colorizer).run)]
    network = agreement(sessions, [photo[..., ::-1] for photo in photos], find_model().grid_area)
    cpu = edgecolor.load(engine="onnxruntime")
    height, width = FRAMES["1080p"]
    frames = [cv2.resize(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), (width, height)) for photo in photos]
    errors = np.array([delta_e00(_lab(colorizer(frame)), _lab(cpu(frame))) for frame in frames])
    frame = {"mean_delta_e00": float(errors.mean()), "p99_delta_e00": float(np.percentile(errors, 99))}
    return {
        of: {name: round(value, 4) for name, value in found.items()} for of, found in (("network", network), ("frame", frame))
    }


def _lab(rgb: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return rgb_to_lab(rgb[::4, ::4] / 255.0)


# The bars


def bars_of(precision: Precision, measured: dict[str, Any], agreement: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """What was promised, and what was found."""
    from engines.verify import ALLOWED

    bars = []
    for work in gpu_works():
        if work.precision == precision and work.size == FRAMES["1080p"]:
            whole = measured[work.name]
            bars.append(("whole 1080p frame / bare network", f"<= {FRAME_BAR}", work.title, whole["ratio_to_network"]))
            if work.resident:  # from the host, it copies pixels besides
                bars.append(("host time", f"< {HOST_BAR_MS} ms", f"{work.title}, with graph replay", whole["host_ms"]))
    found = {"mean": agreement["network"]["mean_delta_e00"], "p99": agreement["network"]["p99_delta_e00"]}
    found["shrink"] = round(1 - agreement["network"]["chroma_ratio"], 4)
    words = {"mean": "mean CIEDE2000", "p99": "99th percentile of CIEDE2000", "shrink": "chroma lost"}
    for name, value in found.items():
        bars.append((words[name], f"<= {ALLOWED[precision][name]}", f"{precision} network, to fp32 in ONNX Runtime", value))
    return [dict(zip(("what", "bar", "of", "found"), bar, strict=True)) for bar in bars]


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
