"""Photographs in, training batches out: greys as old film made them, hints as users and pipelines give them.

A photograph stays an (H, W, 3) uint8 sRGB array in ordinary memory until it is sampled; everything random is drawn from
one generator a worker, seeded by (seed, batch index), so that a resumed run sees the batches it would have seen.
"""

from __future__ import annotations

import io
import queue
import tarfile
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecolor._color import rgb_to_lab
from tools.network import STRIDE
from tools.tokens import DETAIL, Tokens

Array = npt.NDArray[Any]
"""float32, where nothing else is said."""

Photo = npt.NDArray[Any]
"""(H, W, 3) uint8 sRGB."""

TOKEN_STRIDE, BELIEF_STRIDE = 16, 8
"""Pixels of a crop per side of a cell that the teacher's features and logits are interpolated to."""

SUFFIXES = {".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def read_photos(source: Path, limit: int | None = None) -> dict[str, Photo]:
    """Every picture of a tar file or folder as {name: (H, W, 3) uint8 sRGB}, sorted by name."""
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)[:limit]
        encoded = [(path.name, path.read_bytes()) for path in files]
    else:
        with tarfile.open(source) as tar:
            members = sorted((m for m in tar if Path(m.name).suffix.lower() in SUFFIXES), key=lambda m: m.name)
            files_in_tar = [(m.name, tar.extractfile(m)) for m in members[:limit]]
            encoded = [(name, file.read()) for name, file in files_in_tar if file is not None]

    def decode(item: tuple[str, bytes]) -> tuple[str, Photo]:
        with Image.open(io.BytesIO(item[1])) as image:
            return item[0], np.asarray(image.convert("RGB"))

    with ThreadPoolExecutor() as pool:
        return dict(pool.map(decode, encoded))


@dataclass(frozen=True)
class Batch:
    """What one step learns from."""

    planes: Array
    """(N, 4, S, S): L*, hint a*, hint b*, trust."""
    target: Array
    """(N, 3, S/4, S/4): the true L*, a*, b*."""
    hinted: npt.NDArray[np.bool_]
    """(N,) whether there are hints."""
    tokens: Array | None = None
    """(N, 768, S/16, S/16), or (N, 768, S/8, S/8) for the teacher: what its eyes see of the whole photograph, there."""
    belief: Array | None = None
    """(N, 128, S/8, S/8): logits of the teacher."""


@dataclass(frozen=True)
class Seen:
    """What is known of a photograph beside its pixels."""

    tokens: Tokens | None = None
    belief: Tokens | None = None


@dataclass(frozen=True)
class Window:
    """A square of a photograph."""

    top: int
    left: int
    side: int
    """Pixels."""
    mirrored: bool

    def cut(self, photo: Photo, size: int) -> Photo:
        """(size, size, 3)."""
        square = photo[self.top : self.top + self.side, self.left : self.left + self.side]
        if self.mirrored:
            square = square[:, ::-1]
        method = cv2.INTER_AREA if self.side > size else cv2.INTER_CUBIC
        resized: Photo = cv2.resize(np.ascontiguousarray(square), (size, size), interpolation=method)
        return resized

    def cut_tokens(self, tokens: Tokens, photo: Photo, cells: int) -> Array:
        """(n, cells, cells)."""
        height, width = photo.shape[:2]
        place = (self.top / height, self.left / width, self.side / height, self.side / width)
        part = tokens.part(*place, cells)
        return part[:, :, ::-1] if self.mirrored else part


def draw_window(photo: Photo, rng: np.random.Generator, zoom: float = 1.6) -> Window:
    """A random square, 1/zoom to all of the short side, mirrored half the time."""
    height, width = photo.shape[:2]
    side = round(min(height, width) / rng.uniform(1, zoom))
    top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
    return Window(int(top), int(left), side, bool(rng.random() < 0.5))


