"""A lease: what holding it costs, how often waiters ask, how soon the next one has it.

Run: .venv/bin/python benchmarks/redis/bench_lease.py [--rounds N] [--quick]
The peer is redis-py's asyncio Lock (SET NX PX to take it, a script to give it back, no renewal, no
number). The floor is two plain commands on our own connection. Sides take turns within a round.
"""

import argparse
import asyncio
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from redis.asyncio import Redis

from benchmarks.lines import line
from symphonia_perf.redis import Lease, RedisClient, connect, wrap
from symphonia_perf.testing.servers import redis_server

LENGTH = 10.0
Once = Callable[[str], Awaitable[None]]
HOLDER = Path(__file__).parents[2] / "tests" / "integration" / "redis" / "lease_process.py"


def sides(ours: RedisClient, plain: Redis, wrapped: RedisClient) -> dict[str, Once]:
    """How each takes a name and gives it back."""

    async def floor(name: str) -> None:
        await ours.execute("SET", name, "token", "NX", "PX", 10_000)
        await ours.execute("DEL", name)

    async def lease(name: str) -> None:
        async with Lease(ours, name, length=LENGTH, after_restart="grant"):
            pass

    async def over_redis_py(name: str) -> None:
        async with Lease(wrapped, name, length=LENGTH, after_restart="grant"):
            pass

    async def peer(name: str) -> None:
        async with plain.lock(name, timeout=LENGTH):
            pass

    return {"floor": floor, "lease": lease, "lease over wrap()": over_redis_py, "redis-py": peer}


async def round_trips(ours: RedisClient, all_sides: dict[str, Once]) -> None:
    """Commands for one acquire and one release, as the server counts them."""
    times, found = 100, {}
    for side, once in all_sides.items():
        await once("warm")
        await ours.execute("CONFIG", "RESETSTAT")
        for _ in range(times):
            await once("name")
        stats = (await ours.execute("INFO", "commandstats")).decode()
        # Not all of them: what a script calls is counted too, and crosses no wire.
        sent = {"floor": ("set", "del"), "redis-py": ("set", "eval")}.get(side, ("eval",))
        found[side] = sum(calls(stats, command) for command in sent) / times
    line("redis.lease.commands", "redis", for_one_pair={k: round(v, 2) for k, v in found.items()})


async def pairs(ours: RedisClient, all_sides: dict[str, Once], rounds: int, seconds: float) -> None:
    """Acquire and release, nobody else wants it."""
    for tasks in (1, 64):
        rates: dict[str, list[float]] = {name: [] for name in all_sides}
        times: dict[str, list[float]] = {name: [] for name in all_sides}
        for number in range(rounds):
            for side in sorted(all_sides, reverse=number % 2 == 1):
                once, took = all_sides[side], times[side]
                stop = time.perf_counter() + seconds

                async def loop(name: str, once: Once = once, took: list[float] = took) -> None:
                    while (began := time.perf_counter()) < stop:  # noqa: B023 - awaited in this turn
                        await once(name)
                        took.append(time.perf_counter() - began)

                before, began = len(took), time.perf_counter()
                await asyncio.gather(*(loop(f"name{task}") for task in range(tasks)))
                rates[side].append((len(took) - before) / (time.perf_counter() - began))
        line(
            "redis.lease.pair",
            "redis",
            tasks=tasks,
            per_second={side: round(statistics.median(got)) for side, got in rates.items()},
            p50_us={side: round(statistics.median(got) * 1e6) for side, got in times.items()},
            p99_us={
                side: round(statistics.quantiles(got, n=100)[98] * 1e6)
                for side, got in times.items()
            },
        )
    await ours.execute("FLUSHALL")


