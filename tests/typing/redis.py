"""What a type checker must see of the Redis client, and what it must refuse."""

from typing import Any, assert_type

from redis.asyncio import Redis, RedisCluster

from symphonia_perf.redis import (
    Commands,
    Elected,
    Lease,
    Lost,
    Message,
    RedisClient,
    RedisOptions,
    RedisStats,
    Script,
    connect,
    wrap,
)

client = connect("redis://localhost:6379/0", deadline=0.1)
role: Commands = client
wrapped: Commands = wrap(Redis())
clustered: Commands = wrap(RedisCluster("localhost"))


async def calls(commands: Commands) -> None:
    assert_type(client, RedisClient)
    assert_type(client.stats(), RedisStats)
    assert_type(client.blocking(), RedisClient)
    assert_type(client.large(deadline=5), RedisClient)
    assert_type(await commands.execute("SET", b"k", 1.5, "EX", 60), Any)
    assert_type(await commands.execute_many([("GET", "a"), ("GET", "b")]), list[Any])
    assert_type(await client.transaction([("INCR", "a")]), list[Any])
    script: Script = commands.script("return 1")
    assert_type(await script(["key"], [1]), Any)
    await commands.execute("SET", "k", None)  # pyright: ignore[reportArgumentType]
    await commands.execute("GET", "k", deadline="1s")  # pyright: ignore[reportArgumentType]
    await commands.execute_many([1])  # pyright: ignore[reportArgumentType]
    wrap("redis://localhost")  # pyright: ignore[reportArgumentType]
    RedisOptions("redis://localhost")  # pyright: ignore[reportCallIssue]


async def listening() -> None:
    async with client.pubsub().subscribe("news", patterns=["orders:*"]) as listener:
        async for heard in listener:
            if isinstance(heard, Lost):
                continue
            assert_type(heard, Message)
            assert_type(heard.payload, bytes)
    async with client.tracking("plan:", on_key=print, on_flush=print) as tracking:
        assert_type(tracking.active, bool)
    client.tracking("plan:", on_key=print)  # pyright: ignore[reportCallIssue]


async def alone() -> None:
    async with Lease(client, "report", length=5) as lease:
        assert_type(lease.check(), int)

    async def work(number: int) -> None:
        assert number > 0

    Elected(Lease(client, "watch"), lambda lease: work(lease.check()))
    Elected(Lease(client, "watch"), work)  # pyright: ignore[reportArgumentType]
    Lease(client, "report", on_lost="explode")  # pyright: ignore[reportArgumentType]
