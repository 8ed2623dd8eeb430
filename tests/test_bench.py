from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import fake_gpu
import numpy as np
import pytest
from fake_gpu import FakeCuda, fake_tensorrt, session_of
from fakes import AREA, REPOSITORY, FakeEngine, fake_model, run_python

import edgecolor
from benchmarks import cases, gpu, record, table
from edgecolor import _bench, _cuda, _trt, _trt_engine
from edgecolor._cli import main
from edgecolor._engine import Array, OutputName, Purpose
from edgecolor._frame import rgb_inputs
from edgecolor._models import find_model
from edgecolor._plans import FOLDER_VARIABLE


class Clock:
    """Time passes only where something is said to take some."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


class SlowEngine(FakeEngine):
    """A network that takes 20 ms, and 2 ms more each time."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def run(self, planes: Array, *outputs: OutputName) -> tuple[Array, ...]:
        self.clock.seconds += 0.02 + 0.002 * len(self.planes)
        return super().run(planes, *outputs)


class SlowColorizer(edgecolor.Colorizer):
    """Pixel work of 30 ms for RGB and of 10 ms for chroma planes."""

    def __call__(self, gray: Any, **steering: Any) -> Any:
        self.clock.seconds += 0.03
        return super().__call__(gray, **steering)

    def chroma_planes(self, y: Any, **options: Any) -> Any:
        self.clock.seconds += 0.01
        return super().chroma_planes(y, **options)

    @property
    def clock(self) -> Clock:
        engine = self._engine
        assert isinstance(engine, SlowEngine)
        return engine.clock


@pytest.mark.parametrize(("seconds", "runs"), [(0.01, 5), (2.0, 8)])  # 106 ms the first round, 18 more each
def test_frames_are_measured_beside_the_network(monkeypatch: pytest.MonkeyPatch, seconds: float, runs: int) -> None:
    clock = Clock()
    monkeypatch.setattr(_bench, "time", clock)
    engine = SlowEngine(clock)
    figures = _bench.bench(SlowColorizer(engine, fake_model()), (256, 384), seconds)
    assert list(figures) == ["network", "rgb", "chroma_planes"]
    network = [20 + 2 * 3 * index for index in range(3, 3 + runs)]  # three of the rounds warm up
    for name, more in (("network", 0), ("rgb", 32), ("chroma_planes", 14)):
        of, times = figures[name], np.array(network) + more
        assert of["runs"] == runs
        assert [of["p25_ms"], of["median_ms"], of["p75_ms"], of["p99_ms"]] == pytest.approx(
            np.percentile(times, [25, 50, 75, 99]), abs=0.001
        )
        assert of["ratio_to_network"] == pytest.approx(np.median(times / np.array(network)), abs=0.001)
    assert engine.planes[0].shape == engine.planes[1].shape == engine.planes[2].shape


def test_the_command_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["bench", "--seconds", "0.1", "--frame", "384x256", "--json", "--engine", "onnxruntime"])
    assert done.value.code == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["frame"] == [256, 384]
    assert figures["rgb"]["median_ms"] > 0


def test_what_is_measured_is_a_picture() -> None:
    picture = _bench._picture(64, 96)
    assert picture.shape == (64, 96)
    assert picture.dtype == np.uint8
    assert np.ptp(picture) > 100


@pytest.mark.parametrize("seconds", ["0", "-1", "99999", "nan"])
def test_a_time_that_cannot_be_is_a_usage_error(seconds: str) -> None:
    with pytest.raises(SystemExit) as done:
        main(["bench", "--seconds", seconds])
    assert done.value.code == 2


# benchmarks.gpu, on the stand-in: whether it says all that it promises, not how fast anything is


class MeasuredCuda(FakeCuda):
    """A fake GPU that answers what ``benchmarks.gpu`` asks cuda-bindings for besides; its free memory shrinks."""

    _cuda = SimpleNamespace(
        cudaDeviceAttr=SimpleNamespace(cudaDevAttrMultiProcessorCount=16, cudaDevAttrClockRate=13),
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyDeviceToDevice=3),
    )

    def _call(self, _doing: str, name: str, *arguments: Any) -> Any:
        if name == "cudaMemcpyAsync":
            target, source, size, kind, stream = arguments
            assert kind == 3
            self._put(stream, lambda: fake_gpu._copy(target, source, size))
            return None
        if name == "cudaMemGetInfo":
            return 8_000_000_000 - sum(memory.nbytes for memory in self.memory.values())
        answers: dict[str, Any] = {
            "cudaDeviceGetAttribute": {16: 8, 13: 1_000_000},
            "cudaRuntimeGetVersion": 12060,
            "cudaDriverGetVersion": 13010,
        }
        return answers[name][arguments[0]] if arguments else answers[name]


