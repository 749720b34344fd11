"""Decoded batches of a catalog, made off the process that runs the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..data.decode import Readable
from ..data.transforms import Transform
from ..data.workers import made_by_workers
from .work import Work


class Decoded(NamedTuple):
    """pixels uint8 (n, 3, S, S) of the images that decoded; kept int64 (n,), their places in the
    part; broken: the others, and why; part, and whether this is its last batch."""

    pixels: Tensor
    kept: Tensor
    broken: list[str]
    part: int
    last: bool


class _Batches:
    def __init__(self, work: Work, transform: Transform, batch_size: int) -> None:
        self.work, self.transform, self.batch_size = work, transform, batch_size

    def made(self, at: tuple[int, int]) -> tuple[Tensor, tuple[list[int], list[str], int, bool]]:
        part, first = at
        entries = self.work.entries(part)
        stop = min(first + self.batch_size, len(entries))
        images = Readable(entry.image for entry in entries[first:stop])
        pixels = self.transform.pixels(images)
        kept = [first + position for position in images.kept]
        return pixels, (kept, images.broken, part, stop == len(entries))


def decoded(
    work: Work,
    parts: Sequence[int],
    transform: Transform,
    batch_size: int,
    *,
    workers: int,
    pinned: bool = False,
) -> Iterator[Decoded]:
    """The batches of `parts`, in order. Which images share a batch depends on the catalog and
    batch_size alone. pinned: in page-locked memory, for a CUDA device."""
    places = [(p, first) for p in parts for first in range(0, work.images_in(p), batch_size)]
    workers = 0 if len(places) == 1 else min(workers, len(places))
    shape = batch_size, 3, transform.size, transform.size
    make = _Batches(work, transform, batch_size).made
    for pixels, rest in made_by_workers(make, places, shape, workers, pinned=pinned):
        kept, broken, part, last = rest
        yield Decoded(pixels, torch.tensor(kept, dtype=torch.int64), broken, part, last)
