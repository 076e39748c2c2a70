"""The adapter on a real server that is killed, frozen, cut off and restarted."""

import asyncio
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from symphonia_perf.errors import CommandError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis import wrap
from symphonia_perf.redis.adapter import Adapter
from symphonia_perf.testing.servers import RedisServer

pytestmark = pytest.mark.redis


@pytest.fixture
async def server(redis_url: str, redis_server: RedisServer) -> AsyncIterator[RedisServer]:
    if redis_url != redis_server.url:
        pytest.skip("needs a server of its own, to kill")
    yield redis_server
    redis_server.start()
    redis_server.resume()


class Instrumented(Redis):
    """As tracing makes them: whoever looks at the commands still sees them."""


def clients(server: RedisServer) -> dict[str, Redis]:
    """As users have them: redis-py's defaults, without retries, and without any timeout."""
    return {
        "defaults": Redis.from_url(server.url),
        "no-retry": Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)),
        "no-timeout": Redis.from_url(server.url, socket_timeout=None),
        "resp2": Redis.from_url(server.url, protocol=2, health_check_interval=1),
        "own-pipeline": Instrumented.from_url(server.url),
    }


@pytest.fixture(params=["defaults", "no-retry", "no-timeout", "resp2", "own-pipeline"])
async def redis(server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[Adapter]:
    client = clients(server)[request.param]
    yield wrap(client)
    await client.aclose()


async def eventually(ask: Callable[[], Awaitable[Any]], *, within: float = 15.0) -> Any:
    """The first answer that is not a failing store's."""
    until = time.monotonic() + within
    while True:
        try:
            return await ask()
        except (StoreTimeout, StoreUnavailable):
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.02)


async def test_a_frozen_server_is_on_time_for_everybody(
    redis: Adapter, server: RedisServer
) -> None:
    assert await redis.execute("SET", "k", "v") == b"OK"
    server.pause()
    try:
        for _ in range(3):  # also while the first pipeline is still stuck
            started = time.monotonic()
            answers = await asyncio.gather(
                *(redis.execute("GET", "k") for _ in range(20)), return_exceptions=True
            )
            assert {type(answer) for answer in answers} == {StoreTimeout}
            assert len({id(answer) for answer in answers}) == 20
            assert 0.24 <= time.monotonic() - started < 0.4
    finally:
        server.resume()
    assert await eventually(lambda: redis.execute("GET", "k")) == b"v"


async def test_a_deadline_of_ones_own_harms_nobody(redis: Adapter, server: RedisServer) -> None:
    await redis.execute("SET", "k", "v")
    server.pause()
    patient = asyncio.ensure_future(redis.execute("GET", "k", deadline=10))
    started = time.monotonic()
    try:
        with pytest.raises(StoreTimeout, match="may have been executed"):
            await redis.execute("GET", "k", deadline=0.05)
        assert time.monotonic() - started < 0.15
    finally:
        server.resume()
    assert await patient == b"v"


async def test_what_waits_behind_a_stuck_pipeline_says_it_was_not_sent(
    redis: Adapter, server: RedisServer
) -> None:
    await redis.execute("SET", "n", 0)
    server.pause()
    first = asyncio.ensure_future(redis.execute("GET", "n", deadline=10))
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(StoreTimeout, match="INCR: it was not sent"):
            await redis.execute("INCR", "n", deadline=0.05)
    finally:
        server.resume()
    assert await first == b"0"
    assert await redis.execute("GET", "n") == b"0"


async def test_a_killed_server_is_on_time_and_comes_back(
    redis: Adapter, server: RedisServer
) -> None:
    script = redis.script("return ARGV[1]")
    assert await script(args=["1"]) == b"1"
    server.kill()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises((StoreTimeout, StoreUnavailable)) as raised:
            await redis.execute("GET", "k")
        assert time.monotonic() - started < 0.4
        assert raised.value.operation == "GET"
    server.start()
    assert await eventually(lambda: redis.execute("PING")) == b"PONG"
    # The script cache went with the old process.
    assert await script(args=["2"]) == b"2"


async def test_a_refused_connection_is_named_when_the_client_does_not_retry(
    server: RedisServer,
) -> None:
    server.kill()
    client = clients(server)["no-retry"]
    with pytest.raises(StoreUnavailable, match="GET") as raised:
        await wrap(client).execute("GET", "k")
    assert raised.value.__cause__ is not None
    replies = await wrap(client).execute_many([("GET", "a"), ("SET", "b", 1)], return_errors=True)
    assert [(type(reply), reply.operation) for reply in replies] == [
        (StoreUnavailable, "GET"),
        (StoreUnavailable, "SET"),
    ]
    await client.aclose()


