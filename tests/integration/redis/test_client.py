"""The native client against a real server: kills, freezes, cancels, refusals, two loops, a fork."""

import asyncio
import gc
import os
import random
import re
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    NotOpen,
    StoreTimeout,
    StoreUnavailable,
    WrongLoop,
)
from symphonia_perf.redis import ConnectionEvent, RedisClient, RedisOptions, connect
from symphonia_perf.testing.servers import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with redis_server() as started:
        yield started


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    async with connect(redis_url, deadline=5.0) as client:
        yield client


async def until(condition: Callable[[], bool], patience: float = 10.0) -> None:
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a server
            await asyncio.sleep(0.005)


async def answers(client: RedisClient) -> None:
    """Return when the client reaches its server again."""
    async with asyncio.timeout(15):
        while True:
            try:
                await client.execute("PING")
            except (StoreUnavailable, StoreTimeout):
                await asyncio.sleep(0.02)
            else:
                return


async def test_nothing_connects_before_it_is_opened() -> None:
    client = connect("redis://127.0.0.1:1/0")
    with pytest.raises(NotOpen):
        await client.execute("PING")
    assert not client.stats().connected


async def test_it_may_be_opened_again(redis_url: str) -> None:
    client = connect(redis_url)
    for _ in range(2):
        async with client:
            assert await client.execute("PING") == b"PONG"
        with pytest.raises(NotOpen):
            await client.execute("PING")


async def test_a_thousand_tasks_share_one_connection(redis: RedisClient) -> None:
    await redis.execute_many([("SET", f"k{n}", n) for n in range(1000)])
    found = await asyncio.gather(*(redis.execute("GET", f"k{n}") for n in range(1000)))
    assert found == [b"%d" % n for n in range(1000)]
    stats = redis.stats()
    assert (stats.connections, stats.in_flight, stats.waiting) == (1, 0, 0)
    assert stats.bytes_in_flight == 0


async def test_a_transaction_is_executed_whole(redis: RedisClient) -> None:
    assert await redis.transaction([("SET", "a", 1), ("INCR", "a"), ("GET", "a")]) == [
        b"OK",
        2,
        b"2",
    ]
    assert await redis.transaction([]) == []
    with pytest.raises(CommandError, match="HSET") as queued:
        await redis.transaction([("SET", "a", 9), ("HSET", "a")])
    assert queued.value.operation == "HSET"
    assert await redis.execute("GET", "a") == b"2"
    with pytest.raises(CommandError) as executed:
        await redis.transaction([("SET", "a", 3), ("LPUSH", "a", "x")])
    assert executed.value.code == "WRONGTYPE"
    with pytest.raises(CommandError, match=r"^LPUSH: WRONGTYPE"):
        await redis.transaction([(b"lpush", "a", "x")])
    assert await redis.execute("GET", "a") == b"3"


async def test_transactions_of_many_callers_do_not_mix(redis: RedisClient) -> None:
    async def add(n: int) -> None:
        await redis.execute("GET", "other")
        before, after = await redis.transaction([("GET", "n"), ("INCRBY", "n", n)])
        assert after == int(before or 0) + n

    await asyncio.gather(*(add(n) for n in range(200)))
    assert int(await redis.execute("GET", "n")) == sum(range(200))


async def test_a_blocking_command_has_a_connection_of_its_own(redis: RedisClient) -> None:
    with pytest.raises(ConfigurationError, match=r"BLPOP .*client\.blocking\(\)"):
        await redis.execute("BLPOP", "list", 0)
    async with redis.blocking() as blocking:
        waiting = asyncio.create_task(blocking.execute("BLPOP", "list", 5))
        await until(lambda: blocking.stats().in_flight == 1)
        assert await redis.execute("RPUSH", "list", "x") == 1
        assert await waiting == [b"list", b"x"]
        with pytest.raises(ConfigurationError, match="SELECT"):
            await blocking.execute("SELECT", 1)


