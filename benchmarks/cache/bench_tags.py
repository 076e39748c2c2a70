"""Invalidating 1,000 of a million keys, and how long another client waits meanwhile.

- `tag`: one tag that all of them carry is bumped.
- `keys`: they are deleted by name, in one round trip.
- `pattern`: `Cache.invalidate_pattern`, which is SCAN and UNLINK in slices.
- `KEYS`: KEYS and then DEL, as it is often written.

The other client is a process that sends one PING after the other. Its `idle_ping_us` is the worst
of as long a time in which nothing is invalidated. Each way is done `--rounds` times; medians.

Then what tags cost who reads and writes: a hit in Redis with 0, 1 and 8 tags, each in a round trip
of its own, and a miss with its set.

Run: .venv/bin/python benchmarks/cache/bench_tags.py [--rounds N] [--quick]
"""

import argparse
import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.cache import bench_hit
from benchmarks.cache.bench_hit import Contestant, contest, document
from benchmarks.lines import line
from symphonia_perf.cache import Cache, RedisCacheStore
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing.servers import RedisServer, redis_server

PACKAGES = ("hiredis", "msgspec")
CHANGED = 1_000
TAGS = tuple(f"t{n}" for n in range(8))


def side(port: int) -> None:
    """Another client: for every line of its input, the worst ping since the one before."""
    import threading

    link = socket.create_connection(("127.0.0.1", port))
    worst = 0.0
    asked = threading.Event()
    threading.Thread(target=lambda: [asked.set() for _ in sys.stdin], daemon=True).start()
    while True:
        began = time.perf_counter()
        link.sendall(b"PING\r\n")
        if not link.recv(100):
            return
        worst = max(worst, time.perf_counter() - began)
        if asked.is_set():
            asked.clear()
            print(worst * 1e6, flush=True)
            worst = 0.0


class Other:
    """The other client's process."""

    def __init__(self, server: RedisServer) -> None:
        port = server.url.rpartition(":")[2].partition("/")[0]
        self.process = subprocess.Popen(
            (sys.executable, __file__, "side", port),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.worst()

    def worst(self) -> float:
        """Microseconds of its worst ping since the last call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


async def fill(cache: Cache, keys: int) -> None:
    """So many keys, a thousand of which carry a tag."""
    value = {"_id": "1", "status": "IN_TRANSIT", "price": 12.5}
    for start in range(0, keys, 10_000):
        names = range(start, min(start + 10_000, keys))
        await cache.set_many({f"order:{n}": value for n in names})


async def tagged(cache: Cache) -> None:
    """A thousand entries with a tag."""
    await cache.set_many({f"carrier:{n}": n for n in range(CHANGED)}, tags=["carriers"])


async def by_keys(redis: RedisClient) -> None:
    """As it is often written."""
    names = await redis.execute("KEYS", "cache:carrier:*", deadline=60.0)
    await redis.execute("DEL", *names, deadline=60.0)


async def invalidations(
    cache: Cache, redis: RedisClient, other: Other, keys: int, rounds: int
) -> None:
    """Each way of it, and the other client's worst ping."""
    names = [f"carrier:{n}" for n in range(CHANGED)]
    ways: dict[str, Callable[[], Awaitable[Any]]] = {
        "tag": lambda: cache.invalidate_tags(["carriers"]),
        "keys": lambda: cache.delete_many(names),
        "pattern": lambda: cache.invalidate_pattern("carrier:*"),
        "KEYS": lambda: by_keys(redis),
    }
    for way, invalidate in ways.items():
        took, pings, idle = [], [], []
        for _ in range(rounds):
            await tagged(cache)
            await asyncio.sleep(0.05)
            other.worst()
            began = time.perf_counter()
            await invalidate()
            took.append(time.perf_counter() - began)
            pings.append(other.worst())
            await asyncio.sleep(took[-1])
            idle.append(other.worst())
            assert await cache.get_many(names) == {}
        line(
            "cache.invalidation",
            *PACKAGES,
            way=way,
            keys=keys,
            changed=CHANGED,
            ms=round(median(took) * 1e3, 3),
            worst_ping_us=round(median(pings)),
            idle_ping_us=round(median(idle)),
        )


async def costs(cache: Cache, calls: int) -> None:
    """What tags cost who reads and who writes."""
    value = document()

    async def load() -> Any:
        return value

    def hit(count: int) -> Contestant:
        tags = TAGS[:count]
        return lambda: cache.get_or_load(f"hit:{count}", load, tags=tags)

    def miss(count: int) -> Contestant:
        tags, n = TAGS[:count], 0

        async def once() -> Any:
            nonlocal n
            n += 1
            return await cache.get_or_load(f"miss:{count}:{n}", load, tags=tags, ttl=5)

        return once

    for name, make in (("tagged hit", hit), ("tagged miss and set", miss)):
        contestants = {f"{count} tags": make(count) for count in (0, 1, 8)}
        await contest(name, contestants, calls=calls, tasks=1, against="0 tags")


async def main(server: RedisServer, keys: int, rounds: int, calls: int) -> None:
    """Everything, one after the other."""
    async with (
        connect(server.url, deadline=60.0) as redis,
        Cache(RedisCacheStore(redis)) as cache,
    ):
        await costs(cache, calls)
        await fill(cache, keys)
        other = Other(server)
        try:
            await invalidations(cache, redis, other, keys, rounds)
        finally:
            other.process.kill()
            other.process.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["side"]:
        side(int(sys.argv[2]))
        sys.exit()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a look, in a few seconds")
    arguments = parser.parse_args()
    if arguments.quick:
        bench_hit.ROUNDS = 3
    with redis_server() as server:
        asyncio.run(
            main(
                server,
                keys=50_000 if arguments.quick else 1_000_000,
                rounds=3 if arguments.quick else arguments.rounds,
                calls=500 if arguments.quick else 4_000,
            )
        )
