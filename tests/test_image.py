from __future__ import annotations

import io
import logging
import os
import re
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import (
    AREA,
    PHOTOS,
    Picture,
    as_type,
    as_unit,
    assert_lightness_kept,
    fake_colorizer,
    lab,
    pixels_of,
    scene,
    tripled,
)

from edgecolor import Colorizer, ImageError, SourceError, _source
from edgecolor._formats import FORMATS
from edgecolor._icc import kind
from edgecolor._image import Decision, Order, Survey, color_file
from edgecolor._metadata import per_mm
from edgecolor._source import open_source, read_page, read_picture
from edgecolor._target import write_picture
from edgecolor._vips import load_vips, writes_tiff
from edgecolor._webp import is_lossless_webp
from edgecolor.batch import colored_by

HEIGHT, WIDTH = 48, 64

# Root may read and write anything, so permissions refuse it nothing.
not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")


@pytest.fixture
def colorizer() -> Colorizer:
    """Files are about files: no network needed."""
    return fake_colorizer(25)


def _save(path: Path, array: Picture, fields: dict[str, Any] | None = None, **options: Any) -> Path:
    """Write an array with libvips, with metadata: text, whole numbers and bytes."""
    import pyvips

    image = pyvips.Image.new_from_array(array)
    if options.pop("grey_alpha", False):
        image = image.copy(interpretation="grey16" if array.dtype == np.uint16 else "b-w")
    elif array.dtype == np.uint16:
        image = image.copy(interpretation="rgb16" if array.ndim == 3 else "grey16")
    image = image.copy(xres=options.pop("xres", 1.0), yres=options.pop("yres", 1.0))
    types = {str: pyvips.GValue.gstr_type, int: pyvips.GValue.gint_type, bytes: pyvips.GValue.blob_type}
    for name, value in (fields or {}).items():
        image.set_type(types[type(value)], name, value)
    image.write_to_file(str(path), **options)
    return path


def _load(path: Path) -> Any:
    """A file as libvips sees it; from its bytes, for libvips remembers files by their name."""
    import pyvips

    return pyvips.Image.new_from_buffer(path.read_bytes(), "")


def _pixels(path: Path) -> Picture:
    array: Picture = _load(path).numpy()
    return array


def _grey(dtype: str = "uint8") -> Picture:
    return scene(HEIGHT, WIDTH, dtype)


