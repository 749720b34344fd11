"""Numbers that are measured once on a machine and kept beside the built libraries."""

import hashlib
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import torch

from ..files import atomic_write
from ..forks import Lock
from . import toolchain
from .build import CPU

_LOCK = Lock()
_KNOWN: dict[tuple[str, str, int], dict[str, float]] = {}


def measured(name: str, isa: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """The numbers that `measure` gives, from this process, from the cache folder, or measured now.

    They are kept for each processor, number of threads, instruction set and version of the kernels.
    A file that cannot be read or written is passed over.
    """
    threads = torch.get_num_threads()
    asked = name, isa, threads
    if asked in _KNOWN:
        return _KNOWN[asked]
    with _LOCK:
        if asked not in _KNOWN:
            about = [name, isa, _processor(), str(threads), CPU.key()]
            key = hashlib.sha256("\0".join(about).encode()).hexdigest()[:12]
            path = toolchain.cache() / f"{name}-{key}.json"
            _KNOWN[asked] = _read(path) or _write(path, measure())
        return _KNOWN[asked]


def _read(path: Path) -> dict[str, float] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
        return {str(k): float(v) for k, v in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _write(path: Path, numbers: dict[str, float]) -> dict[str, float]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "w") as file:
            json.dump(numbers, file)
    except OSError:
        pass
    return numbers


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next(line for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    return f"{platform.machine()} {model} {os.cpu_count()}"
