"""Every cache store of ours passes the suite that others' stores must pass."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis, RedisCluster

from symphonia_perf.cache import (
    CacheStore,
    MemoryCacheStore,
    RedisCacheStore,
    TieredCacheStore,
)
from symphonia_perf.redis import connect, wrap
from symphonia_perf.testing.cache_store import CacheStoreContract


class ManualClock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        raise AssertionError("a store must not ask for the wall clock")

    async def sleep(self, delay: float) -> None:
        self.now += delay


class TestMemory(CacheStoreContract):
    @pytest.fixture
    def store(self) -> CacheStore:
        self._clock = ManualClock()
        return MemoryCacheStore(clock=self._clock)

    async def advance(self, delay: float) -> None:
        self._clock.now += delay


class OnServer(CacheStoreContract):
    """The server's own clock has to be waited for."""

    async def advance(self, delay: float) -> None:
        await asyncio.sleep(delay)


class TestFakeRedis(OnServer):
    @pytest.fixture
    async def store(self) -> AsyncIterator[CacheStore]:
        async with FakeAsyncRedis() as client, wrap(client) as commands:
            yield RedisCacheStore(commands)


@pytest.mark.redis
class TestValkey(OnServer):
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[CacheStore]:
        async with Redis.from_url(redis_url) as client, wrap(client) as commands:
            yield RedisCacheStore(commands)


@pytest.mark.redis
class TestCluster(OnServer):
    @pytest.fixture
    async def store(self, redis_cluster: Any) -> AsyncIterator[CacheStore]:
        for node in redis_cluster.nodes:
            node.start()
            node.resume()
        redis_cluster.wait_until_ok()
        for node in redis_cluster.nodes:
            node.ask("FLUSHALL")
        driver = RedisCluster.from_url(redis_cluster.url, socket_timeout=None)
        async with driver, wrap(driver, deadline=5.0) as commands:
            yield RedisCacheStore(commands)


class TestTieredOverFakeRedis(OnServer):
    @pytest.fixture
    async def store(self) -> AsyncIterator[CacheStore]:
        async with FakeAsyncRedis() as client, wrap(client) as commands:
            far = RedisCacheStore(commands)
            store = TieredCacheStore(MemoryCacheStore(), far, invalidation="pubsub")
            async with store.listening(""):
                yield store


@pytest.mark.redis
class TestTiered(OnServer):
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[CacheStore]:
        async with connect(redis_url, deadline=5.0) as redis:
            store = TieredCacheStore(MemoryCacheStore(max_bytes=2**24), RedisCacheStore(redis))
            async with store.listening(""):
                yield store


def test_a_suite_without_its_clock_says_so() -> None:
    with pytest.raises(NotImplementedError):
        asyncio.run(CacheStoreContract().advance(1.0))
