"""Write a trained network as ONNX: BatchNorm folded, bins decoded in the graph, sides dynamic.

    python -m engines.export --run runs/NAME --out FOLDER

| file | for | input -> output |
| --- | --- | --- |
| ``lite.fp32.onnx`` | ONNX Runtime | ``planes`` (N, 4, H, W) -> ``colors`` (N, 3, H/4, W/4), ``logits`` (N, 128, H/4, W/4) |
| ``lite.fp16.onnx`` | TensorRT | the same; float16 inside, float32 at the boundary |
| ``lite.fp16.rgb.onnx`` | TensorRT | a whole frame: uint8 luma -> uint8 RGB, see ``engines.frame`` |
| ``lite.fp16.chroma.onnx`` | TensorRT | a whole frame: uint8 luma -> uint8 Cb, Cr |
| ``lite.fp16.weights`` | | what the three have in common |

H and W are multiples of 32. Every file is checked against PyTorch at several sizes before any is written.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from edgecolor._color import ab_bins
from engines.frame import FrameToChroma, FrameToRgb
from engines.share import write_graphs
from tools.calibrate import OperatingPoint, read_operating_point
from tools.network import ColorNet, read_network

OPSET = 20
"""The newest that TensorRT 10.3 of JetPack 6 reads."""

TOLERANCE = {"colors": 0.02, "logits": 0.005}
"""Greatest difference from PyTorch, in units of a*, b* and in logits: float32 summed in another order."""

HALF_TOLERANCE = {"colors": 0.6, "logits": 0.25}
"""The same for float16 on noise, whose colours a low temperature spreads; ``engines.verify`` holds photographs to CIEDE2000."""

LEVEL_TOLERANCE = 2
"""Greatest difference of a frame's levels or codes from PyTorch."""


class Decoded(nn.Module):
    """The network with its answer decoded, as it ships."""

    def __init__(self, net: ColorNet, point: OperatingPoint) -> None:
        super().__init__()
        self.net = net
        self.point = point
        bins = torch.from_numpy(ab_bins().T.copy()) * point.vividness
        self.register_buffer("bins", bins[:, :, None, None])

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 4, H, W) to colors (N, 3, H/4, W/4) and logits (N, 128, H/4, W/4)."""
        logits, sure = self.net(planes)
        ab = functional.conv2d(torch.softmax(logits / self.point.temperature, 1), self.bins)
        confidence = torch.sigmoid(sure * self.point.confidence_scale + self.point.confidence_bias)
        return torch.cat([ab, confidence], 1), logits


class Half(nn.Module):
    """A network in float16 that takes and gives float32."""

    def __init__(self, decoded: Decoded) -> None:
        super().__init__()
        self.decoded = decoded.half()

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Decoded.forward`."""
        colors, logits = self.decoded(planes.half())
        return colors.float(), logits.float()


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every BatchNorm into the convolution before it, in place."""
    for child in module.modules():
        if isinstance(child, nn.Sequential):
            for index in range(len(child) - 1):
                convolution, norm = child[index], child[index + 1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    child[index] = nn.utils.fuse_conv_bn_eval(convolution, norm)
                    child[index + 1] = nn.Identity()


def decoded_network(run: Path) -> Decoded:
    """The network of a training run at its operating point, folded, in float32."""
    net = read_network(run)
    fold_batch_norm(net)
    return Decoded(net, read_operating_point(run)).eval()


def network_graph(network: nn.Module) -> onnx.ModelProto:
    """``planes`` to ``colors`` and ``logits``."""
    height, width = (32 * Dim(name, min=1, max=64) for name in ("height32", "width32"))
    model = _traced(
        network,
        (torch.zeros(1, 4, 64, 96),),
        ({0: Dim("batch", min=1, max=64), 2: height, 3: width},),
        ["planes"],
        ["colors", "logits"],
    )
    shapes = (("batch", 4, "height", "width"), ("batch", 3, "height/4", "width/4"), ("batch", 128, "height/4", "width/4"))
    for value, shape in zip([*model.graph.input, *model.graph.output], shapes, strict=True):
        _name_sides(value, shape)
    return _checked(model)


def frame_graph(frame: nn.Module) -> onnx.ModelProto:
    """A whole frame: ``luma`` to ``rgb``, or to ``cb`` and ``cr``."""
    half_height, half_width = Dim("half_height", min=32, max=4320), Dim("half_width", min=32, max=4320)
    rows, columns = Dim("rows32", min=1, max=32), Dim("columns32", min=1, max=32)
    chroma = isinstance(frame, FrameToChroma)
    arguments: tuple[Tensor, ...] = (
        torch.zeros(720, 1280, dtype=torch.uint8),
        torch.rand(160, 360),
        torch.rand(640, 256),
        torch.rand(2),
    )
    sizes: tuple[Any, ...] = (
        {0: 2 * half_height, 1: 2 * half_width},
        {0: 32 * rows, 1: half_height},
        {0: half_width, 1: 32 * columns},
        {},
    )
    names = ["luma", "rows", "columns", "levels"]
    if chroma:
        arguments, sizes, names = (*arguments, torch.rand(2, 3)), (*sizes, {}), [*names, "weights"]
    model = _traced(frame, arguments, sizes, names, ["cb", "cr"] if chroma else ["rgb"])
    for value in model.graph.output:
        _name_sides(value, ("half_height", "half_width") if chroma else ("height", "width", 3))
    _name_sides(model.graph.input[0], ("height", "width"))
    _name_sides(model.graph.input[1], ("grid_height", "half_height"))
    _name_sides(model.graph.input[2], ("half_width", "grid_width"))
    return _checked(model)


def _traced(module: nn.Module, arguments: Any, sizes: Any, inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    program = torch.onnx.export(
        module.eval(),
        arguments,
        input_names=inputs,
        output_names=outputs,
        dynamic_shapes=sizes,
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    for node in model.graph.node:  # the exporter's notes: paths of the machine that exported
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    return model


def _name_sides(value: onnx.ValueInfoProto, shape: tuple[str | int, ...]) -> None:
    for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        if isinstance(size, str):
            dimension.dim_param = size
        else:
            dimension.dim_value = size


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def largest_difference(model: onnx.ModelProto, network: nn.Module) -> dict[str, float]:
    """Greatest difference between a network's graph in ONNX Runtime and its PyTorch module, over several sizes."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = dict.fromkeys(TOLERANCE, 0.0)
    for batch, height, width in ((1, 32, 32), (1, 256, 256), (2, 192, 352), (1, 1024, 64)):
        planes = rng.uniform(0, 100, (batch, 4, height, width)).astype(np.float32)
        planes[:, 1:] *= rng.random((batch, 1, height, width)) > 0.95
        planes[:, 3] = planes[:, 3] > 0
        with torch.no_grad():
            expected = network(torch.from_numpy(planes))
        for name, found, wanted in zip(worst, session.run(list(worst), {"planes": planes}), expected, strict=True):
            worst[name] = max(worst[name], float(np.abs(found - wanted.numpy()).max()))
    return worst


