"""The kernels' tests under Triton's interpreter, which must be chosen before Triton is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
MODULES = ["test_icon_attention.py", "test_icon_normed.py", "test_sem_mask.py"]

pytest.importorskip("triton")


def run_interpreted(modules, marks):
    """Run the modules' tests of the given marks in a process of their own."""
    files = [str(FOLDER / module) for module in modules]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-m", marks, *files],
        env={**os.environ, "TRITON_INTERPRET": "1"},
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
@pytest.mark.parametrize("module", MODULES)
def test_every_shape_gives_the_answers_of_the_reference_when_interpreted(module):
    run_interpreted([module], "slow")
