"""Take the mean of the weights of several training runs that went on from one another, as a run of its own.

    python -m tools.mean --runs runs/ONE runs/OTHER --shares 0.4 0.6 --out runs/NAME

It is often better than any of them, at no cost (Wortsman et al. 2022, "Model soups"). Runs that began apart have nothing in
common, and no mean worth having.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.train import write_whole


def mean_weights(states: list[dict[str, Tensor]], shares: list[float]) -> dict[str, Tensor]:
    """Of networks of the same tensors; shares add up to 1. Counts are taken from the last one."""
    mean = dict(states[-1])
    for name, value in mean.items():
        if value.is_floating_point():
            mean[name] = sum((share * state[name] for share, state in zip(shares, states, strict=True)), 0 * value)
    return mean


def main(arguments: list[str] | None = None) -> None:
    """Read the runs, write their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders of the runs, of one size")
    parser.add_argument("--shares", type=float, nargs="+", required=True, help="of each, adding up to 1")
    parser.add_argument("--out", type=Path, required=True, help="folder to write checkpoint.pt to")
    options = parser.parse_args(arguments)
    if len(options.shares) != len(options.runs) or abs(sum(options.shares) - 1) > 1e-6:
        parser.error(f"--shares {options.shares}: one for each of the {len(options.runs)} runs, adding up to 1")
    found: list[dict[str, Any]] = [
        torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True) for run in options.runs
    ]
    sizes = {state.get("size", "lite") for state in found}
    if len(sizes) > 1:
        parser.error(f"--runs: of one size, but these are {sorted(sizes)}")
    seen = max(int(state["seen"] + state.get("seen_before", 0)) for state in found)
    average = mean_weights([state["average"] for state in found], options.shares)
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "checkpoint.pt", {"average": average, "size": sizes.pop(), "seen": seen, "seen_before": 0})
    print(options.out / "checkpoint.pt")


if __name__ == "__main__":
    main()
