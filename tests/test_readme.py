"""README.md is so: its Python runs, its commands and presets exist, its tables are made."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from semicon_fast.cli import app
from semicon_fast.training import presets

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


def test_the_python_runs_and_does_what_its_comments_say():
    names: dict = {}
    assert len(blocks("python")) >= 1
    for block in blocks("python"):
        exec(block, names)
    assert names["codes"].shape == (8, 6)
    assert names["distances"][:, 0].tolist() == [0, 0]
    assert 0 < names["score"] <= 1
    assert names["best"].shape == (20, 10) and names["best"][:, 0].tolist() == list(range(20))
    assert set(names["recalls"]) == {1, 10} and names["recalls"][1] == 1
    assert names["embedding_codes"].shape == (1000, 8)


def commands() -> list[list[str]]:
    lines = "\n".join(blocks("bash")).replace("&&", "\n").splitlines()
    inline = re.findall(r"`(semicon-fast [^`]+)`", TEXT)
    words = [line.partition("#")[0].split() for line in [*lines, *inline]]
    return [w for w in words if w[:1] == ["semicon-fast"] and len(w) > 1]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_its_commands_exist_with_their_options(words):
    command = typer.main.get_command(app).commands[words[1]]
    if hasattr(command, "commands"):  # a group, such as `study`
        command = command.commands[words[2]]
    known = {name for parameter in command.params for name in parameter.opts}
    options = {word for word in words[2:] if re.fullmatch("--?[a-z][a-z-]*", word)}
    assert options <= known
    for option, value in zip(words, words[1:], strict=False):
        if option == "--preset":
            assert value in presets.names()


def test_its_tables_are_what_the_result_files_say():
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = text.partition("### Where is")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/]+\.py|csrc/[\w/.]+|[\w/]+/)`", table)
    assert len(named) >= 15
    folder = ROOT
    for name in named:
        # A bare name stands beside the file before it.
        path = ROOT / name if "/" in name else folder / name
        assert path.exists(), name
        folder = path if path.is_dir() else path.parent
    folders = re.findall(r"^ +(?:\w+ +)?(\w+)/ {2,}", text.partition("```\nsemicon_fast/")[2], re.M)
    assert {p.parent.name for p in (ROOT / "semicon_fast").glob("*/__init__.py")} == set(folders)
