"""A Redis that dies, freezes and comes back under a cache in use."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from symphonia_perf._core.events import BypassEvent, Event
from symphonia_perf.cache import Cache, RedisCacheStore
from symphonia_perf.redis import wrap
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
