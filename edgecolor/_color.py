"""Colour spaces and colour bins, every range stated once.

Conventions of the whole package:

- ``rgb``: sRGB, gamma-encoded (IEC 61966-2-1), D65, last axis R, G, B, range [0, 1].
- ``linear``: linear-light sRGB, same primaries and range.
- ``Y``: CIE relative luminance, [0, 1], white = 1.
- ``L``: CIE L*, [0, 100].  ``a``, ``b``: CIE a*, b*, about [-128, 128]; D65 white throughout.
- ``Cb``, ``Cr``: 8-bit Y'CbCr chroma, 128 is neutral.

Sources: CIE 15:2004 (L*a*b*), IEC 61966-2-1 (sRGB), Sharma, Wu & Dalal 2005 (CIEDE2000), ITU-R BT.601 and BT.709.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]

LUMINANCE = np.array([0.2126729, 0.7151522, 0.0721750])
"""Linear sRGB to Y; the middle row of RGB_TO_XYZ."""

RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE_XYZ = RGB_TO_XYZ.sum(axis=1)
"""D65 as the sum of the primaries, so that neutral RGB has a* = b* = 0 exactly."""

XYZN_TO_RGB = np.linalg.inv(RGB_TO_XYZ / WHITE_XYZ[:, None])
"""White-relative XYZ to linear sRGB; every row sums to 1."""

_EPSILON = (6 / 29) ** 3
_SLOPE = (29 / 6) ** 2 / 3
_OFFSET = 4 / 29


def srgb_to_linear(rgb: FloatArray) -> FloatArray:
    """Gamma-encoded sRGB in [0, 1] to linear light, any shape."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0.04045) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: FloatArray) -> FloatArray:
    """Linear light in [0, 1] to gamma-encoded sRGB, any shape."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def lab_f(ratio: FloatArray) -> FloatArray:
    """The CIE cube-root function of a white-relative tristimulus value in [0, 1]."""
    return np.where(ratio > _EPSILON, np.cbrt(ratio), ratio * _SLOPE + _OFFSET)


def lab_f_inverse(f: FloatArray) -> FloatArray:
    """Inverse of :func:`lab_f`."""
    return np.where(f > 6 / 29, f**3, (f - _OFFSET) / _SLOPE)


def luminance_to_lightness(luminance: FloatArray) -> FloatArray:
    """Y in [0, 1] to L* in [0, 100]."""
    return 116 * lab_f(luminance) - 16


def lightness_to_luminance(lightness: FloatArray) -> FloatArray:
    """L* in [0, 100] to Y in [0, 1]."""
    return lab_f_inverse((lightness + 16) / 116)


def rgb_to_lab(rgb: FloatArray) -> FloatArray:
    """(..., 3) sRGB in [0, 1] to (..., 3) L*a*b*."""
    f = lab_f(srgb_to_linear(rgb) @ RGB_TO_XYZ.T / WHITE_XYZ)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def lab_to_linear(lab: FloatArray) -> FloatArray:
    """(..., 3) L*a*b* to linear sRGB, not clipped: values outside [0, 1] are out of gamut."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    return lab_f_inverse(f) @ XYZN_TO_RGB.T


def fit_gamut(linear: FloatArray, luminance: FloatArray) -> FloatArray:
    """Shrink the chroma of out-of-gamut colours toward the grey of the same luminance.

    Args:
        linear: (..., 3) linear sRGB whose luminance is ``luminance``.
        luminance: (...) Y in [0, 1].

    Returns:
        (..., 3) in [0, 1]. ``Y + s * (linear - Y)`` with the largest ``s`` in [0, 1] that fits: the weights of
        :data:`LUMINANCE` cancel in the difference, so Y, and with it L*, does not change.
    """
    grey = np.clip(luminance, 0, 1)[..., None]
    difference = linear - grey
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(difference > 0, (1 - grey) / difference, np.where(difference < 0, -grey / difference, np.inf))
    scale = np.minimum(room.min(axis=-1, keepdims=True), 1)
    fitted: FloatArray = np.clip(grey + scale * difference, 0, 1)
    return fitted


def lab_to_rgb(lab: FloatArray) -> FloatArray:
    """(..., 3) L*a*b* to sRGB in [0, 1]; out of gamut, chroma shrinks and L* stays."""
    return linear_to_srgb(fit_gamut(lab_to_linear(lab), lightness_to_luminance(lab[..., 0])))


