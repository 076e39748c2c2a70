"""A Redis that dies, freezes and comes back under a cache in use."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from symphonia_perf._core.events import BreakerEvent, BypassEvent, Event
from symphonia_perf.cache import BreakerOptions, Cache, RedisCacheStore
from symphonia_perf.errors import StoreTimeout, StoreUnavailable
from symphonia_perf.redis import connect, wrap
from symphonia_perf.testing import RedisServer

pytestmark = pytest.mark.redis

DEADLINE = 0.2
# What a loaded machine may add to the deadline before this test calls it a hang.
SLACK = 1.5


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def cache(redis_server: RedisServer, events: list[Event]) -> AsyncIterator[Cache]:
    redis_server.start()
    redis_server.resume()
    redis_server.ask("FLUSHALL")
    client = Redis.from_url(redis_server.url, retry=Retry(NoBackoff(), 0))
    commands = wrap(client, deadline=DEADLINE)
    async with client, commands, Cache(RedisCacheStore(commands), observer=events.append) as cache:
        yield cache
        # Whatever the test did to the server, the next one finds it well.
        redis_server.resume()
        redis_server.start()


async def ask(cache: Cache, key: str) -> tuple[str, float]:
    """The answer, and how long it took."""

    async def load() -> str:
        return f"loaded {key}"

    started = time.monotonic()
    value = await cache.get_or_load(key, load)
    return value, time.monotonic() - started


async def caches_again(cache: Cache) -> None:
    """Wait until a result is kept."""
    for _ in range(200):
        await ask(cache, "again")
        if await cache.get("again") == "loaded again":
            return
        await asyncio.sleep(0.05)
    pytest.fail("nothing was cached within ten seconds")


async def storm(cache: Cache, prefix: str) -> None:
    """Fifty requests at once are all answered, by the loader, within the deadline."""
    answers = await asyncio.gather(*(ask(cache, f"{prefix}:{n}") for n in range(50)))
    assert [value for value, _ in answers] == [f"loaded {prefix}:{n}" for n in range(50)]
    assert max(took for _, took in answers) < DEADLINE + SLACK


async def test_killed_under_load_and_restarted(
    cache: Cache, events: list[Event], redis_server: RedisServer
) -> None:
    await storm(cache, "up")
    assert cache.stats().sets == 50
    going = asyncio.create_task(storm(cache, "during"))
    await asyncio.sleep(0)
    redis_server.kill()
    await going
    await storm(cache, "down")
    assert cache.stats().bypassed >= 50
    assert await cache.delete("up:1") is False
    assert {event.operation for event in events if isinstance(event, BypassEvent)} >= {
        "get",
        "delete",
    }
    redis_server.start()
    await caches_again(cache)


async def test_frozen_under_load_and_resumed(cache: Cache, redis_server: RedisServer) -> None:
    await storm(cache, "up")
    redis_server.pause()
    try:
        await storm(cache, "frozen")
        bypassed = cache.stats().bypassed
        assert bypassed >= 50
    finally:
        redis_server.resume()
    await caches_again(cache)
    await storm(cache, "after")


class Traffic:
    """Requests of every kind, without a pause, until the block ends."""

    WORKERS, KEYS = 20, 40

    def __init__(self, cache: Cache) -> None:
        self.cache, self.slowest, self.wrong, self.answers = cache, 0.0, 0, 0
        options: list[dict[str, Any]] = [
            *({}, {"tags": ["all", "key:{n}"]}, {"stale_for": 60}, {"lock": "distributed"}),
            {"tags": ["all"], "lock": "distributed", "stale_for": 1, "ttl": 0.2},
        ]
        self.functions = [
            cache.cached(f"f{place}:{{n}}", **each)(self.load) for place, each in enumerate(options)
        ]

    async def load(self, n: int) -> str:
        await asyncio.sleep(0.001)
        return f"loaded {n}"

    async def work(self, number: int) -> None:
        while True:
            number += 1
            n, call = number % self.KEYS, self.functions[number % len(self.functions)]
            began = time.monotonic()
            if number % 97 == 0:
                await self.cache.invalidate_tags(["all"])
            self.wrong += await call(n) != f"loaded {n}"
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.answers += 1

    async def __aenter__(self) -> Self:
        self.tasks = [asyncio.create_task(self.work(7 * n)) for n in range(self.WORKERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        failed = [task for task in self.tasks if task.done()]
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for task in failed:
            task.result()

    async def flows(self, *, hits: bool) -> None:
        """Wait until so many more requests were answered, and so many by the cache."""
        answers, found = self.answers, self.cache.stats().hits
        for _ in range(1_000):
            if self.answers >= answers + 200 and (not hits or self.cache.stats().hits > found + 50):
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{self.answers - answers} answers in ten seconds")


async def test_under_load_nothing_of_that_breaks_a_request(
    redis_server: RedisServer, events: list[Event]
) -> None:
    redis_server.start()
    redis_server.resume()
    options = BreakerOptions(pause=PAUSE)
    try:
        async with (
            connect(redis_server.url, deadline=DEADLINE, reconnect_most=0.1) as redis,
            Cache(RedisCacheStore(redis), breaker=options, observer=events.append) as cache,
            Traffic(cache) as traffic,
        ):
            await traffic.flows(hits=True)
            redis_server.kill()
            await traffic.flows(hits=False)
            redis_server.start()
            await traffic.flows(hits=True)
            redis_server.pause()
            await traffic.flows(hits=False)
            redis_server.resume()
            await traffic.flows(hits=True)
            for command in (
                ("FLUSHALL",),
                ("SCRIPT", "FLUSH"),
                ("CLIENT", "KILL", "TYPE", "normal"),
            ):
                for _ in range(3):
                    redis_server.ask(*command)
                    await traffic.flows(hits=False)
                await traffic.flows(hits=True)
    finally:
        redis_server.resume()
        redis_server.start()
    assert traffic.wrong == 0
    # A look, a lease, a look, a set and a release: each may wait for a deadline of its own.
    assert traffic.slowest < 5 * DEADLINE + SLACK
    assert {event.kind for event in events if isinstance(event, BreakerEvent)} == {
        *("opened", "closed"),
    }


async def test_flushed(cache: Cache, redis_server: RedisServer) -> None:
    assert (await ask(cache, "a"))[0] == "loaded a"
    redis_server.ask("FLUSHALL")
    assert await cache.get("a") is None
    await caches_again(cache)


async def test_a_stampede_over_a_real_server_loads_once(cache: Cache) -> None:
    runs = 0

    @cache.cached("plan:{plan_id}")
    async def load_plan(plan_id: str) -> str:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.05)
        return plan_id

    callers = [asyncio.create_task(load_plan("1")) for _ in range(1000)]
    await asyncio.sleep(0.01)
    callers[0].cancel()
    assert await asyncio.gather(*callers[1:]) == ["1"] * 999
    assert runs == 1
    assert callers[0].cancelled()


async def test_two_services_share_what_one_loaded(cache: Cache, redis_server: RedisServer) -> None:
    await ask(cache, "shared")
    async with (
        Redis.from_url(redis_server.url) as client,
        wrap(client) as commands,
        Cache(RedisCacheStore(commands)) as other,
    ):
        assert await other.get("shared") == "loaded shared"
        assert await other.delete("shared")
    assert await cache.get("shared") is None


PAUSE = 0.3


@pytest.fixture
async def broken(redis_server: RedisServer, events: list[Event]) -> AsyncIterator[Cache]:
    """A cache whose test breaks the server."""
    redis_server.start()
    redis_server.resume()
    redis_server.ask("FLUSHALL")
    options = BreakerOptions(pause=PAUSE)
    async with (
        connect(redis_server.url, deadline=DEADLINE, reconnect_most=0.1) as redis,
        Cache(RedisCacheStore(redis), breaker=options, observer=events.append) as cache,
    ):
        await ask(cache, "k")
        yield cache
        redis_server.resume()
        redis_server.start()


async def until_open(cache: Cache) -> int:
    """Ask one after the other until the breaker opens; how many it took."""
    for count in range(1, 200):
        assert (await ask(cache, "k"))[0] == "loaded k"
        if cache.stats().breaker == "open":
            return count
        await asyncio.sleep(0.01)
    pytest.fail("the breaker stayed closed")


def turns(events: list[Event]) -> list[str]:
    return [event.kind for event in events if isinstance(event, BreakerEvent)]


async def test_frozen_it_is_asked_a_few_times_and_then_not_waited_for(
    broken: Cache, events: list[Event], redis_server: RedisServer
) -> None:
    redis_server.pause()
    assert await until_open(broken) == 3
    asked = sum(isinstance(e, BypassEvent) and isinstance(e.error, StoreTimeout) for e in events)
    assert asked == 3
    # Half a minute of waiting, were each of them to ask: only probes do.
    started = time.monotonic()
    for _ in range(150):
        await ask(broken, "k")
    took = time.monotonic() - started
    probes = sum(isinstance(e, BypassEvent) and isinstance(e.error, StoreTimeout) for e in events)
    assert probes - asked <= took / PAUSE + 1
    assert turns(events) == ["opened"]
    redis_server.resume()
    await caches_again(broken)
    assert broken.stats().breaker == "closed"
    assert turns(events) == ["opened", "closed"]


async def test_killed_and_restarted_it_opens_and_closes(
    broken: Cache, events: list[Event], redis_server: RedisServer
) -> None:
    redis_server.kill()
    await until_open(broken)
    answers = await asyncio.gather(*(ask(broken, f"k{n}") for n in range(50)))
    assert [value for value, _ in answers] == [f"loaded k{n}" for n in range(50)]
    redis_server.start()
    await caches_again(broken)
    assert turns(events) == ["opened", "closed"]


async def test_a_connection_cut_under_load_is_no_outage(redis_server: RedisServer) -> None:
    redis_server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", redis_server.port)
    writer.write(b"PING\r\n")
    await reader.readline()
    async with (
        connect(redis_server.url, deadline=5.0) as redis,
        # More patience than a loaded machine needs to connect again.
        Cache(RedisCacheStore(redis), breaker=BreakerOptions(lasting=5)) as cache,
    ):
        # What the frozen server will read first cuts the connection the reads came on.
        redis_server.pause()
        writer.write(b"CLIENT KILL TYPE normal SKIPME yes\r\n")
        await writer.drain()
        going = [asyncio.create_task(ask(cache, "cut")) for _ in range(50)]
        await asyncio.sleep(0.01)
        redis_server.resume()
        assert [value for value, _ in await asyncio.gather(*going)] == ["loaded cut"] * 50
        assert cache.stats().bypassed == 50
        assert cache.stats().breaker == "closed"
        await caches_again(cache)
        assert cache.stats().opened == 0
    writer.close()
    await writer.wait_closed()


async def test_with_raise_an_open_breaker_says_so(redis_server: RedisServer) -> None:
    redis_server.start()
    async with (
        connect(redis_server.url, deadline=DEADLINE) as redis,
        Cache(RedisCacheStore(redis), on_error="raise") as cache,
    ):
        await cache.set("k", 1)
        redis_server.pause()
        try:
            for _ in range(3):
                with pytest.raises(StoreTimeout):
                    await cache.get("k")
            with pytest.raises(StoreUnavailable, match="breaker is open after StoreTimeout: MGET"):
                await cache.get("k")
        finally:
            redis_server.resume()


async def test_a_full_memory_opens_nothing(broken: Cache, redis_server: RedisServer) -> None:
    redis_server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        for n in range(30):
            await ask(broken, f"full:{n}")
            await asyncio.sleep(0.01)
        assert broken.stats().bypassed == 30  # writes, which the server refused
        assert broken.stats().opened == 0
        assert await broken.get("k") == "loaded k"
    finally:
        redis_server.ask("CONFIG", "SET", "maxmemory", "0")
