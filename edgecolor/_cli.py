"""The command line: the same words as the library. One line for an error, exit 1; for wrong usage, exit 2."""

from __future__ import annotations

import argparse
import errno
import json
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import edgecolor
from edgecolor._bench import bench
from edgecolor._cli_image import add_detail, add_image_command, detail_of
from edgecolor._cli_shared import noticing_ctrl_c, read_reference
from edgecolor._cli_video import add_video_commands
from edgecolor._colorizer import check_vividness
from edgecolor._engine import EngineName, installed_engines, why_not_tensorrt
from edgecolor._errors import EdgecolorError, ImageError, SourceError
from edgecolor._explain import report, report_figures
from edgecolor._files import make_folder, whole_file
from edgecolor._hints import check_hints, css_ab, hint_points
from edgecolor._models import ModelName, Precision, find_model, registry
from edgecolor._plans import Asked, plans_folder, write_options
from edgecolor._source import open_source, read_page
from edgecolor._target import check_target, identity, write_picture

_MODEL_HELP = "(default: auto, which is lite)"
_EXPLAINED_PIXELS = 16_000_000
"""Up to here a picture is explained from all of its pixels, beyond it from means of them."""

_ENGINE_HELP = "default: auto, which is TensorRT where it is installed and has a GPU, else ONNX Runtime"


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    _open_closed_streams()
    with suppress(AttributeError):  # a name that the terminal cannot show is shown as well as it can
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    options = parser().parse_args(arguments)
    logging.basicConfig(format="edgecolor: %(message)s", level=logging.WARNING)
    try:
        with _told_to_end():
            status = options.run(options)
        sys.stdout.flush()
    except EdgecolorError as error:
        _complain(error)
        status = 1
    except BrokenPipeError:  # whoever was reading has seen enough
        _close(sys.stdout)
        status = 0
    except OSError as error:
        _complain(_said_of(error))
        _close(sys.stdout)
        status = 1
    except MemoryError as error:
        _complain(f"there is not enough memory ({error or 'for what was asked'}); end other programs, or take a larger machine")
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


@contextmanager
def _told_to_end() -> Iterator[None]:
    """SIGTERM and SIGHUP, of a service that is stopped or a terminal that is closed, end the work in order, as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):  # as in a shell's background jobs
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup lets the second be ignored
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open_closed_streams() -> None:
    """Let standard streams that were closed lead nowhere, or the next file that is opened would be taken for one."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the first descriptor that is free
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # open till the end


