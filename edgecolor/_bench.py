"""How fast this machine is: the network, and whole frames beside it, in one run so that whatever slows one slows all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecolor._colorizer import Colorizer
from edgecolor._grid import grid_size

WARM_UP = 3
"""Rounds that are not counted: memory is reserved in them, and a GPU's clocks rise."""


def bench(colorizer: Colorizer, frame: tuple[int, int], seconds: float) -> dict[str, dict[str, float]]:
    """Time the network, a frame to RGB and a Y plane to Cb and Cr, in turn, for about ``seconds`` in all.

    Args:
        colorizer: What to measure.
        frame: Height and width.
        seconds: How long.

    Returns:
        For each its median, middle half and 99th percentile in ms, the median of its ratio to the network, and the runs.
    """
    luma = _picture(*frame)
    area = colorizer._model.grid_area  # noqa: SLF001  # no user needs it
    planes = np.zeros((1, 4, *grid_size(*frame, area)), np.float32)
    planes[0, 0] = 50
    works: dict[str, Callable[[], object]] = {
        "network": lambda: colorizer._engine.run(planes, "colors"),  # noqa: SLF001  # what the others are compared with
        "rgb": lambda: colorizer(luma),
        "chroma_planes": lambda: colorizer.chroma_planes(luma),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    stop = time.perf_counter() + seconds
    rounds = 0
    while rounds < WARM_UP + 5 or time.perf_counter() < stop:
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name].append(1000 * (time.perf_counter() - start))
        rounds += 1
    return {name: _figures(values[WARM_UP:], times["network"][WARM_UP:]) for name, values in times.items()}


def _figures(milliseconds: list[float], network: list[float]) -> dict[str, float]:
    values = np.array(milliseconds)
    p25, median, p75, p99 = np.percentile(values, [25, 50, 75, 99])
    figures = {"median_ms": median, "p25_ms": p25, "p75_ms": p75, "p99_ms": p99}
    rounded = {name: round(float(value), 3) for name, value in figures.items()}
    return {**rounded, "ratio_to_network": round(float(np.median(values / np.array(network))), 3), "runs": len(values)}


def _picture(height: int, width: int) -> npt.NDArray[Any]:
    """Something smooth with edges: what is in it changes no time."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves: npt.NDArray[Any] = 127 + 60 * np.sin(x / 97) + 60 * np.sign(np.sin(y / 71))
    return waves.astype(np.uint8)
