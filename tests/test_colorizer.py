from __future__ import annotations

import copy
import hashlib
import importlib.util
import pickle
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import (
    AREA,
    PHOTOS,
    FakeEngine,
    Picture,
    as_type,
    assert_lightness_kept,
    fake_colorizer,
    fake_model,
    lab,
    layouts,
    mean_error,
    pixels_of,
    run_python,
    scene,
    tripled,
)

import edgecolor
from edgecolor import EngineBuildError, EngineUnavailableError, Hint, ImageError, UnknownModelError
from edgecolor._engine import open_engine
from edgecolor._grid import grid_size
from edgecolor._luma import DTYPES
from edgecolor._models import ShippedFile
from edgecolor._planes import Coding, grey_of_frame

SHAPES: dict[str, tuple[int, ...]] = {"(H, W)": (60, 90), "(H, W, 1)": (60, 90, 1), "(H, W, 3)": (60, 90, 3)}
SIZES = [(1, 1), (1, 2), (2, 1), (1, 700), (700, 1), (31, 33), (479, 853), (853, 479)]


def _chroma(picture: Picture) -> float:
    return float(np.hypot(*np.moveaxis(lab(picture)[..., 1:], -1, 0)).mean())


# What comes back


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_picture_comes_back_in_its_dtype_as_rgb(dtype: str, shape: str) -> None:
    picture = as_type(np.random.default_rng(0).random(SHAPES[shape]), dtype)
    result = fake_colorizer()(picture)
    assert result.shape == (60, 90, 3)
    assert result.dtype == np.dtype(dtype)
    assert result.flags.c_contiguous
    assert_lightness_kept(result, picture)


@pytest.mark.parametrize("layout", layouts())
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_memory_layout_changes_nothing(dtype: str, layout: str) -> None:
    picture = scene(60, 90, dtype)
    assert np.array_equal(fake_colorizer()(layouts()[layout](picture)), fake_colorizer()(picture))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_coloured(colorizer: edgecolor.Colorizer, size: tuple[int, int], dtype: str) -> None:
    picture = scene(*size, dtype)
    answer = colorizer.predict(picture)
    assert answer.image.shape == (*size, 3)
    assert answer.confidence.shape == size
    assert_lightness_kept(answer.image, picture)


@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_stay(colorizer: edgecolor.Colorizer, level: int) -> None:
    assert (colorizer(np.full((50, 40), level, np.uint8)) == level).all()


def test_the_network_sees_the_grid_and_no_hints() -> None:
    engine = FakeEngine()
    edgecolor.Colorizer(engine, fake_model())(scene(479, 853))
    (planes,), (outputs,) = engine.planes, engine.outputs
    assert planes.shape == (1, 4, *grid_size(479, 853, AREA))
    assert planes.dtype == np.float32
    assert planes[0, 0].min() >= 0
    assert 50 < planes[0, 0].max() <= 100
    assert not planes[0, 1:].any()
    assert outputs == ("colors",)


