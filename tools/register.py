"""Enter model files into edgecolor/models/models.toml: hashes, sizes and measured quality.

    python -m tools.register FOLDER --model lite --run runs/NAME --commit COMMIT --description "..."

Copies the files of ``engines`` from the folder into the package and rewrites the model's entry; whatever else stands in
models.toml stays. Once the registered model was evaluated, again with ``--quality figures.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import tomlkit

from tools.calibrate import read_operating_point
from tools.network import photographs_seen, read_network

FOLDER = Path(__file__).parent.parent / "edgecolor" / "models"

FILES = {
    "onnxruntime": {"fp32": {"network": "fp32.onnx"}, "int8": {"network": "cpu-int8.onnx"}},
    "tensorrt": {
        precision: {
            "network": f"{precision}.onnx",
            "rgb": f"{precision}.rgb.onnx",
            "chroma": f"{precision}.chroma.onnx",
            "weights": f"{precision}.weights",
        }
        for precision in ("fp16", "int8")
    },
}
"""Endings of the shipped files by engine, precision and part; the first precision of an engine is its default."""

QUALITY = (
    "delta_e00",
    "delta_e00_ratio_to_grey",
    "psnr_gain_db",
    "colorfulness_ratio_to_truth",
    "confidence_spearman_median",
)


def file_entry(path: Path) -> dict[str, Any]:
    """Name, hash and size of one model file."""
    content = path.read_bytes()
    return {"name": path.name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def quality_of(path: Path) -> dict[str, float]:
    """The figures that models.toml keeps, to four digits."""
    figures = json.loads(path.read_text())
    kept = {name: figures["quality"][name]["mean"] for name in QUALITY}
    kept["expected_calibration_error"] = figures["calibration"]["expected_calibration_error"]
    return {name: round(value, 4) for name, value in kept.items()}


def main(arguments: list[str] | None = None) -> None:
    """Copy the files and write the entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files of export, quantize and quantize_cpu lie")
    parser.add_argument("--model", required=True, help="name to register under")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--commit", required=True, help="commit of this repository that the network was trained at")
    parser.add_argument("--description", required=True, help="one line for people")
    parser.add_argument("--quality", type=Path, help="figures.json that tools.evaluate wrote for this model")
    options = parser.parse_args(arguments)
    point = read_operating_point(options.run)
    entry: dict[str, Any] = {
        "description": options.description,
        "licence": "Apache-2.0",
        "trained_at": options.commit,
        "photographs_seen": photographs_seen(options.run),
        "parameters": sum(value.numel() for value in read_network(options.run).parameters()),
        "temperature": point.temperature,
        "vividness": point.vividness,
        "grid_area": read_network(options.run).size.grid_area,
        "default_precision": {engine: next(iter(precisions)) for engine, precisions in FILES.items()},
        "quality": quality_of(options.quality) if options.quality else {},
        "file": {
            engine: {
                precision: {part: file_entry(options.folder / f"{options.model}.{ending}") for part, ending in parts.items()}
                for precision, parts in precisions.items()
            }
            for engine, precisions in FILES.items()
        },
    }
    for source in sorted(options.folder.glob(f"{options.model}.*")):
        if source.suffix in (".onnx", ".weights") and source.resolve().parent != FOLDER:
            copy = FOLDER / f"{source.name}.partial"
            shutil.copyfile(source, copy)
            copy.replace(FOLDER / source.name)
    path = FOLDER / "models.toml"
    document = tomlkit.parse(path.read_text()) if path.exists() else tomlkit.document()
    document.setdefault("default", options.model)
    document.setdefault("model", tomlkit.table(is_super_table=True))[options.model] = entry
    partial = path.with_suffix(".partial")
    partial.write_text(tomlkit.dumps(document))
    partial.replace(path)
    print(f"{options.model} registered in {path}")


if __name__ == "__main__":
    main()
