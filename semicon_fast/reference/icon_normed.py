"""ICON's two steps fused with the BatchNorm and ReLU between them.

The first step also returns the moments of its output; the second step normalises its input.

With n = B P values per channel, r = 1 / sqrt(variance + eps), xhat = (x - mean) r and G the
gradient of the ReLU's input (the step's gradient where the ReLU's output is positive, else 0),

    z = ReLU(scale xhat + shift),
    dshift = sum G,  dscale = sum G xhat,  dx = scale r G,

and if mean and variance were computed from x, dx includes the part through them:

    dx = scale r (G - (dshift + xhat dscale) / n).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .icon_attention import IconStep, icon_attention, icon_attention_backward
from .layout import memory_format_of


class NormedStep(NamedTuple):
    """Arguments of `icon_attention_normed` after x, in the order of its schema.

    mean: (C,), subtracted from x.
    variance: (C,), biased; x is divided by sqrt(variance + eps).
    scale: (C,), BatchNorm's weight.
    shift: (C,), BatchNorm's bias.
    weight, bias, num_heads, delta, stacked, residual_last: as in `icon_attention`.
    eps: BatchNorm's eps.
    batch_statistics: whether mean and variance were computed from x, so that the gradient of x
        includes the part through them. They get no gradient in either case.
    """

    mean: Tensor
    variance: Tensor
    scale: Tensor
    shift: Tensor
    weight: Tensor
    bias: Tensor | None
    num_heads: int
    delta: float
    stacked: bool
    residual_last: bool
    eps: float
    batch_statistics: bool

    @property
    def vectors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """mean, variance, scale and shift."""
        return self[:4]

    @property
    def step(self) -> IconStep:
        """Weights and options of the step."""
        return IconStep(*self[4:10])


def icon_attention_moments(x: Tensor, *step: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`icon_attention`, and the mean and biased variance of each channel of its output.

    step: the fields of `IconStep`. Mean and variance are (C,), in float32 or wider, over images and
    cells of the output after rounding.
    """
    out = icon_attention(x, *step)
    values = out.to(torch.promote_types(out.dtype, torch.float32))
    variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
    return out, mean, variance


def icon_attention_normed(x: Tensor, *arguments: Any) -> Tensor:
    """`icon_attention` of ReLU(BatchNorm(x)): x (B, C, H, W) -> (B, C, H, W).

    arguments: the fields of `NormedStep`. The normalisation is computed in float32 or wider and
    rounded to x's dtype.
    """
    norm = NormedStep(*arguments)
    standard, _ = _standardised(x, norm)
    return icon_attention(_rectified(standard, norm, x), *norm.step)


def icon_attention_normed_backward(
    grad: Tensor, x: Tensor, *arguments: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, scale, shift, weight and bias (3 C,) for grad (B, C, H, W).

    arguments: the fields of `NormedStep`.
    """
    norm = NormedStep(*arguments)
    standard, inverse = _standardised(x, norm)
    z = _rectified(standard, norm, x)
    d_z, d_weight, d_bias = icon_attention_backward(grad, z, *norm.step)
    d_affine = torch.where(z > 0, d_z, 0).to(standard.dtype)
    d_shift = d_affine.sum((0, 2, 3))
    d_scale = (d_affine * standard).sum((0, 2, 3))
    if norm.batch_statistics:
        share = max(x.shape[0] * x.shape[2] * x.shape[3], 1)
        d_affine = d_affine - (_column(d_shift) + standard * _column(d_scale)) / share
    d_x = (d_affine * _column(norm.scale) * inverse).to(x.dtype)
    d_x = d_x.contiguous(memory_format=memory_format_of(x))
    return d_x, d_scale.to(norm.scale.dtype), d_shift.to(norm.shift.dtype), d_weight, d_bias


def _standardised(x: Tensor, norm: NormedStep) -> tuple[Tensor, Tensor]:
    """(x - mean) / sqrt(variance + eps), and 1 / sqrt(variance + eps) as (1, C, 1, 1)."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    inverse = 1 / (_column(norm.variance.to(dtype)) + norm.eps).sqrt()
    return (x.to(dtype) - _column(norm.mean)) * inverse, inverse


def _rectified(standard: Tensor, norm: NormedStep, like: Tensor) -> Tensor:
    z = (standard * _column(norm.scale) + _column(norm.shift)).relu().to(like.dtype)
    return z.contiguous(memory_format=memory_format_of(like))


def _column(vector: Tensor) -> Tensor:
    return vector.view(1, -1, 1, 1)
