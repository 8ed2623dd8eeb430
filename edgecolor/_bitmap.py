"""BMP and PBM, PGM, PPM, which scanners write, as SANE's scanimage does: libvips as pip installs it reads neither."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._errors import ImageError
from edgecolor._vips import load_vips

if TYPE_CHECKING:
    import pyvips

_GAP = rb"(?:\s|#[^\n]*\n)+"
_SIZE = rb"%b(\d{1,9})%b(\d{1,9})" % (_GAP, _GAP)
_HEADERS = re.compile(rb"P(4)%b()\s|P([56])%b%b(\d{1,5})\s" % (_SIZE, _SIZE, _GAP))
_HEADER_BYTES = 4096
"""In which a header ends, comments included."""

_BITS, _COLORS = b"4", b"6"
"""Behind the P."""

_DENSEST = 128
"""Pixels that a byte of BMP stands for at most: packed, two bytes are up to 255 of one colour."""

_BMP_HEADER = struct.Struct("<14xIii12xii")

_STRIP_BYTES = 1 << 18
"""About what a strip holds, as libvips is told."""

_TIFF_HEADER, _TIFF_ENTRY = struct.Struct(">2sHHHQQ"), struct.Struct(">HHQQ")
_SHORT, _LONG8 = 3, 16
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB = 0, 1, 2
"""PhotometricInterpretation."""

_WRITTEN = "PNM as text; convert it to bytes, for instance with: pamtopnm"
_FOREIGN = {
    b"\0\0\0\x0cjP  ": "JPEG 2000, which this libvips was built without; convert it to TIFF",
    b"\xff\x4f\xff\x51": "JPEG 2000, which this libvips was built without; convert it to TIFF",
    b"\0\0\0\x0cJXL ": "JPEG XL, which this libvips was built without; convert it to TIFF or PNG",
    b"\xff\x0a": "JPEG XL, which this libvips was built without; convert it to TIFF or PNG",
    b"%PDF": "PDF; take its pictures out first, for instance with: pdfimages -all",
    b"8BPS": "a Photoshop document; save it as TIFF",
    b"P1": _WRITTEN,
    b"P2": _WRITTEN,
    b"P3": _WRITTEN,
    b"P7": "PAM; convert it to PNG or TIFF",
    b"PF": "PFM; convert it to a TIFF of floats",
    b"Pf": "PFM; convert it to a TIFF of floats",
}
"""What a file begins with that is whole, but of a format that is not read."""


def what_is_foreign(path: Path) -> str:
    """The format of a file that libvips does not know, and a way out; empty if it is none we know."""
    with path.open("rb") as file:
        head = file.read(16)
    return next((said for mark, said in _FOREIGN.items() if head.startswith(mark)), "")


def open_bitmap(path: Path) -> pyvips.Image | None:
    """The picture of a BMP or PNM file, or None of others. Grey and colours of more than 8 bits are of 16.

    Raises:
        BitmapError: It is damaged.
        ImageError: It holds several pictures.
    """
    with path.open("rb") as file:
        mark = file.read(2)
        if mark == b"BM":
            return _bmp(file)
        return _pnm(path, file) if re.fullmatch(rb"P[456]", mark) else None


class _BmpHeader(NamedTuple):
    size: int
    """Of the header. OS/2's, of 12 bytes, says the rest otherwise, and no resolution."""
    width: int = 0
    height: int = 0
    """Negative from top to bottom."""
    per_metre_x: int = 0
    per_metre_y: int = 0

    @property
    def is_old(self) -> bool:
        return self.size < 40


class BitmapError(Exception):
    """A damaged file."""


def _pnm(path: Path, file: IO[bytes]) -> pyvips.Image:
    """Source: the manual pages pbm(5), pgm(5) and ppm(5) of Netpbm."""
    file.seek(0)
    found = _HEADERS.match(file.read(_HEADER_BYTES))
    if not found:
        raise BitmapError("its header is cut off, or not that of a PNM")
    kind, *numbers = (part for part in found.groups() if part is not None)
    width, height, peak = (int(number or 1) for number in numbers)
    start = found.end()
    if not width or not height or not 0 < peak < 65536:
        raise BitmapError(f"its header says {width} by {height} pixels, and {peak} for white")
    bands, bytes_each = 3 if kind == _COLORS else 1, 2 if peak > 255 else 1
    row_bytes = (width + 7) // 8 if kind == _BITS else width * bands * bytes_each
    size, end = file.seek(0, 2), start + row_bytes * height
    if size < end:
        raise BitmapError(f"it ends at byte {size:,}, its header says {end:,}")
    file.seek(end)
    if re.match(rb"\s*P[1-6]\s", file.read(16)):
        raise ImageError(f"{path} is not supported: it holds several pictures; take them apart, for instance with: pamsplit")
    tiff = _AsTiff(path, start, (height, width, bands), 1 if kind == _BITS else 8 * bytes_each, row_bytes)
    source = load_vips().SourceCustom()
    source.on_read(tiff.read)
    source.on_seek(tiff.seek)
    image = load_vips().Image.new_from_source(source, "", access="sequential", fail_on="error")
    return image if kind == _BITS else _scaled(image, peak)


