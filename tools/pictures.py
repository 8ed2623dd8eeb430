"""Make the pictures of the README and the docs from the free photographs of the tests, with the shipped model.

python -m tools.pictures
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from edgecolor._color import rgb_to_lab
from tools.data import Photo, read_photos
from tools.figures import grey_of

ROOT = Path(__file__).parent.parent
PHOTOS = ROOT / "tests" / "photos"
OUT = ROOT / "docs" / "pictures"
CELL = (300, 225)
"""Width and height of one picture on a sheet, in pixels."""


def grey_levels(photo: Photo) -> npt.NDArray[np.uint8]:
    """(H, W) uint8: what a panchromatic film would have kept of a colour photograph."""
    return np.rint(grey_of(rgb_to_lab(photo / 255.0))[..., 0] * 255).astype(np.uint8)


def heat(confidence: npt.NDArray[np.float32]) -> Photo:
    """Confidence as Cividis: blue guesses, yellow is sure."""
    colors: Photo = cv2.applyColorMap(cv2.convertScaleAbs(confidence, alpha=255), cv2.COLORMAP_CIVIDIS)
    return colors[..., ::-1]


def cell(picture: npt.NDArray[Any], title: str = "") -> Photo:
    """One picture in its place, whole, on white, with a title above if there is one."""
    rgb = picture if picture.ndim == 3 else cv2.merge([picture] * 3)
    scale = min(CELL[0] / rgb.shape[1], CELL[1] / rgb.shape[0])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    sheet = np.full((CELL[1] + 34, CELL[0] + 8, 3), 255, np.uint8)
    left = (sheet.shape[1] - small.shape[1]) // 2
    sheet[30 : 30 + small.shape[0], left : left + small.shape[1]] = small
    cv2.putText(sheet, title, (left, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.52, (60, 60, 60), 1, cv2.LINE_AA)
    return sheet


def save(name: str, rows: list[list[Photo]]) -> None:
    """Write a sheet of cells."""
    OUT.mkdir(parents=True, exist_ok=True)
    sheet = np.vstack([np.hstack(row) for row in rows])
    cv2.imwrite(str(OUT / name), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(OUT / name)


def examples(colorizer: edgecolor.Colorizer, photos: dict[str, Photo]) -> None:
    """Every photograph: grey, coloured, how sure, the truth."""
    rows: list[list[Photo]] = []
    for photo in photos.values():
        grey = grey_levels(photo)
        answer = colorizer.predict(grey)
        titles = ("grey", "coloured", "how sure (blue guesses)", "the truth") if not rows else ("",) * 4
        pictures = (grey, answer.image, heat(answer.confidence), photo)
        rows.append([cell(picture, title) for picture, title in zip(pictures, titles, strict=True)])
    save("examples.jpg", rows)


def alternatives(colorizer: edgecolor.Colorizer, photos: dict[str, Photo]) -> None:
    """What else three pictures could be."""
    rows: list[list[Photo]] = []
    for name in ("coffee.jpg", "astronaut.jpg", "temple.jpg"):
        answer = colorizer.predict(grey_levels(photos[name]))
        titles = ("its answer", "also plausible", "also plausible", "also plausible") if not rows else ("",) * 4
        pictures = (answer.image, *answer.alternatives(3))
        rows.append([cell(picture, title) for picture, title in zip(pictures, titles, strict=True)])
    save("alternatives.jpg", rows)


def steering(colorizer: edgecolor.Colorizer, photos: dict[str, Photo]) -> None:
    """One picture without and with hints, and with a palette."""
    grey = grey_levels(photos["coffee.jpg"])
    hints = [
        edgecolor.Hint(250, 215, "#b03a1e"),
        edgecolor.Hint(150, 170, "#b03a1e"),
        edgecolor.Hint(60, 60, "#a5592a"),
    ]
    blue = [edgecolor.Hint(hint.x, hint.y, "steelblue") for hint in hints[:2]]
    pictures = {
        "no hints": colorizer(grey),
        "three hints": colorizer.predict(grey, hints=hints).image,
        "two other hints": colorizer.predict(grey, hints=blue).image,
        "a palette: teal, wheat": colorizer.predict(grey, palette=["teal", "wheat"]).image,
    }
    save("steering.jpg", [[cell(picture, title) for title, picture in pictures.items()]])


def main() -> None:
    """Make them all."""
    colorizer = edgecolor.load()
    photos = read_photos(PHOTOS)
    examples(colorizer, photos)
    alternatives(colorizer, photos)
    steering(colorizer, photos)


if __name__ == "__main__":
    main()
