"""Ctrl-C and SIGTERM: the first requests a stop at a safe point, the second stops at once."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from .. import distributed

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# With several processes: seconds, and most calls of `check`, between two exchanges of the request.
# torchrun kills processes half a minute after their SIGTERM.
EXCHANGE_SECONDS = 1.0
MAX_CHECKS = 64


class Interrupted(RuntimeError):
    """Training was stopped by a signal. The message says where, and how to resume."""


class StopRequested(Exception):
    """Raised at a safe point after a stop was requested."""


class Stop:
    """A flag that requests a stop, set by a signal handler or by the caller."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raises StopRequested if a stop was requested."""
        if self.requested:
            raise StopRequested


class AgreedStop:
    """A stop request that is agreed on by all processes, so that all stop at the same point.

    The processes exchange their requests about once a second, and at least at every 64th call of
    `check`. Exchanging at every call would make them wait for the slowest one each time.
    """

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._checks = self._left = 1
        self._since = time.monotonic()

    def check(self) -> None:
        """Raises StopRequested in every process if a stop was requested in one; collective."""
        if distributed.world_size() == 1:
            self.stop.check()
            return
        self._left -= 1
        if self._left > 0:
            return
        now = time.monotonic()
        own = torch.tensor([self.stop.requested, (now - self._since) / self._checks])
        requested, seconds = distributed.largest(own).tolist()
        self._since = now
        self._checks = self._left = max(
            1, min(MAX_CHECKS, int(EXCHANGE_SECONDS / max(seconds, 1e-6)))
        )
        if requested:
            self.stop.requested = True
            self.stop.check()


@contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """A context in which the first SIGINT or SIGTERM sets `stop` and the second one has its default
    effect.

    Has no effect outside of the main thread, where Python does not allow signal handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        if not stop.requested:
            stop.requested = True
            return
        signal.signal(number, signal.SIG_DFL)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        os.kill(os.getpid(), number)

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            # None means a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