def _only(folder: Path, *names: str) -> None:
    """Fail if the folder holds anything but these."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


# Formats


def _writable(suffix: str) -> bool:
    """Whether this libvips writes it."""
    import pyvips

    return bool(pyvips.type_find("VipsOperation", FORMATS[suffix].saver))


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if _writable(suffix)])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("8.png", "uint8"), ("16.png", "uint16"), ("8.tif", "uint8"), ("16.tif", "uint16"), ("float.tif", "float32")],
)
def test_every_depth_goes_to_every_format(colorizer: Colorizer, tmp_path: Path, name: str, dtype: str, suffix: str) -> None:
    gray = _grey(dtype)
    source, target = _save(tmp_path / name, gray), tmp_path / f"colour{suffix}"
    colorizer.image(source, target)
    result = _pixels(target)
    deepest = {".png": "uint16", ".avif": "uint16", ".tif": dtype, ".tiff": dtype}.get(suffix, "uint8")
    assert result.shape == (HEIGHT, WIDTH, 3)
    assert result.dtype == ("uint8" if dtype == "uint8" else deepest)
    if suffix in (".png", ".tif", ".tiff"):
        assert_lightness_kept(result, gray)
    else:
        assert np.abs(lab(result)[..., 0] - lab(gray)[..., 0]).mean() < 2
    assert np.hypot(*np.moveaxis(lab(result)[..., 1:], -1, 0)).mean() > 3


@pytest.mark.parametrize("name", ["photo.jpg", "photo.webp", "photo.JPG", "photo.jpeg"])
def test_lossy_sources_are_read(colorizer: Colorizer, tmp_path: Path, name: str) -> None:
    source = _save(tmp_path / name, _grey())
    colorizer.image(source, tmp_path / "colour.png")
    assert_lightness_kept(_pixels(tmp_path / "colour.png"), read_picture(source))


@pytest.mark.parametrize(("bits", "levels"), [(1, 2), (2, 4), (4, 16)])
def test_few_levels_are_read(colorizer: Colorizer, tmp_path: Path, bits: int, levels: int) -> None:
    gray = (_grey() // (256 // levels) * (255 // (levels - 1))).astype(np.uint8)
    source = _save(tmp_path / "few.tif", gray, bitdepth=bits)
    assert np.array_equal(read_picture(source), gray)
    colorizer.image(source, tmp_path / "colour.tif")
    assert_lightness_kept(_pixels(tmp_path / "colour.tif"), gray)


def test_a_palette_png_is_read(colorizer: Colorizer, tmp_path: Path) -> None:
    colours = np.array([(200, 40, 40), (20, 90, 160), (250, 250, 240)], np.uint8)[(_grey() // 86).clip(0, 2)]
    source = _save(tmp_path / "palette.png", colours, palette=True)
    assert _load(source).get("palette") == 1
    colorizer.image(source, tmp_path / "colour.png")
    assert_lightness_kept(_pixels(tmp_path / "colour.png"), read_picture(source))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("bands", [2, 4])
def test_alpha_is_kept(colorizer: Colorizer, tmp_path: Path, bands: int, suffix: str, dtype: str) -> None:
    alpha = as_type(np.tile(np.linspace(0.1, 1, WIDTH), (HEIGHT, 1)), dtype)
    source = _save(tmp_path / "alpha.png", np.dstack([_grey(dtype)] * (bands - 1) + [alpha]), grey_alpha=bands == 2)
    colorizer.image(source, tmp_path / f"colour{suffix}")
    result = _pixels(tmp_path / f"colour{suffix}")
    assert result.shape == (HEIGHT, WIDTH, 4)
    assert as_unit(result[..., 3]) == pytest.approx(as_unit(alpha), abs=1 / 250)
    if suffix != ".webp":
        assert_lightness_kept(result[..., :3], _grey(dtype))


def test_the_alpha_of_floats_is_kept(colorizer: Colorizer, tmp_path: Path) -> None:
    alpha = np.tile(np.linspace(0.1, 1, WIDTH, dtype=np.float32), (HEIGHT, 1))
    source = _save(tmp_path / "alpha.tif", np.dstack([_grey("float32"), alpha]), grey_alpha=True)
    colorizer.image(source, tmp_path / "colour.tif")
    result = _pixels(tmp_path / "colour.tif")
    assert result.shape == (HEIGHT, WIDTH, 4)
    assert as_unit(result[..., 3]) == pytest.approx(alpha, abs=1e-3)


@pytest.mark.parametrize("bands", [1, 4])
def test_a_webp_that_lost_nothing_loses_nothing(colorizer: Colorizer, tmp_path: Path, bands: int) -> None:
    alpha = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    array = _grey() if bands == 1 else np.dstack([_grey(), _grey(), _grey(), alpha])
    source = _save(tmp_path / "photo.webp", array, {"exif-ifd0-ImageDescription": "a scan"}, lossless=True, exact=True)
    colorizer.image(source, tmp_path / "colour.webp")
    colorizer.image(source, tmp_path / "colour.png")
    result = _pixels(tmp_path / "colour.webp")
    assert np.array_equal(result, _pixels(tmp_path / "colour.png"))
    assert_lightness_kept(result[..., :3], _grey())
    colorizer.image(source, tmp_path / "lossy.webp", quality=80)  # asked for
    assert not is_lossless_webp(io.BytesIO((tmp_path / "lossy.webp").read_bytes()))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shrink", [1, 2, 3, 7])
def test_a_page_is_read_smaller_in_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, shrink: int) -> None:
    monkeypatch.setattr(_source, "HELD_BYTES", 0)
    monkeypatch.setattr(_source, "STRIP_BYTES", 5 * WIDTH * np.dtype(dtype).itemsize)
    source = _save(tmp_path / "a.tif", _grey(dtype))
    small = read_page(open_source(source).pages[0], shrink)
    rows, columns = HEIGHT // shrink, WIDTH // shrink
    means = as_unit(_grey(dtype))[: rows * shrink, : columns * shrink].reshape(rows, shrink, columns, shrink).mean((1, 3))
    assert small.dtype == dtype
    assert as_unit(small) == pytest.approx(means, abs=0.51 / 255 if dtype == "uint8" else 1e-4)


@pytest.mark.parametrize("options", [{"lossless": True}, {"near_lossless": True}, {"Q": 80}, {"Q": 100}], ids=str)
@pytest.mark.parametrize("bands", [3, 4])
def test_whether_a_webp_lost_something_is_told(tmp_path: Path, options: dict[str, Any], bands: int) -> None:
    content = _save(tmp_path / "photo.webp", np.dstack([_grey()] * bands), profile="srgb", **options).read_bytes()
    assert is_lossless_webp(io.BytesIO(content)) is ("Q" not in options)
    assert not is_lossless_webp(io.BytesIO(content[:20]))


def test_jpeg_has_no_alpha(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "alpha.png", np.dstack([_grey(), _grey()]), grey_alpha=True)
    colorizer.image(source, tmp_path / "colour.jpg")
    assert _pixels(tmp_path / "colour.jpg").shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("white", [255, 65535])
def test_floats_may_hold_codes(colorizer: Colorizer, tmp_path: Path, white: int) -> None:
    gray = _grey("float32")
    source = _save(tmp_path / "codes.tif", gray * white)
    colorizer.image(source, tmp_path / "colour.tif")
    assert_lightness_kept(_pixels(tmp_path / "colour.tif"), gray)


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_floats_in_three_bands_keep_their_depth_and_lightness(tmp_path: Path, white: int) -> None:
    gray = _grey("float32")
    source = _save(tmp_path / "rgb.tif", tripled(gray) * np.float32(white))
    picture = read_picture(source)
    assert picture.dtype == np.float32
    assert picture == pytest.approx(tripled(gray), abs=1e-4)


def test_cmyk_is_read(colorizer: Colorizer, tmp_path: Path) -> None:
    import pyvips

    ink = np.dstack([np.zeros((HEIGHT, WIDTH, 3), np.uint8), 255 - _grey()])
    source = tmp_path / "cmyk.jpg"
    pyvips.Image.new_from_array(ink).copy(interpretation="cmyk").write_to_file(str(source))
    colorizer.image(source, tmp_path / "colour.png")
    result = _pixels(tmp_path / "colour.png")
    assert result.shape == (HEIGHT, WIDTH, 3)
    assert np.corrcoef(lab(result)[..., 0].ravel(), lab(_grey())[..., 0].ravel())[0, 1] > 0.95


def test_what_this_libvips_cannot_write_is_named(colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyvips

    monkeypatch.setattr(pyvips, "type_find", lambda *_: 0)
    with pytest.raises(ImageError, match=r"built without \.jp2"):
        colorizer.image(_save(tmp_path / "plain.png", _grey()), tmp_path / "colour.jp2")
    _only(tmp_path, "plain.png")


@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint16", 12)])
def test_avif_holds_12_of_16_bits(colorizer: Colorizer, tmp_path: Path, dtype: str, bits: int) -> None:
    colorizer.image(_save(tmp_path / "a.png", _grey(dtype)), tmp_path / "b.avif")
    assert _load(tmp_path / "b.avif").get("bits-per-sample" if bits == 12 else "heif-bitdepth") == bits


def test_jpeg_keeps_every_pixel_s_colour(colorizer: Colorizer, tmp_path: Path) -> None:
    colorizer.image(_save(tmp_path / "a.png", _grey()), tmp_path / "b.jpg")
    assert _load(tmp_path / "b.jpg").get("jpeg-chroma-subsample") == "4:4:4"


# Profiles


def _grey_profile(gamma: float) -> bytes:
    """A minimal ICC profile (version 2.4) of grey with a power curve, D50."""

    def tag(kind: bytes, body: bytes) -> bytes:
        data = kind + bytes(4) + body
        return data + bytes(-len(data) % 4)

    def fixed(value: float) -> bytes:
        return round(value * 65536).to_bytes(4, "big")

    white = b"".join(map(fixed, (0.9642, 1.0, 0.8249)))
    text = b"grey\0"
    tags = {
        b"desc": tag(b"desc", len(text).to_bytes(4, "big") + text + bytes(78)),
        b"cprt": tag(b"text", b"CC0\0"),
        b"wtpt": tag(b"XYZ ", white),
        b"kTRC": tag(b"curv", (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big")),
    }
    table, body, start = len(tags).to_bytes(4, "big"), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + (start + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data
    head = (128 + len(table) + len(body)).to_bytes(4, "big") + b"lcms" + bytes([2, 0x40, 0, 0]) + b"mntrGRAYXYZ "
    head += bytes(12) + b"acsp" + bytes(28) + white + bytes(48)
    assert len(head) == 128
    return head + table + body


@pytest.mark.parametrize("gamma", [1.0, 1.8])
@pytest.mark.parametrize(("name", "dtype"), [("8.png", "uint8"), ("16.tif", "uint16")])
def test_a_grey_profile_is_applied(colorizer: Colorizer, tmp_path: Path, name: str, dtype: str, gamma: float) -> None:
    gray = as_type(np.tile(np.linspace(0.2, 1, WIDTH), (HEIGHT, 1)), dtype)
    source = _save(tmp_path / name, gray, {"icc-profile-data": _grey_profile(gamma)})
    meant = 116 * np.cbrt(as_unit(gray) ** gamma) - 16
    colorizer.image(source, tmp_path / f"colour-{name}")
    result = _load(tmp_path / f"colour-{name}")
    assert lab(result.numpy())[..., 0] == pytest.approx(meant, abs=1.5)  # of D65, where the profile's is of D50
    assert kind(bytes(result.get("icc-profile-data"))) == "RGB"


def test_a_colour_profile_is_applied(tmp_path: Path) -> None:
    import pyvips

    rgb = np.full((HEIGHT, WIDTH, 3), (200, 60, 60), np.uint8)
    profile = bytes(pyvips.Image.profile_load("p3"))
    wide = read_picture(_save(tmp_path / "p3.tif", rgb, {"icc-profile-data": profile}))
    assert wide[0, 0, 0] > 205, "the red of Display P3 is redder than that of sRGB"


def test_a_profile_on_floats_does_not_blacken_them(colorizer: Colorizer, tmp_path: Path) -> None:
    import pyvips

    gray = _grey("float32")
    profile = bytes(pyvips.Image.profile_load("srgb"))
    source = _save(tmp_path / "profile.tif", tripled(gray), {"icc-profile-data": profile})
    colorizer.image(source, tmp_path / "colour.tif")
    assert_lightness_kept(_pixels(tmp_path / "colour.tif"), gray, 1.0)


@pytest.mark.parametrize("name", ["a.tif", "a.jpg", "a.png"])
@pytest.mark.parametrize("profile", ["damaged", "of other bands"])
def test_a_profile_that_does_not_fit_is_no_crash(colorizer: Colorizer, tmp_path: Path, name: str, profile: str) -> None:
    import pyvips

    blob = b"nonsense" * 40 if profile == "damaged" else bytes(pyvips.Image.profile_load("cmyk"))
    source = _save(tmp_path / name, _grey(), {"icc-profile-data": blob})
    colorizer.image(source, tmp_path / "colour.png")
    assert_lightness_kept(_pixels(tmp_path / "colour.png"), read_picture(source))


# Metadata


def _stored(upright: Picture, orientation: int) -> Picture:
    """How a camera stores what EXIF's orientation then turns upright."""
    ways: dict[int, Callable[[Picture], Picture]] = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.T,
        6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p, 2).T,
        8: lambda p: np.rot90(p, -1),
    }
    return np.ascontiguousarray(ways[orientation](upright))


