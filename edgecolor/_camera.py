"""Where live frames come from: cameras, network streams, films, folders and iterables, as Y planes.

A live source is read by a thread of its own into a place for one frame: the newest wins, what nobody took in time is dropped
and counted. Everything else is read as it is asked for, and nothing of it is dropped.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2

from edgecolor._capture import Frame, Frames, Wish, arrays, csi, film, folder, network, v4l2
from edgecolor._errors import EdgecolorError, SourceError

Source = str | PathLike[str] | Iterable[Any]

RETRY_SECONDS = 0.5
"""Between two tries to reach a lost source."""

_log = logging.getLogger("edgecolor")


Reader = Callable[[], Frames]
"""Opens a source and gives its frames; raises SourceError when it is lost."""


def camera(  # noqa: PLR0913  # every choice has a default
    source: Source, *, width: int = 1920, height: int = 1080, rate: int = 30, stall: float = 5.0, give_up: float = 30.0
) -> Camera:
    """Open a camera, or what can stand for one; use it in a ``with`` block and iterate over its frames.

    Args:
        source: ``"csi://0"`` (Jetson, through GStreamer), ``"/dev/video0"`` (V4L2), ``"rtsp://…"`` or another network
            stream, a film, a folder of pictures, or any iterable of (H, W) or (H, W, 3) arrays, uint8 or uint16.
            Colour arrays are RGB, whatever the colorizer's ``channels``; only their luma is used.
        width: Of a frame in pixels, asked of a camera; it may give another.
        height: Likewise.
        rate: Frames per second, likewise.
        stall: Seconds without a frame after which a live source counts as lost and is opened again; for V4L2
            it is OpenCV that waits, for 10.
        give_up: Seconds without a frame after which that ends, with an error.

    Raises:
        SourceError: It is no kind of source. That it is not there, or cannot be opened, is said at the first frame.
    """
    wish = Wish(width, height, rate)
    if not isinstance(source, (str, PathLike)):
        if not isinstance(source, Iterable):
            raise SourceError(f"a camera must be a name, such as '/dev/video0', or an iterable of arrays, got {source!r}")
        return Camera(partial(arrays, source), "frames", live=False)
    name = fspath(source)
    if not name:
        raise SourceError("a camera must be a name, such as '/dev/video0', got ''")
    device = re.fullmatch(r"(?:v4l2://)?(/dev/video\d+)", name)
    if device:
        return Camera(partial(v4l2, device[1], wish), name, stall=stall, give_up=give_up)
    if name.startswith("csi://"):
        return Camera(partial(csi, name, wish, stall), name, stall=stall, give_up=give_up)
    if "://" in name and not name.startswith("file://"):
        return Camera(partial(network, name, stall), name, stall=stall, give_up=give_up)
    path = Path(name.removeprefix("file://"))
    return Camera(partial(folder if path.is_dir() else film, path), name, live=False)


class Camera:
    """Frames of one source, in order; made by :func:`camera`.

    Iterating gives :class:`Frame`. A live source never ends by itself: it is left with ``close()`` or the ``with`` block.
    """

    def __init__(self, reader: Reader, name: str, *, live: bool = True, stall: float = 5.0, give_up: float = 30.0) -> None:
        self.name = name
        self.live = live
        self.dropped = 0
        """Frames that nobody took before the next one came."""
        self.reconnects = 0
        """How often the source was lost and found again."""
        self._reader = reader
        self._stall, self._give_up = stall, give_up
        self._ready = threading.Condition()
        self._newest: Frame | None = None
        self._error: EdgecolorError | None = None
        self._closed = self._left = False
        self._heard = time.monotonic()
        self._thread: threading.Thread | None = None
        self._frames: Iterator[Frame] | None = None
        if live:
            self._thread = threading.Thread(target=self._capture, name=f"edgecolor {name}", daemon=True)
            self._thread.start()

    def __enter__(self) -> Camera:  # noqa: PYI034  # Self came with Python 3.11
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Camera:
        """Itself.

        Raises:
            SourceError: It was closed.
        """
        if self._left:
            raise SourceError(f"{self.name} is closed; open it again: edgecolor.camera(...)")
        return self

    def __next__(self) -> Frame:
        """The newest frame, as soon as there is one not yet given.

        Raises:
            SourceError: The source cannot be read, or was lost for too long.
        """
        if self._closed:
            raise StopIteration
        return self._wait() if self.live else self._read()

    def end(self) -> None:
        """Let iteration end after the frame in work. A handler of signals may call it."""
        self._closed = True

    def close(self) -> None:
        """End the capture and let go of the source."""
        with self._ready:
            self._closed = self._left = True
            self._ready.notify_all()
        if self._thread is not None:
            self._thread.join(self._stall + 1)
        if isinstance(self._frames, Generator):
            self._frames.close()

    def _read(self) -> Frame:
        if self._frames is None:
            self._frames = self._reader()
        return replace(next(self._frames), taken=time.monotonic())

    def _wait(self) -> Frame:
        with self._ready:
            while self._newest is None:
                if self._error is not None:
                    raise self._error
                if self._closed:
                    raise StopIteration
                left = self._heard + self._give_up - time.monotonic()
                if left <= 0:
                    raise SourceError(
                        f"{self.name} gave no frame for {self._give_up:g} s; check the camera and its cable or address"
                    )
                self._ready.wait(min(left, 0.2))  # short, so that Ctrl-C is heard
            frame, self._newest = self._newest, None
            return frame

    def _capture(self) -> None:
        """Read the source into the place for one frame, again and again, until closed. Runs in its own thread."""
        number, lost = 0, False
        while not self._closed:
            try:
                for frame in self._reader():
                    if self._closed:
                        return
                    self.reconnects += lost
                    lost = False
                    self._put(replace(frame, number=number, taken=time.monotonic()))
                    number += 1
                reason = "it ended"
            except (OSError, ValueError, cv2.error) as error:
                if not number:  # it was never there: no use in waiting
                    self._fail(error)
                    return
                reason = str(error)
            except Exception as error:  # noqa: BLE001  # no fault of the source: to be told, not tried again
                self._fail(error)
                return
            _log.warning("lost %s: %s; trying again for %g s", self.name, reason, self._give_up)
            lost = True
            time.sleep(RETRY_SECONDS)

    def _put(self, frame: Frame) -> None:
        with self._ready:
            self.dropped += self._newest is not None
            self._newest, self._heard = frame, frame.taken
            self._ready.notify()

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, EdgecolorError):
            cause, error = error, SourceError(f"cannot read {self.name}: {error}")
            error.__cause__ = cause
        with self._ready:
            self._error = error
            self._ready.notify()
