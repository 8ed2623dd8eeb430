"""Where built TensorRT plans are kept, under a key of everything that makes one invalid.

A plan file is one line of JSON, the key in full and the SHA-256 of what follows, then the plan.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecolor._errors import EngineBuildError

Key = dict[str, Any]

FOLDER_VARIABLE = "EDGECOLOR_CACHE"

_log = logging.getLogger("edgecolor")


def plans_folder() -> Path:
    """``$EDGECOLOR_CACHE``, else ``edgecolor`` in the user's cache (``$XDG_CACHE_HOME`` or ``~/.cache``)."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgecolor"
    except RuntimeError as error:
        raise EngineBuildError(f"there is no place for plans: {error}; name one in ${FOLDER_VARIABLE}") from error


def plan_path(key: Key) -> Path:
    """Where the plan of a key lies: readable names first, then the hash of the whole key."""
    digest = hashlib.sha256(_text(key).encode()).hexdigest()[:16]
    words = (
        str(key.get(name, "")).lower().replace(" ", "-").replace("/", "-") for name in ("model", "precision", "purpose", "gpu")
    )
    return plans_folder() / f"{'.'.join(word for word in words if word)}.{digest}.plan"


def read_plan(key: Key) -> bytes | None:
    """The plan of a key, or None where there is none, or none that is whole and of this key: then it is to be built anew."""
    path = plan_path(key)
    try:
        head, _, plan = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EngineBuildError(
            f"cannot read the plan {path}: {error.strerror}; set {FOLDER_VARIABLE} to another folder"
        ) from error
    try:
        label = json.loads(head)
        whole = label["sha256"] == hashlib.sha256(plan).hexdigest()
        same = label["key"] == json.loads(_text(key))
    except (ValueError, KeyError, TypeError):
        whole = same = False
    if whole and same:
        return plan
    _log.warning("the plan %s is %s; it is built again", path, "damaged" if not whole else "stale")
    return None


def write_plan(key: Key, plan: bytes) -> Path:
    """Keep a plan: written beside its place, flushed, then renamed.

    Raises:
        EngineBuildError: The folder cannot be written to, or is full.
    """
    path = plan_path(key)
    label = {"key": key, "sha256": hashlib.sha256(plan).hexdigest()}
    write_file(path, json.dumps(label, sort_keys=True).encode() + b"\n" + plan)
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a file of the cache whole or not at all.

    Raises:
        EngineBuildError: The folder cannot be written to, or is full.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise EngineBuildError(
            f"cannot keep {path.name} in {path.parent}: {error.strerror or error}; "
            f"set {FOLDER_VARIABLE} to a folder that can be written to and has room"
        ) from error


@dataclass(frozen=True)
class Asked:
    """What ``edgecolor build`` was last asked for on this machine."""

    build: dict[str, Any] = field(default_factory=dict)
    """How plans are built, by name."""
    frames: tuple[tuple[int, int], ...] = ()
    """Largest frames, height and width, that whole-frame plans are for; none: of any size."""


def read_options() -> Asked:
    """What was asked for; nothing where nothing was.

    Raises:
        EngineBuildError: The file that says so cannot be read, or does not say it.
    """
    path = plans_folder() / "build.json"
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
        frames = tuple((int(height), int(width)) for height, width in options.pop("frames", ()))
        return Asked(options, frames)
    except FileNotFoundError:
        return Asked()
    except OSError as error:
        raise EngineBuildError(f"cannot read {path}: {error.strerror}; set {FOLDER_VARIABLE} to another folder") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise EngineBuildError(f"{path} is damaged: {error}; delete it, or run edgecolor build again") from error


def write_options(asked: Asked) -> None:
    """Let every later start build and find plans with these options.

    Raises:
        EngineBuildError: The folder cannot be written to, or is full.
    """
    options = {**asked.build, "frames": asked.frames}
    write_file(plans_folder() / "build.json", json.dumps(options, sort_keys=True).encode())


def _text(key: Key) -> str:
    return json.dumps(key, sort_keys=True)
