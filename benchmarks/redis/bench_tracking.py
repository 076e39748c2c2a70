"""CLIENT TRACKING: from a write to the callback, and what fifty listeners cost who writes.

Run: .venv/bin/python benchmarks/redis/bench_tracking.py [--rounds N] [--quick]
The first line is the time from before a SET to the callback, on another connection of the process.
The others have one writer, and as listeners

- `alone`: nobody,
- `registered`: fifty connections whose process is stopped, so that the server's own work is all
  that is there,
- `one process`: fifty connections of one process, which reads them,
- `processes`: fifty processes with one connection each,
- `publishing alone` and `messages`: nobody, and fifty processes, where the writer publishes a
  message with each write instead.

`paced` is a writer with a rate of its own, one write at a time or a hundred together: the rate it
kept, how long each turn took, and the server's processor time for each write. `writer` writes as
fast as it goes. Rounds take turns; read the ratios of medians. Server and writer have a core each,
where there are two. Listeners share both, and have only their idle time (SCHED_IDLE): the server is
to be measured, not fifty Pythons.
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing.servers import redis_server

TOGETHER = (1, 64, 512)
PACED = ((1, 1_000), (100, 10_000))  # writes in one turn, writes a second
READY = "ready\n"


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is done."""

    rounds: int = 3
    listeners: int = 50
    seconds: float = 0.7  # as fast as it goes
    paced_seconds: float = 1.5
    latencies: int = 20_000


class Side(NamedTuple):
    """Who listens."""

    name: str
    kind: str = "track"
    processes: int = 0
    each: int = 1  # connections
    stopped: bool = False

    @property
    def publishes(self) -> bool:
        """Whether the writer has to tell."""
        return self.kind == "subscribe"


class Cost(NamedTuple):
    """What one writer did in one round."""

    rate: float  # writes a second
    server: float  # microseconds of its processor for each write
    turns: Sequence[int] = ()  # nanoseconds that each took


def sides(listeners: int) -> list[Side]:
    """All that are compared."""
    return [
        Side("alone"),
        Side("registered", processes=1, each=listeners, stopped=True),
        Side("one process", processes=1, each=listeners),
        Side("processes", processes=listeners),
        Side("publishing alone", "subscribe"),
        Side("messages", "subscribe", processes=listeners),
    ]


# Listeners


async def listen(kind: str, url: str, count: int) -> None:
    """Hear of everything on so many connections; ends with standard input."""
    async with AsyncExitStack() as stack:
        tasks: list[asyncio.Task[None]] = []
        for _ in range(count):
            redis = connect(url, deadline=30.0)
            if kind == "track":
                tracking = redis.tracking("k:", on_key=lambda _: None, on_flush=lambda: None)
                await stack.enter_async_context(tracking)
            else:
                await stack.enter_async_context(redis)
                heard = await stack.enter_async_context(redis.pubsub().subscribe("k"))
                tasks.append(asyncio.create_task(drain(heard)))
        sys.stdout.write(READY)
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()


async def drain(listener: Any) -> None:
    async for _ in listener:
        pass


