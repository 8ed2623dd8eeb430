from __future__ import annotations

import numpy as np
import pytest
from fakes import Picture

from edgecolor._color import (
    BIN_COUNT,
    LUMINANCE,
    ab_bins,
    compress_chroma,
    decode_bins,
    delta_e00,
    fit_gamut,
    lab_to_linear,
    lab_to_rgb,
    lightness_to_luminance,
    linear_to_srgb,
    luminance_to_lightness,
    rgb_to_lab,
    srgb_to_linear,
)

# Table 1 of Sharma, Wu & Dalal 2005: two colours and their difference.
CIEDE2000 = [
    (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
    (50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615),
    (50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412),
    (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
    (50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
    (50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065),
    (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
    (50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977),
    (50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030),
    (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
    (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
    (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
    (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
]


def _random_lab(count: int = 20000) -> Picture:
    random = np.random.default_rng(1)
    return np.column_stack([random.uniform(0, 100, count), random.uniform(-128, 128, (count, 2))])


@pytest.mark.parametrize("row", CIEDE2000)
def test_ciede2000_of_the_published_pairs(row: tuple[float, ...]) -> None:
    first, second = np.array(row[:3]), np.array(row[3:6])
    assert delta_e00(first, second) == pytest.approx(row[6], abs=1e-4)
    assert delta_e00(second, first) == pytest.approx(row[6], abs=1e-4)


def test_ciede2000_of_arrays_and_of_equal_colours() -> None:
    colors = _random_lab().reshape(100, 200, 3)
    assert delta_e00(colors, colors).shape == (100, 200)
    assert not delta_e00(colors, colors).any()


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((1, 1, 1), (100, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.74, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, int, int], expected: tuple[float, float, float]) -> None:
    assert rgb_to_lab(np.array(rgb, float)) == pytest.approx(expected, abs=0.01)


def test_neutral_colours_have_no_chroma() -> None:
    greys = np.repeat(np.linspace(0, 1, 256)[:, None], 3, axis=1)
    assert np.abs(rgb_to_lab(greys)[:, 1:]).max() < 1e-10


def test_srgb_and_linear_round_trip() -> None:
    codes = np.linspace(0, 1, 65536)
    assert np.abs(linear_to_srgb(srgb_to_linear(codes)) - codes).max() < 1e-7


def test_lightness_and_luminance_round_trip() -> None:
    lightness = np.linspace(0, 100, 10001)
    assert np.abs(luminance_to_lightness(lightness_to_luminance(lightness)) - lightness).max() < 1e-10


def test_lab_round_trip() -> None:
    rgb = np.random.default_rng(2).random((20000, 3))
    assert np.abs(lab_to_rgb(rgb_to_lab(rgb)) - rgb).max() < 1e-6


def test_fit_gamut_keeps_luminance_and_lands_inside() -> None:
    colors = _random_lab()
    luminance = lightness_to_luminance(colors[:, 0])
    fitted = fit_gamut(lab_to_linear(colors), luminance)
    assert fitted.min() >= 0
    assert fitted.max() <= 1
    assert np.abs(fitted @ (LUMINANCE / LUMINANCE.sum()) - luminance).max() < 1e-9


def test_fit_gamut_leaves_what_fits() -> None:
    inside = np.random.default_rng(3).uniform(0.01, 0.99, (1000, 3))
    assert fit_gamut(inside, inside @ LUMINANCE) == pytest.approx(inside, abs=1e-12)


@pytest.mark.parametrize("lightness", [0.0, 100.0])
def test_black_and_white_have_room_for_no_colour(lightness: float) -> None:
    assert lab_to_rgb(np.array([lightness, 60.0, -60.0])) == pytest.approx([lightness / 100] * 3, abs=1e-7)


def test_lab_to_rgb_keeps_lightness_and_hue_out_of_gamut() -> None:
    asked = np.array([60.0, 120.0, -20.0])
    got = rgb_to_lab(lab_to_rgb(asked))
    assert got[0] == pytest.approx(60, abs=1e-6)
    assert 10 < np.hypot(*got[1:]) < np.hypot(*asked[1:])


def test_bins_are_a_formula() -> None:
    bins = ab_bins()
    assert bins.shape == (BIN_COUNT, 2) == (128, 2)
    assert bins.dtype == np.float32
    assert np.array_equal(bins, ab_bins())


def test_bins_reach_their_chroma_and_lead_with_the_most_neutral() -> None:
    chroma = np.hypot(*ab_bins().T)
    assert chroma.max() == pytest.approx(90, abs=1e-3)
    assert (np.diff(chroma) > 0).all()


def test_bins_are_evenly_spaced_as_the_eye_sees_them() -> None:
    places = compress_chroma(ab_bins())
    distances = np.hypot(*np.moveaxis(places[:, None] - places[None], -1, 0))
    np.fill_diagonal(distances, np.inf)
    nearest = distances.min(axis=0)
    # A sunflower spiral: neighbours lie between 0.7 and 1.3 of their mean distance, except at the very middle.
    assert nearest[2:].min() > 0.7 * nearest.mean()
    assert nearest[2:].max() < 1.3 * nearest.mean()


def test_compression_keeps_hue_and_order() -> None:
    ab = _random_lab()[:, 1:]
    small = compress_chroma(ab)
    assert np.abs(np.arctan2(small[:, 1], small[:, 0]) - np.arctan2(ab[:, 1], ab[:, 0])).max() < 1e-9
    assert (np.hypot(*small.T) <= np.hypot(*ab.T) + 1e-9).all()
    assert not compress_chroma(np.zeros((1, 2))).any()


@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_decoding_one_certain_bin_gives_its_colour(temperature: float) -> None:
    logits = np.full((128, 8, 16), -100, np.float32)
    chosen = np.arange(128).reshape(8, 16)
    np.put_along_axis(logits, chosen[None], 100, axis=0)
    decoded = decode_bins(logits, temperature)
    assert decoded.dtype == np.float32
    assert decoded == pytest.approx(ab_bins()[chosen], abs=1e-4)


def test_decoding_takes_the_mean_and_a_lower_temperature_the_likelier() -> None:
    logits = np.full((128, 1, 1), -1000, np.float32)
    logits[[20, 90], 0, 0] = (1.0, 0.0)
    warm, cold = decode_bins(logits, 1.0)[0, 0], decode_bins(logits, 0.1)[0, 0]
    share = 1 / (1 + np.exp(-1))
    assert warm == pytest.approx(share * ab_bins()[20] + (1 - share) * ab_bins()[90], abs=1e-4)
    assert np.hypot(*(cold - ab_bins()[20])) < 0.01
