"""Building, loading, and what happens where neither is possible."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from semicon_fast import native
from semicon_fast.native import NativeBuildError, build, toolchain
from semicon_fast.native.build import CPU

SEARCH = """
import warnings, torch
from semicon_fast import native
from semicon_fast.ops.hamming import hamming_topk
codes = torch.arange(64, dtype=torch.uint8).view(8, 8)
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(3):
        distances, positions = hamming_topk(codes, codes, 1)
        assert positions.flatten().tolist() == list(range(8))
ours = [w for w in seen if w.category is RuntimeWarning and "semicon_fast" in str(w.message)]
print(len(ours), native.status()["backend"], ours[0].message if ours else "")
"""


def python(code, **environment):
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=250,
    )


def test_without_a_compiler_the_reference_answers_and_one_warning_says_why(tmp_path):
    done = python(
        SEARCH,
        CXX="no-such-compiler",
        SEMICON_FAST_CACHE=str(tmp_path),
        SEMICON_FAST_BACKEND="auto",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 reference semicon_fast: the native kernels cannot be built")
    assert "no-such-compiler" in done.stdout and "apt install g++" in done.stdout


def test_backend_native_makes_a_missing_compiler_an_error(undecided, monkeypatch):
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "native")
    monkeypatch.setenv("CXX", "no-such-compiler")
    for _ in range(2):
        with pytest.raises(NativeBuildError, match="not on PATH.*name yours in CXX"):
            native.load()


def test_a_compiler_that_does_not_run_is_named(undecided, monkeypatch):
    monkeypatch.setenv("CXX", "false")
    with pytest.warns(RuntimeWarning, match="'false --version' fails.*CXX.*slower PyTorch path"):
        assert native.load() is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert native.load() is False
    assert "false" in native.status()["reason"]


def test_a_missing_ninja_is_named(undecided, monkeypatch):
    monkeypatch.setattr(toolchain, "_ninja_folder", lambda: None)
    monkeypatch.setattr(toolchain, "output_of", lambda command: "")
    monkeypatch.setattr(toolchain.shutil, "which", lambda command: "/bin/" + command)
    with pytest.warns(RuntimeWarning, match="ninja is missing. Install it"):
        assert native.load() is False


def test_backend_reference_builds_nothing(undecided, monkeypatch):
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "reference")
    monkeypatch.setattr(CPU, "build", lambda: pytest.fail("built"))
    assert native.load() is False
    assert native.status()["reason"] == "SEMICON_FAST_BACKEND is reference"


@pytest.mark.parametrize("name", ["SEMICON_FAST_BACKEND", "SEMICON_FAST_ISA"])
def test_a_misspelt_setting_is_refused(undecided, monkeypatch, name):
    monkeypatch.setenv(name, "fastest")
    with pytest.raises(ValueError, match=f"{name} must be one of auto, .*got 'fastest'"):
        native.load()


def test_an_instruction_set_of_another_machine_is_refused(isas):
    missing = next(isa for isa in native.ISAS if isa not in ("auto", *isas))
    with pytest.raises(ValueError, match=f"of this machine .auto, .*scalar.*, got '{missing}'"):
        native.use_isa(missing)


def test_status_never_builds(undecided, monkeypatch):
    monkeypatch.setattr(CPU, "build", lambda: pytest.fail("built"))
    found = native.status()
    assert found["backend"] == "reference" and found["library"] is None
    assert "not built yet" in found["reason"]


def test_status_names_the_library_that_serves(isas):
    found = native.status()
    assert found["backend"] == "native" and found["reason"] is None
    assert Path(found["library"]).is_file() and found["isa"] in isas


def test_the_cache_folder_follows_sources_flags_and_torch(monkeypatch, tmp_path):
    monkeypatch.setenv("SEMICON_FAST_CACHE", str(tmp_path))
    sources = tmp_path / "csrc"
    (sources / "common").mkdir(parents=True)
    (sources / "hamming" / "isa").mkdir(parents=True)
    monkeypatch.setattr(build, "csrc", lambda: sources)
    (sources / "hamming" / "isa" / "a.cpp").write_text("int a;")
    folders = [CPU.folder()]
    (sources / "hamming" / "isa" / "a.cpp").write_text("int b;")
    folders.append(CPU.folder())
    (sources / "common" / "a.h").write_text("int h;")
    folders.append(CPU.folder())
    monkeypatch.setattr(build, "FLAGS", ("-O2",))
    folders.append(CPU.folder())
    monkeypatch.setattr(build.torch, "__version__", "9.9")
    folders.append(CPU.folder())
    assert len(set(folders)) == 5 and all(f.parent == tmp_path for f in folders)


def test_a_compile_error_is_quoted_and_logged(undecided, monkeypatch, tmp_path):
    source = tmp_path / "broken.cpp"
    source.write_text("int broken( {\n")
    monkeypatch.setattr(CPU, "sources", lambda: [source])
    monkeypatch.setattr(CPU, "name", "semicon_fast_broken")
    with pytest.warns(RuntimeWarning, match=r"broken.cpp:1.*error.*SEMICON_FAST_BACKEND=reference"):
        assert native.load() is False
    assert "broken.cpp" in (CPU.folder() / "build.log").read_text()


def test_a_damaged_library_is_a_sentence(undecided, monkeypatch):
    folder = CPU.folder()
    folder.mkdir()
    (folder / build._MARK).write_text("{}")
    (folder / "semicon_fast_native.so").write_bytes(b"no library")
    with pytest.warns(RuntimeWarning, match="does not load with torch .*Delete its folder"):
        assert native.load() is False


def test_a_damaged_library_built_ahead_asks_for_another_install(undecided, monkeypatch, tmp_path):
    key = CPU.folder().name
    (tmp_path / CPU.prebuilt).write_text(f'{{"key": "{key}", "library": "_native.so"}}')
    (tmp_path / "_native.so").write_bytes(b"no library")
    sources = build.csrc()
    monkeypatch.setattr(build, "csrc", lambda: sources)
    monkeypatch.setattr(build, "_PACKAGE", tmp_path)
    with pytest.warns(RuntimeWarning, match="does not load .* Install semicon_fast again"):
        assert native.load() is False


def test_a_disk_that_fills_up_while_building_is_a_sentence(pretended, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "atomic_write", full)
    with pytest.warns(RuntimeWarning, match="cannot be stored: .*No space.*SEMICON_FAST_CACHE"):
        assert native.load() is False


@pytest.mark.parametrize("same", [True, False])
def test_what_was_built_ahead_serves_only_its_own_torch_and_sources(
    undecided, monkeypatch, tmp_path, caplog, same
):
    sources = build.csrc()
    key = CPU.folder().name if same else "torch1.0-cpu-x86_64-000000000000"
    (tmp_path / CPU.prebuilt).write_text(f'{{"key": "{key}", "library": "_native.so"}}')
    monkeypatch.setattr(build, "_PACKAGE", tmp_path)
    monkeypatch.setattr(build, "_load", lambda path, cure: path)
    monkeypatch.setattr(build, "csrc", lambda: sources)
    assert CPU.load_prebuilt() == (tmp_path / "_native.so" if same else None)
    assert ("built ahead of time as torch1.0" in caplog.text) is not same


def test_builders_at_once_build_once(pretended):
    found = []
    builders = [threading.Thread(target=lambda: found.append(CPU.build())) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(pretended) == 1 and len(found) == 4 and len(set(found)) == 1


def test_a_killed_builder_leaves_nothing_to_wait_for(pretended):
    folder = CPU.folder()
    folder.mkdir(parents=True)
    (folder / "lock").write_text("")  # what older versions of torch leave behind
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from filelock import FileLock\n"
            "with FileLock(sys.argv[1]): print('held', flush=True); time.sleep(600)",
            str(folder) + ".lock",
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"held\n"
    waiting = threading.Thread(target=CPU.build)
    waiting.start()
    time.sleep(0.3)
    assert not pretended, "built although another process held the lock"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    waiting.join(20)
    assert len(pretended) == 1 and not waiting.is_alive()
    assert not (folder / "lock").exists()


def test_a_build_that_failed_is_not_taken_for_a_library(pretended, monkeypatch):
    def fail(folder):
        (folder / "semicon_fast_native.so").write_bytes(b"half")
        raise NativeBuildError("semicon_fast: disk full.")

    works = CPU.compile_and_load
    monkeypatch.setattr(CPU, "compile_and_load", fail)
    with pytest.raises(NativeBuildError):
        CPU.build()
    monkeypatch.setattr(CPU, "compile_and_load", works)
    CPU.build()
    assert len(pretended) == 1


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root writes everywhere")
def test_a_cache_that_cannot_be_written_moves_to_the_temporary_files(pretended, tmp_path, caplog):
    tmp_path.chmod(0o500)
    assert str(tmp_path) not in str(CPU.build())
    assert "read-only" in caplog.text and "kept in" in caplog.text
