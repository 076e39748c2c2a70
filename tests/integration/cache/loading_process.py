"""One of several processes that want one key.

Run: python loading_process.py URL CALLERS SECONDS LEASE

It says `ready`, begins when it is told anything, says `loading` for each run of its loader, and
ends with a line of JSON: how many runs, and what its callers got.
"""

import asyncio
import json
import sys
import time
from collections import Counter

from symphonia_perf.cache import Cache, LoadOptions, RedisCacheStore
from symphonia_perf.redis import connect


async def main(url: str, callers: int, length: float, lease: float) -> None:
    runs = 0
    loading = LoadOptions(lock="distributed", lease=lease)
    async with (
        connect(url, deadline=5.0) as redis,
        Cache(RedisCacheStore(redis), loading=loading) as cache,
    ):

        async def load() -> str:
            nonlocal runs
            runs += 1
            print("loading", flush=True)  # noqa: T201 - its report
            await asyncio.sleep(length)
            return "loaded"

        print("ready", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        started = time.monotonic()
        answers = await asyncio.gather(*(cache.get_or_load("plan:1", load) for _ in range(callers)))
        took = time.monotonic() - started
    print(json.dumps({"runs": runs, "answers": Counter(answers), "took": took}), flush=True)  # noqa: T201


if __name__ == "__main__":
    _, url, callers, length, lease = sys.argv
    asyncio.run(main(url, int(callers), float(length), float(lease)))
