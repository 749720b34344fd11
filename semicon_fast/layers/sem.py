"""SEM, the suppression-enhancing mask module: successive attention maps (paper section 3.2)."""

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
    """Feature map (B, C, H, W) -> attention maps (B, parts, H, W), all >= 0.

    A small network of bottlenecks without down-sampling computes a guidance P_1 of C / 16 channels.
    Map i is computed from P_i by its own 1x1 convolution; P_{i+1} is P_i masked so that the cells
    which map i attends to are suppressed (Eq. 5 to 9).

    Args:
        in_channels: channels C of the features, a multiple of 64.
        parts: number of maps m, >= 1.
        alpha: exponent of Eq. 8, >= 0; None for 0.3 ("paper") or 0.15 ("official").
        variant: "paper": standard deviation over each image, mask not clamped, gradient through the
            mask. "official", as in the released network: standard deviation over the whole batch
            (so maps 2, 3, ... of an image depend on its batch), mask clamped to [0, 2], no gradient
            through it.
        attention: "sem"; "erase", which instead drops the cells above half of the map's maximum
            (supplement 1); "none", which computes every map from P_1 (the ablation without SEM).

    Eq. 9 mentions only the convolution; in both variants BatchNorm and ReLU follow it, as in the
    released code. The convolutions of the maps hold weights and are not called as modules, so hooks
    on them do not run. Raises ValueError for other values.
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
        # The mask has one value per cell, so it commutes with the 1x1 convolutions: all maps are
        # convolved first, and the masks are applied to these few channels instead of the guidance.
        # As a matrix product, which on the CPU takes a third of the time of a convolution here.
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
    """score (B, 1, H, W) -> 0 where it exceeds half of the image's maximum, else 1; no gradient.

    For a score of all zeros the mask is 1 everywhere (supplement 1).
    """
    score = score.detach()
    return (score <= score.amax((2, 3), keepdim=True) / 2).to(score.dtype)


def _convolution(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
    )
