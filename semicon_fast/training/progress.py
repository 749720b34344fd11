"""How far a run is and how long the rest takes, estimated from its own work so far."""

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

# The clock of every estimate; tests put another in its place.
clock: Callable[[], float] = time.monotonic

# An estimate is given after so many measured batches and seconds, whichever is later; where batches
# are slow, after fewer of them and a longer time.
ENOUGH = ((10, 15.0), (2, 60.0))
# A batch's time is the mean over so many of the newest, so that it follows the machine's load.
WINDOW = 1000

FEATURES, UPDATE, EVALUATION, CHECKPOINT = "features", "update", "evaluation", "checkpoint"
# What an estimate names as long as it was not measured. A checkpoint takes too little for that.
NAMED = {FEATURES: "feature passes", UPDATE: "code updates", EVALUATION: "evaluations"}
FINAL = "the final encoding"


class Remaining(NamedTuple):
    """A run of `total` batches of which `done` are over. pieces: how often other kinds of work
    come yet; final: the images that are encoded at the end."""

    total: int
    done: int
    pieces: dict[str, int]
    final: int


class RunProgress:
    """Measures the work of a run, and tells `reporter` how far it is and how long the rest takes.

    The first batch of this process is not measured: it may start worker processes, compile the
    network, or build native kernels. Work that was not measured yet is not in the estimate, and the
    estimate says so.
    """

    def __init__(self, reporter: Reporter, left: Remaining, seconds: float = 0.0) -> None:
        """seconds: what the run has taken before."""
        self.reporter = reporter
        self.total, self.done = left.total, left.done
        self._pieces, self._final = dict(left.pieces), left.final
        self._begun = clock() - seconds
        self._mark: float | None = None
        self._batches: deque[float] = deque(maxlen=WINDOW)
        self._seen: dict[str, tuple[int, float]] = {}
        self._images = self._evaluated = 0
        self._announced = False
        self.tell()

    def start_epoch(self) -> None:
        """What happens from here to `batch` is a batch."""
        # None: the first batch of this process, see above.
        if self._mark is not None:
            self._mark = clock()

    def batch(self) -> None:
        """A batch is over, the next one begins."""
        now = clock()
        if self._mark is not None:
            self._batches.append(now - self._mark)
        self._mark = now
        self.done += 1
        self.tell()
        if not self._announced and self._enough():
            self._announced = True
            self.reporter.notice(self._sentence())

    def encodes(self, images: int) -> None:
        """So many images are about to be encoded."""
        self._images += images

    @contextmanager
    def piece(self, kind: str) -> Iterator[None]:
        """Inside, one piece of work of this kind is done. One that is stopped does not count."""
        begun = clock()
        yield
        count, seconds = self._seen.get(kind, (0, 0.0))
        self._seen[kind] = count + 1, seconds + clock() - begun
        if kind == EVALUATION:
            self._evaluated = self._images
        self._pieces[kind] = max(0, self._pieces.get(kind, 0) - 1)
        self.tell()

    def tell(self) -> None:
        """Tells the reporter how far the run is."""
        seconds = clock() - self._begun
        overall = Overall(self.done, self.total, seconds, self.left(), tuple(self.unmeasured()))
        self.reporter.overall(overall)

    def left(self) -> float | None:
        """Seconds that the rest takes, as far as it was measured; None while that says nothing."""
        if not self._announced and not self._enough():
            return None
        seconds = (self.total - self.done) * self._per_batch()
        for kind, (count, spent) in self._seen.items():
            seconds += self._pieces.get(kind, 0) * spent / count
        if self._evaluated:
            # An evaluation is little else than the encoding of its images.
            seconds += self._final * self._seen[EVALUATION][1] / self._evaluated
        return seconds

    def unmeasured(self) -> list[str]:
        """The work that is left and not in `left`, in words."""
        kinds = [k for k, count in self._pieces.items() if count and k not in self._seen]
        words = [NAMED[kind] for kind in kinds if kind in NAMED]
        # Where evaluations are named, it goes without saying.
        if EVALUATION not in self._seen and EVALUATION not in kinds:
            words.append(FINAL)
        return words

    def _enough(self) -> bool:
        measured, seconds = len(self._batches), sum(self._batches)
        return any(measured >= least and seconds >= long for least, long in ENOUGH)

    def _per_batch(self) -> float:
        return sum(self._batches) / len(self._batches)

    def _sentence(self) -> str:
        mean = self._per_batch()
        digits = f"{mean:.2g}" if mean < 0.1 else f"{mean:.2f}" if mean < 10 else f"{mean:.0f}"
        text = f"{about(self.left() or 0.0)} left ({digits} s a batch)"
        words = self.unmeasured()
        return f"{text}, not counting {listed(words)}" if words else text


