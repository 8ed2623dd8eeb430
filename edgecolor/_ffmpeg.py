"""FFmpeg's frames, encoders and errors, through PyAV. What films and cameras share; the only file that knows pixel formats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecolor._errors import SourceError
from edgecolor._planes import BITS, Coding, Matrix, Plane, Planes

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

HARDWARE_ENCODERS = ("h264_nvenc", "h264_qsv", "h264_amf", "h264_v4l2m2m")
"""Tried in this order for codec="hardware"."""

_QUALITY = {
    "libx264": ("crf", 18),
    "libx265": ("crf", 20),
    "libvpx-vp9": ("crf", 24),
    "libsvtav1": ("crf", 24),
    "h264_nvenc": ("cq", 20),
    "hevc_nvenc": ("cq", 22),
    "h264_qsv": ("global_quality", 20),
}
"""Encoders that take a quality: what they call it, and what they are given by default."""

_WITHOUT_TIMES = ("avi", "asf")
"""Formats in which frames cannot lie in another order than they are shown in."""

_CRF_MAX = {"libvpx-vp9": 63, "libsvtav1": 63}
"""Of those; 51 of the others."""

_SPEED = {
    "libx264": {"preset": "fast"},
    "libx265": {"preset": "fast", "x265-params": "log-level=none"},
    "libvpx-vp9": {"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
    "libsvtav1": {"preset": "8"},
}

_MATRICES: dict[int, Matrix] = {1: "bt709", 2: "auto", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709"}
"""By FFmpeg's number; 7 is SMPTE 240M, whose weights are within 0.03 of BT.709's."""

_RGB_MATRIX, _UNTAGGED = 0, 2
_LIMITED_RANGE, _FULL_RANGE = 1, 2
_TAGS = {"bt709": 1, "bt601": 6}
"""FFmpeg's numbers of matrices."""

_PACKED = {"yuyv422": 0, "yvyu422": 0, "uyvy422": 1}
"""Packed formats with Y in every second byte: the place of the first."""


@dataclass(frozen=True)
class Encoding:
    """How a film is written."""

    codec: str = "auto"
    """ "auto", "hardware", or FFmpeg's name of an encoder."""
    crf: int | None = None
    """Its quality, smaller is better; None is the encoder's own default here."""
    fast: bool = False
    """Whether keeping up matters more than size, as for a camera."""


def ffmpeg() -> Any:
    """The module av.

    Raises:
        SourceError: It cannot be loaded.
    """
    try:
        import av
    except ImportError as error:
        raise SourceError(f"films and cameras need PyAV: {error}; run: pip install av") from error
    return av


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Errors of FFmpeg as a SourceError "cannot ``what``: reason"."""
    av = ffmpeg()
    try:
        yield
    except av.error.FFmpegError as error:
        reason = (
            "it is damaged, or of a kind FFmpeg does not know"
            if isinstance(error, av.error.InvalidDataError)
            else error.strerror
        )
        raise SourceError(f"cannot {what}: {reason or error}") from error


def address_of(path: Path) -> str:
    """A file for FFmpeg, which takes what stands before a colon for a protocol."""
    return f"file:{path}"


def luma_of(frame: VideoFrame) -> tuple[Plane, Coding]:
    """The Y plane of a decoded frame, as the decoder left it wherever it has one, and how its codes are meant.

    The plane lies in the frame's own memory: keep the frame as long as the plane.

    Raises:
        SourceError: The frame's colour matrix is not understood.
    """
    if frame.format.name in _PACKED:
        return _rows(frame, np.dtype(np.uint8), 2)[:, _PACKED[frame.format.name] :: 2][:, : frame.width], _coding(frame, 8)
    first = frame.format.components[0]
    if not _has_luma_plane(frame.format.name):
        frame = _as_yuv(frame)
        first = frame.format.components[0]
    if first.bits == 8:
        return _rows(frame, np.dtype(np.uint8))[:, : frame.width], _coding(frame, 8)
    order = ">" if frame.format.name.endswith("be") else "<"
    codes: Plane = _rows(frame, np.dtype(f"{order}u2"))[:, : frame.width].astype(np.uint16, copy=False)
    bits = next(depth for depth in BITS if depth >= first.bits)
    if frame.format.name.startswith(("p010", "p012", "p210", "p212", "p410", "p412")):
        codes = codes >> (16 - bits)  # these hold their codes in the high bits
    return codes << (bits - first.bits) if bits > first.bits else codes, _coding(frame, bits)


def tags_of(frame: VideoFrame) -> tuple[int, int]:
    """FFmpeg's numbers of range and matrix for a frame that is made of the luma of this one."""
    if not _holds_luma(frame.format.name):
        return _LIMITED_RANGE, _TAGS[_matrix_of_rgb(frame)]
    matrix = int(frame.colorspace)
    coding = _coding(frame, 8)
    return _FULL_RANGE if coding.full_range else int(frame.color_range), _UNTAGGED if matrix == _RGB_MATRIX else matrix


