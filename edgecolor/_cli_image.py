"""The command for photographs: one, many, or folders of them."""

from __future__ import annotations

import argparse
import errno
import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, get_args

from edgecolor._cli_shared import noticing_ctrl_c, read_mask
from edgecolor._colorizer import ALTERNATIVES_MAX
from edgecolor._detail import Detail
from edgecolor._errors import ImageError, SourceError
from edgecolor._files import make_folder
from edgecolor._formats import FORMATS, QUALITY_MAX, Compression, Depth
from edgecolor._icc import ProfileName, rgb_profile, rgb_space
from edgecolor._target import identity
from edgecolor._vips import hold_few_rows
from edgecolor.batch import Record, colored_by

READ = (*FORMATS, ".heic", ".heif", ".gif", ".jxl", ".bmp", ".pbm", ".pgm", ".pnm", ".ppm")
"""Endings that are taken from folders."""

_JOBS_MAX = 256

_OUT_HELP = (
    "file to write, for one photograph (default: beside IN, as IN-colour.EXT; EXT is --format, else that of IN, else png)"
)


@dataclass(frozen=True)
class _Job:
    """One photograph, and where its colours go."""

    given: Path
    """The photograph, or the folder that it was found in."""
    source: Path
    target: Path
    confidence: Path | None


def add_image_command(
    add: Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser],
    add_options: Callable[[argparse.ArgumentParser], None],
) -> None:
    """Add ``image``: ``add`` makes a command, ``add_options`` gives it those for the model and the colours."""
    image = add("image", _image, "colour photographs and scans of any size, one, many, or whole folders")
    image.add_argument(
        "sources",
        nargs="+",
        type=Path,
        metavar="IN",
        help="photographs, or folders, of which all photographs are taken, also those in folders below: JPEG, PNG, TIFF, WebP, "
        "AVIF, BMP, GIF, PBM, PGM, PPM; and HEIC, JPEG XL, JPEG 2000 where libvips reads them",
    )
    where = image.add_mutually_exclusive_group()
    where.add_argument("-o", "--out", type=Path, metavar="OUT", help=_OUT_HELP)
    where.add_argument(
        "--out-dir",
        type=Path,
        metavar="DIR",
        help="folder to write to, under the names of IN; needed where IN is a folder, and made if it is not there",
    )
    image.add_argument(
        "--format",
        choices=[ending[1:] for ending in FORMATS],
        help="format to write, where -o is not given (default: that of IN, or png where it cannot be written); jp2 only "
        "where libvips has it",
    )
    add_detail(image)
    image.add_argument(
        "--alternative",
        type=_up_to(ALTERNATIVES_MAX),
        default=0,
        metavar="N",
        help="write the N-th of the other colourings that the network finds plausible, from 1; explain shows the first two",
    )
    image.add_argument(
        "--depth",
        choices=get_args(Depth),
        default="auto",
        help="bits of a channel to write (default: auto, which is those of IN, or the most that the format holds)",
    )
    image.add_argument(
        "--compression",
        choices=get_args(Compression),
        default="auto",
        help="how to pack a TIFF (default: auto, which is as IN where that holds colour, else deflate); zstd and webp only "
        "where libvips has them",
    )
    image.add_argument(
        "--quality",
        type=_up_to(QUALITY_MAX),
        metavar="Q",
        help="how much to keep in formats that lose, 1 to 100: JPEG, WebP, AVIF, JPEG 2000, and jpeg and webp in a TIFF "
        "(default: 92 for JPEG, 90 for WebP and JPEG 2000, 80 for AVIF)",
    )
    names = ", ".join(get_args(ProfileName))
    image.add_argument(
        "--profile",
        default="auto",
        metavar="RGB",
        help=f"ICC profile to write in: {names}, or a file (default: auto, which is srgb, or where its 8 bits are too coarse "
        "for a scan's grey profile, RGB with the scan's own curve, or adobergb)",
    )
    image.add_argument(
        "--region",
        type=Path,
        metavar="MASK",
        help="picture of the size of IN, upright, light where it is to be coloured; where it is dark or transparent, every "
        "value stays",
    )
    image.add_argument(
        "--confidence",
        type=Path,
        metavar="PNG",
        help="picture to write of how sure each colour is, white for certain; for many photographs, a folder",
    )
    image.add_argument(
        "--jobs",
        type=_up_to(_JOBS_MAX),
        default=1,
        metavar="N",
        help=f"how many photographs to colour at once, 1 to {_JOBS_MAX} (default: 1)",
    )
    image.add_argument(
        "--skip-existing", action="store_true", help="pass over photographs whose result is there, to go on after a stop"
    )
    image.add_argument("--report", type=Path, metavar="FILE", help="file to add a line of JSON to for every photograph")
    add_options(image)


