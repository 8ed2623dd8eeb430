"""What a file says of its picture, carried into the file of its colours in the way of its format, with a note on these."""

from __future__ import annotations

import struct
from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING

from edgecolor._files import reading
from edgecolor._formats import EXTRA_SAMPLES, JPEG, Result, format_of
from edgecolor._icc import rgb_profile
from edgecolor._jpeg import joined_xmp, more_xmp
from edgecolor._source import Page
from edgecolor._tiff import (
    Tags,
    block_of_old_texts,
    block_with_color_space,
    described,
    exif_block,
    exif_tags,
    noted_text,
    press_block,
    press_tags,
    with_color_space,
    with_text,
)
from edgecolor._vips import copy_field, fields, load_vips

if TYPE_CHECKING:
    import pyvips

_KEPT = (
    "exif",
    "xmp",
    "iptc",
    "photoshop",
    "resolution-unit",
    "orientation",
    "jpeg-comment",
)
"""Beginnings of the names of libvips's metadata that belong to the picture, not to its encoding."""

_ADDED_AS_TAGS = ("exif", "iptc", "photoshop")
"""Of these, what libvips does not write into TIFF, or not right."""

THUMBNAIL = "jpeg-thumbnail-data"
"""libvips's name for the small JPEG in an EXIF block."""

_DESCRIPTION = 270

RESOLUTION = frozenset({282, 283, 296})
"""Both resolutions and their unit. libvips knows no other units than its own, and invents what is not there."""

_UNSTATED = 1.0
"""Pixels a millimetre that libvips has of a file that states none, and would write as 25.4 an inch."""

_USUAL = 72 / 25.4
"""What stands for an unknown one. Source: Exif 2.32, XResolution."""

_SMALL_BYTES = 4096
"""Of a TIFF's tag that still goes into an EXIF block, which must not become longer than the next."""

_SEGMENT_BYTES = 65000
"""Of a JPEG's EXIF block."""

_JPEG_XMP_BYTES = 60000
"""Of a JPEG's XMP packet; libvips leaves out a longer one."""

_EMPTY_XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)

_SOURCE_TYPE = (
    b' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    b'"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"'
)


def dressed(image: pyvips.Image, result: Result) -> pyvips.Image:
    """The picture with everything that is to be known of it."""
    color = result.bands >= 3
    kinds = {"uint8": ("b-w", "srgb"), "uint16": ("grey16", "rgb16"), "float32": ("b-w", "scrgb")}
    image = image.copy(interpretation=kinds[result.dtype][color])
    for name in image.get_fields():
        if name.startswith((*_KEPT, "image-description")):
            image.remove(name)
    image = image.copy(xres=_USUAL, yres=_USUAL) if result.like is None else _informed(image, result.like, result)
    blob = load_vips().GValue.blob_type
    if result.profile:
        image.set_type(blob, "icc-profile-data", result.profile)
    packet = bytes(image.get("xmp-data")) if image.get_typeof("xmp-data") else _EMPTY_XMP
    if result.like and (more := _more_xmp(result.like)):
        if not packet.lstrip().startswith(b"<"):  # libvips takes a second packet for the first where there is no first
            packet = _EMPTY_XMP
        packet = packet if format_of(result.target) is JPEG else joined_xmp(packet, more)
        image.set_type(blob, "xmp-data", packet)
    if result.note:
        packet = noted_xmp(packet, result.note)
        if format_of(result.target) is JPEG and len(packet) > _JPEG_XMP_BYTES:
            packet = noted_xmp(_EMPTY_XMP, result.note)
        image.set_type(blob, "xmp-data", packet)
    if not format_of(result.target).turns and image.get_typeof("orientation"):
        image = image.copy_memory().autorot()
    return image


def _more_xmp(like: Page) -> bytes:
    with reading(like.name):
        return more_xmp(like.path)


def per_mm(header: pyvips.Image) -> tuple[float, float]:
    """Pixels a millimetre, across and down; of WebP and AVIF by their EXIF, which libvips (8.18) does not read."""
    if (header.xres, header.yres) != (_UNSTATED, _UNSTATED):
        return header.xres, header.yres
    millimetres = {"in": 25.4, "cm": 10.0}
    try:
        unit = millimetres[header.get("resolution-unit")]
        x, y = (float(Fraction(header.get(f"exif-ifd0-{axis}Resolution").split()[0])) / unit for axis in "XY")
    except (KeyError, ValueError, ZeroDivisionError, load_vips().Error):
        return _USUAL, _USUAL
    known = x > 0 and y > 0 and (x, y) != (_UNSTATED, _UNSTATED)  # which libvips writes into EXIF as well
    return (x, y) if known else (_USUAL, _USUAL)


