"""The closer look: when it is taken, what its tiles are told, and that nothing shows where they meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import AREA, FakeEngine, Picture, as_type, assert_lightness_kept, fake_colorizer, fake_model, lab, pixels_of, scene

from edgecolor import Colorizer, Hint, ImageError
from edgecolor._cli import main
from edgecolor._detail import AUTO_PIXELS, Answer, Detail, finer_grids, look
from edgecolor._grid import CELL, grid_size, laid, tile_starts, tile_weights
from edgecolor._hints import css_ab
from edgecolor._luma import AreaMean

SIDE = 1100
"""Of a square picture that holds a grid four times finer, and more than a megapixel."""


class _Judge:
    """Answers chroma and confidence of its own for the whole and for each finer grid's tiles."""

    def __init__(self, *confidences: float) -> None:
        self.confidences = confidences
        self.number = 0
        self.seen: list[tuple[int, ...]] = []

    def planes_of(self, finer: int) -> Picture:
        self.number = {1: 0, 2: 1, 4: 2}[finer]
        return np.full((1, 4, 64 * finer, 96 * finer), finer, np.float32)

    def __call__(self, planes: Picture) -> Answer:
        self.seen.append(planes.shape)
        height, width = planes.shape[2] // CELL, planes.shape[3] // CELL
        confidence = np.full((height, width), self.confidences[self.number], np.float32)
        return Answer(np.full((height, width, 2), 10 * self.number, np.float32), confidence)


def _saved(path: Path, array: Picture, orientation: int = 1) -> Path:
    import pyvips

    image = pyvips.Image.new_from_array(array)
    if array.dtype == np.uint16:
        image = image.copy(interpretation="rgb16" if array.ndim == 3 else "grey16")
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    image.write_to_file(str(path))
    return path


def _large(dtype: str = "uint8") -> Picture:
    return scene(SIDE, SIDE, dtype)


# When it is taken


