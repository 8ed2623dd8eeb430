"""The seam to what runs the network: a Protocol of two members, and the function that picks an implementation."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from edgecolor._errors import EngineUnavailableError

EngineName = Literal["auto", "onnxruntime", "tensorrt"]
OutputName = Literal["colors", "logits"]
Array = npt.NDArray[np.float32]


class Engine(Protocol):
    """Runs one model."""

    @property
    def description(self) -> str:
        """What really runs, for people: runtime, version, device."""
        ...

    def run(self, planes: Array, *outputs: OutputName) -> tuple[Array, ...]:
        """Answer for (N, 4, H, W) float32 planes: L* [0, 100], hint a*, hint b*, trust [0, 1]; H, W multiples of 32.

        ``colors`` is (N, 3, H/4, W/4): a*, b*, confidence [0, 1]. ``logits`` is (N, 128, H/4, W/4).
        """
        ...


def installed_engines() -> list[EngineName]:
    """The engines that this installation could open, best first."""
    return ["onnxruntime"] if find_spec("onnxruntime") else []


def open_engine(name: EngineName, model: bytes) -> Engine:
    """Open a model, the content of its ONNX file, in the named engine; "auto" takes the best that is installed.

    Raises:
        EngineUnavailableError: The engine is not known, or not installed.
        EngineBuildError: It is installed but cannot open this model.
    """
    if name not in get_args(EngineName):
        raise EngineUnavailableError(f"there is no engine {name!r}; there are: {', '.join(get_args(EngineName))}")
    if name == "tensorrt":
        raise EngineUnavailableError(
            "engine='tensorrt' is not in this release of edgecolor; use engine='onnxruntime', or 'auto', which takes it"
        )
    if "onnxruntime" not in installed_engines():
        raise EngineUnavailableError("ONNX Runtime is not installed; run: pip install onnxruntime")
    try:
        from edgecolor._ort import OrtEngine
    except ImportError as error:
        raise EngineUnavailableError(
            f"ONNX Runtime is installed but cannot be loaded: {error}; run: pip install --force-reinstall onnxruntime"
        ) from error

    return OrtEngine(model)
