"""BatchNorm and ReLU before ICON's second step, applied when its kernels load the feature map.

The batch statistics are computed by the first step for each image (`with_cells`) and combined by
PyTorch, without weights since all images have the same number of cells. The gradient through the
statistics is a separate pass, since it needs sums over the whole batch.
"""

from typing import NamedTuple

import triton
import triton.language as tl
from torch import Tensor

from .icon_launch import statistics_blocks
from .layout import contiguous, output_strides, with_cell_strides


class Norm(NamedTuple):
    """Statistics and affine parameters of BatchNorm, each (C,); None for no norm."""

    mean: Tensor | None = None
    variance: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None
    eps: float = 0.0

    def contiguous(self) -> "Norm":
        """The same with vectors as the kernels read them."""
        return Norm(*map(contiguous, self[:4]), self.eps)


@triton.jit
def per_channel(vector_ptr, channels, channel_in):
    """Values of a vector (C,) as a column [R, 1] float32; 0 where padded."""
    return tl.load(vector_ptr + channels, mask=channel_in, other=0.0).to(tl.float32)[:, None]


@triton.jit
def inverse_deviation(variance_ptr, channels, channel_in, eps):
    """1 / sqrt(variance + eps), [R, 1] float32."""
    variance = tl.load(variance_ptr + channels, mask=channel_in, other=1.0).to(tl.float32)
    return (1.0 / tl.sqrt_rn(variance + eps))[:, None]


@triton.jit
def normed(
    x,  # [R, P], rows are channels
    channels,  # [R]
    channel_in,  # [R]
    mean_ptr,  # (C,), or None to return x unchanged
    variance_ptr,
    scale_ptr,
    shift_ptr,
    eps,
):
    """ReLU(BatchNorm(x)) in the dtype of x. Padded rows stay 0, padded cells do not."""
    if mean_ptr is not None:
        slope = per_channel(scale_ptr, channels, channel_in)
        slope *= inverse_deviation(variance_ptr, channels, channel_in, eps)
        centred = x.to(tl.float32) - per_channel(mean_ptr, channels, channel_in)
        z = centred * slope + per_channel(shift_ptr, channels, channel_in)
        # Not tl.maximum, which would drop NaN.
        x = tl.where(z < 0.0, 0.0, z).to(x.dtype)
    return x


@triton.jit
def with_cells(
    mean,  # [R] float32, mean of the cells below `start`
    squares,  # [R] float32, sum of their squared deviations from the mean
    tile,  # [R, P] float32
    start,
    cells,  # [P]
    CELLS: tl.constexpr,
):
    """Updates mean and sum of squared deviations by one more tile of cells (Chan's formula)."""
    cell_in = (cells < CELLS)[None, :]
    before = start * 1.0
    count = tl.sum((cells < CELLS).to(tl.float32), 0)
    tile_mean = tl.sum(tl.where(cell_in, tile, 0.0), 1) / count
    deviation = tl.where(cell_in, tile - tile_mean[:, None], 0.0)
    step = tile_mean - mean
    share = count / (before + count)
    squares += tl.sum(deviation * deviation, 1) + step * step * before * share
    return mean + step * share, squares


@triton.jit
def _icon_statistics_bwd_kernel(
    d_x_ptr,  # (B, C, P), read and written
    sums_ptr,  # (2, C) float32: gradients of scale and shift
    x_ptr,  # (B, C, P)
    mean_ptr,  # (C,)
    variance_ptr,  # (C,)
    scale_ptr,  # (C,)
    eps,
    share,  # 1 / (B P)
    channels,
    d_x_image,
    d_x_channel,
    d_x_cell,
    x_image,
    x_channel,
    x_cell,
    CELLS: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    pid = tl.program_id(0).to(tl.int64)
    cell_tiles: tl.constexpr = (CELLS + BLOCK_P - 1) // BLOCK_P
    cells = (pid % cell_tiles) * BLOCK_P + tl.arange(0, BLOCK_P)
    pid //= cell_tiles
    channel_tiles = tl.cdiv(channels, BLOCK_C)
    rows = (pid % channel_tiles) * BLOCK_C + tl.arange(0, BLOCK_C)
    image = pid // channel_tiles
    row_in = rows < channels
    inside = row_in[:, None] & (cells < CELLS)[None, :]

    x_ptr += image * x_image
    x = tl.load(x_ptr + rows[:, None] * x_channel + cells[None, :] * x_cell, mask=inside, other=0.0)
    deviation = inverse_deviation(variance_ptr, rows, row_in, eps)
    z = (x.to(tl.float32) - per_channel(mean_ptr, rows, row_in)) * deviation
    d_scale = per_channel(sums_ptr, rows, row_in)
    d_shift = per_channel(sums_ptr + channels, rows, row_in)
    slope = per_channel(scale_ptr, rows, row_in) * deviation
    d_x_ptr += image * d_x_image + rows[:, None] * d_x_channel + cells[None, :] * d_x_cell
    d_x = tl.load(d_x_ptr, mask=inside, other=0.0).to(tl.float32)
    d_x -= slope * share * (d_shift + z * d_scale)
    tl.store(d_x_ptr, d_x.to(d_x_ptr.dtype.element_ty), mask=inside)


def statistics_bwd(d_x: Tensor, sums: Tensor, x: Tensor, norm: Norm) -> None:
    """Add the gradient through the batch's mean and variance to d_x (B, C, H, W).

    sums: float32 (2, C), the gradients of scale and shift.
    """
    images, channels = x.shape[:2]
    cells = x.shape[2] * x.shape[3]
    blocks = statistics_blocks(cells)
    tiles = triton.cdiv(channels, blocks["BLOCK_C"]) * triton.cdiv(cells, blocks["BLOCK_P"])
    _icon_statistics_bwd_kernel[(images * tiles,)](
        d_x, sums.contiguous(), x, norm.mean, norm.variance, norm.scale, norm.eps,
        1 / (images * cells), channels, *output_strides(d_x), *with_cell_strides(x)[1],
        CELLS=cells, **blocks,
    )  # fmt: skip
