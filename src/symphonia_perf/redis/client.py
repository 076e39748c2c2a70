"""A Redis or Valkey client whose callers share one connection."""

import asyncio
import os
from asyncio import Future, get_running_loop
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.env import nearest
from symphonia_perf._core.events import Observer, checked_observer, log_observer
from symphonia_perf.errors import ConfigurationError, StoreError, StoreTimeout
from symphonia_perf.redis._arguments import blocks_for, listed
from symphonia_perf.redis._channel import Channel
from symphonia_perf.redis._link import Link
from symphonia_perf.redis._packing import FREQUENT, PLAIN, is_plain, pack_words, packed
from symphonia_perf.redis._replies import NOT_SENT, alone, raise_first
from symphonia_perf.redis._slots import Late
from symphonia_perf.redis._subscriber import LinkSubscriber
from symphonia_perf.redis.commands import Argument, Reply
from symphonia_perf.redis.connection import Broken, ServerRefusal
from symphonia_perf.redis.options import RedisOptions
from symphonia_perf.redis.pubsub import PubSub
from symphonia_perf.redis.scripts import LuaScript
from symphonia_perf.redis.tracking import Tracking
from symphonia_perf.typing import Seconds

__all__ = ["RedisClient", "RedisStats", "connect"]

_NO_DEADLINE = 365 * 86_400.0  # seconds; a blocking command brings its own timeout
_OUTCOMES = frozenset({Late, ServerRefusal, dict, list})  # what is no plain reply, or may hold one
_opened: "WeakSet[RedisClient]" = WeakSet()


def _forked() -> None:
    """A child has opened nothing: on its parent's socket it must not write."""
    for client in tuple(_opened):
        client.forget()


os.register_at_fork(after_in_child=_forked)


def connect(target: str | RedisOptions = RedisOptions(), **options: Any) -> "RedisClient":  # noqa: B008 - a frozen value
    """A client that is not open yet: no I/O, fine at module level.

    Args:
        target: a URL (`redis://`, `rediss://`, `valkey://`, `valkeys://`, `unix://`) or options.
        options: fields of `RedisOptions`, and `observer`.

    Raises:
        ConfigurationError: a bad URL or option.

    ```python
    from symphonia_perf.redis import connect

    redis = connect("redis://localhost:6379/0", deadline=0.1)
    ```
    """
    observer = checked_observer(options.pop("observer", None))
    names = [field.name for field in fields(RedisOptions) if field.init]
    if not isinstance(target, RedisOptions):
        names.remove("url")  # it is there
    for name in options.keys() - set(names):
        near = nearest(name, names)
        hint = f"did you mean {near}=?" if near else f"there are {', '.join(names)}, observer"
        raise ConfigurationError(f"connect({name}=...): no such option; {hint}")
    if isinstance(target, RedisOptions):
        settings = replace(target, **options)
    else:
        settings = RedisOptions(url=target, **options)
    return RedisClient(settings, observer=observer)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStats:
    """How a client is doing now."""

    connected: bool
    in_flight: int  # commands sent and not answered
    bytes_in_flight: int  # of them, packed
    waiting: int  # callers in line
    bytes_waiting: int  # of their commands, packed
    connections: int  # opened since the client was opened


