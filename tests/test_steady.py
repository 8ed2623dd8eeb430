from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import PHOTOS as FOLDER
from fakes import FakeEngine, Picture, assert_lightness_kept, fake_colorizer, fake_model, lab, mean_error, pixels_of, scene

import edgecolor
from benchmarks.shots import Shot, color_distribution_consistency, flicker, take
from edgecolor import ImageError
from edgecolor._engine import Array, OutputName
from edgecolor._grid import grid_size
from edgecolor._models import find_model
from edgecolor._steady import Carrier, fit


class RestlessEngine(FakeEngine):
    """Gives every frame one colour all over, each time another."""

    def run(self, planes: Array, *outputs: OutputName) -> tuple[Array, ...]:
        answers = super().run(planes, *outputs)
        turn = 2 * np.pi * len(self.planes) * 0.381966
        answers[0][0, :2] = self.chroma * np.array([np.cos(turn), np.sin(turn)])[:, None, None]
        answers[0][0, 2] = 0.5
        return answers


def _restless() -> edgecolor.Colorizer:
    return edgecolor.Colorizer(RestlessEngine(), fake_model())


def _shot(name: str, seed: int = 0, frames: int = 12) -> Shot:
    return take(pixels_of(FOLDER / f"{name}.jpg"), np.random.default_rng(seed), frames=frames)


def _chroma(rgb: Picture) -> Picture:
    return lab(rgb)[..., 1:]


@pytest.fixture(scope="module")
def shots() -> list[Shot]:
    return [_shot(name, seed) for seed, name in enumerate(("coffee", "cat", "astronaut"))]


# Steadiness


def test_flicker_falls_to_a_third_and_the_colours_get_no_worse(colorizer: edgecolor.Colorizer, shots: list[Shot]) -> None:
    figures = []
    for shot in shots:
        steady = colorizer.steady()
        alone, held = [colorizer(grey) for grey in shot.greys], [steady(grey) for grey in shot.greys]
        assert steady.cuts == 0
        assert flicker(shot, held) < 0.35 * flicker(shot, alone)
        # Over all frames: one alone is too small a sample to tell a per cent
        errors = [float(np.mean(list(map(mean_error, frames, shot.truth)))) for frames in (alone, held)]
        figures.append([*errors, *map(color_distribution_consistency, (held, shot.truth))])
    alone_error, held_error, held_cdc, true_cdc = np.mean(figures, axis=0)
    assert held_error < 1.02 * alone_error
    assert held_cdc < 1.2 * true_cdc


def test_colours_are_as_strong_as_those_of_single_frames(colorizer: edgecolor.Colorizer, shots: list[Shot]) -> None:
    for shot in shots:
        # Over all frames: a single frame of the cup has between 7 and 20, which is the flicker
        held, alone = (
            float(np.mean([np.linalg.norm(_chroma(color(grey)), axis=-1).mean() for grey in shot.greys]))
            for color in (colorizer.steady(), colorizer)
        )
        assert held > 0.9 * alone


def test_one_frame_s_whim_hardly_shows() -> None:
    shot = _shot("coffee")
    steady, alone = _restless().steady(), _restless()
    for colorize, most in ((steady, 12), (alone, 80)):
        means = [_chroma(colorize(grey)).mean((0, 1)) for grey in shot.greys]
        jumps = np.linalg.norm(np.diff(means, axis=0), axis=-1)[-4:]
        assert jumps.max() < most
    assert jumps.min() > 40


def test_a_still_picture_comes_to_rest_at_the_mean_of_what_was_said() -> None:
    """Two colours by turns, both equally sure: in the end neither, and without drift."""
    carrier = Carrier()
    light = np.linspace(10, 90, 96 * 128, dtype=np.float32).reshape(96, 128)
    fresh = np.zeros((3, 24, 32), np.float32)
    fresh[2] = 0.5
    for turn in range(200):
        fresh[0] = 10 if turn % 2 else 30
        ab = carrier.settle(light, carrier.follow(light), fresh)
    assert np.abs(ab[..., 0] - 20).max() < 1
    assert np.abs(ab[..., 1]).max() < 1e-3


