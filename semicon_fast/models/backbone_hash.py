"""Baseline network: a residual network and one linear layer, then tanh (ADSH; SEMICON's "vanilla")
or nothing."""

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
        norm: BatchNorm between the linear layer, whose weights start small, and tanh, so that each
            bit is +1 for about half of the images (SHC).
        tanh: False: without tanh, codes are unbounded (DPSH, HashNet, CSQ, OrthoHash, CRH).
    """

    network = "backbone"

    def __init__(
        self,
        code_length: int,
        *,
        backbone: str = "resnet50",
        weights: Weights = None,
        norm: bool = False,
        tanh: bool = True,
    ) -> None:
        super().__init__(code_length)
        shape = spec(backbone)
        self.backbone_name, self.tanh = backbone, tanh
        self.backbone = Trunk(backbone)
        self.refine = Stage4(backbone)
        self.feature_size = shape.channels(4)
        self.hash = nn.Linear(shape.channels(4), code_length)
        # Two-dimensional, as all that processes can synchronise; it sees images of one pixel.
        self.norm = nn.BatchNorm2d(code_length) if norm else None
        if norm:
            nn.init.normal_(self.hash.weight, std=0.01)
        else:
            nn.init.kaiming_uniform_(self.hash.weight, a=math.sqrt(5))
        if weights is not None:
            state = pretrained(backbone, weights)
            load_trunk(self.backbone, state)
            load_stage4(self.refine, backbone, state, by_number=False)

    def options(self) -> dict[str, Any]:
        """The constructor arguments without `weights`, which are in the state dict."""
        options: dict[str, Any] = {"code_length": self.code_length, "backbone": self.backbone_name}
        if self.norm is not None:
            options["norm"] = True
        return options if self.tanh else {**options, "tanh": False}

    def forward(self, images: Tensor) -> HashOutput:
        """images (B, 3, S, S) -> codes (B, k), features (B, F)."""
        features = global_average_pool(self.refine(self.backbone(images)))
        outputs = self._normalised(self.hash(features))
        return HashOutput(torch.tanh(outputs) if self.tanh else outputs, features)

    def _normalised(self, outputs: Tensor) -> Tensor:
        """The outputs of the linear layer, (B, k), after BatchNorm if there is one."""
        norm, pixels = self.norm, outputs[:, :, None, None]
        if norm is None:
            return outputs
        if self.training and len(outputs) == 1 and type(norm) is nn.BatchNorm2d:
            # One image has no statistics.
            kept = norm.running_mean, norm.running_var, norm.weight, norm.bias
            return nn.functional.batch_norm(pixels, *kept, eps=norm.eps).flatten(1)
        result: Tensor = norm(pixels)
        return result.flatten(1)