def test_the_network_sees_every_hint() -> None:
    engine = FakeEngine()
    hints = [Hint(10, 10, "teal"), Hint(70, 40, "#8a2f2f", path=((80, 50),))]
    edgecolor.Colorizer(engine, fake_model()).predict(scene(60, 90), hints=hints)
    trust = engine.planes[0][0, 3]
    spots = [(int(y / 60 * trust.shape[0]), int(x / 90 * trust.shape[1])) for x, y in ((10, 10), (70, 40), (80, 50))]
    assert [trust[spot] for spot in spots] == [1, 1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_engine_without_chroma_gives_the_grey_back(dtype: str) -> None:
    picture = scene(60, 90, dtype)
    assert fake_colorizer(0)(picture) == pytest.approx(tripled(picture), abs=0 if dtype != "float32" else 1e-6)


def test_the_chroma_is_the_engine_s() -> None:
    result = lab(fake_colorizer(15)(np.full((256, 256), 0.6, np.float32)))
    x = (np.arange(256) + 0.5) / 256
    inside = np.s_[12:-12, 12:-12]  # at the border the guide's windows lean inward
    a, b = np.tile(15 * np.sin(2 * np.pi * x), (256, 1)), np.tile(15 * np.cos(2 * np.pi * x), (256, 1)).T
    assert result[..., 1][inside] == pytest.approx(a[inside], abs=0.1)
    assert result[..., 2][inside] == pytest.approx(b[inside], abs=0.1)


def test_a_colour_picture_gives_what_its_lightness_gives(
    colorizer: edgecolor.Colorizer, photographs: dict[str, Picture], greys: dict[str, Picture]
) -> None:
    from_rgb, from_grey = colorizer(photographs["coffee"]), colorizer(greys["coffee"])
    assert_lightness_kept(from_rgb, photographs["coffee"])
    assert mean_error(from_rgb, from_grey) < 1


@pytest.mark.parametrize(
    "bad", [None, "photo.jpg", np.zeros((4, 5)), np.zeros((0, 5), np.uint8), np.zeros((4, 5, 4), np.uint8)]
)
@pytest.mark.parametrize("call", ["__call__", "predict"])
def test_bad_pictures_are_errors(call: str, bad: Any) -> None:
    with pytest.raises(ImageError, match="a picture must"):
        getattr(fake_colorizer(), call)(bad)


@pytest.mark.parametrize(("bad", "words"), [(None, "OpenCV gives for a file"), (Path("a.jpg"), "use colorizer.image")])
def test_what_is_no_array_is_told_what_to_do(bad: Any, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        fake_colorizer()(bad)


@pytest.mark.parametrize("reference", ["a.png", Path("a.png"), ["red"]])
def test_a_reference_that_is_no_array_is_named(reference: Any) -> None:
    with pytest.raises(ImageError, match="a reference must be a colour picture, an array"):
        fake_colorizer().steady(reference=reference)


def test_a_colorizer_can_be_handed_to_a_process() -> None:
    colorizer = edgecolor.load("tiny", precision="fp32", channels="bgr")
    again = pickle.loads(pickle.dumps(colorizer))  # noqa: S301  # our own
    assert repr(again) == repr(colorizer)
    assert np.array_equal(again(scene(40, 50)), colorizer(scene(40, 50)))
    assert pickle.loads(pickle.dumps(colorizer)) is again, "a process opens it once"  # noqa: S301
    with pytest.raises(TypeError, match=r"only a colorizer that edgecolor\.load has opened"):
        pickle.dumps(fake_colorizer())


def test_a_colorization_can_be_sent_to_a_process_but_for_its_alternatives() -> None:
    answer = fake_colorizer().predict(scene(40, 50))
    sent = pickle.loads(pickle.dumps(answer))  # noqa: S301  # our own
    assert np.array_equal(sent.image, answer.image)
    assert np.array_equal(sent.confidence, answer.confidence)
    with pytest.raises(ImageError, match="only in the process that coloured the picture"):
        sent.alternatives(2)
    for copied in (copy.copy(answer), copy.deepcopy(answer)):
        assert np.array_equal(copied.alternatives(2), answer.alternatives(2))


# Channels


@pytest.mark.parametrize("steering", [{}, {"hints": [Hint(30, 20, "teal")]}, {"vividness": 0.5}])
def test_bgr_mirrors_rgb(colorizer: edgecolor.Colorizer, photographs: dict[str, Picture], steering: dict[str, Any]) -> None:
    mirrored = edgecolor.load(channels="bgr")
    rgb = photographs["coffee"][::2, ::2]
    assert np.array_equal(mirrored(rgb[..., ::-1])[..., ::-1], colorizer(rgb))
    expected, got = colorizer.predict(rgb, **steering), mirrored.predict(rgb[..., ::-1], **steering)
    assert np.array_equal(got.image[..., ::-1], expected.image)
    assert np.array_equal(got.confidence, expected.confidence)
    assert np.array_equal(got.alternatives(1)[0][..., ::-1], expected.alternatives(1)[0])


def test_bgr_mirrors_the_region_and_the_reference(colorizer: edgecolor.Colorizer, photographs: dict[str, Picture]) -> None:
    mirrored = edgecolor.load(channels="bgr")
    rgb, reference = photographs["coffee"][::2, ::2], photographs["rocket"][::3, ::3]
    region = np.zeros(rgb.shape[:2], bool)
    region[20:80, 30:90] = True
    expected = colorizer.predict(rgb, region=region, palette=reference).image
    got = mirrored.predict(rgb[..., ::-1], region=region, palette=reference[..., ::-1]).image
    assert np.array_equal(got[..., ::-1], expected)
    assert np.array_equal(got[~region], rgb[..., ::-1][~region])


@pytest.mark.parametrize("steering", ["plain", "palette"])
def test_files_are_rgb_whatever_the_channels(
    colorizer: edgecolor.Colorizer, photographs: dict[str, Picture], tmp_path: Path, steering: str
) -> None:
    """A file states its own order; a palette given as an array is in the user's."""
    source = tmp_path / "grey.png"
    cv2.imwrite(str(source), scene(60, 90))
    reference = photographs["rocket"][::4, ::4]
    rgb, bgr = (None, None) if steering == "plain" else (reference, reference[..., ::-1])
    colorizer.image(source, tmp_path / "rgb.png", palette=rgb)
    edgecolor.load(channels="bgr").image(source, tmp_path / "bgr.png", palette=bgr)
    assert np.array_equal(pixels_of(tmp_path / "rgb.png"), pixels_of(tmp_path / "bgr.png"))


# Steering


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_outside_the_region_every_byte_stays(channels: int, dtype: str) -> None:
    picture = as_type(np.random.default_rng(0).random((60, 90, channels)), dtype)
    region = np.random.default_rng(1).random((60, 90)) < 0.5
    colorizer = fake_colorizer()
    result, whole = colorizer.predict(picture, region=region), colorizer.predict(picture)
    assert result.image[~region].tobytes() == tripled(picture)[~region].tobytes()
    assert np.array_equal(result.image[region], whole.image[region])
    assert np.array_equal(result.alternatives(1)[0][~region], tripled(picture)[~region])


@pytest.mark.parametrize("inside", [True, False])
def test_a_region_may_be_everything_or_nothing(inside: bool) -> None:  # noqa: FBT001  # a parameter of the test
    picture = scene(60, 90)
    result = fake_colorizer().predict(picture, region=np.full((60, 90), inside)).image
    assert np.array_equal(result, fake_colorizer()(picture) if inside else tripled(picture))


@pytest.mark.parametrize(
    ("region", "value"),
    [
        (np.ones((90, 60), bool), "(90, 60)"),
        (np.ones((60, 90, 1), bool), "(60, 90, 1)"),
        (np.ones((60, 90), np.uint8), "uint8"),
        (np.ones((60, 90)), "float64"),
        (True, "()"),
    ],
    ids=["turned", "3-D", "uint8", "float64", "scalar"],
)
def test_bad_regions_are_named(region: Any, value: str) -> None:
    with pytest.raises(ImageError, match=rf"shape \(60, 90\), got .*{re.escape(value)}"):
        fake_colorizer().predict(scene(60, 90), region=region)


def test_vividness(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    images = [colorizer.predict(greys["coffee"], vividness=vividness).image for vividness in (0, 0.5, 1, 2)]
    assert np.array_equal(images[0], tripled(greys["coffee"]))
    assert np.array_equal(images[2], colorizer(greys["coffee"]))
    chroma = [_chroma(image) for image in images]
    assert chroma[0] < chroma[1] < chroma[2] < chroma[3]
    for image in images:
        assert_lightness_kept(image, greys["coffee"])


@pytest.mark.parametrize("vividness", [-0.01, 2.01, np.nan, np.inf, -np.inf])
def test_bad_vividness_is_named(vividness: float) -> None:
    with pytest.raises(ImageError, match=f"between 0 and 2, got {vividness}"):
        fake_colorizer().predict(scene(60, 90), vividness=vividness)


def test_hints_and_palettes_are_checked() -> None:
    with pytest.raises(ImageError, match="outside the picture of 90 by 60"):
        fake_colorizer().predict(scene(60, 90), hints=[Hint(90, 5, "red")])
    with pytest.raises(ImageError, match="'reddish' is not a CSS colour"):
        fake_colorizer().predict(scene(60, 90), palette=["reddish"])


def test_a_neutral_palette_changes_little(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    every = [f"lab(50 {a} {b})" for a in range(-80, 81, 10) for b in range(-80, 81, 10)]
    image = colorizer.predict(greys["cat"], palette=every).image
    assert mean_error(image, colorizer(greys["cat"])) < 3


@pytest.mark.parametrize("level", [0, 5, 250, 255])
def test_the_network_is_told_of_a_colour_also_where_it_cannot_be_seen(level: int) -> None:
    engine = FakeEngine()
    edgecolor.Colorizer(engine, fake_model()).predict(np.full((64, 64), level, np.uint8), hints=[Hint(32, 32, "teal")])
    planes = engine.planes[0][0]
    told = planes[1:3, planes[3] > 0]
    assert np.hypot(*told).min() > 5


# Confidence and alternatives


def test_confidence_is_a_probability_at_every_pixel(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    confidence = colorizer.predict(greys["astronaut"]).confidence
    assert confidence.shape == greys["astronaut"].shape
    assert confidence.dtype == np.float32
    assert confidence.min() >= 0
    assert confidence.max() <= 1
    assert np.ptp(confidence) > 0.05, "the same everywhere is no confidence"


def test_confidence_lies_where_the_engine_put_it() -> None:
    confidence = fake_colorizer().predict(scene(80, 120)).confidence
    x = (np.arange(120) + 0.5) / 120
    assert confidence == pytest.approx(np.tile(0.2 + 0.6 * x, (80, 1)), abs=0.02)


def test_predict_and_the_call_give_the_same_picture(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    assert np.array_equal(colorizer.predict(greys["rocket"]).image, colorizer(greys["rocket"]))


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_as_many_alternatives_as_asked_for(colorizer: edgecolor.Colorizer, count: int) -> None:
    picture = scene(60, 90, "uint16")
    alternatives = colorizer.predict(picture).alternatives(count)
    assert len(alternatives) == count
    for alternative in alternatives:
        assert alternative.shape == (60, 90, 3)
        assert alternative.dtype == np.uint16
        assert_lightness_kept(alternative, picture)


def test_alternatives_differ_from_the_answer_and_each_other(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    answer = colorizer.predict(greys["coffee"])
    pictures = [answer.image, *answer.alternatives()]
    assert len(pictures) == 4
    assert min(mean_error(a, b) for i, a in enumerate(pictures) for b in pictures[:i]) > 0.5


def test_the_likeliest_alternative_of_two_peaks_is_the_other() -> None:
    answer = fake_colorizer(30).predict(np.full((80, 80), 150, np.uint8))
    given, other = lab(answer.image), lab(answer.alternatives(1)[0])
    change = np.hypot(*np.moveaxis(given[..., 1:] - other[..., 1:], -1, 0))
    assert change.max() > 20


@pytest.mark.parametrize("count", [0, -1, 101, 2.5])
def test_a_bad_number_of_alternatives_is_named(count: Any) -> None:
    with pytest.raises(ImageError, match=f"from 1 to 100, got {count}"):
        fake_colorizer().predict(scene(60, 90)).alternatives(count)


def test_hints_stay_in_alternatives(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    lightness = lab(greys["coffee"])[100, 100, 0]
    answer = colorizer.predict(greys["coffee"], hints=[Hint(100, 100, f"lab({lightness} 12 -10)")])
    for picture in [answer.image, *answer.alternatives(2)]:
        assert lab(picture)[100, 100, 1:] == pytest.approx((12, -10), abs=2)


# Same answer every time


def test_the_same_picture_gives_the_same_answer(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    first, second = (colorizer.predict(greys["cat"], palette=["teal", "brown"]) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.confidence, second.confidence)
    assert np.array_equal(first.alternatives(1)[0], second.alternatives(1)[0])
    assert np.array_equal(edgecolor.load()(greys["cat"]), colorizer(greys["cat"]))


def test_threads_may_share_a_colorizer(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    pictures = [greys[name] for name in sorted(greys)]
    alone = [colorizer(picture) for picture in pictures]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(colorizer, pictures * 2))
    for picture, expected in zip(together, alone * 2, strict=True):
        assert np.array_equal(picture, expected)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_forked_process_colours_too(tmp_path: Path) -> None:
    """As the workers of multiprocessing do on Linux: their parent may have coloured before."""
    done = run_python(
        "-W", "ignore::DeprecationWarning", "-c",
        "import os, signal, sys, numpy as np\n"
        "from fakes import fake_colorizer\n"
        "picture = np.zeros((600, 600), np.uint8)\n"
        "fake_colorizer()(picture)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    signal.alarm(8)\n"
        "    fake_colorizer()(picture)\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0)",
        home=tmp_path, path=str(Path(__file__).parent),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr or "the child hung"


# Video planes


@pytest.mark.parametrize("bits", [10, 12])
def test_codes_in_the_high_bits_are_named(bits: int) -> None:
    y = scene(48, 64, "uint16") >> (16 - bits) << (16 - bits)
    with pytest.raises(ImageError, match=rf"codes of {bits} bits reach {2**bits - 1}, got \d+; .* y >> {16 - bits}"):
        fake_colorizer().chroma_planes(y, bits=bits)


def test_chroma_planes_of_the_other_byte_order() -> None:
    y = scene(48, 64, "uint16") >> 6
    for one, other in zip(*(fake_colorizer().chroma_planes(plane, bits=10) for plane in (y, y.astype(">u2"))), strict=True):
        assert np.array_equal(one, other)
    assert np.ptp(one) > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (31, 33), (480, 640), (479, 853), (720, 1280)])
def test_chroma_planes_have_half_the_size_rounded_up(size: tuple[int, int]) -> None:
    u, v = fake_colorizer().chroma_planes(scene(*size))
    assert u.shape == v.shape == ((size[0] + 1) // 2, (size[1] + 1) // 2)
    assert u.dtype == v.dtype == np.uint8


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("matrix", ["auto", "bt601", "bt709"])
def test_no_chroma_is_neutral(matrix: Any, full_range: bool) -> None:  # noqa: FBT001  # a parameter of the test
    y = np.arange(256, dtype=np.uint8).repeat(16).reshape(64, 64)
    u, v = fake_colorizer(0).chroma_planes(y, matrix=matrix, full_range=full_range)
    assert (u == 128).all()
    assert (v == 128).all()


def _decoded(y: Picture, u: Picture, v: Picture, weights: tuple[float, float], *, full_range: bool) -> Picture:
    """Y'CbCr to R'G'B' in [0, 1] after ITU-R BT.601 and BT.709, chroma repeated."""
    red, blue = weights
    luma = y / 255 if full_range else (y.astype(float) - 16) / 219
    cb, cr = (
        (np.kron(plane, np.ones((2, 2)))[: y.shape[0], : y.shape[1]] - 128) / (255 if full_range else 224) for plane in (u, v)
    )
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    green = (luma - red * r - blue * b) / (1 - red - blue)
    return np.stack([r, green, b], axis=-1)


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize(("matrix", "weights"), [("bt601", (0.299, 0.114)), ("bt709", (0.2126, 0.0722))])
def test_planes_decode_to_what_the_colorizer_gives(
    matrix: Any,
    weights: tuple[float, float],
    full_range: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    shade = np.linspace(60, 190, 128).astype(np.uint8)
    grey = np.repeat(np.tile(shade, (96, 1)), 2, axis=0).repeat(2, axis=1)
    y = grey if full_range else np.rint(16 + grey.astype(float) * 219 / 255).astype(np.uint8)
    colorizer = fake_colorizer(25)
    planes = colorizer.chroma_planes(y, matrix=matrix, full_range=full_range)
    decoded = _decoded(y, *planes, weights, full_range=full_range).clip(0, 1).astype(np.float32)
    difference = lab(decoded) - lab(colorizer(grey))
    # Lightness and luma are not the same: with the Y plane kept, L* moves a little with the chroma, and a*, b* with it.
    assert np.hypot(*np.moveaxis(difference[..., 1:], -1, 0)).mean() < 2
    hues = [np.arctan2(lab(picture)[..., 2], lab(picture)[..., 1]) for picture in (decoded, colorizer(grey))]
    assert np.degrees(np.abs((hues[0] - hues[1] + np.pi) % (2 * np.pi) - np.pi)).mean() < 4


def test_planes_of_a_photograph(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    grey = greys["coffee"]
    u, v = colorizer.chroma_planes(grey, full_range=True)
    decoded = _decoded(grey, u, v, (0.299, 0.114), full_range=True).clip(0, 1).astype(np.float32)
    assert mean_error(decoded, colorizer(grey)) < 3


def test_auto_takes_the_matrix_by_the_lines() -> None:
    colorizer = fake_colorizer()
    for size, matrix in (((718, 64), "bt601"), ((720, 64), "bt709")):
        y = scene(*size)
        automatic, named = colorizer.chroma_planes(y), colorizer.chroma_planes(y, matrix=matrix)  # type: ignore[arg-type]
        assert all(np.array_equal(a, b) for a, b in zip(automatic, named, strict=True))


def test_the_y_plane_stays(colorizer: edgecolor.Colorizer) -> None:
    y = scene(64, 96)
    before = y.copy()
    colorizer.chroma_planes(y)
    assert np.array_equal(y, before)


@pytest.mark.parametrize("layout", layouts())
def test_the_y_plane_s_layout_changes_nothing(layout: str) -> None:
    y = scene(64, 96)
    expected, got = (fake_colorizer().chroma_planes(plane) for plane in (y, layouts()[layout](y)))
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


@pytest.mark.parametrize(
    ("y", "value"),
    [
        (np.zeros((4, 5), np.uint16), "uint16"),
        (np.zeros((4, 5)), "float64"),
        (np.zeros((4, 5), bool), "bool"),
        (np.zeros((4, 5, 1), np.uint8), "(4, 5, 1)"),
        (np.zeros(5, np.uint8), "(5,)"),
        (np.zeros((0, 5), np.uint8), "(0, 5)"),
        (None, "object"),
    ],
    ids=["uint16", "float64", "bool", "3-D", "1-D", "no rows", "None"],
)
def test_bad_y_planes_are_named(y: Any, value: str) -> None:
    with pytest.raises(ImageError, match=re.escape(value)):
        fake_colorizer().chroma_planes(y)


def test_an_unknown_matrix_is_named() -> None:
    with pytest.raises(ImageError, match="'bt2020'"):
        fake_colorizer().chroma_planes(scene(8, 8), matrix="bt2020")  # type: ignore[arg-type]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_limited_codes_go_from_black_at_16_to_white_at_235(bits: int) -> None:
    codes = np.arange(256)
    y = (codes << (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16)[None]
    expected = np.rint(((codes - 16) * 255 / 219).clip(0, 255))
    np.testing.assert_array_equal(grey_of_frame(y, Coding(bits=bits))[0], expected)


# Opening


def test_repr_says_what_runs(colorizer: edgecolor.Colorizer) -> None:
    assert re.fullmatch(r"<Colorizer \S+ \S+, ONNX Runtime \d\S* on the CPU>", repr(colorizer))
    assert repr(fake_colorizer()) == "<Colorizer fake fp32, a fake>"


@pytest.mark.parametrize(
    ("choice", "error", "value"),
    [
        ({"model": "huge"}, UnknownModelError, "'huge'"),
        ({"precision": "fp8"}, UnknownModelError, "'fp8'"),
        ({"channels": "rgba"}, ImageError, "'rgba'"),
        ({"engine": "openvino"}, EngineUnavailableError, "'openvino'"),
        ({"engine": "tensorrt", "precision": "fp32"}, UnknownModelError, "'fp32' for engine 'tensorrt'"),
    ],
)
def test_unknown_choices_are_named(choice: dict[str, Any], error: type[Exception], value: str) -> None:
    with pytest.raises(error, match=value):
        edgecolor.load(**choice)


@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
def test_an_engine_that_is_not_installed_is_named(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "edgecolor._engine.find_spec", lambda name, *rest: None if name == "onnxruntime" else find_spec(name, *rest)
    )
    with pytest.raises(EngineUnavailableError, match="pip install onnxruntime"):
        edgecolor.load(engine=engine)


def test_an_engine_that_is_installed_but_broken_is_named(tmp_path: Path) -> None:
    package = tmp_path / "broken" / "onnxruntime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('libonnxruntime.so.1: cannot open shared object file')\n")
    done = run_python(
        "-c",
        "import edgecolor\ntry: edgecolor.load()\nexcept edgecolor.EngineUnavailableError as error: print(error)",
        home=tmp_path,
        path=str(package.parent),
    )
    assert "cannot open shared object file" in done.stdout, done.stderr


def test_nothing_is_collected(tmp_path: Path) -> None:
    """Newer releases of ONNX Runtime keep an identity of the device, and events for their maker, in the home."""
    code = "import edgecolor, numpy as np; edgecolor.load()(np.zeros((40, 40), np.uint8))"
    done = run_python("-c", code, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("model", [b"", b"no model", bytes(1000)])
def test_a_model_that_cannot_be_opened_is_named(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(model)
    file = replace(fake_model(), network=ShippedFile(path, hashlib.sha256(model).hexdigest()))
    with pytest.raises(EngineBuildError, match=r"ONNX Runtime .* cannot open the model"):
        open_engine("onnxruntime", file)


# Alternatives as files


@pytest.mark.parametrize("steering", [{}, {"vividness": 1.3, "palette": ["teal", "wheat"]}], ids=["alone", "steered"])
@pytest.mark.parametrize("number", [1, 3])
def test_an_alternative_is_written_as_predict_gives_it(tmp_path: Path, number: int, steering: dict[str, Any]) -> None:
    tiny = edgecolor.load("tiny")
    gray = np.rint(lab(pixels_of(PHOTOS / "coffee.jpg"))[..., 0] * 2.55).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "in.png"), gray)
    answer = tiny.predict(gray, **steering)
    tiny.image(tmp_path / "in.png", tmp_path / "out.png", alternative=number, confidence=tmp_path / "sure.png", **steering)
    written = pixels_of(tmp_path / "out.png")
    assert np.abs(written.astype(int) - answer.alternatives(3)[number - 1]).max() <= 1
    assert mean_error(written, answer.image) > 3
    assert_lightness_kept(written, gray)
    if not steering:  # else the answer itself may be less likely than an alternative
        assert np.abs(pixels_of(tmp_path / "sure.png") / 255 - answer.confidence).mean() > 0.01  # it has one of its own


@pytest.mark.parametrize("number", [-1, 101, 1.5, "2"])
def test_a_number_of_no_alternative_is_named_before_anything_is_read(tmp_path: Path, number: Any) -> None:
    with pytest.raises(ImageError, match=rf"from 1 to 100, got {number!r}"):
        fake_colorizer().image(tmp_path / "missing.png", tmp_path / "out.png", alternative=number)


def test_an_alternative_is_written_with_its_own_confidence_and_said_to_be_one(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), scene(192, 192))
    for number in (0, 1):
        options: dict[str, Any] = {"alternative": number, "confidence": tmp_path / f"sure{number}.png"}
        fake_colorizer().image(tmp_path / "in.png", tmp_path / f"out{number}.png", **options)
    sure, less = (pixels_of(tmp_path / f"sure{number}.png").mean() for number in (0, 1))
    assert less < 0.9 * sure
    assert b", alternative 1; colours are estimates" in (tmp_path / "out1.png").read_bytes()
    assert b"alternative" not in (tmp_path / "out0.png").read_bytes()


# Real photographs


def test_photographs_come_out_nearer_to_the_truth_than_grey(
    colorizer: edgecolor.Colorizer, photographs: dict[str, Picture], greys: dict[str, Picture]
) -> None:
    coloured = [mean_error(colorizer(greys[name]), truth) for name, truth in photographs.items()]
    grey = [mean_error(greys[name], truth) for name, truth in photographs.items()]
    assert len(grey) >= 4
    assert np.mean(coloured) < np.mean(grey)


def test_a_photograph_has_the_same_colours_at_any_size(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    steps = np.array([_changes_of_colour(colorizer, gray, (0.5, 1, 2, 4)) for gray in greys.values()])
    assert steps.mean(axis=0).max() < 2, f"mean change of a*, b* from size to size: {steps}"
    # At half size these photographs are smaller than the grid, and one by one may lack what the grid could show.
    assert steps[:, 1:].max() < 2, f"mean change of a*, b* from size to size: {steps}"


def _changes_of_colour(colorizer: edgecolor.Colorizer, gray: Picture, scales: tuple[float, ...]) -> list[float]:
    """Mean distance in a*, b* from each scale to the next, on a common small grid."""
    height, width = gray.shape
    seen = []
    for scale in scales:
        size = (round(width * scale), round(height * scale))
        scaled = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        common = cv2.resize(colorizer(scaled), (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        seen.append(lab(common)[..., 1:])
    return [float(np.hypot(*np.moveaxis(a - b, -1, 0)).mean()) for a, b in pairwise(seen)]


def test_alternatives_are_of_the_picture_that_was_given(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    frame = greys["coffee"].copy()
    answer = colorizer.predict(frame)
    frame[:] = 0
    assert_lightness_kept(answer.alternatives(1)[0], greys["coffee"])


@pytest.mark.parametrize("vividness", ["1", None, float("nan")])
def test_vividness_that_is_no_number_is_an_error(vividness: Any) -> None:
    with pytest.raises(ImageError, match="vividness must be a number"):
        fake_colorizer().predict(scene(20, 20), vividness=vividness)


def test_a_region_may_be_a_list(greys: dict[str, Picture]) -> None:
    region: Any = np.zeros(greys["cat"].shape, bool)
    region[:100] = True
    given = fake_colorizer().predict(greys["cat"], region=region.tolist())
    np.testing.assert_array_equal(given.image, fake_colorizer().predict(greys["cat"], region=region).image)


def test_colours_that_were_asked_for_are_judged_as_asked(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    own = colorizer.predict(greys["cat"])
    unlikely = colorizer.predict(greys["cat"], palette=["lime"])
    grey = colorizer.predict(greys["coffee"], vividness=0)
    assert unlikely.confidence.mean() < own.confidence.mean()
    assert grey.confidence.mean() < colorizer.predict(greys["coffee"]).confidence.mean()
    assert 0 <= unlikely.confidence.min() <= unlikely.confidence.max() <= 1
