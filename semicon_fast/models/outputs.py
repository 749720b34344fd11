"""What a hashing network returns."""

from typing import NamedTuple

from torch import Tensor


class HashOutput(NamedTuple):
    """One batch through a hashing network.

    codes: (B, k) real codes before the sign; in (-1, 1) where the network ends in tanh.
    features: (B, F) global feature that the codes are computed from.
    parts: (B, m, F) features of the local branch, None where a network has none.
    maps: (B, m, H, W) attention maps, None where a network has none.
    """

    codes: Tensor
    features: Tensor
    parts: Tensor | None = None
    maps: Tensor | None = None