async def waiting(ours: RedisClient, plain: Redis, seconds: float) -> None:
    """Commands per second of one waiter, as the server counts them."""
    asked: dict[str, float] = {}
    mine = Lease(ours, "held", length=LENGTH, after_restart="grant")
    async with mine, plain.lock("held", timeout=60):
        for side, waiter in {
            "lease": Lease(ours, "held").acquire(),
            "lease, wake=": Lease(ours, "held", wake=ours.pubsub()).acquire(),
            "redis-py": plain.lock("held", timeout=60).acquire(),
        }.items():
            await ours.execute("CONFIG", "RESETSTAT")
            task = asyncio.ensure_future(waiter)
            await asyncio.sleep(seconds)
            stats = (await ours.execute("INFO", "commandstats")).decode()
            task.cancel()
            await asyncio.wait({task})
            asked[side] = calls(stats, "set" if side == "redis-py" else "eval") / seconds
    line(
        "redis.lease.waiter",
        "redis",
        commands_per_second={k: round(v, 1) for k, v in asked.items()},
    )


def calls(stats: str, prefix: str) -> int:
    return sum(
        int(row.split("calls=")[1].split(",")[0])
        for row in stats.splitlines()
        if row.startswith(f"cmdstat_{prefix}")
    )


async def after_release(ours: RedisClient, plain: Redis, times: int) -> None:
    """Seconds from a release until the one who waits has it."""
    took: dict[str, list[float]] = {"lease": [], "lease, wake=": [], "redis-py": []}
    for _ in range(times):
        for side, found in took.items():
            wake = ours.pubsub() if side == "lease, wake=" else None
            if side == "redis-py":
                first, second = (plain.lock("next", timeout=60) for _ in range(2))
            else:
                first, second = (
                    Lease(ours, "next", length=60, after_restart="grant", wake=wake)
                    for _ in range(2)
                )
            await first.acquire()
            task = asyncio.ensure_future(second.acquire())
            # Who was refused a moment ago keeps its distance; this is the time of one who waits.
            await asyncio.sleep(0.8 + 0.01 * len(found))
            began = time.perf_counter()
            await first.release()
            await task
            found.append(time.perf_counter() - began)
            await second.release()
    line(
        "redis.lease.after_release",
        "redis",
        p50_ms={side: round(statistics.median(got) * 1e3, 2) for side, got in took.items()},
        worst_ms={side: round(max(got) * 1e3, 2) for side, got in took.items()},
    )


async def after_kill(ours: RedisClient, url: str, times: int) -> None:
    """Seconds from kill -9 of a holder until the next has it; the lease is of one second."""
    took: dict[str, list[float]] = {"lease": [], "lease, wake=": []}
    for _ in range(times):
        for side, found in took.items():
            wake = ours.pubsub() if side == "lease, wake=" else None
            holder = subprocess.Popen(  # noqa: ASYNC220 - nothing else happens here
                [sys.executable, str(HOLDER), "hold", url, "1.0"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert holder.stdout is not None
            await asyncio.to_thread(holder.stdout.readline)
            lease = Lease(ours, "a", length=1.0, after_restart="grant", wake=wake)
            task = asyncio.ensure_future(lease.acquire())
            await asyncio.sleep(0.7)
            holder.send_signal(signal.SIGKILL)
            began = time.perf_counter()
            await task
            found.append(time.perf_counter() - began)
            await lease.release()
            holder.communicate()
    line(
        "redis.lease.after_kill",
        "redis",
        length_s=1.0,
        p50_s={side: round(statistics.median(got), 2) for side, got in took.items()},
        worst_s={side: round(max(got), 2) for side, got in took.items()},
    )


async def main(url: str, rounds: int, *, quick: bool) -> None:
    plain, driver = Redis.from_url(url, max_connections=128), Redis.from_url(url)
    async with connect(url, deadline=5.0) as ours, wrap(driver, deadline=5.0) as wrapped:
        all_sides = sides(ours, plain, wrapped)
        await round_trips(ours, all_sides)
        await pairs(ours, all_sides, rounds, 0.1 if quick else 0.7)
        await waiting(ours, plain, 1.0 if quick else 3.0)
        await after_release(ours, plain, rounds if quick else 3 * rounds)
        await after_kill(ours, url, rounds)
    await plain.aclose()
    await driver.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="see whether it runs")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    with redis_server() as server:
        asyncio.run(main(server.url, rounds, quick=arguments.quick))
