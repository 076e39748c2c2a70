"""One client in a process of its own, run by bench_client.py: a turn per line on stdin.

It needs nothing but the client it measures, so that it runs in that client's own environment. A
line in is `{"tasks": 64, "seconds": 1.0, "core": 1}`; a line out is what that turn measured.
"""

import argparse
import asyncio
import json
import os
import resource
import ssl
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles
from typing import Any

VALUE = b"x" * 2048
PATIENT = 5.0  # seconds of deadline, for all: nobody measures how requests fail
Get = Callable[[], Awaitable[Any]]


def floor() -> Callable[..., AbstractAsyncContextManager[Get]]:
    """The least that shares one connection: hiredis, futures, one write per loop turn."""
    import hiredis

    pack: Any = hiredis.pack_command  # its stub knows one word

    class Floor(asyncio.Protocol):
        def __init__(self) -> None:
            self.loop = asyncio.get_running_loop()
            self.reader: Any = hiredis.Reader()
            self.pending: deque[asyncio.Future[Any]] = deque()
            self.buffer: list[bytes] = []

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.reader.feed(data)
            while (reply := self.reader.gets()) is not False:
                self.pending.popleft().set_result(reply)

        def flush(self) -> None:
            self.transport.write(b"".join(self.buffer))
            self.buffer.clear()

        async def get(self, key: str) -> Any:
            future = self.loop.create_future()
            self.pending.append(future)
            if not self.buffer:
                self.loop.call_soon(self.flush)
            self.buffer.append(pack(("GET", key)))
            return await future

    @asynccontextmanager
    async def connected(port: int, ca: str | None) -> AsyncIterator[Get]:
        tls = ssl.create_default_context(cafile=ca) if ca else None
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Floor, "localhost", port, ssl=tls)
        yield partial(protocol.get, "key")
        transport.close()

    return connected


def url(port: int, ca: str | None) -> str:
    """Where redis-py and what reads its URLs connect."""
    return f"rediss://localhost:{port}/0?ssl_ca_certs={ca}" if ca else f"redis://localhost:{port}/0"


def ours() -> Callable[..., AbstractAsyncContextManager[Get]]:
    """`connect()`."""
    from symphonia_perf.redis import connect

    @asynccontextmanager
    async def connected(port: int, ca: str | None) -> AsyncIterator[Get]:
        async with connect(url(port, ca), deadline=PATIENT) as client:
            yield partial(client.execute, "GET", "key")

    return connected


def redis_py(*, wrapped: bool) -> Callable[..., AbstractAsyncContextManager[Get]]:
    """redis-py with its defaults, or below `wrap()`."""
    from redis.asyncio import Redis

    @asynccontextmanager
    async def connected(port: int, ca: str | None) -> AsyncIterator[Get]:
        # Plain redis-py opens a connection per concurrent command; its pool allows 100. Through TLS
        # it takes longer than its 10 s to connect 256 at once.
        more: dict[str, Any] = {"max_connections": 512, "socket_connect_timeout": 60}
        async with Redis.from_url(url(port, ca), **more) as client:
            if not wrapped:
                yield partial(client.get, "key")
                return
            from symphonia_perf.redis import wrap

            async with wrap(client, deadline=PATIENT) as commands:
                yield partial(commands.execute, "GET", "key")

    return connected


def coredis() -> Callable[..., AbstractAsyncContextManager[Get]]:
    """The peer coredis with its defaults."""
    from coredis import Redis  # type: ignore[import-not-found]

    @asynccontextmanager
    async def connected(port: int, ca: str | None) -> AsyncIterator[Get]:
        async with Redis(host="localhost", port=port, ssl=bool(ca), ssl_ca_certs=ca) as client:
            yield partial(client.get, "key")

    return connected


def glide() -> Callable[..., AbstractAsyncContextManager[Get]]:
    """valkey-glide with its defaults, apart from its deadline of 250 ms."""
    from glide import (  # type: ignore[import-not-found]
        GlideClient,
        GlideClientConfiguration,
        NodeAddress,
    )

    @asynccontextmanager
    async def connected(port: int, ca: str | None) -> AsyncIterator[Get]:
        assert ca is None
        nodes = [NodeAddress("localhost", port)]
        patience = int(PATIENT * 1000)
        client = await GlideClient.create(GlideClientConfiguration(nodes, request_timeout=patience))
        yield partial(client.get, "key")
        await client.close()

    return connected


# How a side is made, and the package whose version it has.
SIDES: dict[str, tuple[Callable[[], Callable[..., AbstractAsyncContextManager[Get]]], str]] = {
    "floor": (floor, "hiredis"),
    "ours": (ours, "symphonia-perf"),
    "wrap": (partial(redis_py, wrapped=True), "symphonia-perf"),
    "redis-py": (partial(redis_py, wrapped=False), "redis"),
    "coredis": (coredis, "coredis"),
    "valkey-glide": (glide, "valkey-glide"),
}


def resident() -> int:
    """KiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def pin(core: int | None) -> None:
    """Keep all threads on a core, also those that a client has started."""
    if core is not None:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


async def turn(get: Get, tasks: int, seconds: float) -> dict[str, float]:
    """What `tasks` loops measured in so many seconds."""
    stop = time.perf_counter() + seconds
    done = 0
    took: list[float] = []

    async def loop() -> None:
        nonlocal done
        now = 0.0
        while now < stop:
            started = time.perf_counter()
            assert await get() == VALUE
            now = time.perf_counter()
            took.append(now - started)
            for _ in range(7):  # two looks at the clock per command would be felt
                await get()
            done += 8

    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(tasks)))
    elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    percentiles = quantiles(took, n=100)
    return {
        "per_second": done / elapsed,
        "cpu_us": cpu / done * 1e6,
        "p50_us": percentiles[49] * 1e6,
        "p99_us": percentiles[98] * 1e6,
    }


async def main(name: str, port: int, ca: str | None) -> None:
    make, package = SIDES[name]
    sizes = [resident()]
    connected = make()
    sizes.append(resident())
    async with connected(port, ca) as get:
        assert await get() == VALUE
        sizes.append(resident())
        imports, idle = sizes[1] - sizes[0], sizes[2] - sizes[1]
        say({"version": version(package), "imports_kib": imports, "idle_kib": idle})
        while orders := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(orders)
            pin(order["core"])
            say(await turn(get, order["tasks"], order["seconds"]))


def say(record: dict[str, Any]) -> None:
    """One line to whoever runs this."""
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SIDES)
    parser.add_argument("port", type=int)
    parser.add_argument("--ca", help="speak TLS, and trust this certificate")
    parser.add_argument("--uvloop", action="store_true")
    arguments = parser.parse_args()
    run = main(arguments.name, arguments.port, arguments.ca)
    if arguments.uvloop:
        import uvloop

        uvloop.run(run)
    else:
        asyncio.run(run)
