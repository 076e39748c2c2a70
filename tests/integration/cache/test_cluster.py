"""A cache over redis-py's RedisCluster, on three primaries."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from redis.asyncio import RedisCluster

from symphonia_perf._core.events import Event
from symphonia_perf.cache import (
    Cache,
    ChangeStreamInvalidator,
    InvalidationRules,
    MemoryCacheStore,
    RedisCacheStore,
    TieredCacheStore,
    on,
)
from symphonia_perf.errors import CommandError
from symphonia_perf.redis import connect, wrap
from tests.integration.cache.patience import until

pytestmark = pytest.mark.redis

RULES = InvalidationRules(on("plan.changed", delete=["plan:{id}"], match=["plans:list*"]))


@pytest.fixture
async def nodes(redis_cluster: Any) -> AsyncIterator[tuple[Any, ...]]:
    for node in redis_cluster.nodes:
        node.start()
        node.resume()
    redis_cluster.wait_until_ok()
    for node in redis_cluster.nodes:
        node.ask("FLUSHALL")
    yield redis_cluster.nodes
    for node in redis_cluster.nodes:
        node.resume()


@pytest.fixture
async def client(nodes: tuple[Any, ...]) -> AsyncIterator[RedisCluster]:
    async with RedisCluster.from_url(nodes[0].url, socket_timeout=None) as client:
        yield client


@pytest.fixture
async def cache(client: RedisCluster) -> AsyncIterator[Cache]:
    async with (
        wrap(client, deadline=5.0) as redis,
        Cache(RedisCacheStore(redis), rules=RULES, on_error="raise") as cache,
    ):
        yield cache


def held(nodes: tuple[Any, ...]) -> list[int]:
    return [int(node.ask("DBSIZE")) for node in nodes]


async def test_keys_of_all_nodes_are_one_cache(cache: Cache, nodes: tuple[Any, ...]) -> None:
    values = {f"plan:{n}": {"id": n} for n in range(100)}
    await cache.set_many(values)
    assert min(held(nodes)) > 10
    assert await cache.get_many([*values, "plan:none"]) == values
    assert await cache.delete_many([*list(values)[:50], "plan:none"]) == 50
    assert set(await cache.get_many(values)) == set(list(values)[50:])
    await cache.changed("plan.changed", id=99)
    assert await cache.get("plan:99") is None


async def test_tags_and_leases_reach_every_node(cache: Cache) -> None:
    runs = 0

    @cache.cached("order:{n}", tags=["orders", "order:{n}"], lock="distributed", stale_for=60)
    async def load(n: int) -> int:
        nonlocal runs
        runs += 1
        return n

    for _ in range(2):
        assert await asyncio.gather(*(load(n) for n in range(30))) == list(range(30))
    assert runs == 30
    await cache.invalidate_tags(["order:7"])
    await asyncio.gather(*(load(n) for n in range(30)))
    assert runs == 31
    await cache.invalidate_tags(["orders"])
    await asyncio.gather(*(load(n) for n in range(30)))
    assert runs == 61


async def test_patterns_walk_through_every_primary(
    cache: Cache, client: RedisCluster, nodes: tuple[Any, ...]
) -> None:
    await cache.set_many({f"plan:{n}": n for n in range(2_000)})
    await cache.set("plans:list:all", [1])
    await asyncio.gather(*(client.set(f"plan:{n}", "somebody else's") for n in range(10)))
    assert await cache.invalidate_pattern("plan:1*") == 1_111
    await cache.changed("plan.changed", id=0)
    assert await cache.get("plans:list:all") is None
    assert await cache.clear() == 2_000 - 1_111 - 1
    assert sum(held(nodes)) == 10
    assert not any("cmdstat_keys" in str(node.ask("INFO", "commandstats")) for node in nodes)


async def test_who_may_not_walk_is_told(nodes: tuple[Any, ...]) -> None:
    for node in nodes:
        node.ask("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-eval", "-scan")
    url = nodes[0].url.replace("redis://", "redis://app:secret@")
    async with (
        RedisCluster.from_url(url, socket_timeout=None) as client,
        wrap(client, deadline=5.0) as redis,
        Cache(RedisCacheStore(redis), on_error="raise") as cache,
    ):
        with pytest.raises(CommandError, match="no permissions to run the 'eval'"):
            await cache.clear()
    for node in nodes:
        node.ask("ACL", "DELUSER", "app")


async def test_a_frozen_node_holds_up_only_its_own_keys(
    client: RedisCluster, nodes: tuple[Any, ...]
) -> None:
    events: list[Event] = []
    deadline = 0.3

    async def load() -> str:
        return "loaded"

    async with (
        wrap(client, deadline=deadline) as redis,
        Cache(RedisCacheStore(redis), observer=events.append) as cache,
    ):
        keys = [f"plan:{n}" for n in range(60)]
        await cache.set_many(dict.fromkeys(keys, "cached"))
        frozen = nodes[1]
        theirs = {
            key
            for key in keys
            if (node := client.get_node_from_key(f"cache:{key}")) and node.port == frozen.port
        }
        assert 5 < len(theirs) < 40
        frozen.pause()
        try:
            async with asyncio.timeout(deadline + 3.0):
                found = await asyncio.gather(*(cache.get_or_load(key, load) for key in keys))
        finally:
            frozen.resume()
    expected = ["loaded" if key in theirs else "cached" for key in keys]
    assert found == expected
    assert cache.stats().breaker == "closed"  # most answers came


@pytest.mark.parametrize("tiered", [False, True])
async def test_a_watcher_and_clear_beside_it_reach_every_node(
    client: RedisCluster, nodes: tuple[Any, ...], mongo_url: str, *, tiered: bool
) -> None:
    async with (
        AsyncMongoClient[dict[str, Any]](mongo_url) as mongo,
        connect(nodes[0].url, deadline=5.0) as ear,
        wrap(client, deadline=5.0) as redis,
    ):
        plans = mongo["on_a_cluster"]["plans"]
        await plans.delete_many({})
        far = RedisCacheStore(redis)
        near = TieredCacheStore(MemoryCacheStore(), far, invalidation="pubsub", listen_on=ear)
        rules = InvalidationRules(on("plan.changed", delete=["plan:{id}"], tags=["plans"]))
        routes = {"plans": "plan.changed"}

        async def gone(*keys: str) -> None:
            async with asyncio.timeout(10):
                while await cache.get_many(keys):  # noqa: ASYNC110 - of servers
                    await asyncio.sleep(0.005)

        async with (
            Cache(near if tiered else far, rules=rules, on_error="raise") as cache,
            ChangeStreamInvalidator(
                plans.database, cache, routes=routes, redis=redis, lease=0.6
            ) as watcher,
        ):
            await until(lambda: watcher.stats().watching)
            await cache.set_many({f"plan:{n}": "old" for n in range(20)})
            await cache.set("list:1", "old", tags=["plans"])
            await cache.set("other:1", "kept")
            await plans.insert_one({"_id": 7})
            await gone("plan:7", "list:1")
            assert len(await cache.get_many([f"plan:{n}" for n in range(20)])) == 19
            assert await cache.get("other:1") == "kept"
            clearing = asyncio.create_task(cache.clear())
            await plans.update_one({"_id": 7}, {"$set": {"n": 1}})
            assert await clearing >= 20
            await gone(*(f"plan:{n}" for n in range(20)), "other:1")
            await cache.set("plan:7", "old")
            await plans.update_one({"_id": 7}, {"$set": {"n": 2}})
            await gone("plan:7")
        await mongo.drop_database(plans.database)
