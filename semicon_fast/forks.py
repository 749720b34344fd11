"""What a forked process needs so that it can go on: locks that are free, and threads for OpenMP.

A fork copies only the thread that calls it. A lock that another thread held would stay locked in
the child for ever, and GNU OpenMP, which PyTorch's operators run in parallel with, would wait for
ever for the threads that it had started in the parent.
"""

import ctypes
import os
import threading
from types import TracebackType
from weakref import WeakSet

import torch  # noqa: F401  (loads its OpenMP)

_OMP_PAUSE_SOFT = 1  # OpenMP 5.0, omp_pause_resource_t


class Lock:
    """A `threading.Lock` for `with` statements that is free in a forked child, whoever held it."""

    _all: "WeakSet[Lock]" = WeakSet()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        Lock._all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()


def _renew_locks() -> None:
    for lock in Lock._all:
        lock._lock = threading.Lock()


def _end_openmp_threads() -> None:
    # Ends the pool of the calling thread, the only one that the child would inherit. Both processes
    # start new threads when they need some. The number of threads stays as it is.
    if pause := getattr(ctypes.CDLL(None), "omp_pause_resource_all", None):
        pause(_OMP_PAUSE_SOFT)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_end_openmp_threads, after_in_child=_renew_locks)
