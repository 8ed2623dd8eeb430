"""What the 600 validation photographs show: one main subject each, by eye, by one person, from small pictures.

Where two would do, it is what the eye goes to first: a rider is an animal's photograph, a jump over a wall a person's, a
street with people in it a street. The names are those of the members of ``val.tar``.
"""

from __future__ import annotations

import csv
from pathlib import Path

SUBJECTS = (
    "people",
    "animals",
    "sky and sea",
    "plants and landscape",
    "interiors",
    "streets and buildings",
    "vehicles",
    "food",
    "other",
)
LABELS = Path(__file__).parent / "val_subjects.csv"


def read_subjects(path: Path = LABELS) -> dict[str, str]:
    """{name of the photograph: its subject}."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["photograph"]: row["subject"] for row in csv.DictReader(file)}
