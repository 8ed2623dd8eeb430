"""Photographs in, training batches out: greys as old film made them, hints as users and pipelines give them.

A photograph stays an (H, W, 3) uint8 sRGB array in ordinary memory until it is sampled; everything random is drawn from
one generator a batch, seeded by its number, so that a resumed run sees the batches it would have seen.
"""

from __future__ import annotations

import io
import itertools
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgecolor._grid import grid_size
from tools.network import STRIDE

Array = npt.NDArray[Any]
"""float32, where nothing else is said."""

Photo = npt.NDArray[Any]
"""(H, W, 3) uint8 sRGB."""

BELIEF_STRIDE = 8
"""Pixels of a crop per side of a cell that a teacher's belief is interpolated to."""

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


class Pair(NamedTuple):
    """A grey crop, and its colours."""

    planes: Array
    """(4, H, W): L*, hint a*, hint b*, trust."""
    target: Array
    """(3, H/4, W/4): the true L*, a*, b*."""
    belief: Array | None = None
    """(128, H/8, W/8): a teacher's probabilities of the bins, of the photograph clean and whole."""


class Batch(NamedTuple):
    """What one step learns from: pairs, stacked."""

    planes: Tensor
    """(N, 4, H, W) float32."""
    target: Tensor
    """(N, 3, H/4, W/4) float32."""
    belief: Tensor | None = None
    """(N, 128, H/8, W/8) float32."""


@dataclass(frozen=True)
class Window:
    """A piece of a photograph, in pixels."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool

    def cut(self, photo: Photo, rows: int, columns: int) -> Photo:
        """(rows, columns, 3)."""
        piece = photo[self.top : self.top + self.height, self.left : self.left + self.width]
        if self.mirrored:
            piece = piece[:, ::-1]
        method = cv2.INTER_AREA if self.height > rows else cv2.INTER_CUBIC
        resized: Photo = cv2.resize(np.ascontiguousarray(piece), (columns, rows), interpolation=method)
        return resized

    def cut_belief(self, belief: Array, photo: Photo, rows: int, columns: int) -> Array:
        """(h, w, 128) of the whole photograph to (128, rows, columns), interpolated linearly."""
        vertical = between(belief.shape[0], self.top / photo.shape[0], self.height / photo.shape[0], rows)
        horizontal = between(belief.shape[1], self.left / photo.shape[1], self.width / photo.shape[1], columns)
        down, across = (slice(*np.flatnonzero(weights.any(0))[[0, -1]] + [0, 1]) for weights in (vertical, horizontal))
        near = belief[down, across].astype(np.float32)
        lines = (vertical[:, down] @ near.reshape(len(near), -1)).reshape(rows, *near.shape[1:])
        part: Array = np.matmul(horizontal[:, across], lines).transpose(2, 0, 1)
        return np.ascontiguousarray(part[:, :, ::-1] if self.mirrored else part)


def between(count: int, start: float, share: float, cells: int) -> Array:
    """(cells, count) weights that interpolate ``count`` values, at their centres, at the centres of cells of a window."""
    places = np.clip((start + share * (np.arange(cells) + 0.5) / cells) * count - 0.5, 0, count - 1)
    below = np.minimum(places.astype(int), max(0, count - 2))
    weights = np.zeros((cells, count), np.float32)
    weights[np.arange(cells), below] = 1 - (places - below)
    weights[np.arange(cells), np.minimum(below + 1, count - 1)] += places - below
    return weights


def draw_window(photo: Photo, rng: np.random.Generator, zoom: float = 1.6, aspect: float = 1.0) -> Window:
    """A random piece ``aspect`` times as wide as high, 1/zoom to all of what there is room for, mirrored half the time."""
    height, width = photo.shape[:2]
    high = min(height, width / aspect) / rng.uniform(1, zoom)
    rows, columns = min(height, max(1, round(high))), min(width, max(1, round(high * aspect)))
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    return Window(int(top), int(left), rows, columns, bool(rng.random() < 0.5))


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
    """One to a hundred small patches of the true colour: (3, H, W) planes a*, b*, trust 1."""
    rows, columns = ab.shape[:2]
    planes = np.zeros((3, rows, columns), np.float32)
    for _ in range(int(100 ** rng.random())):
        radius = int(rng.integers(0, 4))
        y, x = rng.integers(0, (rows, columns))
        patch = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        planes[0][patch], planes[1][patch] = ab[patch].mean((0, 1)) + rng.normal(0, 1.5, 2)
        planes[2][patch] = 1
    return planes


def dense_hints(ab: Array, rng: np.random.Generator) -> Array:
    """The whole picture's chroma, coarse, shifted, pale or noisy, sometimes with holes: (3, H, W), trust 0.5.

    It stands for the global pass that a tile is told of, and for the frame before this one.
    """
    rows, columns = ab.shape[:2]
    cells = int(rng.choice([4, 8, 16, 32]))
    coarse = cv2.resize(ab, (cells, cells), interpolation=cv2.INTER_AREA)
    coarse = coarse * np.float32(rng.uniform(0.5, 1.2)) + rng.normal(0, rng.uniform(0, 8), 2).astype(np.float32)
    coarse = coarse + rng.normal(0, rng.uniform(0, 8), coarse.shape).astype(np.float32)
    shift = rng.uniform(-0.04, 0.04, 2) * (columns, rows)
    matrix = np.array([[columns / cells, 0, shift[0]], [0, rows / cells, shift[1]]])
    planes = np.empty((3, rows, columns), np.float32)
    planes[:2] = cv2.warpAffine(coarse, matrix, (columns, rows), borderMode=cv2.BORDER_REPLICATE).transpose(2, 0, 1)
    planes[2] = 0.5
    if rng.random() < 0.4:
        noise = rng.random((6, 6)).astype(np.float32)
        planes *= cv2.resize(noise, (columns, rows)) > rng.uniform(0.2, 0.6)
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
    zoom: float = 1.6
    """How much of a photograph's side a crop may leave out, as a factor."""
    whole: bool = False
    """Crops have the shape of the grid on which the library shows the photograph, and about ``size`` squared pixels."""

    def shape_of(self, photo: Photo) -> tuple[int, int]:
        """Rows and columns of its crops."""
        return grid_size(*photo.shape[:2], self.size**2) if self.whole else (self.size, self.size)


