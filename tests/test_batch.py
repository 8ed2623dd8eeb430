from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import cv2
import pytest
from fakes import assert_lightness_kept, pixels_of, run_python, scene

import edgecolor
from edgecolor import batch
from edgecolor._files import whole_file


def _photos(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    for seed, path in enumerate(paths):
        path.write_bytes(cv2.imencode(".png", scene(40, 60, seed=seed))[1].tobytes())
    return paths


def test_a_file_is_coloured_once(tmp_path: Path) -> None:
    (source,) = _photos(tmp_path, 1)
    target = tmp_path / "new" / "folder" / "0.tif"
    first = batch.color(source, target, depth="16")
    assert (first["status"], first["error"]) == ("coloured", "")
    before = target.stat().st_mtime_ns
    assert batch.color(source, target, depth="16")["status"] == "skipped"
    assert target.stat().st_mtime_ns == before
    assert_lightness_kept(pixels_of(target), scene(40, 60))


def test_a_bad_file_is_a_record(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    record = batch.color(tmp_path / "bad.png", tmp_path / "out.png")
    assert record["status"] == "failed"
    assert "not a picture" in record["error"]
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(("error", "words"), [(RuntimeError("out of cheese"), "out of cheese"), (MemoryError(), "MemoryError")])
def test_whatever_goes_wrong_with_a_file_is_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(edgecolor.Colorizer, "image", fail)
    record = batch.color("a.png", tmp_path / "b.png")
    assert (record["status"], record["error"]) == ("failed", words)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("0.png/x/o.png", "cannot make the folder"),
        (f"{'long' * 80}.png", "File name too long"),
        ("\ud800.png", "surrogates not allowed"),
        ("no\0.png", "null byte"),
        ("no\0/a.png", "null byte"),
    ],
    ids=["folder", "length", "surrogate", "null", "null in a folder"],
)
def test_a_target_that_cannot_be_is_a_record(tmp_path: Path, target: str, words: str) -> None:
    (source,) = _photos(tmp_path, 1)
    record = batch.color(source, tmp_path / target)
    assert (record["status"], record["source"], record["target"]) == ("failed", str(source), str(tmp_path / target))
    assert words in record["error"]


def test_a_task_that_runs_twice_at_once_has_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first."""
    (source,) = _photos(tmp_path, 1)
    target, waits, ended = tmp_path / "out.png", threading.Event(), threading.Event()

    def sleep(_: float) -> None:
        waits.set()
        assert ended.wait(60)

    monkeypatch.setattr("edgecolor.batch.time.sleep", sleep)
    with ThreadPoolExecutor(1) as pool:
        with whole_file(target) as partial:
            second = pool.submit(batch.color, source, target)
            assert waits.wait(60)
            partial.write_text("the first's")
        ended.set()
    assert (second.result()["status"], second.result()["error"]) == ("skipped", "")
    assert target.read_text() == "the first's"


def test_a_task_whose_double_failed_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = _photos(tmp_path, 1)
    target = tmp_path / "out.png"
    first = ExitStack()
    first.enter_context(whole_file(target))

    def fail(_: float) -> None:
        first.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    monkeypatch.setattr("edgecolor.batch.time.sleep", fail)
    assert batch.color(source, target)["status"] == "coloured"
    assert_lightness_kept(pixels_of(target), scene(40, 60))


def test_a_task_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = _photos(tmp_path, 1)
    monkeypatch.setattr(batch, "_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(batch, "_POLL_SECONDS", 0.02)
    with whole_file(tmp_path / "out.png"):
        record = batch.color(source, tmp_path / "out.png")
    assert record["status"] == "failed"
    assert "another process is writing it" in record["error"]
    assert record["seconds"] >= 0.1


def test_a_wrong_model_is_an_error() -> None:
    with pytest.raises(edgecolor.UnknownModelError):
        batch.color("a.png", "b.png", model="huge")  # type: ignore[arg-type]


def test_an_option_that_is_none_is_an_error_and_no_record(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'detial'"):
        batch.color(tmp_path / "a.png", tmp_path / "b.png", detial=2)


def test_the_function_can_be_sent_to_workers() -> None:
    assert pickle.loads(pickle.dumps(batch.color)) is batch.color  # noqa: S301


@pytest.mark.filterwarnings("default")
def test_a_cluster_colours_a_folder(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="pip install distributed to test on a local cluster")
    sources = _photos(tmp_path, 6)
    targets = [tmp_path / "out" / path.name for path in sources]
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        records = client.gather(client.map(batch.color, [*map(str, sources)], [*map(str, targets)]))
        again = client.gather(client.map(batch.color, [*map(str, sources)], [*map(str, targets)], pure=False))
    assert [record["status"] for record in records] == ["coloured"] * 6
    assert [record["status"] for record in again] == ["skipped"] * 6
    for seed, target in enumerate(targets):
        assert_lightness_kept(pixels_of(target), scene(40, 60, seed=seed))


def test_a_process_forked_from_one_that_coloured_files_says_so(tmp_path: Path) -> None:
    code = """
import multiprocessing, sys
import cv2, numpy as np
from edgecolor import batch
cv2.imwrite(sys.argv[1] + "/a.png", np.zeros((9, 9), np.uint8))
print(batch.color(sys.argv[1] + "/a.png", sys.argv[1] + "/b.png", model="tiny")["status"], flush=True)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply(batch.color, (sys.argv[1] + "/a.png", sys.argv[1] + "/c.png"))["error"])
"""
    done = run_python("-c", code, str(tmp_path), home=tmp_path)
    assert done.stdout.startswith("coloured\npicture files cannot be used in a process forked from one that used them"), done
