"""How a network is executed, in training and in encoding: autocast and torch.compile."""

from contextlib import AbstractContextManager
from typing import Any

import torch

AUTOCAST_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The autocast context of a precision, a key of `AUTOCAST_DTYPES`; "fp32" disables it."""
    dtype = AUTOCAST_DTYPES[precision]
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def compile_mode(device: torch.device) -> str:
    """The mode of torch.compile: with CUDA graphs on a GPU."""
    return "reduce-overhead" if device.type == "cuda" else "default"
