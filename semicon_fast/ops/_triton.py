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
from ..reference import IconStep, NormedStep
from ._library import override
from .icon_attention import _backward as _icon_attention_backward_op
from .icon_attention import _forward as _icon_attention_op
from .icon_normed import _moments as _icon_moments_op
from .icon_normed import _normed as _icon_normed_op
from .icon_normed import _normed_backward as _icon_normed_backward_op
from .sem_mask import _backward as _sem_mask_backward_op
from .sem_mask import _forward as _sem_mask_op


def icon_attention(x: Tensor, *step: Any) -> Tensor:
    """`reference.icon_attention` in one kernel."""
    if not _takes_icon("icon_attention", x, IconStep(*step)):
        return reference.icon_attention(x, *step)
    out = reference.empty_like(x)
    _kernels().icon_attention.icon_attention_fwd(out, x, *step)
    return out


def icon_attention_backward(grad: Tensor, x: Tensor, *step: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.icon_attention_backward` in Triton kernels."""
    if not _takes_icon("icon_attention", x, IconStep(*step)):
        return reference.icon_attention_backward(grad, x, *step)
    weight = IconStep(*step).weight
    out = reference.empty_like(x), weight.new_empty(weight.shape), weight.new_empty(weight.shape[0])
    _kernels().icon_attention_backward.icon_attention_bwd(*out, grad, x, *step)
    return out


def icon_attention_moments(x: Tensor, *step: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`reference.icon_attention_moments`: one kernel; PyTorch combines the moments per image."""
    if not _takes_icon("icon_attention_moments", x, IconStep(*step)):
        return reference.icon_attention_moments(x, *step)
    out = reference.empty_like(x)
    moments = x.new_empty((2, *x.shape[:2]), dtype=torch.float32)
    _kernels().icon_attention.icon_attention_fwd(out, x, *step, moments=moments)
    variance, mean = torch.var_mean(moments[0], 0, correction=0)
    return out, mean, variance.add_(moments[1].mean(0), alpha=1 / (x.shape[2] * x.shape[3]))


def icon_attention_normed(x: Tensor, *arguments: Any) -> Tensor:
    """`reference.icon_attention_normed` in one kernel."""
    norm = NormedStep(*arguments)
    if not _takes_icon("icon_attention_normed", x, norm.step):
        return reference.icon_attention_normed(x, *arguments)
    out = reference.empty_like(x)
    _kernels().icon_attention.icon_attention_fwd(out, x, *norm.step, norm=_norm(norm))
    return out


def icon_attention_normed_backward(
    grad: Tensor, x: Tensor, *arguments: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """`reference.icon_attention_normed_backward` in Triton kernels."""
    norm = NormedStep(*arguments)
    if not _takes_icon("icon_attention_normed", x, norm.step):
        return reference.icon_attention_normed_backward(grad, x, *arguments)
    weight = norm.weight
    d_x, d_weight = reference.empty_like(x), weight.new_empty(weight.shape)
    d_bias = weight.new_empty(weight.shape[0])
    d_norm = x.new_empty((2, x.shape[1]), dtype=torch.float32)
    _kernels().icon_attention_backward.icon_attention_bwd(
        d_x, d_weight, d_bias, grad, x, *norm.step, _norm(norm), d_norm, norm.batch_statistics
    )
    # Copies, since an operator's outputs must not share memory.
    d_scale, d_shift = (d.to(norm.scale.dtype, copy=True) for d in d_norm)
    return d_x, d_scale, d_shift, d_weight, d_bias


def sem_mask(guidance: Tensor, score: Tensor, *options: Any) -> Tensor:
    """`reference.sem_mask` in one kernel, or two with `per_batch`."""
    if not _usable("sem_mask", guidance, lambda k: k.sem_mask.unsupported(guidance, score)):
        return reference.sem_mask(guidance, score, *options)
    out = reference.empty_like(guidance)
    alpha, per_batch, clamp, _ = options  # `detach` concerns the gradient only
    _kernels().sem_mask.sem_mask_fwd(out, guidance, score, alpha, per_batch, clamp)
    return out


def sem_mask_backward(
    grad: Tensor, guidance: Tensor, score: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    """`reference.sem_mask_backward` in one kernel, or three with `per_batch`."""
    if not _usable("sem_mask", guidance, lambda k: k.sem_mask.unsupported(guidance, score)):
        return reference.sem_mask_backward(grad, guidance, score, *options)
    out = reference.empty_like(guidance), score.new_empty(score.shape)
    _kernels().sem_mask_backward.sem_mask_bwd(*out, grad, guidance, score, *options)
    return out


def loads_norm(x: Tensor, channels_a_group: int) -> bool:
    """Whether `icon_attention_normed` is fused into one kernel for feature maps like x.

    If so it saves the memory passes of BatchNorm and ReLU; if not, it is no faster than those
    modules. channels_a_group: channels per group, the larger number of ICON's two steps.
    """
    return x.device.type == "cuda" and _loads_norm(x.device, x.dtype, channels_a_group)


def _loads_norm(device: torch.device, dtype: torch.dtype, channels_a_group: int) -> bool:
    if native.backend() == "reference" or _device_reason(device) is not None:
        return False
    probe = torch.empty(1, channels_a_group, 1, 1, dtype=dtype, device="meta")
    return _kernels().icon_attention.unsupported(probe, 1) is None


# What torch.compiler.assume_constant_result does. Calling it imports all of torch._dynamo, which
# takes longer than torch itself, and most processes compile nothing.
_loads_norm._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _takes_icon(op: str, x: Tensor, step: IconStep) -> bool:
    return _usable(op, x, lambda k: k.icon_attention.unsupported(x, step.num_heads))


def _norm(norm: NormedStep) -> Any:
    """The kernels' description of a normalisation."""
    return _kernels().icon_norm.Norm(*norm.vectors, norm.eps)


@cache
def _kernels() -> Any:
    """The kernels package with its modules imported. Raises ImportError without Triton."""
    kernels = import_module("..kernels", __package__)
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
