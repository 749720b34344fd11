"""Gradients of ICON's grouped projection with respect to its input, weights and biases."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .icon_launch import image_runs, input_blocks, weight_blocks
from .icon_norm import Norm, inverse_deviation, normed, per_channel
from .icon_tiles import token_rows
from .layout import output_strides, with_cell_strides


@triton.jit
def _icon_input_bwd_kernel(
    d_x_ptr,  # (B, C, P)
    d_norm_ptr,  # (B, cell tiles, 2, C) float32 or None: gradients of scale and shift
    d_qkv_ptr,  # (B, 3 C, P), contiguous
    weight_ptr,  # (3 C, TOKENS)
    grad_ptr,  # (B, C, P)
    x_ptr,  # (B, C, P)
    mean_ptr,  # (C,) or None, and then x is read as it is
    variance_ptr,
    scale_ptr,
    shift_ptr,
    eps,
    images,
    heads,
    d_x_image,
    d_x_channel,
    d_x_cell,
    x_image,
    x_channel,
    x_cell,
    grad_image,
    grad_channel,
    grad_cell,
    RESIDUAL_LAST: tl.constexpr,
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    pid = tl.program_id(0).to(tl.int64)
    row_tiles: tl.constexpr = (TOKENS + BLOCK_M - 1) // BLOCK_M
    cell_tiles: tl.constexpr = (CELLS + BLOCK_P - 1) // BLOCK_P
    rows = (pid % row_tiles).to(tl.int32) * BLOCK_M + tl.arange(0, BLOCK_M)
    pid //= row_tiles
    cell_tile = pid % cell_tiles
    cells = cell_tile * BLOCK_P + tl.arange(0, BLOCK_P)
    pid //= cell_tiles
    image = pid % images
    group = pid // images
    grad_ptr += image * grad_image
    row_in = (rows < TOKENS)[:, None]
    cell_in = (cells < CELLS)[None, :]

    acc = tl.zeros([BLOCK_M, BLOCK_P], dtype=tl.float32)
    # The three slots of a group are 3 TOKENS consecutive projected channels.
    for start in range(0, 3 * TOKENS, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        channels = group * 3 * TOKENS + k
        k_in = k < 3 * TOKENS
        weight = tl.load(
            weight_ptr + channels[None, :] * TOKENS + rows[:, None],
            mask=row_in & k_in[None, :],
            other=0.0,
        )
        d_qkv = tl.load(
            d_qkv_ptr + (image * 3 * heads * TOKENS + channels)[:, None] * CELLS + cells[None, :],
            mask=k_in[:, None] & cell_in,
            other=0.0,
        )
        acc = tl.dot(weight, d_qkv, acc, input_precision="ieee")
    if RESIDUAL_LAST:
        residual = token_rows(
            grad_ptr, group * TOKENS, 1, rows, cells, grad_channel, grad_cell, TOKENS, CELLS
        )
    else:
        residual = token_rows(
            grad_ptr, group, heads, rows, cells, grad_channel, grad_cell, TOKENS, CELLS
        )
    acc += residual.to(tl.float32)
    channels = group * TOKENS + rows
    if mean_ptr is not None:
        x_ptr += image * x_image
        x = token_rows(x_ptr, group * TOKENS, 1, rows, cells, x_channel, x_cell, TOKENS, CELLS)
        deviation = inverse_deviation(variance_ptr, channels, rows < TOKENS, eps)
        centred = x.to(tl.float32) - per_channel(mean_ptr, channels, rows < TOKENS)
        slope = per_channel(scale_ptr, channels, rows < TOKENS) * deviation
        z = centred * slope + per_channel(shift_ptr, channels, rows < TOKENS)
        positive = z.to(x.dtype).to(tl.float32) > 0.0
        acc = tl.where(positive & row_in & cell_in, acc, 0.0)
        d_norm_ptr += (image * cell_tiles + cell_tile) * 2 * heads * TOKENS + channels
        tl.store(d_norm_ptr, tl.sum(acc * centred * deviation, 1), mask=rows < TOKENS)
        tl.store(d_norm_ptr + heads * TOKENS, tl.sum(acc, 1), mask=rows < TOKENS)
        acc *= slope
    channels = channels[:, None]
    tl.store(
        d_x_ptr + image * d_x_image + channels * d_x_channel + cells[None, :] * d_x_cell,
        acc.to(d_x_ptr.dtype.element_ty),
        mask=row_in & cell_in,
    )


@triton.jit
def _icon_weight_bwd_kernel(
    d_weight_ptr,  # (runs, 3 C, TOKENS) float32
    d_bias_ptr,  # (runs, 3 C) float32
    d_qkv_ptr,  # (B, 3 C, P), contiguous
    x_ptr,  # (B, C, P)
    mean_ptr,  # (C,) or None, and then x is read as it is
    variance_ptr,
    scale_ptr,
    shift_ptr,
    eps,
    images,
    heads,
    images_a_run,
    x_image,
    x_channel,
    x_cell,
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    pid = tl.program_id(0).to(tl.int64)
    row_tiles: tl.constexpr = (TOKENS + BLOCK_M - 1) // BLOCK_M
    column_tiles: tl.constexpr = (TOKENS + BLOCK_N - 1) // BLOCK_N
    cell_tiles: tl.constexpr = (CELLS + BLOCK_P - 1) // BLOCK_P
    column_tile = (pid % column_tiles).to(tl.int32)
    pid //= column_tiles
    rows = (pid % row_tiles).to(tl.int32) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = column_tile * BLOCK_N + tl.arange(0, BLOCK_N)
    pid //= row_tiles
    slot = pid % (3 * heads)
    run = pid // (3 * heads)
    first = run * images_a_run
    last = tl.minimum(first + images_a_run, images)
    channels = slot * TOKENS + rows
    inputs = slot // 3 * TOKENS + columns
    row_in = rows < TOKENS
    column_in = columns < TOKENS

    d_weight = tl.zeros([BLOCK_M, BLOCK_N], dtype=tl.float32)
    d_bias = tl.zeros([BLOCK_M], dtype=tl.float32)
    for step in range(first * cell_tiles, last * cell_tiles):
        image = step // cell_tiles
        cells = step % cell_tiles * BLOCK_P + tl.arange(0, BLOCK_P)
        cell_in = (cells < CELLS)[None, :]
        d_qkv = tl.load(
            d_qkv_ptr + (image * 3 * heads * TOKENS + channels)[:, None] * CELLS + cells[None, :],
            mask=row_in[:, None] & cell_in,
            other=0.0,
        )
        x = tl.load(
            x_ptr + image * x_image + inputs[:, None] * x_channel + cells[None, :] * x_cell,
            mask=column_in[:, None] & cell_in,
            other=0.0,
        )
        x = normed(x, inputs, column_in, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps)
        d_weight = tl.dot(d_qkv, tl.trans(x), d_weight, input_precision="ieee")
        d_bias += tl.sum(d_qkv.to(tl.float32), 1)
    channels += run * 3 * heads * TOKENS
    tl.store(
        d_weight_ptr + channels[:, None] * TOKENS + columns[None, :],
        d_weight,
        mask=row_in[:, None] & column_in[None, :],
    )
    # All tiles of columns compute the same sums; the first writes them.
    if column_tile == 0:
        tl.store(d_bias_ptr + channels, d_bias, mask=row_in)


def projection_bwd(
    d_x: Tensor,
    d_weight: Tensor,
    d_bias: Tensor,
    d_norm: Tensor | None,
    d_qkv: Tensor,
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    num_heads: int,
    residual_last: bool,
    norm: Norm,
) -> None:
    """Write d_x (including the residual), d_weight, d_bias and d_norm from d_qkv (B, 3 C, P)."""
    images, channels = x.shape[:2]
    tokens, cells = channels // num_heads, x.shape[2] * x.shape[3]
    blocks = input_blocks(tokens, cells, x.element_size())
    cell_tiles = triton.cdiv(cells, blocks["BLOCK_P"])
    tiles = triton.cdiv(tokens, blocks["BLOCK_M"]) * cell_tiles
    parts = None
    if d_norm is not None:
        parts = x.new_empty((images * cell_tiles, 2, channels), dtype=torch.float32)
    _icon_input_bwd_kernel[(images * num_heads * tiles,)](
        d_x, parts, d_qkv, weight, grad, x, *norm, images, num_heads,
        *output_strides(d_x), *with_cell_strides(x)[1], *with_cell_strides(grad)[1],
        RESIDUAL_LAST=residual_last, TOKENS=tokens, CELLS=cells,
        **blocks,
    )  # fmt: skip
    if d_norm is not None and parts is not None:
        torch.sum(parts, 0, out=d_norm)
    blocks = weight_blocks(tokens, cells, x.element_size())
    tiles = triton.cdiv(tokens, blocks["BLOCK_M"]) * triton.cdiv(tokens, blocks["BLOCK_N"])
    images_a_run = image_runs(images, 3 * num_heads * tiles)
    runs = triton.cdiv(images, images_a_run)
    weight_runs = x.new_empty((runs, *weight.shape), dtype=torch.float32)
    bias_runs = x.new_empty((runs, weight.shape[0]), dtype=torch.float32)
    _icon_weight_bwd_kernel[(3 * num_heads * tiles * runs,)](
        weight_runs, bias_runs, d_qkv, x, *norm, images, num_heads, images_a_run,
        *with_cell_strides(x)[1], TOKENS=tokens, CELLS=cells, **blocks,
    )  # fmt: skip
    d_weight.copy_(weight_runs.sum(0))
    d_bias.copy_(bias_runs.sum(0))
