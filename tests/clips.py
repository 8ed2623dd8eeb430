"""Films and frames that the tests make, and how they look into films."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from fakes import Picture, scene

MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True)
class Sound:
    """A track of sound to put into a film."""

    codec: str = "aac"
    language: str = "deu"


def moving_scene(count: int, height: int = 48, width: int = 64, step: int = 2) -> list[Picture]:
    """Grey frames (height, width) uint8 of a camera that pans to the right."""
    wide = scene(height, width + step * count)
    return [np.ascontiguousarray(wide[:, step * number : step * number + width]) for number in range(count)]


def write_film(  # what a film may have
    path: Path,
    frames: Iterable[Picture],
    *,
    codec: str = "ffv1",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    sound: Sound | None = None,
    rotation: int = 0,
    tags: dict[str, int] | None = None,
    chapters: Sequence[tuple[int, int, str]] = (),
    options: dict[str, str] | None = None,
    encoder: dict[str, str] | None = None,
) -> Path:
    """Write Y planes as a grey film; times and chapters in milliseconds, 25 frames a second by default.

    Options are those of the container, ``encoder`` holds those of the codec.
    """
    with av.open(str(path), "w", options=options or {}) as out:
        video: Any = out.add_stream(codec, rate=25, options=encoder or {})
        audio: Any = out.add_stream(sound.codec, rate=48000) if sound else None
        for name, value in (tags or {}).items():
            setattr(video.codec_context, name, value)
        if rotation:
            video.set_display_rotation(rotation)
        if sound:
            audio.metadata["language"] = sound.language
        out.set_chapters(
            [
                {"id": number, "start": start, "end": end, "time_base": MILLISECOND, "metadata": {"title": title}}
                for number, (start, end, title) in enumerate(chapters)
            ]
        )
        out.metadata["title"] = "A film"
        video.time_base = video.codec_context.time_base = MILLISECOND
        number = 0
        for number, y in enumerate(frames):
            if number == 0:
                video.height, video.width, video.pix_fmt = *y.shape, pixels
            frame = av.VideoFrame(y.shape[1], y.shape[0], pixels)
            for plane in frame.planes:
                plane.update(bytes([128 if "10" not in pixels else 2]) * plane.buffer_size)
            luma = np.frombuffer(frame.planes[0], y.dtype).reshape(y.shape[0], -1)
            luma[:, : y.shape[1]] = y
            frame.pts, frame.time_base = (40 * number if times is None else times[number]), MILLISECOND
            frame.duration = 40
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            out.mux(video.encode(frame))
        if audio:
            _encode_noise(out, audio, seconds=(number + 1) / 25)
        out.mux(video.encode(None))
    return path


def _encode_noise(out: Any, audio: Any, seconds: float) -> None:
    random = np.random.default_rng(0)
    for number in range(round(seconds * 48000 / 1024)):
        frame = av.AudioFrame.from_ndarray(random.normal(0, 0.1, (2, 1024)).astype(np.float32), "fltp", "stereo")
        frame.rate, frame.pts = 48000, 1024 * number
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))


def frames_of(path: Path) -> list[Any]:
    """All decoded frames of a film."""
    with av.open(str(path)) as film:
        return list(film.decode(video=0))


def plane_of(frame: Any, number: int = 0) -> Picture:
    """One plane of a decoded planar frame, read without the library: (H, W)."""
    plane = frame.planes[number]
    dtype = np.uint8 if frame.format.components[number].bits == 8 else np.uint16
    rows: Picture = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // np.dtype(dtype).itemsize)
    return rows[: plane.height, : plane.width].copy()


def times_of(path: Path) -> list[float]:
    """Of all frames, in seconds."""
    return [float(frame.pts * frame.time_base) for frame in frames_of(path)]


def sound_of(path: Path) -> Picture:
    """All samples of a film's first track of sound: (channels, N)."""
    with av.open(str(path)) as film:
        return np.concatenate([frame.to_ndarray() for frame in film.decode(audio=0)], axis=1)
