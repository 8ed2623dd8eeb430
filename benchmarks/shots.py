"""Film shots of known motion and known colours, made from photographs, and how steadiness is measured on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._color import lightness_to_luminance, linear_to_srgb, rgb_to_lab

Array = npt.NDArray[Any]

SIZE = (240, 320)
"""Height and width of the frames."""

DISTANCES = (1, 2, 4)
"""Frames apart that CDC compares."""


@dataclass(frozen=True)
class Shot:
    """One take: a view that pans and zooms over a photograph."""

    truth: list[Array]
    """(H, W, 3) uint8 sRGB of each frame."""
    greys: list[Array]
    """(H, W) uint8 of the same lightness, with film grain."""
    views: Array
    """(frames, 3): scale and left, top corner of each view, in pixels of the photograph."""

    def motion(self, number: int) -> tuple[Array, Array]:
        """Where each pixel of a frame was in the one before, (H, W, 2) x, y; and whether it was in view, (H, W) bool."""
        (now, left, top), (before, old_left, old_top) = self.views[number], self.views[number - 1]
        x, y = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
        place = np.dstack([(now * x + left - old_left) / before, (now * y + top - old_top) / before])
        inside = np.asarray(((place >= 0) & (place <= np.array(SIZE[::-1]) - 1)).all(-1))
        return place.astype(np.float32), inside


def take(photo: Array, random: np.random.Generator, *, frames: int = 24, grain: float = 2.0) -> Shot:
    """A shot over a photograph (H, W, 3) uint8 sRGB; ``grain`` is its deviation in grey levels."""
    height, width = photo.shape[:2]
    fits = min(width / SIZE[1], height / SIZE[0])
    scales = fits * (random.uniform(0.55, 0.8, 2) if random.random() < 0.5 else np.repeat(random.uniform(0.6, 0.75), 2))
    corners = random.random((2, 2))
    views = []
    for share in np.linspace(0, 1, frames):
        scale = scales[0] + share * (scales[1] - scales[0])
        room = np.array([width - scale * SIZE[1], height - scale * SIZE[0]])
        views.append([scale, *((corners[0] + share * (corners[1] - corners[0])) * room)])
    truth = [_view(photo, *view) for view in views]
    return Shot(truth, [_filmed(frame, grain, random) for frame in truth], np.array(views))


def _view(photo: Array, scale: float, left: float, top: float) -> Array:
    matrix = np.array([[scale, 0, left], [0, scale, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(photo, matrix, SIZE[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _filmed(truth: Array, grain: float, random: np.random.Generator) -> Array:
    grey = 255 * linear_to_srgb(lightness_to_luminance(rgb_to_lab(truth / 255)[..., 0])) + random.normal(0, grain, SIZE)
    filmed: Array = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return filmed


def flicker(shot: Shot, frames: list[Array]) -> float:
    """Mean distance in a*b* between each frame and the one before, moved along the true motion."""
    chroma = [rgb_to_lab(frame / 255)[..., 1:].astype(np.float32) for frame in frames]
    errors = []
    for number in range(1, len(chroma)):
        place, inside = shot.motion(number)
        moved = cv2.remap(chroma[number - 1], place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        errors.append(float(np.linalg.norm(chroma[number] - moved, axis=-1)[inside].mean()))
    return float(np.mean(errors))


def color_distribution_consistency(frames: list[Array]) -> float:
    """CDC: Jensen-Shannon divergence (natural logarithm) of the channels' histograms, frames 1, 2 and 4 apart."""
    shares = np.array(
        [[np.bincount(frame[..., c].ravel(), minlength=256) / frame[..., c].size for c in range(3)] for frame in frames]
    )
    apart = [np.mean([_divergence(a, b) for a, b in zip(shares, shares[distance:], strict=False)]) for distance in DISTANCES]
    return float(np.mean(apart))


def _divergence(one: Array, two: Array) -> float:
    """Of histograms (channels, bins), the mean over channels."""
    middle = (one + two) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(part > 0, part * np.log(part / middle), 0).sum(-1) for part in (one, two)]
    return float((0.5 * (terms[0] + terms[1])).mean())


def colorfulness(frame: Array) -> float:
    """Hasler and Süsstrunk 2003, with signed differences, of (H, W, 3) uint8 sRGB."""
    red, green, blue = np.moveaxis(frame.astype(np.float64), -1, 0)
    opponents = red - green, (red + green) / 2 - blue
    return float(np.hypot(*(plane.std() for plane in opponents)) + 0.3 * np.hypot(*(plane.mean() for plane in opponents)))
