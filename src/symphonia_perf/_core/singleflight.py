"""One loader per key in a process, in a task of its own: a cancelled caller harms nobody."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

__all__ = ["SingleFlight"]

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Concurrent calls for one key share one run.

    The run is a task of its own: a caller that is cancelled leaves it to the others, and it ends
    even when nobody waits any more, because its result is wanted by the next caller too. An error
    reaches every caller of that run and is forgotten with it.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[T]] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, key: str, load: Callable[[], Awaitable[T]]) -> T:
        """The result of `load()`, or of the run for `key` that is under way already."""
        task = self._running.get(key)
        if task is None:
            task = self._start(key, load)
        # shield: cancelling this caller must not cancel the shared run.
        return await asyncio.shield(task)

    def _start(self, key: str, load: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        async def run() -> T:
            return await load()

        task = asyncio.get_running_loop().create_task(run(), name=f"load {key}")
        self._running[key] = task

        def done(finished: asyncio.Task[Any]) -> None:
            if self._running.get(key) is finished:
                del self._running[key]
            if not finished.cancelled():
                # Read, so that asyncio does not report an error whose callers were all cancelled.
                finished.exception()

        task.add_done_callback(done)
        return task

    async def aclose(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
