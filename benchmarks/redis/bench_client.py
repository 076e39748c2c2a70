"""GET of a 2 KB value: our client against a bare protocol, redis-py and the adapter.

Run: .venv/bin/python benchmarks/redis/bench_client.py
Sides take turns within a round; the ratio of medians is what to read. Where two cores are free, the
server is pinned to one and the client to the other, and the line says so.
"""

import argparse
import asyncio
import os
import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import hiredis
from redis.asyncio import Redis

from benchmarks.lines import line
from symphonia_perf.redis import connect, wrap
from symphonia_perf.testing.servers import redis_server

VALUE = b"x" * 2048
TASKS = (1, 64, 256)
SECONDS = 1.0


class Floor(asyncio.Protocol):
    """The least that shares one connection: hiredis, futures, one write per loop turn."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.reader: Any = hiredis.Reader()
        self.pending: deque[asyncio.Future[Any]] = deque()
        self.buffer: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        """Remember the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Wake those whose replies are complete."""
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            self.pending.popleft().set_result(reply)

    def flush(self) -> None:
        """Write what this turn asked for."""
        self.transport.write(b"".join(self.buffer))
        self.buffer.clear()

    async def get(self, key: str) -> bytes:
        """The value of a key."""
        future = self.loop.create_future()
        self.pending.append(future)
        if not self.buffer:
            self.loop.call_soon(self.flush)
        self.buffer.append(hiredis.pack_command(("GET", key)))
        return await future


async def turn(get: Callable[[], Awaitable[Any]], tasks: int) -> tuple[float, float]:
    """Commands per second, and microseconds of CPU per command, of `tasks` loops."""
    stop = time.perf_counter() + SECONDS
    done = 0

    async def loop() -> None:
        nonlocal done
        while time.perf_counter() < stop:
            for _ in range(16):
                await get()
            done += 16

    usage = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(tasks)))
    took = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return done / took, cpu / done * 1e6


async def main(port: int, rounds: int, *, pinned: bool) -> None:
    url = f"redis://127.0.0.1:{port}/0"
    loop = asyncio.get_running_loop()
    plain = Redis.from_url(url, max_connections=512)
    unwrapped = Redis.from_url(url)
    _, floor = await loop.create_connection(Floor, "127.0.0.1", port)
    async with connect(url, deadline=5.0) as ours, wrap(unwrapped, deadline=5.0) as wrapped:
        await ours.execute("SET", "key", VALUE)
        sides: dict[str, Callable[[], Awaitable[Any]]] = {
            "floor": lambda: floor.get("key"),
            "ours": lambda: ours.execute("GET", "key"),
            "wrap": lambda: wrapped.execute("GET", "key"),
            "redis-py": lambda: plain.get("key"),
        }
        for tasks in TASKS:
            measured: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
            for number in range(rounds):
                for name in sorted(sides, reverse=number % 2 == 1):
                    measured[name].append(await turn(sides[name], tasks))
            rate = {name: statistics.median(r for r, _ in got) for name, got in measured.items()}
            cpu = {name: statistics.median(c for _, c in got) for name, got in measured.items()}
            line(
                "redis.client",
                "redis",
                "hiredis",
                tasks=tasks,
                rounds=rounds,
                pinned=pinned,
                loop=type(loop).__module__,
                per_second={name: round(value) for name, value in rate.items()},
                cpu_us={name: round(value, 1) for name, value in cpu.items()},
                of_floor=round(rate["ours"] / rate["floor"], 2),
                of_redis_py=round(rate["ours"] / rate["redis-py"], 2),
            )
    floor.transport.close()
    await plain.aclose()
    await unwrapped.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--uvloop", action="store_true", help="run the client on uvloop")
    arguments = parser.parse_args()
    with redis_server() as server:
        cores = sorted(os.sched_getaffinity(0))
        pinned = len(cores) > 1
        if pinned:
            os.sched_setaffinity(server.pid, {cores[0]})
            os.sched_setaffinity(0, {cores[1]})
        run = main(server.port, arguments.rounds, pinned=pinned)
        if arguments.uvloop:
            import uvloop

            uvloop.run(run)
        else:
            asyncio.run(run)