def test_what_is_sure_outweighs_what_is_not() -> None:
    carrier = Carrier()
    light = np.linspace(10, 90, 96 * 128, dtype=np.float32).reshape(96, 128)
    fresh = np.zeros((3, 24, 32), np.float32)
    fresh[:, :, :] = np.array([40, 0, 0.9], np.float32)[:, None, None]
    carrier.settle(light, carrier.follow(light), fresh)
    fresh[:, :, :] = np.array([-40, 0, 0.1], np.float32)[:, None, None]
    assert carrier.settle(light, carrier.follow(light), fresh)[..., 0].mean() > 30
    fresh[:, :, :] = np.array([-40, 0, 0.9], np.float32)[:, None, None]
    assert carrier.settle(light, carrier.follow(light), fresh)[..., 0].mean() < 30


def test_what_comes_into_view_is_coloured_at_once() -> None:
    """A block appears before a still ground: it takes the newest colour, the ground keeps its own."""
    steady = _restless().steady()
    ground = cv2.GaussianBlur(scene(192, 256, seed=3), (0, 0), 2)
    for _ in range(12):
        steady(ground)
    changed = ground.copy()
    changed[40:150, 80:180] = cv2.GaussianBlur(scene(110, 100, seed=8), (0, 0), 1)
    steady(ground)
    before = steady(ground)
    engine: Any = steady._decide.func.__self__._engine  # type: ignore[attr-defined]
    after = steady(changed)
    turn = 2 * np.pi * len(engine.planes) * 0.381966
    newest = engine.chroma * np.array([np.cos(turn), np.sin(turn)])
    block = np.median(_chroma(after)[60:130, 100:160], axis=(0, 1))
    assert block @ newest > 0.95 * np.linalg.norm(block) * np.linalg.norm(newest)  # that hue, as far as the gamut goes
    kept = np.linalg.norm(_chroma(after)[:, :50] - _chroma(before)[:, :50], axis=-1)
    assert kept.mean() < 0.15 * engine.chroma


def test_the_past_fits_whatever_the_exposure_and_nowhere_outside_its_frame() -> None:
    moved = lab(scene(96, 128))[..., 0].astype(np.float32)
    within = np.ones(moved.shape, np.float32)
    within[:, :10] = 0
    weights = fit(moved, 0.6 * moved + 25, within)
    assert (weights[:, :10] == 0).all()
    assert weights[:, 10:].min() > 0.95
    changed = moved.copy()
    changed[40:60, 60:90] = 100 - changed[40:60, 60:90]
    assert fit(moved, 0.6 * changed + 25, within)[45:55, 65:85].mean() < 0.5


# Cuts


def test_cuts_are_found_and_nothing_is_carried_across(colorizer: edgecolor.Colorizer, shots: list[Shot]) -> None:
    steady = colorizer.steady()
    for number, shot in enumerate(shots):
        first = steady(shot.greys[0])
        assert steady.cuts == number
        assert np.array_equal(first, colorizer.steady()(shot.greys[0]))
        for grey in shot.greys[1:]:
            steady(grey)
    assert steady.cuts == len(shots) - 1


@pytest.mark.parametrize(
    "change",
    [
        lambda grey: np.clip(grey * 1.7, 0, 255).astype(np.uint8),
        lambda grey: (grey * 0.5).astype(np.uint8),
        lambda grey: np.clip(grey + np.random.default_rng(0).normal(0, 8, grey.shape), 0, 255).astype(np.uint8),
        lambda grey: np.roll(grey, 9, axis=1),
        lambda grey: cv2.resize(grey[12:-12, 16:-16], grey.shape[::-1]),
    ],
    ids=["flash", "darker", "grain", "shift", "zoom"],
)
def test_a_change_of_light_or_view_is_no_cut(change: Any) -> None:
    for shot in (_shot("cat", 1), _shot("temple", 2)):
        steady = fake_colorizer().steady()
        for grey in (shot.greys[0], change(shot.greys[0]), shot.greys[0]):
            steady(grey)
        assert steady.cuts == 0


