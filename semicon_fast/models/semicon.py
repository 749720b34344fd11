"""SEMICON (paper section 3): global and part features of an image in one binary code."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import SEM
from ..layers.choices import VARIANTS, check_choice
from .backbones import Stage4, Trunk, global_average_pool, spec
from .base import HashModel, check_code_length
from .outputs import HashOutput
from .weights import Weights, load_stage4, load_trunk, pretrained

ICONS = ("two-step", "one-step", "none")
MAX_PARTS = 8


class SEMICON(HashModel):
    """Images (B, 3, S, S), any S -> codes (B, k) in (-1, 1), ordered [global, part 1, ..., m].

    The trunk (stages 1 to 3) computes features T. The global branch applies stage 4 to T. The
    local branch applies a second stage 4, shared by all parts, to M_i * T for each attention map
    M_i of SEM (Eq. 10). Each branch ends in global average pooling, a linear layer without bias,
    and tanh.

    Args:
        code_length: bits k, at least 2 * parts. Each part gets floor(k / (2 * parts)) bits, the
            global branch the rest: 6 + 3 x 2, 12 + 3 x 4, 17 + 3 x 5 and 24 + 3 x 8 for 12, 24, 32
            and 48 bits with three parts.
        parts: number m of attention maps, 1 to 8.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101", "tiny" or "micro".
        weights: ImageNet weights of the trunk and both stages 4, see `weights.pretrained`; None
            initialises everything at random. SEM, ICON and the hash weights are always initialised
            at random, and with variant "official" and ICON also the last block of stage 4, as in
            the released code.
        variant: "paper", or "official" for the released network and its checkpoints; see `SEM`,
            `ICON`. Both have the same parameters. With "official" and more than one part, an
            image's codes depend on the batch that it is encoded in.
        attention: "sem", "erase" or "none", see `SEM`.
        icon: "two-step", "one-step" or "none".
        alpha: exponent of the mask, see `SEM`.
    """

    network = "semicon"

    def __init__(
        self,
        code_length: int,
        *,
        parts: int = 3,
        backbone: str = "resnet50",
        weights: Weights = None,
        variant: str = "paper",
        attention: str = "sem",
        icon: str = "two-step",
        alpha: float | None = None,
    ) -> None:
        sizes = split_bits(check_code_length(code_length), parts)
        super().__init__(code_length)
        self.variant = check_choice("SEMICON", "variant", variant, VARIANTS)
        self.icon = check_choice("SEMICON", "icon", icon, ICONS)
        self.parts, self.backbone_name = parts, backbone
        shape = spec(backbone)
        self.backbone = Trunk(backbone)
        self.refine_global = Stage4(backbone, icon, variant)
        self.refine_local = Stage4(backbone, icon, variant)
        self.attention = SEM(
            shape.channels(3), parts, alpha=alpha, variant=variant, attention=attention
        )
        self.feature_size = shape.channels(4)
        self.bit_groups = {}
        end = 0
        for i, size in enumerate(sizes):
            weight = torch.empty(size, shape.channels(4))
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
            self.register_parameter(self._hash_name(i), nn.Parameter(weight))
            self.bit_groups[f"part{i}" if i else "global"] = slice(end, end + size)
            end += size
        if weights is not None:
            self._load_pretrained(weights)

    def options(self) -> dict[str, Any]:
        """The constructor arguments without `weights`, which are in the state dict."""
        return {
            "code_length": self.code_length,
            "parts": self.parts,
            "backbone": self.backbone_name,
            "variant": self.variant,
            "attention": self.attention.attention,
            "icon": self.icon,
            "alpha": self.attention.alpha,
        }

    def forward(self, images: Tensor) -> HashOutput:
        """images (B, 3, S, S) -> codes (B, k), features (B, C'), parts (B, m, C'), maps."""
        if images.is_cpu and not self.training:
            # CPU convolutions use channels-last without reordering their input first.
            images = images.contiguous(memory_format=torch.channels_last)
        trunk = self.backbone(images)
        maps = self.attention(trunk)
        features = global_average_pool(self.refine_global(trunk))
        parts = self.refine_local.parts(trunk, maps)
        codes = [
            F.linear(feature, self.get_parameter(self._hash_name(i)))
            for i, feature in enumerate((features, *parts.unbind(1)))
        ]
        return HashOutput(torch.tanh(torch.cat(codes, dim=1)), features, parts, maps)

    def _load_pretrained(self, weights: Weights) -> None:
        state = pretrained(self.backbone_name, weights)
        by_number = self.variant == "official" and self.icon != "none"
        load_trunk(self.backbone, state)
        for stage in (self.refine_global, self.refine_local):
            load_stage4(stage, self.backbone_name, state, by_number)

    @staticmethod
    def _hash_name(branch: int) -> str:
        return f"W_L{branch}" if branch else "W_G"


def split_bits(code_length: int, parts: int) -> list[int]:
    """Bits of each branch, [global, part 1, ..., part m]; ValueError if a part would have none."""
    if not 1 <= parts <= MAX_PARTS:
        raise ValueError(f"parts must be from 1 to {MAX_PARTS}, got {parts}")
    if code_length < 2 * parts:
        raise ValueError(
            f"code_length must be at least 2*parts = {2 * parts} so that each of the {parts} "
            f"parts has a bit, got {code_length}"
        )
    local = code_length // (2 * parts)
    return [code_length - parts * local] + [local] * parts
