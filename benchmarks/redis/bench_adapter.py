"""GET of a 2 KB value: `wrap()` against plain redis-py, on one server started here.

Rounds are interleaved, so that a busy machine slows both alike; the ratio of medians is what to
read. One JSON line per number of tasks.
"""

import asyncio
import json
import platform
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import version

from redis.asyncio import Redis

from symphonia_perf.redis import wrap
from symphonia_perf.testing.servers import redis_server

ROUNDS = 7
TASKS = (1, 64, 256)
COMMANDS = 12_000
VALUE = b"x" * 2048


async def rate(get: Callable[[], Awaitable[bytes]], tasks: int) -> float:
    """Commands per second by `tasks` loops."""
    each = (COMMANDS if tasks > 1 else COMMANDS // 4) // tasks

    async def loop() -> None:
        for _ in range(each):
            assert await get() == VALUE

    started = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(tasks)))
    return each * tasks / (time.perf_counter() - started)


async def main(url: str) -> None:
    for timeout in (5.0, None):
        # Plain redis-py opens a connection per concurrent command; the default pool allows 100.
        client = Redis.from_url(url, socket_timeout=timeout, max_connections=512)
        await client.set("key", VALUE)
        async with wrap(client, deadline=30.0) as adapter:
            sides: dict[str, Callable[[], Awaitable[bytes]]] = {
                "plain": partial(client.get, "key"),
                "wrapped": partial(adapter.execute, "GET", "key"),
            }
            for tasks in TASKS:
                rates: dict[str, list[float]] = {name: [] for name in sides}
                for turn in range(ROUNDS):
                    for name in sorted(sides, reverse=turn % 2 == 1):
                        rates[name].append(await rate(sides[name], tasks))
                medians = {name: statistics.median(found) for name, found in rates.items()}
                print(
                    json.dumps(
                        {
                            "benchmark": "redis.adapter",
                            "tasks": tasks,
                            "socket_timeout": timeout,
                            **{f"{name}_per_second": round(x) for name, x in medians.items()},
                            "ratio": round(medians["wrapped"] / medians["plain"], 2),
                            "python": platform.python_version(),
                            "redis": version("redis"),
                            "hiredis": version("hiredis"),
                        }
                    ),
                    flush=True,
                )
        await client.aclose()


if __name__ == "__main__":
    with redis_server() as server:
        asyncio.run(main(server.url))
