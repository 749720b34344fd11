"""Memory layout that the operations on feature maps keep."""

import torch
from torch import Tensor


def memory_format_of(x: Tensor) -> torch.memory_format:
    """x (B, C, H, W) -> channels_last if only that describes its strides, else contiguous."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
