"""The same promises, on the GPU that is there: skipped where there is none, failing where one was promised.

``EDGECOLOR_EXPECT_GPU=1`` promises one.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import Picture, assert_lightness_kept, mean_error, tripled

import edgecolor
from benchmarks.cases import OnGpu, gpu_engine
from edgecolor._engine import why_not_tensorrt
from edgecolor._plans import FOLDER_VARIABLE


@pytest.fixture(autouse=True, scope="module")
def gpu() -> None:
    reason = why_not_tensorrt()
    if reason is not None and os.environ.get("EDGECOLOR_EXPECT_GPU"):
        pytest.fail(f"a GPU was promised (EDGECOLOR_EXPECT_GPU is set), but: {reason}")
    if reason is not None:
        pytest.skip(f"needs an NVIDIA GPU with TensorRT: {reason}")


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(params=["fp16", "int8"])
def gpu_colorizer(request: Any, plans: Path, monkeypatch: pytest.MonkeyPatch) -> edgecolor.Colorizer:
    monkeypatch.setenv(FOLDER_VARIABLE, str(plans))
    return edgecolor.load(engine="tensorrt", precision=request.param)


def _frame(grey: Picture, height: int = 1080, width: int = 1920) -> Picture:
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_CUBIC)


def test_a_frame_comes_out_as_on_the_cpu(
    gpu_colorizer: edgecolor.Colorizer, colorizer: edgecolor.Colorizer, greys: dict[str, Picture]
) -> None:
    for grey in greys.values():
        frame = _frame(grey)
        rgb = gpu_colorizer(frame)
        assert_lightness_kept(rgb, tripled(frame))
        assert mean_error(rgb, colorizer(frame)) < 1


def test_planes_come_out_as_on_the_cpu(
    gpu_colorizer: edgecolor.Colorizer, colorizer: edgecolor.Colorizer, greys: dict[str, Picture]
) -> None:
    frame = _frame(greys["astronaut"])
    for _ in range(3):  # recorded at the first, replayed at the next
        for plane, wanted in zip(gpu_colorizer.chroma_planes(frame), colorizer.chroma_planes(frame), strict=True):
            assert np.abs(plane.astype(int) - wanted).mean() < 1


def test_predict_agrees_with_the_cpu(
    gpu_colorizer: edgecolor.Colorizer, colorizer: edgecolor.Colorizer, greys: dict[str, Picture]
) -> None:
    hints = [edgecolor.Hint(50, 60, "#8a2f2f")]
    answers = [each.predict(greys["astronaut"], hints=hints) for each in (gpu_colorizer, colorizer)]
    assert mean_error(answers[0].image, answers[1].image) < 1
    assert np.abs(answers[0].confidence - answers[1].confidence).mean() < 0.03


def test_threads_do_not_disturb_each_other(gpu_colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    frames = [_frame(grey, 720, 1280) for grey in greys.values()]
    wanted = [gpu_colorizer(frame) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(gpu_colorizer, frames * 4), wanted * 4, strict=True):
            np.testing.assert_array_equal(found, right)


def test_all_shapes_are_served(gpu_colorizer: edgecolor.Colorizer) -> None:
    for shape in ((1, 1), (1, 700), (700, 1), (479, 853), (720, 1280), (1280, 720), (2160, 3840)):
        picture = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        assert gpu_colorizer(picture).shape == (*shape, 3)


def test_frames_on_the_gpu_come_out_as_from_the_host(gpu_colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    frame, cuda = _frame(greys["astronaut"]), gpu_engine(gpu_colorizer)._store.cuda
    wanted = gpu_colorizer.chroma_planes(frame)
    y: Any = OnGpu(frame, cuda)
    out: Any = tuple(OnGpu(np.zeros_like(plane), cuda) for plane in wanted)
    for _ in range(3):  # plainly, recorded, replayed
        gpu_colorizer.chroma_planes(y, out=out)
        for plane, right in zip(out, wanted, strict=True):
            np.testing.assert_array_equal(plane.numpy(), right)
    np.testing.assert_array_equal(gpu_colorizer(y), gpu_colorizer(frame))
