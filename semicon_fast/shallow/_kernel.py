"""Gaussian kernels on anchors, what KSH and SDH use in place of the features themselves."""

import torch
from torch import Tensor

from ._base import generator


def draw_anchors(features: Tensor, count: int, seed: int) -> Tensor:
    """`count` different rows of features (N, F), or all where there are fewer, float64."""
    chosen = torch.randperm(len(features), generator=generator(seed))[:count]
    return features[chosen.to(features.device)].double()


def squared_distances(features: Tensor, anchors: Tensor) -> Tensor:
    """(n, F), (m, F) -> (n, m). Always by matrix products, so that a row's do not depend on n."""
    return torch.cdist(features, anchors, compute_mode="use_mm_for_euclid_dist").square_()


def gaussian(features: Tensor, anchors: Tensor, variance: Tensor | float) -> Tensor:
    """exp(-|x - a|^2 / (2 variance)): (n, F), (m, F) -> (n, m)."""
    return squared_distances(features, anchors).div_(-2 * variance).exp_()
