"""Why these colours: how sure, what else, and a report that shows both."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._color import ab_bins, bin_probabilities, compress_chroma, delta_e00

if TYPE_CHECKING:
    from edgecolor._colorizer import Colorization

Cells = npt.NDArray[np.float32]
Picture = npt.NDArray[Any]

ALTERNATIVE_WIDTH = 7.0
"""How far, in units of CIEDE2000, "that colour" reaches among the bins."""

ALTERNATIVE_TEMPERATURE = 0.45
"""Of the mean that an alternative is: low, for it is one possibility and not a compromise."""

ALTERNATIVE_FLOOR = 0.002
"""Weight, beside 1, of all other colours: where one of them is near certain it stays."""

_COMPARED_CELLS = 64 * 64
"""Of a finer grid, about so many are looked at to choose alternatives: 128 colourings are worked out for it."""

_DIFFERENT = 12.0
"""Mean change of the most changed tenth of the picture from which two colourings count as different."""


def alternative_chroma(logits: Cells, decode: Callable[[Cells, Cells], Cells], given: Cells, count: int) -> list[Cells]:
    """Other colourings held in a distribution, most likely first.

    For each colour bin: suppose that what is undecided had that colour. The network's own probabilities say how well the
    picture would bear it, and Bayes' rule gives the colouring. The likeliest that differ visibly from the given one and
    from each other are kept.

    Args:
        logits: (128, h, w) of the bins.
        decode: From such logits, and factors (128,) on their probabilities, to (h, w, 2) a*, b*.
        given: (h, w, 2), the colouring they are alternatives to.
        count: How many.
    """
    step = max(1, round(math.sqrt(given.size / 2 / _COMPARED_CELLS)))
    some, given = np.ascontiguousarray(logits[:, ::step, ::step]), given[::step, ::step]
    probabilities = bin_probabilities(some.reshape(len(some), -1))
    bins = compress_chroma(ab_bins())
    distance2 = np.square(bins[:, None] - bins[None]).sum(-1)
    suppositions = ALTERNATIVE_FLOOR + np.exp(-distance2 / (2 * ALTERNATIVE_WIDTH**2))
    evidence = np.log(suppositions @ probabilities).mean(1)

    kept, chosen = [given], []
    passed: dict[int, Cells] = {}
    for index in map(int, np.argsort(-evidence)):
        chroma = decode(some, suppositions[index])
        if min(_visible_change(chroma, other) for other in kept) >= _DIFFERENT:
            kept.append(chroma)
            chosen.append(index)
        else:
            passed[index] = chroma
        if len(chosen) == count:
            break
    # A picture the network is sure of has few that differ much: the most different of the rest fill up.
    while len(chosen) < count and passed:
        farthest = max(passed, key=lambda index: min(_visible_change(passed[index], other) for other in kept))
        kept.append(passed.pop(farthest))
        chosen.append(farthest)
    return [decode(logits, suppositions[index]) for index in chosen]


def shifted_confidence(confidence: Cells, logits: Cells, lightness: Cells, own: Cells, given: Cells) -> Cells:
    """The confidence after the user's wishes moved the colours away from the network's own.

    The odds change as the odds change, in the network's distribution, that the truth lies within CIEDE2000 10 of the colour:
    who asks for unlikely colours is told so.

    Args:
        confidence: (h, w) in [0, 1], of the network's own colours.
        logits: (128, h, w) of the bins.
        lightness: (h, w) L*.
        own: (h, w, 2) a*, b* of the network.
        given: (h, w, 2) a*, b* after palette and vividness.
    """
    probabilities = bin_probabilities(logits)
    before, after = (_log_odds(_mass_within(probabilities, lightness, ab)) for ab in (own, given))
    shifted: Cells = 1 / (1 + np.exp(-(_log_odds(confidence) + after - before)))
    return shifted.astype(np.float32)


def _mass_within(probabilities: Cells, lightness: Cells, ab: Cells) -> Cells:
    """Probability (h, w) that the truth lies within CIEDE2000 10 of a*, b* (h, w, 2)."""
    given = np.dstack([lightness, ab])
    mass = np.zeros(lightness.shape, np.float32)
    for share, (a, b) in zip(probabilities, ab_bins(), strict=True):
        bin_lab = np.dstack([lightness, np.full_like(lightness, a), np.full_like(lightness, b)])
        mass += share * (delta_e00(given, bin_lab) < 10)
    return mass


def _log_odds(share: Cells) -> Cells:
    clipped = np.clip(share, 0.01, 0.99)
    odds: Cells = np.log(clipped / (1 - clipped))
    return odds


def _visible_change(first: Cells, second: Cells) -> float:
    """Mean distance, in units near CIEDE2000, over the tenth of the cells that differ most."""
    distance = np.hypot(*np.moveaxis(compress_chroma(first) - compress_chroma(second), -1, 0)).ravel()
    tenth = max(1, distance.size // 10)
    return float(np.partition(distance, -tenth)[-tenth:].mean())


SURE, GUESS = 0.7, 0.4
"""Confidence from which the report calls a colour sure, and below which a guess."""

_PANEL = (560, 700)
"""Greatest width and height of a picture in the report, in pixels."""

_MARGIN = 24
_INK, _QUIET, _PAPER = (40, 40, 40), (110, 110, 110), (255, 255, 255)


def report_figures(answer: Colorization) -> dict[str, float]:
    """What the report says in numbers; shares are of the picture's area, [0, 1]."""
    sure, guess = float((answer.confidence >= SURE).mean()), float((answer.confidence < GUESS).mean())
    return {
        "mean_confidence": float(answer.confidence.mean()),
        "share_sure": sure,
        "share_between": max(0.0, 1 - sure - guess),
        "share_guess": guess,
        "sure_from": SURE,
        "guess_below": GUESS,
    }


