"""Several processes, one loader run."""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from symphonia_perf.testing import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("loading_process.py")


@asynccontextmanager
async def process(url: str, callers: int, length: float, lease: float) -> AsyncIterator[Process]:
    arguments = (str(PROGRAM), url, str(callers), str(length), str(lease))
    started = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=PIPE, stdout=PIPE
    )
    try:
        assert await line(started) == "ready"
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        return (await process.stdout.readline()).decode().strip()


def go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def report(process: Process) -> dict[str, Any]:
    while (said := await line(process)) == "loading":
        pass
    found: dict[str, Any] = json.loads(said)
    return found


def commands(server: RedisServer) -> int:
    """How many commands clients of ours have sent: scripts, and reads and writes of entries."""
    sent = 0
    for row in str(server.ask("INFO", "commandstats")).splitlines():
        name, _, counts = row.removeprefix("cmdstat_").partition(":calls=")
        if name in {"eval", "evalsha", "mget"}:
            sent += int(counts.partition(",")[0])
    return sent


# The second one takes three times as long as its lease.
@pytest.mark.parametrize(("length", "lease"), [(0.5, 10.0), (2.0, 0.6)])
async def test_a_thousand_callers_in_four_processes_are_one_run(
    redis_server: RedisServer, length: float, lease: float
) -> None:
    redis_server.start()
    redis_server.ask("FLUSHALL")
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(process(redis_server.url, 250, length, lease))
            for _ in range(4)
        ]
        for each in processes:
            go(each)
        reports = await asyncio.gather(*(report(each) for each in processes))
    assert sum(each["runs"] for each in reports) == 1
    assert [each["answers"] for each in reports] == [{"loaded": 250}] * 4


async def test_a_killed_holder_is_taken_over_and_waiters_cost_little(
    redis_server: RedisServer,
) -> None:
    redis_server.start()
    redis_server.ask("FLUSHALL")
    lease = 2.0
    async with (
        process(redis_server.url, 10, 60.0, lease) as holder,
        process(redis_server.url, 250, 0.1, lease) as waiter,
    ):
        go(holder)
        assert await line(holder) == "loading"
        before = commands(redis_server)
        began = time.monotonic()
        go(waiter)
        await asyncio.sleep(1.0)
        holder.kill()
        killed = time.monotonic()
        found = await report(waiter)
        took = time.monotonic() - killed
        waited = time.monotonic() - began
        asked = commands(redis_server) - before
    assert (found["runs"], found["answers"]) == (1, {"loaded": 250})
    # The lease lasts from its last renewal; then a poll, and the load itself.
    assert took < lease + 0.3 + 0.1 + 1.5
    # Besides those it looks, looks again, and gives the lease back; another renews it meanwhile.
    assert asked <= 5 * waited + 8
