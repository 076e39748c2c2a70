"""Tiers that hear by publish and subscribe, over fakeredis and over a broadcast of the test's."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import RedisCluster

from symphonia_perf.cache import (
    Cache,
    Entry,
    InvalidationRules,
    MemoryCacheStore,
    RedisCacheStore,
    TieredCacheStore,
    on,
)
from symphonia_perf.errors import CommandError, ConfigurationError, NotOpen, StoreUnavailable
from symphonia_perf.redis import MemoryBroadcast, wrap
from tests.unit.cache.far import settle


def plain(value: Any) -> Entry:
    return Entry(value=value, ttl=600.0)


class Server:
    """Commands of one fakeredis; a broadcast that can be away, refuse, and fail to publish."""

    def __init__(self) -> None:
        self.commands = wrap(FakeAsyncRedis(), deadline=10.0)
        self.broadcast = MemoryBroadcast()
        self.connected = True
        self.refusal: Exception | None = None
        self.fails: Exception | None = None
        self.published: list[list[Any]] = []
        self.listeners: list[Any] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def execute(self, *args: Any, deadline: Any = None) -> Any:
        (reply,) = await self.execute_many([args], deadline=deadline)
        return reply

    async def execute_many(self, commands: Any, **options: Any) -> list[Any]:
        replies = await self.commands.execute_many(commands, **options)
        await self.answering.wait()
        if isinstance(self.fails, StoreUnavailable) and commands[0][0] == "UNLINK":
            raise self.fails
        return replies

    def script(self, lua: str) -> Any:
        return self.commands.script(lua)

    def pubsub(self) -> "Server":
        return self

    def stats(self) -> Any:
        return SimpleNamespace(connected=self.connected)

    async def publish(self, channel: str, payload: str) -> None:
        if self.fails is not None:
            raise self.fails
        self.published.append([channel, *json.loads(payload)])
        await self.broadcast.publish(channel, payload)

    def subscribe(self, *channels: str) -> Any:
        if self.refusal is not None:
            raise self.refusal
        listener = self.broadcast.subscribe(*channels)
        self.listeners.append(listener)
        return listener


def make(server: Any) -> TieredCacheStore:
    return TieredCacheStore(MemoryCacheStore(), RedisCacheStore(server), invalidation="pubsub")


@asynccontextmanager
async def two(server: Any) -> AsyncGenerator[tuple[TieredCacheStore, TieredCacheStore]]:
    """As in two processes."""
    one, other = make(server), make(server)
    async with one.listening("cache:"), other.listening("cache:"):
        await heard(lambda: one.stats().listening and other.stats().listening)
        yield one, other


async def heard(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - on tasks of the library
            await asyncio.sleep(0)


async def value(store: TieredCacheStore, key: str = "k") -> Any:
    entry = (await store.get_many([key])).entries.get(key)
    return None if entry is None else entry.value


CHANGES: dict[str, Callable[[TieredCacheStore], Any]] = {
    "set": lambda store: store.set_many({"k": plain("new")}),
    "delete": lambda store: store.delete_many(["k"]),
    "match": lambda store: store.delete_matching("k*"),
    "bump": lambda store: store.bump_tags(["t"]),
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize(
    "on", [lambda: wrap(FakeAsyncRedis(), deadline=10.0), Server], ids=["fakeredis", "fake"]
)
async def test_what_one_changes_the_other_forgets(how: str, on: Callable[[], Any]) -> None:
    async with two(on()) as (one, other):
        now = (await one.get_many([], ["t"])).generations
        await one.set_many({"k": plain("old")._replace(tags=now)})
        for store in (one, other):
            assert await value(store) == "old"
        await settle()
        assert await value(other) == "old"
        assert other.peek("k") is not None
        await CHANGES[how](one)
        assert one.peek("k") is None
        await heard(lambda: other.peek("k") is None)
        assert await value(other) == await value(one) == ("new" if how == "set" else None)


async def test_own_words_are_not_taken_for_anothers() -> None:
    async with two(Server()) as (one, other):
        await one.set_many({"k": plain(1)})
        assert await value(one) == 1
        await settle()
        assert one.peek("k") is not None
        assert (one.stats().flushes, other.stats().flushes) == (0, 0)


async def test_who_opens_disturbs_nobody() -> None:
    server = Server()
    async with two(server) as (one, _):
        await one.set_many({"k": plain(1)})
        assert await value(one) == 1
        async with make(server).listening("cache:"):
            await settle()
            assert one.peek("k") is not None


async def test_many_keys_are_several_messages_and_no_keys_are_none() -> None:
    server = Server()
    async with two(server) as (one, _):
        server.published.clear()
        await one.delete_many([f"k{n}" for n in range(2_500)])
        await one.delete_many([])
        await one.delete_matching("*")
        assert [len(said) - 2 for said in server.published] == [1_000, 1_000, 500, 1]
        assert server.published[-1] == ["cache:~near", server.published[0][1], None]


async def test_a_loss_and_a_gap_flush() -> None:
    server = Server()
    async with two(server) as (one, _):
        await one.set_many({"k": plain(1)})
        assert await value(one) == 1
        server.listeners[0].lose()
        await settle()
        assert one.peek("k") is None
        assert one.stats().listening
        assert await value(one) == 1
        assert one.peek("k") is not None
        assert one.stats().flushes == 1


async def test_while_the_connection_is_away_nothing_is_near() -> None:
    server = Server()
    async with two(server) as (one, other):
        await one.set_many({"k": plain(1)})
        assert [await value(one), await value(other)] == [1, 1]
        server.connected = False
        assert one.peek("k") is None
        assert await value(other) == 1
        assert (one.stats().listening, other.stats().listening) == (False, False)
        server.connected = True
        assert await value(one) == 1  # nobody has said yet that everything is heard again
        assert one.peek("k") is None
        for listener in server.listeners:
            listener.lose()
        await heard(lambda: one.stats().listening)
        assert await value(one) == 1
        assert one.peek("k") is not None


async def test_a_read_during_a_loss_is_not_kept() -> None:
    server = Server()
    async with two(server) as (one, _):
        await one.set_many({"k": plain(1)})
        server.answering.clear()
        reading = asyncio.create_task(value(one))
        await settle()
        server.connected = False
        server.answering.set()
        assert await reading == 1
        server.connected = True
        assert one.peek("k") is None


@pytest.mark.parametrize(
    "payload", ["", "x", "5", "[]", '["x", [1]]', '["x", {}]', "[" * 100_000, "\xff"]
)
async def test_what_is_none_of_our_messages_flushes(payload: str) -> None:
    server = Server()
    async with two(server) as (one, _):
        await one.set_many({"k": plain(1)})
        assert await value(one) == 1
        await server.broadcast.publish("cache:~near", payload.encode("latin-1"))
        await settle()
        assert one.peek("k") is None
        assert one.stats().listening


async def test_a_write_that_nobody_could_be_told_of_raises() -> None:
    server = Server()
    async with two(server) as (one, _):
        server.fails = StoreUnavailable("away", store="redis", operation="PUBLISH")
        with pytest.raises(StoreUnavailable, match="away"):
            await one.set_many({"k": plain(1)})
        server.fails = None
        assert await value(one) == 1


async def test_a_write_that_failed_is_told_all_the_same() -> None:
    server = Server()
    async with two(server) as (one, other):
        await one.set_many({"k": plain(1)})
        assert await value(other) == 1
        deleting = server.commands.execute("DEL", "k")  # done, and the reply is lost
        await deleting
        server.fails = StoreUnavailable("lost", store="redis", operation="UNLINK")
        publish, server.publish = server.publish, server.broadcast.publish  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable, match="lost"):
            await one.delete_many(["k"])
        server.publish = publish  # type: ignore[method-assign]
        await heard(lambda: other.peek("k") is None)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_write_is_told_when_it_is_done(*, fails: bool) -> None:
    server = Server()
    async with two(server) as (one, other):
        await one.set_many({"k": plain(1)})
        assert [await value(one), await value(other)] == [1, 1]
        server.answering.clear()
        writing = asyncio.create_task(one.delete_many(["k"]))
        await settle()
        writing.cancel()
        await settle()
        assert writing.cancelled()
        if fails:
            server.fails = StoreUnavailable("lost", store="redis", operation="UNLINK")
        server.answering.set()
        await heard(lambda: one.peek("k") is None and (fails or other.peek("k") is None))


async def test_closing_waits_for_what_is_to_be_told() -> None:
    server = Server()
    async with make(server).listening("cache:") as _:
        pass
    store = make(server)
    async with store.listening("cache:"):
        server.answering.clear()
        writing = asyncio.create_task(store.delete_many(["k"]))
        await settle()
        writing.cancel()
        asyncio.get_running_loop().call_later(0.05, server.answering.set)
    assert server.published[-1][2:] == ["k"]


async def test_a_store_that_nobody_opened_writes_without_a_word() -> None:
    server = Server()
    store = make(server)
    await store.set_many({"k": plain(1)})
    assert await value(store) == 1
    assert store.peek("k") is None
    assert server.published == []


@pytest.mark.parametrize(
    "refusal",
    [
        CommandError("NOPERM", code="NOPERM", operation="SUBSCRIBE"),
        NotOpen("it is closed"),
        RuntimeError("a fault"),
    ],
)
async def test_a_refusal_is_raised_on_opening(refusal: Exception) -> None:
    server = Server()
    server.refusal = refusal
    with pytest.raises(type(refusal)):
        async with Cache(make(server)):
            pass


async def test_a_later_refusal_is_told_and_tried_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("symphonia_perf.cache._hearing._PAUSE", 0.01)
    server = Server()
    async with two(server) as (one, other):
        await one.set_many({"k": plain(1)})
        assert await value(one) == 1
        refusal = CommandError("NOPERM", code="NOPERM", operation="SUBSCRIBE")
        server.refusal = refusal
        with caplog.at_level(logging.WARNING, "symphonia_perf"):
            server.listeners[0].close(refusal)
            server.listeners[1].close()
            await heard(lambda: len(caplog.records) >= 2)
        assert "the near tier is not used" in caplog.text
        assert one.peek("k") is None
        server.refusal = None
        await heard(lambda: one.stats().listening and other.stats().listening)
        server.refusal = NotOpen("the client was closed")
        server.listeners[-1].close()
        await heard(lambda: not (one.stats().listening and other.stats().listening))


async def test_a_closing_that_is_cancelled_closes_all_the_same() -> None:
    server = Server()
    store = make(server)
    cache = Cache(store, rules=InvalidationRules(on("e", tags=["t"])))

    @cache.invalidates("e")
    async def write() -> None: ...

    for change in (lambda: cache.delete("k"), write):
        async with cache:
            await heard(lambda: store.stats().listening)
            server.answering.clear()
            changing = asyncio.create_task(change())
            await settle()
            changing.cancel()
            closing = asyncio.create_task(cache.__aexit__(None, None, None))
            await settle()
            assert not closing.done()
            async with asyncio.timeout(5):
                while not closing.done():  # each thing that it waits for is given up
                    closing.cancel()
                    await settle()
            assert closing.cancelled()
            assert not store.stats().listening
            assert not any("near tier" in task.get_name() for task in asyncio.all_tasks())
            server.published.clear()
            await cache.__aenter__()
            server.answering.set()
            await heard(lambda: any(said[2:] for said in server.published))  # told later


async def test_stats_tell_of_a_connection_that_is_away() -> None:
    server = Server()
    async with two(server) as (one, _):
        server.connected = False
        assert not one.stats().listening
        assert one.stats().flushes == 1


async def test_over_a_cluster_it_says_what_to_listen_on() -> None:
    cluster = RedisCluster(host="localhost", port=1)
    with pytest.raises(ConfigurationError, match=r"cluster: .*listen_on=connect\(url\)"):
        make(wrap(cluster))
    await cluster.aclose()
