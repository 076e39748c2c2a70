"""Connections of their own for commands that block: what is given up, when, and what is not."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError, StoreTimeout
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing.servers import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def started() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server(started: RedisServer) -> Iterator[RedisServer]:
    """A server that the test may stop."""
    yield started
    started.resume()
    started.ask("FLUSHALL")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a server
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.execute("BLPOP", "jobs", 0.1),
        lambda client: client.execute_many([("PING",), ("BLPOP", "jobs", 0.1)]),
        lambda client: client.transaction([("BLPOP", "jobs", 0), ("PING",)]),
        lambda client: client.execute("GET", "k"),
    ],
    ids=["one", "many", "transaction", "not blocking"],
)
async def test_a_frozen_server_is_given_up(
    server: RedisServer, ask: Callable[[RedisClient], Awaitable[Any]]
) -> None:
    options: dict[str, Any] = {"health_interval": 0.2, "reconnect_step": 0.01}
    async with connect(server.url, **options) as client, client.blocking() as blocking:
        assert await blocking.execute("BLPOP", "jobs", 0.05) is None
        server.pause()
        began = time.monotonic()
        with pytest.raises(StoreTimeout, match="may have been executed"):
            await ask(blocking)
        assert 0.2 <= time.monotonic() - began < 2.0
        # Asked while it reconnects to a server that does not greet: no longer than that either.
        with pytest.raises(StoreTimeout, match="it was not sent"):
            await ask(blocking)
        assert time.monotonic() - began < 4.0
        server.resume()
        await until(lambda: blocking.stats().connected and client.stats().connected)
        async with asyncio.timeout(10):  # the server has yet to notice that the first one left
            while b"blocked_clients:0\r" not in await client.execute("INFO", "clients"):
                pass
        assert await client.execute("RPUSH", "jobs", "one") == 1
        assert await blocking.execute("BLPOP", "jobs", 5) == [b"jobs", b"one"]


async def test_what_was_never_sent_ends_nobodys_wait(server: RedisServer) -> None:
    async with connect(server.url) as client, client.blocking() as blocking:
        waiting = asyncio.ensure_future(blocking.execute("BLPOP", "jobs", 5))
        await until(lambda: blocking.stats().in_flight == 1)
        with pytest.raises(StoreTimeout, match="it was not sent"):
            await blocking.execute("GET", "k", deadline=1e-9)
        assert await client.execute("RPUSH", "jobs", "one") == 1
        assert await waiting == [b"jobs", b"one"]
        assert blocking.stats().connections == 1


async def test_bad_arguments_are_ours(server: RedisServer) -> None:
    async with connect(server.url) as client, client.blocking() as blocking:
        for args in (("BLPOP", "k", None), ([],), ()):
            with pytest.raises(ConfigurationError):
                await blocking.execute(*args)  # type: ignore[arg-type]
        for commands in (None, "GET", [iter(("GET", "k"))], [{"GET": 1}], [5], ["GET"]):
            for call in (blocking.execute_many, client.execute_many, client.transaction):
                with pytest.raises(ConfigurationError, match="expected a list of commands"):
                    await call(commands)  # type: ignore[arg-type]
