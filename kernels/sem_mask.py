"""SEM's mask; see `reference.sem_mask` for the math. `sem_mask_backward` has the gradient.

If the deviation is taken over each image, forward and backward are one kernel each. If it is taken
over the batch, a first kernel writes each image's sum of squares, and every program sums those in
the same order; the value that couples the images in the gradient is summed the same way.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .layout import output_strides, padded, with_cell_strides
from .options import compiled_with

MAX_CELLS = 4096
# Elements of a tile of guidance: 32 per thread.
TILE = 4096


@triton.jit
def map_softmax(score_ptr, score_cell, cells, CELLS: tl.constexpr):
    """Softmax a of an image's scores, and a - 1 / n: [P] float32, both 0 in padded cells."""
    inside = cells < CELLS
    score = tl.load(score_ptr + cells * score_cell, mask=inside, other=float("-inf"))
    score = score.to(tl.float32)
    a = tl.exp(score - tl.max(score, 0))
    # Correctly rounded division: a constant map gives exactly the float nearest to 1 / n, and so a
    # deviation of 0.
    a = tl.div_rn(a, tl.sum(a, 0))
    return a, tl.where(inside, a - 1.0 / CELLS, 0.0)


@triton.jit
def ordered_sum(values_ptr, images):
    """Sum of (images,) float32, in the same order in every program."""
    total = tl.zeros([128], dtype=tl.float32)
    for start in range(0, images, 128):
        i = start + tl.arange(0, 128).to(tl.int64)
        total += tl.load(values_ptr + i, mask=i < images, other=0.0)
    return tl.sum(total, 0)


@triton.jit
def map_variance(centred, squares_ptr, images, freedom, PER_BATCH: tl.constexpr):
    if PER_BATCH:
        return ordered_sum(squares_ptr, images) / freedom
    else:
        return tl.sum(centred * centred, 0) / freedom


@triton.jit
def factor(centred, variance, alpha, floor):
    """f [P], w = s^-alpha, and s; for a flat map f = 1 and s = 0."""
    flat = variance <= floor
    safe = tl.where(flat, 1.0, variance)
    w = tl.exp2(-0.5 * alpha * tl.log2(safe))
    f = tl.where(flat, 1.0, 1.0 - centred * w)
    return f, w, tl.where(flat, 0.0, tl.sqrt_rn(safe))


@triton.jit
def clamped(f):
    """f clamped to [0, 2]. Keeps NaN, which tl.minimum and tl.maximum would drop."""
    return tl.where(f < 0.0, 0.0, tl.where(f > 2.0, 2.0, f))


@triton.jit
def _sem_squares_kernel(
    squares_ptr,  # (B,) float32
    score_ptr,  # (B, P)
    score_image,
    score_cell,
    CELLS: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    image = tl.program_id(0).to(tl.int64)
    cells = tl.arange(0, BLOCK_P).to(tl.int64)
    _, centred = map_softmax(score_ptr + image * score_image, score_cell, cells, CELLS)
    tl.store(squares_ptr + image, tl.sum(centred * centred, 0))


@triton.jit
def _sem_mask_fwd_kernel(
    out_ptr,  # (B, c, P)
    guidance_ptr,  # (B, c, P)
    score_ptr,  # (B, P)
    squares_ptr,  # (B,) float32, or None
    images,
    channels,
    alpha,
    floor,
    freedom,
    out_image,
    out_channel,
    out_cell,
    guidance_image,
    guidance_channel,
    guidance_cell,
    score_image,
    score_cell,
    PER_BATCH: tl.constexpr,
    CLAMP: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    pid = tl.program_id(0).to(tl.int64)
    tiles = tl.cdiv(channels, BLOCK_C)
    image = pid // tiles
    cells = tl.arange(0, BLOCK_P).to(tl.int64)
    c = pid % tiles * BLOCK_C + tl.arange(0, BLOCK_C)
    _, centred = map_softmax(score_ptr + image * score_image, score_cell, cells, CELLS)
    variance = map_variance(centred, squares_ptr, images, freedom, PER_BATCH)
    f, _, _ = factor(centred, variance, alpha, floor)
    if CLAMP:
        f = clamped(f)
    inside = (c < channels)[:, None] & (cells < CELLS)[None, :]
    guidance_ptr += image * guidance_image
    guidance = tl.load(
        guidance_ptr + c[:, None] * guidance_channel + cells[None, :] * guidance_cell,
        mask=inside,
        other=0.0,
    )
    out = guidance.to(tl.float32) * f[None, :]
    out_ptr += image * out_image
    tl.store(
        out_ptr + c[:, None] * out_channel + cells[None, :] * out_cell,
        out.to(out_ptr.dtype.element_ty),
        mask=inside,
    )


def unsupported(guidance: Tensor, score: Tensor) -> str | None:
    """Why the kernels do not support guidance (B, c, H, W) and score (B, 1, H, W), or None."""
    for value in (guidance, score):
        if value.dtype not in (torch.float32, torch.bfloat16, torch.float16):
            return f"dtype {value.dtype}"
    cells = score.shape[2] * score.shape[3]
    return f"{cells} cells per map (at most {MAX_CELLS})" if cells > MAX_CELLS else None


def sem_mask_fwd(
    out: Tensor, guidance: Tensor, score: Tensor, alpha: float, per_batch: bool, clamp: bool
) -> None:
    """Write the masked guidance to out (B, c, H, W); arguments as in `reference.sem_mask`.

    guidance and score may have different dtypes out of float32, bfloat16 and float16; at most
    MAX_CELLS cells.
    """
    images, channels = guidance.shape[:2]
    if images == 0:
        return
    guidance, strides = with_cell_strides(guidance)
    score, score_strides = with_cell_strides(score)
    blocks = mask_blocks(score) | compiled_with(num_warps=4, maxnreg=128)
    grid = (images * triton.cdiv(channels, blocks["BLOCK_C"]),)
    with torch.cuda.device_of(guidance):
        squares = batch_squares(score) if per_batch else None
        _sem_mask_fwd_kernel[grid](
            out, guidance, score, squares, images, channels, alpha, *spread(score, per_batch),
            *output_strides(out), *strides, score_strides[0], score_strides[2],
            PER_BATCH=per_batch, CLAMP=clamp, **blocks,
        )  # fmt: skip


def batch_squares(score: Tensor) -> Tensor:
    """Sum of squared deviations of each image's softmax, (B,) float32."""
    squares = score.new_empty(score.shape[0], dtype=torch.float32)
    image, _, cell = with_cell_strides(score)[1]
    cells = score.shape[2] * score.shape[3]
    _sem_squares_kernel[(score.shape[0],)](
        squares, score, image, cell, CELLS=cells, BLOCK_P=padded(cells), **compiled_with(4)
    )
    return squares


def spread(score: Tensor, per_batch: bool) -> tuple[float, float]:
    """The largest variance of a flat map, and the divisor of the sum of squares."""
    cells = score.shape[2] * score.shape[3]
    count = score.numel() if per_batch else cells
    return (torch.finfo(torch.float32).eps / cells) ** 2, float(max(count - 1, 1))


def mask_blocks(score: Tensor) -> dict[str, int]:
    """Launch parameters: tiles of a whole map and as many channels as TILE elements allow."""
    cells = score.shape[2] * score.shape[3]
    block_p = padded(cells)
    return {
        "CELLS": cells,
        "BLOCK_C": max(1, min(TILE // block_p, 16)),
        "BLOCK_P": block_p,
        **compiled_with(num_warps=4),
    }
