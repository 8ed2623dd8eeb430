"""Image files through libvips: read upright and in sRGB, coloured by the function it is given, written whole.

Knows nothing of models: the colorizer hands it a function from a grey or colour array to an (H, W, 3) sRGB array.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecolor._errors import ImageError, SourceError
from edgecolor._files import whole_file

if TYPE_CHECKING:
    import pyvips

Picture = npt.NDArray[Any]

WRITERS: dict[str, dict[str, Any]] = {
    ".jpg": {"Q": 92, "subsample_mode": "off", "optimize_coding": True},
    ".jpeg": {"Q": 92, "subsample_mode": "off", "optimize_coding": True},
    ".png": {},
    ".tif": {"compression": "deflate", "predictor": "horizontal"},
    ".tiff": {"compression": "deflate", "predictor": "horizontal"},
    ".webp": {"Q": 90, "smart_subsample": True},
}
"""Endings that can be written, with libvips's options for them. Chroma is not subsampled where that can be avoided."""

_SQUARE = str.maketrans("()", "[]")

_FLOATS = ("float", "double")

_FLOAT_PEAK_MAX = 16.0
"""Float files above it hold 8- or 16-bit values; below it, what exceeds 1 is an error, not a scale."""

_EIGHT_BIT = {".jpg", ".jpeg", ".webp"}

_KEPT = ("exif", "xmp", "iptc", "resolution-unit", "image-description")
"""Beginnings of the names of libvips's metadata that belong to the picture, not to its encoding."""

NOTE = "coloured by edgecolor; colours are estimates"
"""Added to the description in the file, so that nobody takes the colours for a record."""


def read_picture(source: str | os.PathLike[str]) -> Picture:
    """A picture file as (H, W) or (H, W, 3) sRGB: uint8, uint16 or float32 as in the file, upright, without alpha.

    Raises:
        SourceError: The file cannot be opened.
        ImageError: It is no picture, or is damaged.
    """
    return _as_array(_flat(_open(Path(source))))


def color_file(source: str | os.PathLike[str], target: str | os.PathLike[str], colorize: Callable[[Picture], Picture]) -> None:
    """Colour one file into another; see ``Colorizer.image``."""
    source, target = Path(source), Path(target)
    check_target(source, target)
    image = _open(source)
    alpha = image[-1] if image.hasalpha() else None
    rgb = colorize(_as_array(_flat(image)))
    write_picture(target, rgb, like=image, alpha=alpha)


def write_picture(
    target: str | os.PathLike[str],
    rgb: Picture,
    *,
    like: pyvips.Image | None = None,
    alpha: pyvips.Image | None = None,
) -> None:
    """Write (H, W, 3) sRGB with the metadata of ``like``, whole or not at all.

    Raises:
        ImageError: The ending of ``target`` names no known format.
        SourceError: The folder or file cannot be written.
    """
    pyvips = _vips()
    target = Path(target)
    suffix = _writer_suffix(target)
    wide = rgb.dtype != np.uint8
    image = pyvips.Image.new_from_array(rgb, interpretation="rgb16" if rgb.dtype == np.uint16 else "srgb")
    if rgb.dtype == np.float32:
        image = (image * 65535).rint().cast("ushort").copy(interpretation="rgb16")
    if suffix in _EIGHT_BIT and wide:
        image, alpha = image.colourspace("srgb"), None if alpha is None else _to_eight_bit(alpha)
    if alpha is not None and suffix not in (".jpg", ".jpeg"):
        full = alpha * 65535 if alpha.format in _FLOATS else alpha
        image = image.bandjoin(full.cast(image.format))
    image = image.copy() if like is None else image.copy(xres=like.xres, yres=like.yres)
    _copy_metadata(image, like)
    with whole_file(target) as partial:
        try:
            image.write_to_file(str(partial), **WRITERS[suffix])
        except pyvips.Error as error:
            raise SourceError(f"cannot write {target}: {_reason(error)}") from error


