"""CLIENT TRACKING: from a write to the callback, and what 50 listening processes cost the writer.

Run: .venv/bin/python benchmarks/redis/bench_tracking.py
The first line is the time from before a SET to the callback, on another connection of the process.
The others have one writer, 0 and 50 processes that track all it writes, and 50 that hear a message
published with each write instead. `writer` is its SETs a second, so many at a time, as fast as it
goes; `paced` the time that each of 1,000 SETs a second takes, one after the other; both with the
server's processor time for one. Rounds take turns; read the ratios of medians. The listeners have
only the machine's idle time (SCHED_IDLE): on two cores the server is to be measured, not fifty
Pythons.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing.servers import redis_server

PROCESSES = 50
SECONDS = 1.0
TOGETHER = (1, 64, 512)
PACE = 1_000  # writes a second
PACED_SECONDS = 3.0
Cost = tuple[float, float]
READY = "ready\n"


async def track(url: str) -> None:
    """Be one of the processes that are told; ends with its standard input."""
    async with (
        connect(url, deadline=30.0) as redis,
        redis.tracking("k:", on_key=lambda _: None, on_flush=lambda: None),
    ):
        sys.stdout.write(READY)
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


async def subscribe(url: str) -> None:
    """The same by pub/sub."""

    async def listen() -> None:
        async for _ in listener:
            pass

    async with (
        connect(url, deadline=30.0) as redis,
        redis.pubsub().subscribe("k") as listener,
    ):
        task = asyncio.create_task(listen())
        sys.stdout.write(READY)
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        task.cancel()


@contextmanager
def processes(kind: str, url: str, count: int) -> Iterator[None]:
    """So many of them, all listening."""
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--be", kind, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == READY
        yield
    finally:
        for process in running:
            process.communicate("")


async def latency(url: str, writes: int) -> dict[str, float]:
    """Milliseconds from before SET to the callback; the writer is another connection."""
    told: asyncio.Future[int] | None = None

    def on_key(_: str) -> None:
        if told is not None and not told.done():
            told.set_result(time.perf_counter_ns())

    delays: list[int] = []
    loop = asyncio.get_running_loop()
    async with (
        connect(url, deadline=5.0) as redis,
        redis.tracking("k:", on_key=on_key, on_flush=lambda: None),
    ):
        for n in range(writes):
            told = loop.create_future()
            began = time.perf_counter_ns()
            await redis.execute("SET", f"k:{n % 100}", "x")
            delays.append(await told - began)
    cuts = quantiles(delays, n=100)
    return {"p50_ms": round(cuts[49] / 1e6, 3), "p99_ms": round(cuts[98] / 1e6, 3)}


async def spent(redis: RedisClient) -> float:
    """Seconds of processor time that the server has used."""
    told = (await redis.execute("INFO", "cpu")).decode().split()
    cpu = dict(field.split(":") for field in told if ":" in field)
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def batch(together: int, *, publishes: bool) -> list[tuple[str, ...]]:
    """So many writes, and what tells of them where the server does not."""
    writes: list[tuple[str, ...]] = [("SET", f"k:{n}", "x") for n in range(together)]
    return writes + [("PUBLISH", "k", f"k:{n}") for n in range(together) if publishes]


async def rate(url: str, together: int, *, publishes: bool) -> Cost:
    """SETs a second of one writer, and the server's microseconds for each."""
    async with connect(url, deadline=30.0) as redis:
        commands = batch(together, publishes=publishes)
        done, cpu = 0, await spent(redis)
        began = time.perf_counter()
        while time.perf_counter() < began + SECONDS:
            await redis.execute_many(commands)
            done += together
        took = time.perf_counter() - began
        return done / took, (await spent(redis) - cpu) / done * 1e6


