"""Messages to 1,000 listeners on 1,000 channels of one process, ours against redis-py's pub/sub.

Run: .venv/bin/python benchmarks/redis/bench_pubsub.py [--rounds N] [--quick]
A process of its own publishes, at 10,000 messages a second and then as fast as the listeners can
follow. Each listener is one task that awaits its messages; with redis-py, which has one stream of
messages for all, one more task reads that and puts each message into its listener's queue. The
latency is from before PUBLISH to the listener's task. Server and publisher share one core, the
listening process has the other, where two are free. Sides take turns; each figure is that of the
middle round.
"""

import argparse
import asyncio
import os
import resource
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from redis.asyncio import Redis

from benchmarks.lines import line
from symphonia_perf.redis import Message, connect
from symphonia_perf.testing.servers import redis_server

CHANNELS = 1_000
TURN = 0.01  # seconds between two batches of the publisher


def now() -> bytes:
    """The time, which is the same in all processes of the machine."""
    return b"%d" % time.monotonic_ns()


async def publish(url: str, count: int, rate: int) -> None:
    """Send `count` messages over all channels, `rate` a second."""
    batch = max(int(rate * TURN), 1)
    async with connect(url, deadline=30.0) as redis:
        began = time.perf_counter()
        for sent in range(0, count, batch):
            stamp = now()
            await redis.execute_many(
                [("PUBLISH", f"c{n % CHANNELS}", stamp) for n in range(sent, sent + batch)]
            )
            await asyncio.sleep(max(0.0, began + (sent + batch) / rate - time.perf_counter()))


class Count:
    """What the listeners heard."""

    def __init__(self, expected: int) -> None:
        self.delays: list[int] = []
        self.expected = expected
        self.done = asyncio.Event()

    def hear(self, payload: bytes) -> None:
        """Take note of one message."""
        self.delays.append(time.monotonic_ns() - int(payload))
        if len(self.delays) == self.expected:
            self.done.set()


async def ours(url: str, count: Count, ready: asyncio.Event) -> None:
    async with connect(url, deadline=30.0) as redis, AsyncExitStack() as stack:
        entering = (
            stack.enter_async_context(redis.pubsub().subscribe(f"c{n}")) for n in range(CHANNELS)
        )
        listeners = await asyncio.gather(*entering)

        async def listen(listener: Any) -> None:
            async for heard in listener:
                if isinstance(heard, Message):
                    count.hear(heard.payload)

        tasks = [asyncio.create_task(listen(listener)) for listener in listeners]
        ready.set()
        await count.done.wait()
        for task in tasks:
            task.cancel()


async def theirs(url: str, count: Count, ready: asyncio.Event) -> None:
    async with Redis.from_url(url, protocol=3) as client, client.pubsub() as pubsub:
        queues = {f"c{n}".encode(): asyncio.Queue[bytes]() for n in range(CHANNELS)}
        await pubsub.subscribe(*queues)

        async def listen(queue: asyncio.Queue[bytes]) -> None:
            while True:
                count.hear(await queue.get())

        async def dispatch() -> None:
            subscribed = 0
            async for message in pubsub.listen():
                if message["type"] == "message":
                    queues[message["channel"]].put_nowait(message["data"])
                else:
                    subscribed += 1
                    if subscribed == CHANNELS:
                        ready.set()

        tasks = [asyncio.create_task(listen(queue)) for queue in queues.values()]
        tasks.append(asyncio.create_task(dispatch()))
        await count.done.wait()
        for task in tasks:
            task.cancel()


async def turn(side: Any, url: str, messages: int, rate: int, cores: list[int]) -> dict[str, float]:
    """How one side did."""
    count, ready = Count(messages), asyncio.Event()
    listening = asyncio.create_task(side(url, count, ready))
    await ready.wait()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--publish", url, str(messages), str(rate)
    )
    if len(cores) > 1:
        os.sched_setaffinity(publisher.pid, {cores[0]})
    async with asyncio.timeout(120):
        await listening
    took = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    await publisher.wait()
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    cuts = statistics.quantiles(count.delays, n=100)
    return {
        "p50_ms": round(cuts[49] / 1e6, 2),
        "p99_ms": round(cuts[98] / 1e6, 2),
        "cpu_us": round(cpu / messages * 1e6, 1),  # per message, the listening process
        "seconds": round(took, 1),  # the publisher's start included
    }


async def main(url: str, cores: list[int], rounds: int, messages: int) -> None:
    sides = {"ours": ours, "redis-py": theirs}
    for rate in (10_000, 1_000_000):
        found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                found[name].append(await turn(side, url, messages, rate, cores))
        for name, turns in found.items():
            line(
                "redis.pubsub",
                "redis",
                "hiredis",
                side=name,
                channels=CHANNELS,
                messages=messages,
                per_second=rate,
                rounds=rounds,
                pinned=len(cores) > 1,
                **{each: statistics.median(one[each] for one in turns) for each in turns[0]},
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publish", nargs=3, metavar=("URL", "COUNT", "RATE"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="see whether it runs")
    arguments = parser.parse_args()
    if arguments.publish:
        where, how_many, how_fast = arguments.publish
        asyncio.run(publish(where, int(how_many), int(how_fast)))
    else:
        with redis_server() as server:
            cores = sorted(os.sched_getaffinity(0))[:2]
            if len(cores) > 1:
                os.sched_setaffinity(server.pid, {cores[0]})
                os.sched_setaffinity(0, {cores[1]})
            rounds, messages = (1, 5_000) if arguments.quick else (arguments.rounds, 50_000)
            asyncio.run(main(server.url, cores, rounds, messages))