def delta_e00(lab_1: FloatArray, lab_2: FloatArray) -> FloatArray:
    """CIEDE2000 colour difference (k_L = k_C = k_H = 1) of (..., 3) L*a*b* arrays.

    Source: Sharma, Wu & Dalal, "The CIEDE2000 Color-Difference Formula", Color Res. Appl. 30 (2005).
    """
    l1, a1, b1 = np.moveaxis(lab_1, -1, 0)
    l2, a2, b2 = np.moveaxis(lab_2, -1, 0)
    mean_chroma7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma7 / (mean_chroma7 + 25.0**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.arctan2(b1, a1) % (2 * math.pi), np.arctan2(b2, a2) % (2 * math.pi)
    neutral = c1 * c2 == 0
    turn = h2 - h1
    turn = np.where(neutral, 0, turn - 2 * math.pi * np.sign(turn) * (np.abs(turn) > math.pi + 1e-9))
    hue_difference = 2 * np.sqrt(c1 * c2) * np.sin(turn / 2)
    hue = np.where(neutral, h1 + h2, h1 + turn / 2)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    weight = (
        1
        - 0.17 * np.cos(hue - math.radians(30))
        + 0.24 * np.cos(2 * hue)
        + 0.32 * np.cos(3 * hue + math.radians(6))
        - 0.20 * np.cos(4 * hue - math.radians(63))
    )
    s_l = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    s_c = 1 + 0.045 * chroma
    s_h = 1 + 0.015 * chroma * weight
    degrees = np.degrees(hue) % 360
    rotation = -np.sin(np.radians(60 * np.exp(-(((degrees - 275) / 25) ** 2)))) * (
        2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    )
    light, chromatic, hued = (l2 - l1) / s_l, (c2 - c1) / s_c, hue_difference / s_h
    total: FloatArray = light**2 + chromatic**2 + hued**2 + rotation * chromatic * hued
    return np.sqrt(np.maximum(total, 0))


BIN_COUNT = 128
_BIN_CHROMA_MAX = 90.0
_COMPRESSION = 0.045
"""CIEDE2000's S_C = 1 + 0.045 C*: a step in log(1 + 0.045 C*) looks equally large at any chroma."""


def compress_chroma(ab: FloatArray) -> FloatArray:
    """(..., 2) a*, b* to a plane where equal distances look about equally different (see S_C of CIEDE2000)."""
    chroma = np.hypot(ab[..., 0], ab[..., 1])[..., None]
    return ab * (np.log1p(_COMPRESSION * chroma) / (_COMPRESSION * np.maximum(chroma, 1e-6)))


def ab_bins() -> FloatArray:
    """(128, 2) float32 a*, b* of the colour bins the network chooses among, most neutral first.

    A golden-angle spiral, evenly spaced in the plane of :func:`compress_chroma` out to C* = 90: a formula and not a
    table, so that training, export and library cannot disagree.
    """
    index = np.arange(BIN_COUNT)
    compressed = np.log1p(_COMPRESSION * _BIN_CHROMA_MAX) * np.sqrt((index + 0.5) / (BIN_COUNT - 0.5))
    chroma = np.expm1(compressed) / _COMPRESSION
    angle = index * math.pi * (3 - math.sqrt(5))
    return np.stack([chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1).astype(np.float32)


def bin_probabilities(logits: FloatArray, temperature: float = 1.0) -> FloatArray:
    """(128, ...) bin logits to probabilities that sum to 1 over the bins; low temperatures lean toward the likeliest."""
    weights = np.exp((logits - logits.max(axis=0)) / temperature)
    probabilities: FloatArray = weights / weights.sum(axis=0)
    return probabilities


def decode_bins(logits: FloatArray, temperature: float, preference: FloatArray | None = None) -> FloatArray:
    """The annealed mean of Zhang, Isola & Efros 2016, section 2.3, of a distribution over the colour bins.

    Args:
        logits: (128, h, w).
        temperature: Of the annealing; 1 is the plain mean.
        preference: (128,) factors on the annealed probabilities, all above 0.

    Returns:
        (h, w, 2) float32 a*, b*.
    """
    weights = bin_probabilities(logits, temperature)
    if preference is not None:
        weights = weights * preference[:, None, None]
    mean: FloatArray = np.tensordot(weights, ab_bins(), axes=(0, 0)) / weights.sum(axis=0)[..., None]
    return mean.astype(np.float32)
