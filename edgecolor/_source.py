"""Picture files, read: every page as strips of grey or sRGB codes, as they lie in the file, any size, through libvips."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._bitmap import BitmapError, open_bitmap, what_is_foreign
from edgecolor._color import linear_to_srgb
from edgecolor._errors import ImageError, SourceError
from edgecolor._files import is_stream, reading
from edgecolor._grid import upright
from edgecolor._icc import grey_tone, kind
from edgecolor._jpeg import views_of_jpeg
from edgecolor._luma import Luma, Tone, read_luma
from edgecolor._png import frames_of_png
from edgecolor._tiff import BarePage, Tags, TiffError, is_big, plain_rows, read_directories, unwanted
from edgecolor._vips import load_vips, reason

if TYPE_CHECKING:
    import pyvips

Picture = npt.NDArray[Any]

PIXELS_MAX = 20_000_000_000
"""Of one page. More, no scanner makes: it is a damaged file, or one made to exhaust its reader."""

HELD_BYTES = 64 << 20
"""A page that takes no more is decoded once and kept; a larger one is decoded anew for every pass, a strip at a time."""

_log = logging.getLogger("edgecolor")

STRIP_BYTES = 1 << 20
"""About what one strip takes."""

_FLOAT_PEAK_MAX = 16.0
"""Float files above it hold 8- or 16-bit values; below it, what exceeds 1 is an error, not a scale."""

_LAB = (8, 9, 10)
"""PhotometricInterpretation of CIE, ICC and ITU L*a*b*."""

_FLOATS, _OTHER_NUMBERS = 3, {2: "signed whole numbers", 5: "complex whole numbers", 6: "complex floats"}
"""SampleFormat."""

_TILE_WIDTH = 322
"""The tag that says that a page lies in tiles."""

_JPEG = 7
"""Compression. Of JPEG as TIFF first defined it, 6, libtiff also warns where it is sound."""

_MIN_IS_WHITE, _PLANES = 0, 2
"""Of PhotometricInterpretation, and of PlanarConfiguration: every channel by itself."""

_MASK = 4
"""Of PhotometricInterpretation."""

_COLORS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
"""Channels of a PhotometricInterpretation. What a page has beyond them are extra samples."""

_EXTRAS = {1: "alpha", 2: "alpha"}
"""ExtraSamples."""

_DENSEST_JPEG = 8192
"""Pixels a byte; an even grey picture, progressive with fitted tables, has 256."""

_UNSAID = ("unable to write to memory", "unable to fetch from region")
"""What pyvips says where libvips gives no reason."""

_REDUCED = 1
"""Bit of NewSubfileType: a smaller version of another picture of the file."""


@dataclass(frozen=True)
class Strip:
    """Some rows of a page."""

    luma: Luma
    """Their lightness; ``luma.top`` is the first row."""
    alpha: Picture | None
    """(n, W) opacity in the type of the file."""

    @property
    def stop(self) -> int:
        """Row after the last."""
        return self.luma.top + len(self.luma.picture)


@dataclass(frozen=True)
class Page:
    """One picture of a file."""

    path: Path
    number: int
    """From 0, as libvips counts; reduced versions count too."""
    tags: Tags | None = None
    """Of the page's directory, where the file is a TIFF."""
    place: tuple[int, int] = (1, 1)
    """Which of how many pages, from 1, reduced versions left out."""

    @property
    def name(self) -> str:
        """For errors."""
        number, count = self.place
        return f"page {number} of {count} of {self.path}" if count > 1 else str(self.path)

    @cached_property
    def header(self) -> pyvips.Image:
        """What libvips says of the page. Its pixels are not to be read."""
        return self._opened()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, as they lie in the file."""
        return self.header.height, self.header.width

    @property
    def dtype(self) -> str:
        """Of the codes: "uint8", "uint16" or "float32"."""
        return {"uchar": "uint8", "ushort": "uint16"}.get(self.header.format, "float32")

    @property
    def has_alpha(self) -> bool:
        """Whether the last band is opacity."""
        return bool(self.header.hasalpha())

    @property
    def bands(self) -> int:
        """Of what strips hold: 1 for grey, 3 for colour."""
        return 1 if self._grey else 3

    @property
    def orientation(self) -> int:
        """How the page is to be turned to stand upright, as EXIF numbers it, 1 to 8."""
        found = self.header.get("orientation") if self.header.get_typeof("orientation") else 1
        return found if 1 <= found <= 8 else 1

    @property
    def grey_profile(self) -> bytes:
        """Of a grey page, where it has one."""
        return self._profile if self._grey and kind(self._profile) == "GRAY" else b""

    @cached_property
    def tone(self) -> Tone | None:
        """What the codes mean by the file's grey profile, if it has one."""
        if not self.grey_profile:
            return None
        try:
            return grey_tone(self.grey_profile, 256 if self.dtype == "uint8" else 65536)
        except ImageError as error:
            raise ImageError(f"{self.name} cannot be coloured: {error}") from error

    def strips(self) -> Iterator[Strip]:
        """The whole page, top to bottom.

        Raises:
            ImageError: It is damaged, or holds values that are no picture.
        """
        for top, codes in self._codes():
            colors, alpha = (codes[..., :-1], codes[..., -1]) if self.has_alpha else (codes, None)
            if colors.ndim == 3 and colors.shape[2] == 1:
                colors = colors[..., 0]
            try:
                picture = read_luma(self._unit(colors)).picture
            except ImageError as error:
                raise ImageError(f"{self.name} cannot be coloured: {error}") from error
            yield Strip(Luma(picture, self.tone, top), None if alpha is None else self._unit(alpha, of_alpha=True))

    def _codes(self) -> Iterator[tuple[int, Picture]]:
        """(n, W[, bands]) as they are in the file, but profiles of colour applied, each with its first row."""
        height, width = self.size
        if self._held is not None:
            count = max(1, STRIP_BYTES // self._held[0].nbytes)
            yield from ((top, self._held[top : top + count]) for top in range(0, height, count))
            return
        dtype, bands = np.dtype(self.dtype), self.bands + self.has_alpha
        count = max(1, STRIP_BYTES // (width * bands * dtype.itemsize))
        spans = [(top, min(count, height - top)) for top in range(0, height, count)]
        with _named(self.name), self.path.open("rb") as file:
            plain = plain_rows(file, self.number, self.tags) if self.tags else None
            if plain is not None:
                yield from ((top, plain.read(file, top, rows)) for top, rows in spans)
                return
            for (top, rows), part in zip(spans, self._fetched(spans), strict=True):
                yield top, np.frombuffer(part, dtype).reshape(rows, width, bands)

    def _fetched(self, spans: list[tuple[int, int]]) -> Iterator[bytes]:
        """The rows of each span by libvips; of a JPEG as ``_repaired``, from the first damage on."""
        region_of, width = load_vips().Region.new, self.size[1]
        strict = _is_jpeg(self.header) and not self._is_repaired
        image: Any = None  # which a region does not keep
        region: Any = None
        for top, rows in spans:
            try:
                if image is None:
                    image = self._flat(self._opened(strict=True) if strict else self._pixels())
                    region = region_of(image)
                part = region.fetch(0, top, width, rows)
            except (load_vips().Error, ImageError) as error:
                if not strict:
                    raise
                strict, image = False, self._flat(self._opened())
                region = region_of(image)
                part = region.fetch(0, top, width, rows)
                self._say_repaired(error)
            yield part

    @cached_property
    def _held(self) -> Picture | None:
        """A small page, whole."""
        header = self.header
        if header.height * header.width * header.bands * np.dtype(self.dtype).itemsize > HELD_BYTES:
            return None
        with _named(self.name):
            codes: Picture = self._repaired() if _is_jpeg(header) else self._flat(self._pixels()).numpy()
        return codes.reshape(*self.size, -1)

    def _repaired(self) -> Picture:
        """A JPEG, also one that is damaged in a way its decoder makes up for, which is said."""
        try:
            codes: Picture = self._flat(self._opened(strict=True)).numpy()
        except (load_vips().Error, ImageError) as error:
            codes = self._flat(self._opened()).numpy()
            self._say_repaired(error)
        return codes

    @property
    def _is_repaired(self) -> bool:
        return "_repair" in vars(self)

    @property
    def remark(self) -> str:
        """What whoever keeps its colours should know, after it was read; empty if there is nothing."""
        return str(vars(self).get("_repair", ""))

    def _say_repaired(self, error: Exception) -> None:
        remark = f"{self.name} is damaged, and coloured as its decoder made up for it: {reason(error)}"
        vars(self)["_repair"] = remark  # said once, though a page is read twice
        _log.warning(remark)

    def let_go(self) -> None:
        """Of its pixels, if they are kept."""
        vars(self).pop("_held", None)

    def _opened(self, *, strict: bool = False) -> pyvips.Image:
        page = {"page": self.number} if self.number else {}
        # of a tile that cannot be read, libvips (8.18) only warns, and makes it black; strips and other files it refuses
        fail_on = "warning" if strict or (self.tags and _TILE_WIDTH in self.tags) else "error"
        with _named(self.name):
            if without := unwanted(self.tags or {}):
                return _loaded(self._bare(without), fail_on)
            if not self.tags and (image := open_bitmap(self.path)):
                return image
            source = load_vips().Source.new_from_file(os.fsencode(self.path))  # a name, whatever its bytes and brackets
            try:
                return _loaded(source, fail_on, **page)
            except load_vips().Error as error:
                if "known format" in str(error) and (foreign := what_is_foreign(self.path)):
                    raise ImageError(f"{self.name} is {foreign}") from error
                raise

    def _pixels(self) -> pyvips.Image:
        """The same to be read, perhaps without metadata."""
        if not self.tags or _TILE_WIDTH in self.tags or _first(self.tags, 259) != _JPEG:
            return self._opened()
        with _named(self.name):
            return _loaded(self._bare(), "warning")  # or libvips would make up for damage of JPEG by a guess

    def _bare(self, without: frozenset[int] = frozenset()) -> Any:
        """For libvips: the page with fewer tags."""
        bare = BarePage(self.path, self.number, without)
        source = load_vips().SourceCustom()
        source.on_read(bare.read)
        source.on_seek(bare.seek)
        return source

    def _flat(self, image: pyvips.Image) -> pyvips.Image:
        """Grey as it is, or sRGB, and alpha; 8, 16 bits or float."""
        if self._grey:
            return image if self.dtype != "float32" else image.cast("float")
        alpha = image[-1] if self.has_alpha else None
        colors = image[: image.bands - 1] if self.has_alpha else image
        if self.dtype == "float32":  # gamma-encoded like every float picture here, whatever libvips takes it for
            colors = colors.cast("float")
        elif self._converts:
            colors = colors.icc_transform("srgb", embedded=True, intent="relative", depth=16 if self.dtype == "uint16" else 8)
        else:
            colors = colors.colourspace("rgb16" if self.dtype == "uint16" else "srgb")
        return colors if alpha is None else colors.bandjoin(alpha.cast(colors.format))

    @property
    def _converts(self) -> bool:
        return self.header.interpretation == "cmyk" or kind(self._profile) in ("RGB", "CMYK", "Lab")

    @property
    def _grey(self) -> bool:
        return bool(self.header.bands - self.has_alpha == 1)

    @property
    def _profile(self) -> bytes:
        return bytes(self.header.get("icc-profile-data")) if self.header.get_typeof("icc-profile-data") else b""

    def _unit(self, codes: Picture, *, of_alpha: bool = False) -> Picture:
        if codes.dtype != np.float32 or (white := self._whites[of_alpha]) == 1:
            return codes
        return codes / np.float32(white)

    @cached_property
    def _whites(self) -> tuple[int, int]:
        """Of a float page: of its colours, and of its alpha, which programs scale each for itself."""
        with _named(self.name):
            if not self.has_alpha:
                return _white(self._pixels().max()), 1
            return _white(self._pixels()[: self.header.bands - 1].max()), _white(self._pixels()[-1].max())


@dataclass(frozen=True)
class Source:
    """A picture file."""

    path: Path
    pages: tuple[Page, ...]
    """In their order, at least one."""
    directories: tuple[Tags, ...] = ()
    """Of a TIFF: all, also those of reduced versions."""
    big: bool = False
    """Whether it is a BigTIFF."""


def open_source(path: Path) -> Source:
    """Open a picture file.

    Raises:
        SourceError: It cannot be opened.
        ImageError: It is no picture, or is damaged.
    """
    load_vips()
    if is_stream(path):
        raise SourceError(f"cannot read {path}: it is a pipe or device; write what comes out of it to a file first")
    with reading(path), path.open("rb") as file:
        if not file.read(1):
            raise ImageError(f"{path} is empty")
        length = os.fstat(file.fileno()).st_size
        directories, big = _directories(path, file), is_big(file)
    wholes = [number for number, tags in enumerate(directories) if not _is_reduced(tags)]
    if directories and not wholes:  # a file that calls its only picture a smaller version
        wholes = [0]
    count = len(wholes)
    pages = tuple(Page(path, number, directories[number], (n, count)) for n, number in enumerate(wholes, 1)) or (Page(path, 0),)
    for page in pages:
        if page.tags and (why := _unsupported(page.tags)):
            raise ImageError(f"{page.name} is not supported: it holds {why}")
        if not directories:
            _check_alone(page)
        height, width = page.size
        if _is_jpeg(page.header) and height * width > _DENSEST_JPEG * length:
            raise ImageError(f"{page.name} claims {width} by {height} pixels in {length:,} bytes; it is damaged, get it anew")
        if height * width > PIXELS_MAX:
            raise ImageError(
                f"{page.name} claims {width} by {height} pixels, more than {PIXELS_MAX:,}; it is damaged, or not a scan"
            )
    return Source(path, pages, tuple(directories), big)


def read_picture(source: str | Path) -> Picture:
    """The first page of a file as (H, W) or (H, W, 3) sRGB: uint8, uint16 or float32 as in the file, upright, no alpha.

    Raises:
        SourceError: The file cannot be opened.
        ImageError: It is no picture, or is damaged.
    """
    return read_page(open_source(Path(source)).pages[0])


def read_page(page: Page, shrink: int = 1) -> Picture:
    """The same of one page, each pixel the mean of so many times so many; what is over at the right and below is left out.

    Raises:
        SourceError: The file cannot be read.
        ImageError: It is damaged.
    """
    whole, rest = [], None
    for strip in page.strips():
        codes = strip.luma.picture
        codes = codes if page.tone is None else _srgb_codes(page.tone, codes)
        if page.bands == 3 and codes.ndim == 2:  # a strip of it that is grey
            codes = np.repeat(codes[..., None], 3, axis=2)
        rows = codes if rest is None else np.concatenate([rest, codes])
        small, rest = _shrunk(rows, shrink)
        whole.append(small)
    return upright(np.concatenate(whole), page.orientation)


def _shrunk(rows: Picture, shrink: int) -> tuple[Picture, Picture]:
    """As many rows as there are of the smaller picture, and those that are over."""
    height, width = (side // shrink for side in rows.shape[:2])
    part = rows[: height * shrink, : width * shrink]
    if shrink == 1:
        return part, rows[len(part) :]
    small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA) if height else rows[:0, :width]
    return small, rows[len(part) :]


def _is_jpeg(image: pyvips.Image) -> bool:
    return bool(image.get_typeof("vips-loader")) and str(image.get("vips-loader")).startswith("jpegload")


def _loaded(source: pyvips.Source, fail_on: str, **page: int) -> pyvips.Image:
    return load_vips().Image.new_from_source(source, "", access="sequential", fail_on=fail_on, **page)


@contextmanager
def _named(name: str) -> Iterator[None]:
    import pyvips

    try:
        with reading(name):
            yield
    except (pyvips.Error, TiffError, BitmapError) as error:
        why = reason(error) if isinstance(error, pyvips.Error) else str(error)
        why = why if why not in _UNSAID else "its pixels cannot be unpacked"
        if missing := re.search(r"(\w+) compression support is not configured|Compression scheme (\d+)", str(error)):
            packing = missing[1] or f"TIFF compression {missing[2]}"
            raise ImageError(
                f"{name} is packed with {packing}, which this libvips cannot read; convert it to deflate"
            ) from error
        raise ImageError(f"{name} is not a picture that can be read, or is damaged: {why}") from error


def _directories(path: Path, file: IO[bytes]) -> list[Tags]:
    """Of a TIFF file, else none."""
    file.seek(0)
    if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return []
    try:
        return read_directories(file)
    except TiffError as error:
        raise ImageError(f"{path} is not a picture that can be read, or is damaged: {error}") from error


def _unsupported(tags: Tags) -> str:
    """What a TIFF page holds that libvips does not read, or takes for something else, and a way out; empty if nothing."""
    bits, form, photometric = _first(tags, 258), _first(tags, 339), _first(tags, 262)
    extra = _first(tags, 277) - _COLORS.get(photometric, _first(tags, 277))
    if extra > 1:
        kinds = [_EXTRAS.get(number, "of no stated kind") for number in tags[338].numbers] if 338 in tags else []
        named = f" ({', '.join(kinds)})" if kinds else ""
        return f"{extra} extra samples{named} beside its colours; take them out, all but one of alpha"
    if extra == 1 and _COLORS[photometric] == 1 and _first(tags, 284) == _PLANES:
        return "grey and an extra sample in separate planes; put them together, for instance with: tiffcp -p contig"
    if form == _FLOATS and photometric == _MIN_IS_WHITE and bits in (16, 32):
        return "floats that are white at 0 (MinIsWhite); invert it, so that black is at 0"
    if photometric == _MASK:
        return "a mask of transparency; take it out"
    held = _numbers(bits, form) if photometric not in _LAB else "CIE L*a*b*"
    return f"{held}; convert it to 8 or 16 bits of grey or RGB" if held else ""


def _numbers(bits: int, form: int) -> str:
    """What they are, if libvips does not read them right."""
    if form in _OTHER_NUMBERS:
        return f"{_OTHER_NUMBERS[form]} of {bits} bits"
    if form == _FLOATS:
        return "" if bits in (16, 32) else f"floats of {bits} bits"
    return "" if bits in (1, 2, 4, 8, 16) else f"whole numbers of {bits} bits"


def _first(tags: Tags, number: int) -> int:
    """The first value of a tag, 0 if it has none, and 1, TIFF's own default of most, if the tag is not there."""
    return (tags[number].numbers or [0])[0] if number in tags else 1


def _is_reduced(tags: Tags) -> bool:
    return bool((254 in tags and _first(tags, 254) & _REDUCED) or (255 in tags and _first(tags, 255) == 2))


def _check_alone(page: Page) -> None:
    """Refuse an animation, and other files of several pictures that are no TIFF."""
    told = int(page.header.get("n-pages")) if page.header.get_typeof("n-pages") else 1
    with reading(page.name):
        frames, views = max(told, frames_of_png(page.path)), views_of_jpeg(page.path)
    if frames <= 1 and views <= 1:
        return
    kind, way = (f"{views} views", "") if views > 1 else (f"{frames} frames", ", or colour them all with: edgecolor video")
    raise ImageError(
        f"{page.name} holds {kind}, of which only the first would be coloured; write the one you want to a file of its own{way}"
    )


def _white(peak: float) -> int:
    """What float codes up to this peak mean by white."""
    if not np.isfinite(peak) or peak <= _FLOAT_PEAK_MAX:
        return 1
    return 255 if peak <= 255 else 65535


def _srgb_codes(tone: Tone, codes: Picture) -> Picture:
    encoded = linear_to_srgb(tone.of(codes)[0])
    return encoded if codes.dtype == np.float32 else np.rint(encoded * np.iinfo(codes.dtype).max).astype(codes.dtype)
