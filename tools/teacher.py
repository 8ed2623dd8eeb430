"""The teacher: a vision transformer that knows the world, trained whole to say what colours are likely. It never ships.

It takes and answers what the student does, hints too, so that whatever measures one measures the other.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecolor._color import BIN_COUNT
from tools.network import (
    AB_SCALE,
    LIGHTNESS_MEAN,
    LIGHTNESS_SCALE,
    SIZES,
    ColorNet,
    confidence_head,
    convolution,
    read_network,
)
from tools.vision import FEATURES, PATCH, WIDTH, Vision, read_vision

SEEN = 8
"""Pixels per side of what a token sees; the picture is enlarged for it."""

_COARSE, _FINE = 320, 160
"""Widths where a token's cells lie, and at the answer's."""


class Mix(nn.Module):
    """Two dense convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*convolution(width, width, 3), nn.ReLU(), *convolution(width, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        return functional.relu(x + self.layers(x))


class Teacher(nn.Module):
    """L*, hint a*, hint b*, trust to the logits of the colour bins and of the confidence, at a quarter of the size."""

    def __init__(self, vision: Vision | None = None) -> None:
        super().__init__()
        self.vision = vision or Vision()
        self.told = nn.Conv2d(4, WIDTH, 1)
        nn.init.zeros_(self.told.weight)  # at first, it sees as it always has
        nn.init.zeros_(self.told.bias)
        self.halves = nn.Sequential(*convolution(4, 48, 3, 2), nn.ReLU())
        self.quarters = nn.Sequential(*convolution(48, 96, 3, 2), nn.ReLU(), *convolution(96, 96, 3), nn.ReLU())
        self.eighths = nn.Sequential(*convolution(96, 192, 3, 2), nn.ReLU())
        self.coarse = nn.Sequential(*convolution(FEATURES + 192, _COARSE), nn.ReLU(), Mix(_COARSE), Mix(_COARSE))
        self.fine = nn.Sequential(*convolution(_COARSE + 96, _FINE), nn.ReLU(), Mix(_FINE))
        self.bins = nn.Conv2d(_FINE, BIN_COUNT, 1)
        self.sure = confidence_head(_FINE)

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`ColorNet.forward`; H and W are multiples of 8."""
        scale = planes.new_tensor([LIGHTNESS_SCALE, AB_SCALE, AB_SCALE, 1.0]).view(1, 4, 1, 1)
        mean = planes.new_tensor([LIGHTNESS_MEAN, 0.0, 0.0, 0.0]).view(1, 4, 1, 1)
        known = (planes - mean) / scale
        quarter = self.quarters(self.halves(known))
        cells = [side // SEEN for side in planes.shape[2:]]
        grey = functional.interpolate(
            _encoded(planes[:, :1]), size=[PATCH * side for side in cells], mode="bilinear", align_corners=False
        )
        seen = self.vision(grey[:, 0], self.told(_pooled(known[:, 1:])))
        coarse = self.coarse(torch.cat([seen, self.eighths(quarter)], 1))
        fine = self.fine(
            torch.cat([functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False), quarter], 1)
        )
        return self.bins(fine), self.sure(fine)


def _pooled(hints: Tensor) -> Tensor:
    """(N, 3, H, W) hint a, b and trust to (N, 4, H/8, W/8): the mean where there are hints, how much that is, and the trust."""
    given = functional.avg_pool2d((hints[:, 2:] > 0).to(hints), SEEN)
    a, b, trust = functional.avg_pool2d(hints, SEEN).split(1, 1)
    share = given.clamp_min(1 / SEEN**2)
    return torch.cat([a / share, b / share, given.sqrt(), trust / share], 1)


def _encoded(lightness: Tensor) -> Tensor:
    """L* [0, 100] to the gamma-encoded sRGB grey [0, 1] of that lightness (CIE 15:2004, IEC 61966-2-1)."""
    f = (lightness + 16) / 116
    linear = torch.where(lightness > 8, f**3, lightness / (24389 / 27))
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear).clamp(0, 1)


def new_teacher() -> Teacher:
    """With the vision transformer's published weights."""
    return Teacher(read_vision())


def grid_area(net: nn.Module) -> int:
    """Pixels of the grid on which a network is judged, about: a teacher on that of its largest student."""
    return net.size.grid_area if isinstance(net, ColorNet) else SIZES["lite"].grid_area


def read_believer(run: Path) -> Teacher | ColorNet:
    """The running mean of the weights of a run, a teacher's or not, ready to answer."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    if state.get("size") != "teacher":
        return read_network(run)
    net = Teacher()
    net.load_state_dict(state["average"])
    return net.eval()
