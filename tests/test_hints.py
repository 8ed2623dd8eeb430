from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import Picture, as_type, assert_lightness_kept, fake_colorizer, lab, scene, tripled

import edgecolor
from edgecolor import Hint, ImageError
from edgecolor._chroma import ChromaField
from edgecolor._color import ab_bins, delta_e00, lab_to_linear, rgb_to_lab
from edgecolor._hints import check_hints, css_ab, hint_planes, palette_weights, pin
from edgecolor._luma import read_luma
from edgecolor._source import read_picture
from edgecolor._target import write_picture

SIZE = (300, 400)
GRID = (192, 256)

TEAL = (-28.8, -8.5)
BRICK = (38.7, 21.1)


@pytest.mark.parametrize(
    ("color", "ab"),
    [
        ("teal", TEAL),
        ("TEAL", TEAL),
        ("#008080", TEAL),
        ("#088", (-30.14, -8.86)),
        ("#008080ff", TEAL),
        ("rgb(0 128 128)", TEAL),
        ("rgb(0, 128, 128)", TEAL),
        ("rgba(0 128 128 / 50%)", TEAL),
        ("hsl(180 100% 25.1%)", TEAL),
        ("hwb(180 0% 49.8%)", TEAL),
        ("lab(48.25% -28.8 -8.5)", TEAL),
        ("lch(48.25% 30.03 196.45)", TEAL),
        ("oklab(0.54312 -0.08965 -0.02363)", TEAL),
        ("oklch(54.312% 0.09271 194.769)", TEAL),
        ("color(srgb 0 0.50196 0.50196)", TEAL),
        (" #8a2f2f ", BRICK),
        ("rgb(54.1% 18.4% 18.4%)", BRICK),
        ("lab(50% none 20)", (0, 20)),
        ("black", (0, 0)),
        ("white", (0, 0)),
        ("rgb(119 119 119)", (0, 0)),
    ],
)
def test_every_css_notation_is_understood(color: str, ab: tuple[float, float]) -> None:
    assert css_ab(color) == pytest.approx(ab, abs=0.25)


@pytest.mark.parametrize(
    "color",
    [
        "",
        " ",
        "#12",
        "#12345",
        "#xyzxyz",
        "reddish",
        "red blue",
        "rgb(1 2)",
        "rgb(",
        "lab()",
        "currentcolor",
        "inherit",
        "120",
        "ré",
    ],
)
def test_what_is_no_colour_is_named(color: str) -> None:
    with pytest.raises(ImageError, match=re.escape(repr(color))):
        css_ab(color)


@pytest.mark.parametrize("color", [None, 3, b"red", ("red",), np.nan])
def test_a_colour_must_be_text(color: Any) -> None:
    with pytest.raises(ImageError, match="is not a CSS colour"):
        css_ab(color)


@pytest.mark.parametrize("color", ["color(display-p3 1 0 0)", "color(rec2020 1 0 0)"])
def test_other_colour_spaces_are_named(color: str) -> None:
    with pytest.raises(ImageError, match=r"write it as"):
        css_ab(color)


@pytest.mark.parametrize("color", ["lab(50 1e400 0)", "lab(50 0 -1e400)", "rgb(1e400 0 0)", "lab(50 1e39 0)", "lab(50 1e20 0)"])
def test_a_colour_beyond_all_measure_is_named(color: str) -> None:
    with pytest.raises(ImageError, match=re.escape(repr(color))):
        css_ab(color)


@pytest.mark.parametrize(
    ("x", "y"),
    [(-0.001, 5), (5, -1), (400, 5), (5, 300), (1e9, 5), (np.nan, 5), (5, np.nan), (np.inf, 5), (5, -np.inf)],
)
def test_hints_outside_the_picture_are_named(x: float, y: float) -> None:
    with pytest.raises(ImageError, match=re.escape(f"x={x:g}, y={y:g} is outside the picture of 400 by 300")):
        check_hints([Hint(1, 1, "red"), Hint(x, y, "red")], SIZE)


def test_every_point_of_a_stroke_must_be_inside() -> None:
    with pytest.raises(ImageError, match="x=400, y=299"):
        check_hints([Hint(1, 1, "red", path=((10, 10), (400, 299)))], SIZE)


