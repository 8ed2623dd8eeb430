"""What one frame tells the next: scene cuts, motion, and the chroma that is carried along it.

All of it happens on the analysis grid. The colours seen so far are moved along the motion (dense optical flow, DIS of Kroeger
et al. 2016) and averaged with what the network says of the new frame: by how sure it was then and is now, and by how well the
moved luma fits the new one. What comes into view is coloured at once; after a cut nothing is left of what was before.

Knows nothing of models: it is handed a function from lightness to colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._chroma import ChromaField, aside, colored, guide
from edgecolor._color import rgb_to_lab
from edgecolor._grid import grid_size
from edgecolor._luma import Luma, Plane, read_luma
from edgecolor._planes import Coding, Matrix, Planes, chroma_of_frame

Picture = npt.NDArray[Any]
Decide = Callable[[Plane], Plane]
"""(H, W) L* of the grid to (3, h, w): a*, b*, confidence [0, 1] on cells of it."""

MEMORY_FRAMES = 24.0
"""How many frames' worth of colours the past may weigh, beside 1 for the new frame."""

FIRST_WEIGHT = 3.0
"""What the first sight of something counts for, in frames: it is settled so much sooner."""

LIKENESS_MIN = 0.3
"""A frame less like the one before it, moved along the motion, begins a new scene.

Measured on pairs of photographs and of views of one: 99.7 % of cuts lie below it, and no pan, zoom, flash or change of
exposure that leaves three quarters of the picture in view.
"""

MISFIT = 8.0
"""Root mean square difference of L*, beyond that of the whole frame, at which the past counts for 0.6 of itself."""

_WINDOW = (15, 15)
_FIT_DEVIATION = 2.0
_TEXTURE_MIN = 9.0
"""Variance of L* that a window needs to say whether it is alike."""

_EVEN_JUMP = 16.0
"""Difference of mean L* at which two frames without texture are two scenes."""

_REFERENCE_WEIGHT = 16.0
"""What the reference counts for where it fits a frame, in frames."""


