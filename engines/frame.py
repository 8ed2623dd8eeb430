"""The whole frame as one graph: luma codes in, colours out, so that a board does no pixel work on its CPU.

The same arithmetic as ``edgecolor._luma``, ``edgecolor._chroma`` and ``edgecolor._video`` around the network. Everything that
depends on the size of the frame comes in as an input, so one graph serves every even size. TensorRT reads and writes uint8 only
through a Cast, so a Cast stands first and last.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecolor._chroma import GUIDE_EPSILON, GUIDE_RADIUS
from edgecolor._color import XYZN_TO_RGB

KNEE = 6 / 29
"""Of the CIE cube-root curve."""

Decoder = Callable[[Tensor], tuple[Tensor, Tensor]]


def linear_of(encoded: Tensor) -> Tensor:
    """Gamma-encoded sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    curve = torch.pow((encoded.clamp_min(0.04045) + 0.055) / 1.055, 2.4)
    return torch.where(encoded <= 0.04045, encoded / 12.92, curve)


def encoded_of(linear: Tensor) -> Tensor:
    """Linear light in [0, 1] to gamma-encoded sRGB."""
    curve = 1.055 * torch.pow(linear.clamp_min(0.0031308), 1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curve)


def root_of(luminance: Tensor) -> Tensor:
    """f(Y), the CIE cube-root function."""
    root = torch.pow(luminance.clamp_min(KNEE**3), 1 / 3)
    return torch.where(luminance > KNEE**3, root, luminance / (3 * KNEE**2) + 4 / 29)


def blur(planes: Tensor) -> Tensor:
    """Mean over the guide's window, edges repeated."""
    padded = functional.pad(planes, [GUIDE_RADIUS] * 4, mode="replicate")
    return functional.avg_pool2d(padded, 2 * GUIDE_RADIUS + 1, stride=1)


def coefficients_of(ab: Tensor, lightness: Tensor) -> Tensor:
    """(1, 2, h/4, w/4) a*, b* and (1, 1, h, w) L* to (1, 4, h, w): slopes of a*, b* in L*, then their offsets.

    The guided filter (He, Sun & Tang 2013) of :func:`edgecolor._chroma.guide`.
    """
    # OpenCV's bicubic has the same coefficient, -0.75
    fine = functional.interpolate(ab, size=lightness.shape[2:], mode="bicubic", align_corners=False)
    mean_lightness = blur(lightness)
    variance = blur(lightness * lightness) - mean_lightness * mean_lightness
    mean = blur(fine)
    slope = (blur(lightness * fine) - mean_lightness * mean) / (variance + GUIDE_EPSILON)
    return blur(torch.cat([slope, mean - slope * mean_lightness], 1))


def merged(encoded: Tensor, coefficients: Tensor) -> Tensor:
    """(1, 1, H, W) grey in [0, 1] and coefficients of any size to (1, 3, H, W) sRGB in [0, 1] of the same lightness."""
    luminance = linear_of(encoded)
    root = root_of(luminance)
    large = functional.interpolate(coefficients, size=encoded.shape[2:], mode="bilinear", align_corners=False)
    step_a, step_b = (large[:, :2] * (116 * root - 16) + large[:, 2:]).split(1, 1)
    root = root.clamp_min(KNEE)
    cube = root * root * root
    x = torch.pow((root + step_a / 500).clamp_min(0), 3) - cube
    z = torch.pow((root - step_b / 200).clamp_min(0), 3) - cube
    red, green, blue = (float(row[0]) * x + float(row[2]) * z for row in XYZN_TO_RGB)
    up = torch.maximum(torch.maximum(red, green), blue) / (1 + 1e-6 - luminance)
    down = torch.minimum(torch.minimum(red, green), blue) / (-1e-12 - luminance)
    excess = torch.maximum(up, down).clamp_min(1)
    return encoded_of((luminance + torch.cat([red, green, blue], 1) / excess).clamp(0, 1))


class Frame(nn.Module):
    """What both whole-frame graphs begin with."""

    def __init__(self, decoded: nn.Module) -> None:
        super().__init__()
        self.decoded = decoded

    def coefficients(self, half: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Grey in [0, 1] of half the frame's size, averaged onto the grid, coloured there, as coefficients."""
        # In float16, whose steps are a tenth of a level here: TensorRT-RTX has no float32 products for Turing
        grey = torch.matmul(torch.matmul(rows.half(), half.half()), columns.half()).float()
        lightness = 116 * root_of(linear_of(grey)) - 16
        planes = functional.pad(lightness, [0, 0, 0, 0, 0, 3])
        colors, _ = self.decoded(planes)
        return coefficients_of(colors[:, :2], lightness)


class FrameToRgb(Frame):
    """Luma plane to picture."""

    def forward(self, luma: Tensor, rows: Tensor, columns: Tensor, levels: Tensor) -> Tensor:
        """Colour a frame.

        Args:
            luma: (H, W) uint8 codes, both even.
            rows: (h, H/2) float32, the weights with which rows of half the frame are averaged into rows of the grid.
            columns: (W/2, w) float32, the same for columns.
            levels: (2,) float32: the code of black, and 1 over the number of codes from it to white.

        Returns:
            (H, W, 3) uint8 sRGB.
        """
        grey = ((luma.float() - levels[0]) * levels[1]).clamp(0, 1)[None, None]
        coefficients = self.coefficients(functional.avg_pool2d(grey, 2), rows, columns)
        rgb = merged(grey, coefficients)[0].permute(1, 2, 0)
        return torch.round(rgb * 255).to(torch.uint8)


class FrameToChroma(Frame):
    """Luma plane to chroma planes."""

    def forward(self, luma: Tensor, rows: Tensor, columns: Tensor, levels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Colour a frame that keeps its luma plane.

        Args:
            luma: (H, W) uint8 codes, both even.
            rows: (h, H/2) float32, as for RGB.
            columns: (W/2, w) float32.
            levels: (2,) float32, as for RGB.
            weights: (2, 3) float32: of R', G', B' in [0, 1] in the codes of Cb and Cr, less 128.

        Returns:
            Cb and Cr, each (H/2, W/2) uint8.
        """
        grey = ((luma.float() - levels[0]) * levels[1]).clamp(0, 1)[None, None]
        half = functional.avg_pool2d(grey, 2)
        rgb = merged(half, self.coefficients(half, rows, columns))[0]
        cb, cr = (
            torch.round((rgb * weight[:, None, None]).sum(0) + 128).clamp(0, 255).to(torch.uint8)
            for weight in weights.unbind(0)
        )
        return cb, cr