async def test_database_name_and_library_are_set(redis_url: str) -> None:
    async with connect(redis_url.replace("/0", "/3"), client_name="orders") as client:
        info = (await client.execute("CLIENT", "INFO")).decode()
    assert "db=3" in info
    assert "name=orders" in info
    assert "lib-name=symphonia-perf" in info
    assert "resp=3" in info


async def test_a_valkey_url_works(redis_url: str) -> None:
    async with connect(redis_url.replace("redis://", "valkey://")) as client:
        assert await client.execute("PING") == b"PONG"


async def test_passwords() -> None:
    with redis_server(args=("--requirepass", "right")) as server:
        at = f"127.0.0.1:{server.port}/0"
        async with connect(f"redis://:right@{at}") as client:
            assert await client.execute("PING") == b"PONG"
        async with connect(f"redis://:right@{at}?protocol=2") as client:
            assert await client.execute("PING") == b"PONG"
        with pytest.raises(CommandError) as wrong:
            await connect(f"redis://:wrong@{at}").__aenter__()
        assert wrong.value.code == "WRONGPASS"
        assert f"127.0.0.1:{server.port} refused HELLO" in str(wrong.value)
        with pytest.raises(CommandError) as none:
            await connect(f"redis://{at}").__aenter__()
        assert none.value.code == "NOAUTH"
        assert "right" not in repr(connect(f"redis://:right@{at}")._options)


async def test_a_database_that_does_not_exist_is_refused(redis_url: str) -> None:
    with pytest.raises(CommandError, match="SELECT"):
        await connect(redis_url.replace("/0", "/9999")).__aenter__()


async def test_a_server_that_is_not_there_costs_no_waiting() -> None:
    events: list[Any] = []
    async with connect("redis://127.0.0.1:1/0", deadline=5.0, observer=events.append) as client:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"GET: .*127.0.0.1:1 .* it was not sent"):
            await client.execute("GET", "k")
        assert time.monotonic() - began < 1.0
    assert {event.kind for event in events} == {"unreachable"}


async def test_kill_and_restart_under_load(server: RedisServer) -> None:
    events: list[ConnectionEvent] = []
    stop = asyncio.Event()
    outcomes: dict[str, int] = {}

    async def caller(client: RedisClient, n: int) -> None:
        while not stop.is_set():
            try:
                assert await client.execute("ECHO", f"{n}") == b"%d" % n
                said = "ok"
            except (StoreUnavailable, StoreTimeout) as error:
                said = type(error).__name__
                await asyncio.sleep(0.001)
            outcomes[said] = outcomes.get(said, 0) + 1

    async with connect(server.url, deadline=0.5, observer=events.append) as client:  # type: ignore[arg-type]
        callers = [asyncio.create_task(caller(client, n)) for n in range(50)]
        await until(lambda: outcomes.get("ok", 0) > 500)
        server.kill()
        await until(lambda: outcomes.get("StoreUnavailable", 0) > 50)
        server.start()
        await answers(client)
        outcomes.clear()
        await until(lambda: outcomes.get("ok", 0) > 500)
        stop.set()
        await asyncio.gather(*callers)
    kinds = [event.kind for event in events]
    assert kinds[0] == "connected"
    assert "lost" in kinds
    assert kinds[-2:] == ["connected", "closed"]


async def test_a_frozen_server_times_callers_out_on_time_and_recovers(server: RedisServer) -> None:
    async with connect(server.url, deadline=0.2, max_in_flight=100, max_waiting=2000) as client:
        await client.execute("SET", "k", "v")
        server.pause()
        lateness: list[float] = []

        async def caller() -> None:
            began = time.monotonic()
            with pytest.raises(StoreTimeout):
                await client.execute("GET", "k")
            lateness.append(time.monotonic() - began - 0.2)

        await asyncio.gather(*(caller() for _ in range(500)))
        assert len(lateness) == 500
        assert max(lateness) < 0.15
        # No more than the bound went out; the others know that they were not sent.
        assert client.stats().in_flight == 100
        with pytest.raises(StoreTimeout, match="it was not sent"):
            await client.execute("GET", "k")
        server.resume()
        await answers(client)
        assert await client.execute("GET", "k") == b"v"
        assert client.stats().connections == 1


