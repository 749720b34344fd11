"""The native kernels, built once into the user's own cache; skipped where they cannot be had."""

import time

import pytest
import torch

from semicon_fast import native
from semicon_fast.native import build
from semicon_fast.native.build import CPU
from semicon_fast.ops import hamming  # noqa: F401 - defines the operations that are called below


@pytest.fixture(scope="session")
def isas():
    """Names of the instruction sets of this machine, fastest first."""
    if native.backend() == "reference":
        pytest.skip("SEMICON_FAST_BACKEND is reference")
    if not native.load():
        pytest.skip(f"no native kernels: {native.status()['reason']}")
    return native.status()["isas"]


@pytest.fixture
def each_isa(isas):
    """Call it to go through the instruction sets; the machine's choice is restored afterwards."""
    before = native.status()["isa"]

    def go():
        for isa in isas:
            native.use_isa(isa)
            yield isa

    yield go
    native.use_isa(before)


@pytest.fixture
def threads():
    """Set the number of threads; restored afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _codes(rows, width, *, seed, distinct=None, layout="whole"):
    """uint8 (rows, width). distinct: draw from so few codes; layout: how they lie in memory."""
    generator = torch.Generator().manual_seed(seed)

    def draw(n, w):
        return torch.randint(0, 256, (n, w), dtype=torch.uint8, generator=generator)

    if distinct:
        whole = draw(distinct, width)[torch.randint(distinct, (rows,), generator=generator)]
    else:
        whole = draw(rows, width)
    if layout == "columns of a wider table":
        wide = draw(rows, width + 5)
        wide[:, 2 : 2 + width] = whole
        return wide[:, 2 : 2 + width]
    if layout == "every second row":
        table = draw(2 * rows, width)
        table[::2] = whole
        return table[::2]
    if layout == "transposed":
        return whole.T.contiguous().T
    if layout == "one row for all":
        return draw(1, width).expand(rows, width)
    if layout == "odd address":
        flat = torch.zeros(rows * width + 1, dtype=torch.uint8)
        flat[1:] = whole.flatten()
        return flat[1:].view(rows, width)
    return whole


@pytest.fixture(scope="session")
def codes():
    return _codes


@pytest.fixture
def undecided(monkeypatch, tmp_path):
    """As if nothing had been loaded yet, with an empty cache."""
    for name, value in (("decided", False), ("library", None), ("error", None), ("reason", None)):
        monkeypatch.setattr(native._CPU, name, value)
    monkeypatch.setenv("SEMICON_FAST_CACHE", str(tmp_path))
    monkeypatch.delenv("SEMICON_FAST_BACKEND", raising=False)


@pytest.fixture
def pretended(undecided, monkeypatch):
    """Building takes a moment and makes a file; loading is left out. -> how often it was built."""
    built = []

    def compile_and_load(folder):
        built.append(folder)
        time.sleep(0.3)
        (folder / "semicon_fast_native.so").write_bytes(b"")

    monkeypatch.setattr(CPU, "problem", lambda: None)
    monkeypatch.setattr(CPU, "compile_and_load", compile_and_load)
    monkeypatch.setattr(build, "_load", lambda path, cure: path)
    return built
