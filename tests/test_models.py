from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

import edgecolor
from edgecolor import ModelIntegrityError, UnknownModelError, _models
from edgecolor._models import ModelName, Precision, ShippedFile, find_model, registry

FOLDER = Path(_models.__file__).parent / "models"
FILES = [
    (name, engine, precision, part)
    for name, entry in registry()["model"].items()
    for engine, precisions in entry["file"].items()
    for precision, parts in precisions.items()
    for part in parts
]


def shipped(name: str, engine: str, precision: str, part: str) -> ShippedFile:
    file = find_model(name, precision, engine)
    parts = {"network": file.network, "weights": file.weights, **file.frames}
    found = parts[part]
    assert found is not None
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the models, to damage."""
    copy = tmp_path / "models"
    shutil.copytree(FOLDER, copy)
    monkeypatch.setattr(_models, "_FOLDER", copy)
    registry.cache_clear()
    yield copy
    registry.cache_clear()


@pytest.mark.parametrize(("name", "engine", "precision", "part"), FILES)
def test_every_shipped_file_is_the_registered_one(name: str, engine: str, precision: str, part: str) -> None:
    file, entry = shipped(name, engine, precision, part), registry()["model"][name]["file"][engine][precision][part]
    content = file.read()
    assert hashlib.sha256(content).hexdigest() == file.sha256 == entry["sha256"]
    assert len(content) == entry["bytes"]
    assert file.path.parent == FOLDER


def test_nothing_unregistered_is_shipped() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {shipped(*file).path.name for file in FILES} | {"models.toml"}


def test_all_files_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 40e6


@pytest.mark.parametrize("name", registry()["model"])
def test_every_model_says_what_it_is(name: str) -> None:
    entry = registry()["model"][name]
    assert entry["licence"] == "Apache-2.0"
    assert entry["description"]
    for engine, precisions in entry["file"].items():
        assert entry["default_precision"][engine] in precisions
    assert 0 < entry["temperature"] <= 1
    assert 0.5 <= entry["vividness"] <= 2


def test_the_choices_are_those_of_the_registry() -> None:
    assert set(get_args(ModelName)) == {"auto", *registry()["model"]}
    assert {precision for _, _, precision, _ in FILES} <= set(get_args(Precision))


def test_auto_is_the_default() -> None:
    default = registry()["default"]
    for engine, precision in registry()["model"][default]["default_precision"].items():
        assert find_model(engine=engine) == find_model("auto", "auto", engine) == find_model(default, precision, engine)


@pytest.mark.parametrize(
    ("name", "precision", "value"),
    [("huge", "auto", "'huge'"), ("", "auto", "''"), ("auto", "fp8", "'fp8'"), ("lite", "", "''")],
)
def test_unknown_names_are_errors_that_list_the_known(name: str, precision: str, value: str) -> None:
    with pytest.raises(UnknownModelError, match=rf"{value}.*auto, "):
        find_model(name, precision)


@pytest.mark.parametrize("place", [0, 5000, -1])
def test_one_changed_byte_is_noticed(folder: Path, place: int) -> None:
    path = folder / find_model().network.path.name
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelIntegrityError, match=rf"{re.escape(str(path))} is damaged.*expected.*reinstall"):
        edgecolor.load()


def test_changed_weights_of_tensorrt_are_noticed(folder: Path) -> None:
    weights = find_model(engine="tensorrt").weights
    assert weights is not None
    path = folder / weights.path.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelIntegrityError, match=rf"{re.escape(str(path))} is damaged"):
        find_model(engine="tensorrt").check()


def test_a_cut_file_is_noticed(folder: Path) -> None:
    path = folder / find_model().network.path.name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelIntegrityError, match="damaged"):
        edgecolor.load()


def test_a_missing_file_is_named(folder: Path) -> None:
    path = folder / find_model().network.path.name
    path.unlink()
    with pytest.raises(ModelIntegrityError, match=rf"{re.escape(str(path))}: No such file.*reinstall"):
        edgecolor.load()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="cut"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda text: text.replace(b"=", b"", 1), id="not TOML"),
        pytest.param(lambda text: text.replace(b"description", b"d\xff\xfescription"), id="not UTF-8"),
        pytest.param(lambda text: text.replace(b"sha256", b"sha255"), id="without the hash"),
        pytest.param(lambda text: text.replace(b"temperature", b"tomperature"), id="without the temperature"),
    ],
)
def test_a_damaged_registry_is_an_integrity_error(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    path = folder / "models.toml"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelIntegrityError, match=r"models\.toml"):
        edgecolor.load()


def test_a_missing_registry_is_an_integrity_error(folder: Path) -> None:
    (folder / "models.toml").unlink()
    with pytest.raises(ModelIntegrityError, match=r"models\.toml.*reinstall"):
        find_model()


@pytest.mark.parametrize("place", [0, 1, 2, 31, 63])
def test_every_digit_of_a_hash_counts(tmp_path: Path, place: int) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"weights")
    digits = list(hashlib.sha256(b"weights").hexdigest())
    assert ShippedFile(path, "".join(digits)).read() == b"weights"
    digits[place] = "0" if digits[place] != "0" else "1"
    with pytest.raises(ModelIntegrityError, match="is damaged: its SHA-256 is"):
        ShippedFile(path, "".join(digits)).read()
