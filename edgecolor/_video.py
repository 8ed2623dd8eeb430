"""Films: the Y plane goes from the decoder to the encoder as it is, everything else in the file is copied.

Knows nothing of models: it is handed a function that writes the chroma planes for a Y plane.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecolor._errors import ImageError, SourceError
from edgecolor._ffmpeg import (
    Encoding,
    address_of,
    choose_encoder,
    doing,
    encoder_options,
    ffmpeg,
    luma_of,
    planar_format,
    planar_frame,
    planes_of,
    tags_of,
)
from edgecolor._files import is_stream, whole_file
from edgecolor._film import decoded, first_frame, going_back, opened, packets_of, pictures_of
from edgecolor._planes import Coding, Plane, Planes
from edgecolor._tracks import Copies, add_copies, copy_tags, lasting

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

ChromaOf = Callable[[Plane, Coding, Planes], object]
"""Writes Cb and Cr, the third argument, for a Y plane."""

PREVIEW_SECONDS = 10
"""How much of a film a preview shows, from its middle."""

_TURNED = {"mov", "mp4", "ipod", "psp", "3gp", "3g2", "f4v", "ismv", "matroska", "webm"}
"""Formats that say how a film is turned."""

_WITHOUT_SHAPE = {"avi", "matroska", "webm"}
"""Formats into which PyAV (18) cannot write the shape of pixels."""

_SAY_SHAPE = ("h264", "hevc", "mpeg2video", "mpeg4")
"""Codecs that say it themselves."""

_UPRIGHT = [65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
"""Display matrix of a film that is not turned."""


@dataclass(frozen=True)
class Progress:
    """How far a film is."""

    frames: int
    """Coloured so far."""
    total: int | None
    """Frames in all, as far as the file lets one know."""
    seconds: float
    """Since the first frame was asked for."""

    @property
    def rate(self) -> float:
        """Frames per second so far."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """What the rest will take at this rate."""
        return None if self.total is None or not self.rate else max(0, self.total - self.frames) / self.rate


def color_film(  # noqa: PLR0913  # what the user may choose
    source: str | PathLike[str],
    target: str | PathLike[str],
    chroma_of: ChromaOf,
    encoding: Encoding,
    *,
    preview: bool = False,
    progress: Callable[[Progress], object] | None = None,
) -> None:
    """Colour a film file into another; see ``Colorizer.video``."""
    source, target = Path(source), Path(target)
    check_apart(source, target)
    if is_stream(source):  # a film is read twice
        raise SourceError(f"cannot read {source}: it is a pipe or device; write what comes out of it to a file first")
    first = first_frame(source)
    with ExitStack() as stack:
        film = stack.enter_context(opened(source))
        partial = stack.enter_context(whole_file(target))
        with doing(f"write {target}"):
            out = stack.enter_context(_created(partial, target))
        pictures = pictures_of(film)
        video = _add_video(out, pictures, first, encoding, target, columns=2 if preview else 1)
        copies = {} if preview else add_copies(film, out, source, target)
        copy_tags(film, out, chapters=not preview)
        tracks = " and ".join(stream.codec_context.name for stream in (video, *copies.values()))
        with doing(f"write {target} with {tracks}"):
            out.start_encoding()
        span = _middle(film, pictures) if preview else None
        total, started, count, begin = _frame_count(pictures, span), time.perf_counter(), 0, 0
        times, copied = _Times(pictures, source), Copies(copies, out, source, target)
        for packet in packets_of(film, source):
            if packet.stream is not pictures:
                copied.take(packet)
                continue
            times.note(packet)
            for frame in decoded(packet, source):
                times.settle(frame)
                _check_size(frame, first, source)
                if span is not None and not span[0] <= frame.pts * frame.time_base < span[1]:
                    continue
                if preview:
                    begin = frame.pts if count == 0 else begin
                    frame.pts -= begin
                colored = _beside(frame, chroma_of) if preview else _colored(frame, chroma_of)
                with doing(f"write {target}"):
                    out.mux(video.encode(colored))
                count += 1
                if progress is not None:
                    progress(Progress(count, total, time.perf_counter() - started))
        with doing(f"write {target}"):
            out.mux(video.encode(None))
            out.close()


class _Times:
    """When the frames of a film are shown."""

    def __init__(self, pictures: VideoStream, source: Path) -> None:
        self._pictures, self._source = pictures, source
        self._slots: deque[int] | None = deque() if pictures.container.format.name == "avi" else None
        self._last: int | None = None
        self._due = 0

    def note(self, packet: Packet) -> None:
        """A packet that was read."""
        if self._slots is not None and packet.size and packet.dts is not None:
            self._slots.append(packet.dts)

    def settle(self, frame: VideoFrame) -> None:
        """Give the next frame its time, which rises.

        Raises:
            SourceError: It lies before the last one's, as where recordings were joined.
        """
        if self._slots:  # AVI says when frames are decoded: the n-th that is shown takes the time of the n-th that was read
            frame.pts = self._slots.popleft()
        elif frame.pts is None:  # a bare stream has no times, only a rate
            frame.pts = self._due
        one = round(1 / (_rate(self._pictures) * frame.time_base))
        if self._last is not None and frame.pts <= self._last:
            if self._last - frame.pts > one:
                raise going_back(self._source, self._last, frame.pts, frame.time_base)
            frame.pts = self._last + 1
        self._last, self._due = frame.pts, frame.pts + (frame.duration or one)


def _check_size(frame: VideoFrame, first: VideoFrame, source: Path) -> None:
    if (frame.width, frame.height, frame.format.name) != (first.width, first.height, first.format.name):
        raise SourceError(
            f"{source} changes from {first.width} by {first.height} {first.format.name} to {frame.width} by {frame.height} "
            f"{frame.format.name} at {frame.time or 0:.2f} s; cut it there and colour the parts"
        )


def check_apart(source: Path, target: Path) -> None:
    """Raise ImageError if a film is to be written over itself."""
    try:
        same = target.samefile(source)
    except OSError:  # what is missing is said when it is opened
        return
    if same:
        raise ImageError(f"{target} is the source itself; give another name, the source is never overwritten")


def _created(partial: Path, target: Path) -> OutputContainer:
    """The file to write, of the container that the target's ending names."""
    options = {"movflags": "+faststart"} if target.suffix.lower() in (".mp4", ".m4v", ".mov") else {}
    try:
        container: OutputContainer = ffmpeg().open(address_of(partial), "w", options=options)
    except ValueError as error:
        raise ImageError(f"FFmpeg knows no film of the ending {target.suffix!r}; use .mp4, .mkv, .mov or .webm") from error
    if container.format.no_file:  # it names the files itself, and would leave them
        raise ImageError(f"a film of the ending {target.suffix!r} is several files; use .mp4, .mkv, .mov or .webm")
    return container


