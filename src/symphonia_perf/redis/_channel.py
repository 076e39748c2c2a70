"""The way to a server: one link, and the line of callers in front of it."""

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Observer
from symphonia_perf.errors import CommandError, StoreError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis._arguments import READS, command_name
from symphonia_perf.redis._line import Line
from symphonia_perf.redis._link import Link
from symphonia_perf.redis._packing import EXEC, MULTI
from symphonia_perf.redis._replies import code_of, explained, needs_reconnect, timed_out, told
from symphonia_perf.redis._slots import Broken, Late, Many, Slot, fail
from symphonia_perf.redis.commands import Argument, Reply
from symphonia_perf.redis.connection import ServerRefusal
from symphonia_perf.redis.options import RedisOptions
from symphonia_perf.typing import Seconds

__all__ = ["Channel"]

_NO_TIME = 1e-6  # seconds in which nothing can be answered


class Channel:
    """Sends packed commands, or says at once why not.

    Args:
        options: where, how, and how much may wait.
        loop: the running event loop.
        deadline: seconds for each command that brings none of its own.
        pings: whether silence means that nobody is there; not so where commands block.
        retry_reads: whether reads are sent again when the connection is lost under them.
        observer: told of every connection made and lost.
    """

    def __init__(
        self,
        options: RedisOptions,
        *,
        loop: asyncio.AbstractEventLoop,
        deadline: float,
        pings: bool,
        retry_reads: bool,
        observer: Observer,
    ) -> None:
        self._loop = loop
        self._deadline = deadline
        self._retry_reads = retry_reads
        self._letting_in = False  # more of those in line, in the next turn
        self._max_waiting = options.max_waiting
        self._max_waiting_bytes = options.max_waiting_bytes
        self.line = Line(loop, deadline=deadline)
        self.link = Link(
            options,
            loop=loop,
            deadline=deadline,
            pings=pings,
            observer=observer,
            on_change=self._changed,
        )

    async def aclose(self) -> None:
        """Close the connection; who still waits gets `StoreUnavailable`."""
        self.line.fail_all("the client was closed; it was not sent")
        self.line.close()
        await self.link.aclose()

    def send(self, packed: bytes, slot: Slot, count: int) -> None:
        """Send `count` commands now, or as soon as there is a connection and room on it."""
        link, line = self.link, self.line
        connection = link.connection
        if len(line) >= self._max_waiting or line.size >= self._max_waiting_bytes:
            line.purge()
        if connection is not None and connection.roomy:
            connection.submit(packed, slot, count)
        elif connection is None and link.away:
            fail(slot, StoreUnavailable(f"{link.away}; it was not sent"))
        elif len(line) >= self._max_waiting:
            reason = f"{len(line)} callers wait already (max_waiting); it was not sent"
            fail(slot, StoreUnavailable(reason))
        elif line.size >= self._max_waiting_bytes:
            reason = f"{line.size} bytes wait already (max_waiting_bytes); it was not sent"
            fail(slot, StoreUnavailable(reason))
        else:
            line.join(packed, slot, count)

    async def ask(
        self, packed: bytes, commands: Sequence[Sequence[Argument]], deadline: Seconds | None
    ) -> list[Reply]:
        """The replies to `commands`, refusals in place as errors of ours.

        Raises:
            StoreTimeout, StoreUnavailable: no replies.
        """
        began = self._loop.time()
        limit = None if deadline is None else seconds(deadline, option="deadline")
        try:
            many = await self._replies(packed, len(commands), limit)
        except Broken as error:
            return await self.again(error, packed, commands, began, limit)
        except StoreError as error:
            self.explain(error, commands[0][0])
        return self._told(many, commands)

    async def again(
        self,
        error: Broken,
        packed: bytes,
        commands: Sequence[Sequence[Argument]],
        began: float,
        limit: float | None = None,
    ) -> list[Reply]:
        """The replies to reads that the connection was lost under, where that is wanted.

        Raises:
            StoreTimeout, StoreUnavailable: it is not, or there are none this time either.
        """
        if not self._retry_reads or not READS.issuperset(_name(each[0]) for each in commands):
            self.explain(error, commands[0][0])
        limit = self._deadline if limit is None else limit
        waited = self._loop.time() - began
        try:
            many = await self._replies(packed, len(commands), limit, waited=waited)
        except StoreError as second:
            self.explain(second, commands[0][0])
        return self._told(many, commands)

    async def transaction(
        self,
        inside: Sequence[bytes],
        commands: Sequence[Sequence[Argument]],
        deadline: Seconds | None,
    ) -> list[Reply]:
        """The replies to `commands`, packed as `inside`, executed in one go.

        Raises:
            StoreError: no replies, or the server executed none.
        """
        limit = None if deadline is None else seconds(deadline, option="deadline")
        packed = b"".join((MULTI, *inside, EXEC))
        try:
            many = await self._replies(packed, len(commands) + 2, limit)
        except StoreError as error:
            self.explain(error, "EXEC")
        if isinstance(many[0], ServerRefusal):
            # They left together with MULTI: what the server took of them, it took one by one.
            words = f"MULTI: {many[0]}; its commands may have been executed, but not together"
            raise CommandError(words, code=code_of(many[0]), operation="MULTI") from many[0]
        result = many[-1]
        if isinstance(result, ServerRefusal):
            # EXECABORT says only that; what was wrong was said when the command was queued.
            for reply, command in zip(many[1:-1], commands, strict=True):
                if isinstance(reply, ServerRefusal):
                    self.explain(reply, command[0])
            self.explain(result, "EXEC")
        return self._told(result, commands)

    def outcome(self, result: Any, name: Argument) -> Reply:
        """The reply to one command, where its wait ended with something that needs a look.

        Raises:
            StoreTimeout: there was none in time.
            CommandError, StoreUnavailable: the server refused.
        """
        if type(result) is Late:
            raise timed_out(result, _name(name))
        if isinstance(result, ServerRefusal):
            self.explain(result, name)
        return told(result, _name(name))

    def explain(self, error: Exception, name: Argument) -> NoReturn:
        """Raise the error of ours that names the command; those from below do not know it."""
        if isinstance(error, ServerRefusal):
            self._note(error)
        raise explained(error, _name(name))

    async def _replies(
        self, packed: bytes, count: int, limit: float | None, *, waited: float = 0.0
    ) -> list[Any]:
        """The replies, refusals in place, within `limit` seconds of which some have passed."""
        if limit is not None and limit - waited < _NO_TIME:
            raise StoreTimeout(f"it was not sent (deadline {limit:g} s)")
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        slot = Many(future, count, own_deadline=limit is not None)
        timer = None
        if limit is not None:
            timer = self._loop.call_later(limit - waited, _end, slot, limit)
        try:
            self.send(packed, slot, count)
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            del future, slot  # they hold the error, whose traceback holds this frame

    def _told(self, many: Sequence[Any], commands: Sequence[Sequence[Argument]]) -> list[Reply]:
        for reply in many:
            if isinstance(reply, ServerRefusal):
                self._note(reply)
        return [
            told(reply, _name(command[0])) for reply, command in zip(many, commands, strict=True)
        ]

    def _note(self, refusal: Exception) -> None:
        if needs_reconnect(refusal):
            self.link.move(f"the server said {refusal}")

    def _changed(self) -> None:
        """There is a connection, room on it, or none for the time being."""
        connection = self.link.connection
        if connection is not None:
            if not self._letting_in and self.line.let_in(connection):
                self._letting_in = True
                self._loop.call_soon(self._go_on)
            connection.roomy = connection.has_room() and not self.line
        elif self.link.away:
            self.line.fail_all(f"{self.link.away}; it was not sent")

    def _go_on(self) -> None:
        self._letting_in = False
        self._changed()


def _end(slot: Many, limit: float) -> None:
    what = "it was not sent" if slot.in_line else "no reply; it may have been executed"
    fail(slot, StoreTimeout(f"{what} (deadline {limit:g} s)"))


def _name(name: Argument) -> str:
    # It was allowed when it was packed; only its spelling is of interest now.
    return "EXEC" if name == "EXEC" else command_name(name, may_block=True)