@pytest.mark.parametrize("detail", [0, 3, 8, "2", "", None, True, 1.5])
def test_what_is_no_detail_is_named_and_leaves_nothing(tmp_path: Path, detail: Any) -> None:
    source = _saved(tmp_path / "a.png", scene(40, 40))
    with pytest.raises(ImageError, match="detail must be one of 'auto', 1, 2, 4, got"):
        fake_colorizer().image(source, tmp_path / "b.png", detail=detail)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_command_line_names_what_is_no_detail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["image", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--detail", "3"])
    assert "invalid choice: '3'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("detail", "size", "expected"),
    [
        (1, (5000, 5000), ()),
        (2, (5000, 5000), (2,)),
        (4, (5000, 5000), (4,)),
        ("auto", (5000, 5000), (2, 4)),
        (4, (500, 500), (2,)),
        (4, (200, 200), ()),
        (2, (40, 5000), ()),
        (4, (1, 1), ()),
        ("auto", (900, 900), ()),
    ],
)
def test_a_finer_grid_needs_a_picture_that_holds_it(detail: Detail, size: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert finer_grids(detail, size, AREA) == expected


@pytest.mark.parametrize("size", [(800, 1250), (1000, 1000), (20000, 300), (28000, 28672), (90000, 90000)])
def test_the_finest_grid_does_not_grow_with_the_scan(size: tuple[int, int]) -> None:
    height, width = grid_size(*size, AREA)
    assert all(finer**2 * height * width <= 16 * 1.5 * AREA for finer in finer_grids("auto", size, AREA))


@pytest.mark.parametrize(
    ("confidences", "chosen"), [((0.6, 0.5, 0.9), 1), ((0.6, 0.7, 0.5), 2), ((0.6, 0.7, 0.8), 4), ((0.6, 0.605, 0.9), 1)]
)
def test_auto_goes_on_while_the_network_gets_surer(confidences: tuple[float, ...], chosen: int) -> None:
    judge = _Judge(*confidences)
    finer, answer = look(judge, judge.planes_of, (2, 4), "auto")
    assert finer == chosen
    assert answer.confidence.shape == (16 * chosen, 24 * chosen)


def test_what_is_asked_for_is_done_however_sure() -> None:
    judge = _Judge(0.9, 0.9, 0.1)
    assert look(judge, judge.planes_of, (4,), 4)[0] == 4


def test_the_surer_one_decides() -> None:
    near, far = _Judge(0.3, 0.9), _Judge(0.9, 0.3)
    assert look(near, near.planes_of, (2,), 2)[1].ab.mean() > 9
    assert look(far, far.planes_of, (2,), 2)[1].ab.mean() < 1
    even = _Judge(0.0, 0.0)
    assert np.isfinite(look(even, even.planes_of, (2,), 2)[1].ab).all()


def test_a_small_picture_comes_out_the_same_at_any_detail(tmp_path: Path) -> None:
    source = _saved(tmp_path / "a.png", scene(190, 180))
    results = []
    for detail in ("auto", 1, 2, 4):
        fake_colorizer().image(source, tmp_path / f"{detail}.png", detail=detail)
        results.append(pixels_of(tmp_path / f"{detail}.png"))
    assert all(np.array_equal(result, results[0]) for result in results)


def test_auto_looks_once_at_a_snapshot_and_closer_at_more(tmp_path: Path) -> None:
    looks = []
    for side in (900, SIDE):
        engine = FakeEngine()
        source = _saved(tmp_path / f"{side}.png", scene(side, side))
        Colorizer(engine, fake_model()).image(source, tmp_path / "out.png")
        looks.append(len(engine.planes))
    assert 900 * 900 < AUTO_PIXELS < SIDE * SIDE
    assert looks[0] == 1
    assert looks[1] > 1


@pytest.mark.parametrize(("closer", "chosen"), [(0.62, 1), (0.64, 1), (0.66, 2)])
def test_auto_wants_to_be_visibly_surer(closer: float, chosen: int) -> None:
    judge = _Judge(0.6, closer, 0.5)
    assert look(judge, judge.planes_of, (2, 4), "auto")[0] == chosen


# Tiles


@pytest.mark.parametrize("tile", [32, 160, 192, 224])
@pytest.mark.parametrize("finer", [1, 2, 4])
def test_tiles_cover_the_grid_and_overlap(finer: int, tile: int) -> None:
    starts = tile_starts(finer * tile, tile)
    assert starts[0] == 0
    assert starts[-1] == (finer - 1) * tile
    assert all(start % CELL == 0 for start in starts)
    assert all(0 < step <= 0.75 * tile + CELL for step in np.diff(starts))


def test_tiles_fade_to_their_borders() -> None:
    weights = tile_weights(50, 40)
    assert weights.shape == (50, 40)
    assert weights.min() > 0
    assert weights[0].max() < 0.03 * weights.max()
    leaving, coming = weights[25, -10:], weights[25, :10]
    assert np.diff(coming / (coming + leaving)) == pytest.approx(0.1, abs=0.05), "evenly from one to the next"


def test_tiles_are_as_large_as_the_first_grid_whatever_the_picture(tmp_path: Path) -> None:
    shapes = []
    for side in (SIDE, 3 * SIDE):
        engine = FakeEngine()
        _saved(tmp_path / "a.tif", scene(side, side))
        Colorizer(engine, fake_model()).image(tmp_path / "a.tif", tmp_path / "b.tif", detail=4)
        shapes.append([planes.shape for planes in engine.planes])
    assert shapes[0] == shapes[1]
    assert len(set(shapes[0])) == 1


def test_a_grid_merged_is_the_grid_taken_at_once() -> None:
    picture = scene(517, 431)
    fine, coarse = AreaMean((517, 431), (256, 192)), AreaMean((517, 431), (64, 48))
    for mean in (fine, coarse):
        mean.add(0, picture)
    assert fine.coarser(4).lightness() == pytest.approx(coarse.lightness(), abs=1e-4)


# What is promised holds


@pytest.mark.parametrize(("detail", "dtype"), [(2, "uint8"), (4, "uint16"), (4, "float32")])
def test_lightness_and_depth_are_kept(tmp_path: Path, detail: Detail, dtype: str) -> None:
    gray = _large(dtype)
    fake_colorizer(25).image(_saved(tmp_path / "a.tif", gray), tmp_path / "b.tif", detail=detail)
    result = cv2.imread(str(tmp_path / "b.tif"), cv2.IMREAD_UNCHANGED)
    assert result is not None
    assert result.dtype == gray.dtype
    assert_lightness_kept(result[..., ::-1], gray)


@pytest.mark.parametrize("detail", [2, 4])
def test_hints_hold_and_the_tiles_they_fall_into_know_them(tmp_path: Path, detail: Detail) -> None:
    engine = FakeEngine()
    source = _saved(tmp_path / "a.png", np.full((SIDE, SIDE), 128, np.uint8))
    hints = [Hint(100, 1000, "teal"), Hint(555, 410, "#8a2f2f", radius=3)]
    Colorizer(engine, fake_model()).image(source, tmp_path / "b.png", detail=detail, hints=hints)
    colors = lab(pixels_of(tmp_path / "b.png"))[..., 1:]
    for hint in hints:
        assert colors[int(hint.y), int(hint.x)] == pytest.approx(np.array(css_ab(hint.color)), abs=2)
    told = [planes for planes in engine.planes[1:] if planes[0, 3].any()]
    assert 0 < len(told) < len(engine.planes) - 1
    assert {float(value) for planes in told for value in np.unique(planes[0, 3])} == {0, 1}


@pytest.mark.parametrize(("detail", "orientation"), [(2, 3), (4, 6), (2, 7)])
def test_a_turned_picture_comes_out_as_the_upright_one(tmp_path: Path, orientation: int, detail: Detail) -> None:
    standing = scene(SIDE, SIDE + 300)
    hint = Hint(40, 1000, "teal")
    results = []
    for turned in (1, orientation):
        source = _saved(tmp_path / f"{turned}.tif", laid(standing, turned), turned)
        fake_colorizer().image(source, tmp_path / "out.tif", detail=detail, hints=[hint])
        import pyvips

        results.append(pyvips.Image.new_from_buffer((tmp_path / "out.tif").read_bytes(), "").numpy())
    assert np.abs(laid(results[0], orientation).astype(int) - results[1]).max() <= 1


def test_alpha_and_what_lies_outside_a_region_are_kept(tmp_path: Path) -> None:
    gray, alpha = _large(), as_type(np.tile(np.linspace(0.1, 1, SIDE), (SIDE, 1)), "uint8")
    region = np.zeros((SIDE, SIDE), np.bool_)
    region[200:900, 300:] = True
    source = _saved(tmp_path / "a.png", np.dstack([gray, gray, gray, alpha]))
    fake_colorizer().image(source, tmp_path / "b.png", detail=2, region=region)
    import pyvips

    result = pyvips.Image.new_from_file(str(tmp_path / "b.png")).numpy()
    assert np.array_equal(result[..., 3], alpha)
    assert np.array_equal(result[~region][:, :3], np.repeat(gray[~region][:, None], 3, axis=1))
    assert (np.ptp(result[region][:, :3].astype(int), axis=1) > 10).mean() > 0.5


def test_palettes_and_vividness_reach_the_tiles(tmp_path: Path) -> None:
    engine = FakeEngine()
    source = _saved(tmp_path / "a.png", _large())
    Colorizer(engine, fake_model()).image(source, tmp_path / "b.png", detail=2, palette=["teal"], vividness=0)
    assert set(engine.outputs) == {("colors", "logits")}
    assert np.abs(lab(pixels_of(tmp_path / "b.png"))[..., 1:]).max() < 1


def test_the_confidence_is_that_of_the_closer_look(tmp_path: Path) -> None:
    source = _saved(tmp_path / "a.png", _large())
    maps = []
    for detail in (1, 2):
        fake_colorizer().image(source, tmp_path / "b.png", detail=detail, confidence=tmp_path / f"{detail}.png")
        maps.append(pixels_of(tmp_path / f"{detail}.png").astype(int))
    assert maps[0].shape == maps[1].shape
    assert np.abs(maps[0] - maps[1]).max() > 10


def test_the_command_passes_detail_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def image(*_: Any, detail: Any, **__: Any) -> tuple[str, ...]:
        given.append(detail)
        return ()

    monkeypatch.setattr(Colorizer, "image", image)
    source = _saved(tmp_path / "a.png", scene(40, 40))
    for more in (["--detail", "auto"], ["--detail", "4"], []):
        with pytest.raises(SystemExit, match="0"):
            main(["image", str(source), "-o", str(tmp_path / "b.png"), *more])
    assert given == ["auto", 4, "auto"]


# Of an array


@pytest.mark.parametrize("detail", [1, 2, 4, "auto"])
def test_predict_decides_as_a_file_is_decided(tmp_path: Path, detail: Detail) -> None:
    gray = _large()
    hints = [Hint(100, 1000, "teal")]
    source = _saved(tmp_path / "a.png", gray)
    fake_colorizer().image(source, tmp_path / "b.png", detail=detail, hints=hints, vividness=0.8, confidence=tmp_path / "c.png")
    answer = fake_colorizer().predict(gray, detail=detail, hints=hints, vividness=0.8)
    assert np.abs(answer.image.astype(int) - pixels_of(tmp_path / "b.png")).max() <= 1
    assert np.abs(255 * answer.confidence - pixels_of(tmp_path / "c.png")).max() <= 2, "levels of whole cells are written"


def test_predict_looks_once_unless_it_is_asked() -> None:
    engine = FakeEngine()
    Colorizer(engine, fake_model()).predict(_large())
    assert len(engine.planes) == 1
    with pytest.raises(ImageError, match="detail must be one of 'auto', 1, 2, 4, got 3"):
        fake_colorizer().predict(_large(), detail=3)  # type: ignore[arg-type]


def test_alternatives_of_a_closer_look_differ_and_keep_the_lightness(colorizer: Colorizer) -> None:
    gray = _large()
    answer = colorizer.predict(gray, detail=2)
    others = answer.alternatives(2)
    for other in others:
        assert_lightness_kept(other, gray)
        assert np.abs(other.astype(int) - answer.image).mean() > 1


def test_explain_describes_the_picture_that_image_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    predict = Colorizer.predict

    def noted(self: Colorizer, gray: Picture, **options: Any) -> Any:
        given.append(options["detail"])
        return predict(self, gray, **options)

    monkeypatch.setattr(Colorizer, "predict", noted)
    source = _saved(tmp_path / "a.png", scene(40, 40))
    for more in ([], ["--detail", "2"]):
        with pytest.raises(SystemExit, match="0"):
            main(["explain", str(source), "-o", str(tmp_path / "b.png"), *more])
    assert given == ["auto", 2]
