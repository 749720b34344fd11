"""Batches that depend on (seed, epoch, number) alone, so any of them can be made again."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..distributed import share_of
from .image_set import ImageSet
from .seeds import generator
from .transforms import Transform
from .workers import made_by_workers


class Batch(NamedTuple):
    """images float32 (B, 3, S, S), or uint8 where asked for raw; labels int64 (B,) or bool (B, C);
    rows int64 (B,), positions in the image set; whole int64, the rows of all processes' parts, in
    their order."""

    images: Tensor
    labels: Tensor
    rows: Tensor
    whole: Tensor


class _Batches:
    """Batch (epoch, b) of the images at `rows`; seed None for passes without random numbers."""

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

    def made(self, place: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """The pixels of a batch, and its place."""
        epoch, number = place
        whole, mine = self._rows(place)
        draws = None
        if self.seed is not None:
            draws = generator("augmentation", self.seed, epoch, number)
        images = self.image_set.images(whole[mine.start : mine.stop])
        return self.transform.pixels(images, draws, at=mine.start, of=len(whole)), place

    def batch(self, images: Tensor, place: tuple[int, int]) -> Batch:
        whole, mine = self._rows(place)
        rows = whole[mine.start : mine.stop]
        return Batch(images, self.image_set.labels[rows], rows, whole)

    def _rows(self, place: tuple[int, int]) -> tuple[Tensor, range]:
        """The rows of a whole batch, and which places in it are this process's."""
        epoch, number = place
        first = number * self.batch_size
        whole = self._ordered(epoch)[first : first + self.batch_size]
        return whole, part_of_batch(len(whole), *self.part)

    def _ordered(self, epoch: int) -> Tensor:
        """`rows` in the order of an epoch."""
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
    batches = _Batches(image_set, transform, rows, batch_size, seed, part)
    places = [(epoch, number) for number in range(start, count)]
    places += [(epoch + i, number) for i in range(1, epochs) for number in range(count)]
    return _numbered(batches, places, workers, raw, pinned)


def evaluation_batches(
    image_set: ImageSet,
    transform: Transform,
    batch_size: int,
    workers: int = 0,
    numbers: range | None = None,
    *,
    raw: bool = False,
) -> Iterator[Batch]:
    """Every image once, in order; `numbers`: of these batches alone; raw: as uint8."""
    _check(batch_size, workers)
    if transform.train:
        raise ValueError("transform must be a query transform (train=False), got a training one")
    rows = torch.arange(len(image_set))
    batches = _Batches(image_set, transform, rows, batch_size, None)
    every = range(batch_count(len(rows), batch_size))
    places = [(0, n) for n in (every if numbers is None else numbers)]
    return _numbered(batches, places, workers, raw)


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
    batches: _Batches,
    places: list[tuple[int, int]],
    workers: int,
    raw: bool = False,
    pinned: bool = False,
) -> Generator[Batch, None, None]:
    transform = batches.transform
    shape = batches.batch_size, 3, transform.size, transform.size
    for pixels, place in made_by_workers(batches.made, places, shape, workers, pinned=pinned):
        yield batches.batch(pixels if raw else transform.normalised(pixels), place)


def _check(batch_size: int, workers: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
