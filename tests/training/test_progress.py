"""What a run says of its reports: what it will do, how far it is, how long the rest takes."""

import io

import pytest
from rich.console import Console

from semicon_fast.training import Interrupted, Reporter, RichReporter, Trainer, progress
from semicon_fast.training.progress import EVALUATION, UPDATE, Remaining, RunProgress
from semicon_fast.training.reporter import Overall, about, listed


class Clock:
    """Goes on when told to, or by `step` seconds each time it is read."""

    def __init__(self, step=0.0):
        self.now, self.step = 0.0, step

    def __call__(self):
        self.now += self.step
        return self.now


class Reports(Reporter):
    """Remembers what it was told."""

    def __init__(self):
        self.notices, self.told = [], []

    def notice(self, text):
        self.notices.append(text)

    def overall(self, overall):
        self.told.append(overall)


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "clock", made)
    return made


def batches(run, clock, count, seconds):
    run.start_epoch()
    for _ in range(count):
        clock.now += seconds
        run.batch()


def fit(tiny, folder, *settings, **options):
    return Trainer(tiny.config(*settings), tiny.data(), output=folder, **options).fit()


def test_the_first_line_says_what_will_be_done(tiny, tmp_path):
    reports = Reports()
    fit(tiny, tmp_path, reporter=reports)
    assert reports.notices == [
        "tiny: 30 training images (3 of them held out), 12 queries, 3 classes; 3 iterations, each "
        "on 20 images, of 2 epochs of 3 batches, on cpu with 1 thread"
    ]


def test_all_batches_of_the_run_are_counted_and_a_resumed_run_starts_where_it_was(tiny, tmp_path):
    whole, first, second = Reports(), Reports(), Reports()
    fit(tiny, tmp_path / "whole", reporter=whole)
    assert {told.total for told in whole.told} == {18}
    assert sorted({told.done for told in whole.told}) == list(range(19))
    with pytest.raises(Interrupted):
        fit(tiny, tmp_path / "cut", reporter=first, stop=tiny.StopAfter(4))
    fit(tiny, tmp_path / "cut", reporter=second, resume=True)
    stopped = first.told[-1]
    assert second.told[0].done == stopped.done == 5
    assert second.told[0].seconds > first.told[0].seconds
    assert sorted({told.done for told in second.told}) == list(range(5, 19))
    assert second.notices[-1].endswith("; 5 of 18 batches are done")


def test_at_the_end_nothing_is_left_but_the_final_encoding(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "clock", Clock(step=5.0))
    reports = Reports()
    fit(tiny, tmp_path, "schedule.iterations=9", reporter=reports)
    last = reports.told[-1]
    assert last.done == last.total and last.unmeasured == ()
    # 12 queries and 30 database images, at the rate of the 3 images of an evaluation.
    assert last.left == pytest.approx(42 / 3 * 5.0)
    assert sum("s per batch)" in text for text in reports.notices) == 1


def test_the_estimate_comes_after_ten_batches_or_fifteen_seconds_whichever_is_later(clock):
    reports = Reports()
    run = RunProgress(reports, Remaining(1000, 0, {}, 0))
    clock.now += 300  # the first batch builds and compiles
    batches(run, clock, 11, 1.0)
    assert not reports.notices and reports.told[-1].left is None
    batches(run, clock, 5, 1.0)
    assert reports.notices == [
        "about 16 minutes left (1.00 s per batch), not counting the final encoding"
    ]
    assert reports.told[-1].left == pytest.approx(984)
    batches(run, clock, 50, 1.0)
    assert len(reports.notices) == 1


def test_slow_batches_give_an_estimate_after_a_minute(clock):
    reports = Reports()
    run = RunProgress(reports, Remaining(100, 0, {}, 0))
    batches(run, clock, 2, 40.0)
    assert not reports.notices
    batches(run, clock, 1, 40.0)
    assert reports.notices[0].startswith("about 65 minutes left (40 s per batch)")


