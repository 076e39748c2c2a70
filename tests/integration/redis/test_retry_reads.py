"""Reads that are sent once more when the connection breaks, where that was asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from symphonia_perf.errors import CommandError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis import RedisClient, connect


@dataclass
class Server:
    """Breaks the connection on the first `breaks` commands, and answers the others."""

    breaks: int
    port: int = 0
    answer: bytes = b"+fine\r\n"
    heard: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if b"HELLO" in data:
                writer.write(b"+OK\r\n" * data.count(b"*"))
                continue
            self.heard.append(data)
            if len(self.heard) <= self.breaks:
                break
            writer.write(self.answer * data.count(b"*"))
        writer.close()


@asynccontextmanager
async def breaking(breaks: int, **changed: bytes) -> AsyncIterator[Server]:
    server = Server(breaks, **changed)  # type: ignore[arg-type]
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()
    await listening.wait_closed()


def retrying(server: Server, **changed: float) -> RedisClient:
    settings = {"deadline": 5.0, "reconnect_step": 0.01, **changed}
    return connect(server.url, retry_reads=True, **settings)


async def test_a_read_is_sent_once_more() -> None:
    async with breaking(1) as server, retrying(server) as client:
        assert await client.execute("GET", "k") == b"fine"
        assert len(server.heard) == 2
    async with breaking(1) as server, retrying(server) as client:
        assert await client.execute("get", "k", deadline=4.0) == b"fine"
        assert len(server.heard) == 2
    async with breaking(1) as server, retrying(server) as client:
        assert await client.execute_many([("GET", "k"), (b"ttl", "k")]) == [b"fine", b"fine"]
        assert len(server.heard) == 2


async def test_a_second_break_is_told() -> None:
    async with breaking(2) as server, retrying(server) as client:
        with pytest.raises(StoreUnavailable, match=r"^GET: .*may have been executed"):
            await client.execute("GET", "k")
        assert len(server.heard) == 2


async def test_a_refusal_of_the_second_try_is_told() -> None:
    async with breaking(1, answer=b"-WRONGTYPE no\r\n") as server, retrying(server) as client:
        with pytest.raises(CommandError, match=r"^GET: WRONGTYPE"):
            await client.execute("GET", "k")


async def test_what_may_change_something_is_never_sent_twice() -> None:
    async with breaking(4) as server, retrying(server) as client:
        asks = (
            lambda: client.execute("INCR", "k"),
            lambda: client.execute("EVALSHA", "0" * 40, 0, deadline=5.0),
            lambda: client.execute_many([("GET", "k"), ("INCR", "k")]),
            lambda: client.transaction([("GET", "k")]),
        )
        for number, ask in enumerate(asks, start=1):
            with pytest.raises(StoreUnavailable, match="may have been executed"):
                await ask()
            assert len(server.heard) == number
            async with asyncio.timeout(5):
                while client.stats().connections == number:  # noqa: ASYNC110 - of the server
                    await asyncio.sleep(0.005)


async def test_nothing_is_sent_twice_unless_asked_for() -> None:
    async with (
        breaking(1) as server,
        connect(server.url, deadline=5.0, reconnect_step=0.01) as client,
    ):
        with pytest.raises(StoreUnavailable, match="may have been executed"):
            await client.execute("GET", "k")
        assert len(server.heard) == 1


@pytest.mark.parametrize("own", [None, 0.2])
async def test_both_tries_share_one_deadline(own: float | None) -> None:
    async with breaking(1) as server:
        # The next attempt to connect is far away.
        slow = retrying(server, deadline=0.2 if own is None else 9.0, reconnect_step=5.0)
        async with slow as client:
            began = asyncio.get_running_loop().time()
            with pytest.raises(StoreTimeout, match=r"^GET: it was not sent \(deadline 0.2 s\)"):
                await client.execute("GET", "k", deadline=own)
            assert 0.19 < asyncio.get_running_loop().time() - began < 3.0


async def test_a_read_does_not_outlive_its_client() -> None:
    async with breaking(0, answer=b"") as server:
        client = retrying(server)
        async with client:
            waiting = asyncio.create_task(client.execute("GET", "k"))
            async with asyncio.timeout(5):
                while not server.heard:  # noqa: ASYNC110 - of the server
                    await asyncio.sleep(0.005)
        async with asyncio.timeout(1):
            with pytest.raises(StoreUnavailable, match="the client was closed"):
                await waiting


async def test_a_blocking_client_never_sends_twice() -> None:
    async with breaking(1) as server, retrying(server) as client, client.blocking() as blocking:
        with pytest.raises(StoreUnavailable, match="may have been executed"):
            await blocking.execute("GET", "k")
        assert len(server.heard) == 1
