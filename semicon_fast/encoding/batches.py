"""Batches of decoded images of a catalog, produced by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ..data.decode import Readable
from ..data.transforms import Transform
from ..data.workers import map_in_workers
from .checkpoint import EncodingCheckpoint


class Decoded(NamedTuple):
    """A batch of decoded images.

    pixels: uint8 (n, 3, S, S), the images that could be decoded. kept: int64 (n,), their positions
    in the part. broken: "path (cause)" of the others. part: number of the part. last: whether this
    is the last batch of the part.
    """

    pixels: Tensor
    kept: np.ndarray
    broken: list[str]
    part: int
    last: bool


def _decode_batch(
    checkpoint: EncodingCheckpoint, transform: Transform, batch_size: int, at: tuple[int, int]
) -> tuple[Tensor, tuple[np.ndarray, list[str], int, bool]]:
    part, first = at
    entries = checkpoint.entries(part)
    stop = min(first + batch_size, len(entries))
    images = Readable(entry.image for entry in entries[first:stop])
    pixels = transform.pixels(images)
    kept = first + np.array(images.kept, dtype=np.int64)
    return pixels, (kept, images.broken, part, stop == len(entries))


def decoded_batches(
    checkpoint: EncodingCheckpoint,
    parts: Sequence[int],
    transform: Transform,
    batch_size: int,
    *,
    workers: int,
    pinned: bool = False,
) -> Iterator[Decoded]:
    """The batches of `parts`, in order.

    Which images share a batch depends only on the catalog and batch_size, not on the workers.
    pinned: return pixels in page-locked memory, for copies to a CUDA device.
    """
    places = [
        (p, first) for p in parts for first in range(0, checkpoint.image_count(p), batch_size)
    ]
    workers = 0 if len(places) == 1 else min(workers, len(places))
    shape = batch_size, 3, transform.size, transform.size
    make = partial(_decode_batch, checkpoint, transform, batch_size)
    for pixels, rest in map_in_workers(make, places, shape, workers, pinned=pinned):
        yield Decoded(pixels, *rest)
