"""Films: the Y plane goes from the decoder to the encoder as it is, everything else in the file is copied.

Knows nothing of models: it is handed a function that writes the chroma planes for a Y plane.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecolor._errors import ImageError, SourceError
from edgecolor._ffmpeg import (
    Encoding,
    choose_encoder,
    doing,
    encoder_options,
    ffmpeg,
    luma_of,
    planar_format,
    planar_frame,
    planes_of,
)
from edgecolor._files import NOTE, whole_file
from edgecolor._planes import Coding, Plane, Planes

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

ChromaOf = Callable[[Plane, Coding, Planes], object]
"""Writes Cb and Cr, the third argument, for a Y plane."""

PREVIEW_SECONDS = 10
"""How much of a film a preview shows, from its middle."""

_STALE = ("ENCODER", "DURATION", "BPS", "NUMBER_OF_", "_STATISTICS_")
"""Beginnings of tags that describe the file that was read, not the film."""

_MISSING_SECONDS = 1.0
"""A file that ends so much before the length it states was cut off."""


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
    _check_target(source, target)
    first = _first_frame(source)
    with ExitStack() as stack:
        film = stack.enter_context(_opened(source))
        partial = stack.enter_context(whole_file(target))
        with doing(f"write {target}"):
            out = stack.enter_context(_created(partial, target))
        pictures = _pictures(film)
        video = _add_video(out, pictures, first, encoding, target, columns=2 if preview else 1)
        copies = {} if preview else _add_copies(film, out, target)
        _copy_tags(film, out)
        span = _middle(film, pictures) if preview else None
        total, started, count, due = _frame_count(pictures, span), time.perf_counter(), 0, 0
        for packet in _packets(film, source):
            if packet.stream is not pictures:
                _copy_packet(packet, copies, out, target)
                continue
            for frame in _decoded(packet, source):
                frame.pts = due if frame.pts is None else frame.pts  # a bare stream has no times, only a rate
                due = frame.pts + (frame.duration or round(1 / (_rate(pictures) * frame.time_base)))
                _check_size(frame, first, source)
                if span is not None and not span[0] <= frame.pts * frame.time_base < span[1]:
                    continue
                colored = _beside(frame, chroma_of) if preview else _colored(frame, chroma_of)
                with doing(f"write {target}"):
                    out.mux(video.encode(colored))
                count += 1
                if progress is not None:
                    progress(Progress(count, total, time.perf_counter() - started))
        with doing(f"write {target}"):
            out.mux(video.encode(None))
            out.close()


def film_frames(source: Path) -> Generator[VideoFrame, None, None]:
    """All frames of a film, in the order of their time.

    Raises:
        SourceError: It cannot be read, has no pictures, is damaged or cut off.
    """
    with _opened(source) as film:
        pictures = _pictures(film)
        for packet in _packets(film, source):
            if packet.stream is pictures:
                yield from _decoded(packet, source)


def _check_size(frame: VideoFrame, first: VideoFrame, source: Path) -> None:
    if (frame.width, frame.height, frame.format.name) != (first.width, first.height, first.format.name):
        raise SourceError(
            f"{source} changes from {first.width} by {first.height} {first.format.name} to {frame.width} by {frame.height} "
            f"{frame.format.name} at {frame.time or 0:.2f} s; cut it there and colour the parts"
        )


def _check_target(source: Path, target: Path) -> None:
    try:
        same = target.samefile(source)
    except OSError:  # what is missing is said when it is opened
        return
    if same:
        raise ImageError(f"{target} is the source itself; give another name, the source is never overwritten")


def _opened(source: Path) -> InputContainer:
    """A film that has pictures.

    Raises:
        SourceError: It cannot be read, or has none.
    """
    with doing(f"read {source}"):
        film: InputContainer = ffmpeg().open(str(source), metadata_errors="replace")
    if _pictures(film) is None:
        kinds = ", ".join(sorted({stream.type for stream in film.streams})) or "nothing"
        film.close()
        raise SourceError(f"{source} has no video track; edgecolor colours films, it holds {kinds}")
    _pictures(film).thread_type = "AUTO"
    return film


def _pictures(film: InputContainer) -> VideoStream:
    """The track with the film; a cover is none. None where there is none, which no opened film is."""
    cover = ffmpeg().stream.Disposition.attached_pic
    return next((stream for stream in film.streams.video if not stream.disposition & cover), None)


def _first_frame(source: Path) -> VideoFrame:
    """It knows what the file's head may not: size, format, rotation."""
    frames = film_frames(source)
    try:
        for frame in frames:
            return frame
    finally:
        frames.close()
    raise SourceError(f"{source} has a video track without a single frame")


def _packets(film: InputContainer, source: Path) -> Iterator[Packet]:
    """All packets; at the end of each stream an empty one.

    Raises:
        SourceError: The file ends before the length it states.
    """
    end, seconds = 0.0, (film.duration or 0) / 1_000_000 + (film.start_time or 0) / 1_000_000
    packets = film.demux()
    while True:
        with doing(f"read {source}"):
            packet = next(packets, None)
        if packet is None:
            break
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        yield packet
    if end < seconds - _MISSING_SECONDS:
        raise SourceError(f"{source} is cut off: it states {seconds:.1f} s, but ends at {end:.1f} s; get a whole copy")


