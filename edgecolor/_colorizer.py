"""load, Colorizer, Colorization: the pipeline, top to bottom."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from numbers import Integral, Real
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from edgecolor._capture import Frame
from edgecolor._chroma import ChromaField, colored, guide
from edgecolor._color import decode_bins, lab_to_rgb, rgb_to_lab
from edgecolor._detail import Answer, Detail, check_detail, finer_grids, look
from edgecolor._engine import Engine, EngineName, FrameEngine, choose_engine, open_engine
from edgecolor._errors import ImageError
from edgecolor._explain import ALTERNATIVE_TEMPERATURE, alternative_chroma, shifted_confidence
from edgecolor._ffmpeg import Encoding
from edgecolor._files import path_of
from edgecolor._frame import chroma_inputs, on_gpu, rgb_inputs
from edgecolor._grid import CELL, grid_size
from edgecolor._hints import Hint, check_hints, check_region, hint_planes, hint_points, listed, palette_weights, pin
from edgecolor._luma import Luma, Plane, read_luma
from edgecolor._models import ModelFile, ModelName, Precision, find_model
from edgecolor._planes import Coding, Matrix, check_out, chroma_of_frame, matrix_of
from edgecolor._steady import SteadyColorizer, reference_of
from edgecolor._video import Progress, color_film

if TYPE_CHECKING:
    from edgecolor._formats import Compression, Depth
    from edgecolor._icc import ProfileName

Channels = Literal["auto", "rgb", "bgr"]
Palette = Sequence[str] | npt.NDArray[Any]
Picture = npt.NDArray[Any]

_HINT_LIGHTNESS = 10, 60
"""L* between which the network is told of a hint's colour as far as it can be seen; outside as here."""

_opening = threading.Lock()

ALTERNATIVES_MAX = 100
"""More than this many colourings no picture has."""


def load(
    model: ModelName = "auto",
    *,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    channels: Channels = "auto",
) -> Colorizer:
    """Open a model in an engine, ready to colour.

    Args:
        model: Which network; ``edgecolor models`` lists them. "auto" takes the default one.
        engine: What runs it. "auto" takes the best that is installed; once taken, its failure is an error.
        precision: Of the network's arithmetic. "auto" takes the model's default.
        channels: Order of the channels of colour arrays, in and out. "auto" is "rgb"; OpenCV's own is "bgr".

    Raises:
        UnknownModelError: No such model or precision.
        ModelIntegrityError: The model's file is missing or damaged.
        EngineUnavailableError: The engine is not installed.
    """
    if channels not in ("auto", "rgb", "bgr"):
        raise ImageError(f"channels must be 'auto', 'rgb' or 'bgr', got {channels!r}")
    chosen = choose_engine(engine)
    file = find_model(model, precision, chosen)
    again = partial(kept_open, model, chosen, precision, channels)
    return Colorizer(open_engine(chosen, file), file, channels="rgb" if channels == "auto" else channels, again=again)


def kept_open(model: ModelName, engine: EngineName, precision: Precision, channels: Channels) -> Colorizer:
    """As ``load``, once in a process, however many tasks and threads need it."""
    with _opening:
        return _kept_open(model, engine, precision, channels)


@cache
def _kept_open(model: ModelName, engine: EngineName, precision: Precision, channels: Channels) -> Colorizer:
    return load(model, engine=engine, precision=precision, channels=channels)


@dataclass(frozen=True, eq=False)
class Colorization:
    """A coloured picture, how sure its colours are, and what else they could have been."""

    image: Picture
    """(H, W, 3) sRGB in the dtype of the input."""
    confidence: npt.NDArray[np.float32]
    """(H, W) float32 in [0, 1]: probability that the true colour lies within CIEDE2000 10 of the given one.

    It holds for pictures like those it was calibrated on. Colours that a palette or vividness moved are judged as moved.
    """
    _alternatives: Callable[[int], list[Picture]] = field(repr=False)

    def __reduce__(self) -> tuple[type[Colorization], tuple[Any, ...]]:
        """For pickle: the picture and its confidence travel; the distribution, which alternatives come from, stays."""
        return Colorization, (self.image, self.confidence, _out_of_reach)

    def __copy__(self) -> Colorization:
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Colorization:
        copied = memo[id(self)] = replace(self, image=self.image.copy(), confidence=self.confidence.copy())
        return copied

    def alternatives(self, count: int = 3) -> list[Picture]:
        """Other colourings that the network finds plausible: ``count`` arrays like ``image``.

        What it is sure of stays; what it guesses takes the other colours it had in mind, each time another one: those that
        differ visibly come first, the most likely of them first.
        """
        check_alternatives(count)
        return self._alternatives(int(count))


