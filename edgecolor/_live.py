"""Live colour: frames in, coloured, and out to whatever shows or keeps them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._camera import Camera
from edgecolor._capture import Frame
from edgecolor._errors import SourceError
from edgecolor._ffmpeg import (
    Encoding,
    address_of,
    choose_encoder,
    doing,
    encoder_options,
    ffmpeg,
    planar_format,
    planar_frame,
    write_planes,
)
from edgecolor._files import NOTE, whole_file
from edgecolor._planes import Planes, rgb_of_frame
from edgecolor._steady import SteadyColorizer

_RATE_FRAMES = 30
"""Over how many frames the rate is measured."""

_MILLISECOND = Fraction(1, 1000)
_ESCAPE = 27
_WINDOW_WIDTH = 1280
"""Of a new window at most; the user may enlarge it."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame with its colours, and how the stream does."""

    frame: Frame
    chroma: Planes
    """Cb and Cr."""
    confidence: npt.NDArray[np.float32]
    """(h, w) in [0, 1] on a small grid."""
    count: int
    """Frames coloured so far."""
    rate: float
    """Frames per second lately."""
    latency_seconds: float
    """From the frame's arrival to its colours."""
    dropped: int
    reconnects: int

    def rgb(self, width_max: int | None = None) -> npt.NDArray[np.uint8]:
        """(H, W, 3) to look at, no wider than that."""
        return rgb_of_frame(self.frame.y, self.chroma, self.frame.coding, width_max)


class Output(Protocol):
    """Shows or keeps frames."""

    def show(self, shown: Shown) -> bool:
        """Take a frame; False when the user has seen enough."""
        ...


def watch(frames: Camera, steady: SteadyColorizer, outputs: Sequence[Output], *, limit: int | None = None) -> Shown | None:
    """Colour frames and hand them to the outputs, until the source ends, an output was closed or ``limit`` frames are done.

    Returns:
        The last frame, if there was any.

    Raises:
        SourceError: The source was lost for too long, or an output cannot take a frame.
    """
    finished: deque[float] = deque(maxlen=_RATE_FRAMES + 1)
    shown = None
    for count, frame in enumerate(frames, start=1):
        chroma = steady.chroma_planes(frame.y, **frame.coding._asdict())
        finished.append(time.monotonic())
        rate = (len(finished) - 1) / max(1e-6, finished[-1] - finished[0])
        latency = finished[-1] - frame.taken
        shown = Shown(frame, chroma, steady.confidence, count, rate, latency, frames.dropped, frames.reconnects)
        wanted = [output.show(shown) for output in outputs]
        if not all(wanted) or count == limit:
            break
    return shown


class Window:
    """A window of OpenCV's, until Escape, q or its close button.

    Raises:
        SourceError: This OpenCV has no windows, or there is no display.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise SourceError(
                "this OpenCV cannot open a window: opencv-python-headless has none, and others need a display; "
                "pip uninstall opencv-python-headless && pip install opencv-python, or use --serve"
            ) from error

    def show(self, shown: Shown) -> bool:
        """Show it; False once the window is closed."""
        if shown.count == 1:
            height, width = shown.frame.y.shape
            cv2.resizeWindow(self._title, min(width, _WINDOW_WIDTH), round(height * min(1, _WINDOW_WIDTH / width)))
        cv2.imshow(self._title, shown.rgb()[..., ::-1])
        key = cv2.waitKey(1) & 0xFF
        return key not in (_ESCAPE, ord("q")) and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1

    def __enter__(self) -> Window:  # noqa: PYI034  # Self came with Python 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        cv2.destroyWindow(self._title)
        cv2.waitKey(1)  # until then it stays


def _moment(frame: Frame) -> float:
    return frame.taken if frame.seconds is None else frame.seconds


class Recording:
    """A film of what was seen, or a virtual camera (``/dev/videoN`` of v4l2loopback).

    Frames keep the times at which they came, those of a film its own.
    A film ends whole also when its source is lost or the user stops; if it cannot be written it is absent.
    """

    def __init__(self, target: Path, encoding: Encoding) -> None:
        self._target, self._encoding = target, encoding
        self._stack = ExitStack()
        self._out: Any = None
        self._video: Any = None
        self._first = 0.0
        self._last = -1

    def show(self, shown: Shown) -> bool:
        """Write it."""
        try:
            self._write(shown)
        except SourceError:
            self._out = None  # nothing of it is worth keeping
            raise
        return True

    def _write(self, shown: Shown) -> None:
        frame = shown.frame
        height, width = frame.y.shape
        if self._out is None:
            self._open(frame)
        if (self._video.width, self._video.height) != (width, height):
            begun = f"{self._video.width} by {self._video.height}"
            raise SourceError(
                f"the frames are now {width} by {height} pixels, {self._target} began with {begun}; record them into another"
            )
        made = planar_frame(width, height, frame.coding)
        write_planes(made, frame.y, shown.chroma)
        self._last = max(self._last + 1, round(1000 * (_moment(frame) - self._first)))
        made.pts, made.time_base = self._last, _MILLISECOND
        with doing(f"write {self._target}"):
            self._out.mux(self._video.encode(made))

    def _open(self, frame: Frame) -> None:
        height, width = frame.y.shape
        device = str(self._target).startswith("/dev/video")
        place = self._target if device else self._stack.enter_context(whole_file(self._target))
        with doing(f"write {self._target}"):
            try:
                out = ffmpeg().open(str(place) if device else address_of(place), "w", format="v4l2" if device else None)
            except ValueError as error:
                raise SourceError(f"FFmpeg knows no film of the ending {self._target.suffix!r}; use .mkv or .mp4") from error
            self._stack.enter_context(out)
            if out.format.no_file and not device:  # it names the files itself, and would leave them
                raise SourceError(f"a film of the ending {self._target.suffix!r} is several files; use .mkv or .mp4")
            name, options = "rawvideo", {}
            if not device:
                name = choose_encoder(self._encoding, width, height, frame.coding.bits, out.supported_codecs)
                options = encoder_options(name, self._encoding, out.format.name)
            video = out.add_stream(name, rate=30, options=options)
        video.width, video.height, video.pix_fmt = width, height, planar_format(frame.coding.bits)
        video.time_base = video.codec_context.time_base = _MILLISECOND
        video.codec_context.color_range = 2 if frame.coding.full_range else 1
        video.codec_context.colorspace = {"bt709": 1, "bt601": 6}.get(frame.coding.matrix, 2)
        out.metadata["comment"] = NOTE
        self._out, self._video, self._first = out, video, _moment(frame)

    def __enter__(self) -> Recording:  # noqa: PYI034  # Self came with Python 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._out is None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack, doing(f"write {self._target}"):
            self._out.mux(self._video.encode(None))
            self._out.close()
