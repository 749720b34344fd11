"""What is common to all codebooks: checks, distances, files."""

import os
from math import comb
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from ..arrays import check_integer
from ..files import atomic_write

# A codebook of up to so many bits is chosen among all words of that length.
MAX_LISTED_BITS = 16


class Quality(NamedTuple):
    """The least and the mean Hamming distance between two centers of a codebook."""

    least: int
    mean: float


def check_size(classes: int, bits: int) -> None:
    """Raises ValueError or TypeError unless there can be so many different codes of so many bits.

    Two classes with the same center could not be told apart, so more than 2^k of them are refused.
    """
    check_integer(classes, "classes", 2)
    check_integer(bits, "bits", 2, 4096)
    if bits < 64 and classes > 2**bits:
        raise ValueError(
            f"classes must be at most 2^bits = {2**bits}, so that no two classes share a center, "
            f"got {classes} classes at {bits} bits"
        )


def check_centers(centers: Tensor) -> Tensor:
    """`centers`. Raises ValueError unless they are (C, k) of -1 and +1 with C >= 2."""
    if not isinstance(centers, Tensor) or centers.ndim != 2 or len(centers) < 2:
        shape = tuple(centers.shape) if isinstance(centers, Tensor) else type(centers).__name__
        raise ValueError(f"centers must be a tensor (C, k) with C >= 2, got {shape}")
    if not bool((centers.abs() == 1).all()):
        raise ValueError("centers must be -1 or +1 in every bit")
    return centers


def distances(centers: Tensor) -> Tensor:
    """Hamming distances between all centers, int64 (C, C). centers: (C, k) of -1 and +1."""
    codes = check_centers(centers).float()
    return ((codes.shape[1] - codes @ codes.T) / 2).round().long()


def quality(centers: Tensor) -> Quality:
    """Least and mean Hamming distance over all pairs. centers: (C, k) of -1 and +1, C >= 2."""
    table = distances(centers)
    row, column = torch.triu_indices(len(table), len(table), 1)
    pairs = table[row, column]
    return Quality(int(pairs.min()), float(pairs.double().mean()))


def gilbert_varshamov(classes: int, bits: int) -> int:
    """The distance that SHC demands of its centers, by the Gilbert-Varshamov bound: the smallest d
    with sum_{i<d} C(bits, i) >= 2^bits / classes.

    Around so many centers the balls of radius d - 1 have together as many words as there are.
    """
    check_size(classes, bits)
    words, distance = 0, 0
    while classes * words < 2**bits:
        words += comb(bits, distance)
        distance += 1
    return distance


def all_words(bits: int) -> Tensor:
    """All 2^bits words of -1 and +1, int8 (2^bits, bits), for at most `MAX_LISTED_BITS` bits."""
    numbers = torch.arange(2**bits)[:, None] >> torch.arange(bits)
    return (2 * (numbers & 1) - 1).to(torch.int8)


def random_words(count: int, bits: int, generator: torch.Generator | None) -> Tensor:
    """Random words of -1 and +1, int8 (count, bits)."""
    drawn = torch.randint(0, 2, (count, bits), generator=generator)
    return (2 * drawn - 1).to(torch.int8)


def save(centers: Tensor, path: str | os.PathLike[str]) -> None:
    """Write centers (C, k) of -1 and +1 to a .safetensors file, as int8 `centers`."""
    content = serialise({"centers": check_centers(centers).to(torch.int8).contiguous()})
    with atomic_write(path) as file:
        file.write(content)


def load(path: str | os.PathLike[str]) -> Tensor:
    """Centers from a file that `save` wrote, int8 (C, k).

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"centers file {path} does not exist")
    try:
        content = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no .safetensors file of centers: {error}") from error
    if "centers" not in content:
        raise ValueError(f"{path} holds no tensor `centers`, only {', '.join(sorted(content))}")
    try:
        return check_centers(content["centers"]).to(torch.int8)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