def _close(stream: Any) -> None:
    """Let nothing more be written, which would fail once more at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _said_of(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"cannot write to the standard output: {error.strerror}"
    try:
        os.getcwd()  # noqa: PTH109  # Path has none that fails alone
    except FileNotFoundError:
        return "the folder that edgecolor was started in is gone; go to another"
    return str(error)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="edgecolor", description="Colour for black-and-white photographs, and how sure each colour is."
    )
    top.add_argument("--version", action="version", version=f"edgecolor {edgecolor.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    add_image_command(partial(_command, commands), _add_all)

    explain = _command(commands, "explain", _explain, "show how sure the colours are, and what else they could have been")
    explain.add_argument("source", type=Path, metavar="IN", help="photograph to look into")
    explain.add_argument("-o", "--out", type=Path, metavar="OUT", help="report to write, a picture (default: IN-explained.png)")
    explain.add_argument("--json", action="store_true", help="print the figures as JSON, in place of a line of text")
    add_detail(explain)
    _add_model(explain)
    _add_steering(explain)

    add_video_commands(partial(_command, commands), _add_model, _add_vividness)

    models = _command(commands, "models", _models, "list the models, and check that their files are whole")
    models.add_argument("--json", action="store_true", help="print all that is known of them as JSON, in place of a list")

    build = _command(commands, "build", _build, "build the TensorRT plans of this machine now, not on first use")
    build.add_argument("--model", choices=get_args(ModelName), default="auto", help=f"network to build for {_MODEL_HELP}")
    build.add_argument(
        "--precision",
        choices=("auto", "fp16", "int8"),
        default="auto",
        help="number format the network computes in (default: auto, which is fp16)",
    )
    build.add_argument(
        "--frame",
        action="append",
        type=_frame,
        metavar="WxH",
        help="largest frame to build for, lying or standing, sides even and from 256 to 8192; may be given again; larger "
        "frames then do without such plans (default: 1920x1080 now, and others when they come)",
    )
    build.add_argument(
        "--workspace-mb",
        type=int,
        metavar="MIB",
        help="most scratch memory that a layer may take, in MiB (default: TensorRT decides)",
    )
    build.add_argument(
        "--dla-core",
        type=int,
        metavar="N",
        help="deep-learning accelerator to run on, counted from 0; the GPU does what it cannot, and each plan is for one size "
        "only (default: the GPU does all)",
    )
    build.add_argument(
        "--hardware-compatible", action="store_true", help="build plans that run on all GPUs from Ampere on, somewhat slower"
    )
    build.add_argument(
        "--version-compatible",
        action="store_true",
        help="build plans that later releases of this major version of TensorRT load; TensorRT-RTX has none",
    )
    build.add_argument(
        "--compute-capability",
        action="append",
        default=[],
        metavar="X.Y",
        help="with TensorRT-RTX, build for GPUs of this compute capability, such as 8.6, without having one; may be given "
        "again (default: the GPU of this machine)",
    )
    build.add_argument(
        "--out-dir", type=Path, metavar="DIR", help="folder to write the plans to, in place of the cache of this machine"
    )

    measure = _command(commands, "bench", _bench, "measure this machine: the network, and whole frames beside it")
    measure.add_argument(
        "--frame",
        type=_frame,
        default=(1080, 1920),
        metavar="WxH",
        help="size of the frames to measure with, sides even and from 256 to 8192 (default: 1920x1080)",
    )
    measure.add_argument("--seconds", type=float, default=10, help="how long to measure, at most 3600 (default: 10)")
    measure.add_argument("--json", action="store_true", help="print the figures as JSON, in place of text")
    _add_model(measure)

    doctor = _command(commands, "doctor", _doctor, "say what is installed, what would run, and what is missing")
    doctor.add_argument("--engine", choices=get_args(EngineName), default="auto", help=f"engine to try ({_ENGINE_HELP})")
    return top


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(run=run, usage_error=command.error, open_colorizer=_open, steering=_steering, complain=_complain)
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", choices=get_args(ModelName), default="auto", help=f"network to colour with {_MODEL_HELP}")
    command.add_argument(
        "--engine", choices=get_args(EngineName), default="auto", help=f"program the network runs on ({_ENGINE_HELP})"
    )
    command.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="number format the network computes in (default: auto, which is fp32 on ONNX Runtime, fp16 on TensorRT)",
    )


def _add_all(command: argparse.ArgumentParser) -> None:
    _add_model(command)
    _add_steering(command)


def _add_steering(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--hint",
        action="append",
        type=_hint,
        default=[],
        metavar="X,Y,COLOR",
        help="colour to give a point, X and Y in pixels from the top left and a CSS colour, such as 120,80,#8a2f2f, or a "
        "stroke through several, such as 20,240,90,250,160,240,teal; may be given again",
    )
    preferred = command.add_mutually_exclusive_group()
    preferred.add_argument(
        "--palette",
        action="append",
        type=_color,
        metavar="COLOR",
        help="CSS colour to prefer where the network hesitates; may be given again",
    )
    preferred.add_argument(
        "--reference",
        type=Path,
        metavar="FILE",
        help="colour photograph whose colours to prefer where the network hesitates",
    )
    _add_vividness(command)


def _add_vividness(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--vividness",
        type=_vividness,
        default=1.0,
        help="how strong to make the colours, from 0, which is grey, to 2 (default: 1)",
    )


def _hint(text: str) -> edgecolor.Hint:
    numbers, rest = [], text.split(",")
    with suppress(ValueError):  # a colour such as rgb(138, 47, 47) has commas of its own
        while len(rest) > 1:
            numbers.append(float(rest[0]))
            rest = rest[1:]
    points = list(zip(numbers[::2], numbers[1::2], strict=False))
    if not points or len(numbers) % 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,COLOR, such as 120,80,#8a2f2f")
    hint = edgecolor.Hint(*points[0], ",".join(rest), path=tuple(points[1:]))
    with _wrong_usage():
        hint_points([hint])
    return hint


def _shrunk(hint: edgecolor.Hint, shrink: int) -> edgecolor.Hint:
    (x, y), *path = ((x / shrink, y / shrink) for x, y in hint.points)
    return replace(hint, x=x, y=y, path=tuple(path))


def _color(text: str) -> str:
    with _wrong_usage():
        css_ab(text)
    return text


def _vividness(text: str) -> float:
    try:
        vividness = float(text)
        check_vividness(vividness)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 2") from None
    return vividness


@contextmanager
def _wrong_usage() -> Iterator[None]:
    """What the library finds wrong with an option is said as argparse says such things."""
    try:
        yield
    except ImageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _open(options: argparse.Namespace) -> edgecolor.Colorizer:
    return edgecolor.load(options.model, engine=options.engine, precision=options.precision)


def _steering(options: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of ``predict`` that the user gave."""
    reference = read_reference(options.reference)
    palette = options.palette if reference is None else reference
    given: dict[str, Any] = {}
    if options.hint:
        given["hints"] = options.hint
    if palette is not None:
        given["palette"] = palette
    if options.vividness != 1:
        given["vividness"] = options.vividness
    return given


