"""Scans: streams, pages, profiles, metadata, and what can go wrong on the way."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from fakes import (
    PHOTOS,
    REPOSITORY,
    FakeEngine,
    Picture,
    as_type,
    as_unit,
    assert_lightness_kept,
    fake_colorizer,
    fake_model,
    lab,
    run_python,
    scene,
    tripled,
)

import edgecolor
from edgecolor import Colorizer, Hint, ImageError, SourceError, _formats, _image, _metadata, _source, _target
from edgecolor._color import srgb_to_linear
from edgecolor._formats import Result
from edgecolor._grid import upright
from edgecolor._icc import grey_tone, kind, rgb_profile, rgb_space
from edgecolor._metadata import noted_xmp
from edgecolor._source import PIXELS_MAX, open_source, read_picture
from edgecolor._target import converted, writing
from edgecolor._tiff import BarePage, Tag, Tags, add_page, add_tags, exif_block, exif_tags, plain_rows, read_directories
from edgecolor._vips import writes_tiff

HEIGHT, WIDTH = 90, 120


@pytest.fixture
def colorizer() -> Colorizer:
    """Files are about files: no network needed."""
    return fake_colorizer(25)


@pytest.fixture(params=["held", "streamed"])
def passage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small pages are held in memory, large ones decoded in strips; here either."""
    if request.param == "streamed":
        monkeypatch.setattr(_source, "HELD_BYTES", 0)
        monkeypatch.setattr(_source, "STRIP_BYTES", 4000)
    return str(request.param)


def _grey(dtype: str = "uint8", seed: int = 0) -> Picture:
    return scene(HEIGHT, WIDTH, dtype, seed)


def _save(path: Path, array: Picture, fields: dict[str, Any] | None = None, **options: Any) -> Path:
    import pyvips

    image = pyvips.Image.new_from_array(array)
    if array.dtype == np.uint16:
        image = image.copy(interpretation="rgb16" if array.ndim == 3 else "grey16")
    image = image.copy(xres=options.pop("xres", 1.0), yres=options.pop("yres", 1.0))
    types = {str: pyvips.GValue.gstr_type, int: pyvips.GValue.gint_type, bytes: pyvips.GValue.blob_type}
    for name, value in (fields or {}).items():
        image.set_type(types[type(value)], name, value)
    image.write_to_file(str(path), **options)
    return path


def _load(path: Path, **options: Any) -> Any:
    import pyvips

    return pyvips.Image.new_from_buffer(path.read_bytes(), "", **options)


def _pixels(path: Path, **options: Any) -> Picture:
    array: Picture = _load(path, **options).numpy()
    return array


def _directories(path: Path) -> list[Tags]:
    with path.open("rb") as file:
        return read_directories(file)


def _only(folder: Path, *names: str) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


# Streams


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("name", "kind_of", "options"),
    [
        ("a.tif", ("uint16", 1), {}),
        ("a.tif", ("uint16", 1), {"tile": True, "tile_width": 32, "tile_height": 16, "compression": "lzw"}),
        ("a.tif", ("float32", 1), {"compression": "deflate"}),
        ("a.tif", ("uint8", 3), {"compression": "jpeg"}),
        ("a.png", ("uint8", 2), {}),
        ("a.png", ("uint16", 4), {}),
        ("a.jpg", ("uint8", 1), {}),
    ],
    ids=str,
)
def test_a_stream_and_a_held_picture_come_out_the_same(
    colorizer: Colorizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind_of: tuple[str, int],
    options: dict[str, Any],
    orientation: int,
) -> None:
    dtype, bands = kind_of
    gray = _grey(dtype)
    array = gray if bands == 1 else np.dstack([gray] * bands)
    source = _save(tmp_path / name, array, {"orientation": orientation}, **options)
    hints = [Hint(40, 20, "teal"), Hint(80, 70, "#8a2f2f")] if orientation == 1 else [Hint(20, 80, "teal")]
    colorizer.image(source, tmp_path / "held.tif", hints=hints)
    monkeypatch.setattr(_source, "HELD_BYTES", 0)
    monkeypatch.setattr(_source, "STRIP_BYTES", 3000)
    colorizer.image(source, tmp_path / "streamed.tif", hints=hints)
    held, streamed = _pixels(tmp_path / "held.tif"), _pixels(tmp_path / "streamed.tif")
    assert held.shape == (HEIGHT, WIDTH, 4 if bands in (2, 4) else 3)
    assert np.array_equal(held, streamed)


@pytest.mark.parametrize(
    "options", [{"tile_height": 2}, {"tile_height": 7}, {"tile_height": HEIGHT}, {"bigtiff": True}, {"compression": "lzw"}]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_rows_of_a_wide_scan_are_those_of_the_file(
    passage: str, tmp_path: Path, dtype: str, options: dict[str, Any]
) -> None:
    path = _save(tmp_path / "a.tif", _grey(dtype), **options)
    assert np.array_equal(read_picture(path), _grey(dtype)), passage
    with path.open("rb") as file:
        plain = plain_rows(file, 0, read_directories(file)[0])
    assert (plain is None) == ("compression" in options)


@pytest.mark.parametrize("order", ["<", ">"])
def test_plain_rows_come_in_the_order_of_bytes_of_the_file(passage: str, tmp_path: Path, order: Literal["<", ">"]) -> None:
    gray = _grey("uint16")
    (tmp_path / "a.tif").write_bytes(_archive_tiff(gray, order))
    assert np.array_equal(upright(gray, 6), read_picture(tmp_path / "a.tif")), passage


@pytest.mark.parametrize(
    ("kind_of", "options"),
    [
        (("uint16", 1), {"tile": True, "tile_width": 32, "tile_height": 32}),
        (("uint16", 3), {}),
        (("uint16", 2), {}),
        (("float32", 1), {}),
        (("uint8", 1), {"bitdepth": 1}),
    ],
    ids=["tiles", "colour", "alpha", "float", "1 bit"],
)
def test_what_is_not_plain_is_left_to_libvips(tmp_path: Path, kind_of: tuple[str, int], options: dict[str, Any]) -> None:
    gray = _grey(kind_of[0])
    path = _save(tmp_path / "a.tif", gray if kind_of[1] == 1 else np.dstack([gray] * kind_of[1]), **options)
    with path.open("rb") as file:
        assert plain_rows(file, 0, read_directories(file)[0]) is None


def test_plain_rows_that_the_file_does_not_hold_are_damage(
    monkeypatch: pytest.MonkeyPatch, colorizer: Colorizer, tmp_path: Path
) -> None:
    monkeypatch.setattr(_source, "HELD_BYTES", 0)
    whole = _archive_tiff(_grey("uint16"), "<")
    at = whole.index(struct.pack("<HHII", 273, 4, 1, 0)[:8])
    away = whole[: at + 8] + struct.pack("<I", len(whole) - 100) + whole[at + 12 :]
    (tmp_path / "a.tif").write_bytes(away)
    with pytest.raises(ImageError, match=r"a\.tif is not a picture that can be read, or is damaged: it ends before byte"):
        colorizer.image(tmp_path / "a.tif", tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_directory_where_no_file_can_be_is_damage(colorizer: Colorizer, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63 + 5))
    with pytest.raises(ImageError, match="it ends before byte"):
        colorizer.image(tmp_path / "a.tif", tmp_path / "b.tif")


def test_strips_of_no_rows_are_not_plain(tmp_path: Path) -> None:
    whole = _archive_tiff(_grey("uint16"), "<")
    tags = whole.index(struct.pack("<HHI", 278, 4, 1))
    (tmp_path / "a.tif").write_bytes(whole[: tags + 8] + bytes(4) + whole[tags + 12 :])
    with (tmp_path / "a.tif").open("rb") as file:
        assert plain_rows(file, 0, read_directories(file)[0]) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (3, 4000), (3, 300_000)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_any_shape_is_coloured(passage: str, colorizer: Colorizer, tmp_path: Path, dtype: str, size: tuple[int, int]) -> None:
    gray = as_type(np.random.default_rng(0).random(size), dtype)
    colorizer.image(_save(tmp_path / "a.tif", gray), tmp_path / "b.tif")
    result = _pixels(tmp_path / "b.tif")
    assert result.shape == (*size, 3), passage
    assert result.dtype == np.dtype(dtype)
    assert_lightness_kept(result, gray)


def test_hints_hold_in_a_stream_however_the_picture_lies(colorizer: Colorizer, tmp_path: Path, passage: str) -> None:
    flat = np.full((HEIGHT, WIDTH), 150, np.uint8)
    x, y = 20, 80  # upright, so in a picture of 90 by 120
    for orientation in (1, 6, 7, 8):
        stored = flat if orientation >= 5 else np.ascontiguousarray(flat.T)
        source = _save(tmp_path / f"{passage}{orientation}.tif", stored, {"orientation": orientation})
        target = tmp_path / f"colour{orientation}.tif"
        colorizer.image(source, target, hints=[Hint(x, y, f"lab({lab(flat)[0, 0, 0]:.3f} 20 -15)")])
        assert lab(_load(target).autorot().numpy())[y, x, 1:] == pytest.approx((20, -15), abs=1)


def test_outside_a_region_a_picture_keeps_its_values(colorizer: Colorizer, tmp_path: Path, passage: str) -> None:
    gray = _grey("uint16")
    region = np.zeros((WIDTH, HEIGHT), bool)
    region[:40] = True
    source = _save(tmp_path / f"{passage}.tif", gray, {"orientation": 6})
    colorizer.image(source, tmp_path / "colour.tif", region=region)
    result = _load(tmp_path / "colour.tif").autorot().numpy()
    upright = _load(source).autorot().numpy().squeeze()
    assert np.array_equal(result[40:], tripled(upright[40:]))
    assert np.hypot(*np.moveaxis(lab(result[:40])[..., 1:], -1, 0)).mean() > 3


def test_a_region_of_another_size_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "a.tif", _grey())
    with pytest.raises(ImageError, match=r"\(90, 120\)"):
        colorizer.image(source, tmp_path / "b.tif", region=np.ones((5, 5), bool))
    _only(tmp_path, "a.tif")


