"""Whether the borders of tiles can be found in a result."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from fakes import Picture

import edgecolor
from benchmarks.detail import border_steps, borders, chroma_of, colored, other_starts
from edgecolor import _detail
from edgecolor._detail import Detail

SIZE = (900, 1200)


def _smooth() -> Picture:
    noise = np.random.default_rng(0).standard_normal((*SIZE, 2)).astype(np.float32)
    return 5 * cv2.GaussianBlur(noise, (0, 0), 3)


def test_where_there_is_no_border_none_is_found() -> None:
    near, far = border_steps(_smooth(), *borders(SIZE, 4))
    assert near / far == pytest.approx(1, abs=0.02)


def test_a_border_is_found() -> None:
    chroma = _smooth()
    _, columns, _ = borders(SIZE, 2)
    chroma[:, round(columns[0]) :] += 2
    near, far = border_steps(chroma, *borders(SIZE, 2))
    assert near / far > 1.02


@pytest.mark.parametrize("detail", [2, 4])
def test_the_borders_in_a_real_crowd_are_no_steps(
    detail: Detail, photographs: dict[str, Picture], colorizer: edgecolor.Colorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture has edges of its own, near borders or not; so it is compared with itself, coloured in other tiles."""
    photos = [cv2.resize(photo, (300, 450)) for photo in photographs.values()]
    crowd = cv2.resize(np.hstack(photos[:2]), SIZE[::-1])
    places = borders(SIZE, detail)
    near, far = border_steps(chroma_of(colored(colorizer, crowd, detail)), *places)
    monkeypatch.setattr(_detail, "tile_starts", other_starts)
    other_near, other_far = border_steps(chroma_of(colored(colorizer, crowd, detail)), *places)
    assert near / far < 1.05 * other_near / other_far
