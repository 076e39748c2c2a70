"""Thousands of random reads, writes and cuts, held against what was written, and when.

Four processes are played by four stores with connections of their own, one for commands and one to
listen, each through a cable that is cut or falls silent at random. A fifth writer is another
program. Writes of one key follow one another, so that its versions are a history; each leaves a
marker, by which a store shows that it has heard of the write.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import product
from typing import Any, TypeAlias

import pytest

from symphonia_perf.cache import Entry, MemoryCacheStore, RedisCacheStore, TieredCacheStore
from symphonia_perf.errors import StoreError
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing import RedisServer
from tests.integration.cache.cable import Cable
from tests.integration.cache.patience import until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

KEYS = [f"cache:k{n}" for n in range(5)]
NEAR_TTL = 0.5
LENGTH = 2.5  # seconds
Store: TypeAlias = TieredCacheStore | RedisCacheStore


def tag(key: str) -> str:
    return key.replace("cache:", "cache:~tag:")


def marker(key: str, version: int) -> str:
    return f"{key.replace('cache:', 'cache:m:')}:{version}"


class History:
    """What was written, in the order of each key's versions."""

    def __init__(self) -> None:
        self.turns = {key: asyncio.Lock() for key in KEYS}
        self.begun = Counter[str]()  # of tagged entries this is the source, where they are loaded
        self.done = Counter[str]()
        self.counts = Counter[str]()


class Process:
    """One store, and what it has heard of."""

    def __init__(self, history: History, far: RedisCacheStore, ear: RedisClient) -> None:
        self.history = history
        self.store = TieredCacheStore(
            MemoryCacheStore(copy=False), far, near_ttl=NEAR_TTL, listen_on=ear
        )
        self.writing = asyncio.Lock()
        self.heard = Counter[str]()
        near = self.store._near
        changed, flush = near.changed, near.flush

        def on_changed(name: str) -> None:
            changed(name)
            if name.startswith("cache:m:"):
                key, _, version = name.replace(":m:", ":").rpartition(":")
                self.heard[key] = max(self.heard[key], int(version))

        def on_flush(*, hears: bool) -> None:
            flush(hears=hears)
            self.heard |= history.done  # it holds nothing that was written before

        def on_own(names: Sequence[str]) -> None:
            for name in names:  # also where it failed: nothing was heard by that
                changed(name)

        near.changed, near.flush = on_changed, on_flush  # type: ignore[method-assign]
        near.changed_many = on_own  # type: ignore[method-assign]

    async def read(self, key: str) -> None:
        """Read a key."""
        is_near = key in self.store._store._slots
        least = self.heard[key] if is_near else self.history.done[key]
        self.judge(key, least, await self.store.get_many([key]))
        self.history.counts["near" if is_near else "far"] += 1

    async def load(self, key: str) -> None:
        """Read a key whose entry has a tag, and load it where it is gone, as a cache does."""
        is_near, hears = key in self.store._store._slots, self.store.stats().listening
        least = self.heard[key] if hears else self.history.done[key]
        found = await self.store.get_many([key], [tag(key)])
        self.history.counts["near" if is_near else "far"] += 1
        if not self.judge(key, least, found):
            loaded = Entry(value=self.history.begun[key], ttl=60.0, tags=found.generations)
            await asyncio.sleep(0)
            await self.store.set_many({key: loaded})
            self.history.counts["loads"] += 1

    def judge(self, key: str, least: int, found: Any) -> bool:
        """Whether there was an entry; one that is too old fails the test."""
        entry = found.entries.get(key)
        if entry is None:
            return False
        assert entry.value >= least, f"{key}: read {entry.value}, had heard of {least}"
        self.history.counts["old, not heard of"] += entry.value < self.history.done[key]
        return True

    async def write(self, key: str, store: Store) -> None:
        """Write the next version of a key."""
        async with self._next(key, store) as version:
            mark = {marker(key, version): Entry(value=None, ttl=5.0)}
            await store.set_many({key: Entry(value=version, ttl=60.0), **mark})

    async def bump(self, key: str, store: Store) -> None:
        """Change the source of a key, and then bump its tag."""
        async with self._next(key, store) as version:
            await store.bump_tags([tag(key), marker(key, version)])

    @asynccontextmanager
    async def _next(self, key: str, store: Store) -> AsyncGenerator[int]:
        history = self.history
        # Lines are whole while something is written: a command that was lost with its line may be
        # executed late, and nobody could say when.
        async with history.turns[key], self.writing:
            history.begun[key] += 1
            version = history.begun[key]
            yield version
            history.done[key] = version
            if store is self.store:
                self.heard[key] = max(self.heard[key], version)
            history.counts["writes"] += 1


