"""Subscriptions against a real server: kills, freezes, refusals, floods, two loops, a fork."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub as DriverPubSub

from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    NotOpen,
    SlowListener,
    StoreUnavailable,
    WrongLoop,
)
from symphonia_perf.redis import Lost, Message, PubSub, PubSubStats, RedisClient, connect, wrap
from symphonia_perf.testing.servers import RedisServer, redis_server
from tests.integration.redis.listening import (
    answers,
    channels,
    forked,
    heard,
    next_of,
    subscribers,
    until,
)

pytestmark = pytest.mark.redis
GAP = Lost(disconnected=True)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with redis_server() as started:
        yield started


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    async with connect(redis_url, deadline=5.0) as client:
        yield client


def killing(server: RedisServer) -> None:
    server.kill()
    server.start()


# One connection, and only while somebody listens


async def test_a_burst_is_not_too_much_for_who_always_reads(redis: RedisClient) -> None:
    burst = [("PUBLISH", "a", str(n)) for n in range(3_000)]
    async with redis.pubsub().subscribe("a") as listener:
        publishing = asyncio.create_task(redis.execute_many(burst, deadline=10))
        for n in range(3_000):
            assert await heard(listener) == str(n).encode()
        await publishing


async def test_it_connects_for_the_first_listener_and_once(redis: RedisClient) -> None:
    pubsub = redis.pubsub()
    assert pubsub is redis.pubsub()
    assert pubsub.stats() == PubSubStats(connected=False, listeners=0, names=0)
    await pubsub.publish("plans", b"nobody")
    assert await subscribers(redis) == 0
    async with AsyncExitStack() as stack:
        entering = (
            stack.enter_async_context(pubsub.subscribe("plans", f"plan:{n}", patterns=["p*"]))
            for n in range(100)
        )
        listeners = await asyncio.gather(*entering)
        assert await subscribers(redis) == 1
        assert pubsub.stats() == PubSubStats(connected=True, listeners=100, names=102)
        assert await redis.execute("PUBSUB", "NUMSUB", "plans") == [b"plans", 1]
        await pubsub.publish("plans", b"1")
        for listener in listeners:
            assert [await heard(listener), await heard(listener)] == [b"1", b"1"]
    assert pubsub.stats() == PubSubStats(connected=True, listeners=0, names=0)


async def test_the_last_one_to_leave_unsubscribes(redis: RedisClient) -> None:
    pubsub = redis.pubsub()
    async with pubsub.subscribe("plans", patterns=["p*"]):
        async with pubsub.subscribe("plans", "carriers"):
            assert len(await redis.execute("PUBSUB", "CHANNELS")) == 2
        await channels(redis, [b"plans"])
    await channels(redis, [])
    assert await redis.execute("PUBSUB", "NUMPAT") == 0


# What may be lost is told


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_killed_connection_is_a_gap_for_everybody(redis_url: str, protocol: int) -> None:
    async with connect(f"{redis_url}?protocol={protocol}", deadline=5.0) as redis:
        pubsub = redis.pubsub()
        async with (
            pubsub.subscribe("plans") as one,
            pubsub.subscribe("plans", "carriers", patterns=["p*"]) as other,
            pubsub.subscribe("carriers") as reads,
        ):
            await pubsub.publish("plans", b"before")
            reading = asyncio.create_task(next_of(reads))
            await until(lambda: len(other._buffer) == 2)
            await redis.execute("CLIENT", "KILL", "TYPE", "PUBSUB")
            assert await reading == GAP
            assert await heard(one) == b"before"
            assert await next_of(one) == GAP
            assert [await heard(other) for _ in range(2)] == [b"before"] * 2
            assert await next_of(other) == GAP
            await pubsub.publish("plans", b"after")
            assert await heard(one) == b"after"
            assert [await heard(other) for _ in range(2)] == [b"after"] * 2


async def test_many_gaps_in_a_row_are_told_once(redis: RedisClient) -> None:
    pubsub = redis.pubsub()
    async with pubsub.subscribe("plans") as listener, pubsub.subscribe("other") as other:
        for _ in range(3):
            await redis.execute("CLIENT", "KILL", "TYPE", "PUBSUB")
            assert await next_of(other) == GAP
        assert await next_of(listener) == GAP
        await pubsub.publish("plans", b"after")
        assert await heard(listener) == b"after"


async def test_a_restarted_server_is_a_gap(server: RedisServer) -> None:
    async with connect(server.url, deadline=5.0, reconnect_step=0.01) as redis:
        pubsub = redis.pubsub()
        async with pubsub.subscribe("plans", patterns=["p*"]) as listener:
            await asyncio.to_thread(killing, server)
            assert await next_of(listener) == GAP
            await answers(redis.execute)
            await pubsub.publish("plans", b"after")
            assert [await heard(listener) for _ in range(2)] == [b"after"] * 2


async def test_a_half_open_connection_is_found(server: RedisServer) -> None:
    async with connect(
        server.url, deadline=5.0, health_interval=0.1, connect_timeout=0.5, reconnect_step=0.01
    ) as redis:
        pubsub = redis.pubsub()
        async with pubsub.subscribe("plans") as listener:
            server.pause()
            began = time.monotonic()
            await until(lambda: not pubsub.stats().connected)
            assert time.monotonic() - began < 3 * 0.1 + 3.0  # the bound, and a loaded machine
            server.resume()
            assert await next_of(listener) == GAP
            await answers(redis.execute)
            await pubsub.publish("plans", b"after")
            assert await heard(listener) == b"after"


async def test_who_enters_before_the_server_is_there_gets_a_gap(server: RedisServer) -> None:
    server.kill()
    async with connect(server.url, deadline=30.0, reconnect_step=0.01) as redis:
        pubsub = redis.pubsub()
        # At once: with a deadline of 30 seconds a wait would be seen.
        async with (
            asyncio.timeout(15),
            pubsub.subscribe("plans") as first,
            pubsub.subscribe("plans", "carriers") as second,
        ):
            server.start()
            assert await next_of(first) == GAP
            assert await next_of(second) == GAP
            await answers(redis.execute)
            await pubsub.publish("carriers", b"1")
            assert await heard(second) == b"1"


async def test_a_server_that_does_not_confirm_in_time_lets_in_with_a_gap(
    server: RedisServer,
) -> None:
    async with connect(server.url, deadline=0.1) as redis:
        pubsub = redis.pubsub()
        async with pubsub.subscribe("plans") as settled:
            server.pause()
            async with pubsub.subscribe("carriers", "plans") as listener:
                server.resume()
                assert await next_of(listener) == GAP
                await answers(redis.execute)
                await pubsub.publish("plans", b"1")
                assert await heard(listener) == b"1"
                assert await heard(settled) == b"1"


async def test_a_thousand_listeners_are_told_of_the_same_gap(redis: RedisClient) -> None:
    pubsub = redis.pubsub()
    async with AsyncExitStack() as stack:
        entering = [
            stack.enter_async_context(pubsub.subscribe(f"plan:{n}", f"plan:{n + 1}"))
            for n in range(1000)
        ]
        listeners = await asyncio.gather(*entering)
        await redis.execute("CLIENT", "KILL", "TYPE", "PUBSUB")
        assert await asyncio.gather(*map(next_of, listeners)) == [GAP] * 1000
        await asyncio.gather(*(pubsub.publish(f"plan:{n}", b"%d" % n) for n in range(1001)))
        for n, listener in enumerate(listeners):
            assert {await heard(listener), await heard(listener)} == {b"%d" % n, b"%d" % (n + 1)}


# Refusals


async def test_a_channel_that_may_not_be_heard_is_refused_alone(redis: RedisClient) -> None:
    await redis.execute("ACL", "SETUSER", "ears", "on", ">pw", "+@all", "~*", "resetchannels")
    await redis.execute("ACL", "SETUSER", "ears", "&plans", "&carriers")
    options = redis._options  # the same server, as another user
    url = options.url.replace("redis://", "redis://ears:pw@")
    async with connect(url, deadline=5.0) as limited:
        pubsub = limited.pubsub()
        async with pubsub.subscribe("plans") as plans, pubsub.subscribe("carriers") as carriers:
            with pytest.raises(CommandError, match=r"^SUBSCRIBE: NOPERM") as raised:
                async with pubsub.subscribe("plans", "secrets"):
                    raise AssertionError("it was let in")
            assert raised.value.code == "NOPERM"
            with pytest.raises(CommandError, match=r"^PSUBSCRIBE: NOPERM"):
                await pubsub.subscribe(patterns=["*"]).__aenter__()
            assert pubsub.stats() == PubSubStats(connected=True, listeners=2, names=2)
            await pubsub.publish("plans", b"1")
            assert await heard(plans) == b"1"
            # Taken away later: the server ends the connection, and refuses on the next.
            await redis.execute("ACL", "SETUSER", "ears", "resetchannels", "&plans")
            with pytest.raises(CommandError, match="NOPERM"):  # noqa: PT012 - a gap may come first
                while True:
                    assert await next_of(carriers) == GAP
            assert await next_of(plans) == GAP
            await redis.execute("PUBLISH", "plans", b"2")
            assert await heard(plans) == b"2"
    await redis.execute("ACL", "DELUSER", "ears")


async def test_a_connection_that_is_refused_is_raised_on_entering(server: RedisServer) -> None:
    async with connect(server.url, deadline=5.0) as redis:
        pubsub = redis.pubsub()
        await redis.execute("CONFIG", "SET", "requirepass", "secret")
        entering = [pubsub.subscribe("plans").__aenter__() for _ in range(3)]
        refused = await asyncio.gather(*entering, return_exceptions=True)
        assert [type(error) for error in refused] == [CommandError] * 3
        assert len({id(error) for error in refused}) == 3
        assert pubsub.stats() == PubSubStats(connected=False, listeners=0, names=0)
        await redis.execute("CONFIG", "SET", "requirepass", "")
        async with pubsub.subscribe("plans") as listener:
            await pubsub.publish("plans", b"1")
            assert await heard(listener) == b"1"


@asynccontextmanager
async def busy(redis: RedisClient) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """The server runs a script without end, until what this gives is called."""
    async with redis.blocking() as runs:
        running = asyncio.create_task(runs.execute("EVAL", "while true do end", 0))
        with pytest.raises(StoreUnavailable, match="BUSY"):  # noqa: PT012 - it takes a while
            while True:
                await redis.execute("GET", "k")

        async def end() -> None:
            await redis.execute("SCRIPT", "KILL")
            with pytest.raises(CommandError):
                await running

        yield end


async def test_a_server_that_is_busy_is_asked_again() -> None:
    with redis_server(args=("--busy-reply-threshold", "1")) as server:
        async with connect(server.url, deadline=0.5, reconnect_step=0.01) as redis:
            pubsub = redis.pubsub()
            async with (
                pubsub.subscribe("plans") as settled,
                busy(redis) as end,
                pubsub.subscribe("carriers") as listener,
            ):
                await end()
                assert await next_of(settled) == GAP
                await pubsub.publish("carriers", b"1")
                while (message := await next_of(listener)) == GAP:
                    # What was published before it was subscribed to is what the gap is about.
                    await pubsub.publish("carriers", b"1")
                assert message == Message("carriers", b"1")


# Slow listeners


async def test_a_listener_that_never_reads_holds_up_nobody(redis: RedisClient) -> None:
    pubsub = redis.pubsub()
    async with (
        pubsub.subscribe("plans", max_messages=100) as never,
        pubsub.subscribe("plans", max_messages=100, on_full="close") as closes,
        pubsub.subscribe("plans", max_messages=20_000) as reads,
    ):
        payload = b"x" * 100
        for _ in range(20):
            await redis.execute_many([("PUBLISH", "plans", payload)] * 1000)
        for _ in range(20_000):
            assert await heard(reads) == payload
        assert await next_of(never) == Lost(dropped=19_900)
        assert [await heard(never) for _ in range(100)] == [payload] * 100
        assert [await heard(closes) for _ in range(100)] == [payload] * 100
        with pytest.raises(SlowListener):
            await next_of(closes)
        assert pubsub.stats().listeners == 2


async def test_a_gap_that_is_dropped_stays_a_gap(redis: RedisClient) -> None:
    pubsub = redis.pubsub()
    async with (
        pubsub.subscribe("plans", max_messages=2) as slow,
        pubsub.subscribe("plans") as fast,
    ):
        await redis.execute("CLIENT", "KILL", "TYPE", "PUBSUB")
        assert await next_of(fast) == GAP
        for n in range(3):
            await pubsub.publish("plans", b"%d" % n)
            assert await heard(fast) == b"%d" % n
        assert await next_of(slow) == Lost(dropped=1, disconnected=True)
        assert [await heard(slow) for _ in range(2)] == [b"1", b"2"]


# Ends


async def test_closing_the_client_ends_the_listeners(redis_url: str) -> None:
    redis = connect(redis_url, deadline=5.0)
    async with redis:
        pubsub = redis.pubsub()
        listener = pubsub.subscribe("plans")
        await listener.__aenter__()
        reading = asyncio.create_task(next_of(listener))
        await asyncio.sleep(0)
    with pytest.raises(StopAsyncIteration):
        await reading
    with pytest.raises(StopAsyncIteration):
        await anext(listener)
    await listener.__aexit__(None, None, None)
    with pytest.raises(NotOpen):
        await pubsub.subscribe("plans").__aenter__()
    with pytest.raises(NotOpen):
        await pubsub.publish("plans", b"1")
    async with redis, pubsub.subscribe("plans") as again:
        await pubsub.publish("plans", b"1")
        assert await heard(again) == b"1"


async def test_closing_ends_who_is_being_let_in(server: RedisServer) -> None:
    redis = connect(server.url, deadline=60.0)
    async with redis:
        server.pause()
        entering = asyncio.create_task(redis.pubsub().subscribe("plans").__aenter__())
        await until(lambda: redis.pubsub().stats().listeners == 1)
    with pytest.raises(NotOpen, match="closed meanwhile"):
        await entering
    server.resume()


@pytest.mark.parametrize("turns", range(6))
async def test_who_is_cancelled_while_it_enters_leaves_nothing(
    server: RedisServer, turns: int
) -> None:
    async with connect(server.url, deadline=60.0) as redis:
        pubsub = redis.pubsub()
        async with pubsub.subscribe("plans") as stays:
            server.pause()
            entering = asyncio.create_task(pubsub.subscribe("plans", "carriers").__aenter__())
            for _ in range(turns):
                await asyncio.sleep(0)
            entering.cancel()
            await asyncio.wait({entering})
            assert entering.cancelled()
            assert pubsub.stats().listeners == 1
            server.resume()
            await channels(redis, [b"plans"])
            await pubsub.publish("plans", b"1")
            assert await heard(stays) == b"1"


async def test_another_loop_is_refused(redis: RedisClient) -> None:
    raised: list[BaseException] = []

    async def use() -> None:
        for attempt in (redis.pubsub().subscribe("plans").__aenter__, listener.__anext__):
            try:
                await attempt()
            except WrongLoop as error:
                raised.append(error)

    async with redis.pubsub().subscribe("plans") as listener:
        thread = threading.Thread(target=lambda: asyncio.run(use()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert len(raised) == 2
        await redis.pubsub().publish("plans", b"1")
        assert await heard(listener) == b"1"


async def test_a_forked_child_is_refused(redis: RedisClient) -> None:
    pubsub = redis.pubsub()
    async with pubsub.subscribe("plans") as listener:
        assert await forked(lambda: pubsub.subscribe("plans").__aenter__()) == "NotOpen"
        assert await forked(listener.__anext__) == "NotOpen"
        # Leaving must not reach for the parent's socket: the server would stop telling the parent.
        assert await forked(lambda: listener.__aexit__(None, None, None)) == "NotOpen"
        await pubsub.publish("plans", b"1")
        assert await heard(listener) == b"1"


# Over redis-py


@pytest.fixture(params=[2, 3])
async def wrapped(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[PubSub]:
    client = Redis.from_url(redis_url, protocol=request.param)
    async with client, wrap(client, deadline=5.0) as commands:
        yield commands.pubsub()


async def test_over_redis_py_a_killed_connection_is_a_gap(
    wrapped: PubSub, redis: RedisClient
) -> None:
    async with (
        wrapped.subscribe("plans", patterns=["p*"]) as listener,
        wrapped.subscribe("carriers") as other,
    ):
        for n in range(2):
            await redis.execute("CLIENT", "KILL", "TYPE", "PUBSUB")
            assert await next_of(listener) == GAP
            assert await next_of(other) == GAP
            await wrapped.publish("plans", b"%d" % n)
            assert [await heard(listener) for _ in range(2)] == [b"%d" % n] * 2
        assert wrapped.stats() == PubSubStats(connected=True, listeners=2, names=3)


async def test_over_redis_py_a_restarted_server_is_a_gap(server: RedisServer) -> None:
    client = Redis.from_url(server.url)
    async with client, wrap(client, deadline=5.0) as commands:
        pubsub = commands.pubsub()
        async with pubsub.subscribe("plans") as listener:
            server.kill()
            await until(lambda: not pubsub.stats().connected)
            async with asyncio.timeout(4.0), pubsub.subscribe("carriers") as late:
                server.start()
                assert await next_of(late) == GAP
            assert await next_of(listener) == GAP
            await answers(commands.execute)
            await pubsub.publish("plans", b"after")
            assert await heard(listener) == b"after"


async def test_over_redis_py_a_half_open_connection_is_found(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("symphonia_perf.redis._driver_subscriber._SILENCE", 0.05)
    client = Redis.from_url(server.url, socket_connect_timeout=0.5, socket_timeout=0.5)
    async with client, wrap(client, deadline=5.0) as commands:
        pubsub = commands.pubsub()
        async with pubsub.subscribe("plans") as listener:
            await asyncio.sleep(0.2)  # pings are answered: nothing happens
            await pubsub.publish("plans", b"1")
            assert await heard(listener) == b"1"
            server.pause()
            await until(lambda: not pubsub.stats().connected)
            server.resume()
            assert await next_of(listener) == GAP


async def test_over_redis_py_a_refusal_is_raised(redis: RedisClient) -> None:
    await redis.execute("ACL", "SETUSER", "few", "on", ">pw", "+@all", "~*", "resetchannels")
    await redis.execute("ACL", "SETUSER", "few", "&plans")
    client = Redis.from_url(redis._options.url.replace("redis://", "redis://few:pw@"))
    async with client, wrap(client, deadline=5.0) as commands:
        pubsub = commands.pubsub()
        async with pubsub.subscribe("plans") as listener:
            with pytest.raises(CommandError, match=r"^SUBSCRIBE: .*permission"):
                await pubsub.subscribe("secrets").__aenter__()
            await pubsub.publish("plans", b"1")
            assert await heard(listener) == b"1"
    await redis.execute("ACL", "DELUSER", "few")


async def test_over_redis_py_a_refused_connection_is_raised(redis_url: str) -> None:
    client = Redis.from_url(redis_url.replace("/0", "/9999"))
    async with client, wrap(client, deadline=5.0) as commands:
        for _ in range(2):
            with pytest.raises(CommandError, match="DB index"):
                await commands.pubsub().subscribe("plans").__aenter__()


async def test_over_redis_py_a_fault_of_the_driver_is_a_gap(
    wrapped: PubSub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """redis-py raises AttributeError and the like where a connection ends under it."""
    parse = DriverPubSub.parse_response
    faults = [AttributeError("'NoneType' object has no attribute 'read'")]

    async def fail_once(self: DriverPubSub, *args: Any, **options: Any) -> Any:
        reply = await parse(self, *args, **options)
        if reply is not None and reply[-1] == b"1" and faults:
            raise faults.pop()
        return reply

    monkeypatch.setattr(DriverPubSub, "parse_response", fail_once)
    async with wrapped.subscribe("plans") as listener:
        await wrapped.publish("plans", b"1")
        assert await next_of(listener) == GAP
        await wrapped.publish("plans", b"2")
        assert await heard(listener) == b"2"
        async with wrapped.subscribe("carriers") as other:
            await wrapped.publish("carriers", b"3")
            assert await heard(other) == b"3"
    assert "'NoneType' object has no attribute 'read'" in caplog.text


async def test_over_redis_py_a_busy_server_is_asked_again() -> None:
    with redis_server(args=("--busy-reply-threshold", "1")) as server:
        client = Redis.from_url(server.url)
        async with client, wrap(client, deadline=0.5) as commands, connect(server.url) as redis:
            pubsub = commands.pubsub()
            async with (
                pubsub.subscribe("plans"),
                busy(redis) as end,
                pubsub.subscribe("carriers") as listener,
            ):
                await end()
                assert await next_of(listener) == GAP
                await pubsub.publish("carriers", b"1")
                assert await heard(listener) == b"1"


async def test_over_a_cluster_it_says_what_works() -> None:
    commands = wrap(RedisCluster.from_url("redis://127.0.0.1:1"))
    with pytest.raises(ConfigurationError, match="one of its nodes"):
        commands.pubsub()