def largest_level_difference(model: onnx.ModelProto, frame: nn.Module) -> dict[str, float]:
    """Greatest difference between a frame's graph and its PyTorch module, in levels, over several sizes."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = 0
    for height, width, rows, columns in ((360, 640, 160, 256), (720, 1280, 160, 288), (640, 480, 224, 160)):
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 1, height // 40, width // 40)).astype(np.float32))
        luma = functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255)[0, 0].to(torch.uint8)
        inputs = [luma, _averages(rows, height // 2), _averages(columns, width // 2).T.contiguous(), torch.tensor([0, 1 / 255])]
        if isinstance(frame, FrameToChroma):
            inputs.append(torch.tensor([[-43.2, -84.8, 128.0], [128.0, -107.2, -20.8]]))
        with torch.no_grad():
            expected = frame(*inputs)
        feed = {value.name: tensor.numpy() for value, tensor in zip(model.graph.input, inputs, strict=True)}
        for found, wanted in zip(
            session.run(None, feed), expected if isinstance(expected, tuple) else (expected,), strict=True
        ):
            worst = max(worst, int(np.abs(found.astype(int) - wanted.numpy()).max()))
    return {"levels": worst}


def _averages(cells: int, length: int) -> Tensor:
    """(cells, length) weights that average neighbours; any will do to compare two engines."""
    weights = functional.interpolate(torch.eye(length)[None], cells, mode="linear", align_corners=False)[0].T
    return weights.contiguous()


def main(arguments: list[str] | None = None) -> None:
    """Export, check, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of the training run, with checkpoint and operating point"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--name", default="lite", help="first word of the files' names (default %(default)s)")
    options = parser.parse_args(arguments)
    single = decoded_network(options.run)
    graph = network_graph(single)
    _refuse("fp32", largest_difference(graph, single), TOLERANCE)
    half = Half(decoded_network(options.run))
    halves = {"network": network_graph(half)}
    _refuse("fp16", largest_difference(halves["network"], half), HALF_TOLERANCE)
    for purpose, frame in (("rgb", FrameToRgb(half)), ("chroma", FrameToChroma(half))):
        halves[purpose] = frame_graph(frame)
        _refuse(f"fp16 {purpose}", largest_level_difference(halves[purpose], frame), {"levels": LEVEL_TOLERANCE})
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"{options.name}.fp32.onnx"
    partial = target.with_suffix(".partial")
    onnx.save(graph, partial)
    partial.replace(target)
    for path in (target, *write_graphs(halves, options.out, f"{options.name}.fp16")):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _refuse(name: str, worst: dict[str, float], allowed: dict[str, float]) -> None:
    for output, difference in worst.items():
        print(f"{name}: {output} at most {difference:.2g} from PyTorch, {allowed[output]} allowed")
        if difference > allowed[output]:
            raise SystemExit(f"{name}: {output} differs too much; nothing was written")


if __name__ == "__main__":
    main()
