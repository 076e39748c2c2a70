"""A Redis or Valkey client whose callers share one connection."""

import asyncio
from asyncio import get_running_loop
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NoReturn, Self

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import LogObserver, Observer
from symphonia_perf.errors import (
    ConfigurationError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from symphonia_perf.redis._arguments import BY_ARGUMENTS, command_name, pack
from symphonia_perf.redis._line import Line
from symphonia_perf.redis._link import Link
from symphonia_perf.redis._replies import needs_reconnect, refused, told
from symphonia_perf.redis.commands import Argument, Reply
from symphonia_perf.redis.connection import Many, ServerRefusal, Slot, fail, pack_words
from symphonia_perf.redis.options import RedisOptions
from symphonia_perf.redis.scripts import LuaScript
from symphonia_perf.typing import Seconds

__all__ = ["RedisClient", "RedisStats", "connect"]

# What hiredis packs exactly as we promise. Others (subclasses, numpy) take the slower way, and
# integers a look: over one with more digits than Python writes (4,300), hiredis 3.5 crashes.
_PLAIN = frozenset({str, bytes, float})
_PLAIN_OR_INT = _PLAIN | {int}
_LARGEST = 2**64
# Known to be harmless on a shared connection: these need no second look at their name.
_FREQUENT = frozenset(
    ("DEL", "EVALSHA", "EXISTS", "EXPIRE", "GET", "HGET", "HMGET", "HSET", "INCR", "MGET", "SET")
)
_NO_TIME = 1e-6  # seconds in which nothing can be answered
_NO_DEADLINE = 365 * 86_400.0  # seconds; a blocking command brings its own timeout


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
    observer = options.pop("observer", None)
    try:
        if isinstance(target, RedisOptions):
            settings = replace(target, **options)
        else:
            settings = RedisOptions(url=target, **options)
    except TypeError as error:
        raise ConfigurationError(f"connect(): {error}") from error
    return RedisClient(settings, observer=observer)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStats:
    """How a client is doing now."""

    connected: bool
    in_flight: int  # commands sent and not answered
    bytes_in_flight: int  # of them, packed
    waiting: int  # callers in line
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
    ) -> None:
        self._options = options
        self._observer = observer or LogObserver()
        self._may_block = _may_block
        self._binding = Binding("this Redis client")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: Link | None = None
        self._line: Line | None = None
        self._deadline = (
            _NO_DEADLINE if _may_block else seconds(options.deadline, option="deadline")
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
        loop = asyncio.get_running_loop()
        self._line = Line(loop, deadline=self._deadline)
        self._link = Link(
            self._options,
            loop=loop,
            deadline=self._deadline,
            pings=not self._may_block,
            observer=self._observer,
            on_change=self._changed,
        )
        self._loop = loop
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
        assert self._link is not None  # noqa: S101 - opened
        assert self._line is not None  # noqa: S101 - opened
        self._loop = None
        self._binding.close()
        self._line.fail_all(lambda: StoreUnavailable("the client was closed; it was not sent"))
        self._line.close()
        await self._link.aclose()

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
        loop = get_running_loop()
        if loop is not self._loop:
            self._binding.check()
        plain = _PLAIN.issuperset(map(type, args)) or _is_plain(args)
        if args and plain and args[0] in _FREQUENT:
            try:
                packed = pack_words(args)
            except UnicodeEncodeError:
                packed = self._pack(args)  # it names the argument
        else:
            packed = self._pack(args)
        if deadline is not None:
            (reply,) = await self._own_deadline(loop, packed, 1, deadline, args[0])
            return self._alone(reply, args[0])
        future: asyncio.Future[Reply] = loop.create_future()
        connection = self._link.connection  # type: ignore[union-attr]  # opened
        if connection is not None and connection.roomy:
            connection.submit_one(packed, future)
        else:
            self._send(packed, future, 1)
        try:
            reply = await future
        except (ServerRefusal, StoreError) as error:
            self._explain(error, args[0])
        finally:
            del future  # it holds the error, whose traceback holds this frame and the command
        return reply if type(reply) is not list else self._alone(reply, args[0])

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
        loop = self._check_loop()
        packed = b"".join([self._pack(command) for command in commands])
        if not commands:
            return []
        many = await self._batch(loop, packed, len(commands), deadline, commands[0][0])
        replies: list[Reply] = []
        for reply, command in zip(many, commands, strict=True):
            if isinstance(reply, ServerRefusal):
                self._note(reply)
            replies.append(told(reply, command_name(command[0], self._may_block)))
        if not return_errors:
            for reply in replies:
                if isinstance(reply, StoreError):
                    raise reply
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
        loop = self._check_loop()
        if not commands:
            return []
        inside = [self._pack(command) for command in commands]
        packed = b"".join((_MULTI, *inside, _EXEC))
        many = await self._batch(loop, packed, len(commands) + 2, deadline, "EXEC")
        result = many[-1]
        if isinstance(result, ServerRefusal):
            # EXECABORT says only that; what was wrong was said when the command was queued.
            wrong = [n for n, reply in enumerate(many[1:-1]) if isinstance(reply, ServerRefusal)]
            if wrong:
                self._explain(many[1 + wrong[0]], commands[wrong[0]][0])
            self._explain(result, "EXEC")
        replies = [
            told(reply, command_name(command[0], self._may_block))
            for reply, command in zip(result, commands, strict=True)
        ]
        for reply in replies:
            if isinstance(reply, StoreError):
                raise reply
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
        one another: use one per task that blocks.
        """
        return RedisClient(self._options, observer=self._observer, _may_block=True)

    def stats(self) -> RedisStats:
        """How the client is doing now; also when it is closed."""
        connection = self._link.connection if self._link is not None else None
        return RedisStats(
            connected=connection is not None,
            in_flight=connection.in_flight if connection is not None else 0,
            bytes_in_flight=connection.bytes_in_flight if connection is not None else 0,
            waiting=len(self._line) if self._line is not None else 0,
            connections=self._link.connections if self._link is not None else 0,
        )

    # What a command goes through

    def _check_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._binding.check()
        return loop

    def _pack(self, args: Sequence[Argument]) -> bytes:
        if args and type(args) is not str and _is_plain(args):
            # Cached by name; it is what refuses commands that a shared connection cannot take.
            name = command_name(args[0], self._may_block)
            if name not in BY_ARGUMENTS:
                try:
                    return pack_words(tuple(args))
                except UnicodeEncodeError:
                    pass  # pack() names the argument
        return pack_words(pack(args, may_block=self._may_block))

    def _send(self, packed: bytes, slot: Slot, count: int) -> None:
        link, line = self._link, self._line
        assert link is not None  # noqa: S101 - opened
        assert line is not None  # noqa: S101 - opened
        connection = link.connection
        if connection is not None and connection.roomy:
            connection.submit(packed, slot, count)
        elif connection is None and link.away:
            fail(slot, StoreUnavailable(f"{link.away}; it was not sent"))
        elif len(line) >= self._options.max_waiting:
            fail(slot, StoreUnavailable(f"{len(line)} callers wait already; it was not sent"))
        else:
            line.join(packed, slot, count)

    async def _batch(
        self,
        loop: asyncio.AbstractEventLoop,
        packed: bytes,
        count: int,
        deadline: Seconds | None,
        name: Argument,
    ) -> list[Any]:
        if deadline is not None:
            return await self._own_deadline(loop, packed, count, deadline, name)
        future: asyncio.Future[list[Any]] = loop.create_future()
        self._send(packed, Many(future, count, own_deadline=False), count)
        try:
            return await future
        except StoreError as error:
            self._explain(error, name)
        finally:
            del future  # as above

    async def _own_deadline(
        self,
        loop: asyncio.AbstractEventLoop,
        packed: bytes,
        count: int,
        deadline: Seconds,
        name: Argument,
    ) -> list[Any]:
        limit = seconds(deadline, option="deadline")
        if limit < _NO_TIME:
            operation = command_name(name, self._may_block)
            message = f"{operation}: it was not sent (deadline {limit:g} s)"
            raise StoreTimeout(message, store="redis", operation=operation)
        future: asyncio.Future[list[Any]] = loop.create_future()
        slot = Many(future, count, own_deadline=True)
        timer = loop.call_later(limit, _end, slot, limit)
        try:
            self._send(packed, slot, count)
            return await future
        except StoreError as error:
            self._explain(error, name)
        finally:
            timer.cancel()
            del future, slot  # as above

    def _alone(self, reply: Reply, name: Argument) -> Reply:
        if isinstance(reply, ServerRefusal):
            self._explain(reply, name)
        if type(reply) is list:
            return told(reply, command_name(name, self._may_block))
        return reply

    def _explain(self, error: Exception, name: Argument) -> NoReturn:
        """Raise the error of ours that names the command; the messages above do not know it."""
        operation = command_name(name, self._may_block) if name != "EXEC" else "EXEC"
        if isinstance(error, ServerRefusal):
            self._note(error)
            raise refused(error, operation)
        message = f"{operation}: {error}"
        if isinstance(error, StoreTimeout):
            raise StoreTimeout(message, store="redis", operation=operation) from None
        raise StoreUnavailable(message, store="redis", operation=operation) from None

    def _note(self, refusal: Exception) -> None:
        if self._link is not None and needs_reconnect(refusal):
            self._link.renew(f"the server said {refusal}")

    def _changed(self) -> None:
        """There is a connection, room on it, or none for the time being."""
        link, line = self._link, self._line
        assert link is not None  # noqa: S101 - opened
        assert line is not None  # noqa: S101 - opened
        connection = link.connection
        if connection is not None:
            line.let_in(connection)
            connection.roomy = connection.has_room() and not line
        elif link.away:
            line.fail_all(lambda: StoreUnavailable(f"{link.away}; it was not sent"))


def _end(slot: Many, limit: float) -> None:
    what = "it was not sent" if slot.in_line else "no reply; it may have been executed"
    fail(slot, StoreTimeout(f"{what} (deadline {limit:g} s)"))


def _is_plain(args: Sequence[Argument]) -> bool:
    for argument in args:
        if type(argument) is int and not -_LARGEST < argument < _LARGEST:
            return False
    return _PLAIN_OR_INT.issuperset(map(type, args))


_MULTI = pack_words(("MULTI",))
_EXEC = pack_words(("EXEC",))
