"""The README's table of how fast it is, from benchmarks/results.

python -m benchmarks.table [FILE ...]               print it
python -m benchmarks.table [FILE ...] --write       put it between <!-- benchmarks --> and <!-- end --> in README.md
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

HEAD = "| | median | middle half | 99 % within | times the network | peak memory |\n| --- | ---: | ---: | ---: | ---: | ---: |"


def main(arguments: list[str] | None = None) -> None:
    """Print or write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="results (default: all of benchmarks/results)")
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    options = parser.parse_args(arguments)
    files = options.files or sorted(RESULTS.glob("*.json"))
    text = "\n\n".join(section(json.loads(path.read_text(encoding="utf-8"))) for path in files)
    if options.write:
        README.write_text(placed(README.read_text(encoding="utf-8"), "benchmarks", f"\n{text}\n\n"), encoding="utf-8")
    else:
        print(text)


def section(results: dict[str, Any]) -> str:
    """One device's figures."""
    device, versions, model = results["device"], results["versions"], results["model"]
    about = (
        f"{device['name']}, {device['cores']} cores. Model {model['name']} {model['precision']} (`{model['sha256'][:12]}`), "
        f"edgecolor {versions['edgecolor']}, ONNX Runtime {versions['onnxruntime']}, OpenCV {versions['opencv']}, "
        f"NumPy {versions['numpy']}, Python {versions['python']}."
    )
    return "\n".join([about, "", HEAD, *map(row, results["benchmarks"].values())])


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
    return f"{milliseconds:.0f} ms" if milliseconds >= 99.5 else f"{milliseconds:.1f} ms"


if __name__ == "__main__":
    main()
