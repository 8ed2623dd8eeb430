from __future__ import annotations

import pytest
from fakes import PHOTOS, Picture, greyed, pixels_of

import edgecolor


@pytest.fixture(scope="session")
def colorizer() -> edgecolor.Colorizer:
    """The shipped default network on the CPU, also where there is a GPU."""
    return edgecolor.load(engine="onnxruntime")


@pytest.fixture(scope="session")
def photographs() -> dict[str, Picture]:
    """The colour photographs of tests/photos, (H, W, 3) uint8 sRGB."""
    return {path.stem: pixels_of(path) for path in sorted(PHOTOS.glob("*.jpg"))}


@pytest.fixture(scope="session")
def greys(photographs: dict[str, Picture]) -> dict[str, Picture]:
    """The same photographs in black and white, (H, W) uint8."""
    return {name: greyed(rgb) for name, rgb in photographs.items()}
