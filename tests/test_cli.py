from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import frames_of, plane_of
from fakes import PHOTOS, assert_lightness_kept, lab, mean_error, pixels_of, run_python, scene

import edgecolor
from edgecolor import _cli, _ffmpeg, _models
from edgecolor._cli import main, parser
from edgecolor._cli_image import READ
from edgecolor._files import whole_file
from edgecolor._models import find_model, registry


def _run(*arguments: object) -> int:
    """Run one command; its exit status."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was written to stderr; fail if it is not one, or if anything was printed."""
    out, err = capsys.readouterr()
    assert not out
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert err.startswith("edgecolor: ")
    return str(err.strip())


def _photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    code = cv2.imencode(".png" if path.suffix == ".png" else ".jpg", scene(40, 60, seed=seed))[1]
    path.write_bytes(code.tobytes())
    return path


# image


def test_one_photograph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _photo(tmp_path / "a.png")
    assert _run("image", source, "-o", tmp_path / "out.png") == 0
    assert capsys.readouterr() == ("", "")
    assert_lightness_kept(pixels_of(tmp_path / "out.png"), scene(40, 60))
    assert np.ptp(pixels_of(tmp_path / "out.png"), axis=2).max() > 0


@pytest.mark.parametrize(("name", "target"), [("a.png", "a-colour.png"), ("b.JPG", "b-colour.JPG"), ("c.bmp", "c-colour.png")])
def test_without_a_target_the_result_lies_beside(tmp_path: Path, name: str, target: str) -> None:
    source = _photo(tmp_path / name)
    if name.endswith(".bmp"):
        source.write_bytes(_photo(tmp_path / "a.png").read_bytes())  # libvips goes by the content
    assert _run("image", source) == 0
    assert (tmp_path / target).exists()


def test_many_photographs_go_to_a_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [_photo(tmp_path / f"{name}.png", seed) for seed, name in enumerate("abc")]
    folder = tmp_path / "new" / "folder"
    assert _run("image", *sources, "--out-dir", folder) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png", "c.png"]
    for seed, name in enumerate("abc"):
        assert_lightness_kept(pixels_of(folder / f"{name}.png"), scene(40, 60, seed=seed))


def test_one_bad_photograph_does_not_stop_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [_photo(tmp_path / "a.png"), tmp_path / "b.png", _photo(tmp_path / "c.png")]
    sources[1].write_text("no picture")
    assert _run("image", *sources, "--out-dir", tmp_path / "out") == 1
    assert str(sources[1]) in _error(capsys)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


