"""Servers that refuse, shift replies, read slowly or have too many clients already."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from symphonia_perf.errors import CommandError, StoreError, StoreUnavailable
from symphonia_perf.redis import connect
from symphonia_perf.testing.servers import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def started() -> Iterator[RedisServer]:
    with redis_server(args=("--enable-debug-command", "yes")) as server:
        yield server


@pytest.fixture
def server(started: RedisServer) -> Iterator[RedisServer]:
    """A server whose settings the test may change."""
    yield started
    started.ask("CONFIG", "SET", "maxclients", "1000")
    started.ask("REPLICAOF", "NO", "ONE")
    started.ask("FLUSHALL")


async def test_an_attribute_shifts_no_reply(server: RedisServer) -> None:
    async with connect(server.url, reconnect_step=0.01) as client:
        await client.execute("SET", "text", "a table\r\n|1\r\n| and more")
        for _ in range(3):
            wanted = [client.execute("ECHO", f"{n}") for n in range(50)]
            wanted.insert(20, client.execute("DEBUG", "PROTOCOL", "attrib"))
            found = await asyncio.gather(*wanted, return_exceptions=True)
            del found[20]
            for number, reply in enumerate(found):
                assert reply == b"%d" % number or isinstance(reply, StoreUnavailable)
            async with asyncio.timeout(5):
                while not client.stats().connected:  # noqa: ASYNC110 - a server answers
                    await asyncio.sleep(0.005)
        # A text that looks like one is a text.
        assert await client.execute("GET", "text") == b"a table\r\n|1\r\n| and more"
        assert client.stats().connections == 4


async def test_a_transaction_whose_multi_is_refused_says_what_became_of_it(
    server: RedisServer,
) -> None:
    server.ask("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-multi")
    async with connect(f"redis://app:pw@127.0.0.1:{server.port}/0") as client:
        with pytest.raises(CommandError, match=r"^MULTI: NOPERM .* not together") as refused:
            await client.transaction([("SET", "a", "1"), ("INCR", "n")])
        assert refused.value.code == "NOPERM"


async def test_a_writer_on_a_replica_harms_no_reader(server: RedisServer) -> None:
    options: dict[str, Any] = {"deadline": 2.0, "reconnect_most": 0.3}
    async with connect(server.url, **options) as client:
        await client.execute("REPLICAOF", "127.0.0.1", 1)
        failed: list[StoreError] = []
        writes = 0

        async def reads() -> None:
            while writes < 200:
                try:
                    await client.execute("GET", "k")
                except StoreError as error:
                    failed.append(error)

        readers = [asyncio.ensure_future(reads()) for _ in range(20)]
        while writes < 200:
            with pytest.raises(StoreUnavailable, match=r"READONLY.*not executed"):
                await client.execute("SET", "k", "v")
            writes += 1
            await asyncio.sleep(0.002)
        await asyncio.gather(*readers)
        assert failed == []
        assert 2 <= client.stats().connections <= 10  # it looks for a primary, now and then


async def test_what_a_server_says_before_it_closes_is_told(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "maxclients", "1")
    with socket.create_connection(("127.0.0.1", server.port)) as other:
        other.sendall(b"PING\r\n")
        assert other.recv(100) == b"+PONG\r\n"
        async with connect(server.url) as client:
            with pytest.raises(StoreUnavailable, match="max number of clients reached") as full:
                await client.execute("PING")
            assert "TLS" not in str(full.value)
            assert "executed" not in str(full.value)


@asynccontextmanager
async def slow(port: int, *, per_second: float) -> AsyncIterator[int]:
    """A port that lets so many bytes a second through to the server."""
    pipes: set[asyncio.Task[None]] = set()

    async def pipe(
        source: asyncio.StreamReader, target: asyncio.StreamWriter, pause: float
    ) -> None:
        try:
            while data := await source.read(64 * 2**10):
                target.write(data)
                await target.drain()
                await asyncio.sleep(pause * len(data))
        except OSError:
            pass
        finally:
            target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        for each in (pipe(reader, inner_writer, 1 / per_second), pipe(inner_reader, writer, 0)):
            pipes.add(asyncio.ensure_future(each))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=64 * 2**10)
    # Else the kernel takes many megabytes off the client's hands, which then waits in silence.
    listening.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    yield listening.sockets[0].getsockname()[1]
    listening.close()
    await asyncio.wait(pipes, timeout=5)


async def test_a_slow_upload_is_a_sign_of_life(server: RedisServer) -> None:
    # The kernel takes a few megabytes at once; what is behind that moves at 12 MB/s at most.
    value = b"x" * 36_000_000
    async with (
        slow(server.port, per_second=12e6) as port,
        connect(f"redis://127.0.0.1:{port}/0", health_interval=0.7) as client,
        client.large(deadline=30.0) as files,
    ):
        assert await files.execute("SET", "big", value) == b"OK"
        assert files.stats().connections == 1
        assert await client.execute("STRLEN", "big", deadline=5.0) == len(value)


async def test_errors_inside_a_map_are_ours(server: RedisServer) -> None:
    async with connect(server.url) as client:
        lua = "redis.setresp(3) return {map={a={err='ERR inside'}, b={err='ERR too'}}}"
        found = await client.execute("EVAL", lua, 0)
        assert sorted(found) == [b"a", b"b"]
        assert all(isinstance(error, CommandError) for error in found.values())
