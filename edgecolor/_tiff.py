"""What libvips neither tells of a TIFF file nor takes for one: its directories, their tags, plain rows, and pages of any size.

Tags are read from files and from EXIF blocks, which are small TIFF files, and are added to files that libvips wrote.
"""

from __future__ import annotations

import io
import re
import shutil
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WIDTHS |= {129: 1}
"""Bytes of one value of each type of TIFF 6.0, BigTIFF and EXIF 3.0."""

_FRACTIONS = (5, 10)
"""Types whose value is two numbers of half its bytes."""

_POINTS_TO_DATA = frozenset({273, 324})
"""StripOffsets, TileOffsets: places in the file."""

_POINTS_TO_TAGS = frozenset({330, 34665, 34853, 40965})
"""SubIFDs, EXIF, GPS, Interoperability: places of further directories."""

ENCODING = frozenset({254, 255, *range(256, 260), 262, 263, 264, 265, 266, *range(273, 285), 288, 289, 290, 291, 292, 293, 296})
ENCODING |= {
    301,
    *range(317, 326),
    330,
    *range(332, 337),
    *range(338, 343),
    346,
    347,
    *range(512, 522),
    *range(529, 533),
    700,
    34675,
}
"""Tags of how pixels are stored, and those that libvips itself writes: orientation, resolution, XMP, profile."""

_LAYERS = 37724
"""Photoshop's layers: pixels of their own, grey still, which it may show in place of the result."""

ENCODING |= {_LAYERS}

_ORIENTATION = 274
_WAYS_TO_LIE = [[number] for number in range(1, 9)]
"""Of a picture. Some programs write 0 for what they do not know, and libtiff refuses the strips of such a page."""

_BULKY_BYTES = 1 << 20
"""Of a tag that libvips (8.18), which lets libtiff hold 50 MB, is not shown: scans come with more."""

_PIXELS = ENCODING - {_LAYERS, 254, 255, 274, 282, 283, 296, 301, 330, 700}
"""Tags without which pixels cannot be read, or not as they are meant."""

_EXIF_MARK = b"Exif\0\0"
_EXIF, _COLOR_SPACE = 34665, 40961
_SRGB, _UNCALIBRATED = 1, 65535
_IPTC, _PHOTOSHOP = 33723, 34377
_PRESS_MARK = b"Photoshop 3.0\0"
_IPTC_MARK = b"8BIM\x04\x04\0\0"
"""Of the resource that holds the IPTC record, without a name."""

_UTF8 = 129
"""Type of EXIF 3.0: text like 2, which says its encoding."""

_SHAPE = re.compile(rb'\{"shape": \[[\d, ]+\]\}\0*')
"""What tifffile describes a picture by, true of the grey one only."""

_OFFSET_MAX = 1 << 62
"""Beyond it no file can be asked to go."""

_VALUES_MAX = 1 << 28
"""Bytes of one tag beyond which it is damage."""


_DEPTH_MAX = 3
"""Of directories below directories, beyond which it is damage; EXIF has two."""


class TiffError(ValueError):
    """Directories that lead nowhere."""


@dataclass(frozen=True)
class Tag:
    """One value, or several, of one type."""

    kind: int
    """Type as TIFF numbers them."""
    data: bytes
    """The values, little-endian."""
    below: Tags | None = None
    """Of a tag that points to tags, those."""

    @property
    def count(self) -> int:
        """How many values."""
        return len(self.data) // _WIDTHS[self.kind]

    @property
    def numbers(self) -> list[int]:
        """The values as whole numbers."""
        return np.frombuffer(self.data, f"<u{_WIDTHS[self.kind]}").tolist() if _WIDTHS[self.kind] <= 8 else []


Tags = dict[int, Tag]
"""Of one directory, by number."""


def is_big(file: IO[bytes]) -> bool:
    """Whether a file is a BigTIFF, whose places take 8 bytes."""
    file.seek(0)
    return file.read(4) in (b"II+\0", b"MM\0+")


def read_directories(file: IO[bytes]) -> list[Tags]:
    """The tags of every directory of a TIFF file or block, without the places of its pixels.

    Raises:
        TiffError: It is no TIFF, or its directories are damaged.
    """
    form, offset = _start(file)
    directories: list[Tags] = []
    seen = set()
    while offset:
        if offset in seen:
            raise TiffError(f"its directory {len(directories)} leads back to one before it")
        seen.add(offset)
        entries, following = _entries(file, form, offset)
        directories.append(_tags(file, form, entries, frozenset({offset})))
        offset = following
    return directories


