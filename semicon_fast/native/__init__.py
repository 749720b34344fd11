"""Finds, builds and loads the kernels of csrc/; the only reader of environment variables.

SEMICON_FAST_BACKEND  auto (default): native kernels, or the reference with a warning if they cannot
                      be built; native: an error instead of the warning; reference: never build or
                      load anything.
SEMICON_FAST_ISA      auto (default), scalar, avx2, avx512, avx512vpopcnt, neon.
SEMICON_FAST_CACHE    folder for the built libraries; default: semicon_fast in the user's cache, or
                      in the temporary files if that cannot be written.

Nothing is built or loaded at import. The first search on the CPU builds the CPU kernels, the first
one on a CUDA device the CUDA kernels, once for each version of torch, CUDA tag, architecture and
version of the sources. A process that is killed during a build does not block later ones.
"""

import os
import warnings
from pathlib import Path
from typing import Any

import torch

from ..forks import Lock
from .background import BackgroundBuild
from .build import CPU, Library
from .cuda import CUDA, devices
from .toolchain import NativeBuildError

BACKENDS = ("auto", "reference", "native")
ISAS = ("auto", "scalar", "avx2", "avx512", "avx512vpopcnt", "neon")

_LOCK = Lock()


class _Selection:
    """Whether this process uses one of the libraries; decided once."""

    def __init__(self, of: Library) -> None:
        self.of = of
        self.decided = False
        self.library: Path | None = None
        self.error: NativeBuildError | None = None
        self.reason: str | None = None

    def serves(self) -> bool:
        """Whether the library is used; the first call builds and loads it.

        Raises NativeBuildError if that failed and SEMICON_FAST_BACKEND is native.
        """
        if not self.decided:
            with _LOCK:
                if not self.decided:
                    self._decide()
                    self.decided = True
        if self.error is not None and backend() == "native":
            raise NativeBuildError(str(self.error)) from self.error
        return self.library is not None

    def _decide(self) -> None:
        wanted = backend()
        isa = _isa()
        if wanted == "reference":
            self.reason = "SEMICON_FAST_BACKEND is reference"
            return
        try:
            self.library = self.of.load_or_build()
        except NativeBuildError as error:
            self.error, self.reason = error, str(error)
            if wanted == "auto":
                warnings.warn(
                    f"{error} Until then {self.of.serves} takes the slower PyTorch path.",
                    RuntimeWarning,
                    stacklevel=3,
                )
            return
        if self.of is CPU:
            use_isa(isa)

    def load_existing(self) -> None:
        """Loads the library if it is built already, else sets `reason`; never builds."""
        with _LOCK:
            if self.decided:
                return
            if backend() == "reference":
                self.reason = "SEMICON_FAST_BACKEND is reference"
                return
            self.reason = f"not built yet: the first {self.of.first_use} builds it"
            try:
                self.library = self.of.load_stored()
            except NativeBuildError as error:
                self.reason = str(error)
            if self.library is not None:
                if self.of is CPU:
                    use_isa(_isa())
                self.reason, self.decided = None, True


_CPU, _CUDA = _Selection(CPU), _Selection(CUDA)


def _setting(name: str, known: tuple[str, ...]) -> str:
    value = os.environ.get(name, "auto").strip().lower() or "auto"
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return value


def backend() -> str:
    """SEMICON_FAST_BACKEND: auto, reference or native. Raises ValueError for anything else."""
    return _setting("SEMICON_FAST_BACKEND", BACKENDS)


def _isa() -> str:
    return _setting("SEMICON_FAST_ISA", ISAS)


def load() -> bool:
    """Whether native kernels are used on the CPU. The first call builds and loads them.

    Raises NativeBuildError if they cannot be built or loaded and SEMICON_FAST_BACKEND is native.
    """
    return _CPU.serves()


def start_build() -> BackgroundBuild | None:
    """Begins to build the kernels for the CPU in a thread; None where there is nothing to build.

    For programs that want to show the progress of the build; all others build at the first call.
    """
    _CPU.load_existing()
    if _CPU.decided or backend() == "reference" or CPU.problem() is not None:
        return None
    return BackgroundBuild(CPU)


def load_cuda() -> bool:
    """Whether native kernels are used on CUDA devices; as `load`, independently of it."""
    return _CUDA.serves()


def use_isa(name: str) -> None:
    """Selects the instruction set of this process. Raises ValueError if the CPU lacks it."""
    if not torch.ops.semicon_fast._use_isa(name):
        available = ", ".join(["auto", *torch.ops.semicon_fast._isas()])
        raise ValueError(
            f"SEMICON_FAST_ISA must be an instruction set of this machine ({available}), "
            f"got {name!r}"
        )


def status() -> dict[str, Any]:
    """State of the CPU kernels, for `semicon-fast info`. Never builds.

    Keys: backend (native or reference), isa, isas (all of this machine), library, cache, reason
    (why the native kernels are not used; None if they are).
    """
    _CPU.load_existing()
    loaded = _CPU.library is not None
    return {
        "backend": "native" if loaded else "reference",
        "isa": torch.ops.semicon_fast._isa() if loaded else None,
        "isas": list(torch.ops.semicon_fast._isas()) if loaded else [],
        "library": str(_CPU.library) if loaded else None,
        "cache": str(CPU.folder()),
        "reason": None if loaded else _CPU.reason,
    }


def cuda_status() -> dict[str, Any]:
    """State of the CUDA kernels, for `semicon-fast info`. Never builds.

    Keys: backend (native, reference, or None without a device), capabilities of the visible
    devices, library, cache, reason (why the native kernels are not used; None if they are).
    """
    found = devices()
    if found:
        _CUDA.load_existing()
    loaded = _CUDA.library is not None
    reason = _CUDA.reason if found else "no CUDA device is visible"
    if found and not _CUDA.decided and (problem := CUDA.problem()) is not None:
        reason = f"cannot be built: {problem[0]}. {problem[1]}."
    return {
        "backend": ("native" if loaded else "reference") if found else None,
        "capabilities": [f"{c // 10}.{c % 10}" for c in found],
        "library": str(_CUDA.library) if loaded else None,
        "cache": str(CUDA.folder()),
        "reason": None if loaded else reason,
    }


__all__ = [
    "BACKENDS",
    "ISAS",
    "NativeBuildError",
    "backend",
    "cuda_status",
    "load",
    "load_cuda",
    "start_build",
    "status",
    "use_isa",
]
