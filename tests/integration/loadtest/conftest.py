"""A small HTTP service in a process of its own, to be frozen and killed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from symphonia_perf.loadtest import Plan, Request

SERVICE = """
import asyncio

HEAD = b"HTTP/1.1 %s\\r\\ncontent-length: %d\\r\\n\\r\\n"

STATUS = {"/ok": "200 OK", "/broken": "500 Internal Server Error", "/zero": "000 Nothing"}

async def serve(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        line, *headers = head.decode("latin-1").splitlines()
        method, path, _ = line.split()
        fields = dict(line.lower().split(": ", 1) for line in headers if line)
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        if path == "/garbage":
            writer.write(b"this is not HTTP\\r\\n\\r\\n")
        elif path == "/echo":
            answer = repr((method, sorted(fields.items()), body)).encode()
            writer.write(HEAD % (b"200 OK", len(answer)) + answer)
        else:
            writer.write(HEAD % (STATUS[path].encode(), 2048) + b"x" * 2048)

async def quietly(reader, writer):
    try:
        await serve(reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class Service:
    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def plan(self, *paths: str, **options: object) -> Plan:
        settings = {"rate": 100, "duration": 1.0, "timeout": 5.0, **options}
        requests = tuple(Request(path=path) for path in paths or ("/ok",))
        return Plan(base_url=self.url, requests=requests, **settings)  # type: ignore[arg-type]


@pytest.fixture
def service() -> Iterator[Service]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield Service(process, int(process.stdout.readline()))
        process.kill()
