"""Plot what lively colours cost: CIEDE2000 and PSNR against colourfulness, from the mean to the vivid and annealed.

    python -m tools.curve HELD-OUT.tar --run runs/NAME --write docs/quality.md

Each line is one temperature, along it the vividness grows. The star is the operating point of the run. The plot goes into
``pictures/curve.png`` beside the page, the temperatures at equal colourfulness between its markers ``curve``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.pages import placed
from tools.tables import markdown

TEMPERATURES = (1.0, 0.75, 0.5, 0.3)
VIVIDNESSES = (0.4, 0.6, 0.8, 0.9, 1.03, 1.2, 1.4, 1.7)

_INK = ("#00204d", "#4c556c", "#948e77", "#d6b72c")


def plot(lines: Sequence[Sequence[dict[str, float]]], default: dict[str, float], path: Path) -> None:
    """Both costs against colourfulness, one line a temperature."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, cost in ((left, "delta_e00"), (right, "psnr_gain_db")):
        for line, ink in zip(lines, _INK, strict=True):
            name = f"temperature {line[0]['temperature']:g}"
            axes.plot([p["colorfulness"] for p in line], [p[cost] for p in line], ".-", color=ink, label=name)
        name = f"as it ships: {default['temperature']:g}, vividness {default['vividness']:g}"
        axes.plot(default["colorfulness"], default[cost], "*", color="#c4391d", markersize=13, label=name)
        axes.set(xlabel="colourfulness, as a ratio to the truth's")
    left.set(ylabel="mean CIEDE2000 to the truth")
    right.set(ylabel="PSNR gained over grey, dB")
    right.legend(frameon=False)
    figure.savefig(path, dpi=110)


def at_colorfulness(line: Sequence[dict[str, float]], wanted: float) -> dict[str, float]:
    """The point of one temperature where it is as colourful as wanted, between the nearest that were measured."""
    places = [point["colorfulness"] for point in line]
    return {name: float(np.interp(wanted, places, [point[name] for point in line])) for name in line[0]}


def table(lines: Sequence[Sequence[dict[str, float]]], default: dict[str, float]) -> str:
    """Every temperature at the default's colourfulness; what ships; and the points that the two figures would choose."""

    def row(name: str, point: dict[str, float]) -> list[str]:
        figures = [f"{point['vividness']:.2f}", f"{point['colorfulness']:.2f}"]
        return [name, f"{point['temperature']:g}", *figures, f"{point['delta_e00']:.2f}", f"{point['psnr_gain_db']:.2f}"]

    every = [point for line in lines for point in line]
    rows = [row("**as it ships**", default)]
    rows += [row("as colourful as that", at_colorfulness(line, default["colorfulness"])) for line in lines]
    rows.append(row("least CIEDE2000", min(every, key=lambda point: point["delta_e00"])))
    rows.append(row("most PSNR", max(every, key=lambda point: point["psnr_gain_db"])))
    return markdown(["", "temperature", "vividness", "colourfulness", "CIEDE2000", "PSNR gained, dB"], rows)


def main(arguments: list[str] | None = None) -> None:
    """Sweep and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="tar or folder of photographs that were not trained on")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--limit", type=int, default=300, help="photographs to use (default %(default)s)")
    parser.add_argument("--write", type=Path, required=True, help="page with the marker curve")
    options = parser.parse_args(arguments)
    from tools.calibrate import answers, measure, read_operating_point
    from tools.data import read_photos
    from tools.network import read_network

    point = read_operating_point(options.run)
    found = answers(read_network(options.run), list(read_photos(options.photos, options.limit).values()))
    lines = [[figures for figures, _ in measure(found, temperature, VIVIDNESSES)] for temperature in TEMPERATURES]
    ((default, _),) = measure(found, point.temperature, (point.vividness,))
    plot(lines, default, options.write.parent / "pictures" / "curve.png")
    page = options.write.read_text(encoding="utf-8")
    options.write.write_text(placed(page, "curve", f"\n{table(lines, default)}\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
