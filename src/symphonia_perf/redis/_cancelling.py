"""A cancellation that is told from everybody else's."""

import asyncio

__all__ = ["Cancelling"]


class Cancelling:
    """May cancel the task that makes it, and takes that back; as `asyncio.timeout` does."""

    __slots__ = ("_before", "_sent", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - made in a coroutine
        self._task = task
        self._before = task.cancelling()
        self._sent = 0

    def cancel(self) -> None:
        """Cancel the task; once more, where it swallowed the last one."""
        self._sent += 1
        self._task.cancel()

    def close(self, error: BaseException | None) -> bool:
        """Whether what ends the block is this cancellation, and no other came with it."""
        if not self._sent:
            return False
        left = min(self._task.uncancel() for _ in range(self._sent))
        return left <= self._before and isinstance(error, asyncio.CancelledError)
