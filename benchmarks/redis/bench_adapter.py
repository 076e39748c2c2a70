"""GET of a 2 KB value: `wrap()` against the redis-py client it wraps, with and without its timeout.

`generic` is the way for clients that are not plainly redis-py's own, as those of a subclass: by
redis-py's `Pipeline`.

Run: .venv/bin/python benchmarks/redis/bench_adapter.py [--quick]
They take turns within a round; the ratio of medians is what to read. Server and client sit on
different cores where there are two.
"""

import argparse
import asyncio
import os
import sys
from functools import partial
from pathlib import Path
from statistics import median

from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from benchmarks.redis.side import VALUE, Get, turn
from symphonia_perf.redis import wrap
from symphonia_perf.testing.servers import redis_server

TASKS = (1, 64, 256)


class Own(Redis):
    """Somebody's subclass."""


async def main(url: str, rounds: int, seconds: float) -> None:
    for timeout in (5.0, None):
        # Plain redis-py opens a connection per concurrent command; the default pool allows 100.
        client = Redis.from_url(url, socket_timeout=timeout, max_connections=512)
        own = Own.from_url(url, socket_timeout=timeout, max_connections=512)
        await client.set("key", VALUE)
        async with (
            client,
            own,
            wrap(client, deadline=30.0) as adapter,
            wrap(own, deadline=30.0) as generic,
        ):
            sides: dict[str, Get] = {
                "plain": partial(client.get, "key"),
                "wrapped": partial(adapter.execute, "GET", "key"),
                "generic": partial(generic.execute, "GET", "key"),
            }
            for tasks in TASKS:
                rates: dict[str, list[float]] = {name: [] for name in sides}
                await turn(sides["plain"], tasks, seconds / 5)  # it connects
                for number in range(rounds):
                    for name in sorted(sides, reverse=number % 2 == 1):
                        found = await turn(sides[name], tasks, seconds)
                        rates[name].append(found["per_second"])
                medians = {name: round(median(found)) for name, found in rates.items()}
                line(
                    "redis.adapter",
                    "redis",
                    "hiredis",
                    tasks=tasks,
                    socket_timeout=timeout,
                    rounds=rounds,
                    seconds=seconds,
                    per_second=medians,
                    ratio=round(medians["wrapped"] / medians["plain"], 2),
                    generic_ratio=round(medians["generic"] / medians["plain"], 2),
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see whether it runs")
    quick = parser.parse_args().quick
    with redis_server() as server:
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:
            os.sched_setaffinity(server.pid, {cores[0]})
            os.sched_setaffinity(0, {cores[1]})
        asyncio.run(main(server.url, *((1, 0.1) if quick else (5, 1.0))))
