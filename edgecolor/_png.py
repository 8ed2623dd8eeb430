"""What libvips neither tells of a PNG file nor writes into one as it was: its texts, and that it is animated."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_MARK = b"\x89PNG\r\n\x1a\n"
_TEXTS, _XMP = (b"tEXt", b"zTXt", b"iTXt"), b"XML:com.adobe.xmp\0"
_ANIMATION, _PIXELS = b"acTL", b"IDAT"

_TEXT_BYTES_MAX = 8 << 20
"""Of one text; libpng, too, refuses longer ones."""

_CHECK_BYTES, _END_BYTES = 4, 12
"""Behind the body of a chunk, and of the last chunk, which has none."""


@contextmanager
def _chunks(path: Path) -> Iterator[Iterator[tuple[bytes, int, IO[bytes]]]]:
    """Kind, length, and the file where the body begins, of every chunk; nothing of other files."""
    with path.open("rb") as file:
        yield _walked(file) if file.read(len(_MARK)) == _MARK else iter(())


def _walked(file: IO[bytes]) -> Iterator[tuple[bytes, int, IO[bytes]]]:
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        following = file.tell() + length + _CHECK_BYTES
        yield kind, length, file
        file.seek(following)


def frames_of_png(path: Path) -> int:
    """How many pictures an animated PNG shows; 1 of others, 0 of files that are no PNG."""
    with _chunks(path) as chunks:
        found = 0
        for kind, length, file in chunks:
            found = max(1, found)
            if kind == _ANIMATION and length >= 4:
                return int.from_bytes(file.read(4), "big")
            if kind == _PIXELS:
                break
        return found


def texts_of_png(path: Path) -> bytes:
    """The chunks of text, byte for byte, but XMP. libvips makes all of them Latin-1."""
    found = b""
    with _chunks(path) as chunks:
        for kind, length, file in chunks:
            if kind in _TEXTS and length <= _TEXT_BYTES_MAX:
                body = file.read(length + _CHECK_BYTES)
                found += b"" if body.startswith(_XMP) else struct.pack(">I4s", length, kind) + body
    return found


def add_texts(path: Path, chunks: bytes) -> None:
    """Put chunks before the last of a PNG, which says that it ends."""
    with path.open("r+b") as file:
        file.seek(-_END_BYTES, os.SEEK_END)
        end = file.read()
        file.seek(-_END_BYTES, os.SEEK_END)
        file.write(chunks + end)
