"""Gradients of q, k, v for heads whose logits do not fit into one tile.

They are computed from the attention weights and the gradient of the logits. Each program computes
one tile (tokens, cells) of all three; the products sum over the head's tokens.
"""

import triton
import triton.language as tl

from .icon_tiles import projected, slot_of, token_rows


@triton.jit
def _icon_tokens_bwd_kernel(
    d_qkv_ptr,  # (B, 3 C, P)
    weights_ptr,  # (B, heads, TOKENS, TOKENS)
    d_logits_ptr,  # (B, heads, TOKENS, TOKENS)
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
    grad_image,
    grad_channel,
    grad_cell,
    x_image,
    x_channel,
    x_cell,
    STACKED: tl.constexpr,
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    pid = tl.program_id(0).to(tl.int64)
    row_tiles: tl.constexpr = (TOKENS + BLOCK_N - 1) // BLOCK_N
    cell_tiles: tl.constexpr = (CELLS + BLOCK_P - 1) // BLOCK_P
    rows = (pid % row_tiles).to(tl.int32) * BLOCK_N + tl.arange(0, BLOCK_N)
    pid //= row_tiles
    cells = (pid % cell_tiles) * BLOCK_P + tl.arange(0, BLOCK_P)
    pid //= cell_tiles
    image = pid % images
    head = pid // images
    x_ptr += image * x_image
    grad_ptr += image * grad_image
    d_qkv_ptr += image * 3 * heads * TOKENS * CELLS
    weights_ptr += (image * heads + head) * TOKENS * TOKENS
    d_logits_ptr += (image * heads + head) * TOKENS * TOKENS
    slot_q = slot_of(head, 0, heads, STACKED)
    slot_k = slot_of(head, 1, heads, STACKED)

    d_q = tl.zeros([BLOCK_N, BLOCK_P], dtype=tl.float32)
    d_k = tl.zeros([BLOCK_N, BLOCK_P], dtype=tl.float32)
    d_v = tl.zeros([BLOCK_N, BLOCK_P], dtype=tl.float32)
    row_in = (rows < TOKENS)[:, None]
    for start in range(0, TOKENS, BLOCK_M):
        others = start + tl.arange(0, BLOCK_M)
        inside = row_in & (others < TOKENS)[None, :]
        q = projected(
            x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
            slot_q, others, cells, x_channel, x_cell, TOKENS, CELLS, BLOCK_K,
        )  # fmt: skip
        k = projected(
            x_ptr, weight_ptr, bias_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps,
            slot_k, others, cells, x_channel, x_cell, TOKENS, CELLS, BLOCK_K,
        )  # fmt: skip
        g = token_rows(
            grad_ptr, head, heads, others, cells, grad_channel, grad_cell, TOKENS, CELLS
        ).to(q.dtype)
        across = rows[:, None] * TOKENS + others[None, :]
        d_logits = tl.load(d_logits_ptr + across, mask=inside, other=0.0)
        d_q = tl.dot(d_logits, k, d_q, input_precision="ieee")
        # Transposed tiles: their entry (row, other) is entry (other, row) in memory.
        along = others[None, :] * TOKENS + rows[:, None]
        d_logits = tl.load(d_logits_ptr + along, mask=inside, other=0.0)
        d_k = tl.dot(d_logits, q, d_k, input_precision="ieee")
        weights = tl.load(weights_ptr + along, mask=inside, other=0.0)
        d_v = tl.dot(weights, g, d_v, input_precision="ieee")
    slot_v = slot_of(head, 2, heads, STACKED)
    inside = row_in & (cells < CELLS)[None, :]
    offsets = rows[:, None] * CELLS + cells[None, :]
    dtype = d_qkv_ptr.dtype.element_ty
    tl.store(d_qkv_ptr + slot_q * TOKENS * CELLS + offsets, d_q.to(dtype), mask=inside)
    tl.store(d_qkv_ptr + slot_k * TOKENS * CELLS + offsets, d_k.to(dtype), mask=inside)
    tl.store(d_qkv_ptr + slot_v * TOKENS * CELLS + offsets, d_v.to(dtype), mask=inside)
