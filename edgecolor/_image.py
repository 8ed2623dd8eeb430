"""Image files of any size: a first pass surveys a page small, a second colours it strip by strip, and it is written as it goes.

Knows nothing of models: the colorizer hands it a function from the small survey to the chroma of the whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._chroma import SRGB, ChromaField, RgbSpace, ahead, colored_strip
from edgecolor._detail import Detail, finer_grids
from edgecolor._errors import ImageError
from edgecolor._files import whole_file
from edgecolor._formats import BIG_BYTES, Result, Saving, depth_of, format_of
from edgecolor._grid import grid_size, laid, upright
from edgecolor._hints import check_region
from edgecolor._icc import profile_for, rgb_profile, rgb_space
from edgecolor._luma import AreaMean, Luma, Plane
from edgecolor._metadata import THUMBNAIL
from edgecolor._source import Page, Source, Strip, open_source
from edgecolor._target import check_map, check_target, converted, writing
from edgecolor._tiff import add_page

if TYPE_CHECKING:
    from collections.abc import Iterator

Picture = npt.NDArray[Any]
Size = tuple[int, int]

_THUMBNAIL_STRETCH = 0.05
"""By which its sides may differ in proportion from the picture's."""

_BEAM = 40
"""Up to which its codes are a beam, which cameras lay above and below or beside what is of other proportions; JPEG blurs it."""

MAP_SIDE_MAX = 4096
"""Pixels of the longer side of a written map of confidence; beyond it there is nothing to see."""


@dataclass(frozen=True)
class Survey:
    """What the first pass sees of a page, upright."""

    size: Size
    """Height and width of the page in pixels."""
    lightness: Plane
    """(h, w) L* on the analysis grid."""
    at: npt.NDArray[np.float64]
    """(n,) L* of the page at the points of the order; NaN where one lies outside."""
    finer: dict[int, Plane] = field(default_factory=dict)
    """The same on grids so many times finer per side, as the order wants them and the page holds them."""


@dataclass(frozen=True)
class Decision:
    """The colours of a page, upright."""

    field: ChromaField
    """Of the whole page."""
    confidence: Plane
    """(h, w) in [0, 1], on any small grid."""


@dataclass(frozen=True)
class Order:
    """How a file is to be coloured and written."""

    area: int
    """Pixels of the grid that the decision wants, about."""
    saving: Saving = field(default_factory=Saving)
    """Depth, compression."""
    profile: str = "auto"
    """RGB profile to write in: a name, or a file."""
    note: str = ""
    """A truth to add to the descriptions."""
    confidence: Path | None = None
    """PNG to write the map of confidence to; with several pages, one each, numbered."""
    points: tuple[tuple[float, float], ...] = ()
    """x, y whose lightness the decision needs."""
    region: npt.NDArray[np.bool_] | None = None
    """(H, W). Outside it a page keeps its own values."""
    detail: Detail = 1
    """What finer grids to survey along."""
    progress: Callable[[float], None] = lambda _: None
    """Told the share that is done, up to 1."""


def color_file(
    source: str | os.PathLike[str], target: str | os.PathLike[str], decide: Callable[[Survey], Decision], order: Order
) -> tuple[str, ...]:
    """Colour one file into another, and remark on it; see ``Colorizer.image``."""
    source, target = Path(source), Path(target)
    check_target(source, target)
    if order.confidence is not None:
        check_map(source, target, order.confidence)
    file = open_source(source)
    count = len(file.pages)
    if count > 1 and not format_of(target).pages:
        raise ImageError(f"{source} has {count} pages, {target.suffix} holds one; write a .tif")
    maps = [numbered(order.confidence, number, count) for number in range(count)] if order.confidence else []
    for path in maps:
        check_map(source, target, path)
    big = file.big or sum(_bytes(page, target, order) for page in file.pages) > BIG_BYTES
    sure = []
    with whole_file(target) as first, _scrap(first) as further:
        for number, page in enumerate(file.pages):
            place = further if number else first
            done = replace(order, progress=partial(_report, order.progress, number, count))
            result = replace(_result(page, target, order), pyramid=_is_pyramid(file, page), big=big)
            decision = _color_page(page, decide, done, result, place)
            page.let_go()
            if number:
                add_page(first, further)
            if maps:
                sure.append(_levels(decision.confidence))
        for number, path in enumerate(maps):  # only now that no page can fail any more
            _write_map(sure[number], file.pages[number], path)
    return tuple(page.remark for page in file.pages if page.remark)


