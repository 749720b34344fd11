"""What a forked process needs so that it can go on: locks that are free, and new pools of threads.

A fork copies only the thread that calls it. In the child a lock that another thread held would stay
locked for ever, GNU OpenMP, with which PyTorch's operators run in parallel, would wait for ever for
the threads that it had started in the parent, and PyTorch, where several threads of the child are
the first to need its other pool, would find none.
"""

import ctypes
import os
import threading
from types import TracebackType
from weakref import WeakSet

import torch

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


def _renew() -> None:
    for lock in Lock._all:
        lock._lock = threading.Lock()
    # Makes PyTorch's pool anew while the child has only one thread.
    torch.set_num_threads(torch.get_num_threads())


def _end_openmp_threads() -> None:
    # Ends the pool of the calling thread, the only one that the child would inherit. Both processes
    # start new threads when they need some. The number of threads stays as it is.
    if pause := getattr(ctypes.CDLL(None), "omp_pause_resource_all", None):
        pause(_OMP_PAUSE_SOFT)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_end_openmp_threads, after_in_child=_renew)
