"""The commands for films and cameras."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgecolor._camera import Camera
from edgecolor._camera import camera as open_camera
from edgecolor._cli_shared import noticing_ctrl_c, read_reference
from edgecolor._errors import SourceError
from edgecolor._ffmpeg import Encoding
from edgecolor._video import Progress, check_apart

_WRITTEN = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Endings of films that hold what x264 or VP9 makes, with all its times."""

_SOURCE_HELP = (
    "where frames come from: csi://0 (a camera on a Jetson's ribbon), /dev/video0 (one on USB), rtsp://… (one on the network), "
    "a film, or a folder of pictures"
)
_CODEC_HELP = (
    "encoder of the film: auto, hardware, or FFmpeg's name of one, such as libx265 or ffv1 (default: auto, which is libx264, "
    "else libvpx-vp9, else ffv1, the first that holds such frames and fits into such a file)"
)
_CRF_HELP = (
    "quality, smaller is better: 0 to 51, of libvpx-vp9 and libsvtav1 0 to 63; other encoders than these take none (default: "
    "libx264 18; libx265, h264_nvenc, h264_qsv 20; hevc_nvenc 22; libvpx-vp9, libsvtav1 24)"
)


def add_video_commands(
    add: Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser],
    add_model: Callable[[argparse.ArgumentParser], None],
    add_vividness: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add ``video`` and ``camera``: ``add`` makes a command, the others give it the options that other commands have too."""
    video = add("video", _video, "colour a film; sound, timing and its own brightness are kept")
    video.add_argument("source", type=Path, metavar="IN", help="film to colour, of any kind that FFmpeg reads")
    video.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="OUT",
        help="film to write (default: beside IN, IN-colour.EXT, or IN-preview.EXT with --preview; EXT is that of IN if mp4, "
        "m4v, mov, mkv or webm, else mkv, and mp4 where IN has none)",
    )
    video.add_argument(
        "--reference", type=Path, metavar="FILE", help="colour photograph whose colours to keep to throughout the film"
    )
    add_vividness(video)
    video.add_argument("--codec", default="auto", help=_CODEC_HELP)
    video.add_argument("--crf", type=int, help=_CRF_HELP)
    video.add_argument(
        "--preview",
        action="store_true",
        help="write only ten seconds from the middle, grey and coloured side by side, without sound and subtitles",
    )
    add_model(video)

    camera = add("camera", _camera, "colour a live camera: show it, serve it to a browser, record it")
    camera.add_argument("source", metavar="SOURCE", help=_SOURCE_HELP)
    camera.add_argument("--show", action="store_true", help="show the colours in a window; Escape or q ends it")
    camera.add_argument(
        "--serve",
        nargs="?",
        const=("127.0.0.1", 8000),
        type=_address,
        metavar="HOST:PORT",
        help="show the colours on a web page (default: 127.0.0.1:8000, for this machine only; 0.0.0.0:8000 is for all who "
        "reach it, without a password)",
    )
    camera.add_argument(
        "-o", "--out", type=Path, metavar="OUT", help="film to record, or virtual camera to write to, such as /dev/video9"
    )
    camera.add_argument(
        "--size", type=_size, default=(1920, 1080), metavar="WxH", help="size of frame to ask a camera for (default: 1920x1080)"
    )
    camera.add_argument("--rate", type=_count, default=30, help="frames a second to ask a camera for (default: 30)")
    camera.add_argument(
        "--give-up",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="stop after SECONDS without a frame from a camera or stream (default: 30)",
    )
    camera.add_argument(
        "--frames", type=_count, metavar="N", help="stop after N frames (default: at the end of SOURCE, or when you stop it)"
    )
    camera.add_argument("--reference", type=Path, metavar="FILE", help="colour photograph whose colours to keep to throughout")
    add_vividness(camera)
    camera.add_argument("--codec", default="auto", help=_CODEC_HELP)
    add_model(camera)


def _video(options: argparse.Namespace) -> int:
    target = options.out or _target_beside(options.source, "preview" if options.preview else "colour")
    reference = read_reference(options.reference)
    chosen = {name: getattr(options, name) for name in ("vividness", "codec", "crf", "preview")}
    with _film_progress() as show, noticing_ctrl_c() as stop_if_pressed:

        def progress(done: Progress) -> None:
            stop_if_pressed()
            show(done)

        options.open_colorizer(options).video(options.source, target, reference=reference, **chosen, progress=progress)
        stop_if_pressed()
    return 0


def _target_beside(source: Path, what: str) -> Path:
    """Where a film goes without ``--out``: into a file of its own kind, where that is one that any film goes into."""
    if not source.name:
        raise SourceError(f"{str(source)!r} is the name of no film")
    suffix = source.suffix if source.suffix.lower() in _WRITTEN else ".mkv" if source.suffix else ".mp4"
    return source.with_name(f"{source.stem}-{what}{suffix}")


@contextmanager
def _film_progress() -> Iterator[Callable[[Progress], None]]:
    """A bar with rate and time left, where somebody is looking."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(unit="frame") as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.frames - bar.n)

        yield show


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH, such as 1280x720")
    return int(found[1]), int(found[2])


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8000, with a port from 0 to 65535")
    return host or "127.0.0.1", int(port)


def _count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d{0,8}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0")
    return seconds


@contextmanager
def _ending_with_ctrl_c(frames: Camera) -> Iterator[None]:
    """Ctrl-C, the usual way to end it, lets the frame in work be finished; a second one does not.

    A KeyboardInterrupt could be raised, and lost, in a callback of one of the libraries.
    """

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, before)
        frames.end()

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _camera(options: argparse.Namespace) -> int:
    from edgecolor._live import Recording, Window, watch
    from edgecolor._serve import Page

    if not (options.show or options.serve or options.out):
        options.usage_error("say where the colours should go: --show, --serve or --out")
    reference = read_reference(options.reference)
    steady = options.open_colorizer(options).steady(reference=reference, vividness=options.vividness)
    width, height = options.size
    wish = {"width": width, "height": height, "rate": options.rate, "give_up": options.give_up}
    shown = None
    with ExitStack() as stack:
        outputs: list[Any] = []
        if options.serve:
            page = stack.enter_context(Page(options.source, *options.serve))
            print(page.address, flush=True)
            outputs.append(page)
        if options.out:
            check_apart(Path(options.source), options.out)
            outputs.append(stack.enter_context(Recording(options.out, Encoding(options.codec, fast=True))))
        if options.show:
            outputs.append(stack.enter_context(Window("edgecolor")))
        frames = stack.enter_context(open_camera(options.source, **wish))
        with _ending_with_ctrl_c(frames):
            shown = watch(frames, steady, outputs, limit=options.frames)
        count = 0 if shown is None else shown.count
        print(f"edgecolor: {count} frames coloured, {frames.dropped} dropped", file=sys.stderr)
    return 0
