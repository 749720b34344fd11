"""NumPy arrays and torch tensors as arguments: conversion, and checks that name the argument."""

import operator
import warnings
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)


def check_integer(value: Any, name: str, low: int, high: int | None = None) -> int:
    """`value` as an int within low..high. Raises TypeError or ValueError naming `name`."""
    wanted = f"an integer from {low} to {high}" if high is not None else f"an integer >= {low}"
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be {wanted}, got {value!r}") from None
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be {wanted}, got {number}")
    return number


def as_tensor(values: Any, name: str) -> Tensor:
    """A tensor that shares memory with `values`, a NumPy array or a tensor. Never written to.

    Raises TypeError for anything else, for arrays whose dtype PyTorch does not have, and for
    tensors that are not dense or hold no data.
    """
    if isinstance(values, Tensor):
        if values.layout is not torch.strided or values.is_meta:
            kind = "meta" if values.is_meta else str(values.layout)
            raise TypeError(f"{name} must be a dense tensor with data, got one of {kind}")
        return values.detach()
    if not isinstance(values, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array or a torch tensor, got {type(values).__name__}"
        )
    steps = values.strides
    uneven = any(step < 0 or step % (values.itemsize or 1) for step in steps)
    if uneven or not values.dtype.isnative:
        values = np.array(values, dtype=values.dtype.newbyteorder("="))
    try:
        with warnings.catch_warnings():
            # Arrays mapped read-only from a file are fine here: they are only read.
            warnings.filterwarnings("ignore", message=".*not writable.*")
            return torch.from_numpy(values)
    except TypeError as error:
        raise TypeError(f"{name} has a dtype torch does not have: {values.dtype}") from error


def writable(array: Array) -> Tensor:
    """A tensor over the memory of an output array."""
    if isinstance(array, Tensor):
        return array
    if not isinstance(array, np.ndarray) or not array.flags.carray:
        raise TypeError("out must hold tensors, or NumPy arrays that are contiguous and writable")
    return torch.from_numpy(array)


def like(result: Tensor, example: Any) -> Any:
    """`result` as the kind `example` is: a tensor on its device, or else a NumPy array."""
    if isinstance(example, Tensor):
        return result.to(example.device)
    return result.cpu().numpy()
