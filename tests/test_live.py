from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from clips import frames_of, moving_scene, plane_of, times_of, write_film
from fakes import REPOSITORY, Picture, ended, fake_colorizer, heard, scene

import edgecolor
from edgecolor import SourceError, _live
from edgecolor._camera import Camera
from edgecolor._capture import Frame, Frames
from edgecolor._cli import main
from edgecolor._ffmpeg import Encoding
from edgecolor._live import Recording, Shown, Window, watch
from edgecolor._planes import Coding, rgb_of_frame

LIMITED = Coding("bt709")


def _source(count: int, fault: Exception | None = None) -> Camera:
    """Frames of known times, then the fault."""

    def reader() -> Frames:
        for number, y in enumerate(moving_scene(count)):
            yield Frame(y, LIMITED, number)
        if fault is not None:
            raise fault

    return Camera(reader, "tap", live=False)


class Keep:
    """An output that keeps what it is shown, and has enough after ``enough`` frames."""

    def __init__(self, enough: int = 10**6) -> None:
        self.shown: list[Shown] = []
        self.enough = enough

    def show(self, shown: Shown) -> bool:
        self.shown.append(shown)
        return len(self.shown) < self.enough


# Watching


def test_every_output_gets_every_frame_with_its_figures() -> None:
    one, two = Keep(), Keep()
    last = watch(_source(5), fake_colorizer().steady(), [one, two])
    assert one.shown == two.shown
    assert [shown.count for shown in one.shown] == [1, 2, 3, 4, 5]
    assert last is one.shown[-1]
    assert (last.dropped, last.reconnects) == (0, 0)
    steady = fake_colorizer().steady()
    for shown, y in zip(one.shown, moving_scene(5), strict=True):
        expected = steady.chroma_planes(y, matrix="bt709")
        assert all(np.array_equal(a, b) for a, b in zip(shown.chroma, expected, strict=True))


def test_it_ends_when_an_output_is_closed_or_the_limit_is_reached() -> None:
    one, two = Keep(3), Keep()
    watch(_source(9), fake_colorizer().steady(), [one, two])
    assert len(one.shown) == len(two.shown) == 3
    three = Keep()
    watch(_source(9), fake_colorizer().steady(), [three], limit=2)
    assert len(three.shown) == 2


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("bits", [8, 10])
def test_the_picture_to_look_at_is_the_planes(matrix: Any, full_range: bool, bits: int) -> None:  # noqa: FBT001  # parameters
    """Against FFmpeg's own conversion."""
    y: Picture = scene(48, 64).astype(f"uint{8 if bits == 8 else 16}") << (bits - 8)
    chroma = fake_colorizer(20).chroma_planes(y, matrix=matrix, full_range=full_range, bits=bits)
    frame = av.VideoFrame(64, 48, "yuv420p" if bits == 8 else "yuv420p10le")
    for plane, codes in zip(frame.planes, (y, *chroma), strict=True):
        np.frombuffer(plane, codes.dtype).reshape(plane.height, -1)[:, : plane.width] = codes
    frame.color_range = 2 if full_range else 1
    theirs = frame.reformat(
        format="rgb24",
        src_colorspace="ITU709" if matrix == "bt709" else "ITU601",
        src_color_range="JPEG" if full_range else "MPEG",
        dst_color_range="JPEG",
        interpolation="BILINEAR",
    ).to_ndarray()
    ours = rgb_of_frame(y, chroma, Coding(matrix, full_range, bits))
    assert np.abs(ours.astype(int) - theirs).mean() < 3


def test_the_picture_to_look_at_can_be_smaller() -> None:
    y = scene(90, 160)
    chroma = fake_colorizer().chroma_planes(y)
    assert rgb_of_frame(y, chroma, Coding(), 80).shape == (45, 80, 3)
    assert rgb_of_frame(y, chroma, Coding(), 500).shape == (90, 160, 3)


