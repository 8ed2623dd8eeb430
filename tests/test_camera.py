from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from clips import frames_of, moving_scene, plane_of, write_film
from fakes import Picture, fake_colorizer, scene

import edgecolor
from edgecolor import ImageError, SourceError, _capture
from edgecolor._camera import Camera
from edgecolor._capture import Frame, Frames, Wish, csi_pipeline
from edgecolor._planes import Coding


def _frame(number: int = 0) -> Frame:
    return Frame(scene(48, 64, seed=number), Coding(full_range=True))


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("edgecolor ")}


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not _threads()


# What is no live source: everything is read, nothing dropped


def test_a_film_gives_its_own_luma(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(5))
    with edgecolor.camera(source) as frames:
        got = list(frames)
        assert (frames.live, frames.dropped) == (False, 0)
    for frame, film in zip(got, frames_of(source), strict=True):
        assert np.array_equal(frame.y, plane_of(film))
        assert frame.coding == Coding("auto", full_range=False, bits=8)
    assert [frame.number for frame in got] == list(range(5))


def test_a_folder_gives_its_pictures_in_order(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{number:03}.png"), scene(48, 64, seed=number))
    (tmp_path / "notes.txt").write_text("no picture")
    with edgecolor.camera(tmp_path) as frames:
        for number, frame in enumerate(frames):
            assert np.array_equal(frame.grey, scene(48, 64, seed=number))
    assert number == 2


def test_the_pictures_of_a_folder_come_in_order_whatever_order_it_lists_them_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(("a.png", "b.PNG", "c.png")):
        (tmp_path / name).write_bytes(cv2.imencode(".png", scene(48, 64, seed=number))[1].tobytes())
    listed = sorted(tmp_path.iterdir(), reverse=True)
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    for frame, number in zip(_capture.folder(tmp_path), range(3), strict=True):
        assert np.array_equal(frame.grey, scene(48, 64, seed=number))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2"])
@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_any_iterable_of_arrays(dtype: str, channels: tuple[int, ...]) -> None:
    grey = scene(48, 64, "uint8" if dtype == "uint8" else "uint16").astype(dtype)
    array = np.broadcast_to(grey.reshape(48, 64, *(1 for _ in channels)), (48, 64, *channels))
    with edgecolor.camera(array for _ in range(3)) as frames:
        got = [frame.grey for frame in frames]
    assert len(got) == 3
    expected = grey if dtype == "uint8" else np.rint(grey / 257).astype(np.uint8)
    assert all(np.abs(frame.astype(int) - expected).max() <= 1 for frame in got)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 0, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
        [[1], [1, 2]],
        None,
    ],
    ids=["float", "two", "1-D", "empty", "no columns", "uneven", "None"],
)
def test_arrays_that_are_no_frames_are_named(array: Any) -> None:
    with edgecolor.camera([array]) as frames, pytest.raises(ImageError, match="a frame must"):
        next(frames)


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with edgecolor.camera(tmp_path) as frames, pytest.raises(SourceError, match="holds no pictures"):
        next(frames)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("none.mp4", "cannot read none.mp4"),
        ("/dev/video99", "there is no camera /dev/video99"),
        ("csi://front", "write csi://0"),
        ("tcp://127.0.0.1:9", "cannot open tcp://127.0.0.1:9"),
        ("nothing://there", "cannot open nothing://there"),
    ],
)
def test_sources_that_are_not_there_are_named_at_once(source: str, words: str) -> None:
    with edgecolor.camera(source, give_up=600) as frames, pytest.raises(SourceError, match=words):
        next(frames)


@pytest.mark.parametrize("source", [0, None, 1.5])
def test_what_is_no_source_is_named(source: Any) -> None:
    with pytest.raises(SourceError, match=f"must be a name, such as '/dev/video0', or an iterable of arrays, got {source}"):
        edgecolor.camera(source)


def test_csi_without_gstreamer_says_what_to_do() -> None:
    if "GStreamer:                   YES" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has GStreamer")
    with edgecolor.camera("csi://0") as frames, pytest.raises(SourceError, match="OpenCV with GStreamer"):
        next(frames)