class _AsTiff:
    """A PNM file behind the directory of a TIFF, whose bare strips hold the same bytes: libvips reads it as it does any scan.

    It is read as a stream is. Source: TIFF 6.0, and the layout of BigTIFF, which holds any size.
    """

    def __init__(self, path: Path, start: int, shape: tuple[int, int, int], bits: int, row_bytes: int) -> None:
        """Of a file whose ``shape``, height, width and bands, begins at byte ``start``."""
        self._path, self._start, self._at = path, start, 0
        height, width, bands = shape
        rows = max(1, min(_STRIP_BYTES // row_bytes, height))
        tops = range(0, height, rows)
        photometric = _RGB if bands > 1 else _MIN_IS_WHITE if bits == 1 else _MIN_IS_BLACK
        numbers = {256: width, 257: height, 259: 1, 262: photometric, 277: bands, 278: rows}
        count = len(numbers) + 3
        behind = _TIFF_HEADER.size + count * _TIFF_ENTRY.size + 8
        first = behind + 16 * len(tops)
        places = [first + top * row_bytes for top in tops]
        sizes = [min(rows, height - top) * row_bytes for top in tops]
        one = len(tops) == 1  # which lies in the entry itself
        entries = [(tag, _LONG8, 1, number) for tag, number in numbers.items()]
        entries += [
            (258, _SHORT, bands, int.from_bytes(np.array([bits] * bands + [0] * (4 - bands), ">u2").tobytes(), "big")),
            (273, _LONG8, len(tops), places[0] if one else behind),
            (279, _LONG8, len(tops), sizes[0] if one else behind + 8 * len(tops)),
        ]
        packed = b"".join(_TIFF_ENTRY.pack(*entry) for entry in sorted(entries))
        lists = np.array([*places, *sizes], ">u8").tobytes()
        self._head = _TIFF_HEADER.pack(b"MM", 43, 8, 0, 16, count) + packed + bytes(8) + lists
        self._length = len(self._head) + height * row_bytes

    def read(self, length: int) -> bytes:
        """Up to ``length`` bytes; none at the end, or where the file is gone."""
        found = self._head[self._at : self._at + length]
        try:
            with self._path.open("rb") as file:
                file.seek(self._start + max(0, self._at - len(self._head)))
                found += file.read(length - len(found))
        except OSError:
            return b""
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int) -> int:
        """Go to a place; say which."""
        self._at = offset + (0, self._at, self._length)[whence]
        return self._at


def _scaled(image: pyvips.Image, peak: int) -> pyvips.Image:
    """To where 255 or 65535 is white: scanners of 12 bits have 4095."""
    white = 255 if peak < 256 else 65535
    if peak != white:
        image = (image * (white / peak)).rint().cast(image.format)
    return _named(image)


def _image(codes: npt.NDArray[Any]) -> pyvips.Image:
    return _named(load_vips().Image.new_from_array(np.ascontiguousarray(codes), interpretation="multiband"))


def _named(image: pyvips.Image) -> pyvips.Image:
    """With what its bands are."""
    deep = image.format == "ushort"
    return image.copy(interpretation=("rgb16" if deep else "srgb") if image.bands >= 3 else "grey16" if deep else "b-w")


def _bmp(file: IO[bytes]) -> pyvips.Image:
    """Through OpenCV, whole."""
    file.seek(0)
    held = file.read()
    said = _BmpHeader(*_BMP_HEADER.unpack(held[: _BMP_HEADER.size].ljust(_BMP_HEADER.size, b"\0")))
    if said.is_old:
        said = _BmpHeader(said.size)
    if abs(said.width * said.height) > _DENSEST * len(held):
        raise BitmapError(f"its header says {said.width} by {abs(said.height)} pixels, and it has {len(held):,} bytes")
    try:
        codes = cv2.imdecode(np.frombuffer(held, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise BitmapError(f"OpenCV says {error}") from error
    if codes is None:
        raise BitmapError("it is cut off, or packed in an unknown way")
    if codes.ndim == 3:
        codes = cv2.cvtColor(codes, cv2.COLOR_BGR2RGB if codes.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    image = _image(codes)
    known = said.per_metre_x > 0 and said.per_metre_y > 0
    return image.copy(xres=said.per_metre_x / 1000, yres=said.per_metre_y / 1000) if known else image
