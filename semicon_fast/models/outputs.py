"""Output of a hashing network."""

from typing import NamedTuple

from torch import Tensor


class HashOutput(NamedTuple):
    """Output of a hashing network for one batch.

    Attributes:
        codes: real-valued codes before the sign (B, k), in (-1, 1) if the network ends in tanh.
        features: global features (B, F), from which the codes are computed.
        parts: features of the local branch (B, m, F), None if the network has none.
        maps: attention maps (B, m, H, W), None if the network has none.
        part_maps: refined features of each part averaged over their channels, (B, m, h, w); only
            where a method needs them (ExchNet).
        decoded: what the codes decode to, the features of all parts and the global ones
            concatenated, (B, (m + 1) F); only in training, and where a method needs it (A2-Net).
    """

    codes: Tensor
    features: Tensor
    parts: Tensor | None = None
    maps: Tensor | None = None
    part_maps: Tensor | None = None
    decoded: Tensor | None = None
