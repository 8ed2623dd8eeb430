"""Readers of frames, one for each kind of source: generators that open it and give its frames as Y planes.

A reader raises SourceError when its source cannot be opened or is lost. Whether that is the end is for the camera to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._errors import ImageError, SourceError
from edgecolor._ffmpeg import doing, ffmpeg, luma_of
from edgecolor._film import film_frames
from edgecolor._planes import Coding, Plane, grey_of_frame
from edgecolor._source import read_picture

PICTURES = {".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""Endings of the frames in a folder."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a camera."""

    y: Plane
    """(H, W) luma codes, uint8, or uint16 above 8 bits; a view into the source's own memory."""
    coding: Coding
    """How they are meant."""
    number: int = 0
    """Counted by the source from 0, dropped ones too."""
    taken: float = 0.0
    """``time.monotonic()`` when it arrived."""
    seconds: float | None = None
    """When a film shows it, since its beginning; None of other sources."""

    @property
    def grey(self) -> npt.NDArray[np.uint8]:
        """(H, W) grey levels 0 to 255."""
        return grey_of_frame(self.y, self.coding)


Frames = Generator[Frame, None, None]


@dataclass(frozen=True)
class Wish:
    """What is asked of a camera; what it cannot do it does as near as it can."""

    width: int = 1920
    height: int = 1080
    rate: int = 30
    """Frames per second."""


def arrays(arrays: Iterable[Any]) -> Frames:
    for number, given in enumerate(arrays):
        yield given if isinstance(given, Frame) else replace(_frame_of(given), number=number)


def _frame_of(array: Any) -> Frame:
    """Grey levels, or R, G, B, as luma of the whole range.

    Raises:
        ImageError: It is neither.
    """
    try:
        picture = np.asarray(array)
    except ValueError as error:  # lists of unequal length
        raise ImageError(f"a frame must be (H, W) or (H, W, 3), uint8 or uint16: {error}") from error
    picture = picture.astype(picture.dtype.newbyteorder("="), copy=False)
    remedy = "; floats in [0, 1] times 255, as uint8" if picture.dtype.kind == "f" else ""
    if picture.dtype not in (np.uint8, np.uint16) or picture.ndim not in (2, 3) or picture.shape[2:] not in ((), (1,), (3,)):
        raise ImageError(f"a frame must be (H, W) or (H, W, 3), uint8 or uint16, got {picture.dtype} {picture.shape}{remedy}")
    if 0 in picture.shape:
        raise ImageError(f"a frame must have at least one pixel, got the shape {picture.shape}")
    if picture.shape[2:] == (3,):
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    y = picture.reshape(picture.shape[:2])
    return Frame(y, Coding("bt601", full_range=True, bits=8 * y.itemsize))


def folder(folder: Path) -> Frames:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not files:
        raise SourceError(f"the folder {folder} holds no pictures; their endings are {', '.join(sorted(PICTURES))}")
    yield from arrays(map(read_picture, files))


def film(path: Path) -> Frames:
    for number, decoded in enumerate(film_frames(path)):
        yield Frame(*luma_of(decoded), number, seconds=decoded.time)


def network(address: str, stall: float) -> Frames:
    """A stream from the network; the frames that came in while it was looked at are among them."""
    options = {"analyzeduration": "500000"}  # half a second's look at what it is; the default is five
    if address.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    with doing(f"open {address}"):
        container = ffmpeg().open(address, options=options, timeout=stall)
    with container:
        if not container.streams.video:
            raise SourceError(f"{address} has no video track")
        frames = container.decode(container.streams.video[0])
        while True:
            with doing(f"read {address}"):
                decoded = next(frames, None)
            if decoded is None:
                return
            yield Frame(*luma_of(decoded))


def v4l2(device: str, wish: Wish) -> Frames:
    """A V4L2 camera, in its own format: no trip through RGB."""
    if not Path(device).exists():
        raise SourceError(
            f"there is no camera {device}; plugged in are: {', '.join(map(str, Path('/dev').glob('video*'))) or 'none'}"
        )
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    try:
        if not capture.isOpened():
            raise SourceError(
                f"cannot open {device}; is it a camera, may you read it (group video), does another program use it?"
            )
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wish.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wish.height)
        capture.set(cv2.CAP_PROP_FPS, wish.rate)
        code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if code not in _RAW:
            raise SourceError(
                f"{device} delivers {code or 'nothing known'}, understood are {', '.join(_RAW)}; choose one with v4l2-ctl"
            )
        while True:
            got, raw = capture.read()
            if not got:
                raise SourceError(f"{device} stopped delivering")
            yield _RAW[code](np.asarray(raw), height)
    finally:
        capture.release()


def _jpeg(raw: Plane, _: int) -> Frame:
    y = cv2.imdecode(raw.reshape(-1), cv2.IMREAD_GRAYSCALE)  # of a JPEG that is its Y plane
    if y is None:
        raise SourceError("the camera sent a frame that is no whole JPEG")
    return Frame(y, Coding("bt601", full_range=True))


_RAW: dict[str, Callable[[Plane, int], Frame]] = {
    "YUYV": lambda raw, height: Frame(raw.reshape(height, -1, 2)[..., 0], Coding("bt601")),
    "UYVY": lambda raw, height: Frame(raw.reshape(height, -1, 2)[..., 1], Coding("bt601")),
    "NV12": lambda raw, height: Frame(raw.reshape(height * 3 // 2, -1)[:height], Coding()),
    "YU12": lambda raw, height: Frame(raw.reshape(height * 3 // 2, -1)[:height], Coding()),
    "GREY": lambda raw, height: Frame(raw.reshape(height, -1), Coding(full_range=True)),
    "MJPG": _jpeg,
}
"""What V4L2 cameras deliver, by FourCC, as luma."""


def csi_pipeline(sensor: int, wish: Wish) -> str:
    """The GStreamer pipeline of a CSI camera on Jetson: Argus, NV12, and no queue that could grow."""
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM), width={wish.width}, height={wish.height}, framerate={wish.rate}/1, format=NV12 ! "
        "nvvidconv ! video/x-raw, format=NV12 ! appsink drop=true max-buffers=1 sync=false"
    )


def csi(address: str, wish: Wish, stall: float) -> Frames:
    sensor = re.fullmatch(r"csi://(\d+)", address)
    if not sensor:
        raise SourceError(f"{address!r} names no camera; write csi://0 for the first one")
    if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        raise SourceError(
            f"{address} needs OpenCV with GStreamer, this one has none; on a Jetson use JetPack's own: "
            "pip uninstall opencv-python-headless, in an environment made with --system-site-packages"
        )
    capture = cv2.VideoCapture(
        csi_pipeline(int(sensor[1]), wish), cv2.CAP_GSTREAMER, [cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(1000 * stall)]
    )
    try:
        if not capture.isOpened():
            raise SourceError(f"cannot open {address}; is the camera connected, does nvargus-daemon run?")
        while True:
            got, raw = capture.read()
            if not got:
                raise SourceError(f"{address} stopped delivering")
            yield Frame(np.asarray(raw)[: raw.shape[0] * 2 // 3], Coding())
    finally:
        capture.release()
