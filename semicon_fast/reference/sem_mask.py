"""Suppression-enhancing mask (paper Eq. 7, 8): damps the cells that an attention map attends to.

With n = H W cells, a = softmax(score) over the cells of an image, s the unbiased standard
deviation of a and z = (a - 1/n) / s,

    f = 1 - (a - 1/n) / s^alpha,        output = f * guidance.

The mean of a softmax over n cells is always 1/n, so only s can couple images. With w = s^-alpha and
g_i = dL/df_i the gradient is

    dL/da_j = alpha w (sum_i g_i z_i) z_j / (N - 1) - w g_j,

where N is the number of cells over which s is taken and the sum runs over them, followed by the
gradient of the softmax.
"""

import torch
from torch import Tensor

from .layout import memory_format_of


def sem_mask(
    guidance: Tensor, score: Tensor, alpha: float, per_batch: bool, clamp: bool, detach: bool
) -> Tensor:
    """guidance (B, c, H, W), score (B, 1, H, W) -> f * guidance, with guidance's dtype and layout.

    Args:
        guidance: feature map to be masked (P_i in the paper).
        score: attention map before the softmax (M_i in the paper).
        alpha: exponent of the standard deviation, >= 0.
        per_batch: take one standard deviation over all cells of all images (the released code)
            instead of one for each image (the paper).
        clamp: clamp f to [0, 2] (the released code).
        detach: only guidance gets a gradient (the released code).

    f is computed in float32 or wider. Where the deviation is 0 up to the rounding of the softmax
    (constant maps, a single cell), f is exactly 1 and the score gets no gradient.
    """
    f, _, _, _ = _factor(score.detach() if detach else score, alpha, per_batch)
    if clamp:
        f = f.clamp(0, 2)
    return (f * guidance).to(guidance.dtype).contiguous(memory_format=memory_format_of(guidance))


def sem_mask_backward(
    grad: Tensor,
    guidance: Tensor,
    score: Tensor,
    alpha: float,
    per_batch: bool,
    clamp: bool,
    detach: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of guidance and score for grad (B, c, H, W); 0 for the score with `detach`."""
    f, a, w, s = _factor(score, alpha, per_batch)
    inside = (f >= 0) & (f <= 2) if clamp else None
    d_guidance = (grad * (f.clamp(0, 2) if clamp else f)).to(guidance.dtype)
    d_guidance = d_guidance.contiguous(memory_format=memory_format_of(guidance))
    if detach:
        return d_guidance, score.new_zeros(score.shape)
    g = (grad.to(f.dtype) * guidance).sum(1, keepdim=True)
    if inside is not None:
        g = g * inside
    g = torch.where(s > 0, g, 0)
    dims = _dims(per_batch)
    z = (a - 1 / _cells(score)) / torch.where(s > 0, s, 1)
    coupled = (g * z).sum(dims, keepdim=True) / max(_count(score, per_batch) - 1, 1)
    d_a = alpha * w * coupled * z - w * g
    d_score = a * (d_a - (a * d_a).sum((2, 3), keepdim=True))
    return d_guidance, d_score.to(score.dtype).contiguous()


def _factor(score: Tensor, alpha: float, per_batch: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """f and a (B, 1, H, W); w = s^-alpha and s, (B or 1, 1, 1, 1), s = 0 where the map is flat."""
    dtype = torch.promote_types(score.dtype, torch.float32)
    a = score.to(dtype).flatten(1).softmax(1).view(score.shape)
    centred = a - 1 / _cells(score)
    variance = centred.square().sum(_dims(per_batch), keepdim=True)
    variance = variance / max(_count(score, per_batch) - 1, 1)
    # A deviation below one rounding error of 1 / n counts as 0. This also keeps the power away from
    # 0, where its derivative is infinite.
    floor = (torch.finfo(dtype).eps / _cells(score)) ** 2
    flat = variance <= floor
    safe = torch.where(flat, torch.ones_like(variance), variance)
    w = safe.pow(-alpha / 2)
    f = torch.where(flat, torch.ones_like(a), 1 - centred * w)
    return f, a, w, torch.where(flat, torch.zeros_like(variance), safe.sqrt())


def _dims(per_batch: bool) -> tuple[int, ...]:
    return (0, 1, 2, 3) if per_batch else (1, 2, 3)


def _cells(score: Tensor) -> int:
    return score.shape[2] * score.shape[3]


def _count(score: Tensor, per_batch: bool) -> int:
    return score.numel() if per_batch else _cells(score)