def film_grey(rgb: Photo, rng: np.random.Generator) -> Array:
    """What a black-and-white process might have kept of a scene: (H, W) grey in [0, 1], gamma-encoded.

    Spectral response (orthochromatic film is blind to red), tone curve, fading, blur, grain, JPEG.
    """
    picture = rgb.astype(np.float32) / 255
    response = rng.choice(["panchromatic", "orthochromatic", "blue", "any"])
    weights = {
        "panchromatic": rng.normal([0.30, 0.55, 0.15], 0.06),
        "orthochromatic": rng.normal([0.05, 0.55, 0.40], 0.05),
        "blue": rng.normal([0.02, 0.18, 0.80], 0.05),
        "any": rng.dirichlet([1.5, 3.0, 1.0]),
    }[response].clip(0)
    grey = np.power(cv2.transform(picture**2.2, (weights / weights.sum())[None].astype(np.float32)), 1 / 2.2)
    if rng.random() < 0.6:
        grey = grey ** np.float32(rng.uniform(0.65, 1.5))
        steep = rng.uniform(0.01, 4)
        grey = (np.tanh(steep * (grey - 0.5)) / np.tanh(steep / 2) + 1) / 2
    if rng.random() < 0.4:
        black, white = rng.uniform(0, 0.2), rng.uniform(0.8, 1)
        grey = black + grey * (white - black)
    if rng.random() < 0.4:
        shrink = rng.uniform(1, 3)
        small = (max(8, int(grey.shape[1] / shrink)), max(8, int(grey.shape[0] / shrink)))
        coarse = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
        grey = cv2.resize(coarse, grey.shape[::-1], interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.4:
        grain = rng.normal(0, rng.uniform(0.005, 0.06), grey.shape).astype(np.float32)
        grey = grey + cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.3, 0.9))
    if rng.random() < 0.3:
        level = cv2.convertScaleAbs(grey, alpha=255)
        worn = cv2.imencode(".jpg", level, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])[1]
        decoded: Any = cv2.imdecode(worn, cv2.IMREAD_GRAYSCALE)
        grey = decoded.astype(np.float32) / 255
    return np.clip(grey, 0, 1, dtype=np.float32)


def sparse_hints(ab: Array, rng: np.random.Generator) -> Array:
    """One to a hundred small patches of the true colour: (3, S, S) planes a*, b*, trust 1."""
    size = ab.shape[0]
    planes = np.zeros((3, size, size), np.float32)
    for _ in range(int(100 ** rng.random())):
        radius = int(rng.integers(0, 4))
        y, x = rng.integers(0, size, 2)
        patch = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        planes[0][patch], planes[1][patch] = ab[patch].mean((0, 1)) + rng.normal(0, 1.5, 2)
        planes[2][patch] = 1
    return planes


def dense_hints(ab: Array, rng: np.random.Generator) -> Array:
    """The whole picture's chroma, coarse, shifted, pale or noisy, sometimes with holes: (3, S, S), trust 0.5.

    It stands for the global pass that a tile is told of, and for the frame before this one.
    """
    size = ab.shape[0]
    cells = int(rng.choice([4, 8, 16, 32]))
    coarse = cv2.resize(ab, (cells, cells), interpolation=cv2.INTER_AREA)
    coarse = coarse * np.float32(rng.uniform(0.5, 1.2)) + rng.normal(0, rng.uniform(0, 8), 2).astype(np.float32)
    coarse = coarse + rng.normal(0, rng.uniform(0, 8), coarse.shape).astype(np.float32)
    shift = rng.uniform(-0.04, 0.04, 2) * size
    matrix = np.array([[size / cells, 0, shift[0]], [0, size / cells, shift[1]]])
    planes = np.empty((3, size, size), np.float32)
    planes[:2] = cv2.warpAffine(coarse, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE).transpose(2, 0, 1)
    planes[2] = 0.5
    if rng.random() < 0.4:
        noise = rng.random((6, 6)).astype(np.float32)
        planes *= cv2.resize(noise, (size, size)) > rng.uniform(0.2, 0.6)
    return planes


@dataclass(frozen=True)
class Kind:
    """Which pairs are made."""

    size: int
    """Side of the crops in pixels."""
    films: float = 0.35
    """Share that looks like old film."""
    hints: float = 0.3
    """Share with hints, half of them sparse."""


