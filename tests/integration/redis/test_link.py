"""The link under pub/sub and tracking: pushes, and what every new connection begins with."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from symphonia_perf.errors import CommandError
from symphonia_perf.redis import ConnectionEvent, RedisOptions, connect
from symphonia_perf.redis._link import Link
from symphonia_perf.redis.connection import pack_words

pytestmark = pytest.mark.redis


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a server
            await asyncio.sleep(0.005)


@asynccontextmanager
async def link(url: str, **changed: Any) -> AsyncIterator[Link]:
    settings: dict[str, Any] = {"on_change": lambda: None, "observer": lambda _: None, **changed}
    made = Link(
        RedisOptions(url=url, reconnect_step=0.01),
        loop=asyncio.get_running_loop(),
        deadline=5.0,
        pings=True,
        **settings,
    )
    await made.open()
    yield made
    await made.aclose()


async def test_every_connection_begins_with_the_greeting_and_hears_pushes(redis_url: str) -> None:
    pushes: list[Any] = []
    begin = [("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "plan:")]
    async with (
        link(redis_url, on_push=pushes.append, greet=lambda: begin) as made,
        connect(redis_url) as client,
    ):
        for number in (1, 2):
            await client.execute("SET", f"plan:{number}", "x")
            await until(lambda at=number: len(pushes) >= at)  # type: ignore[misc]
            assert pushes[-1] == [b"invalidate", [b"plan:%d" % number]]
            made.renew("as a test")
            await until(lambda at=number: made.connections > at)  # type: ignore[misc]


async def test_a_refused_greeting_refuses_the_connection(redis_url: str) -> None:
    with pytest.raises(CommandError, match=r"refused CLIENT TRACKING: ERR"):
        async with link(redis_url, greet=lambda: [("CLIENT", "TRACKING", "MAYBE")]):
            raise AssertionError("it is open")


async def test_who_wants_pushes_speaks_resp3_whatever_the_url_says(redis_url: str) -> None:
    pushes: list[Any] = []
    async with link(redis_url + "?protocol=2", on_push=pushes.append) as made:
        assert made.connection is not None
        # SUBSCRIBE is answered by a push alone.
        nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        made.connection.submit(pack_words(("SUBSCRIBE", "news")), nobody, 0)
        await until(lambda: bool(pushes))
        assert pushes == [[b"subscribe", b"news", 1]]
        assert made.connection.in_flight == made.connection.bytes_in_flight == 0


async def test_what_a_listener_raises_ends_the_connection(redis_url: str) -> None:
    events: list[Any] = []

    def on_push(push: list[Any]) -> None:
        raise RuntimeError(push[0])

    begin = [("CLIENT", "TRACKING", "ON", "BCAST")]
    async with (
        link(redis_url, on_push=on_push, greet=lambda: begin, observer=events.append) as made,
        connect(redis_url) as client,
    ):
        await client.execute("SET", "k", "v")
        await until(lambda: made.connections == 2)
    lost = [e for e in events if isinstance(e, ConnectionEvent) and e.kind == "lost"]
    assert "RuntimeError" in lost[0].reason
