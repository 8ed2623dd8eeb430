"""Scans of 50, 200 and 800 megapixels: time beside a bare copy by libvips, memory, and whether lightness is kept.

python -m benchmarks.scans make FOLDER [SCAN ...]     a photograph enlarged, with grain, or sixteen in one; 16-bit grey
python -m benchmarks.scans measure FOLDER [SCAN ...]  copy and colour each in turn, in processes of their own
python -m benchmarks.scans check FOLDER [SCAN ...]    compare every pixel's lightness, and the colours with those at 1 megapixel
python -m benchmarks.scans table [--write]          the table of it in docs/scans.md
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import edgecolor
from benchmarks.cases import PHOTOS, ROOT
from benchmarks.record import RESULTS, device, versions
from edgecolor._color import LUMINANCE, luminance_to_lightness, rgb_to_lab, srgb_to_linear
from tools.pages import placed

SIDES = {"50": (7072, 7072), "200": (14336, 14336), "800": (28672, 28000), "crowd": (16320, 12240)}
"""Width and height by megapixels, or of the crowd."""

SMALL = 1_000_000
"""Pixels of the scan, made small, that colours are compared with."""

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

_PYTHON = """
import sys, time, edgecolor
colorizer = edgecolor.load()
begin = time.perf_counter()
colorizer.image(sys.argv[1], sys.argv[2], detail=int(sys.argv[4]) if len(sys.argv) > 3 else "auto")
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
        command.add_argument("scans", nargs="*", default=list(SIDES), help=f"of {', '.join(SIDES)} (default: all)")
    commands.add_parser("table").add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.command == "make":
        for scan in options.scans:
            make(options.folder, scan)
    elif options.command == "measure":
        for scan in options.scans:
            record(scan, measure(options.folder, scan, options.rounds))
    elif options.command == "check":
        for scan in options.scans:
            path = scan_of(options.folder, scan)
            record(scan, {"chroma_change_from_small": round(chroma_change(path, colored_of(path)), 3)})
            record(scan, {"lightness_change_max": round(lightness_change(path, colored_of(path)), 5)})
    elif options.write:
        page = ROOT / "docs" / "scans.md"
        page.write_text(placed(page.read_text(encoding="utf-8"), "scans", f"\n{table()}\n\n"), encoding="utf-8")
    else:
        print(table())


def scan_of(folder: Path, scan: str) -> Path:
    return folder / f"scan-{scan}.tif"


def colored_of(scan: Path) -> Path:
    return scan.with_name(f"{scan.stem}-colour.tif")


def make(folder: Path, scan: str) -> None:
    """A photograph, large, with the grain of film; or sixteen side by side, as they are."""
    import pyvips

    width, height = SIDES[scan]
    photo = _crowd() if scan == "crowd" else pyvips.Image.new_from_file(str(PHOTOS / "temple.jpg")).colourspace("b-w")
    large = photo.resize(width / photo.width, vscale=height / photo.height, kernel="cubic").crop(0, 0, width, height)
    grain = pyvips.Image.gaussnoise(width, height, sigma=700 if scan != "crowd" else 0, seed=1)
    result = (large * 250 + 800 + grain).cast("ushort").copy(interpretation="grey16")
    result.write_to_file(str(scan_of(folder, scan)), bigtiff=True)


def _crowd() -> Any:
    import pyvips

    paths = sorted(PHOTOS.glob("*.jpg"))
    parts = [
        pyvips.Image.thumbnail(str(paths[number * 3 % len(paths)]), 320, height=240, size="both", crop="centre")
        for number in range(16)
    ]
    return pyvips.Image.arrayjoin([part.colourspace("b-w") for part in parts], across=4).copy_memory()


