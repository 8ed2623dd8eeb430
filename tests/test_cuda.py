"""Both CUDA bindings behind the one interface, on stand-ins of their few calls, and the calls against the real packages."""

from __future__ import annotations

import ctypes
import enum
import inspect
import re
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeCuda

from edgecolor import EngineBuildError, EngineUnavailableError, _cuda
from edgecolor._cuda import PyCuda, RuntimeBindings, open_cuda


class Runtime:
    """``cuda.bindings.runtime`` in ordinary memory: every function gives back a tuple, the error first."""

    class cudaMemcpyKind(enum.IntEnum):  # noqa: N801  # as in the bindings
        cudaMemcpyHostToDevice = 1  # noqa: N815
        cudaMemcpyDeviceToHost = 2  # noqa: N815

    class cudaStreamCaptureMode(enum.IntEnum):  # noqa: N801  # as in the bindings
        cudaStreamCaptureModeThreadLocal = 1  # noqa: N815

    cudaStreamNonBlocking = 1  # noqa: N815
    cudaHostAllocDefault = 0  # noqa: N815
    cudaHostAllocMapped = 2  # noqa: N815

    def __init__(self, *, integrated: int = 0, count: int = 1) -> None:
        self.integrated, self.count = integrated, count
        self.live: dict[int, Any] = {}
        self.fail: dict[str, int] = {}
        self.calls: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if not name.startswith("cuda") or not inspect.ismethod(value):
            return value

        def called(*arguments: Any) -> Any:
            self.calls.append(name)
            code = self.fail.get(name, 0)
            return (code, None) if code else value(*arguments)

        return called

    def cudaGetErrorString(self, code: int) -> Any:  # noqa: N802
        return 0, f"error number {int(code)}".encode()

    def cudaGetDeviceCount(self) -> Any:  # noqa: N802
        return 0, self.count

    def cudaSetDevice(self, device: int) -> Any:  # noqa: N802
        return (0,) if device == 0 else (101,)

    def cudaGetDeviceProperties(self, _device: int) -> Any:  # noqa: N802
        return 0, types.SimpleNamespace(name=b"Orin", major=8, minor=7, integrated=self.integrated, totalGlobalMem=8 << 30)

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:  # noqa: N802
        assert flags == self.cudaStreamNonBlocking
        return 0, 0x5000

    def cudaStreamDestroy(self, _stream: int) -> Any:  # noqa: N802
        return (0,)

    def cudaHostAlloc(self, size: int, flags: int) -> Any:  # noqa: N802
        assert flags == (self.cudaHostAllocMapped if self.integrated else self.cudaHostAllocDefault)
        return self.cudaMalloc(size)

    def cudaHostGetDevicePointer(self, address: int, _flags: int) -> Any:  # noqa: N802
        return 0, address

    def cudaMalloc(self, size: int) -> Any:  # noqa: N802
        memory = np.zeros(size, np.uint8)
        self.live[memory.ctypes.data] = memory
        return 0, memory.ctypes.data

    def cudaFree(self, address: int) -> Any:  # noqa: N802
        del self.live[address]
        return (0,)

    def cudaFreeHost(self, address: int) -> Any:  # noqa: N802
        return self.cudaFree(address)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: Any, stream: int) -> Any:  # noqa: N802
        assert stream == 0x5000
        assert isinstance(kind, self.cudaMemcpyKind)
        ctypes.memmove(target, source, size)
        return (0,)

    def cudaStreamSynchronize(self, _stream: int) -> Any:  # noqa: N802
        return (0,)

    def cudaStreamBeginCapture(self, _stream: int, _mode: Any) -> Any:  # noqa: N802
        return (0,)

    def cudaStreamEndCapture(self, _stream: int) -> Any:  # noqa: N802
        return 0, "graph"

    def cudaGraphInstantiate(self, graph: Any, _flags: int) -> Any:  # noqa: N802
        assert graph == "graph"
        return 0, "ready"

    def cudaGraphDestroy(self, _graph: Any) -> Any:  # noqa: N802
        return (0,)

    def cudaGraphExecDestroy(self, graph: Any) -> Any:  # noqa: N802
        assert graph == "ready"
        return (0,)

    def cudaGraphLaunch(self, graph: Any, _stream: int) -> Any:  # noqa: N802
        assert graph == "ready"
        return (0,)


