"""Work in threads, with a bounded queue: what does not fit is refused at once."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Busy(Exception):
    """Every place is taken."""


class Place:
    """One of a pool's places, held until the work that was begun in it is done."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self.work: Future[Any] | None = None

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments)` in a thread. Who stops waiting for it does not stop it."""
        self.work = self._executor.submit(function, *arguments)
        return await asyncio.shield(asyncio.wrap_future(self.work))


class Pool:
    """`workers` threads, `places` requests at work or waiting, `held` bytes between them."""

    def __init__(self, name: str, workers: int, places: int, held: int = 0) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._places, self._bytes = places, held

    @contextmanager
    def place(self, size: int = 0) -> Iterator[Place]:
        """A place for `size` bytes. Raises Busy. For the event loop's thread only."""
        if self._places < 1 or self._bytes < size:
            raise Busy
        self._take(1, size)
        place = Place(self._executor)
        try:
            yield place
        finally:
            if place.work is None or place.work.done():
                self._take(-1, -size)
            else:
                loop = asyncio.get_running_loop()
                place.work.add_done_callback(
                    lambda _: loop.call_soon_threadsafe(self._take, -1, -size)
                )

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments)` in a place of its own. Raises Busy."""
        with self.place() as place:
            return await place.run(function, *arguments)

    def close(self) -> None:
        """Drops what waits; what is at work ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _take(self, places: int, size: int) -> None:
        self._places -= places
        self._bytes -= size
