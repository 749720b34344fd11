"""Decoded batches of a catalog, made off the process that runs the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..data.decode import BrokenImageError
from ..data.loader import leave_signals_to_the_main_process
from ..data.transforms import Transform
from .work import Work


class Decoded(NamedTuple):
    """pixels uint8 (n, 3, S, S) of the images that decoded; kept int64 (n,), their places in the
    part; broken: the others, and why; part, and whether this is its last batch."""

    pixels: Tensor
    kept: Tensor
    broken: list[str]
    part: int
    last: bool


class _Batches(Dataset):
    def __init__(self, work: Work, transform: Transform, batch_size: int) -> None:
        self.work, self.transform, self.batch_size = work, transform, batch_size

    def __getitem__(self, at: tuple[int, int]) -> Decoded:
        part, first = at
        entries = self.work.entries(part)
        stop = min(first + self.batch_size, len(entries))
        images, kept, broken = [], [], []
        for place in range(first, stop):
            try:
                images.append(entries[place].image())
                kept.append(place)
            except BrokenImageError as error:
                broken += [f"{file.path} ({file.cause})" for file in error.broken]
        pixels = self.transform.pixels(images)
        return Decoded(
            pixels, torch.tensor(kept, dtype=torch.int64), broken, part, stop == len(entries)
        )


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
    batches = _Batches(work, transform, batch_size)
    places = [(p, first) for p in parts for first in range(0, work.images_in(p), batch_size)]
    if workers == 0 or len(places) == 1:
        yield from (batches[place] for place in places)
        return
    yield from DataLoader(
        batches,
        batch_size=None,
        sampler=places,
        num_workers=min(workers, len(places)),
        pin_memory=pinned,
        generator=torch.Generator(),
        worker_init_fn=leave_signals_to_the_main_process,
    )
