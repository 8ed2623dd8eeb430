"""The tables of docs/quality.md: from the figures of every photograph to Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.figures import interval, median_interval, ratio_interval
from tools.recognize import SURE, in_first_five, of_true_class, same_first, way_covered
from tools.subjects import SUBJECTS

Array = npt.NDArray[Any]
Columns = Mapping[str, Array]
"""Names of figures -> one value for each photograph; "probabilities" is (n, classes)."""

Figure = Mapping[str, float]


def cell(figure: Figure, digits: int = 2) -> str:
    """A figure with its interval."""
    mean, low, high = (f"{round(figure[name], digits) + 0.0:.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def percent(figure: Figure) -> str:
    """A share with its interval."""
    mean, low, high = (round(100 * figure[name]) for name in ("mean", "low", "high"))
    return f"{mean} % [{low}, {high}]"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def gain(columns: Columns) -> Figure:
    """PSNR over grey's, in dB."""
    return interval(columns["psnr_db"] - columns["grey_psnr_db"])


def liveliness(columns: Columns) -> Figure:
    """Colourfulness as a share of the truth's."""
    return ratio_interval(columns["colorfulness"], columns["true_colorfulness"])


def distance(columns: Columns) -> Figure:
    """CIEDE2000 as a share of grey's."""
    return ratio_interval(columns["delta_e00"], columns["grey_delta_e00"])


def worse(columns: Columns) -> Figure:
    """Share of photographs whose colours are farther from the truth than grey is."""
    return interval(columns["delta_e00"] > columns["grey_delta_e00"])


def overall_table(models: Mapping[str, Columns]) -> str:
    """Every network beside grey, over all photographs."""
    some = next(iter(models.values()))
    rows: list[tuple[str, str, Callable[[Columns], str]]] = [
        ("mean CIEDE2000 to the truth", cell(interval(some["grey_delta_e00"])), lambda c: cell(interval(c["delta_e00"]))),
        ("the same, as a ratio to grey", "1", lambda c: cell(distance(c), 3)),
        ("PSNR, dB", cell(interval(some["grey_psnr_db"])), lambda c: cell(interval(c["psnr_db"]))),
        ("PSNR gained over grey, dB", "0", lambda c: cell(gain(c))),
        ("colourfulness, as a ratio to the truth's", "0", lambda c: cell(liveliness(c), 3)),
        (
            "right: pixels within CIEDE2000 10 of the truth",
            percent(interval(some["grey_near"])),
            lambda c: percent(interval(c["near"])),
        ),
        ("the share it expected to be right", "", lambda c: percent(interval(c["confidence"]))),
        (
            "confidence against error, median rank correlation",
            "",
            lambda c: cell(median_interval(c["confidence_spearman"]), 3),
        ),
        ("photographs farther from the truth than grey", "", lambda c: percent(worse(c))),
    ]
    return markdown(["figure", "grey", *models], ([name, grey, *map(figure, models.values())] for name, grey, figure in rows))


def of_subject(columns: Columns, subjects: Array, subject: str) -> Columns:
    """The photographs of one subject."""
    return {name: values[subjects == subject] for name, values in columns.items()}


def subject_table(columns: Columns, subjects: Array) -> str:
    """One network, by subject."""
    head = ["subject", "photographs", "CIEDE2000", "grey's", "ratio", "PSNR gained, dB", "colourfulness"]
    head += ["right", "expected", "farther than grey"]
    rows = []
    for subject in SUBJECTS:
        part = of_subject(columns, subjects, subject)
        if not len(part["delta_e00"]):
            continue
        rows.append(
            [
                subject,
                str(len(part["delta_e00"])),
                f"{part['delta_e00'].mean():.1f}",
                f"{part['grey_delta_e00'].mean():.1f}",
                cell(distance(part)),
                cell(gain(part), 1),
                cell(liveliness(part)),
                f"{100 * part['near'].mean():.0f} %",
                f"{100 * part['confidence'].mean():.0f} %",
                percent(worse(part)),
            ]
        )
    return markdown(head, rows)


def recognition_table(models: Mapping[str, Columns], grey: Array, truth: Array, subjects: Array) -> str:
    """What the classifier makes of grey, of each network's colours and of the truth; (n, classes) probabilities."""
    shown = {"grey": grey, **{name: columns["probabilities"] for name, columns in models.items()}}
    sure = truth.max(1) >= SURE

    def shares(name: str, tell: Callable[[Array, Array], Array], which: Array, of_truth: str) -> list[str]:
        return [name, *(percent(interval(tell(values, truth)[which])) for values in shown.values()), of_truth]

    every = np.ones(len(truth), bool)
    rows = [
        shares("same first class as on the truth", same_first, every, "100 %"),
        shares("truth's first class among the first five", in_first_five, every, "100 %"),
        shares("probability of the truth's first class", of_true_class, every, percent(interval(truth.max(1)))),
    ]
    if sure.any():
        rows += [
            shares(f"same first class, where it is sure of the truth's ({sure.sum()})", same_first, sure, "100 %"),
            shares("probability of it, there", of_true_class, sure, percent(interval(truth.max(1)[sure]))),
        ]
    rows += [
        shares(f"same first class: {subject} ({(subjects == subject).sum()})", same_first, subjects == subject, "100 %")
        for subject in SUBJECTS
        if (subjects == subject).any()
    ]
    return markdown(["figure", *shown, "truth"], rows)


def way_table(models: Mapping[str, Columns], grey: Array, truth: Array) -> str:
    """How much of the way from grey to the truth each network covers, and whether that is more than half of it."""
    rows = []
    for name, tell in (
        ("same first class", same_first),
        ("among the first five", in_first_five),
        ("probability", of_true_class),
    ):
        row = [name]
        for columns in models.values():
            parts = (grey, columns["probabilities"], truth)
            covered = way_covered(*(tell(part, truth).astype(float) for part in parts))
            row.append(f"{percent(covered)}: {verdict(covered)}")
        rows.append(row)
    return markdown(["of the way from grey to the truth", *models], rows)


def verdict(covered: Figure) -> str:
    """Whether a share of the way from grey to the truth is beyond its middle."""
    if covered["low"] > 0.5:
        return "nearer the truth"
    if covered["high"] < 0.5:
        return "nearer grey"
    return "between, undecided"
