"""Baseline network: a residual network, one linear layer, tanh (ADSH; SEMICON's "vanilla")."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from .backbones import Stage4, Trunk, global_average_pool, spec
from .base import HashModel
from .outputs import HashOutput
from .weights import Weights, load_stage4, load_trunk, pretrained


class BackboneHash(HashModel):
    """Images (B, 3, S, S), any S -> codes (B, k) in (-1, 1) and pooled features (B, F).

    Args:
        code_length: bits k.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101", "tiny" or "micro".
        weights: ImageNet weights, see `weights.pretrained`; None: random initialisation.
    """

    network = "backbone"

    def __init__(
        self, code_length: int, *, backbone: str = "resnet50", weights: Weights = None
    ) -> None:
        super().__init__(code_length)
        shape = spec(backbone)
        self.backbone_name = backbone
        self.backbone = Trunk(backbone)
        self.refine = Stage4(backbone)
        self.hash = nn.Linear(shape.channels(4), code_length)
        nn.init.kaiming_uniform_(self.hash.weight, a=math.sqrt(5))
        if weights is not None:
            state = pretrained(backbone, weights)
            load_trunk(self.backbone, state)
            load_stage4(self.refine, backbone, state, by_number=False)

    def options(self) -> dict[str, Any]:
        """The constructor arguments without `weights`, which are in the state dict."""
        return {"code_length": self.code_length, "backbone": self.backbone_name}

    def forward(self, images: Tensor) -> HashOutput:
        """images (B, 3, S, S) -> codes (B, k), features (B, F)."""
        features = global_average_pool(self.refine(self.backbone(images)))
        return HashOutput(torch.tanh(self.hash(features)), features)
