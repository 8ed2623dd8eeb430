"""Films: the Y plane goes from the decoder to the encoder as it is, everything else in the file is copied.

Knows nothing of models: it is handed a function that writes the chroma planes for a Y plane.
"""

from __future__ import annotations

import math
import time
from collections import deque
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
from edgecolor._ffv1 import Ffv1Parity
from edgecolor._files import NOTE, reading, whole_file
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

_EXACT = ("avi", "matroska", "mov")
"""Formats whose length is stated to the frame: two frames and a tenth of a second missing are much there."""

_TURNED = {"mov", "mp4", "ipod", "psp", "3gp", "3g2", "f4v", "ismv", "matroska", "webm"}
"""Formats that say how a film is turned."""

_BOXES = (b"mdat", b"moof", b"moov")
"""Of an MP4, that the film is in."""

_HOLD_FILES = {"matroska"}
"""Formats that hold files beside the tracks, and nearly any codec."""

_COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
"""By their codec: what the file and its kind are called."""

_OTHER_WAYS = {
    "audio": "turn it into another first: ffmpeg -i IN -c copy -c:a flac OUT.mkv",
    "subtitle": "turn it into text first: ffmpeg -i IN -c copy -c:s srt OUT.mkv",
    "video": "leave it out first: ffmpeg -i IN -map 0:v:0 -map 0:a -c copy OUT.mkv",
}
"""For tracks that not even a .mkv holds."""

_CUT_BY_LIST = ("mov", "mp4", "ipod")
"""Formats that hold what is not to be played, and a list of what is."""

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
    first = _first_frame(source)
    with ExitStack() as stack:
        film = stack.enter_context(_opened(source))
        partial = stack.enter_context(whole_file(target))
        with doing(f"write {target}"):
            out = stack.enter_context(_created(partial, target))
        pictures = _pictures(film)
        video = _add_video(out, pictures, first, encoding, target, columns=2 if preview else 1)
        copies = {} if preview else _add_copies(film, out, source, target)
        _copy_tags(film, out, chapters=not preview)
        tracks = " and ".join(stream.codec_context.name for stream in (video, *copies.values()))
        with doing(f"write {target} with {tracks}"):
            out.start_encoding()
        span = _middle(film, pictures) if preview else None
        total, started, count, begin = _frame_count(pictures, span), time.perf_counter(), 0, 0
        times, copied = _Times(pictures, source), _Copies(copies, out, source, target)
        for packet in _packets(film, source):
            if packet.stream is not pictures:
                copied.take(packet)
                continue
            times.note(packet)
            for frame in _decoded(packet, source):
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
                raise _going_back(self._source, self._last, frame.pts, frame.time_base)
            frame.pts = self._last + 1
        self._last, self._due = frame.pts, frame.pts + (frame.duration or one)


def _going_back(source: Path, last: int, now: int, unit: Fraction) -> SourceError:
    return SourceError(
        f"the times of {source} go back from {float(last * unit):.2f} s to {float(now * unit):.2f} s, as where recordings "
        "were joined; give it new ones first: ffmpeg -fflags +genpts -i IN -c copy OUT.mkv"
    )


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


def check_apart(source: Path, target: Path) -> None:
    """Raise ImageError if a film is to be written over itself."""
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
        film: InputContainer = ffmpeg().open(address_of(source), metadata_errors="replace")
    if _pictures(film) is None:
        kinds = ", ".join(sorted({stream.type for stream in film.streams})) or "nothing"
        film.close()
        raise SourceError(f"{source} has no video track; edgecolor colours films, it holds {kinds}")
    _pictures(film).thread_type = "AUTO"
    return film


