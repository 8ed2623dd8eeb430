"""What a closer look gains, and whether its tiles show: on photographs, on crowds made of many, on real streets and crowds.

python -m benchmarks.detail measure PHOTOS --labelled VAL.tar [--count N]   colour photographs at every detail
python -m benchmarks.detail table [--write]              the table of it in docs/scans.md
python -m benchmarks.detail picture                      the picture there, from tests/photos
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from benchmarks.cases import PHOTOS, ROOT
from benchmarks.record import RESULTS, versions
from edgecolor import _detail
from edgecolor._color import delta_e00, lightness_to_luminance, linear_to_srgb, rgb_to_lab
from edgecolor._detail import Detail
from edgecolor._grid import CELL, grid_size, tile_starts
from edgecolor._models import find_model
from edgecolor._source import read_picture
from tools.pages import placed
from tools.sheets import row_of, stacked, titled
from tools.subjects import read_subjects

Array = npt.NDArray[Any]

Photo = npt.NDArray[Any]
"""(H, W, 3) uint8 sRGB."""

DETAILS: tuple[Detail, ...] = (1, 2, 4, "auto")
AREA = 1_200_000
"""Pixels that every scene is enlarged to."""

CELLS = 240, 320
"""Height and width of a photograph in a crowd before it is enlarged."""

CROWDS = (1, 2, 3, 4)
"""Photographs per side of a scene."""

PEOPLE = (0, 73, 79, 83, 100, 128, 204, 213, 239, 335, 336, 350, 360, 361, 373, 430, 501, 503, 550)
"""Numbers of the labelled photographs that show five people or more, none much larger than the rest: by eye, by one person."""

RESULT = RESULTS / "detail.json"
PAGE = ROOT / "docs" / "scans.md"
PICTURE = ROOT / "docs" / "pictures" / "detail.jpg"


def main() -> None:
    """Measure or show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detail", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("photos", type=Path, help="tar file or folder that was not trained on")
    measuring.add_argument("--labelled", type=Path, required=True, help="those whose subjects tools/val_subjects.csv names")
    measuring.add_argument("--count", type=int, default=60, help="single photographs; a quarter as many crowds of each size")
    commands.add_parser("table").add_argument("--write", action="store_true")
    commands.add_parser("picture")
    options = parser.parse_args()
    if options.command == "measure":
        measure({**made(list(_photos(options.photos).values()), options.count), **real(_photos(options.labelled))})
    elif options.command == "picture":
        picture()
    elif options.write:
        PAGE.write_text(placed(PAGE.read_text(encoding="utf-8"), "detail", f"\n{table()}\n\n"), encoding="utf-8")
    else:
        print(table())


def _photos(source: Path) -> dict[str, Photo]:
    from tools.data import read_photos  # which takes the extra 'train'

    return read_photos(source)