def check_target(source: Path, target: Path) -> None:
    """Refuse a target of unknown format, and the source itself, also under another name.

    Raises:
        ImageError: Saying which.
        SourceError: The target's folder cannot be looked into.
    """
    _writer_suffix(target)
    try:
        same = target.samefile(source)
    except FileNotFoundError:  # a missing source is said when it is read
        return
    except OSError as error:
        raise SourceError(f"cannot write {target}: {error.strerror or error}") from error
    if same:
        raise ImageError(f"{target} is the source itself; give another name, the source is never overwritten")


def _writer_suffix(target: Path) -> str:
    suffix = target.suffix.lower()
    if suffix not in WRITERS:
        raise ImageError(f"cannot write {target.name!r}: its ending must be one of {', '.join(WRITERS)}")
    return suffix


def _vips() -> Any:
    """The module pyvips, which needs a library of the system.

    Raises:
        SourceError: It cannot be loaded.
    """
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise SourceError(f"picture files need libvips: {error}; run: pip install 'pyvips[binary]'") from error
    return pyvips


def _open(source: Path) -> pyvips.Image:
    """The file's first page, decoded whole, upright. Warnings of the decoder are errors: half a picture is none."""
    pyvips = _vips()
    try:
        with source.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SourceError(f"cannot read {source}: {error.strerror or error}") from error
    if empty:
        raise ImageError(f"{source} is empty")
    try:
        image = pyvips.Image.new_from_file(str(source), access="sequential", fail_on="truncated")
        return image.copy_memory().autorot()
    except pyvips.Error as error:
        raise ImageError(f"{source} is not a picture that can be read, or is damaged: {_reason(error)}") from error


def _flat(image: pyvips.Image) -> pyvips.Image:
    """Grey or sRGB bands without alpha, embedded profiles applied."""
    if image.hasalpha():
        image = image[: image.bands - 1]
    if image.format in _FLOATS and image.interpretation in ("scrgb", "b-w"):
        return image  # gamma-encoded like every float picture here, whatever libvips takes it for
    if image.get_typeof("icc-profile-data") or image.interpretation == "cmyk":
        depth = 16 if image.format == "ushort" else 8
        return image.icc_transform("srgb", embedded=True, intent="relative", depth=depth)
    return image if image.bands == 1 else image.colourspace("rgb16" if image.format == "ushort" else "srgb")


def _as_array(image: pyvips.Image) -> Picture:
    array: Picture = image.numpy()
    if array.dtype in (np.uint8, np.uint16):
        return array
    array = array.astype(np.float32)
    peak = float(array.max())
    if np.isfinite(peak) and peak > _FLOAT_PEAK_MAX:
        array = array / np.float32(255 if peak <= 255 else 65535)
    return array


def _to_eight_bit(alpha: pyvips.Image) -> pyvips.Image:
    if alpha.format in _FLOATS:
        return (alpha * 255).rint().cast("uchar")
    return (alpha >> 8).cast("uchar") if alpha.format == "ushort" else alpha


def _copy_metadata(changed: pyvips.Image, like: pyvips.Image | None) -> None:
    pyvips = _vips()
    kept = set()
    if like is not None:
        kept = {name for name in like.get_fields() if name.startswith(_KEPT)}
        for name in kept:
            changed.set_type(like.get_typeof(name), name, like.get(name))
    for name in ("image-description", "exif-ifd0-ImageDescription"):  # TIFF's own, and that of the others
        own = _plain(str(changed.get(name))) if name in kept else ""
        text = own if NOTE in own else "; ".join(filter(None, (own, NOTE)))
        # libvips cuts EXIF text at its first bracket, taking the rest for its own remark
        changed.set_type(pyvips.GValue.gstr_type, name, text.translate(_SQUARE) if name.startswith("exif") else text)
    for name in ("orientation", "exif-ifd0-Orientation"):  # back with the EXIF block, but the picture is upright by now
        changed.remove(name)


def _plain(shown: str) -> str:
    """EXIF text without what libvips shows behind it: itself again, its type and length in brackets."""
    found = re.fullmatch(r"(.*) \(\1, \w+, \d+ components, \d+ bytes\)", shown, re.DOTALL)
    return found[1] if found else shown


def _reason(error: pyvips.Error) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "unknown reason"
