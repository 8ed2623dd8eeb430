"""A GPU and a TensorRT for machines that have neither: a fake of the few calls we make, which computes with ONNX Runtime.

What is put on a stream happens when the stream is waited for, and not before, as on a GPU: code that reads too early, copies in
the wrong order or lets go of memory too soon gets wrong numbers here too.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import importlib
import itertools
import json
import threading
import types
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecolor._cuda import Bytes, Device, Pinned, Replay, view_memory
from edgecolor._errors import EngineBuildError

Work = Callable[[], None]

DTYPES = {"tensor(float)": ("FLOAT", np.float32), "tensor(uint8)": ("UINT8", np.uint8)}


class FakeCuda:
    """An :class:`edgecolor._cuda.Cuda` in ordinary memory."""

    binding = "a fake of CUDA"
    opened: FakeCuda | None = None

    def __init__(self, *, shares_memory: bool = False, captures: bool = True, name: str = "Orin") -> None:
        self.device = Device(name, "8.7", shares_memory, 8_000)
        self.captures = captures
        self.streams: dict[int, list[Work]] = {}
        self.recording: list[Work] | None = None
        self.calls: list[str] = []
        self.failing: str | None = None
        self.memory: dict[int, npt.NDArray[Any]] = {}
        self._handles = itertools.count(1)
        self._within = threading.local()
        FakeCuda.opened = self

    def _called(self, name: str) -> None:
        assert getattr(self._within, "depth", 0) > 0, "the device must be current"
        self.calls.append(name)
        if self.failing == name:
            raise EngineBuildError(f"CUDA could not do {name}: out of memory")

    def _put(self, stream: int, work: Work) -> None:
        (self.streams[stream] if self.recording is None else self.recording).append(work)

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        self._within.depth = getattr(self._within, "depth", 0) + 1
        try:
            yield
        finally:
            self._within.depth -= 1

    def stream(self) -> int:
        self._called("stream")
        handle = next(self._handles)
        self.streams[handle] = []
        return handle

    def pinned(self, size: int) -> Pinned:
        self._called("pinned")
        host = np.full(size, 0xCC, np.uint8)
        self.memory[host.ctypes.data] = host
        return Pinned(host, host.ctypes.data if self.device.shares_memory else 0)

    def allocate(self, size: int) -> int:
        self._called("allocate")
        memory = np.full(size, 0xDD, np.uint8)
        self.memory[memory.ctypes.data] = memory
        return int(memory.ctypes.data)

    def upload(self, target: int, source: Bytes, stream: int) -> None:
        self._called("upload")
        self._put(stream, lambda: _copy(target, source.ctypes.data, source.nbytes))

    def download(self, target: Bytes, source: int, stream: int) -> None:
        self._called("download")
        self._put(stream, lambda: _copy(target.ctypes.data, source, target.nbytes))

    def wait(self, stream: int) -> None:
        self._called("wait")
        work = self.streams.setdefault(stream, [])
        while work:
            work.pop(0)()

    def capture(self, stream: int, work: Work) -> Replay:
        self._called("capture")
        assert not self.streams[stream], "a stream must be at rest before it is captured"
        recorded: list[Work] = []
        self.recording = recorded
        try:
            work()
        finally:
            self.recording = None

        return _Recorded(self, stream, recorded)

    def release(self, *, stream: int = 0, allocated: list[int] | None = None, pinned: list[Pinned] | None = None) -> None:
        for address in [*(allocated or ()), *(memory.host.ctypes.data for memory in pinned or ())]:
            del self.memory[address]
        self.streams.pop(stream, None)


class _Recorded:
    """An :class:`edgecolor._cuda.Replay`."""

    def __init__(self, cuda: FakeCuda, stream: int, work: list[Work]) -> None:
        self.cuda, self.stream, self.work = cuda, stream, work

    def __call__(self) -> None:
        self.cuda._called("replay")
        self.cuda.streams[self.stream].extend(self.work)

    def free(self) -> None:
        self.cuda._called("free a graph")
        self.work.clear()


def _copy(target: int, source: int, size: int) -> None:
    ctypes.memmove(target, source, size)


class GpuArray:
    """What PyTorch or CuPy would hand over: an array that only says where it lies on the GPU."""

    def __init__(self, array: npt.NDArray[Any], *, stream: int | None = None) -> None:
        self.array = array
        self.shape = array.shape
        self.stream = stream

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        contiguous = self.array.flags.c_contiguous
        return {
            "shape": self.shape,
            "typestr": self.array.dtype.str,
            "data": (self.array.ctypes.data, not self.array.flags.writeable),
            "strides": None if contiguous else self.array.strides,
            "stream": self.stream,
            "version": 3,
        }


def fake_tensorrt(*, version: str = "10.3.0", dla_cores: int = 0) -> types.ModuleType:
    """A module with the calls of the bindings that ``edgecolor._trt`` makes; ``built`` lists what was built, and how."""
    module: Any = types.ModuleType("tensorrt")
    module.__version__ = version
    module.__spec__ = ModuleSpec("tensorrt", None)
    module.built = []

    class ILogger:
        class Severity(enum.IntEnum):
            INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def log(self, severity: Any, message: str) -> None:
            raise NotImplementedError

    class Network:
        def __init__(self, flags: int) -> None:
            assert flags == 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            self.path = Path()
            self.inputs: list[Any] = []

        @property
        def num_inputs(self) -> int:
            return len(self.inputs)

        def get_input(self, index: int) -> Any:
            return types.SimpleNamespace(name=self.inputs[index].name)

    class OnnxParser:
        def __init__(self, network: Network, _logger: Any) -> None:
            self.network = network
            self.errors: list[str] = []

        @property
        def num_errors(self) -> int:
            return len(self.errors)

        def get_error(self, index: int) -> Any:
            return types.SimpleNamespace(desc=lambda: self.errors[index], node_name=lambda: "node")

        def parse_from_file(self, path: str) -> bool:
            try:
                self.network.inputs = session_of(Path(path)).get_inputs()
            except Exception as error:  # noqa: BLE001  # whatever ONNX Runtime has to say
                self.errors.append(str(error).splitlines()[0])
                return False
            self.network.path = Path(path)
            return True

    class Config:
        def __init__(self) -> None:
            self.flags: set[str] = set()
            self.limits: dict[str, int] = {}
            self.profiles: list[dict[str, Any]] = []
            self.timings: list[bytes] = []

        def set_memory_pool_limit(self, pool: Any, size: int) -> None:
            self.limits[pool.name] = size

        def set_flag(self, flag: Any) -> None:
            self.flags.add(flag.name)

        def add_optimization_profile(self, profile: Any) -> None:
            self.profiles.append(profile.shapes)

        def create_timing_cache(self, content: bytes) -> Any:
            self.timings.append(content)
            return types.SimpleNamespace(serialize=lambda: content + b"timed")

        def set_timing_cache(self, cache: Any, _ignore_mismatch: bool) -> bool:  # noqa: FBT001  # as in the bindings
            self.cache = cache
            return True

        def get_timing_cache(self) -> Any:
            return self.cache

    class Profile:
        def __init__(self) -> None:
            self.shapes: dict[str, Any] = {}

        def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
            self.shapes[name] = shapes

    class Builder:
        num_DLA_cores = dla_cores  # noqa: N815  # as in the bindings

        def __init__(self, logger: ILogger) -> None:
            self.logger = logger

        def create_network(self, flags: int) -> Network:
            return Network(flags)

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
            module.built.append((network.path.name, config))
            if module.build_error:
                self.logger.log(ILogger.Severity.ERROR, module.build_error)
                return None
            monitor = getattr(config, "progress_monitor", None)
            if monitor:
                monitor.phase_start("Building", None, 2)
                if module.building:
                    module.building()
                if not monitor.step_complete("Building", 0):
                    self.logger.log(ILogger.Severity.ERROR, "build canceled")
                    return None
                monitor.phase_finish("Building")
            plan = {"path": str(network.path), "profile": config.profiles[0], "version": module.__version__}
            return json.dumps(plan).encode()

    class IProgressMonitor:
        pass

    class Runtime:
        def __init__(self, logger: ILogger) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            if module.load_error:
                self.logger.log(ILogger.Severity.ERROR, module.load_error)
                return None
            try:
                content = json.loads(plan)
                assert module.accepts_any_version or content["version"] == module.__version__
            except (ValueError, AssertionError):
                self.logger.log(ILogger.Severity.ERROR, "Serialization assertion failed: version mismatch")
                return None
            return Engine(content)

    class Engine:
        def __init__(self, plan: dict[str, Any]) -> None:
            self.session = session_of(Path(plan["path"]))
            self.profile = plan["profile"]
            self.io = {value.name: value for value in [*self.session.get_inputs(), *self.session.get_outputs()]}
            self.inputs = {value.name for value in self.session.get_inputs()}

        @property
        def num_io_tensors(self) -> int:
            return len(self.io)

        def get_tensor_name(self, index: int) -> str:
            return [str(name) for name in self.io][index]

        def get_tensor_mode(self, name: str) -> Any:
            return module.TensorIOMode.INPUT if name in self.inputs else module.TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name: str) -> Any:
            return types.SimpleNamespace(name=DTYPES[self.io[name].type][0])

        def get_tensor_profile_shape(self, name: str, index: int) -> list[Any]:
            assert index == 0
            return list(self.profile.get(name) or [self.get_tensor_shape(name)] * 3)

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return tuple(side if isinstance(side, int) else -1 for side in self.io[name].shape)

        def create_execution_context(self) -> Context | None:
            return None if module.context_error else Context(self)

    class Context:
        def __init__(self, engine: Engine) -> None:
            self.engine = engine
            self.shapes: dict[str, tuple[int, ...]] = {}
            self.addresses: dict[str, int] = {}
            self.reshaped = 0

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            self.reshaped += self.shapes.get(name) != tuple(shape)
            least, _, most = self.engine.get_tensor_profile_shape(name, 0)
            self.shapes[name] = tuple(shape)
            return all(low <= side <= high for low, side, high in zip(least, shape, most, strict=True))

        def set_tensor_address(self, name: str, address: int) -> bool:
            self.addresses[name] = address
            return True

        def infer_shapes(self) -> list[str]:
            return sorted(self.engine.inputs - set(self.shapes))

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            sides = {
                label: side
                for given, shape in self.shapes.items()
                for label, side in zip(self.engine.io[given].shape, shape, strict=True)
                if isinstance(label, str)
            }
            return tuple(_side(label, sides) for label in self.engine.io[name].shape)

        def execute_async_v3(self, stream: int) -> bool:
            if module.execute_error:
                return False
            shapes, addresses, reshaped = dict(self.shapes), dict(self.addresses), self.reshaped
            assert FakeCuda.opened is not None
            FakeCuda.opened._put(stream, lambda: self._execute(shapes, addresses, reshaped))
            return True

        def _execute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int], reshaped: int) -> None:
            assert reshaped == self.reshaped, "a recording is invalid once its context was given other shapes"
            feed = {name: self._at(name, addresses[name], shape) for name, shape in shapes.items()}
            names = [name for name in self.engine.io if name not in self.engine.inputs]
            for name, answer in zip(names, self.engine.session.run(names, feed), strict=True):
                self._at(name, addresses[name], answer.shape)[...] = answer

        def _at(self, name: str, address: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
            dtype = np.dtype(DTYPES[self.engine.io[name].type][1])
            return view_memory(address, int(np.prod(shape)) * dtype.itemsize).view(dtype).reshape(shape)

    for item in (ILogger, OnnxParser, Builder, IProgressMonitor, Runtime):
        setattr(module, item.__name__, item)
    for name, members in {
        "NetworkDefinitionCreationFlag": ["EXPLICIT_BATCH", "STRONGLY_TYPED"],
        "MemoryPoolType": ["WORKSPACE", "DLA_MANAGED_SRAM"],
        "DeviceType": ["GPU", "DLA"],
        "BuilderFlag": ["GPU_FALLBACK", "VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"],
        "HardwareCompatibilityLevel": ["NONE", "AMPERE_PLUS"],
        "ProfilingVerbosity": ["DETAILED", "NONE"],
        "TensorIOMode": ["NONE", "INPUT", "OUTPUT"],
    }.items():
        setattr(module, name, enum.IntEnum(name, members, start=0))
    module.load_error = ""
    module.building = None
    module.accepts_any_version = False
    module.build_error = ""
    module.context_error = False
    module.execute_error = False
    found: types.ModuleType = module
    return found


def _side(label: int | str, sides: dict[str, int]) -> int:
    if isinstance(label, int):
        return label
    name, _, divisor = label.partition("/")
    return sides[name] // int(divisor or 1)


def session_of(path: Path) -> Any:
    """ONNX Runtime, but for the optimiser that makes nonsense of float16 scales."""
    onnxruntime = importlib.import_module("edgecolor._ort").onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )
