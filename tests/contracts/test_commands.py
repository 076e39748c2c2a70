"""What every `Commands` promises, whatever client stands behind it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import fakeredis
import pytest
from redis.asyncio import Redis, RedisCluster

from symphonia_perf.errors import CommandError, ConfigurationError, StoreTimeout
from symphonia_perf.redis import Commands, connect, wrap

BACKENDS = [
    "fakeredis",
    pytest.param("resp2", marks=pytest.mark.redis),
    pytest.param("resp3", marks=pytest.mark.redis),
    pytest.param("default", marks=pytest.mark.redis),
    pytest.param("cluster", marks=pytest.mark.redis),
    pytest.param("native", marks=pytest.mark.redis),
    pytest.param("native resp2", marks=pytest.mark.redis),
]


def client_for(backend: str, request: pytest.FixtureRequest) -> Redis | RedisCluster:
    if backend == "fakeredis":
        return fakeredis.FakeAsyncRedis()
    if backend == "cluster":
        cluster = request.getfixturevalue("redis_cluster")
        for node in cluster.nodes:
            node.start()
            node.resume()
        cluster.wait_until_ok()
        for node in cluster.nodes:
            node.ask("FLUSHALL")
        return RedisCluster.from_url(cluster.url)
    url = request.getfixturevalue("redis_url")
    protocol = {"resp2": {"protocol": 2}, "resp3": {"protocol": 3}, "default": {}}[backend]
    return Redis.from_url(url, **protocol)


@pytest.fixture(params=BACKENDS)
async def commands(request: pytest.FixtureRequest) -> AsyncIterator[Commands]:
    if request.param.startswith("native"):
        query = "?protocol=2" if request.param.endswith("resp2") else ""
        url = request.getfixturevalue("redis_url") + query
        async with connect(url, deadline=5.0) as redis:
            yield redis
        return
    client = client_for(request.param, request)
    # Long enough for a busy machine; what a deadline does is tested by itself.
    async with wrap(client, deadline=5.0) as adapter:
        yield adapter
    await client.aclose()


async def test_a_reply_is_what_the_server_sent(commands: Commands) -> None:
    assert await commands.execute("SET", "k", b"\x00\xff") == b"OK"
    assert await commands.execute("GET", "k") == b"\x00\xff"
    assert await commands.execute("GET", "absent") is None
    assert await commands.execute("EXPIRE", "k", 60) == 1
    assert type(await commands.execute("EXPIRE", "k", 60)) is int
    assert await commands.execute("DEL", "k") == 1
    assert await commands.execute("PING") == b"PONG"


async def test_a_reply_is_the_same_alone_and_among_others(commands: Commands) -> None:
    await commands.execute("RPUSH", "{a}list", "x", "y")
    await commands.execute("SADD", "{a}set", "x")
    asked: list[tuple[str | int, ...]] = [
        ("SET", "{a}k", "v"),
        ("GET", "{a}k"),
        ("TYPE", "{a}k"),
        ("INCRBYFLOAT", "{a}f", 1),
        ("LRANGE", "{a}list", 0, -1),
        ("SMEMBERS", "{a}set"),
        ("HSET", "{a}h", "f", "v"),
        ("HGETALL", "{a}h"),
        ("ZADD", "{a}z", 1, "m"),
        ("ZSCORE", "{a}z", "m"),
        ("EXISTS", "{a}k"),
    ]
    together = await commands.execute_many(asked)
    for command, reply in zip(asked, together, strict=True):
        if command[0] in {"INCRBYFLOAT", "HSET", "ZADD"}:
            continue  # another answer the second time
        alone = await commands.execute(*command)
        assert (alone, type(alone)) == (reply, type(reply)), command
    assert together[:5] == [b"OK", b"v", b"string", b"1", [b"x", b"y"]]


@pytest.mark.parametrize("name", ["get", "Get", "GET", b"gEt"])
async def test_a_name_may_be_written_in_any_way(commands: Commands, name: str | bytes) -> None:
    await commands.execute("SET", "k", "v")
    assert await commands.execute(name, "k") == b"v"


async def test_arguments_keep_their_bytes(commands: Commands) -> None:
    await commands.execute("RPUSH", "k", "é", b"\r\n$5\r\n", 7, -(2**70), 0.1, "", 1e300)
    assert await commands.execute("LRANGE", "k", 0, -1) == [
        "é".encode(),
        b"\r\n$5\r\n",
        b"7",
        str(-(2**70)).encode(),
        b"0.1",
        b"",
        b"1e+300",
    ]


async def test_a_refusal_names_its_code(commands: Commands) -> None:
    await commands.execute("SET", "k", "v")
    with pytest.raises(CommandError, match="LPUSH: WRONGTYPE") as raised:
        await commands.execute("LPUSH", "k", "x")
    assert raised.value.code == "WRONGTYPE"
    assert raised.value.operation == "LPUSH"
    assert raised.value.__cause__ is not None


async def test_many_of_nothing_is_nothing(commands: Commands) -> None:
    assert await commands.execute_many([]) == []


async def test_many_keep_their_order_over_all_slots(commands: Commands) -> None:
    await commands.execute_many([("SET", f"k{n}", n) for n in range(200)])
    replies = await commands.execute_many([("GET", f"k{n}") for n in range(200)])
    assert replies == [b"%d" % n for n in range(200)]


async def test_the_first_error_is_raised_after_all_were_executed(commands: Commands) -> None:
    asked = [("SET", "{a}k", "v"), ("LPUSH", "{a}k", "x"), ("HSET", "{a}k"), ("INCR", "{a}n")]
    with pytest.raises(CommandError) as raised:
        await commands.execute_many(asked)
    assert raised.value.code == "WRONGTYPE"
    assert await commands.execute("GET", "{a}n") == b"1"


async def test_errors_stand_in_their_places_when_asked_for(commands: Commands) -> None:
    replies = await commands.execute_many(
        [("SET", "{a}k", "v"), ("LPUSH", "{a}k", "x"), ("HSET", "{a}k"), ("GET", "{a}k")],
        return_errors=True,
    )
    assert [type(reply) for reply in replies] == [bytes, CommandError, CommandError, bytes]
    assert [replies[1].code, replies[2].code] == ["WRONGTYPE", "ERR"]


async def test_callers_of_one_turn_get_their_own_answers(commands: Commands) -> None:
    await commands.execute_many([("SET", f"k{n}", n) for n in range(100)])
    replies = await asyncio.gather(*(commands.execute("GET", f"k{n}") for n in range(100)))
    assert replies == [b"%d" % n for n in range(100)]


async def test_one_bad_command_harms_nobody(commands: Commands) -> None:
    good, bad, better = await asyncio.gather(
        commands.execute("SET", "k", "v"),
        commands.execute("NONSENSE", "k"),
        commands.execute("SET", "other", "v"),
        return_exceptions=True,
    )
    assert (good, better) == (b"OK", b"OK")
    assert isinstance(bad, CommandError)
    assert bad.code == "ERR"


async def test_a_bad_argument_is_named_and_nothing_is_sent(commands: Commands) -> None:
    with pytest.raises(ConfigurationError, match=r"SET argument 2: .* not NoneType"):
        await commands.execute_many([("SET", "k", "v"), ("SET", "k", None)])  # type: ignore[list-item]
    assert await commands.execute("GET", "k") is None


async def test_an_integer_of_more_digits_than_python_writes_is_named(commands: Commands) -> None:
    # hiredis crashes the process over it, so it must never get that far.
    huge = 10**5000
    with pytest.raises(ConfigurationError, match=r"SET argument 2: .*digits"):
        await commands.execute("SET", "k", huge)
    with pytest.raises(ConfigurationError, match=r"SET argument 2: .*digits"):
        await commands.execute_many([("SET", "k", -huge)])
    await commands.execute("SET", "k", 10**4299)
    assert await commands.execute("GET", "k") == b"1" + b"0" * 4299


async def test_a_command_in_a_list_is_refused_by_its_name(commands: Commands) -> None:
    with pytest.raises(ConfigurationError, match="command name: expected str or bytes"):
        await commands.execute(["GET", "k"])  # type: ignore[arg-type]


@pytest.mark.parametrize("command", [(), "GET", b"GET", (7, "k"), (None,), ("GET k",)], ids=repr)
async def test_what_is_no_command_is_refused(commands: Commands, command: Any) -> None:
    with pytest.raises(ConfigurationError, match="command"):
        await commands.execute_many([command])


async def test_a_blocking_command_is_refused(commands: Commands) -> None:
    with pytest.raises(ConfigurationError, match="BLPOP"):
        await commands.execute("BLPOP", "k", 0)


async def test_a_deadline_that_has_no_time_left_is_on_time(commands: Commands) -> None:
    with pytest.raises(StoreTimeout, match="deadline 1e-09 s"):
        await commands.execute("GET", "k", deadline=1e-9)
    assert await commands.execute("PING") == b"PONG"


async def test_a_script_runs_with_keys_and_arguments(commands: Commands) -> None:
    script = commands.script(
        "redis.call('SET', KEYS[1], ARGV[1]); return {KEYS[1], ARGV[1], 1, false}"
    )
    for _ in range(2):
        assert await script(["k"], ["v"]) == [b"k", b"v", 1, None]
    assert await commands.execute("GET", "k") == b"v"


async def test_a_script_comes_back_after_a_flush(commands: Commands, request: Any) -> None:
    if "cluster" in request.node.callspec.id:
        pytest.skip("SCRIPT FLUSH is for every node; see the integration tests")
    script = commands.script("return ARGV[1]")
    assert await script(args=["1"]) == b"1"
    await commands.execute("SCRIPT", "FLUSH")
    assert await asyncio.gather(*(script(args=[n]) for n in range(5))) == [
        b"0", b"1", b"2", b"3", b"4",
    ]  # fmt: skip


async def test_a_failing_script_says_so(commands: Commands) -> None:
    script = commands.script("return redis.call('LPUSH', KEYS[1], 'x')")
    await commands.execute("SET", "k", "v")
    with pytest.raises(CommandError, match="WRONGTYPE"):
        await script(["k"])


async def test_an_error_inside_a_list_is_ours_too(commands: Commands) -> None:
    script = commands.script("return {redis.pcall('LPUSH', KEYS[1], 'x'), 'fine'}")
    await commands.execute("SET", "k", "v")
    error, fine = await script(["k"])
    assert isinstance(error, CommandError)
    assert fine == b"fine"