@dataclass(frozen=True)
class Motion:
    """Where each grid pixel of a frame was in another one."""

    map: npt.NDArray[np.float32]
    """(H, W, 2) x, y in grid pixels of the other frame."""
    within: Plane
    """(H, W): 1 where that lies inside the other frame, else 0."""

    def moved(self, planes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(H, W[, n]) planes of the other frame as they lie in this one."""
        there = cv2.remap(planes, self.map, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        return np.asarray(there, np.float32)


class _Colors(NamedTuple):
    """What is known of a frame's colours: (H, W) each."""

    a: Plane
    b: Plane
    weight: Plane
    """In frames of full confidence."""


class Past(NamedTuple):
    """What the frames before say of a frame."""

    colors: _Colors
    """Where they are now, weighted by how well they fit there."""
    motion: Motion
    """From the frame to the one before."""


@dataclass(frozen=True)
class Reference:
    """A coloured picture that the frames of a film are compared with."""

    lightness: Plane
    """(H, W) L*, at most a few hundred pixels a side."""
    ab: npt.NDArray[np.float32]
    """(H, W, 2) a*, b*."""


class Carrier:
    """The memory of one stream."""

    def __init__(self, reference: Reference | None = None) -> None:
        self.cuts = 0
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._reference = reference
        self._seen: npt.NDArray[np.float32] | None = None  # (H, W, 4): a*, b*, weight and L* of the last frame
        self._way: npt.NDArray[np.float32] | None = None  # from the last frame to the reference

    def reset(self) -> None:
        """Forget the frames before: the next one begins a scene."""
        self._seen = self._way = None

    def follow(self, lightness: Plane) -> Past | None:
        """What is known of the next frame before it is coloured; None where a scene begins.

        Args:
            lightness: (H, W) L* of the grid.
        """
        if self._seen is not None and self._seen.shape[:2] != lightness.shape:
            self.reset()
        if self._seen is None:
            return None
        motion = self._motion(lightness, self._seen[..., 3])
        a, b, weight, moved = _split(motion.moved(self._seen))
        if likeness(moved, lightness, motion.within) < LIKENESS_MIN:
            self.reset()
            self.cuts += 1
            return None
        return Past(_Colors(a, b, weight * fit(moved, lightness, motion.within)), motion)

    def settle(self, lightness: Plane, past: Past | None, fresh: Plane) -> npt.NDArray[np.float32]:
        """The colours of the next frame.

        Args:
            lightness: (H, W) L* of the grid.
            past: What :meth:`follow` said of it.
            fresh: (3, h, w) a*, b*, confidence [0, 1] of this frame alone, on cells of the grid.

        Returns:
            (H, W, 2) a*, b*.
        """
        own = _enlarged(fresh, lightness.shape)
        if self._reference is not None:
            own = self._with_reference(lightness, own, self._reference, None if past is None else past.motion)
        colors = _first_sight(own) if past is None else _averaged(past.colors, own)
        self._seen = _merged(*colors, lightness)
        return _merged(colors.a, colors.b)

    def _with_reference(self, lightness: Plane, own: _Colors, reference: Reference, motion: Motion | None) -> _Colors:
        """What the network says, overruled where the reference shows the same thing."""
        height, width = lightness.shape
        light: Any = cv2.resize(reference.lightness, (width, height), interpolation=cv2.INTER_AREA)
        ab: Any = cv2.resize(reference.ab, (width, height), interpolation=cv2.INTER_AREA)
        guess = None
        if motion is not None and self._way is not None:
            guess = motion.map - _places(height, width) + motion.moved(self._way)
        found = self._motion(lightness, light, guess)
        a, b, moved = _split(found.moved(_merged(*_split(ab), light)))
        if likeness(moved, lightness, found.within) < LIKENESS_MIN:
            self._way = None
            return own
        self._way = found.map - _places(height, width)
        trust = np.float32(_REFERENCE_WEIGHT) * fit(moved, lightness, found.within)
        return _averaged(_Colors(own.a, own.b, own.weight), _Colors(a, b, trust + np.float32(1e-3)))

    def _motion(self, lightness: Plane, other: Plane, guess: npt.NDArray[np.float32] | None = None) -> Motion:
        height, width = lightness.shape
        flow: Any = self._flow.calc(_levels(lightness), _levels(other), guess)  # type: ignore[arg-type]
        places = _places(height, width) + flow
        x, y = _split(places)
        within = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        return Motion(places, within.astype(np.float32))


class SteadyColorizer:
    """Colours the frames of one stream so that their colours hold still; made by ``Colorizer.steady``.

    Give it the frames in order, from one thread at a time.
    """

    def __init__(
        self,
        decide: Decide,
        ordered: Callable[[Picture], Picture],
        area: int,
        reference: Reference | None = None,
    ) -> None:
        """Use ``decide`` for colours on a grid of ``area``; ``ordered`` turns the user's order of channels to RGB and back."""
        self._decide = decide
        self._area = area
        self._ordered = ordered
        self._carrier = Carrier(reference)
        self._confidence: Plane | None = None

    def __call__(self, gray: Picture) -> Picture:
        """Colour the next frame; arrays as for ``Colorizer``."""
        luma = read_luma(self._ordered(gray))
        return self._ordered(colored(luma, self._field(luma)))

    def chroma_planes(  # as Colorizer.chroma_planes
        self,
        y: npt.NDArray[Any],
        *,
        matrix: Matrix = "auto",
        full_range: bool = False,
        bits: int = 8,
        out: Planes | None = None,
    ) -> Planes:
        """The chroma of the next frame; arguments as for ``Colorizer.chroma_planes``."""
        return chroma_of_frame(y, self._field, Coding(matrix, full_range, bits), out)

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(h, w) float32 in [0, 1] for the last frame, on a small grid: how likely this frame alone has these colours right."""
        return np.zeros((1, 1), np.float32) if self._confidence is None else self._confidence

    @property
    def cuts(self) -> int:
        """How many scene cuts were found so far."""
        return self._carrier.cuts

    def reset(self) -> None:
        """Forget the frames before: the next one begins a scene."""
        self._carrier.reset()

    def _field(self, luma: Luma) -> ChromaField:
        lightness = luma.lightness(*grid_size(*luma.size, self._area))
        following = aside(self._carrier.follow, lightness)  # the network leaves the cores time for it
        try:
            colors = self._decide(lightness)
        finally:
            past = following.result()  # also if that fails: there must never be two at once
        self._confidence = colors[2]
        return guide(self._carrier.settle(lightness, past, colors), lightness, luma.size)


def likeness(moved: Plane, lightness: Plane, within: Plane) -> float:
    """How alike two frames are, -1 to 1: their correlation in small windows, each counting by its texture.

    It is blind to brightness and contrast, so that neither a flash nor a fade is a cut.
    """
    one, two = cv2.GaussianBlur(moved, (3, 3), 0.7), cv2.GaussianBlur(lightness, (3, 3), 0.7)
    mean_one, mean_two = cv2.blur(one, _WINDOW), cv2.blur(two, _WINDOW)
    variance_one = np.maximum(cv2.blur(one * one, _WINDOW) - mean_one * mean_one, 0)
    variance_two = np.maximum(cv2.blur(two * two, _WINDOW) - mean_two * mean_two, 0)
    covariance = cv2.blur(one * two, _WINDOW) - mean_one * mean_two
    correlation = covariance / (np.sqrt(variance_one * variance_two) + np.float32(_TEXTURE_MIN))
    texture = np.sqrt(np.maximum(variance_one, variance_two)) * within
    total = float(texture.sum())
    if total < within.size:  # too little texture to compare: two even frames are alike if their brightness is
        return 1.0 if abs(float(one.mean()) - float(two.mean())) < _EVEN_JUMP else 0.0
    return float((correlation * texture).sum()) / total


def fit(moved: Plane, lightness: Plane, within: Plane) -> Plane:
    """How well each place of a moved frame fits the new one, [0, 1], once the frame's exposure and its grain are set off."""
    gain, offset = _exposure(moved, lightness, within)
    misfit = cv2.GaussianBlur(np.square(lightness - (gain * moved + offset)), (0, 0), _FIT_DEVIATION)
    usual = np.float32(2 * np.median(misfit[::2, ::2]))
    weights: Plane = np.exp(np.minimum(usual - misfit, 0) / np.float32(2 * MISFIT**2)) * within
    return weights


def _exposure(moved: Plane, lightness: Plane, within: Plane) -> tuple[float, float]:
    """Gain and offset that bring one frame's L* to the other's, by least squares."""
    count = max(1.0, float(within.sum()))
    mean_moved, mean_new = float((moved * within).sum()) / count, float((lightness * within).sum()) / count
    apart, new = (moved - mean_moved) * within, lightness - mean_new
    variance = float((apart * apart).sum()) / count
    gain = float((apart * new).sum()) / count / variance if variance > _TEXTURE_MIN else 1.0
    gain = min(max(gain, 0.5), 2.0)
    return gain, mean_new - gain * mean_moved


def _enlarged(fresh: Plane, size: tuple[int, int]) -> _Colors:
    """The network's answer on the grid instead of its cells."""
    cells = np.ascontiguousarray(fresh.transpose(1, 2, 0))
    a, b, confidence = _split(cv2.resize(cells, size[::-1], interpolation=cv2.INTER_CUBIC))
    return _Colors(a, b, np.clip(confidence, 0.05, 1, out=confidence))


def _first_sight(own: _Colors) -> _Colors:
    return _Colors(own.a, own.b, own.weight * np.float32(FIRST_WEIGHT))


def _averaged(past: _Colors, own: _Colors) -> _Colors:
    """Past and present together, the past counting as no more than so many frames like this one."""
    kept = np.minimum(past.weight, np.float32(MEMORY_FRAMES) * own.weight)
    total = kept + own.weight
    share = own.weight / total
    a, b = (old + share * (new - old) for old, new in ((past.a, own.a), (past.b, own.b)))
    return _Colors(a, b, np.maximum(total, np.float32(FIRST_WEIGHT) * own.weight))


def _split(planes: Any) -> tuple[Plane, ...]:
    return tuple(cv2.split(planes))


def _merged(*planes: Plane) -> npt.NDArray[np.float32]:
    return cv2.merge(planes)  # type: ignore[return-value]


def _levels(lightness: Plane) -> npt.NDArray[np.uint8]:
    return cv2.convertScaleAbs(lightness, alpha=2.55)  # type: ignore[return-value]


@cache
def _places(height: int, width: int) -> npt.NDArray[np.float32]:
    """(H, W, 2): x, y of each pixel."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.dstack([x, y])


def reference_of(picture: npt.NDArray[Any], area: int) -> Reference:
    """A colour picture (H, W, 3) sRGB, uint8, uint16 or float32, as what frames on a grid of ``area`` are compared with."""
    height, width = grid_size(*picture.shape[:2], area)
    picture = np.asarray(picture, picture.dtype.newbyteorder("="))
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)
    white = 1.0 if picture.dtype == np.float32 else float(np.iinfo(picture.dtype).max)
    lab = rgb_to_lab(np.clip(small / white, 0, 1)).astype(np.float32)
    return Reference(np.ascontiguousarray(lab[..., 0]), np.ascontiguousarray(lab[..., 1:]))
