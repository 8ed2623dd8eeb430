"""Choose where on the distribution the answer is taken, and make the confidence honest, on held-out photographs.

    python -m tools.calibrate --photos HELD-OUT.tar --run runs/NAME

Low temperatures and high vividness give livelier and riskier colour. Of the points whose colourfulness reaches
``--colorfulness`` of the truth's, the one with the smallest mean CIEDE2000 is taken. Then a logistic curve (Platt 1999) is
laid through the confidence, so that 0.8 means right four times in five. Both go into ``operating_point.json`` and from
there into the ONNX file.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgecolor._color import delta_e00, lab_to_rgb
from tools.data import Array, read_photos
from tools.figures import colorfulness, grey_of, psnr
from tools.network import expected_ab
from tools.shown import shown
from tools.teacher import grid_area, read_believer

if TYPE_CHECKING:
    import numpy.typing as npt

TEMPERATURES = (1.0, 0.8, 0.6, 0.45, 0.3)
VIVIDNESSES = (0.8, 0.9, 1.0, 1.06, 1.12, 1.3)


@dataclass(frozen=True)
class OperatingPoint:
    """How the network's answer becomes colours and a probability."""

    temperature: float = 1.0
    """Below 1, the mean leans toward the likeliest colours."""
    vividness: float = 1.0
    """Factor on the mean a*, b*."""
    confidence_scale: float = 1.0
    """Of the logistic curve."""
    confidence_bias: float = 0.0
    """Of the logistic curve."""


def read_operating_point(run: Path) -> OperatingPoint:
    """What ``calibrate`` chose for a run."""
    return OperatingPoint(**json.loads((run / "operating_point.json").read_text())["chosen"])


@torch.no_grad()
def answers(net: nn.Module, photos: list[npt.NDArray[np.uint8]]) -> list[tuple[torch.Tensor, torch.Tensor, Array]]:
    """Bin logits, confidence logit and the true L*a*b* at each cell's centre, as the library sees the photographs."""
    found = []
    for photo in photos:
        one = shown(photo, grid_area(net))
        logits, sure = net(torch.from_numpy(one.planes))
        found.append((logits, sure[0, 0], one.truth))
    return found


def measure(
    found: list[tuple[torch.Tensor, torch.Tensor, Array]], temperature: float, vividnesses: tuple[float, ...]
) -> list[tuple[dict[str, float], list[Array]]]:
    """Mean CIEDE2000, PSNR over grey's, colourfulness over the truth's at one temperature, and the error of every cell."""
    means = [expected_ab(logits, temperature)[0].permute(1, 2, 0).numpy() for logits, _, _ in found]
    truths = [lab_to_rgb(truth) for _, _, truth in found]
    grey = float(np.mean([psnr(grey_of(lab), rgb) for rgb, (_, _, lab) in zip(truths, found, strict=True)]))
    true = float(np.mean([colorfulness(rgb) for rgb in truths]))
    measured = []
    for vividness in vividnesses:
        answers = [np.dstack([truth[..., :1], ab * vividness]) for ab, (_, _, truth) in zip(means, found, strict=True)]
        errors = [delta_e00(answer, truth) for answer, (_, _, truth) in zip(answers, found, strict=True)]
        colored = [lab_to_rgb(answer) for answer in answers]
        figures = {
            "temperature": temperature,
            "vividness": vividness,
            "delta_e00": float(np.mean([error.mean() for error in errors])),
            "psnr_gain_db": float(np.mean([psnr(rgb, truth) for rgb, truth in zip(colored, truths, strict=True)])) - grey,
            "colorfulness": float(np.mean([colorfulness(rgb) for rgb in colored])) / true,
        }
        print(" ".join(f"{name} {value:.3f}" for name, value in figures.items()), flush=True)
        measured.append((figures, errors))
    return measured


def fit_confidence(sure: Array, near: Array) -> tuple[float, float]:
    """Scale and bias of the logistic curve from confidence logits (n,) to the share of ``near`` (n,) ones."""
    logit, truth = torch.from_numpy(sure).double(), torch.from_numpy(near).double()
    line = torch.tensor([1.0, 0.0], dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = functional.binary_cross_entropy_with_logits(logit * line[0] + line[1], truth)
        value.backward()
        return value

    optimizer.step(loss)
    scale, bias = line.detach().tolist()
    return scale, bias


def main(arguments: list[str] | None = None) -> None:
    """Sweep, choose, calibrate, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="tar or folder of photographs that were not trained on")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--limit", type=int, default=300, help="photographs to use (default %(default)s)")
    parser.add_argument("--colorfulness", type=float, default=0.58, help="least share of the truth's (default %(default)s)")
    parser.add_argument("--point", type=float, nargs=2, metavar=("TEMPERATURE", "VIVIDNESS"), help="take this one instead")
    options = parser.parse_args(arguments)
    found = answers(read_believer(options.run), list(read_photos(options.photos, options.limit).values()))
    swept = [point for temperature in TEMPERATURES for point in measure(found, temperature, VIVIDNESSES)]
    sweep = [figures for figures, _ in swept]
    lively = [point for point in swept if point[0]["colorfulness"] >= options.colorfulness]
    best, errors = min(lively or swept, key=lambda point: point[0]["delta_e00"])
    if options.point:
        ((best, errors),) = measure(found, options.point[0], (options.point[1],))
    near = np.concatenate([(error < 10).ravel() for error in errors]).astype(np.float32)
    sure = np.concatenate([logit.numpy().ravel() for _, logit, _ in found])
    scale, bias = fit_confidence(sure, near)
    point = OperatingPoint(best["temperature"], best["vividness"], scale, bias)
    print(point)
    text = json.dumps({"chosen": asdict(point), "sweep": sweep}, indent=1)
    (options.run / "operating_point.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