def test_a_flash_keeps_the_colours() -> None:
    shot = _shot("cat", 1)
    steady = _restless().steady()
    for _ in range(12):
        before = steady(shot.greys[0])
    after = steady(np.clip(shot.greys[0] * 1.3, 0, 255).astype(np.uint8))
    moved = np.linalg.norm(np.median(_chroma(after), axis=(0, 1)) - np.median(_chroma(before), axis=(0, 1)))
    assert moved < 0.2 * 40


@pytest.mark.parametrize("levels", [(0, 0), (255, 255), (100, 101)])
def test_even_frames_are_no_cuts(levels: tuple[int, int]) -> None:
    steady = fake_colorizer().steady()
    for level in levels:
        steady(np.full((90, 160), level, np.uint8))
    assert steady.cuts == 0


def test_black_to_white_is_a_cut() -> None:
    steady = fake_colorizer().steady()
    for level in (0, 255):
        steady(np.full((90, 160), level, np.uint8))
    assert steady.cuts == 1


def test_after_a_failure_of_the_network_nothing_goes_on_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    steady = edgecolor.Colorizer(engine, fake_model()).steady()
    steady(scene(64, 64))
    done: list[int] = []
    follow = Carrier.follow

    def slow(self: Carrier, lightness: Any) -> Any:
        time.sleep(0.2)
        done.append(1)
        return follow(self, lightness)

    def fail(*_: Any) -> Any:
        raise edgecolor.EngineBuildError("the GPU is gone")

    monkeypatch.setattr(Carrier, "follow", slow)
    monkeypatch.setattr(engine, "run", fail)
    with pytest.raises(edgecolor.EngineBuildError, match="the GPU is gone"):
        steady(scene(64, 64))
    assert done == [1], "the next frame would meet it at work"


def test_reset_forgets() -> None:
    shot = _shot("coffee")
    colorizer = _restless()
    steady = colorizer.steady()
    steady(shot.greys[0])
    steady.reset()
    once = steady(shot.greys[1])
    assert steady.cuts == 0
    other = _restless()
    other(shot.greys[0])
    assert np.array_equal(once, other.steady()(shot.greys[1]))


@pytest.mark.parametrize(("levels", "cuts"), [((60, 90), 0), ((60, 120), 1)])
def test_even_frames_of_another_brightness_are_a_cut(levels: tuple[int, int], cuts: int) -> None:
    steady = fake_colorizer().steady()
    for level in levels:
        steady(np.full((90, 160), level, np.uint8))
    assert steady.cuts == cuts


# The same promises as for single frames


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_lightness_is_kept(dtype: str) -> None:
    steady = fake_colorizer().steady()
    for seed in range(3):
        grey = scene(60, 90, dtype, seed=seed)
        assert_lightness_kept(steady(grey), grey)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (479, 853), (33, 20)])
