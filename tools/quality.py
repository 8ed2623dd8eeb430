"""Make docs/quality.md: every network beside grey, in figures by subject, for a classifier's eye, and in pictures.

    python -m tools.quality VAL.tar --keep FOLDER --models lite [tiny] [--teacher RUN] --write docs/quality.md

What was measured is kept in the folder, one file a network, and measured again only if the network or the photographs are
others; when the library itself colours differently, begin with an empty folder. The tables go between the page's markers, the
pictures beside it into ``pictures/``. Needs the extras ``train`` and ``quality``.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import edgecolor
from edgecolor._color import rgb_to_lab
from edgecolor._engine import OutputName
from edgecolor._models import ModelFile, ModelName, ShippedFile, find_model
from tools.figures import figures_of, grey_of, ratio_interval
from tools.pages import placed
from tools.recognize import Classifier, read_classifier
from tools.subjects import SUBJECTS, read_subjects
from tools.tables import Columns, of_subject, overall_table, recognition_table, subject_table, way_table

Array = npt.NDArray[Any]
Photos = Mapping[str, Array]
Colorizers = Mapping[str, tuple[edgecolor.Colorizer, str]]
"""Name -> the colorizer and the hash of its weights."""

_INK = ("#00204d", "#c2a633", "#7c7b78")


class TorchEngine:
    """An :class:`edgecolor._engine.Engine` for a network that does not ship, so that it is measured like those that do."""

    description = "PyTorch"

    def __init__(self, decoded: Callable[..., Any]) -> None:
        self._decoded = decoded

    def run(self, planes: npt.NDArray[np.float32], *outputs: OutputName) -> tuple[npt.NDArray[np.float32], ...]:
        """As the protocol says."""
        import torch

        with torch.no_grad():
            colors, logits = self._decoded(torch.from_numpy(planes))
        answers = {"colors": colors.numpy(), "logits": logits.numpy()}
        return tuple(answers[name] for name in outputs)


def of_network(net: Any, run: Path) -> tuple[edgecolor.Colorizer, str]:
    """A network of a training run, at the run's operating point."""
    from engines.export import Decoded
    from tools.calibrate import read_operating_point
    from tools.teacher import grid_area

    point = read_operating_point(run)
    checkpoint = run / "checkpoint.pt"
    area = grid_area(net)
    digest = hashlib.sha256(checkpoint.read_bytes() + repr((point, area)).encode()).hexdigest()
    file = ModelFile(run.name, "fp32", ShippedFile(checkpoint, digest), point.temperature, point.vividness, area)
    return edgecolor.Colorizer(TorchEngine(Decoded(net, point).eval()), file), digest


def open_all(models: list[ModelName], teacher: Path | None) -> dict[str, tuple[edgecolor.Colorizer, str]]:
    """The registered models, through ONNX Runtime, and the teacher if there is one."""
    found: dict[str, tuple[edgecolor.Colorizer, str]] = {}
    for name in models:
        found[name] = (edgecolor.load(name, engine="onnxruntime"), find_model(name).network.sha256)
    if teacher:
        from tools.teacher import read_believer

        found["teacher"] = of_network(read_believer(teacher), teacher)
    return found


def grey_picture(photo: Array) -> Array:
    """The photograph without its colours, (H, W, 3) uint8."""
    grey: Array = np.rint(grey_of(rgb_to_lab(photo / 255.0)) * 255).astype(np.uint8)
    return grey


def measured(colorizer: edgecolor.Colorizer, photos: Photos, classify: Classifier) -> dict[str, Array]:
    """Every figure of every photograph, and what the classifier makes of it."""
    rows, probabilities = [], []
    for number, photo in enumerate(photos.values(), 1):
        answer = colorizer.predict(photo)
        rows.append(figures_of(photo, answer.image, answer.confidence)[0])
        probabilities.append(classify(answer.image))
        if number % 100 == 0:
            print(f"{number} of {len(photos)} photographs", flush=True)
    return {"probabilities": np.stack(probabilities)} | {name: np.array([row[name] for row in rows]) for name in rows[0]}


def kept(path: Path, key: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """What was measured under this key, from the file if it holds that."""
    if path.exists():
        with np.load(path) as file:
            if str(file["key"]) == key:
                return {name: file[name] for name in file.files if name != "key"}
    made = make()
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, key=np.array(key), **made)  # type: ignore[arg-type,unused-ignore]
    partial.replace(path)
    return made


def measure_all(colorizers: Colorizers, photos: Photos, folder: Path) -> tuple[dict[str, dict[str, Array]], Array, Array]:
    """Figures of every network, and the classifier's probabilities on grey and on the truth."""
    classifiers: list[Classifier] = []

    def classify(image: Array) -> Array:
        if not classifiers:
            classifiers.append(read_classifier())
        return classifiers[0](image)

    seen = hashlib.sha256(b"".join(photo.tobytes() for photo in photos.values())).hexdigest()
    reference = kept(
        folder / "reference.npz",
        seen,
        lambda: {
            "grey": np.stack([classify(grey_picture(photo)) for photo in photos.values()]),
            "truth": np.stack([classify(photo) for photo in photos.values()]),
        },
    )
    models = {}
    for name, (colorizer, digest) in colorizers.items():
        print(name, colorizer)
        make = lambda colorizer=colorizer: measured(colorizer, photos, classify)  # noqa: E731
        models[name] = kept(folder / f"{name}.npz", f"{digest} {seen}", make)
    return models, reference["grey"], reference["truth"]