def test_progress_rises_to_the_end(colorizer: Colorizer, tmp_path: Path, passage: str) -> None:
    shares: list[float] = []
    colorizer.image(_save(tmp_path / f"{passage}.tif", _grey()), tmp_path / "b.tif", progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_same_scan_at_two_sizes_comes_out_the_same(tmp_path: Path) -> None:
    real = edgecolor.load()
    gray = cv2.imread(str(PHOTOS / "temple.jpg"), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    large = cv2.resize(gray, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    results = []
    for name, array in (("small", gray), ("large", large)):
        real.image(_save(tmp_path / f"{name}.tif", array), tmp_path / f"{name}-colour.tif")
        pixels = _pixels(tmp_path / f"{name}-colour.tif")
        results.append(lab(cv2.resize(pixels, gray.shape[::-1], interpolation=cv2.INTER_AREA))[..., 1:])
    assert np.hypot(*np.moveaxis(results[0] - results[1], -1, 0)).mean() < 2


def test_the_command_holds_few_rows_and_writes_the_same(tmp_path: Path) -> None:
    """In a process of its own, for libvips cannot be told otherwise again."""
    source = _save(tmp_path / "a.tif", scene(900, 300, "uint16"))
    real = edgecolor.load(engine="onnxruntime")
    real.image(source, tmp_path / "library.tif")
    for ending in ("tif", "png"):
        done = run_python(
            "-m",
            "edgecolor",
            "image",
            str(source),
            "-o",
            str(tmp_path / f"command.{ending}"),
            "--engine",
            "onnxruntime",
            home=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert np.array_equal(_pixels(tmp_path / "library.tif"), _pixels(tmp_path / f"command.{ending}"))


def test_a_wide_scan_takes_no_more_memory_than_a_high_one(tmp_path: Path) -> None:
    """Rows that are not compressed are read and written as they lie; libvips would hold 256 of them twice."""
    code = f"""
import resource, sys
sys.path[:0] = [{str(REPOSITORY / "tests")!r}]
from fakes import fake_colorizer
fake_colorizer().image(sys.argv[1], sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for size in ((32768, 640), (640, 32768)):
        source = _save(tmp_path / "scan.tif", np.zeros(size, np.uint16) + np.linspace(0, 60000, size[1]).astype(np.uint16))
        done = run_python("-c", code, str(source), str(tmp_path / "colour.tif"), home=tmp_path)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 40


@pytest.mark.parametrize("fault", [FileNotFoundError(2, "No such file or directory"), OSError(5, "Input/output error")])
def test_a_source_that_fails_halfway_is_not_said_to_be_the_target(
    colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError
) -> None:
    monkeypatch.setattr(_source, "HELD_BYTES", 0)
    source = _save(tmp_path / "a.tif", _grey())

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(_source, "plain_rows", fail)
    with pytest.raises(SourceError, match=rf"cannot read .*a\.tif: {fault.strerror}"):
        colorizer.image(source, tmp_path / "b.tif")
    _only(tmp_path, "a.tif")


def test_png_and_jpeg_that_go_away_while_they_are_coloured_are_named(
    colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    calls = ((".png", _target, "texts_of_png"), (".jpg", _target, "unwritten"), (".jpg", _metadata, "more_xmp"))
    for suffix, module, function in calls:
        source = _save(tmp_path / f"a{suffix}", _grey())
        with monkeypatch.context() as patch:
            patch.setattr(module, function, fail)
            with pytest.raises(SourceError, match=rf"cannot read .*a\{suffix}: Input/output error"):
                colorizer.image(source, tmp_path / f"b{suffix}")
        source.unlink()
        _only(tmp_path)


# Depth and compression


def test_depth_and_compression_stay_unless_asked(colorizer: Colorizer, tmp_path: Path) -> None:
    numbers = {"none": 1, "lzw": 5, "deflate": 8, "packbits": 32773}
    for compression, number in numbers.items():
        source = _save(tmp_path / f"{compression}.tif", _grey("uint16"), compression=compression)
        colorizer.image(source, tmp_path / "same.tif")
        tags = _directories(tmp_path / "same.tif")[0]
        assert tags[259].numbers == [number]
        assert tags[258].numbers == [16, 16, 16]
        colorizer.image(source, tmp_path / "other.tif", depth="8", compression="lzw")
        tags = _directories(tmp_path / "other.tif")[0]
        assert (tags[259].numbers, tags[258].numbers) == ([5], [8, 8, 8])
        assert_lightness_kept(_pixels(tmp_path / "other.tif"), _grey("uint16"))


@pytest.mark.parametrize(("depth", "dtype"), [("8", "uint8"), ("16", "uint16"), ("float", "float32")])
@pytest.mark.parametrize("source_dtype", ["uint8", "uint16", "float32"])
def test_every_depth_becomes_every_other(
    colorizer: Colorizer, tmp_path: Path, source_dtype: str, depth: Any, dtype: str
) -> None:
    gray = _grey(source_dtype)
    alpha = as_type(np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1)), source_dtype)
    source = tmp_path / "a.tif"
    import pyvips

    pyvips.Image.new_from_array(np.dstack([gray, alpha])).copy(interpretation="b-w").write_to_file(str(source))
    colorizer.image(source, tmp_path / "b.tif", depth=depth)
    result = _pixels(tmp_path / "b.tif")
    assert result.dtype == np.dtype(dtype)
    assert_lightness_kept(result[..., :3], gray)
    assert as_unit(result[..., 3]) == pytest.approx(as_unit(alpha), abs=0.003)


def test_fax_becomes_colour(colorizer: Colorizer, tmp_path: Path) -> None:
    lines = ((np.indices((HEIGHT, WIDTH)).sum(0) // 7 % 2) * 255).astype(np.uint8)
    source = _save(tmp_path / "fax.tif", lines, compression="ccittfax4", bitdepth=1)
    colorizer.image(source, tmp_path / "colour.tif")
    tags = _directories(tmp_path / "colour.tif")[0]
    assert (tags[258].numbers, tags[259].numbers) == ([8, 8, 8], [8])
    assert_lightness_kept(_pixels(tmp_path / "colour.tif"), lines)


@pytest.mark.parametrize("subifd", [False, True])
def test_tiles_and_pyramids_stay(colorizer: Colorizer, tmp_path: Path, subifd: bool) -> None:  # noqa: FBT001
    gray = scene(600, 700)
    tile: dict[str, Any] = {"tile": True, "tile_width": 128, "tile_height": 64, "pyramid": True, "subifd": subifd}
    source = _save(tmp_path / "pyramid.tif", gray, compression="deflate", **tile)
    colorizer.image(source, tmp_path / "colour.tif")
    before, after = _directories(source), _directories(tmp_path / "colour.tif")
    assert [(tags[322].numbers, tags[323].numbers) for tags in after] == [([128], [64])] * len(before)
    assert [330 in tags for tags in after] == [330 in tags for tags in before]
    assert_lightness_kept(_pixels(tmp_path / "colour.tif"), gray)
    if not subifd:
        assert _pixels(tmp_path / "colour.tif", page=1).shape == (300, 350, 3)


def test_a_pyramid_in_strips_stays_one_in_tiles(colorizer: Colorizer, tmp_path: Path) -> None:
    gray = scene(600, 700)
    source = _save(tmp_path / "page.tif", gray)
    for number in (2, 4):
        smaller = _save(tmp_path / "smaller.tif", gray[::number, ::number].copy())
        add_tags(smaller, {254: Tag(4, struct.pack("<I", 1))}, frozenset({254}))
        add_page(source, smaller)
    colorizer.image(source, tmp_path / "colour.tif")
    assert [tags[256].numbers for tags in _directories(tmp_path / "colour.tif")] == [[700], [350], [175]]
    assert_lightness_kept(_pixels(tmp_path / "colour.tif"), gray)


def test_a_thumbnail_below_a_tiled_page_makes_no_pyramid(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "page.tif", scene(600, 700), tile=True, tile_width=128, tile_height=64, compression="deflate")
    thumbnail = {256: Tag(4, struct.pack("<I", 88)), 257: Tag(4, struct.pack("<I", 75)), 254: Tag(4, struct.pack("<I", 1))}
    add_tags(source, {330: Tag(4, bytes(4), below=thumbnail)})
    colorizer.image(source, tmp_path / "colour.tif")
    after = _directories(tmp_path / "colour.tif")
    assert [330 in tags for tags in after] == [False]


def test_a_thumbnail_beside_a_tiled_page_makes_no_pyramid(colorizer: Colorizer, tmp_path: Path) -> None:
    gray = scene(600, 700)
    source = _save(tmp_path / "page.tif", gray, tile=True, tile_width=128, tile_height=64)
    small = _save(tmp_path / "small.tif", gray[::8, ::8].copy())
    add_tags(small, {254: Tag(4, struct.pack("<I", 1))}, frozenset({254}))
    add_page(source, small)
    colorizer.image(source, tmp_path / "colour.tif")
    (tags,) = _directories(tmp_path / "colour.tif")
    assert (tags[256].numbers, tags[322].numbers) == ([700], [128])
    assert_lightness_kept(_pixels(tmp_path / "colour.tif"), gray)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": "12"}, "depth must be one of 'auto', '8', '16', 'float', got '12'"),
        ({"compression": "zip"}, "compression must be one of"),
        ({"compression": "jpeg", "depth": "16"}, "jpeg compression holds 8 bits only"),
        ({"profile": "none.icc"}, "cannot read the profile none.icc"),
        ({"vividness": 3}, "got 3"),
        ({"quality": 0}, "quality must be a whole number from 1 to 100, got 0"),
        ({"quality": 101}, "quality must be a whole number from 1 to 100, got 101"),
        ({"quality": 90.5}, "got 90.5"),
        ({"quality": True}, "got True"),
    ],
)
def test_options_that_make_no_sense_are_named(
    colorizer: Colorizer, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    source = _save(tmp_path / "a.tif", _grey())
    with pytest.raises((ImageError, SourceError), match=re.escape(words)):
        colorizer.image(source, tmp_path / "b.tif", **options)
    _only(tmp_path, "a.tif")


@pytest.mark.parametrize(
    ("name", "options"), [("b.jpg", {}), ("b.webp", {}), ("b.avif", {}), ("b.tif", {"compression": "jpeg"})]
)
def test_quality_is_chosen_where_something_is_lost(
    colorizer: Colorizer, tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    source, target = _save(tmp_path / "a.tif", scene(300, 400)), tmp_path / name
    sizes = []
    for quality in (None, 30, 99):
        colorizer.image(source, target, quality=quality, **options)
        sizes.append(target.stat().st_size)
    assert 1.3 * sizes[1] < sizes[0] < sizes[2] / 1.1
    assert _pixels(target).shape == (300, 400, 3)


@pytest.mark.parametrize("name", ["b.png", "b.tif"])
def test_what_loses_nothing_does_not_with_a_quality(colorizer: Colorizer, tmp_path: Path, name: str) -> None:
    source, target = _save(tmp_path / "a.tif", _grey("uint16"), compression="lzw"), tmp_path / name
    contents = []
    for quality in (None, 30):
        colorizer.image(source, target, quality=quality)
        contents.append(_pixels(target))
    assert np.array_equal(contents[0], contents[1])
    assert contents[0].dtype == np.uint16


def test_a_depth_the_format_lacks_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\.jpg cannot hold a depth of 16, only 8"):
        colorizer.image(_save(tmp_path / "a.tif", _grey()), tmp_path / "b.jpg", depth="16")


@pytest.mark.parametrize("width", [4097, 5100, 40_000])
def test_wide_strips_of_jpeg_stay_jpeg(colorizer: Colorizer, tmp_path: Path, width: int) -> None:
    """libtiff wants their rows in sixteens."""
    gray = np.tile(scene(40, 50), (1, width // 50 + 1))[:, :width]
    source = _save(tmp_path / "a.tif", gray, compression="jpeg", tile_height=16)
    colorizer.image(source, tmp_path / "b.tif")
    tags = _directories(tmp_path / "b.tif")[0]
    assert tags[259].numbers == [7]
    assert tags[278].numbers[0] % 16 == 0
    assert _pixels(tmp_path / "b.tif").shape == (40, width, 3)


def test_alpha_that_jpeg_cannot_hold_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "a.tif", np.dstack([_grey()] * 2))
    with pytest.raises(ImageError, match="jpeg compression cannot hold the alpha that the picture has; ask for deflate"):
        colorizer.image(source, tmp_path / "b.tif", compression="jpeg")
    _only(tmp_path, "a.tif")
    colorizer.image(_save(tmp_path / "a.png", _grey()), tmp_path / "b.tif", compression="jpeg")
    assert _directories(tmp_path / "b.tif")[0][259].numbers == [7]


def test_alpha_that_came_with_jpeg_becomes_deflate(tmp_path: Path) -> None:
    """libvips writes no such source, so one that is not packed is said to be."""
    page = open_source(_save(tmp_path / "a.tif", np.dstack([_grey()] * 2))).pages[0]
    like = replace(page, tags={**(page.tags or {}), 259: Tag(3, b"\7\0")})
    rgba = np.dstack([_grey(seed=seed) for seed in range(4)])
    with writing(Result(tmp_path / "b.tif", (HEIGHT, WIDTH), "uint8", 4, b"", like=like), tmp_path / "b.tif") as write:
        write(rgba)
    assert _directories(tmp_path / "b.tif")[0][259].numbers == [8]
    assert np.array_equal(_pixels(tmp_path / "b.tif"), rgba)


def test_a_compression_that_this_libvips_lacks_is_named(
    colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zstandard is missing from the libvips of PyPI; where it is there, it is taken away."""
    monkeypatch.setattr(_formats, "writes_tiff", lambda compression: compression != "zstd")
    with pytest.raises(ImageError, match="cannot write zstd: this libvips was built without it; ask for deflate or lzw"):
        colorizer.image(_save(tmp_path / "a.tif", _grey()), tmp_path / "b.tif", compression="zstd")
    _only(tmp_path, "a.tif")


@pytest.mark.parametrize("compression", ["none", "deflate", "zstd", "webp"])
def test_what_this_libvips_can_write_is_found_out(colorizer: Colorizer, tmp_path: Path, compression: Any) -> None:
    source, target = _save(tmp_path / "a.tif", _grey()), tmp_path / "b.tif"
    if writes_tiff(compression):
        colorizer.image(source, target, compression=compression)
        assert _pixels(target).shape == (HEIGHT, WIDTH, 3)
    else:
        with pytest.raises(ImageError, match=f"cannot write {compression}"):
            colorizer.image(source, target, compression=compression)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize(("number", "words"), [(50000, "ZSTD"), (64999, "TIFF compression 64999")])
def test_a_compression_that_this_libvips_cannot_read_is_named(
    colorizer: Colorizer,
    tmp_path: Path,
    tiled: bool,  # noqa: FBT001
    number: int,
    words: str,
) -> None:
    if words == "ZSTD" and writes_tiff("zstd"):
        pytest.skip("this libvips has it")
    source = _save(tmp_path / "a.tif", _grey(), tile=tiled, tile_width=32, tile_height=32)
    add_tags(source, {259: Tag(3, struct.pack("<H", number))})
    told = rf"a\.tif is packed with {words}, which this libvips cannot read; convert it to deflate"
    with pytest.raises(ImageError, match=told):
        colorizer.image(tmp_path / "a.tif", tmp_path / "b.tif")
    _only(tmp_path, "a.tif")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({258: 32}, "whole numbers of 32 bits"),
        ({258: 12}, "whole numbers of 12 bits"),
        ({339: 2}, "signed whole numbers of 16 bits"),
        ({258: 64, 339: 3}, "floats of 64 bits"),
        ({262: 8}, "CIE L*a*b*"),
    ],
)
def test_what_a_tiff_may_not_hold_is_named(colorizer: Colorizer, tmp_path: Path, changed: dict[int, int], words: str) -> None:
    source = _save(tmp_path / "a.tif", _grey("uint16"))
    add_tags(source, {number: Tag(3, struct.pack("<H", value)) for number, value in changed.items()})
    told = re.escape(f"a.tif is not supported: it holds {words}; convert it to 8 or 16 bits of grey or RGB")
    with pytest.raises(ImageError, match=told):
        colorizer.image(source, tmp_path / "b.tif")
    _only(tmp_path, "a.tif")


@pytest.mark.parametrize(
    ("kind_of", "changed", "words"),
    [
        (("uint8", 2), {284: 2}, "grey and an extra sample in separate planes; put them together"),
        (("uint16", 2), {284: 2, 262: 0}, "for instance with: tiffcp -p contig"),
        (("float32", 1), {262: 0}, "floats that are white at 0 (MinIsWhite); invert it, so that black is at 0"),
        (
            ("uint16", 5),
            {},
            "2 extra samples (alpha, of no stated kind) beside its colours; take them out, all but one of alpha",
        ),
        (("uint16", 4), {262: 1}, "3 extra samples"),
    ],
    ids=["planes", "white planes", "white floats", "RGB and 2", "grey and 3"],
)
def test_samples_that_would_come_out_wrong_are_named(
    colorizer: Colorizer, tmp_path: Path, kind_of: tuple[str, int], changed: dict[int, int], words: str
) -> None:
    dtype, bands = kind_of
    source = _save(tmp_path / "a.tif", _grey(dtype) if bands == 1 else np.dstack([_grey(dtype)] * bands))
    add_tags(source, {number: Tag(3, struct.pack("<H", value)) for number, value in changed.items()})
    if bands == 5:
        add_tags(source, {338: Tag(3, struct.pack("<2H", 2, 0))})
    with pytest.raises(ImageError, match=r"a\.tif is not supported: it holds .*" + re.escape(words)):
        colorizer.image(source, tmp_path / "b.tif")
    _only(tmp_path, "a.tif")


def test_one_grey_plane_is_no_matter(tmp_path: Path) -> None:
    source = _save(tmp_path / "a.tif", _grey())
    add_tags(source, {284: Tag(3, b"\2\0")})
    assert np.array_equal(read_picture(source), _grey())


@pytest.mark.filterwarnings("error")
def test_float_alpha_beyond_its_range_is_the_end_of_it() -> None:
    alpha = np.array([[-0.5, 0, 0.5, 1, 1.02, np.nan, np.inf]], np.float32)
    assert converted(alpha, "uint8").tolist() == [[0, 0, 128, 255, 255, 0, 255]]
    assert converted(alpha, "uint16").tolist() == [[0, 0, 32768, 65535, 65535, 0, 65535]]


@pytest.mark.parametrize("alpha_white", [1, 255, 65535])
@pytest.mark.parametrize("white", [1, 255, 65535])
def test_float_colours_and_alpha_have_each_their_scale(
    colorizer: Colorizer, tmp_path: Path, white: int, alpha_white: int
) -> None:
    gray, alpha = _grey("float32"), np.tile(np.linspace(0, 1, WIDTH, dtype=np.float32), (HEIGHT, 1))
    gray[0, 0] = 1
    pixels = np.dstack([gray * np.float32(white), alpha * np.float32(alpha_white)])
    source = _save(tmp_path / "a.tif", pixels)
    colorizer.image(source, tmp_path / "b.tif")
    result = _pixels(tmp_path / "b.tif")
    assert_lightness_kept(result[..., :3], gray)
    assert result[..., 3] == pytest.approx(alpha, abs=1e-6)


def test_a_result_too_large_for_4_bytes_of_place_is_a_bigtiff(
    colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _save(tmp_path / "a.tif", _grey())
    for limit, magic in ((3 * HEIGHT * WIDTH * 2, b"II*\0"), (3 * HEIGHT * WIDTH, b"II+\0")):
        monkeypatch.setattr(_image, "BIG_BYTES", limit)
        colorizer.image(source, tmp_path / "b.tif")
        assert (tmp_path / "b.tif").read_bytes()[:4] == magic


@pytest.mark.parametrize("subifd", [False, True])
def test_a_pyramid_of_an_odd_width_stays_one(colorizer: Colorizer, tmp_path: Path, subifd: bool) -> None:  # noqa: FBT001
    tile: dict[str, Any] = {"tile": True, "tile_width": 128, "tile_height": 64, "pyramid": True, "subifd": subifd}
    source = _save(tmp_path / "a.tif", scene(601, 701), compression="deflate", **tile)
    colorizer.image(source, tmp_path / "b.tif")
    before, after = _directories(source), _directories(tmp_path / "b.tif")
    assert len(after) == len(before)
    assert [330 in tags for tags in after] == [330 in tags for tags in before]
    assert subifd == (330 in after[0])


@pytest.mark.parametrize("predictor", ["none", "horizontal"])
def test_the_predictor_of_a_tiff_stays(colorizer: Colorizer, tmp_path: Path, predictor: str) -> None:
    source = _save(tmp_path / "a.tif", _grey(), compression="lzw", predictor=predictor)
    colorizer.image(source, tmp_path / "b.tif")
    before, after = (_directories(path)[0].get(317) for path in (source, tmp_path / "b.tif"))
    assert (after.numbers if after else [1]) == (before.numbers if before else [1])


def test_what_is_newly_compressed_is_predicted_from_its_neighbour(colorizer: Colorizer, tmp_path: Path) -> None:
    """Photographs become a quarter smaller by it."""
    colorizer.image(_save(tmp_path / "a.png", _grey()), tmp_path / "b.tif")
    (tags,) = _directories(tmp_path / "b.tif")
    assert (tags[259].numbers, tags[317].numbers) == ([8], [2])


def test_rows_of_a_plain_tiff_can_be_mapped(colorizer: Colorizer, tmp_path: Path) -> None:
    for length in range(4):  # of the words before them
        source = _save(tmp_path / "a.tif", _grey(), {"image-description": "x" * length}, compression="none")
        colorizer.image(source, tmp_path / "b.tif")
        first_row = _pixels(tmp_path / "b.tif")[0].tobytes()
        assert (tmp_path / "b.tif").read_bytes().index(first_row) % 16 == 0


# Profiles


def _profile(curve: bytes, space: bytes = b"GRAY", pcs: bytes = b"XYZ ", more: dict[bytes, bytes] | None = None) -> bytes:
    """A minimal ICC profile (version 2.4), D50."""

    def tag(name: bytes, body: bytes) -> bytes:
        data = name + bytes(4) + body
        return data + bytes(-len(data) % 4)

    white = struct.pack(">3i", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    tags = {
        b"desc": tag(b"desc", struct.pack(">I", 5) + b"grey\0" + bytes(78)),
        b"cprt": tag(b"text", b"CC0\0"),
        b"wtpt": tag(b"XYZ ", white),
        b"kTRC": tag(b"curv", curve),
    } | (more or {})
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data
    head = struct.pack(">I4s4B4s4s4s", 128 + len(table) + len(body), b"lcms", 2, 0x40, 0, 0, b"mntr", space, pcs)
    return (head + bytes(12) + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + body


def _dot_gain(codes: Picture) -> Picture:
    """Luminance of a press whose dots grow by 20 % at the middle (Murray and Davies)."""
    ink = 1 - codes
    return 1 - (ink + 0.2 * np.sin(np.pi * ink)).clip(0, 1)


CURVES: dict[str, tuple[bytes, Callable[[Picture], Picture]]] = {
    "gamma 1.0": (struct.pack(">I", 0), lambda codes: codes),
    "gamma 1.8": (struct.pack(">IH", 1, round(1.8 * 256)), lambda codes: codes ** (round(1.8 * 256) / 256)),
    "gamma 2.2": (struct.pack(">IH", 1, round(2.2 * 256)), lambda codes: codes ** (round(2.2 * 256) / 256)),
    "sGrey": (
        struct.pack(">I4096H", 4096, *np.rint(srgb_to_linear(np.linspace(0, 1, 4096)) * 65535).astype(int)),
        srgb_to_linear,
    ),
    "dot gain 20 %": (
        struct.pack(">I4096H", 4096, *np.rint(_dot_gain(np.linspace(0, 1, 4096)) * 65535).astype(int)),
        _dot_gain,
    ),
}


def _in_profile(luminance: Picture, curve: Callable[[Picture], Picture], dtype: str) -> Picture:
    """A scan of that luminance, in the codes of a curve."""
    places = np.linspace(0, 1, 65536)
    return as_type(np.interp(luminance, curve(places), places), dtype)


def _turned_back(path: Path, profile: str, curve: Callable[[Picture], Picture]) -> Picture:
    """The codes of a result in a grey profile of that curve, by the formulas of ICC.1."""
    result = _load(path)
    written = bytes(result.get("icc-profile-data"))
    weights = np.linalg.inv(rgb_space(written).from_xyz)[1]
    linear: Callable[[Picture], Picture] = {
        "auto": curve if b"curve of the scan" in written else srgb_to_linear,
        "srgb": srgb_to_linear,
        "adobergb": lambda v: v ** (563 / 256),
        "prophoto": lambda v: v ** (461 / 256),
    }[profile]
    pixels = result.numpy()
    places = np.linspace(0, 1, 65536)
    codes: Picture = np.rint(np.interp(linear(as_unit(pixels)) @ weights, curve(places), places) * np.iinfo(pixels.dtype).max)
    return codes


@pytest.mark.parametrize("profile", ["auto", "srgb", "adobergb", "prophoto"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("name", CURVES)
def test_back_in_its_grey_profile_a_scan_is_what_it_was(
    colorizer: Colorizer, tmp_path: Path, name: str, dtype: str, profile: str
) -> None:
    """By the formulas of ICC.1, which a converter in 16-bit integers only comes near.

    Where 8 bits of sRGB are asked for, from the darkest grey on that they hold.
    """
    data, curve = CURVES[name]
    gray = _in_profile(
        np.clip(as_unit(_grey("float32")), 0.03 if (dtype, profile) == ("uint8", "srgb") else 0, 1) ** 2.2, curve, dtype
    )
    source = _save(tmp_path / "grey.tif", gray, {"icc-profile-data": _profile(data)})
    colorizer.image(source, tmp_path / "colour.tif", profile=profile)
    difference = _turned_back(tmp_path / "colour.tif", profile, curve) - gray
    assert abs(difference.mean()) < (0.1 if dtype == "uint8" else 4)
    assert np.abs(difference).max() <= (1 if dtype == "uint8" else 64)


@pytest.mark.parametrize("profile", ["auto", "srgb", "adobergb", "prophoto"])
@pytest.mark.parametrize("name", CURVES)
def test_every_code_of_8_bits_comes_back(colorizer: Colorizer, tmp_path: Path, name: str, profile: str) -> None:
    """But the darkest of gamma 2.2 where sRGB is asked for, which is no converter's error.

    sRGB begins with a straight line, on which its code 0 is 0 and its code 1 is 6 of gamma 2.2: no 8 bits of sRGB lie between.
    16 bits do, and so do the other profiles.
    """
    data, curve = CURVES[name]
    gray = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    source = _save(tmp_path / "grey.tif", gray, {"icc-profile-data": _profile(data)})
    colorizer.image(source, tmp_path / "colour.tif", profile=profile)
    difference = np.abs(_turned_back(tmp_path / "colour.tif", profile, curve) - gray)
    lost = (gray > 0) & (gray < 6) if (name, profile) == ("gamma 2.2", "srgb") else np.zeros_like(gray, bool)
    assert difference[~lost].max() <= 1
    assert difference.max() <= 4


@pytest.mark.parametrize(
    ("name", "depth", "own"), [("gamma 2.2", "8", True), ("gamma 2.2", "16", False), ("sGrey", "8", False)]
)
def test_only_a_scan_that_needs_it_is_written_in_its_own_curve(
    colorizer: Colorizer, tmp_path: Path, name: str, depth: Literal["8", "16"], *, own: bool
) -> None:
    source = _save(tmp_path / "grey.tif", _grey(), {"icc-profile-data": _profile(CURVES[name][0])})
    colorizer.image(source, tmp_path / "colour.tif", depth=depth)
    written = bytes(_load(tmp_path / "colour.tif").get("icc-profile-data"))
    assert (b"curve of the scan" in written) == own
    assert (written == rgb_profile("srgb")) != own


def test_a_scan_in_its_own_curve_shows_the_colours_of_srgb(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "a.tif", _grey(), {"icc-profile-data": _profile(CURVES["gamma 2.2"][0])})
    shown = []
    for profile in ("auto", "srgb"):
        colorizer.image(source, tmp_path / "b.tif", profile=profile)
        shown.append(_load(tmp_path / "b.tif").icc_import(embedded=True, intent="relative", pcs="lab").numpy())
    assert np.linalg.norm(shown[0] - shown[1], axis=-1).mean() < 0.5


def test_no_8_bits_of_srgb_lie_between_the_darkest_of_gamma_2_2() -> None:
    places = np.linspace(0, 1, 65536)
    held = np.interp(srgb_to_linear(np.arange(2) / 255), CURVES["gamma 2.2"][1](places), places) * 255
    assert held.round() == pytest.approx([0, 6])


@pytest.mark.parametrize("name", ["gamma 1.8", "gamma 2.2", "dot gain 20 %"])
def test_a_colour_managed_program_finds_the_scan_again(colorizer: Colorizer, tmp_path: Path, name: str) -> None:
    data, curve = CURVES[name]
    (tmp_path / "grey.icc").write_bytes(_profile(data))
    gray = _in_profile(np.clip(as_unit(_grey("float32")), 0.02, 1) ** 2.2, curve, "uint8")
    source = _save(tmp_path / "grey.tif", gray, {"icc-profile-data": _profile(data)})
    colorizer.image(source, tmp_path / "colour.tif")
    back = _load(tmp_path / "colour.tif").icc_transform(str(tmp_path / "grey.icc"), embedded=True, intent="relative").numpy()
    difference = np.abs(back.squeeze().astype(int) - gray)
    assert difference.max() <= 2
    assert (difference > 1).mean() < 0.002, "the converter's own error"


def test_a_grey_profile_over_lab_means_lightness() -> None:
    tone = grey_tone(_profile(struct.pack(">I", 0), pcs=b"Lab "), 256)
    assert 116 * tone.root - 16 == pytest.approx(np.linspace(0, 100, 256), abs=1e-3)


def test_every_profile_shows_the_same_colours(colorizer: Colorizer, tmp_path: Path) -> None:
    import pyvips

    source = _save(tmp_path / "a.tif", _grey("uint16"))
    (tmp_path / "p3.icc").write_bytes(bytes(pyvips.Image.profile_load("p3")))
    shown = {}
    for profile in ("srgb", "adobergb", "prophoto", str(tmp_path / "p3.icc")):
        colorizer.image(source, tmp_path / "b.tif", profile=profile)
        result = _load(tmp_path / "b.tif")
        assert kind(bytes(result.get("icc-profile-data"))) == "RGB"
        shown[profile] = result.icc_import(embedded=True, intent="relative", pcs="lab").numpy()
    for profile, seen in shown.items():
        difference = np.linalg.norm(seen - shown["prophoto"], axis=-1)
        # a plain sRGB picture keeps the lightness of D65, and blue weighs a little more there
        assert np.median(difference) < (3 if profile == "srgb" else 0.5), profile


def test_our_profiles_are_those_they_are_named_after() -> None:
    """Colorants as Adobe's and the ROMM's own profiles have them, D50."""
    for name, expected in (
        ("adobergb", [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]),
        ("prophoto", [[0.7977, 0.1352, 0.0313], [0.2880, 0.7119, 0.0001], [0.0, 0.0, 0.8249]]),
    ):
        to_xyz = np.linalg.inv(rgb_space(rgb_profile(name)).from_xyz) * np.array([0.9642, 1, 0.8249])[:, None]
        assert to_xyz == pytest.approx(np.array(expected), abs=0.0015)


@pytest.mark.parametrize(("name", "words"), [("cmyk", "of CMYK"), ("text", "of no known kind")])
def test_a_profile_that_is_not_rgb_is_named(colorizer: Colorizer, tmp_path: Path, name: str, words: str) -> None:
    import pyvips

    content = bytes(pyvips.Image.profile_load("cmyk")) if name == "cmyk" else b"Dear diary" * 30
    (tmp_path / "a.icc").write_bytes(content)
    with pytest.raises(ImageError, match=words):
        colorizer.image(_save(tmp_path / "a.tif", _grey()), tmp_path / "b.tif", profile=tmp_path / "a.icc")
    _only(tmp_path, "a.tif", "a.icc")


def test_a_damaged_grey_profile_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    broken = _profile(struct.pack(">I", 0)).replace(b"kTRC", b"none")
    source = _save(tmp_path / "a.tif", _grey(), {"icc-profile-data": broken})
    with pytest.raises(ImageError, match=r"a\.tif cannot be coloured: its grey profile"):
        colorizer.image(source, tmp_path / "b.tif")
    _only(tmp_path, "a.tif")


# Metadata

WORDS = {
    269: "Box 12",
    270: "Aunt Emma",
    271: "Hasselblad",
    272: "Flextight X5",
    285: "Page one",
    305: "FlexColor",
    315: "I. Bing",
}
WORDS |= {306: "1931:05:01 12:00:00", 316: "scanner-3", 337: "the printer downstairs", 33432: "Public domain"}
IPTC = b"\x1c\x02\x00\x00\x02\x00\x04" + b"\x1c\x02\x78\x00\x09Aunt Emma"
XMP = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
    b"<rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/' dc:source='Box 12'/></rdf:RDF></x:xmpmeta>"
)


def _archive_tiff(pixels: Picture, order: Literal["<", ">"] = ">") -> bytes:
    """A TIFF as a scanner writes it, with tags of every sort: words, an EXIF and a GPS directory, XMP, IPTC, a private tag."""
    data = b""

    def place(raw: bytes) -> int:
        nonlocal data
        data += bytes(len(data) % 2)
        at = 8 + len(data)
        data += raw
        return at

    def directory(lines: list[tuple[int, int, int, bytes]]) -> int:
        body = struct.pack(f"{order}H", len(lines))
        for number, form, count, raw in sorted(lines):
            value = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(f"{order}I", place(raw))
            body += struct.pack(f"{order}HHI", number, form, count) + value
        return place(body + bytes(4))

    def short(number: int, *values: int) -> tuple[int, int, int, bytes]:
        return number, 3, len(values), struct.pack(f"{order}{len(values)}H", *values)

    def long(number: int, *values: int) -> tuple[int, int, int, bytes]:
        return number, 4, len(values), struct.pack(f"{order}{len(values)}I", *values)

    def text(number: int, words: str) -> tuple[int, int, int, bytes]:
        return number, 2, len(words) + 1, words.encode() + b"\0"

    def ratio(number: int, *values: int) -> tuple[int, int, int, bytes]:
        return number, 5, len(values) // 2, struct.pack(f"{order}{len(values)}I", *values)

    exif = directory(
        [ratio(33434, 1, 60), text(36867, "1931:05:01 12:00:00"), (37500, 7, 6, b"maker!"), short(34855, 100, 200)]
    )
    gps = directory([text(1, "N"), ratio(2, 51, 1, 30, 1, 0, 1)])
    height, width = pixels.shape
    strip = place(pixels.astype(pixels.dtype.newbyteorder(order)).tobytes())
    lines = [
        *(text(number, words) for number, words in WORDS.items()),
        *(short(number, value) for number, value in ((256, width), (257, height), (258, 16), (259, 1), (262, 1), (277, 1))),
        *(short(number, value) for number, value in ((274, 6), (296, 3))),
        *(long(number, value) for number, value in ((273, strip), (278, height), (279, pixels.nbytes))),
        *(long(number, value) for number, value in ((34665, exif), (34853, gps))),
        ratio(282, 236, 1),
        ratio(283, 118, 1),
        (700, 1, len(XMP), XMP),
        (33723, 7, len(IPTC), IPTC),
        (65000, 12, 2, struct.pack(f"{order}2d", 0.5, -7.25)),
    ]
    first = directory(lines)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", first) + data


def _said_to_exiftool(path: Path) -> dict[str, Any]:
    tool = shutil.which("exiftool") or pytest.skip("apt install libimage-exiftool-perl to compare by exiftool")
    done = subprocess.run([tool, "-j", "-G1", "-a", "-u", str(path)], capture_output=True, check=True, timeout=60)  # noqa: S603
    own = ("ExifTool:", "System:", "File:", "Composite:")
    return {name: value for name, value in json.loads(done.stdout)[0].items() if not name.startswith((*own, "SourceFile"))}


def _said_to_pillow(path: Path) -> dict[str, Any]:
    image = pytest.importorskip("PIL.Image", reason="pip install pillow to compare by Pillow").open(path)
    with image:
        exif = image.getexif()
        below = {f"{place} {number}": value for place in (34665, 34853) for number, value in exif.get_ifd(place).items()}
        return {str(number): value for number, value in image.tag_v2.items() if number not in (34665, 34853)} | below


def _said_to_libvips(path: Path) -> dict[str, Any]:
    image = _load(path)
    return {name: image.get(name) for name in ("xres", "yres", *image.get_fields())}


STORAGE: dict[Callable[[Path], dict[str, Any]], set[str]] = {
    _said_to_exiftool: {
        "IFD0:BitsPerSample",
        "IFD0:PhotometricInterpretation",
        "IFD0:StripOffsets",
        "IFD0:SamplesPerPixel",
        "IFD0:RowsPerStrip",
        "IFD0:StripByteCounts",
    },
    _said_to_pillow: {"258", "262", "273", "277", "278", "279"},
    _said_to_libvips: {"bands", "coding", "format", "interpretation", "filename"},
}
"""What each reader says of how pixels are stored."""


@pytest.mark.parametrize("said_to", STORAGE, ids=lambda reader: reader.__name__.removeprefix("_said_to_"))
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_tag_in_is_every_tag_out(
    colorizer: Colorizer,
    tmp_path: Path,
    passage: str,
    order: Literal["<", ">"],
    said_to: Callable[[Path], dict[str, Any]],
) -> None:
    """By readers that share nothing with the library, and by libvips, which is always there."""
    source, target = tmp_path / f"{passage}.tif", tmp_path / "colour.tif"
    source.write_bytes(_archive_tiff(_grey("uint16"), order))
    colorizer.image(source, target)
    before, after = said_to(source), said_to(target)
    assert len(before) > 12
    for name, value in before.items():
        if name in STORAGE[said_to]:
            continue
        found = after[name]
        if value == "Aunt Emma" and name != "IPTC:Caption-Abstract":
            assert found.startswith("Aunt Emma; coloured by edgecolor")
        elif isinstance(value, bytes) and value == XMP:
            assert b"dc:source='Box 12'" in found
        else:
            assert found == value, name


def test_every_tag_is_kept_byte_for_byte(colorizer: Colorizer, tmp_path: Path) -> None:
    source, target = tmp_path / "a.tif", tmp_path / "colour.tif"
    source.write_bytes(_archive_tiff(_grey("uint16")))
    colorizer.image(source, target)
    (before,), (after,) = _directories(source), _directories(target)
    for number in {*WORDS, 282, 283, 296, 33723, 65000} - {270}:
        assert after[number] == before[number]
    for number in (34665, 34853):
        assert before[number].below
        assert after[number].below == before[number].below


def test_iptc_is_bytes_also_where_it_is_called_numbers(colorizer: Colorizer, tmp_path: Path) -> None:
    """As old programs do, which nobody swaps."""
    named, called = (struct.pack(">HHI", 33723, form, count) for form, count in ((7, len(IPTC)), (4, len(IPTC) // 4)))
    source, words = tmp_path / "a.tif", IPTC[: len(IPTC) // 4 * 4]
    source.write_bytes(_archive_tiff(_grey("uint16"), ">").replace(named, called))
    colorizer.image(source, tmp_path / "b.tif")
    assert _directories(tmp_path / "b.tif")[0][33723].data == words
    colorizer.image(source, tmp_path / "b.jpg")
    assert words in bytes(_load(tmp_path / "b.jpg").get("iptc-data"))


def test_a_picture_that_calls_itself_a_smaller_one_keeps_its_words(colorizer: Colorizer, tmp_path: Path) -> None:
    source, target = _save(tmp_path / "a.tif", _grey(), compression="lzw"), tmp_path / "b.tif"
    add_tags(source, {254: Tag(4, struct.pack("<I", 1)), 315: Tag(2, b"Atget\0"), 65000: Tag(2, b"private\0")})
    colorizer.image(source, target)
    (tags,) = _directories(target)
    assert (tags[315].data, tags[65000].data, tags[259].numbers) == (b"Atget\0", b"private\0", [5])


NOTED = b"; coloured by edgecolor"


@pytest.mark.parametrize("own", ["Éloïse (新しい)".encode(), "Éloïse [1931]".encode("latin-1"), b"x" * 700 + b" (end)"])
@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png", ".webp", ".avif"])
@pytest.mark.parametrize("name", ["a.tif", "a.jpg"])
def test_words_in_any_encoding_stay_byte_for_byte(
    colorizer: Colorizer, tmp_path: Path, name: str, suffix: str, own: bytes
) -> None:
    tags = {270: Tag(2, own + b"\0"), 315: Tag(2, own + b"\0")}
    source, target = _save(tmp_path / name, _grey()), tmp_path / f"colour{suffix}"
    if name == "a.tif":
        add_tags(source, tags)
    else:
        content, block = source.read_bytes(), exif_block(tags)
        source.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + content[2:])
    colorizer.image(source, target)
    after = _directories(target)[0] if suffix == ".tif" else exif_tags(bytes(_load(target).get("exif-data")))
    assert after[270].data.startswith(own + NOTED)
    assert after[315].data == own + b"\0"


@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"tile": True, "tile_width": 64, "tile_height": 64}])
def test_a_tag_of_many_megabytes_stays(colorizer: Colorizer, tmp_path: Path, passage: str, options: dict[str, Any]) -> None:
    source = _save(tmp_path / "a.tif", _grey("uint16"), **options)
    large = np.random.default_rng(0).bytes(60 << 20)
    add_tags(source, {65000: Tag(7, large), 65001: Tag(7, b"small")})
    colorizer.image(source, tmp_path / "b.tif")
    tags = _directories(tmp_path / "b.tif")[0]
    assert (tags[65000].data == large, tags[65001].data) == (True, b"small"), passage
    add_tags(tmp_path / "b.tif", {}, frozenset({65000}))  # which libvips does not read
    assert_lightness_kept(_pixels(tmp_path / "b.tif"), _grey("uint16"))


def test_layers_go_which_would_be_shown_grey(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "a.tif", _grey())
    add_tags(source, {37724: Tag(7, bytes(60 << 20)), 34377: Tag(7, b"8BIM")})
    colorizer.image(source, tmp_path / "b.tif")
    tags = _directories(tmp_path / "b.tif")[0]
    assert 37724 not in tags
    assert tags[34377].data == b"8BIM"
    assert_lightness_kept(_pixels(tmp_path / "b.tif"), _grey())


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png"])
def test_text_of_exif_3_stays_and_has_the_note_behind_it(colorizer: Colorizer, tmp_path: Path, suffix: str) -> None:
    texts = {270: Tag(129, "Großmutter\0".encode()), 315: Tag(129, b"Nadar\0")}
    source = _save(tmp_path / "a.tif", _grey())
    add_tags(source, texts, frozenset(texts))
    photo = _save(
        tmp_path / "a.jpg", _grey(), {"exif-data": exif_block({number: replace(tag, kind=2) for number, tag in texts.items()})}
    )
    content = photo.read_bytes()
    for number in texts:
        content = content.replace(struct.pack("<HH", number, 2), struct.pack("<HH", number, 129), 1)
    photo.write_bytes(content)
    for path in (source, photo):
        target = tmp_path / f"b{suffix}"
        colorizer.image(path, target)
        tags = _directories(target)[0] if suffix == ".tif" else exif_tags(bytes(_load(target).get("exif-data")))
        kind_of = 129 if suffix == ".tif" else 2  # libexif knows no other
        assert tags[270].kind == tags[315].kind == kind_of
        assert tags[270].data.startswith("Großmutter; coloured by edgecolor".encode())
        assert tags[315].data == b"Nadar\0"


def test_a_mask_among_the_pages_is_named(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _pages(tmp_path / "a.tif", _save(tmp_path / "1.tif", _grey()), _save(tmp_path / "2.tif", _grey()))
    mask = _save(tmp_path / "mask.tif", _grey())
    add_tags(mask, {262: Tag(3, b"\4\0"), 254: Tag(4, b"\4\0\0\0")}, frozenset({254}))
    add_page(source, mask)
    with pytest.raises(
        ImageError, match=r"page 3 of 3 of .*a\.tif is not supported: it holds a mask of transparency; take it out"
    ):
        colorizer.image(source, tmp_path / "b.tif")


def test_a_shape_that_is_no_longer_true_goes(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "a.tif", _grey())
    add_tags(source, {270: Tag(2, b'{"shape": [90, 120]}\0')})
    colorizer.image(source, tmp_path / "b.tif")
    assert _directories(tmp_path / "b.tif")[0][270].data.startswith(b"coloured by edgecolor")


@pytest.mark.parametrize("own", [b'{"shape": [90, 120], "axes": "YX"}', b'<?xml version="1.0"?><OME></OME>', b"<OME/>"])
def test_descriptions_that_programs_read_are_left_alone(colorizer: Colorizer, tmp_path: Path, own: bytes) -> None:
    source, target = _save(tmp_path / "a.tif", _grey()), tmp_path / "b.tif"
    add_tags(source, {270: Tag(2, own + b"\0")})
    colorizer.image(source, target)
    assert _directories(target)[0][270].data == own + b"\0"
    assert b"colours are estimates" in bytes(_load(target).get("xmp-data"))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_the_texts_of_a_png_stay_byte_for_byte(colorizer: Colorizer, tmp_path: Path) -> None:
    """The keyword Größe is allowed, in Latin-1."""
    texts = [
        _chunk(b"tEXt", "Größe\0Éloïse".encode("latin-1")),
        _chunk(b"iTXt", b"Ort\0\0\0de\0\0" + "Éloïse (新しい)".encode()),
        _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"Box 12")),
    ]
    content = _save(tmp_path / "a.png", _grey(), {"xmp-data": XMP}).read_bytes()
    (tmp_path / "a.png").write_bytes(content[:33] + b"".join(texts) + content[33:])
    colorizer.image(tmp_path / "a.png", tmp_path / "b.png")
    written = (tmp_path / "b.png").read_bytes()
    assert [written.count(text) for text in texts] == [1, 1, 1]
    assert written.count(b"Ort\0") == written.count(b"XML:com.adobe.xmp") == 1
    assert written.endswith(_chunk(b"IEND", b""))
    assert_lightness_kept(_pixels(tmp_path / "b.png"), _grey())


@pytest.mark.parametrize("unit", [1, 2, 3])
def test_the_resolution_of_a_tiff_stays_as_it_is_written(colorizer: Colorizer, tmp_path: Path, unit: int) -> None:
    """1 is none: the numbers then are an aspect, or mean nothing."""
    source, target = tmp_path / "a.tif", tmp_path / "b.tif"
    centimetres, others = (struct.pack(">HHIH", 296, 3, 1, number) for number in (3, unit))
    source.write_bytes(_archive_tiff(_grey("uint16")).replace(centimetres, others))
    colorizer.image(source, target)
    (before,), (after,) = _directories(source), _directories(target)
    assert before[296].numbers == [unit]
    assert [after[number] for number in (282, 283, 296)] == [before[number] for number in (282, 283, 296)]


def test_a_tiff_without_a_resolution_gets_none(colorizer: Colorizer, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(_in_tiles(_grey(), 32, bytes, 1))
    colorizer.image(tmp_path / "a.tif", tmp_path / "b.tif")
    assert {282, 283, 296}.isdisjoint(_directories(tmp_path / "b.tif")[0])


@pytest.mark.parametrize("kind_of", [0, 1, 2], ids=["unspecified", "associated", "unassociated"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_an_extra_sample_stays_what_it_is(colorizer: Colorizer, tmp_path: Path, dtype: str, kind_of: int) -> None:
    alpha = as_type(np.full((HEIGHT, WIDTH), 0.75), dtype)
    gray = as_type(as_unit(_grey(dtype)) * 0.75, dtype) if kind_of == 1 else _grey(dtype)
    source = _save(tmp_path / "a.tif", np.dstack([gray, alpha]))
    add_tags(source, {338: Tag(3, struct.pack("<H", kind_of))})
    colorizer.image(source, tmp_path / "b.tif")
    assert _directories(tmp_path / "b.tif")[0][338].numbers == [kind_of]
    result = _pixels(tmp_path / "b.tif")
    assert np.array_equal(result[..., 3], alpha)
    # associated colours are stored darker, so 8 bits hold fewer of them
    assert_lightness_kept(result[..., :3], _grey(dtype), 2.0 if kind_of == 1 else None)


def test_a_bigtiff_stays_one(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _save(tmp_path / "a.tif", _grey(), bigtiff=True)
    colorizer.image(source, tmp_path / "b.tif")
    assert (tmp_path / "b.tif").read_bytes()[:4] == source.read_bytes()[:4] == b"II+\0"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_the_tags_of_a_tiff_become_exif(colorizer: Colorizer, tmp_path: Path, suffix: str) -> None:
    source, target = tmp_path / "scan.tif", tmp_path / f"colour{suffix}"
    source.write_bytes(_archive_tiff(_grey("uint16")))
    colorizer.image(source, target)
    result = _load(target)
    for number, name in ((271, "Make"), (272, "Model"), (315, "Artist"), (33432, "Copyright"), (305, "Software")):
        assert result.get(f"exif-ifd0-{name}").startswith(WORDS[number])
    assert result.get("exif-ifd2-DateTimeOriginal").startswith("1931:05:01")
    assert result.get("exif-ifd2-ExposureTime").startswith("1/60")
    assert result.get("exif-ifd3-GPSLatitudeRef").startswith("N")
    assert result.get("exif-ifd0-ImageDescription").startswith("Aunt Emma; coloured by edgecolor")
    assert b"dc:source='Box 12'" in bytes(result.get("xmp-data"))
    if suffix == ".jpg":
        assert IPTC in bytes(result.get("iptc-data"))
    if suffix == ".avif":  # which cannot say how it is to be turned
        assert (result.height, result.width) == (WIDTH, HEIGHT)
    else:
        assert result.get("orientation") == 6


def test_exif_and_iptc_become_the_tags_of_a_tiff_and_come_back(colorizer: Colorizer, tmp_path: Path) -> None:
    photoshop = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC
    exif = {
        "exif-ifd0-Make": "Leica",
        "exif-ifd2-DateTimeOriginal": "1931:05:01 12:00:00",
        "exif-ifd0-ImageDescription": "Emma",
    }
    source = _save(tmp_path / "photo.jpg", _grey(), {**exif, "iptc-data": photoshop, "orientation": 8})
    colorizer.image(source, tmp_path / "colour.tif")
    (tags,) = _directories(tmp_path / "colour.tif")
    assert tags[271].data == b"Leica\0"
    assert tags[33723].data == IPTC
    assert tags[270].data.startswith(b"Emma; coloured by edgecolor")
    assert tags[34665].below is not None
    assert tags[34665].below[36867].data == b"1931:05:01 12:00:00\0"
    assert tags[274].numbers == [8]
    colorizer.image(tmp_path / "colour.tif", tmp_path / "again.jpg")
    again = _load(tmp_path / "again.jpg")
    assert IPTC in bytes(again.get("iptc-data"))
    assert again.get("exif-ifd0-Make").startswith("Leica")
    assert exif_tags(bytes(again.get("exif-data")))[34665].below is not None
    assert str(again.get("exif-ifd0-ImageDescription")).split(" (")[0].count("coloured by edgecolor") == 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_a_result_says_who_coloured_it_and_with_what(colorizer: Colorizer, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"colour{suffix}"
    colorizer.image(_save(tmp_path / "plain.png", _grey()), target)
    packet = bytes(_load(target).get("xmp-data")).decode()
    assert f"coloured by edgecolor {edgecolor.__version__} with fake fp32; colours are estimates" in packet
    assert "compositeWithTrainedAlgorithmicMedia" in packet


@pytest.mark.parametrize("length", [50_000, 59_990, 60_001, 100_000])
def test_a_packet_too_long_for_a_jpeg_leaves_the_note(colorizer: Colorizer, tmp_path: Path, length: int) -> None:
    """Also one that becomes too long by the note. Other formats hold any."""
    packet = XMP.replace(b"Box 12", b"Box 12" + b"x" * (length - len(XMP)))
    source = _save(tmp_path / "a.tif", _grey(), {"xmp-data": packet})
    for suffix in (".jpg", ".png", ".tif"):
        colorizer.image(source, tmp_path / f"b{suffix}")
        written = bytes(_load(tmp_path / f"b{suffix}").get("xmp-data"))
        assert b"coloured by edgecolor" in written
        assert b"compositeWithTrainedAlgorithmicMedia" in written
        assert (b"Box 12" in written) == (suffix != ".jpg" or length == 50_000)


def test_a_note_goes_into_a_packet_once() -> None:
    once = noted_xmp(XMP, 'by "us" & others')
    assert once.count(b"&quot;us&quot; &amp; others") == 1
    assert once.replace(once[once.index(b'<rdf:Description rdf:about=""') : once.index(b"</rdf:RDF>")], b"") == XMP
    assert noted_xmp(b"not RDF", "note") == b"not RDF"


def test_a_tag_that_is_too_long_for_exif_costs_no_other(colorizer: Colorizer, tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    source.write_bytes(_archive_tiff(_grey("uint16")))
    add_tags(source, {65000: Tag(7, bytes(70_000))})
    colorizer.image(source, tmp_path / "b.jpg")
    assert _load(tmp_path / "b.jpg").get("exif-ifd0-Make").startswith(WORDS[271])
    assert _load(tmp_path / "b.jpg").get("exif-ifd2-DateTimeOriginal").startswith("1931:05:01")


def test_a_kind_of_source_that_is_said_is_not_said_again() -> None:
    said = noted_xmp(XMP, "first")
    assert noted_xmp(said, "second").count(b"DigitalSourceType") == said.count(b"DigitalSourceType") == 1


# Pages


def _pages(path: Path, *pages: Path) -> Path:
    """One TIFF of several, by the tool that ships with the library; its result is checked by libvips."""
    from edgecolor._tiff import add_page

    path.write_bytes(pages[0].read_bytes())
    for page in pages[1:]:
        add_page(path, page)
    return path


def test_all_pages_are_coloured_each_with_its_size_depth_and_words(colorizer: Colorizer, tmp_path: Path, passage: str) -> None:
    grays = [scene(40, 60, "uint8"), scene(70, 50, "uint16", 1), scene(33, 44, "float32", 2), scene(20, 90, "uint8", 3)]
    singles = [
        _save(tmp_path / f"{n}.tif", gray, {"image-description": f"page {n}"}, compression=compression, xres=n + 1.0, yres=2.0)
        for n, (gray, compression) in enumerate(zip(grays, ("none", "lzw", "deflate", "none"), strict=True))
    ]
    source, target = _pages(tmp_path / f"{passage}.tif", *singles), tmp_path / "colour.tif"
    colorizer.image(source, target)
    assert _load(target).get("n-pages") == len(grays)
    for number, gray in enumerate(grays):
        page = _load(target, page=number)
        assert_lightness_kept(page.numpy(), gray)
        assert page.numpy().dtype == gray.dtype
        assert page.get("image-description").startswith(f"page {number}; coloured by")
        assert page.xres == pytest.approx(number + 1, rel=0.01)
    assert [tags[259].numbers for tags in _directories(target)] == [[1], [5], [8], [1]]


def test_only_one_page_is_held_at_once(colorizer: Colorizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[_source.Source] = []

    def open_source(path: Path) -> _source.Source:
        opened.append(_source.open_source(path))
        return opened[0]

    monkeypatch.setattr(_image, "open_source", open_source)
    single = _save(tmp_path / "1.tif", _grey())
    held: list[int] = []
    colorizer.image(
        _pages(tmp_path / "a.tif", single, single, single),
        tmp_path / "b.tif",
        progress=lambda _: held.append(sum("_held" in vars(page) for page in opened[0].pages)),
    )
    assert max(held) == 1


def test_pages_with_pyramids_stay_pages_with_pyramids(colorizer: Colorizer, tmp_path: Path) -> None:
    options: dict[str, Any] = {"tile": True, "tile_width": 128, "tile_height": 128, "pyramid": True, "subifd": True}
    grays = [scene(300, 400, seed=1), scene(280, 260, seed=2)]
    source = _pages(tmp_path / "a.tif", *(_save(tmp_path / f"{n}.tif", gray, **options) for n, gray in enumerate(grays)))
    colorizer.image(source, tmp_path / "b.tif")
    for number, gray in enumerate(grays):
        assert_lightness_kept(_pixels(tmp_path / "b.tif", page=number), gray)
        smaller = _load(tmp_path / "b.tif", page=number, subifd=0)
        assert smaller.height == gray.shape[0] // 2
        assert np.abs(lab(smaller.numpy())[..., 0].mean() - lab(gray)[..., 0].mean()) < 2


def test_pages_do_not_fit_into_a_format_of_one(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _pages(tmp_path / "a.tif", _save(tmp_path / "1.tif", _grey()), _save(tmp_path / "2.tif", _grey()))
    with pytest.raises(ImageError, match=r"a\.tif has 2 pages, \.jpg holds one"):
        colorizer.image(source, tmp_path / "b.jpg")


def _frames(path: Path, count: int) -> Path:
    import pyvips

    frames = [pyvips.Image.new_from_array(_grey(seed=seed)) for seed in range(count)]
    _save(path, pyvips.Image.arrayjoin(frames, across=1).numpy(), {"page-height": HEIGHT})
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".avif"])
def test_frames_that_would_be_lost_are_named(colorizer: Colorizer, tmp_path: Path, suffix: str) -> None:
    source = _frames(tmp_path / f"a{suffix}", 3)
    told = rf"a\{suffix} holds 3 frames, of which only the first would be coloured; write the one you want .*edgecolor video"
    with pytest.raises(ImageError, match=told):
        colorizer.image(source, tmp_path / "b.tif")
    _only(tmp_path, source.name)


def test_an_animated_png_is_named_and_one_that_stands_still_is_not(colorizer: Colorizer, tmp_path: Path) -> None:
    still = _save(tmp_path / "a.png", _grey()).read_bytes()
    head = 8 + 25  # the mark, and IHDR, which comes first
    for count in (1, 3):
        chunk = _chunk(b"acTL", struct.pack(">II", count, 0))
        (tmp_path / "a.png").write_bytes(still[:head] + chunk + still[head:])
        if count == 1:
            colorizer.image(tmp_path / "a.png", tmp_path / "b.png")
            continue
        with pytest.raises(ImageError, match=r"a\.png holds 3 frames"):
            colorizer.image(tmp_path / "a.png", tmp_path / "c.png")


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".avif"])
def test_one_frame_is_a_picture(tmp_path: Path, suffix: str) -> None:
    """Also with alpha, which is a picture of its own within an AVIF."""
    assert read_picture(_frames(tmp_path / f"a{suffix}", 1)).shape[:2] == (HEIGHT, WIDTH)
    alpha = _save(tmp_path / f"b{suffix}", np.dstack([*[_grey()] * 3, _grey(seed=1)]))
    page = open_source(alpha).pages[0]
    assert page.has_alpha
    assert page.size == (HEIGHT, WIDTH)


def test_directories_that_go_round_are_damage(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _pages(tmp_path / "a.tif", _save(tmp_path / "1.tif", _grey()), _save(tmp_path / "2.tif", _grey()))
    content = bytearray(source.read_bytes())
    first = struct.unpack_from("<I", content, 4)[0]
    second = struct.unpack_from("<I", content, first + 2 + 12 * struct.unpack_from("<H", content, first)[0])[0]
    struct.pack_into("<I", content, second + 2 + 12 * struct.unpack_from("<H", content, second)[0], first)
    source.write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.tif .* damaged: its directory 2 leads back to one before it"):
        colorizer.image(source, tmp_path / "b.tif")
    assert not (tmp_path / "b.tif").exists()


def test_exif_that_leads_back_is_none(colorizer: Colorizer, tmp_path: Path) -> None:
    content = bytearray(_archive_tiff(_grey("uint16"), "<"))
    first = content[4:8]
    for number in (34665, 34853):
        place = content.index(struct.pack("<HHI", number, 4, 1)) + 8
        content[place : place + 4] = first
    (tmp_path / "a.tif").write_bytes(content)
    colorizer.image(tmp_path / "a.tif", tmp_path / "b.tif")
    (tags,) = _directories(tmp_path / "b.tif")
    assert tags[34665].below == tags[34853].below == {}
    assert tags[315].data == b"I. Bing\0"
    colorizer.image(tmp_path / "a.tif", tmp_path / "b.jpg")
    assert _load(tmp_path / "b.jpg").get("exif-ifd0-Artist").startswith("I. Bing")


def test_an_exif_block_that_leads_back_is_none() -> None:
    block = bytearray(exif_block({315: Tag(2, b"I. Bing\0"), 34665: Tag(4, bytes(4), {36867: Tag(2, b"1931\0")})}))
    first, place = block[10:14], block.index(struct.pack("<HHI", 34665, 4, 1)) + 8
    block[place : place + 4] = first
    tags = exif_tags(bytes(block))
    assert tags[315].data == b"I. Bing\0"
    assert tags[34665].below == {}


def test_directories_below_directories_come_to_an_end() -> None:
    """Three ways on from each of 40: as many paths as no reader ever comes to the end of."""
    size = 2 + 3 * 12 + 4
    chain = b""
    for number in range(40):
        onward = struct.pack("<I", 8 + (number + 1) * size)
        lines = b"".join(struct.pack("<HHI", tag, 4, 1) + onward for tag in (34665, 34853, 40965))
        chain += struct.pack("<H", 3) + lines + bytes(4)
    before = time.monotonic()
    assert 34665 in exif_tags(b"II*\0" + struct.pack("<I", 8) + chain + bytes(size))
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("number", [254, 255])
def test_a_kind_of_page_without_a_value_is_none(tmp_path: Path, number: int) -> None:
    source = _save(tmp_path / "a.tif", _grey())
    add_tags(source, {number: Tag(3, b"")})
    assert np.array_equal(read_picture(source), _grey())


def test_an_unreadable_page_is_named_and_leaves_nothing(colorizer: Colorizer, tmp_path: Path, passage: str) -> None:
    singles = [_save(tmp_path / f"{n}.tif", _grey(seed=n), compression="deflate") for n in range(5)]
    source = _pages(tmp_path / f"{passage}.tif", *singles)
    content = bytearray(source.read_bytes())
    broken = singles[2].read_bytes()
    strip = content.index(broken[8:200])
    content[strip + 20 : strip + 120] = bytes(100)
    source.write_bytes(content)
    for single in singles:
        single.unlink()
    with pytest.raises(ImageError, match=rf"page 3 of 5 of .*{passage}\.tif is not a picture that can be read, or is damaged"):
        colorizer.image(source, tmp_path / "colour.tif", confidence=tmp_path / "sure.png")
    _only(tmp_path, f"{passage}.tif")
    assert source.read_bytes() == content


# Confidence


@pytest.mark.parametrize("options", [{}, {"tile": True}, {"compression": "deflate"}, {"compression": "jpeg"}])
@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_a_way_to_lie_that_does_not_exist_is_upright(
    colorizer: Colorizer, tmp_path: Path, options: dict[str, Any], orientation: int
) -> None:
    source = _save(tmp_path / "a.tif", _grey(), {"orientation": 1}, **options)
    upright = _pixels(source)
    data = bytearray(source.read_bytes())
    place = data.index(struct.pack("<HHI", 274, 3, 1)) + 8
    data[place : place + 2] = struct.pack("<H", orientation)
    source.write_bytes(data)
    colorizer.image(source, tmp_path / "colour.tif", compression="deflate")
    assert_lightness_kept(_pixels(tmp_path / "colour.tif"), upright)


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_confidence_lies_beside(colorizer: Colorizer, tmp_path: Path, orientation: int) -> None:
    source = _save(tmp_path / "a.tif", _grey(), {"orientation": orientation})
    colorizer.image(source, tmp_path / "b.tif", confidence=tmp_path / "sure.png")
    sure = _pixels(tmp_path / "sure.png").squeeze()
    size = (HEIGHT, WIDTH) if orientation == 1 else (WIDTH, HEIGHT)
    assert sure.shape == size
    assert sure[:, 0] == pytest.approx(np.full(size[0], 0.2 * 255), abs=5)  # the fake is surer to the right
    assert sure[:, -1] == pytest.approx(np.full(size[0], 0.8 * 255), abs=5)


def test_every_page_has_its_confidence(colorizer: Colorizer, tmp_path: Path) -> None:
    source = _pages(tmp_path / "a.tif", _save(tmp_path / "1.tif", _grey()), _save(tmp_path / "2.tif", _grey()))
    colorizer.image(source, tmp_path / "b.tif", confidence=tmp_path / "sure.png")
    assert sorted(path.name for path in tmp_path.glob("sure*")) == ["sure-1.png", "sure-2.png"]


@pytest.mark.parametrize("taken", ["source", "target", "page"])
def test_the_confidence_is_written_over_nothing(colorizer: Colorizer, tmp_path: Path, taken: str) -> None:
    single = _save(tmp_path / "1.tif", _grey())
    source = _pages(tmp_path / "sure-2.tif", single, single) if taken == "page" else single
    content, target = source.read_bytes(), tmp_path / "b.tif"
    (tmp_path / "link.tif").symlink_to(source)
    path = {"source": tmp_path / "link.tif", "target": tmp_path / ".." / tmp_path.name / "b.tif", "page": tmp_path / "sure.tif"}
    words = re.escape(f"the {'result' if taken == 'target' else 'source'}, {target if taken == 'target' else source}")
    with pytest.raises(ImageError, match=rf"the confidence cannot go to .*, which is {words}; give it another name"):
        colorizer.image(source, target, confidence=path[taken])
    assert source.read_bytes() == content
    assert not target.exists()


def test_a_page_that_fails_leaves_no_confidence_of_those_before(colorizer: Colorizer, tmp_path: Path) -> None:
    good = _save(tmp_path / "1.tif", _grey())
    bad = _save(tmp_path / "2.tif", as_type(_grey("float32") - 2, "float32"))
    source = _pages(tmp_path / "a.tif", good, good, bad)
    with pytest.raises(ImageError, match="float picture"):
        colorizer.image(source, tmp_path / "b.tif", confidence=tmp_path / "sure.png")
    _only(tmp_path, "1.tif", "2.tif", "a.tif")


def test_a_map_of_confidence_is_as_large_as_anyone_looks_at(colorizer: Colorizer, tmp_path: Path) -> None:
    colorizer.image(_save(tmp_path / "a.png", scene(20, 6000)), tmp_path / "b.png", confidence=tmp_path / "sure.png")
    assert _pixels(tmp_path / "sure.png").shape[:2] == (14, 4096)
    colorizer.image(_save(tmp_path / "a.png", scene(20, 4000)), tmp_path / "b.png", confidence=tmp_path / "sure.png")
    assert _pixels(tmp_path / "sure.png").shape[:2] == (20, 4000)


def test_every_page_s_confidence_is_its_own(tmp_path: Path) -> None:
    class Dim(FakeEngine):
        """Surer where it is lighter."""

        def run(self, planes: Any, *outputs: Any) -> Any:
            answers = super().run(planes, *outputs)
            answers[0][:, 2] = planes[0, 0].mean() / 100
            return answers

    singles = [_save(tmp_path / f"{level}.tif", np.full((HEIGHT, WIDTH), level, np.uint8)) for level in (50, 200)]
    Colorizer(Dim(), fake_model()).image(
        _pages(tmp_path / "a.tif", *singles), tmp_path / "b.tif", confidence=tmp_path / "c.png"
    )
    for number, level in ((1, 50), (2, 200)):
        lightness = lab(np.full((1, 1), level, np.uint8))[0, 0, 0]
        assert _pixels(tmp_path / f"c-{number}.png").mean() == pytest.approx(2.55 * lightness, abs=1)


# What can go wrong


def _of_longs(lines: list[tuple[int, int]]) -> bytes:
    """A TIFF that is a directory and nothing else."""
    body = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in lines)
    return b"II*\0" + struct.pack("<IH", 8, len(lines)) + body + bytes(4)


def _claims(width: int, height: int) -> bytes:
    """A TIFF of one strip, all of it missing, that claims a size."""
    sizes = [(256, width), (257, height), (258, 8), (259, 1), (262, 1)]
    return _of_longs([*sizes, (273, 4000), (277, 1), (278, height), (279, 100)])


def _in_tiles(gray: Picture, side: int, pack: Callable[[bytes], bytes], compression: int) -> bytes:
    """A TIFF of tiles whose directory comes first, so that a file that is cut still claims all of them."""
    height, width = (-(-length // side) for length in gray.shape)
    full = np.pad(gray, [(0, height * side - gray.shape[0]), (0, width * side - gray.shape[1])])
    tiles = [pack(part.tobytes()) for band in np.split(full, height) for part in np.split(band, width, axis=1)]
    lengths = [len(tile) for tile in tiles]
    count, start = len(tiles), 8 + 2 + 10 * 12 + 4
    places = np.cumsum([start + 8 * count, *lengths[:-1]])
    lines = [(256, 1, gray.shape[1]), (257, 1, gray.shape[0]), (258, 1, 8 * gray.itemsize), (259, 1, compression), (262, 1, 1)]
    lines += [(277, 1, 1), (322, 1, side), (323, 1, side), (324, count, start), (325, count, start + 4 * count)]
    body = b"".join(struct.pack("<HHII", number, 4, values, value) for number, values, value in lines)
    head = b"II*\0" + struct.pack("<IH", 8, len(lines)) + body + bytes(4)
    return head + np.array([*places, *lengths], "<u4").tobytes() + b"".join(tiles)


def test_a_bomb_is_refused_by_what_it_claims(colorizer: Colorizer, tmp_path: Path) -> None:
    source = tmp_path / "bomb.tif"
    source.write_bytes(_claims(10**6, 10**6))
    with pytest.raises(ImageError, match=rf"claims 1000000 by 1000000 pixels, more than {PIXELS_MAX:,}"):
        colorizer.image(source, tmp_path / "colour.tif")
    _only(tmp_path, "bomb.tif")


@pytest.mark.parametrize("size", [(10**6, 10**4), (10**4, 10**6)])
def test_a_large_claim_takes_no_memory(colorizer: Colorizer, tmp_path: Path, size: tuple[int, int]) -> None:
    source = tmp_path / "claim.tif"
    source.write_bytes(_claims(*size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="damaged"):
        colorizer.image(source, tmp_path / "colour.tif")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    _only(tmp_path, "claim.tif")


@pytest.mark.parametrize("size", [(140_000, 140_000), (10**6, 10**4)])
def test_a_large_claim_of_tiles_is_damage_soon(colorizer: Colorizer, tmp_path: Path, size: tuple[int, int]) -> None:
    source = tmp_path / "claim.tif"
    sizes = [(256, size[0]), (257, size[1]), (258, 8), (259, 8), (262, 1), (277, 1)]
    source.write_bytes(_of_longs([*sizes, (322, 256), (323, 256), (324, 4000), (325, 9)]))
    before = time.monotonic()
    with pytest.raises(ImageError, match=r"claim\.tif .*damaged"):
        colorizer.image(source, tmp_path / "colour.tif")
    assert time.monotonic() - before < 10
    _only(tmp_path, "claim.tif")


@pytest.mark.parametrize("tag", [(65000, 7, 4), (271, 2, 4), (65001, 99, 1), (256, 4, 1), (282, 4, 1)])
def test_tiles_with_tags_that_libtiff_warns_of_are_read(tmp_path: Path, tag: tuple[int, int, int]) -> None:
    """An unknown one, words without an end, an unknown type, one that is there twice, one of a wrong type."""
    gray = scene(64, 96)
    whole = _in_tiles(gray, 32, bytes, 1)
    count = struct.unpack_from("<H", whole, 8)[0]
    lines = whole[10 : 10 + 12 * count] + struct.pack("<HHI4s", *tag, struct.pack("<I", 96))
    end = len(whole)
    directory = struct.pack("<H", count + 1) + lines + bytes(4)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", end) + whole[8:] + directory)
    assert np.array_equal(read_picture(tmp_path / "a.tif"), gray)


def _damaged() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Files that are wrong only far behind their beginning."""
    gray = scene(400, 500, "uint16")

    def cut(path: Path, share: float, **options: Any) -> None:
        _save(path, gray, **options)
        content = path.read_bytes()
        path.write_bytes(content[: round(len(content) * share)])

    def stirred(path: Path, pixels: Picture = gray, **options: Any) -> None:
        _save(path, pixels, **options)
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 400] = bytes(400)
        path.write_bytes(content)

    def cut_tiles(path: Path, pack: Callable[[bytes], bytes], compression: int) -> None:
        whole = _in_tiles(gray, 128, pack, compression)
        path.write_bytes(whole[: round(0.7 * len(whole))])

    def blank_tiles(compression: str, path: Path) -> None:
        pixels = scene(400, 500) if compression == "jpeg" else gray
        _save(path, pixels, tile=True, tile_width=128, tile_height=128, compression=compression)
        content = bytearray(path.read_bytes())
        third = len(content) // 3
        content[third : 2 * third] = bytes(third)
        path.write_bytes(content)

    yield "cut.tif", lambda path: cut(path, 0.7)
    yield "cut-lzw.tif", lambda path: cut(path, 0.7, compression="lzw")
    yield "cut.png", lambda path: cut(path, 0.7)
    yield "stirred-lzw.tif", lambda path: stirred(path, compression="lzw")
    yield "stirred.png", stirred
    for rows in (16, 64, 128):
        yield f"stirred-jpeg-{rows}.tif", partial(stirred, pixels=scene(400, 500), compression="jpeg", tile_height=rows)
    yield "cut-tiles.tif", lambda path: cut_tiles(path, bytes, 1)
    yield "cut-tiles-deflate.tif", lambda path: cut_tiles(path, zlib.compress, 8)
    for compression in ("lzw", "deflate", "packbits", "jpeg"):
        yield f"blank-tiles-{compression}.tif", partial(blank_tiles, compression)


@pytest.mark.parametrize(("name", "make"), list(_damaged()), ids=lambda value: value if isinstance(value, str) else "")
def test_damage_far_inside_is_named_and_leaves_nothing(
    colorizer: Colorizer, tmp_path: Path, passage: str, name: str, make: Callable[[Path], None]
) -> None:
    source = tmp_path / name
    make(source)
    content = source.read_bytes()
    (tmp_path / "colour.tif").write_bytes(passage.encode())
    with pytest.raises(ImageError, match="damaged"):
        colorizer.image(source, tmp_path / "colour.tif")
    assert (tmp_path / "colour.tif").read_bytes() == passage.encode()
    assert source.read_bytes() == content
    _only(tmp_path, name, "colour.tif")


@pytest.mark.parametrize("tile", [False, True])
@pytest.mark.parametrize("bands", [1, 3])
def test_jpeg_with_tags_that_nobody_knows_is_read(tmp_path: Path, bands: int, tile: bool) -> None:  # noqa: FBT001
    gray = scene(300, 400)
    options: dict[str, Any] = {"tile": True, "tile_width": 128, "tile_height": 128} if tile else {"tile_height": 16}
    source = _save(tmp_path / "a.tif", gray if bands == 1 else tripled(gray), compression="jpeg", **options)
    add_tags(source, {65000: Tag(7, b"private"), 65001: Tag(4, bytes(8)), 271: Tag(2, b"no end")})
    assert np.abs(read_picture(source).astype(float) - (gray if bands == 1 else tripled(gray))).mean() < 10


def test_damage_of_jpeg_says_no_more_than_is_known(tmp_path: Path, passage: str) -> None:
    source = _save(tmp_path / f"{passage}.tif", scene(400, 500), compression="jpeg", tile_height=64)
    content = bytearray(source.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = bytes(400)
    source.write_bytes(content)
    with pytest.raises(ImageError, match="or is damaged: its pixels cannot be unpacked"):
        read_picture(source)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_every_page_of_jpeg_is_its_own(tmp_path: Path, passage: str, bigtiff: bool) -> None:  # noqa: FBT001
    grays = [scene(300, 400, seed=seed) for seed in range(3)]
    singles = [
        _save(tmp_path / f"{n}.tif", gray, compression="jpeg", tile_height=16, bigtiff=bigtiff, Q=95)
        for n, gray in enumerate(grays)
    ]
    for single in singles:
        add_tags(single, {271: Tag(2, b"no end, in a place of its own")})
    for page, gray in zip(open_source(_pages(tmp_path / f"{passage}.tif", *singles)).pages, grays, strict=True):
        pixels = np.concatenate([strip.luma.picture for strip in page.strips()])
        assert np.abs(pixels.astype(float) - gray).mean() < 10


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_bare_page_is_the_file_but_for_its_words(tmp_path: Path, order: Literal["<", ">"]) -> None:
    gray = _grey("uint16")
    path = tmp_path / "a.tif"
    path.write_bytes(_archive_tiff(gray, order))
    page = BarePage(path, 0)
    parts = list(iter(lambda: page.read(97), b""))
    assert (page.seek(0, os.SEEK_CUR), page.seek(-3, os.SEEK_END)) == (path.stat().st_size, path.stat().st_size - 3)
    bare = tmp_path / "b.tif"
    bare.write_bytes(b"".join(parts))
    tags, whole = _directories(bare)[0], _directories(path)[0]
    assert tags == {number: whole[number] for number in (256, 257, 258, 259, 262, 277, 278, 279)}
    assert np.array_equal(read_picture(bare), gray)
    path.unlink()
    assert page.read(3) == b""


def test_a_pipe_is_not_waited_for(colorizer: Colorizer, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tif")
    both = os.open(tmp_path / "a.tif", os.O_RDWR)  # so that who opens it all the same does not hang
    os.write(both, b"II*\0")
    with pytest.raises(
        SourceError, match=r"cannot read .*a\.tif: it is a pipe or device; write what comes out of it to a file"
    ):
        colorizer.image(tmp_path / "a.tif", tmp_path / "b.tif")
    os.close(both)
    _only(tmp_path, "a.tif")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, Linux's disk that is always full")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif"])
@pytest.mark.parametrize("free", [0, 1 << 30])
def test_a_full_disk_is_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, free: int) -> None:
    Usage = type(shutil.disk_usage(tmp_path))  # noqa: N806
    (tmp_path / f"partial{suffix}").symlink_to("/dev/full")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, free))
    target, pixels = tmp_path / f"b{suffix}", tripled(scene(300, 400))
    with (
        pytest.raises(SourceError, match="cannot write") as told,
        writing(Result(target, (300, 400), "uint8", 3, b""), tmp_path / f"partial{suffix}") as write,
    ):
        write(pixels)
    assert (str(told.value) == f"cannot write {target}: No space left on device") == (free == 0)


@pytest.mark.parametrize(("kind_of", "suffix"), [("png", ".tif"), ("tif", ".tif"), ("png", ".png"), ("png", ".jpg")])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, kind_of: str, suffix: str) -> None:
    """The kernel refuses to let the process's files grow, as it does where no space is left."""
    source = _save(tmp_path / f"scan.{kind_of}", scene(700, 900))
    code = f"""
import resource, signal, sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
from fakes import fake_colorizer
import edgecolor
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    fake_colorizer().image({str(source)!r}, {str(tmp_path / f"colour{suffix}")!r})
except edgecolor.SourceError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert "cannot write" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1
    _only(tmp_path, source.name)


def test_killed_at_any_moment_nothing_half_is_left(tmp_path: Path) -> None:
    """What a killed run leaves behind has a name of its own, and the next run uses it up."""
    source = _save(tmp_path / "scan.tif", scene(1500, 2000, "uint16"))
    content = source.read_bytes()
    target = tmp_path / "out" / "colour.tif"
    target.parent.mkdir()
    code = f"""
import os, sys
sys.path[:0] = [{str(REPOSITORY)!r}, {str(REPOSITORY / "tests")!r}]
import edgecolor._image, edgecolor._target, pyvips
from fakes import fake_colorizer
for _ in sys.stdin:  # a child for every line, so that the runtime is loaded once
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        fake_colorizer().image({str(source)!r}, {str(target)!r})
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""
    random = np.random.default_rng(5)
    server = subprocess.Popen(  # noqa: S603
        [sys.executable, "-W", "ignore", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    whole = 0
    with server:
        for _ in range(20):
            server.stdin.write("\n")
            server.stdin.flush()
            child = int(server.stdout.readline())
            time.sleep(random.uniform(0, 0.4))
            with suppress(ProcessLookupError):  # on a quick machine some come to their end before
                os.kill(child, signal.SIGKILL)
            assert server.stdout.readline() == "gone\n"
            if target.exists():
                assert_lightness_kept(_pixels(target)[::50], scene(1500, 2000, "uint16")[::50])
                whole += 1
                target.unlink()
            assert len(list(target.parent.iterdir())) <= 1
        server.stdin.close()
    assert whole < 20, "some runs must have been killed before their end"
    assert source.read_bytes() == content
    fake_colorizer().image(source, target)
    _only(target.parent, "colour.tif")


def test_who_writes_is_not_disturbed(colorizer: Colorizer, tmp_path: Path) -> None:
    from edgecolor._files import whole_file

    source, target = _save(tmp_path / "a.tif", _grey()), tmp_path / "b.tif"
    with whole_file(target) as partial:
        partial.write_bytes(b"mine")
        with pytest.raises(SourceError, match=r"b\.tif: another process is writing it"):
            colorizer.image(source, target)
        assert partial.read_bytes() == b"mine"
    assert target.read_bytes() == b"mine"


def test_the_picture_read_for_an_explanation_is_upright_srgb(tmp_path: Path) -> None:
    data, curve = CURVES["gamma 1.8"]
    gray = _grey("uint16")
    source = _save(tmp_path / "a.tif", gray, {"icc-profile-data": _profile(data), "orientation": 6})
    picture = read_picture(source)
    assert picture.shape == (WIDTH, HEIGHT)
    assert srgb_to_linear(as_unit(picture)) == pytest.approx(np.rot90(curve(as_unit(gray)), -1), abs=1e-4)


@pytest.mark.parametrize("region", [np.ones((HEIGHT, WIDTH), np.uint8), np.ones((HEIGHT, WIDTH))], ids=["uint8", "float64"])
def test_a_region_of_another_type_is_named(colorizer: Colorizer, tmp_path: Path, region: Any) -> None:
    with pytest.raises(ImageError, match=f"a region must be a bool array of shape .*, got {region.dtype}"):
        colorizer.image(_save(tmp_path / "a.tif", _grey()), tmp_path / "b.tif", region=region)
    _only(tmp_path, "a.tif")
