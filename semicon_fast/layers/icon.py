"""ICON, the interactive channel transformation (paper section 3.3)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import ops
from .choices import VARIANTS, check_choice, initialise_convolutions


class ICON(nn.Module):
    """Attention between channels: x (B, C, H, W) -> (B, C, H, W), C = dim.

    In step 1 the d = C / num_heads channels of each of num_heads groups attend to each other. After
    BatchNorm and ReLU, in step 2 the num_heads channels with the same index in their groups attend
    to each other. Each step adds a residual (Eq. 11 to 13).

    Args:
        dim: number of channels C.
        num_heads: number of groups N in the first step; must divide dim.
        delta: the constant under the signed square root (Eq. 12), >= 0.
        variant: "paper", or "official" for the released network, which has the same parameters and
            differs in two ways: the projected channels are split as (3, heads, d), so that q, k and
            v of a head come from different groups, and the second residual is added without
            restoring its channel order.
        steps: 2, or 1 for the ablation without the second step (supplement 2), which has no `norm`
            and no `qkv2`.

    `qkv` and `qkv2` hold the weights of grouped 1x1 convolutions under the released names; they
    are not called as modules, so hooks on them do not run.

    Raises ValueError for other values.
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
        tokens = self.dim // self.num_heads
        first = self.qkv.weight, self.qkv.bias, self.num_heads, self.delta, official
        if self.norm is None or self.qkv2 is None:
            y = ops.icon_attention(x, *first)
            return y.unflatten(1, (tokens, self.num_heads)).transpose(1, 2).flatten(1, 2)
        second = self.qkv2.weight, self.qkv2.bias, tokens, self.delta, official, official
        plain = is_plain(self.norm)
        # With a single value per channel, the BatchNorm module raises its own error.
        if plain and ops.loads_norm(x, max(tokens, self.num_heads)) and x.numel() > self.dim:
            return self._fused(x, self.norm, first, second)
        y = self.norm(ops.icon_attention(x, *first))
        # In place if no hook can hold a reference to the normalised map.
        return ops.icon_attention(F.relu(y, inplace=plain), *second)

    def _fused(
        self, x: Tensor, norm: nn.BatchNorm2d, first: tuple[Any, ...], second: tuple[Any, ...]
    ) -> Tensor:
        """Both steps with `norm` fused: its arithmetic and its statistics, without calling it."""
        affine = norm.weight, norm.bias
        if not norm.training and norm.running_mean is not None and norm.running_var is not None:
            y = ops.icon_attention(x, *first)
            running = norm.running_mean, norm.running_var
            return ops.icon_attention_normed(y, *running, *affine, *second, eps=norm.eps)
        y, mean, variance = ops.icon_attention_moments(x, *first)
        if norm.training:
            update_running_statistics(norm, mean, variance, y.numel() // self.dim)
        return ops.icon_attention_normed(
            y, mean, variance, *affine, *second, eps=norm.eps, batch_statistics=True
        )

    def extra_repr(self) -> str:
        """The arguments, for `repr`."""
        return (
            f"dim={self.dim}, num_heads={self.num_heads}, delta={self.delta}, "
            f"variant={self.variant!r}, steps={self.steps}"
        )


def is_plain(norm: nn.Module) -> bool:
    """Whether `norm` does no more than BatchNorm2d with scale and shift: no subclass, no hooks.

    Also False for momentum None, where the factor depends on a counter in device memory.
    """
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return (
        type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.momentum is not None
        and "forward" not in norm.__dict__
        and not any(getattr(norm, name) for name in hooks)
    )


@torch.no_grad()
def update_running_statistics(
    norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int
) -> None:
    """Updates BatchNorm's running statistics as a training step does.

    mean and variance (C,) are those of a batch of `count` values per channel; variance is biased.
    """
    if not norm.track_running_stats or norm.running_mean is None or norm.running_var is None:
        return
    momentum = norm.momentum or 0.0
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    unbiased = variance * (count / (count - 1))
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), momentum)
