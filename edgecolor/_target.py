"""Picture files, written: strips in, a whole file out or none, with all that the source said about the picture."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from edgecolor._errors import ImageError, SourceError
from edgecolor._files import reading, whole_file
from edgecolor._icc import rgb_profile
from edgecolor._jpeg import add_segments, joined_xmp, more_xmp, unwritten
from edgecolor._png import add_texts, texts_of_png
from edgecolor._source import Page
from edgecolor._tiff import (
    Tags,
    add_tags,
    block_of_old_texts,
    block_with_color_space,
    described,
    exif_block,
    exif_tags,
    header,
    noted_text,
    press_block,
    press_tags,
    strip_tags,
    with_color_space,
    with_text,
)
from edgecolor._vips import copy_field, fields, load_vips, reason, writes_tiff
from edgecolor._webp import is_lossless_webp

if TYPE_CHECKING:
    import pyvips

Picture = npt.NDArray[Any]

Depth = Literal["auto", "8", "16", "float"]
Compression = Literal["auto", "none", "lzw", "deflate", "zstd", "packbits", "jpeg", "webp"]

DTYPES = {"8": "uint8", "16": "uint16", "float": "float32"}
_VIPS_FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}


@dataclass(frozen=True)
class Format:
    """A kind of file that can be written."""

    saver: str
    """Of libvips."""
    options: dict[str, Any] = field(default_factory=dict)
    """For it. Chroma is not subsampled where that can be avoided."""
    depths: tuple[Depth, ...] = ("8",)
    alpha: bool = True
    pages: bool = False
    """Whether it is TIFF, which holds several pictures, and whose tags are its metadata."""
    turns: bool = True
    """Whether it can say how it is to be turned. Where it cannot, pictures are written upright."""


_JPEG = Format("jpegsave", {"Q": 92, "subsample_mode": "off", "optimize_coding": True}, alpha=False)
_TIFF = Format("tiffsave", depths=("8", "16", "float"), pages=True)

FORMATS: dict[str, Format] = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".png": Format("pngsave", depths=("8", "16")),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": Format("webpsave", {"Q": 90, "smart_subsample": True}),
    ".avif": Format("heifsave", {"Q": 80, "compression": "av1", "subsample_mode": "off"}, depths=("8", "16"), turns=False),
    ".jp2": Format("jp2ksave", {"Q": 90, "subsample_mode": "off"}, depths=("8", "16"), turns=False),
}
"""By the ending of the file's name."""

_OPTIONAL = ("heifsave", "jp2ksave")
"""Which not every libvips has."""

_COMPRESSIONS = {1: "none", 5: "lzw", 6: "jpeg", 7: "jpeg", 8: "deflate", 32946: "deflate", 32773: "packbits", 50000: "zstd"}
_COMPRESSIONS |= {50001: "webp"}
"""TIFF's numbers for what can hold colour. Other files, and fax, become deflate."""

_PREDICTORS = {1: "none", 2: "horizontal", 3: "float"}

BIG_BYTES = 3_900_000_000
"""From here on TIFF needs 8 bytes for a place in the file."""

_OPTIMIZED_PIXELS = 16_000_000
"""Up to here JPEG's tables are fitted to the picture: 4 % less of a file, for all of it in memory, 12 bytes a pixel."""

_KEPT = (
    "exif",
    "xmp",
    "iptc",
    "photoshop",
    "resolution-unit",
    "orientation",
    "jpeg-comment",
)
"""Beginnings of the names of libvips's metadata that belong to the picture, not to its encoding."""

_ADDED_AS_TAGS = ("exif", "iptc", "photoshop")
"""Of these, what libvips does not write into TIFF, or not right."""

THUMBNAIL = "jpeg-thumbnail-data"
"""libvips's name for the small JPEG in an EXIF block."""

_DESCRIPTION = 270

_RESOLUTION = frozenset({282, 283, 296})
"""Both resolutions and their unit. libvips knows no other units than its own, and invents what is not there."""

_UNSTATED = 1.0
"""Pixels a millimetre that libvips has of a file that states none, and would write as 25.4 an inch."""