def test_rate_and_latency_are_those_of_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten frames a second, each coloured a quarter of a second after it came."""

    class Taps(list[Frame]):
        dropped = reconnects = 0

    now = iter(100 + 0.1 * number + 0.25 for number in range(40))
    monkeypatch.setattr(_live, "time", SimpleNamespace(monotonic=lambda: next(now)))
    keep = Keep()
    frames: Any = Taps(Frame(y, LIMITED, number, 100 + 0.1 * number) for number, y in enumerate(moving_scene(40)))
    watch(frames, fake_colorizer().steady(), [keep])
    assert [shown.latency_seconds for shown in keep.shown] == pytest.approx([0.25] * 40)
    assert [shown.rate for shown in keep.shown[1:]] == pytest.approx([10] * 39)


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize(("matrix", "weights"), [("bt601", (0.299, 0.114)), ("bt709", (0.2126, 0.0722))])
def test_even_planes_look_as_the_standards_say(matrix: Any, weights: tuple[float, float], *, full_range: bool) -> None:
    """ITU-R BT.601 and BT.709, to the level."""
    red, blue = weights
    for y, cb, cr in ((16, 128, 128), (235, 128, 128), (126, 128, 128), (100, 150, 110), (120, 90, 160), (60, 140, 140)):
        planes = np.full((2, 1, 1), [[[cb]], [[cr]]], np.uint8)
        light, blueness, redness = (
            (y / 255, (cb - 128) / 255, (cr - 128) / 255)
            if full_range
            else ((y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224)
        )
        r, b = light + 2 * (1 - red) * redness, light + 2 * (1 - blue) * blueness
        expected = 255 * np.array([r, (light - red * r - blue * b) / (1 - red - blue), b]).clip(0, 1)
        found = rgb_of_frame(np.full((2, 2), y, np.uint8), (planes[0], planes[1]), Coding(matrix, full_range))
        assert np.abs(found - expected).max() <= 1, (y, cb, cr)


# Recording


@pytest.mark.parametrize("coding", [Coding("bt601", full_range=True), Coding("bt709"), Coding("bt709", bits=10)])
def test_a_recording_keeps_luma_chroma_and_times(tmp_path: Path, coding: Coding) -> None:
    ys = [y.astype(f"uint{8 if coding.bits == 8 else 16}") << (coding.bits - 8) for y in moving_scene(4)]
    times = [100.0, 100.04, 100.2, 100.2]
    shown = []
    with Recording(tmp_path / "out.mkv", Encoding("ffv1")) as recording:
        steady = fake_colorizer().steady()
        for number, (y, taken) in enumerate(zip(ys, times, strict=True)):
            chroma = steady.chroma_planes(y, **coding._asdict())
            shown.append(Shown(Frame(y, coding, number, taken), chroma, steady.confidence, number + 1, 1.0, 0.0, 0, 0))
            assert recording.show(shown[-1])
        assert not (tmp_path / "out.mkv").exists()
    assert times_of(tmp_path / "out.mkv") == [0, 0.04, 0.2, 0.201]
    for frame, given in zip(frames_of(tmp_path / "out.mkv"), shown, strict=True):
        for number, plane in enumerate((given.frame.y, *given.chroma)):
            assert np.array_equal(plane_of(frame, number), plane)
        assert int(frame.color_range) == (2 if coding.full_range else 1)
        assert int(frame.colorspace) == (1 if coding.matrix == "bt709" else 6)
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert "estimates" in {name.lower(): text for name, text in film.metadata.items()}["comment"]


def test_a_recording_is_whole_though_the_camera_is_lost(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="unplugged"), Recording(tmp_path / "out.mkv", Encoding("ffv1")) as recording:
        watch(_source(6, SourceError("unplugged")), fake_colorizer().steady(), [recording])
    assert len(frames_of(tmp_path / "out.mkv")) == 6


@pytest.mark.parametrize("name", ["none/out.mkv", "out.xyz"])
def test_a_recording_that_cannot_be_written_is_absent(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"write|ending"), Recording(tmp_path / name, Encoding()) as recording:
        watch(_source(3), fake_colorizer().steady(), [recording])
    assert not list(tmp_path.iterdir())


def test_a_recording_of_nothing_is_absent(tmp_path: Path) -> None:
    with Recording(tmp_path / "out.mkv", Encoding()):
        pass
    assert not list(tmp_path.iterdir())


def test_a_camera_that_changes_its_size_is_named(tmp_path: Path) -> None:
    arrays = [scene(48, 64), scene(50, 64)]
    with pytest.raises(SourceError, match="64 by 50"), Recording(tmp_path / "out.mkv", Encoding()) as recording:
        watch(edgecolor.camera(arrays), fake_colorizer().steady(), [recording])
    assert not list(tmp_path.iterdir())


# A window


def test_without_windows_it_says_what_to_do() -> None:
    try:
        cv2.namedWindow("edgecolor")
    except cv2.error:
        with pytest.raises(SourceError, match="--serve"):
            Window("edgecolor")
    else:
        cv2.destroyAllWindows()
        pytest.skip("this OpenCV has windows")


class FakeScreen:
    """What OpenCV's windows do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: list[int], visible: list[float]) -> None:
        self.pictures: list[Picture] = []
        self.destroyed: list[str] = []
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "resizeWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, picture: self.pictures.append(picture.copy()))
        monkeypatch.setattr(cv2, "waitKey", lambda _: keys.pop(0) if keys else -1)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: visible.pop(0) if visible else 1.0)
        monkeypatch.setattr(cv2, "destroyWindow", self.destroyed.append)


