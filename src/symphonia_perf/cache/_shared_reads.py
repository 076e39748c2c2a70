"""What many tasks ask in one turn of the event loop is asked once."""

import asyncio
from collections.abc import Hashable
from copy import copy
from typing import Any

__all__ = ["SharedReads"]


class SharedReads:
    """Gives the readers of one thing one answer, if they ask within one turn of the loop.

    Not longer: a reader that comes later may know of a change that an answer on its way does not.
    The first reader leads and owes the others an answer. It needs no coroutine for that, which
    would cost every read that is not shared.
    """

    __slots__ = ("_followers", "_loop")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._followers: dict[Hashable, list[asyncio.Future[Any]]] = {}

    def lead(self, what: Hashable) -> list[asyncio.Future[Any]] | None:
        """Those who will wait for the caller's answer, for `tell`; None: the caller may follow."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what another loop left is not waited for
            self._loop, self._followers = loop, {}
        if what in self._followers:
            return None
        if not self._followers:
            loop.call_soon(self._followers.clear)
        followers: list[asyncio.Future[Any]] = []
        self._followers[what] = followers
        return followers

    async def follow(self, what: Hashable) -> Any:
        """The leader's answer, to be looked at only; None: it left without one.

        Raises:
            Exception: what the leader got, as an object of its own.
        """
        mine: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._followers[what].append(mine)
        answer = await mine
        if isinstance(answer, Exception):
            raise copy(answer) from answer  # one object would collect everybody's traceback
        return answer

    def tell(self, what: Hashable, followers: list[asyncio.Future[Any]], answer: object) -> None:
        """Give the answer to who waits; an exception that is none of theirs means None."""
        if self._followers.get(what) is followers:
            del self._followers[what]  # who comes in this same turn asks anew
        if isinstance(answer, BaseException) and not isinstance(answer, Exception):
            answer = None
        for each in followers:
            if not each.done():
                each.set_result(answer)
