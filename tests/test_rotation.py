"""The slow tests that are run within a budget: all come round, none is taken for run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rotation

SHARED = str(Path(__file__).with_name("shared"))
# A test that takes longer than any budget, on a clock of the test's own.
TESTS = """
import types, pytest, rotation

@pytest.mark.parametrize("number", range(8))
def test_number(number):
    if number == {long}:
        rotation.time = types.SimpleNamespace(monotonic=lambda: float("inf"))
    assert number != {wrong}
"""


@pytest.fixture
def rotated(tmp_path):
    """Runs eight tests -> (exit code, numbers of those that passed in order, what is printed)."""

    def run(*options, long=-1, wrong=-1):
        (tmp_path / "test_eight.py").write_text(TESTS.format(long=long, wrong=wrong))
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        environment = {"PYTHONPATH": SHARED, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "rotation", *options],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        passed = re.findall(r"test_number\[(\d)\] PASSED", done.stdout)
        return done.returncode, list(map(int, passed)), done.stdout

    return run


def test_another_turn_begins_elsewhere_and_all_are_run(rotated):
    assert rotated("--rotate", "1", "--budget", "60")[:2] == (0, [4, 5, 6, 7, 0, 1, 2, 3])


def test_what_begins_too_late_is_skipped_and_counted(rotated):
    code, passed, said = rotated("--rotate", "1", "--budget", "60", long=6)
    assert (code, passed) == (0, [4, 5, 6])
    assert "5 tests were not run within 60 s" in said and "3 passed, 5 skipped" in said
    assert "not run: the budget of 60 s was used up" in said


def test_a_failure_is_one_also_when_the_rest_is_not_run(rotated):
    code, passed, said = rotated("--budget", "60", long=2, wrong=2)
    assert (code, passed) == (1, [0, 1]) and "1 failed, 2 passed, 5 skipped" in said


class Turn:
    """A configuration that knows nothing but --rotate."""

    def __init__(self, turn):
        self.turn = turn

    def getoption(self, name):
        return self.turn


@pytest.mark.parametrize("count", [1, 2, 10, 615])
def test_over_the_days_every_test_comes_first(count):
    firsts = set()
    for day in range(20_000, 20_000 + 2 * count):
        items = list(range(count))
        rotation.pytest_collection_modifyitems(Turn(day), items)
        first = items[0]
        assert items == [*range(first, count), *range(first)]
        firsts.add(first)
    assert len(firsts) == count


def test_nothing_selected_is_nothing_rotated():
    items = []
    rotation.pytest_collection_modifyitems(Turn(1), items)
    assert items == []


def test_what_may_take_longer_than_a_budget_is_left_out(tmp_path, rotated):
    marked = "\n@pytest.mark.timeout(1800)\ndef test_long():\n    assert False\n"
    (tmp_path / "conftest.py").write_text(
        "def pytest_configure(config):\n"
        '    config.addinivalue_line("markers", "timeout(seconds): limit")\n'
    )
    (tmp_path / "test_marked.py").write_text("import pytest\n" + marked)
    code, passed, said = rotated("--budget", "60")
    assert code == 0 and passed == list(range(8))
    assert "it may take 1800 s" in said and "1 tests were not run" in said
    assert rotated()[0] == 1
