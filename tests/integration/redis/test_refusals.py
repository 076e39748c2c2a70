"""What a server can refuse, and what the native client makes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from symphonia_perf.errors import CommandError, StoreError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis import ConnectionEvent, RedisClient, connect
from symphonia_perf.redis._arguments import READS
from symphonia_perf.testing.servers import RedisServer, redis_server

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server(args=("--enable-debug-command", "yes")) as started:
        yield started


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[RedisClient]:
    async with connect(server.url, deadline=5.0) as client:
        await client.execute("FLUSHALL")
        yield client


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a server
            await asyncio.sleep(0.005)


async def refusal(ask: Callable[[], Awaitable[Any]], code: str) -> StoreError:
    """The first error that says `code`."""
    async with asyncio.timeout(10):
        while True:
            try:
                await ask()
            except (StoreError, StoreTimeout) as error:
                if code in str(error):
                    return error
            await asyncio.sleep(0.005)


async def test_masterdown(redis: RedisClient) -> None:
    await redis.execute("CONFIG", "SET", "replica-serve-stale-data", "no")
    await redis.execute("REPLICAOF", "127.0.0.1", 1)
    try:
        error = await refusal(lambda: redis.execute("GET", "k"), "MASTERDOWN")
        assert isinstance(error, StoreUnavailable)
        assert "not executed" in str(error)
        assert redis.stats().connections == 1  # the same server may serve again
    finally:
        await redis.execute("REPLICAOF", "NO", "ONE")
    assert await redis.execute("GET", "k") is None


async def test_loading(redis: RedisClient, server: RedisServer) -> None:
    await redis.execute_many([("SET", f"k{n}", "x" * 1000) for n in range(3000)])
    await redis.execute("CONFIG", "SET", "key-load-delay", 1000)  # microseconds a key
    await redis.execute("CONFIG", "SET", "loading-process-events-interval-bytes", 1024)
    async with connect(server.url, deadline=30.0) as other:
        reloading = asyncio.create_task(other.execute("DEBUG", "RELOAD"))
        try:
            error = await refusal(lambda: redis.execute("GET", "k1"), "LOADING")
            async with connect(server.url) as newcomer:  # greeted all the same
                assert newcomer.stats().connected
            await redis.execute("CONFIG", "SET", "key-load-delay", 0)
        finally:
            assert await reloading == b"OK"
    assert isinstance(error, StoreUnavailable)
    assert "not executed" in str(error)
    assert await redis.execute("GET", "k1") == b"x" * 1000


async def test_noperm_concerns_one_command_and_not_the_connection(
    redis: RedisClient, server: RedisServer
) -> None:
    await redis.execute("ACL", "SETUSER", "reader", "on", ">secret", "+get", "~orders:*")
    url = server.url.replace("redis://", "redis://reader:secret@")
    async with connect(url, deadline=5.0) as client:
        with pytest.raises(CommandError, match=r"^SET: NOPERM") as command:
            await client.execute("SET", "orders:1", "x")
        with pytest.raises(CommandError, match=r"^GET: NOPERM") as key:
            await client.execute("GET", "plans:1")
        assert (command.value.code, key.value.code) == ("NOPERM", "NOPERM")
        assert await client.execute("GET", "orders:1") is None
        assert client.stats().connections == 1


async def test_a_user_that_is_deleted_is_told_wrongpass(
    redis: RedisClient, server: RedisServer
) -> None:
    await redis.execute("ACL", "SETUSER", "brief", "on", ">secret", "+@all", "~*")
    events: list[Any] = []
    url = server.url.replace("redis://", "redis://brief:secret@")
    async with connect(url, reconnect_step=0.01, observer=events.append) as client:
        await redis.execute("ACL", "DELUSER", "brief")  # it ends the user's connections
        await until(lambda: any("WRONGPASS" in event.reason for event in events))
        with pytest.raises(StoreUnavailable, match=r"WRONGPASS.*it was not sent"):
            await client.execute("PING")
        await redis.execute("ACL", "SETUSER", "brief", "on", ">secret", "+@all", "~*")
        await until(lambda: client.stats().connected)
        assert await client.execute("PING") == b"PONG"


async def test_misconf_is_a_command_error(redis: RedisClient, server: RedisServer) -> None:
    dump = server.folder / "dump.rdb"
    dump.unlink(missing_ok=True)
    dump.mkdir()  # so that nothing can be saved
    await redis.execute("CONFIG", "SET", "save", "3600 1")
    try:
        await redis.execute("BGSAVE")
        await until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")
        with pytest.raises(CommandError, match=r"^SET: MISCONF") as raised:
            await redis.execute("SET", "k", "v")
        assert raised.value.code == "MISCONF"
        assert await redis.execute("GET", "k") is None
    finally:
        dump.rmdir()
        await redis.execute("BGSAVE")
        await until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "ok")
        await redis.execute("CONFIG", "SET", "save", "")
    assert await redis.execute("SET", "k", "v") == b"OK"


async def test_a_refusal_inside_a_transaction_or_many_is_noted_too(server: RedisServer) -> None:
    events: list[Any] = []
    async with connect(
        server.url, deadline=5.0, reconnect_most=0, observer=events.append
    ) as client:
        for number, ask in enumerate(
            (
                lambda: client.execute_many([("SET", "k", "v")]),
                lambda: client.transaction([("SET", "k", "v")]),
                lambda: client.execute("SET", "k", "v", deadline=5.0),
            ),
            start=1,
        ):
            server.ask("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(StoreUnavailable, match=r"SET: READONLY.*not executed"):
                await ask()
            await until(lambda at=number: client.stats().connections > at)  # type: ignore[misc]
            server.ask("REPLICAOF", "NO", "ONE")
    left = [e.reason for e in events if isinstance(e, ConnectionEvent) and e.kind == "closed"]
    assert sum("READONLY" in reason for reason in left) == 3


async def test_a_script_survives_flushes_in_mid_flight(redis: RedisClient) -> None:
    script = redis.script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    for _ in range(20):
        await asyncio.gather(
            redis.execute("SCRIPT", "FLUSH"), *(script(["n"], [1]) for _ in range(10))
        )
    assert await redis.execute("GET", "n") == b"200"


async def test_a_script_survives_a_restart_between_two_calls() -> None:
    with redis_server() as own:
        async with connect(own.url, deadline=2.0, reconnect_step=0.01) as client:
            script = client.script("return ARGV[1]")
            assert await script(args=["1"]) == b"1"
            own.kill()
            await until(lambda: not client.stats().connected)
            own.start()
            await until(lambda: client.stats().connected)
            assert await script(args=["2"]) == b"2"
            assert await script(args=["3"], deadline=1.0) == b"3"


async def test_reads_are_what_the_server_calls_reads(redis: RedisClient) -> None:
    """No command of ours that may be sent twice changes anything."""
    infos = await redis.execute_many([("COMMAND", "INFO", name) for name in sorted(READS)])
    known = {name: info[0] for name, info in zip(sorted(READS), infos, strict=True) if info[0]}
    assert len(known) > 80
    changing = {
        name
        for name, info in known.items()
        if {b"write", b"admin", b"blocking"} & {bytes(flag) for flag in info[2]}
    }
    assert changing == set()
    not_marked = {
        name for name, info in known.items() if b"readonly" not in {bytes(f) for f in info[2]}
    }
    assert not_marked == {"ECHO", "PING", "TIME"}


# ---------------------------------------------------------------- by a script


@asynccontextmanager
async def says(*replies: bytes) -> AsyncIterator[str]:
    """A server that greets, and then answers with these, one after the other."""
    left = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            greeting = b"HELLO" in data
            for _ in range(data.count(b"*")):
                writer.write(b"+OK\r\n" if greeting or not left else left.pop(0))
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    listening.close()
    await listening.wait_closed()


@pytest.mark.parametrize(
    ("code", "kind", "connections"),
    [
        ("LOADING", StoreUnavailable, 1),
        ("BUSY", StoreUnavailable, 1),
        ("MASTERDOWN", StoreUnavailable, 1),
        ("CLUSTERDOWN", StoreUnavailable, 1),
        ("TRYAGAIN", StoreUnavailable, 1),
        ("READONLY", StoreUnavailable, 2),
        ("NOAUTH", StoreUnavailable, 2),
        ("OOM", CommandError, 1),
        ("NOPERM", CommandError, 1),
        ("MISCONF", CommandError, 1),
        ("WRONGPASS", CommandError, 1),
        ("NOREPLICAS", CommandError, 1),
        ("ERR", CommandError, 1),
    ],
)
async def test_each_code_has_its_reaction(
    code: str, kind: type[StoreError], connections: int
) -> None:
    async with (
        says(f"-{code} because\r\n".encode()) as url,
        connect(url, deadline=5.0, reconnect_step=0.01) as client,
    ):
        with pytest.raises(kind, match=f"^SET: {code} because") as raised:
            await client.execute("SET", "k", "v")
        if isinstance(raised.value, CommandError):
            assert raised.value.code == code
        else:
            assert "not executed" in str(raised.value)
        assert raised.value.operation == "SET"
        await until(lambda: client.stats().connections == connections)
        assert await client.execute("SET", "k", "v") == b"OK"