def started(
    reporter: Reporter,
    learner: "Learner",
    selection: "Selection",
    at: Position,
    begun: int,
    seconds: float,
) -> RunProgress:
    """Tells the reporter what is going to be done. begun: the last iteration that was begun, -1
    for none; seconds: what the run has taken before."""
    left = remaining(learner, selection, at, begun)
    text = plan(learner, selection)
    if left.done:
        text += f"; {left.done:,} of {left.total:,} batches are done"
    reporter.notice(text)
    return RunProgress(reporter, left, seconds)


def remaining(learner: "Learner", selection: "Selection", at: Position, begun: int) -> Remaining:
    """What is left from `at` on."""
    config, method = learner.config, learner.method
    schedule = config.schedule
    per_epoch = _batches_of_epoch(learner, selection)
    iterations = range(at.iteration, schedule.iterations)
    saves = schedule.epochs if config.run.checkpoint_every == "epoch" else 1
    updates = len(iterations) - at.updated
    pieces = {
        FEATURES: sum(method.wants_features(i) for i in iterations if i > begun),
        UPDATE: updates if type(method).end_iteration is not Method.end_iteration else 0,
        EVALUATION: sum(selection.due(i) for i in iterations),
        CHECKPOINT: max(0, len(iterations) * saves - min(at.epoch, saves - 1)),
    }
    epochs = at.iteration * schedule.epochs + at.epoch
    return Remaining(
        total=schedule.iterations * schedule.epochs * per_epoch,
        done=epochs * per_epoch + at.batch,
        pieces=pieces,
        final=len(selection.data.query) + len(selection.data.database),
    )


def _batches_of_epoch(learner: "Learner", selection: "Selection") -> int:
    """Every epoch of a run has as many."""
    samples, kept = learner.config.schedule.samples, len(selection.kept)
    return learner.batches(kept if samples is None else min(samples, kept))


def plan(learner: "Learner", selection: "Selection") -> str:
    """What a run is going to do, in one line."""
    data, schedule = selection.data, learner.config.schedule
    images = f"{len(data.train):,} training images"
    if len(selection.held):
        images += f" ({len(selection.held):,} of them held out)"
    if len(data.database) != len(data.train):
        images += f", {len(data.database):,} database images"
    samples = schedule.samples
    drawn = samples is not None and samples < len(selection.kept)
    batches = _counted(_batches_of_epoch(learner, selection), "batch", "batches")
    return (
        f"{data.name}: {images}, {_counted(len(data.query), 'query', 'queries')}, "
        f"{_counted(len(data.train.classes), 'class', 'classes')}; "
        f"{_counted(schedule.iterations, 'iteration', 'iterations')}"
        f"{f', each on {samples:,} images,' if drawn else ''} of "
        f"{_counted(schedule.epochs, 'epoch', 'epochs')} of {batches}, {_where(learner.device)}"
    )


def _where(device: torch.device) -> str:
    text = f"on {device}"
    if device.type == "cuda":
        text += f" ({torch.cuda.get_device_name(device)})"
    else:
        text += f" with {_counted(torch.get_num_threads(), 'thread', 'threads')}"
    processes = distributed.world_size()
    return text if processes == 1 else f"{text}, in {processes} processes"


def _counted(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"
