from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from fakes import Picture, as_type, as_unit, fake_colorizer, lab, layouts, scene, tripled

from edgecolor import ImageError
from edgecolor._color import lightness_to_luminance
from edgecolor._luma import DTYPES, read_luma

SHAPES: dict[str, tuple[int, ...]] = {"(H, W)": (9, 14), "(H, W, 1)": (9, 14, 1), "(H, W, 3)": (9, 14, 3)}


def _picture(dtype: str, shape: tuple[int, ...]) -> Picture:
    return as_type(np.random.default_rng(0).random(shape), dtype)


def _floats(value: float) -> Picture:
    picture = np.full((4, 5), 0.5, np.float32)
    picture[2, 3] = value
    return picture


BAD: dict[str, tuple[Any, str]] = {
    "None": (None, "got None"),
    "object": (np.full((4, 5), None), "object"),
    "text": (np.array([["a", "b"]]), "<U1"),
    "complex": (np.zeros((4, 5), np.complex64), "complex64"),
    "bool": (np.zeros((4, 5), bool), "bool"),
    "int8": (np.zeros((4, 5), np.int8), "int8"),
    "int32": (np.zeros((4, 5), np.int32), "int32"),
    "uint32": (np.zeros((4, 5), np.uint32), "uint32"),
    "float16": (np.zeros((4, 5), np.float16), "float16"),
    "float64": (np.zeros((4, 5)), "float64"),
    "NaN": (_floats(np.nan), "NaN"),
    "infinity": (_floats(np.inf), "infinity"),
    "minus infinity": (_floats(-np.inf), "infinity"),
    "above 1": (_floats(255), "[0.5, 255]"),
    "below 0": (_floats(-0.25), "[-0.25, 0.5]"),
    "big-endian NaN": (_floats(np.nan).astype(">f4"), "NaN"),
    "big-endian above 1": (_floats(255).astype(">f4"), "[0.5, 255]"),
    "no axis": (np.array(7, np.uint8), "()"),
    "one axis": (np.zeros(5, np.uint8), "(5,)"),
    "four axes": (np.zeros((2, 4, 5, 3), np.uint8), "(2, 4, 5, 3)"),
    "two channels": (np.zeros((4, 5, 2), np.uint8), "(4, 5, 2)"),
    "four channels": (np.zeros((4, 5, 4), np.uint8), "(4, 5, 4)"),
    "no channels": (np.zeros((4, 5, 0), np.uint8), "(4, 5, 0)"),
    "no rows": (np.zeros((0, 5), np.uint8), "(0, 5)"),
    "no columns": (np.zeros((4, 0, 3), np.float32), "(4, 0, 3)"),
}


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_layout_holds_the_same_picture(dtype: str, shape: str, layout: str) -> None:
    picture = _picture(dtype, SHAPES[shape])
    luma = read_luma(layouts()[layout](picture))
    luminance, root = luma.rows(2, 7)
    assert luma.size == (9, 14)
    assert luma.picture.dtype == np.dtype(dtype)
    assert luminance.shape == root.shape == (5, 14)
    assert luminance.dtype == root.dtype == np.float32
    assert luminance == pytest.approx(lightness_to_luminance(lab(picture)[2:7, :, 0]), abs=1e-6)
    assert 116 * root - 16 == pytest.approx(lab(picture)[2:7, :, 0], abs=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_grey_in_any_shape_is_one_picture(dtype: str) -> None:
    gray = scene(40, 30, dtype)
    flat, deep, rgb = read_luma(gray), read_luma(gray[..., None]), read_luma(tripled(gray))
    assert np.array_equal(flat.picture, deep.picture)
    assert np.array_equal(flat.picture, rgb.picture)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_differing_pixel_makes_a_colour_picture(channel: int) -> None:
    rgb = tripled(scene(20, 30))
    rgb[7, 5, channel] ^= 1
    assert read_luma(rgb).picture.shape == (20, 30, 3)


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_named(name: str) -> None:
    array, value = BAD[name]
    with pytest.raises(ImageError, match=re.escape(value)):
        read_luma(array)


@pytest.mark.parametrize("dtype", ["int32", "float64", "bool"])
def test_a_wrong_number_type_comes_with_a_remedy(dtype: str) -> None:
    with pytest.raises(ImageError, match=r"astype\('float32'\)"):
        read_luma(np.zeros((4, 5), dtype))


def test_floats_may_overshoot_by_rounding() -> None:
    picture = np.array([[-5e-5, 1 + 5e-5]], np.float32)
    assert read_luma(picture).picture.tolist() == [[0, 1]]


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_input_is_never_changed(dtype: str, shape: str, layout: str) -> None:
    picture = layouts()[layout](_picture(dtype, SHAPES[shape]))
    before = picture.copy()
    fake_colorizer()(picture)
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_shrinking_averages_every_pixel(dtype: str) -> None:
    checkers = as_type((np.indices((640, 960)).sum(0) % 2).astype(float), dtype)
    small = read_luma(checkers).lightness(64, 96)
    assert small.shape == (64, 96)
    assert small.dtype == np.float32
    assert small == pytest.approx(lab(np.full((64, 96), 0.5, np.float32))[..., 0], abs=0.3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 5)])
def test_enlarging_stays_in_range(size: tuple[int, int], dtype: str) -> None:
    picture = as_type(np.random.default_rng(0).integers(0, 2, size).astype(float), dtype)
    large = read_luma(picture).lightness(96, 64)
    assert large.min() >= 0
    assert large.max() <= 100.01


def test_every_code_has_its_own_lightness() -> None:
    codes = np.arange(65536, dtype=np.uint16)[None]
    luminance, root = read_luma(codes).rows(0, 1)
    assert (np.diff(luminance[0]) > 0).all()
    assert luminance[0, [0, -1]].tolist() == [0, 1]
    assert 116 * root.astype(np.float64) - 16 == pytest.approx(lab(as_unit(codes))[..., 0], abs=1e-4)


@pytest.mark.parametrize("value", [-0.001, 1.001])
def test_floats_may_overshoot_by_no_more_than_rounding(value: float) -> None:
    with pytest.raises(ImageError, match="a float picture must lie in"):
        read_luma(_floats(value))
