"""What goes wrong besides outages: lost scripts, wrong clocks, large, odd and foreign values."""

import asyncio
import gc
import os
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from symphonia_perf._core.events import BypassEvent, CacheEvent, Event
from symphonia_perf.cache import (
    Cache,
    Entry,
    Lifetime,
    LoadOptions,
    MemoryCacheStore,
    RedisCacheStore,
)
from symphonia_perf.errors import LoadTimeout, NotEncodable, SymphoniaError
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


OFF = """
import sys, time

url, off = sys.argv[1], float(sys.argv[2])
wall, steady = time.time, time.monotonic
time.time, time.monotonic = lambda: wall() + off, lambda: steady() + off  # from the first import on

import asyncio
from symphonia_perf.cache import Cache, Lifetime, RedisCacheStore
from symphonia_perf.redis import connect

async def main():
    async with connect(url, deadline=5.0) as redis, Cache(RedisCacheStore(redis)) as cache:
        if len(sys.argv) == 3:
            await cache.set("k", "old", ttl=Lifetime(ttl=30, stale_for=30, jitter=0))
        else:
            await cache.get_or_load("k", load, ttl=30, stale_for=30)
            print(cache.stats().hits, cache.stats().stale)

async def load():
    return "loaded"

asyncio.run(main())
"""


@pytest.mark.parametrize("off", [-60.0, 60.0])
async def test_a_host_whose_clock_is_off_by_a_minute_changes_nothing(
    cache: Cache, redis: RedisClient, redis_server: RedisServer, off: float
) -> None:
    async def there(*more: str) -> str:
        words = (sys.executable, "-c", OFF, redis_server.url, str(off), *more)
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
        said, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0
        return said.decode().strip()

    soft = Lifetime(ttl=30, stale_for=30, jitter=0)
    await there()  # stored there, read here
    assert await cache.get_or_load("k", load, ttl=soft) == "old"
    assert (cache.stats().hits, cache.stats().stale) == (1, 0)
    await redis.execute("PEXPIRE", "cache:k", 29_000)  # half of its time is over, for everybody
    assert await there("read") == "0 1"
    assert await redis.execute("DEL", "cache:k") == 1
    await cache.set("k", "old", ttl=soft)  # stored here, read there
    assert await there("read") == "1 0"
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
        struct.pack(">Bd", 1, 60.0) + b"\x01\xa1x",  # earlier forms of ours
        struct.pack(">BBd", 2, 0, 60.0) + b"\x01\xa1x",
        msgspec.msgpack.encode([9, 60.0, "of a later version"]),
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


@pytest.mark.parametrize("end", ["raises", "hangs", "is cancelled", "its cache closes"])
async def test_a_loader_that_comes_to_nothing_gives_its_lease_back(
    cache: Cache, redis: RedisClient, end: str
) -> None:
    began = asyncio.Event()

    async def fail() -> str:
        began.set()
        if end == "raises":
            raise LookupError("no such plan")
        if end == "is cancelled":
            raise asyncio.CancelledError
        return await asyncio.Future()

    error = {"raises": LookupError, "hangs": LoadTimeout}.get(end, SymphoniaError)
    loading = LoadOptions(lock="distributed", lease=30.0)
    async with Cache(RedisCacheStore(redis), loading=loading) as first:
        callers = [
            asyncio.create_task(first.get_or_load("k", fail, timeout=0.2 if end == "hangs" else 60))
            for _ in range(10)
        ]
        await began.wait()
        # Another service waits for it, and loads as soon as it has come to nothing.
        waiting = asyncio.create_task(cache.get_or_load("k", load, lock="distributed"))
        if end != "its cache closes":
            found = await asyncio.gather(*callers, return_exceptions=True)
    if end == "its cache closes":
        found = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(each) for each in found] == [error] * 10
    assert await asyncio.wait_for(waiting, 10.0) == "loaded"  # the lease had twenty more


@pytest.mark.parametrize("lock", ["local", "distributed", "none"])
async def test_a_function_that_calls_itself_with_the_same_key_is_told(
    cache: Cache, lock: Any
) -> None:
    @cache.cached("fibonacci:{n}", lock=lock)
    async def fibonacci(n: int) -> int:
        return n if n < 2 else await fibonacci(n - 1) + await fibonacci(n - 2)

    @cache.cached("endless:{n}", lock=lock)
    async def endless(n: int) -> int:
        return (await asyncio.gather(endless(n)))[0]

    assert await fibonacci(20) == 6765
    with pytest.raises(SymphoniaError, match="'cache:endless:1' asks for 'cache:endless:1'"):
        await asyncio.wait_for(endless(1), 10.0)
    assert cache.stats().bypassed == 0


@pytest.mark.slow
async def test_a_million_keys_against_64_megabytes() -> None:
    bound = 64 * 2**20
    store = MemoryCacheStore(max_bytes=bound)
    entry = Entry(value="x" * 100, ttl=60.0)
    before = resident()
    gc.disable()  # it would take half of the time, and there is nothing to be found
    try:
        for start in range(0, 1_000_000, 10_000):
            keys = [f"cache:order:{n}" for n in range(start, start + 10_000)]
            await store.set_many(dict.fromkeys(keys, entry))
            assert store.size <= bound
    finally:
        gc.enable()
    grown = resident() - before
    assert store.peek("cache:order:999999") is not None
    assert store.peek("cache:order:0") is None
    assert store.evicted + len(store) == 1_000_000
    assert len(store) > 70_000
    assert grown < 2 * bound  # what it counts is what it takes, with the allocator's own share


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
