"""The memory layout of feature maps, which the operators preserve."""

import torch
from torch import Tensor


def memory_format_of(x: Tensor) -> torch.memory_format:
    """channels_last if x (B, C, H, W) is dense in that format only, else contiguous."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def empty_like(x: Tensor) -> Tensor:
    """An uninitialised tensor like x (B, C, H, W), in the memory layout that operators preserve."""
    return torch.empty_like(x, memory_format=memory_format_of(x))