def add_detail(command: argparse.ArgumentParser) -> None:
    """Add ``--detail``."""
    command.add_argument(
        "--detail",
        choices=[str(choice) for choice in get_args(Detail)],
        default="auto",
        help="how many times finer, per side, to look at pictures of many scenes or small things (default: auto, which from a "
        "megapixel up looks closer where that makes the network surer)",
    )


def detail_of(options: argparse.Namespace) -> Detail:
    """What ``--detail`` asks for."""
    detail: Detail = next(choice for choice in get_args(Detail) if str(choice) == options.detail)
    return detail


def _up_to(most: int) -> Callable[[str], int]:
    """For argparse: a whole number from 1 on."""

    def number(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
        return int(text)

    return number


def _image(options: argparse.Namespace) -> int:
    jobs, unread = _planned(options)
    hold_few_rows()
    colorizer = options.open_colorizer(options)
    chosen = _chosen(options)
    _make_folders(options, jobs)
    empty = set(options.sources) - {job.given for job in jobs} - {given for given, _ in unread}
    for folder in empty:
        options.complain(f"{folder} holds no photographs; their names end in {', '.join(READ)}")
    failures = len(empty)

    def work(job: _Job) -> Record:
        with bars.file(job.source) as show:

            def progress(share: float) -> None:
                stop_if_pressed()
                show(share)

            stop_if_pressed()
            more: dict[str, Any] = {"confidence": job.confidence, "progress": progress}
            # two runs side by side share the work: what one is writing, the other leaves to it
            more |= {"skip_existing": True, "wait_seconds": None} if options.skip_existing else {"skip_existing": False}
            return colored_by(colorizer, job.source, job.target, **chosen, **more)

    def tell(record: Record) -> int:
        if report is not None:
            report(record)
        if record["status"] != "failed":
            return 0
        text, source = record["error"], record["source"]
        options.complain(text if source in text else f"{source}: {text}")
        return 1

    with ExitStack() as stack:
        stop_if_pressed = stack.enter_context(noticing_ctrl_c())
        report = stack.enter_context(_appended(options.report)) if options.report else None
        bars = stack.enter_context(_bars(len(jobs), options.jobs))
        pool = stack.enter_context(ThreadPoolExecutor(options.jobs)) if options.jobs > 1 else None
        if pool is not None:
            stack.callback(pool.shutdown, cancel_futures=True)  # after Ctrl-C no further one is begun
        failures += sum(tell(record) for _, record in unread)
        for record in pool.map(work, jobs) if pool else map(work, jobs):
            bars.done()
            failures += tell(record)
        stop_if_pressed()  # while the last one was written
    return 1 if failures else 0


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of ``Colorizer.image`` for all photographs; what is wrong with them is said before the first."""
    kept = ("alternative", "depth", "compression", "quality", "profile")
    chosen: dict[str, Any] = {name: getattr(options, name) for name in kept} | options.steering(options)
    chosen["detail"] = detail_of(options)
    if options.profile != "auto":
        try:
            rgb_space(rgb_profile(options.profile))
        except ImageError as error:
            raise ImageError(f"{options.profile}: {error}") from error
    if options.region is not None:
        chosen["region"] = read_mask(options.region)
    return chosen


def _make_folders(options: argparse.Namespace, jobs: list[_Job]) -> None:
    if options.out_dir:
        make_folder(options.out_dir)
    for job in jobs:
        if options.out_dir:
            make_folder(job.target.parent)
        if job.confidence is not None and _is_many(options):
            make_folder(job.confidence.parent)


def _planned(options: argparse.Namespace) -> tuple[list[_Job], list[tuple[Path, Record]]]:
    """All photographs with their targets, none written twice or over another.

    And what cannot be read, each with the folder that was given.
    """
    many = _is_many(options)
    if options.out and many:
        options.usage_error(f"-o names one file, but there are {len(options.sources)} photographs; use --out-dir")
    folders = [source for source in options.sources if _is_folder(source)]
    if options.out and options.format:
        options.usage_error("-o names the format by its ending; leave out --format")
    if folders and not options.out and not options.out_dir:
        options.usage_error(f"{folders[0]} is a folder; say where its photographs go with --out-dir")
    jobs, unread = [], []
    for given in options.sources:
        places, failed = _found(given, options)
        jobs += [_job(given, source, place, options) for source, place in places]
        unread += [(given, record) for record in failed]
    _check_places(options, jobs)
    return jobs, unread


def _check_places(options: argparse.Namespace, jobs: list[_Job]) -> None:
    """Refuse what would be written twice, or over a photograph."""
    wishes = {identity(path): path for path in (options.reference, options.region) if path is not None}
    sources = wishes | {identity(job.source): job.source for job in jobs}
    taken: dict[str, int] = {}
    for number, job in enumerate(jobs):
        other = sources.get(identity(job.target), job.source)
        if other != job.source:  # the library refuses its own source
            what = "which is read, too; give" if identity(other) in wishes else "another of the photographs; use --out-dir, or"
            options.usage_error(f"{job.source} would be written over {other}, {what} another name")
        if job.confidence is not None and (same := sources.get(identity(job.confidence))):
            options.usage_error(f"--confidence {job.confidence} is {same}, a picture to be read; give another name")
        for path in filter(None, (job.target, job.confidence)):
            first = taken.setdefault(os.path.realpath(path), number)
            if first != number:
                both = f"{jobs[first].source} and {job.source}"
                options.usage_error(f"{both} would be written under the same name, {path}; colour them into different folders")
    written = {identity(path): path for job in jobs for path in (job.target, job.confidence) if path is not None}
    if options.report and (same := (written | sources).get(identity(options.report))):
        options.usage_error(f"--report {options.report} is {same}, a picture to be read or written; give another name")


def _is_many(options: argparse.Namespace) -> bool:
    return len(options.sources) > 1 or (options.out is None and any(_is_folder(source) for source in options.sources))


def _found(given: Path, options: argparse.Namespace) -> tuple[list[tuple[Path, Path]], list[Record]]:
    """The photographs that are meant, each with its place below the folder of results; and the folders that cannot be read."""
    if not _is_folder(given) or options.out:
        return [(given, Path(given.name))], []
    album, results = given.resolve(), options.out_dir.resolve()
    inside = album in results.parents  # results above the folder, or in it itself, have photographs below them

    def is_meant(path: Path) -> bool:
        return not path.name.startswith(".") and not (inside and path.resolve().is_relative_to(results))

    found: list[Path] = []
    errors: list[OSError] = []
    walked = {album}

    def is_new(folder: Path) -> bool:
        """Links are followed, but each folder is looked into once, and results are not coloured again."""
        real = folder.resolve()
        known = album in real.parents or (real.is_relative_to(results) and not album.is_relative_to(results))
        if real in walked or (folder.is_symlink() and known):
            return False
        walked.add(real)
        return True

    for root, folders, names in os.walk(given, onerror=errors.append, followlinks=True):
        folders[:] = [name for name in sorted(folders) if is_meant(Path(root, name)) and is_new(Path(root, name))]
        paths = [Path(root, name) for name in names]
        found += [path for path in paths if path.suffix.lower() in READ and _is_file(path) and is_meant(path)]
    unread = []
    for error in errors:
        folder = Path(error.filename)
        text = f"cannot read the folder {folder}: {error.strerror or error}"
        target = options.out_dir / folder.relative_to(given)
        unread.append(Record(source=str(folder), target=str(target), status="failed", seconds=0.0, error=text))
    return [(path, path.relative_to(given)) for path in sorted(found)], unread


def _is_folder(path: Path) -> bool:
    """Whether it is one; what cannot be looked at is left to the colouring, which says why."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    """Whether it is one, or cannot be looked at, which the colouring says; a link to nowhere or in a circle is none."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        return error.errno not in {errno.ENOENT, errno.ELOOP}


def _job(given: Path, source: Path, place: Path, options: argparse.Namespace) -> _Job:
    suffix = source.suffix if source.suffix.lower() in FORMATS else ".png"
    if options.format:
        suffix = f".{options.format}"
    if options.out:
        target = options.out
    elif options.out_dir:
        target = options.out_dir / place.with_name(f"{place.stem}{suffix}")
    else:
        target = source.with_name(f"{source.stem}-colour{suffix}")
    confidence = options.confidence
    if confidence is not None and _is_many(options):
        confidence = confidence / place.with_name(f"{target.name}.png")
    return _Job(given, source, Path(target), confidence)


@contextmanager
def _appended(path: Path) -> Iterator[Callable[[Record], None]]:
    """A function that adds a line to a file."""
    try:
        # a pipe that nobody reads is an error, and not waited for
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
        os.set_blocking(descriptor, True)
        file = os.fdopen(descriptor, "a", encoding="utf-8")
    except OSError as error:
        why = "nobody reads this pipe" if error.errno == errno.ENXIO else error.strerror or error
        raise SourceError(f"cannot write {path}: {why}") from error
    with suppress(OSError):
        _end_line(path, file)

    def add(record: Record) -> None:
        try:
            print(json.dumps(record), file=file, flush=True)
        except OSError as error:
            raise SourceError(f"cannot write {path}: {error.strerror or error}; the pictures made so far are whole") from error

    try:
        yield add
    finally:
        with suppress(OSError):  # what could not be written has been said
            file.close()


def _end_line(path: Path, file: IO[str]) -> None:
    """End a line that a run could not finish, as on a full disk."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as before:
        before.seek(-1, os.SEEK_END)
        if before.read() != b"\n":
            file.write("\n")


class _Bars:
    """A bar for every photograph under way and one for all of them, on a terminal."""

    def __init__(self, count: int, jobs: int) -> None:
        self._free = list(range(min(count, jobs)))
        self._lock = threading.Lock()
        self._shown = sys.stderr.isatty()
        self._all = self._bar(count, "photographs", len(self._free)) if self._shown and count > 1 else None

    def done(self) -> None:
        """One photograph more."""
        if self._all is not None:
            self._all.update(1)

    def close(self) -> None:
        if self._all is not None:
            self._all.close()

    @contextmanager
    def file(self, source: Path) -> Iterator[Callable[[float], None]]:
        """A function that is told how much of a photograph is done."""
        if not self._shown:
            yield lambda _: None
            return
        with self._lock:
            place = self._free.pop(0)
        bar = self._bar(100, source.name, place)
        try:
            yield lambda share: bar.update(round(100 * share) - bar.n) and None
        finally:
            bar.close()
            with self._lock:
                self._free.insert(0, place)

    @staticmethod
    def _bar(total: int, words: str, place: int) -> Any:
        from tqdm import tqdm

        return tqdm(total=total, desc=words, position=place, leave=False, delay=0.5)


@contextmanager
def _bars(count: int, jobs: int) -> Iterator[_Bars]:
    bars = _Bars(count, jobs)
    try:
        yield bars
    finally:
        bars.close()
