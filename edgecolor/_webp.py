"""Whether a WebP is coded without loss, which libvips does not tell.

Source: RFC 9649, section 2.
"""

from __future__ import annotations

from typing import IO

_PASSED = (b"VP8X", b"ICCP", b"ALPH")
"""Chunks that may come before the picture."""


def is_lossless_webp(file: IO[bytes]) -> bool:
    """Of any file."""
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        return False
    kind, length = _chunk(file)
    while kind in _PASSED:
        file.seek(length + length % 2, 1)
        kind, length = _chunk(file)
    return kind == b"VP8L"


def _chunk(file: IO[bytes]) -> tuple[bytes, int]:
    """Kind and length of the one that begins here."""
    head = file.read(8)
    return head[:4], int.from_bytes(head[4:], "little")
