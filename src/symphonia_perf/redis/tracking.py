"""Told by the server which keys were written: CLIENT TRACKING in broadcasting mode."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction
from types import CoroutineType, TracebackType
from typing import Any, Self

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Event, Observer, emit
from symphonia_perf._core.listener import decoded, encoded
from symphonia_perf.errors import CommandError, ConfigurationError, StoreError
from symphonia_perf.redis._link import Link
from symphonia_perf.redis._packing import pack_words
from symphonia_perf.redis._replies import refused
from symphonia_perf.redis.connection import Connection, Many, ServerRefusal
from symphonia_perf.redis.events import ConnectionEvent
from symphonia_perf.redis.options import RedisOptions

__all__ = ["Tracking", "merged"]

logger = logging.getLogger("symphonia_perf")

_INSTEAD = "publish what was changed and listen by pubsub() instead"
# What a server, proxy or user that cannot do it answers; a wrong password is another matter.
_CANNOT = frozenset({"ERR", "NOPERM", "NOPROTO"})
_ASKED = frozenset({"HELLO", "CLIENT TRACKING"})
_ASYNC = (iscoroutinefunction, isasyncgenfunction)
_PLAIN = (
    "and nobody would await it: note what it is told in a plain function, and do the work in a "
    "task of your own"
)


def merged(prefixes: Sequence[str]) -> tuple[str, ...]:
    """The prefixes without those that begin with another: the server refuses overlaps.

    Raises:
        ConfigurationError: none, or not a sequence of str.

    ```python
    from symphonia_perf.redis.tracking import merged

    assert merged(["plan:", "carrier:", "plan:free:"]) == ("carrier:", "plan:")
    ```
    """
    if not prefixes or isinstance(prefixes, str | bytes) or not isinstance(prefixes, Iterable):
        raise ConfigurationError(f"prefixes={prefixes!r:.100}: expected str, '' for all keys")
    kept: list[bytes] = []
    for prefix in sorted(encoded(prefix, what="prefix") for prefix in prefixes):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return tuple(map(decoded, kept))


class Tracking:
    """Calls you with every key of some prefixes that anybody writes: `client.tracking(...)`.

    The server tells of the key, not of the value, once for all writes of one turn of its own, and
    remembers nothing per key (`BCAST`), so a write costs it the same however much is tracked. It
    takes a connection of its own, by RESP3.

    Nothing is repeated after a loss. So `on_flush` is called whenever everything may have changed:
    after FLUSHALL and FLUSHDB, when the prefixes change, and when a connection was made, the first
    one included. While there is no connection (`active` is False) nothing is heard; a half-open one
    is found by pings, within three times `health_interval`.

    Callbacks run in line, so they must be quick; what they raise is logged. Keys are those of all
    databases: Redis does not say of which. NOLOOP is not offered: it spares a connection its own
    writes, and this one writes nothing.

    Args:
        options: where, and how.
        prefixes: of the keys; `""` stands for all. Overlapping ones are merged.
        on_key: called with each key, as text (`surrogateescape` where it is not UTF-8).
        on_flush: called when every key may have been written.
        on_lost: called when the connection is lost.
        observer: gets a `ConnectionEvent` when a connection is made or lost.

    Raises:
        ConfigurationError: bad prefixes or callbacks, or `protocol=2` in the URL.

    ```python
    import asyncio

    from symphonia_perf.redis import connect
    from symphonia_perf.testing.servers import redis_server

    near = {"plan:1": "free"}
    changed = asyncio.Event()


    def forget(key: str) -> None:
        near.pop(key, None)
        changed.set()


    with redis_server() as server:
        async with (
            connect(server.url) as redis,
            redis.tracking("plan:", on_key=forget, on_flush=near.clear),
        ):
            near["plan:1"] = "free"
            await redis.execute("SET", "plan:1", "pro")
            await changed.wait()
            assert near == {}
    ```
    """

    def __init__(
        self,
        options: RedisOptions,
        *,
        prefixes: Sequence[str],
        on_key: Callable[[str], object],
        on_flush: Callable[[], object],
        on_lost: Callable[[], object] | None,
        observer: Observer,
    ) -> None:
        self._prefixes = merged(prefixes)
        _check("on_key", on_key)
        _check("on_flush", on_flush)
        if on_lost is not None:
            _check("on_lost", on_lost)
        if options.protocol == 2:
            raise ConfigurationError(f"tracking with protocol=2: it needs RESP3; {_INSTEAD}")
        self._options = options
        self._on_key = on_key
        self._on_flush = on_flush
        self._on_lost = on_lost
        self._observer = observer
        self._binding = Binding("this tracking")
        self._link: Link | None = None
        self._connection: Connection | None = None
        self._greeted: tuple[str, ...] = ()  # the prefixes that the last connection began with
        self._pid = 0

    @property
    def active(self) -> bool:
        """Whether what is written now is heard; not so in a forked child."""
        link = self._link
        return link is not None and link.connection is not None and self._pid == os.getpid()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What is tracked, merged."""
        return self._prefixes

    async def __aenter__(self) -> Self:
        """Begin, or start trying: a server that is not there yet is tried again.

        Raises:
            ConfigurationError: the server, a proxy or the user's ACL does not allow tracking.
            CommandError: it refuses for another reason: a wrong password, a missing database.
            SymphoniaError: it is open already.
        """
        self._binding.open()
        self._pid = os.getpid()
        options = self._options
        self._link = link = Link(
            options,
            loop=asyncio.get_running_loop(),
            deadline=seconds(options.deadline, option="deadline"),
            pings=True,
            observer=self._observe,
            on_change=self._changed,
            on_push=self._hear,
            needs_resp3=True,
            greet=self._greet,
        )
        try:
            await link.open()
        except BaseException as error:
            await self._close(link)
            if isinstance(error, CommandError) and _forbids(error):
                raise _cannot(error) from error
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._binding.check()
        assert self._link is not None  # noqa: S101 - opened
        await self._close(self._link)

    async def track(self, *prefixes: str) -> None:
        """Track these prefixes from now on, and no others; `on_flush` follows.

        Raises:
            ConfigurationError: bad prefixes, or the server refuses them.
            NotOpen, WrongLoop: not open here.
        """
        self._binding.check()
        link = self._link
        assert link is not None  # noqa: S101 - opened
        self._prefixes = merged(prefixes)
        connection = link.connection
        if connection is None:
            return  # the next one begins with them or changes to them, and with a flush
        future = self._send(connection)
        try:
            replies = await future
        except BaseException as error:
            # Nobody knows what the server did of it; as above.
            link.renew(f"the prefixes were not changed in time: {error!r}")
            if isinstance(error, StoreError):
                return
            raise
        if refusal := _refusal(replies):
            link.renew(f"the server refused the prefixes: {refusal}")
            raise _cannot(refused(refusal, "CLIENT TRACKING")) from refusal
        _call(self._on_flush)

    def _greet(self) -> list[tuple[Any, ...]]:
        self._greeted = self._prefixes
        return [_command(self._prefixes)]

    def _send(self, connection: Connection) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        words = (("CLIENT", "TRACKING", "OFF"), _command(self._prefixes))
        packed = b"".join(map(pack_words, words))
        connection.submit(packed, Many(future, len(words), own_deadline=False), len(words))
        return future

    def _catch_up(self, connection: Connection) -> None:
        """Change the prefixes of a connection that was greeted before they were."""

        def changed(future: asyncio.Future[list[Any]]) -> None:
            link = self._link
            if link is None or link.connection is not connection:
                future.exception()  # another connection has them, or nobody wants them any more
            elif (failed := future.exception() or _refusal(future.result())) is not None:
                link.renew(f"the prefixes were not changed: {failed}")
            else:
                _call(self._on_flush)

        self._send(connection).add_done_callback(changed)

    async def _close(self, link: Link) -> None:
        self._link = None
        self._binding.close()
        await link.aclose()

    # What the link tells

    def _observe(self, event: Event) -> None:
        emit(self._observer, event)
        lost = isinstance(event, ConnectionEvent) and event.kind == "lost"
        if lost and self._link is not None and self._on_lost is not None:
            _call(self._on_lost)

    def _changed(self) -> None:
        connection = self._link.connection if self._link is not None else None
        if connection is not None and connection is not self._connection:
            self._connection = connection
            if self._greeted != self._prefixes:  # `track` was called while it was greeted
                self._catch_up(connection)
            _call(self._on_flush)

    def _hear(self, push: list[Any]) -> None:
        if push[0] != b"invalidate":
            return
        if push[1] is None:
            _call(self._on_flush)
            return
        on_key = self._on_key
        for key in push[1]:
            _call(on_key, decoded(key))


