"""Where the kernels are kept when there is no home, no user, or nothing that can be written."""

import os
import pwd
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from semicon_fast import native
from semicon_fast.cli import app
from semicon_fast.native import toolchain
from semicon_fast.native.build import _MARK, CPU

ROOT = Path(__file__).resolve().parents[2]
BELOW_A_FILE = f"{os.devnull}/cache"  # which not even root can write


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder of the temporary files; a notice counts as not given yet."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    toolchain._say_fallback.cache_clear()
    yield tmp_path / "tmp"
    toolchain._say_fallback.cache_clear()


@pytest.fixture
def homeless(monkeypatch):
    """As in a container that runs as a user whom nobody has entered: no HOME, no passwd entry."""

    def unknown(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "SEMICON_FAST_CACHE"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_home_the_kernels_are_kept_in_the_temporary_files(
    pretended, homeless, temporary, caplog
):
    assert CPU.load_or_build() == CPU.load_or_build()
    assert CPU.build().is_relative_to(temporary / f"semicon_fast-{os.getuid()}")
    said = [record.message for record in caplog.records if "no home" in record.message]
    assert len(said) == 1 and "SEMICON_FAST_CACHE names another" in said[0]
    assert (temporary / f"semicon_fast-{os.getuid()}").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("variable, inside", [("SEMICON_FAST_CACHE", ""),
                                              ("XDG_CACHE_HOME", "semicon_fast")])  # fmt: skip
def test_a_folder_that_is_named_wins_without_a_home_too(
    pretended, homeless, tmp_path, monkeypatch, caplog, variable, inside
):
    monkeypatch.setenv(variable, str(tmp_path / "named"))
    assert CPU.build().parent.parent == tmp_path / "named" / inside
    assert "home" not in caplog.text


def test_a_cache_in_no_home_is_refused_by_name(undecided, monkeypatch):
    monkeypatch.setenv("SEMICON_FAST_CACHE", "~nosuchuser/cache")
    with pytest.raises(ValueError, match="SEMICON_FAST_CACHE must be a folder, got '~nosuchuser"):
        native.load()


def test_a_library_in_the_place_of_an_unwritable_cache_is_found_without_a_compiler(
    pretended, monkeypatch, temporary, caplog
):
    monkeypatch.setenv("SEMICON_FAST_CACHE", BELOW_A_FILE)
    built = CPU.build()
    assert built.is_relative_to(temporary) and (built.parent / _MARK).is_file()
    monkeypatch.setattr(CPU, "problem", lambda: ("there is no C++ compiler", "Install one"))
    assert CPU.load_stored() == CPU.load_or_build() == built and len(pretended) == 1
    assert caplog.text.count("the kernels are kept in") == 1


def test_a_writable_cache_never_takes_a_library_from_the_temporary_files(
    pretended, monkeypatch, temporary, tmp_path
):
    monkeypatch.setenv("SEMICON_FAST_CACHE", BELOW_A_FILE)
    CPU.build()
    monkeypatch.setenv("SEMICON_FAST_CACHE", str(tmp_path / "named"))
    assert CPU.load_stored() is None
    assert CPU.build().is_relative_to(tmp_path / "named") and len(pretended) == 2


def test_a_temporary_folder_of_another_user_is_not_trusted(pretended, monkeypatch, temporary):
    monkeypatch.setenv("SEMICON_FAST_CACHE", BELOW_A_FILE)
    monkeypatch.setattr(toolchain.os, "getuid", lambda: 12345)
    if os.stat(temporary).st_uid == 12345:
        pytest.skip("that is this user")
    (temporary / "semicon_fast-12345").mkdir()
    with pytest.warns(RuntimeWarning, match="belongs to another user. Set SEMICON_FAST_CACHE"):
        assert native.load() is False
    assert not pretended


def test_without_temporary_files_the_reference_answers(pretended, monkeypatch):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setenv("SEMICON_FAST_CACHE", BELOW_A_FILE)
    monkeypatch.setattr(toolchain.tempfile, "gettempdir", none)
    with pytest.warns(RuntimeWarning, match="no folder to keep the kernels in.*SEMICON_FAST_CACHE"):
        assert native.load() is False


def test_native_kernels_that_cannot_be_had_end_a_command_in_a_sentence(
    undecided, monkeypatch, tmp_path
):
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "native")
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("semicon_fast.cli.info.facts", native.load)
    result = CliRunner().invoke(app, ["info"])
    assert result.exit_code == 2 and result.stderr.startswith("error: semicon_fast: the native")
    assert result.stderr.count("\n") == 1


def test_a_misspelt_wish_of_the_installation_stops_it():
    pytest.importorskip("setuptools")
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        env={**os.environ, "SEMICON_FAST_AOT": "yes"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("SEMICON_FAST_AOT must be 0, 1 or cuda, got 'yes'\n")


def test_every_variable_is_in_the_readme():
    """Those that are read from the environment; names of macros begin alike."""
    sources = [ROOT / "setup.py", *(ROOT / "semicon_fast").rglob("*.py")]
    sources += (ROOT / "kernels").rglob("*.py")
    used = {
        name
        for path in sources
        for name in re.findall(r"\bSEMICON_FAST_[A-Z_]+\b", path.read_text("utf-8"))
    }
    rows = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert {"SEMICON_FAST_BACKEND", "SEMICON_FAST_CACHE"} <= used
    assert used == {name for name in rows if name.startswith("SEMICON_FAST_")}
