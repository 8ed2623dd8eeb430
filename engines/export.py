"""Write a trained network as ONNX: BatchNorm folded, bins decoded in the graph, sides dynamic.

    python -m engines.export --run runs/NAME --out lite.fp32.onnx

Input ``planes`` (N, 4, H, W) float32; outputs ``colors`` (N, 3, H/4, W/4), a*, b*, confidence, and ``logits``
(N, 128, H/4, W/4). H and W are multiples of 32. The file is checked against PyTorch at several sizes before it is written.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from edgecolor._color import ab_bins
from tools.calibrate import OperatingPoint, read_operating_point
from tools.network import ColorNet, read_network

OPSET = 20
"""The newest that TensorRT 10.3 of JetPack 6 reads."""

TOLERANCE = {"colors": 0.02, "logits": 0.005}
"""Greatest difference from PyTorch, in units of a*, b* and in logits: float32 summed in another order."""


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


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every BatchNorm into the convolution before it, in place."""
    for child in module.modules():
        if isinstance(child, nn.Sequential):
            for index in range(len(child) - 1):
                convolution, norm = child[index], child[index + 1]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    child[index] = nn.utils.fuse_conv_bn_eval(convolution, norm)
                    child[index + 1] = nn.Identity()


def to_onnx(decoded: Decoded) -> onnx.ModelProto:
    """The ONNX graph, with names a reader of Netron understands and without the exporter's notes."""
    height, width = (32 * Dim(name, min=1, max=64) for name in ("height32", "width32"))
    program = torch.onnx.export(
        decoded,
        (torch.zeros(1, 4, 64, 96),),
        input_names=["planes"],
        output_names=["colors", "logits"],
        dynamic_shapes=({0: Dim("batch", min=1, max=64), 2: height, 3: width},),
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    for value, shape in zip(
        [*model.graph.input, *model.graph.output],
        (("batch", 4, "height", "width"), ("batch", 3, "height/4", "width/4"), ("batch", 128, "height/4", "width/4")),
        strict=True,
    ):
        for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            if isinstance(size, str):
                dimension.dim_param = size
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def largest_difference(model: onnx.ModelProto, decoded: Decoded) -> dict[str, float]:
    """Greatest difference between the ONNX graph in ONNX Runtime and the PyTorch module, over several sizes."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = dict.fromkeys(TOLERANCE, 0.0)
    for batch, height, width in ((1, 32, 32), (1, 256, 256), (2, 192, 352), (1, 1024, 64)):
        planes = rng.uniform(0, 100, (batch, 4, height, width)).astype(np.float32)
        planes[:, 1:] *= rng.random((batch, 1, height, width)) > 0.95
        planes[:, 3] = planes[:, 3] > 0
        with torch.no_grad():
            expected = decoded(torch.from_numpy(planes))
        for name, found, wanted in zip(worst, session.run(list(worst), {"planes": planes}), expected, strict=True):
            worst[name] = max(worst[name], float(np.abs(found - wanted.numpy()).max()))
    return worst


def main(arguments: list[str] | None = None) -> None:
    """Export, check, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of the training run, with checkpoint and operating point"
    )
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    options = parser.parse_args(arguments)
    net = read_network(options.run)
    fold_batch_norm(net)
    decoded = Decoded(net, read_operating_point(options.run)).eval()
    model = to_onnx(decoded)
    worst = largest_difference(model, decoded)
    for name, difference in worst.items():
        print(f"{name}: at most {difference:.2g} from PyTorch, {TOLERANCE[name]} allowed")
        if difference > TOLERANCE[name]:
            raise SystemExit(f"{name} differs too much; nothing was written")
    partial = options.out.with_suffix(".partial")
    onnx.save(model, partial)
    partial.replace(options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, {len(model.graph.node)} nodes")


if __name__ == "__main__":
    main()