async def paced(url: str, *, publishes: bool) -> tuple[list[int], Cost]:
    """Nanoseconds of each write of one writer that is not in a hurry; its rate, and as above."""
    delays: list[int] = []
    async with connect(url, deadline=30.0) as redis:
        commands = batch(1, publishes=publishes)
        cpu, began = await spent(redis), time.perf_counter()
        while (now := time.perf_counter()) < began + PACED_SECONDS:
            if (early := began + len(delays) / PACE - now) > 0:
                await asyncio.sleep(early)
            before = time.perf_counter_ns()
            await redis.execute_many(commands)
            delays.append(time.perf_counter_ns() - before)
        took = time.perf_counter() - began
        used = await spent(redis) - cpu
    return delays, (len(delays) / took, used / len(delays) * 1e6)


class Found:
    """What the sides cost, over all rounds."""

    def __init__(self) -> None:
        self.rates: dict[tuple[int, str], list[Cost]] = {}
        self.delays: dict[str, list[int]] = {}
        self.paced: dict[str, list[Cost]] = {}

    def round(self, url: str) -> None:
        """Measure every side once."""
        for name, kind, count in (
            ("alone", "track", 0),
            ("tracking", "track", PROCESSES),
            ("publishing alone", "subscribe", 0),
            ("pubsub", "subscribe", PROCESSES),
        ):
            publishes = kind == "subscribe"
            with processes(kind, url, count):
                for together in TOGETHER:
                    got = asyncio.run(rate(url, together, publishes=publishes))
                    self.rates.setdefault((together, name), []).append(got)
                delays, cost = asyncio.run(paced(url, publishes=publishes))
                self.delays.setdefault(name, []).extend(delays)
                self.paced.setdefault(name, []).append(cost)

    def tell(self, **shared: Any) -> None:
        """One line for each."""
        for together in TOGETHER:
            mine = {name: got for (size, name), got in self.rates.items() if size == together}
            rates = {name: round(median(r for r, _ in got)) for name, got in mine.items()}
            line(
                "redis.tracking.writer",
                "hiredis",
                together=together,
                **shared,
                writes_per_second=rates,
                server_cpu_us=server_cpu(mine),
                tracking_of_alone=round(rates["tracking"] / rates["alone"], 2),
                pubsub_of_alone=round(rates["pubsub"] / rates["publishing alone"], 2),
            )
        cuts = {name: quantiles(delays, n=100) for name, delays in self.delays.items()}
        line(
            "redis.tracking.paced",
            "hiredis",
            **shared,
            writes_per_second={n: round(median(r for r, _ in c)) for n, c in self.paced.items()},
            p50_us={name: round(cut[49] / 1e3) for name, cut in cuts.items()},
            p99_us={name: round(cut[98] / 1e3) for name, cut in cuts.items()},
            server_cpu_us=server_cpu(self.paced),
        )


def server_cpu(costs: dict[str, list[Cost]]) -> dict[str, float]:
    """Microseconds for one write, in the middle round."""
    return {name: round(median(cpu for _, cpu in got), 2) for name, got in costs.items()}


def main(url: str, rounds: int, *, pinned: bool) -> None:
    shared = {"pinned": pinned, "writes": 20_000}
    line("redis.tracking.latency", "hiredis", **shared, **asyncio.run(latency(url, 20_000)))
    found = Found()
    for _ in range(rounds):
        found.round(url)
    found.tell(processes=PROCESSES, rounds=rounds, pinned=pinned)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--be", nargs=2, metavar=("KIND", "URL"))
    arguments = parser.parse_args()
    if arguments.be:
        kind, where = arguments.be
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        asyncio.run(track(where) if kind == "track" else subscribe(where))
    else:
        with redis_server() as server:
            cores = sorted(os.sched_getaffinity(0))
            pinned = len(cores) > 1
            if pinned:
                os.sched_setaffinity(server.pid, {cores[0]})
                os.sched_setaffinity(0, {cores[1]})
            main(server.url, arguments.rounds, pinned=pinned)