@pytest.mark.parametrize(
    "names", [("x/a.png", "y/a.png"), ("x/a.png", "x/a.png"), ("x/a.bmp", "x/a.png")], ids=["folders", "twice", "endings"]
)
def test_two_results_of_one_name_are_wrong_usage(
    tmp_path: Path, names: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [_photo(tmp_path / name) for name in names]
    assert _run("image", *sources, "--out-dir", tmp_path / "out") == 2
    assert "same name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_photograph_of_the_list_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """a.png would go to a-colour.png, which is another of the photographs."""
    first, second = _photo(tmp_path / "a.png", 1), _photo(tmp_path / "a-colour.png", 2)
    content = second.read_bytes()
    assert _run("image", first, second) != 0
    assert second.read_bytes() == content
    assert "a-colour.png" in capsys.readouterr().err


def test_results_are_not_written_over_their_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _photo(tmp_path / "a.png")
    content = source.read_bytes()
    assert _run("image", source, "--out-dir", tmp_path) == 1
    assert "is the source itself" in _error(capsys)
    assert source.read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["image"], "IN"),
        (["image", "a.png", "b.png", "-o", "c.png"], "2 photographs; use --out-dir"),
        (["image", "a.png", "-o", "b.png", "--out-dir", "c"], "not allowed with"),
        (["image", "a.png", "-o", "b.png", "--format", "tif"], "leave out --format"),
        (["image", "a.png", "--hint", "120,80"], "argument --hint"),
        (["image", "a.png", "--hint", "x,y,red"], "'x,y,red' is not X,Y,COLOR"),
        (["image", "a.png", "--hint", "1,2,3,red"], "'1,2,3,red' is not X,Y,COLOR"),
        (["image", "a.png", "--hint", "5,5,reddish"], "argument --hint: 'reddish' is not a CSS colour"),
        (["image", "a.png", "--palette", "teal", "--palette", "reddish"], "argument --palette: 'reddish' is not a CSS colour"),
        (["image", "a.png", "--vividness", "much"], "'much' is not a number between 0 and 2"),
        (["image", "a.png", "--vividness", "3"], "'3' is not a number between 0 and 2"),
        (["explain", "a.png", "--vividness", "nan"], "'nan' is not a number between 0 and 2"),
        (["image", "a.png", "--alternative", "0"], "'0' is not a whole number from 1 to 100"),
        (["image", "a.png", "--model", "huge"], "'huge' (choose from"),
        (["video", "a.mp4", "--model", "huge"], "'huge' (choose from"),
        (["build", "--model", "huge"], "'huge' (choose from"),
        (["image", "a.png", "--palette"], "--palette"),
        (["image", "a.png", "--palette", "red", "--reference", "b.png"], "not allowed with"),
        (["image", "a.png", "--engine", "openvino"], "'openvino'"),
        (["image", "a.png", "--precision", "fp8"], "'fp8'"),
        (["explain"], "IN"),
        (["paint", "a.png"], "'paint'"),
        ([], "COMMAND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_exits_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert words in err
    assert "Traceback" not in err


FAILING = [
    (["{none}", "-o", "{out}"], "cannot read"),
    (["{folder}", "-o", "{out}"], "cannot read"),
    (["{text}", "-o", "{out}"], "not a picture"),
    (["{empty}", "-o", "{out}"], "is empty"),
    (["{photo}", "-o", "{photo}"], "is the source itself"),
    (["{photo}", "-o", "{folder}/out.gif"], "must be one of .jpg"),
    (["{photo}", "-o", "{photo}/out.png"], "cannot write"),
    (["{photo}", "-o", "{folder}/none/out.png"], "cannot write"),
    (["{photo}", "--out-dir", "{text}"], "cannot make the folder"),
    (["{photo}", "--out-dir", "{text}/out"], "cannot make the folder"),
    (["{photo}", "-o", "{out}", "--hint", "60,5,red"], "outside the picture of 60 by 40"),
    (["{photo}", "-o", "{out}", "--hint", "nan,5,red"], "outside the picture"),
    (["{photo}", "-o", "{out}", "--hint", "5,5,60,5,red"], "outside the picture"),
    (["{photo}", "-o", "{out}", "--reference", "{none}"], "cannot read"),
    (["{photo}", "-o", "{out}", "--reference", "{text}"], "not a picture"),
    (["{photo}", "-o", "{out}", "--reference", "{photo}"], "(40, 60)"),
    (["{photo}", "-o", "{out}", "--engine", "tensorrt"], "engine='onnxruntime'"),
]


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        pytest.param(command, arguments, words, id=" ".join([command, *arguments]))
        for command in ("image", "explain")
        for arguments, words in FAILING
        if command == "image" or "--out-dir" not in arguments
    ],
)
def test_what_cannot_be_done_is_one_line_and_exits_1(
    tmp_path: Path, command: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {name: tmp_path / name for name in ("none.png", "folder", "text.png", "empty.png", "photo.png", "out.png")}
    places["folder"].mkdir()
    places["text.png"].write_text("no picture")
    places["empty.png"].touch()
    content = _photo(places["photo.png"]).read_bytes()
    before = sorted(tmp_path.rglob("*"))
    given = [argument.format(**{name.split(".")[0]: path for name, path in places.items()}) for argument in arguments]
    assert _run(command, *given) == 1
    assert words in _error(capsys)
    assert sorted(tmp_path.rglob("*")) == before
    assert places["photo.png"].read_bytes() == content


def test_a_line_stays_one_line_whatever_the_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("image", tmp_path / "two\nlines.png", "-o", tmp_path / "out.png") == 1
    assert "cannot read" in _error(capsys)


def test_hints_colour_their_place(tmp_path: Path) -> None:
    source, hinted = _photo(tmp_path / "a.png"), tmp_path / "hinted.png"
    lightness = lab(scene(40, 60))[20, 30, 0]
    hint = f"30,20,lab({lightness:.2f} 15 -12)"
    assert _run("image", source, "-o", hinted, "--hint", hint, "--hint", "5.5,3,rgb(120, 110, 100)") == 0
    assert lab(pixels_of(hinted))[20, 30, 1:] == pytest.approx((15, -12), abs=2)


def test_a_hint_of_several_points_is_a_stroke(tmp_path: Path, colorizer: edgecolor.Colorizer) -> None:
    source, shell, python = _photo(tmp_path / "a.png"), tmp_path / "shell.png", tmp_path / "python.png"
    assert _run("image", source, "-o", shell, "--hint", "5,5,30,8.5,50,35,rgb(150, 90, 80)") == 0
    colorizer.image(source, python, hints=[edgecolor.Hint(5, 5, "rgb(150, 90, 80)", path=((30, 8.5), (50, 35)))])
    assert np.array_equal(pixels_of(shell), pixels_of(python))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_region_is_where_a_mask_is_light(tmp_path: Path, bits: int, channels: int) -> None:
    source, mask, colour = _photo(tmp_path / "a.png"), tmp_path / "mask.png", tmp_path / "colour.png"
    inside = np.zeros((40, 60), bool)
    inside[10:30, 20:] = True
    light = np.where(inside, 160, 100).astype(np.uint8) if bits == 8 else np.where(inside, 40_000, 25_000).astype(np.uint16)
    assert cv2.imwrite(str(mask), light if channels == 1 else np.dstack([light] * 3))
    assert _run("image", source, "-o", colour, "--region", mask) == 0
    assert _run("image", source, "-o", tmp_path / "whole.png") == 0
    pixels, gray = pixels_of(colour), scene(40, 60)[..., None]
    assert (pixels[~inside] == gray[~inside]).all()
    assert np.array_equal(pixels[inside], pixels_of(tmp_path / "whole.png")[inside])


def test_what_is_transparent_in_a_mask_is_outside(tmp_path: Path) -> None:
    source, mask = _photo(tmp_path / "a.png"), tmp_path / "mask.png"
    white = np.full((40, 60, 4), 255, np.uint8)
    white[:, 30:, 3] = 0
    assert cv2.imwrite(str(mask), white)
    assert _run("image", source, "-o", tmp_path / "colour.png", "--region", mask) == 0
    pixels, gray = pixels_of(tmp_path / "colour.png"), scene(40, 60)[..., None]
    assert (pixels[:, 30:] == gray[:, 30:]).all()
    assert np.ptp(pixels[:, :30].astype(int), axis=-1).max() > 3


def test_a_mask_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _photo(tmp_path / "a.png")
    for name, values in (("ones", np.ones((40, 60), np.uint8)), ("small", np.full((20, 30), 255, np.uint8))):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), values)
    assert cv2.imwritemulti(str(tmp_path / "pages.tif"), [np.full((40, 60), 255, np.uint8)] * 2)
    for name, words in (
        ("none.png", "cannot read"),
        ("small.png", "(40, 60), got bool (20, 30)"),
        ("ones.png", "ones.png is light nowhere: nothing would be coloured; a mask is white, in 8 bits 255"),
        ("pages.tif", "pages.tif has 2 pages; a mask has one"),
    ):
        mask = tmp_path / name
        assert _run("image", source, "-o", tmp_path / "colour.png", "--region", mask) == 1
        assert words in _error(capsys)
    assert not (tmp_path / "colour.png").exists()


def test_the_quality_of_a_jpeg_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _photo(tmp_path / "a.png")
    sizes = []
    for chosen in ([], ["--quality", "92"], ["--quality", "40"]):
        assert _run("image", source, "-o", tmp_path / "colour.jpg", *chosen) == 0
        sizes.append((tmp_path / "colour.jpg").stat().st_size)
    assert sizes[0] == sizes[1] > 1.2 * sizes[2]
    for wrong in ("0", "101", "best"):
        assert _run("image", source, "--quality", wrong) == 2
        assert f"{wrong!r} is not a whole number from 1 to 100" in capsys.readouterr().err


@pytest.mark.parametrize(
    "steering", [["--palette", "red", "--palette", "#ff8844"], ["--reference", str(PHOTOS / "coffee.jpg")]]
)
def test_palettes_and_references_change_the_colours(tmp_path: Path, steering: list[str]) -> None:
    source = _photo(tmp_path / "a.png")
    _run("image", source, "-o", tmp_path / "plain.png")
    assert _run("image", source, "-o", tmp_path / "steered.png", *steering) == 0
    plain, steered = lab(pixels_of(tmp_path / "plain.png")), lab(pixels_of(tmp_path / "steered.png"))
    assert steered[..., 1].mean() > plain[..., 1].mean()
    assert_lightness_kept(pixels_of(tmp_path / "steered.png"), scene(40, 60))


def test_vividness_scales_the_chroma(tmp_path: Path) -> None:
    source = _photo(tmp_path / "a.png")
    chroma = {}
    for vividness in ("0", "1", "1.8"):
        assert _run("image", source, "-o", tmp_path / f"{vividness}.png", "--vividness", vividness) == 0
        chroma[vividness] = np.hypot(*np.moveaxis(lab(pixels_of(tmp_path / f"{vividness}.png"))[..., 1:], -1, 0)).mean()
    assert chroma["0"] < 0.01
    assert chroma["0"] < chroma["1"] < chroma["1.8"]


def test_the_command_and_the_library_give_the_same(tmp_path: Path, colorizer: edgecolor.Colorizer) -> None:
    source = PHOTOS / "coffee.jpg"
    assert _run("image", source, "-o", tmp_path / "shell.png") == 0
    colorizer.image(source, tmp_path / "python.png")
    assert np.array_equal(pixels_of(tmp_path / "shell.png"), pixels_of(tmp_path / "python.png"))


# explain


def test_explain_writes_a_report_beside_the_photograph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _photo(tmp_path / "a.jpg")
    assert _run("explain", source) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert str(tmp_path / "a-explained.png") in out
    assert "%" in out
    assert not err
    assert pixels_of(tmp_path / "a-explained.png").shape[2] == 3


def test_explain_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = _photo(tmp_path / "a.png"), tmp_path / "report.jpg"
    assert _run("explain", source, "-o", target, "--json", "--hint", "5,5,teal", "--vividness", "0.5") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["source"], answer["report"]) == (str(source), str(target))
    assert "ONNX Runtime" in answer["colorizer"]
    assert all(0 <= answer[name] <= 1 for name in ("mean_confidence", "share_sure", "share_guess"))
    assert target.exists()


@pytest.mark.parametrize("source", [".", "/"])
def test_explain_names_what_is_no_photograph(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("explain", source) == 1
    assert f"'{source}' is the name of no photograph" in capsys.readouterr().err


def test_a_large_photograph_is_explained_from_means_of_its_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    for pixels in (16_000_000, 40_000):
        monkeypatch.setattr(_cli, "_EXPLAINED_PIXELS", pixels)
        hint = ["--hint", "300,200,395,260,#c03020"]
        assert _run("explain", PHOTOS / "cat.jpg", "-o", tmp_path / "report.png", "--json", *hint) == 0
        figures.append(json.loads(capsys.readouterr().out))
    for name, share in figures[0].items():
        if name.startswith("share"):
            assert figures[1][name] == pytest.approx(share, abs=0.05)
    monkeypatch.setattr(_cli, "_EXPLAINED_PIXELS", 40_000)
    assert _run("explain", PHOTOS / "cat.jpg", "-o", tmp_path / "report.png", "--hint", "401,5,red") == 1
    assert "x=401, y=5 is outside the picture of 400 by 266" in _error(capsys)


def test_explain_says_that_it_is_the_first_page_it_explains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwritemulti(str(tmp_path / "in.tif"), [scene(30, 40)] * 2)
    assert _run("explain", tmp_path / "in.tif", "-o", tmp_path / "report.png", "--model", "tiny") == 0
    assert "in.tif has 2 pages; the first is explained" in capsys.readouterr().err


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(_cli, "read_page", fail)
    assert _run("explain", PHOTOS / "cat.jpg", "--model", "tiny") == 1
    assert "not enough memory (Unable to allocate 9 GiB)" in _error(capsys)


def test_explain_never_overwrites_the_photograph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _photo(tmp_path / "a.png")
    content = source.read_bytes()
    assert _run("explain", source, "-o", source) == 1
    assert source.read_bytes() == content
    assert "source" in _error(capsys)


# models, doctor, version


def test_models_lists_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("models") == 0
    out, err = capsys.readouterr()
    assert not err
    expected = [
        (name, engine, precision)
        for name, entry in registry()["model"].items()
        for engine, precisions in entry["file"].items()
        for precision in precisions
    ]
    lines = out.splitlines()
    assert [tuple(line.split()[:3]) for line in lines] == expected
    assert all("verified" in line for line in lines)
    assert sum("default" in line for line in lines) == len(registry()["model"][registry()["default"]]["file"])


def test_models_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("models", "--json") == 0
    assert json.loads(capsys.readouterr().out) == registry()


@pytest.mark.parametrize("command", [["models"], ["doctor"], ["image", str(PHOTOS / "cat.jpg"), "-o", "cat.png"]])
def test_a_damaged_model_is_one_line(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "models"
    shutil.copytree(_models._FOLDER, copy)
    monkeypatch.setattr(_models, "_FOLDER", copy)
    monkeypatch.chdir(tmp_path)
    with find_model().network.path.open("r+b") as file:
        file.write(b"\xff")
    assert _run(*command) == 1
    err = capsys.readouterr().err
    assert err.startswith("edgecolor: ")
    assert err.count("\n") == 1
    assert "damaged" in err
    assert not (tmp_path / "cat.png").exists()


def test_doctor_says_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("doctor") == 0
    out, err = capsys.readouterr()
    assert not err
    assert out.startswith(f"edgecolor {edgecolor.__version__}, Python ")
    for package in ("numpy", "opencv-python-headless", "onnxruntime", "pyvips", "tinycss2"):
        assert package in out
    assert "missing" not in out
    assert f"would run: {edgecolor.load()!r}" in out


def test_doctor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pyvips", None)
    assert _run("doctor") == 1
    assert "pip install 'pyvips[binary]'" in capsys.readouterr().out


def test_doctor_tries_the_named_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("doctor", "--engine", "tensorrt") == 1
    assert "engine='onnxruntime'" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--version") == 0
    assert capsys.readouterr().out == f"edgecolor {edgecolor.__version__}\n"


def test_an_interrupt_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edgecolor.Colorizer, "image", interrupt)
    assert _run("image", _photo(tmp_path / "a.png")) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_within_libvips_is_not_lost(tmp_path: Path, how: str, jobs: str) -> None:
    """Python runs its handler in whatever it does next, and what is raised in a callback of a library is only printed."""
    sources = [str(tmp_path / f"{name}.pgm") for name in "abcd"]
    assert all(cv2.imwrite(source, scene(40, 60)) for source in sources)
    code = f"""
import os, signal, sys
from edgecolor import _bitmap, _cli
from fakes import heard
read, count = _bitmap._AsTiff.read, 0
def reading(self, length):
    global count
    count += 1
    if count == 12:
        os.kill(os.getpid(), signal.{how})
    return read(self, length)
_bitmap._AsTiff.read = reading
with heard(signal.{how}):
    _cli.main(["image", *{sources!r}, "--out-dir", "out", "--model", "tiny", "--jobs", "{jobs}"])
"""
    done = run_python("-c", code, home=tmp_path, path=str(Path(__file__).parent))
    assert (done.returncode, done.stderr) == (130, "")
    assert len(list((tmp_path / "out").iterdir())) < 4
    assert {path.suffix for path in (tmp_path / "out").iterdir()} <= {".png"}
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


# help


def _help(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says of itself, in lines of any length."""
    monkeypatch.setenv("COLUMNS", "2000")
    assert _run(command, "--help") == 0
    return capsys.readouterr().out


def test_help_names_the_models_that_are_taken_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    precisions = registry()["model"][registry()["default"]]["default_precision"]
    for command in ("image", "explain", "video", "camera", "bench", "build"):
        text = _help(command, monkeypatch, capsys)
        assert "--model {auto,lite,tiny}" in text
        purpose = "build for" if command == "build" else "colour with"
        assert f"network to {purpose} (default: auto, which is {registry()['default']})" in text
        if command == "build":
            assert f"(default: auto, which is {precisions['tensorrt']})" in text
        else:
            assert f"{precisions['onnxruntime']} on ONNX Runtime, {precisions['tensorrt']} on TensorRT)" in text


def test_help_names_every_ending_that_is_taken_from_folders(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = _help("image", monkeypatch, capsys)
    names = {"JPG": "JPEG", "TIF": "TIFF", "HEIF": "HEIC", "JP2": "JPEG 2000", "JXL": "JPEG XL", "PNM": "PPM", "WEBP": "WebP"}
    for ending in (suffix[1:].upper() for suffix in READ):
        assert names.get(ending, ending) in text


def test_help_says_the_quality_that_each_encoder_is_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = _help("video", monkeypatch, capsys).split("(default: libx264 ")[1].split(")")[0]
    said = {
        name: int(group.split()[-1])
        for group in f"libx264 {words}".split("; ")
        for name in group.rsplit(maxsplit=1)[0].split(", ")
    }
    assert said == {name: value for name, (_, value) in _ffmpeg._QUALITY.items()}
    assert set(_ffmpeg._CRF_MAX) == {"libvpx-vp9", "libsvtav1"}
    assert set(_ffmpeg._CRF_MAX.values()) == {63}


@pytest.mark.parametrize("command", ["image", "explain", "video", "camera", "models", "build", "bench", "doctor"])
def test_every_option_is_explained(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _help(command, monkeypatch, capsys).split("options:")[1].splitlines()
    for number, line in enumerate(lines):
        if line.startswith("  -"):
            told = line.strip().partition("  ")[2].strip() or lines[number + 1].strip()
            assert len(told.split()) >= 3, line
            assert not told.startswith(("of ", "in ", "as ", "without ", "asked ")), line


@pytest.mark.parametrize(("frame", "words"), [("1080", "WxH"), ("1920x1080x3", "WxH"), ("1921x1080", "even")])
def test_a_frame_is_typed_width_first(frame: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = parser().parse_args(["build", "--frame", "1920x1080", "--frame", "3840X2160"])
    assert options.frame == [(1080, 1920), (2160, 3840)]
    assert parser().parse_args(["bench"]).frame == parser().parse_args(["bench", "--frame", "1920x1080"]).frame
    assert _run("bench", "--frame", frame) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


# As a process


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = run_python("-W", "error", "-m", "edgecolor", "--help", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert done.stdout.startswith("usage: edgecolor ")
    for command in ("image", "explain", "models", "doctor"):
        assert f"\n    {command} " in done.stdout
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_process_is_one_line(tmp_path: Path) -> None:
    done = run_python("-W", "error", "-m", "edgecolor", "image", "none.png", home=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "edgecolor: cannot read none.png: No such file or directory\n"


def test_a_photograph_through_the_process(tmp_path: Path) -> None:
    source = PHOTOS / "cat.jpg"
    done = run_python("-W", "error", "-m", "edgecolor", "image", str(source), "-o", "cat.png", home=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert mean_error(pixels_of(tmp_path / "cat.png"), pixels_of(source)) < 25


def test_an_error_among_many_names_its_photograph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        _run("image", str(PHOTOS / "cat.jpg"), str(PHOTOS / "temple.jpg"), "--out-dir", str(tmp_path), "--hint", "1,300,red")
        == 1
    )
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [str(PHOTOS / "cat.jpg"), str(PHOTOS / "temple.jpg")]


# video


@pytest.fixture
def film(tmp_path: Path) -> Path:
    from clips import moving_scene, write_film

    return write_film(tmp_path / "film.mkv", moving_scene(5))


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ([], "film-colour.mkv"),
        (["--preview"], "film-preview.mkv"),
        (["-o", "{}/new.mp4", "--codec", "libx265", "--crf", "30"], "new.mp4"),
        (["--reference", str(PHOTOS / "coffee.jpg")], "film-colour.mkv"),
    ],
)
def test_a_film(film: Path, options: list[str], target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("video", film, *[option.format(film.parent) for option in options]) == 0
    assert capsys.readouterr() == ("", "")
    assert sorted(path.name for path in film.parent.iterdir()) == sorted(["film.mkv", target])


@pytest.mark.parametrize("command", ["video", "camera"])
def test_a_film_without_vividness_stays_grey(film: Path, command: str) -> None:
    target = film.parent / "grey.mkv"
    assert _run(command, film, "-o", target, "--vividness", "0", "--codec", "ffv1") == 0
    for frame in frames_of(target):
        for number in (1, 2):
            assert np.abs(plane_of(frame, number).astype(int) - 128).max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "{}/film.mkv"], "is the source itself"),
        (["-o", "{}/film.xyz"], "'.xyz'"),
        (["--codec", "libx999"], "'libx999'"),
        (["--reference", "{}/none.jpg"], "none.jpg"),
        (["--reference", "{}/film.mkv"], "film.mkv"),
    ],
)
def test_what_is_wrong_with_a_film_is_one_line(
    film: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("video", film, *[option.format(film.parent) for option in options]) == 1
    assert words in _error(capsys)
    assert [path.name for path in film.parent.iterdir()] == ["film.mkv"]


def test_a_film_s_progress_has_a_rate_and_the_time_left(
    film: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert _run("video", film) == 0
    assert "5/5" in capsys.readouterr().err


# Many photographs


def _records(path: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {Path(line["source"]).name: line for line in lines}


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_folder_is_coloured_as_it_lies(tmp_path: Path, jobs: int, capsys: pytest.CaptureFixture[str]) -> None:
    album = tmp_path / "album"
    for seed, name in enumerate(("a.png", "1931/b.jpg", "1931/may/c.png", ".hidden/d.png")):
        _photo(album / name, seed)
    (album / "notes.txt").write_text("no photograph")
    (album / "1931" / "bad.png").write_text("no picture")
    report = tmp_path / "report.jsonl"
    out = album / "coloured"
    command = ("image", album, "--out-dir", out, "--jobs", jobs, "--report", report, "--format", "tif", "--depth", "16")
    assert _run(*command) == 1
    assert "bad.png" in _error(capsys)
    names = ["1931/b.tif", "1931/may/c.tif", "a.tif"]
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == names
    assert pixels_of(out / "a.tif").dtype == "uint16"
    records = _records(report)
    assert {name: record["status"] for name, record in records.items()} == {
        "a.png": "coloured",
        "b.jpg": "coloured",
        "c.png": "coloured",
        "bad.png": "failed",
    }
    assert "not a picture" in records["bad.png"]["error"]


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    sources = [_photo(tmp_path / f"{name}.png", seed) for seed, name in enumerate("ab")]
    out, report = tmp_path / "out", tmp_path / "report.jsonl"
    assert _run("image", sources[0], "--out-dir", out) == 0
    before = (out / "a.png").stat().st_mtime_ns
    assert _run("image", *sources, "--out-dir", out, "--skip-existing", "--report", report) == 0
    assert (out / "a.png").stat().st_mtime_ns == before
    assert {name: record["status"] for name, record in _records(report).items()} == {"a.png": "skipped", "b.png": "coloured"}


def test_a_stopped_run_goes_on_where_a_confidence_is_missing(tmp_path: Path) -> None:
    source, out, sure = _photo(tmp_path / "a.png"), tmp_path / "out.png", tmp_path / "sure.png"
    report = tmp_path / "report.jsonl"
    for options in ([], ["--confidence", sure], ["--confidence", sure]):
        assert _run("image", source, "-o", out, "--skip-existing", "--report", report, *options) == 0
    statuses = [json.loads(line)["status"] for line in report.read_text(encoding="utf-8").splitlines()]
    assert statuses == ["coloured", "coloured", "skipped"]
    assert sure.exists()


def test_two_runs_do_not_wait_for_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They would do one photograph after the other, in step."""
    sources = [_photo(tmp_path / f"{name}.png", seed) for seed, name in enumerate("ab")]
    out = tmp_path / "out"
    out.mkdir()
    report = tmp_path / "report.jsonl"
    with whole_file(out / "a.png"):
        assert _run("image", *sources, "--out-dir", out, "--skip-existing", "--report", report) == 0
        assert (out / "b.png").exists()
        assert _run("image", *sources, "--out-dir", out) == 1
        assert "another process is writing it" in _error(capsys)
    first, second = (json.loads(line) for line in report.read_text(encoding="utf-8").splitlines())
    assert (first["status"], second["status"]) == ("skipped", "coloured")
    assert "another process is writing it" in first["error"]


def test_a_folder_without_photographs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = _photo(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    assert _run("image", tmp_path / "empty", photo, "--out-dir", tmp_path / "out") == 1
    assert f"{tmp_path / 'empty'} holds no photographs; their names end in .jpg" in _error(capsys)
    assert (tmp_path / "out" / "a.png").exists()


def _lock(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Let them be such as this user must not read; root, as whom tests may run, may read all."""
    real = os.scandir

    def scandir(path: Any = ".") -> Any:
        if Path(path) in folders:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    album, out, report = tmp_path / "album", tmp_path / "album" / "out", tmp_path / "report.jsonl"
    for seed, name in enumerate(("a.png", "1931/b.png", "1931/may/c.png", ".bin/d.png", "out/e.png")):
        _photo(album / name, seed)
    _lock(monkeypatch, album / "1931" / "may", album / ".bin", out)  # the last two hold nothing that is meant
    assert _run("image", album, "--out-dir", out, "--report", report) == 1
    assert _error(capsys) == f"edgecolor: cannot read the folder {album}/1931/may: Permission denied"
    assert (out / "a.png").exists()
    assert (out / "1931" / "b.png").exists()
    records = _records(report)
    assert {name: record["status"] for name, record in records.items()} == {
        "a.png": "coloured",
        "b.png": "coloured",
        "may": "failed",
    }
    assert records["may"]["source"] == str(album / "1931" / "may")
    assert records["may"]["target"] == str(out / "1931" / "may")
    assert "Permission denied" in records["may"]["error"]


def test_a_given_folder_that_cannot_be_read_is_not_called_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    album = _photo(tmp_path / "album" / "a.png").parent
    _lock(monkeypatch, album)
    assert _run("image", album, "--out-dir", tmp_path / "out") == 1
    assert _error(capsys) == f"edgecolor: cannot read the folder {album}: Permission denied"


def test_a_photograph_that_cannot_be_looked_at_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a folder that may be listed and not entered. The picture is a bad one, because root can open it."""
    album, real = tmp_path / "album", os.stat
    good, bad = _photo(album / "a.png"), _photo(album / "locked" / "b.png")
    bad.write_text("no picture")

    def stat(path: Any, **options: Any) -> Any:
        if path == bad:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert _run("image", album, "--out-dir", tmp_path / "out") == 1
    assert str(bad) in _error(capsys)
    assert (tmp_path / "out" / good.name).exists()
    assert _run("image", bad, "-o", tmp_path / "b.png") == 1
    assert str(bad) in _error(capsys)


@pytest.mark.parametrize("here", [False, True])
def test_results_may_lie_above_the_folder(
    tmp_path: Path,
    here: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.png", "1931/b.png")):
        _photo(tmp_path / "album" / name, seed)
    album, out = (Path("album"), Path()) if here else (tmp_path / "album", tmp_path)
    assert _run("image", album, "--out-dir", out) == 0
    assert capsys.readouterr() == ("", "")
    assert_lightness_kept(pixels_of(tmp_path / "a.png"), scene(40, 60, seed=0))
    assert_lightness_kept(pixels_of(tmp_path / "1931" / "b.png"), scene(40, 60, seed=1))


def test_results_above_the_folder_are_not_written_over_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [_photo(tmp_path / "album" / name, seed) for seed, name in enumerate(("a.png", "album/a.png"))]
    before = [path.read_bytes() for path in photos]
    assert _run("image", tmp_path / "album", "--out-dir", tmp_path) == 2
    assert f"{photos[1]} would be written over {photos[0]}" in capsys.readouterr().err
    assert _run("image", tmp_path / "album" / "album", "--out-dir", tmp_path / "album" / "album") == 1
    assert "is the source itself" in _error(capsys)
    assert [path.read_bytes() for path in photos] == before


def test_links_are_followed_and_each_folder_is_looked_into_once(tmp_path: Path) -> None:
    album, other, out = tmp_path / "album", _photo(tmp_path / "other" / "b.png"), tmp_path / "out"
    _photo(album / "own" / "c.png", 1)
    (album / "a.png").symlink_to(other)
    (album / "another").symlink_to(other.parent)
    (album / "folder").symlink_to(other.parent)
    (album / "nowhere.png").symlink_to(tmp_path / "none.png")
    (album / "circle.png").symlink_to(album / "circle.png")
    (album / "circle").symlink_to(album)
    (album / "below").symlink_to(album / "own")
    (other.parent / "back").symlink_to(album)
    (album / "nothing").symlink_to(tmp_path / "none")
    (album / "self").symlink_to(album / "self")
    (album / "results").symlink_to(out)
    (tmp_path / "link").symlink_to(album)
    for _ in range(2):
        assert _run("image", tmp_path / "link", "--out-dir", out) == 0
        assert sorted(str(path.relative_to(out)) for path in out.rglob("*.png")) == ["a.png", "another/b.png", "own/c.png"]


def test_names_of_any_bytes_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    album = tmp_path / os.fsdecode(b"al\xffbum")
    names = [os.fsdecode(b"\xe9t\xe9/lat\xff.png"), "q[compression=9].png", "x.png[page=1].png"]
    for seed, name in enumerate(names):
        _photo(album / name, seed)
    out, report = tmp_path / os.fsdecode(b"o\xfft"), tmp_path / "report.jsonl"
    assert _run("image", album, "--out-dir", out, "--confidence", tmp_path / "sure", "--report", report) == 0
    assert capsys.readouterr() == ("", "")
    assert {str(path.relative_to(out)) for path in out.rglob("*.png")} == set(names)
    assert {record["status"] for record in _records(report).values()} == {"coloured"}
    for seed, name in enumerate(names):
        assert_lightness_kept(pixels_of(out / name), scene(40, 60, seed=seed))


def test_confidences_go_to_a_folder(tmp_path: Path) -> None:
    sources = [_photo(tmp_path / f"{name}.png", seed) for seed, name in enumerate("ab")]
    assert _run("image", *sources, "--out-dir", tmp_path / "out", "--confidence", tmp_path / "sure") == 0
    assert sorted(path.name for path in (tmp_path / "sure").iterdir()) == ["a.png.png", "b.png.png"]
    assert _run("image", sources[0], "-o", tmp_path / "c.png", "--confidence", tmp_path / "c-sure.png") == 0
    assert pixels_of(tmp_path / "c-sure.png").shape[:2] == (40, 60)


def _named(kind: str, path: Path) -> Path:
    """Another name of a file that is there."""
    other = path.with_name(f"other-{path.name}")
    if kind == "link":
        other.symlink_to(path)
    elif kind == "hard link":
        other.hardlink_to(path)
    else:
        other = path if kind == "same" else path.parent / ".." / path.parent.name / path.name
    return other


@pytest.mark.parametrize("kind", ["same", "roundabout", "link", "hard link"])
@pytest.mark.parametrize("option", ["--confidence", "--report"])
@pytest.mark.parametrize("many", [False, True])
def test_no_photograph_is_written_over_by_what_is_told_of_it(
    tmp_path: Path,
    option: str,
    kind: str,
    many: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = _photo(tmp_path / "a.png", 1), _photo(tmp_path / "out" / "b.png.png", 2)
    before = (first.read_bytes(), second.read_bytes())
    if many:  # the confidence of b.png goes to out/b.png.png
        where = second.parent if option == "--confidence" else _named(kind, second)
        sources = [first, _photo(tmp_path / "b.png"), second]
        assert _run("image", *sources, "--out-dir", tmp_path / "to", option, where) == 2
    else:
        assert _run("image", first, "-o", tmp_path / "c.png", option, _named(kind, first)) == 2
    err = capsys.readouterr().err
    assert str(second if many else first) in err
    assert option in err
    assert (first.read_bytes(), second.read_bytes()) == before
    assert not (tmp_path / "c.png").exists()
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("option", ["--confidence", "--report"])
def test_a_result_is_not_written_over_by_what_is_told_of_it(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = _photo(tmp_path / "a.png"), tmp_path / "out" / "b.png"
    target.parent.mkdir()
    assert _run("image", source, "-o", target, option, target.parent / ".." / "out" / "b.png") != 0
    err = capsys.readouterr().err
    assert str(target) in err
    assert "give it another name" in err or "give another name" in err
    assert list(target.parent.iterdir()) == []


def test_two_photographs_under_one_name_are_both_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = [_photo(tmp_path / "x" / "a.png"), _photo(tmp_path / "y" / "a.png")]
    assert _run("image", *sources, "--out-dir", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert all(str(path) in err for path in (*sources, tmp_path / "out" / "a.png"))


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """/dev/full is a disk without space."""
    sources = [_photo(tmp_path / f"{name}.png", seed) for seed, name in enumerate("ab")]
    assert _run("image", *sources, "--out-dir", tmp_path / "out", "--report", "/dev/full") == 1
    assert "cannot write /dev/full: No space left on device" in _error(capsys)
    assert_lightness_kept(pixels_of(tmp_path / "out" / "a.png"), scene(40, 60))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{folder}"], "is a folder; say where its photographs go with --out-dir"),
        (["{photo}", "--jobs", "0"], "'0' is not a whole number from 1 to 256"),
        (["{photo}", "--format", "gif"], "'gif'"),
        (["{photo}", "--depth", "12"], "'12'"),
    ],
)
def test_wrong_usage_of_many_exits_2(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = _photo(tmp_path / "photos" / "a.png")
    assert _run("image", *(argument.format(folder=photo.parent, photo=photo) for argument in arguments)) == 2
    assert words in capsys.readouterr().err


def _bash(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/bash", "-c", line], capture_output=True, text=True, check=False, cwd=folder)  # noqa: S603


def test_whoever_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    for command in ("models", "models --json"):
        line = f"PYTHONUNBUFFERED=1 {sys.executable} -m edgecolor {command} | true; exit ${{PIPESTATUS[0]}}"
        done = _bash(line, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_output_is_one_line(tmp_path: Path) -> None:
    line = f"{sys.executable} -m edgecolor models > /dev/full"
    done = _bash(line, tmp_path)
    assert (done.returncode, done.stderr) == (1, "edgecolor: cannot write to the standard output: No space left on device\n")


@pytest.mark.parametrize("end", ["2>&-", ">&- 2>&- <&-", "2> >(true)", pytest.param("2> /dev/full", id="full")])
def test_that_nobody_listens_to_the_complaints_stops_no_work(tmp_path: Path, end: str) -> None:
    for name in ("b", "d"):
        _photo(tmp_path / "in" / f"{name}.png")
    for name in ("a", "c"):
        (tmp_path / "in" / f"{name}.png").write_text("no picture")
    line = f"{sys.executable} -m edgecolor image in --out-dir out --model tiny --report report.jsonl {end}"
    assert _bash(line, tmp_path).returncode == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.png", "d.png"]
    assert len((tmp_path / "report.jsonl").read_text().splitlines()) == 4


def test_a_closed_output_is_no_error(tmp_path: Path) -> None:
    _photo(tmp_path / "a.png")
    done = _bash(f"{sys.executable} -m edgecolor explain a.png -o report.png --model tiny >&-", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert pixels_of(tmp_path / "report.png").shape[2] == 3


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    line = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -m edgecolor image {PHOTOS / 'cat.jpg'} -o colour.png"
    done = _bash(line, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "edgecolor: the folder that edgecolor was started in is gone; go to another"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["image", "a.png", "-o", "reference.png", "--reference", "reference.png"], 2),
        (["image", "a.png", "-o", "colour.png", "--region", "mask.png", "--confidence", "mask.png"], 2),
        (["image", "a.png", "-o", "mask.png", "--region", "mask.png"], 2),
        (["image", "a.png", "-o", "colour.png", "--reference", "reference.png", "--report", "reference.png"], 2),
        (["explain", "a.png", "-o", "reference.png", "--reference", "reference.png"], 2),
        (["image", "a.png", "-o", "folder.png"], 1),
        (["image", "a.png", "-o", "pipe.png"], 1),
        (["image", "a.png", "-o", "colour.png", "--report", "pipe.png"], 1),
        (["image", "a.png", "-o", "colour.png", "--profile", "pipe.png"], 1),
        (["image", "a.png", "-o", "colour.png", "--profile", "/dev/zero"], 1),
        (["video", "pipe.png", "-o", "colour.mkv"], 1),
    ],
)
def test_no_other_file_is_written_over_and_no_pipe_waited_for(
    tmp_path: Path, arguments: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _photo(Path("a.png"))
    cv2.imwrite("reference.png", np.dstack([scene(40, 60)] * 3))
    cv2.imwrite("mask.png", np.full((40, 60), 255, np.uint8))
    Path("folder.png").mkdir()
    os.mkfifo("pipe.png")
    before = {path: path.is_file() and path.read_bytes() for path in Path().iterdir()}
    assert _run(*arguments, "--model", "tiny") == status
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert any(words in err for words in ("reference", "mask.png", "Is a directory", "it is a pipe or device", "nobody reads"))
    assert {path: path.is_file() and path.read_bytes() for path in Path().iterdir()} == before


def test_a_line_that_a_report_lacks_the_end_of_is_ended(tmp_path: Path) -> None:
    report = tmp_path / "report.jsonl"
    report.write_text('{"source": "b.p')
    assert _run("image", _photo(tmp_path / "a.png"), "-o", tmp_path / "colour.png", "--report", report) == 0
    first, second = report.read_text().splitlines()
    assert first == '{"source": "b.p'
    assert json.loads(second)["status"] == "coloured"


def test_a_name_that_cannot_be_shown_is_no_error(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), scene(30, 40))
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "in.png").rename(tmp_path / name)
    done = subprocess.run(  # noqa: S603  # our own
        [sys.executable, "-m", "edgecolor", "explain", name, "-o", os.fsdecode(b"r\xe9.png"), "--model", "tiny"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"r\\udce9.png: sure of")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--reference=a.png", "a.png: a reference picture must be"),
        ("--profile=a.png", "a.png: a profile to write in must be"),
    ],
)
def test_a_wish_that_cannot_be_is_said_once_before_any_photograph(
    tmp_path: Path, option: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        cv2.imwrite(name, scene(30, 40))
    with pytest.raises(SystemExit) as caught:
        main(["image", "a.png", "b.png", "--out-dir", "out", "--model", "tiny", option])
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))