def _pictures(film: InputContainer) -> VideoStream:
    """The track with the film; a cover is none. None where there is none, which no opened film is."""
    return next((stream for stream in film.streams.video if not _is_cover(stream)), None)


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
        SourceError: The file ends before the length it states, or a frame of FFV1 is not what was written.
    """
    _check_boxes(film, source)
    pictures = _pictures(film)
    parity = Ffv1Parity() if pictures.codec_context.name == "ffv1" else None
    end, seconds, last, longest = 0.0, _stated_seconds(film), None, 0.0
    packets = film.demux()
    while True:
        with doing(f"read {source}"):
            packet = next(packets, None)
        if packet is None:
            break
        if packet.pts is not None and packet.time_base:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        if packet.stream is pictures and parity is not None and packet.size and parity.broken(bytes(packet)):
            raise _damaged(source, packet)
        if packet.stream is pictures and packet.dts is not None:
            now = float(packet.dts * packet.time_base)
            last, longest = now, max(longest, now - (now if last is None else last))
        yield packet
    exact = film.format.name.startswith(_EXACT)
    if end < seconds - min(_MISSING_SECONDS, 0.1 + 2 * longest if exact else _MISSING_SECONDS):
        raise SourceError(f"{source} is cut off: it states {seconds:.1f} s, but ends at {end:.1f} s; get a whole copy")


def _stated_seconds(film: InputContainer) -> float:
    """When a film ends, by what its head says: FFmpeg works the length of a cut AVI out anew, but not the count of frames."""
    begin, pictures, by_count = (film.start_time or 0) / 1_000_000, _pictures(film), 0.0
    if film.format.name == "avi" and pictures.frames and pictures.average_rate:
        by_count = float(pictures.frames / pictures.average_rate)
    if film.format.name.startswith("matroska"):
        begin = 0.0  # FFmpeg writes there when a film ends, not how long it takes
    return begin + max((film.duration or 0) / 1_000_000, by_count)


def _check_boxes(film: InputContainer, source: Path) -> None:
    """Raise SourceError if a box of an MP4 ends behind the file, which for one in fragments FFmpeg does not say.

    Source: ISO/IEC 14496-12, section 4.2.
    """
    if not film.format.name.startswith("mov"):
        return
    with reading(source), source.open("rb") as file:
        length, place, head = file.seek(0, 2), 0, b""
        while place < length:
            file.seek(place)
            head = file.read(16)
            size = int.from_bytes(head[8:] if head[:4] == b"\0\0\0\1" else head[:4], "big")
            if size < 8:  # to the end of the file, or no box at all
                return
            place += size
        if place > length and head[4:8] in _BOXES:
            raise SourceError(f"{source} is cut off: it has {length:,} bytes, and states {place:,}; get a whole copy")


def _decoded(packet: Packet, source: Path) -> Iterator[VideoFrame]:
    """The frames of a packet, in the order of their time, all of them whole."""
    with doing(f"read {source} at {_when(packet)}"):
        frames = packet.decode()
    for frame in frames:
        if frame.is_corrupt:
            raise _damaged(source, packet)
        yield frame


def _damaged(source: Path, packet: Packet) -> SourceError:
    return SourceError(
        f"cannot read {source} at {_when(packet)}: a frame is damaged; repair it first: ffmpeg -i IN -c:v ffv1 OUT.mkv"
    )


def _when(packet: Packet) -> str:
    return f"{float(packet.pts * packet.time_base):.2f} s" if packet.pts is not None and packet.time_base else "its end"


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
    video.metadata.update(_lasting(pictures.metadata))
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


def _add_copies(film: InputContainer, out: OutputContainer, source: Path, target: Path) -> dict[int, Stream]:
    """Tracks for the packets that are copied, by the number of the track they come from.

    Raises:
        SourceError: The container cannot hold one of them.
    """
    copies: dict[int, Stream] = {}
    for stream in film.streams:
        if stream.type == "attachment":
            _attach(out, target, stream.name, stream.mimetype, stream.data)
        if stream.type not in ("audio", "subtitle", "video") or stream is _pictures(film) or _is_void(stream):
            continue
        codec = stream.codec_context.codec.canonical_name if stream.codec_context else ""
        if _is_cover(stream) and codec in _COVERS and out.format.name in _HOLD_FILES:
            name, kind = _COVERS[codec]
            _attach(out, target, stream.metadata.get("filename", name), kind, _first_packet(source, stream.index))
            continue
        if why := _why_not(stream, codec, out):
            raise SourceError(f"{target.name} cannot hold the {stream.type} track {stream.index} ({codec or 'unknown'}); {why}")
        with doing(f"write {target}"):
            copy = out.add_stream_from_template(stream)
        copy.metadata.update(_lasting(stream.metadata))
        copy.disposition = stream.disposition
        copies[stream.index] = copy
    return copies


def _is_void(stream: Stream) -> bool:
    """Whether it is a track of sound, announced by a broadcast, that carried nothing."""
    return bool(stream.type == "audio" and stream.codec_context and not stream.codec_context.sample_rate)


def _is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & ffmpeg().stream.Disposition.attached_pic)


def _why_not(stream: Stream, codec: str, out: OutputContainer) -> str:
    """What to do with a track that the file cannot hold; empty if it can, as far as FFmpeg says before it is tried."""
    if not codec:
        return "FFmpeg does not know it; leave it out first: ffmpeg -i IN -map 0:v -c copy OUT"
    if codec in out.supported_codecs:
        return ""
    return _OTHER_WAYS[stream.type] if out.format.name in _HOLD_FILES else "write to a .mkv"


def _attach(out: OutputContainer, target: Path, name: str, kind: str, data: bytes) -> None:
    if out.format.name not in _HOLD_FILES:
        raise SourceError(f"{target.name} cannot hold the attachment {name!r}; write to a .mkv")
    out.add_attachment(name, kind, data)


def _first_packet(source: Path, index: int) -> bytes:
    """Of a track, which for a cover is all of it."""
    with doing(f"read {source}"), _opened(source) as film:
        return bytes(next(film.demux(film.streams[index])))


def _copy_tags(film: InputContainer, out: OutputContainer, *, chapters: bool) -> None:
    out.metadata.update(_lasting(film.metadata))
    name = next((name for name in out.metadata if name.lower() == "comment"), "comment")
    said = out.metadata.get(name, "")
    out.metadata[name] = said if NOTE in said else "; ".join(filter(None, (said, NOTE)))
    if chapters and film.chapters():
        out.set_chapters(film.chapters())


def _lasting(tags: dict[str, str]) -> dict[str, str]:
    """Tags of the film itself, without those of the file it was in."""
    return {
        name: text
        for name, text in tags.items()
        if not name.upper().startswith((*_STALE, "MAJOR_BRAND", "MINOR_", "COMPATIBLE_"))
    }


class _Copies:
    """The tracks that are copied, packet by packet."""

    def __init__(self, copies: dict[int, Stream], out: OutputContainer, source: Path, target: Path) -> None:
        self._copies, self._out, self._source, self._target = copies, out, source, target
        self._last: dict[int, int] = {}
        self._cut = not out.format.name.startswith(_CUT_BY_LIST)

    def take(self, packet: Packet) -> None:
        """Write a packet.

        Raises:
            SourceError: It cannot be written, or its time lies before the last one's.
        """
        read = packet.stream
        if not packet.size or read.index not in self._copies:  # the end of a track, or one that is not kept
            return
        if packet.is_discard and self._cut:  # what an edit list cuts away
            return
        if packet.dts is not None:
            last = self._last.setdefault(read.index, packet.dts)
            if packet.dts < last:
                raise _going_back(self._source, last, packet.dts, packet.time_base)
            self._last[read.index] = packet.dts
        packet.stream = self._copies[read.index]
        with doing(f"write {self._target} with the {read.type} track {read.index} of {self._source}"):
            self._out.mux(packet)


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
