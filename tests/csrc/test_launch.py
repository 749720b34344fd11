"""Launches of CUDA kernels from several threads and on several devices, over a record of the CUDA
runtime, which refuses what a device would refuse."""

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CSRC = TESTS.parent.parent / "csrc"
DEVICE = CSRC / "cuda" / "device.cuh"

# What is changed in device.cuh, and what is then said.
MUTANTS = {
    "each launch sets the limit to what it needs itself": (
        "allow_shared_memory(entry);",
        "check(cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize,"
        " static_cast<int>(shared_bytes)));",
        "wrong: ",  # one of two things, as the threads happen to run
    ),
    "a limit is raised again and again": (
        "  if (raised.count({kernel, device})) return;\n",
        "",
        "raised more than once",
    ),
    "one device's limit is taken for all": (
        "raised.count({kernel, device})",
        "raised.count({kernel, 0})",
        "invalid argument",
    ),
    "an error is left behind": ("    cudaGetLastError();\n", "", "left for whoever asks next"),
}
FIRST = list(MUTANTS)[0:3:2]


def built(folder, header=None):
    """The check as a program, with another device.cuh if `header` is given."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    (folder / "cuda").mkdir()
    (folder / "cuda" / "device.cuh").write_text(header or DEVICE.read_text())
    program = folder / "check-launch"
    include = [f"-I{at}" for at in (folder / "cuda", TESTS / "runtime", CSRC / "cuda", CSRC)]
    command = [compiler, "-std=c++17", "-O1", "-w", "-pthread", *include]
    subprocess.run([*command, TESTS / "check_launch.cpp", "-o", program], check=True)
    return program


def run(program):
    return subprocess.run([program], capture_output=True, text=True, timeout=60)


def test_launches_raise_a_limit_once_and_lower_none(tmp_path):
    done = run(built(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FIRST else pytest.mark.slow) for n in MUTANTS]
)
def test_a_mistake_in_launching_is_caught(tmp_path, name):
    old, new, said = MUTANTS[name]
    text = DEVICE.read_text()
    assert text.count(old) == 1, "device.cuh has no longer one place to change"
    done = run(built(tmp_path, text.replace(old, new)))
    assert done.returncode != 0 and said in done.stdout + done.stderr, f"not caught: {name}"
