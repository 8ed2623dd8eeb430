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

import edgecolor
from benchmarks.cases import grey, reference_network
from benchmarks.record import RESULTS, result_path, seconds

HEIGHT, WIDTH = 1080, 1920
SHOT_FRAMES = 200
"""After so many frames there is a cut."""

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
    milliseconds = 1000 * np.array(times)
    result: dict[str, Any] = {
        "model": repr(colorizer),
        "frames": frames,
        "frames_per_second": round(frames / sum(times), 1),
        "median_ms": round(float(np.median(milliseconds)), 2),
        "p25_ms": round(float(np.percentile(milliseconds, 25)), 2),
        "p75_ms": round(float(np.percentile(milliseconds, 75)), 2),
        "p99_ms": round(float(np.percentile(milliseconds, 99)), 2),
        "p99_to_median": round(float(np.percentile(milliseconds, 99) / np.median(milliseconds)), 2),
        "cuts": steady.cuts,
        "resident_mb": memory,
    }
    if not alone:
        result["network_median_ms"] = round(1000 * float(np.median(paces)), 2)
        result["ratio_to_network"] = round(float(np.median(np.array(times) / np.array(paces))), 2)
    return result


def _resident_mb() -> float:
    """Memory of this process now, in units of 10^6 bytes."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    return 0.0


if __name__ == "__main__":
    main()
