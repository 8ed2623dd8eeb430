"""Device memory, streams and graphs of the first NVIDIA GPU: cuda-bindings or pycuda behind one small interface.

cuda-bindings comes first: it has wheels for every board, and CUDA graphs. Nothing is imported before a device is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecolor._errors import EngineBuildError, EngineUnavailableError

Bytes = npt.NDArray[np.uint8]

INSTALL = "pip install 'edgecolor[cuda12]' on JetPack 6, 'edgecolor[cuda13]' on JetPack 7"

REMEDY = "close other programs, or serve smaller frames only: edgecolor build --frame 1280x720"
"""Where the GPU has no memory left."""

_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING."""

_OUT_OF_MEMORY = 2
"""cudaErrorMemoryAllocation and CUDA_ERROR_OUT_OF_MEMORY."""


@dataclass(frozen=True)
class Device:
    """The GPU that is used."""

    name: str
    """As the driver calls it."""
    compute_capability: str
    """Such as "8.7"."""
    shares_memory: bool
    """Whether it works in the same memory as the CPU, as on every Jetson: then nothing has to be copied."""
    memory_mb: int
    """All of its memory, in 10^6 bytes."""


@dataclass(frozen=True)
class Pinned:
    """Memory that both sides reach."""

    host: Bytes
    """(bytes,) uint8 view."""
    device: int
    """Address for the GPU where the two share memory, else 0."""


class Replay(Protocol):
    """Recorded work."""

    def __call__(self) -> None:
        """Put all of it on its stream, in one call."""
        ...

    def free(self) -> None:
        """Give back what it holds; it is of no use afterwards."""
        ...


class Cuda(Protocol):
    """What the TensorRT engine needs of CUDA. All methods may raise EngineBuildError."""

    @property
    def binding(self) -> str:
        """Which library this is, with its version."""
        ...

    @property
    def device(self) -> Device:
        """The GPU."""
        ...

    @property
    def captures(self) -> bool:
        """Whether a stream can be captured as a graph."""
        ...

    def active(self) -> AbstractContextManager[None]:
        """The device is current in the calling thread within it; cheap, and may be nested."""
        ...

    def stream(self) -> int:
        """A new stream that does not wait for the default one."""
        ...

    def pinned(self, size: int) -> Pinned:
        """Host memory that the GPU reads and writes at full speed, in bytes."""
        ...

    def allocate(self, size: int) -> int:
        """Device memory, in bytes; its address."""
        ...

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        """Copy pinned host memory to the device, in the order of the stream."""
        ...

    def download(self, target: Bytes, source: int, stream: int) -> None:
        """Copy device memory to pinned host memory, in the order of the stream."""
        ...

    def wait(self, stream: int) -> None:
        """Until all work of the stream is done; its failure is raised here."""
        ...

    def capture(self, stream: int, work: Callable[[], None]) -> Replay:
        """Record what ``work`` puts on the stream."""
        ...

    def release(self, *, stream: int = 0, allocated: list[int] | None = None, pinned: list[Pinned] | None = None) -> None:
        """Give back what was handed out."""
        ...


def open_cuda() -> Cuda:
    """The first binding that is installed, on the first GPU.

    Raises:
        EngineUnavailableError: No binding, no driver, or no GPU.
    """
    if find_spec("cuda") and _has("cuda.bindings"):
        return RuntimeBindings()
    if find_spec("pycuda"):
        return PyCuda()
    raise EngineUnavailableError(f"engine='tensorrt' needs cuda-bindings or pycuda, and neither is installed; run: {INSTALL}")


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def _refuse(error: Exception | str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"there is no usable NVIDIA GPU: {error}; install its driver (on a Jetson: JetPack), or use engine='onnxruntime'"
    )


def _failure(doing: str, code: int, text: str) -> EngineBuildError:
    remedy = f"; {REMEDY}" if code == _OUT_OF_MEMORY else ""
    return EngineBuildError(f"CUDA could not {doing}: {text}{remedy}")


