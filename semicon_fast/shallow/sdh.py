"""Supervised discrete hashing: codes from which a linear classifier tells the classes."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..arrays import check_integer, check_number
from ._base import Hasher, blocks, generator
from ._kernel import draw_anchors, gaussian


class SDH(Hasher):
    """Supervised discrete hashing (Shen et al., CVPR 2015) with the squared loss.

    Minimises |Y - B W|^2 + lam |W|^2 + nu (|B - phi F|^2 + ridge |F|^2) over the codes B of the
    training rows, a classifier W and a map F from kernels to codes, one after the other; Y has one
    column a class. phi(x) are Gaussian kernels of x, scaled to unit norm, with anchors, and a 1.
    The code of a vector is sign(phi F), of training rows too.

    The paper states the objective without the ridge, which the authors' code has. That code also
    begins each update of B from zeros; this one goes on from B, so the objective never rises.

    Args:
        bits: length of a code.
        anchors: training rows that the kernels are centred on, all where there are fewer; `fit`
            holds N x (anchors + 1) numbers in float64.
        width: standard deviation of the kernels, 0.4 for vectors of unit norm.
        iterations: rounds of B, W and F.
        sweeps: most passes over the bits in one update of B.
        lam, nu, ridge: weights of the objective.
        seed: of the anchors and the first codes.
    """

    name = "sdh"
    supervised = True
    STATE = ("anchors", "projection")

    def __init__(
        self,
        bits: int,
        *,
        anchors: int = 1000,
        width: float = 0.4,
        iterations: int = 5,
        sweeps: int = 10,
        lam: float = 1.0,
        nu: float = 1e-5,
        ridge: float = 1e-2,
        seed: int = 0,
    ) -> None:
        self.bits = bits
        self.anchors = anchors
        self.width = width
        self.iterations = iterations
        self.sweeps = sweeps
        self.lam = lam
        self.nu = nu
        self.ridge = ridge
        self.seed = seed

    def check_parameters(self) -> None:
        super().check_parameters()
        check_integer(self.anchors, "anchors", 1)
        check_integer(self.iterations, "iterations", 1)
        check_integer(self.sweeps, "sweeps", 1)
        check_number("width", self.width, 0, above=True)
        check_number("lam", self.lam, 0, above=True)
        check_number("nu", self.nu, 0)
        check_number("ridge", self.ridge, 0, above=True)

    def _learn(self, features: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:
        assert labels is not None
        anchors = _unit(draw_anchors(features, self.anchors, self.seed))
        phi = torch.cat([self._kernels(b, anchors) for b in blocks(features, len(anchors))])
        shape = (len(features), self.bits)
        drawn = torch.randint(0, 2, shape, generator=generator(self.seed + 1)) * 2 - 1
        codes = drawn.to(phi)
        solve_map = ridge_solver(phi, self.ridge)
        classifier, projection = ridge_solver(codes, self.lam)(labels), solve_map(codes)
        for _ in range(self.iterations):
            updated = update_codes(
                codes, labels, classifier, phi @ projection, self.nu, self.sweeps
            )
            if torch.equal(updated, codes):
                break
            codes = updated
            classifier, projection = ridge_solver(codes, self.lam)(labels), solve_map(codes)
        return {"anchors": anchors, "projection": projection}

    def _kernels(self, features: Tensor, anchors: Tensor) -> Tensor:
        """phi: (n, F) -> (n, m + 1)."""
        kernels = gaussian(_unit(features), anchors, self.width**2)
        return torch.cat([kernels, kernels.new_ones(len(kernels), 1)], dim=1)

    def _project(self, features: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        return self._kernels(features, state["anchors"]) @ state["projection"]


def ridge_solver(inputs: Tensor, ridge: float) -> Callable[[Tensor], Tensor]:
    """The function that maps targets T (N, c) to (A'A + ridge I)^-1 A'T, (m, c); inputs A (N, m).

    Its result minimises |T - A X|^2 + ridge |X|^2.
    """
    gram = inputs.T @ inputs
    gram.diagonal().add_(ridge)
    lower = torch.linalg.cholesky(gram)
    return lambda targets: torch.cholesky_solve(inputs.T @ targets, lower)


def update_codes(
    codes: Tensor, targets: Tensor, classifier: Tensor, mapped: Tensor, nu: float, sweeps: int
) -> Tensor:
    """New codes (N, k) of -1 and +1: bit after bit, until a sweep over them changes none.

    codes B (N, k), targets Y (N, C), classifier W (k, C), mapped = phi F (N, k).
    """
    codes = codes.clone()
    linear, gram = nu * mapped + targets @ classifier.T, classifier @ classifier.T
    for _ in range(sweeps):
        before = codes.clone()
        for bit in range(codes.shape[1]):
            update_bit(codes, linear, gram, bit)
        if torch.equal(codes, before):
            break
    return codes


def update_bit(codes: Tensor, linear: Tensor, gram: Tensor, bit: int) -> None:
    """Set one bit of all codes B (N, k), in place, to its best values with the others fixed.

    b = sign(q - B' W' w) with q its column of Q = nu phi F + Y W', w its row of the classifier, and
    B', W' without this bit (Shen et al., Eq. 11). linear: Q (N, k); gram: W W' (k, k).
    """
    others = codes @ gram[:, bit] - codes[:, bit] * gram[bit, bit]
    codes[:, bit] = torch.where(linear[:, bit] >= others, 1.0, -1.0).to(codes)


def _unit(rows: Tensor) -> Tensor:
    return torch.nn.functional.normalize(rows, eps=1e-300)
