"""How docs/quality.md is made: the labels, the arithmetic, the tables. No network and no PyTorch is needed for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import REPOSITORY, fake_colorizer, scene

from tools import curve, figures, quality, recognize, tables
from tools.subjects import SUBJECTS, read_subjects

PAGE = (REPOSITORY / "docs" / "quality.md").read_text(encoding="utf-8")
CLASSES = 10


def classify(image: Any) -> Any:
    """Ten classes: brightness of ten stripes, as probabilities."""
    stripes = np.array([part.mean() for part in np.array_split(image / 255.0, CLASSES, axis=1)])
    return stripes / stripes.sum()


def colours(seed: int) -> Any:
    """(40, 60, 3) uint8."""
    return np.dstack([scene(40, 60, seed=3 * seed + plane) for plane in range(3)])


@pytest.fixture(scope="module")
def columns() -> dict[str, Any]:
    """What was measured of a fake network on six scenes."""
    photos = {str(seed): colours(seed) for seed in range(6)}
    return quality.measured(fake_colorizer(), photos, classify)


def test_every_validation_photograph_has_one_known_subject() -> None:
    subjects = read_subjects()
    assert sorted(subjects) == [f"v{number:05}.avif" for number in range(600)]
    assert set(subjects.values()) == set(SUBJECTS)
    lines = (REPOSITORY / "tools" / "val_subjects.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 601  # no name twice: a dictionary would hide it


def test_what_is_measured_of_each_photograph(columns: dict[str, Any]) -> None:
    assert columns["probabilities"].shape == (6, CLASSES)
    assert {len(values) for values in columns.values()} == {6}
    for share in ("near", "grey_near", "confidence"):
        assert columns[share].min() >= 0
        assert columns[share].max() <= 1


def test_the_true_colours_are_right_everywhere() -> None:
    photo = colours(0)
    row, error = figures.figures_of(photo, photo, np.linspace(0, 1, photo[..., 0].size).reshape(photo.shape[:2]))
    assert row["delta_e00"] == error.max() == 0
    assert row["near"] == 1
    assert row["colorfulness"] == row["true_colorfulness"]


def test_what_was_measured_is_kept_until_the_network_is_another(tmp_path: Path) -> None:
    made = []

    def make() -> dict[str, Any]:
        made.append(1)
        return {"delta_e00": np.arange(3.0)}

    for key in ("first", "first", "second"):
        np.testing.assert_array_equal(quality.kept(tmp_path / "lite.npz", key, make)["delta_e00"], np.arange(3.0))
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["lite.npz"]


def test_recognition_of_known_answers() -> None:
    truth = np.array([[0.6, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02], [0.1, 0.7, 0.05, 0.05, 0.05, 0.03, 0.02]])
    other = np.array([[0.5, 0.2, 0.1, 0.1, 0.05, 0.03, 0.02], [0.3, 0.01, 0.2, 0.2, 0.2, 0.05, 0.04]])
    assert recognize.same_first(other, truth).tolist() == [True, False]
    assert recognize.in_first_five(other, truth).tolist() == [True, False]
    assert recognize.of_true_class(other, truth).tolist() == [0.5, 0.01]


@pytest.mark.parametrize(("share", "word"), [(0.9, "nearer the truth"), (0.1, "nearer grey"), (0.5, "between, undecided")])
def test_the_way_from_grey_to_the_truth(share: float, word: str) -> None:
    rng = np.random.default_rng(0)
    grey = rng.uniform(0, 0.2, 300)
    truth = grey + rng.uniform(0.3, 0.6, 300)
    covered = recognize.way_covered(grey, grey + share * (truth - grey) + rng.normal(0, 0.05, 300), truth)
    assert covered["low"] < covered["mean"] < covered["high"]
    assert covered["mean"] == pytest.approx(share, abs=0.05)
    assert tables.verdict(covered) == word


def test_the_classifier_sees_the_central_square() -> None:
    image = np.zeros((292, 400, 3), np.uint8)
    image[16:276, 70:330] = 255
    seen = recognize.classifier_input(image)
    assert seen.shape == (1, 3, 260, 260)
    np.testing.assert_allclose(seen, 1)


def test_tables_hold_every_network_and_subject(columns: dict[str, Any]) -> None:
    subjects = np.array(["people", "people", "food", "food", "other", "other"])
    models = {"lite": columns, "tiny": columns}
    truth = np.eye(CLASSES)[:6]
    grey = (1 - truth) * np.linspace(0.1, 1, CLASSES)
    texts = (
        tables.overall_table(models),
        tables.subject_table(columns, subjects),
        tables.recognition_table(models, grey, truth, subjects),
        tables.way_table(models, grey, truth),
    )
    for text in texts:
        assert len({line.count("|") for line in text.splitlines()}) == 1
    assert texts[0].startswith("| figure | grey | lite | tiny |")
    assert [line.split(" | ")[0].strip("| ") for line in texts[1].splitlines()[2:]] == ["people", "food", "other"]
    assert "-0.0" not in tables.cell({"mean": -0.01, "low": -0.02, "high": -0.04}, 1)


def test_points_of_equal_colourfulness_lie_between_those_measured() -> None:
    line = [
        {"temperature": 1.0, "vividness": 1.0, "colorfulness": 0.4, "delta_e00": 9.0, "psnr_gain_db": 2.0},
        {"temperature": 1.0, "vividness": 1.4, "colorfulness": 0.6, "delta_e00": 10.0, "psnr_gain_db": 1.0},
    ]
    between = curve.at_colorfulness(line, 0.5)
    assert between["vividness"] == pytest.approx(1.2)
    assert between["delta_e00"] == pytest.approx(9.5)
    assert "| least CIEDE2000 | 1 | 1.00 | 0.40 | 9.00 | 2.00 |" in curve.table([line], between)


@pytest.mark.parametrize("name", ["overall", "subjects", "recognition", "curve"])
def test_the_page_has_its_tables(name: str) -> None:
    (part,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert part.count("\n|") > 3


def test_colorfulness_of_known_pictures() -> None:
    grey = np.full((8, 8, 3), 0.5)
    assert figures.colorfulness(grey) == 0
    red = np.zeros((8, 8, 3))
    red[..., 0] = 1  # signed: rg = 255, yb = 127.5, no deviation
    assert figures.colorfulness(red) == pytest.approx(0.3 * np.hypot(255, 127.5))


def test_spearman_of_known_samples() -> None:
    values = np.arange(100.0)
    assert figures.spearman(values, values**3) == pytest.approx(1)
    assert figures.spearman(values, -values) == pytest.approx(-1)
