"""Argument checks that the operations on feature maps share."""

import torch
from torch import Tensor


def check_maps(op: str, name: str, value: Tensor) -> None:
    """A floating tensor (B, C, H, W) with at least one channel and one cell, or an error."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{op}: {name} must be a torch tensor, got {type(value).__name__}")
    if value.ndim != 4 or 0 in value.shape[1:]:
        raise ValueError(
            f"{op}: {name} must be (B, C, H, W) with at least one channel and one cell, "
            f"got {tuple(value.shape)}"
        )
    if not value.is_floating_point():
        raise ValueError(f"{op}: {name} must be floating point, got {value.dtype}")


def check_same_device(op: str, first: str, a: Tensor, second: str, b: Tensor) -> None:
    """Both on one device, or a ValueError naming both."""
    if a.device != b.device:
        raise ValueError(
            f"{op}: {first} and {second} must be on one device, got {a.device} and {b.device}"
        )


def check_same_dtype(op: str, first: str, a: Tensor, second: str, b: Tensor) -> None:
    """One dtype, unless autocast is on and will cast both; else a ValueError naming both."""
    if a.dtype != b.dtype and not torch.is_autocast_enabled(a.device.type):
        raise ValueError(
            f"{op}: {first} and {second} must have one dtype, got {a.dtype} and {b.dtype}"
        )
