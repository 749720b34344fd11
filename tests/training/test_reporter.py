"""Progress for people: bars on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from semicon_fast.training import RichReporter

EPOCH = {
    "event": "epoch",
    "iteration": 2,
    "epoch": 1,
    "loss": {"hash": 0.5, "total": 0.75},
    "seconds": 3.2,
}


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_of_the_log_are_told_in_words(terminal):
    text = io.StringIO()
    reporter = RichReporter(Console(file=text, force_terminal=terminal, width=200, no_color=True))
    reporter.begin("iteration 2/3", 10, 4)
    reporter.step(5, "loss 0.5")
    reporter.begin("encoding", None)
    reporter.step(1)
    reporter.record(EPOCH)
    reporter.warning("[something] odd")
    reporter.close()
    reporter.close()
    assert "iteration 2, epoch 1: loss hash 0.5000, total 0.7500 (3 s)" in text.getvalue()
    assert "warning: [something] odd" in text.getvalue()
    assert terminal or "\x1b" not in text.getvalue()
