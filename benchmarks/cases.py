"""What is measured: each case prepares what it needs and gives back the call to time.

    python -m benchmarks.cases NAME        prepares one case and calls it twice, for its peak memory

Pictures are the sample photographs enlarged; the network is the default one, so its numbers are those of the README, unless
the title begins with another's name.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from edgecolor._cuda import Cuda
from edgecolor._engine import FRAME_OUTPUTS, Purpose, why_not_tensorrt
from edgecolor._frame import rgb_inputs
from edgecolor._grid import CELL, grid_size
from edgecolor._models import ModelName, Precision, find_model, registry

ROOT = Path(__file__).parent.parent
PHOTOS = ROOT / "tests" / "photos"

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    title: str
    """For the table."""
    prepare: Callable[[], Call]
    """Does all that is not timed, and gives back what is."""
    rounds: int = 5
    """Fewest rounds to measure."""


def cases() -> dict[str, Case]:
    """Everything that is measured, by name, in the order of the table."""
    return (
        _bare("auto")
        | {
            "frame": Case("1080p frame, 8-bit grey to RGB", partial(_picture, 1080, 1920, np.uint8)),
            "chroma-planes": Case("1080p frame, Y to Cb and Cr", _chroma_planes),
            "steady-planes": Case("1080p frame, Y to Cb and Cr, steady", _steady_planes),
            "scan-8": Case("24 megapixels, 8-bit grey to RGB", partial(_picture, 4000, 6000, np.uint8)),
            "scan-16": Case("24 megapixels, 16-bit grey to RGB", partial(_picture, 4000, 6000, np.uint16)),
            "predict": Case("`predict()`, 1 megapixel, with its confidence", _predict),
            "cli": Case("`edgecolor image`, from start to the picture on disk", _command_line),
            "import": Case("`python -c 'import edgecolor'`", partial(_run, "-c", "import edgecolor")),
        }
        | other_cases()
        | (gpu_cases() if why_not_tensorrt() is None else {})
    )


def _bare(model: ModelName) -> dict[str, Case]:
    return {
        f"network-{precision}-{threads}": Case(
            f"The bare network on 256 by 256, {precision}, {threads} thread{'s'[: threads - 1]}",
            partial(_network, precision, threads, model),
        )
        for precision in precisions(model)
        for threads in (1, 2)
    }


def other_cases() -> dict[str, Case]:
    """What is measured of the models that ship besides the default one."""
    measured: dict[str, Case] = {}
    for model in get_args(ModelName):
        if model in ("auto", find_model().model):
            continue
        own = _bare(model) | {
            "frame": Case("1080p frame, 8-bit grey to RGB", partial(_picture, 1080, 1920, np.uint8, model)),
            "chroma-planes": Case("1080p frame, Y to Cb and Cr", partial(_chroma_planes, model)),
        }
        measured |= {f"{model}-{name}": Case(f"{model}: {case.title}", case.prepare) for name, case in own.items()}
    return measured


FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920), "4K": (2160, 3840)}

GPU_PRECISIONS: tuple[Precision, ...] = ("fp16", "int8")
GPU_ROUNDS = 500
"""Fewest rounds on a GPU, where a round is short and the 99th percentile is asked for."""


@dataclass(frozen=True)
class GpuWork:
    """One thing that TensorRT does, for the default model."""

    precision: Precision
    """Of its arithmetic."""
    purpose: Purpose
    """The bare network, or a whole frame to RGB or to Cb and Cr."""
    size: tuple[int, int]
    """Height and width of the frame; for the bare network, of its grid."""
    resident: bool
    """Whether input and answer lie on the GPU, or on the host."""

    @property
    def name(self) -> str:
        return f"tensorrt-{self.precision}-{self.purpose}-{self.size[0]}x{self.size[1]}{'-resident' * self.resident}"

    @property
    def title(self) -> str:
        """For the table."""
        named = {size: name for name, size in FRAMES.items()}
        what = {"network": "the bare network on {} by {}", "rgb": "{2} frame to RGB", "chroma": "{2} frame, Y to Cb and Cr"}
        words = what[self.purpose].format(*self.size, named.get(self.size))
        return f"TensorRT {self.precision}: {words}{', on the GPU' * self.resident}"

    def prepare(self) -> Call:
        """Open the model, and give back the call."""
        return self.call(edgecolor.load(engine="tensorrt", precision=self.precision))

    def call(self, colorizer: edgecolor.Colorizer) -> Call:
        """The call, with an opened model."""
        if self.purpose == "network":
            return self._network(colorizer)
        picture, engine, area = grey(*self.size), gpu_engine(colorizer), colorizer._model.grid_area
        out = tuple(np.zeros(shape, np.uint8) for _, shape in FRAME_OUTPUTS[self.purpose](*self.size))
        y, into = (self._placed(picture, colorizer), tuple(self._placed(array, colorizer) for array in out))
        if self.purpose == "chroma":
            return lambda: colorizer.chroma_planes(y, out=(into[0], into[1]))
        return (lambda: engine.frame("rgb", rgb_inputs(y, area), into)) if self.resident else (lambda: colorizer(picture))

    def _network(self, colorizer: edgecolor.Colorizer) -> Call:
        height, width = self.size
        planes = np.zeros((1, 4, height, width), np.float32)
        planes[0, 0] = np.random.default_rng(0).uniform(0, 100, (height, width))  # on zeros a GPU can be faster
        engine, answer = gpu_engine(colorizer), np.zeros((1, 3, height // CELL, width // CELL), np.float32)
        if not self.resident:
            return lambda: engine.run(planes, "colors")
        from edgecolor._trt_engine import network_profile

        plan = engine._store.open("network", network_profile(colorizer._model.grid_area))
        inputs, into = {"planes": self._placed(planes, colorizer)}, {"colors": self._placed(answer, colorizer)}
        return lambda: plan.run(inputs, {"colors": answer.shape}, into)

    def _placed(self, array: npt.NDArray[Any], colorizer: edgecolor.Colorizer) -> Any:
        return OnGpu(array, gpu_engine(colorizer)._store.cuda) if self.resident else array


class OnGpu:
    """A copy of an array on the GPU, handed over as PyTorch and CuPy do."""

    def __init__(self, array: npt.NDArray[Any], cuda: Cuda) -> None:
        self.shape, self._dtype, self._cuda = array.shape, array.dtype, cuda
        with cuda.active():
            self._address = cuda.allocate(array.nbytes)
            weakref.finalize(self, cuda.release, allocated=[self._address])
            stream, pinned = cuda.stream(), cuda.pinned(array.nbytes)
            pinned.host[:] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            cuda.upload(self._address, pinned.host, stream)
            cuda.wait(stream)
            cuda.release(stream=stream, pinned=[pinned])

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        place = {"data": (self._address, False), "strides": None, "version": 3}
        return {"shape": self.shape, "typestr": self._dtype.str, **place}

    def numpy(self) -> npt.NDArray[Any]:
        """What it holds now."""
        array = np.empty(self.shape, self._dtype)
        with self._cuda.active():
            stream, pinned = self._cuda.stream(), self._cuda.pinned(array.nbytes)
            self._cuda.download(pinned.host, self._address, stream)
            self._cuda.wait(stream)
            array.reshape(-1).view(np.uint8)[:] = pinned.host
            self._cuda.release(stream=stream, pinned=[pinned])
        return array


def gpu_works() -> list[GpuWork]:
    """What is measured where TensorRT finds a GPU, each from and to the host, and all on the GPU."""
    grid = grid_size(*FRAMES["1080p"], find_model().grid_area)
    works: list[tuple[Purpose, tuple[int, int]]] = [("network", (256, 256)), ("network", grid)]
    works += [("rgb", size) for size in FRAMES.values()]
    works += [("chroma", size) for size in FRAMES.values()]
    return [
        GpuWork(precision, purpose, size, resident)
        for precision in GPU_PRECISIONS
        for purpose, size in works
        for resident in (False, True)
    ]


def gpu_cases() -> dict[str, Case]:
    """The same as cases."""
    return {work.name: Case(work.title, work.prepare, GPU_ROUNDS) for work in gpu_works()}


def gpu_engine(colorizer: edgecolor.Colorizer) -> Any:
    """What runs it, a TensorRtEngine."""
    return colorizer._engine


def precisions(model: ModelName = "auto") -> list[Precision]:
    """Those a model is shipped in."""
    shipped = registry()["model"][find_model(model).model]["file"]["onnxruntime"]
    return [precision for precision in get_args(Precision) if precision in shipped]


def reference_network(colorizer: edgecolor.Colorizer) -> Call:
    """The bare network as the colorizer runs it, on all cores: what every case is compared with."""
    planes = np.zeros((1, 4, 256, 256), np.float32)
    return lambda: colorizer._engine.run(planes, "colors")


def grey(height: int, width: int, dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """A photograph (height, width) in grey."""
    photo: Any = cv2.imread(str(PHOTOS / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE)
    large: npt.NDArray[Any] = cv2.resize(photo, (width, height), interpolation=cv2.INTER_CUBIC).astype(dtype)
    large *= np.iinfo(large.dtype).max // 255
    return large


def _network(precision: Precision, threads: int, model: ModelName) -> Call:
    onnxruntime = import_module("edgecolor._ort").onnxruntime  # as the library sets it up
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    file = find_model(model, precision).network.read()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    planes = np.zeros((1, 4, 256, 256), np.float32)
    return lambda: session.run(["colors"], {"planes": planes})


def _picture(height: int, width: int, dtype: npt.DTypeLike, model: ModelName = "auto") -> Call:
    colorizer, picture = edgecolor.load(model), grey(height, width, dtype)
    return lambda: colorizer(picture)


def _chroma_planes(model: ModelName = "auto") -> Call:
    colorizer, y = edgecolor.load(model), grey(1080, 1920)
    return lambda: colorizer.chroma_planes(y)


def _steady_planes() -> Call:
    """A camera that pans, two grid pixels a frame, to and fro."""
    steady, wide = edgecolor.load().steady(), grey(1200, 2400)
    steps = itertools.cycle([*range(30), *range(30, 0, -1)])
    out = np.empty((540, 960), np.uint8), np.empty((540, 960), np.uint8)

    def call() -> object:
        step = next(steps)
        return steady.chroma_planes(wide[4 * step : 4 * step + 1080, 15 * step : 15 * step + 1920], out=out)

    return call


def _predict() -> Call:
    colorizer, picture = edgecolor.load(), grey(1000, 1000)
    return lambda: colorizer.predict(picture)


def _command_line() -> Call:
    def call() -> None:
        with tempfile.TemporaryDirectory() as folder:
            _run("-m", "edgecolor", "image", str(PHOTOS / "cat.jpg"), "-o", str(Path(folder, "cat.jpg")))()

    return call


def _run(*arguments: str) -> Call:
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 - our own words


if __name__ == "__main__":
    chosen = cases()[sys.argv[1]].prepare()
    chosen()
    chosen()