async def test_who_waits_in_a_long_line_is_served_in_order(redis_url: str) -> None:
    numbers = [b"%d" % number for number in range(400)]
    async with connect(redis_url, deadline=10.0, max_in_flight=150) as client:
        await client.execute("DEL", "list")
        pushes = [client.execute("RPUSH", "list", number) for number in numbers]
        assert await asyncio.gather(*pushes) == list(range(1, 401))
        assert await client.execute("LRANGE", "list", 0, -1) == numbers


async def test_a_line_that_is_full_says_so(server: RedisServer) -> None:
    async with connect(server.url, deadline=1.0, max_in_flight=2, max_waiting=3) as client:
        server.pause()
        waiting = [asyncio.create_task(client.execute("GET", "k")) for _ in range(5)]
        await until(lambda: client.stats().waiting == 3)
        with pytest.raises(StoreUnavailable, match="3 callers wait already"):
            await client.execute("GET", "k")
        server.resume()
        assert await asyncio.gather(*waiting) == [None] * 5


async def test_a_caller_in_line_keeps_a_deadline_of_its_own(server: RedisServer) -> None:
    async with connect(server.url, deadline=0.1, max_in_flight=1) as client:
        server.pause()
        first = asyncio.create_task(client.execute("GET", "k", deadline=10.0))
        await until(lambda: client.stats().in_flight == 1)
        patient = [
            asyncio.create_task(client.execute("RPUSH", "line", 1, deadline=10.0)),
            asyncio.create_task(client.execute_many([("RPUSH", "line", 2)], deadline=10.0)),
        ]
        for late in (None, 0.05, 0.3):  # of the client, and of its own: shorter and longer
            with pytest.raises(StoreTimeout, match="it was not sent"):
                await client.execute("RPUSH", "line", 9, deadline=late)
        await until(lambda: client.stats().waiting == 2)
        server.resume()
        assert await first is None
        assert await asyncio.gather(*patient) == [1, [2]]
        assert await client.execute("LRANGE", "line", 0, -1) == [b"1", b"2"]


async def test_what_waited_in_line_leaves_nothing_behind(redis_url: str) -> None:
    loop = asyncio.get_running_loop()
    scheduled = loop._scheduled  # type: ignore[attr-defined]  # where timers are
    async with connect(redis_url, deadline=3600.0, max_in_flight=1) as client:
        await asyncio.gather(*(client.execute("PING") for _ in range(500)))
        assert len([timer for timer in scheduled if not timer.cancelled()]) < 10


async def test_a_failure_keeps_no_command_until_a_collection(server: RedisServer) -> None:
    class Value(str):
        """A text that can be watched."""

        __slots__ = ("__weakref__",)

    async with connect(server.url, deadline=0.02) as client:
        server.pause()
        gc.disable()
        try:
            watched = []
            for deadline in (None, 0.02):
                value = Value("x")
                watched.append(weakref.ref(value))
                with pytest.raises(StoreTimeout):
                    await client.execute("SET", "k", value, deadline=deadline)
                value = Value("y")
                watched.append(weakref.ref(value))
                with pytest.raises(StoreTimeout):
                    await client.execute_many([("SET", "k", value)], deadline=deadline)
            del value
            server.resume()  # a late reply lets go of its place, and with it of the error
            await until(lambda: client.stats().in_flight == 0)
            assert [one() for one in watched] == [None] * 4
        finally:
            gc.enable()


async def test_callers_in_line_are_served_in_order(redis_url: str) -> None:
    async with connect(redis_url, deadline=5.0, max_in_flight=1) as client:
        tasks = [client.execute("RPUSH", "line", n) for n in range(200)]
        await asyncio.gather(*tasks)
        found = await client.execute("LRANGE", "line", 0, -1)
    assert found == [b"%d" % n for n in range(200)]


