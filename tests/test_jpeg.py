"""What of a JPEG's metadata libvips does not carry over, and what must not be carried over as it was."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pyvips
from fakes import PHOTOS, fake_colorizer

from edgecolor import ImageError, _jpeg
from edgecolor._tiff import Tag, exif_block, exif_tags, read_directories

DIGEST = b"0123456789ABCDEF0123456789ABCDEF"
MAIN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="' + DIGEST + b'"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
MORE = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:crs="urn:more"><crs:Mask>' + b"x" * 90_000 + b"</crs:Mask></rdf:Description>"
    b"</rdf:RDF></x:xmpmeta>"
)


def _more_segments(packet: bytes) -> list[_jpeg.Segment]:
    head = b"http://ns.adobe.com/xmp/extension/\0" + DIGEST
    places = range(0, len(packet), 65_000)
    return [(0xE1, head + struct.pack(">II", len(packet), place) + packet[place : place + 65_000]) for place in places]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A grey JPEG with a comment, long XMP, a grey thumbnail, and EXIF that calls it sRGB."""
    grey = _opened(PHOTOS / "coffee.jpg").colourspace("b-w")
    thumbnail = grey.thumbnail_image(160).jpegsave_buffer()
    color_space = Tag(4, b"", below={40961: Tag(3, b"\1\0"), 36864: Tag(7, b"0230")})
    image = grey.copy()
    for name, data in (
        ("exif-data", exif_block({315: Tag(2, b"Nadar\0"), 34665: color_space})),
        ("jpeg-thumbnail-data", thumbnail),
        ("xmp-data", MAIN),
    ):
        image.set_type(pyvips.GValue.blob_type, name, data)
    path = tmp_path / "scan.jpg"
    image.jpegsave(str(path))
    _jpeg.add_segments(path, [*_more_segments(MORE), (0xFE, b"by hand \xe9")])
    return path


def _opened(path: Path) -> Any:
    return pyvips.Image.new_from_file(str(path))


def _mpf(path: Path, kinds: list[int], order: str) -> None:
    """Say that a JPEG holds further pictures."""
    values = b"".join(struct.pack(f"{order}IIIHH", kind, 0, 0, 0, 0) for kind in kinds)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    lines = struct.pack(f"{order}HHII", 0xB001, 4, 1, len(kinds)) + struct.pack(f"{order}HHII", 0xB002, 7, len(values), 8 + 30)
    body = b"MPF\0" + head + struct.pack(f"{order}H", 2) + lines + bytes(4) + values
    _jpeg.add_segments(path, [(0xE2, body)])


@pytest.mark.parametrize("order", ["<", ">"])
def test_views_that_would_be_lost_are_named_and_previews_are_not(scan: Path, tmp_path: Path, order: str) -> None:
    _mpf(scan, [0x20030000, 0x010001, 0], order)  # a picture, its preview, and a map of no stated kind
    fake_colorizer().image(scan, tmp_path / "colour.jpg")
    other = tmp_path / "pair.jpg"
    _opened(PHOTOS / "coffee.jpg").jpegsave(str(other))
    _mpf(other, [0x20020002, 0x020002], order)
    with pytest.raises(ImageError, match=r"pair\.jpg holds 2 views"):
        fake_colorizer().image(other, tmp_path / "b.jpg")


def test_bytes_that_fill_up_before_a_marker_hide_nothing(scan: Path, tmp_path: Path) -> None:
    content = scan.read_bytes()
    place = content.index(b"\xff\xfe")
    scan.write_bytes(content[:place] + b"\xff\xff" + content[place:])
    fake_colorizer().image(scan, tmp_path / "colour.jpg")
    assert (0xFE, b"by hand \xe9") in _jpeg.segments(tmp_path / "colour.jpg")


def _color_space(path: Path) -> list[int]:
    exif = exif_tags(bytes(_opened(path).get("exif-data")))[34665].below
    assert exif is not None
    return exif[40961].numbers


