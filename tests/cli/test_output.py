"""What commands print, where nobody reads it, it cannot be written, or there is hardly any room."""

import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*arguments, cwd=None, **streams):
    environment = {**os.environ, "PYTHONPATH": HERE, **streams.pop("environment", {})}
    command = [sys.executable, "-m", "semicon_fast", *arguments]
    streams = {"stderr": subprocess.PIPE, **streams}
    return subprocess.run(command, cwd=cwd, env=environment, text=True, timeout=60, **streams)


SHOW = ["train", "--preset", "birdlets-48", "-o", "new", "--show-config"]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("arguments", [["--help"], SHOW], ids=["by rich", "by typer"])
def test_a_reader_that_is_gone_ends_a_command_without_a_word(arguments):
    end, start = os.pipe()
    os.close(end)
    try:
        done = run(*arguments, stdout=start)
    finally:
        os.close(start)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], SHOW], ids=["by rich", "by typer"])
def test_output_that_cannot_be_written_is_one_sentence(arguments):
    with open("/dev/full", "w") as full:
        done = run(*arguments, stdout=full)
    assert (done.returncode, done.stderr) == (2, "error: No space left on device\n")


def test_closed_streams_are_no_failure():
    script = "import sys; sys.stdin = sys.stdout = sys.stderr = None\n"
    script += "from semicon_fast.cli.common import print_json, _say\n"
    script += "print_json({'a': 1}); _say('a', 'red', OSError('b'))\n"
    script += "from semicon_fast.cli import main; sys.argv[1:] = ['--help']; main()"
    environment = {**os.environ, "PYTHONPATH": HERE}
    assert subprocess.run([sys.executable, "-c", script], env=environment).returncode == 0


@pytest.mark.parametrize("columns", ["0", "1", "x"])
def test_a_table_is_readable_whatever_columns_says(columns, monkeypatch, capsys):
    from semicon_fast.cli.common import console, table

    monkeypatch.setenv("COLUMNS", columns)
    console(False).print(table("title", ("rank", "image"), [(1, "a/red.png")]))
    assert "a/red.png" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed")
def test_a_current_folder_that_is_gone_is_one_sentence(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"import os, sys; os.rmdir({str(gone)!r})\n"
    script += "from semicon_fast.cli import main; sys.argv[1:] = ['info']; main()"
    environment = {**os.environ, "PYTHONPATH": HERE}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=gone, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "error: the current folder no longer exists; change to one that does\n"
