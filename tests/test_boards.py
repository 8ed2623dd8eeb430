"""The recipes for boards hold together, and with what the library takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("onnx", reason="reading graphs needs the extra 'verify': pip install '.[verify]'")

from fakes import REPOSITORY

from edgecolor._cli import parser
from edgecolor._trt import OLDEST
from engines import estimate
from tools.pages import placed

BOARDS = estimate.boards()
PLANS = json.loads((REPOSITORY / "benchmarks" / "results" / "verify" / "plans.json").read_text())


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_every_recipe_can_be_followed(board: dict[str, Any]) -> None:
    assert board["sources"]
    if board["engine"] == "onnxruntime":
        assert tuple(map(int, board["tensorrt"].split("."))) < OLDEST
        assert not board["build"]
        return
    options = parser().parse_args(board["build"].split()[1:])
    assert options.precision == board["precision"]
    assert options.frame
    assert options.dla_core is None or options.dla_core < board["dla_cores"]


@pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
def test_plans_fit_the_memory_that_is_set_aside(board: dict[str, Any]) -> None:
    builds = [
        build
        for build in PLANS["builds"]
        if build["graph"].startswith("lite.fp16") and build["compute_capabilities"] == ["8.6"]
    ]
    assert len(builds) == 3
    needed = sum(build["activation_mb"] + build["plan_mb"] for build in builds)
    if board["engine"] == "tensorrt":
        assert needed <= board["memory_budget_mb"] <= 1000 * board["memory_gb"]


def test_work_is_counted_as_in_the_readme() -> None:
    work = estimate.network_work(256, 256)
    assert sum(layer.operations for layer in work) / 2 == pytest.approx(0.82e9, rel=0.01)
    assert 0.9 < sum(layer.operations for layer in work if layer.tensor) / sum(layer.operations for layer in work) < 1


def test_a_floor_is_the_longer_of_computing_and_moving() -> None:
    board = {"tensor_tflops": 1.0, "vector_tflops": 0.1, "bandwidth_gb_s": 1.0}
    assert estimate.floor_ms([estimate.Work(2e9, 1e6, tensor=True)], board) == pytest.approx(2)
    assert estimate.floor_ms([estimate.Work(2e9, 1e7, tensor=True)], board) == pytest.approx(10)
    assert estimate.floor_ms([estimate.Work(2e9, 1e6, tensor=False)], board) == pytest.approx(20)


def test_the_page_shows_the_estimate_of_today() -> None:
    page = (REPOSITORY / "docs" / "jetson.md").read_text(encoding="utf-8")
    assert placed(page, "estimate", f"{estimate.table()}\n\n") == page, "run: python -m engines.estimate --write docs/jetson.md"
