"""Batches that depend on (seed, epoch, number) alone, so any of them can be made again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .decode import BrokenImageError
from .image_set import ImageSet
from .seeds import generator
from .transforms import Transform


class Batch(NamedTuple):
    """images float32 (B, 3, S, S); labels int64 (B,) or bool (B, C); rows int64 (B,), positions
    in the image set."""

    images: Tensor
    labels: Tensor
    rows: Tensor


class _Batches(Dataset):
    """Batch number b of one pass; `keys` None for passes without random numbers."""

    def __init__(
        self,
        image_set: ImageSet,
        transform: Transform,
        rows: Tensor,
        batch_size: int,
        keys: tuple[int, int] | None,
    ) -> None:
        self.image_set, self.transform, self.rows = image_set, transform, rows
        self.batch_size, self.keys = batch_size, keys

    def __getitem__(self, number: int) -> Batch:
        first = number * self.batch_size
        rows = self.rows[first : first + self.batch_size]
        draws = None if self.keys is None else generator("augmentation", *self.keys, number)
        images = self.transform(self.image_set.images(rows), draws)
        return Batch(images, self.image_set.labels[rows], rows)


class _Shipped(Dataset):
    """Batches for a worker process, which hands its error over whole: raised there, it would
    arrive as the text of a traceback."""

    def __init__(self, batches: _Batches) -> None:
        self.batches = batches

    def __getitem__(self, number: int) -> Batch | BrokenImageError:
        try:
            return self.batches[number]
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
) -> Iterator[Batch]:
    """One epoch over the images at `rows`, int64 (n,), in an order drawn by (seed, epoch).

    The augmentation of batch b is drawn by (seed, epoch, b): the batches are the same with any
    number of worker processes, and `start` leaves out the first ones without making them.
    Raises BrokenImageError when a file does not decode.
    """
    rows = torch.as_tensor(rows, dtype=torch.int64)
    _check(batch_size, workers)
    if rows.ndim != 1 or len(rows) and not 0 <= rows.min() <= rows.max() < len(image_set):
        raise ValueError(
            f"rows must be one-dimensional positions in 0..{len(image_set) - 1}, "
            f"got shape {tuple(rows.shape)}"
        )
    count = batch_count(len(rows), batch_size, drop_last)
    if not 0 <= start <= count:
        raise ValueError(f"start must lie in 0..{count}, the number of batches, got {start}")
    order = rows[torch.randperm(len(rows), generator=generator("order", seed, epoch))]
    batches = _Batches(image_set, transform, order, batch_size, (seed, epoch))
    return _numbered(batches, start, count, workers)


def evaluation_batches(
    image_set: ImageSet, transform: Transform, batch_size: int, workers: int = 0
) -> Iterator[Batch]:
    """Every image once, in order."""
    _check(batch_size, workers)
    if transform.train:
        raise ValueError("transform must be a query transform (train=False), got a training one")
    rows = torch.arange(len(image_set))
    batches = _Batches(image_set, transform, rows, batch_size, None)
    return _numbered(batches, 0, batch_count(len(rows), batch_size), workers)


def batch_count(images: int, batch_size: int, drop_last: bool = False) -> int:
    """Batches in one epoch over so many images."""
    return images // batch_size if drop_last else -(-images // batch_size)


def _numbered(batches: _Batches, start: int, stop: int, workers: int) -> Iterator[Batch]:
    if workers == 0:
        for number in range(start, stop):
            yield batches[number]
        return
    # Its own generator: without one, a DataLoader draws from the global state.
    made = DataLoader(
        _Shipped(batches),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        generator=torch.Generator(),
        worker_init_fn=_leave_interrupts_to_the_main_process,
    )
    for batch in made:
        if isinstance(batch, BrokenImageError):
            raise batch
        yield batch


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    # Ctrl-C reaches every process of a terminal; a dead worker would stop a save half-way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check(batch_size: int, workers: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
