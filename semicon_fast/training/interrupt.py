"""Ctrl-C and SIGTERM: the first asks for a stop at a safe place, the second stops at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
