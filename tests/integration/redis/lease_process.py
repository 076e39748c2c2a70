"""A process that wants a lease: `contend` for it with many tasks, `hold` it, stand for election, or
be a `crowd` of processes.

Says on stdout what its parent waits for. What it writes to Redis while it holds the lease goes to
the list `log`, which the test reads afterwards.
"""

import asyncio
import os
import random
import sys
import time

from symphonia_perf.errors import LeaseLost, LeaseTimeout
from symphonia_perf.redis import Elected, Lease, RedisClient, connect


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def contend(redis: RedisClient, *, tasks: int, seconds: float, length: float) -> None:
    """Hold it again and again, for a moment each; who comes second writes a smaller number."""
    stop = time.monotonic() + seconds
    wake = redis.pubsub() if os.getpid() % 2 else None  # some are told, some only ask

    async def one() -> None:
        while (left := stop - time.monotonic()) > 0:
            lease = Lease(redis, "a", length=length, timeout=left, after_restart="grant", wake=wake)
            try:
                async with lease:
                    await redis.execute("RPUSH", "log", f"{os.getpid()} {lease.check()} begin")
                    await asyncio.sleep(random.random() * 0.004)
                    await redis.execute("RPUSH", "log", f"{os.getpid()} {lease.check()} end")
            except LeaseTimeout:
                return
            except LeaseLost:
                say("lost")

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(one())


async def hold(redis: RedisClient, *, length: float) -> None:
    """Hold it; for each line on stdin, check and write."""
    async with Lease(redis, "a", length=length, on_lost="raise", after_restart="grant") as lease:
        say(lease.check())
        while await asyncio.to_thread(sys.stdin.readline):
            try:
                number = lease.check()
            except LeaseLost:
                say("LeaseLost")
                raise
            await redis.execute("RPUSH", "log", f"{os.getpid()} {number} write")
            say("written")


async def elect(redis: RedisClient, *, length: float) -> None:
    """Work, when it is elected, until it is told to end."""

    async def work(lease: Lease) -> None:
        say(lease.check())
        await asyncio.sleep(3600)

    async with Elected(Lease(redis, "a", length=length, after_restart="grant"), work):
        await asyncio.to_thread(sys.stdin.readline)


def crowd(url: str, length: str, processes: str, seconds: str) -> int:
    """How many of so many processes failed; each is a fork, so it is there at once and small."""
    children: list[int] = []
    for _ in range(int(processes)):
        if (child := os.fork()) == 0:
            failed = 1
            try:
                asyncio.run(main("contend", url, length, "1", seconds))
                failed = 0
            finally:
                sys.stderr.flush()
                os._exit(failed)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


async def main(what: str, url: str, length: str, *numbers: str) -> None:
    async with connect(url, deadline=5.0) as redis:
        if what == "contend":
            tasks, seconds = numbers
            await contend(redis, tasks=int(tasks), seconds=float(seconds), length=float(length))
        elif what == "hold":
            await hold(redis, length=float(length))
        else:
            await elect(redis, length=float(length))


if __name__ == "__main__":
    if sys.argv[1] == "crowd":
        sys.exit(crowd(*sys.argv[2:]))
    try:
        asyncio.run(main(*sys.argv[1:]))
    except LeaseLost:
        sys.exit(3)
