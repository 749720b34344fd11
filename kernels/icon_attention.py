"""One step of ICON in one kernel: projection, logits, signed root, softmax, product, residual.

Each program computes BLOCK_M tokens of one head of one image; only the result is written to memory.
It loops over tiles of cells twice: for the logits, and for the product with v. Up to 64 cells are a
single tile.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from .icon_launch import forward_blocks
from .icon_norm import Norm, normed, with_cells
from .icon_tiles import (
    attention_weights,
    group_rows,
    projected,
    projected_whole,
    slot_of,
    token_rows,
)
from .layout import contiguous, output_strides, with_cell_strides

MAX_TOKENS = 256


@triton.jit
def _icon_attention_fwd_kernel(
    out_ptr,  # (B, C, P)
    x_ptr,  # (B, C, P)
    weight_ptr,  # (3 C, TOKENS)
    bias_ptr,  # (3 C,) or None
    mean_ptr,  # (C,), or None for no normalisation of x
    variance_ptr,
    scale_ptr,
    shift_ptr,
    eps,
    moments_ptr,  # (2, B, C) float32 or None
    images,
    heads,
    delta,
    scale,  # 1 / sqrt(TOKENS)
    out_image,
    out_channel,
    out_cell,
    x_image,
    x_channel,
    x_cell,
    STACKED: tl.constexpr,
    RESIDUAL_LAST: tl.constexpr,
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    pid = tl.program_id(0).to(tl.int64)
    tiles: tl.constexpr = (TOKENS + BLOCK_M - 1) // BLOCK_M
    image = (pid // tiles) % images
    head = pid // tiles // images
    rows = (pid % tiles).to(tl.int32) * BLOCK_M + tl.arange(0, BLOCK_M)
    tokens = tl.arange(0, BLOCK_D)
    x_ptr += image * x_image
    out_ptr += image * out_image

    # In the paper q, k and v of a head are made from one group of channels: one load for all three
    # where the map is a single tile, else for q and k.
    whole: tl.constexpr = not STACKED and TOKENS <= BLOCK_K
    single: tl.constexpr = whole and CELLS <= BLOCK_P
    x = None
    if single:
        x = group_rows(
            x_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps, head,
            tl.arange(0, BLOCK_K), tl.arange(0, BLOCK_P).to(tl.int64), x_channel, x_cell,
            TOKENS, CELLS,
        )  # fmt: skip

    logits = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    for start in range(0, CELLS, BLOCK_P):
        cells = start + tl.arange(0, BLOCK_P).to(tl.int64)
        if whole:
            tile = x
            if not single:
                tile = group_rows(
                    x_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps, head,
                    tl.arange(0, BLOCK_K), cells, x_channel, x_cell, TOKENS, CELLS,
                )  # fmt: skip
            q = projected_whole(
                tile, weight_ptr, bias_ptr, 3 * head, rows, cells, TOKENS, CELLS, BLOCK_K
            )
            k = projected_whole(
                tile, weight_ptr, bias_ptr, 3 * head + 1, tokens, cells, TOKENS, CELLS, BLOCK_K
            )
        else:
            q = projected(
                x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
                slot_of(head, 0, heads, STACKED), rows, cells, x_channel, x_cell,
                TOKENS, CELLS, BLOCK_K,
            )  # fmt: skip
            k = projected(
                x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
                slot_of(head, 1, heads, STACKED), tokens, cells, x_channel, x_cell,
                TOKENS, CELLS, BLOCK_K,
            )  # fmt: skip
        logits = tl.dot(q, tl.trans(k), logits, input_precision="ieee")
    weights = attention_weights(logits * scale, delta, tokens, TOKENS)
    weights = weights.to(x_ptr.dtype.element_ty)

    mean = tl.zeros([BLOCK_M], dtype=tl.float32)
    squares = tl.zeros([BLOCK_M], dtype=tl.float32)
    for start in range(0, CELLS, BLOCK_P):
        cells = start + tl.arange(0, BLOCK_P).to(tl.int64)
        if single:
            v = projected_whole(
                x, weight_ptr, bias_ptr, 3 * head + 2, tokens, cells, TOKENS, CELLS, BLOCK_K
            )
        else:
            v = projected(
                x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
                slot_of(head, 2, heads, STACKED), tokens, cells, x_channel, x_cell,
                TOKENS, CELLS, BLOCK_K,
            )  # fmt: skip
        out = tl.dot(weights, v, input_precision="ieee")
        first = head if RESIDUAL_LAST else head * TOKENS
        step = heads if RESIDUAL_LAST else 1
        residual = token_rows(x_ptr, first, step, rows, cells, x_channel, x_cell, TOKENS, CELLS)
        residual = normed(
            residual, first + rows * step, rows < TOKENS,
            mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
        )  # fmt: skip
        out = (out + residual.to(tl.float32)).to(out_ptr.dtype.element_ty)
        tl.store(
            out_ptr + (rows * heads + head)[:, None] * out_channel + cells[None, :] * out_cell,
            out,
            mask=(rows < TOKENS)[:, None] & (cells < CELLS)[None, :],
        )
        if moments_ptr is not None:
            mean, squares = with_cells(mean, squares, out.to(tl.float32), start, cells, CELLS)
    if moments_ptr is not None:
        moments_ptr += image * heads * TOKENS + rows * heads + head
        tl.store(moments_ptr, mean, mask=rows < TOKENS)
        tl.store(moments_ptr + images * heads * TOKENS, squares, mask=rows < TOKENS)


def unsupported(x: Tensor, num_heads: int) -> str | None:
    """Why the kernels do not support x (B, C, H, W) with num_heads groups, or None if they do."""
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"dtype {x.dtype}"
    tokens = x.shape[1] // num_heads
    return f"{tokens} channels per group (at most {MAX_TOKENS})" if tokens > MAX_TOKENS else None


def icon_attention_fwd(
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
    norm: Norm | None = None,
    moments: Tensor | None = None,
) -> None:
    """Write one step of ICON on x (B, C, H, W) to out (B, C, H, W).

    Arguments as in `reference.icon_attention`. All tensors have the same dtype: float32 (with IEEE
    products), bfloat16 or float16. At most MAX_TOKENS channels per group; any H, W and B. With
    `norm` the input is ReLU(BatchNorm(x)). moments: float32 (2, B, C), receives the mean and the
    sum of squared deviations of each channel of each image of out.
    """
    images, channels = x.shape[:2]
    if images == 0:
        return
    tokens, cells = channels // num_heads, x.shape[2] * x.shape[3]
    x, strides = with_cell_strides(x)
    norm = (norm or Norm()).contiguous()
    blocks = forward_blocks(tokens, cells, x.element_size(), norm.mean is not None)
    grid = (images * num_heads * triton.cdiv(tokens, blocks["BLOCK_M"]),)
    with torch.cuda.device_of(x):
        _icon_attention_fwd_kernel[grid](
            out, x, weight.contiguous(), contiguous(bias), *norm, moments, images, num_heads,
            delta, 1 / math.sqrt(tokens), *output_strides(out), *strides, STACKED=stacked,
            RESIDUAL_LAST=residual_last, TOKENS=tokens, CELLS=cells, **blocks,
        )  # fmt: skip