def made(photos: list[Photo], count: int) -> dict[str, Iterator[Photo]]:
    """Single photographs, and a quarter as many crowds of each size, by name."""
    names = {side: f"a crowd of {side**2} photographs" for side in CROWDS} | {1: "one photograph"}
    return {names[side]: scenes(photos, side, count if side == 1 else count // 4) for side in CROWDS}


def real(photos: dict[str, Photo]) -> dict[str, Iterator[Photo]]:
    """Photographs of streets, and of many people, by name."""
    subjects = read_subjects()
    streets = [photo for name, photo in photos.items() if subjects[name] == "streets and buildings"]
    people = [photos[f"v{number:05}.avif"] for number in PEOPLE]
    return {"a real street": map(_enlarged, streets), "a real crowd": map(_enlarged, people)}


def scenes(photos: list[Photo], side: int, count: int) -> Iterator[Photo]:
    """Photographs, or ``side`` x ``side`` of them in one picture as a crowd of small things, enlarged."""
    rng = np.random.default_rng(side)
    order = rng.permutation(len(photos))
    for number in range(count):
        if side == 1:
            yield _enlarged(photos[order[number]])
            continue
        more = side + 1  # than are seen: what is cut off at random keeps their edges away from the borders of tiles
        chosen = [_cropped(photos[index]) for index in rng.integers(0, len(photos), more * more)]
        crowd = np.vstack([np.hstack(chosen[row * more : (row + 1) * more]) for row in range(more)])
        top, left = (int(rng.integers(0, length)) for length in CELLS)
        yield _enlarged(crowd[top : top + side * CELLS[0], left : left + side * CELLS[1]])


def _cropped(photo: Photo) -> Photo:
    height, width = CELLS
    scale = max(height / photo.shape[0], width / photo.shape[1])
    large = cv2.resize(photo, (math.ceil(photo.shape[1] * scale), math.ceil(photo.shape[0] * scale)))
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


def _enlarged(photo: Photo) -> Photo:
    scale = math.sqrt(AREA / (photo.shape[0] * photo.shape[1]))
    size = (math.ceil(photo.shape[1] * scale), math.ceil(photo.shape[0] * scale))
    large: Photo = cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC)
    return large


def measure(kinds: dict[str, Iterator[Photo]]) -> None:
    """Every scene at every detail, recorded."""
    colorizer = edgecolor.load(engine="onnxruntime")
    measured: dict[str, Any] = {}
    for kind, pictures in kinds.items():
        rows = [_measured(colorizer, scene) for scene in pictures]
        errors = {str(detail): np.array([row[0][detail] for row in rows]) for detail in DETAILS}
        borders = {str(detail): np.array([row[1][detail] for row in rows]).sum(0) for detail in (2, 4)}
        other = {str(detail): np.array([row[2][detail] for row in rows]).sum(0) for detail in (2, 4)}
        changes = {name: of - errors["1"] for name, of in errors.items()}
        measured[kind] = {
            "scenes": len(rows),
            "delta_e00": {name: round(float(of.mean()), 3) for name, of in errors.items()},
            "change": {name: round(float(of.mean()), 3) for name, of in changes.items()},
            "change_half_interval": {
                name: round(float(1.96 * of.std(ddof=1) / math.sqrt(len(of))), 3) for name, of in changes.items()
            },
            "worst": {name: round(float(of.max()), 3) for name, of in changes.items()},
            "auto_looked_closer": int(np.count_nonzero(changes["auto"])),
            "border_ratio": {name: round(float(of[0] / of[1]), 4) for name, of in borders.items()},
            "border_ratio_in_other_tiles": {name: round(float(of[0] / of[1]), 4) for name, of in other.items()},
        }
        print(kind, json.dumps(measured[kind]), flush=True)
    content = {"versions": versions(), "model": repr(colorizer), "pixels": AREA, "scenes": measured}
    RESULT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _measured(
    colorizer: edgecolor.Colorizer, scene: Photo
) -> tuple[dict[Detail, float], dict[Detail, tuple[float, float]], dict[Detail, tuple[float, float]]]:
    """By detail: CIEDE2000 to the truth; chroma's steps at the borders of tiles and elsewhere; there, in other tiles."""
    truth = rgb_to_lab(scene[::3, ::3] / 255.0)
    results = {detail: colored(colorizer, scene, detail) for detail in DETAILS}
    errors = {detail: float(delta_e00(rgb_to_lab(of[::3, ::3] / 65535.0), truth).mean()) for detail, of in results.items()}
    own, other = {}, {}
    for detail in DETAILS[1:3]:
        places = borders(scene.shape[:2], detail)
        own[detail] = border_steps(chroma_of(results[detail]), *places)
        with mock.patch.object(_detail, "tile_starts", other_starts):
            other[detail] = border_steps(chroma_of(colored(colorizer, scene, detail)), *places)
    return errors, own, other


def other_starts(length: int, tile: int) -> list[int]:
    """As ``tile_starts`` with one tile more, so that borders lie elsewhere, save the first's end and the last's beginning."""
    count = len(tile_starts(length, tile)) + 1
    return [round((length - tile) * index / (count - 1) / CELL) * CELL for index in range(count)]


def colored(colorizer: edgecolor.Colorizer, scene: Photo, detail: Detail) -> Array:
    """A scene's grey as a 16-bit file, coloured: (H, W, 3) uint16."""
    lightness = rgb_to_lab(scene / 255.0)[..., 0]
    grey = np.rint(linear_to_srgb(lightness_to_luminance(lightness)).clip(0, 1) * 65535).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "grey.tif", Path(folder) / "colour.tif"
        cv2.imwrite(str(source), grey)
        colorizer.image(source, target, detail=detail)
        return read_picture(target)


def chroma_of(rgb: Array) -> Array:
    """(H, W, 2) a*, b* of (H, W, 3) uint16."""
    return cv2.cvtColor(rgb.astype(np.float32) / 65535, cv2.COLOR_RGB2Lab)[..., 1:]


def borders(size: tuple[int, int], detail: Detail) -> tuple[list[float], list[float], float]:
    """Rows and columns of a picture where a tile begins or ends, but no other tile, and half the pixels of a cell."""
    if detail == "auto":
        raise ValueError("the borders of 2 or 4")
    grid = grid_size(*size, find_model().grid_area)
    lines = []
    for length, tile in zip(size, grid, strict=True):
        own, other = ({*starts, *(start + tile for start in starts)} for starts in _starts(detail * tile, tile))
        inside = own - {0, detail * tile} - {line for line in own for near in other if abs(line - near) <= 2 * CELL}
        lines.append([place * length / (detail * tile) for place in sorted(inside)])
    return lines[0], lines[1], CELL * max(size[0] / grid[0], size[1] / grid[1]) / detail / 2


def _starts(length: int, tile: int) -> tuple[list[int], list[int]]:
    return tile_starts(length, tile), other_starts(length, tile)


def border_steps(chroma: Array, rows: list[float], columns: list[float], reach: float) -> tuple[float, float]:
    """The mean change of (H, W, 2) chroma from pixel to pixel, near the borders of tiles and everywhere else."""
    near, far = [], []
    for plane, lines in ((chroma, rows), (chroma.swapaxes(0, 1), columns)):
        steps = np.linalg.norm(np.diff(plane, axis=0), axis=2).mean(1)
        place = np.arange(1, len(plane))
        at = np.any([np.abs(place - line) <= reach for line in lines], axis=0)
        near.append(steps[at])
        far.append(steps[~at])
    return float(np.concatenate(near).mean()), float(np.concatenate(far).mean())


def table() -> str:
    """Of what was measured, as Markdown; steps at borders are over those elsewhere, and over the same in other tiles."""
    content = json.loads(RESULT.read_text(encoding="utf-8"))
    lines = [
        "| scene | pictures | CIEDE2000 at detail 1 | 2 | 4 | auto | auto looked closer | step at borders, 2 and 4 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, of in content["scenes"].items():
        changes = [f"{of['change'][detail]:+.2f} ± {of['change_half_interval'][detail]:.2f}" for detail in ("2", "4", "auto")]
        own, other = of["border_ratio"], of["border_ratio_in_other_tiles"]
        ratios = ", ".join(f"{own[detail] / other[detail]:.3f}" for detail in ("2", "4"))
        first, looked = f"{of['delta_e00']['1']:.2f}", str(of["auto_looked_closer"])
        lines.append(f"| {' | '.join((name, str(of['scenes']), first, *changes, looked, ratios))} |")
    return "\n".join(lines)


def picture() -> None:
    """A crowd of free photographs at detail 1 and 4, and the truth."""
    photos = list(_photos(PHOTOS).values())
    names = (0, 3, 4, 2, 6, 1, 5, 4, 3, 1, 0, 6, 2, 5, 3, 4)
    cells = [_cropped(photos[index]) for index in names]
    crowd = _enlarged(np.vstack([np.hstack(cells[row * 4 : row * 4 + 4]) for row in range(4)]))
    colorizer = edgecolor.load(engine="onnxruntime")
    parts = [np.rint(colored(colorizer, crowd, detail) / 257.0).astype(np.uint8) for detail in DETAILS[:3:2]]
    sheet = stacked([titled(["detail 1", "detail 4", "the truth"], 560), row_of([*parts, crowd], 560)])
    cv2.imwrite(str(PICTURE), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