@contextmanager
def listening(side: Side, url: str) -> Iterator[list[int]]:
    """The processes that listen, by their ids."""
    running = [
        subprocess.Popen(
            [sys.executable, __file__, "--be", side.kind, url, str(side.each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(side.processes)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == READY
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.communicate("")


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Nothing of theirs runs; what they are sent waits in the kernel."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


# The writer


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


async def write(
    url: str, together: int, seconds: float, *, publishes: bool, pace: float | None = None
) -> Cost:
    """What a writer does in so many seconds, at most `pace` writes in each."""
    async with connect(url, deadline=30.0) as redis:
        commands = batch(together, publishes=publishes)
        turns: list[int] = []
        cpu, began = await spent(redis), time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            if pace and (early := began + len(turns) * together / pace - now) > 0:
                await asyncio.sleep(early)
            before = time.perf_counter_ns()
            await redis.execute_many(commands)
            turns.append(time.perf_counter_ns() - before)
        took, writes = time.perf_counter() - began, len(turns) * together
        return Cost(writes / took, (await spent(redis) - cpu) / writes * 1e6, turns)


# Rounds


class Found:
    """What the sides cost, over all rounds."""

    def __init__(self, extent: Extent) -> None:
        self.extent = extent
        self.paced: dict[tuple[int, int], dict[str, list[Cost]]] = {}
        self.fast: dict[int, dict[str, list[Cost]]] = {}

    def round(self, url: str) -> None:
        """Measure every side once."""
        for side in sides(self.extent.listeners):
            with listening(side, url) as pids:
                for together, pace in PACED:
                    seconds = self.extent.paced_seconds
                    with stopped(pids if side.stopped else ()):
                        got = asyncio.run(
                            write(url, together, seconds, publishes=side.publishes, pace=pace)
                        )
                    of = self.paced.setdefault((together, pace), {})
                    of.setdefault(side.name, []).append(got)
                # What nobody reads would fill the kernel's buffers here, and stay in the server.
                for together in () if side.stopped else TOGETHER:
                    got = asyncio.run(
                        write(url, together, self.extent.seconds, publishes=side.publishes)
                    )
                    self.fast.setdefault(together, {}).setdefault(side.name, []).append(got)

    def tell(self, **shared: Any) -> None:
        """One line for each."""
        shared |= {"listeners": self.extent.listeners, "rounds": self.extent.rounds}
        for (together, pace), costs in self.paced.items():
            server = server_cpu(costs)
            own = (server["registered"] - server["alone"]) * together / self.extent.listeners
            line(
                "redis.tracking.paced",
                "hiredis",
                **shared,
                together=together,
                pace=pace,
                writes_per_second=rates(costs),
                turn_p50_us=of_turns(costs, 50),
                turn_p99_us=of_turns(costs, 99),
                server_cpu_us=server,  # for one write
                server_cpu_us_of_turn_and_listener=round(own, 2),
            )
        for together, costs in self.fast.items():
            found = rates(costs)
            line(
                "redis.tracking.writer",
                "hiredis",
                **shared,
                together=together,
                writes_per_second=found,
                server_cpu_us=server_cpu(costs),
                of_alone={
                    name: round(found[name] / found["alone"], 2)
                    for name in ("one process", "processes")
                },
                messages_of_publishing=round(found["messages"] / found["publishing alone"], 2),
            )


def rates(costs: dict[str, list[Cost]]) -> dict[str, int]:
    """Writes a second, in the middle round."""
    return {name: round(median(cost.rate for cost in got)) for name, got in costs.items()}


def server_cpu(costs: dict[str, list[Cost]]) -> dict[str, float]:
    """Microseconds for one write, in the middle round."""
    return {name: round(median(cost.server for cost in got), 2) for name, got in costs.items()}


def of_turns(costs: dict[str, list[Cost]], percentile: int) -> dict[str, int]:
    """Microseconds that a turn of the writer took, of all rounds."""
    return {
        name: round(quantiles([t for cost in got for t in cost.turns], n=100)[percentile - 1] / 1e3)
        for name, got in costs.items()
    }


def main(url: str, extent: Extent, *, pinned: bool) -> None:
    writes = extent.latencies
    found = asyncio.run(latency(url, writes))
    line("redis.tracking.latency", "hiredis", pinned=pinned, writes=writes, **found)
    measured = Found(extent)
    for _ in range(extent.rounds):
        measured.round(url)
    measured.tell(pinned=pinned)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=Extent.rounds)
    parser.add_argument("--quick", action="store_true", help="see whether it runs")
    parser.add_argument("--be", nargs=3, metavar=("KIND", "URL", "COUNT"))
    arguments = parser.parse_args()
    if arguments.be:
        kind, where, count = arguments.be
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        asyncio.run(listen(kind, where, int(count)))
    else:
        extent = Extent(rounds=arguments.rounds)
        if arguments.quick:
            extent = Extent(rounds=1, listeners=5, seconds=0.1, paced_seconds=0.2, latencies=1_000)
        with redis_server() as server:
            cores = sorted(os.sched_getaffinity(0))
            pinned = len(cores) > 1
            if pinned:
                os.sched_setaffinity(server.pid, {cores[0]})
                os.sched_setaffinity(0, {cores[1]})
            main(server.url, extent, pinned=pinned)
