"""How steady a film's colours are, against colouring each frame alone, and whether cuts are found.

    python -m benchmarks.steadiness PHOTOS.tar [--shots 60] [--sheet SHEET.png] [--write]

Shots of known motion and colours are made from photographs and cut together into one film. Prints a table; ``--write`` puts it
into docs/video.md.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from benchmarks.cases import ROOT
from benchmarks.shots import Shot, color_distribution_consistency, colorfulness, flicker, take
from edgecolor._color import delta_e00, rgb_to_lab
from tools.data import read_photos

Array = npt.NDArray[Any]
PAGE = ROOT / "docs" / "video.md"


@dataclass(frozen=True)
class Figures:
    """Of one way to colour the film, means over its shots."""

    flicker: float
    error: float
    cdc: float
    colorfulness: float


@dataclass(frozen=True)
class Cuts:
    """What was made of the joints between shots."""

    found: int
    of: int
    false: int
    others: int
    """Frames that begin no shot."""
    carried: float
    """Mean difference, of 255, between the first frames of shots and the same frames coloured alone."""


def figures(shots: list[Shot], films: list[list[Array]]) -> Figures:
    """Of coloured shots against their truth."""
    pairs = [pair for shot, film in zip(shots, films, strict=True) for pair in list(zip(film, shot.truth, strict=True))[::4]]
    return Figures(
        float(np.mean([flicker(shot, film) for shot, film in zip(shots, films, strict=True)])),
        float(np.mean([_error(frame, truth) for frame, truth in pairs])),
        float(np.mean([color_distribution_consistency(film) for film in films])),
        float(np.mean([colorfulness(frame) for film in films for frame in film[::4]])),
    )


def _error(frame: Array, truth: Array) -> float:
    """Mean CIEDE2000."""
    return float(delta_e00(rgb_to_lab(frame / 255), rgb_to_lab(truth / 255)).mean())


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steadiness", description=__doc__)
    parser.add_argument("photos", type=Path, help="tar file or folder of colour photographs")
    parser.add_argument("--shots", type=int, default=60)
    parser.add_argument("--sheet", type=Path, help="picture of frames side by side to write")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    options = parser.parse_args(arguments)
    random = np.random.default_rng(0)
    photos = list(read_photos(options.photos).values())
    shots = [take(photo, random) for photo in photos[:: max(1, len(photos) // options.shots)][: options.shots]]

    colorizer = edgecolor.load()
    alone = [[colorizer(grey) for grey in shot.greys] for shot in shots]
    held, cuts = colored_in_one(colorizer, shots, alone)
    ways = {"the truth": [shot.truth for shot in shots], "each frame alone": alone, "steady": held}
    text = table({name: figures(shots, films) for name, films in ways.items()}, cuts)
    print(text)
    if options.sheet:
        cv2.imwrite(str(options.sheet), sheet(shots, alone, held)[..., ::-1])
    if options.write:
        between = re.compile(r"(?<=<!-- steadiness -->\n).*?(?=<!-- end -->)", re.DOTALL)
        PAGE.write_text(between.sub(lambda _: f"{text}\n", PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def colored_in_one(
    colorizer: edgecolor.Colorizer, shots: list[Shot], alone: list[list[Array]]
) -> tuple[list[list[Array]], Cuts]:
    """All shots as one film through one stream."""
    steady, films, found, false, carried = colorizer.steady(), [], 0, 0, []
    for number, shot in enumerate(shots):
        film = []
        for frame, grey in enumerate(shot.greys):
            before = steady.cuts
            film.append(steady(grey))
            if frame:
                false += steady.cuts - before
            elif number:
                found += steady.cuts - before
                carried.append(np.abs(film[0].astype(int) - alone[number][0]).mean())
        films.append(film)
    others = sum(len(shot.greys) - 1 for shot in shots)
    return films, Cuts(found, len(shots) - 1, false, others, float(np.mean(carried)))


def table(ways: dict[str, Figures], cuts: Cuts) -> str:
    """Everything in Markdown."""
    truth, alone = ways["the truth"], ways["each frame alone"]
    rows = []
    for name, way in ways.items():
        ratios = f"{way.flicker / alone.flicker:.2f} | {way.error:.2f} | {way.cdc:.5f} | {way.cdc / truth.cdc:.2f}"
        rows.append(f"| {name} | {way.flicker:.3f} | {ratios} | {way.colorfulness:.1f} |")
    said = (
        f"Cuts found: {cuts.found} of {cuts.of}; false ones: {cuts.false} in {cuts.others} frames. The first frame after a cut "
        f"differs from the same frame coloured alone by {cuts.carried:.2f} of 255 on average."
    )
    head = ["| | flicker | to alone | CIEDE2000 | CDC | to the truth's | colourfulness |", "| --- |" + " ---: |" * 6]
    return "\n".join([*head, *rows, "", said])


def sheet(shots: list[Shot], alone: list[list[Array]], held: list[list[Array]]) -> Array:
    """Every sixth frame of a few shots: the truth, below it steady, below it each frame alone."""
    chosen = range(0, len(shots), max(1, len(shots) // 4))
    return np.vstack([np.hstack(film[::6]) for number in chosen for film in (shots[number].truth, held[number], alone[number])])


if __name__ == "__main__":
    main()
