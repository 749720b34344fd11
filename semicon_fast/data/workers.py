"""Batches made by other processes, which leave their pixels in shared memory that is used again.

A DataLoader alone would take new shared memory for every batch: its pages, cleared and mapped one
by one, cost a fifth of what it takes to decode what they hold.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .decode import BrokenImageError

Place = TypeVar("Place")
Rest = TypeVar("Rest")

# Batches that each process makes ahead.
AHEAD = 2
# From a process's first SIGTERM to its end; torchrun gives main processes as long.
GRACE_SECONDS = 30


def made_by_workers(
    make: Callable[[Place], tuple[Tensor, Rest]],
    places: Sequence[Place],
    shape: Sequence[int],
    workers: int,
    *,
    pinned: bool = False,
) -> Iterator[tuple[Tensor, Rest]]:
    """make(place) of each of `places`, in order: (pixels, anything small that can be pickled).

    shape: of the largest pixels, uint8 (B, 3, S, S); a batch may have fewer images. workers:
    processes; 0 for none. pinned: pixels in page-locked memory, for a CUDA device, where there
    are workers. Raises what `make` raises, BrokenImageError as it was.
    """
    if workers == 0:
        yield from map(make, places)
        return
    # One is taken from while the others are filled: a batch is asked for only once the one that
    # lay in its slot before has been taken.
    slots = _shared((AHEAD * workers + 1, *shape))
    # Its own generator: without one, a DataLoader draws from the global state.
    made = DataLoader(
        _Filling(make, slots),
        batch_size=None,
        sampler=list(enumerate(places)),
        num_workers=workers,
        prefetch_factor=AHEAD,
        collate_fn=_as_made,
        generator=torch.Generator(),
        worker_init_fn=leave_signals_to_the_main_process,
    )
    for number, found in enumerate(made):
        if isinstance(found, BrokenImageError):
            raise found
        count, rest = found
        yield _taken(slots[number % len(slots)][:count], pinned), rest


def _shared(shape: Sequence[int]) -> Tensor:
    slots = torch.empty(shape, dtype=torch.uint8)
    try:
        return slots.share_memory_()
    except RuntimeError as error:
        raise OSError(
            f"worker processes need {slots.nbytes >> 20} MiB of shared memory, which cannot be had "
            f"({error}); use fewer workers, smaller batches, or in a container a larger /dev/shm"
        ) from error


class _Filling(Dataset):
    """Hands an error over whole: raised here, it would arrive as the text of a traceback."""

    def __init__(self, make: Callable[[Any], tuple[Tensor, Any]], slots: Tensor) -> None:
        self.make, self.slots = make, slots

    def __getitem__(self, at: tuple[int, Any]) -> tuple[int, Any] | BrokenImageError:
        number, place = at
        try:
            pixels, rest = self.make(place)
        except BrokenImageError as error:
            return error
        self.slots[number % len(self.slots)][: len(pixels)] = pixels
        return len(pixels), rest


def _as_made(found: Any) -> Any:
    # A DataLoader's own would turn arrays into tensors, each in shared memory of its own.
    return found


def _taken(pixels: Tensor, pinned: bool) -> Tensor:
    # By one thread: the others of a parallel copy would go on spinning on the workers' cores.
    own = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=pinned)
    np.copyto(own.numpy(), pixels.numpy())
    return own


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
