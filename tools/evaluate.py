"""Measure a shipped model on colour photographs, through the library, as a user would run it.

    python -m tools.evaluate VAL.tar --out FOLDER [--model lite --precision fp32]

Writes ``figures.json`` (every figure with its bootstrap 95 % interval, grey's beside it), ``calibration.png``,
``hints.png`` and ``contact.jpg`` (grey, coloured, confidence, truth).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from edgecolor._color import delta_e00, lab_to_rgb, rgb_to_lab
from edgecolor._explain import heat
from edgecolor._hints import css_ab
from tools.data import Photo, read_photos
from tools.figures import NEAR, blocks, figures_of, grey_of, interval, psnr, summary
from tools.pages import placed

Array = npt.NDArray[Any]

HINT_COUNTS = (0, 1, 5, 10, 50, 100)
SCALES = (0.5, 1, 2, 4)


def measure_quality(colorizer: edgecolor.Colorizer, photos: list[Photo]) -> tuple[list[dict[str, float]], Array]:
    """Per-photograph figures; and (n, 2) confidence and CIEDE2000 of one pixel in 37."""
    rows, pixels = [], []
    for number, photo in enumerate(photos):
        answer = colorizer.predict(photo)
        row, error = figures_of(photo, answer.image, answer.confidence)
        rows.append(row)
        pixels.append(np.stack([answer.confidence.ravel()[::37], error.ravel()[::37]], axis=1))
        if number % 100 == 99:
            print(f"{number + 1} of {len(photos)} photographs", flush=True)
    return rows, np.concatenate(pixels)


def calibration(pixels: Array, bins: int = 15) -> dict[str, Any]:
    """Expected calibration error of the confidence, and the curve it comes from."""
    confidence, near = pixels[:, 0], pixels[:, 1] < NEAR
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    curve = []
    for index in range(bins):
        inside = place == index
        if inside.any():
            curve.append((float(confidence[inside].mean()), float(near[inside].mean()), float(inside.mean())))
    error = sum(share * abs(said - was) for said, was, share in curve)
    return {"expected_calibration_error": error, "curve": curve}


def patch_color(photo: Photo, x: int, y: int) -> str:
    """Mean colour of the 5 x 5 pixels around a point, as CSS."""
    patch = photo[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].reshape(-1, 3).mean(0)
    return f"rgb({patch[0]:.1f} {patch[1]:.1f} {patch[2]:.1f})"


def measure_hints(colorizer: edgecolor.Colorizer, photos: list[Photo]) -> dict[str, Any]:
    """PSNR by number of hints of the true colour, and the error at the hinted points themselves."""
    gains: dict[int, list[float]] = {count: [] for count in HINT_COUNTS}
    at_points = []
    for number, photo in enumerate(photos):
        rng = np.random.default_rng(number)
        spots = [(int(rng.integers(photo.shape[1])), int(rng.integers(photo.shape[0]))) for _ in range(max(HINT_COUNTS))]
        hints = [edgecolor.Hint(x, y, patch_color(photo, x, y)) for x, y in spots]
        for count in HINT_COUNTS:
            image = colorizer.predict(photo, hints=hints[:count]).image
            gains[count].append(psnr(image / 255.0, photo / 255.0))
            if count == 5:
                at_points += [point_error(image, photo, hint) for hint in hints[:count]]
    return {
        "psnr_db": {str(count): interval(values) for count, values in gains.items()},
        "delta_e00_at_point": interval(at_points),
        "delta_e00_at_point_p95": float(np.percentile(at_points, 95)),
    }


def point_error(image: Photo, photo: Photo, hint: edgecolor.Hint) -> float:
    """CIEDE2000 at a hinted pixel to the asked colour at that pixel's own lightness, shrunk into the gamut as any is."""
    x, y = int(hint.x), int(hint.y)
    lightness = rgb_to_lab(photo[y, x] / 255.0)[0]
    asked = rgb_to_lab(lab_to_rgb(np.array([lightness, *css_ab(hint.color)])))
    return float(delta_e00(rgb_to_lab(image[y, x] / 255.0), asked))


