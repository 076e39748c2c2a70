"""Hits, misses, an outage and memory: ours against cashews, aiocache, fastapi-cache2 and others.

Contestants take turns within a round, so that a slow moment of the machine hits all; the median
round counts. All decorate one function that returns an order of 2 KB; each peer is used as its own
documentation shows it, without its extras. dogpile.cache is synchronous.

Run: .venv/bin/python benchmarks/cache/bench_peers.py [near|far|miss|latency|memory|outage ...]
"""

import asyncio
import gc
import logging
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.cache.peers import among_peers, installed, skip

if __name__ == "__main__":
    among_peers()

import msgspec
from redis.asyncio import Redis

from benchmarks.cache.bench_hit import document
from benchmarks.lines import line
from symphonia_perf.cache import Cache, MemoryCacheStore, RedisCacheStore
from symphonia_perf.redis import connect, wrap
from symphonia_perf.testing.servers import RedisServer, redis_server

ROUNDS = 7
TASKS = 64
ENTRIES = 100_000
DEADLINE = 0.25
PATIENCE = 5.0  # of a caller in an outage, in seconds
PACKAGES = installed(
    *("redis", "hiredis", "msgspec", "cashews", "aiocache", "fastapi-cache2", "dogpile.cache"),
    *("async-lru", "cachebox"),
)
NEAR_PEERS = ("cachebox", "async-lru", "aiocache", "cashews")
FAR_PEERS = ("cashews", "cashews, tagged", "cashews, lock", "aiocache", "fastapi-cache2")
# One call with a number; the same number is a hit.
Call = Callable[[int], Awaitable[Any]]
VALUE = document()


async def read(number: int) -> dict[str, Any]:
    """What all of them cache."""
    return {**VALUE, "_id": number}


async def of_dict(number: int, held: dict[int, Any] = {0: VALUE}) -> Any:  # noqa: B006 - fastest
    """The least that a cache in this process could cost."""
    return held[number]


def near_peers() -> dict[str, Call]:
    """Caches in this process."""
    if skip("cache.near", *NEAR_PEERS):
        return {}
    import aiocache
    import cachebox
    from async_lru import alru_cache
    from cashews import Cache as Cashews

    cashews = Cashews()
    cashews.setup("mem://", size=2 * ENTRIES)
    return {
        "cachebox": cachebox.cached(cachebox.LRUCache(2 * ENTRIES))(read),
        "async-lru": alru_cache(maxsize=2 * ENTRIES)(read),
        "aiocache": aiocache.cached(key_builder=lambda _, number: f"plan:{number}")(read),
        "cashews": cashews(ttl=3600, key="plan:{number}")(read),
    }


async def ours_near(stack: AsyncExitStack) -> dict[str, Call]:
    """Ours, handing out one object or copies of it."""
    ones: dict[str, Call] = {}
    for name, copy in (("shared", False), ("copied", True)):
        store = MemoryCacheStore(max_entries=2 * ENTRIES, copy=copy)
        cache = await stack.enter_async_context(Cache(store))
        ones[f"ours, {name}, decorated"] = cache.cached("plan:{number}")(read)

        def by_key(_: int, cache: Cache = cache) -> Awaitable[Any]:
            return cache.get_or_load("plan:0", zero)

        ones[f"ours, {name}, get_or_load"] = by_key
    return ones


async def zero() -> dict[str, Any]:
    """The first one."""
    return await read(0)


async def far_ones(stack: AsyncExitStack, server: RedisServer) -> dict[str, Call]:
    """Ours in a server on this host; the first two are no caches."""
    client = await stack.enter_async_context(Redis.from_url(server.url))
    redis = await stack.enter_async_context(connect(server.url, deadline=5.0))
    commands = wrap(client, deadline=5.0)
    cache = await stack.enter_async_context(Cache(RedisCacheStore(redis)))
    wrapped = await stack.enter_async_context(Cache(RedisCacheStore(commands), prefix="wrapped"))
    decode, encode = msgspec.msgpack.Decoder().decode, msgspec.msgpack.encode

    async def raw(number: int) -> Any:
        key = f"raw:{number}"
        data = await client.get(key)
        if data is not None:
            return decode(data)
        await client.set(key, encode(await read(number)), ex=3600)
        return None

    async def raw_ours(number: int) -> Any:
        key = f"raw2:{number}"
        data = await redis.execute("GET", key)
        if data is not None:
            return decode(data)
        await redis.execute("SET", key, encode(await read(number)), "EX", 3600)
        return None

    return {
        "redis-py GET and decode": raw,
        "our client GET and decode": raw_ours,
        "ours": cache.cached("plan:{number}")(read),
        "ours, tagged": cache.cached("tagged:{number}", tags=["plans"])(read),
        "ours, over redis-py": wrapped.cached("plan:{number}")(read),
    }


