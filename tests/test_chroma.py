from __future__ import annotations

import threading
import time

import cv2
import numpy as np
import pytest
from fakes import Picture, as_type, assert_lightness_kept, lab, scene, tripled

from edgecolor import _chroma
from edgecolor._chroma import ChromaField, colored, guide, in_strips
from edgecolor._color import LUMINANCE, XYZN_TO_RGB, lab_f, srgb_to_linear
from edgecolor._luma import DTYPES, read_luma


def _noise(height: int, width: int, dtype: str, seed: int, channels: int | None = None) -> Picture:
    """Every value at random, with black and white among them."""
    shape = (height, width) if channels is None else (height, width, channels)
    unit = np.random.default_rng(seed).random(shape) * 1.1 - 0.05
    return as_type(unit.clip(0, 1), dtype)


def _flat_field(a: float, b: float, size: tuple[int, int]) -> ChromaField:
    return ChromaField(np.tile(np.array([0, a, 0, b], np.float32), (32, 32, 1)), size)


def _random_field(reach: float, size: tuple[int, int], seed: int) -> ChromaField:
    random = np.random.default_rng(seed)
    slopes, offsets = (random.uniform(-scale, scale, (64, 96, 2)) for scale in (reach / 50, reach))
    return ChromaField(np.stack([slopes, offsets], axis=-1).reshape(64, 96, 4).astype(np.float32), size)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reach", [20, 130, 1000])
