"""Tracking against a real server: what is told, what follows a loss, and who may not."""

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from symphonia_perf._core.events import Event
from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    NotOpen,
    SymphoniaError,
    WrongLoop,
)
from symphonia_perf.redis import RedisClient, Tracking, connect
from symphonia_perf.redis import tracking as tracking_module
from symphonia_perf.redis._link import Link
from symphonia_perf.redis.connection import ServerRefusal
from symphonia_perf.testing.servers import RedisServer, redis_server
from tests.integration.redis.listening import answers, forked, until

pytestmark = pytest.mark.redis


class Told:
    """What the callbacks were called with, in order."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self.all: list[str] = []

    def track(self, *prefixes: str) -> Tracking:
        return self.redis.tracking(
            *prefixes,
            on_key=self.all.append,
            on_flush=lambda: self.all.append("FLUSH"),
            on_lost=lambda: self.all.append("LOST"),
        )

    async def upto(self, last: str) -> list[str]:
        """All that was told, when `last` is the last of it."""
        await until(lambda: bool(self.all) and self.all[-1] == last)
        told = self.all.copy()
        self.all.clear()
        return told


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with redis_server() as started:
        yield started


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    async with connect(redis_url, deadline=5.0, reconnect_step=0.01) as client:
        yield client


@pytest.fixture
def told(redis: RedisClient) -> Told:
    return Told(redis)


async def kill_tracker(redis: RedisClient) -> None:
    for line in (await redis.execute("CLIENT", "LIST")).decode().splitlines():
        fields = dict(field.split("=", 1) for field in line.split())
        if "t" in fields["flags"]:
            await redis.execute("CLIENT", "KILL", "ID", fields["id"])


async def test_every_written_key_is_told(redis: RedisClient, told: Told) -> None:
    async with told.track("plan:", "carrier:", "plan:free:") as tracking:
        assert tracking.active
        assert tracking.prefixes == ("carrier:", "plan:")
        await redis.execute("SET", "order:1", "x")
        await redis.execute("SET", "plan:1", "x")
        await redis.execute("GET", "plan:1")
        await redis.execute("PEXPIRE", "plan:1", 1)
        await redis.execute("HSET", "plan:free:1", "a", "b")
        await redis.execute("DEL", "plan:free:1")
        await redis.execute("SET", "carrier:é\n", "x")
        seen = await told.upto("carrier:é\n")
        # PEXPIRE is a write, and so is the end it brings, whenever that comes.
        assert [key for key in seen if key != "plan:1"] == [
            "FLUSH",
            "plan:free:1",
            "plan:free:1",
            "carrier:é\n",
        ]
        assert seen.count("plan:1") >= 2
    assert not tracking.active
    await redis.execute("SET", "plan:1", "x")
    assert "LOST" not in told.all


async def test_a_key_that_expires_is_told(redis: RedisClient, told: Told) -> None:
    async with told.track("plan:"):
        await redis.execute("SET", "plan:1", "x", "PX", 1)
        await until(lambda: told.all.count("plan:1") == 2)


async def test_the_empty_prefix_is_all_keys(redis: RedisClient, told: Told) -> None:
    async with told.track("plan:", ""):
        await redis.execute("SET", b"\xff\x00", "x")
        await redis.execute("SET", "", "x")
        assert await told.upto("") == ["FLUSH", "\udcff\x00", ""]


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
async def test_a_flush_is_told(redis: RedisClient, told: Told, command: str) -> None:
    async with told.track("plan:"):
        await redis.execute("SET", "plan:1", "x")
        await redis.execute(command)
        await redis.execute("SET", "plan:2", "x")
        assert await told.upto("plan:2") == ["FLUSH", "plan:1", "FLUSH", "plan:2"]


async def test_what_was_missed_is_covered_by_a_flush(redis: RedisClient, told: Told) -> None:
    async with told.track("plan:") as tracking:
        await told.upto("FLUSH")
        await kill_tracker(redis)
        await redis.execute("SET", "plan:1", "missed")
        assert await told.upto("FLUSH") == ["LOST", "FLUSH"]
        assert tracking.active
        await redis.execute("SET", "plan:2", "x")
        assert await told.upto("plan:2") == ["plan:2"]


async def test_a_restarted_server_is_a_flush(server: RedisServer) -> None:
    async with connect(server.url, deadline=5.0, reconnect_step=0.01) as redis:
        told = Told(redis)
        async with told.track("plan:") as tracking:
            await told.upto("FLUSH")
            server.kill()
            await told.upto("LOST")
            assert not tracking.active
            server.start()
            await told.upto("FLUSH")
            await answers(redis.execute)
            await redis.execute("SET", "plan:1", "x")
            assert await told.upto("plan:1") == ["plan:1"]


async def test_a_half_open_connection_is_found(server: RedisServer) -> None:
    async with connect(
        server.url, health_interval=0.1, connect_timeout=0.5, reconnect_step=0.01
    ) as redis:
        told = Told(redis)
        async with told.track("plan:"):
            server.pause()
            began = time.monotonic()
            await told.upto("LOST")
            assert time.monotonic() - began < 3 * 0.1 + 3.0  # the bound, and a loaded machine
            server.resume()
            assert await told.upto("FLUSH") == ["FLUSH"]


async def test_a_server_that_comes_later_is_tracked_then(server: RedisServer) -> None:
    server.kill()
    async with connect(server.url, reconnect_step=0.01) as redis:
        told = Told(redis)
        async with told.track("plan:") as tracking:
            assert (tracking.active, told.all) == (False, [])
            server.start()
            assert await told.upto("FLUSH") == ["FLUSH"]
            assert tracking.active


# Other prefixes


async def test_the_prefixes_may_change(redis: RedisClient, told: Told) -> None:
    async with told.track("plan:") as tracking:
        await tracking.track("carrier:", "carrier:1", "order:")
        assert tracking.prefixes == ("carrier:", "order:")
        await redis.execute("SET", "plan:1", "x")
        await redis.execute("SET", "carrier:1", "x")
        assert await told.upto("carrier:1") == ["FLUSH", "FLUSH", "carrier:1"]
        await tracking.track("")
        await kill_tracker(redis)
        assert await told.upto("FLUSH") == ["FLUSH", "LOST", "FLUSH"]
        await redis.execute("SET", "plan:1", "x")
        assert await told.upto("plan:1") == ["plan:1"]
        with pytest.raises(ConfigurationError, match="prefixes"):
            await tracking.track()


async def test_prefixes_that_change_while_the_server_is_away(server: RedisServer) -> None:
    async with connect(server.url, deadline=0.3, reconnect_step=0.01) as redis:
        told = Told(redis)
        async with told.track("plan:") as tracking:
            server.pause()
            await tracking.track("carrier:")  # not answered in time: the connection is given up
            server.kill()
            await until(lambda: not tracking.active)
            await tracking.track("order:")
            server.start()
            await until(lambda: tracking.active)
            await answers(redis.execute)
            await redis.execute("SET", "carrier:1", "x")
            await redis.execute("SET", "order:1", "x")
            assert await told.upto("order:1") == ["FLUSH", "LOST", "FLUSH", "order:1"]


async def test_a_change_that_is_cancelled_is_made_and_flushed(server: RedisServer) -> None:
    async with connect(server.url, deadline=30.0, reconnect_step=0.01) as redis:
        told = Told(redis)
        async with told.track("plan:") as tracking:
            server.pause()
            changing = asyncio.create_task(tracking.track("carrier:"))
            await asyncio.sleep(0)
            changing.cancel()
            await asyncio.wait({changing})
            assert changing.cancelled()
            server.resume()
            assert await told.upto("FLUSH") == ["FLUSH", "LOST", "FLUSH"]
            await redis.execute("SET", "carrier:1", "x")
            assert await told.upto("carrier:1") == ["carrier:1"]


async def test_prefixes_that_change_while_a_connection_is_greeted(
    redis: RedisClient, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    say, prefixes = Link._say, ["plan:", "order:"]

    async def track_and_say(link: Link, connection: Any, commands: Any) -> Any:
        if prefixes:  # the greeting is made, and has other prefixes
            await tracking.track(prefixes.pop())
        return await say(link, connection, commands)

    tracking = told.track("carrier:")
    monkeypatch.setattr(Link, "_say", track_and_say)
    async with tracking:
        await until(lambda: told.all == ["FLUSH", "FLUSH"])
        await redis.execute("SET", "order:1", "x")
        assert await told.upto("order:1") == ["FLUSH", "FLUSH", "order:1"]
        await kill_tracker(redis)
        await until(lambda: told.all == ["LOST", "FLUSH", "FLUSH"])
        await redis.execute("SET", "order:1", "x")
        await redis.execute("SET", "plan:1", "x")
        assert await told.upto("plan:1") == ["LOST", "FLUSH", "FLUSH", "plan:1"]


async def test_a_late_change_that_is_refused_or_lost_makes_another_connection(
    redis: RedisClient, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with told.track("plan:") as tracking:
        link = tracking._link
        assert link is not None
        for answer in ("refused", "lost"):
            assert link.connection is not None
            await told.upto("FLUSH")
            tracking._catch_up(link.connection)
            if answer == "lost":
                link.renew("a break")
            else:
                with monkeypatch.context() as patch:
                    patch.setattr(tracking_module, "_refusal", lambda _: ServerRefusal("ERR no"))
                    await until(lambda: "LOST" in told.all)
            await until(lambda: told.all == ["LOST", "FLUSH"])
        await redis.execute("SET", "plan:1", "x")
        assert await told.upto("plan:1") == ["LOST", "FLUSH", "plan:1"]


# Who may not


async def test_an_acl_that_forbids_it_is_named(redis: RedisClient) -> None:
    await redis.execute("ACL", "SETUSER", "blind", "on", ">pw", "+@all", "~*", "-client|tracking")
    url = redis._options.url.replace("redis://", "redis://blind:pw@")
    tracking = Told(connect(url)).track("plan:")
    with pytest.raises(ConfigurationError, match=r"NOPERM.*pubsub\(\) instead"):
        await tracking.__aenter__()
    # Taken away later: it is tried again until it is given back.
    await redis.execute("ACL", "SETUSER", "blind", "+client|tracking")
    told = Told(connect(url, reconnect_step=0.01))
    async with told.track("plan:") as tracking:
        await redis.execute("ACL", "SETUSER", "blind", "-client|tracking")
        with pytest.raises(ConfigurationError, match="NOPERM"):
            await tracking.track("carrier:")
        await until(lambda: not tracking.active)
        await redis.execute("ACL", "SETUSER", "blind", "+client|tracking")
        await until(lambda: tracking.active)
        assert told.all == ["FLUSH", "LOST", "FLUSH"]
    await redis.execute("ACL", "DELUSER", "blind")


@pytest.mark.parametrize("answer", [b"-ERR unknown command 'HELLO'\r\n", b"-NOPROTO sorry\r\n"])
async def test_a_server_without_resp3_is_named(answer: bytes) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(1000):
                writer.write(answer * 4)
        writer.transport.abort()
        gone.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as old:
        port = old.sockets[0].getsockname()[1]
        tracking = Told(connect(f"redis://127.0.0.1:{port}")).track("plan:")
        with pytest.raises(ConfigurationError, match=r"be tracked \(127.* refused HELLO"):
            await tracking.__aenter__()
        await gone.wait()


async def test_a_wrong_password_is_another_matter(redis_url: str) -> None:
    url = redis_url.replace("redis://", "redis://nobody:wrong@")
    with pytest.raises(CommandError) as raised:
        await Told(connect(url)).track("plan:").__aenter__()
    assert raised.value.code == "WRONGPASS"


async def test_a_database_that_is_not_there_is_another_matter(redis_url: str) -> None:
    url = redis_url.replace("/0", "/9999")
    with pytest.raises(CommandError, match="SELECT"):
        await Told(connect(url)).track("plan:").__aenter__()


# Callbacks, loops, processes


async def test_a_callback_that_raises_is_logged_and_called_again(
    redis: RedisClient, caplog: pytest.LogCaptureFixture
) -> None:
    keys: list[str] = []

    def on_key(key: str) -> None:
        keys.append(key)
        raise ValueError(key)

    def on_flush() -> None:
        raise RuntimeError("flush")

    with caplog.at_level(logging.ERROR, logger="symphonia_perf"):
        async with redis.tracking("plan:", on_key=on_key, on_flush=on_flush):
            await redis.execute("MSET", "plan:1", "x", "plan:2", "x")
            await until(lambda: len(keys) == 2)
            await redis.execute("SET", "plan:3", "x")
            await until(lambda: len(keys) == 3)
    assert [type(r.exc_info[1]) for r in caplog.records if r.exc_info] == [
        RuntimeError,
        ValueError,
        ValueError,
        ValueError,
    ]


async def test_a_callback_that_turns_out_to_be_async_is_logged(
    redis: RedisClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(key: str) -> None:
        raise AssertionError(key)

    def on_key(key: str) -> object:
        return later(key)

    with caplog.at_level(logging.ERROR, logger="symphonia_perf"):
        async with redis.tracking("plan:", on_key=on_key, on_flush=lambda: None):
            await redis.execute("SET", "plan:1", "x")
            await until(lambda: "returned a coroutine, and nobody would await it" in caplog.text)


async def test_a_callback_that_meets_a_cancellation_ends_nothing(
    redis: RedisClient, caplog: pytest.LogCaptureFixture
) -> None:
    """`CancelledError` is no `Exception`, and `future.result()` raises it."""
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    flushes: list[int] = []

    def on_flush() -> None:
        flushes.append(1)
        cancelled.result()

    async with redis.tracking("plan:", on_key=lambda _: cancelled.result(), on_flush=on_flush):
        for times in (2, 3):
            await redis.execute("SET", "plan:1", "x")
            await kill_tracker(redis)
            await until(lambda times=times: len(flushes) == times)  # type: ignore[misc]
    assert "CancelledError" in caplog.text


async def test_a_callback_may_close_and_change_the_tracking(redis: RedisClient) -> None:
    tasks: list[asyncio.Task[None]] = []
    heard: list[str] = []

    def on_key(key: str) -> None:
        heard.append(key)
        deed = (
            tracking.track("carrier:") if key == "plan:1" else tracking.__aexit__(None, None, None)
        )
        tasks.append(asyncio.ensure_future(deed))

    tracking = redis.tracking("plan:", on_key=on_key, on_flush=lambda: None)
    await tracking.__aenter__()
    await redis.execute("SET", "plan:1", "x")
    await until(lambda: len(tasks) == 1)
    await tasks[0]
    await redis.execute("SET", "carrier:1", "x")
    await until(lambda: len(tasks) == 2)
    await tasks[1]
    await redis.execute("SET", "carrier:2", "x")
    assert heard == ["plan:1", "carrier:1"]
    assert not tracking.active


async def test_a_callback_that_blocks_is_late_and_misses_nothing(redis: RedisClient) -> None:
    heard: list[str] = []

    def on_key(key: str) -> None:
        time.sleep(0.05)
        heard.append(key)

    async with redis.tracking("plan:", on_key=on_key, on_flush=lambda: heard.append("FLUSH")):
        await redis.execute_many([("SET", f"plan:{n}", "x") for n in range(20)])
        await until(lambda: len(heard) == 21)
        assert set(heard) == {"FLUSH", *(f"plan:{n}" for n in range(20))}


async def test_who_reconnects_and_may_not_track_any_more_is_not_active(redis: RedisClient) -> None:
    """The connection is made, and tracking refused on it: no flush, as nothing is heard."""
    await redis.execute("ACL", "SETUSER", "lately", "on", ">p", "+@all", "~*", "&*")
    options = redis._options
    url = options.url.replace("redis://", "redis://lately:p@")
    seen: list[Event] = []
    own = connect(url, reconnect_step=0.01, observer=seen.append)
    told = Told(own)
    async with told.track("plan:") as tracking:
        await redis.execute("ACL", "SETUSER", "lately", "-client|tracking")
        await kill_tracker(redis)
        await until(lambda: "tracking" in getattr(seen[-1], "reason", ""))
        assert not tracking.active
        assert told.all == ["FLUSH", "LOST"]
        await redis.execute("SET", "plan:1", "x")
        await redis.execute("ACL", "SETUSER", "lately", "+client|tracking")
        await until(lambda: tracking.active)
        await redis.execute("SET", "plan:2", "x")
        assert await told.upto("plan:2") == ["FLUSH", "LOST", "FLUSH", "plan:2"]
    await redis.execute("ACL", "DELUSER", "lately")


async def test_a_forked_child_is_not_told_and_says_so(told: Told) -> None:
    async def use() -> None:
        if not tracking.active:
            raise LookupError

    async with told.track("plan:") as tracking:
        assert await forked(use) == "LookupError"
        assert tracking.active


async def test_without_on_lost_a_loss_is_no_trouble(redis: RedisClient) -> None:
    flushes: list[int] = []
    async with redis.tracking("plan:", on_key=print, on_flush=lambda: flushes.append(1)):
        await kill_tracker(redis)
        await until(lambda: len(flushes) == 2)


async def test_it_may_be_opened_again_but_not_twice(redis: RedisClient, told: Told) -> None:
    tracking = told.track("plan:")
    with pytest.raises(NotOpen):
        await tracking.track("carrier:")
    for _ in range(2):
        async with tracking:
            with pytest.raises(SymphoniaError, match="open already"):
                await tracking.__aenter__()
            await redis.execute("SET", "plan:1", "x")
            assert await told.upto("plan:1") == ["FLUSH", "plan:1"]
        with pytest.raises(NotOpen):
            await tracking.__aexit__(None, None, None)


async def test_another_loop_and_process_are_refused(redis: RedisClient, told: Told) -> None:
    raised: list[BaseException] = []

    async def use() -> None:
        try:
            await tracking.track("carrier:")
        except WrongLoop as error:
            raised.append(error)

    async with told.track("plan:") as tracking:
        thread = threading.Thread(target=lambda: asyncio.run(use()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert len(raised) == 1
        assert await forked(lambda: tracking.track("carrier:")) == "NotOpen"
        await redis.execute("SET", "plan:1", "x")
        assert await told.upto("plan:1") == ["FLUSH", "plan:1"]


class Near:
    """Copies of what was read, as a cache would keep them."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self.copies: dict[str, Any] = {}
        self.told = 0  # a read that began before the last of them is not kept
        self.tracking = redis.tracking("k:", on_key=self.forget, on_flush=self.flush)

    def forget(self, key: str) -> None:
        self.told += 1
        self.copies.pop(key, None)

    def flush(self) -> None:
        self.told += 1
        self.copies.clear()

    async def read(self, key: str) -> None:
        before = self.told
        value = await self.redis.execute("GET", key)
        if before == self.told and self.tracking.active:
            self.copies[key] = value

    async def settle(self) -> None:
        """Return when everything that was written has been told."""
        await until(lambda: self.tracking.active)
        before = self.told
        await self.redis.execute("SET", "k:last", "x")
        await until(lambda: self.told > before)


async def test_a_near_copy_is_not_stale_when_all_is_told(redis: RedisClient) -> None:
    """Random reads, writes and cuts: when all is quiet, what is near is what is far."""
    chance = random.Random(7)
    near = Near(redis)
    compared = 0

    async def act() -> None:
        for _ in range(10):
            key, deed = f"k:{chance.randrange(20)}", chance.random()
            if deed < 0.3:
                await redis.execute("SET", key, str(chance.random()))
            elif deed < 0.305:
                await kill_tracker(redis)
            elif deed < 0.31:
                await redis.execute("FLUSHDB")
            else:
                await near.read(key)

    async with near.tracking:
        for _ in range(60):
            await asyncio.gather(*(act() for _ in range(8)))
            await near.settle()
            copies = near.copies.copy()
            far = await redis.execute("MGET", "k:last", *copies)
            assert list(copies.values()) == far[1:]
            compared += len(copies)
    assert compared > 40
