"""What a hit costs: in memory against a dict, in Redis against GET and a decode.

Rounds of all contestants are interleaved, so that a machine that slows down slows all of them, and
the median round counts; `ratio` is the median of the rounds' ratios. Each contestant is a loop of
its own, because a call through a lambda would cost a tenth of the fastest.

Run: .venv/bin/python benchmarks/cache/bench_hit.py
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from symphonia_perf.cache import Cache, MemoryCacheStore, RedisCacheStore
from symphonia_perf.redis import connect, wrap
from symphonia_perf.testing import redis_server

ROUNDS = 21
TASKS = 64
Contestant = Callable[[], Awaitable[Any]]
"""One read."""

Loop = Callable[[Sequence[int]], Awaitable[None]]
"""Reads once for each number; the number says which of the keys."""


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


VALUE = document()
KEYS = [f"plan:{n}" for n in range(TASKS)]


async def rate(loop: Loop, calls: int, tasks: int) -> float:
    """Calls per second, by so many tasks at once."""
    numbers = [n % TASKS for n in range(calls)]
    started = time.perf_counter()
    if tasks == 1:
        await loop(numbers)
    else:
        await asyncio.gather(*(loop(numbers[n::tasks]) for n in range(tasks)))
    return calls / (time.perf_counter() - started)


async def contest(
    name: str, contestants: Mapping[str, Contestant], *, calls: int, tasks: int, against: str
) -> None:
    """The same for contestants that are called for each read."""
    loops = {each: looped(contestant) for each, contestant in contestants.items()}
    await race(name, loops, calls=calls, tasks=tasks, against=[against])


def looped(contestant: Contestant) -> Loop:
    """Calls it so often."""

    async def loop(numbers: Sequence[int]) -> None:
        for _ in numbers:
            await contestant()

    return loop


async def race(
    name: str, loops: Mapping[str, Loop], *, calls: int, tasks: int, against: Sequence[str]
) -> None:
    """Print each one's median rate, and its ratio to some of them."""
    rates: dict[str, list[float]] = {each: [] for each in loops}
    for turn in range(ROUNDS + 1):  # the first one warms up
        for each, loop in loops.items():
            found = await rate(loop, calls, tasks)
            if turn:
                rates[each].append(found)
    for each, mine in rates.items():
        ratios = {
            f"ratio to {other}": round(
                statistics.median(a / b for a, b in zip(mine, rates[other], strict=True)), 3
            )
            for other in against
            if other != each
        }
        line(
            f"cache hit {name}",
            "redis",
            "hiredis",
            "msgspec",
            contestant=each,
            tasks=tasks,
            per_second=round(statistics.median(mine)),
            slowest_round=round(min(mine)),
            fastest_round=round(max(mine)),
            **ratios,
        )


async def load() -> Any:
    """What nobody should come to."""
    raise AssertionError("a miss")


def by_key(cache: Cache) -> Loop:
    """Hits by `get_or_load`."""

    async def loop(numbers: Sequence[int]) -> None:
        for n in numbers:
            await cache.get_or_load(KEYS[n], load)

    return loop


def decorated(cache: Cache, **options: Any) -> Loop:
    """Hits by a cached function, after a first call of each."""

    @cache.cached(f"{''.join(options)}plan:{{n}}", **options)
    async def load_plan(n: int) -> Any:  # noqa: ARG001 - a field of the template
        return VALUE

    async def loop(numbers: Sequence[int]) -> None:
        for n in numbers:
            await load_plan(n)

    return loop


def dictionary() -> Loop:
    """The least that a cache in this process could cost."""
    plain = dict.fromkeys(KEYS, VALUE)

    async def from_dict(key: str) -> Any:
        return plain[key]

    async def loop(numbers: Sequence[int]) -> None:
        for n in numbers:
            await from_dict(KEYS[n])

    return loop


async def near() -> None:
    """In this process."""
    shared, copied = Cache(MemoryCacheStore(copy=False)), Cache(MemoryCacheStore())
    async with shared, copied:
        for cache in (shared, copied):
            await cache.set_many(dict.fromkeys(KEYS, VALUE))
        loops = {
            "dict in a coroutine": dictionary(),
            "shared, get_or_load": by_key(shared),
            "shared, decorated": decorated(shared),
            "copy, get_or_load": by_key(copied),
            "copy, decorated": decorated(copied),
        }
        against = ["dict in a coroutine"]
        await race("in memory", loops, calls=20_000, tasks=1, against=against)


def raw(get: Callable[[str], Awaitable[Any]]) -> Loop:
    """The least that a far cache could cost over a client."""
    decode = msgspec.msgpack.Decoder().decode

    async def loop(numbers: Sequence[int]) -> None:
        for n in numbers:
            decode(await get(KEYS[n]))

    return loop


async def far(url: str) -> None:
    """In a Valkey on this host; 64 tasks read 64 keys."""
    client = Redis.from_url(url)  # with its defaults
    patient = Redis.from_url(url, socket_timeout=None)  # as wrap() wants it
    async with (
        client,
        patient,
        wrap(patient) as commands,
        connect(url, deadline=5.0) as redis,
    ):
        wrapped, cache = Cache(RedisCacheStore(commands)), Cache(RedisCacheStore(redis))
        async with wrapped, cache:
            for key in KEYS:
                await client.set(key, msgspec.msgpack.encode(VALUE))
                await cache.set(key, VALUE)
            loops = {
                "redis-py GET and decode": raw(client.get),
                "our client GET and decode": raw(lambda key: redis.execute("GET", key)),
                "get_or_load": by_key(cache),
                "decorated": decorated(cache),
                "decorated, tagged": decorated(cache, tags=["plans"]),
                "decorated, stale_for": decorated(cache, stale_for=60),
                "get_or_load over redis-py": by_key(wrapped),
            }
            against = [name for name in loops if name.endswith("decode")]
            for calls, tasks in ((600, 1), (2_560, TASKS)):
                await race("in Redis", loops, calls=calls, tasks=tasks, against=against)


def main() -> None:
    asyncio.run(near())
    with redis_server() as server:
        asyncio.run(far(server.url))


if __name__ == "__main__":
    main()
