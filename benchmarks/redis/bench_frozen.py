"""A server that freezes for two seconds under callers who never give up.

Run: .venv/bin/python benchmarks/redis/bench_frozen.py [--quick]
Each caller SETs 2 KB about once a second, and at once again when that failed. Measured: how late
`StoreTimeout` comes after its deadline of 250 ms, memory above that of the same callers while all
was well, and the time from SIGCONT until the first and until every caller had a success. Whoever is
due while Python collects garbage is late by that, so the longest collection is told, too. For each
number of callers a new process; server and callers on different cores where there are two.
"""

import argparse
import asyncio
import gc
import os
import random
import resource
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from symphonia_perf.errors import StoreTimeout, StoreUnavailable
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing.servers import RedisServer, redis_server

VALUE = b"x" * 2048
DEADLINE = 0.25
PAUSE = 1.0


class Callers:
    """What many of them go through."""

    def __init__(self, client: RedisClient, count: int) -> None:
        self.client = client
        self.succeeded = [0.0] * count  # when each last did
        self.late: list[float] = []
        self.refused = 0
        self.highest = 0
        self.collecting = self.collected = 0.0  # since when, and how long at most
        gc.callbacks.append(self.garbage)
        self.tasks = [asyncio.create_task(self.call(number)) for number in range(count)]
        self.tasks.append(asyncio.create_task(self.watch()))

    async def call(self, number: int) -> None:
        """One of them; not all begin in one moment."""
        await asyncio.sleep(random.uniform(0, 2 * PAUSE))
        while True:
            asked = time.perf_counter()
            try:
                await self.client.execute("SET", f"key:{number}", VALUE)
            except StoreTimeout:
                self.late.append(time.perf_counter() - asked - DEADLINE)
            except StoreUnavailable:
                self.refused += 1
                await asyncio.sleep(0.05)
            else:
                self.succeeded[number] = time.perf_counter()
                await asyncio.sleep(random.uniform(0, 2 * PAUSE))

    def garbage(self, phase: str, _: dict[str, int]) -> None:
        """Remember the longest collection."""
        now = time.perf_counter()
        if phase == "start":
            self.collecting = now
        else:
            self.collected = max(self.collected, now - self.collecting)

    async def watch(self) -> None:
        """Look at the memory now and then."""
        while True:
            self.highest = max(self.highest, resident())
            await asyncio.sleep(0.02)

    async def all_since(self, moment: float) -> float | None:
        """Milliseconds until each had a success after `moment`; None: not within a minute."""
        while min(self.succeeded) < moment:
            if time.perf_counter() - moment > 60.0:
                return None
            await asyncio.sleep(0.002)
        return round((time.perf_counter() - moment) * 1000, 1)

    async def stop(self) -> None:
        """Let them go."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def freeze(url: str, pid: int, count: int, seconds: float) -> dict[str, float | None]:
    """The figures for so many callers."""
    async with connect(url, deadline=DEADLINE) as client:
        callers = Callers(client, count)
        if await callers.all_since(time.perf_counter()) is None:
            raise SystemExit(f"{count} callers are too many for this machine")
        before, well, callers.collected = callers.highest, len(callers.late), 0.0
        os.kill(pid, signal.SIGSTOP)
        frozen = time.perf_counter()
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
        resumed = time.perf_counter()
        while max(callers.succeeded) < resumed:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        first = max(callers.succeeded) - resumed
        last = await callers.all_since(resumed)
        await callers.stop()
    late = callers.late[well:]
    return {
        "timeouts_while_well": well,
        "timeouts": len(late),
        "frozen_s": round(resumed - frozen, 2),
        "late_p50_ms": round(quantiles(late, n=100)[49] * 1000, 1),
        "late_p99_ms": round(quantiles(late, n=100)[98] * 1000, 1),
        "late_max_ms": round(max(late) * 1000, 1),
        "longest_collection_ms": round(callers.collected * 1000, 1),
        "refused": callers.refused,
        "memory_before_mib": round(before / 2**20, 1),
        "memory_extra_mib": round((callers.highest - before) / 2**20, 1),
        "first_success_ms": round(first * 1000, 1),
        "all_succeeded_ms": last,
    }


def alone(
    url: str, pid: int, count: int, seconds: float, core: int | None
) -> dict[str, float | None]:
    """The same, in this process on its core."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    return asyncio.run(freeze(url, pid, count, seconds))


def main(server: RedisServer, seconds: float, rounds: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    core = None
    if len(cores) > 1:
        core = cores[1]
        os.sched_setaffinity(server.pid, {cores[0]})
    for count in (1_000, 10_000):
        for _ in range(rounds):
            server.ask("FLUSHALL")
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                words = (server.url, server.pid, count, seconds, core)
                found = pool.submit(alone, *words).result()
            line(
                "redis.frozen", "redis", "hiredis", callers=count, pinned=core is not None, **found
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see whether it runs")
    quick = parser.parse_args().quick
    with redis_server() as started:
        main(started, 0.5 if quick else 2.0, 1 if quick else 3)
