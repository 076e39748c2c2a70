"""The `Broadcast` role: what one publishes, all who listen hear. Here also its form in memory."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.globs import Glob
from symphonia_perf._core.listener import (
    Listener,
    Lost,
    Message,
    OnFull,
    Word,
    decoded,
    encoded,
)
from symphonia_perf.errors import ConfigurationError, SymphoniaError

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "Broadcast", "MemoryBroadcast", "payload_bytes"]

MAX_MESSAGES = 10_000
"""How many messages wait for a listener that does not say otherwise.

More than one read of a socket can bring (asyncio reads 256 KiB at most, and an empty message of
RESP3 takes 30 bytes): whoever waits for messages all the time does not lose any of one burst.
"""

MAX_BYTES = 16 * 2**20
"""How many bytes of payloads wait for a listener that does not say otherwise."""


class Broadcast(Protocol):
    """Publishes to whoever listens at that moment; nothing is kept for later.

    A block that takes a `Broadcast` works in one process (`MemoryBroadcast`) and over Redis
    (`RedisClient.pubsub()`). It must expect a `Lost` at any time, and then look at the state itself
    that the missing messages would have told of.
    """

    async def publish(self, channel: str, payload: str | bytes) -> None:
        """Let all listeners of `channel` hear `payload`.

        Raises:
            StoreError: it could not be sent; whether it was heard is unknown.
            ConfigurationError: a channel or payload that cannot be sent.
        """
        ...

    def subscribe(
        self,
        *channels: str,
        patterns: Sequence[str] = (),
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        on_full: OnFull = "drop_oldest",
    ) -> AbstractAsyncContextManager[AsyncIterator[Message | Lost]]:
        """A listener, to be entered: what is published from then on is heard, or `Lost`.

        One that listens by a channel and a pattern hears a message of both twice, as from Redis.

        Args:
            channels: to listen to.
            patterns: to listen to, in Redis's glob.
            max_messages: that wait for the listener, a burst that comes at once among them.
            max_bytes: of their payloads.
            on_full: `drop_oldest` tells of the gap by a `Lost`; `close` ends the iteration, when
                what waits was read, by `SlowListener`.

        Raises:
            ConfigurationError: nothing to listen to, or a bound or name that cannot work.
        """
        ...


class MemoryBroadcast:
    """A `Broadcast` inside one process and event loop: for tests, and services of one process.

    It loses nothing but what a slow listener has no room for. It needs no opening; while somebody
    listens it belongs to that event loop.

    ```python
    from symphonia_perf.redis import Lost, MemoryBroadcast

    broadcast = MemoryBroadcast()
    async with broadcast.subscribe("plans", patterns=["orders:*"]) as listener:
        await broadcast.publish("orders:42", b"changed")
        heard = await anext(listener)
        assert not isinstance(heard, Lost)
        assert (heard.channel, heard.payload) == ("orders:42", b"changed")
    ```
    """

    def __init__(self) -> None:
        self._binding = Binding("this broadcast")
        self._listeners: dict[Word, dict[Listener, None]] = {}
        self._globs: dict[Word, Glob] = {}

    async def publish(self, channel: str, payload: str | bytes) -> None:
        """Let all listeners of `channel` hear `payload`, before this returns.

        Raises:
            ConfigurationError: a channel or payload that is none.
            WrongLoop: its listeners are on another event loop.
        """
        name, payload = encoded(channel), payload_bytes(payload)
        if not self._listeners:
            return
        self._binding.check()
        self._tell(Word(name, is_pattern=False), Message(channel, payload))
        for word, glob in tuple(self._globs.items()):
            if glob.matches(name):
                self._tell(word, Message(channel, payload, decoded(word.name)))

    def subscribe(
        self,
        *channels: str,
        patterns: Sequence[str] = (),
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        on_full: OnFull = "drop_oldest",
    ) -> Listener:
        """A listener, to be entered; see `Broadcast.subscribe`.

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

    async def _add(self, listener: Listener) -> None:
        try:
            self._binding.open()
        except SymphoniaError:  # somebody listens already: on this loop?
            self._binding.check()
        else:
            # Listeners of a loop that is no more, or of the process this one was forked from.
            self._listeners.clear()
            self._globs.clear()
        for word in listener.words:
            self._listeners.setdefault(word, {})[listener] = None
            if word.is_pattern:
                self._globs[word] = Glob(word.name)

    def _remove(self, listener: Listener) -> None:
        for word in listener.words:
            listeners = self._listeners.get(word, {})
            listeners.pop(listener, None)
            if not listeners:
                self._listeners.pop(word, None)
                self._globs.pop(word, None)
        if not self._listeners:
            self._binding.close()

    def _tell(self, word: Word, message: Message) -> None:
        # A copy: a listener that is full may leave at this very moment.
        for listener in tuple(self._listeners.get(word, ())):
            listener.put(message)


def payload_bytes(payload: str | bytes) -> bytes:
    """The payload as it is sent: text as UTF-8.

    Raises:
        ConfigurationError: another type, or text that is none.
    """
    if isinstance(payload, bytes):
        return payload
    if isinstance(payload, str):
        return encoded(payload, what="payload")
    raise ConfigurationError(
        f"payload of type {type(payload).__qualname__}: expected bytes or str; encode it first"
    )
