"""Which kinds of picture file can be written, what each holds, and how libvips is to store it."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, get_args

from edgecolor._errors import ImageError
from edgecolor._files import reading
from edgecolor._source import Page
from edgecolor._vips import load_vips, writes_tiff
from edgecolor._webp import is_lossless_webp

Depth = Literal["auto", "8", "16", "float"]
Compression = Literal["auto", "none", "lzw", "deflate", "zstd", "packbits", "jpeg", "webp"]

DTYPES = {"8": "uint8", "16": "uint16", "float": "float32"}


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
    longest: int | None = None
    """Pixels of a side, where there is a limit below TIFF's."""


JPEG = Format("jpegsave", {"Q": 92, "subsample_mode": "off", "optimize_coding": True}, alpha=False, longest=65_500)
_TIFF = Format("tiffsave", depths=("8", "16", "float"), pages=True)

FORMATS: dict[str, Format] = {
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".png": Format("pngsave", depths=("8", "16")),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": Format("webpsave", {"Q": 90, "smart_subsample": True}, longest=16_383),
    ".avif": Format(
        "heifsave",
        {"Q": 80, "compression": "av1", "subsample_mode": "off"},
        depths=("8", "16"),
        turns=False,
        longest=16_384,
    ),
    ".jp2": Format("jp2ksave", {"Q": 90, "subsample_mode": "off"}, depths=("8", "16"), turns=False),
}
"""By the ending of the file's name."""

_WITHIN = {"jpeg": JPEG, "webp": FORMATS[".webp"]}
"""What the compressions of a TIFF that lose are, as files of their own."""

_OPTIONAL = ("heifsave", "jp2ksave")
"""Which not every libvips has."""

_COMPRESSIONS = {1: "none", 5: "lzw", 6: "jpeg", 7: "jpeg", 8: "deflate", 32946: "deflate", 32773: "packbits", 50000: "zstd"}
_COMPRESSIONS |= {50001: "webp"}
"""TIFF's numbers for what can hold colour. Other files, and fax, become deflate."""

_PREDICTORS = {1: "none", 2: "horizontal", 3: "float"}

QUALITY_MAX = 100

BIG_BYTES = 3_900_000_000
"""From here on TIFF needs 8 bytes for a place in the file."""

_OPTIMIZED_PIXELS = 16_000_000
"""Up to here JPEG's tables are fitted to the picture: 4 % less of a file, for all of it in memory, 12 bytes a pixel."""

EXTRA_SAMPLES = 338
_PREMULTIPLIED = [1]
"""Of ExtraSamples: colours are given as they are on black."""

STRIP_PIXELS = 1 << 19
"""Of what libvips is handed at once."""

_TILE_SIDE = 256
"""Of a pyramid that came in strips."""

_JPEG_ROWS = 16
"""Strips of JPEG within TIFF have a multiple of them, as libtiff wants it."""


@dataclass(frozen=True)
class Saving:
    """How results are written. "auto" keeps what the source has, where the format can."""

    depth: Depth = "auto"
    """Bits of a channel, or "float"."""
    compression: Compression = "auto"
    """Of TIFF. Not every libvips has "zstd" and "webp"."""
    quality: int | None = None
    """Of what loses, from 1 to 100; None is the format's own."""

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("depth", self.depth, get_args(Depth)),
            ("compression", self.compression, get_args(Compression)),
        ):
            if value not in choices:
                raise ImageError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
        check_quality(self.quality)


def check_quality(quality: int | None) -> None:
    """Raise ImageError if it is none."""
    is_whole = isinstance(quality, Integral) and not isinstance(quality, bool)
    if quality is not None and not (is_whole and 1 <= quality <= QUALITY_MAX):
        raise ImageError(f"quality must be a whole number from 1 to {QUALITY_MAX}, got {quality!r}")


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

    def __post_init__(self) -> None:
        """Refuse, before any work, what the format cannot hold.

        Raises:
            ImageError: A side is too long for it.
        """
        longest, (height, width) = format_of(self.target).longest, self.size
        if longest is not None and max(self.size) > longest:
            raise ImageError(
                f"cannot write {self.target}: a {self.target.suffix} has at most {longest} pixels a side, not {width} by "
                f"{height}; write a .tif or .png"
            )
        within = _WITHIN.get(self.saving.compression) if self.is_in_strips else None
        if within is not None and within.longest is not None and width > within.longest:
            raise ImageError(
                f"cannot write {self.target}: {self.saving.compression} in the strips of a TIFF has at most {within.longest} "
                f"pixels a row, not {width}; ask for deflate"
            )

    @property
    def is_in_strips(self) -> bool:
        """Whether it is a TIFF without tiles."""
        return format_of(self.target) is _TIFF and not self.pyramid and _tile_of(self.like) is None


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


def saver_options(result: Result) -> dict[str, Any]:
    """For libvips's saver."""
    form = format_of(result.target)
    options = dict(form.options)
    if form is _TIFF:
        return _tiff_options(result)
    if form is JPEG and result.size[0] * result.size[1] > _OPTIMIZED_PIXELS:
        del options["optimize_coding"]
    quality = result.saving.quality
    if quality is not None and "Q" in options:
        options["Q"] = int(quality)
    if result.target.suffix.lower() == ".avif":
        options["bitdepth"] = 8 if result.dtype == "uint8" else 12
    if result.target.suffix.lower() == ".webp" and quality is None and result.like and _is_lossless(result.like):
        return {"lossless": True, "exact": True}
    return options


def _tile_of(like: Page | None) -> tuple[int, int] | None:
    """Width and height of the tiles of a TIFF's page, if it has any."""
    tags = (like.tags if like else None) or {}
    sides = [tags[number].numbers for number in (322, 323) if number in tags]
    return (sides[0][0], sides[1][0]) if len(sides) == 2 and all(sides) else None


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
    wanted = (259, 317, 330, 338)
    numbers = {number: tag.numbers for number, tag in (like or {}).items() if number in wanted and tag.numbers}
    compression = _compression(result, numbers.get(259, [1])[0] if like else None)
    options: dict[str, Any] = {"compression": compression}
    if compression in ("lzw", "deflate", "zstd"):
        kept = compression == _COMPRESSIONS.get(numbers.get(259, [0])[0])
        options["predictor"] = _PREDICTORS.get(numbers.get(317, [1])[0], "none") if kept else "horizontal"
        if options["predictor"] == "float" and result.dtype != "float32":
            options["predictor"] = "horizontal"
    if compression in _WITHIN:
        options["Q"] = int(result.saving.quality or _WITHIN[compression].options["Q"])
    if result.bands == 4 and numbers.get(EXTRA_SAMPLES) == _PREMULTIPLIED:
        options["premultiply"] = True  # libvips has divided by it where it read the page
    if not result.is_in_strips:
        width, height = _tile_of(result.like) or (_TILE_SIDE, _TILE_SIDE)  # libvips writes pyramids in tiles only
        options |= {"tile": True, "tile_width": width, "tile_height": height}
    if result.pyramid:
        options |= {"pyramid": True, "subifd": 330 in numbers}
    if result.is_in_strips:
        # the rows of a strip, which libvips holds; in strips of one row it loses the last (8.18)
        rows = min(128, max(2, STRIP_PIXELS // result.size[1]))
        options["tile_height"] = rows if compression != "jpeg" else max(_JPEG_ROWS, rows // _JPEG_ROWS * _JPEG_ROWS)
    if result.big:
        options["bigtiff"] = True
    return options