def planes_of(frame: VideoFrame) -> tuple[Plane, Plane, Plane]:
    """Y, Cb and Cr of a 4:2:0 frame that we made, to write into."""
    dtype = np.dtype(np.uint8 if frame.format.components[0].bits == 8 else np.uint16)
    y, cb, cr = (_rows(frame, dtype, number=number)[:, : plane.width] for number, plane in enumerate(frame.planes))
    return y, cb, cr


def planar_frame(width: int, height: int, coding: Coding) -> VideoFrame:
    """An empty 4:2:0 frame for planes of that coding."""
    frame: VideoFrame = ffmpeg().VideoFrame(width, height, planar_format(coding.bits))
    frame.color_range = _FULL_RANGE if coding.full_range else _LIMITED_RANGE
    return frame


def planar_format(bits: int) -> str:
    """FFmpeg's name of planar 4:2:0 at that depth."""
    return "yuv420p" if bits == 8 else f"yuv420p{bits}le"


def write_planes(frame: VideoFrame, y: Plane, chroma: Planes) -> None:
    """Copy Y, Cb and Cr into the left of a frame as wide as they are, or wider."""
    for target, plane in zip(planes_of(frame), (y, *chroma), strict=True):
        target[:, : plane.shape[1]] = plane


def choose_encoder(encoding: Encoding, width: int, height: int, bits: int, holds: set[str]) -> str:
    """FFmpeg's name of the encoder to use.

    Args:
        encoding: What the user asked for.
        width: Of the frames.
        height: Of the frames.
        bits: Per code of the frames.
        holds: Names of the codecs that the container can hold.

    Raises:
        SourceError: There is none, or the one asked for cannot hold these frames.
    """
    if encoding.codec == "hardware":
        return _hardware_encoder(width, height, bits, holds)
    if encoding.codec != "auto":
        _check_encoder(encoding.codec, width, height, bits, holds)
        return encoding.codec
    for name in ("libx264", "libvpx-vp9", "ffv1"):
        try:
            _check_encoder(name, width, height, bits, holds)
        except SourceError:
            continue
        return name
    raise SourceError(
        f"neither H.264, VP9 nor FFV1, in frames of {width} by {height} and {bits} bits, is written into such a file here; "
        "write to a .mkv"
    )


def encoder_options(name: str, encoding: Encoding, form: str) -> dict[str, str]:
    """The options an encoder is opened with, for a file of FFmpeg's format ``form``.

    Raises:
        SourceError: A quality is asked for from an encoder that takes none, or not that one.
    """
    crf, worst = encoding.crf, _CRF_MAX.get(name, 51)
    if crf is not None and name in _QUALITY and (not isinstance(crf, int) or not 0 <= crf <= worst):
        raise SourceError(f"crf must be a whole number from 0, the best, to {worst} for {name}, got {crf!r}")
    options = dict(_SPEED.get(name, {}))
    if name in _QUALITY:
        key, value = _QUALITY[name]
        options[key] = str(value if encoding.crf is None else encoding.crf)
    elif encoding.crf is not None:
        raise SourceError(f"the encoder {name} takes no crf; leave it out, or use one of {', '.join(_QUALITY)}")
    if encoding.fast:
        options |= {"libx264": {"preset": "veryfast"}, "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"}}.get(name, {})
    if name.startswith(("h264", "hevc", "libx26")) and form in _WITHOUT_TIMES:
        options["bf"] = "0"
    return options