async def far_peers(stack: AsyncExitStack, server: RedisServer, name: str) -> dict[str, Call]:
    """The others', in the same server."""
    if skip(f"cache.{name}", *FAR_PEERS):
        return {}
    from aiocache import RedisCache, cached
    from aiocache.serializers import JsonSerializer
    from cashews import Cache as Cashews
    from fastapi_cache import FastAPICache
    from fastapi_cache.backends.redis import RedisBackend
    from fastapi_cache.decorator import cache as fastapi_cached

    async def read_fast(number: int) -> dict[str, Any]:
        return await read(number)

    cashews = Cashews()
    cashews.setup(server.url, client_side=False)
    stack.push_async_callback(cashews.close)
    client = await stack.enter_async_context(Redis.from_url(server.url))
    FastAPICache.init(RedisBackend(client), prefix="fastapi")
    aio = cached(
        ttl=3600,
        cache=RedisCache,
        key_builder=lambda _, number: f"plan:{number}",
        serializer=JsonSerializer(),
        endpoint="127.0.0.1",
        port=server.port,
        namespace="aio",
    )(read)
    stack.push_async_callback(aio.cache.close)
    return {
        "cashews": cashews(ttl=3600, key="plan:{number}")(read),
        "cashews, tagged": cashews(ttl=3600, key="tagged:{number}", tags=["plans"])(read_fast),
        "cashews, lock": cashews(ttl=3600, key="locked:{number}", lock=True)(read_fast),
        "aiocache": aio,
        "fastapi-cache2": fastapi_cached(expire=3600)(read),
    }


async def rate(call: Call, numbers: list[int], tasks: int) -> float:
    """Calls per second, by so many tasks at once."""

    async def work(mine: list[int]) -> None:
        for number in mine:
            await call(number)

    started = time.perf_counter()
    await asyncio.gather(*(work(numbers[n::tasks]) for n in range(tasks)))
    return len(numbers) / (time.perf_counter() - started)


async def contest(
    name: str, ones: dict[str, Call], make: Callable[[int], list[int]], tasks: int
) -> None:
    """Print each one's median rate; `make` gives a round's numbers."""
    rates: dict[str, list[float]] = {each: [] for each in ones}
    for turn in range(ROUNDS + 1):  # the first one warms up
        for each, call in ones.items():
            gc.collect()
            found = await rate(call, make(turn), tasks)
            if turn:
                rates[each].append(found)
    for each, found in rates.items():
        line(
            f"cache.{name}",
            *PACKAGES,
            contestant=each,
            tasks=tasks,
            per_second=round(statistics.median(found)),
            slowest=round(min(found)),
            fastest=round(max(found)),
        )


async def near(name: str) -> None:
    """Hits in this process."""
    async with AsyncExitStack() as stack:
        ones = {"dict in a coroutine": of_dict, **near_peers(), **await ours_near(stack)}
        if name == "latency":
            await latency("near", ones, 1)
        else:
            await contest("near", ones, lambda _: [0] * 20_000, 1)


async def far(server: RedisServer, name: str) -> None:
    """Hits on 64 keys, one after the other and by 64 tasks; or misses that are stored."""
    async with AsyncExitStack() as stack:
        peers = await far_peers(stack, server, name)
        ones = {**await far_ones(stack, server), **peers}
        if name == "far":
            for call in ones.values():
                for number in range(TASKS):
                    await call(number)
            await contest("far", ones, lambda _: list(range(TASKS)) * 12, 1)
            await contest("far", ones, lambda _: list(range(TASKS)) * 40, TASKS)
            await contest("far, one key", ones, lambda _: [7] * TASKS * 40, TASKS)
        elif name == "miss":
            for tasks, count in ((1, 300), (TASKS, 1_280)):
                server.ask("FLUSHALL")
                base = tasks * 1_000_000
                await contest(
                    "miss and set",
                    ones,
                    lambda turn, b=base, c=count: list(range(b + turn * c, b + turn * c + c)),
                    tasks,
                )
        else:
            await latency("far", ones, TASKS)


