"""Supervised hashing with kernels: bits found one after another, each on what the others missed."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ..arrays import check_integer
from ._base import Hasher, blocks, generator
from ._kernel import draw_anchors, gaussian, squared_distances
from ._linear import generalised_eigh


class KSH(Hasher):
    """Supervised hashing with kernels (Liu et al., CVPR 2012).

    Codes are the signs of (k(x) - mean) projection, where k(x) are Gaussian kernels of x with
    anchors and mean is k's over the training rows. Over a sample of labelled rows, whose similarity
    is S = 1 for a shared label and -1 otherwise, the bits minimise |Y Y' - bits S|^2 one by one.

    Args:
        bits: length of a code.
        anchors: training rows that the kernels are centred on, all where there are fewer.
        sample: labelled rows that the bits are learned on, all where there are fewer.
        iterations: most steps of gradient descent for one bit.
        seed: of the anchors and the sample.

    The kernels' variance is the mean squared distance between rows and anchors, as in the authors'
    code.
    """

    name = "ksh"
    supervised = True
    STATE = ("anchors", "variance", "mean", "projection")

    def __init__(
        self,
        bits: int,
        *,
        anchors: int = 300,
        sample: int = 2000,
        iterations: int = 500,
        seed: int = 0,
    ) -> None:
        self.bits = bits
        self.anchors = anchors
        self.sample = sample
        self.iterations = iterations
        self.seed = seed

    def check_parameters(self) -> None:
        super().check_parameters()
        check_integer(self.anchors, "anchors", 1)
        check_integer(self.sample, "sample", 2)
        check_integer(self.iterations, "iterations", 0)

    def _learn(self, features: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:
        assert labels is not None
        anchors = draw_anchors(features, self.anchors, self.seed)
        total = torch.zeros((), dtype=torch.float64, device=features.device)
        for block in blocks(features, len(anchors)):
            total += squared_distances(block, anchors).sum()
        variance = total / (len(features) * len(anchors))
        if not bool(variance > 0):
            raise ValueError(
                "features must differ between rows to fit ksh, got the same row N times"
            )
        mean = torch.zeros(len(anchors), dtype=torch.float64, device=features.device)
        for block in blocks(features, len(anchors)):
            mean += gaussian(block, anchors, variance).sum(0) / len(features)
        # A stream of its own, so that the sample does not begin with the anchors.
        drawn = torch.randperm(len(features), generator=generator(self.seed + 1))[: self.sample]
        chosen = drawn.to(features.device)
        kernel = gaussian(features[chosen].double(), anchors, variance) - mean
        bits = learn_bits(kernel, labels[chosen], self.bits, self.iterations)
        projection = torch.stack([vector for vector, _ in bits], dim=1)
        return {
            "anchors": anchors,
            "variance": variance,
            "mean": mean,
            "projection": projection,
        }

    def _project(self, features: Tensor, state: Mapping[str, Tensor]) -> Tensor:
        kernel = gaussian(features, state["anchors"], state["variance"])
        return (kernel - state["mean"]) @ state["projection"]


def similarity_of(targets: Tensor) -> Tensor:
    """S (n, n): 1 where two rows of targets (n, C) share a class, else -1."""
    return (targets @ targets.T > 0).double().mul_(2).sub_(1)


class Residue:
    """R = bits S - Y Y', what the bits Y (n, t) have not explained, as an operator: R @ x.

    Rows with equal labels have equal rows in S, so S = P S' P' with P (n, D) the indicator of D
    distinct label sets, and neither S nor R is formed.
    """

    def __init__(self, targets: Tensor, bits: int) -> None:
        distinct, index = torch.unique(targets, dim=0, return_inverse=True)
        self.member = torch.nn.functional.one_hot(index, len(distinct)).to(targets)
        self.table = bits * similarity_of(distinct)
        self.found = targets.new_zeros(len(targets), 0)

    def __matmul__(self, x: Tensor) -> Tensor:
        """(n,) or (n, c) -> the same shape."""
        explained = self.found @ (self.found.T @ x)
        return self.member @ (self.table @ (self.member.T @ x)) - explained

    def take(self, signs: Tensor) -> None:
        """Subtract y y' for one more bit y, (n,) of -1 and +1."""
        self.found = torch.cat([self.found, signs.unsqueeze(1)], dim=1)


def learn_bits(
    kernel: Tensor, targets: Tensor, bits: int, iterations: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields for each bit its vector a (m,) and its values y = sign(K a), (n,) of -1 and +1.

    Greedy minimisation of |sum_t y_t y_t' - bits S|^2 (Liu et al., section 3.2): with the residue
    R = bits S - (sum of the earlier y y'), the next bit maximises y' R y. The top generalised
    eigenvector of (K' R K, K'K) is the start of a descent on a smooth substitute of the sign, whose
    result is kept if its bits are better.

    kernel: K, float64 (n, m), centred. targets: float64 (n, C) of 0 and 1; S is 1 where two rows
    share a class, else -1.
    """
    residue = Residue(targets, bits)
    metric = kernel.T @ kernel
    # K'K is singular where anchors coincide or outnumber the rows.
    metric.diagonal().add_(1e-8 * metric.diagonal().mean())
    for _ in range(bits):
        vector = generalised_eigh(kernel.T @ (residue @ kernel), metric)[1][:, 0]
        # Eigenvectors have a' K'K a = 1; this is the scale of n signs.
        vector = vector * math.sqrt(len(kernel))
        signs = signs_of(kernel @ vector)
        smooth = descend(kernel, residue, vector, iterations)
        others = signs_of(kernel @ smooth)
        if others @ (residue @ others) > signs @ (residue @ signs):
            vector, signs = smooth, others
        yield vector, signs
        residue.take(signs)


def signs_of(values: Tensor) -> Tensor:
    """-1 and +1, of 0 too: the sign of 0 is +1, as in packed codes."""
    return torch.where(values >= 0, 1.0, -1.0).to(values)


def descend(kernel: Tensor, residue: Residue, start: Tensor, iterations: int) -> Tensor:
    """Lower -y' R y with y = 2 sigmoid(K a) - 1 by Nesterov's accelerated gradient, from `start`.

    Steps are halved until the quadratic bound holds that the method needs. Ends after `iterations`
    steps, where the cost changes by no more than 0.01 n, or where no step lowers it.
    """

    def smooth(vector: Tensor) -> tuple[Tensor, float]:
        values = torch.tanh(kernel @ vector / 2)  # = 2 sigmoid(K a) - 1
        pull = residue @ values
        return kernel.T @ (pull * (1 - values * values)), -float(values @ pull)

    before = now = start
    cost = smooth(start)[1]
    curvature, weight, momentum = 1.0, 1.0, 0.0
    for _ in range(iterations):
        ahead = now + momentum * (now - before)
        uphill, bound = smooth(ahead)
        square = float(uphill @ uphill)
        for _ in range(51):
            trial = ahead + uphill / curvature
            reached = smooth(trial)[1]
            if reached <= bound - square / (2 * curvature):
                break
            curvature *= 2
        else:
            return now
        before, now = now, trial
        if abs(reached - cost) <= 1e-2 * len(kernel):
            break
        cost = reached
        following = (1 + math.sqrt(1 + 4 * weight * weight)) / 2
        momentum, weight = (weight - 1) / following, following
    return now
