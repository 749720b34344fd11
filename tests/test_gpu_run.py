"""The plan for half an hour of a GPU: its limits, what it proves, and a dry run of every part."""

import csv
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu_run.sh"


def run(*arguments, **variables):
    environment = {**os.environ, "PYTHON": sys.executable, **variables}
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, env=environment)


def steps():
    """(part, step, seconds)"""
    lines = [line.split() for line in run("--list").stdout.splitlines()]
    return [(int(part), step, int(limit)) for part, step, limit in lines]


def test_every_part_ends_within_eight_minutes_and_all_within_half_an_hour():
    limits = Counter()
    for part, _, limit in steps():
        limits[part] += limit
    assert set(limits) == {1, 2, 3, 4, 5} and max(limits.values()) <= 480
    assert sum(limits.values()) <= 1740


def test_what_is_unproven_names_steps_that_there_are():
    text = (ROOT / "benchmarks" / "results" / "UNPROVEN.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    named = {s for row in rows for s in re.findall(r"[a-z-]*[a-z]", row.rsplit(" | ", 1)[1])}
    assert rows and named and named <= {step for _, step, _ in steps()}


def test_a_line_goes_when_its_steps_and_its_files_passed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import gpu_results

    part = tmp_path / "part1"
    part.mkdir()
    (part / "steps.csv").write_text("step,status,seconds,dry\na,0,1,\nb,124,1,\n")
    outcomes = "tests/x.py::t,passed,1,gpu\ntests/y.py::t,skipped,1,gpu\n"
    (part / "a.csv").write_text("test,outcome,seconds,marks\n" + outcomes)
    brought = gpu_results.Brought([tmp_path], dry=False)
    lines = ["passed | `pytest tests/x.py` | a", "skipped | `pytest tests/y.py` | a"]
    lines += ["stopped | `x` | b", "both | `x` | a, b", "never | `x` | -", "speed | `x.py` | a"]
    text, proven = gpu_results.shortened("".join(f"| {line} |\n" for line in lines), brought)
    assert proven == ["passed", "speed"] and "skipped" in text and text.count("\n") == 4
    with pytest.raises(SystemExit, match="is of a device"):
        gpu_results.Brought([tmp_path], dry=True)


def test_an_unknown_part_is_refused():
    done = run("7")
    assert done.returncode == 2 and "parts from 1 to 6, got 7" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_dry_run_goes_through_every_part(tmp_path):
    done = run("--dry", OUT=str(tmp_path))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    ended = {}
    for part in range(1, 6):
        with (tmp_path / f"part{part}" / "steps.csv").open() as file:
            ended |= {row["step"]: row["status"] for row in csv.DictReader(file)}
    assert set(ended) >= {step for _, step, _ in steps()} and set(ended.values()) == {"0"}
