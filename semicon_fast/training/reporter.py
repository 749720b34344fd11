"""What a person sees of a run: nothing, or bars and a line for each epoch and evaluation."""

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Reporter:
    """Silent; base of the others. All methods may be left out by a subclass."""

    def notice(self, text: str) -> None:
        """Something worth one line."""

    def warning(self, text: str) -> None:
        """Something that went wrong and was got around."""

    def begin(self, what: str, total: int | None, done: int = 0) -> None:
        """A piece of work of `total` steps (None: not known) starts; the one before it is over."""

    def step(self, done: int, note: str = "") -> None:
        """`done` steps of it are over."""

    def record(self, record: dict[str, Any]) -> None:
        """A line of the log was written."""

    def close(self) -> None:
        """The run is over, whether it came to its end or not."""


class RichReporter(Reporter):
    """Bars on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def notice(self, text: str) -> None:
        self._line(text)

    def warning(self, text: str) -> None:
        self._line(f"warning: {text}", "yellow")

    def begin(self, what: str, total: int | None, done: int = 0) -> None:
        if not self.console.is_terminal:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self.console,
                transient=True,
            )
            self._progress.start()
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total, completed=done, note="")

    def step(self, done: int, note: str = "") -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, note=note)

    def record(self, record: dict[str, Any]) -> None:
        text = _words(record)
        if text:
            self._line(text)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._task = None, None

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


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