def _explain(options: argparse.Namespace) -> int:
    if not options.source.name:
        raise SourceError(f"{str(options.source)!r} is the name of no photograph")
    target = options.out or options.source.with_name(f"{options.source.stem}-explained.png")
    check_target(options.source, target)
    if options.reference is not None and identity(target) == identity(options.reference):
        options.usage_error(f"the report would be written over {options.reference}, the reference; give another name with -o")
    colorizer = _open(options)
    pages = open_source(options.source).pages
    if len(pages) > 1:
        _complain(f"{options.source} has {len(pages)} pages; the first is explained")
    wishes = _steering(options)
    # a report is small, and the grid on which colours are decided has means of pixels anyway
    shrink = min(math.ceil(math.sqrt(math.prod(pages[0].size) / _EXPLAINED_PIXELS)), *pages[0].size)
    with noticing_ctrl_c() as stop_if_pressed:
        original = read_page(pages[0], shrink)
        stop_if_pressed()
    if options.hint:
        height, width = original.shape[:2]
        check_hints(options.hint, (height * shrink, width * shrink))
        wishes["hints"] = [_shrunk(hint, shrink) for hint in options.hint]
    answer = colorizer.predict(original, detail=detail_of(options), **wishes)
    write_picture(target, report(original, answer, answer.alternatives(2), wished=bool(wishes)))
    figures = report_figures(answer)
    if options.json:
        print(json.dumps({"source": str(options.source), "report": str(target), "colorizer": repr(colorizer), **figures}))
    else:
        print(
            f"{target}: sure of {figures['share_sure']:.0%} of the picture, in between {figures['share_between']:.0%}, "
            f"guesses {figures['share_guess']:.0%}"
        )
    return 0


def _models(options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(registry(), indent=1))
    for name, entry in registry()["model"].items():
        for engine, precisions in entry["file"].items():
            for precision, parts in precisions.items():
                find_model(name, precision, engine).check()
                if not options.json:
                    default = (name, precision) == (registry()["default"], entry["default_precision"][engine])
                    size = sum(part["bytes"] for part in parts.values()) / 1e6
                    words = f"{size:5.1f} MB  verified  {'default' * default:8} {entry['description']}"
                    print(f"{name:8} {engine:12} {precision:6} {words}")
    return 0


