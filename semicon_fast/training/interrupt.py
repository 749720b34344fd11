"""Ctrl-C and SIGTERM: the first asks for a stop at a safe place, the second stops at once."""

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

# Seconds between two questions to the other processes, and places without one. torchrun kills
# processes half a minute after it has asked them to end.
ASK_EVERY = 1.0
MOST_PLACES = 64


class Interrupted(RuntimeError):
    """Training was stopped by a signal. The message says where, and how to go on."""


class StopRequested(Exception):
    """Raised at a safe place after a signal."""


class Stop:
    """A request to stop, set by a signal handler or by hand."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Raises StopRequested if a stop was asked for."""
        if self.requested:
            raise StopRequested


class AgreedStop:
    """One request among several processes: all stop at the same place, or none does.

    They ask each other about once a second, and never less than at every 64th place: at each they
    would wait for the slowest.
    """

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self._places = self._left = 1
        self._since = time.monotonic()

    def check(self) -> None:
        """Raises StopRequested in every process if a stop was asked for in one."""
        if distributed.world_size() == 1:
            self.stop.check()
            return
        self._left -= 1
        if self._left > 0:
            return
        now = time.monotonic()
        own = torch.tensor([self.stop.requested, (now - self._since) / self._places])
        requested, seconds = distributed.largest(own).tolist()
        self._since = now
        self._places = self._left = max(1, min(MOST_PLACES, int(ASK_EVERY / max(seconds, 1e-6))))
        if requested:
            self.stop.requested = True
            self.stop.check()


@contextmanager
def signals(stop: Stop) -> Iterator[None]:
    """Inside, the first signal sets `stop`, the second has its usual effect.

    Does nothing outside of the main thread, where Python allows no handlers.
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
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
