"""How a network is executed, in training and in encoding: autocast, torch.compile, devices."""

import os
import platform
import warnings
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import torch

AUTOCAST_DTYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The autocast context of a precision, a key of `AUTOCAST_DTYPES`; "fp32" disables it."""
    dtype = AUTOCAST_DTYPES[precision]
    if device.type == "cpu" and dtype is not None:
        warn_if_emulated(precision)
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


@cache
def warn_if_emulated(precision: str) -> None:
    """Warn once on an x86 CPU without AVX-512, which has no instructions for half precision.

    Convolutions then convert every value: ten times slower than float32 (a training step of
    "resnet10-32" with 200 images on two cores of an AMD EPYC, Zen 3: 26 s in bf16, 2.5 s in fp32).
    """
    old = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX", "AVX2")
    if old and platform.machine() in ("x86_64", "AMD64"):
        warnings.warn(
            f"semicon_fast: this CPU has no instructions for {precision}: it is emulated, many "
            "times slower than fp32 here.",
            RuntimeWarning,
            stacklevel=3,
        )


@cache
def compiles(device_type: str) -> bool:
    """Whether torch.compile works for "cpu" or "cuda" here; if not, warns once with the reason.

    It needs a compiler, on a CUDA device Triton, and a folder to write to.
    """
    try:
        torch.compile(torch.neg)(torch.ones(64, device=device_type))
    except Exception as error:
        # Whatever it is, the network runs without.
        reason = next((line for line in str(error).splitlines() if line), type(error).__name__)
        warnings.warn(
            f"semicon_fast: torch.compile does not work here ({reason}), so the network runs "
            "uncompiled.",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True


def device_name(device: str) -> str:
    """The model of a device ("cpu", "cuda", ...), for a CPU with the cores that may be used."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return f"{name}, {cores} cores"


def compile_mode(device: torch.device) -> str:
    """The mode of torch.compile: with CUDA graphs on a GPU."""
    return "reduce-overhead" if device.type == "cuda" else "default"
