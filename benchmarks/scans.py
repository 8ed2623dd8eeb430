"""Scans of 50, 200 and 800 megapixels: time beside a bare copy by libvips, memory, and whether lightness is kept.

python -m benchmarks.scans make FOLDER              make the scans: a photograph enlarged, with grain, 16-bit grey
python -m benchmarks.scans measure FOLDER [MP ...]  copy and colour each in turn, in processes of their own
python -m benchmarks.scans check FOLDER [MP ...]    compare the lightness of every pixel before and after
python -m benchmarks.scans table [--write]          the README's table of what was measured
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import edgecolor
from benchmarks.cases import PHOTOS, ROOT
from benchmarks.record import RESULTS, device, versions
from edgecolor._color import luminance_to_lightness, srgb_to_linear
from tools.pages import placed

SIDES = {50: (7072, 7072), 200: (14336, 14336), 800: (28672, 28000)}
"""Width and height by megapixels."""

_PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"

_COPY = """
import sys, time, pyvips
begin = time.perf_counter()
grey = pyvips.Image.new_from_file(sys.argv[1], access="sequential")
grey.bandjoin([grey, grey]).copy(interpretation="rgb16").write_to_file(sys.argv[2], bigtiff=True)
print(time.perf_counter() - begin)
"""

_COLOR = """
import contextlib, sys, time
from edgecolor._cli import main
begin = time.perf_counter()
with contextlib.suppress(SystemExit):
    main(["image", sys.argv[1], "-o", sys.argv[2], *sys.argv[3:]])
print(time.perf_counter() - begin)
"""


def main() -> None:
    """Make, measure or show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scans", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("make", "measure", "check"):
        command = commands.add_parser(name)
        command.add_argument("folder", type=Path)
        command.add_argument("--rounds", type=int, default=3, help="of copying and colouring in turn (default: 3)")
        command.add_argument("megapixels", type=int, nargs="*", default=list(SIDES), help=f"of {list(SIDES)} (default: all)")
    commands.add_parser("table").add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.command == "make":
        for megapixels in options.megapixels:
            make(options.folder, megapixels)
    elif options.command == "measure":
        for megapixels in options.megapixels:
            record(megapixels, measure(options.folder, megapixels, options.rounds))
    elif options.command == "check":
        for megapixels in options.megapixels:
            scan = scan_of(options.folder, megapixels)
            record(megapixels, {"lightness_change_max": round(lightness_change(scan, colored_of(scan)), 5)})
    elif options.write:
        page = ROOT / "README.md"
        page.write_text(placed(page.read_text(encoding="utf-8"), "scans", f"\n{table()}\n\n"), encoding="utf-8")
    else:
        print(table())


def scan_of(folder: Path, megapixels: int) -> Path:
    return folder / f"scan-{megapixels}.tif"


def colored_of(scan: Path) -> Path:
    return scan.with_name(f"{scan.stem}-colour.tif")


def make(folder: Path, megapixels: int) -> None:
    """A photograph, large, with the grain of film."""
    import pyvips

    width, height = SIDES[megapixels]
    photo = pyvips.Image.new_from_file(str(PHOTOS / "temple.jpg")).colourspace("b-w")
    large = photo.resize(width / photo.width, vscale=height / photo.height, kernel="cubic").crop(0, 0, width, height)
    grain = pyvips.Image.gaussnoise(width, height, sigma=700, seed=1)
    scan = (large * 250 + 800 + grain).cast("ushort").copy(interpretation="grey16")
    scan.write_to_file(str(scan_of(folder, megapixels)), bigtiff=True)


def measure(folder: Path, megapixels: int, rounds: int) -> dict[str, Any]:
    """Copy and colour one scan in turn."""
    source, copy = scan_of(folder, megapixels), folder / "copy.tif"
    color = colored_of(source)
    runs: dict[str, list[dict[str, float]]] = {"copy": [], "colour": []}
    for _ in range(rounds):
        for name, code, target in (("copy", _COPY, copy), ("colour", _COLOR, color)):
            target.unlink(missing_ok=True)
            runs[name].append(_run(code, source, target))
    copy.unlink()
    seconds = {name: [run["seconds"] for run in of] for name, of in runs.items()}
    return {
        "size": SIDES[megapixels],
        **{f"{name}_seconds": [round(value, 3) for value in of] for name, of in seconds.items()},
        "ratio": round(float(np.median(seconds["colour"]) / np.median(seconds["copy"])), 3),
        "peak_rss_mb": round(float(np.median([run["peak_rss_mb"] for run in runs["colour"]])), 1),
        "copy_peak_rss_mb": round(float(np.median([run["peak_rss_mb"] for run in runs["copy"]])), 1),
    }


def _run(code: str, source: Path, target: Path) -> dict[str, float]:
    command = [sys.executable, "-c", code + _PEAK, str(source), str(target)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - our own words
    seconds, peak = done.stdout.split()
    return {"seconds": float(seconds), "peak_rss_mb": int(peak) * 1024 / 1e6}


def lightness_change(source: Path, result: Path) -> float:
    """The greatest change of L* anywhere in the whole file."""
    worst = 0.0
    tone = srgb_to_linear(np.arange(65536) / 65535)
    weights = np.array([0.2126729, 0.7151522, 0.0721750])
    for grey, rgb in zip(_strips(source), _strips(result), strict=True):
        before = luminance_to_lightness(tone[grey[..., 0]])
        after = luminance_to_lightness(tone[rgb] @ weights)
        worst = max(worst, float(np.abs(before - after).max()))
    return worst


def _strips(path: Path) -> Iterator[Any]:
    import pyvips

    image = pyvips.Image.new_from_file(str(path), access="sequential")
    region = pyvips.Region.new(image)
    for top, stop in pairwise([*range(0, image.height, 64), image.height]):
        codes = np.frombuffer(region.fetch(0, top, image.width, stop - top), np.uint16)
        yield codes.reshape(stop - top, image.width, image.bands)


def record(megapixels: int, measured: dict[str, Any]) -> Path:
    """Put figures into this device's file, beside those it has."""
    about = device()
    name = re.sub(r"[^a-z0-9]+", "-", f"{about['name']} {os.cpu_count()} cores".lower()).strip("-")
    path = RESULTS / "scans" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = json.loads(path.read_text(encoding="utf-8"))["scans"] if path.exists() else {}
    held[str(megapixels)] = held.get(str(megapixels), {}) | measured
    content = {
        "device": about,
        "versions": versions(),
        "model": repr(edgecolor.load()),
        "date": time.strftime("%Y-%m-%d"),
        "scans": dict(sorted(held.items(), key=lambda item: int(item[0]))),
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def table() -> str:
    """Of all devices."""
    parts = []
    for path in sorted((RESULTS / "scans").glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        lines = [
            f"{content['device']['name']}, {content['device']['cores']} cores; 16-bit grey TIFF to 16-bit RGB TIFF.",
            "",
            "| scan | median | bare copy by libvips | ratio | peak memory | greatest change of L\\* |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for megapixels, of in content["scans"].items():
            color, copy = (np.median(of[f"{name}_seconds"]) for name in ("colour", "copy"))
            figures = (f"{megapixels} megapixels", f"{color:.1f} s", f"{copy:.1f} s", f"{of['ratio']:.2f}")
            change = f"{of['lightness_change_max']:.4f}" if "lightness_change_max" in of else ""
            memory = f"{of['peak_rss_mb']:.0f} MB"
            lines.append(f"| {' | '.join((*figures, memory, change))} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