def measure(folder: Path, scan: str, rounds: int) -> dict[str, Any]:
    """Copy and colour one scan in turn, as it is by default and at the finest detail, by command and from Python."""
    source, copy = scan_of(folder, scan), folder / "copy.tif"
    color = colored_of(source)
    finest = ("--detail", "4")
    cases = {
        "copy": (_COPY, copy, ()),
        "python_finest": (_PYTHON, color, finest),
        "python": (_PYTHON, color, ()),
        "finest": (_COLOR, color, finest),
        "colour": (_COLOR, color, ()),
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (code, target, options) in cases.items():
            target.unlink(missing_ok=True)
            runs[name].append(_run(code, source, target, *options))
    copy.unlink()
    seconds = {name: [run["seconds"] for run in of] for name, of in runs.items()}
    medians = {name: float(np.median(of)) for name, of in seconds.items()}
    peaks = {name: float(np.median([run["peak_rss_mb"] for run in of])) for name, of in runs.items()}
    return {
        "size": SIDES[scan],
        **{f"{name}_seconds": [round(value, 3) for value in of] for name, of in seconds.items()},
        "ratio": round(medians["colour"] / medians["copy"], 3),
        "finest_ratio": round(medians["finest"] / medians["copy"], 3),
        "peak_rss_mb": round(peaks["colour"], 1),
        "finest_peak_rss_mb": round(peaks["finest"], 1),
        "python_peak_rss_mb": round(peaks["python"], 1),
        "python_finest_peak_rss_mb": round(peaks["python_finest"], 1),
        "copy_peak_rss_mb": round(peaks["copy"], 1),
    }


def _run(code: str, source: Path, target: Path, *options: str) -> dict[str, float]:
    command = [sys.executable, "-c", code + _PEAK, str(source), str(target), *options]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - our own words
    seconds, peak = done.stdout.split()
    return {"seconds": float(seconds), "peak_rss_mb": int(peak) * 1024 / 1e6}


def lightness_change(source: Path, result: Path) -> float:
    """The greatest change of L* anywhere in the whole file, as the change of luminance by how steep L* is there."""
    worst = 0.0
    tone = srgb_to_linear(np.arange(65536) / 65535)
    steepness = np.gradient(luminance_to_lightness(tone), tone).astype(np.float32)
    tone = tone.astype(np.float32)
    for grey, rgb in zip(_strips(source), _strips(result), strict=True):
        codes = grey[..., 0]
        after: Any = cv2.transform(tone[rgb], LUMINANCE[None].astype(np.float32))
        worst = max(worst, float((np.abs(after - tone[codes]) * steepness[codes]).max()))
    return worst


def chroma_change(source: Path, result: Path) -> float:
    """How far, on average, the colours of a scan lie from those of the same scan made small first, in the a*, b* plane."""
    import pyvips

    large = pyvips.Image.new_from_file(str(result), access="sequential")
    scale = (SMALL / (large.width * large.height)) ** 0.5
    with tempfile.TemporaryDirectory() as folder:
        small, colored = Path(folder) / "small.tif", Path(folder) / "colour.tif"
        pyvips.Image.new_from_file(str(source), access="sequential").resize(scale).cast("ushort").write_to_file(str(small))
        edgecolor.load().image(small, colored)
        pictures = [pyvips.Image.new_from_file(str(colored)), large.resize(scale).cast("ushort")]
        first, second = (rgb_to_lab(picture.numpy() / 65535.0)[..., 1:] for picture in pictures)
    return float(np.linalg.norm(first - second, axis=2).mean())


def _strips(path: Path) -> Iterator[Any]:
    import pyvips

    image = pyvips.Image.new_from_file(str(path), access="sequential")
    region = pyvips.Region.new(image)
    for top, stop in pairwise([*range(0, image.height, 64), image.height]):
        codes = np.frombuffer(region.fetch(0, top, image.width, stop - top), np.uint16)
        yield codes.reshape(stop - top, image.width, image.bands)


def record(scan: str, measured: dict[str, Any]) -> Path:
    """Put figures into this device's file, beside those it has."""
    about = device()
    name = re.sub(r"[^a-z0-9]+", "-", f"{about['name']} {os.cpu_count()} cores".lower()).strip("-")
    path = RESULTS / "scans" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    held = json.loads(path.read_text(encoding="utf-8"))["scans"] if path.exists() else {}
    held[scan] = held.get(scan, {}) | measured
    content = {
        "device": about,
        "versions": versions(),
        "model": repr(edgecolor.load()),
        "date": time.strftime("%Y-%m-%d"),
        "scans": {scan: held[scan] for scan in SIDES if scan in held},
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
            "| scan | median | libvips copy | ratio | at detail 4 | memory | at detail 4 | change of L\\* | of colour |",
            "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for scan, of in content["scans"].items():
            name = "crowd, 200 megapixels" if scan == "crowd" else f"{scan} megapixels"
            color, copy = (np.median(of[f"{kind}_seconds"]) for kind in ("colour", "copy"))
            figures = (name, f"{color:.1f} s", f"{copy:.1f} s", f"{of['ratio']:.2f}", f"{of['finest_ratio']:.2f}")
            memory = [f"{max(of[kind], of[f'python_{kind}']):.0f} MB" for kind in ("peak_rss_mb", "finest_peak_rss_mb")]
            changes = (f"{of['lightness_change_max']:.4f}", f"{of['chroma_change_from_small']:.2f}")
            lines.append(f"| {' | '.join((*figures, *memory, *changes))} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


if __name__ == "__main__":
    main()