async def test_a_cut_connection_is_replaced(redis: Adapter, server: RedisServer) -> None:
    await redis.execute("SET", "k", "v")
    for _ in range(5):
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await eventually(lambda: redis.execute("GET", "k")) == b"v"


async def test_a_cancelled_caller_harms_nobody(redis: Adapter) -> None:
    await redis.execute_many([("SET", f"k{n}", n) for n in range(50)])
    tasks = [asyncio.ensure_future(redis.execute("GET", f"k{n}")) for n in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(answer) for answer in answers[::2]} == {asyncio.CancelledError}
    assert answers[1::2] == [b"%d" % n for n in range(1, 50, 2)]


async def test_a_thousand_cancels_and_timeouts_misplace_no_reply(redis: Adapter) -> None:
    chance = random.Random(7)
    await redis.execute_many([("SET", f"k{n}", f"v{n}") for n in range(200)], deadline=5)
    ends: dict[str, int] = {"answer": 0, "cancel": 0, "timeout": 0}

    async def one(number: int) -> None:
        deadline = chance.choice([0.0005, 0.002, 5.0])
        try:
            if number % 5:
                assert await redis.execute("GET", f"k{number}", deadline=deadline) == (
                    f"v{number}".encode()
                )
            else:
                both = await redis.execute_many(
                    [("GET", f"k{number}"), ("ECHO", number)], deadline=deadline
                )
                assert both == [f"v{number}".encode(), b"%d" % number]
            ends["answer"] += 1
        except StoreTimeout:
            ends["timeout"] += 1
        except asyncio.CancelledError:
            ends["cancel"] += 1

    for _ in range(50):
        tasks = [asyncio.ensure_future(one(chance.randrange(200))) for _ in range(60)]
        while any(not task.done() for task in tasks):
            for task in chance.sample(tasks, 7):
                task.cancel()
            await asyncio.sleep(chance.choice([0, 0, 0.0005, 0.002]))
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            # Cancelled before its first step, or else it has counted itself.
            assert end is None or isinstance(end, asyncio.CancelledError), end
            ends["cancel"] += end is not None
    assert ends["cancel"] + ends["timeout"] >= 1000
    assert ends["answer"] >= 50
    replies = await redis.execute_many([("GET", f"k{n}") for n in range(200)], deadline=5)
    assert replies == [f"v{n}".encode() for n in range(200)]


async def test_a_script_survives_a_flush_in_mid_flight(redis: Adapter) -> None:
    script = redis.script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    for _ in range(20):
        await asyncio.gather(
            redis.execute("SCRIPT", "FLUSH"), *(script(["n"], [1], deadline=5) for _ in range(10))
        )
    assert await redis.execute("GET", "n") == b"200"


async def test_a_turn_is_one_pipeline(redis: Adapter, server: RedisServer) -> None:
    await redis.execute("PING")
    before = int(server.info("stats")["total_reads_processed"])
    await asyncio.gather(*(redis.execute("GET", f"k{n}") for n in range(50)))
    # One read for the pipeline, and one for each of our two questions at most.
    assert int(server.info("stats")["total_reads_processed"]) - before <= 4


async def test_what_is_refused_between_others_stands_in_its_place(redis: Adapter) -> None:
    await redis.execute("SET", "k", "v")
    wanted: list[tuple[Any, ...]] = [("GET", "k"), ("INCR", "k"), ("GET", "k"), ("LPOP", "k")]
    wanted += [("ECHO", "x"), ("INCR", "k")]
    found = await redis.execute_many(wanted, return_errors=True)
    assert found[::2] == [b"v", b"v", b"x"]
    assert [type(error) for error in found[1::2]] == [CommandError] * 3
    assert [error.operation for error in found[1::2]] == ["INCR", "LPOP", "INCR"]


class Watching(Connection):
    """A connection of somebody's own that looks at every reply, as Sentinel's does."""

    seen = 0

    async def read_response(self, *args: Any, **options: Any) -> Any:
        Watching.seen += 1
        return await super().read_response(*args, **options)


async def test_a_connection_that_looks_at_replies_sees_all(server: RedisServer) -> None:
    pool = ConnectionPool(connection_class=Watching, host="127.0.0.1", port=server.port)
    async with Redis(connection_pool=pool) as client:
        redis = wrap(client)
        await redis.execute("PING")
        before = Watching.seen
        assert await redis.execute_many([("ECHO", "x")] * 9) == [b"x"] * 9
        assert Watching.seen == before + 9
        await redis.aclose()
    await pool.aclose()