def test_the_first_batch_of_a_process_is_not_measured_nor_what_lies_between_epochs(clock):
    reports = Reports()
    run = RunProgress(reports, Remaining(100, 40, {}, 0))
    batches(run, clock, 1, 500.0)
    clock.now += 77
    batches(run, clock, 20, 2.0)
    assert reports.told[-1].left == pytest.approx((60 - 21) * 2.0)


def test_evaluations_and_updates_enter_once_one_was_seen_and_are_named_before(clock):
    reports = Reports()
    run = RunProgress(reports, Remaining(100, 0, {UPDATE: 4, EVALUATION: 4}, 300))
    batches(run, clock, 21, 1.0)
    assert "not counting code updates and evaluations" in reports.notices[0]
    assert reports.told[-1].unmeasured == ("code updates", "evaluations")
    with run.measure(UPDATE):
        clock.now += 7
    assert reports.told[-1].left == pytest.approx(79 + 3 * 7)
    assert reports.told[-1].unmeasured == ("evaluations",)
    with run.measure(EVALUATION):
        run.encodes(60)
        clock.now += 6
    run.encodes(300)  # what is encoded after it has no part in its rate
    assert reports.told[-1].left == pytest.approx(79 + 3 * 7 + 3 * 6 + 300 * 6 / 60)
    assert reports.told[-1].unmeasured == ()


def test_a_piece_that_was_stopped_is_not_measured(clock):
    run = RunProgress(Reports(), Remaining(10, 0, {UPDATE: 1}, 0))
    with pytest.raises(KeyboardInterrupt), run.measure(UPDATE):
        raise KeyboardInterrupt
    assert "code updates" in run.unmeasured()


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0, "a few seconds"),
        (9, "about 10 seconds"),
        (94, "about 90 seconds"),
        (95, "about 2 minutes"),
        (720, "about 12 minutes"),
        (2.6 * 3600, "about 2.5 hours"),
        (80 * 3600, "about 3.5 days"),
    ],
)
def test_times_to_come_are_said_as_exactly_as_they_are_known(seconds, words):
    assert about(seconds) == words


def test_words_are_listed_as_in_a_sentence():
    assert [listed(["a", "b", "c"][:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def shown(terminal, clock):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=80, no_color=True)
    return text, RichReporter(console, clock)


EPOCH = {"event": "epoch", "iteration": 1, "epoch": 2, "loss": {"total": 0.75}, "seconds": 3.2}


def test_off_a_terminal_lines_end_with_the_time_left_and_silence_is_broken():
    clock = Clock()
    text, reporter = shown(False, clock)
    reporter.begin("iteration 1/3, epoch 2/2", 60)
    reporter.record(EPOCH)
    reporter.overall(Overall(10, 360, 30.0, 720.0, ("evaluations",)))
    reporter.record(EPOCH)
    clock.now = 599.0
    reporter.step(20, "loss 0.5000")
    clock.now = 601.0
    reporter.overall(Overall(21, 360, 30.0, 700.0))
    reporter.step(21)
    reporter.close()
    assert text.getvalue().splitlines() == [
        "iteration 1, epoch 2: loss total 0.7500 (3 s)",
        "iteration 1, epoch 2: loss total 0.7500 (3 s); about 12 minutes left, not counting "
        "evaluations",
        "iteration 1/3, epoch 2/2, batch 21/60, loss 0.5000; about 12 minutes left",
    ]


def test_on_a_terminal_one_bar_has_batches_times_and_what_is_being_done():
    clock = Clock()
    text, reporter = shown(True, clock)
    reporter.begin("reading the images", None)
    reporter.overall(Overall(1201, 12000, 3601.0, 7200.0))
    reporter.begin("iteration 1/10, epoch 2/2", 60, 4)
    reporter.step(5, "loss 0.5000")
    clock.now = 10.0
    reporter._bar.refresh()
    reporter.close()
    last = text.getvalue()
    assert "1,201/12,000 batches 1:00:11 elapsed, about 1:59:50 left" in last
    assert "iteration 1/10, epoch 2/2, batch 5/60, loss 0.5000" in last
