"""The subscriber connection of the native client."""

import asyncio
from functools import partial
from typing import Any

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Event, Observer, emit
from symphonia_perf._core.listener import Word
from symphonia_perf.errors import CommandError, ConfigurationError
from symphonia_perf.redis._link import Link
from symphonia_perf.redis._packing import pack_words
from symphonia_perf.redis._replies import refused
from symphonia_perf.redis._subscriptions import Subscriptions
from symphonia_perf.redis.connection import Connection, Many, ServerRefusal
from symphonia_perf.redis.events import ConnectionEvent
from symphonia_perf.redis.options import RedisOptions

__all__ = ["VERBS", "LinkSubscriber"]

VERBS = {
    (True, False): "SUBSCRIBE",
    (False, False): "UNSUBSCRIBE",
    (True, True): "PSUBSCRIBE",
    (False, True): "PUNSUBSCRIBE",
}
"""The command for (whether to hear it, whether it is a pattern)."""


class LinkSubscriber:
    """One `Link` that keeps the server sending what `subscriptions` want.

    Args:
        options: where, and how.
        observer: told of every connection made and lost.
    """

    def __init__(self, options: RedisOptions, *, observer: Observer) -> None:
        self.subscriptions = Subscriptions(self._ask)
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._link = Link(
            options,
            loop=self._loop,
            deadline=seconds(options.deadline, option="deadline"),
            pings=True,
            observer=self._observe,
            on_change=self._changed,
            on_push=self._hear,
        )
        self._opening: asyncio.Task[None] | None = None
        self._tried = False
        self._connection: Connection | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link.connection is not None

    def start(self) -> None:
        """Connect in the background, unless that was done."""
        if self._opening is None:
            self._opening = self._loop.create_task(self._open(), name="redis subscriber")

    async def _open(self) -> None:
        try:
            await self._link.open()
        except (CommandError, ConfigurationError) as error:
            self._opening = None  # the next listener tries again
            self.subscriptions.close(error)
        else:
            self._tried = True
            self._changed()

    async def aclose(self) -> None:
        """Close the connection and stop trying."""
        try:
            if self._opening is not None:
                self._opening.cancel()
                await asyncio.wait({self._opening})
        finally:  # who is cancelled while it closes leaves nothing open
            await self._link.aclose()

    # What the link tells

    def _observe(self, event: Event) -> None:
        if isinstance(event, ConnectionEvent) and event.kind == "lost":
            self.subscriptions.lost()
        emit(self._observer, event)

    def _changed(self) -> None:
        connection = self._link.connection
        if connection is not None and connection is not self._connection:
            self._connection = connection
            self.subscriptions.connected()
        elif connection is None and self._tried:  # a refusal of the first try is raised instead
            self.subscriptions.unreachable()

    def _hear(self, push: list[Any]) -> None:
        if not self.subscriptions.heard(push):
            assert self._link.connection is not None  # noqa: S101 - it is what spoke
            self._link.connection.answer(push)

    # What is asked

    def _ask(self, word: Word, hear: bool) -> None:  # noqa: FBT001 - a step has no other argument
        connection = self._link.connection
        assert connection is not None  # noqa: S101 - asked only while there is one
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        future.add_done_callback(partial(self._answered, connection, word, hear))
        packed = pack_words((VERBS[hear, word.is_pattern], word.name))
        # Its time is the link's to judge: a late answer is as good as any.
        connection.submit(packed, Many(future, 1, own_deadline=True), 1)

    def _answered(
        self,
        connection: Connection,
        word: Word,
        hear: bool,  # noqa: FBT001 - as above
        done: "asyncio.Future[list[Any]]",
    ) -> None:
        if done.exception() is not None or connection is not self._link.connection:
            return  # it was lost; the next one is asked again
        (reply,) = done.result()
        if not isinstance(reply, ServerRefusal):
            self.subscriptions.answered(word, hears=hear)
            return
        error = refused(reply, VERBS[hear, word.is_pattern])
        if isinstance(error, CommandError):
            self.subscriptions.refused(word, error)
        else:  # it cannot serve now, or not this connection
            self._link.renew(str(error))
