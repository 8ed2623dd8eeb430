"""The recipes for boards hold together, and with what the library takes; so does the page for their owners."""

from __future__ import annotations

import configparser
import json
import re
import shlex
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
PAGE = (REPOSITORY / "docs" / "jetson.md").read_text(encoding="utf-8")

WORDS = {"name", "engine", "precision", "build", "sources", "systems"}
"""What a recipe says beside its figures."""

KNOWN = re.compile(r"(read|reported|counted|memory): \S")

each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))
each_system = pytest.mark.parametrize(
    ("board", "system"),
    [(board, system) for board in BOARDS.values() for system in board["systems"]],
    ids=[f"{name}-{system['jetpack'] or 'desktop'}" for name, board in BOARDS.items() for system in board["systems"]],
)


@each_board
def test_every_recipe_can_be_followed(board: dict[str, Any]) -> None:
    if board["engine"] == "onnxruntime":
        assert not board["build"]
        return
    options = parser().parse_args(shlex.split(board["build"])[1:])
    assert options.precision == board["precision"]
    assert options.frame
    assert options.dla_core is None or options.dla_core < board["dla_cores"]


@each_board
def test_every_figure_has_a_source_that_says_how_it_is_known(board: dict[str, Any]) -> None:
    assert set(board["sources"]) == set(board) - WORDS
    assert all(KNOWN.match(source) for source in board["sources"].values())


@each_system
def test_what_is_said_of_a_system_has_its_source(board: dict[str, Any], system: dict[str, Any]) -> None:
    sources = system["sources"]
    assert all(KNOWN.match(source) for source in sources.values())
    assert "versions" in sources
    assert ("power" in sources) == bool(system["power"])
    assert not system["dla"] or (board["dla_cores"] and "dla" in sources)


@each_system
def test_tensorrt_of_a_system_is_one_that_reads_the_graphs(board: dict[str, Any], system: dict[str, Any]) -> None:
    release = tuple(map(int, system["tensorrt"].split(".")))
    if system["jetpack"]:
        assert (release >= OLDEST) == (board["engine"] == "tensorrt")
    else:
        assert "verify" in system["install"]  # TensorRT-RTX counts its releases from 1


@each_system
def test_install_lines_name_the_folder_of_the_environment(board: dict[str, Any], system: dict[str, Any]) -> None:
    steps = [shlex.split(step) for step in system["install"].split("&&")]
    (made,) = [step for step in steps if "venv" in step]
    (folder,) = [word for word in made[made.index("venv") + 1 :] if not word.startswith("-")]
    (pip,) = [step for step in steps if step[1] == "install" and step[0].endswith("pip")]
    assert pip[0] == f"{folder}/bin/pip"
    assert pip[2].startswith(".")  # the source that the page fetches


@each_board
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


def test_through_memory_a_layer_takes_the_longer_of_computing_and_moving() -> None:
    board = {"tensor_tflops": 1.0, "vector_tflops": 0.1, "bandwidth_gb_s": 1.0}
    assert estimate.floor_ms([estimate.Work(2e9, 1e6, tensor=True)], board) == pytest.approx(2)
    assert estimate.floor_ms([estimate.Work(2e9, 1e7, tensor=True)], board) == pytest.approx(10)
    assert estimate.floor_ms([estimate.Work(2e9, 1e6, tensor=False)], board) == pytest.approx(20)


def test_operations_alone_ask_for_no_memory() -> None:
    board = {"tensor_tflops": 1.0, "vector_tflops": 0.1}
    work = [estimate.Work(2e9, 1e7, tensor=True), estimate.Work(2e8, 1e7, tensor=False)]
    assert estimate.operations_ms(work, board) == pytest.approx(4)


def test_the_page_shows_the_estimate_of_today() -> None:
    assert placed(PAGE, "estimate", f"{estimate.table()}\n\n") == PAGE, "run: python -m engines.estimate --write docs/jetson.md"


def test_command_lines_on_the_page_are_understood() -> None:
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()]
    calls = [
        words[place + 1 :]
        for words in (shlex.split(step, comments=True) for line in lines for step in line.split("&&"))
        for place, word in enumerate(words)
        if word.endswith("/bin/edgecolor") or (word == "edgecolor" and not place)  # there are a user and a service of that name
    ]
    assert {"build", "camera", "doctor"} <= {call[0] for call in calls}
    for call in calls:
        parser().parse_args(call)


def test_the_service_on_the_page_runs_a_command_on_plans_that_were_built_for_it() -> None:
    (text,) = re.findall(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    options = parser().parse_args(arguments)
    assert options.source.startswith("csi://")
    assert options.serve
    assert service["Environment"] == f"EDGECOLOR_CACHE=/var/cache/{service['CacheDirectory']}"
    assert f"sudo -u {service['User']} env {service['Environment']} {program} build" in PAGE
