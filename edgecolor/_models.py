"""models.toml -> a verified model file.

Everything known of a model stands in that one file; the names below repeat its keys for type checkers.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from edgecolor._errors import ModelIntegrityError, UnknownModelError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ModelName = Literal["auto", "lite"]
Precision = Literal["auto", "fp32", "int8"]

_FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True)
class ModelFile:
    """One model in one precision."""

    model: str
    """Name of the model."""
    precision: str
    """What its arithmetic is done in."""
    path: Path
    """Where it lies."""
    sha256: str
    """What it must hash to."""
    temperature: float
    """At which the mean of its distribution is taken."""
    vividness: float
    """Factor on a*, b* of that mean at which it was judged best."""

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


@cache
def registry() -> dict[str, Any]:
    """The whole of models.toml."""
    try:
        return tomllib.loads((_FOLDER / "models.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelIntegrityError(f"cannot read {_FOLDER / 'models.toml'}: {error}; reinstall edgecolor") from error


def find_model(name: str = "auto", precision: str = "auto") -> ModelFile:
    """The file of a model; "auto" takes the defaults that models.toml names.

    Raises:
        UnknownModelError: There is no such model, or it does not come in that precision.
    """
    try:
        return _find(name, precision)
    except KeyError as error:
        raise ModelIntegrityError(f"{_FOLDER / 'models.toml'} is damaged: it lacks {error}; reinstall edgecolor") from error


def _find(name: str, precision: str) -> ModelFile:
    models = registry()["model"]
    chosen = registry()["default"] if name == "auto" else name
    if chosen not in models:
        raise UnknownModelError(f"there is no model {name!r}; there are: auto, {', '.join(models)}")
    entry = models[chosen]
    kind = entry["default_precision"] if precision == "auto" else precision
    if kind not in entry["file"]:
        raise UnknownModelError(f"model {chosen!r} has no precision {precision!r}; it has: auto, {', '.join(entry['file'])}")
    file = entry["file"][kind]
    return ModelFile(chosen, kind, _FOLDER / file["name"], file["sha256"], entry["temperature"], entry["vividness"])
