"""`semicon_fast::icon_attention` and its gradient; see `reference.icon_attention` for the math."""

from typing import Any

import torch
from torch import Tensor

from .. import reference
from ._checks import checked_step
from ._library import autocast, cast_floating, define, differentiable, once_differentiable

# The fields of `reference.IconStep`.
STEP = "Tensor weight, Tensor? bias, int num_heads, float delta, bool stacked, bool residual_last"


def icon_attention(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float = 1e-5,
    stacked: bool = False,
    residual_last: bool = False,
) -> Tensor:
    """One step of ICON on x (B, C, H, W) -> (B, C, H, W) (paper Eq. 11, 12).

    Each channel attends to the channels of its group; the output's channels are transposed from
    (num_heads, d) to (d, num_heads), d = C / num_heads. See `reference.icon_attention` for the
    arguments; the defaults are those of the paper's first step.

    Under autocast x, weight and bias are cast to the autocast dtype for the products, and the
    result has that dtype. The signed square root and the softmax are computed in float32 (float64
    for float64 inputs). The result has x's memory layout. Only first derivatives exist.

    Raises:
        TypeError: x is not a tensor.
        ValueError: num_heads does not divide C, weight or bias has the wrong shape, x is not
            floating point, dtypes differ outside autocast, devices differ, or delta is negative
            or not finite.
    """
    step = weight, bias, num_heads, delta, stacked, residual_last
    result: Tensor = _forward(x, *checked_step("icon_attention", x, *step))
    return result


def _fake(x: Tensor, *rest: Any) -> Tensor:
    return reference.empty_like(x)


def _fake_backward(
    grad: Tensor, x: Tensor, weight: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return _fake(x), weight.new_empty(weight.shape), weight.new_empty(weight.shape[0])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, *options = inputs
    ctx.save_for_backward(x, weight, bias)
    ctx.options = options


def _gradients(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, weight, bias = ctx.saved_tensors
    d_x, d_weight, d_bias = _backward(grad, x, weight, bias, *ctx.options)
    return d_x, d_weight, None if bias is None else d_bias, None, None, None, None


def _cast(dtype: torch.dtype, x: Tensor, weight: Tensor, bias: Any, *rest: Any) -> tuple[Any, ...]:
    return *(cast_floating(value, dtype) for value in (x, weight, bias)), *rest


_forward = define(f"icon_attention(Tensor x, {STEP}) -> Tensor", reference.icon_attention, _fake)
_backward = define(
    f"icon_attention_backward(Tensor grad, Tensor x, {STEP}) -> (Tensor, Tensor, Tensor)",
    reference.icon_attention_backward,
    _fake_backward,
)
differentiable(_forward, _gradients, _setup)
once_differentiable(_backward)
autocast(_forward, _cast)
autocast(_backward)
