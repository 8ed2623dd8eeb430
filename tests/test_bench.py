from __future__ import annotations

import json
import time

import numpy as np
import pytest
from fakes import FakeEngine, fake_model

import edgecolor
from edgecolor import _bench
from edgecolor._cli import main
from edgecolor._engine import Array, OutputName


class SlowEngine(FakeEngine):
    """A network that takes 20 ms."""

    def run(self, planes: Array, *outputs: OutputName) -> tuple[Array, ...]:
        time.sleep(0.02)
        return super().run(planes, *outputs)


def test_frames_are_measured_beside_the_network() -> None:
    engine = SlowEngine()
    figures = _bench.bench(edgecolor.Colorizer(engine, fake_model()), (256, 384), 0.01)
    assert list(figures) == ["network", "rgb", "chroma_planes"]
    for of in figures.values():
        assert 20 <= of["p25_ms"] <= of["median_ms"] <= of["p75_ms"] <= of["p99_ms"]
        assert of["runs"] == 5
    assert figures["network"]["ratio_to_network"] == 1
    assert figures["rgb"]["ratio_to_network"] > 1
    assert engine.planes[0].shape == engine.planes[1].shape == engine.planes[2].shape


def test_the_command_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["bench", "--seconds", "0.1", "--frame", "256x384", "--json", "--engine", "onnxruntime"])
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
