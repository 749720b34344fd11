"""Kernels that are built in a thread: progress, and what comes of a failure."""

import time

import pytest

from semicon_fast import native
from semicon_fast.native import NativeBuildError
from semicon_fast.native.build import CPU


def test_the_library_is_there_when_the_build_has_ended(pretended):
    build = native.start_build()
    assert not build.wait(0.01)
    assert build.wait() and len(pretended) == 1
    assert CPU.load_cached(CPU.folder()) is not None


def test_compiled_files_are_counted(pretended):
    build = native.start_build()
    while not CPU.folder().is_dir():
        time.sleep(0.01)
    (CPU.folder() / "topk.o").write_bytes(b"")
    assert build.progress() == (1, len(CPU.sources()))
    build.wait()


def test_an_operator_that_is_called_meanwhile_waits(pretended, monkeypatch):
    monkeypatch.setattr(native, "use_isa", lambda name: None)
    build = native.start_build()
    assert native.load() is True and build.wait(0.5) and len(pretended) == 1


def test_there_is_nothing_to_build_where_kernels_are_there_or_unwanted(pretended, monkeypatch):
    CPU.build()
    monkeypatch.setattr(native, "use_isa", lambda name: None)
    assert native.start_build() is None
    monkeypatch.setattr(native._CPU, "decided", False)
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "reference")
    assert native.start_build() is None
    assert len(pretended) == 1


def test_a_build_that_fails_is_reported_by_the_first_operator(undecided, monkeypatch):
    def fail(folder):
        raise NativeBuildError("no luck")

    monkeypatch.setattr(CPU, "problem", lambda: None)
    monkeypatch.setattr(CPU, "compile_and_load", fail)
    assert native.start_build().wait()
    with pytest.warns(RuntimeWarning, match="no luck"):
        assert native.load() is False