async def test_a_pool_of_fakeredis_in_a_plain_client_works() -> None:
    async with Redis(connection_pool=FakeAsyncRedis().connection_pool) as client:
        redis = wrap(client, deadline=5.0)
        assert await redis.execute_many([("SET", "k", "v")] * 5) == [b"OK"] * 5
        await redis.aclose()


async def test_a_connection_that_is_reset_between_replies_is_tried_again_as_the_client_says() -> (
    None
):
    replies = 3  # of five, on the first connection

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal replies
        while b"ECHO" not in (data := await reader.read(4096)):
            writer.write(b"+OK\r\n" * data.count(b"SETINFO"))
        writer.write(b"".join(b":%d\r\n" % number for number in range(replies)))
        await writer.drain()
        if replies < 5:
            replies = 5
            await asyncio.sleep(0.05)  # they have arrived
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            await reader.read()
            writer.close()

    peer = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = peer.sockets[0].getsockname()[1]
    for retry, wanted in (
        (Retry(NoBackoff(), 1), [0, 1, 2, 3, 4]),
        (Retry(NoBackoff(), 0), [StoreUnavailable] * 5),
    ):
        replies = 3
        async with Redis(port=port, protocol=2, retry=retry) as client:
            redis = wrap(client, deadline=5.0)
            commands = [("ECHO", str(n)) for n in range(5)]
            found = await redis.execute_many(commands, return_errors=True)
            assert [f if isinstance(f, int) else type(f) for f in found] == wanted
            await redis.aclose()
    peer.close()
    await peer.wait_closed()


async def test_a_connection_is_only_borrowed(server: RedisServer) -> None:
    client = Redis.from_url(server.url, max_connections=1, client_name="mine", db=3)
    redis = wrap(client)
    await client.set("k", "v")
    for _ in range(3):  # the client and its adapter share the one there is
        assert await redis.execute_many([("GET", "k"), ("CLIENT", "GETNAME")]) == [b"v", b"mine"]
        assert await client.get("k") == b"v"
    pool: Any = client.connection_pool
    taken = await pool.get_connection()
    with pytest.raises(StoreUnavailable, match="Too many connections"):
        await redis.execute("GET", "k")
    await pool.release(taken)
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await redis.execute("LPUSH", "k", 1)
    assert await redis.execute("GET", "k") == b"v"
    await client.aclose()


async def test_a_cancelled_pipeline_gives_its_connection_back(server: RedisServer) -> None:
    client = Redis.from_url(server.url, max_connections=1)
    redis = wrap(client, deadline=5)
    await redis.execute("SET", "k", "v")
    server.pause()
    try:
        with pytest.raises(StoreTimeout):
            await redis.execute("GET", "other", deadline=0.05)
    finally:
        server.resume()
    await redis.aclose()
    assert await client.get("k") == b"v"  # not "Too many connections", nor another's reply
    await client.aclose()


