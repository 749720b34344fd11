"""Batches that depend on (seed, epoch, number) alone, so any of them can be made again."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..distributed import share_of
from .decode import BrokenImageError
from .image_set import ImageSet
from .seeds import generator
from .transforms import Transform

# From a worker's first SIGTERM to its end; torchrun gives main processes as long.
GRACE_SECONDS = 30


class Batch(NamedTuple):
    """images float32 (B, 3, S, S), or uint8 where asked for raw; labels int64 (B,) or bool (B, C);
    rows int64 (B,), positions in the image set; whole int64, the rows of all processes' parts, in
    their order."""

    images: Tensor
    labels: Tensor
    rows: Tensor
    whole: Tensor


class _Batches(Dataset):
    """Batch (epoch, b) of the images at `rows`; seed None for passes without random numbers."""

    def __init__(
        self,
        image_set: ImageSet,
        transform: Transform,
        rows: Tensor,
        batch_size: int,
        seed: int | None,
        part: tuple[int, int] = (0, 1),
        raw: bool = False,
    ) -> None:
        self.image_set, self.transform, self.rows = image_set, transform, rows
        self.batch_size, self.seed, self.part = batch_size, seed, part
        self.cut = transform.pixels if raw else transform
        self._order = -1, rows

    def __getitem__(self, place: tuple[int, int]) -> Batch:
        epoch, number = place
        first = number * self.batch_size
        whole = self._ordered(epoch)[first : first + self.batch_size]
        mine = part_of_batch(len(whole), *self.part)
        rows = whole[mine.start : mine.stop]
        draws = None
        if self.seed is not None:
            draws = generator("augmentation", self.seed, epoch, number)
        images = self.cut(self.image_set.images(rows), draws, at=mine.start, of=len(whole))
        return Batch(images, self.image_set.labels[rows], rows, whole)

    def _ordered(self, epoch: int) -> Tensor:
        """`rows` in the order of an epoch."""
        if self.seed is None:
            return self.rows
        if self._order[0] != epoch:
            draws = generator("order", self.seed, epoch)
            self._order = epoch, self.rows[torch.randperm(len(self.rows), generator=draws)]
        return self._order[1]


class _Shipped(Dataset):
    """Batches for a worker process, which hands its error over whole: raised there, it would
    arrive as the text of a traceback."""

    def __init__(self, batches: _Batches) -> None:
        self.batches = batches

    def __getitem__(self, place: tuple[int, int]) -> Batch | BrokenImageError:
        try:
            return self.batches[place]
        except BrokenImageError as error:
            return error


def training_batches(
    image_set: ImageSet,
    transform: Transform,
    rows: Tensor,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    drop_last: bool = False,
    workers: int = 0,
    part: tuple[int, int] = (0, 1),
    epochs: int = 1,
    raw: bool = False,
    pinned: bool = False,
) -> Generator[Batch, None, None]:
    """One epoch over the images at `rows`, int64 (n,), in an order drawn by (seed, epoch).

    The augmentation of batch b is drawn by (seed, epoch, b): the batches are the same with any
    number of worker processes, and `start` leaves out the first ones without making them.
    part: (process, processes): only that process's part of each batch (`part_of_batch`); the parts
    of all processes are, image for image, the batch of one.
    epochs: goes on with the next ones, so that worker processes make their first batches while the
    last of this one are learned from. raw: images uint8, as `Transform.pixels` gives them. pinned:
    what workers make comes in page-locked memory, for a CUDA device.
    Raises BrokenImageError when a file does not decode.
    """
    rows = torch.as_tensor(rows, dtype=torch.int64)
    _check(batch_size, workers)
    if not 0 <= part[0] < part[1]:
        raise ValueError(f"part must be (process, processes), process from 0, got {part}")
    if rows.ndim != 1 or len(rows) and not 0 <= rows.min() <= rows.max() < len(image_set):
        raise ValueError(
            f"rows must be one-dimensional positions in 0..{len(image_set) - 1}, "
            f"got shape {tuple(rows.shape)}"
        )
    count = batch_count(len(rows), batch_size, drop_last)
    if not 0 <= start <= count:
        raise ValueError(f"start must lie in 0..{count}, the number of batches, got {start}")
    batches = _Batches(image_set, transform, rows, batch_size, seed, part, raw)
    places = [(epoch, number) for number in range(start, count)]
    places += [(epoch + i, number) for i in range(1, epochs) for number in range(count)]
    return _numbered(batches, places, workers, pinned)


def evaluation_batches(
    image_set: ImageSet,
    transform: Transform,
    batch_size: int,
    workers: int = 0,
    numbers: range | None = None,
) -> Iterator[Batch]:
    """Every image once, in order; `numbers`: of these batches alone."""
    _check(batch_size, workers)
    if transform.train:
        raise ValueError("transform must be a query transform (train=False), got a training one")
    rows = torch.arange(len(image_set))
    batches = _Batches(image_set, transform, rows, batch_size, None)
    every = range(batch_count(len(rows), batch_size))
    return _numbered(batches, [(0, n) for n in (every if numbers is None else numbers)], workers)


def batch_count(images: int, batch_size: int, drop_last: bool = False) -> int:
    """Batches in one epoch over so many images."""
    return images // batch_size if drop_last else -(-images // batch_size)


def part_of_batch(images: int, process: int, processes: int) -> range:
    """The places in a batch that a process takes: contiguous, and their numbers differ by one at
    most. Process 0 takes a batch of fewer images than there are processes whole: a part of no
    image would have no statistics."""
    if images < processes:
        return range(images if process == 0 else 0)
    return share_of(images, process, processes)


def _numbered(
    batches: _Batches, places: list[tuple[int, int]], workers: int, pinned: bool = False
) -> Generator[Batch, None, None]:
    if workers == 0:
        for place in places:
            yield batches[place]
        return
    # Its own generator: without one, a DataLoader draws from the global state.
    made = DataLoader(
        _Shipped(batches),
        batch_size=None,
        sampler=places,
        num_workers=workers,
        pin_memory=pinned,
        generator=torch.Generator(),
        worker_init_fn=leave_signals_to_the_main_process,
    )
    for batch in made:
        if isinstance(batch, BrokenImageError):
            raise batch
        yield batch


def leave_signals_to_the_main_process(worker: int) -> None:
    # Ctrl-C reaches every process of a terminal, torchrun's SIGTERM every process of a session; a
    # dead worker would stop a save half-way. A second SIGTERM is meant for the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: object) -> None:
    # A main process that exits asks once and waits: it must not wait for ever.
    for each in (number, signal.SIGALRM):
        signal.signal(each, signal.SIG_DFL)
    signal.alarm(GRACE_SECONDS)


def _check(batch_size: int, workers: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
