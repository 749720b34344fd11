"""Supervised ITQ: directions that correlate with the labels, rotated towards the corners."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from ..arrays import check_integer, check_number
from ._base import blocks
from ._linear import LinearHasher, check_width, generalised_eigh, mean_of
from .itq import learn_rotation, random_rotation


class CCAITQ(LinearHasher):
    """ITQ on canonical directions in place of principal ones (Gong et al., TPAMI 2013, section 4).

    The directions solve Cxy Cyy^-1 Cyx w = r^2 Cxx w for features x and one column y a class, and
    each is scaled by its correlation r, as in the authors' code.

    With one label a row at most C - 1 of C classes' directions correlate at all, so longer codes
    are those C - 1 directions rotated into more bits; fitting warns of it. Two classes leave one
    direction, of which every bit is a copy or the opposite, and all distances are 0 or `bits`.

    Args:
        bits: length of a code, at most the width of the features.
        iterations: updates of the rotation.
        ridge: added to the diagonals of both covariances.
        seed: of the first rotation.
    """

    name = "cca-itq"
    supervised = True

    def __init__(
        self, bits: int, *, iterations: int = 50, ridge: float = 1e-4, seed: int = 0
    ) -> None:
        self.bits = bits
        self.iterations = iterations
        self.ridge = ridge
        self.seed = seed

    def check_parameters(self) -> None:
        super().check_parameters()
        check_integer(self.iterations, "iterations", 0)
        check_number("ridge", self.ridge, 0, above=True)

    def _learn(self, features: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:
        assert labels is not None
        check_width(self.name, self.bits, features.shape[1])
        mean = mean_of(features)
        correlations, directions = canonical_directions(features, mean, labels, self.ridge)
        useful = labels.shape[1] - bool((labels.sum(1) == 1).all())
        if useful < self.bits:
            warnings.warn(
                f"{self.name}: {labels.shape[1]} classes give at most {useful} directions, so "
                f"{self.bits} bits say no more than those",
                RuntimeWarning,
                stacklevel=3,
            )
        scaled = (directions * correlations)[:, : self.bits]
        values = torch.cat([(block - mean) @ scaled for block in blocks(features)])
        start = random_rotation(self.bits, self.seed).to(values)
        return {"mean": mean, "projection": scaled @ learn_rotation(values, start, self.iterations)}


def canonical_directions(
    features: Tensor, mean: Tensor, targets: Tensor, ridge: float
) -> tuple[Tensor, Tensor]:
    """Canonical correlations (F,), the largest first, and their directions as columns (F, F).

    features (N, F), mean (F,) theirs, targets (N, C). Covariances divide by N - 1.
    """
    others = targets - targets.mean(0)
    device = features.device
    own = torch.zeros(2 * features.shape[1:], dtype=torch.float64, device=device)
    cross = torch.zeros(features.shape[1], targets.shape[1], dtype=torch.float64, device=device)
    done = 0
    for block in blocks(features):
        rows = block - mean
        own += rows.T @ rows
        cross += rows.T @ others[done : done + len(rows)]
        done += len(rows)
    own, cross, theirs = (m / (len(features) - 1) for m in (own, cross, others.T @ others))
    own.diagonal().add_(ridge)
    theirs.diagonal().add_(ridge)
    explained = cross @ torch.linalg.solve(theirs, cross.T)
    squares, directions = generalised_eigh(explained, own)
    return squares.clamp(min=0).sqrt(), directions
