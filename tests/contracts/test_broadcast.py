"""Every broadcast of ours passes the suite that others' broadcasts must pass."""

from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from symphonia_perf.redis import Broadcast, MemoryBroadcast, connect, wrap
from symphonia_perf.testing.broadcast import BroadcastContract


class TestMemory(BroadcastContract):
    @pytest.fixture
    def broadcast(self) -> Broadcast:
        return MemoryBroadcast()


class TestFakeRedis(BroadcastContract):
    @pytest.fixture
    async def broadcast(self) -> AsyncIterator[Broadcast]:
        async with FakeAsyncRedis() as client, wrap(client, deadline=10.0) as commands:
            yield commands.pubsub()


@pytest.mark.redis
@pytest.mark.parametrize("protocol", [2, 3])
class TestWrapped(BroadcastContract):
    @pytest.fixture
    async def broadcast(self, redis_url: str, protocol: int) -> AsyncIterator[Broadcast]:
        client = Redis.from_url(redis_url, protocol=protocol)
        async with client, wrap(client, deadline=10.0) as commands:
            yield commands.pubsub()


@pytest.mark.redis
@pytest.mark.parametrize("protocol", [2, 3])
class TestNative(BroadcastContract):
    @pytest.fixture
    async def broadcast(self, redis_url: str, protocol: int) -> AsyncIterator[Broadcast]:
        async with connect(f"{redis_url}?protocol={protocol}", deadline=10.0) as redis:
            yield redis.pubsub()
