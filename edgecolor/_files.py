"""Files that arrive whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from edgecolor._errors import SourceError

NOTE = "coloured by edgecolor; colours are estimates"
"""Written into every result, so that nobody takes the colours for a record."""

_TRIES = 100
"""To open a file that others write, too: every try that fails is a writer that ended just then."""


class BusyError(SourceError):
    """A file that someone else is writing at this moment."""


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path beside the target to write to; renamed over the target at the end, removed on any failure.

    Its name follows from the target's: what a killed run left behind is used up by the next.

    Raises:
        SourceError: It cannot be written; a BusyError if someone else is writing it.
    """
    if not target.name:
        raise SourceError(f"cannot write {str(target)!r}: it names no file")
    check_free(target)
    partial = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}.partial{target.suffix}")
    try:
        with _held(partial, target) as held:
            try:
                yield partial
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
                partial.replace(target)
            finally:
                with suppress(OSError):
                    if _is_at(held, partial):  # once renamed, what has the name is the next writer's
                        partial.unlink()
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"cannot write {target}: {error.strerror or error}") from error


def check_free(target: Path) -> None:
    """Refuse, before any work, a name that a file cannot take.

    Raises:
        SourceError: A folder has it, or a pipe or device, whose place the file would take.
    """
    if os.path.isdir(target):  # noqa: PTH112  # Path's raises where a folder above cannot be looked into
        raise SourceError(f"cannot write {target}: {os.strerror(errno.EISDIR)}")
    if is_stream(target):
        raise SourceError(f"cannot write {target}: it is a pipe or device; give the name of a file")


def is_stream(path: Path) -> bool:
    """Whether it is there, but neither a file nor a folder: it may be waited for, or never end."""
    try:
        mode = path.stat().st_mode
    except OSError:  # said when it is opened
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


@contextmanager
def _held(partial: Path, target: Path) -> Iterator[IO[bytes]]:
    """The partial file, open and locked."""
    for _ in range(_TRIES):
        with partial.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                break
            if _is_at(file, partial):  # else another writer has ended since it was opened: this is the target, or nowhere
                yield file
                return
    raise BusyError(f"cannot write {target}: another process is writing it; wait for it, or give another name")


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file has this name, still."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def reading(name: object) -> Iterator[None]:
    """A source: what fails while it is read is not said of the target that is being written.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        yield
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"cannot read {name}: {error.strerror or error}") from error


def path_of(given: object) -> Path:
    """A file's name as a path.

    Raises:
        SourceError: It is no name.
    """
    try:
        path = Path(given)  # type: ignore[arg-type]
    except TypeError as error:
        raise SourceError(f"a file must be given by its name, a str or Path, got {type(given).__name__}") from error
    try:
        if b"\0" not in os.fsencode(path):
            return path
        why = "it holds a null byte"
    except UnicodeEncodeError as error:
        why = str(error)
    raise SourceError(f"{str(path)!r} is the name of no file: {why}")


def make_folder(folder: Path) -> None:
    """With all above it, unless it is there.

    Raises:
        SourceError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = error.strerror if isinstance(error, OSError) else None
        raise SourceError(f"cannot make the folder {folder}: {reason or error}") from error
