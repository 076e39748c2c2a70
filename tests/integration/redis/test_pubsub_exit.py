"""A process may end without closing what subscribes over redis-py."""

import asyncio
import subprocess
import sys

# After an error of another client redis-py takes the one cancellation that asyncio.run() sends for
# the end of a wait: the task that reads has to notice by itself.
PROGRAM = """
import asyncio
from fakeredis import FakeAsyncRedis, FakeServer
from symphonia_perf.errors import StoreUnavailable
from symphonia_perf.redis import wrap

async def main():
    pubsub = wrap(FakeAsyncRedis()).pubsub()
    async with pubsub.subscribe("plans") as listener:
        await pubsub.publish("plans", b"x")
        print(await anext(listener))
    server = FakeServer()
    server.connected = False
    try:
        await wrap(FakeAsyncRedis(server=server)).execute("GET", "k")
    except StoreUnavailable:
        print("away")

asyncio.run(main())
"""


async def test_a_subscriber_that_was_never_closed_does_not_keep_the_process() -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "plans" in done.stdout
    assert "away" in done.stdout