async def test_a_silent_server_is_given_up() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted = await reader.read(4096)
        count = greeted.count(b"*")
        writer.write(b"+OK\r\n" * count)
        while await reader.read(4096):  # says nothing ever again
            pass
        writer.close()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    events: list[Any] = []
    async with connect(
        f"redis://127.0.0.1:{port}", deadline=0.1, health_interval=0.1, observer=events.append
    ) as client:
        with pytest.raises(StoreTimeout):
            await client.execute("GET", "k")
        await until(lambda: any(event.kind == "lost" for event in events))
        assert "no sign of life" in next(e.reason for e in events if e.kind == "lost")
    silent.close()
    await silent.wait_closed()


async def test_commands_may_come_from_a_generator(redis: RedisClient) -> None:
    assert await redis.execute_many(("INCR", "n") for _ in range(3)) == [1, 2, 3]  # type: ignore[arg-type]
    assert await redis.transaction(("INCR", "n") for _ in range(2)) == [4, 5]  # type: ignore[arg-type]


async def test_an_idle_connection_is_kept(redis_url: str) -> None:
    events: list[Any] = []

    async def pings() -> int:
        stats = await asker.execute("INFO", "commandstats")
        found = re.search(rb"cmdstat_ping:calls=(\d+)", stats)
        return int(found[1]) if found else 0

    async with (
        connect(redis_url) as asker,
        connect(redis_url, health_interval=0.02, observer=events.append) as idle,
    ):
        before = await pings()
        async with asyncio.timeout(20):
            while await pings() < before + 20:  # noqa: ASYNC110 - the server is asked
                await asyncio.sleep(0.02)
        assert idle.stats().connections == 1
        assert [event.kind for event in events] == ["connected"]


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
async def test_what_a_blocking_caller_gave_up_takes_nothing(redis_url: str, how: str) -> None:
    async with connect(redis_url, reconnect_step=0.01) as client, client.blocking() as blocking:
        if how == "cancelled":
            task = asyncio.ensure_future(blocking.execute("BLPOP", "jobs", 0))
            await until(lambda: blocking.stats().in_flight == 1)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
        else:
            with pytest.raises(StoreTimeout):
                await blocking.execute("BLPOP", "jobs", 0, deadline=0.05)
        await until(lambda: blocking.stats().connections == 2)
        await client.execute("RPUSH", "jobs", "one")
        assert await client.execute("LLEN", "jobs") == 1
        assert await blocking.execute("BLPOP", "jobs", 1) == [b"jobs", b"one"]


async def test_who_waits_behind_another_on_a_blocking_client_is_not_hurried(
    redis_url: str,
) -> None:
    async with connect(redis_url, health_interval=0.3) as client, client.blocking() as blocking:
        first = asyncio.ensure_future(blocking.execute("BLPOP", "one", 0.5))
        await until(lambda: blocking.stats().in_flight == 1)
        assert await blocking.execute("BLPOP", "two", 0.05) is None
        assert await first is None
        assert blocking.stats().connections == 1


async def test_a_server_that_never_greets_is_given_up() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connect(f"redis://127.0.0.1:{port}", connect_timeout=0.1) as client:
        with pytest.raises(StoreUnavailable, match=r"no answer within 0.1 s\W"):
            await client.execute("GET", "k")
    server.close()
    await server.wait_closed()


