"""Argument checks that the operations on feature maps share."""

import math

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


def check_icon_step(
    op: str, x: Tensor, weight: Tensor, bias: Tensor | None, num_heads: int, delta: float
) -> None:
    """The arguments that every form of ICON's step has, or an error naming the first that is off.

    x (B, C, H, W), weight (3 C, C / num_heads, 1, 1), bias (3 C,) or None; one device and, outside
    autocast, one dtype; delta finite and at least 0.
    """
    check_maps(op, "x", x)
    channels = x.shape[1]
    if num_heads < 1 or channels % num_heads:
        raise ValueError(
            f"{op}: num_heads must be positive and divide the {channels} channels, got {num_heads}"
        )
    expected = (3 * channels, channels // num_heads, 1, 1)
    if tuple(weight.shape) != expected:
        raise ValueError(
            f"{op}: weight must be {expected} for {channels} channels and {num_heads} heads, "
            f"got {tuple(weight.shape)}"
        )
    if not 0 <= delta < math.inf:
        raise ValueError(f"{op}: delta must be finite and at least 0, got {delta}")
    if bias is not None and tuple(bias.shape) != (3 * channels,):
        raise ValueError(f"{op}: bias must be ({3 * channels},), got {tuple(bias.shape)}")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            check_same_device(op, "x", x, name, value)
            check_same_dtype(op, "x", x, name, value)
