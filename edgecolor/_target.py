"""Picture files, written: strips in, a whole file out or none."""

from __future__ import annotations

import errno
import os
import queue
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecolor._errors import ImageError, SourceError
from edgecolor._files import check_free, reading, whole_file
from edgecolor._formats import JPEG, STRIP_PIXELS, Result, Saving, depth_of, format_of, saver_options
from edgecolor._icc import rgb_profile
from edgecolor._jpeg import add_segments, unwritten
from edgecolor._metadata import RESOLUTION, dressed, tags_of
from edgecolor._png import add_texts, texts_of_png
from edgecolor._tiff import (
    add_tags,
    header,
    strip_tags,
)
from edgecolor._vips import load_vips, reason

if TYPE_CHECKING:
    import pyvips

Picture = npt.NDArray[Any]

_VIPS_FORMATS = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}

_ALIGNED_BYTES = 16
"""Of the place in a file where the rows begin, as programs that map them like it."""

_FULL_BYTES = 64 << 10
"""Left on a disk that is as good as full: a block is written whole or not at all."""


def check_target(source: Path, target: Path) -> None:
    """Refuse a target of unknown format, and the source itself, also under another name.

    Raises:
        ImageError: Saying which.
        SourceError: The target's folder cannot be looked into.
    """
    format_of(target)
    try:
        same = target.samefile(source)
    except FileNotFoundError:  # a missing source is said when it is read
        return
    except OSError as error:
        raise SourceError(f"cannot write {target}: {error.strerror or error}") from error
    if same:
        raise ImageError(f"{target} is the source itself; give another name, the source is never overwritten")


def check_map(source: Path, target: Path, path: Path) -> None:
    """Refuse a place for the map of confidence where the source or the target is, also under another name.

    Raises:
        ImageError: Saying which, or that its format is unknown.
        SourceError: A folder or pipe has its name.
    """
    format_of(path)
    check_free(path)
    for words, taken in (("the source", source), ("the result", target)):
        if identity(path) == identity(taken):
            raise ImageError(f"the confidence cannot go to {path}, which is {words}, {taken}; give it another name")


