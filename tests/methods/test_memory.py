"""The objective at a million images: no n x N matrix at any time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [(), ("--images", "100000", "--classes", "30", "--labels", "3")],
    ids=["one label", "three labels"],
)
def test_loss_and_update_at_full_size_stay_below_1536_mib(options):
    script = ROOT / "benchmarks" / "loss_and_codes.py"
    run = subprocess.run(
        [sys.executable, str(script), *options],
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    peak = re.search(r"peak memory of the process +(\d+) MiB", run.stdout)
    assert peak is not None and int(peak[1]) < 1536, run.stdout
