"""What libvips neither hands out of a JPEG file nor writes into one: its comments, XMP beyond 64 KB, and further views.

Adobe, "XMP Specification Part 3: Storage in Files", 2020, section 1.1.3.1: what does not fit into one segment stands in further
ones, each with a digest, the length of the whole and its own place in it.
"""

from __future__ import annotations

import io
import re
import shutil
import struct
from pathlib import Path
from typing import Literal

from edgecolor._tiff import TiffError, read_directories

_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_DIGEST_BYTES = 32

_APP0, _APP1, _APP2, _APP15, _COMMENT, _SCAN = 0xE0, 0xE1, 0xE2, 0xEF, 0xFE, 0xDA

_PICTURES, _ENTRIES, _ENTRY_BYTES = b"MPF\0", 0xB002, 16
_VIEWS = (0x020001, 0x020002, 0x020003)
"""Kinds of picture: of a panorama, of a stereo pair, from several angles."""

_MORE_BYTES_MAX = 64 << 20
"""Of such XMP; beyond it is damage."""

Segment = tuple[int, bytes]
"""A marker's second byte, and what follows the length."""


def segments(path: Path) -> list[Segment]:
    """Everything before the pixels of a JPEG; nothing of other files. It ends where the file is damaged."""
    found: list[Segment] = []
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return found
        while (head := file.read(2))[:1] == b"\xff":
            while head[1:] == b"\xff":  # as many as a writer likes may stand before a marker
                head = head[1:] + file.read(1)
            if len(head) < 2 or head[1] == _SCAN:
                break
            length = int.from_bytes(file.read(2), "big") - 2
            body = file.read(max(0, length))
            if len(body) != length:
                break
            found.append((head[1], body))
    return found


def unwritten(path: Path) -> list[Segment]:
    """Of a JPEG, what libvips would leave out of another."""
    return [(kind, body) for kind, body in segments(path) if kind == _COMMENT or _is_more_xmp(kind, body)]


def _is_more_xmp(kind: int, body: bytes) -> bool:
    return kind == _APP1 and body.startswith(_MORE_XMP)


def more_xmp(path: Path) -> bytes:
    """The XMP packet of a JPEG that goes on from its first one; nothing if there is none, or not all of it."""
    parts: dict[int, bytes] = {}
    length = 0
    begin = len(_MORE_XMP) + _DIGEST_BYTES
    for kind, body in segments(path):
        if _is_more_xmp(kind, body) and len(body) > begin + 8:
            length, offset = struct.unpack_from(">II", body, begin)
            parts[offset] = body[begin + 8 :]
    packet = b"".join(parts[offset] for offset in sorted(parts))
    return packet if len(packet) == length <= _MORE_BYTES_MAX else b""


def joined_xmp(packet: bytes, more: bytes) -> bytes:
    """One packet out of two, for files that have room: the descriptions of the second behind those of the first.

    As it is if either is not made as the standard wants it.
    """
    begin = re.search(rb"<rdf:RDF[^>]*>", more)
    descriptions, end, _ = more[begin.end() :].rpartition(b"</rdf:RDF>") if begin else (b"", b"", b"")
    head, close, rest = packet.rpartition(b"</rdf:RDF>")
    if not begin or not end or not close or len(re.findall(rb"xmlns:", begin[0])) > 1:
        return packet
    return re.sub(rb"""\s+xmpNote:HasExtendedXMP=(["'])\w*\1""", b"", head) + descriptions + close + rest


def views_of_jpeg(path: Path) -> int:
    """How many views of a scene a file of several JPEGs holds, such as a stereo pair; previews and maps are none.

    CIPA DC-007-2009, "Multi-Picture Format", section 5.2.3.
    """
    for kind, body in segments(path):
        if kind == _APP2 and body.startswith(_PICTURES):
            try:
                entries = read_directories(io.BytesIO(body.removeprefix(_PICTURES)))[0][_ENTRIES]
            except (TiffError, LookupError):
                return 0
            starts = range(0, len(entries.data) - _ENTRY_BYTES + 1, _ENTRY_BYTES)
            return sum(_kind_of_entry(entries.data[start:][:4], body) in _VIEWS for start in starts)
    return 0


def _kind_of_entry(attribute: bytes, body: bytes) -> int:
    order: Literal["little", "big"] = "little" if body.removeprefix(_PICTURES).startswith(b"II") else "big"
    return int.from_bytes(attribute, order) & 0xFFFFFF


def add_segments(path: Path, added: list[Segment]) -> None:
    """Put segments into a JPEG, behind those that tell of applications."""
    if not added:
        return
    place = 2
    for kind, body in segments(path):
        if not _APP0 <= kind <= _APP15:
            break
        place += 4 + len(body)
    other = path.with_name(f"{path.name}.segments")
    try:
        with path.open("rb") as file, other.open("wb") as written:
            written.write(file.read(place))
            for kind, body in added:
                written.write(bytes((0xFF, kind)) + (len(body) + 2).to_bytes(2, "big") + body)
            shutil.copyfileobj(file, written, 1 << 20)
        with other.open("rb") as file, path.open("r+b") as written:  # in place: the file is locked
            shutil.copyfileobj(file, written, 1 << 20)
    finally:
        other.unlink(missing_ok=True)
