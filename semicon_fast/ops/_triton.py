"""CUDA implementations of the operations on feature maps: the Triton kernels of kernels/.

Triton and the kernels are imported by the first call on a CUDA device. What the kernels cannot
take goes to the reference, announced once for each reason, or is an error where
SEMICON_FAST_BACKEND is native.
"""

import warnings
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .. import native, reference
from ._library import override
from .icon_attention import _backward as _icon_attention_backward_op
from .icon_attention import _forward as _icon_attention_op
from .sem_mask import _backward as _sem_mask_backward_op
from .sem_mask import _forward as _sem_mask_op


def icon_attention(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
) -> Tensor:
    """`reference.icon_attention` by one kernel."""
    options = (num_heads, delta, stacked, residual_last)
    if not _usable("icon_attention", x, lambda k: k.icon_attention.unsupported(x, num_heads)):
        return reference.icon_attention(x, weight, bias, *options)
    out = _empty_like(x)
    _kernels().icon_attention.icon_attention_fwd(out, x, weight, bias, *options)
    return out


def icon_attention_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.icon_attention_backward` by kernels."""
    options = (num_heads, delta, stacked, residual_last)
    if not _usable("icon_attention", x, lambda k: k.icon_attention.unsupported(x, num_heads)):
        return reference.icon_attention_backward(grad, x, weight, bias, *options)
    out = _empty_like(x), weight.new_empty(weight.shape), weight.new_empty(weight.shape[0])
    _kernels().icon_attention_backward.icon_attention_bwd(*out, grad, x, weight, bias, *options)
    return out


def sem_mask(
    guidance: Tensor, score: Tensor, alpha: float, per_batch: bool, clamp: bool, detach: bool
) -> Tensor:
    """`reference.sem_mask` by one kernel, two over a batch."""
    if not _usable("sem_mask", guidance, lambda k: k.sem_mask.unsupported(guidance, score)):
        return reference.sem_mask(guidance, score, alpha, per_batch, clamp, detach)
    out = _empty_like(guidance)
    _kernels().sem_mask.sem_mask_fwd(out, guidance, score, alpha, per_batch, clamp)
    return out


def sem_mask_backward(
    grad: Tensor,
    guidance: Tensor,
    score: Tensor,
    alpha: float,
    per_batch: bool,
    clamp: bool,
    detach: bool,
) -> tuple[Tensor, Tensor]:
    """`reference.sem_mask_backward` by one kernel, three over a batch."""
    options = (alpha, per_batch, clamp, detach)
    if not _usable("sem_mask", guidance, lambda k: k.sem_mask.unsupported(guidance, score)):
        return reference.sem_mask_backward(grad, guidance, score, *options)
    out = _empty_like(guidance), score.new_empty(score.shape)
    _kernels().sem_mask_backward.sem_mask_bwd(*out, grad, guidance, score, *options)
    return out


def _empty_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=reference.memory_format_of(x))


@cache
def _kernels() -> Any:
    """The package of kernels with its modules loaded; ImportError without Triton."""
    from .. import kernels

    for name in ("icon_attention", "icon_attention_backward", "sem_mask", "sem_mask_backward"):
        import_module(f"{kernels.__name__}.{name}")
    return kernels


def _usable(op: str, x: Tensor, unsupported: Any) -> bool:
    """Whether the kernels take a call on x; says once why not."""
    if native.backend() == "reference":
        return False
    reason = _device_reason(x.device)
    if reason is None:
        reason = unsupported(_kernels())
    if reason is None:
        return True
    if native.backend() == "native":
        raise native.NativeBuildError(f"semicon_fast: {op} has no kernel here: {reason}")
    _announce(op, reason)
    return False


@cache
def _device_reason(device: torch.device) -> str | None:
    try:
        _kernels()
    except ImportError as error:
        return f"Triton cannot be imported ({error})"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return "compute capability below 8.0"
    return None


@cache
def _announce(op: str, reason: str) -> None:
    warnings.warn(
        f"semicon_fast: {op} on CUDA takes the slower PyTorch path: {reason}.",
        RuntimeWarning,
        stacklevel=2,
    )


override(_icon_attention_op, "CUDA", icon_attention)
override(_icon_attention_backward_op, "CUDA", icon_attention_backward)
override(_sem_mask_op, "CUDA", sem_mask)
override(_sem_mask_backward_op, "CUDA", sem_mask_backward)
