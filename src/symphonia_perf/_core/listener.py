"""One listener of a broadcast: a bounded buffer that says when it has gaps."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple, Self, TypeAlias, get_args

from symphonia_perf._core.binding import Binding
from symphonia_perf.errors import ConfigurationError, SlowListener, SymphoniaError

__all__ = ["Listener", "Lost", "Message", "OnFull", "Word", "decoded", "encoded"]

OnFull: TypeAlias = Literal["drop_oldest", "close"]
"""What becomes of a listener whose buffer is full: it loses the oldest messages, or its place."""


class Message(NamedTuple):
    """What somebody published."""

    channel: str
    payload: bytes
    pattern: str | None = None  # of the listener, where it heard by a pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Messages may be missing before the next: look again at what they would have told of."""

    dropped: int = 0  # from a full buffer: it did not read in time, or more came at once
    disconnected: bool = False  # nobody knows what was published while the connection was away


class Word(NamedTuple):
    """What a listener listens to, as it goes over the wire."""

    name: bytes
    is_pattern: bool


def encoded(name: str, *, what: str = "channel") -> bytes:
    """The name as it goes over the wire.

    Raises:
        ConfigurationError: not a str, or one that is no text.
    """
    if not isinstance(name, str):
        raise ConfigurationError(f"{what} {name!r:.100}: expected a str")
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{what} {name!r:.100}: not UTF-8: {error}") from error


def decoded(name: bytes) -> str:
    """The name as text; `encoded` gives the same bytes again, also where they are not UTF-8."""
    return name.decode("utf-8", "surrogateescape")


class Listener:
    """Messages and gaps, in order: `async with` it, then `async for` over it.

    `Broadcast.subscribe` makes it. A broadcast of your own gives it `enter` and `leave`, and then
    calls `put`, `lose` and `close` on the listener's event loop.

    Args:
        channels: what it hears.
        patterns: what it hears by Redis's glob.
        max_messages: in the buffer.
        max_bytes: of their payloads; a larger one may wait alone.
        on_full: what happens then.
        enter: called on entering; returns when nothing published from then on is missed.
        leave: called once, when it is not to hear any more.

    Raises:
        ConfigurationError: nothing to listen to, or a bound or name that cannot work.
    """

    __slots__ = (
        "_binding", "_buffer", "_bytes", "_closed", "_enter", "_entered", "_error", "_gap",
        "_leave", "_max_bytes", "_max_messages", "_on_full", "_waiter", "words",
    )  # fmt: skip

    def __init__(
        self,
        channels: Sequence[str],
        *,
        patterns: Sequence[str],
        max_messages: int,
        max_bytes: int,
        on_full: OnFull,
        enter: "Callable[[Listener], Awaitable[None]]",
        leave: "Callable[[Listener], None]",
    ) -> None:
        if isinstance(patterns, str | bytes) or not isinstance(patterns, Iterable):
            raise ConfigurationError(f"patterns={patterns!r:.100}: expected a sequence of str")
        for option, bound in (("max_messages", max_messages), ("max_bytes", max_bytes)):
            if type(bound) is not int or bound < 1:
                raise ConfigurationError(f"{option}={bound!r}: expected a whole number above 0")
        if on_full not in get_args(OnFull):
            raise ConfigurationError(f"on_full={on_full!r}: expected 'drop_oldest' or 'close'")
        words = [Word(encoded(name), is_pattern=False) for name in channels]
        words += [Word(encoded(name, what="pattern"), is_pattern=True) for name in patterns]
        if not words:
            raise ConfigurationError("subscribe() needs a channel or a pattern")
        self.words = frozenset(words)
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._on_full = on_full
        self._enter = enter
        self._leave = leave
        self._binding = Binding("this listener")
        self._entered = False
        self._closed = False
        self._error: Exception | None = None
        self._gap: Lost | None = None  # before the first of the buffer
        self._buffer: deque[Message | Lost] = deque()
        self._bytes = 0  # of the payloads in it
        self._waiter: asyncio.Future[None] | None = None

    # For who listens

    async def __aenter__(self) -> Self:
        if self._entered:
            raise SymphoniaError("a listener is entered once; subscribe() again for another")
        self._entered = True
        self._binding.open()
        try:
            await self._enter(self)
        except BaseException:
            self._closed = True
            self._binding.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._closed:
            self._leave(self)
            self.close()
        self._binding.close()
        self._buffer.clear()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Lost:
        self._binding.check()
        while True:
            if self._gap is not None:
                gap, self._gap = self._gap, None
                return gap
            if self._buffer:
                item = self._buffer.popleft()
                if type(item) is Message:
                    self._bytes -= len(item.payload)
                return item
            if self._closed:
                raise self._error or StopAsyncIteration
            await self._wait()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise SymphoniaError("another task reads this listener; give each its own")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # For the broadcast

    def put(self, message: Message) -> None:
        """Let it hear a message."""
        if not self._closed:
            self._bytes += len(message.payload)
            self._append(message)

    def lose(self) -> None:
        """Let it know that the connection was away."""
        if self._closed:
            return
        if self._buffer and type(self._buffer[-1]) is Lost:
            return
        self._append(Lost(disconnected=True))

    def close(self, error: Exception | None = None) -> None:
        """End it when what is in the buffer was read, with `error` if there is one."""
        if not self._closed:
            self._closed, self._error = True, error
            self._wake()

    def _append(self, item: Message | Lost) -> None:
        buffer = self._buffer
        buffer.append(item)
        if len(buffer) > self._max_messages or self._bytes > self._max_bytes:
            self._make_room()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _make_room(self) -> None:
        buffer = self._buffer
        if len(buffer) == 1:
            return
        if self._on_full == "close":
            buffer.pop()
            self._leave(self)
            self.close(
                SlowListener(
                    "more came at once than the buffer holds, or the listener did not read in time:"
                    f" {len(buffer)} messages waited"
                    f" (max_messages={self._max_messages}, max_bytes={self._max_bytes})"
                )
            )
            return
        dropped, disconnected = 0, False
        while len(buffer) > 1 and (
            len(buffer) > self._max_messages or self._bytes > self._max_bytes
        ):
            oldest = buffer.popleft()
            if type(oldest) is Message:
                dropped += 1
                self._bytes -= len(oldest.payload)
            else:
                disconnected = True
        before = self._gap or Lost()
        self._gap = Lost(
            dropped=before.dropped + dropped, disconnected=before.disconnected or disconnected
        )