_USUAL = 72 / 25.4
"""What stands for an unknown one. Source: Exif 2.32, XResolution."""

_EXTRA_SAMPLES = 338
_PREMULTIPLIED = [1]
"""Of ExtraSamples: colours are given as they are on black."""

_SMALL_BYTES = 4096
"""Of a TIFF's tag that still goes into an EXIF block, which must not become longer than the next."""

_SEGMENT_BYTES = 65000
"""Of a JPEG's EXIF block."""

_JPEG_XMP_BYTES = 60000
"""Of a JPEG's XMP packet; libvips leaves out a longer one."""

_EMPTY_XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)

_SOURCE_TYPE = (
    b' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    b'"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"'
)

_STRIP_PIXELS = 1 << 19
"""Of what libvips is handed at once."""

_TILE_SIDE = 256
"""Of a pyramid that came in strips."""

_JPEG_ROWS = 16
"""Strips of JPEG within TIFF have a multiple of them, as libtiff wants it."""

_ALIGNED_BYTES = 16
"""Of the place in a file where the rows begin, as programs that map them like it."""

_FULL_BYTES = 64 << 10
"""Left on a disk that is as good as full: a block is written whole or not at all."""


@dataclass(frozen=True)
class Saving:
    """How results are written. "auto" keeps what the source has, where the format can."""

    depth: Depth = "auto"
    """Bits of a channel, or "float"."""
    compression: Compression = "auto"
    """Of TIFF. Not every libvips has "zstd" and "webp"."""

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("depth", self.depth, get_args(Depth)),
            ("compression", self.compression, get_args(Compression)),
        ):
            if value not in choices:
                raise ImageError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def format_of(target: Path) -> Format:
    """By the ending of its name.

    Raises:
        ImageError: It is none that can be written.
    """
    found = FORMATS.get(target.suffix.lower())
    if found is None:
        raise ImageError(f"cannot write {target.name!r}: its ending must be one of {', '.join(FORMATS)}")
    if found.saver in _OPTIONAL and not load_vips().type_find("VipsOperation", found.saver):
        raise ImageError(f"cannot write {target.name!r}: this libvips was built without {target.suffix}; choose another ending")
    return found


def check_target(source: Path, target: Path) -> None:
    """Refuse a target of unknown format, and the source itself, also under another name.

    Raises:
        ImageError: Saying which.
        SourceError: The target's folder cannot be looked into.
    """
    for path in (source, target):
        if "\0" in str(path):
            raise SourceError(f"{str(path)!r} is the name of no file: it holds a null byte")
    format_of(target)
    try:
        same = target.samefile(source)
    except FileNotFoundError:  # a missing source is said when it is read
        return
    except OSError as error:
        raise SourceError(f"cannot write {target}: {error.strerror or error}") from error
    if same:
        raise ImageError(f"{target} is the source itself; give another name, the source is never overwritten")


def check_map(source: Path, target: Path, path: Path) -> None:
    """Refuse a place for the map of confidence where the source or the target is, also under another name.

    Raises:
        ImageError: Saying which, or that its format is unknown.
    """
    format_of(path)
    for words, taken in (("the source", source), ("the result", target)):
        if identity(path) == identity(taken):
            raise ImageError(f"the confidence cannot go to {path}, which is {words}, {taken}; give it another name")


