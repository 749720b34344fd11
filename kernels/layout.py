"""Strides of feature maps by (image, channel, cell), with cell = row * W + column."""

import torch
from torch import Tensor


def cell_strides(x: Tensor) -> tuple[int, int, int] | None:
    """Strides of x (B, C, H, W) viewed as (B, C, H W), or None if there is no such view."""
    image, channel, row, column = x.stride()
    height, width = x.shape[2:]
    if width == 1:
        return image, channel, row
    if height == 1 or row == width * column:
        return image, channel, column
    return None


def with_cell_strides(x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
    """x and its strides, copied only if necessary.

    Contiguous, channels_last and expanded maps are not copied; slices in H or W may be.
    """
    strides = cell_strides(x)
    if strides is None:
        x = x.contiguous(memory_format=torch.contiguous_format)
        strides = (x.stride(0), x.stride(1), 1)
    return x, strides


def output_strides(out: Tensor) -> tuple[int, int, int]:
    """Strides of a map that a kernel writes; a ValueError where only a copy would have them."""
    strides = cell_strides(out)
    if strides is None:
        raise ValueError(
            "the output must have one stride from cell to cell, as contiguous and channels_last "
            f"maps have, got the strides {tuple(out.stride())}"
        )
    return strides


def contiguous(value: Tensor | None) -> Tensor | None:
    """A tensor that kernels read without strides, copied only if necessary; None stays None."""
    return None if value is None else value.contiguous()


def padded(size: int, at_least: int = 16) -> int:
    """The smallest power of two >= `size` and >= 16, the smallest block size of tl.dot."""
    return max(at_least, 1 << (size - 1).bit_length())
