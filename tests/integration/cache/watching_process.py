"""One of several processes that watch a database.

Run: python watching_process.py MONGODB_URI REDIS_URL DATABASE LEASE

It says what becomes of its watching, a line each, until its input ends; last how many changes it
heard of.
"""

import asyncio
import sys

from symphonia_perf._core.events import Event
from symphonia_perf.cache import (
    Cache,
    ChangeStreamEvent,
    ChangeStreamInvalidator,
    RedisCacheStore,
)
from symphonia_perf.mongo import PoolOptions, create_async_client
from symphonia_perf.redis import connect
from tests.integration.cache.watched import ROUTES, RULES


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - its report


def tell(event: Event) -> None:
    if isinstance(event, ChangeStreamEvent):
        say(event.kind)


async def main(uri: str, url: str, database: str, lease: float) -> None:
    client = create_async_client(PoolOptions.from_uri(uri))
    async with (
        client,
        connect(url, deadline=5.0) as redis,
        Cache(RedisCacheStore(redis), rules=RULES) as cache,
        ChangeStreamInvalidator(
            client[database], cache, routes=ROUTES, redis=redis, lease=lease, observer=tell
        ) as watcher,
    ):
        say("ready")
        await asyncio.to_thread(sys.stdin.read)
        changes = watcher.stats().changes
    say(f"heard {changes}")


if __name__ == "__main__":
    _, uri, url, database, lease = sys.argv
    asyncio.run(main(uri, url, database, float(lease)))
