"""TensorRT: build the plan once, keep it, run it. The only file that knows TensorRT.

One path serves TensorRT 10.3 to 11 and TensorRT-RTX: the precision stands in the ONNX file (strongly typed), so there are no
precision flags and no calibrator. NumPy arrays never enter TensorRT, only addresses do.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecolor._cuda import Cuda, Pinned
from edgecolor._errors import EngineBuildError, EngineUnavailableError
from edgecolor._plans import write_file

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Profile = dict[str, tuple[Shape, Shape, Shape]]
"""Least, likeliest and greatest shape of every input whose shape varies."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is, [0, 1]."""

MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
"""Where the bindings may be found; the first that has a builder is taken."""

OLDEST = (10, 3)
"""TensorRT of JetPack 6.2."""

GRAPHS_KEPT = 8
"""Recorded CUDA graphs a thread keeps, one for each shape."""


@dataclass(frozen=True)
class BuildOptions:
    """How plans are built; all of it is part of their key."""

    workspace_mb: int | None = None
    """Scratch memory that a layer may take, in MiB; None leaves it to TensorRT."""
    dla_core: int | None = None
    """Run on this deep-learning accelerator, and on the GPU what it cannot do."""
    hardware_compatible: bool = False
    """A plan for all GPUs from Ampere on, somewhat slower."""
    version_compatible: bool = False
    """A plan that later TensorRT releases load."""
    compute_capabilities: tuple[str, ...] = ()
    """TensorRT-RTX only: build for these GPUs, such as "8.6", without having them."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> BuildOptions:
        """From what ``asdict`` gave, after a trip through JSON."""
        try:
            known: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
            }
            return cls(**known)
        except TypeError as error:
            raise EngineBuildError(f"build options of another release: {error}; run edgecolor build again") from error


@cache
def tensorrt() -> ModuleType:
    """The installed bindings.

    Raises:
        EngineUnavailableError: There are none, they cannot be loaded, or they are too old.
    """
    reasons = []
    for name in MODULES:
        if not find_spec(name):
            continue
        try:
            module = import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(f"{name} cannot be loaded: {error}")
            continue
        if not hasattr(module, "Builder"):
            reasons.append(f"{name} has no builder: only stubs are installed")
        elif "rtx" not in name and _version(module) < OLDEST:
            reasons.append(f"{name} {module.__version__} is too old: {'.'.join(map(str, OLDEST))} or newer is needed")
        else:
            return module
    raise EngineUnavailableError(
        "; ".join(reasons or ["TensorRT is not installed"])
        + ". On a Jetson it comes with JetPack (apt install python3-libnvinfer, in an environment made with"
        " --system-site-packages); engine='onnxruntime' needs no GPU"
    )


def _version(module: ModuleType) -> tuple[int, ...]:
    return tuple(int(part) for part in str(module.__version__).split(".")[:2])


class _Messages:
    """What TensorRT says while it works; its warnings and errors are kept for the error that we raise."""

    def __init__(self, rt: ModuleType, *, verbose: bool = False) -> None:
        kept = self.kept = []  # type: list[tuple[str, str]]
        severity = rt.ILogger.Severity
        names = {severity.INTERNAL_ERROR: "error", severity.ERROR: "error", severity.WARNING: "warning", severity.INFO: "info"}

        class Logger(rt.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                rt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                name = names.get(severity, "verbose")
                if verbose or name in ("error", "warning"):
                    kept.append((name, message))

        self.logger = Logger()

    def errors(self) -> str:
        """Its errors, in one line."""
        return "; ".join(" ".join(text.split()) for name, text in self.kept if name == "error")[-600:] or "it does not say why"


def build_plan(  # noqa: PLR0913  # the rest have defaults
    graph: Path,
    profile: Profile,
    options: BuildOptions,
    progress: Progress | None = None,
    *,
    timing_cache: Path | None = None,
    messages: list[tuple[str, str]] | None = None,
) -> bytes:
    """Build the plan of an ONNX file, weights beside it included.

    Args:
        graph: Strongly typed ONNX file.
        profile: Shapes that it must serve.
        options: How to build.
        progress: Told how far it is.
        timing_cache: File with the timings of earlier builds; read if it is there, and written.
        messages: A list to be given everything that TensorRT says, as (severity, text).

    Raises:
        EngineBuildError: It cannot be parsed or built; the message has TensorRT's own words.
    """
    rt = tensorrt()
    said = _Messages(rt, verbose=messages is not None)
    try:
        builder = rt.Builder(said.logger)
    except TypeError as error:  # how the bindings say that the library gave them nothing
        raise EngineBuildError(f"{release(rt)} cannot make a builder: {error}; {said.errors()}") from error
    network = builder.create_network(1 << int(rt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rt.OnnxParser(network, said.logger)
    try:
        if not parser.parse_from_file(str(graph)):
            found = [parser.get_error(index) for index in range(parser.num_errors)]
            texts = "; ".join(f"{error.desc()} (node {error.node_name()})" for error in found)
            raise EngineBuildError(f"{release(rt)} cannot read {graph}: {texts}; {said.errors()}")
        config = _configured(rt, builder, network, profile, options)
        if timing_cache:
            known = timing_cache.read_bytes() if timing_cache.exists() else b""
            # Positional in the bindings; what was learned of another GPU is no error
            config.set_timing_cache(config.create_timing_cache(known), True)  # noqa: FBT003
        if progress and hasattr(rt, "IProgressMonitor"):
            config.progress_monitor = _monitor(rt, progress)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise EngineBuildError(f"{release(rt)} cannot build {graph.name}: {said.errors()}")
        if timing_cache:
            write_file(timing_cache, bytes(config.get_timing_cache().serialize()))
        return bytes(plan)
    finally:
        if messages is not None:
            messages += said.kept


def _configured(rt: ModuleType, builder: Any, network: Any, profile: Profile, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(rt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    if options.dla_core is not None:
        if not 0 <= options.dla_core < builder.num_DLA_cores:
            raise EngineBuildError(f"there is no DLA core {options.dla_core}: this device has {builder.num_DLA_cores}")
        config.default_device_type = rt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(rt.BuilderFlag.GPU_FALLBACK)
    if options.hardware_compatible:
        config.hardware_compatibility_level = rt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.version_compatible:
        config.set_flag(rt.BuilderFlag.VERSION_COMPATIBLE)
        config.set_flag(rt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    if options.compute_capabilities:
        _aim(rt, config, options.compute_capabilities)
    config.profiling_verbosity = rt.ProfilingVerbosity.DETAILED
    config.add_optimization_profile(_shapes(builder, network, profile))
    return config


def _shapes(builder: Any, network: Any, profile: Profile) -> Any:
    shapes = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        name = network.get_input(index).name
        if name in profile:
            shapes.set_shape(name, *profile[name])
    return shapes


def _aim(rt: ModuleType, config: Any, capabilities: tuple[str, ...]) -> None:
    offered = offered_capabilities(rt)
    unknown = [capability for capability in capabilities if capability not in offered]
    if unknown:
        known = ", ".join(offered) or "only for the GPU that it runs on"
        raise EngineBuildError(f"{release(rt)} cannot build for compute capability {', '.join(unknown)}; it can for: {known}")
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        config.set_compute_capability(offered[capability], index)


def offered_capabilities(rt: ModuleType) -> dict[str, Any]:
    """Compute capability -> what stands for it in the bindings; only TensorRT-RTX builds for GPUs that are not there."""
    kinds = getattr(rt, "ComputeCapability", None)
    names = [name for name in dir(kinds) if name.startswith("SM")] if kinds else []
    return {f"{name[2:-1]}.{name[-1]}": getattr(kinds, name) for name in names}


def _monitor(rt: ModuleType, progress: Progress) -> Any:
    class Monitor(rt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            rt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, _parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = max(1, num_steps)
            progress(phase_name, 0.0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            progress(phase_name, min(1.0, (step + 1) / self.steps.get(phase_name, 1)))
            return True

        def phase_finish(self, phase_name: str) -> None:
            progress(phase_name, 1.0)

    return Monitor()


def release(rt: ModuleType) -> str:
    return f"{'TensorRT-RTX' if 'rtx' in rt.__name__ else 'TensorRT'} {rt.__version__}"


@dataclass
class _Buffer:
    """One tensor of a plan: memory for its greatest shape, on both sides."""

    pinned: Pinned
    device: int
    dtype: np.dtype[Any]
    copied: bool
    """Whether the two sides are apart, so that it has to be copied."""

    def host(self, shape: Shape) -> Array:
        """The host side as an array of a shape."""
        size = self.dtype.itemsize * int(np.prod(shape))
        return self.pinned.host[:size].view(self.dtype).reshape(shape)


class Plan:
    """A loaded plan. Threads may share it: each gets a context, a stream and buffers of its own, once."""

    def __init__(self, plan: bytes, cuda: Cuda) -> None:
        rt = tensorrt()
        self._messages = _Messages(rt)
        self._cuda = cuda
        cuda.activate()
        self._runtime = rt.Runtime(self._messages.logger)
        if hasattr(self._runtime, "engine_host_code_allowed"):
            self._runtime.engine_host_code_allowed = True  # of version-compatible plans; ours come from our own cache
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineBuildError(f"{release(rt)} cannot load a plan of {len(plan)} bytes: {self._messages.errors()}")
        self._threads = threading.local()

    def run(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Shape], into: Mapping[str, Any] | None = None
    ) -> dict[str, Array]:
        """Answer for inputs on the host, or on the GPU (``__cuda_array_interface__``), which are read where they lie.

        Args:
            inputs: C-contiguous arrays.
            outputs: Names and shapes of what is wanted.
            into: Arrays for some outputs, on the host or on the GPU; they are written only if all went well.

        Returns:
            The outputs on the host: those of ``into``, and views of the thread's own memory, good until its next call.
        """
        if not hasattr(self._threads, "session"):
            self._threads.session = _Session(self._engine, self._cuda, self._messages)
        session: _Session = self._threads.session
        return session.run(inputs, outputs, into or {})


class _Session:
    """One thread's context of a plan."""

    def __init__(self, engine: Any, cuda: Cuda, messages: _Messages) -> None:
        rt = tensorrt()
        cuda.activate()
        self._cuda = cuda
        self._messages = messages
        self._context = engine.create_execution_context()
        if self._context is None:
            raise EngineBuildError(
                f"{release(rt)} has no memory for a context: {messages.errors()}; close other programs, "
                "or build for smaller frames: edgecolor build --frame 720x1280"
            )
        self._stream = cuda.stream()
        self._replays: dict[Any, Callable[[], None]] = {}
        self._constants: dict[str, Array] = {}
        self._buffers: dict[str, _Buffer] = {}
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == rt.TensorIOMode.INPUT]
        greatest = {name: _greatest_shape(engine, name) for name in self._inputs}
        for name, shape in greatest.items():
            self._set_shape(name, shape)
        self._free: dict[str, Any] = {"allocated": [], "pinned": []}
        weakref.finalize(self, _release_all, cuda, self._stream, self._free)
        for name in names:
            shape = greatest.get(name) or tuple(self._context.get_tensor_shape(name))
            dtype = np.dtype(_DTYPES[engine.get_tensor_dtype(name).name])
            self._buffers[name] = self._buffer(dtype, int(np.prod(shape)) * dtype.itemsize)

    def _buffer(self, dtype: np.dtype[Any], size: int) -> _Buffer:
        pinned = self._cuda.pinned(size)
        self._free["pinned"].append(pinned)
        if pinned.device:
            return _Buffer(pinned, pinned.device, dtype, copied=False)
        device = self._cuda.allocate(size)
        self._free["allocated"].append(device)
        return _Buffer(pinned, device, dtype, copied=True)

    def run(self, inputs: Mapping[str, Any], outputs: Mapping[str, Shape], into: Mapping[str, Any]) -> dict[str, Array]:
        self._cuda.activate()
        resident = {**inputs, **into}
        addresses = {
            name: device_address(resident[name], buffer.dtype, self._cuda) if _on_gpu(resident.get(name)) else buffer.device
            for name, buffer in self._buffers.items()
        }
        shapes = {name: tuple(inputs[name].shape) for name in self._inputs}
        uploads = [name for name in self._inputs if self._filled(name, inputs[name])]
        downloads = [name for name in outputs if self._buffers[name].copied and not _on_gpu(into.get(name))]
        key = (tuple(shapes.items()), tuple(addresses.items()), tuple(downloads))
        if key in self._replays:
            self._replays[key]()
        else:
            self._first(key, shapes, addresses, lambda: self._enqueue(shapes, uploads, outputs, downloads))
        self._cuda.wait(self._stream)
        answers: dict[str, Array] = {}
        for name, shape in outputs.items():
            target, host = into.get(name), self._buffers[name].host(shape)
            if target is None:
                answers[name] = host
            elif isinstance(target, np.ndarray):
                np.copyto(target, host, casting="no")
                answers[name] = target
        return answers

    def _first(self, key: Any, shapes: dict[str, Shape], addresses: dict[str, int], enqueue: Callable[[], None]) -> None:
        """A shape not seen before: run it as it is, which lets TensorRT settle, and record it for the next time."""
        for name, shape in shapes.items():
            self._set_shape(name, shape)
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise EngineBuildError(f"TensorRT refuses the memory of {name!r}: {self._messages.errors()}")
        missing = self._context.infer_shapes()
        if missing:
            raise EngineBuildError(f"TensorRT misses the shapes of {', '.join(missing)}")
        enqueue()
        if self._cuda.captures:
            self._cuda.wait(self._stream)
            while len(self._replays) >= GRAPHS_KEPT:
                del self._replays[next(iter(self._replays))]
            self._replays[key] = self._cuda.capture(self._stream, enqueue)

    def _enqueue(
        self, shapes: dict[str, Shape], uploads: list[str], outputs: Mapping[str, Shape], downloads: list[str]
    ) -> None:
        for name in uploads:
            self._upload(name, shapes[name])
        if not self._context.execute_async_v3(self._stream):
            raise EngineBuildError(f"TensorRT could not run the plan: {self._messages.errors()}")
        for name in downloads:
            buffer = self._buffers[name]
            self._cuda.download(buffer.host(outputs[name]).reshape(-1).view(np.uint8), buffer.device, self._stream)

    def _set_shape(self, name: str, shape: Shape) -> None:
        if not self._context.set_input_shape(name, shape):
            raise EngineBuildError(f"the plan does not serve {name!r} of shape {shape}: {self._messages.errors()}")

    def _filled(self, name: str, array: Any) -> bool:
        """Put an input into its buffer; whether it has to be copied on from there with every frame.

        A read-only array is taken for what it says: it is copied once, not again for the next frame that comes with it.
        """
        if _on_gpu(array) or self._constants.get(name) is array:
            return False
        buffer = self._buffers[name]
        if array.size * buffer.dtype.itemsize > buffer.pinned.host.size:
            raise EngineBuildError(f"the plan does not serve {name!r} of shape {array.shape}: it was built for smaller ones")
        np.copyto(buffer.host(array.shape), array, casting="no")
        self._constants.pop(name, None)
        if array.flags.writeable:
            return buffer.copied
        if buffer.copied:
            self._upload(name, array.shape)
            self._cuda.wait(self._stream)
        self._constants[name] = array
        return False

    def _upload(self, name: str, shape: Shape) -> None:
        buffer = self._buffers[name]
        self._cuda.upload(buffer.device, buffer.host(shape).reshape(-1).view(np.uint8), self._stream)