def identity(path: Path) -> object:
    """The same for all names of one file, be it there or yet to be made."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino


def converted(alpha: Picture, dtype: str) -> Picture:
    """Opacity in another dtype."""
    if alpha.dtype == dtype:
        return alpha
    if alpha.dtype == np.float32:
        unit = np.nan_to_num(alpha, nan=0.0).clip(0, 1)  # or it would go round, 1.02 to 4 of 255
    else:
        unit = alpha / np.float32(np.iinfo(alpha.dtype).max)
    codes: Picture = unit.astype(np.float32) if dtype == "float32" else np.rint(unit * np.iinfo(dtype).max).astype(dtype)
    return codes


@contextmanager
def writing(result: Result, path: Path) -> Iterator[Callable[[Picture], None]]:
    """A function that takes the rows of a picture from top to bottom, (n, W, bands), while they are written to ``path``.

    Raises:
        ImageError: The format or this libvips cannot hold it.
        OSError: It cannot be written; a SourceError where libvips writes.
    """
    options = saver_options(result)
    is_plain = options.get("compression") == "none" and not options.keys() & {"tile", "premultiply"}
    try:
        with _plain_rows(result, path, options) if is_plain else _vips_rows(result, path, options) as write:
            yield write
    except load_vips().Error as error:
        full = shutil.disk_usage(path.parent).free < _FULL_BYTES  # which libvips does not say of all formats
        why = os.strerror(errno.ENOSPC) if full else reason(error)
        raise SourceError(f"cannot write {result.target}: {why}") from error
    if format_of(result.target).pages:
        add_tags(path, tags_of(result), RESOLUTION if result.like and result.like.tags else frozenset())
    elif result.like and result.target.suffix.lower() == ".png":
        with reading(result.like.name):
            texts = texts_of_png(result.like.path)
        add_texts(path, texts)
    elif result.like and format_of(result.target) is JPEG:
        with reading(result.like.name):
            segments = unwritten(result.like.path)
        add_segments(path, segments)


@contextmanager
def _vips_rows(result: Result, path: Path, options: dict[str, Any]) -> Iterator[Callable[[Picture], None]]:
    """While libvips writes them."""
    vips = load_vips()
    length = result.size[0] * result.size[1] * result.bands * np.dtype(result.dtype).itemsize
    feed = _Feed(header(result.size, result.bands, result.dtype, max(1, STRIP_PIXELS // result.size[1])), length)
    source = vips.SourceCustom()
    source.on_read(feed.read)
    source.on_seek(feed.seek)

    def save() -> None:
        image = vips.Image.new_from_source(source, "", access="sequential", fail_on="error")
        _save(image, result, path, options)

    with ThreadPoolExecutor(1, "edgecolor-write") as pool:
        saved = pool.submit(save)
        try:
            yield lambda strip: feed.put(strip, saved)
            feed.end(saved)
            saved.result()
        finally:
            feed.end(saved)  # after a failure, or libvips would wait for ever


@contextmanager
def _plain_rows(result: Result, path: Path, options: dict[str, Any]) -> Iterator[Callable[[Picture], None]]:
    """Into a TIFF that is not compressed: libvips writes a dot with all that is to be known of the picture, the rows follow it.

    libvips would hold 256 rows twice at full width, 92 MB more for a scan of 800 megapixels.
    """
    dot = load_vips().Image.black(1, 1, bands=result.bands).cast(_VIPS_FORMATS[result.dtype])
    _save(dot, result, path, options)
    with path.open("ab") as file:
        file.write(bytes(-file.seek(0, os.SEEK_END) % _ALIGNED_BYTES))
        begin = file.tell()

        def write(strip: Picture) -> None:
            file.write(np.ascontiguousarray(strip).data)

        yield write
    row_bytes = result.size[1] * result.bands * np.dtype(result.dtype).itemsize
    add_tags(path, strip_tags(result.size, row_bytes, options["tile_height"], begin, big=result.big))


def _save(image: pyvips.Image, result: Result, path: Path, options: dict[str, Any]) -> None:
    target = load_vips().Target.new_to_file(os.fsencode(path))  # a name, whatever its bytes
    dressed(image, result).write_to_target(target, path.suffix, **options)


class _Feed:
    """A file that is made while it is read, front to back."""

    def __init__(self, head: bytes, length: int) -> None:
        """Begin with ``head``, before ``length`` bytes to come."""
        self._length = len(head) + length
        self._part, self._start, self._place = memoryview(head), 0, 0
        self._coming: queue.Queue[memoryview | None] = queue.Queue(2)

    def put(self, strip: Picture, reader: Future[None]) -> None:
        """Wait until the reader wants more; fail with its error if it has ended."""
        if not self._handed(np.ascontiguousarray(strip).reshape(-1).view(np.uint8).data, reader):
            reader.result()

    def end(self, reader: Future[None]) -> None:
        """No more will come."""
        self._handed(None, reader)

    def _handed(self, part: memoryview | None, reader: Future[None]) -> bool:
        while not reader.done():
            with suppress(queue.Full):
                self._coming.put(part, timeout=0.2)
                return True
        return False

    def read(self, length: int) -> memoryview | None:
        """Up to ``length`` bytes; None at the end."""
        while self._place >= self._start + len(self._part):
            following = self._coming.get() if self._place < self._length else None
            if following is None:
                self._length = 0  # whoever asks again is not kept waiting
                return None
            self._start += len(self._part)
            self._part = following
        begin = self._place - self._start
        part = self._part[begin : begin + length]
        self._place += len(part)
        return part

    def seek(self, offset: int, whence: int) -> int:
        """Move within what is at hand or yet to come."""
        self._place = offset + (0, self._place, self._length)[whence]
        return self._place


def write_picture(target: str | os.PathLike[str], rgb: Picture) -> None:
    """Write (H, W, 3) sRGB, whole or not at all.

    Raises:
        ImageError: The ending of ``target`` names no known format.
        SourceError: The folder or file cannot be written.
    """
    target = Path(target)
    dtype = depth_of(target, rgb.dtype.name, Saving())
    result = Result(target, rgb.shape[:2], dtype, 3, rgb_profile("srgb"))
    with whole_file(target) as partial, writing(result, partial) as write:
        write(converted(rgb, dtype))