def measure_scales(colorizer: edgecolor.Colorizer, photos: list[Photo]) -> dict[str, dict[str, float]]:
    """Mean distance in the a*, b* plane between the same photograph at neighbouring sizes, on a common 64 x 64 grid."""
    steps: dict[str, list[float]] = {}
    for photo in photos:
        planes = []
        for scale in SCALES:
            size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4
            rgb = colorizer(cv2.resize(photo, size, interpolation=method))
            lab = rgb_to_lab(rgb / 255.0)
            planes.append(cv2.resize(lab, (64, 64), interpolation=cv2.INTER_AREA)[..., 1:])
        for (small, first), (large, second) in zip(
            zip(SCALES, planes, strict=True), zip(SCALES[1:], planes[1:], strict=False), strict=False
        ):
            steps.setdefault(f"{small}x to {large}x", []).append(float(np.hypot(*(first - second).T).mean()))
    return {name: interval(values) for name, values in steps.items()}


def measure_alternatives(colorizer: edgecolor.Colorizer, photos: list[Photo]) -> dict[str, Any]:
    """Mean CIEDE2000 of the answer, and of the best of it and three alternatives, chosen by the truth for each block."""
    single, best = [], []
    for photo in photos:
        lab = rgb_to_lab(photo / 255.0)
        answer = colorizer.predict(photo)
        errors = [blocks(delta_e00(rgb_to_lab(image / 255.0), lab)) for image in (answer.image, *answer.alternatives(3))]
        single.append(float(errors[0].mean()))
        best.append(float(np.min(errors, axis=0).mean()))
    return {"answer": interval(single), "best_of_four_by_block": interval(best)}


def contact_sheet(colorizer: edgecolor.Colorizer, photos: list[Photo], columns: int = 3) -> Photo:
    """Rows of grey, coloured, confidence and truth, 200 pixels wide each."""
    cells = []
    for photo in photos:
        answer = colorizer.predict(photo)
        grey = np.rint(grey_of(rgb_to_lab(photo / 255.0)) * 255).astype(np.uint8)
        parts = [
            cv2.resize(part, (200, 150), interpolation=cv2.INTER_AREA)
            for part in (grey, answer.image, heat(answer.confidence), photo)
        ]
        cells.append(np.pad(np.hstack(parts), ((2, 2), (4, 4), (0, 0)), constant_values=255))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[first : first + columns]) for first in range(0, len(cells), columns)])


def plot_calibration(curve: list[tuple[float, float, float]], error: float, path: Path) -> None:
    """What was said against what was true, with the share of pixels at each confidence."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    said, was, share = np.array(curve).T
    axes.plot([0, 1], [0, 1], color="#999", linewidth=1, label="honest")
    axes.bar(said, share / max(share) * 0.25, width=0.05, color="#cfd8e6", label="share of pixels")
    axes.plot(said, was, "o-", color="#00204d", label=f"measured, ECE {error:.3f}")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence given", ylabel="share within CIEDE2000 10 of the truth")
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=110)


def plot_hints(by_count: dict[str, dict[str, float]], path: Path) -> None:
    """PSNR against the number of hints."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    means = [value["mean"] for value in by_count.values()]
    spread = [
        [value["mean"] - value["low"] for value in by_count.values()],
        [value["high"] - value["mean"] for value in by_count.values()],
    ]
    axes.errorbar(range(len(means)), means, yerr=spread, fmt="o-", color="#00204d", capsize=3)
    axes.set_xticks(range(len(means)), list(by_count))
    axes.set(xlabel="hints, at random points, of the true colour", ylabel="PSNR in dB")
    figure.savefig(path, dpi=110)