def test_comment_and_long_xmp_stay_with_a_jpeg(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "colour.jpg"
    fake_colorizer().image(scan, target)
    assert _jpeg.more_xmp(target) == MORE
    assert (0xFE, b"by hand \xe9") in _jpeg.segments(target)
    assert DIGEST in bytes(_opened(target).get("xmp-data"))
    assert _opened(target).bands == 3
    assert (_opened(target).width, _opened(target).height) == (_opened(scan).width, _opened(scan).height)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colour.jpg", "scan.jpg"]


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_long_xmp_is_joined_where_there_is_room(ending: str, scan: Path, tmp_path: Path) -> None:
    target = tmp_path / f"colour{ending}"
    fake_colorizer().image(scan, target)
    packet = bytes(_opened(target).get("xmp-data"))
    assert b"x" * 90_000 in packet
    assert b"HasExtendedXMP" not in packet
    assert b"estimates" in packet
    assert packet.count(b"</rdf:RDF>") == 1


def test_xmp_that_cannot_be_joined_stays_as_it_is() -> None:
    foreign = MORE.replace(b"<rdf:RDF ", b'<rdf:RDF xmlns:own="urn:own" ')
    for more in (b"", b"nonsense", MORE[:-20], foreign):
        assert _jpeg.joined_xmp(MAIN, more) == MAIN
    assert _jpeg.joined_xmp(b"nonsense", MORE) == b"nonsense"


def test_long_xmp_with_a_part_missing_is_none(scan: Path, tmp_path: Path) -> None:
    whole = scan.read_bytes()
    (tmp_path / "short.jpg").write_bytes(whole.replace(_more_segments(MORE)[1][1], b"\0" * len(_more_segments(MORE)[1][1])))
    assert _jpeg.more_xmp(tmp_path / "short.jpg") == b""
    for length in (0, 1, 5, 300):
        (tmp_path / "cut.jpg").write_bytes(whole[:length])
        assert _jpeg.more_xmp(tmp_path / "cut.jpg") == b""


@pytest.mark.parametrize("length", [0, 1, 60_000])
def test_a_segment_of_impossible_length_ends_them(length: int, tmp_path: Path) -> None:
    (tmp_path / "odd.jpg").write_bytes(b"\xff\xd8\xff\xfe\0\4hi\xff\xfe" + length.to_bytes(2, "big") + b"x" * 50)
    assert _jpeg.segments(tmp_path / "odd.jpg") == [(0xFE, b"hi")]


def test_long_xmp_without_its_beginning_is_kept(tmp_path: Path) -> None:
    _opened(PHOTOS / "coffee.jpg").colourspace("b-w").jpegsave(str(tmp_path / "scan.jpg"), keep="none")
    _jpeg.add_segments(tmp_path / "scan.jpg", _more_segments(MORE))
    fake_colorizer().image(tmp_path / "scan.jpg", tmp_path / "colour.png")
    assert b"x" * 90_000 in bytes(_opened(tmp_path / "colour.png").get("xmp-data"))


def test_a_thumbnail_that_is_none_stops_nothing(scan: Path, tmp_path: Path) -> None:
    image = _opened(scan).copy()
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", b"no JPEG")
    image.jpegsave(str(tmp_path / "odd.jpg"))
    fake_colorizer().image(tmp_path / "odd.jpg", tmp_path / "colour.jpg")
    assert _opened(tmp_path / "colour.jpg").bands == 3


@pytest.mark.parametrize("ending", [".jpg", ".webp"])
def test_the_thumbnail_is_coloured_too(ending: str, scan: Path, tmp_path: Path) -> None:
    target = tmp_path / f"colour{ending}"
    fake_colorizer().image(scan, target)
    data = [bytes(_opened(path).get("jpeg-thumbnail-data")) for path in (scan, target)]
    before, after = (pyvips.Image.new_from_buffer(thumbnail, "").numpy() for thumbnail in data)
    assert before.ndim == 2
    whole = cv2.resize(_opened(target).numpy(), before.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(after.astype(int) - whole).mean() < 6


def test_the_thumbnail_keeps_to_the_region_too(scan: Path, tmp_path: Path) -> None:
    image = _opened(scan)
    region = np.zeros((image.height, image.width), bool)
    region[:, : image.width // 2] = True
    fake_colorizer(40).image(scan, tmp_path / "colour.jpg", region=region)
    small = pyvips.Image.new_from_buffer(bytes(_opened(tmp_path / "colour.jpg").get("jpeg-thumbnail-data")), "").numpy()
    spread = np.ptp(small.astype(int), axis=-1)
    half = small.shape[1] // 2
    assert spread[:, half + 8 :].max() <= 4
    assert spread[:, : half - 8].mean() > 10


@pytest.mark.parametrize("beams", ["above and below", "beside"])
def test_a_thumbnail_between_beams_is_coloured_and_they_are_not(beams: str, scan: Path, tmp_path: Path) -> None:
    image = _opened(scan).copy()
    inner = image.thumbnail_image(120)
    width, height = (120, inner.height + 32) if beams == "above and below" else (120 + 40, inner.height)
    left, top = (width - 120) // 2, (height - inner.height) // 2
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", inner.embed(left, top, width, height).jpegsave_buffer())
    image.jpegsave(str(tmp_path / "beams.jpg"))
    fake_colorizer().image(tmp_path / "beams.jpg", tmp_path / "colour.jpg")
    whole = _opened(tmp_path / "colour.jpg")
    after = pyvips.Image.new_from_buffer(bytes(whole.get("jpeg-thumbnail-data")), "").numpy().astype(int)
    assert after.shape == (height, width, 3)
    expected = cv2.resize(whole.numpy(), (120, inner.height), interpolation=cv2.INTER_AREA)
    assert np.abs(after[top : top + inner.height, left : left + 120] - expected).mean() < 6
    beam = after[: top - 8] if beams == "above and below" else after[:, : left - 8]
    assert beam.max() <= 2


def test_a_thumbnail_of_a_part_stays_grey(scan: Path, tmp_path: Path) -> None:
    image = _opened(scan).copy()
    part = image.crop(0, 0, 90, 90).jpegsave_buffer()
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", part)
    image.jpegsave(str(tmp_path / "part.jpg"))
    fake_colorizer().image(tmp_path / "part.jpg", tmp_path / "colour.jpg")
    assert bytes(_opened(tmp_path / "colour.jpg").get("jpeg-thumbnail-data")) == part


@pytest.mark.parametrize(("profile", "said"), [("auto", 1), ("adobergb", 65535), ("prophoto", 65535)])
@pytest.mark.parametrize("ending", [".jpg", ".tif", ".png"])
def test_exif_says_what_the_codes_are(profile: str, said: int, ending: str, scan: Path, tmp_path: Path) -> None:
    target = tmp_path / f"colour{ending}"
    fake_colorizer().image(scan, target, profile=profile)
    if ending != ".tif":
        assert _color_space(target) == [said]
    else:
        with target.open("rb") as file:
            below = read_directories(file)[0][34665].below
        assert below is not None
        assert below[40961].numbers == [said]
