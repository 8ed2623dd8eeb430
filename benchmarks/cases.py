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
from edgecolor._engine import why_not_tensorrt
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


def gpu_cases() -> dict[str, Case]:
    """What is measured where TensorRT finds a GPU: the network and whole frames, host copies counted."""
    measured: dict[str, Case] = {}
    for precision in ("fp16", "int8"):
        title = f"TensorRT {precision}: "
        measured[f"tensorrt-{precision}-network"] = Case(
            f"{title}the bare network on 256 by 256", partial(_on_gpu, precision, _gpu_network)
        )
        for name, (height, width) in FRAMES.items():
            rgb, chroma = partial(_gpu_rgb, height, width), partial(_gpu_chroma, height, width)
            measured[f"tensorrt-{precision}-{name}-rgb"] = Case(f"{title}{name} frame to RGB", partial(_on_gpu, precision, rgb))
            measured[f"tensorrt-{precision}-{name}-chroma"] = Case(
                f"{title}{name} frame, Y to Cb and Cr", partial(_on_gpu, precision, chroma)
            )
    return measured


def _on_gpu(precision: Precision, prepare: Callable[[edgecolor.Colorizer], Call]) -> Call:
    return prepare(edgecolor.load(engine="tensorrt", precision=precision))


def _gpu_network(colorizer: edgecolor.Colorizer) -> Call:
    return reference_network(colorizer)


def _gpu_rgb(height: int, width: int, colorizer: edgecolor.Colorizer) -> Call:
    frame = grey(height, width)
    return lambda: colorizer(frame)


def _gpu_chroma(height: int, width: int, colorizer: edgecolor.Colorizer) -> Call:
    frame = grey(height, width)
    out = (np.empty((height // 2, width // 2), np.uint8), np.empty((height // 2, width // 2), np.uint8))
    return lambda: colorizer.chroma_planes(frame, out=out)


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
