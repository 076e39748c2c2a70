"""Callers in line: those who find no connection, or no room on it, first come first served."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from symphonia_perf.errors import StoreError, StoreTimeout
from symphonia_perf.redis.connection import Connection, Slot, fail

__all__ = ["Line"]


class _Waiting(NamedTuple):
    expires: float
    packed: bytes
    slot: Slot
    commands: int


class Line:
    """Packed commands that wait to be sent, each within its deadline.

    All wait equally long, so the first in line is the first whose time is up, and one timer is
    enough. Those with a deadline of their own are ended by their own timer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, deadline: float) -> None:
        self._loop = loop
        self._deadline = deadline
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, packed: bytes, slot: Slot, count: int) -> None:
        """Wait to be sent."""
        expires = self._loop.time() + self._deadline
        self._waiting.append(_Waiting(expires, packed, slot, count))
        if self._timer is None:
            self._timer = self._loop.call_at(expires, self._expire)

    def let_in(self, connection: Connection) -> None:
        """Send those at the front, as long as there is room."""
        waiting = self._waiting
        while waiting:
            expires, packed, slot, count = waiting[0]
            if not slot.done():
                if not connection.has_room():
                    return
                connection.submit(packed, slot, count)
                # The connection counts from now on; what was waited already counts as well.
                self._loop.call_at(expires, _end_late, slot, self._deadline)
            waiting.popleft()

    def fail_all(self, error: Callable[[], StoreError]) -> None:
        """Send everybody away, each with an error of their own."""
        while self._waiting:
            fail(self._waiting.popleft().slot, error())

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._waiting and (self._waiting[0].expires <= now or self._waiting[0].slot.done()):
            slot = self._waiting.popleft().slot
            fail(slot, StoreTimeout(f"it was not sent (deadline {self._deadline:g} s)"))
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0].expires, self._expire)


def _end_late(slot: Slot, deadline: float) -> None:
    if not slot.done():
        fail(slot, StoreTimeout(f"no reply; it may have been executed (deadline {deadline:g} s)"))
