"""ICC profiles: what the codes of a grey scan mean, and the RGB spaces that results are written in.

Lightness and chroma then are those of the profile connection space, relative to D50, as every colour-managed program
measures them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from edgecolor._chroma import RgbSpace
from edgecolor._color import lightness_to_luminance, srgb_to_linear
from edgecolor._errors import ImageError, SourceError
from edgecolor._files import is_stream
from edgecolor._luma import Tone, tone_of

ProfileName = Literal["auto", "srgb", "adobergb", "prophoto"]

Floats = npt.NDArray[np.float64]

_DAMAGE = (KeyError, IndexError, struct.error, ValueError, ZeroDivisionError)
"""What reading a damaged profile raises."""

_PROFILE_BYTES_MAX = 64 << 20
"""Those of printers have a few million."""

_D50 = np.array([0.9642, 1.0, 0.8249])

_PRIMARIES = {
    "srgb": (((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), (0.3127, 0.3290)),
    "adobergb": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), (0.3127, 0.3290)),
    "prophoto": (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), (0.3457, 0.3585)),
}
"""x, y of red, green, blue and of white, as the published profiles round them."""

_NAMED = {"adobergb": (b"Compatible with Adobe RGB (1998)", 563), "prophoto": (b"ProPhoto RGB (ROMM)", 461)}
"""Profiles that are built: what they are called, and 256 times their gamma, as it is written."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def kind(profile: bytes) -> str:
    """The colour space of the device: "GRAY", "RGB", "CMYK" and so on; empty if it is no ICC profile."""
    return profile[16:20].decode("latin-1").strip() if profile[36:40] == b"acsp" else ""


