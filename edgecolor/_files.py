"""Files that arrive whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecolor._errors import SourceError

NOTE = "coloured by edgecolor; colours are estimates"
"""Written into every result, so that nobody takes the colours for a record."""


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path beside the target to write to; renamed over the target at the end, removed on any failure.

    Its name follows from the target's: what a killed run left behind is used up by the next.

    Raises:
        SourceError: It cannot be written, or someone else is writing it.
    """
    partial = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}.partial{target.suffix}")
    try:
        with partial.open("ab") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SourceError(f"cannot write {target}: another process is writing it") from error
            try:
                yield partial
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
                partial.replace(target)
            finally:
                with suppress(OSError):
                    partial.unlink()
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"cannot write {target}: {error.strerror or error}") from error


def make_folder(folder: Path) -> None:
    """With all above it, unless it is there.

    Raises:
        SourceError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(f"cannot make the folder {folder}: {error.strerror or error}") from error