def ignore(_: object) -> None:
    """Connections come and go here."""


@asynccontextmanager
async def processes(url: str, history: History) -> AsyncGenerator[list[tuple[Process, Any]]]:
    port = int(url.rpartition(":")[2].partition("/")[0])
    quick: Any = {"reconnect_step": 0.01, "reconnect_most": 0.05, "observer": ignore}
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        found = []
        for _ in range(4):
            data, ear = await enter(Cable(port)), await enter(Cable(port))
            client = await enter(connect(data.url, deadline=5.0, **quick))
            listener = connect(ear.url, health_interval=0.1, connect_timeout=0.3, **quick)
            process = Process(history, RedisCacheStore(client), listener)
            await enter(process.store.listening("cache:"))
            found.append((process, (data, ear)))
        yield found


async def trouble(chance: random.Random, process: Process, data: Cable, ear: Cable) -> None:
    """Break something, and mend it after a while."""
    what = chance.choice(["ear", "ear", "silence", "data", "both", "unplug"])
    process.history.counts[what] += 1
    if what == "silence":
        ear.flows.clear()
        await asyncio.sleep(chance.uniform(0.02, 0.5))
        ear.flows.set()
        return
    ear.plugged = what != "unplug"
    if what in {"data", "both"}:
        async with process.writing:
            data.cut()
    if what != "data":
        ear.cut()
    await asyncio.sleep(chance.uniform(0.0, 0.2))
    ear.plugged = True


class Play:
    """Who does what, until it is over."""

    def __init__(self, history: History, program: RedisCacheStore, *, tagged: bool) -> None:
        self.chance = random.Random(1)
        self.history = history
        self.over = False
        self._program = program
        self._tagged = tagged

    def read(self, process: Process) -> Awaitable[None]:
        key = self.chance.choice(KEYS)
        return process.load(key) if self._tagged else process.read(key)

    def write(self, process: Process) -> Awaitable[None]:
        key = self.chance.choice(KEYS)
        store = self.chance.choice([self._program, process.store])
        return process.bump(key, store) if self._tagged else process.write(key, store)

    async def again(self, step: Callable[[], Awaitable[object]], pause: float) -> None:
        while not self.over:
            with suppress(StoreError):  # a line that was cut
                await step()
            await asyncio.sleep(self.chance.uniform(0.0, pause) if pause else 0)

    def start(self, group: asyncio.TaskGroup, process: Process, data: Cable, ear: Cable) -> None:
        for step, pause in (
            (lambda: self.read(process), 0.0),
            (lambda: self.read(process), 0.0),
            (lambda: self.write(process), 0.01),
            (lambda: trouble(self.chance, process, data, ear), 0.3),
        ):
            group.create_task(self.again(step, pause))


@pytest.mark.parametrize("tagged", [False, True])
async def test_no_read_is_older_than_what_was_heard(
    redis_server: RedisServer, *, tagged: bool
) -> None:
    redis_server.start()
    redis_server.resume()
    redis_server.ask("FLUSHALL")
    history = History()
    counts = history.counts
    async with (
        connect(redis_server.url, deadline=5.0) as direct,
        processes(redis_server.url, history) as found,
    ):
        play = Play(history, RedisCacheStore(direct), tagged=tagged)
        async with asyncio.TaskGroup() as group:
            for process, (data, ear) in found:
                play.start(group, process, data, ear)
            await asyncio.sleep(LENGTH)
            await until(lambda: counts["near"] > 1_000 and counts["far"] > 500)
            play.over = True
        for process, _ in found:
            await until(lambda process=process: process.store.stats().listening)
        await asyncio.sleep(NEAR_TTL)
        for process, key in product([process for process, _ in found], KEYS):
            last = (await process.store.get_many([key], [tag(key)])).entries
            assert [each.value for each in last.values()] in ([], [history.done[key]])
            assert tagged or last
    assert counts["writes"] > 50, counts
