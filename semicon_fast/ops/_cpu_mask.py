"""SEM's mask on the CPU: a native kernel in float32, else PyTorch with few temporary tensors."""

import torch
from torch import Tensor

from .. import native, reference
from ._library import override
from .sem_mask import _backward as _sem_backward
from .sem_mask import _forward as _sem_forward

# Smallest number of elements for the native kernel. Smaller calls are fast anyway and return
# exactly the reference's values.
WORTH_A_KERNEL = 2_000


def sem_mask(
    guidance: Tensor, score: Tensor, alpha: float, per_batch: bool, clamp: bool, detach: bool
) -> Tensor:
    """`reference.sem_mask`, by the native kernel or with bitwise the same result."""
    if _has_kernel(guidance, score):
        return _by_kernel(guidance, score, alpha, per_batch, clamp)
    _, centred, variance, flat = _statistics(score, per_batch)
    w = variance.pow_(-alpha / 2).masked_fill_(flat, 0)
    return _masked(centred.mul_(w), clamp, guidance, reference.empty_like(guidance))


def sem_mask_backward(
    grad: Tensor,
    guidance: Tensor,
    score: Tensor,
    alpha: float,
    per_batch: bool,
    clamp: bool,
    detach: bool,
) -> tuple[Tensor, Tensor]:
    """`reference.sem_mask_backward`.

    With `detach` the gradient of guidance is the incoming gradient times the mask, that is, the
    forward pass applied to the gradient.
    """
    if detach and _has_kernel(guidance, score) and grad.dtype is torch.float32:
        grad = grad.contiguous(memory_format=reference.memory_format_of(guidance))
        return _by_kernel(grad, score, alpha, per_batch, clamp), torch.zeros_like(score)
    a, centred, variance, flat = _statistics(score, per_batch)
    w = variance.pow(-alpha / 2).masked_fill_(flat, 0)
    damped = centred * w
    d_guidance = reference.empty_like(guidance)
    if detach:
        return _masked(damped, clamp, grad, d_guidance), score.new_zeros(score.shape)
    # The products are stored in d_guidance's memory first, since page faults on newly allocated
    # memory would cost more than the products.
    spare = d_guidance if a.dtype == guidance.dtype else None
    g = torch.mul(grad.to(a.dtype), guidance, out=spare).sum(1).view_as(a)
    _masked(damped, clamp, grad, d_guidance)
    if clamp:
        g.mul_(damped.abs_() <= 1)
    z = centred.mul_(variance.masked_fill_(flat, 1).rsqrt_())
    count = a.numel() if per_batch else a.shape[1]
    coupled = (g * z).sum(_dims(per_batch), keepdim=True).mul_(alpha / max(count - 1, 1))
    # w = 0 stops the gradient of flat maps.
    d_a = torch.addcmul(g.neg_(), coupled, z).mul_(w)
    d_score = torch._softmax_backward_data(d_a, a, 1, a.dtype)
    return d_guidance, d_score.to(score.dtype).view(score.shape)


def _has_kernel(guidance: Tensor, score: Tensor) -> bool:
    if guidance.dtype is not torch.float32 or score.dtype is not torch.float32:
        return False
    worth = guidance.numel() >= WORTH_A_KERNEL
    return worth and native.load() and torch.ops.semicon_fast._attention_available()


def _by_kernel(maps: Tensor, score: Tensor, alpha: float, per_batch: bool, clamp: bool) -> Tensor:
    maps = maps.contiguous(memory_format=reference.memory_format_of(maps))
    out: Tensor = torch.ops.semicon_fast._sem_mask(
        maps, score.contiguous(), alpha, per_batch, clamp
    )
    return out


def _statistics(score: Tensor, per_batch: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """a and a - 1 / n, (B, n); the variance and whether the map is flat, (B or 1, 1)."""
    dtype = torch.promote_types(score.dtype, torch.float32)
    a = torch.softmax(score.flatten(1), 1, dtype=dtype)
    centred = a - 1 / a.shape[1]
    variance = centred.square().sum(_dims(per_batch), keepdim=True)
    variance.div_(max((a.numel() if per_batch else a.shape[1]) - 1, 1))
    return a, centred, variance, variance <= (torch.finfo(dtype).eps / a.shape[1]) ** 2


def _masked(damped: Tensor, clamp: bool, maps: Tensor, out: Tensor) -> Tensor:
    """out = f * maps, f = 1 - damped, clamped to [0, 2] if so asked; damped (B, n) is kept."""
    f = damped.neg().add_(1)
    if clamp:
        f.clamp_(0, 2)
    return torch.mul(f.view(len(maps), 1, *maps.shape[2:]), maps, out=out)


def _dims(per_batch: bool) -> tuple[int, ...]:
    return (0, 1) if per_batch else (1,)


override(_sem_forward, "CPU", sem_mask)
override(_sem_backward, "CPU", sem_mask_backward)