class RuntimeBindings:
    """NVIDIA's own cuda-bindings, the runtime API."""

    captures = True

    def __init__(self) -> None:
        try:
            self._cuda: Any = import_module("cuda.bindings.runtime")
            version = import_module("cuda.bindings").__version__
        except (ImportError, RuntimeError) as error:
            raise EngineUnavailableError(f"cuda-bindings cannot be loaded: {error}; run: {INSTALL}") from error
        self.binding = f"cuda-bindings {version}"
        try:
            if self._call("find a GPU", "cudaGetDeviceCount") == 0:
                raise _refuse("the driver sees none")
            with self.active():
                properties = self._call("ask the GPU for its properties", "cudaGetDeviceProperties", 0)
        except (EngineBuildError, RuntimeError) as error:
            raise _refuse(error) from error
        name = properties.name
        self.device = Device(
            name=(name.decode() if isinstance(name, bytes) else str(name)).rstrip("\0"),
            compute_capability=f"{properties.major}.{properties.minor}",
            shares_memory=bool(properties.integrated),
            memory_mb=round(properties.totalGlobalMem / 1e6),
        )

    @contextmanager
    def active(self) -> Iterator[None]:
        self._call("use the first GPU", "cudaSetDevice", 0)
        yield

    def stream(self) -> int:
        return int(self._call("make a stream", "cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking))

    def pinned(self, size: int) -> Pinned:
        flags = self._cuda.cudaHostAllocMapped if self.device.shares_memory else self._cuda.cudaHostAllocDefault
        address = int(self._call(f"reserve {size} bytes of host memory", "cudaHostAlloc", size, flags))
        mapped = self._call("map host memory", "cudaHostGetDevicePointer", address, 0) if self.device.shares_memory else 0
        return Pinned(view_memory(address, size), int(mapped))

    def allocate(self, size: int) -> int:
        return int(self._call(f"reserve {size} bytes of device memory", "cudaMalloc", size))

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("copy to the GPU", "cudaMemcpyAsync", target, source.ctypes.data, source.nbytes, kind, stream)

    def download(self, target: Bytes, source: int, stream: int) -> None:
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("copy from the GPU", "cudaMemcpyAsync", target.ctypes.data, source, target.nbytes, kind, stream)

    def wait(self, stream: int) -> None:
        self._call("finish its work", "cudaStreamSynchronize", stream)

    def capture(self, stream: int, work: Callable[[], None]) -> Replay:
        # Other threads may allocate meanwhile: only this thread's calls belong to the graph.
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("begin a graph", "cudaStreamBeginCapture", stream, mode)
        try:
            work()
        except BaseException:
            self._cuda.cudaStreamEndCapture(stream)  # the stream is of no use before; the first error is the one to tell
            raise
        graph = self._call("end a graph", "cudaStreamEndCapture", stream)
        replay = self._call("make a graph", "cudaGraphInstantiate", graph, 0)
        self._call("free a graph", "cudaGraphDestroy", graph)
        return _Graph(self._call, replay, stream)

    def release(self, *, stream: int = 0, allocated: list[int] | None = None, pinned: list[Pinned] | None = None) -> None:
        for address in allocated or ():
            self._call("free device memory", "cudaFree", address)
        for memory in pinned or ():
            self._call("free host memory", "cudaFreeHost", memory.host.ctypes.data)
        if stream:
            self._call("end a stream", "cudaStreamDestroy", stream)

    def _call(self, doing: str, name: str, *arguments: Any) -> Any:
        """Every function returns a tuple, the error first."""
        error, *results = getattr(self._cuda, name)(*arguments)
        if int(error) != 0:
            text = self._cuda.cudaGetErrorString(error)[1]
            raise _failure(doing, int(error), text.decode() if isinstance(text, bytes) else str(text))
        return results[0] if results else None


@dataclass(frozen=True)
class _Graph:
    """A recorded graph of the runtime API."""

    call: Callable[..., Any]
    graph: Any
    stream: int

    def __call__(self) -> None:
        self.call("replay a graph", "cudaGraphLaunch", self.graph, self.stream)

    def free(self) -> None:
        self.call("free a recorded graph", "cudaGraphExecDestroy", self.graph)


class PyCuda:
    """pycuda, in the primary context, so that it works beside other users of the GPU. It has no graphs."""

    captures = False

    def __init__(self) -> None:
        try:
            self._driver: Any = import_module("pycuda.driver")
            self.binding = f"pycuda {import_module('pycuda').VERSION_TEXT}"
        except ImportError as error:  # also where the driver's library is missing
            raise _refuse(f"pycuda cannot be loaded: {error}") from error
        self._streams: dict[int, Any] = {}
        self._allocations: dict[int, Any] = {}
        try:
            self._driver.init()
            device = self._driver.Device(0)
            self._context = device.retain_primary_context()
        except self._driver.Error as error:
            raise _refuse(error) from error
        major, minor = device.compute_capability()
        integrated = device.get_attribute(self._driver.device_attribute.INTEGRATED)
        self.device = Device(device.name(), f"{major}.{minor}", bool(integrated), round(device.total_memory() / 1e6))

    @contextmanager
    def active(self) -> Iterator[None]:
        # pycuda ends the whole program when a thread ends that has left a context on its stack
        self._try("use the first GPU", self._context.push)
        try:
            yield
        finally:
            self._driver.Context.pop()

    def stream(self) -> int:
        stream = self._try("make a stream", self._driver.Stream, _NON_BLOCKING)
        self._streams[stream.handle] = stream
        return int(stream.handle)

    def pinned(self, size: int) -> Pinned:
        flags = self._driver.host_alloc_flags.DEVICEMAP if self.device.shares_memory else 0
        host = self._try(f"reserve {size} bytes of host memory", self._driver.pagelocked_empty, size, np.uint8, "C", flags)
        return Pinned(host, int(host.base.get_device_pointer()) if self.device.shares_memory else 0)

    def allocate(self, size: int) -> int:
        memory = self._try(f"reserve {size} bytes of device memory", self._driver.mem_alloc, size)
        self._allocations[int(memory)] = memory
        return int(memory)

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        self._try("copy to the GPU", self._driver.memcpy_htod_async, target, source, self._streams[stream])

    def download(self, target: Bytes, source: int, stream: int) -> None:
        self._try("copy from the GPU", self._driver.memcpy_dtoh_async, target, source, self._streams[stream])

    def wait(self, stream: int) -> None:
        if stream in self._streams:
            self._try("finish its work", self._streams[stream].synchronize)
        else:  # somebody else's: everything of the context will do
            self._try("finish its work", self._driver.Context.synchronize)

    def capture(self, stream: int, work: Callable[[], None]) -> Replay:
        raise EngineBuildError(f"{self.binding} cannot record {work} on stream {stream}: it has no CUDA graphs")

    def release(self, *, stream: int = 0, allocated: list[int] | None = None, pinned: list[Pinned] | None = None) -> None:
        for address in allocated or ():
            self._allocations.pop(address).free()
        for memory in pinned or ():
            memory.host.base.free()  # type: ignore[union-attr]  # pycuda's own memory
        if stream:
            del self._streams[stream]

    def _try(self, doing: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            raise _failure(doing, _OUT_OF_MEMORY if isinstance(error, self._driver.MemoryError) else 0, str(error)) from error


def view_memory(address: int, size: int) -> Bytes:
    """(size,) uint8 view of memory that somebody else owns."""
    interface = {"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}
    holder = type("Memory", (), {"__array_interface__": interface})()
    return np.asarray(holder)
