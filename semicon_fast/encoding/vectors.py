"""Encodes feature vectors with a hasher into a gallery."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..data.vectors import Vectors
from ..search.gallery import Piece, write_gallery
from ..search.gallery_files import check_free
from .options import Summary

if TYPE_CHECKING:
    from ..shallow import Hasher


def hashed_blocks(hasher: Hasher, source: Vectors, device: str) -> Iterator[np.ndarray]:
    """Packed codes of the vectors of a file, uint8 (n, bytes), block by block.

    Raises as `Vectors.blocks` and `Hasher.encode`.
    """
    for block in source.blocks():
        yield hasher.encode(torch.from_numpy(block).to(device)).cpu().numpy()


def encode_vectors(
    hasher: Hasher,
    sources: Sequence[Vectors],
    output: str | os.PathLike[str],
    *,
    about: dict[str, Any] | None = None,
    device: str = "cpu",
    index: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Encode feature vectors into a gallery, the same as `encode_images` writes for images.

    Files are read and encoded block by block, and the gallery replaces `output` when it is
    complete.

    Args:
        hasher: fitted.
        sources: files of vectors; their names and labels are those of the gallery.
        output: folder of the gallery.
        about: additional entries of gallery.json about the origin of the codes, JSON-serialisable.
        device: where the codes are computed: "cpu", "cuda", "cuda:1" ...
        index: also write the index file.
        overwrite: replace an existing gallery.
        progress: called as progress(done, total) with numbers of vectors.

    Raises ValueError for vectors that are not as wide as those the hasher was fitted to, or not
    finite, FileExistsError if `output` exists, OSError if a file cannot be written.
    """
    check_free(output, overwrite)
    began, total = time.monotonic(), sum(map(len, sources))
    for source in sources:
        if source.shape[1] != hasher.n_features_in_:
            raise ValueError(
                f"{source.place} has vectors of {source.shape[1]:,} values, the hasher was fitted "
                f"to {hasher.n_features_in_:,}"
            )

    def pieces() -> Iterator[Piece]:
        done = 0
        for source in sources:
            labels = source.labels or [""] * len(source)
            start = 0
            for codes in hashed_blocks(hasher, source, device):
                here = slice(start, start + len(codes))
                yield codes, source.names[here], labels[here]
                start, done = start + len(codes), done + len(codes)
                if progress is not None:
                    progress(done, total)

    write_gallery(output, pieces(), hasher.bits, total, about or {}, index=index)
    return Summary(total, hasher.bits, total, [], time.monotonic() - began)