class Remembering:
    """A session that computes each answer once."""

    def __init__(self, path: Path) -> None:
        self._session = session_of(path)
        self._answers: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: list[str], feed: dict[str, Any]) -> Any:
        key = tuple(names), *((name, array.shape, array.tobytes()) for name, array in feed.items())
        if key not in self._answers:
            self._answers[key] = self._session.run(names, feed)
        return self._answers[key]


SMALL = {"1080p": (384, 576)}
"""The stand-in computes on the CPU."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MeasuredCuda]:
    cuda = MeasuredCuda(name="No GPU, a stand-in")
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt())
    for module in (_cuda, _trt_engine):
        monkeypatch.setattr(module, "open_cuda", lambda: cuda)
    monkeypatch.setattr(_trt_engine, "FRAME_SIZES", tuple(SMALL.values()))
    monkeypatch.setattr(_trt_engine, "GRID_MAX", 416)
    monkeypatch.setitem(fake_gpu.DTYPES, "tensor(float16)", ("HALF", np.float16))
    monkeypatch.setattr(cases, "FRAMES", SMALL)
    monkeypatch.setattr(gpu, "FRAMES", SMALL)
    for name, value in {"COPIED": 1 << 16, "SIDE": 64, "WARM_UP_S": 0}.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "kept"))
    _trt.tensorrt.cache_clear()
    yield cuda
    _trt.tensorrt.cache_clear()


def test_all_that_is_promised_of_a_gpu_is_measured(
    stand_in: MeasuredCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="counting operations needs the extra 'verify': pip install '.[verify]'")
    for name in ("astronaut", "cat"):
        (tmp_path / f"{name}.jpg").symlink_to(cases.PHOTOS / f"{name}.jpg")
    monkeypatch.setattr(gpu, "PHOTOS", tmp_path)
    monkeypatch.setattr(fake_gpu, "session_of", cache(Remembering))
    gpu.main(["--runs", "2", "--results", str(tmp_path)])
    (path,) = tmp_path.glob("*.json")
    assert path.name == "no-gpu-a-stand-in.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["device"]["gpu"] == {"name": "No GPU, a stand-in", "compute_capability": "8.7"} | {
        "shares_memory": False,
        "memory_mb": 8000,
    }
    assert found["versions"].items() >= {"tensorrt": "TensorRT 10.3.0", "cuda": "12.6", "cuda_of_driver": "13.1"}.items()
    assert found["versions"]["driver"]
    assert set(found["rates"]) == {"copy_gb_s", "upload_gb_s", "download_gb_s", "half_tflops", "vector_tflops"}
    assert found["rates"]["vector_tflops"] == pytest.approx(2 * 256 * 8 * 1e9 / 1e12, abs=1e-3)
    for precision in ("fp16", "int8"):
        file = find_model("auto", precision, "tensorrt")
        assert file.weights is not None
        assert found["graphs"][precision].items() >= {"network": file.network.sha256, "weights": file.weights.sha256}.items()
        sizes = [f"{purpose} {name}" for purpose in ("rgb", "chroma") for name in SMALL]
        for plan in (found["plans"][f"{precision} {plan}"] for plan in ("network", *sizes)):
            assert plan.keys() >= {"build_s", "plan_mb"}
        # The stand-in computes with ONNX Runtime, so this is the agreement of the files, which engines.verify asserts too
        agreement = found["agreement"][precision]
        assert 0 < agreement["network"]["mean_delta_e00"] < {"fp16": 0.1, "int8": 0.5}[precision]
        assert agreement["network"]["p99_delta_e00"] < {"fp16": 1, "int8": 3}[precision]
        assert 0 < agreement["frame"]["mean_delta_e00"] < agreement["frame"]["p99_delta_e00"]
    assert len(found["plans"]) == 2 * (1 + 2)
    assert list(found["benchmarks"]) == [work.name for work in cases.gpu_works()]
    assert len(found["benchmarks"]) == 2 * (2 + 2) * 2
    for case in found["benchmarks"].values():
        assert case["runs"] == 2
        assert 0 < case["host_ms"] <= case["median_ms"] <= case["p99_ms"]
        assert 0 < case["operations_ms"] <= case["floor_ms"]
        assert case["gpu_memory_mb"] > 0
        assert case["first_s"] > 0
    bars = [(bar["what"], bar["bar"]) for bar in found["bars"]]
    assert bars.count(("whole 1080p frame / bare network", "<= 2")) == 8
    assert bars.count(("host time", "< 0.1 ms")) == 4
    assert bars.count(("mean CIEDE2000", "<= 0.1")) == bars.count(("mean CIEDE2000", "<= 0.5")) == 1
    printed = capsys.readouterr().out
    assert printed == table.section(found) + "\n"
    assert "| whole 1080p frame / bare network (bar: <= 2) | TensorRT fp16: 1080p frame to RGB, on the GPU |" in printed
    assert "| host time (bar: < 0.1 ms) | TensorRT fp16: 1080p frame to RGB, on the GPU, with graph replay |" in printed


def test_frames_on_the_gpu_are_neither_copied_nor_different(stand_in: MeasuredCuda) -> None:
    colorizer = edgecolor.load(engine="tensorrt", precision="fp16")
    frame = cases.grey(*SMALL["1080p"])
    resident, out = cases.OnGpu(frame, stand_in), cases.OnGpu(np.zeros((*frame.shape, 3), np.uint8), stand_in)
    cases.gpu_engine(colorizer).frame("rgb", rgb_inputs(resident, AREA), (out,))
    np.testing.assert_array_equal(out.numpy(), colorizer(frame))
    for purpose in get_args(Purpose):
        size = (64, 96) if purpose == "network" else SMALL["1080p"]
        call = cases.GpuWork("fp16", purpose, size, resident=True).call(colorizer)
        for _ in range(3):
            call()
        stand_in.calls.clear()
        call()
        assert stand_in.calls == ["replay", "wait"]


def test_the_work_of_the_host_is_what_is_not_waited_for(stand_in: MeasuredCuda) -> None:
    work = cases.GpuWork("fp16", "rgb", SMALL["1080p"], resident=True)
    measured = gpu.measure(work, lambda: None, 5, stand_in)
    assert measured["host_ms"] < 0.5 * measured["median_ms"]  # the stand-in computes while it is waited for


def test_results_are_named_by_the_gpu_only_where_it_colours(stand_in: MeasuredCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    assert record.result_path(Path()).name == "no-gpu-a-stand-in.json"
    assert {"processor", "gpu"} <= set(record.device())
    monkeypatch.setattr(record, "why_not_tensorrt", lambda: "there is none")
    assert record.result_path(Path()).name.endswith("-cores.json")
    assert not {"processor", "gpu"} & set(record.device())
    assert "tensorrt" not in record.versions()


def test_without_a_gpu_there_is_one_line(tmp_path: Path) -> None:
    # Nor are those extras looked for that nothing here needs
    code = "import sys, runpy; sys.modules.update(dict.fromkeys(('av', 'pyvips', 'tinycss2', 'tqdm', 'pytest', 'torch')));"
    code += "sys.argv = ['gpu']; runpy.run_module('benchmarks.gpu', run_name='__main__')"
    (tmp_path / "tensorrt.py").write_text("raise ImportError('there is none')")
    done = run_python("-c", code, home=REPOSITORY, path=str(tmp_path))
    assert done.returncode == 1, done.stderr
    assert not done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("benchmarks.gpu: ")


def test_pycuda_and_a_missing_onnx_are_told_at_once(stand_in: MeasuredCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda _: None)
    assert "pip install onnx" in str(gpu.why_not())
    monkeypatch.setattr(_cuda, "open_cuda", FakeCuda)
    assert "cuda-bindings" in str(gpu.why_not())
    with pytest.raises(SystemExit, match=r"^benchmarks\.gpu: cuda-bindings is needed"):
        gpu.main([])


def test_what_is_asked_for_is_in_the_real_bindings() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for function in (
        "cudaMemGetInfo",
        "cudaMemcpyAsync",
        "cudaDeviceGetAttribute",
        "cudaRuntimeGetVersion",
        "cudaDriverGetVersion",
    ):
        assert callable(getattr(runtime, function))
    for name in vars(MeasuredCuda._cuda.cudaDeviceAttr):
        assert int(getattr(runtime.cudaDeviceAttr, name)) == getattr(MeasuredCuda._cuda.cudaDeviceAttr, name)
    assert int(runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice) == 3
