"""Argument checks shared by the operators on feature maps."""

import math
from typing import Any

import torch
from torch import Tensor

from ..reference import IconStep


def check_maps(op: str, name: str, value: Tensor) -> None:
    """Raises TypeError or ValueError unless `value` is a floating-point tensor (B, C, H, W).

    C, H and W must be at least 1; B may be 0.
    """
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
    """Raises ValueError, naming both tensors, unless they are on the same device."""
    if a.device != b.device:
        raise ValueError(
            f"{op}: {first} and {second} must be on one device, got {a.device} and {b.device}"
        )


def check_same_dtype(op: str, first: str, a: Tensor, second: str, b: Tensor) -> None:
    """Raises ValueError, naming both tensors, unless they have the same dtype.

    Nothing is checked under autocast, which casts both.
    """
    if a.dtype != b.dtype and not torch.is_autocast_enabled(a.device.type):
        raise ValueError(
            f"{op}: {first} and {second} must have one dtype, got {a.dtype} and {b.dtype}"
        )


def checked_step(op: str, x: Tensor, *step: Any) -> IconStep:
    """Checks the arguments that all ICON operators have in common, the fields of `IconStep`.

    x (B, C, H, W), weight (3 C, C / num_heads, 1, 1), bias (3 C,) or None, all on the same device
    and, outside autocast, of the same dtype; num_heads divides C; delta is finite and at least 0.
    Raises TypeError or ValueError naming the first argument that is wrong.
    """
    weight, bias, num_heads, delta, stacked, residual_last = IconStep(*step)
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
    return IconStep(weight, bias, num_heads, float(delta), stacked, residual_last)
