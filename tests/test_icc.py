from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fakes import fake_colorizer, scene

from edgecolor import ImageError
from edgecolor._icc import grey_tone, profile_for, rgb_profile, rgb_space

GAMMA_22 = struct.pack(">4s4xIH", b"curv", 1, round(2.2 * 256))
CODES = np.arange(256) / 255


def _table(values: npt.NDArray[Any]) -> bytes:
    return struct.pack(f">4s4xI{len(values)}H", b"curv", len(values), *np.rint(values * 65535).astype(int))


def _parametric(form: int, *numbers: float) -> bytes:
    return struct.pack(f">4s4xH2x{len(numbers)}i", b"para", form, *(round(number * 65536) for number in numbers))


def _grey(curve: bytes, pcs: bytes = b"XYZ ") -> bytes:
    """A grey profile with this tag for its curve, and none that a reader of curves does not need."""
    head = struct.pack(">I4s4B4s4s4s", 144 + len(curve), b"lcms", 2, 0x40, 0, 0, b"mntr", b"GRAY", pcs)
    return (head + bytes(12) + b"acsp").ljust(128, b"\0") + struct.pack(">I4sII", 1, b"kTRC", 144, len(curve)) + curve


def _chosen(profile: bytes) -> str:
    found = profile_for(profile, grey_tone(profile, 256), "uint8")
    names = {rgb_profile("srgb"): "srgb", rgb_profile("adobergb"): "adobergb"}
    return names.get(found, "own")


@pytest.mark.parametrize(
    ("profile", "chosen"),
    [
        (_grey(GAMMA_22), "own"),
        (_grey(_parametric(0, 2.2)), "own"),
        (_grey(_table(CODES**2.2)), "adobergb"),
        (_grey(_parametric(0, 1.8)), "srgb"),
        (_grey(_parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)), "srgb"),
        (_grey(struct.pack(">4s4xIH", b"curv", 1, 512), pcs=b"Lab "), "adobergb"),
        (_grey(_table((np.arange(256) // 2 * 2 / 254) ** 2.2)), "adobergb"),
    ],
    ids=["gamma 2.2", "parametric", "a table, flat where it is dark", "gamma 1.8", "sGrey", "over Lab", "in steps"],
)
def test_the_first_profile_that_holds_a_scan_is_written_in(profile: bytes, chosen: str) -> None:
    assert _chosen(profile) == chosen


@pytest.mark.parametrize("values", [0.01 + 0.99 * CODES**1.8, 0.97 * CODES**2.2], ids=["no black", "no white"])
def test_a_curve_that_leaves_no_room_for_colour_is_not_written_in(values: npt.NDArray[Any]) -> None:
    assert _chosen(_grey(_table(values))) != "own"


@pytest.mark.parametrize("exponent", [2.2, 2.6])
def test_in_its_own_curve_every_grey_keeps_its_code(exponent: float) -> None:
    profile = _grey(_parametric(0, exponent))
    tone = grey_tone(profile, 256)
    codes = rgb_space(profile_for(profile, tone, "uint8")).codes["uint8"]
    assert np.array_equal(codes[np.rint(np.sqrt(tone.luminance) * 65535).astype(int)], np.arange(256))


def test_more_bits_are_srgb() -> None:
    profile = _grey(GAMMA_22)
    assert profile_for(profile, grey_tone(profile, 65536), "uint16") == rgb_profile("srgb")


@pytest.mark.parametrize(
    "curve",
    [_table((1 - CODES) ** 2.2), _table(np.full(256, 0.5)), _parametric(0, 0), _parametric(0, -1), _parametric(1, 2.2, 0, 0)],
    ids=["falling", "flat", "gamma 0", "gamma -1", "divided by 0"],
)
def test_a_curve_that_does_not_rise_is_named(curve: bytes) -> None:
    with pytest.raises(ImageError, match="its grey profile"):
        grey_tone(_grey(curve), 256)


def test_what_is_too_large_for_a_profile_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.icc").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="must be an RGB profile, this file has more than 64 MB"):
        rgb_profile(str(tmp_path / "large.icc"))


def test_outside_a_region_a_scan_keeps_its_greys_in_the_codes_of_the_profile(tmp_path: Path) -> None:
    import pyvips

    grey = scene(40, 60)
    image = pyvips.Image.new_from_array(grey).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", _grey(GAMMA_22))
    image.write_to_file(str(tmp_path / "a.tif"))
    region = np.zeros(grey.shape, bool)
    region[:, :30] = True
    fake_colorizer(25).image(tmp_path / "a.tif", tmp_path / "b.tif", region=region)
    result = pyvips.Image.new_from_file(str(tmp_path / "b.tif")).numpy()
    assert np.array_equal(result[:, 30:], np.repeat(grey[:, 30:, None], 3, axis=2))
    assert np.ptp(result[:, :30].astype(int), axis=2).mean() > 5


def test_a_region_of_a_colour_page_takes_srgb(tmp_path: Path) -> None:
    import pyvips

    pyvips.Image.new_from_array(np.dstack([scene(40, 60)] * 3)).write_to_file(str(tmp_path / "a.tif"))
    with pytest.raises(ImageError, match=r"a region keeps the colours of .*a\.tif"):
        fake_colorizer().image(tmp_path / "a.tif", tmp_path / "b.tif", region=np.ones((40, 60), bool), profile="adobergb")


def test_a_profile_with_three_curves_is_refused() -> None:
    profile = bytearray(rgb_profile("adobergb"))
    for index in range(struct.unpack_from(">I", profile, 128)[0]):
        name, place, _ = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if name == b"bTRC":
            struct.pack_into(">H", profile, place + 12, 461)
    with pytest.raises(ImageError, match="must have one curve for red, green and blue, this one has three"):
        rgb_space(bytes(profile))
