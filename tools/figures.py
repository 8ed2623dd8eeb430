"""How near the colours of a photograph came to the truth: figures of one photograph, and of many with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecolor._color import delta_e00, lab_to_rgb, rgb_to_lab

Array = npt.NDArray[Any]

BLOCK = 8
"""Side of the blocks, in pixels, over which error and confidence are compared."""

NEAR = 10.0
"""CIEDE2000 within which a colour counts as right."""


def interval(values: Iterable[float]) -> dict[str, float]:
    """Mean of per-photograph values with its bootstrap 95 % interval over 2,000 resamplings."""
    sample = np.asarray(list(values), np.float64)
    low, high = np.percentile(sample[_picks(len(sample))].mean(1), [2.5, 97.5])
    return {"mean": float(sample.mean()), "low": float(low), "high": float(high)}


def ratio_interval(values: Iterable[float], reference: Iterable[float]) -> dict[str, float]:
    """Ratio of two means over the same photographs, with its bootstrap 95 % interval."""
    above, below = np.asarray(list(values)), np.asarray(list(reference))
    picks = _picks(len(above))
    low, high = np.percentile(above[picks].mean(1) / below[picks].mean(1), [2.5, 97.5])
    return {"mean": float(above.mean() / below.mean()), "low": float(low), "high": float(high)}


def median_interval(values: Iterable[float]) -> dict[str, float]:
    """Median of per-photograph values, under the name of a mean, with its bootstrap 95 % interval."""
    sample = np.asarray(list(values))
    low, high = np.percentile(np.median(sample[_picks(len(sample))], axis=1), [2.5, 97.5])
    return {"mean": float(np.median(sample)), "low": float(low), "high": float(high)}


def _picks(count: int) -> Array:
    return np.random.default_rng(0).integers(0, count, (2000, count))


def psnr(rgb: Array, truth: Array) -> float:
    """Peak signal-to-noise ratio in dB of sRGB in [0, 1] over all channels."""
    return float(-10 * np.log10(max(1e-10, np.square(rgb - truth).mean())))


def colorfulness(rgb: Array) -> float:
    """Hasler & Süsstrunk 2003 of (..., 3) sRGB in [0, 1], on the scale of 8-bit values, with signed differences."""
    red, green, blue = np.moveaxis(rgb * 255, -1, 0)
    opponents = red - green, (red + green) / 2 - blue
    deviation, mean = (math.hypot(*values) for values in ([p.std() for p in opponents], [p.mean() for p in opponents]))
    return deviation + 0.3 * mean


def grey_of(lab: Array) -> Array:
    """The photograph without its colours, as sRGB in [0, 1]."""
    return lab_to_rgb(lab * np.array([1.0, 0.0, 0.0]))


def blocks(plane: Array) -> Array:
    """Means over 8 x 8 blocks, flat."""
    height, width = (side // BLOCK * BLOCK for side in plane.shape)
    return plane[:height, :width].reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean((1, 3)).ravel()


def spearman(first: Array, second: Array) -> float:
    """Rank correlation of two samples without many ties."""
    ranks = np.stack([np.argsort(np.argsort(sample)) for sample in (first, second)]).astype(np.float64)
    correlations: Any = np.corrcoef(ranks)
    return float(correlations[0, 1])


def figures_of(photo: Array, image: Array, confidence: Array) -> tuple[dict[str, float], Array]:
    """Figures of one coloured photograph, (H, W, 3) uint8 both, and the CIEDE2000 of every pixel."""
    truth, rgb = photo / 255.0, image / 255.0
    lab, own = rgb_to_lab(truth), rgb_to_lab(rgb)
    grey = grey_of(lab)
    error, grey_error = delta_e00(own, lab), delta_e00(rgb_to_lab(grey), lab)
    row = {
        "delta_e00": float(error.mean()),
        "grey_delta_e00": float(grey_error.mean()),
        "psnr_db": psnr(rgb, truth),
        "grey_psnr_db": psnr(grey, truth),
        "colorfulness": colorfulness(rgb),
        "true_colorfulness": colorfulness(truth),
        "near": float((error < NEAR).mean()),
        "grey_near": float((grey_error < NEAR).mean()),
        "confidence": float(confidence.mean()),
        "lightness_error_max": float(np.abs(own[..., 0] - lab[..., 0]).max()),
        "confidence_spearman": spearman(-blocks(confidence), blocks(error)),
    }
    return row, error


def summary(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Figures over all photographs, each with its interval."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    figures = {name: interval(values) for name, values in columns.items()}
    figures["delta_e00_ratio_to_grey"] = ratio_interval(columns["delta_e00"], columns["grey_delta_e00"])
    figures["psnr_gain_db"] = interval(columns["psnr_db"] - columns["grey_psnr_db"])
    figures["colorfulness_ratio_to_truth"] = ratio_interval(columns["colorfulness"], columns["true_colorfulness"])
    figures["confidence_spearman_median"] = median_interval(columns["confidence_spearman"])
    figures["worse_than_grey"] = interval(columns["delta_e00"] > columns["grey_delta_e00"])
    figures["lightness_error_max"] = {"max": float(columns["lightness_error_max"].max())}
    return figures
