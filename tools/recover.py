"""Make a training run out of a file that ships, whose checkpoint is no longer at hand: to learn from it, or to go on from it.

    python -m tools.recover edgecolor/models/lite.fp32.onnx --photos PHOTOS.tar --run runs/NAME
    python -m tools.recover tools/weights/teacher.npz --run runs/TEACHER

The second is what ``tools.packed`` wrote. The first holds every BatchNorm folded into its convolution. Here they are taken
apart again: the mean and deviation of what each convolution answers on photographs become the statistics of its BatchNorm, and
scale and shift are set so that the network answers as the file does. The optimiser's state and the confidence's calibration are
not in the file: the first starts anew, and ``tools.calibrate`` finds the second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import onnx
import tomlkit
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from tools.data import read_photos
from tools.network import SIZES, ColorNet
from tools.packed import read_packed
from tools.shown import shown
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


def main(arguments: list[str] | None = None) -> None:
    """Read, take apart, write a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="MODEL.fp32.onnx, beside the models.toml that tells of it; or NAME.npz")
    parser.add_argument("--photos", type=Path, help="tar or folder of photographs for the statistics")
    parser.add_argument("--run", type=Path, required=True, help="folder to write checkpoint.pt to")
    parser.add_argument("--limit", type=int, default=300, help="photographs to use (default %(default)s)")
    options = parser.parse_args(arguments)
    options.run.mkdir(parents=True, exist_ok=True)
    if options.file.suffix == ".npz":
        write_whole(options.run / "checkpoint.pt", read_packed(options.file))
        print(f"{options.run / 'checkpoint.pt'}: a teacher")
        return
    if not options.photos:
        parser.error("--photos is needed for an ONNX file: photographs for the statistics")
    size = options.file.name.split(".")[0]
    told = tomlkit.parse((options.file.parent / "models.toml").read_text())["model"][size]
    cv2.setNumThreads(1)
    photos = read_photos(options.photos, options.limit)
    net = unfolded(
        options.file, size, [torch.from_numpy(shown(photo, SIZES[size].grid_area).planes) for photo in photos.values()]
    )
    state = {"average": net.state_dict(), "size": size, "seen": int(told["photographs_seen"]), "seen_before": 0}
    write_whole(options.run / "checkpoint.pt", state)
    print(f"{options.run / 'checkpoint.pt'}: {size}, {told['photographs_seen']} photographs seen")


if __name__ == "__main__":
    main()
