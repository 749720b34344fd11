"""Kernels that are built beside other work: who serves meanwhile, and what comes of a failure."""

import time

import pytest

from semicon_fast import native
from semicon_fast.native import NativeBuildError
from semicon_fast.native.build import CPU


def test_the_reference_serves_until_the_block_ends(pretended):
    with native.built_in_background() as build:
        assert native.load() is False
        assert build.progress()[1] == len(CPU.sources())
        while not build.done:
            time.sleep(0.01)
        assert native.load() is False, "what is computed must not depend on the compiler's time"
    assert len(pretended) == 1
    assert CPU.load_cached(CPU.folder()) is not None


def test_compiled_files_are_counted(pretended):
    with native.built_in_background() as build:
        while not CPU.folder().is_dir():
            time.sleep(0.01)
        (CPU.folder() / "topk.o").write_bytes(b"")
        assert build.progress() == (1, len(CPU.sources()))


def test_the_end_of_the_block_waits_but_an_error_does_not(pretended):
    with native.built_in_background() as build:
        assert not build.wait(0.01)
    assert build.done
    (CPU.folder() / "build.json").unlink()
    with pytest.raises(KeyboardInterrupt), native.built_in_background() as build:
        raise KeyboardInterrupt
    assert not build.done
    build.wait()


def test_there_is_nothing_to_build_where_kernels_are_there_or_unwanted(pretended, monkeypatch):
    CPU.build()
    monkeypatch.setattr(native, "use_isa", lambda name: None)
    with native.built_in_background() as build:
        assert build is None
    monkeypatch.setattr(native._CPU, "decided", False)
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "reference")
    with native.built_in_background() as build:
        assert build is None
    assert len(pretended) == 1


def test_a_build_that_fails_is_reported_by_the_first_operator(undecided, monkeypatch):
    def fail(folder):
        raise NativeBuildError("no luck")

    monkeypatch.setattr(CPU, "problem", lambda: None)
    monkeypatch.setattr(CPU, "compile_and_load", fail)
    with native.built_in_background() as build:
        build.wait()
    with pytest.warns(RuntimeWarning, match="no luck"):
        assert native.load() is False
