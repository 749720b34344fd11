"""Data loader whose batches depend only on (seed, epoch, batch number), so that a run can resume
at any batch."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..arrays import as_positions
from ..distributed import share_of
from .image_set import ImageSet
from .seeds import generator
from .transforms import Transform
from .workers import map_in_workers


class Batch(NamedTuple):
    """A batch of images.

    images: float32 (B, 3, S, S), or uint8 with raw=True. labels: int64 (B,) or bool (B, C).
    rows: int64 (B,), positions in the image set. whole: int64, the rows of the whole batch, which
    are those of all processes in the order of their ranks.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor
    whole: Tensor


class _BatchMaker:
    """Batch (epoch, b) of the images at `rows`; seed None: in order, without augmentation."""

    def __init__(
        self,
        image_set: ImageSet,
        transform: Transform,
        rows: Tensor,
        batch_size: int,
        seed: int | None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.image_set, self.transform, self.rows = image_set, transform, rows
        self.batch_size, self.seed, self.part = batch_size, seed, part
        self._order = -1, rows

    def make_pixels(self, key: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """This process's pixels of batch `key` = (epoch, number), uint8, and `key`."""
        epoch, number = key
        whole, mine = self._rows(key)
        draws = None
        if self.seed is not None:
            draws = generator("augmentation", self.seed, epoch, number)
        images = self.image_set.images(whole[mine.start : mine.stop])
        return self.transform.pixels(images, draws, at=mine.start, of=len(whole)), key

    def batch(self, images: Tensor, key: tuple[int, int]) -> Batch:
        whole, mine = self._rows(key)
        rows = whole[mine.start : mine.stop]
        return Batch(images, self.image_set.labels[rows], rows, whole)

    def _rows(self, key: tuple[int, int]) -> tuple[Tensor, range]:
        """The rows of a whole batch, and the range of positions in it that is this process's."""
        epoch, number = key
        first = number * self.batch_size
        whole = self._epoch_order(epoch)[first : first + self.batch_size]
        return whole, part_of_batch(len(whole), *self.part)

    def _epoch_order(self, epoch: int) -> Tensor:
        """`rows` in the shuffled order of an epoch."""
        if self.seed is None:
            return self.rows
        if self._order[0] != epoch:
            draws = generator("order", self.seed, epoch)
            self._order = epoch, self.rows[torch.randperm(len(self.rows), generator=draws)]
        return self._order[1]


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
    """Shuffled, augmented batches of one or more epochs.

    The order is seeded by (seed, epoch) and the augmentation of batch b by (seed, epoch, b), so
    the batches do not depend on the number of workers or processes or on where a run resumes.

    Args:
        image_set: the images.
        transform: the training transform.
        rows: positions in `image_set` that make up an epoch, int64 (n,), or a mask.
        batch_size: images in a batch, over all processes.
        seed: seed of the order and the augmentation.
        epoch: number of the first epoch.
        start: first batch of the first epoch; earlier ones are skipped without being decoded.
        drop_last: leave out an incomplete last batch.
        workers: worker processes that decode and augment; 0 uses this process.
        part: (process, processes): yield only this process's part of each batch, see
            `part_of_batch`. The parts of all processes together equal the batch of one process.
        epochs: number of epochs; across an epoch's end the workers prefetch the next one.
        raw: yield uint8 images as `Transform.pixels` returns them, for `Transform.normalised`.
        pinned: with workers, yield images in page-locked memory, for copies to a CUDA device.

    Raises:
        ValueError: an argument is out of range.
        BrokenImageError: a file cannot be decoded.
    """
    rows = as_positions(rows, "rows", len(image_set))
    _check_sizes(batch_size, workers)
    if not 0 <= part[0] < part[1]:
        raise ValueError(f"part must be (process, processes), process from 0, got {part}")
    count = batch_count(len(rows), batch_size, drop_last)
    if not 0 <= start <= count:
        raise ValueError(f"start must lie in 0..{count}, the number of batches, got {start}")
    batches = _BatchMaker(image_set, transform, rows, batch_size, seed, part)
    keys = [(epoch, number) for number in range(start, count)]
    keys += [(epoch + i, number) for i in range(1, epochs) for number in range(count)]
    return _make_batches(batches, keys, workers, raw, pinned)


def evaluation_batches(
    image_set: ImageSet,
    transform: Transform,
    batch_size: int,
    workers: int = 0,
    numbers: range | None = None,
    *,
    raw: bool = False,
) -> Iterator[Batch]:
    """Every image once, in order, through a query transform.

    numbers: yield only the batches with these numbers. raw: yield uint8 images.
    """
    _check_sizes(batch_size, workers)
    if transform.train:
        raise ValueError("transform must be a query transform (train=False), got a training one")
    rows = torch.arange(len(image_set))
    batches = _BatchMaker(image_set, transform, rows, batch_size, None)
    every = range(batch_count(len(rows), batch_size))
    keys = [(0, n) for n in (every if numbers is None else numbers)]
    return _make_batches(batches, keys, workers, raw)


def batch_count(images: int, batch_size: int, drop_last: bool = False) -> int:
    """Number of batches in one epoch."""
    return images // batch_size if drop_last else -(-images // batch_size)


def part_of_batch(images: int, process: int, processes: int) -> range:
    """The range of positions in a batch that belongs to a process.

    The parts are contiguous and their sizes differ by at most one. A batch with fewer images than
    processes goes to process 0 as a whole, since no batch statistics exist for an empty part.
    """
    if images < processes:
        return range(images if process == 0 else 0)
    return share_of(images, process, processes)


def _make_batches(
    batches: _BatchMaker,
    keys: list[tuple[int, int]],
    workers: int,
    raw: bool = False,
    pinned: bool = False,
) -> Generator[Batch, None, None]:
    transform = batches.transform
    shape = batches.batch_size, 3, transform.size, transform.size
    for pixels, key in map_in_workers(batches.make_pixels, keys, shape, workers, pinned=pinned):
        yield batches.batch(pixels if raw else transform.normalised(pixels), key)


def _check_sizes(batch_size: int, workers: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
