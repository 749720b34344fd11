"""SEM, attention maps found one after the other (paper section 3.2)."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from .. import ops
from .choices import VARIANTS, check_choice, initialise_convolutions

ATTENTIONS = ("sem", "erase", "none")
ALPHA = {"paper": 0.3, "official": 0.15}


class SEM(nn.Module):
    """Features (B, C, H, W) -> attention maps (B, parts, H, W), none of them negative.

    A small network of bottlenecks without down-sampling turns the features into a guidance P_1
    of C / 16 channels. Map i is read from P_i by its own 1x1 convolution; P_{i+1} is P_i masked
    by what map i attends to (Eq. 5 to 9).

    Args:
        in_channels: channels C of the features, a multiple of 64.
        parts: number of maps m.
        alpha: exponent of Eq. 8; None: 0.3 ("paper"), 0.15 ("official").
        variant: "paper": deviation over each image, mask not clamped, gradient through the mask.
            "official", the released network: deviation over the whole batch (so an image's maps
            2, 3, ... depend on its batch), mask kept within [0, 2], no gradient through it.
        attention: "sem"; "erase", which drops the cells above half the maximum of the map
            instead (supplement 1); "none", every map from P_1 (the ablation without SEM).

    Eq. 9 names only the convolution; in both variants BatchNorm and ReLU follow it, as released.
    The convolutions of the maps hold weights and are not called as modules, so hooks on them do
    not run.
    """

    def __init__(
        self,
        in_channels: int,
        parts: int = 3,
        *,
        alpha: float | None = None,
        variant: str = "paper",
        attention: str = "sem",
    ) -> None:
        super().__init__()
        if in_channels < 64 or in_channels % 64:
            raise ValueError(f"SEM: in_channels must be a multiple of 64, got {in_channels}")
        if parts < 1:
            raise ValueError(f"SEM: parts must be at least 1, got {parts}")
        self.variant = check_choice("SEM", "variant", variant, VARIANTS)
        self.attention = check_choice("SEM", "attention", attention, ATTENTIONS)
        self.alpha = ALPHA[variant] if alpha is None else float(alpha)
        if not self.alpha >= 0:
            raise ValueError(f"SEM: alpha must be at least 0, got {alpha}")
        self.in_channels, self.parts = in_channels, parts
        wide, narrow = in_channels // 4, in_channels // 16
        self.layer4 = nn.Sequential(
            Bottleneck(in_channels, in_channels // 4),
            _convolution(in_channels, wide),
            Bottleneck(wide, wide // 4),
            _convolution(wide, narrow),
            Bottleneck(narrow, narrow // 4),
        )
        for i in range(parts):
            self.add_module(f"feature{i + 1}", _convolution(narrow, 1))
        initialise_convolutions(self)

    def forward(self, features: Tensor) -> Tensor:
        """features (B, C, H, W) -> maps (B, parts, H, W)."""
        heads = [f"feature{i + 1}" for i in range(self.parts)]
        convolutions = [cast(nn.Conv2d, self.get_submodule(f"{head}.0")) for head in heads]
        weight = torch.cat([convolution.weight.flatten(1) for convolution in convolutions])
        guidance = self.layer4(features)
        # A mask has one value a cell, so f * P convolved is f * (P convolved): what is masked is
        # the channel of each map to come, and not the guidance. As a product, which for so few
        # channels takes a third of a convolution's time on the CPU.
        rest = (weight @ guidance.flatten(2)).unflatten(2, guidance.shape[2:])
        maps: list[Tensor] = []
        for head in heads:
            if maps:
                rest = self._masked(rest[:, 1:], maps[-1])
            maps.append(F.relu(self.get_submodule(f"{head}.1")(rest[:, :1])))
        return torch.cat(maps, dim=1)

    def _masked(self, guidance: Tensor, score: Tensor) -> Tensor:
        if self.attention == "none":
            return guidance
        if self.attention == "erase":
            return guidance * erase_mask(score)
        official = self.variant == "official"
        return ops.sem_mask(
            guidance, score, self.alpha, per_batch=official, clamp=official, detach=official
        )

    def extra_repr(self) -> str:
        """The arguments, for `repr`."""
        return (
            f"in_channels={self.in_channels}, parts={self.parts}, alpha={self.alpha}, "
            f"variant={self.variant!r}, attention={self.attention!r}"
        )


def erase_mask(score: Tensor) -> Tensor:
    """score (B, 1, H, W) -> 0 where it exceeds half the image's maximum, else 1; no gradient.

    A map of zeros erases nothing (supplement 1).
    """
    score = score.detach()
    return (score <= score.amax((2, 3), keepdim=True) / 2).to(score.dtype)


def _convolution(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
    )
