"""Gradient of one step of ICON. The attention is recomputed; all sums have a fixed order.

1. One program per head and image (and per tile of tokens, if a head is too large for the registers)
   recomputes the logits and computes the gradients of q, k and v, the only intermediate result of
   size 3 C P. For a large head it writes the attention weights and the gradient of the logits
   instead, from which a second kernel computes the gradients of q, k and v.
2. Gradient of x: transposed projection of a group's three slots, plus the residual's gradient.
3. Gradient of weights and biases: each program sums a run of consecutive images in order; PyTorch
   sums the runs.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from .icon_launch import backward_blocks, token_blocks
from .icon_norm import Norm, statistics_bwd
from .icon_projection_backward import projection_bwd
from .icon_tiles import attention_weights, logits_gradient, projected, slot_of, token_rows
from .icon_tokens_backward import _icon_tokens_bwd_kernel
from .layout import contiguous, with_cell_strides


@triton.jit
def _icon_attention_bwd_kernel(
    d_qkv_ptr,  # (B, 3 C, P); written if WHOLE: a head is a single tile
    weights_ptr,  # (B, heads, TOKENS, TOKENS); written if not WHOLE
    d_logits_ptr,  # (B, heads, TOKENS, TOKENS); written if not WHOLE
    grad_ptr,  # (B, C, P)
    x_ptr,  # (B, C, P)
    weight_ptr,  # (3 C, TOKENS)
    bias_ptr,  # (3 C,) or None
    mean_ptr,  # (C,), or None for no normalisation of x
    variance_ptr,
    scale_ptr,
    shift_ptr,
    eps,
    images,
    heads,
    delta,
    scale,  # 1 / sqrt(TOKENS)
    grad_image,
    grad_channel,
    grad_cell,
    x_image,
    x_channel,
    x_cell,
    STACKED: tl.constexpr,
    WHOLE: tl.constexpr,
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
    grad_ptr += image * grad_image
    dtype = x_ptr.dtype.element_ty
    slot_q = slot_of(head, 0, heads, STACKED)
    slot_k = slot_of(head, 1, heads, STACKED)
    slot_v = slot_of(head, 2, heads, STACKED)

    logits = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    d_weights = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    for start in range(0, CELLS, BLOCK_P):
        cells = start + tl.arange(0, BLOCK_P).to(tl.int64)
        q = projected(
            x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
            slot_q, rows, cells, x_channel, x_cell, TOKENS, CELLS, BLOCK_K,
        )  # fmt: skip
        k = projected(
            x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
            slot_k, tokens, cells, x_channel, x_cell, TOKENS, CELLS, BLOCK_K,
        )  # fmt: skip
        logits = tl.dot(q, tl.trans(k), logits, input_precision="ieee")
        v = projected(
            x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
            slot_v, tokens, cells, x_channel, x_cell, TOKENS, CELLS, BLOCK_K,
        )  # fmt: skip
        g = token_rows(
            grad_ptr, head, heads, rows, cells, grad_channel, grad_cell, TOKENS, CELLS
        ).to(dtype)
        d_weights = tl.dot(g, tl.trans(v), d_weights, input_precision="ieee")
    logits *= scale
    weights = attention_weights(logits, delta, tokens, TOKENS)
    d_logits = (logits_gradient(logits, weights, d_weights, delta) * scale).to(dtype)
    weights = weights.to(dtype)

    if WHOLE:
        d_qkv_ptr += image * 3 * heads * TOKENS * CELLS
        for start in range(0, CELLS, BLOCK_P):
            cells = start + tl.arange(0, BLOCK_P).to(tl.int64)
            q = projected(
                x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
                slot_q, rows, cells, x_channel, x_cell, TOKENS, CELLS, BLOCK_K,
            )  # fmt: skip
            k = projected(
                x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
                slot_k, tokens, cells, x_channel, x_cell, TOKENS, CELLS, BLOCK_K,
            )  # fmt: skip
            g = token_rows(
                grad_ptr, head, heads, rows, cells, grad_channel, grad_cell, TOKENS, CELLS
            ).to(dtype)
            _store_slot(d_qkv_ptr, d_logits, k, slot_q, tokens, cells, TOKENS, CELLS)
            _store_slot(d_qkv_ptr, tl.trans(d_logits), q, slot_k, tokens, cells, TOKENS, CELLS)
            _store_slot(d_qkv_ptr, tl.trans(weights), g, slot_v, tokens, cells, TOKENS, CELLS)
    else:
        base = (image * heads + head) * TOKENS * TOKENS
        offsets = base + rows[:, None] * TOKENS + tokens[None, :]
        inside = (rows < TOKENS)[:, None] & (tokens < TOKENS)[None, :]
        tl.store(weights_ptr + offsets, weights, mask=inside)
        tl.store(d_logits_ptr + offsets, d_logits, mask=inside)


@triton.jit
def _store_slot(
    d_qkv_ptr,  # one image, (3 C, P)
    a,  # [D, R]
    b,  # [R, P]
    slot,
    tokens,
    cells,
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
):
    tl.store(
        d_qkv_ptr + (slot * TOKENS + tokens)[:, None] * CELLS + cells[None, :],
        tl.dot(a, b, input_precision="ieee").to(d_qkv_ptr.dtype.element_ty),
        mask=(tokens < TOKENS)[:, None] & (cells < CELLS)[None, :],
    )


def icon_attention_bwd(
    d_x: Tensor,
    d_weight: Tensor,
    d_bias: Tensor,
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    residual_last: bool,
    norm: Norm | None = None,
    d_norm: Tensor | None = None,
    batch_statistics: bool = False,
) -> None:
    """Write d_x (B, C, H, W), d_weight (3 C, d, 1, 1) and d_bias (3 C,) for grad (B, C, H, W).

    Arguments and limits as in `icon_attention_fwd`. Workspace: 3 B C P elements of x's dtype, and
    2 B C d more if d > 64. With `norm` the step's input is ReLU(BatchNorm(x)): d_norm, float32
    (2, C), receives the gradients of scale and shift; with `batch_statistics` d_x includes the
    gradient through mean and variance, which must be those of x.
    """
    if x.shape[0] == 0:
        d_weight.zero_()
        d_bias.zero_()
        if d_norm is not None:
            d_norm.zero_()
        return
    x, _ = with_cell_strides(x)
    grad, _ = with_cell_strides(grad)
    weight, bias = weight.contiguous(), contiguous(bias)
    norm = None if norm is None else norm.contiguous()
    with torch.cuda.device_of(x):
        d_qkv = _attention_bwd(grad, x, weight, bias, num_heads, delta, stacked, norm or Norm())
        out = d_x, d_weight, d_bias, d_norm
        projection_bwd(*out, d_qkv, grad, x, weight, num_heads, residual_last, norm or Norm())
        if batch_statistics and norm is not None and d_norm is not None:
            statistics_bwd(d_x, d_norm, x, norm)


def _attention_bwd(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    num_heads: int,
    delta: float,
    stacked: bool,
    norm: Norm,
) -> Tensor:
    """Gradient of the projected channels, (B, 3 C, P) contiguous."""
    images, channels = x.shape[:2]
    tokens, cells = channels // num_heads, x.shape[2] * x.shape[3]
    strides = (*with_cell_strides(grad)[1], *with_cell_strides(x)[1])
    d_qkv = x.new_empty(images, 3 * channels, cells)
    blocks = backward_blocks(tokens, cells, x.element_size())
    whole = blocks["BLOCK_M"] >= tokens
    square = (0,) if whole else (images, num_heads, tokens, tokens)
    weights, d_logits = x.new_empty(square), x.new_empty(square)
    shape = {"STACKED": stacked, "TOKENS": tokens, "CELLS": cells}
    grid = (images * num_heads * triton.cdiv(tokens, blocks["BLOCK_M"]),)
    _icon_attention_bwd_kernel[grid](
        d_qkv, weights, d_logits, grad, x, weight, bias, *norm, images, num_heads, delta,
        1 / math.sqrt(tokens), *strides, WHOLE=whole, **shape, **blocks,
    )  # fmt: skip
    if not whole:
        blocks = token_blocks(tokens, cells, x.element_size())
        tiles = triton.cdiv(tokens, blocks["BLOCK_N"]) * triton.cdiv(cells, blocks["BLOCK_P"])
        _icon_tokens_bwd_kernel[(images * num_heads * tiles,)](
            d_qkv, weights, d_logits, grad, x, weight, bias, *norm, images, num_heads, *strides,
            **shape, **blocks,
        )  # fmt: skip
    return d_qkv