def sample(photo: Photo, kind: Kind, rng: np.random.Generator, seen: Seen | None = None) -> Batch:
    """One training pair, with neither first axis."""
    size = kind.size
    window = draw_window(photo, rng)
    rgb = window.cut(photo, size)
    lab: Array = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    planes = np.zeros((4, size, size), np.float32)
    if rng.random() < kind.films:
        grey = film_grey(rgb, rng)
        planes[0] = cv2.cvtColor(cv2.merge([grey, grey, grey]), cv2.COLOR_RGB2Lab)[..., 0]
    else:
        planes[0] = lab[..., 0]
    chance = rng.random()
    if chance < kind.hints / 2:
        planes[1:] = sparse_hints(lab[..., 1:], rng)
    elif chance < kind.hints:
        planes[1:] = dense_hints(lab[..., 1:], rng)
    target: Array = cv2.resize(lab, (size // STRIDE, size // STRIDE), interpolation=cv2.INTER_AREA)
    pair = Batch(planes, target.transpose(2, 0, 1), np.array(chance < kind.hints))
    if seen is None or seen.belief is None:
        return pair
    tokens = window.cut_tokens(seen.tokens, photo, size // TOKEN_STRIDE) if seen.tokens else None
    return replace(pair, tokens=tokens, belief=window.cut_tokens(seen.belief, photo, size // BELIEF_STRIDE))


def sample_tokens(photo: Photo, kind: Kind, rng: np.random.Generator, seen: Seen | None = None) -> Batch:
    """What the teacher learns from: whole tokens, ``kind.size`` / 8 a side, and (3, S/4, S/4) true L*a*b*."""
    assert seen is not None
    assert seen.tokens is not None
    cells = kind.size // DETAIL
    grid = seen.tokens.codes.shape[:2]
    first = [int(rng.integers(0, count - cells + 1)) for count in grid]
    down, across = (
        slice(round(begin / count * side), round((begin + cells) / count * side))
        for begin, count, side in zip(first, grid, photo.shape[:2], strict=True)
    )
    rgb = cv2.resize(photo[down, across], (kind.size, kind.size), interpolation=cv2.INTER_AREA)
    codes = seen.tokens.codes[first[0] : first[0] + cells, first[1] : first[1] + cells]
    if rng.random() < 0.5:
        rgb, codes = rgb[:, ::-1], codes[:, ::-1]
    lab: Array = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    planes = np.zeros((4, kind.size, kind.size), np.float32)
    planes[0] = lab[..., 0]
    target: Array = cv2.resize(lab, (2 * cells, 2 * cells), interpolation=cv2.INTER_AREA)
    tokens = (codes * seen.tokens.scale).transpose(2, 0, 1)
    return Batch(planes, target.transpose(2, 0, 1), np.array(False), tokens)  # noqa: FBT003


def _together(pairs: list[Batch]) -> Batch:
    def column(name: str) -> Any:
        values = [getattr(pair, name) for pair in pairs]
        return None if values[0] is None else np.stack(values)

    return Batch(**{field.name: column(field.name) for field in fields(Batch)})


def batches(
    photos: list[Photo],
    kind: Kind,
    *,
    count: int,
    seed: int,
    first: int,
    seen: list[Seen] | None = None,
    make_pair: Callable[..., Batch] = sample,
    workers: int = 1,
) -> Generator[Batch, None, None]:
    """Endless batches from number ``first`` on, each epoch in a new order, made ahead in ``workers`` threads.

    ``seen`` is what is known of each photograph beside its pixels, ``make_pair`` is ``sample`` or ``sample_tokens``.
    """

    def make(number: int) -> Batch:
        rng = np.random.default_rng([seed, number])
        per_epoch = max(1, len(photos) // count)
        epoch, position = divmod(number, per_epoch)
        order = np.random.default_rng([seed, epoch, 0]).permutation(len(photos))
        chosen = order[position * count : (position + 1) * count]
        return _together([make_pair(photos[index], kind, rng, seen[index] if seen else None) for index in chosen])

    with ThreadPoolExecutor(workers) as pool:
        ahead: queue.Queue[threading.Event | object] = queue.Queue()
        number = first
        for _ in range(4):
            ahead.put(pool.submit(make, number))
            number += 1
        while True:
            yield ahead.get().result()  # type: ignore[attr-defined]
            ahead.put(pool.submit(make, number))
            number += 1


def validation_planes(photo: Photo) -> tuple[Array, Array]:
    """A photograph cut to multiples of 32, without hints: (4, H, W) planes and (H, W, 3) true L*a*b*."""
    height, width = (side // 32 * 32 for side in photo.shape[:2])
    lab = rgb_to_lab(photo[:height, :width].astype(np.float64) / 255).astype(np.float32)
    planes = np.zeros((4, height, width), np.float32)
    planes[0] = lab[..., 0]
    return planes, lab