async def latency(where: str, ones: dict[str, Call], keys: int) -> None:
    """How long a hit takes, one after the other, the clock's own 0.1 us included."""
    for each, call in ones.items():
        took: list[float] = []
        for n in range(3_000):
            started = time.perf_counter()
            await call(n % keys)
            took.append((time.perf_counter() - started) * 1e6)
        took = sorted(took[500:])
        line(
            f"cache.latency, {where}",
            *PACKAGES,
            contestant=each,
            p50_us=round(took[len(took) // 2], 1),
            p99_us=round(took[len(took) * 99 // 100], 1),
        )


async def memory() -> None:
    """Bytes of this process for an entry among 100,000: a key of 12 and a value of 8 bytes."""
    async with AsyncExitStack() as stack:
        shared = MemoryCacheStore(max_entries=2 * ENTRIES, copy=False)
        bounded = MemoryCacheStore(max_bytes=2**30)
        caches = [await stack.enter_async_context(Cache(store)) for store in (shared, bounded)]
        ones: dict[str, Call] = {
            **memory_peers(),
            "ours, max_entries": caches[0].cached("order:{number}")(small),
            "ours, max_bytes": caches[1].cached("order:{number}")(small),
        }
        for each, call in ones.items():
            await call(10**6)
            gc.collect()
            before = resident()
            for number in range(10**6 + 1, 10**6 + ENTRIES):
                await call(number)
            gc.collect()
            used = resident() - before
            line("cache.memory", *PACKAGES, contestant=each, bytes=round(used / ENTRIES))
        line("cache.memory", *PACKAGES, counted=round(bounded.size / len(bounded)))


async def small(number: int) -> bytes:
    """A value of eight bytes."""
    return number.to_bytes(8)


def memory_peers() -> dict[str, Call]:
    """The same of the others."""
    if skip("cache.memory", *NEAR_PEERS):
        return {}
    import aiocache
    import cachebox
    from async_lru import alru_cache
    from cashews import Cache as Cashews

    cashews = Cashews()
    cashews.setup("mem://", size=2 * ENTRIES)
    return {
        "cachebox": cachebox.cached(cachebox.LRUCache(2 * ENTRIES))(small),
        "async-lru": alru_cache(maxsize=2 * ENTRIES)(small),
        "aiocache": aiocache.cached(
            key_builder=lambda _, number: f"order:{number:06}", namespace="memory"
        )(small),
        "cashews": cashews(ttl=3600, key="order:{number:06}")(small),
    }


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def outage(server: RedisServer) -> None:
    """Fifty calls at once, twice, after the server froze, and after it died."""
    for what in ("frozen", "killed"):
        server.start()
        async with AsyncExitStack() as stack:
            peers = await far_peers(stack, server, "outage")
            redis = await stack.enter_async_context(connect(server.url, deadline=DEADLINE))
            ours = await stack.enter_async_context(
                Cache(RedisCacheStore(redis), observer=lambda _: None)
            )
            ones: dict[str, Call] = {"ours": ours.cached("outage:{number}")(read)} | {
                name: call for name, call in peers.items() if "," not in name
            }
            for call in ones.values():
                await call(0)
            server.pause() if what == "frozen" else server.kill()
            for each, call in ones.items():
                for turn in ("first", "second", "third", "fourth"):
                    started = time.perf_counter()
                    calls = (asyncio.wait_for(call(n), PATIENCE) for n in range(50))
                    found = await asyncio.gather(*calls, return_exceptions=True)
                    took = time.perf_counter() - started
                    raised = sorted({type(e).__name__ for e in found if isinstance(e, Exception)})
                    line(
                        "cache.outage",
                        *PACKAGES,
                        contestant=each,
                        server=what,
                        turn=turn,
                        seconds=round(took, 3),
                        answered=sum(isinstance(one, dict) for one in found),
                        raised=raised,
                    )
            if what == "frozen":
                server.resume()


def main() -> None:
    logging.disable()  # they tell of each failed call, at length
    wanted = sys.argv[1:] or ["near", "far", "miss", "latency", "memory", "outage"]
    for name in ("near", "latency"):
        if name in wanted:
            asyncio.run(near(name))
    if "memory" in wanted:
        asyncio.run(memory())
    with redis_server() as server:
        for name in ("far", "miss", "latency"):
            if name in wanted:
                asyncio.run(far(server, name))
        if "outage" in wanted:
            asyncio.run(outage(server))


if __name__ == "__main__":
    main()
