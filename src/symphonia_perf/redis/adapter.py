"""The `Commands` role over the redis-py client a service has already."""

import asyncio
import math
import sys
from asyncio import Future
from collections.abc import Callable, Sequence
from inspect import signature
from types import TracebackType
from typing import Any, Self

from redis import Redis as BlockingRedis
from redis import RedisCluster as BlockingCluster
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Observer, checked_observer, emit, log_observer
from symphonia_perf.errors import ConfigurationError, WrongLoop
from symphonia_perf.redis import _cluster, _pooled
from symphonia_perf.redis._arguments import Packed, command_name, listed, pack
from symphonia_perf.redis._driver_options import DriverOptions
from symphonia_perf.redis._driver_subscriber import DriverSubscriber
from symphonia_perf.redis._errors import translate
from symphonia_perf.redis._lane import Lane
from symphonia_perf.redis._packing import packed_shared
from symphonia_perf.redis._replies import raise_first
from symphonia_perf.redis._slots import Many
from symphonia_perf.redis.commands import Argument, Reply
from symphonia_perf.redis.events import CancellationEvent
from symphonia_perf.redis.pubsub import PubSub
from symphonia_perf.redis.scripts import LuaScript
from symphonia_perf.redis.tracking import Tracking
from symphonia_perf.typing import Seconds

__all__ = ["Adapter", "wrap"]


def wrap(
    client: Redis | RedisCluster,
    *,
    deadline: Seconds = 0.25,
    max_waiting: int = 32 * 2**20,
    observer: Observer | None = None,
) -> "Adapter":
    """The `Commands` role over your own client; nothing is sent yet.

    Args:
        client: `redis.asyncio.Redis`, `redis.asyncio.RedisCluster` or `fakeredis.FakeAsyncRedis`;
            it stays yours to configure and to close.
        deadline: seconds until a command without an answer raises `StoreTimeout`, default 0.25.
        max_waiting: bytes of commands that may wait for their turn, default 32 MiB; beyond that
            a command raises `StoreUnavailable` at once.
        observer: gets a `CancellationEvent` at the first use, where the client is so configured; by
            default it is a warning in the log.

    Raises:
        ConfigurationError: another kind of client, one with `decode_responses=True`, or a
            deadline or bound that cannot work.

    ```python
    from fakeredis import FakeAsyncRedis

    from symphonia_perf.redis import wrap

    redis = wrap(FakeAsyncRedis())
    await redis.execute("SET", "plan:1", b"free")
    assert await redis.execute_many([("GET", "plan:1"), ("GET", "plan:2")]) == [b"free", None]
    ```
    """
    _check(client)
    if type(max_waiting) is not int or max_waiting <= 0:
        raise ConfigurationError(f"max_waiting={max_waiting!r}: expected bytes, more than 0")
    limit = seconds(deadline, option="deadline")
    return Adapter(
        client,
        deadline=limit,
        max_waiting=max_waiting,
        observer=checked_observer(observer) or log_observer,
    )


def _check(client: object) -> None:
    if not isinstance(client, Redis | RedisCluster) or isinstance(client, Pipeline):
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        hint = ""
        if isinstance(client, BlockingRedis | BlockingCluster):
            hint = f" (this one blocks the event loop: import {type(client).__name__} from "
            hint += "redis.asyncio; for fakeredis take FakeAsyncRedis)"
        raise ConfigurationError(
            f"wrap() got a {kind}; expected redis.asyncio.Redis, redis.asyncio.RedisCluster or "
            f"fakeredis.FakeAsyncRedis{hint}"
        )
    if client.get_connection_kwargs().get("decode_responses"):
        raise ConfigurationError(
            "the client has decode_responses=True, which damages binary values; give wrap() a "
            "client of its own without it"
        )


def _losing_cancellations(client: Redis | RedisCluster) -> float | None:
    """The client's `socket_timeout`, where it makes redis-py write by `asyncio.wait_for`."""
    if sys.version_info >= (3, 12) or type(client) not in {Redis, RedisCluster}:
        return None  # asyncio is mended, or there is no socket (fakeredis)
    default = signature(AbstractConnection).parameters["socket_timeout"].default
    timeout: float | None = client.get_connection_kwargs().get("socket_timeout", default)
    return timeout


