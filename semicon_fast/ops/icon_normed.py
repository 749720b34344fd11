"""`semicon_fast::icon_attention_moments`, `icon_attention_normed` and the latter's gradient.

Together they compute ICON's two steps with BatchNorm and ReLU between them, without a separate pass
over the feature map for either. See `reference.icon_normed` for the math.
"""

from typing import Any

import torch
from torch import Tensor

from .. import reference
from ._checks import check_same_device, checked_step
from ._library import autocast, cast_floating, define, differentiable, once_differentiable
from .icon_attention import STEP, _fake, _gradients
from .icon_attention import _cast as _cast_step
from .icon_attention import _setup as _setup_step

# x and the fields of `reference.NormedStep`.
_NORMED = (
    "Tensor x, Tensor mean, Tensor variance, Tensor scale, Tensor shift, "
    f"{STEP}, float eps, bool batch_statistics"
)


def icon_attention_moments(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float = 1e-5,
    stacked: bool = False,
    residual_last: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """`icon_attention`, and the mean and biased variance (C,) of its output's channels.

    The moments are float32 (float64 for float64 inputs) and not differentiable: given
    `batch_statistics`, `icon_attention_normed` adds their part of the gradient itself. Raises as
    `icon_attention`.
    """
    step = weight, bias, num_heads, delta, stacked, residual_last
    result: tuple[Tensor, Tensor, Tensor] = _moments(
        x, *checked_step("icon_attention_moments", x, *step)
    )
    return result


def icon_attention_normed(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float = 1e-5,
    stacked: bool = False,
    residual_last: bool = False,
    *,
    eps: float = 1e-5,
    batch_statistics: bool = False,
) -> Tensor:
    """`icon_attention` of ReLU(BatchNorm(x)) for x (B, C, H, W) -> (B, C, H, W).

    mean, variance, scale and shift are (C,). `batch_statistics` states that mean and variance were
    computed from x, so that the gradient of x includes the part through them; they get no gradient
    themselves. See `reference.icon_attention_normed` for the arguments. Under autocast the four
    vectors keep their dtypes. Only first derivatives exist.

    Raises:
        TypeError, ValueError: as `icon_attention`; also ValueError for a vector that is not (C,),
            not floating point, or on another device.
    """
    op = "icon_attention_normed"
    step = checked_step(op, x, weight, bias, num_heads, delta, stacked, residual_last)
    channels = x.shape[1]
    vectors = {"mean": mean, "variance": variance, "scale": scale, "shift": shift}
    for name, value in vectors.items():
        if tuple(value.shape) != (channels,) or not value.is_floating_point():
            raise ValueError(
                f"{op}: {name} must be ({channels},) and floating point for {channels} channels, "
                f"got {tuple(value.shape)} {value.dtype}"
            )
        check_same_device(op, "x", x, name, value)
    result: Tensor = _normed(x, *vectors.values(), *step, float(eps), batch_statistics)
    return result


def _fake_moments(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.promote_types(x.dtype, torch.float32)
    moments = [x.new_empty(x.shape[1], dtype=dtype) for _ in range(2)]
    return _fake(x), moments[0], moments[1]


def _fake_normed_backward(grad: Tensor, x: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    norm = reference.NormedStep(*arguments)
    like = (t.new_empty(t.shape) for t in (norm.scale, norm.shift, norm.weight))
    return _fake(x), *like, norm.weight.new_empty(norm.weight.shape[0])


def _setup_moments(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _setup_step(ctx, inputs, output[0])
    ctx.mark_non_differentiable(*output[1:])


def _gradients_of_moments(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    return _gradients(ctx, grad)


def _setup_normed(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:7])
    ctx.options = inputs[7:]


def _gradients_of_normed(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    tensors = ctx.saved_tensors
    d_x, d_scale, d_shift, d_weight, d_bias = _normed_backward(grad, *tensors, *ctx.options)
    d_bias = None if tensors[-1] is None else d_bias
    return d_x, None, None, d_scale, d_shift, d_weight, d_bias, *(None for _ in ctx.options)


def _cast_normed(dtype: torch.dtype, x: Tensor, *rest: Any) -> tuple[Any, ...]:
    vectors, step = rest[:4], rest[4:]
    weights = (cast_floating(value, dtype) for value in step[:2])
    return cast_floating(x, dtype), *vectors, *weights, *step[2:]


_moments = define(
    f"icon_attention_moments(Tensor x, {STEP}) -> (Tensor, Tensor, Tensor)",
    reference.icon_attention_moments,
    _fake_moments,
)
_normed = define(
    f"icon_attention_normed({_NORMED}) -> Tensor", reference.icon_attention_normed, _fake
)
_normed_backward = define(
    f"icon_attention_normed_backward(Tensor grad, {_NORMED}) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    reference.icon_attention_normed_backward,
    _fake_normed_backward,
)
differentiable(_moments, _gradients_of_moments, _setup_moments)
differentiable(_normed, _gradients_of_normed, _setup_normed)
once_differentiable(_normed_backward)
autocast(_moments, _cast_step)
autocast(_normed, _cast_normed)
autocast(_normed_backward)
