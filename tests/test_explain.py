from __future__ import annotations

import numpy as np
import pytest
from fakes import Picture, fake_colorizer, mean_error, scene, tripled, two_peaks

import edgecolor
from edgecolor._color import ab_bins, compress_chroma, decode_bins, delta_e00
from edgecolor._explain import GUESS, SURE, alternative_chroma, report, report_figures, shifted_confidence

FIGURES = {"mean_confidence", "share_sure", "share_between", "share_guess", "sure_from", "guess_below"}


def _certain(ab: tuple[float, float], shape: tuple[int, int] = (8, 8)) -> Picture:
    """Logits that leave no doubt."""
    logits = np.full((128, *shape), -30, np.float32)
    logits[np.square(ab_bins() - np.array(ab)).sum(-1).argmin()] = 30
    return logits


def _decode(logits: Picture, preference: Picture | None = None) -> Picture:
    return decode_bins(logits, 0.5, preference)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("size", [(1, 1), (40, 30), (900, 20), (20, 900), (1, 400), (400, 1), (300, 400)])
def test_every_picture_has_a_report(size: tuple[int, int], dtype: str) -> None:
    picture = scene(*size, dtype)
    answer = fake_colorizer().predict(picture)
    sheet = report(picture, answer, answer.alternatives(2))
    assert sheet.dtype == np.uint8
    assert sheet.ndim == 3
    assert sheet.shape[2] == 3
    assert sheet.shape[1] >= 3 * 300, "three panels side by side"
    assert max(sheet.shape) < 4000


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 1), (40, 60, 3)])
def test_the_original_may_have_any_shape(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    answer = fake_colorizer().predict(picture)
    assert report(picture, answer, answer.alternatives(2)).dtype == np.uint8


def test_the_report_shows_colours_and_paper() -> None:
    picture = scene(300, 400)
    answer = fake_colorizer().predict(picture)
    sheet = report(picture, answer, answer.alternatives(2)).astype(int)
    assert (sheet[:10, :10] == 255).all()
    assert (np.ptp(sheet, axis=2) > 20).mean() > 0.2


def test_the_report_says_that_colours_were_not_used() -> None:
    gray = scene(300, 400)
    answer = fake_colorizer().predict(gray)
    grey, rgb = tripled(gray), np.dstack([gray, gray // 2, gray])
    titles = [report(picture, answer, answer.alternatives(2))[:40, :570] for picture in (gray, grey, rgb)]
    assert np.array_equal(titles[0], titles[1])
    assert not np.array_equal(titles[0], titles[2])


def test_the_report_leaves_the_answer_alone() -> None:
    picture = scene(60, 80)
    answer = fake_colorizer().predict(picture)
    before = picture.copy(), answer.image.copy(), answer.confidence.copy()
    report(picture, answer, answer.alternatives(2))
    for changed, kept in zip((picture, answer.image, answer.confidence), before, strict=True):
        assert np.array_equal(changed, kept)


@pytest.mark.parametrize("size", [(1, 1), (40, 30), (300, 400)])
def test_figures_are_shares(colorizer: edgecolor.Colorizer, size: tuple[int, int]) -> None:
    figures = report_figures(colorizer.predict(scene(*size)))
    assert set(figures) >= FIGURES
    assert all(type(value) is float for value in figures.values())
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures["share_sure"] + figures["share_between"] + figures["share_guess"] == pytest.approx(1)


def test_figures_count_pixels() -> None:
    confidence = np.array([[0.1, GUESS - 0.01, GUESS, SURE - 0.01], [SURE, 0.9, 1.0, 0.5]], np.float32)
    answer = edgecolor.Colorization(tripled(np.zeros((2, 4), np.uint8)), confidence, lambda _: [])
    figures = report_figures(answer)
    assert figures["share_guess"] == pytest.approx(2 / 8)
    assert figures["share_sure"] == pytest.approx(3 / 8)
    assert figures["mean_confidence"] == pytest.approx(confidence.mean())


def test_alternatives_are_chroma_of_the_cells() -> None:
    ab = np.stack(np.meshgrid(np.linspace(-40, 40, 12), np.linspace(-40, 40, 10)))
    logits = two_peaks(ab).astype(np.float32)
    for chroma in alternative_chroma(logits, _decode, _decode(logits), 3):
        assert chroma.shape == (10, 12, 2)
        assert np.isfinite(chroma).all()


def test_the_other_peak_is_found_first() -> None:
    ab = np.tile(np.array([35.0, 15.0])[:, None, None], (1, 8, 8))
    given = _decode(two_peaks(ab).astype(np.float32))
    (other,) = alternative_chroma(two_peaks(ab).astype(np.float32), _decode, given, 1)
    assert (given @ np.array([35, 15]) > 0).all()
    assert (other @ np.array([35, 15]) < 0).all()


def test_where_there_is_no_doubt_the_colour_stays() -> None:
    doubtful = two_peaks(np.tile(np.array([35.0, 15.0])[:, None, None], (1, 8, 8))).astype(np.float32)
    logits = np.concatenate([_certain((-20, 30)), doubtful], axis=2)
    given = _decode(logits)
    for chroma in alternative_chroma(logits, _decode, given, 2):
        assert chroma[:, :8] == pytest.approx(given[:, :8], abs=0.1)
    first = alternative_chroma(logits, _decode, given, 1)[0]
    assert np.abs(first[:, 8:] - given[:, 8:]).mean() > 5


@pytest.mark.parametrize("count", [1, 2, 5])
def test_alternatives_are_as_many_and_differ(count: int) -> None:
    random = np.random.default_rng(0)
    bins = compress_chroma(ab_bins())
    centres = random.uniform(-20, 20, (3, 2))
    logits = np.log(sum(np.exp(-np.square(bins - centre).sum(-1) / 30) for centre in centres) + 1e-5)
    cells = np.tile(logits[:, None, None].astype(np.float32), (1, 16, 16))
    found = alternative_chroma(cells, _decode, _decode(cells), count)
    assert len(found) == count
    chromas = [_decode(cells), *found]
    assert min(np.abs(a - b).max() for i, a in enumerate(chromas) for b in chromas[:i]) > 1


def test_a_sure_network_still_gives_as_many_as_asked() -> None:
    certain = _certain((30, 30))
    assert len(alternative_chroma(certain, _decode, _decode(certain), 4)) == 4


def test_alternatives_of_a_photograph_differ(colorizer: edgecolor.Colorizer, greys: dict[str, Picture]) -> None:
    answer = colorizer.predict(greys["astronaut"])
    first, second = answer.alternatives(2)
    assert mean_error(first, second) > 0.5
    assert mean_error(first, answer.image) > 0.5


@pytest.mark.parametrize(("away", "holds"), [(9.0, True), (11.0, False)])
def test_a_colour_is_right_within_10(away: float, holds: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """All of the distribution is one colour: one within CIEDE2000 10 of it is as sure as it, one beyond is not."""
    own = ab_bins()[np.square(ab_bins() - np.array([20, 10])).sum(-1).argmin()].astype(np.float64)
    steps = own * np.linspace(1, 4, 3001)[:, None]
    distance = delta_e00(np.array([60, *own]), np.insert(steps, 0, 60, axis=1))
    given = steps[np.abs(distance - away).argmin()]
    cells = [np.tile(ab.astype(np.float32), (8, 8, 1)) for ab in (own, given)]
    sure, light = np.full((8, 8), 0.5, np.float32), np.full((8, 8), 60, np.float32)
    shifted = shifted_confidence(sure, _certain((20, 10)), light, *cells)
    assert (shifted > 0.4).all() if holds else (shifted < 0.1).all()