@pytest.mark.parametrize("radius", [0, -1, np.nan, np.inf])
def test_a_hint_needs_a_size(radius: float) -> None:
    with pytest.raises(ImageError, match=f"radius must be above 0 pixels, got {radius}"):
        check_hints([Hint(1, 1, "red", radius=radius)], SIZE)


@pytest.mark.parametrize("hint", [(1, 1, "red"), "1,1,red", None])
def test_a_hint_must_be_a_hint(hint: Any) -> None:
    with pytest.raises(ImageError, match=re.escape(repr(hint))):
        check_hints([hint], SIZE)


def test_the_last_pixel_is_inside() -> None:
    check_hints([Hint(399.99, 299.99, "red"), Hint(0, 0, "red")], SIZE)


def test_no_hints_are_empty_planes() -> None:
    planes = hint_planes([], SIZE, GRID)
    assert planes.shape == (3, *GRID)
    assert planes.dtype == np.float32
    assert not planes.any()


def test_a_dot_lies_where_it_was_put() -> None:
    planes = hint_planes([Hint(200, 75, "teal")], SIZE, GRID)
    rows, columns = np.nonzero(planes[2])
    assert rows.mean() == pytest.approx(75 * GRID[0] / SIZE[0], abs=0.6)
    assert columns.mean() == pytest.approx(200 * GRID[1] / SIZE[1], abs=0.6)
    assert set(planes[2].ravel()) == {0, 1}
    colors = planes[:2, planes[2] == 1].T
    assert colors == pytest.approx(np.tile(TEAL, (len(rows), 1)), abs=0.25)
    assert not planes[:2, planes[2] == 0].any()


@pytest.mark.parametrize("point", [(0, 0), (399.9, 0), (0, 299.9), (399.9, 299.9)])
def test_a_dot_in_a_corner_is_on_the_grid(point: tuple[float, float]) -> None:
    planes = hint_planes([Hint(*point, "red", radius=0.1)], SIZE, GRID)
    row, column = (0 if point[1] == 0 else -1), (0 if point[0] == 0 else -1)
    assert planes[2, row, column] == 1


def test_a_larger_radius_covers_more() -> None:
    small, usual, large = (
        hint_planes([Hint(200, 150, "red", radius=radius)], SIZE, GRID)[2].sum() for radius in (0.2, None, 30)
    )
    assert 1 <= small < usual < large
    assert large == pytest.approx(np.pi * (30 * GRID[0] / SIZE[0]) ** 2, rel=0.15)


@pytest.mark.parametrize("radius", [1000.0, 1e5, 1e12])
def test_a_radius_beyond_the_picture_covers_it(radius: float) -> None:
    assert hint_planes([Hint(200, 150, "red", radius=radius)], SIZE, GRID)[2].all()


def test_a_stroke_joins_its_points() -> None:
    planes = hint_planes([Hint(20, 20, "red", radius=0.2, path=((380, 20), (380, 280)))], SIZE, GRID)
    row, column = int(20 * GRID[0] / SIZE[0]), int(380 * GRID[1] / SIZE[1])
    assert planes[2, row, int(20 * GRID[1] / SIZE[1]) : column].all()
    assert planes[2, row : int(280 * GRID[0] / SIZE[0]), column].all()


def test_the_later_hint_lies_on_top() -> None:
    planes = hint_planes([Hint(200, 150, "red"), Hint(200, 150, "teal")], SIZE, GRID)
    assert planes[:2, 96, 128] == pytest.approx(TEAL, abs=0.25)


def test_a_pin_is_exact_and_local() -> None:
    luma = read_luma(scene(*SIZE, dtype="float32"))
    field = ChromaField(np.tile(np.array([0.1, 5, -0.2, 3], np.float32), (*GRID, 1)), SIZE)
    pinned = pin(field, [Hint(100, 60, "teal")], luma.at([(100, 60)]))
    slope_a, offset_a, slope_b, offset_b = pinned.at(100, 60)
    lightness = lab(luma.picture)[60, 100, 0]
    assert (slope_a * lightness + offset_a, slope_b * lightness + offset_b) == pytest.approx(TEAL, abs=0.25)
    assert pinned.at(300, 250) == pytest.approx(field.at(300, 250), abs=1e-3)
    assert np.array_equal(field.coefficients[0, 0], np.array([0.1, 5, -0.2, 3], np.float32)), "the given field was changed"