def report(original: Picture, answer: Colorization, alternatives: list[Picture], *, wished: bool = False) -> Picture:
    """One picture for people: the original, the colouring, where it is sure and where it guesses, what else it could be.

    Args:
        original: (H, W) or (H, W, 3) array that was coloured.
        answer: What ``predict`` gave for it.
        alternatives: Two of its alternatives.
        wished: Whether hints, a palette or vividness have moved its colours.

    Returns:
        (H', W', 3) uint8 sRGB.
    """
    height, width = original.shape[:2]
    scale = min(_PANEL[0] / width, _PANEL[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = _shown(original, size)
    colored = bool((grey != grey[..., :1]).any())
    if original.ndim == 3:
        grey = cv2.merge([cv2.cvtColor(grey, cv2.COLOR_RGB2GRAY)] * 3)
    sure: Any = cv2.resize(answer.confidence, size, interpolation=cv2.INTER_AREA)
    first, second = alternatives
    top = [
        _panel(_shown(original, size), "The photograph; its own colours are not used" if colored else "The photograph"),
        _panel(_shown(answer.image, size), "Its colours, with your wishes" if wished else "Its colours, as the network bets"),
        _panel(_certainty(grey, sure), "Where it is sure, where it guesses"),
    ]
    bottom = [
        _panel(_shown(first, size), "It could also have been this"),
        _panel(_shown(second, size), "or this"),
        _panel(_key(report_figures(answer)), "How to read it"),
    ]
    return np.vstack([np.hstack(_as_tall(top)), np.hstack(_as_tall(bottom))])


def _as_tall(panels: list[Picture]) -> list[Picture]:
    """The panels filled up with paper to the height of the tallest."""
    tallest = max(panel.shape[0] for panel in panels)
    return [np.pad(panel, ((0, tallest - panel.shape[0]), (0, 0), (0, 0)), constant_values=255) for panel in panels]


def _shown(picture: Picture, size: tuple[int, int]) -> Picture:
    small: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    white = 1.0 if small.dtype == np.float32 else float(np.iinfo(small.dtype).max)
    eight = np.rint(small.astype(np.float32) * (255 / white)).clip(0, 255).astype(np.uint8)
    rgb: Picture = eight if eight.ndim == 3 else cv2.merge([eight, eight, eight])
    return rgb


def heat(share: npt.NDArray[Any]) -> Picture:
    """(H, W) float in [0, 1] as (H, W, 3) uint8 Cividis, which the colour-blind read too: blue guesses, yellow is sure."""
    return cv2.applyColorMap(cv2.convertScaleAbs(share, alpha=255), cv2.COLORMAP_CIVIDIS)[..., ::-1]


def _certainty(grey: Picture, sure: npt.NDArray[np.float32]) -> Picture:
    return cv2.addWeighted(grey, 0.35, np.ascontiguousarray(heat(sure)), 0.65, 0)


def _panel(picture: Picture, title: str) -> Picture:
    """A picture on paper as wide as every panel, under its title."""
    height, width = picture.shape[:2]
    sheet = np.full((height + 3 * _MARGIN, _PANEL[0] + _MARGIN, 3), _PAPER, np.uint8)
    sheet[2 * _MARGIN : 2 * _MARGIN + height, _MARGIN // 2 : _MARGIN // 2 + width] = picture
    _write(sheet, title, (_MARGIN // 2, 2 * _MARGIN - 14), 0.62, _INK)
    return sheet


def _key(figures: dict[str, float]) -> Picture:
    sheet = np.full((358, _PANEL[0], 3), _PAPER, np.uint8)
    bar = np.repeat(np.linspace(0, 1, _PANEL[0] - 40, dtype=np.float32)[None], 22, axis=0)
    sheet[20:42, 20:-20] = heat(bar)
    _write(sheet, "a guess", (20, 62), 0.5, _QUIET)
    _write(sheet, "sure", (_PANEL[0] - 60, 62), 0.5, _QUIET)
    for share in (GUESS, SURE):
        place = 20 + round(share * (_PANEL[0] - 40))
        sheet[14:48, place - 1 : place + 1] = _INK
        _write(sheet, f"{share:.0%}", (place - 16, 62), 0.5, _QUIET)
    lines = [
        (f"{figures['share_sure']:.0%} of the picture: sure, right {10 * SURE:.0f} times in 10 or more", _INK),
        (f"{figures['share_between']:.0%}: in between", _INK),
        (f"{figures['share_guess']:.0%}: a guess, right less than {10 * GUESS:.0f} times in 10", _INK),
        ("", _INK),
        ("A grey photograph does not hold its colours.", _QUIET),
        ("Sky, leaves and skin look alike in most pictures:", _QUIET),
        ("they can often be known. Clothes, paint and cars come", _QUIET),
        ("in any colour: there the network takes the middle", _QUIET),
        ("of what it has seen, or the likeliest.", _QUIET),
    ]
    for number, (line, color) in enumerate(lines):
        _write(sheet, line, (20, 104 + 28 * number), 0.58, color)
    return sheet


def _write(sheet: Picture, text: str, place: tuple[int, int], scale: float, color: tuple[int, int, int]) -> None:
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)
