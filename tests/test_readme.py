from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from clips import moving_scene, write_film
from fakes import REPOSITORY, run_python

from edgecolor._cli import parser

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PYTHON = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
DOCUMENTS = sorted(REPOSITORY.glob("*.md")) + sorted(REPOSITORY.glob("docs/**/*.md"))


def _blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _program(text: str) -> str:
    """The Python blocks of a document as one program, each line where it stands there, so that errors name it."""
    lines: list[str] = []
    language: str | None = None
    for line in text.splitlines():
        fence = line.startswith("```")
        lines.append(line if language == "python" and not fence else "")
        if fence:
            language = line[3:] if language is None else None
    return "\n".join(lines)


def _links(document: Path) -> list[str]:
    """Relative targets of a document's links and pictures, without code."""
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(<?([^)>\s]+)>?[^)]*\)|<img[^>]*src=\"([^\"]+)\"", prose)
    return [link for pair in found for link in pair if link and not re.match(r"[a-z]+:", link)]


def _anchors(document: Path) -> set[str]:
    """What GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ +(.*?)\s*$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _commands() -> dict[str, Any]:
    (actions,) = (action.choices for action in parser()._actions if action.dest == "command")
    return dict(actions or {})


def _marked(name: str) -> str:
    """The shell block between a marker and its end."""
    (part,) = re.findall(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", README, re.DOTALL)
    (block,) = _blocks("sh", part + "\n")
    return str(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_block_compiles(document: Path) -> None:
    for number, block in enumerate(_blocks("python", document.read_text(encoding="utf-8"))):
        compile(block, f"{document.name}, block {number}", "exec")


@pytest.mark.parametrize("text", [README, PYTHON], ids=["README.md", "python.md"])
def test_the_python_of_a_document_runs(text: str, tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(REPOSITORY / "tests")
    write_film(tmp_path / "film.mp4", moving_scene(4), codec="libx264")
    program = _program(text)
    assert program.strip()
    done = run_python("-W", "error", "-c", program, home=tmp_path)
    assert done.returncode == 0, done.stderr
    if text is PYTHON:
        assert done.stdout.splitlines() == re.findall(r"^ *print\(.*\) +# (.*)$", program, re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_resolves(document: Path) -> None:
    broken = []
    for link in _links(document):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("command", _commands())
def test_every_command_is_mentioned(command: str) -> None:
    assert re.search(rf"\bedgecolor {command}\b", README)


def test_every_command_line_is_understood() -> None:
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    calls = [part for line in lines for part in line.split("&&") if re.match(r"\s*(\S*/)?edgecolor ", part)]
    assert len(calls) >= len(_commands())
    for call in calls:
        parser().parse_args(shlex.split(re.sub(r"\s#.*", "", call))[1:])


@pytest.mark.parametrize(("name", "words"), [("main job", "edgecolor image"), ("test", "pytest")])
def test_the_marked_blocks_are_there(name: str, words: str) -> None:
    assert words in _marked(name)


def test_the_files_of_the_main_job_are_there() -> None:
    for word in shlex.split(_marked("main job")):
        if word.startswith("tests/"):
            assert (REPOSITORY / word).is_file()
