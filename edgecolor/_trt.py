"""TensorRT: build the plan once, keep it, run it. The only file that knows TensorRT.

One path serves TensorRT 10.3 to 11 and TensorRT-RTX: the precision stands in the ONNX file (strongly typed), so there are no
precision flags and no calibrator. NumPy arrays never enter TensorRT, only addresses do.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecolor._cuda import REMEDY, Cuda, Device, Pinned, Replay
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

MESSAGES_KEPT = 50
"""Of a plan that runs, so that they do not grow for ever."""

GRAPHS_KEPT = 32
"""Recorded CUDA graphs that a thread keeps, the last ones used: one for each shape, and for each place of frames on the GPU.

Cameras hand out frames from pools of some ten places.
"""

_log = logging.getLogger("edgecolor")


class NoMemoryError(EngineBuildError):
    """The GPU has not enough memory left: nothing is wrong with the plan."""


WORKSPACE_MB_MAX = 1 << 20
"""A terabyte; no board has as much."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
    """A plan that later TensorRT releases of the same major version load; it carries a runtime along, some 40 MB.

    Not offered by TensorRT-RTX.
    """
    compute_capabilities: tuple[str, ...] = ()
    """TensorRT-RTX only: build for these GPUs, such as "8.6", without having them."""

    def __post_init__(self) -> None:
        """Refuse what TensorRT would only stumble over.

        Raises:
            EngineBuildError: An option that cannot be.
        """
        if self.workspace_mb is not None and not (_is_whole(self.workspace_mb) and 0 < self.workspace_mb <= WORKSPACE_MB_MAX):
            raise EngineBuildError(
                f"workspace_mb must be a whole number from 1 to {WORKSPACE_MB_MAX}, got {self.workspace_mb!r}"
            )
        if self.dla_core is not None and not (_is_whole(self.dla_core) and self.dla_core >= 0):
            raise EngineBuildError(f"dla_core must be a whole number from 0 on, got {self.dla_core!r}")

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> BuildOptions:
        """From what ``asdict`` gave, after a trip through JSON.

        Raises:
            EngineBuildError: They are none, or of another release.
        """
        try:
            known: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
            }
            return cls(**known)
        except (TypeError, AttributeError) as error:
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
        kept = self.kept = deque[tuple[str, str]](maxlen=None if verbose else MESSAGES_KEPT)
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
        kept = tuple(self.kept)  # another thread may log meanwhile
        return "; ".join(" ".join(text.split()) for name, text in kept if name == "error")[-600:] or "it does not say why"

    def failure(self, what: str) -> EngineBuildError:
        """What went wrong, with its errors, and with the remedy where memory ran out."""
        errors = self.errors()
        if "outofmemory" in errors.lower().replace(" ", "").replace("_", ""):
            return NoMemoryError(f"{what}: {errors}; {REMEDY}")
        return EngineBuildError(f"{what}: {errors}")


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
        progress: Told how far it is. What it raises ends the build; so does Ctrl-C.
        timing_cache: File with the timings of earlier builds; read if it is there, and written.
        messages: A list to be given everything that TensorRT says, as (severity, text).

    Raises:
        EngineBuildError: It cannot be parsed or built; the message has TensorRT's own words.
    """
    # TensorRT swallows what is raised in its callbacks, Ctrl-C among it: it works on a thread of its own, which is told to stop
    monitor = _Monitor(progress)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(_build, graph, profile, options, monitor, timing_cache, messages)
        try:
            plan = work.result()
        except BaseException:
            monitor.stop = True
            if monitor.failure:
                raise monitor.failure from None
            raise
    return plan


def _build(  # noqa: PLR0913, PLR0917  # as build_plan
    graph: Path,
    profile: Profile,
    options: BuildOptions,
    monitor: _Monitor,
    timing_cache: Path | None,
    messages: list[tuple[str, str]] | None,
) -> bytes:
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
            # Positional in the bindings; what was learned of another GPU is no error
            config.set_timing_cache(config.create_timing_cache(_timings(timing_cache)), True)  # noqa: FBT003
        if hasattr(rt, "IProgressMonitor"):
            config.progress_monitor = monitor.of(rt)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise said.failure(f"{release(rt)} cannot build {graph.name}")
        if timing_cache:
            try:
                write_file(timing_cache, bytes(config.get_timing_cache().serialize()))
            except EngineBuildError as error:  # a shorter next build is not worth this one
                _log.warning("%s", error)
        return bytes(plan)
    finally:
        if messages is not None:
            messages += said.kept


def _timings(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        _log.warning("cannot read %s: %s; the build takes longer", path, error.strerror)
        return b""


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
        if "rtx" in rt.__name__:
            raise EngineBuildError(f"{release(rt)} makes no plans for other releases: build without --version-compatible")
        config.set_flag(rt.BuilderFlag.VERSION_COMPATIBLE)
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


def check_gpu(rt: ModuleType, device: Device) -> None:
    """Refuse a GPU that these bindings build plans for and then do not run them on.

    TensorRT-RTX serves the cards that it names, and those newer than all of them: not an H100, whose 9.0 it leaves out.

    Raises:
        EngineUnavailableError: It is such a GPU.
    """
    offered = offered_capabilities(rt)
    capability = device.compute_capability
    if offered and capability not in offered and float(capability) < max(map(float, offered)):
        raise EngineUnavailableError(
            f"{release(rt)} does not run on the {device.name} (compute capability {capability}), only on"
            f" {', '.join(offered)} and newer: install TensorRT itself (pip install tensorrt), or take engine='onnxruntime'"
        )


class _Monitor:
    """What TensorRT tells of its progress, and the way to stop it."""

    def __init__(self, progress: Progress | None) -> None:
        self.stop = False
        self.failure: Exception | None = None
        self._progress = progress

    def tell(self, phase: str, share: float) -> None:
        """Pass it on; what goes wrong there is kept for the caller, and ends the build."""
        if self._progress and not self.stop:
            try:
                self._progress(phase, share)
            except Exception as error:  # noqa: BLE001  # raised again by build_plan
                self.failure, self.stop = error, True

    def of(self, rt: ModuleType) -> Any:
        """As TensorRT wants it."""
        outer = self

        class Monitor(rt.IProgressMonitor):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                rt.IProgressMonitor.__init__(self)
                self.steps: dict[str, int] = {}

            def phase_start(self, phase_name: str, _parent_phase: str | None, num_steps: int) -> None:
                self.steps[phase_name] = max(1, num_steps)
                outer.tell(phase_name, 0.0)

            def step_complete(self, phase_name: str, step: int) -> bool:
                outer.tell(phase_name, min(1.0, (step + 1) / self.steps.get(phase_name, 1)))
                return not outer.stop

            def phase_finish(self, phase_name: str) -> None:
                outer.tell(phase_name, 1.0)

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
        with cuda.active():
            self._runtime = rt.Runtime(self._messages.logger)
            if hasattr(self._runtime, "engine_host_code_allowed"):
                self._runtime.engine_host_code_allowed = True  # of version-compatible plans; ours come from our own cache
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._messages.failure(f"{release(rt)} cannot load a plan of {len(plan)} bytes")
        self._threads = threading.local()

    def run(
        self,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Shape],
        into: Mapping[str, Any] | None = None,
        constants: Collection[str] = (),
    ) -> dict[str, Array]:
        """Answer for inputs on the host, or on the GPU (``__cuda_array_interface__``), which are read where they lie.

        Args:
            inputs: C-contiguous arrays.
            outputs: Names and shapes of what is wanted.
            into: Arrays for some outputs. Those on the host are written only if all went well; those on the GPU are written
                as the plan runs, and hold nothing of use where it fails.
            constants: Inputs whose arrays never change: one is copied once, not again for the next frame that comes with it.

        Returns:
            The outputs on the host: those of ``into``, and views of the thread's own memory, good until its next call.
        """
        with self._cuda.active():
            if not hasattr(self._threads, "session"):
                self._threads.session = _Session(self._engine, self._cuda, self._messages)
            session: _Session = self._threads.session
            return session.run(inputs, outputs, into or {}, constants)


class _Session:
    """One thread's context of a plan."""

    def __init__(self, engine: Any, cuda: Cuda, messages: _Messages) -> None:
        rt = tensorrt()
        self._cuda = cuda
        self._messages = messages
        messages.kept.clear()
        self._context = engine.create_execution_context()
        if self._context is None:
            raise NoMemoryError(f"{release(rt)} has no memory for a context: {messages.errors()}; {REMEDY}")
        self._stream = cuda.stream()
        self._captures = cuda.captures
        self._shapes: dict[str, Shape] = {}
        self._replays: dict[Any, Replay] = {}
        self._met: dict[Any, None] = {}
        self._constants: dict[str, Array] = {}
        self._buffers: dict[str, _Buffer] = {}
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == rt.TensorIOMode.INPUT]
        greatest = {name: _greatest_shape(engine, name) for name in self._inputs}
        for name, shape in greatest.items():
            self._set_shape(name, shape)
        self._free: dict[str, Any] = {"allocated": [], "pinned": []}
        weakref.finalize(self, _release_all, cuda, self._stream, self._free, self._replays)
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

    def run(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Shape], into: Mapping[str, Any], constants: Collection[str]
    ) -> dict[str, Array]:
        shapes = {name: tuple(inputs[name].shape) for name in self._inputs}
        resident = {**inputs, **into}
        addresses = {
            name: device_address(resident[name], buffer.dtype, outputs.get(name), self._cuda)
            if _on_gpu(resident.get(name))
            else buffer.device
            for name, buffer in self._buffers.items()
        }
        uploads = [name for name in self._inputs if self._filled(name, inputs[name], constant=name in constants)]
        downloads = [name for name in outputs if self._buffers[name].copied and not _on_gpu(into.get(name))]
        key = (tuple(shapes.items()), tuple(addresses.items()), tuple(uploads), tuple(downloads))
        replay = self._replays.pop(key, None)
        if replay:
            self._replays[key] = replay  # the last one used
            replay()
        else:
            self._plainly(key, shapes, addresses, lambda: self._enqueue(shapes, uploads, outputs, downloads))
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

    def _plainly(self, key: Any, shapes: dict[str, Shape], addresses: dict[str, int], enqueue: Callable[[], None]) -> None:
        """Run what is not recorded, which lets TensorRT settle; what comes a second time is then recorded for the third."""
        self._messages.kept.clear()
        if shapes != self._shapes:
            self._forget()
            self._shapes = {}
            for name, shape in shapes.items():
                self._set_shape(name, shape)
            self._shapes = shapes
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise EngineBuildError(f"TensorRT refuses the memory of {name!r}: {self._messages.errors()}")
        missing = self._context.infer_shapes()
        if missing:
            raise EngineBuildError(f"TensorRT misses the shapes of {', '.join(missing)}")
        enqueue()
        if key in self._met and self._captures:
            self._cuda.wait(self._stream)
            while len(self._replays) >= GRAPHS_KEPT:
                self._replays.pop(next(iter(self._replays))).free()
            self._record(key, enqueue)
        self._met.pop(key, None)
        while len(self._met) >= GRAPHS_KEPT:
            del self._met[next(iter(self._met))]
        self._met[key] = None

    def _record(self, key: Any, enqueue: Callable[[], None]) -> None:
        """What has just been run; where that fails it is run as before, which is only slower."""
        try:
            self._replays[key] = self._cuda.capture(self._stream, enqueue)
        except EngineBuildError as error:
            self._captures = False
            _log.warning("going on without CUDA graphs: %s", error)

    def _forget(self) -> None:
        """Let go of all that is recorded: a context that is given other shapes makes its recordings invalid."""
        self._met.clear()
        while self._replays:
            self._replays.popitem()[1].free()

    def _enqueue(
        self, shapes: dict[str, Shape], uploads: list[str], outputs: Mapping[str, Shape], downloads: list[str]
    ) -> None:
        for name in uploads:
            self._upload(name, shapes[name])
        if not self._context.execute_async_v3(self._stream):
            raise self._messages.failure("TensorRT could not run the plan")
        for name in downloads:
            buffer = self._buffers[name]
            self._cuda.download(buffer.host(outputs[name]).reshape(-1).view(np.uint8), buffer.device, self._stream)

    def _set_shape(self, name: str, shape: Shape) -> None:
        if not self._context.set_input_shape(name, shape):
            raise EngineBuildError(f"the plan does not serve {name!r} of shape {shape}: {self._messages.errors()}")

    def _filled(self, name: str, array: Any, *, constant: bool) -> bool:
        """Put an input into its buffer; whether it has to be copied on from there with every frame."""
        if _on_gpu(array) or self._constants.get(name) is array:
            return False
        buffer = self._buffers[name]
        if array.size * buffer.dtype.itemsize > buffer.pinned.host.size:
            raise EngineBuildError(f"the plan does not serve {name!r} of shape {array.shape}: it was built for smaller ones")
        np.copyto(buffer.host(array.shape), array, casting="no")
        self._constants.pop(name, None)
        if not constant:
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


def _release_all(cuda: Cuda, stream: int, held: dict[str, Any], replays: dict[Any, Replay]) -> None:
    with cuda.active():
        for replay in replays.values():
            replay.free()
        cuda.release(stream=stream, **held)


def device_address(array: Any, dtype: np.dtype[Any], written: Shape | None, cuda: Cuda) -> int:
    """Address of an array on the GPU, once what its producer put on a stream is done.

    Args:
        array: What has a ``__cuda_array_interface__``.
        dtype: What it must hold.
        written: The shape of what will be written to it, if anything.
        cuda: The GPU.

    Raises:
        EngineBuildError: It is not C-contiguous, of another type, or cannot take what is to be written.
    """
    interface = array.__cuda_array_interface__
    if written is not None and (tuple(interface["shape"]) != tuple(written) or interface["data"][1]):
        kind = "a read-only" if interface["data"][1] else "an"
        raise EngineBuildError(
            f"an answer of shape {tuple(written)} cannot be written to {kind} array on the GPU of {interface['shape']}"
        )
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
