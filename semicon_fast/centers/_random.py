"""Random centers."""

from math import comb

import torch
from torch import Tensor

from ._codebook import MAX_LISTED_BITS, all_words, check_size, random_words


def random(
    classes: int, bits: int, generator: torch.Generator | None = None, *, balanced: bool = True
) -> Tensor:
    """Different random words with as many +1 as -1 (for an odd length, one more or one fewer).

    Where there are fewer balanced words than classes, any different words.

    Args:
        classes: number of classes C, 2 to 2^k.
        bits: bits k.
        generator: source of random numbers, on the CPU; None: torch's global one.
        balanced: False: any different words, each as likely as another.

    Returns:
        centers, int8 (C, k) of -1 and +1.
    """
    check_size(classes, bits)
    balanced = balanced and classes <= comb(bits, bits // 2) * (1 + bits % 2)
    if bits <= MAX_LISTED_BITS:
        words = all_words(bits)
        if balanced:
            words = words[words.sum(1, dtype=torch.int64).abs() == bits % 2]
        order = torch.randperm(len(words), generator=generator)
        return words[order[:classes]]
    found = torch.zeros(0, bits, dtype=torch.int8)
    while len(found) < classes:
        missing = classes - len(found)
        draw = _balanced_words if balanced else random_words
        found = torch.cat([found, draw(missing, bits, generator)])
        found = found[_first_of_each(found)]
    return found


def _balanced_words(count: int, bits: int, generator: torch.Generator | None) -> Tensor:
    """The middle of a random order is where +1 begins."""
    order = torch.rand(count, bits, generator=generator).argsort(1).argsort(1)
    half = torch.full((count, 1), bits // 2)
    if bits % 2:
        half += (random_words(count, 1, generator) > 0).long()
    return torch.where(order < half, 1, -1).to(torch.int8)


def _first_of_each(words: Tensor) -> Tensor:
    """Positions of the words that do not occur earlier, ascending."""
    _, group = words.unique(dim=0, return_inverse=True)
    first = torch.full((int(group.max()) + 1,), len(words))
    first.scatter_reduce_(0, group, torch.arange(len(words)), "amin")
    return first.sort().values
