"""Keeps one connection: makes it, greets, watches it, and makes it anew when it is lost."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from ssl import SSLError
from typing import Any, Literal

from tenacity import RetryCallState, Retrying, wait_incrementing, wait_random

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Observer, emit
from symphonia_perf.errors import CommandError, ConfigurationError, StoreError, StoreUnavailable
from symphonia_perf.redis._handshake import greeting, plain_greeting, refusal, wants_plain
from symphonia_perf.redis.connection import (
    Broken,
    Connection,
    Many,
    ServerRefusal,
    pack_words,
)
from symphonia_perf.redis.events import ConnectionEvent
from symphonia_perf.redis.options import RedisOptions

__all__ = ["Link"]

_PING = pack_words(("PING",))


class Link:
    """One connection at a time to one server, for as long as it is open.

    Args:
        options: where, and how.
        loop: the running event loop.
        deadline: seconds for each command.
        pings: whether silence means that nobody is there; not so where commands block.
        observer: told of every connection made and lost.
        on_change: called when there is a connection, room on it, or none.
        on_push: gets what the server says unasked, as a list; what it raises ends the connection.
            It gives the answers of SUBSCRIBE and its kin back by `Connection.answer`, and on RESP2
            every other list, too.
        needs_resp3: whether it speaks RESP3 or not at all.
        greet: gives commands that every new connection begins with, each with one reply. A refusal
            of one is a refusal of the connection.
    """

    def __init__(
        self,
        options: RedisOptions,
        *,
        loop: asyncio.AbstractEventLoop,
        deadline: float,
        pings: bool,
        observer: Observer,
        on_change: Callable[[], None],
        on_push: Callable[[list[Any]], None] | None = None,
        needs_resp3: bool = False,
        greet: Callable[[], Sequence[tuple[str, ...]]] = tuple,
    ) -> None:
        self._options = options
        self._connect_timeout = seconds(options.connect_timeout, option="connect_timeout")
        self._interval = seconds(options.health_interval, option="health_interval")
        self._loop = loop
        self._deadline = deadline
        self._pings = pings
        self._observer = observer
        self._on_change = on_change
        self._on_push = on_push or _ignore_push
        self._greet = greet
        self._plain = options.protocol == 2 and not needs_resp3
        self._may_fall_back = not self._plain and not needs_resp3
        self._task: asyncio.Task[None] | None = None
        self._lost: asyncio.Event = asyncio.Event()
        self._intended = False  # whether it is we who end the connection
        self._may_move = 0.0  # from when on
        # Read on the path of every command.
        self.connection: Connection | None = None
        self.away = ""  # why an attempt to connect failed; empty while there is hope
        self.connections = 0

    async def open(self) -> None:
        """Try once, and go on trying in the background.

        Raises:
            CommandError: the server is there and refuses.
            ConfigurationError: TLS files that cannot be read.
        """
        await self._attempt()
        self._task = self._loop.create_task(self._keep(), name=f"redis {self._options.address}")

    async def aclose(self) -> None:
        """Close the connection and stop trying."""
        task, self._task = self._task, None
        self.away = "the client was closed"  # who comes now (a second try of a read) waits in vain
        connected, lost = self.connection is not None, self._lost
        # Both at once, so that a caller who is cancelled while it waits leaves nothing open.
        if task is not None:
            task.cancel()
        self.renew("the client was closed", intended=True)
        if task is not None:
            await asyncio.wait({task})
        if connected:
            await lost.wait()
        if task is not None and not task.cancelled():
            task.result()  # a fault of ours must not pass unseen

    def renew(self, reason: str, *, intended: bool = False) -> None:
        """Drop the connection, so that another is made.

        Args:
            reason: what those in flight are told.
            intended: whether this is no trouble, as when nobody needs it any more.
        """
        if self.connection is not None:
            self._intended = intended
            self.connection.abort(reason)

    def move(self, reason: str) -> None:
        """Make another connection, as this one may lead to the wrong server; nobody is harmed.

        Those in flight get their replies first. Where the next connection leads there as well, as
        to a replica by its own address, moving on and on would help nobody: once in
        `reconnect_most` seconds is enough.
        """
        now = self._loop.time()
        if self.connection is not None and now >= self._may_move:
            self._may_move = now + seconds(
                self._options.reconnect_most, option="reconnect_most", zero=True
            )
            self._intended = True
            self.connection.retire(reason)

    async def _keep(self) -> None:
        attempt = 0
        pause = wait_incrementing(
            start=self._options.reconnect_step,
            increment=self._options.reconnect_step,
            max=self._options.reconnect_most,
        ) + wait_random(0, self._options.reconnect_step)
        while True:
            if self.connection is not None:
                attempt = 0
                self._intended = False
                await self._watch(self.connection)
                if self._intended:  # nothing is wrong with the server
                    await self._try_again()
                    continue
            attempt += 1
            await asyncio.sleep(_pause(pause, attempt))
            await self._try_again()

    async def _try_again(self) -> None:
        # The server may come back as it pleases: a refusal now (a changed password, say, or a
        # certificate that is being replaced) is told to callers, and tried again.
        with suppress(CommandError, ConfigurationError):
            await self._attempt()

    async def _watch(self, connection: Connection) -> None:
        """Return when the connection is lost; end it when nobody answers on it."""
        interval = self._interval
        reads, silent_since, pinged, unsent = connection.reads, self._loop.time(), False, 0
        while True:
            try:
                async with asyncio.timeout(interval):
                    await self._lost.wait()
            except TimeoutError:
                before, unsent = unsent, connection.unsent
                if not self._pings:
                    continue
                now = self._loop.time()
                if connection.reads != reads:
                    reads, silent_since, pinged = connection.reads, now, False
                elif unsent < before:  # a large value on its way: the ping waits behind it
                    pinged = False
                elif pinged:
                    connection.abort(f"no sign of life for {now - silent_since:.3g} s")
                else:
                    pinged = True
                    connection.submit(_PING, self._ignored(1), 1)
            else:
                return

    async def _attempt(self) -> None:
        """Set `connection`, or `away`."""
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._connect()
        except (CommandError, ConfigurationError) as error:
            self._unreachable(str(error))
            raise
        except (OSError, StoreError, TimeoutError) as error:
            self._unreachable(f"{self._options.address} cannot be reached: {self._why(error)}")
            return
        self.connection, self.away = connection, ""
        self.connections += 1
        self._tell("connected", "")
        self._on_change()

    def _unreachable(self, why: str) -> None:
        self.away = why
        self._tell("unreachable", why)
        self._on_change()

    def _why(self, error: Exception) -> str:
        """What an attempt that failed says, and what to do where TLS may be the matter."""
        what = str(error)
        if isinstance(error, TimeoutError):
            what = f"no answer within {self._connect_timeout:g} s"
        if isinstance(error, Broken):  # of a greeting nobody asks whether it was executed
            what = what.partition("; it ")[0]
        if self._options.secure:
            # A plain server waits for the end of what it takes for a command.
            if isinstance(error, TimeoutError | SSLError | ConnectionResetError):
                what += "; the url asks for TLS: does that port speak it?"
        elif isinstance(error, Broken) and not isinstance(error, _Said):
            what += "; if that port speaks TLS, begin the url with rediss://"
        return what

    def _tell(self, kind: Literal["connected", "unreachable", "lost", "closed"], why: str) -> None:
        address = self._options.address
        event = ConnectionEvent(source="redis", kind=kind, address=address, reason=why)
        emit(self._observer, event)

    async def _connect(self) -> Connection:
        connection = await self._dial()
        extra = self._greet()
        try:
            plain = self._plain
            said = (plain_greeting if plain else greeting)(self._options, extra)
            replies = await self._say(connection, [words for _, words in said])
            if self._may_fall_back and wants_plain(replies):
                plain = True
                said = plain_greeting(self._options, extra)
                try:
                    replies = await self._say(connection, [words for _, words in said])
                except Broken as broken:  # it did not mean HELLO
                    raise _Said(
                        f"the server said {replies[0]} and closed the connection"
                    ) from broken
        except BaseException:
            connection.abort("the greeting failed")
            raise
        if error := refusal(said, replies, self._options.address):
            connection.abort("the server refused the greeting")
            raise error
        if connection.lost:
            raise StoreUnavailable("the server closed the connection after the greeting")
        if plain and self._on_push is not _ignore_push:
            connection.unasked = list
        return connection

    async def _dial(self) -> Connection:
        options, loop = self._options, self._loop
        self._lost = lost = asyncio.Event()

        def on_lost(connection: Connection, reason: str) -> None:
            lost.set()
            if self.connection is connection:
                self.connection = None
                self._tell("closed" if self._intended else "lost", reason)

        def factory() -> Connection:
            return Connection(
                loop,
                deadline=self._deadline,
                max_in_flight=options.max_in_flight,
                max_bytes=options.max_in_flight_bytes,
                max_reply=options.max_reply,
                on_lost=on_lost,
                on_room=self._on_change,
                on_push=self._on_push,
            )

        tls = options.tls()
        if path := options.path:
            _, connection = await loop.create_unix_connection(factory, path)
        else:
            name = options.host if tls is not None else None
            transport, connection = await loop.create_connection(
                factory, options.host, options.port, ssl=tls, server_hostname=name
            )
            # A blocking connection sends no pings: the kernel finds out that nobody is there.
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection

    async def _say(self, connection: Connection, commands: list[tuple[str, ...]]) -> list[Any]:
        packed = b"".join(map(pack_words, commands))
        slot = self._ignored(len(commands))
        connection.submit(packed, slot, len(commands))
        try:
            return await slot.future
        except Broken as error:
            if slot.replies and isinstance(slot.replies[0], ServerRefusal):
                # As where there are too many clients: one line for all, and the end.
                raise _Said(
                    f"the server said {slot.replies[0]} and closed the connection"
                ) from error
            raise

    def _ignored(self, count: int) -> Many:
        """A slot without the deadline of commands; its error, if any, is nobody's news."""
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return Many(future, count, own_deadline=True)


class _Said(Broken):
    """The connection was lost while greeting, after the server had said why."""


def _pause(wait: Any, attempt: int) -> float:
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return float(wait(state))


def _ignore_push(push: list[Any]) -> None:
    """Nothing on a shared connection asks for pushes."""
