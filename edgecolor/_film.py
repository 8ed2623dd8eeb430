"""Films, read: packets and frames in order, all of them whole, or an error that says where they are not."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from edgecolor._errors import SourceError
from edgecolor._ffmpeg import address_of, doing, ffmpeg
from edgecolor._ffv1 import Ffv1Parity
from edgecolor._files import reading

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_MISSING_SECONDS = 1.0
"""A file that ends so much before the length it states was cut off."""

_EXACT = ("avi", "matroska", "mov")
"""Formats whose length is stated to the frame: two frames and a tenth of a second missing are much there."""

_BOXES = (b"mdat", b"moof", b"moov")
"""Of an MP4, that the film is in."""


def film_frames(source: Path) -> Generator[VideoFrame, None, None]:
    """All frames of a film, in the order of their time.

    Raises:
        SourceError: It cannot be read, has no pictures, is damaged or cut off.
    """
    with opened(source) as film:
        pictures = pictures_of(film)
        for packet in packets_of(film, source):
            if packet.stream is pictures:
                yield from decoded(packet, source)


def opened(source: Path) -> InputContainer:
    """A film that has pictures.

    Raises:
        SourceError: It cannot be read, or has none.
    """
    with doing(f"read {source}"):
        film: InputContainer = ffmpeg().open(address_of(source), metadata_errors="replace")
    if pictures_of(film) is None:
        kinds = ", ".join(sorted({stream.type for stream in film.streams})) or "nothing"
        film.close()
        raise SourceError(f"{source} has no video track; edgecolor colours films, it holds {kinds}")
    if pictures_of(film).codec_context is None:
        film.close()
        raise SourceError(f"{source} is a film in a codec that this FFmpeg does not know; convert it first, to H.264 or FFV1")
    pictures_of(film).thread_type = "AUTO"
    return film


def pictures_of(film: InputContainer) -> VideoStream:
    """The track with the film; a cover is none. None where there is none, which no opened film is."""
    return next((stream for stream in film.streams.video if not is_cover(stream)), None)


def first_frame(source: Path) -> VideoFrame:
    """It knows what the file's head may not: size, format, rotation."""
    frames = film_frames(source)
    try:
        for frame in frames:
            return frame
    finally:
        frames.close()
    raise SourceError(f"{source} has a video track without a single frame")


def packets_of(film: InputContainer, source: Path) -> Iterator[Packet]:
    """All packets; at the end of each stream an empty one.

    Raises:
        SourceError: The file ends before the length it states, or a frame of FFV1 is not what was written.
    """
    _check_boxes(film, source)
    pictures = pictures_of(film)
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
    begin, pictures, by_count = (film.start_time or 0) / 1_000_000, pictures_of(film), 0.0
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


def decoded(packet: Packet, source: Path) -> Iterator[VideoFrame]:
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


def is_cover(stream: Stream) -> bool:
    return bool(stream.disposition & ffmpeg().stream.Disposition.attached_pic)


def going_back(source: Path, last: int, now: int, unit: Fraction) -> SourceError:
    return SourceError(
        f"the times of {source} go back from {float(last * unit):.2f} s to {float(now * unit):.2f} s, as where recordings "
        "were joined; give it new ones first: ffmpeg -fflags +genpts -i IN -c copy OUT.mkv"
    )
