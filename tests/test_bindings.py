"""The calls we make, against the real bindings of TensorRT 10.3, 10.13 and 11, imported without the libraries they bind.

The bindings' wheels are small and on PyPI; the libraries they link to are replaced by stubs that hold the few C symbols they
ask for and do nothing. That is enough to see every class, method, property and enumerator.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edgecolor import _trt

RELEASES = ("tensorrt-cu12-bindings==10.3.0", "tensorrt-cu12-bindings==10.13.3.9", "tensorrt-cu13-bindings==11.4.0.106")

MEMBERS = {
    "Builder": [
        "create_network",
        "create_builder_config",
        "create_optimization_profile",
        "build_serialized_network",
        "num_DLA_cores",
    ],
    "INetworkDefinition": ["num_inputs", "get_input"],
    "ITensor": ["name"],
    "OnnxParser": ["parse_from_file", "num_errors", "get_error"],
    "ParserError": ["desc", "node_name"],
    "IBuilderConfig": [
        "set_memory_pool_limit",
        "default_device_type",
        "DLA_core",
        "set_flag",
        "hardware_compatibility_level",
        "profiling_verbosity",
        "add_optimization_profile",
        "create_timing_cache",
        "set_timing_cache",
        "get_timing_cache",
        "progress_monitor",
    ],
    "ITimingCache": ["serialize"],
    "IOptimizationProfile": ["set_shape"],
    "IProgressMonitor": ["phase_start", "step_complete", "phase_finish"],
    "ILogger": ["log", "Severity"],
    "Runtime": ["deserialize_cuda_engine", "engine_host_code_allowed"],
    "ICudaEngine": [
        "num_io_tensors",
        "get_tensor_name",
        "get_tensor_mode",
        "get_tensor_dtype",
        "get_tensor_shape",
        "get_tensor_profile_shape",
        "create_execution_context",
    ],
    "IExecutionContext": ["set_input_shape", "set_tensor_address", "infer_shapes", "get_tensor_shape", "execute_async_v3"],
    "NetworkDefinitionCreationFlag": ["STRONGLY_TYPED"],
    "MemoryPoolType": ["WORKSPACE"],
    "DeviceType": ["DLA"],
    "BuilderFlag": ["GPU_FALLBACK", "VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"],
    "HardwareCompatibilityLevel": ["AMPERE_PLUS"],
    "ProfilingVerbosity": ["DETAILED"],
    "TensorIOMode": ["INPUT"],
    "DataType": ["FLOAT", "HALF", "UINT8", "INT8", "INT32", "INT64", "BOOL"],
}
"""Every class of the bindings that we touch, and what we touch of it."""

PROBE = """
import importlib, json, sys
module = importlib.import_module("tensorrt_bindings.tensorrt")
members = json.loads(sys.argv[1])
has = lambda owner, name: hasattr(getattr(module, owner, None), name)
missing = [f"{owner}.{name}" for owner, names in members.items() for name in names if not has(owner, name)]
try:
    module.Builder(type("Log", (module.ILogger,), {"__init__": module.ILogger.__init__, "log": lambda *_: None})())
    failure = "none"
except TypeError:
    failure = "TypeError"
print(json.dumps({"missing": missing, "builder": failure}))
"""

needs = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64" or not shutil.which("gcc") or not shutil.which("nm"),
    reason="importing TensorRT's bindings without its libraries needs Linux on x86-64, gcc and nm",
)


def _wheel(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    if done.returncode:
        pytest.skip(f"{requirement} cannot be had for this Python here: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return next(folder.glob("*.whl"))


def _lines(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S603


def _stub_libraries(bindings: Path, folder: Path) -> None:
    """Libraries of the names that the bindings ask for, with the C symbols that nobody else gives them."""
    needed = [line.split("[")[1].rstrip("]") for line in _lines("readelf", "-d", str(bindings)) if "(NEEDED)" in line]
    unbound = [line.split()[-1] for line in _lines("nm", "-D", "-u", str(bindings)) if "@" not in line]
    symbols = [name for name in unbound if not name.startswith(("Py", "_Py", "_ITM", "__gmon", "_Unwind"))]
    source = folder / "stubs.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in symbols))
    for library in [name for name in needed if name.startswith("libnv")]:
        command = ["gcc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", "-o", str(folder / library), str(source)]
        subprocess.run(command, capture_output=True, check=True)  # noqa: S603


@needs
@pytest.mark.parametrize("requirement", RELEASES)
def test_every_call_exists_in_the_real_bindings(requirement: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(_wheel(requirement, tmp_path)) as wheel:
        wheel.extractall(tmp_path)
    package = tmp_path / "tensorrt_bindings"
    _stub_libraries(next(package.glob("tensorrt*.so")), tmp_path)
    (package / "__init__.py").write_text("")  # its own would load the libraries
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", PROBE, json.dumps(MEMBERS)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["missing"] == []
    assert found["builder"] == "TypeError", "how the bindings fail without their library is what build_plan catches"


def test_every_call_exists_in_tensorrt_rtx() -> None:
    rt = pytest.importorskip("tensorrt_rtx_bindings", reason="not installed: pip install '.[verify]'")
    # Plans of TensorRT-RTX are its own: it has neither a DLA nor the compatibility across releases of TensorRT
    assert [
        f"{owner}.{name}" for owner, names in MEMBERS.items() for name in names if not hasattr(getattr(rt, owner), name)
    ] == []


def test_no_call_is_forgotten_here() -> None:
    """Whatever `_trt` takes from the bindings is in MEMBERS."""
    tree = ast.parse(inspect.getsource(_trt))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rt"
    }
    assert used - set(MEMBERS) <= {"__version__", "__name__", "ComputeCapability"}
    called = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name | ast.Attribute)
        and (node.value.id if isinstance(node.value, ast.Name) else node.value.attr)
        in ("builder", "network", "parser", "config", "engine", "_engine", "_context", "_runtime", "shapes")
    }
    known = {name for names in MEMBERS.values() for name in names}
    assert called - known <= {"num_compute_capabilities", "set_compute_capability", "items"}
