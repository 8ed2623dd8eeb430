"""Files that arrive whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecolor._errors import SourceError


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path beside the target to write to; renamed over the target at the end, removed on any failure.

    Raises:
        SourceError: For every OSError from within.
    """
    partial = target.with_name(f".{secrets.token_hex(4)}.partial{target.suffix}")
    try:
        with partial.open("xb"):
            pass
        yield partial
        partial.replace(target)
    except SourceError:
        raise
    except OSError as error:
        raise SourceError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
