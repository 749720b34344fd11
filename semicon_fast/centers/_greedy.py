"""Centers one after the other, each as far from the earlier ones as a search finds."""

import torch
from torch import Tensor

from ._codebook import MAX_LISTED_BITS, all_words, check_centers, check_size, random_words

# Random words that are looked at for each center where not all words can be.
CANDIDATES = 4096


def greedy(
    classes: int,
    bits: int,
    generator: torch.Generator | None = None,
    *,
    start: Tensor | None = None,
) -> Tensor:
    """Each center is the word with the largest least distance to those before it.

    It is chosen among all words of up to 16 bits, and among 4,096 random ones of more; of equal
    words, the one with the largest mean distance.

    Args:
        classes: number of classes C, 2 to 2^k.
        bits: bits k.
        generator: source of random numbers, on the CPU; None: torch's global one.
        start: centers to begin with, (c, k) of -1 and +1; None: one random word.

    Returns:
        centers, int8 (C, k) of -1 and +1.
    """
    check_size(classes, bits)
    centers = torch.empty(classes, bits, dtype=torch.int8)
    given = random_words(1, bits, generator) if start is None else check_centers(start)[:classes]
    centers[: len(given)] = given
    if bits <= MAX_LISTED_BITS:
        _among_all(centers, len(given), generator)
    else:
        _among_random(centers, len(given), generator)
    return centers


def _among_all(centers: Tensor, known: int, generator: torch.Generator | None) -> None:
    bits = centers.shape[1]
    words = all_words(bits)
    # In a random order, so that of equally good words a random one is first.
    words = words[torch.randperm(len(words), generator=generator)].float()
    products = words @ centers[:known].float().T
    largest, total = products.max(1).values, products.sum(1)
    for row in range(known, len(centers)):
        chosen = _best(largest, total, row, bits)
        centers[row] = words[chosen].to(torch.int8)
        product = words @ words[chosen]
        largest, total = torch.maximum(largest, product), total + product


def _among_random(centers: Tensor, known: int, generator: torch.Generator | None) -> None:
    bits = centers.shape[1]
    row = known
    while row < len(centers):
        words = random_words(CANDIDATES, bits, generator)
        products = words.float() @ centers[:row].float().T
        largest = products.max(1).values
        chosen = _best(largest, products.sum(1), row, bits)
        if largest[chosen] < bits:
            centers[row] = words[chosen]
            row += 1


def _best(largest: Tensor, total: Tensor, rows: int, bits: int) -> Tensor:
    """The first word with the smallest largest inner product, then the smallest sum."""
    return (largest * (2 * rows * bits + 1) + total).argmin()
