"""What the tests of tiered stores share: a far server that can be held up, and its word on keys."""

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from fakeredis import FakeAsyncRedis

from symphonia_perf.cache import MemoryCacheStore, RedisCacheStore, TieredCacheStore
from symphonia_perf.errors import StoreUnavailable
from symphonia_perf.redis import wrap
from tests.unit.cache.far import Clock

__all__ = ["FakeServer", "FakeTracking", "tiered"]


class FakeTracking:
    """Tells what the test says."""

    def __init__(
        self,
        prefix: str,
        *,
        on_key: Callable[[str], object],
        on_flush: Callable[[], object],
        on_lost: Callable[[], object],
    ) -> None:
        self.prefix, self.tell, self._on_flush, self._on_lost = prefix, on_key, on_flush, on_lost
        self.active = False
        self.there = True  # whether there is a server when it is entered

    def connect(self) -> None:
        self.active = True
        self._on_flush()

    def flush(self) -> None:
        self._on_flush()

    def lose(self) -> None:
        self.active = False
        self._on_lost()

    async def __aenter__(self) -> Self:
        if self.there:
            self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.active = False


class FakeServer:
    """Executes commands over fakeredis, holds replies back, and fails when it is told to.

    Attributes:
        trips: by round trip, the keys that are read, and the names of other commands.
        answering: replies leave while it is set; the server has done the work before that.
        accepting: commands reach the server while it is set.
        fails: raised instead of the reply, after the work was done.
        tracked: by whoever tracks.
    """

    def __init__(self) -> None:
        self.commands = wrap(FakeAsyncRedis(), deadline=10.0)
        self.trips: list[list[Any]] = []
        self.answering, self.accepting = asyncio.Event(), asyncio.Event()
        self.answering.set()
        self.accepting.set()
        self.fails = False
        self.tracked: list[FakeTracking] = []
        self.refusal: Exception | None = None
        self.away = False

    async def execute(self, *args: Any, deadline: Any = None) -> Any:
        (reply,) = await self.execute_many([args], deadline=deadline)
        return reply

    async def execute_many(self, commands: Sequence[Any], **options: Any) -> list[Any]:
        reads = {"GET", "MGET"}
        words = (each[1:] if each[0] in reads else each[:1] for each in commands)
        self.trips.append([word for some in words for word in some])
        await self.accepting.wait()
        replies = await self.commands.execute_many(commands, **options)
        await self.answering.wait()
        if self.fails:
            raise StoreUnavailable("lost", store="redis", operation="any")
        return replies

    def script(self, lua: str) -> Any:
        return self.commands.script(lua)

    def pubsub(self) -> Any:
        return self.commands.pubsub()

    def tracking(self, prefix: str, **callbacks: Any) -> FakeTracking:
        if self.refusal is not None:
            raise self.refusal
        tracking = FakeTracking(prefix, **callbacks)
        tracking.there = not self.away
        self.tracked.append(tracking)
        return tracking

    @property
    def word(self) -> FakeTracking:
        """What tells the last one that tracks."""
        return self.tracked[-1]


def tiered(
    server: FakeServer, *, clock: Clock | None = None, near: Any = None, **options: Any
) -> TieredCacheStore:
    """A tiered store over the server."""
    clock = clock or Clock()
    return TieredCacheStore(
        MemoryCacheStore(clock=clock) if near is None else near,
        RedisCacheStore(server, clock=clock),
        clock=clock,
        **options,
    )
