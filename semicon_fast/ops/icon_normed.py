"""`semicon_fast::icon_attention_moments`, `icon_attention_normed` and the latter's gradient.

Together they compute ICON's two steps with BatchNorm and ReLU between them, without a separate pass
over the feature map for either. See `reference.icon_normed` for the math.
"""

from typing import Any

import torch
from torch import Tensor

from .. import reference
from ._checks import check_icon_step, check_same_device
from ._library import autocast, cast_floating, define, differentiable, once_differentiable
from .icon_attention import _backward as _step_backward
from .icon_attention import _cast as _cast_step

_STEP = "Tensor weight, Tensor? bias, int num_heads, float delta, bool stacked, bool residual_last"
_NORMED = (
    "Tensor x, Tensor mean, Tensor variance, Tensor scale, Tensor shift, "
    f"{_STEP}, float eps, bool batch_statistics"
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
    check_icon_step("icon_attention_moments", x, weight, bias, num_heads, delta)
    result: tuple[Tensor, Tensor, Tensor] = _moments(
        x, weight, bias, num_heads, float(delta), stacked, residual_last
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
    check_icon_step(op, x, weight, bias, num_heads, delta)
    channels = x.shape[1]
    vectors = {"mean": mean, "variance": variance, "scale": scale, "shift": shift}
    for name, value in vectors.items():
        if tuple(value.shape) != (channels,) or not value.is_floating_point():
            raise ValueError(
                f"{op}: {name} must be ({channels},) and floating point for {channels} channels, "
                f"got {tuple(value.shape)} {value.dtype}"
            )
        check_same_device(op, "x", x, name, value)
    options = (num_heads, float(delta), stacked, residual_last, float(eps), batch_statistics)
    result: Tensor = _normed(x, *vectors.values(), weight, bias, *options)
    return result


def _like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=reference.memory_format_of(x))


def _fake_moments(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.promote_types(x.dtype, torch.float32)
    moments = [x.new_empty(x.shape[1], dtype=dtype) for _ in range(2)]
    return _like(x), moments[0], moments[1]


def _fake_normed(x: Tensor, *rest: Any) -> Tensor:
    return _like(x)


def _fake_normed_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    *rest: Any,
) -> tuple[Tensor, ...]:
    vectors = (t.new_empty(t.shape) for t in (scale, shift, weight))
    return _like(x), *vectors, weight.new_empty(weight.shape[0])


def _setup_moments(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, bias, *options = inputs
    ctx.save_for_backward(x, weight, bias)
    ctx.options = options
    ctx.mark_non_differentiable(*output[1:])


def _gradients_of_moments(ctx: Any, grad: Tensor, *_: Any) -> tuple[Any, ...]:
    x, weight, bias = ctx.saved_tensors
    d_x, d_weight, d_bias = _step_backward(grad, x, weight, bias, *ctx.options)
    return d_x, d_weight, None if bias is None else d_bias, None, None, None, None


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
    f"icon_attention_moments(Tensor x, {_STEP}) -> (Tensor, Tensor, Tensor)",
    reference.icon_attention_moments,
    _fake_moments,
)
_normed = define(
    f"icon_attention_normed({_NORMED}) -> Tensor", reference.icon_attention_normed, _fake_normed
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
