"""What training minimises: how far a distribution over colours, and the confidence in it, are from a photograph's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgecolor._color import ab_bins, compress_chroma

LABEL_WIDTH = 3.0
"""Deviation of the soft label in the plane of ``compress_chroma``, a little over half the distance between bins."""

TEMPERATURE = 0.5
"""At which the colour that is shown is taken of the distribution while training."""

NEAR = 10.0
"""CIEDE2000 within which the confidence calls a colour right."""

_LEAST = 1e-7
"""Of a probability whose logarithm is taken."""


@dataclass(frozen=True)
class Colors:
    """A distribution over the bins for each cell, and what it makes of a cell, all worked out once.

    The bins come last: so they lie in memory, and every pass over them is as fast as the memory.
    """

    log: Tensor
    """(N, h, w, 128) logarithms of the probabilities."""
    probabilities: Tensor
    """(N, h, w, 128)."""
    ab: Tensor
    """(N, h, w, 2) mean a*, b*."""


def colors_of(logits: Tensor) -> Colors:
    """Of (N, 128, h, w) logits."""
    log = functional.log_softmax(logits.permute(0, 2, 3, 1), -1)
    probabilities = log.exp()
    return Colors(log, probabilities, _mean(probabilities))


def colors_believed(probabilities: Tensor) -> Colors:
    """Of (N, 128, h, w) probabilities, in the mean of which some may be nought."""
    last = probabilities.permute(0, 2, 3, 1).contiguous()
    return Colors(last.clamp_min(_LEAST).log(), last, _mean(last))


def _mean(probabilities: Tensor) -> Tensor:
    return probabilities @ torch.from_numpy(ab_bins()).to(probabilities)


def _compressed(ab: Tensor) -> Tensor:
    """As ``compress_chroma``, with a slope everywhere."""
    chroma = (ab.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    return ab * (torch.log1p(0.045 * chroma) / (0.045 * chroma))


def true_colors(ab: Tensor) -> Colors:
    """Of (N, 2, h, w) true a*, b*, spread over the nearest bins; the mean is the truth itself."""
    bins = torch.from_numpy(compress_chroma(ab_bins())).to(ab)
    last = ab.permute(0, 2, 3, 1)
    # |c - b|^2 without its |c|^2, which the softmax would cancel
    score = (_compressed(last) @ bins.T).mul_(2).sub_(bins.square().sum(1)).div_(2 * LABEL_WIDTH**2)
    log = functional.log_softmax(score, -1)
    return Colors(log, log.exp(), last)


def distance(answer: Colors, wanted: Colors) -> Tensor:
    """How far an answer is from what is wanted, for every cell: (N, h, w).

    The cross-entropy shapes the distribution, the Huber term makes its mean right. Divided by 100, the latter's pull on the
    logits is near that of the former.
    """
    entropy = -(wanted.probabilities * answer.log).sum(-1)
    return entropy + functional.huber_loss(answer.ab, wanted.ab, delta=10.0, reduction="none").mean(-1) / 100.0


def shown_ab(answer: Colors) -> Tensor:
    """(N, h, w, 2): the colour that is shown, which is the mean of the annealed distribution."""
    return _mean(torch.softmax(answer.log / TEMPERATURE, -1))


def miss(shown: Tensor, wanted: Colors) -> Tensor:
    """How far the colour that is shown is from what is wanted, for every cell: (N, h, w), about as CIEDE2000 has it.

    It is a distance in the plane of ``compress_chroma``, whose slope is 1 from a few units on, so that the colour likely to be
    least wrong is learned, and not the mean of all.
    """
    return ((_compressed(shown) - _compressed(wanted.ab)).square().sum(-1) + 1).sqrt() - 1


def doubt(shown: Tensor, sure: Tensor, wanted: Colors) -> Tensor:
    """What the confidence, (N, 1, h, w) logits, learns: whether the colour that is shown lies near the truth."""
    with torch.no_grad():
        near = delta_e00(*(ab.permute(0, 3, 1, 2) for ab in (wanted.ab, shown))) < NEAR
    return functional.binary_cross_entropy_with_logits(sure[:, 0], near.to(sure))


def delta_e00(ab_1: Tensor, ab_2: Tensor) -> Tensor:
    """CIEDE2000 between colours of equal lightness: (N, 2, ...) a*, b*, twice, to (N, ...).

    Source: Sharma, Wu & Dalal 2005, as :func:`edgecolor._color.delta_e00`, on any device.
    """
    seventh = ((ab_1.norm(dim=1) + ab_2.norm(dim=1)) / 2) ** 7
    stretch = 1.5 - 0.5 * (seventh / (seventh + 25.0**7)).sqrt()
    (a1, b1), (a2, b2) = ((ab[:, 0] * stretch, ab[:, 1]) for ab in (ab_1, ab_2))
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = torch.atan2(b1, a1), torch.atan2(b2, a2)
    turn = torch.remainder(h2 - h1 + math.pi, 2 * math.pi) - math.pi
    neutral = c1 * c2 == 0
    hue = torch.where(neutral, h1 + h2, h1 + turn / 2)
    chroma = (c1 + c2) / 2
    weight = (
        1
        - 0.17 * torch.cos(hue - math.radians(30))
        + 0.24 * torch.cos(2 * hue)
        + 0.32 * torch.cos(3 * hue + math.radians(6))
        - 0.20 * torch.cos(4 * hue - math.radians(63))
    )
    chromatic = (c2 - c1) / (1 + 0.045 * chroma)
    hued = torch.where(neutral, 0, 2 * (c1 * c2).sqrt() * torch.sin(turn / 2)) / (1 + 0.015 * chroma * weight)
    degrees = torch.remainder(torch.rad2deg(hue), 360)
    seventh = chroma**7
    rotation = -2 * (seventh / (seventh + 25.0**7)).sqrt()
    rotation = rotation * torch.sin(math.radians(60) * torch.exp(-(((degrees - 275) / 25) ** 2)))
    return (chromatic**2 + hued**2 + rotation * chromatic * hued).clamp_min(0).sqrt()