def _in_gamut(picture: Picture, x: float, y: float, ab: tuple[float, float]) -> Hint:
    """A hint of such a hue that its pixel can have: as much of its chroma as there is room for."""
    lightness = lab(picture)[int(y), int(x), 0]
    for scale in np.linspace(1, 0, 101):
        linear = lab_to_linear(np.array([lightness, *(scale * np.array(ab))]))
        if linear.min() >= 0 and linear.max() <= 1:
            break
    return Hint(x, y, f"lab({lightness:.4f} {scale * ab[0]:.4f} {scale * ab[1]:.4f})")


def _errors(image: Picture, hints: Sequence[Hint]) -> Picture:
    """CIEDE2000 between each hint and the picture at its pixel, lightness aside."""
    at = np.array([lab(image)[int(y), int(x)] for hint in hints for x, y in hint.points])
    asked = at.copy()
    asked[:, 1:] = [css_ab(hint.color) for hint in hints for _ in hint.points]
    return delta_e00(at, asked)


HUES = [(35.0, 20.0), (-30.0, 25.0), (10.0, -40.0), (-20.0, -20.0), (0.0, 45.0)]


@pytest.mark.parametrize(
    "points",
    [
        [(200, 130)],
        [(0, 0), (399, 0), (0, 265), (399, 265)],
        [(200, 0), (0, 130), (399.9, 130), (200, 265.9)],
        [(120, 100), (128, 100), (120, 108), (128, 108)],
        [(50, 50), (350, 60), (200, 200), (60, 220), (300, 210)],
        [(150, 150), (156, 150)],
    ],
    ids=["one", "corners", "edges", "four close", "five", "two very close"],
)
@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_the_hinted_pixel_takes_the_hinted_colour(
    colorizer: edgecolor.Colorizer, greys: dict[str, Picture], name: str, points: list[tuple[float, float]]
) -> None:
    gray = greys[name]
    height, width = gray.shape
    inside = [(min(x, width - 0.1), min(y, height - 0.1)) for x, y in points]
    hints = [_in_gamut(gray, x, y, ab) for (x, y), ab in zip(inside, HUES, strict=False)]
    image = colorizer.predict(gray, hints=hints).image
    assert _errors(image, hints).max() < 2
    assert_lightness_kept(image, gray)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_hints_work_at_any_depth(colorizer: edgecolor.Colorizer, greys: dict[str, Picture], dtype: str) -> None:
    gray = as_type(greys["coffee"] / 255, dtype)
    hints = [_in_gamut(gray, 100, 100, HUES[0]), _in_gamut(gray, 300, 150, HUES[2])]
    assert _errors(colorizer.predict(gray, hints=hints).image, hints).max() < 0.01