def test_any_size_and_changes_of_size(size: tuple[int, int]) -> None:
    steady = fake_colorizer().steady()
    for shape in (size, size, (48, 64), size):
        assert steady(scene(*shape)).shape == (*shape, 3)
        u, _ = steady.chroma_planes(scene(*shape))
        assert u.shape == ((shape[0] + 1) // 2, (shape[1] + 1) // 2)


def test_channels_come_in_the_colorizer_s_order() -> None:
    rgb, bgr = (edgecolor.Colorizer(FakeEngine(), fake_model(), channels=order).steady() for order in ("rgb", "bgr"))
    assert np.array_equal(rgb(scene(40, 50)), bgr(scene(40, 50))[..., ::-1])


def test_streams_of_one_colorizer_do_not_meet(colorizer: edgecolor.Colorizer, shots: list[Shot]) -> None:
    one, two = colorizer.steady(), colorizer.steady()
    mixed = [(one(a), two(b)) for a, b in zip(shots[0].greys[:4], shots[1].greys[:4], strict=True)]
    alone = colorizer.steady()
    assert all(np.array_equal(alone(grey), frame) for grey, (frame, _) in zip(shots[0].greys[:4], mixed, strict=True))


def test_the_confidence_is_that_of_the_last_frame(colorizer: edgecolor.Colorizer, shots: list[Shot]) -> None:
    steady = colorizer.steady()
    assert steady.confidence.shape == (1, 1)
    for grey in shots[0].greys[:2]:
        steady(grey)
    rows, columns = grid_size(*grey.shape, find_model().grid_area)
    assert steady.confidence.shape == (rows // 4, columns // 4)
    small = cv2.resize(colorizer.predict(grey).confidence, (columns // 4, rows // 4), interpolation=cv2.INTER_AREA)
    assert np.abs(steady.confidence - small).mean() < 0.02


@pytest.mark.parametrize("layout", ["NV12", "I420", "YUYV"])
def test_planes_of_a_camera_s_buffer(layout: str) -> None:
    """Y is a view into the buffer, chroma is written into it; Y stays as it is."""
    y = scene(48, 64)
    buffer: Picture
    if layout == "NV12":
        buffer = np.zeros((72, 64), np.uint8)
        luma, uv = buffer[:48], buffer[48:].reshape(24, 32, 2)
        out = uv[..., 0], uv[..., 1]
    elif layout == "I420":
        buffer = np.zeros(48 * 64 * 3 // 2, np.uint8)
        luma = buffer[: 48 * 64].reshape(48, 64)
        out = buffer[48 * 64 : 48 * 80].reshape(24, 32), buffer[48 * 80 :].reshape(24, 32)
    else:
        buffer = np.zeros((48, 64, 2), np.uint8)
        luma, out = buffer[..., 0], (np.empty((24, 32), np.uint8), np.empty((24, 32), np.uint8))
    luma[...] = y
    steady, other = fake_colorizer().steady(), fake_colorizer().steady()
    for _ in range(2):
        got = steady.chroma_planes(luma, out=out)
        assert got[0] is out[0]
        assert got[1] is out[1]
        expected = other.chroma_planes(y)
        assert all(np.array_equal(a, b) for a, b in zip(out, expected, strict=True))
        assert np.array_equal(luma, y)


@pytest.mark.parametrize(
    "out",
    [
        (np.zeros((24, 32), np.uint8),) * 1,
        (np.zeros((24, 31), np.uint8), np.zeros((24, 32), np.uint8)),
        (np.zeros((24, 32), np.uint16), np.zeros((24, 32), np.uint16)),
        (None, np.zeros((24, 32), np.uint8)),
    ],
    ids=["one", "size", "dtype", "None"],
)
def test_planes_that_do_not_fit_are_named(out: Any) -> None:
    with pytest.raises(ImageError, match="two writeable arrays uint8"):
        fake_colorizer().steady().chroma_planes(scene(48, 64), out=out)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("full_range", [False, True])
def test_more_bits_are_the_same_colours_finer(bits: int, full_range: bool) -> None:  # noqa: FBT001  # a parameter
    y = np.clip(scene(48, 64), 16, 235)
    deep = y.astype(np.uint16) << (bits - 8)
    if full_range:
        deep = np.rint(y * ((2**bits - 1) / 255)).astype(np.uint16)
    coarse = fake_colorizer().chroma_planes(y, full_range=full_range)
    fine = fake_colorizer().chroma_planes(deep, full_range=full_range, bits=bits)
    for one, two in zip(coarse, fine, strict=True):
        assert two.dtype == np.uint16
        assert two.max() < 2**bits
        assert np.abs(two / 2 ** (bits - 8) - one).mean() < 0.5
        assert len(np.unique(two)) > len(np.unique(one))


@pytest.mark.parametrize("vividness", [0, 0.5, 2])
def test_the_confidence_of_a_frame_is_that_of_its_colours_at_1(vividness: float) -> None:
    usual, steady = fake_colorizer().steady(), fake_colorizer().steady(vividness=vividness)
    for frame in (scene(96, 128), scene(96, 128, seed=1)):
        usual(frame)
        steady(frame)
        np.testing.assert_array_equal(steady.confidence, usual.confidence)


# A reference


def _tinted(photo: Picture, ab: tuple[float, float]) -> Picture:
    """The photograph in its own lightness and one colour."""
    from edgecolor._color import lab_to_rgb

    colors = np.dstack([lab(photo)[..., 0], np.full(photo.shape[:2], ab[0]), np.full(photo.shape[:2], ab[1])])
    tinted: Picture = np.rint(255 * lab_to_rgb(colors).clip(0, 1)).astype(np.uint8)
    return tinted


def test_a_reference_keeps_its_colours_throughout(colorizer: edgecolor.Colorizer) -> None:
    """The first frame, coloured by hand in a way no network would, is the reference."""
    shot = _shot("coffee", frames=16)
    reference = _tinted(shot.truth[0], (-25, 20))
    steady = colorizer.steady(reference=reference)
    for number, grey in enumerate(shot.greys):
        chroma = _chroma(steady(grey))
        (now, left, top), (before, old_left, old_top) = shot.views[number], shot.views[0]
        y, x = np.indices(grey.shape)
        there = [(now * x + left - old_left) / before, (now * y + top - old_top) / before]
        seen = (there[0] > 10) & (there[0] < 310) & (there[1] > 10) & (there[1] < 230)
        assert np.linalg.norm(np.median(chroma[seen], axis=0) - [-25, 20]) < 8, number


@pytest.mark.parametrize("referenced", [False, True], ids=["alone", "with a reference of something else"])
def test_vividness_scales_the_chroma_of_frames(colorizer: edgecolor.Colorizer, referenced: bool) -> None:  # noqa: FBT001
    shot = _shot("coffee", frames=3)
    reference = _tinted(_shot("cat", frames=1).truth[0], (20, 20)) if referenced else None
    strength = {}
    for vividness in (0, 0.5, 1):
        frames = list(colorizer.stream(shot.greys, vividness=vividness, reference=reference))
        strength[vividness] = np.mean([np.linalg.norm(_chroma(frame), axis=-1).mean() for frame in frames])
    assert strength[0] < 0.5
    assert strength[1] > 4
    assert strength[0.5] == pytest.approx(strength[1] / 2, rel=0.1)


@pytest.mark.parametrize("vividness", [-1, 2.1, "much"])
def test_a_vividness_out_of_range_is_named_before_the_first_frame(colorizer: edgecolor.Colorizer, vividness: Any) -> None:
    with pytest.raises(edgecolor.ImageError, match="between 0 and 2"):
        colorizer.stream([], vividness=vividness)


@pytest.mark.parametrize("name", ["flower", "cat", "astronaut"])
def test_a_reference_of_something_else_is_a_palette(colorizer: edgecolor.Colorizer, name: str) -> None:
    grey = _shot("coffee", frames=1).greys[0]
    reference = pixels_of(FOLDER / f"{name}.jpg")
    preferred = colorizer.predict(grey, palette=reference).image
    held = colorizer.steady(reference=reference)(grey)
    assert np.linalg.norm(_chroma(held) - _chroma(preferred), axis=-1).mean() < 0.1
    assert np.linalg.norm(_chroma(colorizer.steady()(grey)) - _chroma(preferred), axis=-1).mean() > 1


def test_a_reference_of_the_other_byte_order() -> None:
    photo = (pixels_of(FOLDER / "cat.jpg") / 255).astype(np.float32)
    frame = scene(64, 64)
    one, other = (fake_colorizer().steady(reference=picture)(frame) for picture in (photo, photo.astype(">f4")))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("reference", [scene(40, 50), "a.jpg", np.zeros((4, 4, 3))], ids=["grey", "path", "float64"])
def test_references_that_are_none_are_named(colorizer: edgecolor.Colorizer, reference: Any) -> None:
    with pytest.raises(ImageError):
        colorizer.steady(reference=reference)
