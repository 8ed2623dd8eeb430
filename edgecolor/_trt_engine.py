"""A model on TensorRT: its plans, built once and kept, and the frames they serve."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecolor._cuda import Cuda, open_cuda
from edgecolor._engine import FRAME_OUTPUTS, FrameInputs, OutputName, Purpose
from edgecolor._errors import EngineBuildError, EngineUnavailableError
from edgecolor._grid import grid_size
from edgecolor._models import ModelFile
from edgecolor._plans import Key, plan_path, plans_folder, read_options, read_plan, write_plan
from edgecolor._trt import (
    MODULES,
    BuildOptions,
    NoMemoryError,
    Plan,
    Profile,
    Progress,
    Shape,
    build_plan,
    check_gpu,
    release,
    tensorrt,
)

Array = npt.NDArray[Any]

FRAME_SIZES = (
    (480, 640),
    (720, 1280),
    (1080, 1920),
    (1200, 1920),
    (1536, 2048),
    (1440, 2560),
    (2160, 3840),
    (3040, 4056),
    (4320, 7680),
)
"""Largest frames of the plans, lying and standing. The smallest that holds a frame is taken, to spare memory."""

FRAME_LEAST = (256, 256)
"""Smallest frame of a whole-frame plan; below it the CPU's share is nothing."""

GRID_MAX = 1024
"""Greatest side of the network's own plan. Measured with TensorRT-RTX: 100 MB of activations in FP16, against 32 at 512."""

FRAME_GRID_MAX = 448
"""Greatest side of the grid in a whole-frame plan: for frames up to three times as long as high, of `tiny` five."""

TIMINGS = "timings.cache"
"""What TensorRT learned of its kernels in earlier builds, beside the plans: it makes the next build shorter."""

_log = logging.getLogger("edgecolor")


def network_profile(area: int, side_max: int = GRID_MAX) -> Profile:
    """Of the network's own graph: one picture on any grid, likely one of about ``area`` pixels."""
    return {"planes": ((1, 4, 32, 32), (1, 4, *grid_size(1080, 1920, area)), (1, 4, side_max, side_max))}