@pytest.mark.parametrize("target", ["colour.jpg", "colour.png", "colour.tif", "colour.webp"])
@pytest.mark.parametrize("name", ["photo.jpg", "scan.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stays_as_it_lies_and_says_how_to_turn_it(
    colorizer: Colorizer, tmp_path: Path, orientation: int, name: str, target: str
) -> None:
    upright = cv2.GaussianBlur(_grey(), (0, 0), 2)
    source = _save(tmp_path / name, _stored(upright, orientation), {"orientation": orientation})
    colorizer.image(source, tmp_path / target)
    result = _load(tmp_path / target)
    assert (result.get("orientation") if result.get_typeof("orientation") else 1) == orientation
    standing = result.autorot().numpy()
    assert standing.shape[:2] == upright.shape
    assert np.abs(lab(standing)[..., 0] - lab(upright)[..., 0]).mean() < 2
    # the fake's colours turn over the upright picture, so they tell whether it was seen upright
    plain = lab(colorizer(upright))
    assert np.abs(lab(standing)[..., 1:] - plain[..., 1:]).mean() < 4


ESTIMATES = "colours are estimates"

EXIF = {
    "exif-ifd0-Make": "Leica",
    "exif-ifd0-Model": "Leica I",
    "exif-ifd0-Artist": "Ilse Bing",
    "exif-ifd2-DateTimeOriginal": "1931:05:01 12:00:00",
}
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><note>from the shoebox</note></x:xmpmeta>"


@pytest.mark.parametrize("target", ["colour.jpg", "colour.png", "colour.tif", "colour.webp"])
@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.webp"])
def test_exif_and_xmp_are_kept(colorizer: Colorizer, tmp_path: Path, name: str, target: str) -> None:
    source = _save(tmp_path / name, _grey(), {**EXIF, "xmp-data": XMP})
    colorizer.image(source, tmp_path / target)
    result = _load(tmp_path / target)
    if not target.endswith(".tif"):  # libvips writes no EXIF into TIFF, whose own tags are the same
        for field, value in EXIF.items():
            assert result.get(field).startswith(value)
    assert bytes(result.get("xmp-data")) == XMP, "a packet that is not RDF is not touched"


@pytest.mark.parametrize("target", ["colour.jpg", "colour.png", "colour.tif"])
@pytest.mark.parametrize("name", ["scan.jpg", "scan.png", "scan.tif"])
def test_the_resolution_is_kept(colorizer: Colorizer, tmp_path: Path, name: str, target: str) -> None:
    source = _save(tmp_path / name, _grey(), xres=300 / 25.4, yres=600 / 25.4)
    colorizer.image(source, tmp_path / target)
    result = _load(tmp_path / target)
    assert (result.xres * 25.4, result.yres * 25.4) == pytest.approx((300, 600), rel=0.01)


@pytest.mark.parametrize("target", ["colour.jpg", "colour.png", "colour.tif"])
@pytest.mark.parametrize("name", ["photo.webp", "photo.pgm"])
def test_an_unknown_resolution_is_72_an_inch(colorizer: Colorizer, tmp_path: Path, name: str, target: str) -> None:
    cv2.imwrite(str(tmp_path / name), _grey())
    colorizer.image(tmp_path / name, tmp_path / target, confidence=tmp_path / f"sure-{target}")
    for path in (tmp_path / target, tmp_path / f"sure-{target}"):
        result = _load(path)
        assert (result.xres * 25.4, result.yres * 25.4) == pytest.approx((72, 72), rel=0.01)


@pytest.mark.parametrize("name", ["photo.webp", "photo.png", "photo.jpg", "photo.tif"])
def test_an_unknown_resolution_that_libvips_wrote_is_72_an_inch(colorizer: Colorizer, tmp_path: Path, name: str) -> None:
    source = _save(tmp_path / name, _grey(), EXIF)
    colorizer.image(source, tmp_path / "colour.jpg")
    assert _load(tmp_path / "colour.jpg").xres * 25.4 == pytest.approx(72, rel=0.01)


@pytest.mark.parametrize("target", ["colour.jpg", "colour.png", "colour.tif"])
@pytest.mark.parametrize("unit", ["in", "cm"])
@pytest.mark.parametrize("name", ["photo.webp", "photo.avif"])
def test_the_resolution_in_the_exif_of_webp_and_avif_is_kept(
    colorizer: Colorizer, tmp_path: Path, name: str, unit: str, target: str
) -> None:
    source = _save(tmp_path / name, _grey(), {"resolution-unit": unit, **EXIF}, xres=300 / 25.4, yres=600 / 25.4)
    colorizer.image(source, tmp_path / target)
    result = _load(tmp_path / target)
    assert (result.xres * 25.4, result.yres * 25.4) == pytest.approx((300, 600), rel=0.01)


@pytest.mark.parametrize(
    ("across", "unit"), [("300/0 (x)", "in"), ("0/1 (x)", "in"), ("", "in"), ("300/1 (x)", "ell"), ("300/1 (x)", "")]
)
def test_a_resolution_in_exif_that_is_none_is_72_an_inch(across: str, unit: str) -> None:
    header = load_vips().Image.black(2, 2)
    for name, text in {"exif-ifd0-XResolution": across, "exif-ifd0-YResolution": "300/1 (x)", "resolution-unit": unit}.items():
        if text:
            header.set_type(load_vips().GValue.gstr_type, name, text)
    assert per_mm(header) == (72 / 25.4, 72 / 25.4)


@pytest.mark.parametrize("target", ["colour.jpg", "colour.webp"])
def test_a_result_says_that_its_colours_are_estimates(colorizer: Colorizer, tmp_path: Path, target: str) -> None:
    colorizer.image(_save(tmp_path / "plain.png", _grey()), tmp_path / target)
    assert ESTIMATES in _load(tmp_path / target).get("exif-ifd0-ImageDescription")


def test_a_tiff_says_that_its_colours_are_estimates(colorizer: Colorizer, tmp_path: Path) -> None:
    colorizer.image(_save(tmp_path / "plain.png", _grey()), tmp_path / "colour.tif")
    assert _load(tmp_path / "colour.tif").get("image-description").endswith(ESTIMATES)


@pytest.mark.parametrize("name", ["photo.jpg", "scan.tif"])
def test_a_description_is_kept(colorizer: Colorizer, tmp_path: Path, name: str) -> None:
    field = "image-description" if name.endswith("tif") else "exif-ifd0-ImageDescription"
    source = _save(tmp_path / name, _grey(), {field: "Aunt Emma"})
    colorizer.image(source, tmp_path / f"colour-{name}")
    assert _load(tmp_path / f"colour-{name}").get(field).startswith("Aunt Emma")


# Names


@pytest.mark.parametrize(
    "name",
    ["été à Arles.png", "with space.png", "scan[1].png", "100%.png", "-o.png", "a.b.c.png", "新しい.png", "#1;$HOME.png"],
)
def test_names_are_taken_as_they_are(colorizer: Colorizer, tmp_path: Path, name: str) -> None:
    source = _save(tmp_path / "plain.png", _grey()).rename(tmp_path / name)
    colorizer.image(str(source), str(tmp_path / f"colour {name}"))
    _only(tmp_path, name, f"colour {name}")
    assert_lightness_kept(_pixels(tmp_path / f"colour {name}"), _grey())


def test_a_name_may_be_as_long_as_the_file_system_allows(colorizer: Colorizer, tmp_path: Path) -> None:
    source, target = _save(tmp_path / "plain.png", _grey()), tmp_path / f"{'x' * 251}.png"
    colorizer.image(source, target)
    assert_lightness_kept(_pixels(target), _grey())


def test_a_source_that_changed_is_read_again(colorizer: Colorizer, tmp_path: Path) -> None:
    source, target = tmp_path / "plain.png", tmp_path / "colour.png"
    for gray in (_grey(), np.ascontiguousarray(np.fliplr(_grey()))):
        colorizer.image(_save(source, gray), target)
        assert_lightness_kept(_pixels(target), gray)


# Bad input: a named error, and no file


def _jpeg() -> bytes:
    return (PHOTOS / "cat.jpg").read_bytes()


def _png() -> bytes:
    code = cv2.imencode(".png", _grey())[1]
    return bytes(code)


DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty.jpg": (b"", "is empty"),
    "text.jpg": (b"Dear diary,\n" * 100, "not a picture"),
    "text.png": (b"Dear diary,\n" * 100, "not a picture"),
    "half.jpg": (_jpeg()[: len(_jpeg()) // 2], "damaged"),
    "almost.jpg": (_jpeg()[:-2000], "damaged"),
    "head.jpg": (_jpeg()[:100], "damaged"),
    "half.png": (_png()[: len(_png()) // 2], "damaged"),
    "zeros.tif": (bytes(5000), "not a picture"),
    "one byte.png": (b"\x89", "not a picture"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named(colorizer: Colorizer, tmp_path: Path, name: str) -> None:
    content, reason = DAMAGED[name]
    source = tmp_path / name
    source.write_bytes(content)
    with pytest.raises(ImageError, match=rf"{re.escape(str(source))}.*{reason}") as caught:
        colorizer.image(source, tmp_path / "colour.png")
    assert "\n" not in str(caught.value)
    _only(tmp_path, name)


def test_a_missing_file_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot read .*none\.jpg: No such file"):
        colorizer.image(tmp_path / "none.jpg", tmp_path / "colour.png")
    _only(tmp_path)


def test_a_folder_is_no_picture(colorizer: Colorizer, tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(SourceError, match=r"cannot read .*folder\.jpg: Is a directory"):
        colorizer.image(tmp_path / "folder.jpg", tmp_path / "colour.png")
    _only(tmp_path, "folder.jpg")


@not_as_root
def test_an_unreadable_file_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "secret.png", _grey())
    source.chmod(0)
    with pytest.raises(SourceError, match=r"cannot read .*secret\.png: Permission denied"):
        colorizer.image(source, tmp_path / "colour.png")
    _only(tmp_path, "secret.png")


@not_as_root
def test_an_unwritable_folder_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "plain.png", _grey())
    folder = tmp_path / "locked"
    folder.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(SourceError, match=r"cannot write .*colour\.png: Permission denied"):
        colorizer.image(source, folder / "colour.png")
    _only(folder)


@pytest.mark.parametrize("folder", ["plain.png", "none"], ids=["under a file", "missing folder"])
def test_a_folder_that_is_none_is_named(colorizer: Colorizer, tmp_path: Path, folder: str) -> None:
    source = _save(tmp_path / "plain.png", _grey())
    with pytest.raises(SourceError, match=r"cannot write .*colour\.png: (Not a directory|No such file)"):
        colorizer.image(source, tmp_path / folder / "colour.png")
    _only(tmp_path, "plain.png")


def test_a_folder_as_target_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "plain.png", _grey())
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SourceError, match=r"cannot write .*folder\.png: Is a directory"):
        colorizer.image(source, tmp_path / "folder.png")
    _only(tmp_path, "plain.png", "folder.png")


@pytest.mark.parametrize("name", ["colour.gif", "colour.bmp", "colour", "colour.", "colour.png.txt", ".png"])
def test_an_unknown_ending_is_named(colorizer: Colorizer, tmp_path: Path, name: str) -> None:
    source = _save(tmp_path / "plain.png", _grey())
    with pytest.raises(ImageError, match=rf"'{re.escape(name)}'.*\.jpg, .*\.webp"):
        colorizer.image(source, tmp_path / name)
    _only(tmp_path, "plain.png")


def _link(kind: str, source: Path) -> Path:
    target = source.with_name(f"{kind}.png")
    if kind == "symlink":
        target.symlink_to(source)
    elif kind == "hard link":
        target.hardlink_to(source)
    else:
        target = source.parent / "." / ".." / source.parent.name / source.name
    return target


@pytest.mark.parametrize("kind", ["same", "symlink", "hard link"])
def test_the_source_is_never_overwritten(colorizer: Colorizer, tmp_path: Path, kind: str) -> None:
    source = _save(tmp_path / "plain.png", _grey())
    content = source.read_bytes()
    with pytest.raises(ImageError, match="is the source itself"):
        colorizer.image(source, _link(kind, source))
    assert source.read_bytes() == content


@pytest.mark.parametrize("value", [np.nan, -0.5, 1e6])
def test_bad_values_in_a_file_are_named(colorizer: Colorizer, tmp_path: Path, value: float) -> None:
    gray = _grey("float32")
    gray[5, 5] = value
    with pytest.raises(ImageError, match="a float picture must"):
        colorizer.image(_save(tmp_path / "bad.tif", gray), tmp_path / "colour.tif")
    _only(tmp_path, "bad.tif")


def test_bad_steering_leaves_no_file(colorizer: Colorizer, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="got 3"):
        colorizer.image(_save(tmp_path / "plain.png", _grey()), tmp_path / "colour.png", vividness=3)
    _only(tmp_path, "plain.png")


@pytest.mark.parametrize(("suffix", "longest"), [(".webp", 16383), (".jpg", 65500), (".avif", 16384)])
def test_a_picture_too_large_for_its_format_is_named_once(tmp_path: Path, suffix: str, longest: int) -> None:
    target = tmp_path / f"long{suffix}"
    write_picture(target, np.zeros((1, longest, 3), np.uint8))
    target.unlink()
    with pytest.raises(
        ImageError, match=f"at most {longest} pixels a side, not {longest + 1} by 1; write a .tif or .png"
    ) as caught:
        write_picture(target, np.zeros((1, longest + 1, 3), np.uint8))
    assert str(caught.value).count("cannot write") == 1
    assert "\n" not in str(caught.value)
    _only(tmp_path)


@pytest.mark.parametrize(("compression", "longest"), [("jpeg", 65500), ("webp", 16383)])
def test_strips_too_wide_for_their_compression_are_named_before_the_work(
    colorizer: Colorizer, tmp_path: Path, compression: Any, longest: int
) -> None:
    if not writes_tiff(compression):
        pytest.skip(f"this libvips does not write {compression} in a TIFF")
    steps: list[float] = []
    source = _save(tmp_path / "wide.png", np.zeros((16, longest + 1), np.uint8))
    message = f"{compression} in the strips of a TIFF has at most {longest} pixels a row, not {longest + 1}; ask for deflate"
    with pytest.raises(ImageError, match=message):
        colorizer.image(source, tmp_path / "colour.tif", compression=compression, progress=steps.append)
    assert not [share for share in steps if share > 0.5]
    _only(tmp_path, "wide.png")
    narrow = _save(tmp_path / "narrow.png", np.zeros((longest + 1, 16), np.uint8))  # a column, whose strips are low
    colorizer.image(narrow, tmp_path / "colour.tif", compression=compression)
    tiled = _save(tmp_path / "tiled.tif", np.zeros((16, longest + 1), np.uint8), tile=True)
    colorizer.image(tiled, tmp_path / "tiles.tif", compression=compression)
    assert _pixels(tmp_path / "tiles.tif").shape[:2] == (16, longest + 1)


# Whole or not at all


def _fail_half_way(error: BaseException, seen: list[bytes], target: Path) -> Callable[..., None]:
    def write_to_target(_: Any, half: Any, *__: Any, **___: Any) -> None:
        Path(half.filename()).write_bytes(b"half a picture")
        seen.append(target.read_bytes())
        raise error

    return write_to_target


@pytest.mark.parametrize("kind", ["libvips", "full disk", "memory", "interrupt"])
def test_a_failure_while_writing_leaves_the_old_file(
    colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import pyvips

    raised: BaseException
    raised, expected = {
        "libvips": (pyvips.Error("no space left"), SourceError),
        "full disk": (OSError(28, "No space left on device"), SourceError),
        "memory": (MemoryError(), MemoryError),
        "interrupt": (KeyboardInterrupt(), KeyboardInterrupt),
    }[kind]
    source, target = _save(tmp_path / "plain.png", _grey()), tmp_path / "colour.png"
    target.write_bytes(b"what was there")
    seen: list[bytes] = []
    monkeypatch.setattr(pyvips.Image, "write_to_target", _fail_half_way(raised, seen, target))
    with pytest.raises(expected):
        colorizer.image(source, target)
    assert seen == [b"what was there"]
    assert target.read_bytes() == b"what was there"
    _only(tmp_path, "plain.png", "colour.png")


def test_a_failure_while_deciding_leaves_nothing(tmp_path: Path) -> None:
    def decide(_: Survey) -> Decision:
        raise MemoryError("too large")

    with pytest.raises(MemoryError, match="too large"):
        color_file(_save(tmp_path / "plain.png", _grey()), tmp_path / "colour.png", decide, Order(AREA))
    _only(tmp_path, "plain.png")


def test_a_target_is_replaced_in_one_step(colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = _save(tmp_path / "plain.png", _grey()), tmp_path / "colour.png"
    target.write_bytes(b"what was there")
    steps = []

    def replace(partial: Path, final: Path, replace: Callable[[Path, Path], None] = os.replace) -> None:
        steps.append((Path(partial).parent, Path(final), Path(final).read_bytes(), len(_pixels(Path(partial)))))
        replace(partial, final)

    monkeypatch.setattr(os, "replace", replace)
    with target.open("rb") as reader:
        colorizer.image(source, target)
        assert reader.read() == b"what was there", "whoever reads the old file must not see it change"
    assert steps == [(tmp_path, target, b"what was there", HEIGHT)]
    assert_lightness_kept(_pixels(target), _grey())
    _only(tmp_path, "plain.png", "colour.png")


def test_the_result_may_be_read_by_whom_the_umask_allows(colorizer: Colorizer, tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        colorizer.image(_save(tmp_path / "plain.png", _grey()), tmp_path / "colour.png")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "colour.png").stat().st_mode) == 0o644


@pytest.mark.parametrize("name", ["astronaut.jpg", "cat.jpg"])
def test_photographs_are_read_as_others_read_them(name: str) -> None:
    difference = np.abs(read_picture(PHOTOS / name).astype(int) - pixels_of(PHOTOS / name))
    assert difference.mean() < 1


@pytest.mark.parametrize("held_bytes", [_source.HELD_BYTES, 0], ids=["held", "in strips"])
def test_a_jpeg_that_its_decoder_makes_up_for_is_coloured_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, held_bytes: int
) -> None:
    made_up = read_picture(_damaged_jpeg(tmp_path))
    caplog.clear()
    monkeypatch.setattr(_source, "HELD_BYTES", held_bytes)
    monkeypatch.setattr(_source, "STRIP_BYTES", 30_000)
    with caplog.at_level(logging.WARNING, "edgecolor"):
        fake_colorizer().image(PHOTOS / "temple.jpg", tmp_path / "a.png")
        assert not caplog.records
        assert np.array_equal(read_picture(tmp_path / "damaged.jpg"), made_up)
        caplog.clear()
        fake_colorizer().image(tmp_path / "damaged.jpg", tmp_path / "b.png")
    assert "damaged.jpg is damaged, and coloured as its decoder made up for it: VipsJpeg: Corrupt JPEG data" in caplog.text
    assert [record.name for record in caplog.records].count("edgecolor") == 1


@pytest.mark.parametrize("held_bytes", [_source.HELD_BYTES, 0], ids=["held", "in strips"])
def test_what_a_decoder_made_up_for_is_in_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_bytes: int) -> None:
    monkeypatch.setattr(_source, "HELD_BYTES", held_bytes)
    damaged = _damaged_jpeg(tmp_path)
    (remark,) = fake_colorizer().image(damaged, tmp_path / "b.png")
    assert "damaged.jpg is damaged, and coloured as its decoder made up for it: VipsJpeg: Corrupt JPEG data" in remark
    assert fake_colorizer().image(PHOTOS / "temple.jpg", tmp_path / "a.png") == ()
    record = colored_by(fake_colorizer(), damaged, tmp_path / "b.png", skip_existing=False)
    assert (record["status"], record["error"]) == ("coloured", remark)


def test_a_jpeg_that_claims_more_than_it_can_hold_is_named(tmp_path: Path) -> None:
    content = (PHOTOS / "cat.jpg").read_bytes()
    place = content.index(b"\xff\xc0") + 5
    (tmp_path / "claim.jpg").write_bytes(content[:place] + struct.pack(">HH", 65_000, 65_000) + content[place + 4 :])
    with pytest.raises(
        ImageError, match=rf"claims 65000 by 65000 pixels in {len(content):,} bytes; it is damaged, get it anew"
    ):
        fake_colorizer().image(tmp_path / "claim.jpg", tmp_path / "out.png")


def _damaged_jpeg(folder: Path) -> Path:
    whole = bytearray((PHOTOS / "temple.jpg").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 400] = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    (folder / "damaged.jpg").write_bytes(whole)
    return folder / "damaged.jpg"


def test_a_stream_is_not_a_path(colorizer: Colorizer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="by its name, a str or Path, got BytesIO"):
        colorizer.image(io.BytesIO(_png()), tmp_path / "colour.png")  # type: ignore[arg-type]
    _only(tmp_path)


def test_floats_slightly_above_white_are_an_error_and_not_a_scale(tmp_path: Path, colorizer: Colorizer) -> None:
    import pyvips

    source = tmp_path / "over.tif"
    pyvips.Image.new_from_array(np.linspace(0, 1.02, 64, dtype=np.float32).reshape(8, 8)).write_to_file(str(source))
    with pytest.raises(ImageError, match=r"1\.02"):
        colorizer.image(source, tmp_path / "out.tif")


def test_the_note_is_added_to_a_description_that_is_there(tmp_path: Path, colorizer: Colorizer) -> None:
    import pyvips

    image = pyvips.Image.new_from_file(str(PHOTOS / "cat.jpg")).copy()
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-ImageDescription", "Chelsea [at home]")
    image.write_to_file(str(tmp_path / "described.jpg"))
    colorizer.image(tmp_path / "described.jpg", tmp_path / "out.jpg")
    text = pyvips.Image.new_from_file(str(tmp_path / "out.jpg")).get("exif-ifd0-ImageDescription")
    assert text.startswith("Chelsea [at home]; coloured by edgecolor")


def test_a_target_that_cannot_be_looked_at_is_named(tmp_path: Path, colorizer: Colorizer) -> None:
    with pytest.raises(SourceError, match="cannot write"):
        colorizer.image(PHOTOS / "cat.jpg", tmp_path / f"{'x' * 300}.jpg")
