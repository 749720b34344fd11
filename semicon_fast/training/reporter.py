"""Reports on a run: a progress bar and one line per epoch and evaluation, or nothing."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from ..text import printable

# Without a terminal, the progress is printed after this many seconds without another line.
SILENCE = 600.0


class Overall(NamedTuple):
    """Progress of the whole run.

    Attributes:
        done: batches trained so far.
        total: batches of the whole run.
        seconds: time spent so far, without the time between a stop and a resume.
        left: estimated seconds left, None while there is no estimate.
        unmeasured: kinds of work that the estimate does not include yet.
    """

    done: int
    total: int
    seconds: float
    left: float | None = None
    unmeasured: tuple[str, ...] = ()


class Reporter:
    """Shows nothing. Subclasses override the methods for what they show."""

    def notice(self, text: str) -> None:
        """A message for the user."""

    def warning(self, text: str) -> None:
        """A problem that did not stop the run."""

    def begin(self, what: str, total: int | None, done: int = 0) -> None:
        """A new task of `total` batches (None: unknown) starts, and the previous one ends."""

    def step(self, done: int, note: str = "") -> None:
        """`done` batches of the task are done. note: replaces the previous one unless empty."""

    def overall(self, overall: Overall) -> None:
        """Progress of the whole run; called after each batch, code update, evaluation etc."""

    def record(self, record: dict[str, Any]) -> None:
        """A record was written to the log."""

    def close(self) -> None:
        """The run has ended, whether it is finished or not."""


class RichReporter(Reporter):
    """A progress bar for the whole run on a terminal, plain lines elsewhere."""

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console or Console(stderr=True)
        self._clock = clock
        self._bar: _RunBar | None = None
        self._task: TaskID | None = None
        self._overall: Overall | None = None
        self._last_printed = clock()
        self._current_task, self._note = "", ""
        self._total: int | None = None
        self._done = 0

    def notice(self, text: str) -> None:
        self._print(text)

    def warning(self, text: str) -> None:
        self._print(f"warning: {text}", "yellow")

    def begin(self, what: str, total: int | None, done: int = 0) -> None:
        self._current_task, self._total, self._done, self._note = what, total, done, ""
        self._show()

    def step(self, done: int, note: str = "") -> None:
        self._done, self._note = done, note or self._note
        self._show()
        if not self.console.is_terminal and self._clock() - self._last_printed >= SILENCE:
            self._print(self._task_text() + self._left_text())

    def overall(self, overall: Overall) -> None:
        self._overall = overall
        self._show()
        if self._bar is not None and self._task is not None:
            done, total, now = overall.done, overall.total, self._clock()
            self._bar.update(self._task, total=total, completed=done, overall=overall, at=now)

    def record(self, record: dict[str, Any]) -> None:
        text = _record_text(record)
        if text:
            # On a terminal the progress bar already shows the time left.
            plain = not self.console.is_terminal and record["event"] != "result"
            self._print(text + self._left_text() if plain else text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._task = None, None

    def _show(self) -> None:
        if not self.console.is_terminal:
            return
        if self._bar is None:
            self._bar = _RunBar(self.console, self._clock)
            self._task = self._bar.add_task("", total=None, overall=None, at=self._clock())
            self._bar.start()
        self._bar.now = self._task_text()

    def _task_text(self) -> str:
        """The current task and its progress."""
        text = self._current_task
        if self._total is not None:
            text += f", batch {self._done:,}/{self._total:,}"
        elif self._done:
            text += f", batch {self._done:,}"
        return f"{text}, {self._note}" if self._note else text

    def _left_text(self) -> str:
        """The time left, as the end of a plain line; empty without an estimate."""
        overall = self._overall
        if overall is None or overall.left is None:
            return ""
        text = f"; {about(overall.left)} left"
        words = overall.unmeasured
        return f"{text}, not counting {listed(words)}" if words else text

    def _print(self, text: str, style: str = "") -> None:
        self._last_printed = self._clock()
        self.console.print(Text(printable(text), style), soft_wrap=True)


class _RunBar(Progress):
    """The progress bar of a run, and below it the current task (`now`)."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self.now = ""
        batches = TextColumn("{task.completed:,.0f}/{task.total:,} batches")
        super().__init__(
            _OnceTotalKnown(BarColumn(bar_width=16)),
            _OnceTotalKnown(batches),
            _TimeColumn(clock),
            console=console,
            transient=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(printable(self.now), no_wrap=True, overflow="ellipsis")


class _OnceTotalKnown(ProgressColumn):
    """Wraps a column, which is empty until the number of batches is known."""

    def __init__(self, column: ProgressColumn) -> None:
        self.column = column
        super().__init__()

    def render(self, task: Task) -> RenderableType:
        return Text("") if task.total is None else self.column.render(task)


class _TimeColumn(ProgressColumn):
    """Time elapsed and time left, which also advance between two progress reports."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        super().__init__()

    def render(self, task: Task) -> Text:
        overall, since = task.fields["overall"], self.clock() - task.fields["at"]
        if overall is None:
            return Text(f"{_clock_text(since)} elapsed")
        text = f"{_clock_text(overall.seconds + since)} elapsed"
        if overall.left is None:
            return Text(text)
        how = "at least" if overall.unmeasured else "about"
        return Text(f"{text}, {how} {_clock_text(max(0.0, overall.left - since))} left")


def about(seconds: float) -> str:
    """An estimated duration, rounded: "about 12 minutes"."""
    if seconds < 8:
        return "a few seconds"
    if seconds < 95:
        return f"about {max(10, round(seconds / 10) * 10)} seconds"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} minutes"
    if seconds < 36 * 3600:
        return f"about {round(seconds / 1800) / 2:g} hours"
    return f"about {round(seconds / 43200) / 2:g} days"


def listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + list(words[-1:]))


def _clock_text(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _record_text(record: dict[str, Any]) -> str:
    if record["event"] == "epoch":
        terms = ", ".join(f"{name} {value:.4f}" for name, value in record["loss"].items())
        place = f"iteration {record['iteration']}, epoch {record['epoch']}"
        return f"{place}: loss {terms} ({record['seconds']:.0f} s)"
    if record["event"] == "evaluation":
        best = ", the best so far" if record["best"] else ""
        place = f"iteration {record['iteration']}"
        return f"{place}: mAP {record['mAP']:.4f} on {record['on']}{best}"
    if record["event"] == "result":
        ways = [f"mAP {value['mAP']:.4f} {way}" for way, value in record["evaluation"].items()]
        return "; ".join(ways)
    return ""