def frame_profile(height: int, width: int, area: int) -> Profile:
    """Of a whole-frame graph, for frames up to a height and width, both even, on a grid of about ``area`` pixels."""
    rows, columns = grid_size(height, width, area)
    least_height, least_width = FRAME_LEAST
    return {
        "luma": (FRAME_LEAST, (height, width), (height, width)),
        "rows": ((32, least_height // 2), (rows, height // 2), (FRAME_GRID_MAX, height // 2)),
        "columns": ((least_width // 2, 32), (width // 2, columns), (width // 2, FRAME_GRID_MAX)),
    }


def fixed(profile: Profile) -> Profile:
    """For the likeliest shapes alone, as a DLA wants it: it has no dynamic ones."""
    return {name: (likely, likely, likely) for name, (_, likely, _) in profile.items()}


def why_not() -> str | None:
    """Why TensorRT cannot run here, or None if it can."""
    try:
        if any(find_spec(name) for name in MODULES):
            cuda = open_cuda()  # a GPU is sooner looked for than a library of 200 MB is loaded
            check_gpu(tensorrt(), cuda.device)
        tensorrt()
    except EngineUnavailableError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class PlanStore:
    """The plans of one model on one GPU."""

    file: ModelFile
    options: BuildOptions
    cuda: Cuda
    progress: Progress | None = None

    def key(self, purpose: Purpose, profile: Profile) -> Key:
        """Everything that makes a plan invalid when it changes."""
        graph = self.file.network if purpose == "network" else self.file.frames[purpose]
        return {
            "model": self.file.model,
            "precision": self.file.precision,
            "purpose": purpose,
            "graph": graph.sha256,
            "weights": self.file.weights.sha256 if self.file.weights else None,
            "tensorrt": self._release(),
            "gpu": "any from Ampere on" if self.options.hardware_compatible else self.cuda.device.name,
            "compute_capability": None if self.options.hardware_compatible else self.cuda.device.compute_capability,
            "profile": {name: [list(shape) for shape in shapes] for name, shapes in profile.items()},
            "options": asdict(self.options),
        }

    def _release(self) -> str:
        """The release that a plan is good for, or all of a major version."""
        whole = release(tensorrt())
        return whole.partition(".")[0] if self.options.version_compatible else whole

    def open(self, purpose: Purpose, profile: Profile) -> Plan:
        """A plan from the user's cache, built and kept first where it is not there, or is not accepted any more.

        Raises:
            ModelIntegrityError: The model's files are not those that were published.
            EngineBuildError: It cannot be built, kept or loaded.
        """
        if self.options.dla_core is not None:
            profile = fixed(profile)
        key = self.key(purpose, profile)
        new = not plan_path(key).exists()
        plan = read_plan(key)
        if plan is not None:
            try:
                return Plan(plan, self.cuda)
            except NoMemoryError:
                raise
            except EngineBuildError as error:
                _log.warning("the kept %s plan is not accepted (%s); it is built again", purpose, error)
        self.file.check()
        what = f"{purpose} plan of {self.file.model} {self.file.precision} for {self.cuda.device.name}"
        # Said aloud, since nobody expects to wait for minutes; a plan that is built again was said already
        _log.log(logging.WARNING if new else logging.INFO, "building the %s: it takes minutes, once", what)
        graph = self.file.network if purpose == "network" else self.file.frames[purpose]
        timings = plans_folder() / TIMINGS
        plan = build_plan(graph.path, profile, self.options, self.progress, timing_cache=timings)
        path = write_plan(key, plan)
        _log.info("kept in %s, %.1f MB", path, len(plan) / 1e6)
        return Plan(plan, self.cuda)


class TensorRtEngine:
    """An :class:`edgecolor._engine.FrameEngine` on an NVIDIA GPU; threads may share it."""

    def __init__(
        self,
        file: ModelFile,
        options: BuildOptions | None = None,
        progress: Progress | None = None,
        frames: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Open the network's plan; those of whole frames follow when they are wanted.

        Args:
            file: The model.
            options: How plans are built; None takes what ``edgecolor build`` was last asked for on this machine.
            progress: Told how far a build is.
            frames: Largest frames, (height, width), that whole-frame plans are for; larger ones go through the network's
                plan and the CPU. None at all: no limit, or that of ``edgecolor build`` where ``options`` are its too.
        """
        rt = tensorrt()
        if options is None:
            kept = read_options()
            frames, options = frames or kept.frames, BuildOptions.of(kept.build)
        cuda = open_cuda()
        check_gpu(rt, cuda.device)
        self._store = PlanStore(file, options, cuda, progress)
        self._exact = options.dla_core is not None
        lying = {_size_for(min(size), max(size), FRAME_SIZES) for size in frames}
        self._sizes = sorted(lying or FRAME_SIZES, key=math.prod)
        self._plans: dict[tuple[Purpose, Shape], Plan] = {}
        self._building: dict[tuple[Purpose, Shape], threading.Lock] = {}
        self._lock = threading.Lock()
        self._area = file.grid_area
        self._network(grid_size(1080, 1920, self._area))

    @property
    def description(self) -> str:
        cuda = self._store.cuda
        graphs = ", CUDA graphs" if cuda.captures else ""
        return f"{release(tensorrt())} {self._store.file.precision} on {cuda.device.name}, through {cuda.binding}{graphs}"

    def run(self, planes: npt.NDArray[np.float32], *outputs: OutputName) -> tuple[npt.NDArray[np.float32], ...]:
        channels = {"colors": 3, "logits": 128}
        cells = tuple(side // 4 for side in planes.shape[2:])
        wanted: dict[str, Shape] = {name: (1, channels[name], *cells) for name in outputs}
        answers: list[dict[str, Array]] = []
        for plane in planes:  # one at a time: a plan for batches would hold memory for them
            views = self._network(planes.shape[2:]).run({"planes": np.ascontiguousarray(plane[None])}, wanted)
            answers.append({name: view.copy() for name, view in views.items()})
        return tuple(np.concatenate([answer[name] for answer in answers]) for name in outputs)

    def serves(self, height: int, width: int) -> bool:
        """Whether a whole-frame plan takes frames of a size: even sides, at least twice the grid, not beyond the largest."""
        rows, columns = grid_size(height, width, self._area)
        even = height % 2 == 0 == width % 2
        # The graph averages half the frame onto the grid; a smaller frame would have to be enlarged
        large = height >= max(FRAME_LEAST[0], 2 * rows) and width >= max(FRAME_LEAST[1], 2 * columns)
        held = _holds(height, width, self._sizes) is not None
        return even and large and max(rows, columns) <= FRAME_GRID_MAX and held

    def frame(self, purpose: Purpose, inputs: FrameInputs, out: tuple[Any, ...] | None = None) -> tuple[Array, ...]:
        """See :meth:`edgecolor._engine.FrameEngine.frame`."""
        height, width = inputs["luma"].shape
        shapes = dict(FRAME_OUTPUTS[purpose](height, width))
        arrays = out if out is not None else [np.empty(shape, np.uint8) for shape in shapes.values()]
        into = dict(zip(shapes, arrays, strict=True))
        plan = self._frame_plan(purpose, height, width)
        answers = plan.run(inputs, shapes, into, constants=[name for name in inputs if name != "luma"])
        return tuple(answers.get(name, into[name]) for name in shapes)

    def prepare(self, purpose: Purpose, height: int, width: int) -> None:
        """Build and load the whole-frame plan for frames of a size now, so that the first frame need not wait.

        Raises:
            EngineBuildError: It cannot be built, or no plan serves the size.
        """
        self._frame_plan(purpose, height, width)

    def _network(self, grid: Shape) -> Plan:
        """The network's plan: one for all grids, or one for each on a DLA."""
        if not self._exact:
            return self._plan("network", (), network_profile(self._area))
        rows, columns = grid
        return self._plan("network", (rows, columns), {"planes": ((1, 4, rows, columns),) * 3})

    def _frame_plan(self, purpose: Purpose, height: int, width: int) -> Plan:
        size = _size_for(height, width, self._sizes)
        if self._exact:
            size = height, width
        return self._plan(purpose, size, frame_profile(*size, self._area))

    def _plan(self, purpose: Purpose, size: Shape, profile: Profile) -> Plan:
        key = purpose, size
        if key not in self._plans:
            with self._lock:
                building = self._building.setdefault(key, threading.Lock())
            with building:  # of one plan, which takes minutes: frames that need another do not wait for it
                if key not in self._plans:
                    self._plans[key] = self._store.open(purpose, profile)
        return self._plans[key]


def _size_for(height: int, width: int, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    size = _holds(height, width, sizes)
    if size is None:
        raise EngineBuildError(
            f"no whole-frame plan takes frames of {width} x {height}; the largest are {sizes[-1][1]} x {sizes[-1][0]}"
        )
    return size


def _holds(height: int, width: int, sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """The smallest frame size whose plan takes a frame, upright if the frame is."""
    for rows, columns in sizes:
        if height <= rows and width <= columns:
            return rows, columns
        if height <= columns and width <= rows:
            return columns, rows
    return None