@pytest.mark.parametrize(
    ("keys", "visible", "frames"),
    [([-1, -1, 27], [], 3), ([-1, ord("q")], [], 2), ([], [1, 1, 1, 0], 4), ([], [], 9)],
    ids=["Escape", "q", "closed", "left open"],
)
def test_a_window_shows_frames_until_it_is_closed(
    keys: list[int], visible: list[float], frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, keep = FakeScreen(monkeypatch, keys, visible), Keep()
    with Window("edgecolor") as window:
        watch(_source(9), fake_colorizer().steady(), [window, keep])
    assert len(screen.pictures) == frames
    assert np.array_equal(screen.pictures[-1][..., ::-1], keep.shown[-1].rgb())
    assert screen.destroyed == ["edgecolor"]


# The command


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "in.mkv", moving_scene(6))


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def test_the_command_records(film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("camera", film, "-o", tmp_path / "out.mkv", "--codec", "ffv1", "--frames", "4") == 0
    assert capsys.readouterr().err == "edgecolor: 4 frames coloured, 0 dropped\n"
    for number, (frame, y) in enumerate(zip(frames_of(tmp_path / "out.mkv"), moving_scene(6)[:4], strict=True)):
        assert np.array_equal(plane_of(frame), y)
        assert frame.time == pytest.approx(number / 25, abs=1e-3), "a film's own times, however fast it is read"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["camera", "csi://0"], "--show, --serve or --out"),
        (["camera", "csi://0", "--show", "--size", "big"], "'big' is not WxH"),
        (["camera", "csi://0", "--serve", "here"], "'here' is not HOST:PORT"),
        (["camera", "csi://0", "--serve", "here:65536"], "port from 0 to 65535"),
        (["camera", "csi://0", "--show", "--size", "0x0"], "'0x0' is not WxH"),
        (["camera", "csi://0", "--show", "--frames", "0"], "'0' is not a whole number from 1"),
        (["camera", "csi://0", "--show", "--rate", "-3"], "'-3' is not a whole number from 1"),
        (["camera", "csi://0", "--show", "--give-up", "nan"], "'nan' is not a number of seconds"),
        (["camera"], "SOURCE"),
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*arguments) == 2
    assert words in capsys.readouterr().err


def test_a_film_is_not_recorded_over_itself(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = film.read_bytes()
    assert _run("camera", film, "-o", film) == 1
    assert "is the source itself" in capsys.readouterr().err
    assert film.read_bytes() == before


def test_a_missing_camera_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("camera", "/dev/video99", "-o", tmp_path / "out.mkv") == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("edgecolor: there is no camera /dev/video99")
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_cleanly_and_the_recording_is_whole(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1000):  # more than are coloured before the signal comes
        (folder / f"{number:05}.png").symlink_to(folder / "00000.png") if number else cv2.imwrite(
            str(folder / "00000.png"), scene(96, 128)
        )
    target = tmp_path / "out.mkv"
    command = [sys.executable, "-m", "edgecolor", "camera", str(folder), "-o", str(target), "--codec", "ffv1"]
    with heard(how):
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)  # noqa: S603
    with process, ended(process):
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in tmp_path.glob(".*.partial.mkv")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "frames coloured" in err
    assert "Traceback" not in err
    assert 1 <= len(frames_of(target)) < 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames", "out.mkv"]


def test_the_command_serves(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    cv2.imwrite(str(folder / "00000.png"), scene(96, 128))
    for number in range(1, 1000):
        (folder / f"{number:05}.png").symlink_to(folder / "00000.png")
    command = [sys.executable, "-m", "edgecolor", "camera", str(folder), "--serve", "127.0.0.1:0"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603
    with process, ended(process):
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}frame.jpg?after=3", timeout=30) as answer:  # noqa: S310  # our own address
            assert int(answer.headers["X-Frame"]) > 3
        with urllib.request.urlopen(f"{address}status.json", timeout=30) as answer:  # noqa: S310
            assert json.load(answer)["width"] == 128
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("edgecolor ")]