def test_the_csi_pipeline_holds_no_queue() -> None:
    pipeline = csi_pipeline(1, Wish(1280, 720, 60))
    assert "sensor-id=1" in pipeline
    assert "width=1280, height=720, framerate=60/1" in pipeline
    assert "appsink drop=true max-buffers=1" in pipeline


# Live sources: the newest frame wins


class Tap:
    """A live source that gives frames when it is told to."""

    def __init__(self) -> None:
        self.given = 0
        self.opened = 0
        self.closed = 0
        self.fault: Exception | None = None
        self._wanted = threading.Semaphore(0)
        self._done = threading.Semaphore(0)

    def reader(self) -> Frames:
        self.opened += 1
        try:
            while True:
                if not self._wanted.acquire(timeout=0.05):
                    if self.fault is not None:
                        raise self.fault
                    continue
                if self.given < 0:
                    return
                yield _frame(self.given)
                self.given += 1
                self._done.release()
        finally:
            self.closed += 1

    def drip(self, count: int = 1) -> None:
        for _ in range(count):
            self._wanted.release()
            assert self._done.acquire(timeout=5)

    def end(self) -> None:
        self.given = -1
        self._wanted.release()


def _ending(tap: Tap, camera: Camera) -> None:
    """Let the reader come by, so that it sees that it is closed."""
    camera._closed = True
    tap._wanted.release()
    camera.close()


def test_the_newest_frame_wins_and_the_rest_are_counted() -> None:
    tap = Tap()
    with Camera(tap.reader, "tap") as frames:
        tap.drip(5)
        assert next(frames).number == 4
        assert frames.dropped == 4
        tap.drip(1)
        frame = next(frames)
        assert (frame.number, frames.dropped) == (5, 4)
        assert 0 <= time.monotonic() - frame.taken < 5
        _ending(tap, frames)
    assert tap.closed == 1


def test_memory_stays_at_one_frame_however_slow_the_taker() -> None:
    tap = Tap()
    with Camera(tap.reader, "tap") as frames:
        tap.drip(200)
        held = [value for value in vars(frames).values() if isinstance(value, Frame)]
        assert len(held) == 1
        assert frames.dropped == 199
        _ending(tap, frames)