def _bindings(monkeypatch: pytest.MonkeyPatch, runtime: Any) -> None:
    package = types.SimpleNamespace(__version__="12.9.1")
    modules = {"cuda.bindings.runtime": runtime, "cuda.bindings": package}
    monkeypatch.setattr(_cuda, "import_module", lambda name: modules[name])


@pytest.mark.parametrize("integrated", [0, 1])
def test_cuda_bindings_move_memory(monkeypatch: pytest.MonkeyPatch, integrated: int) -> None:
    runtime = Runtime(integrated=integrated)
    _bindings(monkeypatch, runtime)
    cuda = RuntimeBindings()
    assert cuda.binding == "cuda-bindings 12.9.1"
    assert (cuda.device.name, cuda.device.compute_capability, cuda.device.memory_mb) == ("Orin", "8.7", 8590)
    assert cuda.device.shares_memory == bool(integrated)
    stream = cuda.stream()
    first, second, device = cuda.pinned(16), cuda.pinned(16), cuda.allocate(16)
    assert bool(first.device) == bool(integrated)
    first.host[:] = np.arange(16)
    cuda.upload(device, first.host, stream)
    cuda.download(second.host, device, stream)
    cuda.wait(stream)
    np.testing.assert_array_equal(second.host, np.arange(16))
    cuda.release(stream=stream, allocated=[device], pinned=[first, second])
    assert not runtime.live


def test_cuda_bindings_record_and_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    _bindings(monkeypatch, runtime)
    cuda = RuntimeBindings()
    stream = cuda.stream()
    ran: list[int] = []
    replay = cuda.capture(stream, lambda: ran.append(1))
    replay()
    replay()
    assert ran == [1]
    assert runtime.calls.count("cudaGraphLaunch") == 2
    replay.free()
    assert runtime.calls[-1] == "cudaGraphExecDestroy"


def test_a_failed_recording_ends_the_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    _bindings(monkeypatch, runtime)
    cuda = RuntimeBindings()
    with pytest.raises(ZeroDivisionError):
        cuda.capture(cuda.stream(), lambda: 1 / 0)  # type: ignore[arg-type]
    assert runtime.calls[-1] == "cudaStreamEndCapture"


@pytest.mark.parametrize(
    ("call", "code", "words"),
    [
        ("cudaMalloc", 2, r"reserve 99 bytes of device memory: error number 2; close other programs"),
        ("cudaHostAlloc", 2, r"reserve 99 bytes of host memory: error number 2; close other programs"),
        ("cudaStreamCreateWithFlags", 700, "make a stream: error number 700$"),
        ("cudaStreamSynchronize", 700, "finish its work: error number 700$"),
    ],
)
def test_failures_of_cuda_bindings_are_named(monkeypatch: pytest.MonkeyPatch, call: str, code: int, words: str) -> None:
    runtime = Runtime()
    _bindings(monkeypatch, runtime)
    cuda = RuntimeBindings()
    runtime.fail[call] = code
    works: dict[str, Callable[[], object]] = {
        "cudaMalloc": lambda: cuda.allocate(99),
        "cudaHostAlloc": lambda: cuda.pinned(99),
        "cudaStreamCreateWithFlags": cuda.stream,
        "cudaStreamSynchronize": lambda: cuda.wait(0x5000),
    }
    with pytest.raises(EngineBuildError, match=words):
        works[call]()