@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_lightness_is_kept_whatever_the_chroma(dtype: str, channels: int | None, reach: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = (int(side) for side in random.integers(1, 200, 2))
    picture = _noise(height, width, dtype, seed, channels)
    result = colored(read_luma(picture), _random_field(reach, (height, width), seed))
    assert result.shape == (height, width, 3)
    assert result.dtype == picture.dtype
    assert_lightness_kept(result, picture)


@pytest.mark.parametrize("ab", [(180, 0), (-180, 180), (0, -180), (128, 128)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_lightness_is_kept_at_every_level(dtype: str, ab: tuple[float, float]) -> None:
    levels = as_type(np.linspace(0, 1, 65536).reshape(256, 256), dtype)
    assert_lightness_kept(colored(read_luma(levels), _flat_field(*ab, (256, 256))), levels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_chroma_gives_the_grey_back(dtype: str) -> None:
    levels = as_type(np.linspace(0, 1, 65536).reshape(256, 256), dtype)
    result = colored(read_luma(levels), _flat_field(0, 0, (256, 256)))
    if dtype == "float32":
        assert result == pytest.approx(tripled(levels), abs=1e-6)
    else:
        assert np.array_equal(result, tripled(levels))


@pytest.mark.parametrize("ab", [(20, 10), (-15, 25), (8, -20)])
def test_chroma_in_gamut_is_the_field_s(ab: tuple[float, float]) -> None:
    picture = as_type(np.linspace(0.45, 0.75, 4096).reshape(64, 64), "float32")
    result = lab(colored(read_luma(picture), _flat_field(*ab, (64, 64))))
    assert np.abs(result[..., 1:] - np.array(ab)).max() < 0.01


def test_chroma_out_of_gamut_shrinks_and_keeps_its_direction() -> None:
    picture = as_type(np.linspace(0, 1, 256).reshape(16, 16), "float32")
    luminance = srgb_to_linear(picture.astype(np.float64))
    result = colored(read_luma(picture), _flat_field(100, -90, (16, 16)))
    assert result.min() >= 0
    assert result.max() <= 1
    got = srgb_to_linear(result.astype(np.float64))
    assert np.abs(got @ (LUMINANCE / LUMINANCE.sum()) - luminance).max() < 2e-6
    root = np.maximum(lab_f(luminance), 6 / 29)
    x, z = (root + 100 / 500) ** 3 - root**3, (root + 90 / 200) ** 3 - root**3
    asked = np.stack([x, np.zeros_like(x), z], axis=-1) @ XYZN_TO_RGB.T
    step = got - luminance[..., None]
    scale = (step * asked).sum(-1) / np.square(asked).sum(-1)
    assert step == pytest.approx(scale[..., None] * asked, abs=1e-5)
    assert scale.max() <= 1 + 1e-5
    assert scale[0, 0] < 0.01
    assert scale[-1, -1] < 0.01


@pytest.mark.parametrize("strip", [1, 777, 1 << 12, 1 << 30])
@pytest.mark.parametrize("dtype", DTYPES)
def test_strips_are_equal_to_the_whole(dtype: str, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = scene(211, 130, dtype)
    luma, field = read_luma(picture), _random_field(40, (211, 130), 0)
    usual = colored(luma, field)
    monkeypatch.setattr(_chroma, "_STRIP_PIXELS", strip)
    difference = np.abs(colored(luma, field).astype(np.float64) - usual)
    # OpenCV rounds the last bits of a float differently in its vector loop and at the loop's end; a seam would be far larger.
    assert difference.max() <= {"uint8": 1, "uint16": 4, "float32": 6e-5}[dtype]
    assert difference.mean() <= {"uint8": 1e-3, "uint16": 0.05, "float32": 1e-6}[dtype]


def test_strips_cover_every_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chroma, "_STRIP_PIXELS", 50)
    seen = np.zeros(101, int)

    def work(start: int, stop: int) -> None:
        seen[start:stop] += 1

    in_strips((101, 7), work)
    assert (seen == 1).all()


def test_a_failure_in_a_strip_is_the_caller_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_chroma, "_STRIP_PIXELS", 10)

    def work(start: int, stop: int) -> None:
        if start <= 42 < stop:
            raise MemoryError("row 42")

    with pytest.raises(MemoryError, match="row 42"):
        in_strips((100, 5), work)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (40, 30), (211, 130), (500, 700)])
def test_a_point_of_the_field_agrees_with_its_rows(size: tuple[int, int]) -> None:
    luma, field = read_luma(scene(*size, dtype="float32")), _random_field(60, size, 3)
    root = luma.rows(0, size[0])[1]
    across_x, across_z = field.rows(0, size[0], root)
    random = np.random.default_rng(0)
    for _ in range(50):
        row, column = int(random.integers(size[0])), int(random.integers(size[1]))
        slope_a, offset_a, slope_b, offset_b = field.at(column + float(random.random()), row + float(random.random()))
        lightness = 116 * root[row, column] - 16
        assert slope_a * lightness + offset_a == pytest.approx(500 * across_x[row, column], abs=0.05)
        assert slope_b * lightness + offset_b == pytest.approx(-200 * across_z[row, column], abs=0.05)


def test_some_rows_of_the_field_are_those_of_the_whole() -> None:
    luma, field = read_luma(scene(211, 130, "float32")), _random_field(60, (211, 130), 3)
    root = luma.rows(0, 211)[1]
    for whole, part in zip(field.rows(0, 211, root), field.rows(57, 90, root[57:90]), strict=True):
        assert part == pytest.approx(whole[57:90], abs=1e-6)


@pytest.mark.parametrize("blur", [0.5, 1.5, 3.0])
def test_chroma_stops_at_an_edge_of_the_luma(blur: float) -> None:
    """Two colours that meet where the light changes, seen as unsharply as a network sees them."""
    grid, edge = 256, 130  # in the middle of a cell
    left = np.arange(grid) < edge
    lightness = np.tile(np.where(left, 30, 75).astype(np.float32), (grid, 1))
    truth = np.tile(np.where(left, 30, -30).astype(np.float32), (grid, 1))
    sharp = cv2.resize(np.dstack([truth, -truth]), (grid // 4, grid // 4), interpolation=cv2.INTER_AREA)
    cells = cv2.GaussianBlur(sharp, (0, 0), blur).astype(np.float32)
    field = guide(cells, lightness, (grid, grid))
    guided = field.coefficients[..., 0] * lightness + field.coefficients[..., 1]
    enlarged = cv2.resize(cells, (grid, grid), interpolation=cv2.INTER_LINEAR)[..., 0]
    step = np.abs(guided[:, edge] - guided[:, edge - 1]).mean()
    assert step > 3 * np.abs(enlarged[:, edge] - enlarged[:, edge - 1]).mean()
    beside = slice(edge - 2, edge + 2)
    assert np.abs(guided - truth)[:, beside].mean() < 0.95 * np.abs(enlarged - truth)[:, beside].mean()


def test_even_chroma_stays_even() -> None:
    cells = np.tile(np.array([25, -12], np.float32), (64, 48, 1))
    lightness = np.random.default_rng(0).uniform(0, 100, (256, 192)).astype(np.float32)
    field = guide(cells, lightness, (1000, 750))
    assert np.abs(field.coefficients - np.array([0, 25, 0, -12])).max() < 1e-3
    assert field.size == (1000, 750)


@pytest.mark.parametrize("who", ["the caller", "a helper"])
def test_after_a_failure_no_further_strip_is_begun(monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(_chroma, "_STRIP_PIXELS", 1)
    begun: list[int] = []

    def work(start: int, _: int) -> None:
        begun.append(start)
        if (threading.current_thread() is threading.main_thread()) == (who == "the caller"):
            raise MemoryError
        time.sleep(0.02)

    with pytest.raises(MemoryError):
        in_strips((200, 1), work)
    assert len(begun) < 100
