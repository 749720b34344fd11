"""Centers from Hadamard matrices, whose rows differ in half of the bits."""

import warnings

import torch
from torch import Tensor

from ._codebook import check_size
from ._greedy import greedy

SIGN_DRAWS = 100


def hadamard_matrix(order: int) -> Tensor | None:
    """A Hadamard matrix, int8 (order, order) of -1 and +1 with H H' = order I, first column +1.

    Sylvester's construction doubles a matrix; Paley's gives those of order p + 1 for primes p = 3
    (mod 4): 12, 20, 24, 44, 48, ... None for orders that neither gives.
    """
    if order == 1:
        return torch.ones(1, 1, dtype=torch.int8)
    if order > 2 and order % 4 == 0 and _is_prime(order - 1):
        return _paley(order - 1)
    half = hadamard_matrix(order // 2) if order > 0 and order % 2 == 0 else None
    if half is None:
        return None
    return torch.cat([torch.cat([half, half], 1), torch.cat([half, -half], 1)])


def hadamard(classes: int, bits: int, generator: torch.Generator | None = None) -> Tensor:
    """Rows of a Hadamard matrix of order k, then their negations: distances of k / 2 and k.

    The signs of the rows are random, for with the matrix's own the first bit would be the same for
    all classes. For k + 1 an order (k = 11, 15, 23, 47, ...) the constant first column is dropped
    instead: distances of (k + 1) / 2 among the first k + 1 classes.

    Where there are more classes than rows and negations, or no such matrix, the other centers are
    found by `greedy`, which a RuntimeWarning says.

    Args:
        classes: number of classes C, 2 to 2^k.
        bits: bits k.
        generator: source of random numbers, on the CPU; None: torch's global one.

    Returns:
        centers, int8 (C, k) of -1 and +1.
    """
    rows, found = hadamard_start(classes, bits, generator)
    if found < classes:
        other = f"{classes - found} of {classes} centers" if found else "the centers"
        warnings.warn(
            f"Hadamard matrices give {found} centers of {bits} bits; {other} are found greedily",
            RuntimeWarning,
            stacklevel=2,
        )
    return rows


def hadamard_start(
    classes: int, bits: int, generator: torch.Generator | None
) -> tuple[Tensor, int]:
    """(centers int8 (C, k), how many of them are rows of a Hadamard matrix or negations)."""
    check_size(classes, bits)
    matrix = hadamard_matrix(bits)
    if matrix is not None:
        matrix = _signed(matrix, min(classes, bits), generator)
    else:
        longer = hadamard_matrix(bits + 1)
        matrix = None if longer is None else longer[:, 1:]
    if matrix is None:
        return greedy(classes, bits, generator), 0
    rows = torch.cat([matrix, -matrix])[:classes]
    if len(rows) == classes:
        return rows, classes
    return greedy(classes, bits, generator, start=rows), len(rows)


def _signed(matrix: Tensor, used: int, generator: torch.Generator | None) -> Tensor:
    """The rows with random signs, by which as few columns as in any draw are constant over the
    first `used` rows."""
    best, fewest = matrix, matrix.shape[1] + 1
    for _ in range(SIGN_DRAWS):
        signs = torch.randint(0, 2, (len(matrix), 1), generator=generator)
        drawn = matrix * (2 * signs - 1).to(torch.int8)
        constant = int((drawn[:used].sum(0, dtype=torch.int64).abs() == used).sum())
        if constant < fewest:
            best, fewest = drawn, constant
        if fewest == 0:
            break
    return best


def _paley(prime: int) -> Tensor:
    """Paley's matrix of order prime + 1 by quadratic residues, its first column made +1."""
    residues = torch.full((prime,), -1, dtype=torch.int8)
    residues[torch.arange(1, prime).square() % prime] = 1
    index = torch.arange(prime)
    matrix = torch.ones(prime + 1, prime + 1, dtype=torch.int8)
    matrix[1:, 1:] = residues[(index[None] - index[:, None]) % prime]
    matrix[1:, 0] = -1
    matrix[1:, 1:][index, index] = 1
    return matrix * matrix[:, :1]


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))
