"""ONNX Runtime on the CPU, the engine that always works. The only file that knows it."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

# Read when the library is loaded: otherwise it keeps a device number and sends events (its Privacy.md).
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

from edgecolor._engine import OutputName
from edgecolor._errors import EngineBuildError


class OrtEngine:
    """An :class:`edgecolor._engine.Engine` on the CPU; safe to call from several threads."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Waiting threads would otherwise spin on the cores that the pixel work of the same frame needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no base but this one
            raise EngineBuildError(
                f"ONNX Runtime {onnxruntime.__version__} cannot open the model: {error}; "
                "a newer one may: pip install -U onnxruntime"
            ) from error

    @property
    def description(self) -> str:
        return f"ONNX Runtime {onnxruntime.__version__} on the CPU"

    def run(self, planes: npt.NDArray[np.float32], *outputs: OutputName) -> tuple[npt.NDArray[np.float32], ...]:
        try:
            return tuple(self._session.run(list(outputs), {"planes": planes}))
        except Exception as error:  # its exceptions share no base but this one
            raise EngineBuildError(f"{self.description} could not run the model: {error}") from error