class Adapter:
    """Executes commands over a redis-py client; made by `wrap()`.

    All commands of one event-loop turn leave in one pipeline without a transaction. The object
    belongs to the event loop that uses it first; `aclose()` frees it for another. `async with` is
    optional. Your client keeps its own settings: a broken connection is retried as *it* says, so a
    command may run twice unless it was built with `retry=Retry(NoBackoff(), 0)`.
    """

    def __init__(
        self,
        client: Redis | RedisCluster,
        *,
        deadline: float,
        max_waiting: int,
        observer: Observer,
    ) -> None:
        self._client = client
        self._deadline = deadline
        self._max_waiting = max_waiting
        self._pooled = _pooled.suits(client)
        # Its class is a typing.Protocol's child: isinstance() takes 0.7 us.
        self._cluster = client if isinstance(client, RedisCluster) else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lanes: dict[str, Lane] = {}
        self._observer = observer
        self._warned = False
        self._pubsub = PubSub(self, make=self._subscriber, check=self._bind, deadline=deadline)

    async def execute(self, *args: Argument, deadline: Seconds | None = None) -> Reply:
        """The reply to one command, as in `await redis.execute("GET", "key")`.

        Raises:
            StoreTimeout: no answer within the deadline; the message says whether it was sent.
            StoreUnavailable: no connection, it broke, or too much is waiting already.
            CommandError: the server refused; `.code` is the first word of its answer.
            ConfigurationError: a bad argument, or a command that a shared connection cannot take.
            WrongLoop: first used on another event loop.
        """
        # A future knows the running loop; as in RedisClient.execute.
        future: Future[Any] = Future()
        if future.get_loop() is not self._loop:
            self._bind()
        limit = self._deadline if deadline is None else seconds(deadline, option="deadline")
        if self._pooled:
            wire = packed_shared(args)
            self._lane().submit((wire,), len(wire), limit, future)
        else:
            command = pack(args)
            lane = self._lane(self._node_of(command))
            lane.submit((command,), _size(command), limit, future)
        reply = await future
        if type(reply) is bytes:
            return reply
        reply = translate(reply, command_name(args[0]))
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def execute_many(
        self,
        commands: Sequence[Sequence[Argument]],
        *,
        return_errors: bool = False,
        deadline: Seconds | None = None,
    ) -> list[Reply]:
        """The replies to many commands, in order and in one round trip (one per cluster node).

        All replies are awaited before the first error is raised; with `return_errors` an error
        stands in its command's place instead.

        Raises:
            StoreError: as `execute` raises it.
            ConfigurationError: a bad argument or command; then nothing was sent.
            WrongLoop: first used on another event loop.
        """
        self._bind()
        commands = listed(commands)
        limit = self._deadline if deadline is None else seconds(deadline, option="deadline")
        if not commands:
            return []
        if self._pooled:
            wires = [packed_shared(command) for command in commands]
            replies = await self._join("", wires, limit)
        else:
            replies = await self._scattered([pack(command) for command in commands], limit)
        for place, command in enumerate(commands):
            replies[place] = translate(replies[place], command_name(command[0]))
        if not return_errors:
            raise_first(replies)
        return replies

    def script(self, lua: str) -> LuaScript:
        """A callable for a Lua script; nothing is sent yet.

        Raises:
            ConfigurationError: not the source of a script.
        """
        return LuaScript(self, lua)

    def pubsub(self) -> PubSub:
        """Publish and subscribe, on one connection of your client's pool: always the same object.

        The connection is taken for the first listener and given back by `aclose()`.

        Raises:
            ConfigurationError: over a `RedisCluster`.
        """
        if self._cluster is not None:
            raise ConfigurationError(
                "pubsub() over a RedisCluster: every node of a cluster passes on every message, so "
                "wrap() a redis.asyncio.Redis for one of its nodes instead"
            )
        return self._pubsub

    def tracking(
        self,
        *prefixes: str,
        on_key: Callable[[str], object],
        on_flush: Callable[[], object],
        on_lost: Callable[[], object] | None = None,
    ) -> Tracking:
        """Calls `on_key` with every key of these prefixes that anybody writes; see `Tracking`.

        Open it with `async with`. redis-py's asyncio client keeps the server's word on keys to
        itself, so it makes one RESP3 connection of our own to the same server, with the client's
        credentials and TLS settings.

        Args:
            prefixes: of the keys; `""` stands for all.
            on_key: called with each key.
            on_flush: called when every key may have been written.
            on_lost: called when the connection is lost; `on_flush` follows when there is another.

        Raises:
            ConfigurationError: bad prefixes or callbacks, or a client that cannot be followed: of a
                cluster, of Sentinel, or fakeredis. It says what works.
        """
        return Tracking(
            DriverOptions.of(self._client, deadline=self._deadline),
            prefixes=prefixes,
            on_key=on_key,
            on_flush=on_flush,
            on_lost=on_lost,
            observer=self._observer,
        )

    async def aclose(self) -> None:
        """Wait until all callers have their answer and let go of the event loop.

        The client stays open: it is yours. The adapter may be used again, on any loop.

        Raises:
            WrongLoop: in use on another event loop that still runs.
        """
        if self._loop is not None and not self._loop.is_closed():
            self._bind()
            await self._pubsub.aclose()
            for lane in self._lanes.values():
                await lane.drain()
        self._loop = None
        self._lanes = {}

    async def __aenter__(self) -> Self:
        self._bind()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _subscriber(self) -> DriverSubscriber:
        assert isinstance(self._client, Redis)  # noqa: S101 - pubsub() refuses the other
        return DriverSubscriber(self._client)

    def _bind(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return loop
        if self._loop is None:
            self._loop = loop
            self._warn_once()
        else:
            raise WrongLoop(
                "this wrapped Redis client was first used on another event loop: wrap one client "
                "per loop (after a fork, too), or `await aclose()` before the loops change"
            )
        return loop

    def _warn_once(self) -> None:
        if not self._warned and (timeout := _losing_cancellations(self._client)):
            emit(self._observer, CancellationEvent(source="redis", socket_timeout=timeout))
        self._warned = True

    def _node_of(self, command: Packed) -> str:
        return "" if self._cluster is None else _cluster.node_of(self._cluster, command)

    def _lane(self, node: str = "") -> Lane:
        """A lane per server, so that a dead cluster node holds up only its own commands."""
        lane = self._lanes.get(node)
        if lane is None:
            lane = self._lanes[node] = Lane(
                self._bind(), self._send, max_waiting=self._max_waiting, patience=self._deadline
            )
        return lane

    def _join(
        self, node: str, commands: Sequence[Any], limit: float
    ) -> "asyncio.Future[list[Any]]":
        """The replies to come of commands that leave together."""
        future: Future[list[Any]] = Future()
        slot = Many(future, len(commands), own_deadline=True)
        self._lane(node).submit(commands, sum(map(_size, commands)), limit, slot)
        return future

    async def _scattered(self, commands: Sequence[Packed], limit: float) -> list[Any]:
        places: dict[str, list[int]] = {}
        for place, command in enumerate(commands):
            places.setdefault(self._node_of(command), []).append(place)
        pending = [
            (mine, self._join(node, [commands[place] for place in mine], limit))
            for node, mine in places.items()
        ]
        replies: list[Any] = [None] * len(commands)
        for mine, future in pending:
            for place, reply in zip(mine, await future, strict=True):
                replies[place] = reply
        return replies

    async def _send(self, commands: Sequence[Any]) -> Sequence[Any]:
        if self._cluster is not None:
            return await _cluster.send(self._cluster, commands)
        client: Any = self._client
        if self._pooled:
            return await _pooled.send(client, commands)
        if len(commands) == 1:
            # A pipeline of one costs a third more. Response callbacks are found by the name as
            # text; as bytes it has none, and the reply stays what the server sent.
            ((name, *arguments),) = commands
            return [await client.execute_command(name.encode(), *arguments)]
        pipeline = client.pipeline(transaction=False)
        pipeline.parse_response = _reply
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)  # type: ignore[no-any-return]


async def _reply(connection: Any, _name: object, **_options: object) -> Any:
    """The next reply as the server sent it, instead of what `Pipeline.parse_response` makes of it.

    Without a timeout, as the lane watches the time: one per reply takes 8 us of 36 (redis-py 8.1).
    """
    return await connection.read_response(timeout=math.inf)


def _size(command: Packed | bytes) -> int:
    return len(command) if isinstance(command, bytes) else sum(map(len, command))
