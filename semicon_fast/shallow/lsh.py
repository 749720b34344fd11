"""Locality-sensitive hashing: signs of random projections."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ._base import generator
from ._linear import LinearHasher, mean_of


class LSH(LinearHasher):
    """Signs of Gaussian random projections of centred features (Charikar, STOC 2002).

    A bit of two vectors differs with a probability of their angle over pi, so the Hamming distance
    estimates the angle between centred features. `fit` takes from the features only their mean.

    Args:
        bits: length of a code, also beyond the width of the features.
        seed: of the projections.
    """

    name = "lsh"

    def _learn(self, features: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:
        shape = (features.shape[1], self.bits)
        drawn = torch.randn(shape, generator=generator(self.seed), dtype=torch.float64)
        return {"mean": mean_of(features), "projection": drawn}
