from __future__ import annotations

import fcntl
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from fakes import run_python

from edgecolor import SourceError
from edgecolor._files import BusyError, whole_file


def _before_the_first_lock(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Let it happen when the next writer has opened the partial file and has not locked it yet."""
    real = fcntl.flock

    def late(*arguments: object) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        happens()
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", late)


@pytest.mark.parametrize("fails", [False, True])
def test_who_opened_another_s_file_does_not_write_beside_a_third(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fails: bool,  # noqa: FBT001
) -> None:
    """The first writer ends after the second has opened its file: what the second then locks is the target, or nowhere."""
    target = tmp_path / "a.png"
    first, second = ExitStack(), ExitStack()
    first.enter_context(whole_file(target)).write_text("first")
    error = OSError("no space")

    def end() -> None:
        if not fails:
            first.close()
            return
        with pytest.raises(SourceError, match="no space"):
            first.__exit__(OSError, error, None)

    _before_the_first_lock(monkeypatch, end)
    with second:
        second.enter_context(whole_file(target)).write_text("sec")
        with pytest.raises(BusyError, match="another process is writing it"), whole_file(target) as third:
            third.write_text("third, half writt")
        assert target.exists() != fails
        assert fails or target.read_text() == "first"
    assert target.read_text() == "sec"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_next_writer_s_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins when the first has renamed its file and not ended yet."""
    target = tmp_path / "a.png"
    second = ExitStack()
    real = Path.replace

    def replace(self: Path, other: Path) -> Path:
        monkeypatch.setattr(Path, "replace", real)
        result = real(self, other)
        second.enter_context(whole_file(target)).write_text("second")
        return result

    monkeypatch.setattr(Path, "replace", replace)
    with whole_file(target) as partial:
        partial.write_text("first")
    assert target.read_text() == "first"
    second.close()
    assert target.read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), whole_file(tmp_path / "a.png") as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SourceError, match=r"cannot write .*folder\.png: Is a directory"), whole_file(tmp_path / "folder.png"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_what_a_killed_run_left_is_used_up(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.png") as partial:
        pass
    partial.write_text("left behind by a run that was killed")
    with whole_file(tmp_path / "a.png") as again:
        assert again == partial
        again.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_text() == "whole"


def test_what_a_killed_process_left_is_used_up_by_another(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from edgecolor._files import whole_file\n"
        "with whole_file(Path('a.png')) as partial:\n    partial.write_text('half'); os._exit(9)"
    )
    for _ in range(2):
        assert run_python("-c", code, home=tmp_path).returncode == 9
        assert len(list(tmp_path.iterdir())) == 1
    with whole_file(tmp_path / "a.png") as partial:
        partial.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
