"""A thread pool with a bounded queue: work that does not fit is rejected immediately."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Busy(Exception):
    """The pool has no free place, or too few free bytes."""


class Place:
    """A reserved slot of a pool. It is held until the work that was started in it has finished."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self.future: Future[Any] | None = None

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function(*arguments)` in a thread. Cancelling the wait does not stop the thread."""
        self.future = self._executor.submit(function, *arguments)
        return await asyncio.shield(asyncio.wrap_future(self.future))


class Pool:
    """A thread pool with admission control, for use from one event loop.

    Args:
        name: prefix of the threads' names.
        workers: number of threads.
        places: requests that may run or wait at the same time.
        held_bytes: bytes that these requests may hold in total.
    """

    def __init__(self, name: str, workers: int, places: int, held_bytes: int = 0) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._places, self._bytes = places, held_bytes

    @contextmanager
    def place(self, size: int = 0) -> Iterator[Place]:
        """Reserve a place for a request of `size` bytes, or raise Busy.

        Must be called from the event loop's thread.
        """
        if self._places < 1 or self._bytes < size:
            raise Busy
        self._take(1, size)
        place = Place(self._executor)
        try:
            yield place
        finally:
            if place.future is None or place.future.done():
                self._take(-1, -size)
            else:
                loop = asyncio.get_running_loop()
                place.future.add_done_callback(
                    lambda _: loop.call_soon_threadsafe(self._take, -1, -size)
                )

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function(*arguments)` in a newly reserved place, or raise Busy."""
        with self.place() as place:
            return await place.run(function, *arguments)

    def close(self) -> None:
        """Cancel queued work; running work finishes in the background."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _take(self, places: int, size: int) -> None:
        self._places -= places
        self._bytes -= size