def _coding(frame: VideoFrame, bits: int) -> Coding:
    name, number = frame.format.name, int(frame.colorspace)
    matrix: Matrix | None = "auto" if number == _RGB_MATRIX and name.startswith("gray") else _MATRICES.get(number)
    if matrix is None:
        raise SourceError(
            f"the colour matrix of this film (FFmpeg's number {number}) is not understood; "
            "convert it to BT.709 first: ffmpeg -i IN -vf scale=out_color_matrix=bt709 OUT"
        )
    untagged_full = name.startswith("gray") and frame.color_range == 0
    return Coding(matrix, name.startswith("yuvj") or frame.color_range == _FULL_RANGE or untagged_full, bits)


def _has_luma_plane(name: str) -> bool:
    """Whether the first plane of a pixel format holds Y and nothing else."""
    return re.fullmatch(r"(yuva?j?4\d\dp|nv|p[024]1|gray).*", name) is not None and "f32" not in name and "f16" not in name


def _holds_luma(name: str) -> bool:
    return name in _PACKED or _has_luma_plane(name)


def _matrix_of_rgb(frame: VideoFrame) -> Matrix:
    """The matrix by which a frame without luma is given some."""
    return "bt709" if frame.height >= 720 else "bt601"


def _as_yuv(frame: VideoFrame) -> VideoFrame:
    """A frame that has no Y plane, as R, G, B or a palette, with one."""
    matrix = _matrix_of_rgb(frame)
    deep = frame.format.components[0].bits > 8
    made = frame.reformat(
        format="yuv444p16le" if deep else "yuv444p", dst_colorspace=f"ITU{matrix[2:]}", dst_color_range="MPEG"
    )
    made.colorspace, made.color_range = _TAGS[matrix], _LIMITED_RANGE
    return made


def _rows(frame: VideoFrame, dtype: np.dtype[Any], samples: int = 1, *, number: int = 0) -> Plane:
    """A plane's memory as rows: (H, at least W * samples)."""
    plane = frame.planes[number]
    rows: Plane = np.frombuffer(plane, dtype)[: plane.height * plane.line_size // dtype.itemsize].reshape(plane.height, -1)
    return rows[:, : plane.width * samples] if samples > 1 else rows


def _check_encoder(name: str, width: int, height: int, bits: int, holds: set[str]) -> None:
    av = ffmpeg()
    try:
        codec = av.Codec(name, "w")
    except ValueError as error:
        raise SourceError(
            f"FFmpeg has no encoder {name!r} here; there are, among others: {', '.join(_QUALITY)}, ffv1"
        ) from error
    if codec.type != "video":
        raise SourceError(f"{name!r} is no encoder for video")
    if codec.canonical_name not in holds:
        raise SourceError(f"{codec.canonical_name} is not written into such a file here; use another, or write to a .mkv")
    formats = {format_.name for format_ in codec.video_formats or ()}
    if planar_format(bits) not in formats:
        raise SourceError(f"the encoder {name} does not take 4:2:0 of {bits} bits; use 'ffv1' or, up to 12 bits, 'libx265'")
    if codec.canonical_name in ("h264", "hevc", "mpeg4") and (width % 2 or height % 2):
        raise SourceError(
            f"{codec.canonical_name} holds even sizes only, this is {width} by {height}; use codec='libvpx-vp9' or 'ffv1'"
        )


@cache
def _opens(name: str, width: int, height: int, bits: int) -> bool:
    """Whether an encoder really starts, which one of hardware shows only then."""
    av = ffmpeg()
    try:
        context = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = width, height, planar_format(bits)
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.open()
    except (av.error.FFmpegError, ValueError, RuntimeError):
        return False
    return True


def _hardware_encoder(width: int, height: int, bits: int, holds: set[str]) -> str:
    for name in HARDWARE_ENCODERS:
        try:
            _check_encoder(name, width, height, bits, holds)
        except SourceError:
            continue
        if _opens(name, width, height, bits):
            return name
    raise SourceError(f"no hardware encoder starts on this machine (tried {', '.join(HARDWARE_ENCODERS)}); use codec='auto'")
