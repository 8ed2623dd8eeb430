"""The teacher: a frozen vision transformer's understanding, and what colours that makes likely. It never ships.

It answers as the student does, so that whatever measures one measures the other. Hints it does not know.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecolor._color import BIN_COUNT
from tools.network import LIGHTNESS_MEAN, LIGHTNESS_SCALE, STRIDE, confidence_head, convolution
from tools.tokens import DETAIL, token_grid
from tools.vision import FEATURES, PATCH, Vision, read_vision

_WIDTH = 256


class Mix(nn.Module):
    """Two dense convolutions beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*convolution(width, width, 3), nn.ReLU(), *convolution(width, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        return functional.relu(x + self.layers(x))


class Teacher(nn.Module):
    """L* and features of the whole picture to the logits of the colour bins and of the confidence."""

    def __init__(self) -> None:
        super().__init__()
        self.forget = nn.Dropout2d(0.15)
        self.joined = nn.Sequential(*convolution(FEATURES + DETAIL * DETAIL, _WIDTH), nn.ReLU(), Mix(_WIDTH))
        self.bins = nn.Conv2d(_WIDTH, BIN_COUNT, 1)
        self.sure = confidence_head(_WIDTH)
        self._vision: list[Vision] = []  # in a list, so that it is no part of what a checkpoint keeps

    def answer(self, lightness: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What is likely where a token looks.

        Args:
            lightness: (N, 8 h, 8 w) L* [0, 100].
            tokens: (N, 768, h, w) features.

        Returns: bin logits (N, 128, h, w) and confidence logit (N, 1, h, w).
        """
        detail = functional.pixel_unshuffle((lightness[:, None] - LIGHTNESS_MEAN) / LIGHTNESS_SCALE, DETAIL)
        x = self.joined(torch.cat([self.forget(tokens), detail], 1))
        return self.bins(x), self.sure(x)

    @torch.no_grad()
    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """As the student answers: (N, 4, H, W), of which only L* is looked at, to logits at H/4, W/4."""
        lightness = planes[:, 0]
        rows, columns = token_grid((lightness.shape[1], lightness.shape[2]))
        seen = self.see(resized(_encoded(lightness), (rows * PATCH, columns * PATCH)))
        logits, sure = self.answer(resized(lightness, (rows * DETAIL, columns * DETAIL)), seen)
        cells = (planes.shape[2] // STRIDE, planes.shape[3] // STRIDE)
        large = [functional.interpolate(part, size=cells, mode="bilinear") for part in (logits, sure)]
        return large[0], large[1]

    @torch.no_grad()
    def see(self, grey: Tensor) -> Tensor:
        """Features of (N, 14 h, 14 w) grey pictures; see ``Vision``."""
        if not self._vision:
            self._vision.append(read_vision().to(grey.device))
        return self._vision[0](grey)


def resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, H, W) to (N, *size), detail averaged."""
    return functional.interpolate(planes[:, None], size=size, mode="bilinear", antialias=True)[:, 0]


def _encoded(lightness: Tensor) -> Tensor:
    """L* [0, 100] to the gamma-encoded sRGB grey [0, 1] of that lightness (CIE 15:2004, IEC 61966-2-1)."""
    f = (lightness + 16) / 116
    linear = torch.where(lightness > 8, f**3, lightness / (24389 / 27))
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear).clamp(0, 1)


def read_teacher(run: Path) -> Teacher:
    """The running mean of the weights of a teacher's training run, ready to answer."""
    net = Teacher()
    net.load_state_dict(torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["average"])
    return net.eval()
