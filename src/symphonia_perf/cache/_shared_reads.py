"""What many tasks ask in one turn of the event loop is asked once."""

import asyncio
from collections.abc import Hashable
from copy import copy
from typing import Any, TypeAlias

__all__ = ["ALONE", "SharedReads", "Turn"]

Turn: TypeAlias = dict[Hashable, list[asyncio.Future[Any]] | None]
"""What is asked in one turn of the loop, and who waits for the answers."""

ALONE: Turn = {}
"""The turn of a reader that nobody follows."""


class SharedReads:
    """Gives the readers of one thing one answer, if they ask within one turn of the loop.

    Not longer: a reader that comes later may know of a change that an answer on its way does not.
    The first reader leads and owes the others an answer. It needs no coroutine for that, which
    would cost every read that is not shared.

    While nobody else reads, a reader is on its own and leads nobody: to be told of the end of its
    turn would cost it a turn of the loop, a tenth of a far hit. So a crowd asks twice, not once.

    Attributes:
        readers: how many have their answers on the way. Who finds 0 may count itself there and off
            again instead of the calls of `lead` and `tell`.
    """

    __slots__ = ("_loop", "_turn", "readers")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: Turn | None = None
        self.readers = 0

    def lead(self, what: Hashable) -> Turn | None:
        """The turn that the caller leads in, for `tell`; None: it may follow."""
        if self.readers <= 0:  # less, where a reader of another loop is told late that it ended
            self.readers = 1
            return ALONE
        loop = asyncio.get_running_loop()
        turn = self._turn
        if turn is None or loop is not self._loop:  # what another loop left is not waited for
            self._loop, self._turn = loop, (turn := {})
            loop.call_soon(self._end)
        elif what in turn:
            return None
        self.readers += 1
        turn[what] = None
        return turn

    async def follow(self, what: Hashable) -> Any:
        """The leader's answer, to be looked at only; None: it left without one.

        Raises:
            Exception: what the leader got, as an object of its own.
        """
        assert self._turn is not None  # noqa: S101 - lead() said so in this turn
        mine: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        followers = self._turn[what]
        if followers is None:
            followers = self._turn[what] = []
        followers.append(mine)
        answer = await mine
        if isinstance(answer, Exception):
            raise copy(answer) from answer  # one object would collect everybody's traceback
        return answer

    def tell(self, what: Hashable, turn: Turn, answer: object) -> None:
        """Give the answer to who waits; an exception that is none of theirs means None."""
        self.readers -= 1
        if turn is ALONE:
            return
        followers = turn.pop(what)  # who comes in this same turn asks anew
        if followers is None:
            return
        if isinstance(answer, BaseException) and not isinstance(answer, Exception):
            answer = None
        for each in followers:
            if not each.done():
                each.set_result(answer)

    def _end(self) -> None:
        self._turn = None
