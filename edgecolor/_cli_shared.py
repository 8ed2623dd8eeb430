"""What several commands share: pictures that are read for all of their work, and Ctrl-C that is not lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._errors import ImageError
from edgecolor._grid import upright
from edgecolor._hints import palette_weights
from edgecolor._source import Picture, open_source, read_page, read_picture


def read_reference(path: Path | None) -> Picture | None:
    """A picture whose colours to prefer, (H, W, 3); what is wrong with it is said before any work, with its name.

    Raises:
        SourceError: It cannot be read.
        ImageError: It is no colour picture.
    """
    if path is None:
        return None
    picture = read_picture(path)
    try:
        palette_weights(picture)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    return picture


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """(H, W) where a picture is light, and not transparent.

    Raises:
        SourceError: It cannot be read.
        ImageError: It is no mask: not a picture, of several pages, or light nowhere.
    """
    pages = open_source(path).pages
    if len(pages) > 1:
        raise ImageError(f"{path} has {len(pages)} pages; a mask has one")
    mask = read_page(pages[0])
    inside = _light(mask if mask.ndim == 2 else cv2.cvtColor(mask, cv2.COLOR_RGB2GRAY))
    if pages[0].has_alpha:
        opacity = np.concatenate([strip.alpha for strip in pages[0].strips() if strip.alpha is not None])
        inside &= _light(upright(opacity.reshape(opacity.shape[:2]), pages[0].orientation))
    if not inside.any():
        raise ImageError(
            f"{path} is light nowhere: nothing would be coloured; a mask is white, in 8 bits 255, where colours go"
        )
    return inside


def _light(values: Picture) -> npt.NDArray[np.bool_]:
    return np.asarray(values >= (0.5 if values.dtype == np.float32 else np.iinfo(values.dtype).max / 2))


@contextmanager
def noticing_ctrl_c() -> Iterator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt once Ctrl-C was pressed; pressed again, it is raised at once.

    Raised by Python in a callback of one of the libraries, the first could be lost.
    """
    before = signal.getsignal(signal.SIGINT)
    # on other threads no signals come, and a shell's background jobs ignore this one
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield lambda: None
        return
    pressed = False

    def note(*_: object) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    def stop_if_pressed() -> None:
        if pressed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield stop_if_pressed
    finally:
        signal.signal(signal.SIGINT, before)
