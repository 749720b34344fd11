"""`pytest -m slow --rotate N --budget SECONDS` runs as many of the selected tests as time allows.

The test to start with depends on N, for example the number of the day. Tests that cannot start in
time are skipped, and counted in the summary; failures are reported as usual. A budget does not
interrupt a test, so those whose own `timeout` allows more than 15 minutes are skipped too.
"""

import math
import time

import pytest

# Multiples of this fraction of the list, modulo its length, are start points that spread evenly.
GOLDEN = (math.sqrt(5) - 1) / 2
NOT_RUN = "not run: the budget of {:g} s was used up"
LONGEST = 900
TOO_LONG = "not run within a budget: it may take {:g} s"


def pytest_addoption(parser):
    group = parser.getgroup("rotation", "a rotating subset of the tests within a time budget")
    group.addoption(
        "--rotate", type=int, metavar="N", help="start with a different test for each N"
    )
    group.addoption("--budget", type=float, metavar="SECONDS", help="start no test after this time")


def pytest_configure(config):
    budget = config.getoption("budget")
    if budget is not None:
        config.pluginmanager.register(Budget(budget))


@pytest.hookimpl(trylast=True)  # after the selection by -m and -k
def pytest_collection_modifyitems(config, items):
    number = config.getoption("rotate")
    if number is not None and items:
        start = int(number * GOLDEN % 1 * len(items))
        items[:] = items[start:] + items[:start]


class Budget:
    """Skips the tests that would start after the time budget is used up."""

    def __init__(self, seconds):
        self.seconds, self.deadline = seconds, None

    def pytest_collection_finish(self):
        self.deadline = time.monotonic() + self.seconds

    @pytest.hookimpl(tryfirst=True)  # before any fixture is set up
    def pytest_runtest_setup(self, item):
        own = item.get_closest_marker("timeout")
        if own is not None and own.args and own.args[0] > LONGEST:
            pytest.skip(TOO_LONG.format(own.args[0]))
        if time.monotonic() >= self.deadline:
            pytest.skip(NOT_RUN.format(self.seconds))

    def pytest_terminal_summary(self, terminalreporter):
        skipped = terminalreporter.stats.get("skipped", [])
        reasons = (NOT_RUN.format(self.seconds), TOO_LONG.partition("{")[0])
        left = sum(any(r in str(report.longrepr) for r in reasons) for report in skipped)
        terminalreporter.write_line(f"{left} tests were not run within {self.seconds:g} s")
