"""What a film has beside its pictures, carried over as it is: sound, subtitles, attachments, covers, chapters and tags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgecolor._errors import SourceError
from edgecolor._ffmpeg import doing
from edgecolor._files import NOTE
from edgecolor._film import going_back, is_cover, opened, pictures_of

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream

_STALE = ("ENCODER", "DURATION", "BPS", "NUMBER_OF_", "_STATISTICS_")
"""Beginnings of tags that describe the file that was read, not the film."""

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


def add_copies(film: InputContainer, out: OutputContainer, source: Path, target: Path) -> dict[int, Stream]:
    """Tracks for the packets that are copied, by the number of the track they come from.

    Raises:
        SourceError: The container cannot hold one of them.
    """
    copies: dict[int, Stream] = {}
    for stream in film.streams:
        if stream.type == "attachment":
            _attach(out, target, stream.name, stream.mimetype, stream.data)
        if stream.type not in ("audio", "subtitle", "video") or stream is pictures_of(film) or _is_void(stream):
            continue
        codec = stream.codec_context.codec.canonical_name if stream.codec_context else ""
        if is_cover(stream) and codec in _COVERS and out.format.name in _HOLD_FILES:
            name, kind = _COVERS[codec]
            _attach(out, target, stream.metadata.get("filename", name), kind, _first_packet(source, stream.index))
            continue
        if why := _why_not(stream, codec, out):
            raise SourceError(f"{target.name} cannot hold the {stream.type} track {stream.index} ({codec or 'unknown'}); {why}")
        with doing(f"write {target}"):
            copy = out.add_stream_from_template(stream)
        copy.metadata.update(lasting(stream.metadata))
        copy.disposition = stream.disposition
        copies[stream.index] = copy
    return copies


def _is_void(stream: Stream) -> bool:
    """Whether it is a track of sound, announced by a broadcast, that carried nothing."""
    return bool(stream.type == "audio" and stream.codec_context and not stream.codec_context.sample_rate)


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
    with doing(f"read {source}"), opened(source) as film:
        return bytes(next(film.demux(film.streams[index])))


def copy_tags(film: InputContainer, out: OutputContainer, *, chapters: bool) -> None:
    out.metadata.update(lasting(film.metadata))
    name = next((name for name in out.metadata if name.lower() == "comment"), "comment")
    said = out.metadata.get(name, "")
    out.metadata[name] = said if NOTE in said else "; ".join(filter(None, (said, NOTE)))
    if chapters and film.chapters():
        out.set_chapters(film.chapters())


def lasting(tags: dict[str, str]) -> dict[str, str]:
    """Tags of the film itself, without those of the file it was in."""
    return {
        name: text
        for name, text in tags.items()
        if not name.upper().startswith((*_STALE, "MAJOR_BRAND", "MINOR_", "COMPATIBLE_"))
    }


class Copies:
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
                raise going_back(self._source, last, packet.dts, packet.time_base)
            self._last[read.index] = packet.dts
        packet.stream = self._copies[read.index]
        with doing(f"write {self._target} with the {read.type} track {read.index} of {self._source}"):
            self._out.mux(packet)
