"""Two tiers over a real server: who is heard, what a loss does, and who may not listen."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from symphonia_perf.cache import Cache, Entry, MemoryCacheStore, RedisCacheStore, TieredCacheStore
from symphonia_perf.errors import ConfigurationError, StoreError
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing import RedisServer
from tests.integration.cache.cable import Cable
from tests.integration.cache.patience import until
from tests.unit.cache.far import Clock

pytestmark = pytest.mark.redis


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    redis_server.start()
    redis_server.resume()
    redis_server.ask("FLUSHALL")
    async with connect(redis_server.url, deadline=5.0) as redis:
        yield redis


@asynccontextmanager
async def tiered(redis: RedisClient, **options: Any) -> AsyncGenerator[TieredCacheStore]:
    """As in a process of its own."""
    store = TieredCacheStore(MemoryCacheStore(), RedisCacheStore(redis), **options)
    async with store.listening("cache:"):
        await until(lambda: store.stats().listening)
        yield store


def plain(value: Any, ttl: float = 600.0) -> Entry:
    return Entry(value=value, ttl=ttl)


async def near(store: TieredCacheStore, key: str = "cache:k") -> Any:
    """The value under the key, which is near from now on."""
    async with asyncio.timeout(10):
        while True:
            found = await store.get_many([key])
            if store.peek(key) is not None:
                return found.entries[key].value
            await asyncio.sleep(0)  # the word of the write was on its way


async def gone(store: TieredCacheStore, key: str = "cache:k") -> None:
    await until(lambda: store.peek(key) is None)


@pytest.mark.parametrize("invalidation", ["tracking", "pubsub"])
async def test_whatever_one_writes_leaves_every_near_tier(
    redis: RedisClient, invalidation: Any
) -> None:
    async with (
        tiered(redis, invalidation=invalidation) as one,
        tiered(redis, invalidation=invalidation) as other,
    ):
        for change in (
            lambda: one.set_many({"cache:k": plain("new")}),
            lambda: one.delete_many(["cache:k"]),
            lambda: one.delete_matching("cache:*"),
            lambda: one.bump_tags(["cache:~tag:t"]),
        ):
            tags = (await one.get_many([], ["cache:~tag:t"])).generations
            await one.set_many({"cache:k": plain("old")._replace(tags=tags)})
            assert [await near(store) for store in (one, other)] == ["old", "old"]
            await change()
            assert one.peek("cache:k") is None
            await gone(other)


async def test_any_program_is_heard_and_so_are_expiry_eviction_and_flushes(
    redis: RedisClient,
) -> None:
    async with tiered(redis) as store:
        for command in (
            ("SET", "cache:k", "x"),
            ("DEL", "cache:k"),
            ("EXPIRE", "cache:k", 1000),
            ("RENAME", "cache:k", "other"),
            ("FLUSHDB",),
            ("FLUSHALL", "ASYNC"),
        ):
            await store.set_many({"cache:k": plain("old")})
            assert await near(store) == "old"
            await redis.execute(*command)
            await gone(store)
        # By the server's clock, and not by ours, which stands still.
        frozen = TieredCacheStore(
            MemoryCacheStore(clock=Clock()), RedisCacheStore(redis, clock=Clock()), clock=Clock()
        )
        async with frozen.listening("cache:"):
            await frozen.set_many({"cache:k": plain("short", ttl=0.3)})
            assert await near(frozen) == "short"
            await gone(frozen)
        # Tags' generations are keys like others: evicted, their entries are gone.
        tags = (await store.get_many([], ["cache:~tag:t"])).generations
        await store.set_many({"cache:k": plain("old")._replace(tags=tags)})
        assert await near(store) == "old"
        await redis.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        await redis.execute("CONFIG", "SET", "maxmemory", "1")
        try:
            await gone(store)
        finally:
            await redis.execute("CONFIG", "SET", "maxmemory", "0")
            await redis.execute("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert (await store.get_many(["cache:k"], ["cache:~tag:t"])).entries == {}


async def test_the_tracking_connection_killed_alone(redis: RedisClient) -> None:
    async with tiered(redis) as store:
        await store.set_many({"cache:k": plain("old")})
        assert await near(store) == "old"
        for line in (await redis.execute("CLIENT", "LIST")).decode().splitlines():
            fields = dict(field.split("=", 1) for field in line.split())
            if "t" in fields["flags"]:
                await redis.execute("CLIENT", "KILL", "ID", fields["id"])
        await until(lambda: not store.stats().listening)
        assert store.peek("cache:k") is None
        await RedisCacheStore(redis).set_many({"cache:k": plain("new")})
        assert (await store.get_many(["cache:k"])).entries["cache:k"].value == "new"
        await until(lambda: store.stats().listening)
        assert await near(store) == "new"
        assert store.stats().flushes == 1


async def test_a_line_that_falls_silent_is_noticed(redis: RedisClient) -> None:
    port = int(redis._options.url.rpartition(":")[2].partition("/")[0])
    async with (
        Cable(port) as cable,
        connect(cable.url, health_interval=0.1, connect_timeout=0.5, reconnect_step=0.01) as ear,
        tiered(redis, listen_on=ear) as store,
    ):
        await store.set_many({"cache:k": plain("old")})
        assert await near(store) == "old"
        cable.flows.clear()
        await RedisCacheStore(redis).set_many({"cache:k": plain("new")})
        await gone(store)
        assert not store.stats().listening
        assert (await store.get_many(["cache:k"])).entries["cache:k"].value == "new"
        cable.flows.set()
        await until(lambda: store.stats().listening)
        assert await near(store) == "new"


@pytest.mark.parametrize("invalidation", ["tracking", "pubsub"])
async def test_a_server_that_is_killed_and_comes_back_empty(
    redis_server: RedisServer, redis: RedisClient, invalidation: Any
) -> None:
    del redis
    async with (
        connect(redis_server.url, deadline=0.3, reconnect_step=0.01) as client,
        tiered(client, invalidation=invalidation) as store,
    ):
        tags = (await store.get_many([], ["cache:~tag:t"])).generations
        await store.set_many({"cache:k": plain("old")._replace(tags=tags)})
        assert await near(store) == "old"
        redis_server.kill()
        await gone(store)
        with pytest.raises(StoreError):
            await store.get_many(["cache:k"])
        assert not store.stats().listening
        redis_server.start()
        await until(lambda: store.stats().listening)
        async with asyncio.timeout(10):
            while True:
                try:
                    found = await store.get_many(["cache:k"], ["cache:~tag:t"])
                    break
                except StoreError:
                    await asyncio.sleep(0.01)
        assert found.entries == {}
        assert found.generations != tags


async def test_a_cache_starts_without_its_server(redis_server: RedisServer) -> None:
    redis_server.kill()
    async with (
        connect(redis_server.url, deadline=0.3, reconnect_step=0.01) as client,
        Cache(
            (store := TieredCacheStore(MemoryCacheStore(), RedisCacheStore(client))),
            observer=lambda _: None,
            breaker=None,
        ) as cache,
    ):

        async def load() -> str:
            return "loaded"

        assert await cache.get_or_load("k", load) == "loaded"
        assert cache.peek("k") is None
        redis_server.start()
        await until(lambda: store.stats().listening)
        async with asyncio.timeout(10):
            while cache.peek("k") is None:
                assert await cache.get_or_load("k", load) == "loaded"
                await asyncio.sleep(0.01)


async def test_who_may_not_track_is_told_what_to_do(
    redis_server: RedisServer, redis: RedisClient
) -> None:
    await redis.execute("ACL", "SETUSER", "blind", "on", ">pw", "+@all", "~*", "&*",
                        "-client|tracking")  # fmt: skip
    blind = redis_server.url.replace("redis://", "redis://blind:pw@")
    for url, said in ((blind, "NOPERM"), (f"{redis_server.url}?protocol=2", "RESP3")):
        async with connect(url, deadline=5.0) as client:
            with pytest.raises(ConfigurationError, match=f'{said}.*invalidation="pubsub"'):
                async with tiered(client):
                    pass
            async with tiered(client, invalidation="pubsub") as store:
                await store.set_many({"cache:k": plain(1)})
                assert await near(store) == 1
    await redis.execute("ACL", "DELUSER", "blind")


async def test_a_hundred_readers_of_a_changing_key_share_what_is_near(redis: RedisClient) -> None:
    async with tiered(redis) as store, tiered(redis) as writer:
        reads: list[int] = []
        done = asyncio.Event()

        async def read() -> None:
            last = -1
            while not done.is_set():
                entry = (await store.get_many(["cache:k"])).entries.get("cache:k")
                if entry is not None:
                    assert entry.value >= last  # never back to an older one
                    last = entry.value
                    reads.append(last)
                await asyncio.sleep(0)

        readers = [asyncio.create_task(read()) for _ in range(100)]
        for n in range(200):
            await writer.set_many({"cache:k": plain(n)})
        await until(lambda: reads[-100:] == [199] * 100)
        done.set()
        await asyncio.gather(*readers)
        assert await near(store) == 199
