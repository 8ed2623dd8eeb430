from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Sound, frames_of, moving_scene, plane_of, sound_of, times_of, write_film
from fakes import REPOSITORY, ended, fake_colorizer, heard, run_python, scene

import edgecolor
from edgecolor import ImageError, SourceError
from edgecolor._ffv1 import Ffv1Parity
from edgecolor._tracks import lasting
from edgecolor._video import Progress, _check_size, _display_matrix

VFR = [0, 40, 90, 91, 400, 440, 1000, 1001]


def _same_luma(source: Path, target: Path) -> bool:
    """Whether two films have the same Y planes, frame by frame."""
    pairs = zip(frames_of(source), frames_of(target), strict=True)
    return all(np.array_equal(plane_of(a), plane_of(b)) for a, b in pairs)


# The Y plane is the film


@pytest.mark.parametrize(
    ("pixels", "dtype"),
    [("yuv420p", "uint8"), ("yuv422p", "uint8"), ("yuv444p", "uint8"), ("gray", "uint8"), ("yuv420p10le", "uint16")],
)
def test_the_y_plane_reaches_the_encoder_byte_for_byte(tmp_path: Path, pixels: str, dtype: str) -> None:
    frames = [frame.astype(dtype) << (2 if dtype == "uint16" else 0) for frame in moving_scene(4)]
    frames = [frame | (3 if dtype == "uint16" else 0) for frame in frames]
    source = write_film(tmp_path / "in.mkv", frames, pixels=pixels)
    fake_colorizer().video(source, tmp_path / "out.mkv", codec="ffv1")
    assert _same_luma(source, tmp_path / "out.mkv")
    frame = frames_of(tmp_path / "out.mkv")[0]
    assert frame.format.name == ("yuv420p10le" if dtype == "uint16" else "yuv420p")
    assert np.array_equal(plane_of(frame), frames[0])


@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize(("colorspace", "matrix"), [(1, "bt709"), (6, "bt601"), (2, "bt601")])
@pytest.mark.parametrize("color_range", [1, 2])
def test_chroma_follows_the_film_s_own_flags(tmp_path: Path, bits: int, colorspace: int, matrix: Any, color_range: int) -> None:
    y = scene(48, 64).astype("uint8" if bits == 8 else "uint16") << (bits - 8)
    tags = {"colorspace": colorspace, "color_range": color_range, "color_primaries": 1, "color_trc": 1}
    pixels = "yuv420p" if bits == 8 else "yuv420p10le"
    source = write_film(tmp_path / "in.mkv", [y], pixels=pixels, tags=tags)
    colorizer = fake_colorizer()
    colorizer.video(source, tmp_path / "out.mkv", codec="ffv1")
    (frame,) = frames_of(tmp_path / "out.mkv")
    planes = colorizer.chroma_planes(y, matrix=matrix, full_range=color_range == 2, bits=bits)
    for number, plane in enumerate(planes, start=1):
        assert np.array_equal(plane_of(frame, number), plane)
        assert np.ptp(plane) > 10 << (bits - 8)
    assert {name: int(getattr(frame, name)) for name in tags} == tags