def _informed(image: pyvips.Image, like: Page, result: Result) -> pyvips.Image:
    """With the metadata of a page, as the format takes it."""
    form = format_of(result.target)
    for name in fields(like.header):
        if name.startswith(_KEPT) and not (form.pages and name.startswith(_ADDED_AS_TAGS)):
            copy_field(like.header, image, name)
    block = b"" if form.pages else _exif(like, result)
    if 0 < len(block) <= _SEGMENT_BYTES:
        origin = _with_exif(block)
        for name in fields(origin):
            if name.startswith("exif"):
                copy_field(origin, image, name)
    if result.thumbnail and len(block) + len(result.thumbnail) <= _SEGMENT_BYTES:
        image.set_type(load_vips().GValue.blob_type, THUMBNAIL, result.thumbnail)
    if like.tags and form is JPEG and (press := press_block(like.tags)):
        image.set_type(load_vips().GValue.blob_type, "iptc-data", press)
    elif like.tags:
        image.remove("iptc-data")
    xres, yres = per_mm(like.header)
    return image.copy(xres=xres, yres=yres)  # last, for libvips (8.18) takes that of an EXIF block it is given


def _exif(like: Page, result: Result) -> bytes:
    """The EXIF block of a page, true of the result, with the note in its description.

    libvips leaves alone what it finds in a block.
    """
    note = result.note
    if like.tags:
        tags = described(like.tags)
        block = exif_block({number: tag for number, tag in tags.items() if tag.below or len(tag.data) <= _SMALL_BYTES})
    else:
        block = bytes(like.header.get("exif-data")) if like.header.get_typeof("exif-data") else exif_block({})
        tags = exif_tags(block)
    block = block_with_color_space(block, srgb=_is_srgb(result))
    block = with_text(block, _DESCRIPTION, noted_text(tags.get(_DESCRIPTION), note)) if note else block
    return block_of_old_texts(block)


def _is_srgb(result: Result) -> bool:
    return result.profile == rgb_profile("srgb")


def _with_exif(block: bytes) -> pyvips.Image:
    """A picture that has this EXIF block: libvips takes blocks apart where it reads them, and only there."""
    vips = load_vips()
    dot: bytes = vips.Image.black(1, 1).jpegsave_buffer()
    return vips.Image.new_from_buffer(dot[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + dot[2:], "")


def noted_xmp(packet: bytes, note: str) -> bytes:
    """An XMP packet with a note, and the IPTC's word for pictures that a trained network had a part in.

    A packet that is not made as the standard wants it stays as it is.
    """
    head, end, rest = packet.rpartition(b"</rdf:RDF>")
    if not end or note.encode() in packet:
        return packet
    kind = b"" if b"DigitalSourceType" in packet else _SOURCE_TYPE
    words = escape(note).encode()
    added = b'<rdf:Description rdf:about="" xmlns:edgecolor="urn:edgecolor:1.0/" edgecolor:Note="' + words + b'"' + kind + b"/>"
    return head + added + end + rest


def tags_of(result: Result) -> Tags:
    """What goes into a TIFF besides what libvips writes, or in place of it."""
    like = result.like
    if like is None:
        return {}
    tags: Tags = {}
    if like.tags:
        tags = described(like.tags) | {number: tag for number, tag in like.tags.items() if number in RESOLUTION}
        extra = like.tags.get(EXTRA_SAMPLES)
        if result.bands == 4 and extra and extra.count == 1:
            tags[EXTRA_SAMPLES] = extra
    if not like.tags and like.header.get_typeof("exif-data"):
        tags |= exif_tags(bytes(like.header.get("exif-data")))
    if not like.tags and like.header.get_typeof("iptc-data"):
        tags |= press_tags(bytes(like.header.get("iptc-data")))
    tags = with_color_space(tags, srgb=_is_srgb(result))
    return tags | {_DESCRIPTION: noted_text(tags.get(_DESCRIPTION), result.note)} if result.note else tags
