"""Progress of a run and an estimate of the time left, from the work measured so far."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch

from .. import distributed
from ..methods import Method
from .checkpoint import Position
from .reporter import Overall, Reporter, about, listed

if TYPE_CHECKING:
    from .learner import Learner
    from .selection import Selection

# The clock of all measurements; tests replace it.
clock: Callable[[], float] = time.monotonic

# An estimate needs so many measured batches and seconds: the first pair, or the second one where
# batches are slow.
ENOUGH = ((10, 15.0), (2, 60.0))
# The batch time is averaged over this many of the latest batches, to follow the machine's load.
WINDOW = 1000

FEATURES, UPDATE, EVALUATION, CHECKPOINT = "features", "update", "evaluation", "checkpoint"
# Names of the work that an estimate does not include yet. Checkpoints take too little time to be
# mentioned.
WORK_NAMES = {FEATURES: "feature passes", UPDATE: "code updates", EVALUATION: "evaluations"}
FINAL = "the final encoding"


class Remaining(NamedTuple):
    """What is left of a run.

    Attributes:
        total: batches of the whole run.
        done: batches that are done.
        other: how often each other kind of work is still to be done.
        final: images that are encoded at the end.
    """

    total: int
    done: int
    other: dict[str, int]
    final: int


class RunProgress:
    """Measures the work of a run, and reports its progress and the estimated time left.

    The first batch of this process is not measured: it may start worker processes, compile the
    network, or build native kernels. Work that was not measured yet is not included in the
    estimate, and is named with it.
    """

    def __init__(self, reporter: Reporter, left: Remaining, seconds: float = 0.0) -> None:
        """seconds: time spent on the run before this process."""
        self.reporter = reporter
        self.total, self.done = left.total, left.done
        self._other, self._final = dict(left.other), left.final
        self._begun = clock() - seconds
        self._batch_start: float | None = None
        self._batches: deque[float] = deque(maxlen=WINDOW)
        self._measured: dict[str, tuple[int, float]] = {}
        self._encoded = self._evaluated = 0
        self._announced = False
        self.report()

    def start_epoch(self) -> None:
        """The first batch of an epoch begins."""
        # None before the first batch of this process, which is not measured.
        if self._batch_start is not None:
            self._batch_start = clock()

    def batch(self) -> None:
        """A batch is done and the next one begins."""
        now = clock()
        if self._batch_start is not None:
            self._batches.append(now - self._batch_start)
        self._batch_start = now
        self.done += 1
        self.report()
        if not self._announced and self._enough():
            self._announced = True
            self.reporter.notice(self._estimate_text())

    def encodes(self, images: int) -> None:
        """Count the images of an encoding that is about to start."""
        self._encoded += images

    @contextmanager
    def measure(self, kind: str) -> Iterator[None]:
        """A context that measures work of this kind; it does not count if it raises."""
        begun = clock()
        yield
        count, seconds = self._measured.get(kind, (0, 0.0))
        self._measured[kind] = count + 1, seconds + clock() - begun
        if kind == EVALUATION:
            self._evaluated = self._encoded
        self._other[kind] = max(0, self._other.get(kind, 0) - 1)
        self.report()

    def report(self) -> None:
        """Pass the current progress to the reporter."""
        seconds = clock() - self._begun
        overall = Overall(self.done, self.total, seconds, self.left(), tuple(self.unmeasured()))
        self.reporter.overall(overall)

    def left(self) -> float | None:
        """Estimated seconds left, for the work measured so far; None while it is too little."""
        if not self._announced and not self._enough():
            return None
        seconds = (self.total - self.done) * self._per_batch()
        for kind, (count, spent) in self._measured.items():
            seconds += self._other.get(kind, 0) * spent / count
        if self._evaluated:
            # Almost all of an evaluation's time is spent on encoding its images.
            seconds += self._final * self._measured[EVALUATION][1] / self._evaluated
        return seconds

    def unmeasured(self) -> list[str]:
        """Names of the remaining work that the estimate does not include."""
        kinds = [k for k, count in self._other.items() if count and k not in self._measured]
        words = [WORK_NAMES[kind] for kind in kinds if kind in WORK_NAMES]
        # The final encoding is estimated from evaluations, so it is not named in addition to them.
        if EVALUATION not in self._measured and EVALUATION not in kinds:
            words.append(FINAL)
        return words

    def _enough(self) -> bool:
        measured, seconds = len(self._batches), sum(self._batches)
        return any(measured >= least and seconds >= at_least for least, at_least in ENOUGH)

    def _per_batch(self) -> float:
        return sum(self._batches) / len(self._batches)

    def _estimate_text(self) -> str:
        mean = self._per_batch()
        digits = f"{mean:.2g}" if mean < 0.1 else f"{mean:.2f}" if mean < 10 else f"{mean:.0f}"
        text = f"{about(self.left() or 0.0)} left ({digits} s per batch)"
        words = self.unmeasured()
        return f"{text}, not counting {listed(words)}" if words else text


def start_progress(
    reporter: Reporter,
    learner: "Learner",
    selection: "Selection",
    at: Position,
    begun: int,
    seconds: float,
) -> RunProgress:
    """Report the plan of the run, and start measuring.

    begun: the last iteration that was started, -1 for none; seconds: time spent before.
    """
    left = remaining(learner, selection, at, begun)
    text = plan(learner, selection)
    if left.done:
        text += f"; {left.done:,} of {left.total:,} batches are done"
    reporter.notice(text)
    return RunProgress(reporter, left, seconds)


def remaining(learner: "Learner", selection: "Selection", at: Position, begun: int) -> Remaining:
    """The work that remains from position `at` on."""
    config, method = learner.config, learner.method
    schedule = config.schedule
    per_epoch = _batches_per_epoch(learner, selection)
    iterations = range(at.iteration, schedule.iterations)
    saves = schedule.epochs if config.run.checkpoint_every == "epoch" else 1
    updates = len(iterations) - at.updated
    other = {
        FEATURES: sum(method.wants_features(i) for i in iterations if i > begun),
        UPDATE: updates if type(method).end_iteration is not Method.end_iteration else 0,
        EVALUATION: sum(selection.due(i) for i in iterations),
        CHECKPOINT: max(0, len(iterations) * saves - min(at.epoch, saves - 1)),
    }
    epochs = at.iteration * schedule.epochs + at.epoch
    return Remaining(
        total=schedule.iterations * schedule.epochs * per_epoch,
        done=epochs * per_epoch + at.batch,
        other=other,
        final=len(selection.data.query) + len(selection.data.database),
    )


def _batches_per_epoch(learner: "Learner", selection: "Selection") -> int:
    """Number of batches per epoch, the same for all epochs."""
    samples, kept = learner.config.schedule.samples, len(selection.kept)
    return learner.batches(kept if samples is None else min(samples, kept))


def plan(learner: "Learner", selection: "Selection") -> str:
    """Data set and schedule of a run in one line."""
    data, schedule = selection.data, learner.config.schedule
    images = f"{len(data.train):,} training images"
    if len(selection.held):
        images += f" ({len(selection.held):,} of them held out)"
    if len(data.database) != len(data.train):
        images += f", {len(data.database):,} database images"
    samples = schedule.samples
    drawn = samples is not None and samples < len(selection.kept)
    batches = _counted(_batches_per_epoch(learner, selection), "batch", "batches")
    return (
        f"{data.name}: {images}, {_counted(len(data.query), 'query', 'queries')}, "
        f"{_counted(len(data.train.classes), 'class', 'classes')}; "
        f"{_counted(schedule.iterations, 'iteration', 'iterations')}"
        f"{f', each on {samples:,} images,' if drawn else ''} of "
        f"{_counted(schedule.epochs, 'epoch', 'epochs')} of {batches}, "
        f"{_device_text(learner.device)}"
    )


def _device_text(device: torch.device) -> str:
    text = f"on {device}"
    if device.type == "cuda":
        text += f" ({torch.cuda.get_device_name(device)})"
    else:
        text += f" with {_counted(torch.get_num_threads(), 'thread', 'threads')}"
    processes = distributed.world_size()
    return text if processes == 1 else f"{text}, in {processes} processes"


def _counted(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"
