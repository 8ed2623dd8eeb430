"""Keep a teacher in a quarter of its size: every large tensor as 8-bit codes, a scale for each of its rows.

    python -m tools.packed runs/TEACHER tools/weights/teacher.npz

``tools.recover`` makes a run of it again, to distil from. It takes hours to train without a GPU, and never ships.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_LARGE = 4096
"""Values from which a tensor is rounded; what is smaller weighs little, and matters much."""

Arrays = dict[str, npt.NDArray[Any]]


def packed(state: dict[str, Tensor]) -> Arrays:
    """Of a network's tensors: ``NAME`` as they are, or ``NAME:codes`` int8 and ``NAME:scale`` float32."""
    arrays: Arrays = {}
    for name, value in state.items():
        array = value.float().numpy() if value.is_floating_point() else value.numpy()
        if not value.is_floating_point() or value.ndim < 2 or array.size < _LARGE:
            arrays[name] = array.astype(np.float16) if array.dtype == np.float32 and array.size >= _LARGE else array
            continue
        rows = array.reshape(-1, array.shape[-1]) if array.shape[0] == 1 else array.reshape(len(array), -1)
        scale = np.maximum(np.abs(rows).max(1, keepdims=True) / 127, 1e-12).astype(np.float32)
        arrays[f"{name}:codes"] = np.rint(rows / scale).astype(np.int8).reshape(array.shape)
        arrays[f"{name}:scale"] = scale
    return arrays


def unpacked(arrays: Arrays) -> dict[str, Tensor]:
    """The tensors again, rounded."""
    state: dict[str, Tensor] = {}
    for key, array in arrays.items():
        name, _, part = key.partition(":")
        if not part:
            state[name] = torch.from_numpy(array.astype(np.float32) if array.dtype == np.float16 else array)
        elif part == "codes":
            scale = arrays[f"{name}:scale"]
            state[name] = torch.from_numpy((array.reshape(len(scale), -1) * scale).reshape(array.shape))
    return state


def read_packed(file: Path) -> dict[str, Any]:
    """A file as a checkpoint of a teacher's run."""
    with np.load(file) as kept:
        arrays = {name: kept[name] for name in kept.files}
    seen = int(arrays.pop("seen"))
    return {"average": unpacked(arrays), "size": "teacher", "seen": seen, "seen_before": 0}


def main(arguments: list[str] | None = None) -> None:
    """Pack the running mean of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument("file", type=Path, help="NAME.npz to write")
    options = parser.parse_args(arguments)
    state = torch.load(options.run / "checkpoint.pt", map_location="cpu", weights_only=True)
    kept = packed(state["average"]) | {"seen": np.array(state["seen"])}
    options.file.parent.mkdir(parents=True, exist_ok=True)
    partial = options.file.with_suffix(".partial.npz")
    np.savez_compressed(partial, **kept)  # type: ignore[arg-type,unused-ignore]
    partial.replace(options.file)
    print(f"{options.file}: {options.file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
