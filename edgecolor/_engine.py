"""The seam to what runs the network: two Protocols, and the functions that pick an implementation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from edgecolor._errors import EngineUnavailableError
from edgecolor._models import ModelFile

EngineName = Literal["auto", "onnxruntime", "tensorrt"]
OutputName = Literal["colors", "logits"]
Purpose = Literal["network", "rgb", "chroma"]
Array = npt.NDArray[np.float32]
FrameInputs = Mapping[str, Any]
"""Name of an input of a whole-frame graph -> array; see ``engines/frame.py``."""

FRAME_OUTPUTS: dict[str, Callable[[int, int], tuple[tuple[str, tuple[int, ...]], ...]]] = {
    "rgb": lambda height, width: (("rgb", (height, width, 3)),),
    "chroma": lambda height, width: (("cb", (height // 2, width // 2)), ("cr", (height // 2, width // 2))),
}
"""Names and shapes of what the whole-frame graphs answer to a frame of a height and width."""

_JETSON = Path("/etc/nv_tegra_release")
"""What JetPack leaves on every Jetson."""

_GPU = Path("/dev/nvidia0")
"""There where a GPU of NVIDIA is, with its driver."""

_NOT_SEEN = (
    "TensorRT is not seen from this environment; on a Jetson JetPack has it: make the environment with --system-site-packages"
)

_log = logging.getLogger("edgecolor")


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


@runtime_checkable
class FrameEngine(Engine, Protocol):
    """An engine that also does the pixel work around the network."""

    def serves(self, height: int, width: int) -> bool:
        """Whether it takes whole frames of a size."""
        ...

    def frame(
        self, purpose: Purpose, inputs: FrameInputs, out: tuple[Any, ...] | None = None
    ) -> tuple[npt.NDArray[np.uint8], ...]:
        """Colour a whole frame.

        Args:
            purpose: "rgb" or "chroma".
            inputs: What :mod:`edgecolor._frame` makes; the luma may lie on the GPU.
            out: uint8 arrays for the answers. On the host they are written only if all went well; on the GPU the engine
                writes into them as it goes, and after an error they hold nothing of use.

        Returns:
            The answers, on the host unless ``out`` lies on the GPU: (H, W, 3) sRGB, or Cb and Cr, each (H/2, W/2).
        """
        ...


def installed_engines() -> list[EngineName]:
    """The engines that are installed, best first; whether TensorRT finds a GPU is another question."""
    found: list[EngineName] = []
    if any(find_spec(name) for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")):
        found.append("tensorrt")
    if find_spec("onnxruntime"):
        found.append("onnxruntime")
    return found


def why_not_tensorrt() -> str | None:
    """Why TensorRT cannot run here, with the remedy, or None if it can."""
    try:
        from edgecolor._trt_engine import why_not
    except ImportError as error:
        return f"TensorRT cannot be loaded: {error}"
    return why_not()


def choose_engine(name: EngineName) -> EngineName:
    """The engine that "auto" stands for here: TensorRT where it is installed and has a GPU, else ONNX Runtime.

    Raises:
        EngineUnavailableError: There is no such engine.
    """
    if name not in get_args(EngineName):
        raise EngineUnavailableError(f"there is no engine {name!r}; there are: {', '.join(get_args(EngineName))}")
    if name != "auto":
        return name
    installed, on_jetson = "tensorrt" in installed_engines(), _JETSON.exists()
    reason = why_not_tensorrt() if installed else _NOT_SEEN
    if reason is None:
        return "tensorrt"
    unexpected = on_jetson or (installed and _GPU.exists())
    _log.log(logging.WARNING if unexpected else logging.INFO, "the CPU is used, by ONNX Runtime: %s", reason)
    return "onnxruntime"


def open_engine(name: EngineName, file: ModelFile) -> Engine:
    """Open a model in an engine, "onnxruntime" or "tensorrt".

    Raises:
        EngineUnavailableError: The engine is not installed, or has no device.
        EngineBuildError: It is installed but cannot open this model.
        ModelIntegrityError: The model's file is missing or damaged.
    """
    if name == "tensorrt":
        from edgecolor._trt_engine import TensorRtEngine

        return TensorRtEngine(file)
    if "onnxruntime" not in installed_engines():
        raise EngineUnavailableError("ONNX Runtime is not installed; run: pip install onnxruntime")
    try:
        from edgecolor._ort import OrtEngine
    except ImportError as error:
        raise EngineUnavailableError(
            f"ONNX Runtime is installed but cannot be loaded: {error}; run: pip install --force-reinstall onnxruntime"
        ) from error

    return OrtEngine(file.network.read())