async def test_a_long_deadline_on_a_dead_link_does_not_hold_up_the_others(
    server: RedisServer,
) -> None:
    hangs: list[asyncio.StreamWriter] = []

    async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The first connection goes dead when it is told to; the others stay well."""
        first, upstream = not hangs, await asyncio.open_connection("127.0.0.1", server.port)
        hangs.append(writer)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                if not (first and dead.is_set()):
                    target.write(data)
            target.close()

        await asyncio.gather(pump(reader, upstream[1]), pump(upstream[0], writer))

    dead = asyncio.Event()
    proxy = await asyncio.start_server(link, "127.0.0.1", 0)
    client = Redis(host="127.0.0.1", port=proxy.sockets[0].getsockname()[1])
    redis = wrap(client, deadline=0.2)
    await redis.execute("SET", "k", "v")
    dead.set()
    patient = asyncio.ensure_future(redis.execute("GET", "k", deadline=60))
    await asyncio.sleep(0)
    assert await eventually(lambda: redis.execute("GET", "k"), within=5) == b"v"
    assert not patient.done()
    patient.cancel()
    hangs[0].close()
    await redis.aclose()
    await client.aclose()
    proxy.close()
    await proxy.wait_closed()


# ---------------------------------------------------------------- cluster


@pytest.fixture
async def cluster(redis_cluster: Any) -> AsyncIterator[Any]:
    for node in redis_cluster.nodes:
        node.start()
        node.resume()
    redis_cluster.wait_until_ok()
    yield redis_cluster
    for node in redis_cluster.nodes:
        node.start()
        node.resume()
    redis_cluster.wait_until_ok()


async def test_a_frozen_cluster_node_holds_up_only_its_own_keys(cluster: Any) -> None:
    client = RedisCluster.from_url(cluster.url)
    redis = wrap(client)
    await redis.execute_many([("SET", f"k{n}", n) for n in range(100)], deadline=5)
    frozen = cluster.nodes[1]
    theirs = {n for n in range(100) if client.get_node_from_key(f"k{n}").port == frozen.port}
    assert 10 < len(theirs) < 60
    frozen.pause()
    try:
        answers = await asyncio.gather(
            *(redis.execute("GET", f"k{n}") for n in range(100)), return_exceptions=True
        )
        many = await redis.execute_many([("GET", f"k{n}") for n in range(100)], return_errors=True)
    finally:
        frozen.resume()
    for n in range(100):
        for answer in (answers[n], many[n]):
            assert isinstance(answer, StoreTimeout) if n in theirs else answer == b"%d" % n
    assert await eventually(lambda: redis.execute("GET", f"k{min(theirs)}")) == b"%d" % min(theirs)
    await client.aclose()


async def test_a_script_comes_back_on_every_cluster_node(cluster: Any) -> None:
    client = RedisCluster.from_url(cluster.url)
    redis = wrap(client, deadline=5)
    script = redis.script("return redis.call('INCR', KEYS[1])")
    keys = [f"count{n}" for n in range(20)]
    await redis.execute_many([("DEL", key) for key in keys])
    assert await asyncio.gather(*(script([key]) for key in keys)) == [1] * 20
    for node in cluster.nodes:
        node.ask("SCRIPT", "FLUSH")
    assert await asyncio.gather(*(script([key]) for key in keys)) == [2] * 20
    await client.aclose()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("MGET", "a", "b", "c"), "CROSSSLOT"),
        (("FLUSHALL",), "ERR"),
        (("SCRIPT", "FLUSH"), "ERR"),
        (("NONSENSE", "k"), "ERR"),
        (("GET",), "ERR"),
    ],
    ids=str,
)
async def test_what_a_cluster_cannot_route_harms_nobody(
    cluster: Any, command: tuple[str, ...], code: str
) -> None:
    client = RedisCluster.from_url(cluster.url)
    redis = wrap(client, deadline=5)
    replies = await asyncio.gather(
        *(redis.execute("SET", f"k{n}", n) for n in range(10)),
        redis.execute(*command),
        *(redis.execute("GET", f"k{n}") for n in range(10)),
        return_exceptions=True,
    )
    assert replies[:10] == [b"OK"] * 10
    assert replies[11:] == [b"%d" % n for n in range(10)]
    assert isinstance(replies[10], CommandError)
    assert replies[10].code == code
    await client.aclose()


async def test_binary_keys_and_two_word_commands_find_their_node(cluster: Any) -> None:
    client = RedisCluster.from_url(cluster.url)
    redis = wrap(client, deadline=5)
    key = b"\x00\xff\xfe"
    assert await redis.execute("SET", key, b"\x80") == b"OK"
    assert await redis.execute("OBJECT", "encoding", key) == b"embstr"
    assert isinstance(await redis.execute("MEMORY", b"USAGE", key), int)
    assert await redis.execute("CLUSTER", "KEYSLOT", key) == client.keyslot(key)
    assert isinstance(await redis.execute("DBSIZE"), int)
    await client.aclose()


async def test_a_moved_slot_is_followed(cluster: Any) -> None:
    client = RedisCluster.from_url(cluster.url)
    redis = wrap(client, deadline=5)
    await redis.execute("SET", "moved", "v")
    slot = client.keyslot("moved")
    source = client.get_node_from_key("moved")
    old = next(node for node in cluster.nodes if node.port == source.port)
    new = next(node for node in cluster.nodes if node.port != source.port)
    old_id, new_id = old.ask("CLUSTER", "MYID").strip(), new.ask("CLUSTER", "MYID").strip()

    def move(start: Any, start_id: str, end: Any, end_id: str) -> None:
        end.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", start_id)
        start.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", end_id)
        start.ask("MIGRATE", "127.0.0.1", str(end.port), "moved", "0", "5000")
        for node in (end, start, *cluster.nodes):
            node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", end_id)

    move(old, old_id, new, new_id)
    try:
        assert await redis.execute("GET", "moved") == b"v"
        assert await redis.execute_many([("GET", "moved"), ("DEL", "moved")]) == [b"v", 1]
        await redis.execute("SET", "moved", "v")
    finally:
        move(new, new_id, old, old_id)
        cluster.wait_until_ok()
    assert await redis.execute("DEL", "moved") == 1
    await client.aclose()