def test_a_stroke_colours_along_its_way(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    gray = greys["coffee"]
    start = _in_gamut(gray, 60, 60, (25.0, -25.0))
    stroke = Hint(60, 60, start.color, path=((300, 60), (300, 200)))
    plain, image = colorizer(gray), colorizer.predict(gray, hints=[stroke]).image
    way = [(60 + step, 60) for step in range(0, 240, 10)] + [(300, 60 + step) for step in range(0, 140, 10)]
    asked = np.array(css_ab(stroke.color))
    before, after = (np.mean([np.hypot(*(lab(picture)[y, x, 1:] - asked)) for x, y in way]) for picture in (plain, image))
    assert after < 0.7 * before


def test_a_hint_in_a_single_pixel(colorizer: edgecolor.Colorizer) -> None:
    gray = np.array([[128]], np.uint8)
    hint = _in_gamut(gray, 0, 0, HUES[0])
    assert _errors(colorizer.predict(gray, hints=[hint]).image, [hint]).max() < 0.5


def test_hinted_colours_stay_as_given_at_any_vividness(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    hint = _in_gamut(greys["cat"], 200, 100, HUES[1])
    for vividness in (0.0, 0.5, 2.0):
        image = colorizer.predict(greys["cat"], hints=[hint], vividness=vividness).image
        assert _errors(image, [hint]).max() < 2


def test_hints_on_colour_pictures_replace_their_colours(
    colorizer: edgecolor.Colorizer, photographs: dict[str, Picture]
) -> None:
    photograph = photographs["coffee"]
    hint = _in_gamut(photograph, 150, 100, HUES[3])
    image = colorizer.predict(photograph, hints=[hint]).image
    assert _errors(image, [hint]).max() < 2
    assert_lightness_kept(image, photograph)


def test_palette_weights_favour_their_colours() -> None:
    weights = palette_weights(["#8a2f2f"])
    distance = np.hypot(*(ab_bins() - np.array(BRICK)).T)
    assert weights.shape == (128,)
    assert weights.dtype == np.float32
    assert weights.argmax() == distance.argmin()
    assert weights[distance > 70].max() < 0.1 * weights.max()
    assert weights.min() > 0, "what the network is sure of must stay possible"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_reference_picture_is_the_palette_of_its_colours(dtype: str) -> None:
    halves = np.empty((90, 120, 3))
    halves[:, :60], halves[:, 60:] = (0.54, 0.18, 0.18), (0.0, 0.5, 0.5)
    weights = palette_weights(as_type(halves, dtype))
    named = palette_weights(["#8a2f2f", "teal"])
    assert np.corrcoef(weights, named)[0, 1] > 0.9


def test_a_small_bright_thing_does_not_drown() -> None:
    reference = np.full((100, 100, 3), (110, 120, 200), np.uint8)
    reference[:15, :15] = (200, 40, 40)
    weights = palette_weights(reference)
    red = np.square(ab_bins() - rgb_to_lab(np.array([200, 40, 40]) / 255)[1:]).sum(-1).argmin()
    assert weights[red] > 0.1, "2 % of the picture must weigh more than 2 %"


@pytest.mark.parametrize(
    ("palette", "value"),
    [
        ("red", "'red'"),
        ([], "[]"),
        ((), "()"),
        (["red", "reddish"], "'reddish'"),
        ([None], "None"),
        (np.zeros((4, 5), np.uint8), "(4, 5)"),
        (np.zeros((4, 5, 4), np.uint8), "(4, 5, 4)"),
        (np.zeros((0, 5, 3), np.uint8), "(0, 5, 3)"),
        (np.zeros((4, 5, 3)), "float64"),
        (np.zeros((4, 5, 3), bool), "bool"),
        (np.array(["red", "blue"]), "<U4"),
        (np.full((4, 5, 3), np.nan, np.float32), "NaN"),
        (np.full((4, 5, 3), 255, np.float32), "255"),
    ],
    ids=[
        "text",
        "empty",
        "no colours",
        "no colour",
        "None",
        "grey",
        "alpha",
        "no pixels",
        "float64",
        "bool",
        "names",
        "NaN",
        "255",
    ],
)
def test_bad_palettes_are_named(palette: Any, value: str) -> None:
    with pytest.raises(ImageError, match=re.escape(value)):
        palette_weights(palette)


@pytest.mark.parametrize(
    ("palette", "center"),
    [(["#8a2f2f", "#c04040"], (45.0, 25.0)), (["#1f4f9f", "#3060c0"], (15.0, -50.0)), (["#2f7f3f"], (-35.0, 25.0))],
)
def test_a_palette_pulls_towards_its_colours(
    colorizer: edgecolor.Colorizer, greys: dict[str, Picture], palette: list[str], center: tuple[float, float]
) -> None:
    gray = greys["coffee"]
    plain, pulled = lab(colorizer(gray)), lab(colorizer.predict(gray, palette=palette).image)
    before, after = (np.hypot(*np.moveaxis(colours[..., 1:] - np.array(center), -1, 0)).mean() for colours in (plain, pulled))
    assert after < before - 1


def test_a_reference_picture_pulls_towards_its_colours(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    reference = np.full((50, 60, 3), (31, 79, 159), np.uint8)
    plain, pulled = lab(colorizer(greys["coffee"])), lab(colorizer.predict(greys["coffee"], palette=reference).image)
    assert pulled[..., 2].mean() < plain[..., 2].mean() - 2
    assert_lightness_kept(colorizer.predict(greys["coffee"], palette=reference).image, greys["coffee"])


def test_a_stroke_of_many_points_is_quick_to_pin(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    path = tuple((50 + x / 10, 100 + 30 * np.sin(x / 100)) for x in range(2000))
    colorizer.predict(greys["coffee"], hints=[Hint(50, 100, "teal", path=path)])  # a minute and a gigabyte, once


@pytest.mark.parametrize(
    "hint",
    [
        Hint("a", 1, "red"),  # type: ignore[arg-type]
        Hint(1, 1, "red", path=(3, 4)),  # type: ignore[arg-type]
        Hint(1, 1, "red", radius="b"),  # type: ignore[arg-type]
        Hint(10**400, 1, "red"),
        Hint(1, 1, "red", radius=10**400),
    ],
    ids=["x", "path", "radius", "too large", "too large a radius"],
)
def test_hints_that_are_no_numbers_are_named(hint: Hint) -> None:
    with pytest.raises(ImageError, match="must be numbers"):
        check_hints([hint], (10, 10))


@pytest.mark.parametrize("hints", [None, 5, Hint(1, 1, "red")])
def test_what_is_no_list_of_hints_is_named(hints: Any) -> None:
    with pytest.raises(ImageError, match="hints must be"):
        fake_colorizer().predict(scene(20, 20), hints=hints)


def test_hints_may_come_from_a_generator(tmp_path: Path) -> None:
    gray, path = scene(60, 80), [(30.0, 20.0), (40.0, 50.0)]
    colorizer, hint = fake_colorizer(), Hint(10, 10, "red", path=tuple(path))
    listed = colorizer.predict(gray, hints=[hint]).image
    assert not np.array_equal(listed, colorizer(gray))
    same = Hint(10, 10, "red", path=(point for point in path))  # type: ignore[arg-type]
    assert np.array_equal(listed, colorizer.predict(gray, hints=(each for each in [same])).image)  # type: ignore[arg-type]
    write_picture(tmp_path / "in.png", tripled(gray))
    colorizer.image(tmp_path / "in.png", tmp_path / "out.png", hints=(each for each in [hint]))  # type: ignore[arg-type]
    assert np.array_equal(listed, read_picture(tmp_path / "out.png"))


def test_hints_that_mark_too_many_places_are_named() -> None:
    path = tuple((x % 390 + 1.0, 3.0 * (x // 390)) for x in range(0, 390 * 99, 3))
    with pytest.raises(ImageError, match=r"the hints mark \d+ places, 2000 at most"):
        fake_colorizer().predict(scene(300, 400), hints=[Hint(0, 0, "red", path=path)])


def test_a_hint_in_the_dark_does_not_make_all_around_garish(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    gray = greys["coffee"].copy()
    gray[100:104, 100:104] = 2
    image = colorizer.predict(gray, hints=[Hint(101, 101, "#8a2f2f")]).image
    around = lab(image)[80:122, 80:122, 1:]
    assert np.percentile(np.hypot(around[..., 0], around[..., 1]), 95) < 1.5 * np.hypot(*css_ab("#8a2f2f"))


def test_a_colour_that_cannot_be_seen_is_named() -> None:
    with pytest.raises(ImageError, match="'transparent' is no colour"):
        css_ab("transparent")


@pytest.mark.parametrize("palette", [5, None.__class__, {"red"}])
def test_palettes_of_another_kind_are_errors(palette: Any) -> None:
    with pytest.raises(ImageError, match="a palette is"):
        palette_weights(palette)


@pytest.mark.parametrize("size", [(300, 1200), (1200, 300)])
def test_without_a_radius_it_is_a_hundredth_of_the_shorter_side(size: tuple[int, int]) -> None:
    grid = size[0] * 4 // 5, size[1] * 4 // 5
    usual, named = (hint_planes([Hint(150, 150, "red", radius=radius)], size, grid)[2] for radius in (None, 3.0))
    assert np.array_equal(usual, named)


@pytest.mark.parametrize("finer", [2, 4])
def test_a_pin_reaches_as_far_on_a_finer_grid(finer: int) -> None:
    luma, hint = read_luma(scene(*SIZE, dtype="float32")), Hint(100, 60, "teal")
    reached = []
    for number in (1, finer):
        field = ChromaField(np.zeros((number * GRID[0], number * GRID[1], 4), np.float32), SIZE)
        pinned = pin(field, [hint], luma.at([(100, 60)]), number)
        reached.append([pinned.at(x, y)[1] / pinned.at(100, 60)[1] for x, y in ((105, 60), (95, 60), (100, 65), (100, 55))])
    assert reached[1] == pytest.approx(reached[0], abs=0.05)
    assert min(reached[0]) > 0.2