def _color_page(page: Page, decide: Callable[[Survey], Decision], order: Order, result: Result, place: Path) -> Decision:
    decision = decide(_survey(page, order))
    chroma = ChromaField(laid(decision.field.coefficients, page.orientation), page.size)
    region = _stored_region(page, order)
    space = _space(page, result, order)
    if region is not None and space is not SRGB and page.bands == 3:
        raise ImageError(f"a region keeps the colours of {page.name}, which takes sRGB to write in; leave out the profile")
    colorless = ChromaField(np.zeros_like(chroma.coefficients), page.size)

    def color(strip: Strip) -> Picture:
        rgb = colored_strip(strip.luma, chroma, result.dtype, space)
        if region is not None:
            if space is SRGB:
                own = converted(strip.luma.picture, result.dtype)
            else:  # the same greys in the codes of the profile
                own = colored_strip(strip.luma, colorless, result.dtype, space)
            outside = ~region[strip.luma.top : strip.stop, :, None]
            np.copyto(rgb, own if own.ndim == 3 else own[..., None], where=outside)
        if strip.alpha is None or result.bands == 3:
            return rgb
        return np.dstack([rgb, converted(strip.alpha, result.dtype)])

    rows = 0
    result = replace(result, thumbnail=_thumbnail(page, chroma, region))
    with writing(result, place) as write:
        for part in ahead(color, page.strips()):
            write(part)
            rows += len(part)
            order.progress(0.5 + 0.5 * rows / page.size[0])
    return decision


def _thumbnail(page: Page, chroma: ChromaField, region: npt.NDArray[np.bool_] | None) -> bytes:
    """The small JPEG in the EXIF block of a page, coloured like the page; nothing if there is none that shows all of it."""
    data = bytes(page.header.get(THUMBNAIL)) if page.header.get_typeof(THUMBNAIL) else b""
    if not data:
        return b""
    small = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if small is None:
        return b""
    shown = _within_beams(small.shape, page.size)
    beams = np.ones(small.shape, bool)
    beams[shown] = False
    if small[beams].max(initial=0) > _BEAM:
        return b""
    rgb = np.repeat(small[..., None], 3, axis=2)
    size = small[shown].shape
    rgb[shown] = colored_strip(Luma(small[shown]), replace(chroma, size=size), "uint8")
    if region is not None:
        own = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))[..., ::-1][shown]
        inside = cv2.resize(np.ascontiguousarray(region).view(np.uint8), size[::-1], interpolation=cv2.INTER_AREA)  # by half
        np.copyto(rgb[shown], own, where=inside[..., None] == 0)
    return cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def _within_beams(small: Size, whole: Size) -> tuple[slice, slice]:
    """Rows and columns of a thumbnail that show the picture, if all of it is shown: those in the middle."""
    stretch = small[1] * whole[0] / (small[0] * whole[1])
    if abs(stretch - 1) <= _THUMBNAIL_STRETCH:
        return slice(None), slice(None)
    height, width = (max(1, round(side * min(1, factor))) for side, factor in zip(small, (stretch, 1 / stretch), strict=True))
    top, left = (small[0] - height) // 2, (small[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)


def _report(progress: Callable[[float], None], number: int, count: int, share: float) -> None:
    progress((number + share) / count)


