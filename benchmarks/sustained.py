"""Whether it keeps up: many 1080p frames through one stream, the bare network beside them, and the memory.

    python -m benchmarks.sustained [--frames 1000] [--alone] [--record]

Prints one line of JSON: frames per second, median and 99th percentile of the frame time, its ratio to the bare network
just before each frame, and resident memory along the way. ``--record`` puts it into benchmarks/results/<device>.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgecolor
from benchmarks.cases import grey, reference_network
from benchmarks.record import RESULTS, result_path, seconds

HEIGHT, WIDTH = 1080, 1920
SHOT_FRAMES = 200
"""After so many frames there is a cut."""

QUANTILES = {"median": 50, "p25": 25, "p75": 75, "p99": 99}

SAMPLES = 20
"""How often the memory is looked at."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sustained", description=__doc__)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--alone", action="store_true", help="without the network beside it: for the memory over many frames")
    parser.add_argument("--record", action="store_true", help="into the results of this device")
    options = parser.parse_args(arguments)
    result = sustained(options.frames, alone=options.alone)
    print(json.dumps(result))
    if options.record:
        path = result_path(RESULTS)
        content = json.loads(path.read_text(encoding="utf-8"))
        content.setdefault("sustained", {})[str(options.frames)] = result
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sustained(frames: int, *, alone: bool = False) -> dict[str, Any]:
    """The figures of a stream of so many frames; the first twenty are not timed."""
    colorizer = edgecolor.load()
    network, steady = reference_network(colorizer), colorizer.steady()
    wide = grey(HEIGHT + 2 * SHOT_FRAMES, WIDTH + 4 * SHOT_FRAMES)
    views = [wide, np.ascontiguousarray(wide[::-1, ::-1])]
    out = tuple(np.empty((HEIGHT // 2, WIDTH // 2), np.uint8) for _ in range(2))
    times, paces, memory = [], [], []
    for number in range(-20, frames):
        shot, step = divmod(number + 20, SHOT_FRAMES)
        y = views[shot % 2][2 * step : 2 * step + HEIGHT, 4 * step : 4 * step + WIDTH]
        pace = float("nan") if alone else seconds(network)
        start = time.perf_counter()
        steady.chroma_planes(y, out=(out[0], out[1]))
        if number >= 0:
            times.append(time.perf_counter() - start)
            paces.append(pace)
        if number >= 0 and number % max(1, frames // SAMPLES) == 0:
            memory.append(_resident_mb())
    result: dict[str, Any] = {"model": repr(colorizer), "frames": frames, "cuts": steady.cuts, "resident_mb": memory}
    return result if alone else result | _timings(np.array(times), np.array(paces))


def _timings(times: npt.NDArray[np.float64], network: npt.NDArray[np.float64]) -> dict[str, float]:
    """What is said of frame times in seconds, and of the bare network's just before them."""
    quantiles = {f"{name}_ms": np.percentile(1000 * times, share) for name, share in QUANTILES.items()}
    found = {
        "frames_per_second": len(times) / times.sum(),
        **quantiles,
        "p99_to_median": quantiles["p99_ms"] / quantiles["median_ms"],
        "network_median_ms": 1000 * np.median(network),
        "ratio_to_network": np.median(times / network),
    }
    return {name: round(float(value), 2) for name, value in found.items()}


def _resident_mb() -> float:
    """Memory of this process now, in units of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return 0.0


if __name__ == "__main__":
    main()