def _command(prefixes: Sequence[str]) -> tuple[Any, ...]:
    words: list[str | bytes] = ["CLIENT", "TRACKING", "ON", "BCAST"]
    for prefix in prefixes:
        if prefix:  # without any it is all keys
            words += ["PREFIX", encoded(prefix)]
    return tuple(words)


def _forbids(error: CommandError) -> bool:
    return error.operation in _ASKED and error.code in _CANNOT


def _cannot(error: Exception) -> ConfigurationError:
    return ConfigurationError(f"the server does not let keys be tracked ({error}); {_INSTEAD}")


def _refusal(replies: list[Any]) -> ServerRefusal | None:
    return next((reply for reply in replies if isinstance(reply, ServerRefusal)), None)


def _check(option: str, callback: object) -> None:
    if not callable(callback):
        raise ConfigurationError(f"{option}={callback!r:.100}: expected a function")
    called = type(callback).__call__
    if any(kind(each) for each in (callback, called) for kind in _ASYNC):
        raise ConfigurationError(f"{option}={callback!r:.100} is async, {_PLAIN}")


def _call(callback: Callable[..., object], *arguments: object) -> None:
    try:
        result = callback(*arguments)
        if type(result) is CoroutineType:  # as that of `lambda key: work(key)`, which looks plain
            result.close()
            logger.error("%r returned a coroutine, %s", callback, _PLAIN)
    # `future.result()` raises CancelledError, which here would end what reconnects.
    except (Exception, asyncio.CancelledError):
        logger.exception("%r failed; what it was told of may be stale now", callback)