def _decoded(packet: Packet, source: Path) -> Iterator[VideoFrame]:
    """The frames of a packet, in the order of their time, all of them whole."""
    at = f"{float(packet.pts * packet.time_base):.2f} s" if packet.pts is not None and packet.time_base else "its end"
    with doing(f"read {source} at {at}"):
        frames = packet.decode()
    for frame in frames:
        if frame.is_corrupt:
            raise SourceError(
                f"cannot read {source} at {at}: a frame is damaged; repair it first: ffmpeg -i IN -c:v ffv1 OUT.mkv"
            )
        yield frame


def _created(partial: Path, target: Path) -> OutputContainer:
    """The file to write, of the container that the target's ending names."""
    options = {"movflags": "+faststart"} if target.suffix.lower() in (".mp4", ".m4v", ".mov") else {}
    try:
        container: OutputContainer = ffmpeg().open(str(partial), "w", options=options)
    except ValueError as error:
        raise ImageError(f"FFmpeg knows no film of the ending {target.suffix!r}; use .mp4, .mkv, .mov or .webm") from error
    return container


def _add_video(  # noqa: PLR0913  # what a track is made from
    out: OutputContainer, pictures: VideoStream, first: VideoFrame, encoding: Encoding, target: Path, *, columns: int
) -> VideoStream:
    """The coloured track, with the size, times, rotation and colour tags of the one that is read."""
    width, bits = first.width * columns, luma_of(first)[1].bits
    name = choose_encoder(encoding, width, first.height, bits, out.supported_codecs)
    with doing(f"write {target}"):
        video: VideoStream = out.add_stream(name, rate=_rate(pictures), options=encoder_options(name, encoding))
    context = video.codec_context
    video.width, video.height, video.pix_fmt = width, first.height, planar_format(bits)
    video.time_base = context.time_base = first.time_base  # so that every time stays what it is
    if pictures.sample_aspect_ratio:
        context.sample_aspect_ratio = pictures.sample_aspect_ratio
    _tag(context, first)
    matrix = next((bytes(data) for data in first.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix:
        video.set_display_matrix(memoryview(matrix).cast("i").tolist())
    video.metadata.update(_lasting(pictures.metadata))
    return video


def _rate(pictures: VideoStream) -> Fraction:
    """Frames per second, 25 where the file says nothing."""
    return pictures.average_rate or pictures.guessed_rate or Fraction(25)


def _tag(made: Any, read: VideoFrame) -> None:
    """The same colour tags for a frame or an encoder as those of a frame that was read."""
    made.color_range = 2 if luma_of(read)[1].full_range else read.color_range
    if not read.format.is_rgb:
        made.colorspace = read.colorspace
    made.color_primaries, made.color_trc = read.color_primaries, read.color_trc


def _add_copies(film: InputContainer, out: OutputContainer, target: Path) -> dict[int, Stream]:
    """Tracks for the packets that are copied, by the number of the track they come from.

    Raises:
        SourceError: The container cannot hold one of them.
    """
    copies: dict[int, Stream] = {}
    for stream in film.streams:
        if stream.type == "attachment":
            out.add_attachment(stream.name, stream.mimetype, stream.data)
        if stream.type not in ("audio", "subtitle", "video") or stream is _pictures(film):
            continue
        codec = stream.codec_context.codec.canonical_name
        if codec not in out.supported_codecs:
            raise SourceError(f"{target.name} cannot hold the {stream.type} track {stream.index} ({codec}); write to a .mkv")
        with doing(f"write {target}"):
            copy = out.add_stream_from_template(stream)
        copy.metadata.update(_lasting(stream.metadata))
        copy.disposition = stream.disposition
        copies[stream.index] = copy
    return copies


def _copy_tags(film: InputContainer, out: OutputContainer) -> None:
    out.metadata.update(_lasting(film.metadata))
    said = out.metadata.get("comment", "")
    out.metadata["comment"] = said if NOTE in said else "; ".join(filter(None, (said, NOTE)))
    if film.chapters():
        out.set_chapters(film.chapters())


def _lasting(tags: dict[str, str]) -> dict[str, str]:
    """Tags of the film itself, without those of the file it was in."""
    return {
        name: text
        for name, text in tags.items()
        if not name.upper().startswith((*_STALE, "MAJOR_BRAND", "MINOR_", "COMPATIBLE_"))
    }


def _copy_packet(packet: Packet, copies: dict[int, Stream], out: OutputContainer, target: Path) -> None:
    if not packet.size or packet.stream.index not in copies:  # the end of a track, or one that is not kept
        return
    packet.stream = copies[packet.stream.index]
    with doing(f"write {target}"):
        out.mux(packet)


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