def _survey(page: Page, order: Order) -> Survey:
    """The first pass."""
    size = page.size if page.orientation < 5 else page.size[::-1]
    finer = finer_grids(order.detail, size, order.area)
    finest = max(finer, default=1)
    height, width = (finest * side for side in grid_size(*size, order.area))
    mean = AreaMean(page.size, (height, width) if page.orientation < 5 else (width, height), page.bands)
    spots = [_stored_point(point, size, page.orientation) for point in order.points]
    at = np.full(len(spots), np.nan)
    for strip in page.strips():
        mean.add(strip.luma.top, strip.luma.picture)
        for index, (x, y) in enumerate(spots):
            if strip.luma.top <= y < strip.stop and 0 <= x < page.size[1]:
                at[index] = strip.luma.at([(x, y - strip.luma.top)])[0]
        order.progress(0.5 * strip.stop / page.size[0])
    grids = {number: upright(mean.coarser(finest // number).lightness(page.tone), page.orientation) for number in (1, *finer)}
    return Survey(size, grids.pop(1), at, grids)


def _stored_point(point: tuple[float, float], size: Size, orientation: int) -> tuple[int, int]:
    """x, y in the file of the pixel that stands at a point of the upright page."""
    x, y = (int(np.floor(value)) if np.isfinite(value) else -1 for value in point)
    height, width = size
    if orientation in (3, 4, 7, 8):
        y = height - 1 - y
    if orientation in (2, 3, 6, 7):
        x = width - 1 - x
    return (x, y) if orientation < 5 else (y, x)


def _stored_region(page: Page, order: Order) -> npt.NDArray[np.bool_] | None:
    if order.region is None:
        return None
    size = page.size if page.orientation < 5 else page.size[::-1]
    return laid(check_region(order.region, size), page.orientation)


def _space(page: Page, result: Result, order: Order) -> RgbSpace:
    """sRGB's own D65 for a page without a grey profile, as for arrays; else what the profiles say, relative to D50."""
    if order.profile in ("auto", "srgb") and page.tone is None:
        return SRGB
    return rgb_space(result.profile)


def _result(page: Page, target: Path, order: Order) -> Result:
    dtype = depth_of(target, page.dtype, order.saving)
    return Result(
        target=target,
        size=page.size,
        dtype=dtype,
        bands=4 if page.has_alpha and format_of(target).alpha else 3,
        profile=profile_for(page.grey_profile, page.tone, dtype) if order.profile == "auto" else rgb_profile(order.profile),
        note=order.note,
        like=page,
        saving=order.saving,
    )


def _bytes(page: Page, target: Path, order: Order) -> float:
    """Of the result without compression, and with a pyramid."""
    result = _result(page, target, order)
    return result.size[0] * result.size[1] * result.bands * np.dtype(result.dtype).itemsize * 4 / 3


def _is_pyramid(file: Source, page: Page) -> bool:
    """Whether smaller versions of a page are stored, one half as wide; a thumbnail beside or below it makes no pyramid."""
    below = (page.tags or {}).get(330)
    if below is not None:
        smaller = [below.below or {}]
    else:
        smaller = [tags for tags in file.directories if all(tags is not one.tags for one in file.pages)]
    widths = [tags[256].numbers[0] for tags in smaller if 256 in tags and tags[256].numbers]
    return any(abs(2 * width - page.size[1]) <= 2 for width in widths)


def numbered(path: Path, number: int, count: int) -> Path:
    """Where the map of confidence of a page goes, counted from 0, of so many."""
    return path if count == 1 else path.with_name(f"{path.stem}-{number + 1}{path.suffix}")


def _levels(confidence: Plane) -> npt.NDArray[np.uint8]:
    """Confidence as grey: 0 is none, white is certain."""
    return np.rint(np.clip(confidence, 0, 1) * 255).astype(np.uint8)


def _write_map(levels: npt.NDArray[np.uint8], page: Page, path: Path) -> None:
    """The map of a page, upright."""
    size = page.size if page.orientation < 5 else page.size[::-1]
    scale = min(1.0, MAP_SIDE_MAX / max(size))
    height, width = (max(1, round(side * scale)) for side in size)
    large = cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR)
    with whole_file(path) as place, writing(Result(path, (height, width), "uint8", 1, b""), place) as write:
        write(large)


@contextmanager
def _scrap(beside: Path) -> Iterator[Path]:
    """A path beside another that is gone afterwards."""
    path = beside.with_name(beside.name.replace(".partial", ".page"))
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()
