"""ICON, the interactive channel transformation (paper section 3.3)."""

import torch.nn.functional as F
from torch import Tensor, nn

from .. import ops
from .choices import VARIANTS, check_choice, initialise_convolutions


class ICON(nn.Module):
    """Channels attend to channels: x (B, C, H, W) -> (B, C, H, W), C = dim.

    Step 1 lets the d = C / num_heads channels of each of num_heads groups attend to each other;
    BatchNorm and ReLU; step 2 does the same for the num_heads channels of equal place in their
    groups. A residual is added in each step (Eq. 11 to 13).

    Args:
        dim: channels C.
        num_heads: groups N of the first step; must divide dim.
        delta: positive number under the signed square root (Eq. 12).
        variant: "paper", or "official" for the released network. It differs in two places with
            the same parameters: the projected channels are read as (3, heads, d), so that q, k, v
            of a head come from other groups, and the second residual is added without its
            channel order being reset.
        steps: 2, or 1 for the ablation without the second step (supplement 2), which has no
            `norm` and no `qkv2`.

    `qkv` and `qkv2` hold the weights of grouped 1x1 convolutions under the released names; they
    are not called as modules, so hooks on them do not run.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        delta: float = 1e-5,
        variant: str = "paper",
        steps: int = 2,
    ) -> None:
        super().__init__()
        if dim < 1 or num_heads < 1 or dim % num_heads:
            raise ValueError(
                f"ICON: num_heads must be positive and divide dim {dim}, got {num_heads}"
            )
        if steps not in (1, 2):
            raise ValueError(f"ICON: steps must be 1 or 2, got {steps}")
        if not delta >= 0:
            raise ValueError(f"ICON: delta must be at least 0, got {delta}")
        self.variant = check_choice("ICON", "variant", variant, VARIANTS)
        self.dim, self.num_heads, self.delta, self.steps = dim, num_heads, delta, steps
        self.qkv = nn.Conv2d(dim, 3 * dim, 1, groups=num_heads)
        self.norm = nn.BatchNorm2d(dim) if steps == 2 else None
        self.qkv2 = nn.Conv2d(dim, 3 * dim, 1, groups=dim // num_heads) if steps == 2 else None
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> (B, C, H, W)."""
        official = self.variant == "official"
        y = ops.icon_attention(
            x, self.qkv.weight, self.qkv.bias, self.num_heads, self.delta, stacked=official
        )
        tokens = self.dim // self.num_heads
        if self.norm is None or self.qkv2 is None:
            return y.unflatten(1, (tokens, self.num_heads)).transpose(1, 2).flatten(1, 2)
        return ops.icon_attention(
            F.relu(self.norm(y)),
            self.qkv2.weight,
            self.qkv2.bias,
            tokens,
            self.delta,
            stacked=official,
            residual_last=official,
        )

    def extra_repr(self) -> str:
        """The arguments, for `repr`."""
        return (
            f"dim={self.dim}, num_heads={self.num_heads}, delta={self.delta}, "
            f"variant={self.variant!r}, steps={self.steps}"
        )
