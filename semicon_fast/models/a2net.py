"""A2-Net (NeurIPS 2021): ExchNet's features, and a code that is decoded by its own weights."""

import torch
from torch import Tensor, nn

from .exchnet import ExchNet
from .outputs import HashOutput
from .weights import Weights


class A2Net(ExchNet):
    """Images (B, 3, S, S), any S -> codes (B, k) in (-1, 1), which are one whole.

    The features are those of `ExchNet`: m parts and the object, concatenated to f. The code is
    u = tanh(W f) without bias, and the transposed weights decode it to W^T u, in training alone,
    where the method `a2net` compares it with f.

    Args:
        code_length: bits k, at least 2.
        parts: number m of attention maps, at least 2. The paper's released code has 4, that of the
            published runs in aassxun/DSH_Analysis as many as bits.
        backbone: as for `ExchNet`.
        weights: as for `ExchNet`.
    """

    network = "a2net"
    decodes = True

    def __init__(
        self,
        code_length: int,
        *,
        parts: int = 4,
        backbone: str = "resnet50",
        weights: Weights = None,
    ) -> None:
        super().__init__(code_length, parts=parts, backbone=backbone, weights=weights)
        # No part is exchanged for an anchor.
        self.part_shape = None
        self.hash = nn.Linear(self.hash.in_features, code_length, bias=False)

    def forward(self, images: Tensor) -> HashOutput:  # type: ignore[override]
        """images (B, 3, S, S) -> codes (B, k), features (B, F), parts (B, m, F), maps, and in
        training decoded (B, (m + 1) F)."""
        output = super().forward(images)._replace(part_maps=None)
        if not self.training:
            return output
        return output._replace(decoded=torch.matmul(output.codes, self.hash.weight))
