"""Caches that follow a database: how soon a key is gone, and what watching costs who writes.

`felt` is the time from before an update, by another client, to the moment when the cached entry is
gone from Redis, as the server tells it; `after_ack` counts from the acknowledgement of the write,
majority of one member, and is negative where the entry was gone first.

`cost` has four processes that update documents as fast as they can, each with its own client. In
`none` nobody watches; in `elected` each of them has a `ChangeStreamInvalidator`, of which one
watches; in `all four` each watches for itself. Rounds take turns; read the ratios of medians.

Run: .venv/bin/python benchmarks/cache/bench_changestream.py [--rounds N] [--quick]
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pymongo import AsyncMongoClient

from benchmarks.lines import line
from symphonia_perf.cache import (
    Cache,
    ChangeStreamInvalidator,
    InvalidationRules,
    RedisCacheStore,
    on,
)
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing.servers import mongo_replica_set, redis_server

PACKAGES = ("pymongo", "hiredis")
RULES = InvalidationRules(on("carrier.changed", delete=["carrier:{id}"], tags=["carriers"]))
ROUTES = {"carriers": "carrier.changed"}
DATABASE = "bench"
PROCESSES = 4
TASKS = 8  # in each process
WATCHING = ("none", "elected", "all four")


@asynccontextmanager
async def watching(
    redis: RedisClient, db: Any, name: str
) -> AsyncGenerator[tuple[Cache, ChangeStreamInvalidator]]:
    """A cache that follows the database."""
    async with (
        Cache(RedisCacheStore(redis), rules=RULES, prefix=name) as cache,
        ChangeStreamInvalidator(db, cache, routes=ROUTES, redis=redis, name=name) as watcher,
    ):
        yield cache, watcher


async def felt(uri: str, url: str, writes: int) -> None:
    """How soon an entry is gone after its document was written."""
    gone = asyncio.Event()
    gone_at = 0.0

    def told(key: str) -> None:
        nonlocal gone_at
        if key == "felt:carrier:1":
            gone_at = time.perf_counter()
            gone.set()

    after_write, after_ack = [], []
    async with (
        AsyncMongoClient(uri) as client,
        AsyncMongoClient(uri) as other,
        connect(url, deadline=5.0) as redis,
        watching(redis, client[DATABASE], "felt") as (cache, watcher),
        redis.tracking("felt:carrier:", on_key=told, on_flush=lambda: None),
    ):
        while not watcher.stats().watching:  # noqa: ASYNC110 - a server's answer is waited for
            await asyncio.sleep(0.01)
        carriers = other[DATABASE]["carriers"]
        await carriers.replace_one({"_id": 1}, {"n": 0}, upsert=True)
        for _ in range(writes):
            gone.clear()
            await cache.set("carrier:1", "old")
            await gone.wait()  # the word of that
            gone.clear()
            began = time.perf_counter()
            await carriers.update_one({"_id": 1}, {"$inc": {"n": 1}})
            acknowledged = time.perf_counter()
            await gone.wait()
            after_write.append((gone_at - began) * 1e3)
            after_ack.append((gone_at - acknowledged) * 1e3)
    for start, took in (("write", after_write), ("acknowledgement", after_ack)):
        cuts = quantiles(took, n=100)
        line(
            "cache.changestream.felt",
            *PACKAGES,
            since=start,
            writes=writes,
            p50_ms=round(cuts[49], 2),
            p99_ms=round(cuts[98], 2),
            worst_ms=round(max(took), 2),
        )


async def side(uri: str, url: str, number: int, how: str, seconds: float) -> None:
    """One process that updates, and watches or not; says how many updates it made."""
    async with AsyncMongoClient(uri) as client, connect(url, deadline=5.0) as redis:
        carriers = client[DATABASE]["carriers"]
        done = 0

        async def update(until: float, task: int) -> None:
            nonlocal done
            n = task
            while time.perf_counter() < until:
                n += TASKS
                await carriers.update_one({"_id": n % 1_000}, {"$inc": {"n": 1}})
                done += 1

        async def run() -> None:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            until = time.perf_counter() + seconds
            await asyncio.gather(*(update(until, task) for task in range(TASKS)))

        if how == "none":
            await run()
        else:
            name = how.replace(" ", "-") if how == "elected" else f"alone-{number}"
            async with watching(redis, client[DATABASE], name):
                await run()
    print(done, flush=True)


def throughput(uri: str, url: str, how: str, seconds: float) -> float:
    """Updates a second of all processes together."""
    words = (sys.executable, __file__, "side", uri, url)
    sides = [
        subprocess.Popen(
            (*words, str(number), how, str(seconds)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    for each in sides:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    time.sleep(0.5)  # who watches has begun
    for each in sides:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    return sum(int(each.communicate()[0]) for each in sides) / seconds


def cost(uri: str, url: str, rounds: int, seconds: float) -> None:
    """What watching takes from the throughput of updates."""
    from pymongo import MongoClient

    with MongoClient[Any](uri) as client:
        carriers = client[DATABASE]["carriers"]
        carriers.drop()
        carriers.insert_many([{"_id": n, "n": 0} for n in range(1_000)])
    found: dict[str, list[float]] = {how: [] for how in WATCHING}
    for _ in range(rounds):
        for how in WATCHING:
            found[how].append(throughput(uri, url, how, seconds))
    for how, rates in found.items():
        line(
            "cache.changestream.cost",
            *PACKAGES,
            watching=how,
            processes=PROCESSES,
            rounds=rounds,
            updates_per_second=round(median(rates)),
            by_round=[round(rate) for rate in rates],
            of_none=round(median(rates) / median(found["none"]), 3),
        )


def main() -> None:
    if sys.argv[1:2] == ["side"]:
        _, _, uri, url, number, how, seconds = sys.argv
        asyncio.run(side(uri, url, int(number), how, float(seconds)))
        return
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a look, in a few seconds")
    arguments = parser.parse_args()
    quick = arguments.quick
    with mongo_replica_set() as replica_set, redis_server() as server:
        asyncio.run(felt(replica_set.uri, server.url, 100 if quick else 2_000))
        cost(
            replica_set.uri,
            server.url,
            rounds=1 if quick else arguments.rounds,
            seconds=1.0 if quick else 4.0,
        )


if __name__ == "__main__":
    main()