def _out_of_reach(_: int) -> list[Picture]:
    raise ImageError(
        "alternatives can be asked for only in the process that coloured the picture; ask there, before it is sent"
    )


class Colorizer:
    """Colours pictures with one opened model. Calls do not change it; threads may share it."""

    def __init__(
        self,
        engine: Engine,
        model: ModelFile,
        *,
        channels: Literal["rgb", "bgr"] = "rgb",
        again: Callable[[], Colorizer] | None = None,
    ) -> None:
        self._engine = engine
        self._model = model
        self._channels = channels
        self._again = again

    def __reduce__(self) -> tuple[Callable[[], Colorizer], tuple[()]]:
        """For pickle, so that processes can be handed it: each opens the model anew."""
        if self._again is None:
            raise TypeError("only a colorizer that edgecolor.load has opened can be pickled")
        return self._again, ()

    def __repr__(self) -> str:
        return f"<Colorizer {self._model.model} {self._model.precision}, {self._engine.description}>"

    def __call__(self, gray: Picture) -> Picture:
        """Colour a picture.

        Args:
            gray: (H, W), (H, W, 1) or (H, W, 3); uint8, uint16, or float32 in [0, 1]; gamma-encoded (sRGB). Any size from
                1 x 1, any memory layout. A colour picture is reduced to its own lightness first. With TensorRT also a
                (H, W) uint8 array on the GPU (``__cuda_array_interface__``), which is read where it lies.

        Returns:
            (H, W, 3) sRGB of the same dtype; its L* is the input's, its chroma the network's. The input is not changed.

        Raises:
            ImageError: The array is none of the above, or holds NaN, infinity or values outside [0, 1].
        """
        frames = self._frame_engine(gray)
        if frames is not None:
            return self._ordered(frames.frame("rgb", rgb_inputs(gray, self._model.grid_area))[0])
        luma = read_luma(self._ordered(gray))
        planes = self._planes(luma, ())
        (colors,) = self._engine.run(planes, "colors")
        return self._ordered(colored(luma, _field(colors, planes, luma)))

    def predict(  # noqa: PLR0913  # the public face: every option by its name
        self,
        gray: Picture,
        *,
        hints: Sequence[Hint] = (),
        palette: Palette | None = None,
        vividness: float = 1.0,
        region: npt.NDArray[np.bool_] | None = None,
        detail: Detail = 1,
    ) -> Colorization:
        """Colour a picture, steered, with the confidence and the alternatives.

        Args:
            gray: As for calling the colorizer.
            hints: Colours at points or along strokes; they spread to what belongs together.
            palette: CSS colours, or a reference picture (H, W, 3), to prefer where the network hesitates.
            vividness: Factor on the chroma, [0, 2]: 0 leaves grey, 1 is as judged best. Hinted colours stay as given.
            region: (H, W) bool. Outside it the picture keeps its own values, byte for byte.
            detail: How many times finer, per side, the grid is on which colours are decided: 1, as for calling the colorizer,
                2, 4, or "auto", as :meth:`image` does it.

        Raises:
            ImageError: A picture, hint, palette, vividness, region or detail that cannot be used.
        """
        luma = read_luma(_copied(self._ordered(gray)))  # the alternatives may be asked for when it has changed
        hints = check_hints(listed(hints), luma.size)
        check_vividness(vividness)
        region = _checked_region(region, luma.size)
        check_detail(detail)
        preference = None if palette is None else palette_weights(self._ordered_palette(palette))

        held = finer_grids(detail, luma.size, self._model.grid_area)
        planes = {number: self._planes(luma, hints, number) for number in (1, *held)}

        def judge(planes: Plane) -> Answer:
            ab, confidence, logits = self._judge(planes, preference, vividness)
            return Answer(ab, confidence, logits.transpose(1, 2, 0))

        finer, answer = look(judge, planes.__getitem__, held, detail)

        def finish(ab: npt.NDArray[np.float32]) -> Picture:
            field = guide(ab * np.float32(vividness), planes[finer][0, 0], luma.size)
            image = colored(luma, pin(field, hints, luma.at(hint_points(hints)), finer) if hints else field)
            if region is not None:
                np.copyto(image, luma.picture if luma.picture.ndim == 3 else luma.picture[..., None], where=~region[..., None])
            return self._ordered(image)

        def alternatives(count: int) -> list[Picture]:
            return [finish(other) for other in self._others(answer, preference, count)]

        large = cv2.resize(answer.confidence, luma.size[::-1], interpolation=cv2.INTER_LINEAR)
        return Colorization(finish(answer.ab), np.clip(large, 0, 1, dtype=np.float32), alternatives)

    def chroma_planes(
        self,
        y: Picture,
        *,
        matrix: Matrix = "auto",
        full_range: bool = False,
        bits: int = 8,
        out: tuple[Picture, Picture] | None = None,
    ) -> tuple[Picture, Picture]:
        """The chroma of a video frame, for makers who keep its Y plane as it is.

        Each frame is coloured for itself; :meth:`steady` keeps a film's colours from flickering.

        Args:
            y: (H, W) luma codes, uint8, or uint16 above 8 bits, of any memory layout: a view into NV12, I420 or YUYV will do.
            matrix: Y'CbCr matrix of the stream; "auto" is BT.709 from 720 lines up and BT.601 below.
            full_range: Whether codes use their whole range, as in JPEG, or 16 to 235 of 255, as in most video.
            bits: 8, 10, 12 or 16 per code, in the low bits.
            out: Where to write Cb and Cr, such as ``(uv[..., 0], uv[..., 1])`` of NV12, in place of new arrays.

        Returns:
            Cb and Cr, each (ceil(H/2), ceil(W/2)) of the dtype of ``y``; 128 is neutral, 512 at 10 bits.

        Raises:
            ImageError: The plane is not (H, W) of the dtype for ``bits``, or ``out`` does not fit.
        """
        coding = Coding(matrix, full_range, bits)
        frames = self._frame_engine(y) if bits == 8 else None
        if frames is None:
            return chroma_of_frame(y, self._chroma_of, coding, out)
        inputs = chroma_inputs(y, self._model.grid_area, matrix_of(coding, y.shape[0]), full_range=full_range)
        half = y.shape[0] // 2, y.shape[1] // 2
        cb, cr = frames.frame("chroma", inputs, check_out(out, half, np.dtype(np.uint8), resident=True))
        return cb, cr

    def image(  # noqa: PLR0913  # the public face: every option by its name
        self,
        source: str | PathLike[str],
        target: str | PathLike[str],
        *,
        hints: Sequence[Hint] = (),
        palette: Palette | None = None,
        vividness: float = 1.0,
        region: npt.NDArray[np.bool_] | None = None,
        detail: Detail = "auto",
        alternative: int = 0,
        depth: Depth = "auto",
        compression: Compression = "auto",
        quality: int | None = None,
        profile: ProfileName | str | PathLike[str] = "auto",
        confidence: str | PathLike[str] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> tuple[str, ...]:
        """Colour a picture file into another, of any size in bounded memory, with all its pages and all that it says.

        Args:
            source: JPEG, PNG, TIFF, WebP, AVIF, BMP, PNM or another format that libvips reads. A grey ICC profile is honoured.
            target: Where to write; its ending names the format. It appears whole or not at all.
            hints: As for :meth:`predict`, in pixels of the upright picture; so are the next three.
            palette: As for :meth:`predict`.
            vividness: As for :meth:`predict`.
            region: As for :meth:`predict`.
            detail: How many times finer, per side, the grid is on which colours are decided: 1, 2 or 4. Finer ones are worked
                through in tiles, for crowds and streets; a picture without such detail is coloured as with less. "auto"
                takes a finer one, from a megapixel up, where that makes the network surer of its colours.
            alternative: Which of the other colourings to write that :meth:`Colorization.alternatives` gives, from 1; by default
                none of them.
            depth: Bits of a channel: "8", "16" or "float". "auto" keeps the source's where the format can.
            compression: Of a TIFF. "auto" keeps the source's.
            quality: Of a format or compression that loses, 1 to 100, larger is better; others are written as without it. None
                is 92 for JPEG, also in a TIFF, 90 for WebP, where what came lossless stays so, and JPEG 2000, 80 for AVIF.
            profile: RGB to write in: "srgb", "adobergb", "prophoto", or the file of an ICC profile. "auto" is sRGB, but for
                scans with a grey profile that 8 bits of sRGB are too coarse for: RGB with the scan's own curve, or Adobe RGB.
            confidence: Picture to write beside, best a PNG: grey, how sure each colour is, white is certain.
            progress: Called with the share that is done, up to 1.

        Returns:
            Remarks on the source that whoever keeps the result should know, which are logged, too: that it is damaged, where
            its decoder made up for that. Usually none.

        Raises:
            SourceError: A file that cannot be read or written.
            ImageError: A file that is no picture, or is damaged; a target of unknown format, or the source itself; an
                option that cannot be used.
        """
        from edgecolor._formats import Saving
        from edgecolor._image import Decision, Order, Survey, color_file

        source, target = path_of(source), path_of(target)
        path_of(profile)  # no other kind of value
        hints = listed(hints)
        points = hint_points(hints)
        check_vividness(vividness)
        check_detail(detail)
        if alternative != 0:
            check_alternatives(alternative)
        preference = None if palette is None else palette_weights(self._ordered_palette(palette))

        def judge(planes: Plane) -> Answer:
            if preference is None and vividness == 1 and not alternative:
                (colors,) = self._engine.run(planes, "colors")
                return Answer(_ab(colors), colors[0, 2])
            ab, confidence, logits = self._judge(planes, preference, vividness)
            return Answer(ab, confidence, logits.transpose(1, 2, 0) if alternative else None)

        def decide(survey: Survey) -> Decision:
            check_hints(hints, survey.size)
            grids = {1: survey.lightness} | survey.finer
            finer, answer = look(
                judge, lambda number: _planes_of(grids[number], survey.size, hints), tuple(survey.finer), detail
            )
            ab, sureness = answer.ab, answer.confidence
            if alternative:
                ab = self._others(answer, preference, alternative)[-1]
                lightness = _of_cells(grids[finer])
                moved = (plane * np.float32(vividness) for plane in (answer.ab, ab))
                sureness = shifted_confidence(sureness, _distribution(answer), lightness, *moved)
            field = guide(ab * np.float32(vividness), grids[finer], survey.size)
            return Decision(pin(field, hints, survey.at, finer) if hints else field, sureness)

        order = Order(
            area=self._model.grid_area,
            saving=Saving(depth, compression, quality),
            profile=fspath(profile),
            note=self._note(alternative),
            confidence=None if confidence is None else path_of(confidence),
            points=points,
            region=None if region is None else _region(region),
            detail=detail,
            progress=progress or (lambda _: None),
        )
        return color_file(source, target, decide, order)

    def _judge(
        self, planes: Plane, preference: Plane | None, vividness: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Of each cell: a*, b* before vividness, (h, w, 2); the confidence after it, (h, w); and the bins' logits."""
        colors, logits = self._engine.run(planes, "colors", "logits")
        own, confidence, distribution = _ab(colors), colors[0, 2], logits[0]
        ab = own if preference is None else self._decode(distribution, preference, self._model.temperature)
        if preference is not None or vividness != 1:
            lightness = _of_cells(planes[0, 0])
            confidence = shifted_confidence(confidence, distribution, lightness, own, ab * np.float32(vividness))
        return ab, confidence, distribution

    def _others(self, answer: Answer, preference: Plane | None, count: int) -> list[npt.NDArray[np.float32]]:
        """a*, b* before vividness, (h, w, 2), of so many alternatives to an answer."""

        def decode(logits: Plane, supposition: Plane) -> Plane:
            weights = supposition if preference is None else preference * supposition
            return self._decode(logits, weights, ALTERNATIVE_TEMPERATURE)

        return alternative_chroma(_distribution(answer), decode, answer.ab, count)

    def _note(self, alternative: int) -> str:
        """The truth about a result, for its description."""
        from edgecolor import __version__

        which = f", alternative {alternative}" if alternative else ""
        network = f"{self._model.model} {self._model.precision}"
        return f"coloured by edgecolor {__version__} with {network}{which}; colours are estimates"

    def steady(self, *, reference: Picture | None = None, vividness: float = 1.0) -> SteadyColorizer:
        """A colorizer for the frames of one film or camera, whose colours hold still from frame to frame.

        Args:
            reference: (H, W, 3) a colour picture whose colours to keep: where it shows what a frame shows its own are taken,
                elsewhere they are preferred where the network hesitates.
            vividness: Factor on the chroma, 0 to 2, but for what is taken from the reference. The confidence stays that of the
                colours at 1.

        Raises:
            ImageError: The reference is not a colour picture, or the vividness out of range.
        """
        check_vividness(vividness)
        if reference is not None and not isinstance(reference, np.ndarray):
            raise ImageError(f"a reference must be a colour picture, an array (H, W, 3), got {reference!r}; read it first")
        picture = None if reference is None else self._ordered(reference)
        preference = None if picture is None else palette_weights(picture)
        decide = partial(self._decide, preference, vividness)
        area = self._model.grid_area
        return SteadyColorizer(decide, self._ordered, area, None if picture is None else reference_of(picture, area))

    def _decide(self, preference: Plane | None, vividness: float, lightness: Plane) -> Plane:
        """(3, h, w) a*, b*, confidence on cells for the L* of a grid."""
        planes = np.zeros((1, 4, *lightness.shape), np.float32)
        planes[0, 0] = lightness
        if preference is None:
            colors: Plane = self._engine.run(planes, "colors")[0][0]
        else:
            ab, confidence, _ = self._judge(planes, preference, 1.0)
            colors = np.concatenate([ab.transpose(2, 0, 1), confidence[None]])
        return colors if vividness == 1 else colors * np.array([[[vividness]], [[vividness]], [[1]]], np.float32)

    def stream(
        self, frames: Iterable[Frame | Picture], *, reference: Picture | None = None, vividness: float = 1.0
    ) -> Iterator[Picture]:
        """Colour frames as they come, their colours held still: (H, W, 3) sRGB for each.

        Args:
            frames: A camera or its frames, which come out uint8; or any iterable of arrays as for calling the colorizer,
                which keep their dtype.
            reference: As for :meth:`steady`.
            vividness: As there.

        Raises:
            SourceError: The camera is lost, or not there.
            ImageError: A frame that is no picture; a reference that is none; a vividness out of range.
        """
        if isinstance(frames, (str, PathLike)) or not isinstance(frames, Iterable):
            raise ImageError(f"frames must be a camera or an iterable of arrays, got {frames!r}; see edgecolor.camera")
        steady = self.steady(reference=reference, vividness=vividness)
        return (steady(frame.grey if isinstance(frame, Frame) else frame) for frame in frames)

    def video(  # noqa: PLR0913  # every choice has a default
        self,
        source: str | PathLike[str],
        target: str | PathLike[str],
        *,
        reference: Picture | None = None,
        vividness: float = 1.0,
        codec: str = "auto",
        crf: int | None = None,
        preview: bool = False,
        progress: Callable[[Progress], object] | None = None,
    ) -> None:
        """Colour a film into another; its Y plane goes to the encoder byte for byte (``codec="ffv1"`` keeps it so in the file).

        Sound, subtitles, chapters, times of frames, rotation and colour tags are carried over.

        Args:
            source: Any container that FFmpeg reads.
            target: Where to write; its ending names the container. It appears whole or not at all.
            reference: A colour picture whose colours to keep throughout, as for :meth:`steady`.
            vividness: Factor on the chroma, as there.
            codec: "auto", "hardware", or FFmpeg's name of an encoder, such as "libx265" or "ffv1".
            crf: Quality of the encoder, smaller is better.
            preview: Write ten seconds from the film's middle, grey beside coloured, without sound.
            progress: Called after every frame.

        Raises:
            SourceError: A film that cannot be read or written, is damaged or has no pictures.
            ImageError: A target of unknown format, or the source itself; a vividness out of range.
        """
        steady = self.steady(reference=reference, vividness=vividness)

        def write_chroma(y: Picture, coding: Coding, out: tuple[Picture, Picture]) -> None:
            steady.chroma_planes(y, **coding._asdict(), out=out)

        color_film(
            path_of(source), path_of(target), write_chroma, Encoding(str(codec), crf), preview=preview, progress=progress
        )

    def _frame_engine(self, picture: Picture) -> FrameEngine | None:
        """The engine, if it does all of this picture's pixel work; pictures on the GPU must be such.

        Raises:
            ImageError: A picture on the GPU that it does not take.
        """
        resident = on_gpu(picture)
        if resident and 0 in picture.shape:
            raise ImageError(f"a picture must have at least one pixel, got the shape {tuple(picture.shape)}")
        engine = self._engine if isinstance(self._engine, FrameEngine) else None
        plane = resident or (isinstance(picture, np.ndarray) and picture.ndim == 2 and picture.dtype == np.uint8)
        if engine and plane and 0 not in picture.shape and engine.serves(*picture.shape):
            return engine
        if resident:
            but = ", but (H, W) of even sides, at least 256 and twice the grid's, up to what plans were built for"
            taken = but if engine else ""
            raise ImageError(
                f"{self._engine.description} does not take a frame of shape {tuple(picture.shape)} on the GPU{taken}; "
                "copy it to the CPU first"
            )
        return None

    def _chroma_of(self, luma: Luma) -> ChromaField:
        planes = self._planes(luma, ())
        (colors,) = self._engine.run(planes, "colors")
        return _field(colors, planes, luma)

    def _planes(self, luma: Luma, hints: Sequence[Hint], finer: int = 1) -> npt.NDArray[np.float32]:
        """The network's input for one picture, (1, 4, h, w), on a grid so many times finer than the analysis grid."""
        rows, columns = grid_size(*luma.size, self._model.grid_area)
        return _planes_of(luma.lightness(finer * rows, finer * columns), luma.size, hints)

    def _decode(self, logits: Plane, preference: Plane, temperature: float) -> Plane:
        return decode_bins(logits, temperature, preference).astype(np.float32) * np.float32(self._model.vividness)

    def _ordered(self, picture: Picture) -> Picture:
        """The same picture with its channels turned from the user's order to RGB, or back."""
        if self._channels == "rgb" or np.ndim(picture) != 3 or np.shape(picture)[2] != 3:
            return picture
        return np.ascontiguousarray(np.asarray(picture)[..., ::-1])

    def _ordered_palette(self, palette: Palette) -> Palette:
        return self._ordered(palette) if isinstance(palette, np.ndarray) else palette


def _planes_of(lightness: Plane, size: tuple[int, int], hints: Sequence[Hint]) -> npt.NDArray[np.float32]:
    """The network's input, (1, 4, h, w), for (h, w) L* on the grid of a picture of ``size``."""
    planes = np.zeros((1, 4, *lightness.shape), np.float32)
    planes[0, 0] = lightness
    if hints:
        planes[0, 1:] = hint_planes(hints, size, lightness.shape)
        # told of more than can be seen in the dark, the network would make what is brighter beside it ever more colourful
        marked = planes[0, :3, planes[0, 3] > 0]
        marked[:, 0] = np.clip(marked[:, 0], *_HINT_LIGHTNESS)
        planes[0, 1:3, planes[0, 3] > 0] = rgb_to_lab(lab_to_rgb(marked))[:, 1:]
    return planes


def _of_cells(lightness: Plane) -> Plane:
    """(h, w) L* at the centres of the cells of a grid."""
    return lightness[CELL // 2 :: CELL, CELL // 2 :: CELL]


def _distribution(answer: Answer) -> npt.NDArray[np.float32]:
    """The logits of its bins, (128, h, w)."""
    return np.ascontiguousarray(np.asarray(answer.logits).transpose(2, 0, 1))


def _ab(colors: Plane) -> npt.NDArray[np.float32]:
    """(h, w, 2) of the network's answer (1, 3, h, w)."""
    return np.ascontiguousarray(colors[0, :2].transpose(1, 2, 0))


def _field(colors: Plane, planes: Plane, luma: Luma) -> ChromaField:
    return guide(_ab(colors), planes[0, 0], luma.size)


def _copied(picture: Picture) -> Picture:
    """A copy of an array; what is none is left to be refused."""
    return picture.copy() if isinstance(picture, np.ndarray) else picture


def check_alternatives(count: int) -> None:
    """Raise ImageError if there are not so many."""
    if not isinstance(count, Integral) or not 1 <= count <= ALTERNATIVES_MAX:
        raise ImageError(f"the number of alternatives must be a whole number from 1 to {ALTERNATIVES_MAX}, got {count!r}")


def check_vividness(vividness: float) -> None:
    """Raise ImageError if it is none."""
    if not isinstance(vividness, Real) or not 0 <= vividness <= 2:
        raise ImageError(f"vividness must be a number between 0 and 2, got {vividness!r}")


def _region(region: Any) -> npt.NDArray[Any]:
    """A copy of it as an array, of whatever kind."""
    try:
        return np.array(region)
    except ValueError as error:  # lists of unequal length
        raise ImageError(f"a region must be a bool array: {error}") from error


def _checked_region(region: Any, size: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
    return None if region is None else check_region(_region(region), size)