def test_packed_frames_keep_their_luma(tmp_path: Path) -> None:
    frames = moving_scene(2)
    with av.open(str(tmp_path / "in.avi"), "w") as out:
        video: Any = out.add_stream("rawvideo", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuyv422"
        for number, y in enumerate(frames):
            frame = av.VideoFrame(64, 48, "yuyv422")
            pixels = np.full((48, 64, 2), 128, np.uint8)
            pixels[..., 0] = y
            frame.planes[0].update(pixels.tobytes())
            frame.pts = number
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    fake_colorizer().video(tmp_path / "in.avi", tmp_path / "out.mkv", codec="ffv1")
    for frame, y in zip(frames_of(tmp_path / "out.mkv"), frames, strict=True):
        assert np.array_equal(plane_of(frame), y)


def test_a_film_in_rgb_is_coloured_too(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        video: Any = out.add_stream("ffv1", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "bgr0"
        out.mux(video.encode(av.VideoFrame.from_ndarray(np.repeat(scene(48, 64)[..., None], 3, 2)).reformat(format="bgr0")))
        out.mux(video.encode(None))
    fake_colorizer().video(tmp_path / "in.mkv", tmp_path / "out.mkv", codec="ffv1")
    (frame,) = frames_of(tmp_path / "out.mkv")
    assert np.abs(plane_of(frame) - (16 + scene(48, 64) * (219 / 255))).max() <= 1.5
    assert np.ptp(plane_of(frame, 1)) > 10
    assert (int(frame.color_range), int(frame.colorspace)) == (1, 6)  # as it was made, not as what was read


def test_a_grey_film_needs_no_matrix(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mov", moving_scene(3), codec="png", pixels="gray")
    fake_colorizer().video(source, tmp_path / "out.mkv", codec="ffv1")
    assert _same_luma(source, tmp_path / "out.mkv")
    assert int(frames_of(tmp_path / "out.mkv")[0].colorspace) == 2


# Everything else is carried over


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_sound_times_and_chapters_are_carried(tmp_path: Path, container: str) -> None:
    source = write_film(
        tmp_path / f"in.{container}",
        moving_scene(len(VFR)),
        codec="libx264",
        times=VFR,
        sound=Sound(),
        rotation=90,
        chapters=[(0, 400, "one"), (400, 1000, "two")],
    )
    target = tmp_path / f"out.{container}"
    fake_colorizer().video(source, target)
    assert times_of(target) == times_of(source) == [time / 1000 for time in VFR]
    assert np.array_equal(sound_of(target), sound_of(source))
    with av.open(str(source)) as old, av.open(str(target)) as new:
        assert [chapter["metadata"]["title"] for chapter in new.chapters()] == ["one", "two"]
        assert [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in new.chapters()] == [
            (c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in old.chapters()
        ]
        assert abs(new.duration - old.duration) <= 40_000
        assert new.streams.audio[0].language == "deu"
        (title,) = {text for name, text in new.metadata.items() if name.lower() == "title"}
        (comment,) = {text for name, text in new.metadata.items() if name.lower() == "comment"}
        assert title == "A film"
        assert "estimates" in comment
    assert {frame.rotation for frame in frames_of(target)} == {90}


def test_subtitles_and_attachments_are_carried(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mkv", moving_scene(10))
    (tmp_path / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nHello\n")
    source = tmp_path / "in.mkv"
    with av.open(str(film)) as pictures, av.open(str(tmp_path / "words.srt")) as words, av.open(str(source), "w") as out:
        copies = {id(stream): out.add_stream_from_template(stream) for stream in (pictures.streams[0], words.streams[0])}
        out.add_attachment("font.ttf", "application/x-truetype-font", b"not really a font")
        for container in (pictures, words):
            for packet in container.demux():
                if packet.dts is not None:
                    packet.stream = copies[id(packet.stream)]
                    out.mux(packet)
    fake_colorizer().video(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as out:
        assert [bytes(packet) for packet in out.demux(subtitles=0) if packet.size] == [b"Hello"]
        (attachment,) = out.streams.attachments
        assert (attachment.name, attachment.data) == ("font.ttf", b"not really a font")
    with pytest.raises(SourceError, match=r"out.mp4 cannot hold the subtitle track 1 \(subrip\)"):
        fake_colorizer().video(source, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_a_cover_is_not_the_film(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", moving_scene(4), codec="libx264")
    with av.open(str(film)) as pictures, av.open(str(tmp_path / "in.mp4"), "w") as out:
        cover: Any = out.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        copy = out.add_stream_from_template(pictures.streams[0])
        out.mux([*cover.encode(av.VideoFrame(32, 32, "yuvj420p")), *cover.encode(None)])
        for packet in pictures.demux():
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    fake_colorizer().video(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as out:
        kinds = {(stream.width, bool(stream.disposition & av.stream.Disposition.attached_pic)) for stream in out.streams.video}
    assert kinds == {(64, False), (32, True)}
    fake_colorizer().video(tmp_path / "in.mp4", tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as out, av.open(str(tmp_path / "in.mp4")) as read:
        (cover,) = (stream for stream in out.streams.video if stream.disposition & av.stream.Disposition.attached_pic)
        assert cover.metadata["filename"] == "cover.jpg"
        number = next(stream.index for stream in read.streams.video if stream.width == 32)
        assert bytes(next(out.demux(cover))) == bytes(next(read.demux(read.streams[number])))


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_comment_is_kept(tmp_path: Path, container: str) -> None:
    source = tmp_path / f"in.{container}"
    with av.open(str(source), "w") as out:
        out.metadata["comment"] = "mine"
        video: Any = out.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        out.mux([*video.encode(av.VideoFrame(64, 48, "yuv420p")), *video.encode(None)])
    fake_colorizer().video(source, tmp_path / f"out.{container}")
    with av.open(str(tmp_path / f"out.{container}")) as out:
        said = [text for name, text in out.metadata.items() if name.lower() == "comment"]
    assert said == ["mine; coloured by edgecolor; colours are estimates"]


@pytest.mark.parametrize(("target", "codec"), [("out.mp4", "auto"), ("out.mkv", "libx264"), ("out.mp4", "libvpx-vp9")])
def test_pixels_keep_their_shape(tmp_path: Path, target: str, codec: str) -> None:
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(16, 11)
        out.mux([*video.encode(av.VideoFrame(64, 48, "yuv420p")), *video.encode(None)])
    fake_colorizer().video(source, tmp_path / target, codec=codec)
    with av.open(str(tmp_path / target)) as out:
        assert out.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
    for name in ("lose.mkv", "lose.avi"):
        with pytest.raises(SourceError, match=f"{name} would lose the shape of the pixels, 16:11, in ffv1"):
            fake_colorizer().video(source, tmp_path / name, codec="ffv1")


def test_a_turned_film_is_not_laid_on_its_side(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mp4", moving_scene(3), codec="libx264", rotation=90)
    with pytest.raises(SourceError, match=r"out.avi cannot say that the film is turned"):
        fake_colorizer().video(source, tmp_path / "out.avi")
    assert not (tmp_path / "out.avi").exists()


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_film_is_turned_as_it_was_whatever_else_its_frames_say(tmp_path: Path, degrees: int) -> None:
    frame: Any = frames_of(write_film(tmp_path / "in.mp4", moving_scene(3), codec="libx264", rotation=degrees))[0]

    class Unreadable:
        rotation = frame.rotation

        @property
        def side_data(self) -> Any:
            raise ValueError("31 is not a valid Type")

    unreadable: Any = Unreadable()
    assert _display_matrix(frame)
    assert _display_matrix(unreadable) == _display_matrix(frame)


@pytest.mark.parametrize("name", ["T12:30.mp4", "http:x.mp4", "100%d.mp4", "-y.mp4"])
def test_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_film(tmp_path / "in.mp4", moving_scene(3), codec="libx264").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    fake_colorizer().video(name, f"out-{name}")
    assert len(frames_of(tmp_path / f"out-{name}")) == 3


def test_frames_of_an_avi_are_shown_in_order(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.avi", moving_scene(12), codec="libx264", times=None)
    fake_colorizer().video(source, tmp_path / "out.mp4")
    assert np.allclose(np.diff(times_of(tmp_path / "out.mp4")), 0.04)
    fake_colorizer().video(tmp_path / "out.mp4", tmp_path / "back.avi")
    fake_colorizer().video(tmp_path / "back.avi", tmp_path / "again.mp4")
    assert np.allclose(times_of(tmp_path / "again.mp4"), times_of(tmp_path / "out.mp4"), atol=0.002)


def test_joined_recordings_are_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "one.mpg"), "w") as out:
        video: Any = out.add_stream("mpeg2video", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        for _ in range(25):
            out.mux(video.encode(av.VideoFrame(64, 48, "yuv420p")))
        out.mux(video.encode(None))
    (tmp_path / "two.mpg").write_bytes(2 * (tmp_path / "one.mpg").read_bytes())
    fake_colorizer().video(tmp_path / "one.mpg", tmp_path / "out.mkv")
    with pytest.raises(SourceError, match=r"two.mpg go back from 1\.\d\d s to 0\.\d\d s, as where recordings were joined"):
        fake_colorizer().video(tmp_path / "two.mpg", tmp_path / "two.mkv")


@pytest.mark.parametrize("size", [(1, 1), (479, 853), (2, 2), (31, 400)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2, *size))
    fake_colorizer().video(source, tmp_path / "out.mkv", codec="ffv1")
    assert _same_luma(source, tmp_path / "out.mkv")
    fake_colorizer().video(source, tmp_path / "out.mp4")
    assert (frames_of(tmp_path / "out.mp4")[1].height, frames_of(tmp_path / "out.mp4")[1].width) == size


def test_the_preview_is_ten_seconds_of_grey_beside_colour(tmp_path: Path) -> None:
    source = write_film(
        tmp_path / "in.mkv", moving_scene(60), times=[250 * number for number in range(60)], sound=Sound(), options={}
    )
    fake_colorizer().video(source, tmp_path / "out.mkv", codec="ffv1", preview=True)
    times, frames = times_of(tmp_path / "out.mkv"), frames_of(tmp_path / "out.mkv")
    assert 9 < times[-1] - times[0] <= 10
    assert times[0] == 0
    originals = dict(zip(times_of(source), frames_of(source), strict=True))
    for frame in frames[::7]:
        left, right = np.hsplit(plane_of(frame), 2)
        assert np.array_equal(left, right)
        assert np.array_equal(left, plane_of(originals[float(frame.pts * frame.time_base) + 2.5]))
        grey, coloured = np.hsplit(plane_of(frame, 1), 2)
        assert (grey == 128).all()
        assert np.ptp(coloured) > 10


def test_progress_says_rate_and_time_left(tmp_path: Path) -> None:
    seen: list[Progress] = []
    fake_colorizer().video(write_film(tmp_path / "in.mkv", moving_scene(12)), tmp_path / "out.mkv", progress=seen.append)
    assert [progress.frames for progress in seen] == list(range(1, 13))
    assert {progress.total for progress in seen} == {12}
    assert Progress(20, 100, 10.0).rate == 2
    assert Progress(20, 100, 10.0).seconds_left == 40
    assert Progress(20, None, 10.0).seconds_left is None


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.m4v"])
def test_an_mp4_begins_with_its_index(tmp_path: Path, name: str) -> None:
    """So that it plays while it is loaded."""
    fake_colorizer().video(write_film(tmp_path / "in.mkv", moving_scene(3)), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_what_is_said_of_the_pictures_stays_and_what_is_said_of_the_file_goes(tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as out:
        video: Any = out.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        video.metadata.update({"language": "deu", "title": "reel 1", "BPS": "7", "_STATISTICS_TAGS": "BPS"})
        out.mux([*video.encode(av.VideoFrame(64, 48, "yuv420p")), *video.encode(None)])
    fake_colorizer().video(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as out:
        tags = {name.upper(): text for name, text in out.streams.video[0].metadata.items()}
    assert (tags["LANGUAGE"], tags["TITLE"]) == ("deu", "reel 1")
    assert {"BPS", "_STATISTICS_TAGS"}.isdisjoint(tags)
    stale = ("encoder", "DURATION", "DURATION-eng", "BPS-eng", "NUMBER_OF_FRAMES", "_STATISTICS_WRITING_APP", "major_brand")
    assert lasting({**dict.fromkeys(stale, "1"), "date": "1931"}) == {"date": "1931"}


def test_sound_that_an_edit_list_cuts_away_stays_away(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mp4", moving_scene(25), codec="libx264", sound=Sound())
    fake_colorizer().video(source, tmp_path / "out.mkv")
    with av.open(str(source)) as read, av.open(str(tmp_path / "out.mkv")) as written:
        cut = [packet.is_discard for packet in read.demux(audio=0) if packet.size]
        assert True in cut, "the beginning, which AAC needs to start with"
        assert len([packet for packet in written.demux(audio=0) if packet.size]) == cut.count(False)


# Encoders


def test_the_encoder_can_be_chosen(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(5))
    sizes = []
    for crf in (10, 40):
        fake_colorizer().video(source, tmp_path / "out.mp4", codec="libx265", crf=crf)
        with av.open(str(tmp_path / "out.mp4")) as film:
            assert film.streams.video[0].codec_context.name == "hevc"
            sizes.append(film.size)
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize("source", [None, b"a.mp4", np.zeros((4, 4)), 3])
def test_what_is_no_name_of_a_file_is_named(tmp_path: Path, source: Any) -> None:
    for call in (fake_colorizer().video, fake_colorizer().image):
        with pytest.raises(SourceError, match=f"a str or Path, got {type(source).__name__}"):
            call(source, tmp_path / "out.mp4")
        with pytest.raises(SourceError, match=f"a str or Path, got {type(source).__name__}"):
            call(tmp_path / "in.mp4", source)


@pytest.mark.parametrize("start", [0.3, 5.0])
@pytest.mark.parametrize("form", [".mkv", ".webm", ".mp4", ".mov", ".avi", ".ts"])
def test_a_film_that_begins_late_is_whole(tmp_path: Path, form: str, start: float) -> None:
    codec = "libvpx-vp9" if form == ".webm" else "libx264"
    times = [round(1000 * start) + 40 * number for number in range(12)]
    source = write_film(tmp_path / f"in{form}", moving_scene(12), codec=codec, times=times)
    fake_colorizer().video(source, tmp_path / "out.mkv")
    assert len(frames_of(tmp_path / "out.mkv")) == 12


@pytest.mark.parametrize(
    ("target", "codec", "crf", "words"),
    [
        ("out.mp4", "libx999", None, "no encoder 'libx999'"),
        ("out.mp4", "aac", None, "'aac' is no encoder for video"),
        ("out.webm", "libx264", None, "h264 is not written into such a file"),
        ("out.mkv", "ffv1", 20, "ffv1 takes no crf"),
        ("out.mp4", "libx264", None, "even sizes only, this is 63 by 47"),
        ("out.mkv", "mpeg4", None, "even sizes only"),
        ("out.mkv", "mpeg2video", None, "mpeg2video does not open for .* limited range .* 1/1000 s"),
        ("out.mkv", "mjpeg", None, "mjpeg does not open for .*; use codec='auto'"),
    ],
)
def test_encoders_that_cannot_are_named(tmp_path: Path, target: str, codec: str, crf: int | None, words: str) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2, 47, 63))
    with pytest.raises(SourceError, match=words):
        fake_colorizer().video(source, tmp_path / target, codec=codec, crf=crf)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_no_bit_is_lost_silently(tmp_path: Path) -> None:
    y = scene(48, 64).astype(np.uint16) << 4
    source = write_film(tmp_path / "in.mkv", [y], pixels="yuv420p12le")
    with pytest.raises(SourceError, match="libx264 does not take 4:2:0 of 12 bits"):
        fake_colorizer().video(source, tmp_path / "out.mkv", codec="libx264")
    fake_colorizer().video(source, tmp_path / "out.mkv")
    assert _same_luma(source, tmp_path / "out.mkv")


def test_hardware_is_used_or_named_as_missing(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2, 128, 256))
    try:
        fake_colorizer().video(source, tmp_path / "out.mp4", codec="hardware")
    except SourceError as error:
        assert "no hardware encoder starts on this machine" in str(error)
        assert not (tmp_path / "out.mp4").exists()
    else:
        assert len(frames_of(tmp_path / "out.mp4")) == 2


# What goes wrong


def _cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    return path


def _sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        audio: Any = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        frame.rate, frame.pts = 48000, 0
        out.mux([*audio.encode(frame), *audio.encode(None)])
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path, "No such file"),
        (lambda path: (path.write_bytes(b""), path)[1], "cannot read"),
        (lambda path: (path.write_text("no film" * 99), path)[1], "cannot read"),
        (lambda path: (path.mkdir(), path)[1], "cannot read"),
        (_sound_only, "has no video track; edgecolor colours films, it holds audio"),
        (lambda path: _cut(write_film(path, moving_scene(50), codec="libx264"), 0.5), "cut off|cannot read|damaged"),
    ],
    ids=["missing", "empty", "text", "folder", "sound", "truncated"],
)
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_bad_films_are_named_and_leave_nothing(tmp_path: Path, make: Any, words: str, container: str) -> None:
    source = make(tmp_path / f"in.{container}")
    (tmp_path / "out").mkdir()
    with pytest.raises(SourceError, match=words) as caught:
        fake_colorizer().video(source, tmp_path / "out" / "out.mkv")
    assert str(source) in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("name", "codec", "options", "words"),
    [
        ("in.avi", "mjpeg", {}, "is cut off: it states 2.0 s, but ends at 1.[0-9] s"),
        ("in.mkv", "mjpeg", {}, "is cut off: it states 2.0 s, but ends at 1.[0-9] s"),
        ("in.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}, "is cut off: it has [0-9,]+ bytes, and states"),
    ],
)
def test_a_cut_off_film_is_named(tmp_path: Path, name: str, codec: str, options: dict[str, str], words: str) -> None:
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = write_film(tmp_path / name, moving_scene(50), codec=codec, pixels=pixels, options=options)
    fake_colorizer().video(source, tmp_path / "out.mp4")
    with av.open(str(source)) as film:
        last = list(film.demux())[35].pos
    (tmp_path / f"cut-{name}").write_bytes(source.read_bytes()[:last])
    with pytest.raises(SourceError, match=words):
        fake_colorizer().video(tmp_path / f"cut-{name}", tmp_path / "cut.mp4")
    assert not (tmp_path / "cut.mp4").exists()


def test_a_codec_that_ffmpeg_does_not_know_is_named(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(5), codec="ffv1")
    content = source.read_bytes()
    assert content.count(b"V_FFV1") == 1
    source.write_bytes(content.replace(b"V_FFV1", b"V_FFX9"))
    with pytest.raises(SourceError, match=r"in\.mkv is a film in a codec that this FFmpeg does not know; convert it"):
        fake_colorizer().video(source, tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def _damaged(source: Path, number: int, damage: Callable[[bytearray], None]) -> Path:
    """The same film with one packet damaged where it lies."""
    with av.open(str(source)) as film:
        packet = bytearray(bytes(list(film.demux())[number]))
    content, whole = source.read_bytes(), bytes(packet)
    damage(packet)
    damaged = source.with_stem("damaged")
    damaged.write_bytes(content.replace(whole, bytes(packet)))
    return damaged


def _changed(place: float) -> Callable[[bytearray], None]:
    def change(packet: bytearray) -> None:
        packet[min(int(place * len(packet)), len(packet) - 1)] ^= 0x10

    return change


def _emptied(packet: bytearray) -> None:
    packet[:] = bytes(len(packet))


@pytest.mark.parametrize(
    "damage", [_changed(0.02), _changed(0.5), _changed(1), _emptied], ids=["front", "middle", "end", "all"]
)
@pytest.mark.parametrize("encoder", [{"slices": "1"}, {"slices": "4"}, {"slices": "24", "coder": "range_tab"}], ids=str)
def test_damage_of_ffv1_is_noticed_by_its_parity(
    tmp_path: Path, encoder: dict[str, str], damage: Callable[[bytearray], None]
) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(6, 144, 176), encoder={"level": "3", **encoder})
    fake_colorizer().video(source, tmp_path / "out.mkv")
    damaged = _damaged(source, 3, damage)
    with pytest.raises(SourceError, match=r"damaged.mkv at 0.12 s: a frame is damaged; repair it first"):
        fake_colorizer().video(damaged, tmp_path / "damaged-out.mkv")
    assert not (tmp_path / "damaged-out.mkv").exists()


@pytest.mark.parametrize(("slices", "place"), [("4", "0.00"), ("1", "0.04")])
def test_damage_of_the_first_frame_of_ffv1_is_noticed_by_the_first_slice_that_is_whole(
    tmp_path: Path, slices: str, place: str
) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(3, 144, 176), encoder={"level": "3", "slices": slices})
    with pytest.raises(SourceError, match=rf"at {place} s: a frame is damaged"):
        fake_colorizer().video(_damaged(source, 0, _changed(0.5)), tmp_path / "out.mkv")


@pytest.mark.parametrize("length", [4096, 4097, 3, 0])
def test_zeros_are_no_slices_of_ffv1(length: int) -> None:
    parity = Ffv1Parity()
    parity.broken(bytes(length))
    assert not parity._held


@pytest.mark.parametrize(
    "encoder",
    [{"level": "1"}, {"level": "3", "slicecrc": "0"}, {"level": "4", "strict": "experimental", "slicecrc": "2"}],
    ids=str,
)
def test_ffv1_without_a_parity_that_is_known_is_coloured(tmp_path: Path, encoder: dict[str, str]) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(3, 144, 176), encoder=encoder)
    parity = Ffv1Parity()
    with av.open(str(source)) as film:
        assert not any(parity.broken(bytes(packet)) for packet in film.demux() if packet.size)
    assert not parity._held
    fake_colorizer().video(source, tmp_path / "out.mkv")
    assert len(frames_of(tmp_path / "out.mkv")) == 3


@pytest.mark.parametrize("crf", [-7, 52, 18.5, "18"])
def test_a_quality_that_is_none_is_named(tmp_path: Path, crf: Any) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2))
    with pytest.raises(SourceError, match=r"crf must be a whole number from 0, the best, to 51 for libx264, got"):
        fake_colorizer().video(source, tmp_path / "out.mkv", crf=crf)


@pytest.mark.parametrize("ending", [".m3u8", ".mpd"])
def test_a_film_of_several_files_is_refused(tmp_path: Path, ending: str) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2))
    with pytest.raises(ImageError, match=f"a film of the ending '{ending}' is several files"):
        fake_colorizer().video(source, tmp_path / f"out{ending}")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_a_target_without_a_name_is_named(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2))
    for target in ("", ".", "/"):
        with pytest.raises(SourceError, match="it names no file"):
            fake_colorizer().video(source, target)


def test_a_film_that_changes_its_size_is_named(tmp_path: Path) -> None:
    parts = [write_film(tmp_path / f"{width}.h264", moving_scene(3, 48, width), codec="libx264") for width in (64, 80)]
    (tmp_path / "in.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(SourceError, match=r"changes from 64 by 48 yuv420p to 80 by 48 yuv420p at 0\.12 s"):
        fake_colorizer().video(tmp_path / "in.h264", tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2))
    before = source.read_bytes()
    (tmp_path / "link.mkv").symlink_to(source)
    for target in (source, tmp_path / "link.mkv"):
        with pytest.raises(ImageError, match="is the source itself"):
            fake_colorizer().video(source, target)
    assert source.read_bytes() == before


def test_an_unknown_ending_is_named(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2))
    with pytest.raises(ImageError, match=r"'\.xyz'"):
        fake_colorizer().video(source, tmp_path / "out.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2))
    with pytest.raises(SourceError, match="cannot write"):
        fake_colorizer().video(source, tmp_path / "none" / "out.mkv")


def test_an_unknown_matrix_is_named(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(2), tags={"colorspace": 9})
    with pytest.raises(SourceError, match="number 9"):
        fake_colorizer().video(source, tmp_path / "out.mkv")


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import edgecolor
colorizer = edgecolor.load()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    colorizer.video(sys.argv[1], sys.argv[2], codec="ffv1")
except edgecolor.SourceError as error:
    print(error)
"""


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(40, 96, 128))
    (tmp_path / "out").mkdir()
    done = run_python("-c", FULL_DISK, str(source), str(tmp_path / "out" / "film.mkv"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cannot write" in done.stdout
    assert "too large" in done.stdout
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_killed_run_leaves_no_file_that_looks_finished(tmp_path: Path, how: signal.Signals) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(400, 96, 128))
    (tmp_path / "out").mkdir()
    command = [
        sys.executable,
        "-m",
        "edgecolor",
        "video",
        str(source),
        "-o",
        str(tmp_path / "out" / "film.mkv"),
        "--codec",
        "ffv1",
    ]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with heard(how):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)  # noqa: S603
    with process, ended(process):
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in (tmp_path / "out").iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert "Traceback" not in err
    left = [path.name for path in (tmp_path / "out").iterdir()]
    assert left == [] if how != signal.SIGKILL else all(".partial" in name for name in left)


def test_films_are_deterministic(tmp_path: Path, colorizer: edgecolor.Colorizer) -> None:
    source = write_film(tmp_path / "in.mkv", moving_scene(6))
    films = [tmp_path / "a.mkv", tmp_path / "b.mkv"]
    for film in films:
        colorizer.video(source, film, codec="ffv1")
    for one, two in zip(*map(frames_of, films), strict=True):
        assert all(np.array_equal(plane_of(one, number), plane_of(two, number)) for number in range(3))


def test_a_film_cut_off_by_some_seconds_is_named_also_where_lengths_are_rounded(tmp_path: Path) -> None:
    source = write_film(tmp_path / "in.flv", moving_scene(100), codec="libx264", encoder={"bf": "0"})
    with av.open(str(source)) as film:
        last = list(film.demux())[50].pos
    (tmp_path / "cut.flv").write_bytes(source.read_bytes()[:last])
    with pytest.raises(SourceError, match=r"is cut off: it states 4\.0 s, but ends at [12]\.[0-9] s"):
        fake_colorizer().video(tmp_path / "cut.flv", tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def test_a_frame_of_which_a_broadcast_lost_a_part_is_named(tmp_path: Path) -> None:
    content = write_film(tmp_path / "in.ts", moving_scene(20, 288, 352), codec="libx264").read_bytes()
    packets = [content[place : place + 188] for place in range(0, len(content), 188)]
    pictures = [number for number, packet in enumerate(packets) if packet[1] & 0x5F == 0x01 and packet[2] == 0]
    del packets[pictures[len(pictures) // 2]]
    (tmp_path / "lost.ts").write_bytes(b"".join(packets))
    with pytest.raises(SourceError, match=r"lost\.ts at [0-9.]+ s: a frame is damaged"):
        fake_colorizer().video(tmp_path / "lost.ts", tmp_path / "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def test_a_film_that_changes_its_depth_is_named() -> None:
    first, second = (av.VideoFrame(64, 48, name) for name in ("yuv420p", "yuv420p10le"))
    with pytest.raises(SourceError, match=r"a\.ts changes from 64 by 48 yuv420p to 64 by 48 yuv420p10le"):
        _check_size(second, first, Path("a.ts"))