def _build(options: argparse.Namespace) -> int:
    from edgecolor._trt import BuildOptions, build_plan
    from edgecolor._trt_engine import TensorRtEngine, fixed, frame_profile, network_profile

    names = ("workspace_mb", "dla_core", "hardware_compatible", "version_compatible")
    asked = BuildOptions(
        **{name: getattr(options, name) for name in names}, compute_capabilities=tuple(options.compute_capability)
    )
    file = find_model(options.model, options.precision, "tensorrt")
    frames = options.frame or [(1080, 1920)]
    if options.out_dir:
        file.check()
        make_folder(options.out_dir)
        graphs = {"network": (file.network, network_profile(file.grid_area))}
        for height, width in frames:
            graphs |= {
                f"{purpose}-{width}x{height}": (graph, frame_profile(height, width, file.grid_area))
                for purpose, graph in file.frames.items()
            }
        for name, (graph, profile) in graphs.items():
            shapes = profile if asked.dla_core is None else fixed(profile)
            target = options.out_dir / f"{file.model}.{file.precision}.{name}.plan"
            with whole_file(target) as partial:
                partial.write_bytes(build_plan(graph.path, shapes, asked, _show_phase))
            print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")
        return 0
    engine = TensorRtEngine(file, asked, _show_phase, options.frame or ())
    for height, width in frames:
        engine.prepare("rgb", height, width)
        engine.prepare("chroma", height, width)
    write_options(Asked(asdict(asked), tuple(options.frame or ())))
    print(f"ready: {engine.description}; plans in {plans_folder()}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    if not 0 < options.seconds <= 3600:
        options.usage_error(f"--seconds must be above 0 and at most 3600, got {options.seconds:g}")
    colorizer = _open(options)
    figures = bench(colorizer, options.frame, options.seconds)
    if options.json:
        print(json.dumps({"colorizer": repr(colorizer), "frame": options.frame, **figures}))
        return 0
    print(f"{colorizer!r}, frames of {options.frame[1]} x {options.frame[0]}")
    for name, of in figures.items():
        spread = f"{of['p25_ms']:.1f} to {of['p75_ms']:.1f}, 99 % within {of['p99_ms']:.1f}"
        print(f"  {name:14} {of['median_ms']:8.1f} ms ({spread}), {of['ratio_to_network']:.2f} times the network")
    return 0


def _show_phase(phase: str, share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{share:5.0%} {phase[-70:]:70}", end="" if share < 1 else "\r", file=sys.stderr, flush=True)


def _frame(text: str) -> tuple[int, int]:
    """Height and width, as the rest of the program has them; typed, as everywhere with films, is the width first."""
    try:
        width, height = (int(side) for side in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not WxH, such as 1920x1080") from None
    if height % 2 or width % 2 or not (256 <= height <= 8192 and 256 <= width <= 8192):
        raise argparse.ArgumentTypeError(f"{text!r}: both sides must be even, from 256 to 8192")
    return height, width


def _doctor(options: argparse.Namespace) -> int:
    print(f"edgecolor {edgecolor.__version__}, Python {sys.version.split()[0]}")
    missing = []
    for module, package, purpose in (
        ("numpy", "numpy", "arrays"),
        ("cv2", "opencv-python-headless", "pixel work"),
        ("onnxruntime", "onnxruntime", "the engine for any CPU"),
        ("pyvips", "pyvips[binary]", "picture files"),
        ("av", "av", "films and cameras"),
        ("tinycss2", "tinycss2", "CSS colours in hints and palettes"),
        ("tqdm", "tqdm", "progress over many files"),
    ):
        state = _loaded(module)
        print(f"  {package:24} {state or 'not usable':12} {purpose}")
        if state is None:
            missing.append(f"missing, for {purpose}: pip install '{package}'")
    print(f"engines installed: {', '.join(installed_engines()) or 'none'}")
    print(f"TensorRT: {why_not_tensorrt() or 'usable'}")
    for line in missing:
        print(line)
    colorizer = edgecolor.load(engine=options.engine)
    print(f"would run: {colorizer!r}")
    return 1 if missing else 0


def _loaded(module: str) -> str | None:
    """The version of a module that can really be imported, else None: installed is not yet usable."""
    try:
        return str(getattr(import_module(module), "__version__", "present"))
    except (ImportError, OSError):
        return None


def _complain(error: Exception | str) -> None:
    try:
        print(f"edgecolor: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # that nobody listens must not stop the work
        _close(sys.stderr)
