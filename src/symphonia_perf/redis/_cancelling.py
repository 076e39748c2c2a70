"""A cancellation that is told from everybody else's."""

import asyncio

__all__ = ["Cancelling"]


class Cancelling:
    """May cancel the task that makes it, and takes that back; as `asyncio.timeout` does.

    `task.cancelling()` alone does not tell who else has cancelled the task: on Python 3.11 and 3.12
    a `TaskGroup` that fails while it waits for its tasks leaves the count one higher for good
    (python/cpython#116720). So what was counted before our cancellation is another's only if its
    CancelledError is still on its way. Ours carry a mark.

    Args:
        why: the message of its CancelledError.
    """

    __slots__ = ("_at_first", "_before", "_mark", "_sent", "_soon", "_task")

    def __init__(self, why: str) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - made in a coroutine
        self._task = task
        self._mark = why
        self._before = self._at_first = task.cancelling()
        self._sent = 0
        self._soon: asyncio.Handle | None = None

    @property
    def going_on(self) -> bool:
        """Whether the block is one of the running event loop, and its task lives."""
        here = self._task.get_loop() is asyncio.get_running_loop()
        return here and not self._task.done()

    def cancel(self) -> None:
        """Cancel the task; once more, where it swallowed the last one."""
        if self._sent or self._task.cancelling() <= self._before:
            self._cancel()
        else:
            # Perhaps another cancelled it in this turn: ours must not take the place of its error.
            self._soon = self._task.get_loop().call_soon(self._cancel)

    def close(self, error: BaseException | None) -> bool:
        """Whether what ends the block is this cancellation, and no other came with it."""
        if self._soon is not None:
            self._soon.cancel()
        if not self._sent:
            return False
        left = min(self._task.uncancel() for _ in range(self._sent))
        if not isinstance(error, asyncio.CancelledError) or left > self._at_first:
            return False
        return self._at_first <= self._before or self._is_all_of(error)

    def _cancel(self) -> None:
        if not self._sent:
            self._at_first = self._task.cancelling()
        self._sent += 1
        self._task.cancel(self._mark)

    def _is_all_of(self, error: BaseException | None) -> bool:
        """Whether no other cancellation was on its way when this one came."""
        while error is not None:
            ours = bool(error.args) and error.args[0] is self._mark
            if isinstance(error, asyncio.CancelledError) and not ours:
                return False
            error = error.__context__
        return True
