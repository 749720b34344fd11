"""`semicon_fast::sem_mask` and its gradient; see `reference.sem_mask` for the math."""

import math
from typing import Any

from torch import Tensor

from .. import reference
from ._checks import check_maps, check_same_device
from ._library import autocast, define, differentiable, once_differentiable

_OPTIONS = "float alpha, bool per_batch, bool clamp, bool detach"


def sem_mask(
    guidance: Tensor,
    score: Tensor,
    alpha: float,
    per_batch: bool = False,
    clamp: bool = False,
    detach: bool = False,
) -> Tensor:
    """guidance (B, c, H, W) masked by score (B, 1, H, W) -> (B, c, H, W) (paper Eq. 7, 8).

    Each cell is multiplied by f = 1 - (a - mean(a)) / std(a)^alpha, where a is the softmax of the
    score over the cells. A constant score gives f = 1. See `reference.sem_mask` for the options;
    the defaults are the paper's. Statistics are computed in float32 or wider, also under autocast
    (no argument is cast). The result has guidance's dtype and memory layout.

    Raises:
        TypeError: an argument is not a tensor.
        ValueError: shapes do not match, a tensor is not floating point, alpha is negative or not
            finite, or the tensors are on different devices.
    """
    check_maps("sem_mask", "guidance", guidance)
    check_maps("sem_mask", "score", score)
    expected = (guidance.shape[0], 1, *guidance.shape[2:])
    if tuple(score.shape) != expected:
        raise ValueError(
            f"sem_mask: score must be {expected} for guidance {tuple(guidance.shape)}, "
            f"got {tuple(score.shape)}"
        )
    if not 0 <= alpha < math.inf:
        raise ValueError(f"sem_mask: alpha must be finite and at least 0, got {alpha}")
    check_same_device("sem_mask", "guidance", guidance, "score", score)
    result: Tensor = _forward(guidance, score, float(alpha), per_batch, clamp, detach)
    return result


def _fake(
    guidance: Tensor, score: Tensor, alpha: float, per_batch: bool, clamp: bool, detach: bool
) -> Tensor:
    return reference.empty_like(guidance)


def _fake_backward(
    grad: Tensor, guidance: Tensor, score: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    return _fake(guidance, score, *options), score.new_empty(score.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    guidance, score, *options = inputs
    ctx.save_for_backward(guidance, score)
    ctx.options = options


def _gradients(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    guidance, score = ctx.saved_tensors
    d_guidance, d_score = _backward(grad, guidance, score, *ctx.options)
    detach = ctx.options[-1]
    return d_guidance, None if detach else d_score, None, None, None, None


_forward = define(
    f"sem_mask(Tensor guidance, Tensor score, {_OPTIONS}) -> Tensor", reference.sem_mask, _fake
)
_backward = define(
    f"sem_mask_backward(Tensor grad, Tensor guidance, Tensor score, {_OPTIONS}) "
    "-> (Tensor, Tensor)",
    reference.sem_mask_backward,
    _fake_backward,
)
differentiable(_forward, _gradients, _setup)
once_differentiable(_backward)
autocast(_forward)
autocast(_backward)
