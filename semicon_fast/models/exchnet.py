"""ExchNet (ECCV 2020): one code from the concatenated features of an object and its parts."""

from typing import Any

import torch
from torch import Tensor, nn

from ..layers import SEM
from .backbones import Stage4, Trunk, global_average_pool, per_image, spec
from .base import HashModel, check_code_length
from .outputs import HashOutput
from .weights import Weights, load_stage4, load_trunk, pretrained


class ExchNet(HashModel):
    """Images (B, 3, S, S), any S -> codes (B, k) in (-1, 1), which are one whole.

    The trunk (stages 1 to 3) computes features E. The attention network, SEM's without a mask,
    computes m maps A. The local branch applies a stage 4 that all parts share to A_j * E, the
    global branch another stage 4 to E. The pooled features [part 1, ..., part m, global] are
    concatenated, and one linear layer with bias and tanh maps them to the code. Every bit depends
    on all parts, so that `bit_groups` has the single group "global".

    Args:
        code_length: bits k, at least 2.
        parts: number m of attention maps, at least 2.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101", "tiny" or "micro".
        weights: ImageNet weights of the trunk and both stages 4, see `weights.pretrained`; None
            initialises everything at random. Attention and the linear layer are always initialised
            at random.
    """

    network = "exchnet"

    def __init__(
        self,
        code_length: int,
        *,
        parts: int = 4,
        backbone: str = "resnet50",
        weights: Weights = None,
    ) -> None:
        if check_code_length(code_length) < 2:
            raise ValueError(f"code_length must be at least 2, got {code_length}")
        if not isinstance(parts, int) or parts < 2:
            raise ValueError(f"parts must be an int of at least 2, got {parts!r}")
        super().__init__(code_length)
        self.parts, self.backbone_name = parts, backbone
        shape = spec(backbone)
        self.part_shape = parts, shape.channels(4)
        self.backbone = Trunk(backbone)
        self.refine_global = Stage4(backbone)
        self.refine_local = Stage4(backbone)
        self.attention = SEM(shape.channels(3), parts, attention="none")
        self.feature_size = shape.channels(4)
        self.hash = nn.Linear((parts + 1) * shape.channels(4), code_length)
        if weights is not None:
            state = pretrained(backbone, weights)
            load_trunk(self.backbone, state)
            for stage in (self.refine_global, self.refine_local):
                load_stage4(stage, backbone, state, by_number=False)

    def options(self) -> dict[str, Any]:
        """The constructor arguments without `weights`, which are in the state dict."""
        return {
            "code_length": self.code_length,
            "parts": self.parts,
            "backbone": self.backbone_name,
        }

    def forward(
        self, images: Tensor, anchors: Tensor | None = None, replaced: Tensor | None = None
    ) -> HashOutput:
        """images (B, 3, S, S) -> codes (B, k), features (B, F), parts (B, m, F), maps, part_maps.

        Args:
            images: the images.
            anchors: part features of the images' classes, (B, m, F), for the feature exchange.
            replaced: bool (B, m), the parts whose features are replaced by `anchors` before the
                linear layer. Both are used in training only, and given together. The returned
                parts are always the image's own.
        """
        if images.is_cpu and not self.training:
            # CPU convolutions use channels-last without reordering their input first.
            images = images.contiguous(memory_format=torch.channels_last)
        trunk = self.backbone(images)
        maps = self.attention(trunk)
        features = global_average_pool(self.refine_global(trunk))
        refined = self.refine_local.refine_parts(trunk, maps)
        parts = used = per_image(global_average_pool(refined), self.parts)
        if self.training and anchors is not None and replaced is not None:
            used = torch.where(replaced.unsqueeze(-1), anchors.to(parts.dtype), parts)
        codes = torch.tanh(self.hash(torch.cat([used.flatten(1), features], dim=1)))
        return HashOutput(codes, features, parts, maps, per_image(refined.mean(1), self.parts))
