"""models.toml -> verified model files.

Everything known of a model stands in that one file; the names below repeat its keys for type checkers.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from edgecolor._errors import ModelIntegrityError, UnknownModelError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ModelName = Literal["auto", "lite", "tiny"]
Precision = Literal["auto", "fp32", "fp16", "int8"]

_FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True)
class ShippedFile:
    """One file of the package, and what it must be."""

    path: Path
    """Where it lies."""
    sha256: str
    """What it must hash to."""

    def read(self) -> bytes:
        """The whole file.

        Raises:
            ModelIntegrityError: It is missing, or not the file that was published.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ModelIntegrityError(f"cannot read the model {self.path}: {error.strerror}; reinstall edgecolor") from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ModelIntegrityError(
                f"{self.path} is damaged: its SHA-256 is {found[:16]}…, expected {self.sha256[:16]}…; reinstall edgecolor"
            )
        return content


@dataclass(frozen=True)
class ModelFile:
    """One model in one precision, for one engine."""

    model: str
    """Name of the model."""
    precision: str
    """What its arithmetic is done in."""
    network: ShippedFile
    """ONNX graph from planes to colors and logits."""
    temperature: float
    """At which the mean of its distribution is taken."""
    vividness: float
    """Factor on a*, b* of that mean at which it was judged best."""
    grid_area: int
    """Pixels of the grid that it sees a picture of any size on, about."""
    frames: Mapping[str, ShippedFile] = field(default_factory=dict)
    """ONNX graphs of a whole frame, "rgb" and "chroma"; for TensorRT only."""
    weights: ShippedFile | None = None
    """What these graphs have in common, in a file beside them."""

    def check(self) -> None:
        """Read every file.

        Raises:
            ModelIntegrityError: One is missing, or not the file that was published.
        """
        for file in (self.network, *self.frames.values(), *([self.weights] if self.weights else ())):
            file.read()


@cache
def registry() -> dict[str, Any]:
    """The whole of models.toml."""
    try:
        return tomllib.loads((_FOLDER / "models.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelIntegrityError(f"cannot read {_FOLDER / 'models.toml'}: {error}; reinstall edgecolor") from error


def find_model(name: str = "auto", precision: str = "auto", engine: str = "onnxruntime") -> ModelFile:
    """The files of a model for an engine, "onnxruntime" or "tensorrt"; "auto" takes the defaults that models.toml names.

    Raises:
        UnknownModelError: There is no such model, or it does not come in that precision.
    """
    try:
        return _find(name, precision, engine)
    except KeyError as error:
        raise ModelIntegrityError(f"{_FOLDER / 'models.toml'} is damaged: it lacks {error}; reinstall edgecolor") from error


def _find(name: str, precision: str, engine: str) -> ModelFile:
    models = registry()["model"]
    chosen = registry()["default"] if name == "auto" else name
    if not isinstance(chosen, str) or chosen not in models:
        raise UnknownModelError(f"there is no model {name!r}; there are: auto, {', '.join(models)}")
    entry = models[chosen]
    kinds = entry["file"][engine]
    kind = entry["default_precision"][engine] if precision == "auto" else precision
    if not isinstance(kind, str) or kind not in kinds:
        raise UnknownModelError(
            f"model {chosen!r} has no precision {precision!r} for engine {engine!r}; it has: auto, {', '.join(kinds)}"
        )
    files = {part: ShippedFile(_FOLDER / file["name"], file["sha256"]) for part, file in kinds[kind].items()}
    network, weights = files.pop("network"), files.pop("weights", None)
    return ModelFile(chosen, kind, network, entry["temperature"], entry["vividness"], entry["grid_area"], files, weights)
