"""Which HTTP client a load generator should use: processor time per request, requests a second.

Each client sends GETs for a 2 KiB answer over kept-alive connections to a bare ASGI app under
uvicorn in another process on loopback, 32 at a time, in interleaved rounds. The floor is an
asyncio.Protocol that writes a fixed request and finds the answer's end by its known length.

    python benchmarks/loadtest/bench_client.py             # aiohttp and the floor
    python benchmarks/loadtest/bench_client.py --httpx     # and httpx, in a throw-away environment

Prints one JSON line per client and round, and one with the medians.
"""

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BODY = 2048
CONNECTIONS = 32


async def app(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % BODY)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * BODY})


@contextmanager
def service() -> Iterator[int]:
    """A port on which the app answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        number = listening.fileno()
        child = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(number)], pass_fds=(number,)
        )
        try:
            yield port
        finally:
            child.terminate()
            child.wait()


def serve(number: int) -> None:
    import uvicorn

    # Not uvicorn's --fd: it takes the socket for a Unix one and leaves TCP_NODELAY off (40 ms).
    config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=number)])


class Floor(asyncio.Protocol):
    """One connection: a fixed request out, an answer of known length in."""

    def __init__(self) -> None:
        self.missing = 0
        self.waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to write."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Count down to the end of the answer."""
        if not self.missing:
            self.missing = data.index(b"\r\n\r\n") + 4 + BODY
        self.missing -= len(data)
        if not self.missing and self.waiting:
            self.waiting.set_result(None)

    async def get(self, request: bytes) -> None:
        """Send, and wait for the whole answer."""
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)  # type: ignore[attr-defined]
        await self.waiting


async def repeat(get: Callable[[], Awaitable[None]], count: int) -> None:
    for _ in range(count):
        await get()


async def use_floor(port: int, count: int) -> None:
    loop = asyncio.get_running_loop()
    request = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
    lines = [
        (await loop.create_connection(Floor, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)
    ]

    def getter(line: Floor) -> Callable[[], Awaitable[None]]:
        return lambda: line.get(request)

    await asyncio.gather(*(repeat(getter(line), count // CONNECTIONS) for line in lines))
    for line in lines:
        line.transport.close()


async def use_aiohttp(port: int, count: int) -> None:
    from symphonia_perf.loadtest.client import HttpClient
    from symphonia_perf.loadtest.plan import Plan, Request

    request = Request(path="/")
    plan = Plan(base_url=f"http://127.0.0.1:{port}", requests=(request,), rate=1, duration=1)
    async with HttpClient(plan) as client:

        async def get() -> None:
            status, size = await client.send(request)
            assert (status, size) == (200, BODY)

        await asyncio.gather(*(repeat(get, count // CONNECTIONS) for _ in range(CONNECTIONS)))


async def use_httpx(port: int, count: int) -> None:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    url = httpx.URL(f"http://127.0.0.1:{port}/")
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as client:

        async def get() -> None:
            response = await client.get(url)
            assert (response.status_code, len(response.content)) == (200, BODY)

        await asyncio.gather(*(repeat(get, count // CONNECTIONS) for _ in range(CONNECTIONS)))


CLIENTS = {"floor": use_floor, "aiohttp": use_aiohttp, "httpx": use_httpx}


async def measure(name: str, port: int, count: int) -> dict[str, object]:
    """Figures of one round, after a short warm-up."""
    await CLIENTS[name](port, CONNECTIONS * 4)
    wall, cpu = time.perf_counter(), time.process_time()
    await CLIENTS[name](port, count)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "bench": "loadtest.client",
        "client": name,
        "requests": count,
        "per_second": round(count / wall),
        "cpu_us": round(cpu / count * 1e6, 1),
    }


@contextmanager
def interpreters(httpx: bool) -> Iterator[dict[str, str]]:  # noqa: FBT001
    """The Python that runs each client; httpx gets an environment of its own."""
    found = {"floor": sys.executable, "aiohttp": sys.executable}
    if not httpx:
        yield found
        return
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", "httpx"], check=True)
        yield {**found, "httpx": python}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--httpx", action="store_true", help="install and measure httpx too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=6400)
    parser.add_argument("--child", nargs=2, metavar=("CLIENT", "PORT"), help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, metavar="FD", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    if options.child:
        name, port = options.child
        print(json.dumps(asyncio.run(measure(name, int(port), options.requests))))
        return
    arguments = ("--requests", str(options.requests))
    rounds: dict[str, list[dict[str, float]]] = {}
    with service() as port, interpreters(options.httpx) as pythons:
        for number in range(options.rounds):
            names = list(pythons)
            for name in names if number % 2 == 0 else reversed(names):
                line = subprocess.run(
                    [pythons[name], __file__, *arguments, "--child", name, str(port)],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
                print(line, end="", flush=True)
                rounds.setdefault(name, []).append(json.loads(line))
    for name, lines in rounds.items():
        medians = {
            key: statistics.median(line[key] for line in lines) for key in ("per_second", "cpu_us")
        }
        print(
            json.dumps(
                {"bench": "loadtest.client", "client": name, "median_of": len(lines), **medians}
            )
        )


if __name__ == "__main__":
    main()