@dataclass(frozen=True)
class PlainRows:
    """Where the rows of a grey page lie in its file, which are not compressed.

    libvips holds several strips whole: 38 MB more for a scan 28,672 pixels wide in strips of 128 rows.
    """

    offsets: npt.NDArray[np.uint64]
    """(strips,) bytes."""
    strip_rows: int
    """Rows of every strip but the last."""
    width: int
    dtype: np.dtype[Any]
    """Of the codes, in the file's order of bytes."""

    def read(self, file: IO[bytes], top: int, rows: int) -> npt.NDArray[Any]:
        """(rows, width) uint8 or uint16.

        Raises:
            TiffError: The file ends before.
        """
        parts = []
        stop = top + rows
        while top < stop:
            strip, within = divmod(top, self.strip_rows)
            count = min(stop - top, self.strip_rows - within)
            length = self.width * self.dtype.itemsize
            parts.append(_get(file, int(self.offsets[strip]) + within * length, count * length))
            top += count
        codes = np.frombuffer(b"".join(parts) if len(parts) > 1 else parts[0], self.dtype)
        return codes.astype(self.dtype.newbyteorder("="), copy=False).reshape(rows, self.width)


def plain_rows(file: IO[bytes], number: int, tags: Tags) -> PlainRows | None:
    """Those of directory ``number``, if they are plain: 8 or 16 bits, black at 0, in strips.

    Raises:
        TiffError: The directories are damaged.
    """

    def one(tag: int, otherwise: int = 1) -> int:
        return (tags[tag].numbers or [0])[0] if tag in tags else otherwise

    if (one(259), one(277), one(339), one(266), one(262, 0)) != (1, 1, 1, 1, 1) or one(258) not in (8, 16) or 322 in tags:
        return None
    form, place = _directory(file, number)
    found = [entry for entry in _entries(file, form, place)[0] if entry.number == 273 and entry.kind in _WIDTHS]
    height, width, strip_rows = one(257, 0), one(256, 0), min(one(278, 1 << 32), one(257, 0))
    if not found or not strip_rows or found[0].count != -(-height // strip_rows):
        return None
    offsets = np.frombuffer(_values(file, form, found[0]), f"<u{_WIDTHS[found[0].kind]}").astype(np.uint64)
    return PlainRows(offsets, strip_rows, width, np.dtype(f"{form.order}u{one(258) // 8}"))


class BarePage:
    """A TIFF file that has one directory of those it has, which tells of pixels only. It is read as a stream is.

    Where libvips (8.18) is to refuse damage that it else makes up for, it also refuses all strips of a page of which libtiff
    warns of any tag, such as words without an end.
    """

    def __init__(self, path: Path, number: int, without: frozenset[int] = frozenset()) -> None:
        """Of directory ``number``, and if any are to be left out, with all other tags.

        Raises:
            TiffError: The directories are damaged.
            OSError: The file cannot be read.
        """
        self._path, self._at = path, 0
        with path.open("rb") as file:
            self._length = file.seek(0, io.SEEK_END)
            form, place = _directory(file, number)
            raw = _get(file, place + form.count_bytes, _count(file, form, place) * form.entry_bytes)
        lines = [raw[at : at + form.entry_bytes] for at in range(0, len(raw), form.entry_bytes)]
        numbers = [struct.unpack_from(f"{form.order}H", line)[0] for line in lines]
        pairs = zip(lines, numbers, strict=True)
        kept = [line for line, number in pairs if (number not in without if without else number in _PIXELS)]
        count = struct.pack(form.order + ("Q" if form.big else "H"), len(kept))
        self._other = {
            form.first: struct.pack(form.place, place),
            place: count + b"".join(kept) + bytes(form.place_bytes),
        }

    def read(self, length: int) -> bytes:
        """Up to ``length`` bytes; none at the end, or where the file is gone."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                found = bytearray(file.read(length))
        except OSError:
            return b""
        for place, data in self._other.items():
            begin, end = max(place, self._at), min(place + len(data), self._at + len(found))
            if begin < end:
                found[begin - self._at : end - self._at] = data[begin - place : end - place]
        self._at += len(found)
        return bytes(found)

    def seek(self, offset: int, whence: int) -> int:
        """Go to a place; say which."""
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at


def unwanted(tags: Tags) -> frozenset[int]:
    """Those of a page that tell nothing of how to read it, and take much memory, or would stop libvips."""
    return frozenset(
        number
        for number, tag in tags.items()
        if number == _LAYERS
        or (number not in ENCODING and len(tag.data) > _BULKY_BYTES)
        or (number == _ORIENTATION and tag.numbers[:1] not in _WAYS_TO_LIE)
    )


def described(tags: Tags) -> Tags:
    """Those tags that say something about the picture, and not how it is stored."""
    return {number: tag for number, tag in tags.items() if number not in ENCODING}


def exif_tags(block: bytes) -> Tags:
    """What an EXIF block, as libvips holds it, says about the picture; nothing if it is damaged."""
    file = io.BytesIO(block.removeprefix(_EXIF_MARK))
    try:
        form, offset = _start(file)
        return described(_tags(file, form, _entries(file, form, offset)[0], frozenset({offset})))
    except TiffError:
        return {}


def exif_block(tags: Tags) -> bytes:
    """The EXIF block that holds these tags."""
    file = io.BytesIO(b"II*\0" + bytes(4))
    _write_directory(file, _CLASSIC, _NO_ENTRIES, tags, 4)
    return _EXIF_MARK + file.getvalue()


def with_text(block: bytes, number: int, text: Tag) -> bytes:
    """An EXIF block with this text in its first directory, all else where it was; as it is if it is damaged."""
    file = io.BytesIO(block.removeprefix(_EXIF_MARK))
    try:
        _put_tags(file, {number: text}, frozenset())
    except TiffError:
        return block
    return _EXIF_MARK + file.getvalue()


def with_color_space(tags: Tags, *, srgb: bool) -> Tags:
    """Where EXIF says which colours the codes are, what is true now: it has a word for sRGB, and one for all others."""
    exif = tags.get(_EXIF)
    if exif is None or not exif.below or _COLOR_SPACE not in exif.below:
        return tags
    value = Tag(3, (_SRGB if srgb else _UNCALIBRATED).to_bytes(2, "little"))
    return tags | {_EXIF: replace(exif, below=exif.below | {_COLOR_SPACE: value})}


def block_with_color_space(block: bytes, *, srgb: bool) -> bytes:
    """The same of an EXIF block, all else where it was; as it is if it is damaged."""
    file = io.BytesIO(block.removeprefix(_EXIF_MARK))
    try:
        form, place = _start(file)
        for number in (_EXIF, _COLOR_SPACE):
            entries, _ = _entries(file, form, place)
            index = next((index for index, entry in enumerate(entries) if entry.number == number), None)
            if index is None or entries[index].kind not in (3, 4):
                return block
            spot = place + form.count_bytes + (index + 1) * form.entry_bytes - form.place_bytes
            kind = form.place if entries[index].kind == 4 else f"{form.order}H"
            (place,) = struct.unpack_from(kind, entries[index].field)
        _put(file, spot, struct.pack(kind, _SRGB if srgb else _UNCALIBRATED))
    except TiffError:
        return block
    return _EXIF_MARK + file.getvalue()


def block_of_old_texts(block: bytes) -> bytes:
    """An EXIF block whose texts of EXIF 3.0's type are called ASCII, byte for byte, as libexif (0.6) drops others."""
    file = io.BytesIO(block.removeprefix(_EXIF_MARK))
    try:
        form, place = _start(file)
        _call_ascii(file, form, place, frozenset())
    except TiffError:
        return block
    return _EXIF_MARK + file.getvalue()


def _call_ascii(file: IO[bytes], form: _Form, place: int, above: frozenset[int]) -> None:
    if place in above or len(above) > _DEPTH_MAX:
        return
    for index, entry in enumerate(_entries(file, form, place)[0]):
        if entry.kind == _UTF8:
            _put(file, place + form.count_bytes + index * form.entry_bytes + 2, struct.pack(f"{form.order}H", 2))
        elif entry.number in _POINTS_TO_TAGS:
            _call_ascii(file, form, struct.unpack(form.place, entry.field)[0], above | {place})


def noted_text(text: Tag | None, note: str) -> Tag:
    """A description with a note behind what it says, in any encoding. What programs read, JSON and XML, stays as it is."""
    own = text.data.rstrip(b"\0") if text and not _SHAPE.fullmatch(text.data) else b""
    kind = _UTF8 if text and text.kind == _UTF8 else 2
    if note.encode() in own or own.lstrip().startswith((b"{", b"<")):
        return Tag(kind, own + b"\0")
    return Tag(kind, b"; ".join(filter(None, (own, note.encode()))) + b"\0")


def press_tags(block: bytes) -> Tags:
    """The IPTC record and Photoshop's resources that a JPEG holds, as TIFF's tags."""
    if not block.startswith(_PRESS_MARK):
        return {_IPTC: Tag(7, block)}
    resources = block.removeprefix(_PRESS_MARK)
    begin = resources.find(_IPTC_MARK)
    tags = {_PHOTOSHOP: Tag(7, resources)}
    if begin >= 0:
        length = int.from_bytes(resources[begin + 8 : begin + 12], "big")
        tags[_IPTC] = Tag(7, resources[begin + 12 : begin + 12 + length])
    return tags


def press_block(tags: Tags) -> bytes:
    """The inverse of :func:`press_tags`; nothing if there are none."""
    if _PHOTOSHOP in tags:
        return _PRESS_MARK + tags[_PHOTOSHOP].data
    if _IPTC not in tags:
        return b""
    data = tags[_IPTC].data
    return _PRESS_MARK + _IPTC_MARK + len(data).to_bytes(4, "big") + data + bytes(len(data) % 2)


def add_tags(path: Path, tags: Tags, without: frozenset[int] = frozenset()) -> None:
    """Add tags to the first directory of a file written by libvips, in place of those it has, and take others out."""
    with path.open("r+b") as file:
        _put_tags(file, tags, without)


def _put_tags(file: IO[bytes], tags: Tags, without: frozenset[int]) -> None:
    form, offset = _start(file)
    entries, following = _entries(file, form, offset)
    left = [entry for entry in entries if entry.number not in without | tags.keys()]
    if tags or len(left) < len(entries):
        _write_directory(file, form, (left, following), tags, form.first)


def add_page(path: Path, page: Path) -> None:
    """Put the pictures of one file behind those of another. Both were written by libvips, in the same form."""
    with path.open("r+b") as file:
        form, offset = _start(file)
        pointer = form.first
        while offset:
            pointer, offset = _following(file, form, offset)
        base = _end(file)
        with page.open("rb") as other:
            shutil.copyfileobj(other, file, 1 << 20)
            first = _start(other)[1]
        _put(file, pointer, struct.pack(form.place, base + first))
        _move(file, form, base + first, base)


def header(size: tuple[int, int], bands: int, dtype: npt.DTypeLike, rows: int) -> bytes:
    """The beginning of an uncompressed BigTIFF whose pixels follow at once, top to bottom, ``rows`` to a strip.

    Args:
        size: Height and width in pixels.
        bands: 1, 3, or one more for alpha.
        dtype: uint8, uint16 or float32.
        rows: Of every strip but the last.
    """
    kind = np.dtype(dtype)
    row_bytes = size[1] * bands * kind.itemsize
    color = bands >= 3
    numbers = {
        258: (3, [8 * kind.itemsize] * bands),
        259: (3, [1]),
        262: (3, [2 if color else 1]),
        277: (3, [bands]),
        284: (3, [1]),
        339: (3, [3 if kind.kind == "f" else 1] * bands),
    }
    if bands in (2, 4):
        numbers[338] = (3, [2])
    tags = {number: _numbers(kind, values) for number, (kind, values) in numbers.items()}
    file, begin = io.BytesIO(), 0
    for _ in range(2):  # the second time with the offsets, now that the length is known
        begin = -(-len(file.getvalue()) // 16) * 16
        file = io.BytesIO(b"II+\0" + struct.pack("<HHQ", 8, 0, 0))
        _write_directory(file, _BIG, _NO_ENTRIES, tags | strip_tags(size, row_bytes, rows, begin, big=True), 8)
    return file.getvalue().ljust(begin, b"\0")


def strip_tags(size: tuple[int, int], row_bytes: int, rows: int, begin: int, *, big: bool) -> Tags:
    """Where a picture of this height and width lies that is not compressed, in one piece from ``begin`` on.

    In strips of ``rows``. A place takes 8 bytes in a big file, else 4.
    """
    height, width = size
    tops = np.arange(0, height, rows)
    place = 16 if big else 4
    return {
        256: _numbers(4, [width]),
        257: _numbers(4, [height]),
        273: _numbers(place, begin + tops * row_bytes),
        278: _numbers(4, [rows]),
        279: _numbers(place, np.minimum(rows, height - tops) * row_bytes),
    }


def _numbers(kind: int, values: npt.ArrayLike) -> Tag:
    """Whole numbers of a type."""
    return Tag(kind, np.asarray(values).astype(f"<u{_WIDTHS[kind]}").tobytes())


@dataclass(frozen=True)
class _Form:
    """Byte order, and whether places take 8 bytes or 4."""

    order: str
    big: bool

    @property
    def first(self) -> int:
        """Where the place of the first directory stands."""
        return 8 if self.big else 4

    @property
    def place(self) -> str:
        """Of a place in the file."""
        return self.order + ("Q" if self.big else "I")

    @property
    def place_bytes(self) -> int:
        return 8 if self.big else 4

    @property
    def count_bytes(self) -> int:
        """Of the number of entries that a directory begins with."""
        return 8 if self.big else 2

    @property
    def entry_bytes(self) -> int:
        return 20 if self.big else 12


_CLASSIC, _BIG = _Form("<", big=False), _Form("<", big=True)


@dataclass(frozen=True)
class _Entry:
    """One line of a directory."""

    number: int
    kind: int
    count: int
    field: bytes
    """The values themselves where they fit, else the place where they are."""


_Directory = tuple[list[_Entry], int]
"""The lines of a directory, and the place of the next directory, 0 after the last."""

_NO_ENTRIES: _Directory = ([], 0)


def _start(file: IO[bytes]) -> tuple[_Form, int]:
    mark = _get(file, 0, 8)
    order = {b"II": "<", b"MM": ">"}.get(mark[:2])
    version = struct.unpack(f"{order}H", mark[2:4])[0] if order else 0
    if order is None or version not in (42, 43):
        raise TiffError("it does not begin as a TIFF")
    form = _Form(order, big=version == 43)
    return form, struct.unpack(form.place, _get(file, form.first, form.place_bytes))[0]


def _count(file: IO[bytes], form: _Form, offset: int) -> int:
    number: int = struct.unpack(form.order + ("Q" if form.big else "H"), _get(file, offset, form.count_bytes))[0]
    if number > 65535:
        raise TiffError(f"a directory claims {number} tags")
    return number


def _directory(file: IO[bytes], number: int) -> tuple[_Form, int]:
    """The place of a directory, counted from 0."""
    form, place = _start(file)
    for _ in range(number):
        place = _following(file, form, place)[1]
    return form, place


def _following(file: IO[bytes], form: _Form, offset: int) -> tuple[int, int]:
    """Where a directory says which comes next, and which that is. Its entries are not read: there may be 1,000 directories."""
    pointer = offset + form.count_bytes + _count(file, form, offset) * form.entry_bytes
    return pointer, struct.unpack(form.place, _get(file, pointer, form.place_bytes))[0]


def _entries(file: IO[bytes], form: _Form, offset: int) -> _Directory:
    count = _count(file, form, offset)
    raw = _get(file, offset + form.count_bytes, count * form.entry_bytes + form.place_bytes)
    entries = []
    for start in range(0, count * form.entry_bytes, form.entry_bytes):
        number, kind, values = struct.unpack_from(form.order + ("HHQ" if form.big else "HHI"), raw, start)
        end = start + form.entry_bytes
        entries.append(_Entry(number, kind, values, raw[end - form.place_bytes : end]))
    return entries, struct.unpack_from(form.place, raw, count * form.entry_bytes)[0]


def _place(form: _Form, entry: _Entry) -> int:
    """Where the values are, 0 if in the line itself."""
    if entry.count * _WIDTHS[entry.kind] <= form.place_bytes:
        return 0
    found: int = struct.unpack(form.place, entry.field)[0]
    return found


def _values(file: IO[bytes], form: _Form, entry: _Entry) -> bytes:
    """Little-endian."""
    length = entry.count * _WIDTHS[entry.kind]
    if length > _VALUES_MAX:
        raise TiffError(f"the tag {entry.number} claims {length} bytes")
    place = _place(form, entry)
    raw = _get(file, place, length) if place else entry.field[:length]
    if entry.number == _IPTC:  # bytes, also where a program calls them numbers
        return raw
    unit = _WIDTHS[entry.kind] // (2 if entry.kind in _FRACTIONS else 1)
    return raw if form.order == "<" or unit == 1 else np.frombuffer(raw, f">u{unit}").astype(f"<u{unit}").tobytes()


def _tags(file: IO[bytes], form: _Form, entries: list[_Entry], above: frozenset[int]) -> Tags:
    """Of a directory; ``above`` are the places of it and of those that led to it."""
    wanted = (entry for entry in entries if entry.kind in _WIDTHS and entry.number not in _POINTS_TO_DATA)
    return {entry.number: _tag(file, form, entry, above) for entry in wanted}


def _tag(file: IO[bytes], form: _Form, entry: _Entry, above: frozenset[int]) -> Tag:
    tag = Tag(entry.kind, b"" if entry.number == _LAYERS else _values(file, form, entry))
    if entry.number not in _POINTS_TO_TAGS or not tag.numbers:
        return tag
    place = tag.numbers[0]
    if place in above or len(above) > _DEPTH_MAX:
        return replace(tag, below={})
    try:
        below, _ = _entries(file, form, place)
        return replace(tag, below=_tags(file, form, below, above | {place}))
    except TiffError:
        return replace(tag, below={})


def _write_directory(file: IO[bytes], form: _Form, old: _Directory, tags: Tags, pointer: int) -> None:
    """Write a directory of old entries and new tags at the end, and its place at ``pointer``."""
    entries, following = old
    lines = [*entries, *(_written(file, form, number, tag) for number, tag in tags.items())]
    offset = _end(file)
    body = b"".join(
        struct.pack(form.order + ("HHQ" if form.big else "HHI"), line.number, line.kind, line.count) + line.field
        for line in sorted(lines, key=lambda line: line.number)
    )
    file.write(struct.pack(form.order + ("Q" if form.big else "H"), len(lines)) + body + struct.pack(form.place, following))
    _put(file, pointer, struct.pack(form.place, offset))


def _written(file: IO[bytes], form: _Form, number: int, tag: Tag) -> _Entry:
    """The line for a tag, whose values are written at the end of the file where they do not fit."""
    if tag.below is not None:
        spot = _end(file)
        file.write(bytes(form.place_bytes))
        _write_directory(file, form, _NO_ENTRIES, tag.below, spot)
        return _Entry(number, 16 if form.big else 4, 1, _get(file, spot, form.place_bytes))
    if len(tag.data) <= form.place_bytes:
        return _Entry(number, tag.kind, tag.count, tag.data.ljust(form.place_bytes, b"\0"))
    offset = _end(file)
    file.write(tag.data)
    return _Entry(number, tag.kind, tag.count, struct.pack(form.place, offset))


def _move(file: IO[bytes], form: _Form, offset: int, base: int) -> None:
    """Make a chain of directories right that was copied ``base`` bytes further on."""
    while offset:
        entries, following = _entries(file, form, offset)
        for index, entry in enumerate(entries):
            line = offset + form.count_bytes + index * form.entry_bytes
            place = _place(form, entry)
            if place:
                _put(file, line + form.entry_bytes - form.place_bytes, struct.pack(form.place, place + base))
            if entry.number in _POINTS_TO_DATA | _POINTS_TO_TAGS:
                _move_values(file, form, line, base)
        next_offset = following + base if following else 0
        _put(file, offset + form.count_bytes + len(entries) * form.entry_bytes, struct.pack(form.place, next_offset))
        offset = next_offset


def _move_values(file: IO[bytes], form: _Form, line: int, base: int) -> None:
    """The same for the places that a tag holds, whose line begins at ``line`` and is right already."""
    raw = _get(file, line, form.entry_bytes)
    number, kind, count = struct.unpack_from(form.order + ("HHQ" if form.big else "HHI"), raw)
    entry = _Entry(number, kind, count, raw[-form.place_bytes :])
    unit = f"<u{_WIDTHS[entry.kind]}"
    moved = np.frombuffer(_values(file, form, entry), unit) + np.array(base, unit)
    _put(file, _place(form, entry) or line + form.entry_bytes - form.place_bytes, moved.tobytes())
    if entry.number in _POINTS_TO_TAGS:
        for below in moved.tolist():
            _move(file, form, below, base)


def _get(file: IO[bytes], offset: int, length: int) -> bytes:
    found = b""
    if offset <= _OFFSET_MAX:
        file.seek(offset)
        found = file.read(length)
    if len(found) < length:
        raise TiffError(f"it ends before byte {offset + length}")
    return found


def _put(file: IO[bytes], offset: int, data: bytes) -> None:
    file.seek(offset)
    file.write(data)


def _end(file: IO[bytes]) -> int:
    """Move to the end, to an even place as TIFF wants it, and say where that is."""
    offset = file.seek(0, io.SEEK_END)
    file.write(bytes(offset % 2))
    return offset + offset % 2
