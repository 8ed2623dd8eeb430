from __future__ import annotations

import numpy as np
import pytest

from edgecolor._grid import STEP, grid_size

AREAS = [200 * 200, 256 * 256]
SIZES = [(1, 1), (1, 5000), (5000, 1), (7, 3), (480, 640), (853, 479), (4000, 6000), (20000, 15000), (300, 900), (900, 300)]


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("size", SIZES)
def test_sides_are_multiples_of_the_step(area: int, size: tuple[int, int]) -> None:
    assert all(side >= STEP and side % STEP == 0 for side in grid_size(*size, area))


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("size", SIZES)
def test_area_stays_near_the_intended(area: int, size: tuple[int, int]) -> None:
    height, width = grid_size(*size, area)
    assert area / 1.51 <= height * width <= area * 1.51


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("aspect", np.geomspace(1 / 3, 3, 41))
def test_aspect_is_kept(area: int, aspect: float) -> None:
    width, height = round(3000 * np.sqrt(aspect)), round(3000 / np.sqrt(aspect))
    rows, columns = grid_size(height, width, area)
    assert abs(np.log(columns / rows) - np.log(width / height)) < np.log(1.08)


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize(("size", "thin"), [((1, 5000), 0), ((5000, 1), 1)])
def test_the_thinnest_pictures_get_the_thinnest_grid(area: int, size: tuple[int, int], thin: int) -> None:
    grid = grid_size(*size, area)
    assert grid[thin] in (STEP, 2 * STEP)
    assert grid[1 - thin] > 4 * grid[thin]


@pytest.mark.parametrize("area", AREAS)
def test_turned_pictures_get_turned_grids(area: int) -> None:
    assert all(grid_size(*size, area) == grid_size(*size[::-1], area)[::-1] for size in SIZES)


@pytest.mark.parametrize("area", AREAS)
@pytest.mark.parametrize("size", [(480, 640), (400, 300), (1080, 1920), (600, 600), (2000, 1500)])
def test_a_picture_has_the_same_grid_at_any_scale(area: int, size: tuple[int, int]) -> None:
    grids = {grid_size(round(size[0] * scale), round(size[1] * scale), area) for scale in (0.5, 1, 2, 4)}
    assert len(grids) == 1


@pytest.mark.parametrize("area", AREAS)
def test_square_pictures_are_seen_with_the_whole_area(area: int) -> None:
    assert grid_size(1000, 1000, area) == {AREAS[0]: (192, 192), AREAS[1]: (256, 256)}[area]