def _add_video(  # noqa: PLR0913  # what a track is made from
    out: OutputContainer, pictures: VideoStream, first: VideoFrame, encoding: Encoding, target: Path, *, columns: int
) -> VideoStream:
    """The coloured track, with the size, times, rotation and colour tags of the one that is read."""
    width, coding = first.width * columns, luma_of(first)[1]
    name = choose_encoder(encoding, width, first.height, coding.bits, out.supported_codecs)
    with doing(f"write {target}"):
        video: VideoStream = out.add_stream(
            name, rate=_rate(pictures), options=encoder_options(name, encoding, out.format.name)
        )
    context = video.codec_context
    video.width, video.height, video.pix_fmt = width, first.height, planar_format(coding.bits)
    video.time_base = context.time_base = first.time_base  # so that every time stays what it is
    shape = pictures.sample_aspect_ratio
    if shape:
        context.sample_aspect_ratio = shape
        if shape != 1 and out.format.name in _WITHOUT_SHAPE and context.codec.canonical_name not in _SAY_SHAPE:
            raise SourceError(
                f"{target.name} would lose the shape of the pixels, {shape.numerator}:{shape.denominator}, in "
                f"{context.codec.canonical_name}; use codec='libx264' (crf 0 loses nothing), or write to a .mp4 or .mov"
            )
    _tag(context, first)
    matrix = _display_matrix(first)
    if matrix and matrix != _UPRIGHT:
        if out.format.name not in _TURNED:
            raise SourceError(f"{target.name} cannot say that the film is turned; write to a .mp4, .mov or .mkv")
        video.set_display_matrix(matrix)
    video.metadata.update(lasting(pictures.metadata))
    _open_encoder(video, coding)
    return video


