"""Finds, builds and loads the C++ kernels of csrc/; the only reader of environment variables.

SEMICON_FAST_BACKEND  auto (default): native kernels, or the reference with a warning where they
                      cannot be had; native: an error instead of the warning; reference: never
                      build or load anything.
SEMICON_FAST_ISA      auto (default), scalar, avx2, avx512, avx512vpopcnt, neon.
SEMICON_FAST_CACHE    folder for what was built; default: semicon_fast in the user's cache folder.

Nothing happens at import. The first search builds, once for each torch, CUDA tag, architecture and
version of the sources; a process that is killed meanwhile leaves nothing that another waits for.
"""

import os
import threading
import warnings
from pathlib import Path
from typing import Any

import torch

from . import building
from .building import NativeBuildError

BACKENDS = ("auto", "reference", "native")
ISAS = ("auto", "scalar", "avx2", "avx512", "avx512vpopcnt", "neon")

_LOCK = threading.Lock()


class _State:
    """What this process decided, once."""

    decided = False
    library: Path | None = None
    error: NativeBuildError | None = None
    reason: str | None = None


def _setting(name: str, known: tuple[str, ...]) -> str:
    value = os.environ.get(name, "auto").strip().lower() or "auto"
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return value


def backend() -> str:
    """SEMICON_FAST_BACKEND: auto, reference or native. Raises ValueError for anything else."""
    return _setting("SEMICON_FAST_BACKEND", BACKENDS)


def load() -> bool:
    """Whether the native kernels serve the CPU. Builds and loads them at the first call.

    Raises NativeBuildError where they cannot be had and SEMICON_FAST_BACKEND is native.
    """
    if not _State.decided:
        with _LOCK:
            if not _State.decided:
                _decide()
                _State.decided = True
    if _State.error is not None and backend() == "native":
        raise NativeBuildError(str(_State.error)) from _State.error
    return _State.library is not None


def _decide() -> None:
    wanted = backend()
    isa = _setting("SEMICON_FAST_ISA", ISAS)
    if wanted == "reference":
        _State.reason = "SEMICON_FAST_BACKEND is reference"
        return
    try:
        _State.library = (
            building.load_prebuilt()
            or building.load_cached(building.cache_folder())
            or building.build()
        )
    except NativeBuildError as error:
        _State.error, _State.reason = error, str(error)
        if wanted == "auto":
            warnings.warn(
                f"{error} Until then the CPU takes the slower PyTorch path.",
                RuntimeWarning,
                stacklevel=2,
            )
        return
    use_isa(isa)


def use_isa(name: str) -> None:
    """Chooses the instruction set for this process. Raises ValueError unless this CPU has it."""
    if not torch.ops.semicon_fast._use_isa(name):
        available = ", ".join(["auto", *torch.ops.semicon_fast._isas()])
        raise ValueError(
            f"SEMICON_FAST_ISA must be an instruction set of this machine ({available}), "
            f"got {name!r}"
        )


def status() -> dict[str, Any]:
    """What serves the CPU, for `semicon-fast info`. Never builds.

    Keys: backend (native or reference), isa, isas (all of this machine), library, cache, reason
    (why the native kernels are not in use; None where they are).
    """
    with _LOCK:
        if not _State.decided:
            _look()
    loaded = _State.library is not None
    return {
        "backend": "native" if loaded else "reference",
        "isa": torch.ops.semicon_fast._isa() if loaded else None,
        "isas": list(torch.ops.semicon_fast._isas()) if loaded else [],
        "library": str(_State.library) if loaded else None,
        "cache": str(building.cache_folder()),
        "reason": None if loaded else _State.reason,
    }


def _look() -> None:
    """Loads what is built already, or says why there is nothing; leaves building to `load`."""
    if backend() == "reference":
        _State.reason = "SEMICON_FAST_BACKEND is reference"
        return
    _State.reason = "not built yet: the first search builds it"
    try:
        _State.library = building.load_prebuilt() or building.load_cached(building.cache_folder())
    except NativeBuildError as error:
        _State.reason = str(error)
    if _State.library is not None:
        use_isa(_setting("SEMICON_FAST_ISA", ISAS))
        _State.reason, _State.decided = None, True


__all__ = ["BACKENDS", "ISAS", "NativeBuildError", "backend", "load", "status", "use_isa"]
