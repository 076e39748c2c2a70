"""Subscriptions and tracking under servers that are killed, frozen, flooded, mute or wrong."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from symphonia_perf.errors import StoreError
from symphonia_perf.redis import Broadcast, Lost, Message, RedisClient, connect, wrap
from symphonia_perf.testing.servers import RedisServer, redis_server
from tests.cancelled import Cancelled
from tests.integration.redis.listening import answers, channels, heard, next_of, until

pytestmark = pytest.mark.redis
GAP = Lost(disconnected=True)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with redis_server() as started:
        yield started


# No gap is silent


class Numbers:
    """Publishes 0, 1, 2 and so on, each until it was sent: perhaps twice, never out of turn."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis = redis
        self.last = -1

    async def publish(self) -> None:
        while True:
            with suppress(StoreError):
                await self.redis.pubsub().publish("numbers", b"%d" % (self.last + 1))
                self.last += 1
            await asyncio.sleep(0.0005)


class Checks:
    """A listener that knows which number comes next, unless it is told of a gap."""

    def __init__(self, *, pause: float = 0.0) -> None:
        self.pause = pause
        self.last = -1
        self.gaps = 0
        self.numbers = 0

    async def listen(self, listener: AsyncIterator[Message | Lost]) -> None:
        gap = True
        async for item in listener:
            if isinstance(item, Lost):
                gap = True
                self.gaps += 1
                continue
            number = int(item.payload)
            assert gap or number in {self.last, self.last + 1}, (self.last, number)
            gap, self.last = False, number
            self.numbers += 1
            await asyncio.sleep(self.pause)


@pytest.mark.parametrize(("kind", "rounds"), [("native", 12), ("redis-py", 4)])
async def test_no_gap_is_silent(server: RedisServer, kind: str, rounds: int) -> None:
    """Its connection is cut, the server stopped and restarted, and some read too slowly."""
    chance = random.Random(11)
    async with AsyncExitStack() as stack:
        options: dict[str, Any] = {"deadline": 0.5, "reconnect_step": 0.01}
        redis = await stack.enter_async_context(connect(server.url, **options))
        pubsub: Broadcast = redis.pubsub()
        if kind == "redis-py":
            driver = await stack.enter_async_context(Redis.from_url(server.url))
            pubsub = (await stack.enter_async_context(wrap(driver, deadline=0.5))).pubsub()
        numbers = Numbers(await stack.enter_async_context(connect(server.url, **options)))
        checks = [Checks(), Checks(pause=0.002), Checks()]
        listeners = [
            pubsub.subscribe("numbers"),
            pubsub.subscribe("numbers", max_messages=5),
            pubsub.subscribe(patterns=["n*"]),
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(numbers.publish())]
            for check, listener in zip(checks, listeners, strict=True):
                entered = await stack.enter_async_context(listener)
                tasks.append(group.create_task(check.listen(entered)))
            for turn in range(rounds):
                await disturb(server, redis, "restart" if turn == 2 else chance.choice(DEEDS))
                await answers(redis.execute)
                await heard_on(checks, numbers)
            for task in tasks:
                task.cancel()
        assert all(check.gaps >= 3 for check in checks)
        assert all(check.numbers > 20 for check in checks)


DEEDS = ("cut", "cut", "freeze")


async def disturb(server: RedisServer, redis: RedisClient, deed: str) -> None:
    if deed == "cut":
        await redis.execute("CLIENT", "KILL", "TYPE", "PUBSUB")
    elif deed == "freeze":
        server.pause()
        await asyncio.sleep(0.05)
        server.resume()
    else:
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)


async def heard_on(checks: list[Checks], numbers: Numbers) -> None:
    """Return when everybody hears what is published now."""
    now = numbers.last + 20
    await until(lambda: all(check.last >= now for check in checks))


# Floods


async def test_a_flood_that_the_server_cuts_off_is_a_gap(server: RedisServer) -> None:
    """A process that is blocked reads nothing, so the server drops its connection."""
    async with connect(server.url, deadline=5.0, reconnect_step=0.01) as redis:
        await redis.execute("CONFIG", "SET", "client-output-buffer-limit", "pubsub 100000 0 0")
        async with redis.pubsub().subscribe("plans") as listener:
            with BlockingRedis.from_url(server.url) as flood, flood.pipeline(False) as pipeline:
                for _ in range(40):
                    for _ in range(100):
                        pipeline.publish("plans", b"x" * 10_000)
                    pipeline.execute()
            seen = 0
            while await next_of(listener) != GAP:
                seen += 1
            assert seen < 4000
            await redis.pubsub().publish("plans", b"after")
            assert await heard(listener) == b"after"