class RedisClient:
    """Executes commands on one shared connection; made by `connect()`, opened by `async with`.

    Commands of one event-loop turn leave in one write and are answered in order, so thousands of
    tasks need one connection, no pool. Each has a deadline. A connection that breaks fails what is
    in flight at once, with whether it was sent, and is made anew in the background for as long as
    it takes. While the server is known to be away, commands fail at once instead of waiting.

    The client is open even if the server is not there yet: a service must be able to start before
    its cache. A server that refuses (a wrong password, a missing database) raises at once.

    Args:
        options: every setting.
        observer: gets a `ConnectionEvent` when a connection is made or lost.

    ```python
    import asyncio

    from symphonia_perf.redis import connect
    from symphonia_perf.testing.servers import redis_server

    with redis_server() as server:
        async with connect(server.url) as redis:
            await redis.execute("SET", "k", b"v", "EX", 60)
            replies = await asyncio.gather(*(redis.execute("GET", "k") for _ in range(100)))
            assert replies == [b"v"] * 100
    ```
    """

    def __init__(
        self,
        options: RedisOptions,
        *,
        observer: Observer | None = None,
        _may_block: bool = False,
        _frequent: frozenset[str] = FREQUENT,
    ) -> None:
        self._options = options
        self._observer = observer or log_observer
        self._may_block = _may_block
        self._frequent = _frequent  # commands whose arguments are not looked at
        self._binding = Binding("this Redis client")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: Channel | None = None
        self._link: Link | None = None  # the channel's; each step to it costs every command
        self._deadline = (
            _NO_DEADLINE if _may_block else seconds(options.deadline, option="deadline")
        )
        self._retry_reads = options.retry_reads and not _may_block
        self._pubsub = PubSub(
            self,
            make=lambda: LinkSubscriber(options, observer=self._observer),
            check=self._here,
            deadline=seconds(options.deadline, option="deadline"),
        )

    # Opening and closing

    async def __aenter__(self) -> Self:
        """Connect, or start trying.

        Raises:
            CommandError: the server refused: a wrong password, a missing database.
            ConfigurationError: TLS files that cannot be read.
            SymphoniaError: it is open already.
        """
        self._binding.open()
        self._loop = loop = get_running_loop()
        self._channel = Channel(
            self._options,
            loop=loop,
            deadline=self._deadline,
            pings=not self._may_block,
            retry_reads=self._retry_reads,
            observer=self._observer,
        )
        self._link = self._channel.link
        _opened.add(self)
        try:
            await self._link.open()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection; who still waits gets `StoreUnavailable`.

        Raises:
            NotOpen, WrongLoop: opened elsewhere, or not open.
        """
        self._binding.check()
        await self._close()

    async def _close(self) -> None:
        self._loop = None
        self._binding.close()
        _opened.discard(self)
        try:
            await self._pubsub.aclose()
        finally:  # who is cancelled while it closes leaves nothing open
            await self._channel_here().aclose()

    def forget(self) -> None:
        """Be as if it was never opened: what a forked child does with what its parent opened."""
        self._loop = None

    # The role

    async def execute(self, *args: Argument, deadline: Seconds | None = None) -> Reply:
        """The reply to one command, as in `await redis.execute("GET", "key")`.

        Raises:
            StoreTimeout: no answer within the deadline; the message says whether it was sent.
            StoreUnavailable: no connection, or it broke; the message says whether it was sent.
            CommandError: the server refused; `.code` is the first word of its answer.
            ConfigurationError: a bad argument, or a command that a shared connection cannot take.
            NotOpen, WrongLoop: used outside `async with`, after a fork, or on another loop.
        """
        # This is the path of every command: what can be said in one line is not a call.
        # A future knows the running loop: asking for both apart takes 290 -> 430 ns, as Python
        # 3.11 asks the system for the process id whenever it is asked for the loop.
        try:
            future: asyncio.Future[Reply] = Future()
        except RuntimeError:  # a thread without a loop
            self._binding.check()
            raise
        if future.get_loop() is not self._loop:
            self._binding.check()
        try:
            # One look is enough for the two words of a GET; a set of all types takes twice as long.
            if args[0] in self._frequent and (
                type(args[1]) in PLAIN
                if len(args) == 2
                else PLAIN.issuperset(map(type, args)) or is_plain(args)
            ):
                command = pack_words(args)
            else:
                command = packed(args, may_block=self._may_block)
        except (IndexError, TypeError, UnicodeEncodeError):
            command = packed(args, may_block=self._may_block)  # it names the argument
        if deadline is not None:
            return alone(await self._channel_here().ask(command, (args,), deadline))
        began = future.get_loop().time() if self._retry_reads else 0.0
        connection = self._link.connection  # type: ignore[union-attr]  # opened
        if connection is not None and connection.roomy:
            connection.submit_one(command, future)
        else:
            self._channel_here().send(command, future, 1)
        try:
            reply = await future
        except Broken as error:
            return alone(await self._channel_here().again(error, command, (args,), began))
        except StoreError as error:
            self._channel_here().explain(error, args[0])
        finally:
            del future  # it holds the error, whose traceback holds this frame and the command
        if type(reply) in _OUTCOMES:
            return self._channel_here().outcome(reply, args[0])
        return reply

    async def execute_many(
        self,
        commands: Sequence[Sequence[Argument]],
        *,
        return_errors: bool = False,
        deadline: Seconds | None = None,
    ) -> list[Reply]:
        """The replies to many commands, in order and in one round trip.

        All replies are awaited before the first error is raised; with `return_errors` an error
        stands in its command's place instead.

        Raises:
            StoreError: as `execute` raises it.
            ConfigurationError: a bad argument or command; then nothing was sent.
        """
        channel = self._here()
        commands = listed(commands)
        together = b"".join([packed(each, may_block=self._may_block) for each in commands])
        if not commands:
            return []
        replies = await channel.ask(together, commands, deadline)
        if not return_errors:
            raise_first(replies)
        return replies

    async def transaction(
        self, commands: Sequence[Sequence[Argument]], *, deadline: Seconds | None = None
    ) -> list[Reply]:
        """The replies to commands that the server executes together, nothing in between.

        MULTI, the commands and EXEC leave in one write, so no other caller's command can get
        between them. As always with Redis, a command that fails does not undo the others; its
        error is raised when all replies are in.

        Raises:
            StoreError: as `execute` raises it. A command that Redis refuses to queue means that
                none was executed.
        """
        channel = self._here()
        commands = listed(commands)
        if not commands:
            return []
        inside = [packed(each, may_block=self._may_block) for each in commands]
        replies = await channel.transaction(inside, commands, deadline)
        raise_first(replies)
        return replies

    def script(self, lua: str) -> LuaScript:
        """A callable for a Lua script; nothing is sent yet.

        Raises:
            ConfigurationError: not the source of a script.
        """
        return LuaScript(self, lua)

    def blocking(self) -> "RedisClient":
        """A client with a connection of its own, for BLPOP, XREADGROUP with BLOCK and the like.

        Open it with `async with`. Its commands have no deadline but their own timeout, and wait for
        one another: use one per task that blocks. A server that says nothing for `health_interval`
        after that timeout, or at all to a command that does not block, is given up
        (`StoreTimeout`). A command that may block for ever (timeout 0) can wait for a frozen server
        as long: give it a timeout, and ask again.

        A command that its caller gives up, by cancelling it or by a `deadline`, ends this
        connection: else the server would give the next element to nobody. What was on its way at
        that moment is lost, as with every BLPOP; BLMOVE keeps it.
        """
        return _BlockingClient(self._options, observer=self._observer, _may_block=True)

    def pubsub(self) -> PubSub:
        """Publish and subscribe, on one more connection of this client: always the same object.

        It needs no opening: the connection is made for the first listener and closed with the
        client.
        """
        return self._pubsub

    def tracking(
        self,
        *prefixes: str,
        on_key: Callable[[str], object],
        on_flush: Callable[[], object],
        on_lost: Callable[[], object] | None = None,
    ) -> Tracking:
        """Calls `on_key` with every key of these prefixes that anybody writes; see `Tracking`.

        Open it with `async with`; it has a connection of its own, and needs no open client.

        Args:
            prefixes: of the keys; `""` stands for all.
            on_key: called with each key.
            on_flush: called when every key may have been written.
            on_lost: called when the connection is lost; `on_flush` follows when there is another.

        Raises:
            ConfigurationError: bad prefixes, or `protocol=2` in the URL.
        """
        return Tracking(
            self._options,
            prefixes=prefixes,
            on_key=on_key,
            on_flush=on_flush,
            on_lost=on_lost,
            observer=self._observer,
        )

    def large(self, *, deadline: Seconds = 30.0, max_reply: int = 2**30) -> "RedisClient":
        """A client with a connection of its own, for values of megabytes.

        Replies come in the order of the commands, so everybody behind a large value on a shared
        connection waits until it is through. Open this one with `async with`, share it between
        tasks, and read and write the large values with it.

        Args:
            deadline: seconds, as a large value takes its time; default 30.
            max_reply: bytes of one reply; default 1 GiB (Redis holds values up to 512 MiB).

        Raises:
            ConfigurationError: a bad deadline or bound.
        """
        options = replace(self._options, deadline=deadline, max_reply=max_reply)
        return RedisClient(options, observer=self._observer, _frequent=frozenset())

    def stats(self) -> RedisStats:
        """How the client is doing now; also when it is closed."""
        channel = self._channel
        connection = channel.link.connection if channel is not None else None
        return RedisStats(
            connected=connection is not None,
            in_flight=connection.in_flight if connection is not None else 0,
            bytes_in_flight=connection.bytes_in_flight if connection is not None else 0,
            waiting=len(channel.line) if channel is not None else 0,
            bytes_waiting=channel.line.size if channel is not None else 0,
            connections=channel.link.connections if channel is not None else 0,
        )

    def _here(self) -> Channel:
        self._binding.check()
        return self._channel_here()

    def _channel_here(self) -> Channel:
        assert self._channel is not None  # noqa: S101 - it was open when the command was sent
        return self._channel


class _BlockingClient(RedisClient):
    """What blocks here is taken back from the server when nobody waits for it any more."""

    async def execute(self, *args: Argument, deadline: Seconds | None = None) -> Reply:
        if deadline is None:
            deadline = self._patience([args])
        with self._taken_back():
            return await super().execute(*args, deadline=deadline)

    async def execute_many(
        self,
        commands: Sequence[Sequence[Argument]],
        *,
        return_errors: bool = False,
        deadline: Seconds | None = None,
    ) -> list[Reply]:
        commands = listed(commands)
        if deadline is None:
            deadline = self._patience(commands)
        with self._taken_back():
            return await super().execute_many(
                commands, return_errors=return_errors, deadline=deadline
            )

    async def transaction(
        self, commands: Sequence[Sequence[Argument]], *, deadline: Seconds | None = None
    ) -> list[Reply]:
        if deadline is None:
            deadline = self._patience([])  # inside a transaction nothing blocks
        with self._taken_back():
            return await super().transaction(commands, deadline=deadline)

    def _patience(self, commands: Sequence[Sequence[Argument]]) -> float | None:
        """Seconds from which on silence means that nobody is there: no ping gets through."""
        channel = self._here()
        connection = channel.link.connection
        busy = connection is not None and not connection.lost and connection.in_flight
        if busy or len(channel.line):
            return None  # it waits for those before it, and nobody knows how long
        own = 0.0
        for command in commands:
            lasts = blocks_for(command)
            if lasts is None:
                return None
            own += lasts
        return own + seconds(self._options.health_interval, option="health_interval")

    @contextmanager
    def _taken_back(self) -> Iterator[None]:
        try:
            yield
        except (asyncio.CancelledError, StoreTimeout) as error:
            if NOT_SENT not in str(error):
                why = "a blocking command was given up"
                self._channel_here().link.renew(why, intended=True)
            raise