def identity(path: Path) -> object:
    """The same for all names of one file, be it there or yet to be made."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def depth_of(target: Path, dtype: str, saving: Saving) -> str:
    """The dtype to write: the one asked for, else the source's, else the deepest that the format has below it.

    Raises:
        ImageError: The format has no such depth.
    """
    depths = format_of(target).depths
    if saving.depth == "auto":
        held = next(depth for depth, name in DTYPES.items() if name == dtype)
        return DTYPES[held if held in depths else depths[-1]]
    if saving.depth not in depths:
        raise ImageError(f"{target.suffix} cannot hold a depth of {saving.depth}, only {' or '.join(depths)}")
    return DTYPES[saving.depth]


def converted(alpha: Picture, dtype: str) -> Picture:
    """Opacity in another dtype."""
    if alpha.dtype == dtype:
        return alpha
    if alpha.dtype == np.float32:
        unit = np.nan_to_num(alpha, nan=0.0).clip(0, 1)  # or it would go round, 1.02 to 4 of 255
    else:
        unit = alpha / np.float32(np.iinfo(alpha.dtype).max)
    codes: Picture = unit.astype(np.float32) if dtype == "float32" else np.rint(unit * np.iinfo(dtype).max).astype(dtype)
    return codes


@dataclass(frozen=True)
class Result:
    """What one picture is to be written as."""

    target: Path
    """The final name; its ending names the format."""
    size: tuple[int, int]
    """Height and width in pixels."""
    dtype: str
    bands: int
    """1, 3, or one more for alpha."""
    profile: bytes
    """ICC."""
    note: str = ""
    """A truth to add to its description."""
    like: Page | None = None
    """Where metadata and the way of storing come from."""
    saving: Saving = Saving()
    pyramid: bool = False
    """Of a TIFF in tiles: whether smaller versions are stored along."""
    big: bool = False
    """Of a TIFF: whether it may become larger than 4 GB."""
    thumbnail: bytes = b""
    """A JPEG, in place of the one in the source's EXIF."""


@contextmanager
def writing(result: Result, path: Path) -> Iterator[Callable[[Picture], None]]:
    """A function that takes the rows of a picture from top to bottom, (n, W, bands), while they are written to ``path``.

    Raises:
        ImageError: The format or this libvips cannot hold it.
        OSError: It cannot be written; a SourceError where libvips writes.
    """
    options = _options(result)
    is_plain = options.get("compression") == "none" and not options.keys() & {"tile", "premultiply"}
    try:
        with _plain_rows(result, path, options) if is_plain else _vips_rows(result, path, options) as write:
            yield write
    except load_vips().Error as error:
        full = shutil.disk_usage(path.parent).free < _FULL_BYTES  # which libvips does not say of all formats
        why = os.strerror(errno.ENOSPC) if full else reason(error)
        raise SourceError(f"cannot write {result.target}: {why}") from error
    if format_of(result.target).pages:
        add_tags(path, _tags(result), _RESOLUTION if result.like and result.like.tags else frozenset())
    elif result.like and result.target.suffix.lower() == ".png":
        with reading(result.like.name):
            texts = texts_of_png(result.like.path)
        add_texts(path, texts)
    elif result.like and format_of(result.target) is _JPEG:
        with reading(result.like.name):
            segments = unwritten(result.like.path)
        add_segments(path, segments)


