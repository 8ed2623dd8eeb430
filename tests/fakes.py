"""What the tests put in place of the network and of photographs, and how they measure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from edgecolor._color import ab_bins, compress_chroma, delta_e00, rgb_to_lab
from edgecolor._engine import Array, OutputName
from edgecolor._models import ModelFile, ShippedFile

Picture = npt.NDArray[Any]

REPOSITORY = Path(__file__).parent.parent
PHOTOS = Path(__file__).parent / "photos"
SHARED = REPOSITORY.parent / "shared"

AREA = 200 * 200
"""Of the analysis grid of a fake, about."""

LIGHTNESS_TOLERANCE = {"uint8": 0.5, "uint16": 0.01, "float32": 0.01}
"""What the library promises: L* of the output against the input's."""


class FakeEngine:
    """An :class:`edgecolor._engine.Engine` without a network: chroma that turns smoothly over the picture, whatever it shows.

    Its distribution has two peaks at each cell: the colour it gives, and, less likely, the opposite one.
    """

    def __init__(self, chroma: float = 40.0) -> None:
        self.chroma = chroma
        self.description = "a fake"
        self.planes: list[Array] = []
        self.outputs: list[tuple[OutputName, ...]] = []

    def run(self, planes: Array, *outputs: OutputName) -> tuple[Array, ...]:
        self.planes.append(planes.copy())
        self.outputs.append(outputs)
        height, width = planes.shape[2] // 4, planes.shape[3] // 4
        y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
        ab = self.chroma * np.stack([np.sin(2 * np.pi * x), np.cos(2 * np.pi * y)])
        answers = {
            "colors": np.concatenate([ab, 0.2 + 0.6 * x[None]]).astype(np.float32)[None],
            "logits": two_peaks(ab).astype(np.float32)[None],
        }
        return tuple(answers[name] for name in outputs)


def two_peaks(ab: Picture) -> Picture:
    """(128, h, w) logits that peak at (2, h, w) a*, b* and, lower, at the opposite colour."""
    bins = compress_chroma(ab_bins())[:, None, None]
    likely, other = (compress_chroma(sign * np.moveaxis(ab, 0, -1)) for sign in (1, -1))
    near, far = (np.exp(-np.square(bins - colour).sum(-1) / 32) for colour in (likely, other))
    logits: Picture = np.log(near + 0.3 * far + 1e-6)
    return logits


def fake_model() -> ModelFile:
    return ModelFile("fake", "fp32", ShippedFile(Path("fake.onnx"), "0" * 64), temperature=0.5, vividness=1.0, grid_area=AREA)


def fake_colorizer(chroma: float = 40.0) -> edgecolor.Colorizer:
    return edgecolor.Colorizer(FakeEngine(chroma), fake_model())


def as_type(unit: Picture, dtype: str) -> Picture:
    """Values in [0, 1] as a picture of that dtype."""
    if dtype == "float32":
        return unit.astype(np.float32)
    codes: Picture = np.rint(unit * np.iinfo(dtype).max).astype(dtype)
    return codes


def pixels_of(path: Path) -> Picture:
    """A picture file as OpenCV reads it, which is not how the library does; colour in the order R, G, B."""
    image: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None, f"{path} is no picture"
    pixels: Picture = image if image.ndim == 2 else image[..., ::-1].copy()
    return pixels


def as_unit(picture: Picture) -> Picture:
    """A picture as float64 in [0, 1]."""
    white = 1.0 if picture.dtype.kind == "f" else float(np.iinfo(picture.dtype).max)
    return picture.astype(np.float64) / white


def scene(height: int, width: int, dtype: str = "uint8", seed: int = 0) -> Picture:
    """A (height, width) grey picture with slow shading, edges and grain, that spans black to white."""
    random = np.random.default_rng(seed)
    shading = cv2.resize(random.random((4, 4)), (width, height), interpolation=cv2.INTER_CUBIC)
    blocks = cv2.resize(random.random((5, 7)), (width, height), interpolation=cv2.INTER_NEAREST)
    unit = 0.5 * shading + 0.7 * blocks - 0.1 + 0.03 * random.standard_normal((height, width))
    return as_type(unit.reshape(height, width).clip(0, 1), dtype)


def lab(picture: Picture) -> Picture:
    """(H, W, 3) L*a*b*, float64, of grey (H, W[, 1]) or sRGB."""
    if picture.ndim == 2:
        picture = picture[..., None]
    result: Picture = rgb_to_lab(np.broadcast_to(as_unit(picture), (*picture.shape[:2], 3)))
    return result


def assert_lightness_kept(result: Picture, original: Picture, tolerance: float | None = None) -> None:
    """Fail unless every pixel's L* is within the promise for the result's dtype."""
    allowed = LIGHTNESS_TOLERANCE[result.dtype.name] if tolerance is None else tolerance
    worst = np.abs(lab(result)[..., 0] - lab(original)[..., 0]).max()
    assert worst <= allowed, f"L* is off by {worst:.4f} somewhere, allowed {allowed}"


def greyed(rgb: Picture) -> Picture:
    """(H, W) uint8 sRGB grey of the same L* as an (H, W, 3) uint8 photograph."""
    from edgecolor._color import lightness_to_luminance, linear_to_srgb

    return as_type(linear_to_srgb(lightness_to_luminance(lab(rgb)[..., 0])).clip(0, 1), "uint8")


def mean_error(rgb: Picture, truth: Picture) -> float:
    """Mean CIEDE2000 between two pictures."""
    return float(delta_e00(lab(rgb), lab(truth)).mean())


def tripled(gray: Picture) -> Picture:
    """Grey as (H, W, 3), the colouring that leaves everything grey."""
    return np.ascontiguousarray(np.broadcast_to(gray.reshape(*gray.shape[:2], -1), (*gray.shape[:2], 3)))


def layouts() -> dict[str, Callable[[Picture], Picture]]:
    """Ways in which an array of the same content can lie in memory."""

    def spread(array: Picture) -> Picture:
        wide = np.zeros((array.shape[0] * 2, array.shape[1] * 3, *array.shape[2:]), array.dtype)
        wide[::2, ::3] = array
        return wide[::2, ::3]

    def frozen(array: Picture) -> Picture:
        copy = array.copy()
        copy.setflags(write=False)
        return copy

    return {
        "C": np.ascontiguousarray,
        "Fortran": np.asfortranarray,
        "negative strides": lambda array: array[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
        "little-endian": lambda array: array.astype(array.dtype.newbyteorder("<")),
        "with gaps": spread,
        "read-only": frozen,
    }


def run_python(*arguments: str, home: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that finds this edgecolor, with an empty home."""
    package = Path(edgecolor.__file__).parent.parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYTHON", "ORT_"))}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, (path, str(package)))), "PYTHONUTF8": "1"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(  # noqa: S603  # our own interpreter and arguments
        [sys.executable, *arguments], env=environment, cwd=home, capture_output=True, text=True, timeout=120, check=False
    )


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """A process at the end of the block, also where the test fails, which would else wait for it."""
    try:
        yield
    finally:
        process.kill()


@contextmanager
def heard(how: signal.Signals) -> Iterator[None]:
    """A process started within hears a signal, though this one was started by nohup or in the background, and ignores it."""
    if how == signal.SIGKILL:
        yield
        return
    before = signal.signal(how, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(how, before)