def quality_table(figures: dict[str, Any]) -> str:
    """The figures that people ask for, as Markdown."""
    quality, hints = figures["quality"], figures["hints"]["psnr_db"]

    few = f" ({figures['count_of_subset']} of them)"

    def cell(value: dict[str, float], digits: int) -> str:
        return f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"

    scales = "; ".join(f"{name} {value['mean']:.2f}" for name, value in figures["scales"].items())
    rows = (
        ("mean CIEDE2000 to the truth", cell(quality["delta_e00"], 2), cell(quality["grey_delta_e00"], 2)),
        ("the same, as a ratio to grey", cell(quality["delta_e00_ratio_to_grey"], 3), "1"),
        ("PSNR, dB", cell(quality["psnr_db"], 2), cell(quality["grey_psnr_db"], 2)),
        ("PSNR gained over grey, dB", cell(quality["psnr_gain_db"], 2), "0"),
        ("colourfulness, as a ratio to the truth's", cell(quality["colorfulness_ratio_to_truth"], 3), "0"),
        ("confidence against error, median rank correlation", cell(quality["confidence_spearman_median"], 3), ""),
        ("expected calibration error", f"{figures['calibration']['expected_calibration_error']:.3f}", ""),
        (f"CIEDE2000 at a hinted pixel{few}", cell(figures["hints"]["delta_e00_at_point"], 2), ""),
        (f"PSNR with 0, 1, 5, 10, 50, 100 hints, dB{few}", " → ".join(f"{value['mean']:.2f}" for value in hints.values()), ""),
        (f"same photograph at neighbouring sizes, mean Δab{few}", scales, ""),
        ("greatest change of L* anywhere, 8 bit", f"{quality['lightness_error_max']['max']:.2f}", ""),
    )
    head = "| figure | edgecolor | grey |\n| --- | --- | --- |\n"
    return head + "".join(f"| {name} | {own} | {grey} |\n" for name, own, grey in rows)


def main(arguments: list[str] | None = None) -> None:
    """Measure everything and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="tar file or folder of colour photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for figures and pictures")
    parser.add_argument(
        "--readme", type=Path, help="Markdown file whose table between <!-- quality --> and <!-- end --> to renew"
    )
    parser.add_argument("--model", default="auto", help="registered model (default: auto)")
    parser.add_argument("--precision", default="auto", help="and its precision (default: auto)")
    parser.add_argument("--limit", type=int, default=None, help="photographs to use (default: all)")
    parser.add_argument(
        "--subset", type=int, default=60, help="photographs for hints, sizes and alternatives (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    colorizer = edgecolor.load(options.model, precision=options.precision)
    photos = list(read_photos(options.photos, options.limit).values())
    subset = photos[:: max(1, len(photos) // options.subset)][: options.subset]
    rows, pixels = measure_quality(colorizer, photos)
    calibrated = calibration(pixels)
    figures: dict[str, Any] = {
        "colorizer": repr(colorizer),
        "photographs": len(photos),
        "quality": summary(rows),
        "calibration": calibrated,
        "count_of_subset": len(subset),
        "hints": measure_hints(colorizer, subset),
        "scales": measure_scales(colorizer, subset),
        "alternatives": measure_alternatives(colorizer, subset),
    }
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    plot_calibration(calibrated["curve"], calibrated["expected_calibration_error"], options.out / "calibration.png")
    plot_hints(figures["hints"]["psnr_db"], options.out / "hints.png")
    sheet = contact_sheet(colorizer, photos[:: max(1, len(photos) // 36)][:36])
    cv2.imwrite(str(options.out / "contact.jpg"), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if options.readme:
        page = options.readme.read_text(encoding="utf-8")
        options.readme.write_text(placed(page, "quality", quality_table(figures)), encoding="utf-8")
    for name in ("delta_e00_ratio_to_grey", "psnr_gain_db", "colorfulness_ratio_to_truth", "confidence_spearman_median"):
        value = figures["quality"][name]
        print(f"{name:32} {value['mean']:.3f}  [{value['low']:.3f}, {value['high']:.3f}]")
    print(f"{'expected_calibration_error':32} {calibrated['expected_calibration_error']:.3f}")


if __name__ == "__main__":
    main()
