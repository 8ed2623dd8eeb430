"""How it is measured: beside the bare network, round by round, so that whatever slows the machine slows both."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import edgecolor
from benchmarks.cases import ROOT, Call
from edgecolor import _cuda
from edgecolor._engine import choose_engine, why_not_tensorrt
from edgecolor._models import find_model

RESULTS = ROOT / "benchmarks" / "results"

# A process inherits the peak of the one that started it, so a small one stands between.
_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def seconds(call: Call) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def figures(times: Sequence[float], network: Sequence[float]) -> dict[str, float]:
    """What is recorded of a case.

    Args:
        times: Of its rounds, in seconds.
        network: Of the bare network just before each of them.
    """
    milliseconds = 1000 * np.array(times)
    quantiles = {"median": 50, "p25": 25, "p75": 75, "p99": 99}
    return {
        **{f"{name}_ms": round(float(np.percentile(milliseconds, share)), 3) for name, share in quantiles.items()},
        "runs": len(times),
        "ratio_to_network": round(float(np.median(milliseconds / (1000 * np.array(network)))), 3),
        "network_median_ms": round(1000 * float(np.median(network)), 3),
    }


def peak_rss_mb(case: str) -> float:
    """Peak resident memory of a process that does nothing but prepare a case and call it twice, in units of 10^6 bytes."""
    command = [sys.executable, "-c", _PEAK, sys.executable, "-m", "benchmarks.cases", case]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603 - our own words
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return round(int(done.stdout) * unit / 1e6, 1)


def device() -> dict[str, Any]:
    """What the figures were measured on."""
    cuda = _gpu()
    found = {"name": _device_name(cuda), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}
    return found | ({"processor": _processor(), "gpu": asdict(cuda.device)} if cuda else {})


def versions() -> dict[str, str]:
    """Of everything that takes part."""
    found = {
        "edgecolor": edgecolor.__version__,
        "onnxruntime": version("onnxruntime"),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    cuda = _gpu()
    if cuda:
        from edgecolor._trt import release, tensorrt

        found |= {"tensorrt": release(tensorrt()), "binding": cuda.binding, "driver": _driver()}
    if hasattr(cuda, "_call"):  # cuda-bindings
        asked = {"cuda": "cudaRuntimeGetVersion", "cuda_of_driver": "cudaDriverGetVersion"}
        numbers = {name: divmod(cuda._call("tell its version", function), 1000) for name, function in asked.items()}
        found |= {name: f"{major}.{rest // 10}" for name, (major, rest) in numbers.items()}
    return found


def _gpu() -> Any:
    """The GPU that TensorRT uses here, if any."""
    if why_not_tensorrt() is not None:
        return None
    return _cuda.open_cuda()


def _driver() -> str:
    """The driver's version, on a Jetson the release of its system."""
    tegra = Path("/etc/nv_tegra_release")
    if tegra.exists():
        return tegra.read_text(encoding="utf-8").splitlines()[0].strip("# ")
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own words
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.splitlines()[0].strip()


def write(folder: Path, benchmarks: dict[str, Any], **sections: Any) -> Path:
    """Write the figures of a run to ``folder/<device>.json``, beside those of other cases with the same model.

    Args:
        folder: Of the results.
        benchmarks: Name of a case -> its figures.
        sections: What else was found, beside the benchmarks.
    """
    model = find_model(engine=choose_engine("auto"))
    content: dict[str, Any] = {
        "device": device(),
        "versions": versions(),
        "model": {"name": model.model, "precision": model.precision, "sha256": model.network.sha256},
        "benchmarks": benchmarks,
        **sections,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = result_path(folder)
    if path.exists():  # what was not measured this time stays, if it was the same model
        before = json.loads(path.read_text(encoding="utf-8"))
        if before["model"] == content["model"]:
            content = {**before, **content, "benchmarks": {**before["benchmarks"], **benchmarks}}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def result_path(folder: Path) -> Path:
    """The file for this device: a GPU's where TensorRT finds one, since that is then what colours."""
    cuda = _gpu()
    words = _device_name(cuda) if cuda else f"{_device_name(cuda)} {os.cpu_count()} cores"
    return folder / f"{re.sub(r'[^a-z0-9]+', '-', words.lower()).strip('-')}.json"


def _device_name(cuda: Any) -> str:
    """The board's name where it has one, as a Jetson does, else the GPU's, else the processor's."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text(encoding="utf-8").strip("\0\n ")
    return str(cuda.device.name) if cuda else _processor()


def _processor() -> str:
    processors = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", processors.read_text(encoding="utf-8")) if processors.exists() else None
    return named[1].strip() if named else platform.processor() or platform.machine()
