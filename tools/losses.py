"""What training minimises: how far a distribution over colours, and the confidence in it, are from a photograph's own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from edgecolor._color import ab_bins, compress_chroma
from tools.network import expected_ab

LABEL_WIDTH = 3.0
"""Deviation of the soft label in the plane of ``compress_chroma``, a little over half the distance between bins."""

NEAR = 10.0
"""CIEDE2000 within which the confidence calls a colour right."""


def soft_labels(ab: Tensor) -> Tensor:
    """(N, 2, h, w) true a*, b* to (N, 128, h, w) probabilities, spread over the nearest bins."""
    bins = torch.from_numpy(compress_chroma(ab_bins())).to(ab)
    chroma = ab.norm(dim=1, keepdim=True)
    compressed = ab * (torch.log1p(0.045 * chroma) / (0.045 * chroma.clamp_min(1e-6)))
    # |c - b|^2 without its |c|^2, which the softmax would cancel
    score = 2 * functional.conv2d(compressed, bins[:, :, None, None]) - bins.square().sum(1).view(1, -1, 1, 1)
    return torch.softmax(score / (2 * LABEL_WIDTH**2), 1)


def distance(logits: Tensor, labels: Tensor, ab: Tensor) -> Tensor:
    """How far a distribution is from one of (N, 128, h, w) and its mean from (N, 2, h, w): (N, h, w).

    The cross-entropy shapes the distribution, the Huber term makes its mean right. Divided by 100, the latter's pull on the
    logits is near that of the former.
    """
    entropy = -(labels * functional.log_softmax(logits, 1)).sum(1)
    return entropy + functional.huber_loss(expected_ab(logits), ab, delta=10.0, reduction="none").mean(1) / 100.0


def doubt(logits: Tensor, sure: Tensor, target: Tensor) -> Tensor:
    """What the confidence learns: whether the mean lies near the truth."""
    with torch.no_grad():
        near = delta_e00(target[:, 1:], expected_ab(logits)) < NEAR
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
