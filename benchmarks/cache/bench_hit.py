"""What a hit costs: in memory against a dict, in Redis against redis-py's own GET and a decode.

Rounds of all contestants are interleaved, so that a machine that slows down slows all of them, and
the median round counts.

Run: .venv/bin/python benchmarks/cache/bench_hit.py
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from symphonia_perf.cache import Cache, MemoryCacheStore, RedisCacheStore
from symphonia_perf.redis import wrap
from symphonia_perf.testing import redis_server

ROUNDS = 9
TASKS = 64
Contestant = Callable[[], Awaitable[Any]]


def document() -> dict[str, Any]:
    """About 2 KB of what a service caches."""
    return {
        "_id": "65a000000000000000000001",
        "reference": "TO-2026-000001",
        "status": "IN_TRANSIT",
        "price": 1234.5,
        "items": [{"sku": f"SKU-{n:05}", "quantity": n, "weight": n * 1.5} for n in range(20)],
        "history": [{"status": "CREATED", "at": f"2026-01-{n + 1:02}T10:00:00Z"} for n in range(8)],
        "notes": "x" * 400,
    }


async def rate(contestant: Contestant, calls: int, tasks: int) -> float:
    """Calls per second, by so many tasks at once."""

    async def work(count: int) -> None:
        for _ in range(count):
            await contestant()

    started = time.perf_counter()
    if tasks == 1:
        await work(calls)
    else:
        await asyncio.gather(*(work(calls // tasks) for _ in range(tasks)))
    return calls / (time.perf_counter() - started)


async def contest(
    name: str, contestants: dict[str, Contestant], *, calls: int, tasks: int, against: str
) -> None:
    """Print each contestant's median rate, and its ratio to `against`."""
    rates: dict[str, list[float]] = {each: [] for each in contestants}
    for each in contestants.values():  # warm up
        await rate(each, calls // 10, tasks)
    for _ in range(ROUNDS):
        for each, contestant in contestants.items():
            rates[each].append(await rate(contestant, calls, tasks))
    middle = {each: statistics.median(found) for each, found in rates.items()}
    for each, found in rates.items():
        line(
            f"cache hit {name}",
            "redis",
            "hiredis",
            "msgspec",
            contestant=each,
            tasks=tasks,
            per_second=round(middle[each]),
            slowest_round=round(min(found)),
            fastest_round=round(max(found)),
            against=against,
            ratio=round(middle[each] / middle[against], 3),
        )


async def near() -> None:
    """In this process."""
    value = document()
    plain = {"cache:plan:1": value}

    async def from_dict() -> Any:
        return plain["cache:plan:1"]

    async def load() -> Any:
        return value

    def decorated(cache: Cache) -> Contestant:
        @cache.cached("plan:{plan_id}")
        async def load_plan(plan_id: str) -> Any:
            return {**value, "_id": plan_id}

        return lambda: load_plan("1")

    shared, copied = Cache(MemoryCacheStore(copy=False)), Cache(MemoryCacheStore())
    async with shared, copied:
        await contest(
            "in memory",
            {
                "dict in a coroutine": from_dict,
                "shared, get_or_load": lambda: shared.get_or_load("plan:1", load),
                "shared, decorated": decorated(shared),
                "copy, get_or_load": lambda: copied.get_or_load("plan:1", load),
                "copy, decorated": decorated(copied),
            },
            calls=50_000,
            tasks=1,
            against="dict in a coroutine",
        )


async def far(url: str) -> None:
    """In a Valkey on this host; 64 tasks read 64 keys."""
    value = document()
    client = Redis.from_url(url)
    async with client, wrap(client) as commands, Cache(RedisCacheStore(commands)) as cache:
        decode = msgspec.msgpack.Decoder().decode
        data = msgspec.msgpack.encode(value)
        keys = [f"plan:{n}" for n in range(TASKS)]
        for key in keys:
            await client.set(key, data)
            await cache.set(key, value)
        turn = {"raw": 0, "ours": 0}

        async def load() -> Any:
            raise AssertionError("a miss")

        async def raw() -> Any:
            turn["raw"] = (turn["raw"] + 1) % TASKS
            return decode(await client.get(keys[turn["raw"]]))  # type: ignore[arg-type]

        async def ours() -> Any:
            turn["ours"] = (turn["ours"] + 1) % TASKS
            return await cache.get_or_load(keys[turn["ours"]], load)

        contestants = {"redis-py GET and decode": raw, "Cache.get_or_load": ours}
        for calls, tasks in ((2_000, 1), (12_800, TASKS)):
            await contest(
                "in Redis", contestants, calls=calls, tasks=tasks, against="redis-py GET and decode"
            )


def main() -> None:
    asyncio.run(near())
    with redis_server() as server:
        asyncio.run(far(server.url))


if __name__ == "__main__":
    main()
