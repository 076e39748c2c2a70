"""How often a function runs that 1,000 callers in 1 or 4 processes want at the same moment.

Each contestant as its documentation protects against a stampede. The server counts the runs.

Run: .venv/bin/python benchmarks/cache/bench_stampede.py [SECONDS ...]   (default 0.5 12)
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.cache.peers import among_peers, installed, skip

if __name__ == "__main__":
    among_peers()

from redis.asyncio import Redis

from benchmarks.lines import line
from symphonia_perf.cache import Cache, LoadOptions, RedisCacheStore
from symphonia_perf.redis import connect
from symphonia_perf.testing.servers import RedisServer, redis_server

CALLERS = 1_000
PROCESSES = (1, 4)
PATIENCE = 60.0  # seconds until a contestant counts as hanging
ONES = ("ours", "cashews", "cashews, lock", "aiocache", "fastapi-cache2", "dogpile.cache")
PACKAGES = installed("redis", "cashews", "aiocache", "fastapi-cache2", "dogpile.cache")
Call = Callable[[], Awaitable[Any]]
Load = Callable[[], Awaitable[str]]


async def contestant(
    name: str, stack: AsyncExitStack, port: int, load: Load, length: float
) -> Call:
    """One call of the contestant's cached function."""
    url = f"redis://127.0.0.1:{port}/0"
    if name == "ours":
        redis = await stack.enter_async_context(connect(url, deadline=5.0))
        loading = LoadOptions(lock="distributed")
        cache = await stack.enter_async_context(Cache(RedisCacheStore(redis), loading=loading))
        return cache.cached("plan")(load)
    if name.startswith("cashews"):
        from cashews import Cache as Cashews

        cashews = Cashews()
        cashews.setup(url, client_side=False)
        stack.push_async_callback(cashews.close)
        return cashews(ttl=3600, key="plan", lock=name.endswith("lock"))(load)  # type: ignore[no-any-return]
    if name == "aiocache":
        from aiocache import RedisCache, cached_stampede

        return cached_stampede(  # type: ignore[no-any-return]
            lease=2,
            ttl=3600,
            cache=RedisCache,
            key="plan",
            endpoint="127.0.0.1",
            port=port,
            pool_max_size=CALLERS,
        )(load)
    if name == "fastapi-cache2":
        from fastapi_cache import FastAPICache
        from fastapi_cache.backends.redis import RedisBackend
        from fastapi_cache.decorator import cache as fastapi_cached

        client = await stack.enter_async_context(Redis.from_url(url, max_connections=CALLERS))
        FastAPICache.init(RedisBackend(client), prefix="fastapi")
        return fastapi_cached(expire=3600)(load)  # type: ignore[no-any-return]
    return in_threads(port, length)


def in_threads(port: int, length: float) -> Call:
    """dogpile.cache is synchronous: a thread for each caller."""
    import redis
    from dogpile.cache import make_region

    pool = redis.ConnectionPool(port=port, max_connections=4 * CALLERS)
    arguments = {"connection_pool": pool, "distributed_lock": True, "thread_local_lock": False}
    region = make_region().configure(
        "dogpile.cache.redis", expiration_time=3600, arguments=arguments
    )
    counter = redis.Redis(connection_pool=pool)

    @region.cache_on_arguments()  # type: ignore[untyped-decorator]
    def load() -> str:
        counter.incr("runs")
        time.sleep(length)
        return "loaded"

    threads = ThreadPoolExecutor(CALLERS)
    return lambda: asyncio.get_running_loop().run_in_executor(threads, load)


async def side(name: str, port: int, callers: int, length: float) -> None:
    """One process: ready, go, and what its callers got."""
    logging.disable()
    async with AsyncExitStack() as stack:
        counter = await stack.enter_async_context(Redis(port=port, max_connections=CALLERS))

        async def load() -> str:
            await counter.incr("runs")
            await asyncio.sleep(length)
            return "loaded"

        call = await contestant(name, stack, port, load, length)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        calls = (asyncio.wait_for(call(), PATIENCE) for _ in range(callers))
        found = await asyncio.gather(*calls, return_exceptions=True)
        raised = sorted({type(each).__name__ for each in found if isinstance(each, Exception)})
        answered = sum(isinstance(each, str) for each in found)
        sys.stdout.write(json.dumps({"answered": answered, "raised": raised}) + "\n")
        sys.stdout.flush()
        os._exit(0)  # threads that hang are not waited for


def contest(name: str, server: RedisServer, processes: int, length: float) -> None:
    """Print how often one contestant's function ran."""
    server.ask("FLUSHALL")
    words = (
        sys.executable,
        __file__,
        "side",
        name,
        server.url.rpartition(":")[2].partition("/")[0],
    )
    sides = [
        subprocess.Popen(
            (*words, str(CALLERS // processes), str(length)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(processes)
    ]
    for each in sides:
        assert each.stdout is not None
        each.stdout.readline()
    started = time.perf_counter()
    for each in sides:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    said = [json.loads(each.communicate()[0] or "{}") for each in sides]
    line(
        "cache.stampede",
        *PACKAGES,
        contestant=name,
        processes=processes,
        loader_seconds=length,
        runs=int(str(server.ask("GET", "runs")) or 0),
        seconds=round(time.perf_counter() - started, 1),
        answered=sum(each.get("answered", 0) for each in said),
        raised=sorted({kind for each in said for kind in each.get("raised", ["died"])}),
    )


def main() -> None:
    if sys.argv[1:2] == ["side"]:
        _, _, name, port, callers, length = sys.argv
        asyncio.run(side(name, int(port), int(callers), float(length)))
        return
    ones = ONES[:1] if skip("cache.stampede", *ONES[1:]) else ONES
    with redis_server() as server:
        for length in map(float, sys.argv[1:] or ["0.5", "12"]):
            for processes in PROCESSES:
                for name in ones:
                    contest(name, server, processes, length)


if __name__ == "__main__":
    main()
