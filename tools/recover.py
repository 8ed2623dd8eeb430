"""Make a training run out of a file that ships, whose checkpoint is no longer at hand: to learn from it, or to go on from it.

    python -m tools.recover edgecolor/models/lite.fp32.onnx --photos PHOTOS.tar --run runs/NAME

The file holds every BatchNorm folded into its convolution. Here they are taken apart again: the mean and deviation of what each
convolution answers on photographs become the statistics of its BatchNorm, and scale and shift are set so that the network
answers as the file does. The optimiser's state and the confidence's calibration are not in the file: the first starts anew,
and ``tools.calibrate`` finds the second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import tomlkit
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from edgecolor._grid import grid_size
from edgecolor._luma import read_luma
from tools.data import Photo, read_photos
from tools.network import SIZES, ColorNet
from tools.train import write_whole


def normalised(net: nn.Module) -> list[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Every convolution that a BatchNorm follows, with the name it has in a file."""
    pairs = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Sequential):
            for index in range(len(module) - 1):
                convolution, norm = module[index], module[index + 1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    pairs.append((f"{name}.{index}", convolution, norm))
    return pairs


@torch.no_grad()
def unfolded(path: Path, size: str, inputs: list[Tensor]) -> ColorNet:
    """The network of a file, its BatchNorms as ``inputs``, a list of (N, 4, H, W) planes, show them."""
    held = {
        tensor.name.removeprefix("net."): torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(path).graph.initializer
    }
    net = ColorNet(SIZES[size]).eval()
    norms = normalised(net)
    for name, convolution, norm in norms:
        convolution.weight.copy_(held.pop(f"{name}.weight"))
        norm.weight.fill_((1 + norm.eps) ** 0.5)  # with a mean of 0 and a variance of 1: as if there were none
        norm.bias.copy_(held.pop(f"{name}.bias"))
    own = net.state_dict()
    for name in own.keys() & held.keys():
        own[name].copy_(held[name])
    sums = {name: torch.zeros(3, norm.num_features, dtype=torch.double) for name, _, norm in norms}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def add(_module: nn.Module, _arguments: tuple[Tensor, ...], answer: Tensor) -> None:
            values = answer.double()
            sums[name] += torch.stack(
                [torch.ones_like(values).sum((0, 2, 3)), values.sum((0, 2, 3)), (values**2).sum((0, 2, 3))]
            )

        return add

    hooks = [convolution.register_forward_hook(watch(name)) for name, convolution, _ in norms]
    for planes in inputs:
        net(planes)
    for hook in hooks:
        hook.remove()
    for name, _, norm in norms:
        count, total, squares = sums[name]
        mean = total / count
        variance = squares / count - mean**2
        norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        norm.running_var.copy_(variance)  # type: ignore[union-attr]
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean.float())
    return net


def planes_of(photo: Photo) -> Tensor:
    """(1, 4, H, W): a photograph as the library shows it to the network, without hints."""
    rows, columns = grid_size(*photo.shape[:2])
    planes = np.zeros((1, 4, rows, columns), np.float32)
    planes[0, 0] = read_luma(photo).lightness(rows, columns)
    return torch.from_numpy(planes)


def main(arguments: list[str] | None = None) -> None:
    """Read, take apart, write a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="MODEL.fp32.onnx, beside the models.toml that tells of it")
    parser.add_argument("--photos", type=Path, required=True, help="tar or folder of photographs for the statistics")
    parser.add_argument("--run", type=Path, required=True, help="folder to write checkpoint.pt to")
    parser.add_argument("--limit", type=int, default=300, help="photographs to use (default %(default)s)")
    options = parser.parse_args(arguments)
    size = options.file.name.split(".")[0]
    told = tomlkit.parse((options.file.parent / "models.toml").read_text())["model"][size]
    cv2.setNumThreads(1)
    net = unfolded(options.file, size, [planes_of(photo) for photo in read_photos(options.photos, options.limit).values()])
    options.run.mkdir(parents=True, exist_ok=True)
    state = {"average": net.state_dict(), "size": size, "seen": int(told["photographs_seen"]), "seen_before": 0}
    write_whole(options.run / "checkpoint.pt", state)
    print(f"{options.run / 'checkpoint.pt'}: {size}, {told['photographs_seen']} photographs seen")


if __name__ == "__main__":
    main()