def test_a_lost_camera_is_found_again_and_said_so(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecolor._camera.RETRY_SECONDS", 0.01)
    tap = Tap()
    with Camera(tap.reader, "tap", give_up=7) as frames:
        tap.drip()
        next(frames)
        tap.fault = SourceError("unplugged")
        while tap.opened < 4:
            time.sleep(0.01)
        assert frames.reconnects == 0, "it is not found again yet"
        tap.fault = None
        tap.drip()
        assert next(frames).number == 1
        assert frames.reconnects == 1
        _ending(tap, frames)
    assert tap.opened == tap.closed >= 2
    assert "lost tap: unplugged; trying again for 7 s" in caplog.text


@pytest.mark.parametrize("fault", [None, SourceError("unplugged"), OSError("no route"), cv2.error("broken")])
def test_after_the_stated_time_it_gives_up(fault: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that is unplugged, and one that only stalls, or gives 0 frames per second."""
    monkeypatch.setattr("edgecolor._camera.RETRY_SECONDS", 0.01)
    tap = Tap()
    with Camera(tap.reader, "tap", give_up=0.4) as frames:
        tap.drip()
        next(frames)
        tap.fault = fault
        with pytest.raises(SourceError, match=r"tap gave no frame for 0\.4 s"):
            next(frames)
        _ending(tap, frames)


def test_a_closed_camera_is_named(tmp_path: Path) -> None:
    with edgecolor.camera([scene(8, 8)] * 2) as frames:
        assert len(list(frames)) == 2
        assert list(frames) == [], "it has ended"
    with pytest.raises(SourceError, match="frames is closed; open it again"):
        list(fake_colorizer().stream(frames))


@pytest.mark.parametrize("frames", ["film.mp4", Path("film.mp4"), None, 3])
def test_a_stream_of_what_is_no_frames_is_named(frames: Any) -> None:
    with pytest.raises(ImageError, match=r"an iterable of arrays, got .*; see edgecolor\.camera"):
        fake_colorizer().stream(frames)


def test_close_wakes_whoever_waits() -> None:
    tap = Tap()
    camera = Camera(tap.reader, "tap")
    ended = []
    waiter = threading.Thread(target=lambda: ended.append(list(camera)))
    waiter.start()
    time.sleep(0.05)
    _ending(tap, camera)
    waiter.join(5)
    assert ended == [[]]


def test_a_reader_that_breaks_unexpectedly_is_an_error_not_silence() -> None:
    def broken() -> Frames:
        raise cv2.error("no such property")
        yield

    with Camera(broken, "tap") as frames, pytest.raises(SourceError, match="no such property"):
        next(frames)


def test_a_fault_of_ours_is_told_at_once_also_later() -> None:
    def broken() -> Frames:
        yield Frame(scene(4, 4), Coding())
        raise RuntimeError("decoder bug")

    with Camera(broken, "tap", give_up=60) as frames:
        begin = time.monotonic()
        with pytest.raises(SourceError, match="cannot read tap: decoder bug") as told:
            list(frames)
        assert time.monotonic() - begin < 30
    assert isinstance(told.value.__cause__, RuntimeError)


# Over the network


class Server(threading.Thread):
    """Sends a film over TCP to whoever comes, as often as told; the last connection then stays open and silent."""

    def __init__(self, content: bytes, times: int, *, silent: bool) -> None:
        super().__init__(daemon=True)
        self.content, self.times, self.silent = content, times, silent
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.socket.getsockname()[1]}"
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        for _ in range(self.times):
            connection, _ = self.socket.accept()
            with connection:
                connection.sendall(self.content)
                if self.silent:
                    self.done.wait(20)
        self.socket.close()


@pytest.fixture
def transport_stream(tmp_path: Path) -> bytes:
    return write_film(tmp_path / "in.ts", moving_scene(50), codec="libx264").read_bytes()


def test_a_network_stream_is_found_again(transport_stream: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecolor._camera.RETRY_SECONDS", 0.05)
    server = Server(transport_stream, 2, silent=False)
    with edgecolor.camera(server.address, stall=2, give_up=5) as frames:
        number = -1
        while number < 60:  # each connection has 50
            frame = next(frames)
            number = frame.number
            assert frame.y.shape == (48, 64)
        assert frames.reconnects >= 1


def test_a_stalled_network_stream_is_lost_not_waited_for(transport_stream: bytes, caplog: pytest.LogCaptureFixture) -> None:
    server = Server(transport_stream, 1, silent=True)
    with edgecolor.camera(server.address, stall=0.5, give_up=4) as frames:
        next(frames)
        with pytest.raises(SourceError, match="gave no frame for 4 s"):
            for _ in frames:
                pass
        assert f"lost {server.address}" in caplog.text
        assert frames.reconnects == 0, "it was not found again"
    server.done.set()


@pytest.mark.parametrize(
    ("address", "way"), [("rtsp://127.0.0.1/a", "tcp"), ("rtsps://127.0.0.1/a", "tcp"), ("http://127.0.0.1/a", None)]
)
def test_rtsp_comes_over_tcp(address: str, way: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of UDP every lost packet would be a torn frame."""
    asked: dict[str, Any] = {}

    def opened(_: str, **given: Any) -> None:
        asked.update(given)
        raise SourceError("enough")

    monkeypatch.setattr(_capture, "ffmpeg", lambda: SimpleNamespace(open=opened))
    with pytest.raises(SourceError, match="enough"):
        next(_capture.network(address, 2.5))
    assert asked["options"].get("rtsp_transport") == way
    assert asked["timeout"] == 2.5


# V4L2, with OpenCV's capture replaced: what was run on hardware is said in docs/video.md


class FakeCapture:
    """What cv2.VideoCapture is to a V4L2 camera."""

    def __init__(self, code: str, raw: Callable[[Picture], Picture], *, opens: bool = True) -> None:
        self.code, self.raw, self.opens = code, raw, opens
        self.asked: dict[int, float] = {}
        self.released = False
        self.number = 0

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return self.opens

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return True

    def get(self, key: int) -> float:
        return float(cv2.VideoWriter.fourcc(*self.code)) if key == cv2.CAP_PROP_FOURCC else 48.0

    def read(self) -> tuple[bool, Picture | None]:
        time.sleep(0.01)
        return True, self.raw(scene(48, 64))

    def release(self) -> None:
        self.released = True


def _packed(place: int) -> Callable[[Picture], Picture]:
    def pack(y: Picture) -> Picture:
        raw = np.full((*y.shape, 2), 128, np.uint8)
        raw[..., place] = y
        return raw

    return pack


def _semiplanar(y: Picture) -> Picture:
    return np.vstack([y, np.full((24, 64), 128, np.uint8)])


def _jpeg(y: Picture) -> Picture:
    return np.asarray(cv2.imencode(".jpg", y, [cv2.IMWRITE_JPEG_QUALITY, 100])[1]).reshape(1, -1)


@pytest.mark.parametrize(
    ("code", "raw", "full_range", "off"),
    [
        ("YUYV", _packed(0), False, 0),
        ("UYVY", _packed(1), False, 0),
        ("NV12", _semiplanar, False, 0),
        ("YU12", _semiplanar, False, 0),
        ("GREY", lambda y: y, True, 0),
        ("MJPG", _jpeg, True, 2),
    ],
)
def test_v4l2_frames_are_luma_without_a_trip_through_rgb(
    code: str,
    raw: Callable[[Picture], Picture],
    full_range: bool,  # noqa: FBT001  # a parameter of the test
    off: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capture = FakeCapture(code, raw)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    with edgecolor.camera("/dev/video0", width=640, height=480, rate=15) as frames:
        frame = next(frames)
    assert np.abs(frame.y.astype(int) - scene(48, 64)).max() <= off
    assert frame.coding.full_range == full_range
    assert capture.asked[cv2.CAP_PROP_CONVERT_RGB] == 0
    assert [capture.asked[key] for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)] == [
        640,
        480,
        15,
    ]
    assert capture.released


@pytest.mark.parametrize(
    ("capture", "words"),
    [
        (FakeCapture("H264", lambda y: y), "delivers H264, understood are YUYV"),
        (FakeCapture("YUYV", lambda y: y, opens=False), "cannot open /dev/video0"),
        (FakeCapture("MJPG", lambda y: y[:1]), "no whole JPEG"),
        (FakeCapture("YUYV", lambda y: y[:5, :7]), "cannot read /dev/video0"),
    ],
    ids=["wrong format", "busy", "broken JPEG", "wrong size"],
)
def test_v4l2_cameras_that_cannot_be_used_are_named(capture: FakeCapture, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
    monkeypatch.setattr(Path, "exists", lambda _: True)
    with edgecolor.camera("/dev/video0") as frames, pytest.raises(SourceError, match=words):
        next(frames)
    assert capture.released


# Streams


def test_a_stream_colours_whatever_comes(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(4))
    colorizer = fake_colorizer()
    with edgecolor.camera(source) as frames:
        film = list(colorizer.stream(frames))
    greys = [np.clip((y.astype(float) - 16) * (255 / 219), 0, 255) for y in moving_scene(4)]
    arrays = list(colorizer.stream(np.rint(grey).astype(np.uint8) for grey in greys))
    assert len(film) == len(arrays) == 4
    for one, two in zip(film, arrays, strict=True):
        assert one.shape == (48, 64, 3)
        assert np.array_equal(one, two)


def test_a_stream_takes_one_frame_at_a_time() -> None:
    taken = []

    def frames() -> Iterator[Picture]:
        for number in range(3):
            taken.append(number)
            yield scene(40, 50, seed=number)

    stream = fake_colorizer().stream(frames())
    assert not taken
    next(stream)
    assert taken == [0]
