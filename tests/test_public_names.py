from __future__ import annotations

import ast
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import REPOSITORY, run_python

import edgecolor

PACKAGE = Path(edgecolor.__file__).parent

ORDER = (
    "__init__",
    "__main__",
    "_cli",
    "_cli_image",
    "_cli_video",
    "_cli_shared",
    "batch",
    "_serve",
    "_live",
    "_bench",
    "_colorizer",
    "_camera",
    "_capture",
    "_video",
    "_tracks",
    "_film",
    "_ffv1",
    "_ffmpeg",
    "_image",
    "_target",
    "_metadata",
    "_formats",
    "_source",
    "_jpeg",
    "_png",
    "_webp",
    "_tiff",
    "_bitmap",
    "_vips",
    "_explain",
    "_steady",
    "_frame",
    "_planes",
    "_engine",
    "_trt_engine",
    "_trt",
    "_cuda",
    "_plans",
    "_ort",
    "_models",
    "_detail",
    "_grid",
    "_hints",
    "_icc",
    "_chroma",
    "_luma",
    "_color",
    "_files",
    "_errors",
)
"""Imports point only down this list."""

UPWARD = {
    ("_cli", "__init__"): "the command line says the same words as every other user of the library",
    ("_colorizer", "__init__"): "the version stands there, where packaging looks for it; asked for inside a function",
    ("_ort", "_engine"): "takes the name of an output from the Protocol it fulfils; opened by _engine inside a function",
    ("_trt_engine", "_engine"): "the same; what a whole frame's outputs are called stands with the Protocol",
    ("_explain", "_colorizer"): "the type of what it reports on, for type checkers only",
}
"""Every exception, and why."""

HEAVY = ("av", "onnxruntime", "pyvips", "tinycss2", "torch", "onnx", "tensorrt", "tqdm")
NEVER = {"torch", "onnx", "tensorrt"}


def test_contributing_names_every_file() -> None:
    table = (REPOSITORY / "CONTRIBUTING.md").read_text().partition("## Choices")[0]
    assert {name for name in ORDER if not name.startswith("__") and f"`{name}.py`" not in table} == set()


def _imports(name: str) -> Iterator[str]:
    """Dotted names of all modules that a module of ours imports, anywhere in it."""
    for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            yield str(node.module)


def _own_imports(name: str) -> Iterator[str]:
    for module in _imports(name):
        if module.split(".")[0] == "edgecolor":
            yield module.partition(".")[2] or "__init__"


def test_all_is_sorted() -> None:
    assert edgecolor.__all__ == sorted(edgecolor.__all__)


def test_all_is_every_public_name() -> None:
    public = {name for name, value in vars(edgecolor).items() if name[0] != "_" and not isinstance(value, types.ModuleType)}
    assert public == set(edgecolor.__all__)


def test_every_public_name_is_documented() -> None:
    assert not [name for name in edgecolor.__all__ if not getattr(edgecolor, name).__doc__]


@pytest.mark.parametrize(
    ("error", "standard"),
    [
        (edgecolor.ImageError, ValueError),
        (edgecolor.UnknownModelError, ValueError),
        (edgecolor.ModelIntegrityError, OSError),
        (edgecolor.EngineUnavailableError, ImportError),
        (edgecolor.EngineBuildError, RuntimeError),
        (edgecolor.SourceError, OSError),
    ],
)
def test_errors_are_standard_errors_and_print_their_message(
    error: type[edgecolor.EdgecolorError], standard: type[Exception]
) -> None:
    assert issubclass(error, standard)
    assert issubclass(error, edgecolor.EdgecolorError)
    assert str(error("what was wrong")) == "what was wrong"
    assert str(error()) == error.__name__


def test_import_loads_nothing_heavy_and_makes_no_file(tmp_path: Path) -> None:
    done = run_python("-c", "import json, sys, edgecolor; print(json.dumps(sorted(sys.modules)))", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert not {module.split(".")[0] for module in json.loads(done.stdout)} & set(HEAVY)
    assert not list(tmp_path.rglob("*"))


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == set(ORDER)


def test_imports_point_down() -> None:
    upward = {(name, other) for name in ORDER for other in _own_imports(name) if ORDER.index(other) <= ORDER.index(name)}
    assert upward == set(UPWARD)


@pytest.mark.parametrize("name", ORDER)
def test_no_training_library_is_imported(name: str) -> None:
    assert not {module.split(".")[0] for module in _imports(name)} & NEVER


def test_only_ort_imports_onnxruntime() -> None:
    assert [name for name in ORDER if "onnxruntime" in _imports(name)] == ["_ort"]


def test_changelog_leads_with_this_version() -> None:
    versions = re.findall(r"^## \[(\d[^\]]*)\]", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert versions[0] == edgecolor.__version__
