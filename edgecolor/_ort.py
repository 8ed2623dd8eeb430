"""ONNX Runtime on the CPU, the engine that always works. The only file that knows it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime

from edgecolor._engine import OutputName
from edgecolor._errors import EngineBuildError
from edgecolor._models import ModelFile


class OrtEngine:
    """An :class:`edgecolor._engine.Engine` on the CPU; safe to call from several threads."""

    def __init__(self, model: ModelFile) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model.read(), options, providers=["CPUExecutionProvider"]
            )
        except (RuntimeError, ValueError, NotImplementedError) as error:
            raise EngineBuildError(
                f"ONNX Runtime {onnxruntime.__version__} cannot open {model.path.name}: {error}; "
                "a newer one may: pip install -U onnxruntime"
            ) from error

    @property
    def description(self) -> str:
        return f"ONNX Runtime {onnxruntime.__version__} on the CPU"

    def run(self, planes: npt.NDArray[np.float32], *outputs: OutputName) -> tuple[npt.NDArray[np.float32], ...]:
        return tuple(self._session.run(list(outputs), {"planes": planes}))
