"""`pytest --outcomes FILE` writes a line for each test as soon as it has ended, so that a run that
is stopped leaves what it had."""

import csv

COLUMNS = ["test", "outcome", "seconds", "marks"]


def pytest_addoption(parser):
    group = parser.getgroup("outcomes", "outcomes of tests in a file")
    group.addoption("--outcomes", metavar="FILE", help="write a line a test to this CSV file")


def pytest_configure(config):
    # Workers of pytest-xdist report to the process that started them, which writes.
    if config.getoption("outcomes") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(config.getoption("outcomes")))


class Outcomes:
    def __init__(self, path):
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._write(COLUMNS)

    def _write(self, line):
        self._writer.writerow(line)
        self._file.flush()

    def pytest_runtest_logreport(self, report):
        """Of a test that passes its call counts; of others, whatever failed or was skipped."""
        if report.when == "call" or report.outcome != "passed":
            marks = " ".join(sorted({"gpu", "slow"} & set(report.keywords)))
            self._write([report.nodeid, report.outcome, f"{report.duration:.2f}", marks])

    def pytest_unconfigure(self):
        self._file.close()
