"""Who waits for replies: a future for one command, `Many` for several in a row.

What the server refuses is a result like any other: it stands in its command's place.
"""

import asyncio
from typing import Any

from symphonia_perf.errors import StoreError, StoreTimeout, StoreUnavailable

__all__ = ["Broken", "Late", "Many", "Slot", "fail", "give_up"]


class Broken(StoreUnavailable):
    """The connection was lost under a command: told apart for reads, which may be sent again."""


class Late:
    """The result of a command that got no reply in time: its caller raises, in its own words.

    One serves all whose time is up, where an exception each, raised to be raised again, is work
    and garbage that makes thousands of them late.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Many:
    """The replies of several commands in a row, as one result."""

    __slots__ = ("_left", "future", "in_line", "own_deadline", "replies")

    def __init__(
        self, future: "asyncio.Future[list[Any]]", count: int, *, own_deadline: bool
    ) -> None:
        self.future = future
        self.own_deadline = own_deadline  # somebody else watches the time
        self.in_line = False  # not sent yet, for want of a connection or of room on it
        self._left = count
        self.replies: list[Any] = []  # so far

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done()

    def set_result(self, reply: Any) -> None:
        """Take the next reply."""
        self._left -= 1
        if self.future.done():
            return
        self.replies.append(reply)
        if not self._left:
            self.future.set_result(self.replies)


Slot = asyncio.Future[Any] | Many


def fail(slot: Slot, error: StoreError) -> None:
    """End the wait for a whole slot, unless it has ended already."""
    future = slot.future if isinstance(slot, Many) else slot
    if not future.done():
        future.set_exception(error)


def give_up(slot: Slot, late: Late) -> None:
    """End the wait for a whole slot that got no reply in time, unless it has ended already."""
    if isinstance(slot, Many):
        fail(slot, StoreTimeout(late.reason))
    elif not slot.done():
        slot.set_result(late)