def _greatest_shape(engine: Any, name: str) -> Shape:
    shape = tuple(engine.get_tensor_shape(name))
    return shape if min(shape) > 0 else tuple(engine.get_tensor_profile_shape(name, 0)[2])


def _on_gpu(array: Any) -> bool:
    return hasattr(array, "__cuda_array_interface__")


_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


def _release_all(cuda: Cuda, stream: int, held: dict[str, Any]) -> None:
    cuda.activate()
    cuda.release(stream=stream, **held)


def device_address(array: Any, dtype: np.dtype[Any], cuda: Cuda) -> int:
    """Address of an array on the GPU, once what its producer put on a stream is done.

    Raises:
        EngineBuildError: It is not C-contiguous, or of another type.
    """
    interface = array.__cuda_array_interface__
    if np.dtype(interface["typestr"]) != dtype:
        raise EngineBuildError(f"an array on the GPU must be {dtype}, got {np.dtype(interface['typestr'])}")
    strides = interface.get("strides")
    if strides is not None:
        expected = tuple(
            int(dtype.itemsize * np.prod(interface["shape"][axis + 1 :])) for axis in range(len(interface["shape"]))
        )
        if tuple(strides) != expected:
            raise EngineBuildError(f"an array on the GPU must be C-contiguous, got the strides {tuple(strides)}")
    if interface.get("stream") is not None:
        cuda.wait(interface["stream"])
    return int(interface["data"][0])
