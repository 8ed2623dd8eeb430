"""Archives larger than one machine: one file a call, safe to repeat, for Dask, Ray or any other scheduler.

With Dask:

    from dask.distributed import Client
    from edgecolor import batch

    with Client("tcp://scheduler:8786") as client:
        for record in client.gather(client.map(batch.color, sources, targets)):
            print(record)

With Ray Data:

    rows = ray.data.from_items([{"source": source, "target": target} for source, target in pairs])
    records = rows.map(lambda row: batch.color(row["source"], row["target"])).take_all()

Both were run on a local cluster of one machine, with Dask 2026.8.0 and Ray 2.60.0.

Workers must not be forked from a process that has coloured files itself, which is an error: let them be spawned.
Every worker opens the model once. A bad file is a record and no exception. A call passes over what is there, and results
appear whole or not at all, so a run that was killed continues where it stopped. Where a scheduler runs a task twice at
once, the second call waits for the first, up to ten minutes, and then passes over its result.
"""

from __future__ import annotations

import time
from inspect import signature
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from edgecolor._colorizer import Colorizer, kept_open
from edgecolor._errors import SourceError
from edgecolor._files import BusyError, make_folder
from edgecolor._image import numbered

if TYPE_CHECKING:
    from edgecolor._engine import EngineName
    from edgecolor._models import ModelName, Precision

Status = Literal["coloured", "skipped", "failed"]

_WAIT_SECONDS = 600
"""How long a call waits for another that writes the same target, as where a scheduler runs a task twice; then it has failed."""

_POLL_SECONDS = 0.5


class Record(TypedDict):
    """What became of one file; a line of a report."""

    source: str
    target: str
    status: Status
    """"skipped" if the target was there already, or someone else made it in the meantime, or is making it."""
    seconds: float
    """How long it took."""
    error: str
    """What was wrong, who is making it, or how a damaged source was made up for; empty if there is nothing to say."""


def color(
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    model: ModelName = "auto",
    engine: EngineName = "auto",
    precision: Precision = "auto",
    **options: Any,
) -> Record:
    """Colour one file, unless its target exists, with a model that this process keeps open.

    Args:
        source: As for ``Colorizer.image``.
        target: As there. Its folder is made.
        model: As for ``edgecolor.load``, and so are the next two.
        engine: See there.
        precision: See there.
        options: For ``Colorizer.image``.

    Raises:
        TypeError: That has no such option.
        EdgecolorError: The model cannot be opened.
    """
    # what is wrong with the model or an option's name is wrong with all files, and no record
    signature(Colorizer.image).bind(None, source, target, **options)
    colorizer = kept_open(model, engine, precision, "auto")
    try:
        make_folder(Path(target).parent)
    except SourceError as error:
        return Record(source=fspath(source), target=fspath(target), status="failed", seconds=0.0, error=str(error))
    return colored_by(colorizer, source, target, skip_existing=True, wait_seconds=_WAIT_SECONDS, **options)


def colored_by(
    colorizer: Colorizer,
    source: str | PathLike[str],
    target: str | PathLike[str],
    *,
    skip_existing: bool,
    wait_seconds: float | None = 0,
    **options: Any,
) -> Record:
    """The same with a colorizer that is open.

    Args:
        colorizer: It.
        source: See above.
        target: See above. Its folder must be there.
        skip_existing: Whether to pass over what is there, with its confidence if wanted.
        wait_seconds: For how long to wait while someone else is writing it, before that is a failure; None passes over it.
        options: For ``Colorizer.image``.
    """
    record = Record(source=fspath(source), target=fspath(target), status="coloured", seconds=0.0, error="")
    begin = time.monotonic()
    try:
        while True:
            if skip_existing and Path(target).exists() and _has_map(options.get("confidence")):
                record["status"] = "skipped"
                break
            try:
                record["error"] = "; ".join(colorizer.image(source, target, **options))
                break
            except BusyError as error:
                if wait_seconds is None:
                    record |= {"status": "skipped", "error": str(error)}
                    break
                if time.monotonic() - begin >= wait_seconds:
                    raise
                time.sleep(_POLL_SECONDS)
    except Exception as error:  # noqa: BLE001  # whatever it is, it must not stop the others
        record |= {"status": "failed", "error": str(error) or type(error).__name__}
    return record | {"seconds": round(time.monotonic() - begin, 3)}


def _has_map(path: str | PathLike[str] | None) -> bool:
    """Whether the confidence is there, of one page or of several. It is written before its picture appears."""
    return path is None or Path(path).exists() or numbered(Path(path), 0, 2).exists()