@pytest.mark.parametrize(("count", "fail", "words"), [(0, {}, "sees none"), (1, {"cudaGetDeviceCount": 35}, "error number 35")])
def test_no_gpu_is_named(monkeypatch: pytest.MonkeyPatch, count: int, fail: dict[str, int], words: str) -> None:
    runtime = Runtime(count=count)
    runtime.fail = fail
    _bindings(monkeypatch, runtime)
    with pytest.raises(EngineUnavailableError, match=f"no usable NVIDIA GPU: .*{words}.*JetPack.*onnxruntime"):
        RuntimeBindings()


class Driver(types.SimpleNamespace):
    """``pycuda.driver`` in ordinary memory."""

    class Error(Exception):
        pass

    class MemoryError(Error):  # noqa: A001  # as in pycuda
        pass


def _driver(*, integrated: bool) -> Driver:
    driver = Driver(pushed=[], freed=[])

    class Memory:
        def __init__(self, size: int) -> None:
            self.array = np.zeros(size, np.uint8)

        def __int__(self) -> int:
            return int(self.array.ctypes.data)

        def free(self) -> None:
            driver.freed.append(int(self))

    class Host(np.ndarray[Any, Any]):
        pass

    class Base:
        def __init__(self, array: Any) -> None:
            self.array = array

        def get_device_pointer(self) -> int:
            return int(self.array.ctypes.data)

    class Stream:
        handle = 0x5000

        def __init__(self, flags: int) -> None:
            assert flags == 1, "it must not wait for the default stream"

        def synchronize(self) -> None:
            pass

    class Device:
        def __init__(self, number: int) -> None:
            assert number == 0

        def retain_primary_context(self) -> Any:
            def push() -> None:
                driver.pushed.append(threading.get_ident())

            return types.SimpleNamespace(push=push)

        def compute_capability(self) -> tuple[int, int]:
            return 7, 2

        def get_attribute(self, name: str) -> int:
            assert name == "integrated"
            return int(integrated)

        def name(self) -> str:
            return "Xavier"

        def total_memory(self) -> int:
            return 16_000_000_000

    def pagelocked_empty(size: int, dtype: Any, order: str, flags: int) -> Any:
        assert (order, flags) == ("C", 2 if integrated else 0)
        array = np.zeros(size, dtype)
        return types.SimpleNamespace(base=Base(array), array=array, size=size)

    def copy(target: Any, source: Any, stream: Any) -> None:
        assert isinstance(stream, Stream)
        to = target if isinstance(target, int) else target.array.ctypes.data
        origin = source if isinstance(source, int) else source.array.ctypes.data
        ctypes.memmove(to, origin, (source if isinstance(target, int) else target).size)

    driver.init = lambda: None
    driver.Device, driver.Stream = Device, Stream
    driver.mem_alloc = Memory
    driver.pagelocked_empty = pagelocked_empty
    driver.memcpy_htod_async = driver.memcpy_dtoh_async = copy
    driver.host_alloc_flags = types.SimpleNamespace(DEVICEMAP=2)
    driver.device_attribute = types.SimpleNamespace(INTEGRATED="integrated")
    driver.Context = types.SimpleNamespace(synchronize=lambda: None, pop=driver.pushed.pop)
    return driver


def _pycuda(monkeypatch: pytest.MonkeyPatch, driver: Any) -> None:
    modules = {"pycuda.driver": driver, "pycuda": types.SimpleNamespace(VERSION_TEXT="2026.1")}
    monkeypatch.setattr(_cuda, "import_module", lambda name: modules[name])


@pytest.mark.parametrize("integrated", [False, True])
def test_pycuda_moves_memory(monkeypatch: pytest.MonkeyPatch, *, integrated: bool) -> None:
    driver = _driver(integrated=integrated)
    _pycuda(monkeypatch, driver)
    cuda = PyCuda()
    assert (cuda.binding, cuda.device.name, cuda.device.compute_capability) == ("pycuda 2026.1", "Xavier", "7.2")
    stream = cuda.stream()
    first, second, device = cuda.pinned(16), cuda.pinned(16), cuda.allocate(16)
    assert bool(first.device) == integrated
    first.host.array[:] = np.arange(16)  # type: ignore[attr-defined]
    cuda.upload(device, first.host, stream)
    cuda.download(second.host, device, stream)
    cuda.wait(stream)
    cuda.wait(123)
    np.testing.assert_array_equal(second.host.array, np.arange(16))  # type: ignore[attr-defined]
    cuda.release(stream=stream, allocated=[device])
    assert driver.freed == [device]
    assert not cuda.captures
    with pytest.raises(EngineBuildError, match="no CUDA graphs"):
        cuda.capture(stream, lambda: None)


