"""Semantic hash centers (SHC, ACCV 2022): near where classes are similar, never nearer than d.

For the inner products of the centers, sum over pairs i < j of::

    h_i h_j / (C - 1)  +  alpha (h_i h_j - s_ij)^2     subject to  h_i h_j <= k - 2 d

is lowered center by center, where s is the symmetric part of the given similarities, since a pair
counts in the terms of both of its classes. With the others fixed, ADMM proposes a center b. It
writes {-1, 1}^k as the intersection of the box [-1, 1]^k (z1) and the sphere of radius sqrt(k)
(z2), and the constraint with a slack z3 >= 0::

    [2 rho I + (rho + 2 alpha) H'H] b
        = rho (z1 + z2) + H'(rho (t - z3) - y3 + 2 alpha s) - y1 - y2 - c

with H the other centers, t = k - 2 d and c the mean of H. Only rho changes, so that H'H is
diagonalised once a center and a step costs O(C k). A proposal is taken only if it breaks the
constraint less, or as much with a lower sum, so that neither ever rises.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..arrays import check_integer
from ._codebook import all_words, check_centers, check_size, gilbert_varshamov
from ._hadamard import hadamard_start
from ._similarity import check_similarity

# As in the released code rho goes from 5e-5 to 1e9, duals grow by STEP * rho; it takes ten times as
# many steps, which find little more.
RHO, GROWTH, STEPS, STEP = 5e-5, 1.15, 220, 1.618
# Steps between two looks at the signs of the proposal, and what is near enough to them to end.
SCORED, CONVERGED = 4, 1e-3
# Proposals that are made from the same state, before each is held to the state of that moment.
BLOCK = 16
# Sweeps in a row that may change nothing: each begins ADMM with other random duals.
PATIENCE = 3
# Words near a center that are looked at when it has to move away from others.
CANDIDATES = 1024


class Score(NamedTuple):
    """Lower is better: by how much the constraint is broken, then the sum that is minimised."""

    excess: float
    value: float


def semantic(
    classes: int,
    bits: int,
    generator: torch.Generator | None = None,
    *,
    similarity: Tensor | None = None,
    least: int | None = None,
    alpha: float = 1.0,
    sweeps: int = 20,
    start: Tensor | None = None,
) -> Tensor:
    """Centers whose inner products follow the similarities of the classes, at least `least` apart.

    Args:
        classes: number of classes C, 2 to 2^k.
        bits: bits k.
        generator: source of random numbers, on the CPU; None: torch's global one.
        similarity: targets of the inner products, (C, C) in [-k, k], see `class_similarity`; need
            not be symmetric. None: the mean distance alone is made large.
        least: least distance d; None: `gilbert_varshamov(classes, bits)`. Larger ones may not be
            reached: `quality` says what was. 1: centers only differ; the released scripts have 0.
        alpha: weight of the similarities, > 0.
        sweeps: at most so many passes over the classes; it ends with three that change nothing.
        start: centers to begin with, (C, k) of -1 and +1. None: signs of the similarities' leading
            eigenvectors in a random rotation (without similarities, rows of a Hadamard matrix),
            moved until they are `least` apart.

    Returns:
        centers, int8 (C, k) of -1 and +1.
    """
    check_size(classes, bits)
    check_integer(sweeps, "sweeps", 0)
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha must be a finite number above 0, got {alpha}")
    distance = gilbert_varshamov(classes, bits) if least is None else least
    check_integer(distance, "least", 1, bits)
    if similarity is None:
        targets, alpha = torch.zeros(classes, classes, dtype=torch.float64), 0.0
    else:
        targets = check_similarity(similarity, classes)
        targets = (targets + targets.T) / 2
    centers = _first_guess(targets, bits, generator) if start is None else start
    if tuple(check_centers(centers).shape) != (classes, bits):
        raise ValueError(f"start must be ({classes}, {bits}), got {tuple(centers.shape)}")
    problem = _Problem(centers.double(), targets, float(alpha), bits - 2 * distance)
    if start is None:
        problem.separate(generator)
    unchanged = 0
    for _ in range(sweeps):
        order = torch.randperm(classes, generator=generator)
        moved = sum(problem.improve(rows, generator) for rows in order.split(BLOCK))
        unchanged = 0 if moved else unchanged + 1
        if unchanged == PATIENCE:
            break
    return problem.centers.to(torch.int8)


def _first_guess(targets: Tensor, bits: int, generator: torch.Generator | None) -> Tensor:
    """Centers (C, k) whose inner products follow the targets, but which may coincide."""
    if not bool(targets.any()):
        return hadamard_start(len(targets), bits, generator)[0]
    values, vectors = torch.linalg.eigh(targets)
    leading = vectors[:, -bits:] * values[-bits:].clamp(min=0).sqrt()
    mixed = torch.randn(leading.shape[1], bits, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(mixed.T).Q.T
    return torch.where(leading @ rotation >= 0, 1, -1).to(torch.int8)


class _Problem:
    """The centers, float64 (C, k), and what is demanded of their inner products."""

    def __init__(self, centers: Tensor, targets: Tensor, alpha: float, limit: int) -> None:
        self.centers, self.targets, self.alpha, self.limit = centers, targets, alpha, limit

    def scores(self, rows: Tensor, words: Tensor) -> Tensor:
        """The score of each word as the center of its class, float64 (n, 2): excess, value."""
        products = words @ self.centers.T
        products[torch.arange(len(rows)), rows] = torch.nan
        return self._scored(products, self.targets[rows])

    def _scored(self, products: Tensor, targets: Tensor) -> Tensor:
        """The scores of words by their inner products with other centers, (n, c); NaN is none.

        A word that another center has already is worse than any constraint that is broken.
        """
        classes, bits = self.centers.shape
        excess = (products - self.limit).clamp(min=0) + 2 * classes * bits * (products == bits)
        errors = (products - targets).square().nansum(1)
        value = products.nansum(1) / (classes - 1) + self.alpha * errors
        return torch.stack([excess.nansum(1), value], 1)

    def separate(self, generator: torch.Generator | None) -> None:
        """Move each center that is too near to an earlier one to the best of all words, or of many
        random ones around it where they are too many."""
        bits = self.centers.shape[1]
        listed = all_words(bits).double() if 2**bits <= CANDIDATES else None
        for row in range(1, len(self.centers)):
            own, earlier = self.centers[row], self.centers[:row]
            if float((earlier @ own).max()) <= self.limit:
                continue
            if listed is None:
                share = torch.rand(CANDIDATES, 1, generator=generator) / 2
                flipped = torch.rand(CANDIDATES, bits, generator=generator) < share
                words = torch.where(flipped, -own, own)
            else:
                words = listed
            products = words @ earlier.T
            score = self._scored(products, self.targets[row, :row])
            nearest = score[:, 0] == score[:, 0].min()
            self.centers[row] = words[score[:, 1].where(nearest, torch.inf).argmin()]

    def improve(self, rows: Tensor, generator: torch.Generator | None) -> int:
        """Replace the centers of these classes where that is better; returns how many."""
        proposals, changed = self._propose(rows, generator), 0
        for row, word in zip(rows, proposals, strict=True):
            if torch.equal(word, self.centers[row]):
                continue
            both = torch.stack([self.centers[row], word])
            now, then = (Score(*score) for score in self.scores(row.repeat(2), both).tolist())
            if then < now:
                self.centers[row] = word
                changed += 1
        return changed

    def _propose(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        """ADMM for each class with all other centers fixed; the best of the signs it passes."""
        count, classes, bits = len(rows), *self.centers.shape
        mask = torch.ones(count, classes, dtype=torch.float64)
        mask[torch.arange(count), rows] = 0
        others, own = self.centers, self.centers[rows]
        gram = others.T @ others - own[:, :, None] * own[:, None, :]
        values, vectors = torch.linalg.eigh(gram)
        constant = 2 * self.alpha * (mask * self.targets[rows]) @ others
        constant -= mask @ others / (classes - 1)
        z1, z2, z3 = own.clone(), own.clone(), torch.zeros_like(mask)
        y1, y2 = (torch.rand(2, count, bits, generator=generator, dtype=torch.float64)).unbind()
        y3 = torch.rand(count, classes, generator=generator, dtype=torch.float64)
        best, best_score = own.clone(), self.scores(rows, own)
        rho = RHO
        for step in range(STEPS):
            pull = mask * (rho * (self.limit - z3) - y3)
            right = rho * (z1 + z2) + pull @ others - y1 - y2 + constant
            scale = 2 * rho + (rho + 2 * self.alpha) * values.clamp(min=0)
            inner = (vectors.mT @ right[:, :, None])[..., 0] / scale
            word = (vectors @ inner[:, :, None])[..., 0]
            products = word @ others.T
            z1 = (word + y1 / rho).clamp(-1, 1)
            z2 = torch.nn.functional.normalize(word + y2 / rho) * bits**0.5
            z3 = (self.limit - products - y3 / rho).clamp(min=0)
            y1 += STEP * rho * (word - z1)
            y2 += STEP * rho * (word - z2)
            y3 += STEP * rho * (products + z3 - self.limit)
            if step % SCORED == 0:
                signs = torch.where(word >= 0, 1.0, -1.0).double()
                score = self.scores(rows, signs)
                better = (score[:, 0] < best_score[:, 0]) | (
                    (score[:, 0] == best_score[:, 0]) & (score[:, 1] < best_score[:, 1])
                )
                best[better], best_score[better] = signs[better], score[better]
                if bool(((word - signs).abs() < CONVERGED).all()):
                    break
            rho *= GROWTH
        return best
