"""Batches from worker processes, which write the pixels into reused shared-memory buffers.

A plain DataLoader allocates new shared memory for every batch. Zeroing and mapping its pages takes
a fifth of the time of decoding the images in them.
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

Key = TypeVar("Key")
Rest = TypeVar("Rest")

# Batches that each worker prefetches.
PREFETCH_BATCHES = 2
# Time from a worker's first SIGTERM to its end; torchrun gives main processes as long.
GRACE_SECONDS = 30


def map_in_workers(
    make: Callable[[Key], tuple[Tensor, Rest]],
    keys: Sequence[Key],
    shape: Sequence[int],
    workers: int,
    *,
    pinned: bool = False,
) -> Iterator[tuple[Tensor, Rest]]:
    """make(key) for each of `keys`, in order, computed by worker processes.

    Args:
        make: returns the pixels of a batch and any small object that can be pickled.
        keys: arguments of `make`, one per batch.
        shape: (B, 3, S, S), the shape of the largest batch, uint8; a batch may have fewer images.
        workers: worker processes; 0 runs `make` in this process.
        pinned: return pixels in page-locked memory, for copies to a CUDA device; without effect
            if workers is 0.

    Raises:
        OSError: there is not enough shared memory.
        BrokenImageError: as raised by `make` in a worker; other exceptions arrive as DataLoader
            passes them on.
    """
    if workers == 0:
        yield from map(make, keys)
        return
    # A ring of buffers: one is copied from while the others are filled. The DataLoader requests
    # batch n only after batch n - len(buffers), which used the same buffer, has been copied.
    buffers = _shared_buffers((PREFETCH_BATCHES * workers + 1, *shape))
    # With a generator of its own, the DataLoader does not draw from the global one.
    made = DataLoader(
        _BufferFiller(make, buffers),
        batch_size=None,
        sampler=list(enumerate(keys)),
        num_workers=workers,
        prefetch_factor=PREFETCH_BATCHES,
        collate_fn=_identity,
        generator=torch.Generator(),
        worker_init_fn=leave_signals_to_the_main_process,
    )
    for number, found in enumerate(made):
        if isinstance(found, BrokenImageError):
            raise found
        count, rest = found
        yield _copied(buffers[number % len(buffers)][:count], pinned), rest


def _shared_buffers(shape: Sequence[int]) -> Tensor:
    buffers = torch.empty(shape, dtype=torch.uint8)
    try:
        return buffers.share_memory_()
    except RuntimeError as error:
        raise OSError(
            f"worker processes need {buffers.nbytes >> 20} MiB of shared memory, which could not "
            f"be allocated ({error}); use fewer workers, smaller batches or, in a container, a "
            "larger /dev/shm"
        ) from error


class _BufferFiller(Dataset):
    """Writes batch `number` into its buffer. Returns BrokenImageError instead of raising it, since
    a DataLoader passes on only the traceback's text of what a worker raises."""

    def __init__(self, make: Callable[[Any], tuple[Tensor, Any]], buffers: Tensor) -> None:
        self.make, self.buffers = make, buffers

    def __getitem__(self, at: tuple[int, Any]) -> tuple[int, Any] | BrokenImageError:
        number, key = at
        try:
            pixels, rest = self.make(key)
        except BrokenImageError as error:
            return error
        self.buffers[number % len(self.buffers)][: len(pixels)] = pixels
        return len(pixels), rest


def _identity(found: Any) -> Any:
    # The default collate_fn would convert arrays to tensors, each in new shared memory.
    return found


def _copied(pixels: Tensor, pinned: bool) -> Tensor:
    # NumPy copies with one thread; torch's threads would keep spinning on the workers' cores.
    own = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=pinned)
    np.copyto(own.numpy(), pixels.numpy())
    return own


def leave_signals_to_the_main_process(worker: int) -> None:
    # Ctrl-C reaches every process of a terminal and torchrun's SIGTERM every process of a session.
    # The main process handles both, and a worker that died would interrupt its last checkpoint.
    # A second SIGTERM is meant for the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: object) -> None:
    # A main process that exits sends one SIGTERM and waits: the worker must end within this time.
    for each in (number, signal.SIGALRM):
        signal.signal(each, signal.SIG_DFL)
    signal.alarm(GRACE_SECONDS)
