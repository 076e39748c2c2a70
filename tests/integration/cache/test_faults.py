"""What goes wrong besides outages: lost scripts, wrong clocks, large, odd and foreign values."""

import asyncio
import os
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from symphonia_perf._core.events import BypassEvent, CacheEvent, Event
from symphonia_perf.cache import Cache, Lifetime, LoadOptions, MemoryCacheStore, RedisCacheStore
from symphonia_perf.errors import LoadTimeout, NotEncodable
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    redis_server.start()
    redis_server.resume()
    redis_server.ask("FLUSHALL")
    async with connect(redis_server.url, deadline=5.0) as redis:
        yield redis


@pytest.fixture
async def cache(redis: RedisClient, events: list[Event]) -> AsyncIterator[Cache]:
    async with Cache(RedisCacheStore(redis), observer=events.append) as cache:
        yield cache


async def load() -> str:
    return "loaded"


async def test_lost_scripts_cost_nothing(cache: Cache, redis: RedisClient) -> None:
    for n in range(3):
        await redis.execute("SCRIPT", "FLUSH")
        assert await cache.get_or_load(f"k{n}", load, lock="distributed") == "loaded"
    assert cache.stats().sets == 3
    assert cache.stats().bypassed == 0


async def test_a_flush_between_two_reads_is_a_miss_and_loses_no_invalidation(
    cache: Cache, redis: RedisClient
) -> None:
    go = asyncio.Event()

    async def slow() -> str:
        await go.wait()
        return "old"

    loading = asyncio.create_task(cache.get_or_load("k", slow, tags=["plans"]))
    while not await redis.execute("EXISTS", "cache:~tag:plans"):  # noqa: ASYNC110 - on a server
        await asyncio.sleep(0.01)
    await redis.execute("FLUSHALL")  # the generations go with the entries
    go.set()
    assert await loading == "old"
    assert await cache.get_or_load("k", load, tags=["plans"]) == "loaded"


@pytest.mark.parametrize("skew", [-60.0, 60.0])
async def test_a_wall_clock_that_is_off_changes_nothing(
    cache: Cache, redis: RedisClient, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    soft = Lifetime(ttl=30, stale_for=30, jitter=0)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + skew)
    await cache.set("k", "old", ttl=soft)
    monkeypatch.undo()
    assert await cache.get_or_load("k", load, ttl=soft) == "old"
    assert (cache.stats().hits, cache.stats().stale) == (1, 0)
    # Half of its time is over for the server: it is stale for everybody.
    await redis.execute("PEXPIRE", "cache:k", 29_000)
    assert await cache.get_or_load("k", load, ttl=soft) == "old"
    assert (cache.stats().hits, cache.stats().stale) == (1, 1)


@pytest.mark.parametrize("value", [os.urandom(10 * 2**20), ["x" * 1000] * 10_000], ids=type)
async def test_ten_megabytes_come_back(redis: RedisClient, value: Any) -> None:
    for store in (RedisCacheStore(redis), RedisCacheStore(redis, compress_above=10_000)):
        async with Cache(store) as cache:
            await cache.set("big", value)
            assert await cache.get("big") == value
            assert await cache.delete("big")


async def test_what_cannot_be_stored_is_returned_and_told(
    cache: Cache, redis: RedisClient, events: list[Event]
) -> None:
    async def load_object() -> object:
        return object

    for _ in range(2):
        assert await cache.get_or_load("k", load_object) is object
    told = [event for event in events if isinstance(event, BypassEvent)]
    assert [type(event.error) for event in told] == [NotEncodable] * 2
    assert await redis.execute("EXISTS", "cache:k") == 0


async def test_entries_of_other_versions_and_other_programs_are_misses(
    cache: Cache, redis: RedisClient, events: list[Event]
) -> None:
    foreign = [
        struct.pack(">Bd", 1, 60.0) + b"\x01\xa1x",  # an earlier form of ours
        b"\xff" * 20,
        b'{"plans": []}',
        b"",
    ]
    for n, data in enumerate(foreign):
        await redis.execute("SET", f"cache:k{n}", data)
        assert await cache.get_or_load(f"k{n}", load) == "loaded"
        assert await cache.get(f"k{n}") == "loaded"
    await redis.execute("RPUSH", "cache:list", "x")
    assert await cache.get_or_load("list", load) == "loaded"
    assert cache.stats().corrupt == len(foreign)
    told = [e.key for e in events if isinstance(e, CacheEvent) and e.kind == "corrupt"]
    assert told == [f"cache:k{n}" for n in range(len(foreign))]


async def test_thousands_of_keys_go_by_pattern_in_slices(cache: Cache, redis: RedisClient) -> None:
    await cache.set_many({f"plan:{n}": n for n in range(2_500)})
    await redis.execute("SET", "plan:1", "somebody else's")
    before = str(await redis.execute("INFO", "commandstats"))
    assert await cache.invalidate_pattern("plan:1*") == 1_111
    assert await cache.clear() == 2_500 - 1_111
    assert await redis.execute("DBSIZE") == 1
    after = str(await redis.execute("INFO", "commandstats"))
    assert "cmdstat_scan" in after
    assert "cmdstat_keys" not in before + after


async def test_frozen_while_it_waits_for_its_turn_it_loads_itself(
    redis_server: RedisServer, redis: RedisClient
) -> None:
    del redis
    async with (
        connect(redis_server.url, deadline=0.2) as impatient,
        Cache(
            RedisCacheStore(impatient),
            loading=LoadOptions(lock="distributed"),
            observer=lambda _: None,
        ) as cache,
    ):
        holder = RedisCacheStore(impatient).lease("cache:k", 30.0)
        assert await holder.acquire()
        waiting = asyncio.create_task(cache.get_or_load("k", load))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        redis_server.pause()
        try:
            async with asyncio.timeout(5):
                assert await waiting == "loaded"
        finally:
            redis_server.resume()
        await holder.release()


async def test_a_loader_that_hangs_gives_its_lease_back(cache: Cache) -> None:
    with pytest.raises(LoadTimeout):
        await cache.get_or_load("k", asyncio.Event().wait, lock="distributed", timeout=0.2)
    async with asyncio.timeout(5):
        assert await cache.get_or_load("k", load, lock="distributed") == "loaded"


@pytest.mark.slow
async def test_a_million_keys_against_64_megabytes() -> None:
    bound = 64 * 2**20
    store = MemoryCacheStore(max_bytes=bound)
    async with Cache(store) as cache:
        for start in range(0, 1_000_000, 10_000):
            await cache.set_many({f"order:{n}": n for n in range(start, start + 10_000)})
            assert store.size <= bound
        assert await cache.get("order:999999") == 999_999
        assert await cache.get("order:0") is None
    assert store.evicted + len(store) == 1_000_000
