"""BMP and PNM, the plain files of scanners, in; and what is said of formats that are not read."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import pyvips

from edgecolor import Colorizer, ImageError
from edgecolor._source import open_source, read_picture

Array = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


def _grey(rows: int = 21, columns: int = 34) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (rows, columns), np.uint8)


def _pnm(path: Path, kind: str, codes: Array, peak: int = 255, tail: bytes = b"") -> Path:
    """As ``scanimage`` and Netpbm write it."""
    rows, columns = codes.shape[:2]
    body = codes.astype(">u2" if peak > 255 else "u1").tobytes()
    path.write_bytes(f"{kind}\n# SANE data follows\n{columns} {rows}\n{peak}\n".encode() + body + tail)
    return path


def test_a_pgm_is_read_as_it_is(tmp_path: Path) -> None:
    grey = _grey()
    assert np.array_equal(read_picture(_pnm(tmp_path / "a.pgm", "P5", grey)), grey)


def test_sixteen_bits_of_a_pgm_stay(tmp_path: Path) -> None:
    grey = _grey().astype(np.uint16) * 257 - 3 * (_grey() > 9).astype(np.uint16)
    found = read_picture(_pnm(tmp_path / "a.pgm", "P5", grey, 65535))
    assert found.dtype == np.uint16
    assert np.array_equal(found, grey)


@pytest.mark.parametrize(("peak", "white"), [(100, 255), (1023, 65535), (4095, 65535)])
def test_white_is_where_the_header_says(tmp_path: Path, peak: int, white: int) -> None:
    codes = np.array([[0, peak // 2, peak]], np.uint16)
    found = read_picture(_pnm(tmp_path / "a.pgm", "P5", codes, peak))
    assert found.tolist() == [[0, round(peak // 2 * white / peak), white]]


def test_colors_of_a_ppm(tmp_path: Path) -> None:
    colors = np.random.default_rng(1).integers(0, 65536, (4, 7, 3), np.uint16)
    assert np.array_equal(read_picture(_pnm(tmp_path / "a.ppm", "P6", colors, 65535)), colors)


def test_bits_of_a_pbm(tmp_path: Path) -> None:
    bits = _grey(5, 13) > 128  # black
    path = tmp_path / "a.pbm"
    path.write_bytes(b"P4 13 5\n" + np.packbits(bits, axis=1).tobytes())
    assert np.array_equal(read_picture(path), np.where(bits, 0, 255))


@pytest.mark.parametrize("rows", [1, 600, 6000])  # a strip of it, several, and one that is not kept in memory
def test_a_pnm_of_many_strips(tmp_path: Path, rows: int) -> None:
    colors = np.random.default_rng(2).integers(0, 65536, (rows, 2000, 3), np.uint16)
    assert np.array_equal(read_picture(_pnm(tmp_path / "a.ppm", "P6", colors, 65535)), colors)


@pytest.mark.parametrize("name", ["[a=1].pgm", "two words.pgm", "%d.pgm", os.fsdecode(b"\xff\xfe.pgm")])
def test_any_name(tmp_path: Path, name: str) -> None:
    grey = _grey()
    assert np.array_equal(read_picture(_pnm(tmp_path / name, "P5", grey)), grey)


@pytest.mark.parametrize("channels", [1, 3])
def test_bmp(tmp_path: Path, channels: int) -> None:
    codes = np.dstack([_grey(), 255 - _grey(), _grey() // 2])[..., :channels].squeeze()
    cv2.imwrite(str(tmp_path / "a.bmp"), codes)
    assert np.array_equal(read_picture(tmp_path / "a.bmp"), codes[..., ::-1] if channels == 3 else codes)


@pytest.mark.parametrize("header", ["Windows", "OS/2"])
def test_a_bmp_of_bits(tmp_path: Path, header: str) -> None:
    bits = _grey(5, 13) > 128
    rows = b"".join(np.packbits(row).tobytes().ljust(4, b"\0") for row in bits[::-1])
    if header == "OS/2":
        head = struct.pack("<I4H", 12, 13, 5, 1, 1) + b"\0\0\0\xff\xff\xff"
    else:
        head = struct.pack("<I2i2H6I", 40, 13, 5, 1, 1, 0, 0, 0, 0, 2, 0) + b"\0\0\0\0\xff\xff\xff\0"
    place = 14 + len(head)
    (tmp_path / "a.bmp").write_bytes(b"BM" + struct.pack("<3I", place + len(rows), 0, place) + head + rows)
    found = read_picture(tmp_path / "a.bmp")
    assert np.array_equal(found if found.ndim == 2 else found[..., 0], 255 * bits)


def test_alpha_and_resolution_of_a_bmp(tmp_path: Path, colorizer: Colorizer) -> None:
    rgba = np.dstack([_grey(), _grey(), _grey(), 255 - _grey()])
    cv2.imwrite(str(tmp_path / "a.bmp"), rgba)
    held = bytearray((tmp_path / "a.bmp").read_bytes())
    held[38:46] = struct.pack("<2i", 11811, 11811)  # 300 to the inch
    (tmp_path / "a.bmp").write_bytes(held)
    assert open_source(tmp_path / "a.bmp").pages[0].has_alpha
    colorizer.image(tmp_path / "a.bmp", tmp_path / "a.png")
    written = pyvips.Image.new_from_file(str(tmp_path / "a.png"))
    assert np.array_equal(written[3].numpy(), rgba[..., 3])
    assert written.xres == pytest.approx(11.811, rel=1e-3)


def test_a_scan_in_pgm_is_colored_at_its_depth(tmp_path: Path, colorizer: Colorizer) -> None:
    photo = read_picture("tests/photos/cat.jpg")[..., 1].astype(np.uint16) * 257
    colorizer.image(_pnm(tmp_path / "a.pgm", "P5", photo, 65535), tmp_path / "a.tif")
    cv2.imwrite(str(tmp_path / "b.tif"), photo)
    colorizer.image(tmp_path / "b.tif", tmp_path / "c.tif")
    assert np.array_equal(read_picture(tmp_path / "a.tif"), read_picture(tmp_path / "c.tif"))


def _bmp(cut: int = 0) -> bytes:
    held = cv2.imencode(".bmp", _grey())[1].tobytes()
    return held[: len(held) - cut]


def _huge_bmp() -> bytes:
    held = bytearray(_bmp())
    held[18:26] = struct.pack("<2i", 60000, 60000)
    return bytes(held)


BAD = {
    "cut.pgm": (b"P5 40 40 255\n" + bytes(900), r"it ends at byte 913, its header says 1,613"),
    "head.pgm": (b"P5 40", "its header is cut off"),
    "none.pgm": (b"P5 0 40 255\n", "0 by 40 pixels"),
    "peak.pgm": (b"P5 1 1 0\n\0", "0 for white"),
    "two.pgm": (2 * b"P5 1 1 255\n\x07", "not supported: it holds several pictures"),
    "cut.bmp": (_bmp(99), "cut off"),
    "head.bmp": (_bmp()[:20], "cut off"),
    "huge.bmp": (_huge_bmp(), r"60000 by 60000 pixels, and it has [\d,]+ bytes"),
    "text.pgm": (b"P2 1 1 255\n7\n", "PNM as text; .* pamtopnm"),
    "a.pdf": (b"%PDF-1.4\n", "is PDF; take its pictures out"),
    "a.psd": (b"8BPS\0\1" + bytes(40), "Photoshop"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named(tmp_path: Path, name: str) -> None:
    held, said = BAD[name]
    (tmp_path / name).write_bytes(held)
    with pytest.raises(ImageError, match=said) as found:
        read_picture(tmp_path / name)
    assert name in str(found.value)


def test_jpeg_2000_is_no_damage(tmp_path: Path) -> None:
    if pyvips.type_find("VipsOperation", "jp2kload_source"):
        pytest.skip("this libvips reads JPEG 2000")
    cv2.imwrite(str(tmp_path / "a.jp2"), _grey())
    with pytest.raises(ImageError, match="is JPEG 2000, which this libvips was built without"):
        read_picture(tmp_path / "a.jp2")
