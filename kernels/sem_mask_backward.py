"""Gradient of SEM's mask: one program per image loops over channels; all sums are deterministic."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .layout import output_strides, with_cell_strides
from .options import compiled_with
from .sem_mask import (
    batch_squares,
    clamped,
    factor,
    map_softmax,
    map_variance,
    mask_blocks,
    ordered_sum,
    spread,
)


@triton.jit
def _score_gradient(a, centred, g, coupled, w, s, alpha):
    """Gradient of an image's scores; `coupled` is sum(g z) / (N - 1)."""
    z = centred / tl.where(s > 0.0, s, 1.0)
    d_a = w * (alpha * coupled * z - g)
    return a * (d_a - tl.sum(a * d_a, 0))


@triton.jit
def _sem_mask_bwd_kernel(
    d_guidance_ptr,  # (B, c, P)
    d_score_ptr,  # (B, P), contiguous; not written if DETACH or PER_BATCH
    g_ptr,  # (B, P) float32; written if PER_BATCH and not DETACH
    coupled_ptr,  # (B,) float32; written if PER_BATCH and not DETACH
    grad_ptr,  # (B, c, P)
    guidance_ptr,  # (B, c, P)
    score_ptr,  # (B, P)
    squares_ptr,  # (B,) float32, or None
    images,
    channels,
    alpha,
    floor,
    freedom,
    d_guidance_image,
    d_guidance_channel,
    d_guidance_cell,
    grad_image,
    grad_channel,
    grad_cell,
    guidance_image,
    guidance_channel,
    guidance_cell,
    score_image,
    score_cell,
    PER_BATCH: tl.constexpr,
    CLAMP: tl.constexpr,
    DETACH: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    image = tl.program_id(0).to(tl.int64)
    cells = tl.arange(0, BLOCK_P).to(tl.int64)
    a, centred = map_softmax(score_ptr + image * score_image, score_cell, cells, CELLS)
    variance = map_variance(centred, squares_ptr, images, freedom, PER_BATCH)
    f, w, s = factor(centred, variance, alpha, floor)
    free = f
    if CLAMP:
        f = clamped(f)
    d_guidance_ptr += image * d_guidance_image
    grad_ptr += image * grad_image
    guidance_ptr += image * guidance_image
    g = tl.zeros([BLOCK_P], dtype=tl.float32)
    for start in range(0, channels, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C).to(tl.int64)
        inside = (c < channels)[:, None] & (cells < CELLS)[None, :]
        grad = tl.load(
            grad_ptr + c[:, None] * grad_channel + cells[None, :] * grad_cell,
            mask=inside,
            other=0.0,
        ).to(tl.float32)
        tl.store(
            d_guidance_ptr + c[:, None] * d_guidance_channel + cells[None, :] * d_guidance_cell,
            (grad * f[None, :]).to(d_guidance_ptr.dtype.element_ty),
            mask=inside,
        )
        if not DETACH:
            guidance = tl.load(
                guidance_ptr + c[:, None] * guidance_channel + cells[None, :] * guidance_cell,
                mask=inside,
                other=0.0,
            )
            g += tl.sum(grad * guidance.to(tl.float32), 0)
    if not DETACH:
        g = tl.where(s > 0.0, g, 0.0)
        if CLAMP:
            g = tl.where((free >= 0.0) & (free <= 2.0), g, 0.0)
        coupled = tl.sum(g * centred, 0) / tl.where(s > 0.0, s, 1.0) / freedom
        offsets = image * CELLS + cells
        if PER_BATCH:
            tl.store(g_ptr + offsets, g, mask=cells < CELLS)
            tl.store(coupled_ptr + image, coupled)
        else:
            d_score = _score_gradient(a, centred, g, coupled, w, s, alpha)
            d_score = d_score.to(d_score_ptr.dtype.element_ty)
            tl.store(d_score_ptr + offsets, d_score, mask=cells < CELLS)


@triton.jit
def _sem_score_bwd_kernel(
    d_score_ptr,  # (B, P), contiguous
    g_ptr,  # (B, P) float32
    coupled_ptr,  # (B,) float32
    score_ptr,  # (B, P)
    squares_ptr,  # (B,) float32
    images,
    alpha,
    floor,
    freedom,
    score_image,
    score_cell,
    CELLS: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    image = tl.program_id(0).to(tl.int64)
    cells = tl.arange(0, BLOCK_P).to(tl.int64)
    a, centred = map_softmax(score_ptr + image * score_image, score_cell, cells, CELLS)
    variance = map_variance(centred, squares_ptr, images, freedom, True)
    _, w, s = factor(centred, variance, alpha, floor)
    offsets = image * CELLS + cells
    g = tl.load(g_ptr + offsets, mask=cells < CELLS, other=0.0)
    d_score = _score_gradient(a, centred, g, ordered_sum(coupled_ptr, images), w, s, alpha)
    d_score = d_score.to(d_score_ptr.dtype.element_ty)
    tl.store(d_score_ptr + offsets, d_score, mask=cells < CELLS)


def sem_mask_bwd(
    d_guidance: Tensor,
    d_score: Tensor,
    grad: Tensor,
    guidance: Tensor,
    score: Tensor,
    alpha: float,
    per_batch: bool,
    clamp: bool,
    detach: bool,
) -> None:
    """Write d_guidance (B, c, H, W) and d_score (B, 1, H, W, contiguous) for grad (B, c, H, W).

    Arguments and limits as in `sem_mask_fwd`; with `detach` d_score is set to 0.
    """
    if detach:
        d_score.zero_()
    images, channels = guidance.shape[:2]
    if images == 0:
        return
    guidance, strides = with_cell_strides(guidance)
    grad, grad_strides = with_cell_strides(grad)
    score, (score_image, _, score_cell) = with_cell_strides(score)
    blocks, spreads = mask_blocks(score), spread(score, per_batch)
    coupling = per_batch and not detach
    g = score.new_empty(d_score.shape if coupling else (0,), dtype=torch.float32)
    coupled = score.new_empty(images if coupling else 0, dtype=torch.float32)
    with torch.cuda.device_of(guidance):
        squares = batch_squares(score) if per_batch else None
        _sem_mask_bwd_kernel[(images,)](
            d_guidance, d_score, g, coupled, grad, guidance, score, squares, images, channels,
            alpha, *spreads, *output_strides(d_guidance), *grad_strides, *strides,
            score_image, score_cell, PER_BATCH=per_batch, CLAMP=clamp, DETACH=detach, **blocks,
        )  # fmt: skip
        if coupling:
            _sem_score_bwd_kernel[(images,)](
                d_score, g, coupled, score, squares, images, alpha, *spreads, score_image,
                score_cell, CELLS=blocks["CELLS"], BLOCK_P=blocks["BLOCK_P"], **compiled_with(4),
            )  # fmt: skip