def profile_for(grey: bytes, tone: Tone | None, dtype: str) -> bytes:
    """What "auto" writes in, so that the result, turned back into the scan's grey profile, is the scan.

    That is sRGB, save where its 8 bits are too coarse for a scan's: below its code 1 a gamma of 2.2 has five of its own. Then
    it is RGB of sRGB's primaries and the curve of the scan, or where that is no curve to write in, Adobe RGB.

    Args:
        grey: The scan's grey profile, or nothing.
        tone: What it makes of the scan's codes.
        dtype: Of the codes to write.
    """
    srgb = rgb_profile("srgb")
    if tone is None or dtype != "uint8":
        return srgb
    scan = tone.luminance[:: (len(tone.luminance) - 1) // 255].astype(np.float64)
    written = [srgb, rgb_profile("adobergb")]
    own = _tags(grey)[b"kTRC"]
    curve = _curve(own)(np.linspace(0, 1, 256))
    if grey[20:24] == b"XYZ " and (curve[0], curve[-1]) == (0, 1) and np.all(np.diff(curve) > 0):
        written.insert(1, _built(b"RGB with the curve of the scan", "srgb", own))
    return next((profile for profile in written if _gives_back(profile, scan)), srgb)


def _gives_back(profile: bytes, scan: Floats) -> bool:
    """Whether 8 bits of an RGB profile hold luminances (256,), rising, to one of them."""
    held = np.maximum.accumulate(_curve(_tags(profile)[b"gTRC"])(np.linspace(0, 1, 256)))
    back = held[np.rint(np.interp(scan, held, np.arange(256))).astype(int)]
    between = (scan[1:] + scan[:-1]) / 2
    return bool(np.all(back[2:] >= between[:-1]) and np.all(back[:-2] <= between[1:]))


@cache
def rgb_profile(name: str) -> bytes:
    """A profile by its name, but for "auto", or read from a file.

    Raises:
        SourceError: The file cannot be read.
    """
    if name == "srgb":
        import pyvips

        return bytes(pyvips.Image.profile_load("srgb"))
    if name in _NAMED:
        label, gamma = _NAMED[name]
        return _built(label, name, _tag(b"curv", struct.pack(">IH", 1, gamma)))
    names = ", ".join(get_args(ProfileName))
    if is_stream(Path(name)):
        raise SourceError(f"cannot read the profile {name}: it is a pipe or device; give a file, or {names}")
    try:
        with Path(name).open("rb") as file:
            profile = file.read(_PROFILE_BYTES_MAX + 1)
    except OSError as error:
        raise SourceError(f"cannot read the profile {name}: {error.strerror or error}; give a file, or {names}") from error
    if len(profile) > _PROFILE_BYTES_MAX:
        raise ImageError(f"a profile to write in must be an RGB profile, this file has more than {_PROFILE_BYTES_MAX >> 20} MB")
    return profile


def rgb_space(profile: bytes) -> RgbSpace:
    """The space of an RGB profile made of three primaries and one curve, as those of working spaces are.

    Raises:
        ImageError: It is another kind of profile.
    """
    if kind(profile) != "RGB":
        raise ImageError(f"a profile to write in must be an RGB profile, this one is of {kind(profile) or 'no known kind'}")
    tags = _tags(profile)
    try:
        primaries = np.array([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]).T
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
    except _DAMAGE as error:
        raise ImageError("a profile to write in must be made of primaries and curves, this one is made of tables") from error
    codes = np.arange(65536) / 65535
    red, green, blue = (curve(codes) for curve in curves)
    if max(np.abs(red - green).max(), np.abs(blue - green).max()) > 1e-4:
        raise ImageError("a profile to write in must have one curve for red, green and blue, this one has three")
    from_xyz = np.linalg.inv(primaries / primaries.sum(axis=1, keepdims=True))
    if np.abs(green - srgb_to_linear(codes)).max() < 1e-4:
        return RgbSpace(from_xyz)
    return RgbSpace(from_xyz, np.interp(codes**2, green, codes))


def grey_tone(profile: bytes, codes: int) -> Tone:
    """What the codes of a scan with a grey profile mean: its curve, to the PCS's Y or L* (ICC.1:2022, F.2).

    Args:
        profile: Of kind "GRAY".
        codes: How many there are: 256 or 65536.

    Raises:
        ImageError: The profile has no such curve.
    """
    try:
        with np.errstate(all="ignore"):
            values = _curve(_tags(profile)[b"kTRC"])(np.linspace(0, 1, codes))
    except _DAMAGE as error:
        raise ImageError("its grey profile is damaged, or made of tables; remove or replace it") from error
    if not np.all(np.isfinite(values)) or values[-1] <= values[0]:
        raise ImageError(f"its grey profile makes white {values[-1]:.3g} of black {values[0]:.3g}; remove or replace it")
    rising = np.maximum.accumulate(np.clip(values, 0, 1))
    return tone_of(lightness_to_luminance(100 * rising) if profile[20:24] == b"Lab " else rising)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    found = {}
    for index in range(struct.unpack_from(">I", profile, 128)[0]):
        name, offset, length = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        found[name] = profile[offset : offset + length]
    return found


def _xyz(tag: bytes) -> Floats:
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536


def _curve(tag: bytes) -> Callable[[Floats], Floats]:
    """From codes in [0, 1] to linear light (ICC.1:2022, 10.6 and 10.18)."""
    if tag[:4] == b"para":
        form = struct.unpack_from(">H", tag, 8)[0]
        count = (1, 3, 4, 5, 7)[form]
        numbers = [number / 65536 for number in struct.unpack_from(f">{count}i", tag, 12)]
        return _parametric(form, numbers)
    count = struct.unpack_from(">I", tag, 8)[0]
    if count == 0:
        return lambda codes: codes
    if count == 1:
        gamma = struct.unpack_from(">H", tag, 12)[0] / 256
        return lambda codes: codes**gamma
    table = np.frombuffer(tag, ">u2", count, 12) / 65535
    return lambda codes: np.interp(codes, np.linspace(0, 1, count), table)


def _parametric(form: int, numbers: list[float]) -> Callable[[Floats], Floats]:
    gamma, a, b, c, d, e, f = _padded(form, numbers)
    return lambda codes: np.where(codes >= d, np.maximum(a * codes + b, 0) ** gamma + e, c * codes + f)


def _padded(form: int, numbers: list[float]) -> list[float]:
    """All seven parameters of the longest form."""
    if form == 0:
        return [numbers[0], 1, 0, 0, 0, 0, 0]
    gamma, a, b, *rest = numbers
    if form == 1:
        return [gamma, a, b, 0, -b / a, 0, 0]
    if form == 2:
        return [gamma, a, b, 0, -b / a, rest[0], rest[0]]
    return [gamma, a, b, *rest, *[0.0] * (4 - len(rest))]


def _built(label: bytes, primaries: str, curve: bytes) -> bytes:
    """A profile (ICC 2.4) of named primaries and the tag of a curve."""
    colorants = _adapted(*_PRIMARIES[primaries])
    text = label + b"\0"
    tags = {
        b"desc": _tag(b"desc", struct.pack(">I", len(text)) + text + bytes(78)),
        b"cprt": _tag(b"text", b"No copyright, use freely\0"),
        b"wtpt": _tag(b"XYZ ", _fixed(_D50)),
        b"rXYZ": _tag(b"XYZ ", _fixed(colorants[:, 0])),
        b"gXYZ": _tag(b"XYZ ", _fixed(colorants[:, 1])),
        b"bXYZ": _tag(b"XYZ ", _fixed(colorants[:, 2])),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for signature, data in tags.items():
        table += struct.pack(">4sII", signature, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4s4B4s4s4s", 128 + len(table) + len(body), b"lcms", 2, 0x40, 0, 0, b"mntr", b"RGB ", b"XYZ ")
    date = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    return (head + date + b"acsp" + bytes(28) + _fixed(_D50)).ljust(128, b"\0") + table + body


def _adapted(primaries: tuple[tuple[float, float], ...], white: tuple[float, float]) -> Floats:
    """(3, 3) XYZ, relative to D50, of the primaries, one a column (ICC.1:2022, annex E)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    source = np.array([white[0] / white[1], 1, (1 - sum(white)) / white[1]])
    colorants = columns * np.linalg.solve(columns, source)
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ source)
    adapted: Floats = np.linalg.inv(_BRADFORD) @ (scale[:, None] * (_BRADFORD @ colorants))
    return adapted


def _tag(name: bytes, data: bytes) -> bytes:
    return name + bytes(4) + data


def _fixed(numbers: Floats) -> bytes:
    return struct.pack(">3i", *(round(float(number) * 65536) for number in numbers))