def sample(photo: Photo, kind: Kind, rng: np.random.Generator, belief: Array | None = None) -> Pair:
    """One training pair, and what a teacher believes of it if it was asked."""
    rows, columns = kind.shape_of(photo)
    window = draw_window(photo, rng, kind.zoom, columns / rows)
    rgb = window.cut(photo, rows, columns)
    lab: Array = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    planes = np.zeros((4, rows, columns), np.float32)
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
    target: Array = cv2.resize(lab, (columns // STRIDE, rows // STRIDE), interpolation=cv2.INTER_AREA)
    cells = rows // BELIEF_STRIDE, columns // BELIEF_STRIDE
    believed = None if belief is None else window.cut_belief(belief, photo, *cells)
    return Pair(planes, target.transpose(2, 0, 1), believed)


@dataclass(frozen=True)
class Batches(Dataset[Batch]):
    """Endless batches by number, each epoch in a new order."""

    photos: list[Photo]
    kind: Kind
    count: int
    """Pairs in each."""
    seed: int
    beliefs: list[Array] | None = None
    """(h, w, 128) float16 of each photograph."""

    @cached_property
    def alike(self) -> list[npt.NDArray[np.intp]]:
        """Indices of the photographs whose crops have one shape, where there are enough of them for a batch."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, photo in enumerate(self.photos):
            groups.setdefault(self.kind.shape_of(photo), []).append(index)
        alike = [np.array(group) for group in groups.values() if len(group) >= self.count]
        if not alike:
            message = f"{len(self.photos)} photographs make no batch of {self.count} of one shape: ask for a smaller --batch"
            raise ValueError(message)
        return alike

    def epoch(self, number: int) -> list[npt.NDArray[np.intp]]:
        """The photographs of each of its batches, of one shape each."""
        rng = np.random.default_rng([self.seed, number, 0])
        shuffled = [rng.permutation(group) for group in self.alike]
        batches = [group[end - self.count : end] for group in shuffled for end in range(self.count, len(group) + 1, self.count)]
        return [batches[place] for place in rng.permutation(len(batches))]

    def __getitem__(self, number: int) -> Batch:
        """Made anew each time, and always the same."""
        rng = np.random.default_rng([self.seed, number])
        per_epoch = sum(len(group) // self.count for group in self.alike)
        epoch, position = divmod(number, per_epoch)
        chosen = self.epoch(epoch)[position]
        beliefs = self.beliefs
        pairs = [sample(self.photos[index], self.kind, rng, beliefs[index] if beliefs else None) for index in chosen]
        columns = (None if column[0] is None else torch.from_numpy(np.stack(column)) for column in zip(*pairs, strict=True))
        return Batch(*columns)  # type: ignore[arg-type]


def loader(batches: Batches, *, first: int, workers: int) -> DataLoader[Batch]:
    """Batches from number ``first`` on, made ahead in ``workers`` processes, which share the photographs' memory."""
    return DataLoader(
        batches,
        batch_size=None,
        sampler=itertools.count(first),  # type: ignore[arg-type,unused-ignore]  # endless, and never asked for its length
        num_workers=workers,
        prefetch_factor=4,
        multiprocessing_context="fork",
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_settle,
    )


def _settle(_number: int) -> None:
    cv2.setNumThreads(1)
