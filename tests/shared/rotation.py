"""`pytest -m slow --rotate N --budget SECONDS`: as many of the selected tests as there is time for.

Where the list begins depends on N, say the number of the day. What is not begun in time is skipped
with the reason and counted in the summary; what fails, fails. A budget does not interrupt a test,
so those that may take longer than 15 minutes by their own `timeout` are skipped too.
"""

import math
import time

import pytest

# Starts at N times this fraction of the list are spread most evenly, however many there are.
GOLDEN = (math.sqrt(5) - 1) / 2
NOT_RUN = "not run: the budget of {:g} s was used up"
LONGEST = 900
TOO_LONG = "not run within a budget: it may take {:g} s"


def pytest_addoption(parser):
    group = parser.getgroup("rotation", "a part of the tests within a budget")
    group.addoption("--rotate", type=int, metavar="N", help="begin at another test for each N")
    group.addoption("--budget", type=float, metavar="SECONDS", help="begin no test after these")


def pytest_configure(config):
    budget = config.getoption("budget")
    if budget is not None:
        config.pluginmanager.register(Budget(budget))


@pytest.hookimpl(trylast=True)  # after -m and -k have taken their choice
def pytest_collection_modifyitems(config, items):
    turn = config.getoption("rotate")
    if turn is not None and items:
        start = int(turn * GOLDEN % 1 * len(items))
        items[:] = items[start:] + items[:start]


class Budget:
    """Skips what would begin too late."""

    def __init__(self, seconds):
        self.seconds, self.until = seconds, None

    def pytest_collection_finish(self):
        self.until = time.monotonic() + self.seconds

    @pytest.hookimpl(tryfirst=True)  # before any fixture is made
    def pytest_runtest_setup(self, item):
        own = item.get_closest_marker("timeout")
        if own is not None and own.args and own.args[0] > LONGEST:
            pytest.skip(TOO_LONG.format(own.args[0]))
        if time.monotonic() >= self.until:
            pytest.skip(NOT_RUN.format(self.seconds))

    def pytest_terminal_summary(self, terminalreporter):
        skipped = terminalreporter.stats.get("skipped", [])
        reasons = (NOT_RUN.format(self.seconds), TOO_LONG.partition("{")[0])
        left = sum(any(r in str(report.longrepr) for r in reasons) for report in skipped)
        terminalreporter.write_line(f"{left} tests were not run within {self.seconds:g} s")