def test_pycuda_leaves_no_context_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the program where a thread, or the program itself, ends with one on its stack."""
    driver = _driver(integrated=False)
    _pycuda(monkeypatch, driver)
    cuda = PyCuda()
    assert driver.pushed == []
    with cuda.active(), cuda.active():
        assert len(driver.pushed) == 2
    with pytest.raises(ZeroDivisionError), cuda.active():
        _ = 1 / 0
    assert driver.pushed == []


def test_failures_of_pycuda_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = _driver(integrated=False)

    def full(_size: int) -> None:
        raise Driver.MemoryError("cuMemAlloc failed: out of memory")

    driver.mem_alloc = full
    _pycuda(monkeypatch, driver)
    with pytest.raises(EngineBuildError, match=r"reserve 99 bytes .* out of memory; close other programs"):
        PyCuda().allocate(99)


def test_pycuda_without_a_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise ImportError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(_cuda, "import_module", missing)
    with pytest.raises(EngineUnavailableError, match="no usable NVIDIA GPU: pycuda cannot be loaded: libcuda"):
        PyCuda()


def test_without_any_binding_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "find_spec", lambda _name: None)
    with pytest.raises(EngineUnavailableError, match=re.escape("edgecolor[cuda12]")):
        open_cuda()


def test_cuda_bindings_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cuda, "find_spec", lambda _name: object())
    first, second = FakeCuda(), FakeCuda()
    monkeypatch.setattr(_cuda, "RuntimeBindings", lambda: first)
    monkeypatch.setattr(_cuda, "PyCuda", lambda: second)
    assert open_cuda() is first
    monkeypatch.setattr(_cuda, "find_spec", lambda name: object() if name == "pycuda" else None)
    assert open_cuda() is second


# The real package


def test_the_real_cuda_bindings_have_every_call() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed: pip install '.[verify]'")
    source = inspect.getsource(RuntimeBindings)
    names = set(re.findall(r"\"(cuda[A-Z]\w+)\"", source)) | set(re.findall(r"self\._cuda\.(cuda\w+)", source))
    assert len(names) > 20
    assert [name for name in sorted(names) if not hasattr(runtime, name)] == []
    for kind, member in re.findall(r"self\._cuda\.(cuda\w+)\.(cuda\w+)", source):
        assert hasattr(getattr(runtime, kind), member)
    for attribute in ("name", "major", "minor", "integrated", "totalGlobalMem"):
        assert hasattr(runtime.cudaDeviceProp, attribute)
    for name in set(re.findall(r"\"(cuda[A-Z]\w+)\"", source)):
        given = Runtime.__dict__.get(name)
        assert given is not None, f"the stand-in lacks {name}"
        words = (getattr(runtime, name).__doc__ or "").split("\n")[0]
        real = [word for word in words.partition("(")[2].partition(")")[0].split(",") if word.strip()]
        assert len(real) == len(inspect.signature(given).parameters) - 1, words


@pytest.mark.skipif(sys.platform != "linux", reason="drivers are looked for on Linux")
def test_the_real_cuda_bindings_say_that_there_is_no_gpu() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed: pip install '.[verify]'")
    try:
        count = runtime.cudaGetDeviceCount()
    except RuntimeError:  # how releases before 13 say that there is no driver
        count = (35,)
    if int(count[0]) == 0 and count[1] > 0:
        pytest.skip("this machine has a GPU; tests/gpu uses it")
    with pytest.raises(EngineUnavailableError, match="no usable NVIDIA GPU"):
        RuntimeBindings()