async def test_a_flood_of_keys_that_the_server_cuts_off_is_a_flush(server: RedisServer) -> None:
    told: list[str] = []
    async with (
        connect(server.url, deadline=5.0, reconnect_step=0.01) as redis,
        redis.tracking(
            "plan:",
            on_key=lambda _: None,
            on_flush=lambda: told.append("FLUSH"),
            on_lost=lambda: told.append("LOST"),
        ) as tracking,
    ):
        await redis.execute("CONFIG", "SET", "client-output-buffer-limit", "normal 100000 0 0")
        with BlockingRedis.from_url(server.url) as flood, flood.pipeline(False) as pipeline:
            for turn in range(40):
                for n in range(100):
                    pipeline.set(f"plan:{turn}:{n}:" + "x" * 10_000, "x")
                pipeline.execute()
        await until(lambda: told == ["FLUSH", "LOST", "FLUSH"])
        assert tracking.active


async def test_ten_thousand_messages_need_no_task_each(redis_url: str) -> None:
    """Over a thousand channels, to a thousand listeners, of which each hears its ten."""
    started: list[str] = []

    def count(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        started.append(task.get_name())
        return task

    async with connect(redis_url, deadline=10.0) as redis, AsyncExitStack() as stack:
        pubsub = redis.pubsub()
        entering = [stack.enter_async_context(pubsub.subscribe(f"plan:{n}")) for n in range(1000)]
        listeners = await asyncio.gather(*entering)
        loop = asyncio.get_running_loop()
        loop.set_task_factory(count)
        try:
            for turn in range(10):
                messages = [("PUBLISH", f"plan:{n}", b"%d" % turn) for n in range(1000)]
                assert await redis.execute_many(messages) == [1] * 1000
            for listener in listeners:
                assert [await heard(listener) for _ in range(10)] == [b"%d" % n for n in range(10)]
        finally:
            loop.set_task_factory(None)
    assert started == []


# Refused for a while


async def test_a_password_that_changes_is_a_gap_and_a_flush(server: RedisServer) -> None:
    told: list[str] = []
    async with (
        connect(server.url, deadline=5.0, reconnect_step=0.01) as redis,
        redis.pubsub().subscribe("plans") as listener,
        redis.tracking(
            "plan:", on_key=lambda _: None, on_flush=lambda: told.append("FLUSH")
        ) as tracking,
    ):
        await redis.execute("CONFIG", "SET", "requirepass", "secret")
        password = server.url.replace("//", "//:secret@")
        async with connect(password, deadline=5.0) as admin:
            for kind in ("PUBSUB", "NORMAL"):
                await admin.execute("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await until(lambda: not tracking.active and not redis.pubsub().stats().connected)
            await admin.execute("CONFIG", "SET", "requirepass", "")
            assert await next_of(listener) == GAP
            await until(lambda: told == ["FLUSH", "FLUSH"])
            await admin.execute("PUBLISH", "plans", b"after")
            assert await heard(listener) == b"after"


# Cancelled at any await


async def test_who_listens_is_cancelled_at_any_await(redis_url: str) -> None:
    async with connect(redis_url, deadline=5.0) as redis:
        pubsub = redis.pubsub()

        async def listen() -> None:
            async with pubsub.subscribe("plans", "carriers"):
                await pubsub.publish("plans", b"x")

        await cancelled_at_any(listen)
        await channels(redis, [])
        assert pubsub.stats().listeners == 0
        async with pubsub.subscribe("plans") as listener:
            await pubsub.publish("plans", b"1")
            assert await heard(listener) == b"1"


async def test_who_tracks_is_cancelled_at_any_await(redis_url: str) -> None:
    told: list[str] = []
    redis = connect(redis_url, deadline=5.0)
    tracking = redis.tracking("plan:", on_key=told.append, on_flush=told.clear)

    async def track() -> None:
        async with tracking:
            await tracking.track("carrier:")

    await cancelled_at_any(track)
    assert not tracking.active
    async with redis, tracking:
        await redis.execute("SET", "carrier:1", "x")
        await until(lambda: told == ["carrier:1"])


async def cancelled_at_any(work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    for at in range(1, 200):
        cancelled = Cancelled(work(), at=at, again=False)
        task = asyncio.create_task(cancelled.run())
        await asyncio.wait({task}, timeout=10)
        if cancelled.awaits < at:
            await task
            break
        assert task.cancelled()
    assert at > 2


# Servers that are none


Speaker = Callable[[asyncio.StreamWriter], Any]
HEARD = b">3\r\n$9\r\nsubscribe\r\n$5\r\nplans\r\n:1\r\n"
MESSAGE = b">3\r\n$7\r\nmessage\r\n$5\r\nplans\r\n$2\r\n\r\n\r\n"
WRITTEN = b">2\r\n$10\r\ninvalidate\r\n*2\r\n$6\r\nplan:1\r\n$6\r\nplan:2\r\n"


@asynccontextmanager
async def speaking(say: Speaker, answer: bytes = b"+OK\r\n") -> AsyncIterator[str]:
    """The URL of what answers every command in this way, and then says something unasked."""
    serving: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(writer)
        with suppress(ConnectionError):
            while data := await reader.read(10_000):
                subscribes = data.count(b"SUBSCRIBE")
                writer.write(answer * (data.count(b"*") - subscribes) + HEARD * subscribes)
                if subscribes or b"TRACKING" in data:
                    await say(writer)
        writer.transport.abort()
        serving.remove(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        for writer in serving:
            writer.transport.abort()
        await until(lambda: not serving)


async def in_two(writer: asyncio.StreamWriter, what: bytes) -> None:
    """Say it once for each place where it may be cut, and once byte by byte."""
    for cut in range(1, len(what)):
        writer.write(what[:cut])
        await asyncio.sleep(0.0005)
        writer.write(what[cut:])
        await asyncio.sleep(0.0005)
    for n in range(len(what)):
        writer.write(what[n : n + 1])
        await asyncio.sleep(0.0005)


async def test_messages_that_are_cut_at_every_byte() -> None:
    async with (
        speaking(lambda writer: in_two(writer, MESSAGE)) as url,
        connect(url, deadline=5.0) as redis,
        redis.pubsub().subscribe("plans") as listener,
    ):
        assert [await heard(listener) for _ in MESSAGE] == [b"\r\n"] * len(MESSAGE)


async def test_keys_that_are_cut_at_every_byte() -> None:
    told: list[str] = []
    async with (
        speaking(lambda writer: in_two(writer, WRITTEN)) as url,
        connect(url, deadline=5.0) as redis,
        redis.tracking("plan:", on_key=told.append, on_flush=lambda: None),
    ):
        await until(lambda: told == ["plan:1", "plan:2"] * len(WRITTEN))


@pytest.mark.parametrize(
    "nonsense",
    [
        b"|1\r\n+a\r\n+b\r\n",
        b"?what\r\n",
        b">2\r\n$10\r\ninvalidate\r\n:1\r\n",
        b"*9000000000000000000\r\n",
    ],
    ids=["attribute", "no type", "a number of keys", "too many"],
)
async def test_a_connection_that_speaks_nonsense_is_made_anew(nonsense: bytes) -> None:
    told: list[str] = []
    times = 0

    async def once(writer: asyncio.StreamWriter) -> None:
        nonlocal times
        times += 1
        await until(lambda: told[-1:] == ["FLUSH"])  # it is connected
        writer.write(nonsense if times == 1 else WRITTEN)

    async with (
        speaking(once) as url,
        connect(url, deadline=5.0, reconnect_step=0.01) as redis,
        redis.tracking(
            "plan:",
            on_key=told.append,
            on_flush=lambda: told.append("FLUSH"),
            on_lost=lambda: told.append("LOST"),
        ),
    ):
        await until(lambda: told == ["FLUSH", "LOST", "FLUSH", "plan:1", "plan:2"])


async def test_a_server_that_never_answers_lets_in_and_is_tried_again() -> None:
    async def nothing(_: asyncio.StreamWriter) -> None:
        """It has no words."""

    told: list[str] = []
    async with (
        asyncio.timeout(15),
        speaking(nothing, answer=b"") as url,
        connect(url, deadline=0.1, connect_timeout=0.1) as redis,
        redis.pubsub().subscribe("carriers") as listener,
        redis.tracking(
            "plan:", on_key=told.append, on_flush=lambda: told.append("FLUSH")
        ) as tracking,
    ):
        assert not tracking.active
        assert told == []
        assert not redis.pubsub().stats().connected
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(listener), 0.2)