@contextmanager
def _vips_rows(result: Result, path: Path, options: dict[str, Any]) -> Iterator[Callable[[Picture], None]]:
    """While libvips writes them."""
    vips = load_vips()
    length = result.size[0] * result.size[1] * result.bands * np.dtype(result.dtype).itemsize
    feed = _Feed(header(result.size, result.bands, result.dtype, max(1, _STRIP_PIXELS // result.size[1])), length)
    source = vips.SourceCustom()
    source.on_read(feed.read)
    source.on_seek(feed.seek)

    def save() -> None:
        image = vips.Image.new_from_source(source, "", access="sequential", fail_on="error")
        _save(image, result, path, options)

    with ThreadPoolExecutor(1, "edgecolor-write") as pool:
        saved = pool.submit(save)
        try:
            yield lambda strip: feed.put(strip, saved)
            feed.end(saved)
            saved.result()
        finally:
            feed.end(saved)  # after a failure, or libvips would wait for ever


@contextmanager
def _plain_rows(result: Result, path: Path, options: dict[str, Any]) -> Iterator[Callable[[Picture], None]]:
    """Into a TIFF that is not compressed: libvips writes a dot with all that is to be known of the picture, the rows follow it.

    libvips would hold 256 rows twice at full width, 92 MB more for a scan of 800 megapixels.
    """
    dot = load_vips().Image.black(1, 1, bands=result.bands).cast(_VIPS_FORMATS[result.dtype])
    _save(dot, result, path, options)
    with path.open("ab") as file:
        file.write(bytes(-file.seek(0, os.SEEK_END) % _ALIGNED_BYTES))
        begin = file.tell()

        def write(strip: Picture) -> None:
            file.write(np.ascontiguousarray(strip).data)

        yield write
    row_bytes = result.size[1] * result.bands * np.dtype(result.dtype).itemsize
    add_tags(path, strip_tags(result.size, row_bytes, options["tile_height"], begin, big=result.big))


def _save(image: pyvips.Image, result: Result, path: Path, options: dict[str, Any]) -> None:
    target = load_vips().Target.new_to_file(os.fsencode(path))  # a name, whatever its bytes
    _dressed(image, result).write_to_target(target, path.suffix, **options)


class _Feed:
    """A file that is made while it is read, front to back."""

    def __init__(self, head: bytes, length: int) -> None:
        """Begin with ``head``, before ``length`` bytes to come."""
        self._length = len(head) + length
        self._part, self._start, self._place = memoryview(head), 0, 0
        self._coming: queue.Queue[memoryview | None] = queue.Queue(2)

    def put(self, strip: Picture, reader: Future[None]) -> None:
        """Wait until the reader wants more; fail with its error if it has ended."""
        if not self._handed(np.ascontiguousarray(strip).reshape(-1).view(np.uint8).data, reader):
            reader.result()

    def end(self, reader: Future[None]) -> None:
        """No more will come."""
        self._handed(None, reader)

    def _handed(self, part: memoryview | None, reader: Future[None]) -> bool:
        while not reader.done():
            with suppress(queue.Full):
                self._coming.put(part, timeout=0.2)
                return True
        return False

    def read(self, length: int) -> memoryview | None:
        """Up to ``length`` bytes; None at the end."""
        while self._place >= self._start + len(self._part):
            following = self._coming.get() if self._place < self._length else None
            if following is None:
                self._length = 0  # whoever asks again is not kept waiting
                return None
            self._start += len(self._part)
            self._part = following
        begin = self._place - self._start
        part = self._part[begin : begin + length]
        self._place += len(part)
        return part

    def seek(self, offset: int, whence: int) -> int:
        """Move within what is at hand or yet to come."""
        self._place = offset + (0, self._place, self._length)[whence]
        return self._place


def write_picture(target: str | os.PathLike[str], rgb: Picture) -> None:
    """Write (H, W, 3) sRGB, whole or not at all.

    Raises:
        ImageError: The ending of ``target`` names no known format.
        SourceError: The folder or file cannot be written.
    """
    target = Path(target)
    dtype = depth_of(target, rgb.dtype.name, Saving())
    result = Result(target, rgb.shape[:2], dtype, 3, rgb_profile("srgb"))
    with whole_file(target) as partial, writing(result, partial) as write:
        write(converted(rgb, dtype))


def _options(result: Result) -> dict[str, Any]:
    """For libvips's saver."""
    form = format_of(result.target)
    options = dict(form.options)
    if form is _TIFF:
        return _tiff_options(result)
    if form is _JPEG and result.size[0] * result.size[1] > _OPTIMIZED_PIXELS:
        del options["optimize_coding"]
    if result.target.suffix.lower() == ".avif":
        options["bitdepth"] = 8 if result.dtype == "uint8" else 12
    if result.target.suffix.lower() == ".webp" and result.like and _is_lossless(result.like):
        return {"lossless": True, "exact": True}
    return options


def _is_lossless(like: Page) -> bool:
    with reading(like.name), like.path.open("rb") as file:
        return is_lossless_webp(file)


def _compression(result: Result, held: int | None) -> str:
    """Of a TIFF: the one asked for, else the one ``held`` by the source, if it can."""
    eight_bits, alpha = result.dtype == "uint8", result.bands in (2, 4)
    compression: str = result.saving.compression
    if compression == "auto":
        compression = "deflate" if held is None else _COMPRESSIONS.get(held, "deflate")
        if (compression in ("jpeg", "webp") and not eight_bits) or (compression == "jpeg" and alpha):
            compression = "deflate"
    if compression == "jpeg" and alpha:
        raise ImageError("jpeg compression cannot hold the alpha that the picture has; ask for deflate")
    if compression in ("jpeg", "webp") and not eight_bits:
        raise ImageError(f"{compression} compression holds 8 bits only, not {result.dtype}; ask for deflate, or a depth of 8")
    if not writes_tiff(compression):
        raise ImageError(f"cannot write {compression}: this libvips was built without it; ask for deflate or lzw")
    return compression


def _tiff_options(result: Result) -> dict[str, Any]:
    like = result.like.tags if result.like else None
    wanted = (259, 317, 322, 323, 330, 338)
    numbers = {number: tag.numbers for number, tag in (like or {}).items() if number in wanted and tag.numbers}
    compression = _compression(result, numbers.get(259, [1])[0] if like else None)
    options: dict[str, Any] = {"compression": compression}
    if compression in ("lzw", "deflate", "zstd"):
        kept = compression == _COMPRESSIONS.get(numbers.get(259, [0])[0])
        options["predictor"] = _PREDICTORS.get(numbers.get(317, [1])[0], "none") if kept else "horizontal"
        if options["predictor"] == "float" and result.dtype != "float32":
            options["predictor"] = "horizontal"
    if compression == "jpeg":
        options["Q"] = 92
    if result.bands == 4 and numbers.get(_EXTRA_SAMPLES) == _PREMULTIPLIED:
        options["premultiply"] = True  # libvips has divided by it where it read the page
    if 322 in numbers and 323 in numbers:
        options |= {"tile": True, "tile_width": numbers[322][0], "tile_height": numbers[323][0]}
    elif result.pyramid:  # which libvips writes in tiles only
        options |= {"tile": True, "tile_width": _TILE_SIDE, "tile_height": _TILE_SIDE}
    if result.pyramid:
        options |= {"pyramid": True, "subifd": 330 in numbers}
    if not options.get("tile"):
        # the rows of a strip, which libvips holds; in strips of one row it loses the last (8.18)
        rows = min(128, max(2, _STRIP_PIXELS // result.size[1]))
        options["tile_height"] = rows if compression != "jpeg" else max(_JPEG_ROWS, rows // _JPEG_ROWS * _JPEG_ROWS)
    if result.big:
        options["bigtiff"] = True
    return options


def _dressed(image: pyvips.Image, result: Result) -> pyvips.Image:
    """The picture with everything that is to be known of it."""
    color = result.bands >= 3
    kinds = {"uint8": ("b-w", "srgb"), "uint16": ("grey16", "rgb16"), "float32": ("b-w", "scrgb")}
    image = image.copy(interpretation=kinds[result.dtype][color])
    for name in image.get_fields():
        if name.startswith((*_KEPT, "image-description")):
            image.remove(name)
    if result.like is not None:
        image = _informed(image, result.like, result)
    blob = load_vips().GValue.blob_type
    if result.profile:
        image.set_type(blob, "icc-profile-data", result.profile)
    packet = bytes(image.get("xmp-data")) if image.get_typeof("xmp-data") else _EMPTY_XMP
    if result.like and (more := _more_xmp(result.like)):
        if not packet.lstrip().startswith(b"<"):  # libvips takes a second packet for the first where there is no first
            packet = _EMPTY_XMP
        packet = packet if format_of(result.target) is _JPEG else joined_xmp(packet, more)
        image.set_type(blob, "xmp-data", packet)
    if result.note:
        packet = noted_xmp(packet, result.note)
        if format_of(result.target) is _JPEG and len(packet) > _JPEG_XMP_BYTES:
            packet = noted_xmp(_EMPTY_XMP, result.note)
        image.set_type(blob, "xmp-data", packet)
    if not format_of(result.target).turns and image.get_typeof("orientation"):
        image = image.copy_memory().autorot()
    return image


def _more_xmp(like: Page) -> bytes:
    with reading(like.name):
        return more_xmp(like.path)


def _per_mm(header: pyvips.Image) -> tuple[float, float]:
    """Pixels a millimetre, across and down; of WebP and AVIF by their EXIF, which libvips (8.18) does not read."""
    if (header.xres, header.yres) != (_UNSTATED, _UNSTATED):
        return header.xres, header.yres
    millimetres = {"in": 25.4, "cm": 10.0}
    try:
        unit = millimetres[header.get("resolution-unit")]
        x, y = (float(Fraction(header.get(f"exif-ifd0-{axis}Resolution").split()[0])) / unit for axis in "XY")
    except (KeyError, ValueError, ZeroDivisionError, load_vips().Error):
        return _USUAL, _USUAL
    return (x, y) if x > 0 and y > 0 else (_USUAL, _USUAL)


def _informed(image: pyvips.Image, like: Page, result: Result) -> pyvips.Image:
    """With the metadata of a page, as the format takes it."""
    form = format_of(result.target)
    xres, yres = _per_mm(like.header)
    image = image.copy(xres=xres, yres=yres)
    for name in fields(like.header):
        if name.startswith(_KEPT) and not (form.pages and name.startswith(_ADDED_AS_TAGS)):
            copy_field(like.header, image, name)
    block = b"" if form.pages else _exif(like, result)
    if 0 < len(block) <= _SEGMENT_BYTES:
        origin = _with_exif(block)
        for name in fields(origin):
            if name.startswith("exif"):
                copy_field(origin, image, name)
    if result.thumbnail and len(block) + len(result.thumbnail) <= _SEGMENT_BYTES:
        image.set_type(load_vips().GValue.blob_type, THUMBNAIL, result.thumbnail)
    if like.tags and form is _JPEG and (press := press_block(like.tags)):
        image.set_type(load_vips().GValue.blob_type, "iptc-data", press)
    elif like.tags:
        image.remove("iptc-data")
    return image


def _exif(like: Page, result: Result) -> bytes:
    """The EXIF block of a page, true of the result, with the note in its description.

    libvips leaves alone what it finds in a block.
    """
    note = result.note
    if like.tags:
        tags = described(like.tags)
        block = exif_block({number: tag for number, tag in tags.items() if tag.below or len(tag.data) <= _SMALL_BYTES})
    else:
        block = bytes(like.header.get("exif-data")) if like.header.get_typeof("exif-data") else exif_block({})
        tags = exif_tags(block)
    block = block_with_color_space(block, srgb=_is_srgb(result))
    block = with_text(block, _DESCRIPTION, noted_text(tags.get(_DESCRIPTION), note)) if note else block
    return block_of_old_texts(block)


def _is_srgb(result: Result) -> bool:
    return result.profile == rgb_profile("srgb")


def _with_exif(block: bytes) -> pyvips.Image:
    """A picture that has this EXIF block: libvips takes blocks apart where it reads them, and only there."""
    vips = load_vips()
    dot: bytes = vips.Image.black(1, 1).jpegsave_buffer()
    return vips.Image.new_from_buffer(dot[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + dot[2:], "")


def noted_xmp(packet: bytes, note: str) -> bytes:
    """An XMP packet with a note, and the IPTC's word for pictures that a trained network had a part in.

    A packet that is not made as the standard wants it stays as it is.
    """
    head, end, rest = packet.rpartition(b"</rdf:RDF>")
    if not end or note.encode() in packet:
        return packet
    kind = b"" if b"DigitalSourceType" in packet else _SOURCE_TYPE
    words = escape(note).encode()
    added = b'<rdf:Description rdf:about="" xmlns:edgecolor="urn:edgecolor:1.0/" edgecolor:Note="' + words + b'"' + kind + b"/>"
    return head + added + end + rest


def _tags(result: Result) -> Tags:
    """What goes into a TIFF besides what libvips writes, or in place of it."""
    like = result.like
    if like is None:
        return {}
    tags: Tags = {}
    if like.tags:
        tags = described(like.tags) | {number: tag for number, tag in like.tags.items() if number in _RESOLUTION}
        extra = like.tags.get(_EXTRA_SAMPLES)
        if result.bands == 4 and extra and extra.count == 1:
            tags[_EXTRA_SAMPLES] = extra
    if not like.tags and like.header.get_typeof("exif-data"):
        tags |= exif_tags(bytes(like.header.get("exif-data")))
    if not like.tags and like.header.get_typeof("iptc-data"):
        tags |= press_tags(bytes(like.header.get("iptc-data")))
    tags = with_color_space(tags, srgb=_is_srgb(result))
    return tags | {_DESCRIPTION: noted_text(tags.get(_DESCRIPTION), result.note)} if result.note else tags
