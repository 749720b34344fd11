"""The kernels' tests under Triton's interpreter, which must be chosen before Triton is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
# Modules, and over how many processes their slow tests are spread, none of which takes long.
MODULES = {
    "test_icon_attention.py": 8,
    "test_icon_normed.py": 8,
    "test_sem_mask.py": 1,
    "test_strided_operands.py": 1,
}

pytest.importorskip("triton")


def run_interpreted(modules, marks, share="0/1"):
    """Run the modules' tests of the given marks, or a share of them, in a process of their own."""
    files = [str(FOLDER / module) for module in modules]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-m", marks, *files],
        env={**os.environ, "TRITON_INTERPRET": "1", "KERNEL_TESTS": share},
        cwd=FOLDER.parent.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-500:]


@pytest.mark.timeout(900)
def test_kernels_give_the_answers_of_the_reference_when_interpreted():
    run_interpreted(MODULES, "not slow and not gpu")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("module", "share"), [(m, f"{i}/{parts}") for m, parts in MODULES.items() for i in range(parts)]
)
def test_every_shape_gives_the_answers_of_the_reference_when_interpreted(module, share):
    run_interpreted([module], "slow", share)