async def test_an_old_server_is_spoken_to_as_it_understands() -> None:
    heard: list[bytes] = []

    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            heard.append(data)
            for word in data.split(b"*")[1:]:
                if b"HELLO" in word or b"SETINFO" in word:
                    writer.write(b"-ERR unknown command\r\n")
                else:
                    writer.write(b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(old, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connect(f"redis://:secret@127.0.0.1:{port}/2", client_name="me") as client:
        assert await client.execute("SET", "k", "v") == b"OK"
    said = b"".join(heard)
    assert b"$4\r\nAUTH\r\n$6\r\nsecret\r\n" in said
    assert b"SELECT" in said
    server.close()
    await server.wait_closed()


async def test_client_kill_in_a_loop_loses_no_alignment(redis_url: str) -> None:
    async with connect(redis_url, deadline=2.0) as client, connect(redis_url) as killer:
        mine = int((await client.execute("CLIENT", "ID")) or 0)
        wrong: list[Any] = []
        stop = asyncio.Event()
        done = 0

        async def caller(n: int) -> None:
            nonlocal done
            while not stop.is_set():
                try:
                    reply = await client.execute("ECHO", f"{n}-{done}-{n}")
                    if not reply.startswith(b"%d-" % n) or not reply.endswith(b"-%d" % n):
                        wrong.append((n, reply))
                    done += 1
                except (StoreUnavailable, StoreTimeout):
                    await asyncio.sleep(0)

        callers = [asyncio.create_task(caller(n)) for n in range(30)]
        for _ in range(10):
            target = done + 200
            await killer.execute("CLIENT", "KILL", "ID", mine)
            await until(lambda target=target: done > target)  # type: ignore[misc]
            mine = int(await client.execute("CLIENT", "ID"))
        stop.set()
        await asyncio.gather(*callers)
        assert not wrong
        assert client.stats().connections >= 10


async def test_ten_thousand_random_cancels_and_timeouts_harm_nobody(redis: RedisClient) -> None:
    draw = random.Random(7)
    cancelled = timed_out = fine = 0

    async def ask(n: int) -> None:
        nonlocal timed_out, fine
        try:
            deadline = draw.choice([None, None, None, 0.0005])
            reply = await redis.execute("ECHO", f"{n}", deadline=deadline)
        except StoreTimeout:
            timed_out += 1
        else:
            assert reply == b"%d" % n
            fine += 1

    for start in range(0, 10_000, 500):
        tasks = [asyncio.create_task(ask(n)) for n in range(start, start + 500)]
        if draw.random() < 0.7:
            await asyncio.sleep(0)
        for task in draw.sample(tasks, 200):
            task.cancel()
            cancelled += 1
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [
            each
            for each in found
            if isinstance(each, Exception) and not isinstance(each, asyncio.CancelledError)
        ]
    assert (cancelled, fine > 1000) == (4000, True)
    assert await redis.execute("ECHO", "last") == b"last"
    assert redis.stats().in_flight == 0
    assert redis.stats().bytes_in_flight == 0


async def test_a_large_value_comes_through_beside_small_ones(redis: RedisClient) -> None:
    big = os.urandom(16 * 2**20)
    await redis.execute("SET", "big", big, deadline=20)
    large = redis.execute("GET", "big", deadline=20)
    small = [redis.execute("ECHO", str(n)) for n in range(100)]
    found = await asyncio.gather(large, *small)
    assert found[0] == big
    assert found[1:] == [b"%d" % n for n in range(100)]


async def test_a_reply_beyond_the_bound_is_refused_and_the_client_goes_on(redis_url: str) -> None:
    async with connect(redis_url, deadline=5.0, max_reply=100_000) as client:
        await client.execute("SET", "big", b"x" * 5_000_000)
        with pytest.raises(StoreUnavailable, match="max_reply"):
            await client.execute("GET", "big")
        await answers(client)


async def test_a_list_beyond_the_bound_is_refused_too(redis_url: str) -> None:
    async with connect(redis_url, deadline=5.0, max_reply=100_000) as client:
        await client.execute_many([("RPUSH", "list", *range(1000)) for _ in range(100)])
        with pytest.raises(StoreUnavailable, match="max_reply"):
            await client.execute("LRANGE", "list", 0, -1)
        await answers(client)


async def test_a_user_without_a_password_is_not_the_default_user(redis_url: str) -> None:
    async with connect(redis_url) as admin:
        await admin.execute("ACL", "SETUSER", "reader", "on", "nopass", "+@all", "~*")
        async with connect(redis_url.replace("//", "//reader@")) as client:
            assert await client.execute("ACL", "WHOAMI") == b"reader"
        await admin.execute("ACL", "DELUSER", "reader")


async def test_a_changed_password_is_told_and_tried_again(server: RedisServer) -> None:
    async with connect(server.url, deadline=1.0) as client:
        mine = await client.execute("CLIENT", "ID")
        await client.execute("CONFIG", "SET", "requirepass", "new")
        with_password = server.url.replace("redis://", "redis://:new@")
        async with connect(with_password) as admin:
            await admin.execute("CLIENT", "KILL", "ID", mine)
            link = client._channel.link if client._channel else None
            assert link is not None
            await until(lambda: bool(link.away))
            with pytest.raises(StoreUnavailable, match="NOAUTH"):
                await client.execute("GET", "k")
            await admin.execute("CONFIG", "SET", "requirepass", "")
            await answers(client)


async def test_no_descriptor_is_left(server: RedisServer) -> None:
    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208 - a listing of descriptors, not of files

    before = descriptors()
    for _ in range(3):
        async with connect(server.url, reconnect_step=0.01) as client, client.blocking() as other:
            await client.execute("PING")
            await other.execute("PING")
            server.kill()
            await until(lambda client=client: not client.stats().connected)  # type: ignore[misc]
            server.start()
            await answers(client)
    await asyncio.sleep(0)
    assert descriptors() <= before


async def test_oom_is_a_command_error(server: RedisServer) -> None:
    async with connect(server.url, deadline=2.0) as client:
        await client.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(CommandError) as full:
            await client.execute("SET", "k", "v")
        assert full.value.code == "OOM"
        await client.execute("CONFIG", "SET", "maxmemory", 0)


async def test_a_readonly_server_is_left_for_another(server: RedisServer) -> None:
    async with connect(server.url, deadline=2.0) as client:
        await client.execute("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match=r"READONLY.*not executed"):
            await client.execute("SET", "k", "v")
        await client_reconnected(client)
        await client.execute("REPLICAOF", "NO", "ONE")
        assert await client.execute("SET", "k", "v") == b"OK"


async def client_reconnected(client: RedisClient) -> None:
    await until(lambda: client.stats().connections > 1 and client.stats().connected)


async def test_a_busy_server_is_away_not_wrong(server: RedisServer) -> None:
    async with connect(server.url, deadline=3.0) as client, connect(server.url) as other:
        await client.execute("CONFIG", "SET", "busy-reply-threshold", 50)
        script = client.script("while true do end")
        endless = asyncio.create_task(script(deadline=3.0))
        await until(lambda: client.stats().in_flight == 1)
        async with asyncio.timeout(5):
            while True:
                said = await outcome(other.execute("GET", "k", deadline=0.3))
                if isinstance(said, StoreUnavailable) and "BUSY" in str(said):
                    break
        assert await other.execute("SCRIPT", "KILL") == b"OK"
        with pytest.raises(CommandError):
            await endless


async def outcome(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except (StoreUnavailable, StoreTimeout) as error:
        return error


async def test_another_loop_is_refused(redis_url: str) -> None:
    async with connect(redis_url) as client:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                asyncio.run(client.execute("PING"))
            except BaseException as error:  # noqa: BLE001 - looked at below
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert isinstance(caught[0], WrongLoop)


async def test_another_loop_cannot_close_it(redis_url: str) -> None:
    async with connect(redis_url) as client:
        with pytest.raises(WrongLoop):
            await asyncio.to_thread(asyncio.run, client.__aexit__(None, None, None))
        assert await client.execute("PING") == b"PONG"
    with pytest.raises(NotOpen):
        await client.__aexit__(None, None, None)


async def test_a_forked_child_is_refused(redis_url: str) -> None:
    async with connect(redis_url) as client:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            # On the parent's loop, as a child finds it, and on one of its own.
            for drive in (driven, asyncio.run):
                for call in (client.execute("SET", "k", "v"), client.execute_many([("PING",)])):
                    try:
                        drive(call)
                        os.write(writing, b"answered ")
                    except BaseException as error:  # noqa: BLE001 - told to the parent
                        os.write(writing, type(error).__name__.encode() + b" ")
            os._exit(0)
        os.close(writing)
        await asyncio.to_thread(os.waitpid, pid, 0)
        said = os.read(reading, 100)
        os.close(reading)
        assert said == b"NotOpen " * 4
        assert await client.execute("PING") == b"PONG"


def driven(call: Coroutine[Any, Any, Any]) -> None:
    """Go on with a coroutine where a fork inside another one would."""
    call.send(None)


@pytest.mark.parametrize("turns", range(1, 7))
async def test_closing_a_client_that_listens_may_be_cancelled(
    server: RedisServer, turns: int
) -> None:
    client = connect(server.url)
    await client.__aenter__()
    async with client.pubsub().subscribe("news"):
        pass
    closing = asyncio.ensure_future(client.__aexit__(None, None, None))
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})
    await until(lambda: len(server.ask("CLIENT", "LIST").splitlines()) == 1)
    assert not client.stats().connected


async def test_places_of_those_who_left_the_line_are_free(server: RedisServer) -> None:
    async with connect(server.url, max_in_flight=1, max_waiting=4, deadline=30.0) as client:
        server.pause()
        first = asyncio.ensure_future(client.execute("ECHO", "first"))
        await until(lambda: client.stats().in_flight == 1)
        leaving = [asyncio.ensure_future(client.execute("GET", "k")) for _ in range(4)]
        await until(lambda: client.stats().waiting == 4)
        with pytest.raises(StoreUnavailable, match="4 callers wait already"):
            await client.execute("GET", "k")
        for each in leaving:
            each.cancel()
        await asyncio.wait(leaving)
        async with asyncio.timeout(5):
            while True:  # the places are looked for now and then, not for every caller
                last = asyncio.ensure_future(client.execute("ECHO", "last"))
                await asyncio.wait({last}, timeout=0.02)
                if not last.done():
                    break
                assert isinstance(last.exception(), StoreUnavailable)
        assert client.stats().waiting == 1
        server.resume()
        assert await first == b"first"
        assert await last == b"last"


async def test_closing_ends_the_wait_of_everybody(server: RedisServer) -> None:
    client = connect(server.url, deadline=30.0, max_in_flight=1)
    async with client:
        server.pause()
        waiting = [asyncio.create_task(client.execute("GET", "k")) for _ in range(3)]
        await until(lambda: client.stats().waiting == 2)
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in found] == [StoreUnavailable] * 3
    server.resume()


@pytest.mark.parametrize("turns", range(1, 5))
async def test_closing_that_is_cancelled_leaves_nothing_open(
    server: RedisServer, turns: int
) -> None:
    client = connect(server.url, deadline=30.0, max_in_flight=1)
    await client.__aenter__()
    server.pause()
    waiting = [asyncio.create_task(client.execute("GET", "k")) for _ in range(3)]
    await until(lambda: client.stats().waiting == 2)
    closing = asyncio.create_task(client.__aexit__(None, None, None))
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    async with asyncio.timeout(5):
        found = await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.wait({closing})
    assert [type(error) for error in found] == [StoreUnavailable] * 3
    assert not client.stats().connected
    server.resume()


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("http://localhost", {}, "scheme 'http'"),
        ("localhost:6379", {}, "scheme"),
        ("redis://localhost:port", {}, "url"),
        ("redis://localhost?protocol=4", {}, "protocol=4"),
        ("redis://localhost?decode_responses=True", {}, "decode_responses"),
        (7, {}, "type int"),
        ("redis://localhost", {"deadline": 0}, "deadline=0"),
        ("redis://localhost", {"max_in_flight": True}, "max_in_flight=True"),
        ("redis://localhost", {"dead_line": 1}, "dead_line=.*did you mean deadline="),
        ("redis://localhost", {"xyz": 1}, "xyz=.*there are deadline, .*observer"),
        ("redis://localhost", {"url": "redis://other"}, "url="),
    ],
)
async def test_bad_options_are_named(target: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        connect(target, **options)


async def test_a_bad_url_does_not_tell_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RedisOptions(url="rediz://user:hunter2@localhost")
    assert "hunter2" not in str(caught.value)
