"""What a person sees of a run: nothing, or its progress and a line an epoch and an evaluation."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

# Seconds after which a line says how far the run is, where there is no terminal and nothing else
# was said.
SILENCE = 600.0


class Overall(NamedTuple):
    """How far a whole run is.

    done, total: batches; seconds: since it began, the time between its parts left out; left:
    seconds that the rest takes by what was measured, None while that is not known; unmeasured: the
    kinds of work that `left` does not count yet.
    """

    done: int
    total: int
    seconds: float
    left: float | None = None
    unmeasured: tuple[str, ...] = ()


class Reporter:
    """Silent; base of the others. All methods may be left out by a subclass."""

    def notice(self, text: str) -> None:
        """Something worth one line."""

    def warning(self, text: str) -> None:
        """Something that went wrong and was got around."""

    def begin(self, what: str, total: int | None, done: int = 0) -> None:
        """A piece of work of `total` batches (None: not known) starts; the one before is over."""

    def step(self, done: int, note: str = "") -> None:
        """`done` batches of it are over. note: replaces the one before, unless it is empty."""

    def overall(self, overall: Overall) -> None:
        """How far the whole run is: after each batch and each other piece of work."""

    def record(self, record: dict[str, Any]) -> None:
        """A line of the log was written."""

    def close(self) -> None:
        """The run is over, whether it came to its end or not."""


class RichReporter(Reporter):
    """One bar for the whole run on a terminal, plain lines elsewhere."""

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console or Console(stderr=True)
        self._clock = clock
        self._bar: _RunBar | None = None
        self._task: TaskID | None = None
        self._overall: Overall | None = None
        self._said = clock()
        self._what, self._note = "", ""
        self._total: int | None = None
        self._done = 0

    def notice(self, text: str) -> None:
        self._line(text)

    def warning(self, text: str) -> None:
        self._line(f"warning: {text}", "yellow")

    def begin(self, what: str, total: int | None, done: int = 0) -> None:
        self._what, self._total, self._done, self._note = what, total, done, ""
        self._show()

    def step(self, done: int, note: str = "") -> None:
        self._done, self._note = done, note or self._note
        self._show()
        if not self.console.is_terminal and self._clock() - self._said >= SILENCE:
            self._line(self._now() + self._left())

    def overall(self, overall: Overall) -> None:
        self._overall = overall
        self._show()
        if self._bar is not None and self._task is not None:
            done, total, now = overall.done, overall.total, self._clock()
            self._bar.update(self._task, total=total, completed=done, told=overall, at=now)

    def record(self, record: dict[str, Any]) -> None:
        text = _words(record)
        if text:
            # On a terminal the bar says it, and goes on saying it.
            plain = not self.console.is_terminal and record["event"] != "result"
            self._line(text + self._left() if plain else text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._task = None, None

    def _show(self) -> None:
        if not self.console.is_terminal:
            return
        if self._bar is None:
            self._bar = _RunBar(self.console, self._clock)
            self._task = self._bar.add_task("", total=None, told=None, at=self._clock())
            self._bar.start()
        self._bar.now = self._now()

    def _now(self) -> str:
        """What is being done."""
        text = self._what
        if self._total is not None:
            text += f", batch {self._done:,}/{self._total:,}"
        elif self._done:
            text += f", batch {self._done:,}"
        return f"{text}, {self._note}" if self._note else text

    def _left(self) -> str:
        """The end of a plain line."""
        overall = self._overall
        if overall is None or overall.left is None:
            return ""
        text = f"; {about(overall.left)} left"
        words = overall.unmeasured
        return f"{text}, not counting {listed(words)}" if words else text

    def _line(self, text: str, style: str = "") -> None:
        self._said = self._clock()
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class _RunBar(Progress):
    """The bar of a run, and below it `now`: what is being done."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self.now = ""
        batches = TextColumn("{task.completed:,.0f}/{task.total:,} batches")
        super().__init__(
            _IfPlanned(BarColumn(bar_width=16)),
            _IfPlanned(batches),
            _Clock(clock),
            console=console,
            transient=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.now, no_wrap=True, overflow="ellipsis")


class _IfPlanned(ProgressColumn):
    """Another column, as soon as the number of batches is known."""

    def __init__(self, column: ProgressColumn) -> None:
        self.column = column
        super().__init__()

    def render(self, task: Task) -> RenderableType:
        return Text("") if task.total is None else self.column.render(task)


class _Clock(ProgressColumn):
    """The run's time so far and the time left, which go on between two reports."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        super().__init__()

    def render(self, task: Task) -> Text:
        told, since = task.fields["told"], self.clock() - task.fields["at"]
        if told is None:
            return Text(f"{_digits(since)} elapsed")
        text = f"{_digits(told.seconds + since)} elapsed"
        if told.left is None:
            return Text(text)
        how = "at least" if told.unmeasured else "about"
        return Text(f"{text}, {how} {_digits(max(0.0, told.left - since))} left")


def about(seconds: float) -> str:
    """A time to come, as exact as an estimate of it can be: "about 12 minutes"."""
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


def _digits(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _words(record: dict[str, Any]) -> str:
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
