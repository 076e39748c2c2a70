"""Cancels a coroutine at an await of the test's choice."""

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

__all__ = ["Cancelled"]


class Cancelled:
    """Runs a coroutine in the task that awaits this, and cancels that at its awaits.

    Args:
        work: runs.
        at: the first await that is cancelled.
        again: whether each one after it is, too.
    """

    def __init__(self, work: Coroutine[Any, Any, object], *, at: int, again: bool) -> None:
        self.work = work
        self.at = at
        self.again = again
        self.awaits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self.work.__await__()
        task = asyncio.current_task()
        assert task is not None
        raised: BaseException | None = None
        while True:
            try:
                waits_for = next(steps) if raised is None else steps.throw(raised)
            except StopIteration:
                return
            raised = None
            self.awaits += 1
            if self.awaits == self.at or (self.again and self.awaits > self.at):
                task.cancel()
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                raised = error

    async def run(self) -> None:
        await self
