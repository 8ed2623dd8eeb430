"""Against photographs that may not be shipped: they lie beside the repository, or these tests are skipped."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fakes import SHARED, Picture, assert_lightness_kept, greyed, lab, mean_error, pixels_of

import edgecolor
from edgecolor._cli import main
from edgecolor._source import read_picture

FOLDER = SHARED / "photos"
COUNT = 24

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the photographs for testing, ../shared/photos, are not here")


def _decode(content: bytes) -> Picture:
    import pyvips

    if not pyvips.type_find("VipsOperation", "heifload_buffer"):
        pytest.skip("this build of libvips has no AVIF")
    try:
        image = pyvips.Image.new_from_buffer(content, "")
    except pyvips.Error as error:
        pytest.skip(f"this build of libvips reads no AVIF: {error}")
    picture: Picture = image.colourspace("srgb").numpy()[..., :3]
    return picture


@pytest.fixture(scope="module")
def held_out() -> list[Picture]:
    """Colour photographs that no training saw, (H, W, 3) uint8."""
    with tarfile.open(FOLDER / "val.tar") as shard:
        members = [shard.extractfile(member) for member in itertools.islice(shard, COUNT)]
        return [_decode(member.read()) for member in members if member is not None]


def test_lightness_is_kept_and_colours_are_better_than_none(colorizer: edgecolor.Colorizer, held_out: list[Picture]) -> None:
    assert len(held_out) == COUNT
    errors = []
    for truth in held_out:
        gray = greyed(truth)
        coloured = colorizer(gray)
        assert_lightness_kept(coloured, gray)
        errors.append((mean_error(coloured, truth), mean_error(gray, truth)))
    of_colours, of_grey = np.mean(errors, axis=0)
    assert of_colours < of_grey


def test_confidence_tells_right_from_wrong(colorizer: edgecolor.Colorizer, held_out: list[Picture]) -> None:
    """Where the network is surer, it must be right more often."""
    confidence, right = [], []
    for truth in held_out:
        answer = colorizer.predict(greyed(truth))
        difference = np.hypot(*np.moveaxis(lab(answer.image)[..., 1:] - lab(truth)[..., 1:], -1, 0))
        confidence.append(answer.confidence.ravel())
        right.append(difference.ravel() < 15)
    sure, correct = np.concatenate(confidence), np.concatenate(right)
    middle = np.median(sure)
    assert correct[sure > middle].mean() > correct[sure <= middle].mean()


def test_a_historic_photograph_through_the_command(tmp_path: Path) -> None:
    source, target = FOLDER / "historic" / "h07.jpg", tmp_path / "h07.png"
    with pytest.raises(SystemExit) as caught:
        main(["image", str(source), "-o", str(target)])
    assert not caught.value.code
    image = pixels_of(target)
    assert_lightness_kept(image, read_picture(source))
    assert np.ptp(image, axis=2).mean() > 2, "it is still grey"
