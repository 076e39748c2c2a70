"""Publish and subscribe over Redis, told of every gap."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from symphonia_perf._core.broadcast import (
    MAX_BYTES,
    MAX_MESSAGES,
    Broadcast,
    MemoryBroadcast,
    payload_bytes,
)
from symphonia_perf._core.listener import Listener, Lost, Message, OnFull, encoded
from symphonia_perf.redis._subscriptions import Subscriber
from symphonia_perf.redis.commands import Commands

__all__ = [
    "Broadcast",
    "Listener",
    "Lost",
    "MemoryBroadcast",
    "Message",
    "PubSub",
    "PubSubStats",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PubSubStats:
    """How a client's subscriptions are doing now."""

    connected: bool
    listeners: int
    names: int  # channels and patterns that somebody listens to


class PubSub:
    """The `Broadcast` of a Redis client: `client.pubsub()`, always the same one.

    All listeners of a client share one connection beside that of its commands. It is made when the
    first one enters, and closed with the client. Each name is subscribed to once, however many
    listen to it, and unsubscribed when the last one leaves.

    Redis sends a message once and keeps none. So after every new connection, when the server has
    confirmed all that a listener listens to, the listener gets a `Lost` in its place between the
    messages; also where it was entered before there was a connection. What comes before that on the
    new connection is not passed on: the state that is looked at after the `Lost` has it. Half-open
    connections are found by pings, within three times `health_interval`.

    ```python
    from symphonia_perf.redis import Lost, connect
    from symphonia_perf.testing.servers import redis_server

    with redis_server() as server:
        async with connect(server.url) as redis:
            pubsub = redis.pubsub()
            async with pubsub.subscribe("plans", patterns=["orders:*"]) as listener:
                await pubsub.publish("orders:42", b"changed")
                async for heard in listener:
                    if isinstance(heard, Lost):
                        print("look at everything again")
                        continue
                    assert (heard.channel, heard.payload) == ("orders:42", b"changed")
                    break
    ```
    """

    def __init__(
        self,
        commands: Commands,
        *,
        make: Callable[[], Subscriber],
        check: Callable[[], object],
        deadline: float,
    ) -> None:
        self._commands = commands
        self._make = make
        self._check = check
        self._deadline = deadline
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscriber: Subscriber | None = None

    async def publish(self, channel: str, payload: str | bytes) -> None:
        """Let all listeners of `channel` hear `payload`, in every process.

        Raises:
            StoreError: as the client's `execute` raises it.
            ConfigurationError: a channel or payload that cannot be sent.
            NotOpen, WrongLoop: the client is not open here.
        """
        await self._commands.execute("PUBLISH", encoded(channel), payload_bytes(payload))

    def subscribe(
        self,
        *channels: str,
        patterns: Sequence[str] = (),
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        on_full: OnFull = "drop_oldest",
    ) -> Listener:
        """A listener, to be entered: what is published from then on is heard, or `Lost`.

        Entering waits until the server has confirmed all names, for the client's deadline at most
        and not at all while the server is known to be away. Without the confirmation the listener
        is entered all the same, and gets a `Lost` when it comes. What the server refuses (a channel
        that the user may not hear) is raised on entering, or later to who reads, as `CommandError`.

        Args:
            channels: to listen to.
            patterns: to listen to, in Redis's glob; a message of several names is heard for each.
            max_messages: that wait for the listener; default 10,000, more than one read of the
                socket can bring. With fewer, a burst may be too much for one that always reads.
            max_bytes: of their payloads; default 16 MiB.
            on_full: `drop_oldest` tells of the gap by a `Lost`; `close` ends the iteration, when
                what waits was read, by `SlowListener`.

        Raises:
            ConfigurationError: nothing to listen to, or a bound or name that cannot work.
        """
        return Listener(
            channels,
            patterns=patterns,
            max_messages=max_messages,
            max_bytes=max_bytes,
            on_full=on_full,
            enter=self._add,
            leave=self._remove,
        )

    def stats(self) -> PubSubStats:
        """How it is doing now; also when the client is closed."""
        if self._subscriber is None:
            return PubSubStats(connected=False, listeners=0, names=0)
        subscriptions = self._subscriber.subscriptions
        return PubSubStats(
            connected=self._subscriber.connected,
            listeners=len(subscriptions),
            names=subscriptions.names,
        )

    async def aclose(self) -> None:
        """End all listeners and close the connection; the client does it when it is closed."""
        subscriber, self._subscriber, self._loop = self._subscriber, None, None
        if subscriber is not None:
            subscriber.subscriptions.close()
            await subscriber.aclose()

    async def _add(self, listener: Listener) -> None:
        self._check()
        loop = asyncio.get_running_loop()
        if self._subscriber is None or loop is not self._loop:
            # The first listener, or the client was opened anew after a fork or on another loop.
            self._loop, self._subscriber = loop, self._make()
        subscriptions = self._subscriber.subscriptions
        ready: asyncio.Future[Exception | None] = loop.create_future()
        subscriptions.add(listener, ready)
        self._subscriber.start()
        try:
            await asyncio.wait((ready,), timeout=self._deadline)
        except BaseException:
            subscriptions.remove(listener)
            raise
        if not ready.done():
            subscriptions.no_longer_waits(listener)
        elif (error := ready.result()) is not None:
            raise error

    def _remove(self, listener: Listener) -> None:
        if self._subscriber is not None:
            self._check()  # a forked child must not speak on its parent's connection
            self._subscriber.subscriptions.remove(listener)
