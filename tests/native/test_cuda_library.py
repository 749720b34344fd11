"""The library for CUDA: what it is built for, what keeps it from being built, and that it loads."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from semicon_fast import native
from semicon_fast.native import NativeBuildError, cuda, toolchain
from semicon_fast.native.build import CPU
from semicon_fast.native.cuda import CUDA, targets

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ("distance", "topk", "topk_out", "range", "histogram", "group_histogram", "ranks")


@pytest.fixture
def undecided(monkeypatch, tmp_path):
    """As if nothing had been loaded yet, with an empty cache and one device that fits."""
    for name, value in (("decided", False), ("library", None), ("error", None), ("reason", None)):
        monkeypatch.setattr(native._CUDA, name, value)
    monkeypatch.setenv("SEMICON_FAST_CACHE", str(tmp_path))
    monkeypatch.delenv("SEMICON_FAST_BACKEND", raising=False)
    for module in (cuda, native):
        monkeypatch.setattr(module, "devices", lambda: [90])
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(toolchain, "compiler_problem", lambda: None)


@pytest.mark.parametrize(
    "wanted, known, code, ptx",
    [
        ([], [75, 80, 86, 90, 100], ["80", "90"], "90"),
        ([80], [75, 80, 86, 90], ["80"], "80"),
        ([75, 86, 90], [75, 80, 86, 90], ["86", "90"], "90"),
        ([120], [75, 80, 86, 90], [], "90"),  # newer than nvcc: PTX of the newest it knows
        ([86, 120], [75, 80, 86, 90], ["86"], "86"),
    ],
)
def test_devices_get_machine_code_and_newer_ones_ptx(wanted, known, code, ptx):
    flags = [f"-gencode=arch=compute_{c},code=sm_{c}" for c in code]
    assert targets(wanted, known) == [*flags, f"-gencode=arch=compute_{ptx},code=compute_{ptx}"]


@pytest.mark.parametrize(
    "change, words",
    [
        ((torch.version, "cuda", None), "is not built with CUDA. Install a torch that is"),
        ((cuda, "devices", lambda: [70, 75]), "has compute capability 7.5, and 8.0 is needed"),
        (
            (toolchain, "nvcc", lambda: None),
            "there is no nvcc .*Install the CUDA toolkit 13.0",
        ),
        ((toolchain, "output_of", lambda *a: None), "'/x/nvcc' is not a working nvcc"),
        (
            (toolchain, "output_of", lambda *a: "nvcc: release 12.4, V12.4.1"),
            "'/x/nvcc' is release 12.4, and torch was built with 13.0",
        ),
    ],
)
def test_what_is_missing_is_said_once_and_the_reference_serves(
    undecided, monkeypatch, change, words
):
    monkeypatch.setattr(toolchain, "nvcc", lambda: "/x/nvcc")
    monkeypatch.setattr(*change)
    with pytest.warns(RuntimeWarning, match=f"CUDA kernels cannot be built: .*{words}") as seen:
        assert native.load_cuda() is False
    assert "Until then CUDA takes the slower PyTorch path." in str(seen[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert native.load_cuda() is False
    monkeypatch.setenv("SEMICON_FAST_BACKEND", "native")
    with pytest.raises(NativeBuildError, match=words):
        native.load_cuda()


def test_an_nvcc_of_another_minor_release_will_do(undecided, monkeypatch):
    monkeypatch.setattr(toolchain, "nvcc", lambda: "/x/nvcc")
    monkeypatch.setattr(toolchain, "output_of", lambda *a: "nvcc: release 13.9, V13.9.1")
    assert CUDA.problem() is None


def test_status_says_what_serves_and_why(undecided, monkeypatch):
    monkeypatch.setattr(toolchain, "nvcc", lambda: None)
    found = native.cuda_status()
    assert found["backend"] == "reference" and found["capabilities"] == ["9.0"]
    assert "there is no nvcc" in found["reason"]
    monkeypatch.setattr(CUDA, "problem", lambda: None)
    reason = native.cuda_status()["reason"]
    assert reason == "not built yet: the first search on a CUDA device builds it"
    monkeypatch.setattr(native, "devices", lambda: [])
    found = native.cuda_status()
    assert found["backend"] is None and found["reason"] == "no CUDA device is visible"


def test_the_libraries_are_kept_apart_and_by_device(undecided, monkeypatch):
    one = CUDA.folder()
    monkeypatch.setattr(cuda, "devices", lambda: [80, 90])
    two = CUDA.folder()
    assert one != two and two.name.endswith("-sm80-sm90")
    assert CUDA.key() != CPU.key() and CUDA.name != CPU.name
    assert not any("cuda" in str(path.relative_to(ROOT)) for path in CPU.sources())
    assert "bindings.cpp" in [path.name for path in CUDA.sources()]
    assert CUDA.prebuilt != CPU.prebuilt


LOAD = """
import json
import torch
from semicon_fast import native, ops
from semicon_fast.native.cuda import CUDA
CUDA.load_or_build()
zeros = torch.zeros(2, 3, dtype=torch.uint8)
has = torch._C._dispatch_has_kernel_for_dispatch_key
names = [f"hamming_{name}" for name in %r]
print(json.dumps({
    "cuda": [has(f"semicon_fast::{name}", "CUDA") for name in names],
    "paths": torch.ops.semicon_fast._cuda_paths(),
    "near": ops.hamming_topk(zeros, zeros + 1, 1)[0].tolist(),
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_library_compiles_and_loads_where_no_device_is():
    if (problem := CUDA.problem()) is not None:
        pytest.skip(problem[0])
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", LOAD % (OPERATIONS,)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["cuda"] == [True] * len(OPERATIONS)
    assert found["paths"] == ["automatic", "scan", "popcount", "binary", "int8"]
    assert found["near"] == [[3], [3]]  # the CPU still searches
