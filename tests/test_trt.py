"""The TensorRT engine on a fake GPU that computes with ONNX Runtime: order, shapes, lifetimes, errors."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from fake_gpu import FakeCuda, GpuArray, fake_tensorrt, session_of
from fakes import PHOTOS, Picture, assert_lightness_kept, fake_colorizer, mean_error, tripled

import edgecolor
from edgecolor import EngineBuildError, EngineUnavailableError, ImageError, _engine, _plans, _trt, _trt_engine
from edgecolor._cli import main
from edgecolor._engine import choose_engine
from edgecolor._frame import rgb_inputs
from edgecolor._models import find_model
from edgecolor._trt import BuildOptions, build_plan
from edgecolor._trt_engine import FRAME_SIZES, TensorRtEngine, frame_profile, network_profile

FILE = find_model(engine="tensorrt")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(_plans.FOLDER_VARIABLE, str(folder))
    return folder


@pytest.fixture
def rt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """TensorRT 10.3 and a GPU with its own memory, both fake."""
    module = fake_tensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(_trt_engine, "open_cuda", FakeCuda)
    # Small frames: the fake computes on the CPU
    monkeypatch.setattr(_trt_engine, "FRAME_SIZES", ((400, 600), (480, 640)))
    monkeypatch.setattr(_trt_engine, "GRID_MAX", 416)
    _trt.tensorrt.cache_clear()
    yield module
    _trt.tensorrt.cache_clear()


def _cuda() -> FakeCuda:
    assert FakeCuda.opened is not None
    return FakeCuda.opened


def _planes(height: int, width: int, seed: int = 0) -> Any:
    planes = np.zeros((1, 4, height, width), np.float32)
    small = np.random.default_rng(seed).uniform(10, 90, (6, 6)).astype(np.float32)
    planes[0, 0] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return planes


def _grey(height: int, width: int, name: str = "astronaut") -> Picture:
    photo = cv2.imread(str(PHOTOS / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
    assert photo is not None
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)


# The network


@pytest.mark.parametrize("shares_memory", [False, True])
@pytest.mark.parametrize("captures", [False, True])
def test_it_answers_like_the_graph_itself(
    rt: Any, monkeypatch: pytest.MonkeyPatch, *, shares_memory: bool, captures: bool
) -> None:
    monkeypatch.setattr(_trt_engine, "open_cuda", lambda: FakeCuda(shares_memory=shares_memory, captures=captures))
    engine = TensorRtEngine(FILE)
    session = session_of(FILE.network.path)
    for seed, (height, width) in enumerate([(64, 96), (32, 32), (64, 96), (64, 96), (64, 96), (96, 64)]):
        planes = _planes(height, width, seed)
        for outputs in (("colors",), ("colors", "logits"), ("logits",)):
            found = engine.run(planes, *outputs)
            for answer, wanted in zip(found, session.run(list(outputs), {"planes": planes}), strict=True):
                np.testing.assert_array_equal(answer, wanted)
    assert len(rt.built) == 1
    assert ("upload" in _cuda().calls) != shares_memory
    assert ("replay" in _cuda().calls) == captures


def test_a_batch_is_answered_one_by_one(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    planes = np.concatenate([_planes(64, 64, seed) for seed in range(3)])
    together = engine.run(planes, "colors")[0]
    assert together.shape == (3, 3, 16, 16)
    for index in range(3):
        np.testing.assert_array_equal(together[index], engine.run(planes[index : index + 1], "colors")[0][0])


def test_nothing_is_reserved_after_the_first_frames(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    for _ in range(2):  # the second records what every further one replays
        engine.run(_planes(64, 96), "colors")
    before = [_cuda().calls.count(call) for call in ("pinned", "allocate", "stream", "capture")]
    for seed in range(5):
        engine.run(_planes(64, 96, seed), "colors")
    assert [_cuda().calls.count(call) for call in ("pinned", "allocate", "stream", "capture")] == before
    assert _cuda().calls[-2:] == ["replay", "wait"]


def test_an_answer_outlives_the_next_call(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    first = engine.run(_planes(64, 64, 1), "colors")[0]
    kept = first.copy()
    engine.run(_planes(64, 64, 2), "colors")
    np.testing.assert_array_equal(first, kept)


def test_each_thread_has_a_context_of_its_own_and_gives_it_back(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    wanted = [engine.run(_planes(64, 64, seed), "colors")[0] for seed in range(4)]
    streams = len(_cuda().streams)

    def answer(seed: int, engine: TensorRtEngine = engine) -> Any:
        return engine.run(_planes(64, 64, seed), "colors")[0]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(answer, [*range(4)] * 4))
        assert len(_cuda().streams) > streams
    for index, array in enumerate(found):
        np.testing.assert_array_equal(array, wanted[index % 4])
    del engine, answer
    gc.collect()
    assert not _cuda().memory


def test_recorded_graphs_stay_few(rt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trt, "GRAPHS_KEPT", 2)
    engine = TensorRtEngine(FILE)
    planes = [GpuArray(_planes(64, 64, seed)) for seed in range(3)]
    plan = engine._network((64, 64))
    for number in (0, 0, 1, 1, 0, 2, 2, 0, 1):
        plan.run({"planes": planes[number]}, {"colors": (1, 3, 16, 16)})
    # 1, used least lately, makes room for 2, and comes back for 2
    assert _cuda().calls.count("capture") == 4
    assert _cuda().calls.count("free a graph") == 2
    assert _cuda().calls.count("replay") == 2
    del engine, plan
    gc.collect()
    assert _cuda().calls.count("free a graph") == 4


def test_other_shapes_make_recordings_invalid(rt: Any) -> None:
    """The fake fails where one is replayed after its context was given other shapes, which TensorRT leaves undefined."""
    engine = TensorRtEngine(FILE)
    wanted = {side: TensorRtEngine(FILE).run(_planes(side, side), "colors")[0] for side in (32, 64)}
    engine = TensorRtEngine(FILE)
    for side in (32, 32, 32, 64, 64, 64, 32, 64, 32, 32, 32):
        np.testing.assert_array_equal(engine.run(_planes(side, side), "colors")[0], wanted[side])
    assert _cuda().calls.count("capture") == 3
    assert _cuda().calls.count("free a graph") == 2
    assert _cuda().calls.count("replay") == 3


def test_where_recording_fails_it_goes_on_without(rt: Any, caplog: pytest.LogCaptureFixture) -> None:
    engine = TensorRtEngine(FILE)
    wanted = engine.run(_planes(64, 64), "colors")[0]
    _cuda().failing = "capture"
    with caplog.at_level(logging.WARNING, "edgecolor"):
        for _ in range(4):
            np.testing.assert_array_equal(engine.run(_planes(64, 64), "colors")[0], wanted)
    assert _cuda().calls.count("capture") == 1
    assert caplog.text.count("going on without CUDA graphs: CUDA could not do capture: out of memory") == 1


def test_a_plan_in_work_keeps_no_other_waiting(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    begun, go_on = threading.Event(), threading.Event()

    def building() -> None:
        begun.set()
        assert go_on.wait(60)

    rt.building = building
    with ThreadPoolExecutor(2) as pool:
        preparing = [pool.submit(engine.prepare, "rgb", 400, 600) for _ in range(2)]
        assert begun.wait(60)
        engine.run(_planes(64, 64), "colors")
        assert not any(waiting.done() for waiting in preparing)
        go_on.set()
        for waiting in preparing:
            waiting.result(60)
    assert len(rt.built) == 2, "the network's plan, and the frame's once for both threads"


def test_engines_opened_at_once_keep_the_same_plan(rt: Any, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: TensorRtEngine(FILE), range(4)))
    assert len(engines) == 4
    assert len(list(cache.glob("*.plan"))) == 1
    assert not list(cache.glob("*.partial"))


def test_an_old_message_is_not_told_for_a_new_failure(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    engine._network((64, 64))._messages.logger.log(rt.ILogger.Severity.ERROR, "OutOfMemory in an earlier run")
    rt.execute_error = True
    with pytest.raises(EngineBuildError, match="could not run the plan: it does not say why"):
        engine.run(_planes(64, 64), "colors")


@pytest.mark.parametrize("shape", [(0, 0), (0, 100), (100, 0)])
def test_an_empty_frame_is_named(rt: Any, shape: tuple[int, int]) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    empty = np.zeros(shape, np.uint8)
    for frame in (empty, GpuArray(empty)):
        with pytest.raises(ImageError, match="at least one pixel"):
            gpu(frame)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="at least one pixel"):
        gpu.chroma_planes(empty)


# Whole frames


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize(("height", "width"), [(400, 600), (600, 400), (392, 588), (480, 640)])
def test_a_frame_comes_out_as_on_the_cpu(
    rt: Any, colorizer: edgecolor.Colorizer, precision: Any, height: int, width: int
) -> None:
    gpu = edgecolor.load(engine="tensorrt", precision=precision)
    grey = _grey(height, width)
    rgb = gpu(grey)
    assert [name for name, _ in rt.built] == [f"lite.{precision}.onnx", f"lite.{precision}.rgb.onnx"]
    assert rgb.shape == (height, width, 3)
    assert rgb.dtype == np.uint8
    assert_lightness_kept(rgb, tripled(grey))
    # The grid is averaged from half the frame, which is not quite the average of the whole where that is the smaller of both
    assert mean_error(rgb, colorizer(grey)) < (1.5 if height == 392 else 1)


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("matrix", ["bt601", "bt709", "auto"])
def test_chroma_planes_come_out_as_on_the_cpu(
    rt: Any, colorizer: edgecolor.Colorizer, matrix: Any, *, full_range: bool
) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    y = _grey(400, 600)
    found = gpu.chroma_planes(y, matrix=matrix, full_range=full_range)
    assert rt.built[-1][0] == "lite.fp16.chroma.onnx"
    for plane, wanted in zip(found, colorizer.chroma_planes(y, matrix=matrix, full_range=full_range), strict=True):
        assert plane.shape == wanted.shape == (200, 300)
        assert np.abs(plane.astype(int) - wanted).mean() < 0.5
        assert np.abs(plane.astype(int) - wanted).max() <= 8


@pytest.mark.parametrize("shape", [(255, 384), (256, 383), (64, 64), (256, 4096), (256, 384), (256, 384, 1), (256, 384, 3)])
def test_other_pictures_go_through_the_network_alone(rt: Any, shape: tuple[int, ...]) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    picture = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    assert gpu(picture).shape == (*shape[:2], 3)
    assert [name for name, _ in rt.built] == ["lite.fp16.onnx"]


def test_bgr_and_predict_work_the_same(rt: Any) -> None:
    grey = _grey(400, 600)
    rgb, bgr = (edgecolor.load(engine="tensorrt", channels=channels)(grey) for channels in ("rgb", "bgr"))
    np.testing.assert_array_equal(rgb, bgr[..., ::-1])
    answer = edgecolor.load(engine="tensorrt").predict(grey, hints=[edgecolor.Hint(100, 100, "red")])
    assert answer.image.shape == (400, 600, 3)
    assert len(answer.alternatives(2)) == 2


def test_planes_are_written_where_they_are_wanted(rt: Any) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    y = _grey(400, 600)
    nv12 = np.zeros((200, 300, 2), np.uint8)
    wanted = gpu.chroma_planes(y)
    gpu.chroma_planes(y, out=(nv12[..., 0], nv12[..., 1]))
    np.testing.assert_array_equal(nv12, np.dstack(wanted))


def test_frames_on_the_gpu_are_read_and_written_where_they_lie(rt: Any) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    y = _grey(400, 600)
    wanted = gpu.chroma_planes(y)
    target = [GpuArray(np.zeros((200, 300), np.uint8)) for _ in range(2)]
    uploads = _cuda().calls.count("upload")
    for _ in range(3):
        found = gpu.chroma_planes(GpuArray(y, stream=77), out=(target[0], target[1]))  # type: ignore[arg-type]
        for array, plane in zip(target, wanted, strict=True):
            np.testing.assert_array_equal(array.array, plane)
            array.array[...] = 0
    assert [id(array) for array in found] == [id(array) for array in target]
    assert 77 in _cuda().streams, "what the producer put on its stream must be waited for"
    assert _cuda().calls.count("upload") == uploads, "neither the luma nor what does not change is copied"
    np.testing.assert_array_equal(gpu(GpuArray(y)), gpu(y))  # type: ignore[arg-type]


def test_what_depends_on_the_size_alone_is_copied_once(rt: Any) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    wanted = [gpu.chroma_planes(_grey(*size)) for size in ((400, 600), (480, 640))]
    counts = []
    for _ in range(5):
        before = _cuda().calls.count("upload")
        gpu.chroma_planes(_grey(400, 600))
        counts.append(_cuda().calls.count("upload") - before)
    # The second frame of a size copies its luma, run and recorded; the recorded graph holds it for all others
    assert counts == [2, 0, 0, 0, 0]
    for size, planes in zip(((400, 600), (480, 640)), wanted, strict=True):
        np.testing.assert_array_equal(gpu.chroma_planes(_grey(*size)), planes)


@pytest.mark.parametrize("shares_memory", [False, True])
@pytest.mark.parametrize("captures", [False, True])
@pytest.mark.parametrize("writeable", [False, True])
def test_a_frame_is_read_anew_even_where_its_array_is_the_same(
    rt: Any, monkeypatch: pytest.MonkeyPatch, *, shares_memory: bool, captures: bool, writeable: bool
) -> None:
    monkeypatch.setattr(_trt_engine, "open_cuda", lambda: FakeCuda(shares_memory=shares_memory, captures=captures))
    gpu = edgecolor.load(engine="tensorrt")
    ring = _grey(400, 600).copy()  # what a capture thread writes into
    view = ring[:]
    view.setflags(write=writeable)
    for name in ("cat", "coffee", "cat", "rocket"):
        ring[...] = _grey(400, 600, name)
        assert_lightness_kept(gpu(view), tripled(ring))


def test_read_only_and_writeable_frames_may_follow_each_other(rt: Any) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    for turn in range(8):
        grey = _grey(400, 600, ("cat", "coffee", "rocket")[turn % 3])
        grey.setflags(write=turn % 2 == 1)
        assert_lightness_kept(gpu(grey), tripled(grey))


def test_frames_from_a_pool_on_the_gpu_are_replayed(rt: Any) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    pool = [GpuArray(_grey(400, 600, name)) for name in ("cat", "coffee", "rocket") * 3]
    for _ in range(4):
        for frame in pool:
            assert_lightness_kept(gpu(frame), tripled(frame.array))  # type: ignore[arg-type]
    assert _cuda().calls.count("capture") == 9
    assert _cuda().calls.count("replay") == 18


@pytest.mark.parametrize(
    "out",
    [
        (np.zeros((200, 300), np.uint8),),
        (np.zeros((200, 300), np.uint8), np.zeros((100, 150), np.uint8)),
        (np.zeros((2, 200, 300), np.uint8), np.zeros((2, 200, 300), np.uint8)),
        (np.zeros((200, 300), np.uint8), np.zeros((200, 300), np.uint16)),
        (GpuArray(np.zeros((100, 150), np.uint8)), GpuArray(np.zeros((200, 300), np.uint8))),
        (GpuArray(np.broadcast_to(np.uint8(0), (200, 300))), GpuArray(np.zeros((200, 300), np.uint8))),
        (None, None),
        np.zeros((2, 200, 300), np.uint8),
    ],
)
def test_planes_that_cannot_be_written_to_are_named(rt: Any, out: Any) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    with pytest.raises(ImageError, match=r"out must be two writeable arrays uint8 \(200, 300\), got"):
        gpu.chroma_planes(_grey(400, 600), out=out)


def test_an_answer_is_never_written_beyond_an_array_on_the_gpu(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    small = GpuArray(np.zeros((1, 3, 8, 8), np.float32))
    plan = engine._network((64, 64))
    with pytest.raises(EngineBuildError, match=r"cannot be written to an array on the GPU of \(1, 3, 8, 8\)"):
        plan.run({"planes": _planes(64, 64)}, {"colors": (1, 3, 16, 16)}, {"colors": small})


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((400, 600), np.uint16), "must be .H, W. uint8, got <u2"),
        (np.zeros((400, 600, 3), np.uint8), r"got \|u1 \(400, 600, 3\)"),
        (np.zeros((401, 600), np.uint8), "copy it to the CPU"),
    ],
)
def test_frames_on_the_gpu_that_do_not_fit_are_named(rt: Any, array: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        edgecolor.load(engine="tensorrt")(GpuArray(array))  # type: ignore[arg-type]


def test_frames_on_the_gpu_must_be_contiguous(rt: Any) -> None:
    with pytest.raises(EngineBuildError, match="C-contiguous"):
        edgecolor.load(engine="tensorrt")(GpuArray(np.zeros((400, 1200), np.uint8)[:, ::2]))  # type: ignore[arg-type]


def test_frames_on_the_gpu_need_tensorrt() -> None:
    with pytest.raises(ImageError, match="a fake does not take"):
        fake_colorizer()(GpuArray(np.zeros((400, 600), np.uint8)))  # type: ignore[arg-type]


# Plans


def test_a_plan_is_built_once_for_all_starts(rt: Any, cache: Path) -> None:
    TensorRtEngine(FILE)
    TensorRtEngine(FILE)
    assert len(rt.built) == 1
    assert sorted(path.suffix for path in cache.iterdir()) == [".cache", ".plan"]
    assert next(cache.glob("*.plan")).name.startswith("lite.fp16.network.orin.")


@pytest.mark.parametrize("change", ["precision", "gpu", "capability", "tensorrt", "options", "graph", "weights", "profile"])
def test_everything_that_makes_a_plan_invalid_is_in_its_key(rt: Any, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    TensorRtEngine(FILE)
    file, options = FILE, BuildOptions()
    if change == "precision":
        file = find_model(precision="int8", engine="tensorrt")
    if change == "gpu":
        monkeypatch.setattr(_trt_engine, "open_cuda", lambda: FakeCuda(name="Xavier"))
    if change == "capability":
        cuda = FakeCuda()
        cuda.device = replace(cuda.device, compute_capability="11.0")
        monkeypatch.setattr(_trt_engine, "open_cuda", lambda: cuda)
    if change == "tensorrt":
        rt.__version__ = "10.7.0"
    if change == "options":
        options = BuildOptions(workspace_mb=64)
    if change == "graph":
        monkeypatch.setattr(type(file), "check", lambda _: None)
        file = replace(file, network=replace(file.network, sha256="0" * 64))
    if change == "weights" and file.weights:
        monkeypatch.setattr(type(file), "check", lambda _: None)
        file = replace(file, weights=replace(file.weights, sha256="0" * 64))
    if change == "profile":
        monkeypatch.setattr(_trt_engine, "network_profile", lambda area: network_profile(area, 320))
    TensorRtEngine(file, options)
    assert len(rt.built) == 2


def test_a_plan_for_all_gpus_or_releases_is_found_by_them(rt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = BuildOptions(hardware_compatible=True, version_compatible=True)
    TensorRtEngine(FILE, options)
    monkeypatch.setattr(_trt_engine, "open_cuda", lambda: FakeCuda(name="Xavier"))
    rt.accepts_any_version = True
    rt.__version__ = "10.7.0"
    TensorRtEngine(FILE, options)
    assert len(rt.built) == 1
    rt.__version__ = "11.0.0"
    TensorRtEngine(FILE, options)
    assert len(rt.built) == 2


def test_a_dla_gets_a_plan_for_each_size(rt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rt.Builder, "num_DLA_cores", 1)
    engine = TensorRtEngine(FILE, BuildOptions(dla_core=0))
    for side in (64, 96, 64):
        engine.run(_planes(side, side), "colors")
    for frame in (_grey(400, 600), _grey(392, 588), _grey(400, 600)):
        engine.frame("rgb", rgb_inputs(frame, FILE.grid_area))
    profiles = [config.profiles[0] for _, config in rt.built]
    assert len(profiles) == 5, "the usual grid, two grids, two frames"
    assert all(least == likely == most for profile in profiles for least, likely, most in profile.values())


def test_frames_beyond_those_asked_for_do_without_a_plan(rt: Any) -> None:
    with pytest.raises(SystemExit):
        main(["build", "--frame", "600x400"])
    gpu = edgecolor.load(engine="tensorrt")
    built = len(rt.built)
    assert gpu(_grey(480, 640)).shape == (480, 640, 3)
    assert gpu(_grey(600, 400)).shape == (600, 400, 3)
    assert [name for name, _ in rt.built[built:]] == ["lite.fp16.rgb.onnx"], "upright, but not larger"


def test_no_memory_for_a_plan_is_no_bad_plan(rt: Any) -> None:
    TensorRtEngine(FILE)
    rt.load_error = "Error Code 2: OutOfMemory (Requested size was 1073741824 bytes.)"
    with pytest.raises(EngineBuildError, match=r"cannot load a plan.*OutOfMemory.*close other programs.*--frame"):
        TensorRtEngine(FILE)
    assert len(rt.built) == 1


def test_the_first_use_says_that_it_builds(rt: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "edgecolor"):
        TensorRtEngine(FILE)
        TensorRtEngine(FILE)
    assert [record.message for record in caplog.records] == [
        "building the network plan of lite fp16 for Orin: it takes minutes, once"
    ]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda plan: plan[:-1], "damaged"),
        (lambda plan: plan[:20], "damaged"),
        (lambda _: b"", "damaged"),
        (lambda plan: plan.replace(b'"Orin"', b'"Thor"'), "stale"),
        (lambda plan: b"{}" + plan, "damaged"),
    ],
)
def test_a_damaged_or_stale_plan_is_built_again_with_one_line(
    rt: Any, cache: Path, caplog: pytest.LogCaptureFixture, damage: Any, words: str
) -> None:
    TensorRtEngine(FILE)
    path = next(cache.glob("*.plan"))
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    caplog.clear()
    with caplog.at_level(logging.WARNING, "edgecolor"):
        TensorRtEngine(FILE)
    assert len(rt.built) == 2
    assert len(caplog.records) == 1
    assert words in caplog.text
    assert path.read_bytes() == whole


def test_a_plan_that_tensorrt_does_not_accept_is_built_again(rt: Any, caplog: pytest.LogCaptureFixture) -> None:
    key = _trt_engine.PlanStore(FILE, BuildOptions(), FakeCuda()).key("network", _trt_engine.network_profile(FILE.grid_area))
    _plans.write_plan(key, b'{"version": "9.0"}')
    with caplog.at_level(logging.WARNING, "edgecolor"):
        TensorRtEngine(FILE)
    assert len(rt.built) == 1
    assert "version mismatch" in caplog.text


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_cache_that_cannot_be_written_to_is_named(rt: Any, cache: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("edgecolor._plans.os.fsync", fail)
    with pytest.raises(EngineBuildError, match=rf"{os.strerror(code)}.*EDGECOLOR_CACHE"):
        TensorRtEngine(FILE)
    assert not list(cache.iterdir())


def test_a_cache_that_is_no_folder_is_named(rt: Any, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(EngineBuildError, match="EDGECOLOR_CACHE"):
        TensorRtEngine(FILE)


def test_build_options_reach_tensorrt(rt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rt.Builder, "num_DLA_cores", 2)
    asked = BuildOptions(workspace_mb=64, dla_core=1, hardware_compatible=True, version_compatible=True)
    TensorRtEngine(FILE, asked)
    config = rt.built[0][1]
    assert config.limits == {"WORKSPACE": 64 << 20}
    assert config.flags == {"GPU_FALLBACK", "VERSION_COMPATIBLE"}
    assert (config.default_device_type.name, config.DLA_core) == ("DLA", 1)
    assert config.hardware_compatibility_level.name == "AMPERE_PLUS"


def test_timings_are_kept(rt: Any, tmp_path: Path) -> None:
    timings = tmp_path / "deep" / "timings"
    for _ in range(2):
        build_plan(FILE.network.path, network_profile(FILE.grid_area), BuildOptions(), timing_cache=timings)
    assert rt.built[1][1].timings == [b"timed"]
    assert timings.read_bytes() == b"timedtimed"


@pytest.mark.parametrize("damage", ["folder", "unwritable"])
def test_timings_that_cannot_be_kept_cost_no_plan(
    rt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    timings = tmp_path / "timings"
    if damage == "folder":
        timings.mkdir()
    else:
        timings = tmp_path / "file" / "timings"
        timings.parent.write_text("no folder")
    with caplog.at_level(logging.WARNING, "edgecolor"):
        assert build_plan(FILE.network.path, network_profile(FILE.grid_area), BuildOptions(), timing_cache=timings)
    assert "timings" in caplog.text


def test_a_build_is_ended_by_its_progress(rt: Any) -> None:
    def fail(_phase: str, share: float) -> None:
        if share == 0.5:
            raise OSError(32, "Broken pipe")

    with pytest.raises(OSError, match="Broken pipe"):
        build_plan(FILE.network.path, network_profile(FILE.grid_area), BuildOptions(), fail)


def test_a_build_is_ended_by_ctrl_c(rt: Any, cache: Path) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)

    rt.building = interrupt
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            TensorRtEngine(FILE)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(rt.built) == 1
    assert not list(cache.glob("*.plan"))
    rt.building = None
    TensorRtEngine(FILE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workspace_mb": -5}, r"workspace_mb.*got -5"),
        ({"workspace_mb": 1 << 60}, "workspace_mb"),
        ({"workspace_mb": "many"}, "workspace_mb.*got 'many'"),
        ({"dla_core": -1}, "dla_core.*got -1"),
    ],
)
def test_build_options_that_cannot_be_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(EngineBuildError, match=words):
        BuildOptions.of(options)


@pytest.mark.parametrize("text", ["[1, 2]", "null", "{", '{"frames": 3}', '{"frames": [[1]]}', '{"x": 1}'])
def test_kept_options_that_are_damaged_are_named(rt: Any, cache: Path, text: str) -> None:
    cache.mkdir()
    (cache / "build.json").write_text(text)
    with pytest.raises(EngineBuildError, match=r"build"):
        TensorRtEngine(FILE)


def test_rtx_makes_no_plans_for_other_releases(rt: Any) -> None:
    rt.__name__ = "tensorrt_rtx"
    with pytest.raises(EngineBuildError, match="without --version-compatible"):
        TensorRtEngine(FILE, BuildOptions(version_compatible=True))


def test_building_says_how_far_it_is(rt: Any) -> None:
    told: list[tuple[str, float]] = []
    TensorRtEngine(FILE, progress=lambda phase, share: told.append((phase, share)))
    assert told == [("Building", 0.0), ("Building", 0.5), ("Building", 1.0)]


@pytest.mark.parametrize("size", FRAME_SIZES)
def test_every_profile_holds_its_frames(size: tuple[int, int]) -> None:
    height, width = size
    for least, likely, most in frame_profile(height, width, FILE.grid_area).values():
        assert all(low <= side <= high for low, side, high in zip(least, likely, most, strict=True))


# What goes wrong


def test_without_tensorrt_auto_takes_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_trt, "MODULES", ("no_such_tensorrt",))
    _trt.tensorrt.cache_clear()
    assert "ONNX Runtime" in repr(edgecolor.load())
    with pytest.raises(EngineUnavailableError, match=r"TensorRT is not installed.*JetPack.*onnxruntime"):
        edgecolor.load(engine="tensorrt")


@pytest.mark.parametrize(("version", "words"), [("8.5.2", "too old: 10.3"), ("10.0.1", "too old: 10.3")])
def test_an_old_tensorrt_is_named(monkeypatch: pytest.MonkeyPatch, version: str, words: str) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt(version=version))
    monkeypatch.setattr(_trt, "MODULES", ("tensorrt",))
    _trt.tensorrt.cache_clear()
    with pytest.raises(EngineUnavailableError, match=words):
        edgecolor.load(engine="tensorrt")
    _trt.tensorrt.cache_clear()


def test_stubs_alone_are_no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fake_tensorrt()
    del module.Builder
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(_trt, "MODULES", ("tensorrt",))
    _trt.tensorrt.cache_clear()
    with pytest.raises(EngineUnavailableError, match="only stubs"):
        _trt.tensorrt()


def test_without_a_gpu_auto_takes_onnxruntime_and_says_why(rt: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def no_gpu() -> None:
        raise EngineUnavailableError("there is no usable NVIDIA GPU: the driver sees none")

    monkeypatch.setattr(_trt_engine, "open_cuda", no_gpu)
    assert "ONNX Runtime" in repr(edgecolor.load())
    with pytest.raises(EngineUnavailableError, match="the driver sees none"):
        edgecolor.load(engine="tensorrt")
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert "TensorRT: there is no usable NVIDIA GPU" in capsys.readouterr().out


def test_auto_takes_tensorrt_where_it_can_run(rt: Any, capsys: Any) -> None:
    assert repr(edgecolor.load()) == (
        "<Colorizer lite fp16, TensorRT 10.3.0 fp16 on Orin, through a fake of CUDA, CUDA graphs>"
    )
    with pytest.raises(SystemExit):
        main(["doctor"])
    out = capsys.readouterr().out
    assert "TensorRT: usable" in out
    assert "would run: <Colorizer lite fp16, TensorRT 10.3.0" in out


@pytest.mark.parametrize("call", ["pinned", "allocate", "stream", "upload", "download", "wait", "replay"])
def test_a_failure_of_cuda_leaves_nothing_half_done(rt: Any, call: str) -> None:
    gpu = edgecolor.load(engine="tensorrt")
    y = _grey(400, 600)
    out = (np.full((200, 300), 7, np.uint8), np.full((200, 300), 7, np.uint8))
    if call not in ("pinned", "allocate", "stream"):
        gpu.chroma_planes(y)
        gpu.chroma_planes(y)
        gpu.chroma_planes(y)
        if call in ("upload", "download"):
            gpu._engine._plans.clear()  # type: ignore[attr-defined]
    _cuda().failing = call
    with pytest.raises(EngineBuildError, match=call):
        gpu.chroma_planes(y, out=out)
    assert all((plane == 7).all() for plane in out)
    _cuda().failing = None
    for plane, wanted in zip(gpu.chroma_planes(y, out=out), gpu.chroma_planes(y), strict=True):
        np.testing.assert_array_equal(plane, wanted)


def test_no_memory_for_a_context_is_named(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    rt.context_error = True
    with pytest.raises(EngineBuildError, match=r"no memory for a context.*--frame 1280x720"):
        engine.run(_planes(64, 64), "colors")


def test_a_run_that_fails_is_named(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    rt.execute_error = True
    with pytest.raises(EngineBuildError, match="could not run"):
        engine.run(_planes(64, 64), "colors")


def test_a_build_that_fails_has_tensorrts_own_words(rt: Any, cache: Path) -> None:
    rt.build_error = "Could not find any implementation for node {conv}"
    with pytest.raises(EngineBuildError, match=r"cannot build lite\.fp16\.onnx: Could not find any implementation"):
        TensorRtEngine(FILE)
    assert not cache.exists()


def test_a_grid_beyond_the_plan_is_named(rt: Any) -> None:
    engine = TensorRtEngine(FILE)
    with pytest.raises(EngineBuildError, match=r"'planes'.*\(1, 4, 2048, 64\)"):
        engine.run(_planes(2048, 64), "colors")


def test_a_dla_core_that_is_not_there_is_named(rt: Any) -> None:
    with pytest.raises(EngineBuildError, match="no DLA core 0: this device has 0"):
        TensorRtEngine(FILE, BuildOptions(dla_core=0))


def test_other_gpus_need_tensorrt_rtx(rt: Any) -> None:
    with pytest.raises(EngineBuildError, match=r"cannot build for compute capability 8\.6"):
        TensorRtEngine(FILE, BuildOptions(compute_capabilities=("8.6",)))


def test_a_gpu_that_rtx_leaves_out_is_refused_before_anything_is_built(rt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rt.ComputeCapability = SimpleNamespace(NONE=0, CURRENT=1, SM75=75, SM80=80, SM89=89, SM120=120)

    def opened(capability: str) -> FakeCuda:
        cuda = FakeCuda(name="NVIDIA H100 80GB HBM3")
        cuda.device = replace(cuda.device, compute_capability=capability)
        return cuda

    monkeypatch.setattr(_trt_engine, "open_cuda", lambda: opened("9.0"))
    with pytest.raises(EngineUnavailableError, match=r"does not run on the NVIDIA H100 80GB HBM3 \(compute capability 9\.0\)"):
        TensorRtEngine(FILE)
    assert not rt.built
    assert choose_engine("auto") == "onnxruntime"
    for capability in ("8.9", "13.0"):
        monkeypatch.setattr(_trt_engine, "open_cuda", partial(opened, capability))
        assert _trt_engine.why_not() is None


@pytest.mark.parametrize(
    ("installed", "there", "level"),
    [
        (True, "_GPU", logging.WARNING),
        (True, "_JETSON", logging.WARNING),
        (False, "_JETSON", logging.WARNING),
        (False, "_GPU", logging.INFO),
        (True, "", logging.INFO),
    ],
)
def test_where_a_gpu_is_there_and_not_used_auto_says_why(
    installed: bool,  # noqa: FBT001
    there: str,
    level: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(_engine, "installed_engines", lambda: ["tensorrt"] * installed + ["onnxruntime"])
    monkeypatch.setattr(_engine, "why_not_tensorrt", lambda: "no binding; run: pip install cuda-python")
    for name in ("_GPU", "_JETSON"):
        monkeypatch.setattr(_engine, name, tmp_path / ("" if name == there else "missing"))
    with caplog.at_level(logging.INFO, "edgecolor"):
        assert choose_engine("auto") == "onnxruntime"
    (record,) = caplog.records
    assert record.levelno == level
    assert ("no binding" if installed else "--system-site-packages") in record.getMessage()


# The command line


def test_build_prepares_this_machine(rt: Any, cache: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as done:
        main(["build", "--frame", "600x400", "--workspace-mb", "32"])
    assert done.value.code == 0
    assert "ready: TensorRT 10.3.0 fp16 on Orin" in capsys.readouterr().out
    assert [name for name, _ in rt.built] == ["lite.fp16.onnx", "lite.fp16.rgb.onnx", "lite.fp16.chroma.onnx"]
    edgecolor.load(engine="tensorrt")(_grey(400, 600))
    assert len(rt.built) == 3, "what was built must be found, options and all"
    assert len(list(cache.glob("*.plan"))) == 3


def test_build_writes_plans_to_a_folder(rt: Any, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as done:
        main(["build", "--precision", "int8", "--frame", "600x400", "--out-dir", str(tmp_path / "plans")])
    assert done.value.code == 0
    names = {path.name for path in (tmp_path / "plans").iterdir()}
    assert names == {"lite.int8.network.plan", "lite.int8.rgb-600x400.plan", "lite.int8.chroma-600x400.plan"}
    assert capsys.readouterr().out.count("MB") == 3


@pytest.mark.parametrize("frame", ["1080", "axb", "1920x1081", "100x100", "99999x1080"])
def test_a_frame_that_cannot_be_is_a_usage_error(frame: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as done:
        main(["build", "--frame", frame])
    assert done.value.code == 2
    assert frame in capsys.readouterr().err
