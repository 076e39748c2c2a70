"""Callers in line: those who find no connection, or no room on it, first come first served."""

import asyncio
from collections import deque
from typing import NamedTuple

from symphonia_perf.errors import StoreUnavailable
from symphonia_perf.redis._slots import Late, Many, Slot, fail, give_up
from symphonia_perf.redis.connection import Connection

__all__ = ["Line"]


_PURGE = 0.05  # seconds
_AT_ONCE = 64  # let in, at the beginning
_BEGINNING = 0.3  # seconds
_STILL = 0.2  # seconds


class _Waiting(NamedTuple):
    expires: float
    packed: bytes
    slot: Slot
    commands: int


class Line:
    """Packed commands that wait to be sent, each within its deadline.

    All wait equally long, so the first in line is the first whose time is up, and one timer is
    enough. Those with a deadline of their own are ended by their own timer, and keep their place.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, deadline: float) -> None:
        self._loop = loop
        self._deadline = deadline
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._unsent = Late(f"it was not sent (deadline {deadline:g} s)")
        self._late = Late(f"no reply; it may have been executed (deadline {deadline:g} s)")
        self._purged = -_PURGE  # when that was done last
        self._moved = 0.0  # when some were let in last, or the first came
        self._begun = -_BEGINNING  # when some were let in first after a standstill
        self.size = 0  # packed bytes

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, packed: bytes, slot: Slot, count: int) -> None:
        """Wait to be sent."""
        now = self._loop.time()
        expires = now + self._deadline
        if not self._waiting:
            self._moved = now
        if isinstance(slot, Many):
            slot.in_line = True
        self._waiting.append(_Waiting(expires, packed, slot, count))
        self.size += len(packed)
        if self._timer is None:
            self._timer = self._loop.call_at(expires, self._expire)

    def purge(self) -> None:
        """Forget those who left, where they were given up or cancelled; their places are free.

        It looks at everybody, so not more often than it is worth.
        """
        now = self._loop.time()
        if now < self._purged + _PURGE:
            return
        self._purged = now
        left = [each for each in self._waiting if not each.slot.done()]
        self._waiting = deque(left)
        self.size = sum(len(each.packed) for each in left)

    def let_in(self, connection: Connection) -> bool:
        """Send those at the front, as long as there is room; whether to go on in the next turn.

        A line that stood still begins with a part in each turn: after a frozen server 2,000 were
        let in and woken in one, and whoever was due meanwhile was told 150 ms late. Not for long,
        as callers who ask again at once would come behind as fast as others go, and the line, which
        costs three times what a command does, would never end.
        """
        waiting, now = self._waiting, self._loop.time()
        if now > self._moved + _STILL:
            self._begun = now
        self._moved = now
        left = _AT_ONCE if now < self._begun + _BEGINNING else len(waiting)
        while waiting and left:
            expires, packed, slot, count = waiting[0]
            if not slot.done():
                left -= 1
                if expires <= now and not _own_deadline(slot):
                    give_up(slot, self._unsent)  # the timer will say no more than that
                elif not connection.has_room():
                    return False
                else:
                    if isinstance(slot, Many):
                        slot.in_line = False
                    connection.submit(packed, slot, count)
                    if not _own_deadline(slot):
                        self._end_at(expires, slot)
            waiting.popleft()
            self.size -= len(packed)
        return bool(waiting)

    def fail_all(self, reason: str) -> None:
        """Send everybody away, each with an error of their own."""
        while self._waiting:
            fail(self._waiting.popleft().slot, StoreUnavailable(reason))
        self.size = 0

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_at(self, expires: float, slot: Slot) -> None:
        """The connection counts from now on; what was waited already counts as well."""
        timer = self._loop.call_at(expires, give_up, slot, self._late)
        # Else the result of every command that ever waited would be kept for a deadline's length.
        future = slot.future if isinstance(slot, Many) else slot
        future.add_done_callback(lambda _: timer.cancel())

    def _expire(self) -> None:
        now, waiting = self._loop.time(), self._waiting
        patient: list[_Waiting] = []
        while waiting and (waiting[0].expires <= now or waiting[0].slot.done()):
            first = waiting.popleft()
            if _own_deadline(first.slot) and not first.slot.done():
                patient.append(first)
            else:
                self.size -= len(first.packed)
                give_up(first.slot, self._unsent)
        following = waiting[0].expires if waiting else now + self._deadline
        waiting.extendleft(reversed(patient))
        self._timer = self._loop.call_at(following, self._expire) if waiting else None


def _own_deadline(slot: Slot) -> bool:
    return isinstance(slot, Many) and slot.own_deadline
