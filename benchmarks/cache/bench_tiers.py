"""Two tiers: what a near hit costs, what a far one, and how soon a near entry is gone.

Rounds of all contestants are interleaved, and the median round counts. `channel` is the time from
before another client's SET to the moment when the entry has left the near tier, over a server on
this host: the server's word (`tracking`), or what a tiered store publishes (`pubsub`). `stale` are
reads that began after that and got the old value.

Run: .venv/bin/python benchmarks/cache/bench_tiers.py [--quick]
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.cache import bench_hit
from benchmarks.cache.bench_hit import TASKS, Contestant, contest, document
from benchmarks.lines import line
from symphonia_perf.cache import (
    Cache,
    Entry,
    MemoryCacheStore,
    RedisCacheStore,
    TieredCacheStore,
)
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing import redis_server

PACKAGES = ("hiredis", "msgspec")


async def load() -> Any:
    """What no contestant needs."""
    raise AssertionError("a miss")


@asynccontextmanager
async def tiered(redis: RedisClient, *, copy: bool, **options: Any) -> AsyncGenerator[Cache]:
    """A cache of two tiers, whose entries are near."""
    store = TieredCacheStore(MemoryCacheStore(copy=copy), RedisCacheStore(redis), **options)
    async with Cache(store) as cache:
        await heard(store)
        for key, tags in (("plan:1", ()), ("plan:t1", ("t0",)), ("plan:t4", ("t0", "t1", "t2"))):
            await cache.set(key, document(), tags=tags)
            while cache.peek(key) is None:
                await cache.get(key)
                await asyncio.sleep(0)
        yield cache


async def near(redis: RedisClient, calls: int) -> None:
    """A near hit against a dict in a coroutine, and against a store in memory."""
    plain = {"cache:plan:1": document()}

    async def from_dict() -> Any:
        return plain["cache:plan:1"]

    def hit(cache: Cache, key: str = "plan:1") -> Contestant:
        return lambda: cache.get_or_load(key, load)

    async with (
        Cache(MemoryCacheStore(copy=False)) as memory,
        Cache(MemoryCacheStore()) as copied,
        tiered(redis, copy=False) as shared,
        tiered(redis, copy=True) as safe,
        tiered(redis, copy=False, invalidation="pubsub") as published,
    ):
        for cache in (memory, copied):
            await cache.set("plan:1", document())
        await contest(
            "near",
            {
                "dict in a coroutine": from_dict,
                "memory, shared": hit(memory),
                "tiered, shared": hit(shared),
                "tiered, shared, 1 tag": hit(shared, "plan:t1"),
                "tiered, shared, 3 tags": hit(shared, "plan:t4"),
                "tiered by pubsub, shared": hit(published),
                "memory, copy": hit(copied),
                "tiered, copy": hit(safe),
            },
            calls=calls,
            tasks=1,
            against="dict in a coroutine",
        )


async def far(redis: RedisClient, calls: int) -> None:
    """A far hit: a Redis store by itself, and below a near tier that holds nothing."""
    keys = [f"plan:{n}" for n in range(TASKS)]
    tagged = [f"tagged:{n}" for n in range(TASKS)]
    plain = Cache(RedisCacheStore(redis))
    # An entry that is kept for no time is never near; what it costs to keep it is in there.
    store = TieredCacheStore(MemoryCacheStore(copy=False), RedisCacheStore(redis), near_ttl=1e-9)
    async with plain, Cache(store) as below:
        for key, other in zip(keys, tagged, strict=True):
            await plain.set(key, document())
            await plain.set(other, document(), tags=["carriers"])
        turn = 0

        def hit(cache: Cache, names: list[str], **options: Any) -> Contestant:
            def read() -> Any:
                nonlocal turn
                turn = (turn + 1) % TASKS
                return cache.get_or_load(names[turn], load, **options)

            return read

        contestants = {
            "redis": hit(plain, keys),
            "tiered, far": hit(below, keys),
            "redis, 1 tag": hit(plain, tagged, tags=["carriers"]),
            "tiered, far, 1 tag": hit(below, tagged, tags=["carriers"]),
        }
        for count, tasks in ((calls // 4, 1), (calls, TASKS)):
            await contest("far", contestants, calls=count, tasks=tasks, against="redis")


async def channel(
    redis: RedisClient, other: RedisClient, by: Literal["tracking", "pubsub"], writes: int
) -> None:
    """How soon a near entry is gone after somebody else wrote its key."""
    near, writer = tier(redis, by), tier(other, by)
    gone = asyncio.Event()
    gone_at = 0.0
    changed = near._near.changed  # noqa: SLF001 - nothing public is told of each key

    def watch(name: str) -> None:
        nonlocal gone_at
        changed(name)
        gone_at = time.perf_counter()
        gone.set()

    near._near.changed = watch  # type: ignore[method-assign]  # noqa: SLF001
    took, stale = [], 0
    async with near.listening("cache:"), writer.listening("cache:"):
        await heard(near)
        for n in range(writes):
            while n and near.peek("cache:k") is None:
                await near.get_many(["cache:k"])
                await asyncio.sleep(0)
            gone.clear()
            began = time.perf_counter()
            write = writer.set_many({"cache:k": Entry(value=n, ttl=60.0)})
            writing = asyncio.create_task(write)
            await gone.wait()
            took.append((gone_at - began) * 1e6)
            found = (await near.get_many(["cache:k"])).entries
            stale += found["cache:k"].value < n
            await writing
    cuts = quantiles(took, n=1000)
    line(
        "cache.channel",
        *PACKAGES,
        by=by,
        writes=writes,
        p50_us=round(cuts[499]),
        p99_us=round(cuts[989]),
        worst_us=round(max(took)),
        stale=stale,
    )


def tier(redis: RedisClient, by: Literal["tracking", "pubsub"]) -> TieredCacheStore:
    """A store that hears by one or the other."""
    return TieredCacheStore(MemoryCacheStore(), RedisCacheStore(redis), invalidation=by)


async def heard(store: TieredCacheStore) -> None:
    """Return when it hears of changes."""
    while not store.stats().listening:  # noqa: ASYNC110 - a server's answer is waited for
        await asyncio.sleep(0.001)


async def main(url: str, *, quick: bool) -> None:
    """Everything, one after the other."""
    if quick:
        bench_hit.ROUNDS = 3
    async with connect(url, deadline=5.0) as redis, connect(url, deadline=5.0) as other:
        await near(redis, 5_000 if quick else 50_000)
        await far(redis, 2_000 if quick else 12_800)
        await channel(redis, other, "tracking", 500 if quick else 20_000)
        await channel(redis, other, "pubsub", 500 if quick else 20_000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a look, in a few seconds")
    arguments = parser.parse_args()
    with redis_server() as server:
        asyncio.run(main(server.url, quick=arguments.quick))
