"""The tables of how fast it is, from benchmarks/results: all of it in docs/speed.md, five lines of it in the README.

python -m benchmarks.table [FILE ...]               print all of it
python -m benchmarks.table [FILE ...] --write       put it between <!-- benchmarks --> and <!-- end --> in both
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.cases import ROOT
from benchmarks.record import RESULTS
from tools.pages import placed

README = ROOT / "README.md"
PAGE = ROOT / "docs" / "speed.md"

SHORT = (
    "The bare network on 256 by 256, fp32, 2 threads",
    "1080p frame, 8-bit grey to RGB",
    "24 megapixels, 16-bit grey to RGB",
    "`edgecolor image`, from start to the picture on disk",
    "tiny: 1080p frame, 8-bit grey to RGB",
)
"""Titles of the cases that the README shows."""

HEAD = "| | median | middle half | 99 % within | times the network | peak memory |\n| --- | ---: | ---: | ---: | ---: | ---: |"

GPU_HEAD = (
    "| on the GPU | median | 99 % within | operations alone | each layer through memory | times the network | host | memory |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def main(arguments: list[str] | None = None) -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="results (default: all of benchmarks/results)")
    parser.add_argument("--write", action="store_true", help=f"put it into {PAGE.name} and README.md")
    options = parser.parse_args(arguments)
    files = options.files or sorted(RESULTS.glob("*.json"))
    results = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    text = "\n\n".join(section(found) for found in results if "benchmarks" in found)
    if options.write:
        few = "\n\n".join(short(found) for found in results if "benchmarks" in found)
        for page, table in ((PAGE, text), (README, few)):
            page.write_text(placed(page.read_text(encoding="utf-8"), "benchmarks", f"\n{table}\n\n"), encoding="utf-8")
    else:
        print(text)


def short(results: dict[str, Any]) -> str:
    """What matters most of one device's figures."""
    found = {figures["title"]: figures for figures in results["benchmarks"].values()}
    lines = [
        f"| {title} | {duration(found[title]['median_ms'])} | {found[title]['ratio_to_network']:.2f} |"
        for title in SHORT
        if title in found
    ]
    device = results["device"]
    head = f"| {device['name']}, {device['cores']} cores | median | times the network |\n| --- | ---: | ---: |"
    return "\n".join([head, *lines])


def section(results: dict[str, Any]) -> str:
    """One device's figures."""
    device, versions, model = results["device"], results["versions"], results["model"]
    gpu = f"{versions['tensorrt']}, driver {versions['driver']}, {versions['binding']}, " if "gpu" in device else ""
    about = (
        f"{device['name']}, {device['cores']} cores. Model {model['name']} {model['precision']} (`{model['sha256'][:12]}`), "
        f"edgecolor {versions['edgecolor']}, {gpu}ONNX Runtime {versions['onnxruntime']}, OpenCV {versions['opencv']}, "
        f"NumPy {versions['numpy']}, Python {versions['python']}."
    )
    lines = [row(figures) for figures in results["benchmarks"].values() if "floor_ms" not in figures]
    tables = ["\n".join([HEAD, *lines])] if lines else []
    return "\n\n".join([about, *tables, *(gpu_tables(results) if "rates" in results else [])])


def gpu_tables(results: dict[str, Any]) -> list[str]:
    """What ``benchmarks.gpu`` measured."""
    lines = [gpu_row(figures) for figures in results["benchmarks"].values() if "floor_ms" in figures]
    rates = results["rates"]
    measured = (
        f"Measured of the card: {rates['copy_gb_s']:.0f} GB/s copied (read + written), {rates['upload_gb_s']:.1f} GB/s to it, "
        f"{rates['download_gb_s']:.1f} GB/s from it, {rates['half_tflops']:.1f} TFLOP/s in a half matrix product; not measured "
        f"but counted from its clock: {rates['vector_tflops']:.1f} TFLOP/s without tensor cores."
    )
    bars = [f"| {bar['what']} (bar: {bar['bar']}) | {bar['of']} | {bar['found']:.3g} |" for bar in results["bars"]]
    plans = [f"| {name} | {plan['plan_mb']:.1f} MB | {plan['build_s']:.1f} s |" for name, plan in results["plans"].items()]
    return [
        measured,
        "\n".join([GPU_HEAD, *lines]),
        "\n".join(["| | of | found |\n| --- | --- | ---: |", *bars]),
        "\n".join(["| plan | size | built and loaded in |\n| --- | ---: | ---: |", *plans]),
    ]


def gpu_row(figures: dict[str, Any]) -> str:
    """One case's line."""
    cells = (
        figures["title"],
        duration(figures["median_ms"]),
        duration(figures["p99_ms"]),
        duration(figures["operations_ms"]),
        f"{duration(figures['floor_ms'])} ({figures['floor_ms'] / figures['median_ms']:.0%})",
        f"{figures['ratio_to_network']:.2f}",
        duration(figures["host_ms"]),
        f"{figures['gpu_memory_mb']:.0f} MB",
    )
    return f"| {' | '.join(cells)} |"


def row(figures: dict[str, Any]) -> str:
    """One case's line."""
    cells = (
        figures["title"],
        duration(figures["median_ms"]),
        f"{duration(figures['p25_ms'])} to {duration(figures['p75_ms'])}",
        duration(figures["p99_ms"]),
        f"{figures['ratio_to_network']:.2f}",
        f"{figures['peak_rss_mb']:.0f} MB",
    )
    return f"| {' | '.join(cells)} |"


def duration(milliseconds: float) -> str:
    """Three digits and a unit."""
    if milliseconds >= 999.5:
        return f"{milliseconds / 1000:.2f} s"
    digits = next((digits for least, digits in ((99.5, 0), (9.95, 1), (0.995, 2)) if milliseconds >= least), 3)
    return f"{milliseconds:.{digits}f} ms"


if __name__ == "__main__":
    main()
