"""CUDA implementations of the operators on feature maps, by the Triton kernels of kernels/.

Triton and the kernels are imported by the first call on a CUDA device. Calls that the kernels do
not support use the reference, with one warning per operator and reason; with
SEMICON_FAST_BACKEND=native they raise an error.
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
from .icon_normed import _moments as _icon_moments_op
from .icon_normed import _normed as _icon_normed_op
from .icon_normed import _normed_backward as _icon_normed_backward_op
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
    """`reference.icon_attention` in one kernel."""
    options = (num_heads, delta, stacked, residual_last)
    if not _takes_icon("icon_attention", x, num_heads):
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
    """`reference.icon_attention_backward` in Triton kernels."""
    options = (num_heads, delta, stacked, residual_last)
    if not _takes_icon("icon_attention", x, num_heads):
        return reference.icon_attention_backward(grad, x, weight, bias, *options)
    out = _empty_like(x), weight.new_empty(weight.shape), weight.new_empty(weight.shape[0])
    _kernels().icon_attention_backward.icon_attention_bwd(*out, grad, x, weight, bias, *options)
    return out


def icon_attention_moments(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.icon_attention_moments`: one kernel; PyTorch combines the moments per image."""
    options = (num_heads, delta, stacked, residual_last)
    if not _takes_icon("icon_attention_moments", x, num_heads):
        return reference.icon_attention_moments(x, weight, bias, *options)
    out = _empty_like(x)
    moments = x.new_empty((2, *x.shape[:2]), dtype=torch.float32)
    kernel = _kernels().icon_attention.icon_attention_fwd
    kernel(out, x, weight, bias, *options, moments=moments)
    variance, mean = torch.var_mean(moments[0], 0, correction=0)
    return out, mean, variance.add_(moments[1].mean(0), alpha=1 / (x.shape[2] * x.shape[3]))


def icon_attention_normed(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
    eps: float,
    batch_statistics: bool,
) -> Tensor:
    """`reference.icon_attention_normed` in one kernel."""
    vectors, options = (mean, variance, scale, shift), (num_heads, delta, stacked, residual_last)
    if not _takes_icon("icon_attention_normed", x, num_heads):
        return reference.icon_attention_normed(
            x, *vectors, weight, bias, *options, eps, batch_statistics
        )
    out = _empty_like(x)
    kernel = _kernels().icon_attention.icon_attention_fwd
    kernel(out, x, weight, bias, *options, norm=_norm(*vectors, eps))
    return out


def icon_attention_normed_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
    eps: float,
    batch_statistics: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`reference.icon_attention_normed_backward` in Triton kernels."""
    vectors, options = (mean, variance, scale, shift), (num_heads, delta, stacked, residual_last)
    if not _takes_icon("icon_attention_normed", x, num_heads):
        return reference.icon_attention_normed_backward(
            grad, x, *vectors, weight, bias, *options, eps, batch_statistics
        )
    d_x, d_weight = _empty_like(x), weight.new_empty(weight.shape)
    d_bias = weight.new_empty(weight.shape[0])
    d_norm = x.new_empty((2, x.shape[1]), dtype=torch.float32)
    _kernels().icon_attention_backward.icon_attention_bwd(
        d_x, d_weight, d_bias, grad, x, weight, bias, *options,
        _norm(*vectors, eps), d_norm, batch_statistics,
    )  # fmt: skip
    # Copies, since an operator's outputs must not share memory.
    d_scale, d_shift = (d.to(scale.dtype, copy=True) for d in d_norm)
    return d_x, d_scale, d_shift, d_weight, d_bias


def sem_mask(
    guidance: Tensor, score: Tensor, alpha: float, per_batch: bool, clamp: bool, detach: bool
) -> Tensor:
    """`reference.sem_mask` in one kernel, or two with `per_batch`."""
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
    """`reference.sem_mask_backward` in one kernel, or three with `per_batch`."""
    options = (alpha, per_batch, clamp, detach)
    if not _usable("sem_mask", guidance, lambda k: k.sem_mask.unsupported(guidance, score)):
        return reference.sem_mask_backward(grad, guidance, score, *options)
    out = _empty_like(guidance), score.new_empty(score.shape)
    _kernels().sem_mask_backward.sem_mask_bwd(*out, grad, guidance, score, *options)
    return out


def loads_norm(x: Tensor, channels_a_group: int) -> bool:
    """Whether `icon_attention_normed` is fused into one kernel for feature maps like x.

    If so it saves the memory passes of BatchNorm and ReLU; if not, it is no faster than those
    modules. channels_a_group: channels per group, the larger number of ICON's two steps.
    """
    return x.device.type == "cuda" and _loads_norm(x.device, x.dtype, channels_a_group)


@torch.compiler.assume_constant_result
def _loads_norm(device: torch.device, dtype: torch.dtype, channels_a_group: int) -> bool:
    if native.backend() == "reference" or _device_reason(device) is not None:
        return False
    probe = torch.empty(1, channels_a_group, 1, 1, dtype=dtype, device="meta")
    return _kernels().icon_attention.unsupported(probe, 1) is None


def _takes_icon(op: str, x: Tensor, num_heads: int) -> bool:
    return _usable(op, x, lambda k: k.icon_attention.unsupported(x, num_heads))


def _norm(mean: Tensor, variance: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Any:
    vectors = (vector.contiguous() for vector in (mean, variance, scale, shift))
    return _kernels().icon_norm.Norm(*vectors, eps)


def _empty_like(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=reference.memory_format_of(x))


@cache
def _kernels() -> Any:
    """The kernels package with its modules imported. Raises ImportError without Triton."""
    from .. import kernels

    for name in ("icon_attention", "icon_attention_backward", "sem_mask", "sem_mask_backward"):
        import_module(f"{kernels.__name__}.{name}")
    return kernels


def _usable(op: str, x: Tensor, unsupported: Any) -> bool:
    """Whether the kernels support a call with x; if not, warns once with the reason.

    Raises NativeBuildError instead where SEMICON_FAST_BACKEND is native.
    """
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
override(_icon_moments_op, "CUDA", icon_attention_moments)
override(_icon_normed_op, "CUDA", icon_attention_normed)
override(_icon_normed_backward_op, "CUDA", icon_attention_normed_backward)
override(_sem_mask_op, "CUDA", sem_mask)
override(_sem_mask_backward_op, "CUDA", sem_mask_backward)