def plot_subjects(models: Mapping[str, Columns], subjects: Array, path: Path) -> None:
    """CIEDE2000 over grey's by subject, with intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color="#999", linewidth=1, label="as far as grey")
    names = [subject for subject in SUBJECTS if (subjects == subject).any()]
    for number, (model, columns) in enumerate(models.items()):
        parts = [of_subject(columns, subjects, subject) for subject in names]
        ratios = [ratio_interval(part["delta_e00"], part["grey_delta_e00"]) for part in parts]
        means = np.array([ratio["mean"] for ratio in ratios])
        spread = np.abs(np.array([[ratio["low"], ratio["high"]] for ratio in ratios]).T - means)
        places = np.arange(len(names)) + 0.18 * (number - (len(models) - 1) / 2)
        axes.errorbar(means, places, xerr=spread, fmt="o", color=_INK[number % len(_INK)], capsize=3, label=model)
    axes.set_yticks(range(len(names)), [f"{name} ({(subjects == name).sum()})" for name in names])
    axes.invert_yaxis()
    axes.set(xlabel="mean CIEDE2000 to the truth, as a ratio to grey's")
    figure.legend(loc="outside upper right", ncols=len(models) + 1, frameon=False)
    figure.savefig(path, dpi=110)


def free_photos() -> dict[str, Array]:
    """The photographs of the tests, and from scikit-image two of kinds that no training saw.

    A retina (Mikael Häggström, CC0) and the Hubble deep field (NASA, public domain).
    """
    from skimage import data

    from tools.data import read_photos
    from tools.pictures import PHOTOS

    strange = {"retina": data.retina(), "stars": data.hubble_deep_field()}
    return {**read_photos(PHOTOS), **{name: smaller(photo) for name, photo in strange.items()}}


def smaller(photo: Array) -> Array:
    """400 pixels long, like the photographs of the tests."""
    scale = 400 / max(photo.shape)
    small: Array = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small


def sheet(colorizers: Colorizers, photos: Photos) -> Array:
    """Every photograph: grey, each network's colours, how sure the first one is, the truth; with the CIEDE2000 above each."""
    from edgecolor._explain import heat
    from tools.sheets import row_of, stacked, titled

    rows = []
    for photo in photos.values():
        grey = grey_picture(photo)
        cells: dict[str, Array] = {}
        for name, (colorizer, _) in colorizers.items():
            answer = colorizer.predict(grey)
            row, _ = figures_of(photo, answer.image, answer.confidence)
            if not cells:
                cells[f"grey: {row['grey_delta_e00']:.1f} from the truth"] = grey
            cells[f"{name}: {row['delta_e00']:.1f}"] = answer.image
            if len(cells) == 2:  # of the one that people get
                cells["how sure it is"] = heat(answer.confidence)
        cells["truth"] = photo
        rows += [titled(list(cells)), row_of(list(cells.values()))]
    return stacked(rows)


def main(arguments: list[str] | None = None) -> None:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="the validation photographs, whose subjects are in tools/val_subjects.csv")
    parser.add_argument("--keep", type=Path, required=True, help="folder for what was measured")
    parser.add_argument("--models", nargs="+", default=["auto"], help="registered models (default: the default one)")
    parser.add_argument("--teacher", type=Path, help="folder of the training run of a teacher that never ships")
    parser.add_argument("--write", type=Path, required=True, help="page with the markers overall, subjects, recognition")
    parser.add_argument("--limit", type=int, default=None, help="photographs to use (default: all)")
    options = parser.parse_args(arguments)
    from tools.data import read_photos

    options.keep.mkdir(parents=True, exist_ok=True)
    labels = read_subjects()
    photos = {name: photo for name, photo in read_photos(options.photos, options.limit).items() if name in labels}
    if not photos:
        raise SystemExit(f"{options.photos} holds none of the photographs of tools/val_subjects.csv")
    subjects = np.array([labels[name] for name in photos])
    colorizers = open_all(options.models, options.teacher)
    models, grey, truth = measure_all(colorizers, photos, options.keep)
    pictures = options.write.parent / "pictures"
    pictures.mkdir(exist_ok=True)
    plot_subjects(models, subjects, pictures / "subjects.png")
    examples = sheet(colorizers, free_photos())
    cv2.imwrite(str(pictures / "quality.jpg"), examples[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    page = options.write.read_text(encoding="utf-8")
    page = placed(page, "overall", f"\n{overall_table(models)}\n")
    by_subject = "\n".join(f"**{name}**\n\n{subject_table(columns, subjects)}" for name, columns in models.items())
    page = placed(page, "subjects", f"\n{by_subject}\n")
    recognition = f"{recognition_table(models, grey, truth, subjects)}\n{way_table(models, grey, truth)}"
    page = placed(page, "recognition", f"\n{recognition}\n")
    options.write.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
