"""Hashers whose bits are signs of linear functions, and the linear algebra they share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ._base import Hasher, blocks


class LinearHasher(Hasher):
    """Codes are the signs of (x - mean) projection. mean: (F,), projection: (F, bits)."""

    STATE = ("mean", "projection")

    def _project(self, features: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return (features - state["mean"]) @ state["projection"]


def mean_of(features: Tensor) -> Tensor:
    """The mean of the rows, float64 (F,), summed block by block."""
    total = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
    for block in blocks(features):
        total += block.sum(0)
    return total / len(features)


def generalised_eigh(matrix: Tensor, metric: Tensor) -> tuple[Tensor, Tensor]:
    """Solve A w = r B w for symmetric A and positive definite B, both (n, n).

    Returns eigenvalues (n,), the largest first, and eigenvectors as columns (n, n) with w' B w = 1,
    by way of B = L L' and the symmetric matrix L^-1 A L^-T. The sign of an eigenvector is that its
    largest entry is positive.
    """
    lower = torch.linalg.cholesky(metric)
    half = torch.linalg.solve_triangular(lower, matrix, upper=False)
    inner = torch.linalg.solve_triangular(lower, half.T, upper=False)
    values, vectors = sorted_eigh((inner + inner.T) / 2)
    found = torch.linalg.solve_triangular(lower.T, vectors, upper=True)
    return values, _with_positive_peaks(found)


def sorted_eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (n,), the largest first, and eigenvectors as columns, of a symmetric matrix.

    Signs as in `generalised_eigh`.
    """
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0), _with_positive_peaks(vectors.flip(1))


def _with_positive_peaks(vectors: Tensor) -> Tensor:
    peaks = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return torch.where(peaks < 0, -vectors, vectors)


def check_width(name: str, bits: int, width: int) -> None:
    """Raises ValueError if there are more bits than features, of which each bit needs one."""
    if bits > width:
        raise ValueError(
            f"bits must be at most {width}, the number of features, as {name} keeps one direction "
            f"of theirs for each bit; got {bits}"
        )