def _open_encoder(video: VideoStream, coding: Coding) -> None:
    """Some encoders refuse only here what they are set to: MPEG-2 fine times, Motion JPEG codes that are limited.

    Raises:
        SourceError: This one does.
    """
    context = video.codec_context
    try:
        context.open()
    except ffmpeg().error.FFmpegError as error:
        codes = "full" if coding.full_range else "limited"
        raise SourceError(
            f"the encoder {context.name} does not open for {video.width} x {video.height} pixels of {codes} range and times "
            f"in units of {context.time_base} s: {error.strerror}; use codec='auto' or another encoder"
        ) from error


def _display_matrix(frame: VideoFrame) -> list[int] | None:
    """How a film is turned or mirrored, if it says so."""
    try:
        found = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # PyAV (18) does not know every kind of side data, and then gives none, but for the angle
        turn = math.radians(frame.rotation)
        across, down = round(65536 * math.cos(turn)), round(65536 * math.sin(turn))
        return [across, -down, 0, down, across, 0, 0, 0, 1 << 30]
    return memoryview(found).cast("i").tolist() if found else None


def _rate(pictures: VideoStream) -> Fraction:
    """Frames per second, 25 where the file says nothing."""
    return pictures.average_rate or pictures.guessed_rate or Fraction(25)


def _tag(made: Any, read: VideoFrame) -> None:
    """The same colour tags for a frame or an encoder as those of a frame that was read."""
    made.color_range, made.colorspace = tags_of(read)
    made.color_primaries, made.color_trc = read.color_primaries, read.color_trc


def _colored(frame: VideoFrame, chroma_of: ChromaOf) -> VideoFrame:
    """A frame with the Y plane, time and tags of the one that was read, and chroma."""
    y, coding = luma_of(frame)
    made = planar_frame(frame.width, frame.height, coding)
    luma, cb, cr = planes_of(made)
    luma[...] = y
    chroma_of(y, coding, (cb, cr))
    return _timed(made, frame)


def _beside(frame: VideoFrame, chroma_of: ChromaOf) -> VideoFrame:
    """The frame as it is and, right of it, coloured."""
    y, coding = luma_of(frame)
    made = planar_frame(2 * frame.width, frame.height, coding)
    luma, cb, cr = planes_of(made)
    luma[:, : frame.width] = luma[:, frame.width :] = y
    cb[...] = cr[...] = 1 << (coding.bits - 1)
    half = (frame.width + 1) // 2
    chroma_of(y, coding, (cb[:, -half:], cr[:, -half:]))
    return _timed(made, frame)


def _timed(made: VideoFrame, read: VideoFrame) -> VideoFrame:
    made.pts, made.time_base, made.duration = read.pts, read.time_base, read.duration
    _tag(made, read)
    return made


def _middle(film: InputContainer, pictures: VideoStream) -> tuple[float, float]:
    """Go to the middle of a film; where the preview starts and ends, in seconds."""
    length, begin = (film.duration or 0) / 1_000_000, (film.start_time or 0) / 1_000_000
    start = begin + max(0.0, (length - PREVIEW_SECONDS) / 2)
    if start > begin and pictures.time_base:
        film.seek(int(start / pictures.time_base), stream=pictures)
    return start, start + PREVIEW_SECONDS


def _frame_count(pictures: VideoStream, span: tuple[float, float] | None) -> int | None:
    rate = pictures.average_rate
    if span is not None:
        return round((span[1] - span[0]) * rate) if rate else None
    if pictures.frames:
        return int(pictures.frames)
    film = pictures.container
    seconds = (film.duration or 0) / 1_000_000
    return round(seconds * rate) if rate and seconds else None
