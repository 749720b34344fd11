"""Tile functions shared by the kernels of ICON; see `reference.icon_attention` for the math.

The 3 C projected channels are 3 * heads slots of d = TOKENS channels. Slot s is computed by group
s // 3 of the convolution from the d input channels of that group. Head h reads its q, k, v from
slots 3 h + (0, 1, 2) in the paper and h + (0, 1, 2) * heads in the released code (STACKED); this
is the only difference, and `slot_of` implements it.

Tiles are padded to powers of two. Padded rows and cells of a projection are 0 (without bias), so
they add nothing to products; padded columns of the logits are -inf.
"""

import triton
import triton.language as tl

from .icon_norm import normed


@triton.jit
def slot_of(head, part, heads, STACKED: tl.constexpr):
    """Slot of a head's q (part 0), k (1) or v (2)."""
    return part * heads + head if STACKED else 3 * head + part


@triton.jit
def group_rows(
    x_ptr,  # one image, (C, P)
    mean_ptr,  # (C,), or None for no normalisation of x
    variance_ptr,
    scale_ptr,
    shift_ptr,
    eps,
    group,
    k,  # [K] channels of the group
    cells,  # [P] int64
    x_channel,
    x_cell,
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
):
    """Input channels of a group of the convolution, normed, [K, P]."""
    x = tl.load(
        x_ptr + (group * TOKENS + k)[:, None] * x_channel + cells[None, :] * x_cell,
        mask=(k < TOKENS)[:, None] & (cells < CELLS)[None, :],
        other=0.0,
    )
    return normed(
        x, group * TOKENS + k, k < TOKENS, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps
    )


@triton.jit
def added_projection(
    acc,  # [R, P] float32
    x,  # [K, P], of group_rows
    weight_ptr,  # (3 C, TOKENS), contiguous
    channels,  # [R], of the projection
    row_in,  # [R]
    k,  # [K] channels of the group
    TOKENS: tl.constexpr,
):
    """acc + weight x, for some channels of a group's input."""
    weight = tl.load(
        weight_ptr + channels[:, None] * TOKENS + k[None, :],
        mask=row_in[:, None] & (k < TOKENS)[None, :],
        other=0.0,
    )
    return tl.dot(weight, x, acc, input_precision="ieee")


@triton.jit
def with_bias(acc, bias_ptr, channels, row_in, cell_in, dtype):
    """acc [R, P] plus a bias (3 C,) or None; 0 where padded."""
    if bias_ptr is not None:
        bias = tl.load(bias_ptr + channels, mask=row_in, other=0.0)
        acc += bias.to(tl.float32)[:, None]
    return tl.where(row_in[:, None] & cell_in[None, :], acc, 0.0).to(dtype)


@triton.jit
def projected(
    x_ptr,  # one image, (C, P)
    weight_ptr,  # (3 C, TOKENS), contiguous
    bias_ptr,  # (3 C,) or None
    mean_ptr,  # (C,), or None for no normalisation of x
    variance_ptr,
    scale_ptr,
    shift_ptr,
    eps,
    slot,
    rows,  # [R] int32
    cells,  # [P] int64
    x_channel,
    x_cell,
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Rows of one slot's projection at the given cells, [R, P] in the dtype of x."""
    row_in = rows < TOKENS
    channels = slot * TOKENS + rows
    acc = tl.zeros([rows.shape[0], cells.shape[0]], dtype=tl.float32)
    for start in range(0, TOKENS, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x = group_rows(
            x_ptr, mean_ptr, variance_ptr, scale_ptr, shift_ptr, eps, slot // 3, k, cells,
            x_channel, x_cell, TOKENS, CELLS,
        )  # fmt: skip
        acc = added_projection(acc, x, weight_ptr, channels, row_in, k, TOKENS)
    return with_bias(acc, bias_ptr, channels, row_in, cells < CELLS, x_ptr.dtype.element_ty)


@triton.jit
def projected_whole(
    x,  # [K, P], all channels of the slot's group
    weight_ptr,  # (3 C, TOKENS), contiguous
    bias_ptr,  # (3 C,) or None
    slot,
    rows,  # [R] int32
    cells,  # [P] int64
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """`projected`, of an input that is loaded already."""
    row_in = rows < TOKENS
    channels = slot * TOKENS + rows
    acc = tl.zeros([rows.shape[0], cells.shape[0]], dtype=tl.float32)
    acc = added_projection(acc, x, weight_ptr, channels, row_in, tl.arange(0, BLOCK_K), TOKENS)
    return with_bias(acc, bias_ptr, channels, row_in, cells < CELLS, x.dtype)


@triton.jit
def token_rows(
    map_ptr,  # one image, (C, P)
    first,  # channel of token 0
    step,  # channels from one token to the next
    rows,  # [R] int32
    cells,  # [P] int64
    map_channel,
    map_cell,
    TOKENS: tl.constexpr,
    CELLS: tl.constexpr,
):
    """Loads tokens of a head: channels first + rows * step of a map, [R, P]; 0 where padded."""
    return tl.load(
        map_ptr + (first + rows * step)[:, None] * map_channel + cells[None, :] * map_cell,
        mask=(rows < TOKENS)[:, None] & (cells < CELLS)[None, :],
        other=0.0,
    )


@triton.jit
def root_magnitude(logits, delta):
    """sqrt(|A| + delta), but 1 where A = 0, so that the gradient is finite for delta = 0."""
    return tl.sqrt_rn(tl.where(logits == 0.0, 1.0, tl.abs(logits) + delta))


@triton.jit
def attention_weights(logits, delta, columns, TOKENS: tl.constexpr):
    """softmax(sign(A) sqrt(|A| + delta)) of logits [R, D] float32 over the columns below TOKENS."""
    root = root_magnitude(logits, delta)
    root = tl.where(logits == 0.0, 0.0, tl.where(logits < 0.0, -root, root))
    root = tl.where((columns < TOKENS)[None, :], root, float("-inf"))
    # Every row has a column below TOKENS, so its maximum is finite.
    weights = tl.exp(root - tl.max(root, 1)[:, None])
    return weights / tl.sum(weights, 1)[:, None]


@triton.jit
def logits_gradient(logits, weights, d_weights, delta):
    """Gradient of the logits, float32: softmax gradient times the root's slope; 0 where A = 0."""
    d_root = weights * (d_weights - tl.sum(weights * d_weights, 1)[:, None])
    slope = 0.5 / root_magnitude(logits, delta)
    return d_root * tl.where(logits == 0.0, 0.0, slope)
