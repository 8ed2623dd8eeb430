"""Make the pictures of the README and the docs from the free photographs of the tests, with the shipped model.

python -m tools.pictures
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from edgecolor._color import rgb_to_lab
from edgecolor._explain import heat
from tools.data import Photo, read_photos
from tools.figures import grey_of
from tools.sheets import row_of, stacked, titled

ROOT = Path(__file__).parent.parent
PHOTOS = ROOT / "tests" / "photos"
OUT = ROOT / "docs" / "pictures"

SHOWN_FIRST = ("temple.jpg", "cat.jpg", "coffee.jpg")
"""Of the README: what is known, what mostly is, and what is a guess."""


def grey_levels(photo: Photo) -> npt.NDArray[np.uint8]:
    """(H, W) uint8: what a panchromatic film would have kept of a colour photograph."""
    return np.rint(grey_of(rgb_to_lab(photo / 255.0))[..., 0] * 255).astype(np.uint8)


def save(name: str, rows: Sequence[Photo]) -> None:
    """Write a sheet."""
    OUT.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(OUT / name), stacked(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    print(OUT / name)


def examples(colorizer: edgecolor.Colorizer, photos: dict[str, Photo]) -> None:
    """Every photograph, and the README's three: grey, coloured, how sure, the truth."""
    rows = {}
    for name, photo in photos.items():
        grey = grey_levels(photo)
        answer = colorizer.predict(grey)
        rows[name] = row_of([grey, answer.image, heat(answer.confidence), photo])
    titles = titled(["grey", "coloured", "how sure: blue guesses, yellow is sure", "the truth"])
    save("examples.jpg", [titles, *rows.values()])
    save("first.jpg", [titles, *(rows[name] for name in SHOWN_FIRST)])


def alternatives(colorizer: edgecolor.Colorizer, photos: dict[str, Photo]) -> None:
    """What else three pictures could be."""
    rows = []
    for name in ("coffee.jpg", "astronaut.jpg", "temple.jpg"):
        answer = colorizer.predict(grey_levels(photos[name]))
        rows.append(row_of([answer.image, *answer.alternatives(4)]))
    save("alternatives.jpg", [titled(["its answer", *(f"also plausible: {number}" for number in range(1, 5))]), *rows])


def with_hints(image: Photo, hints: Sequence[edgecolor.Hint]) -> Photo:
    """The picture with every hint drawn in: a ringed dot of its colour, or a line."""
    shown = image.copy()
    for hint in hints:
        points = np.rint(hint.points).astype(np.int32)
        color = tuple(int(part) for part in _rgb(hint.color))
        for wide, paint in ((7, (255, 255, 255)), (4, color)):
            if len(points) > 1:
                cv2.polylines(shown, [points], isClosed=False, color=paint, thickness=wide, lineType=cv2.LINE_AA)
            else:
                cv2.circle(shown, points[0].tolist(), wide, paint, -1, cv2.LINE_AA)
    return shown


def _rgb(hex_color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(hex_color.removeprefix("#"))
    return red, green, blue


def steering(colorizer: edgecolor.Colorizer, photos: dict[str, Photo]) -> None:
    """Two pictures without and with hints, strokes, a palette, a reference and vividness."""
    coffee, astronaut = grey_levels(photos["coffee.jpg"]), grey_levels(photos["astronaut.jpg"])
    red = [edgecolor.Hint(250, 215, "#b03a1e"), edgecolor.Hint(150, 170, "#b03a1e"), edgecolor.Hint(60, 60, "#a5592a")]
    blue = [edgecolor.Hint(hint.x, hint.y, "#4682b4") for hint in red[:2]]
    stroke = [edgecolor.Hint(130, 300, "#d9622b", path=((160, 350), (215, 330), (290, 240)))]
    first = {
        "no hints": colorizer(coffee),
        "three hints": with_hints(colorizer.predict(coffee, hints=red).image, red),
        "two other hints": with_hints(colorizer.predict(coffee, hints=blue).image, blue),
        "vividness 1.5": colorizer.predict(coffee, vividness=1.5).image,
    }
    second = {
        "no hints": colorizer(astronaut),
        "a stroke": with_hints(colorizer.predict(astronaut, hints=stroke).image, stroke),
        "a palette: steelblue, wheat": colorizer.predict(astronaut, palette=["steelblue", "wheat"]).image,
        "a reference: its own colours": colorizer.predict(astronaut, palette=photos["astronaut.jpg"]).image,
    }
    save("steering.jpg", [part for row in (first, second) for part in (titled(list(row)), row_of(list(row.values())))])


def main() -> None:
    """Make them all."""
    colorizer = edgecolor.load()
    photos = read_photos(PHOTOS)
    examples(colorizer, photos)
    alternatives(colorizer, photos)
    steering(colorizer, photos)


if __name__ == "__main__":
    main()
