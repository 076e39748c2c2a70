"""A value of 64 MB on a connection of its own, beside small commands."""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable
from itertools import chain
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError, StoreUnavailable
from symphonia_perf.redis import RedisClient, connect

pytestmark = pytest.mark.redis


async def beside(small: RedisClient, large: Awaitable[Any]) -> tuple[Any, list[float]]:
    """What `large` gave, and how long the small commands took that were answered meanwhile."""
    waits: list[float] = []
    travelling = asyncio.ensure_future(large)
    await asyncio.sleep(0)  # it is on its way
    while not travelling.done():
        began = time.perf_counter()
        assert await small.execute("ECHO", len(waits)) == b"%d" % len(waits)
        waits.append(time.perf_counter() - began)
    return await travelling, waits


async def test_small_commands_are_unharmed_while_a_large_value_travels(redis_url: str) -> None:
    value = os.urandom(64 * 2**20)
    async with connect(redis_url, deadline=30.0, max_reply=2**27) as redis, redis.large() as files:
        waits: dict[str, list[list[float]]] = {"shared": [], "apart": []}
        for _ in range(3):
            for name, client in (("shared", redis), ("apart", files)):
                said, during_set = await beside(redis, client.execute("SET", "big", value))
                found, during_get = await beside(redis, client.execute("GET", "big"))
                assert said == b"OK"
                assert found == value
                waits[name] += during_set, during_get
        await redis.execute("DEL", "big")
        stats = redis.stats(), files.stats()
    # Behind the value there is no answer before it is through; beside it there are many.
    assert max(map(len, waits["shared"])) <= 2
    assert min(map(len, waits["apart"])) > 2
    typical = {name: statistics.median(chain.from_iterable(each)) for name, each in waits.items()}
    assert typical["apart"] < typical["shared"] / 3
    assert [each.connections for each in stats] == [1, 1]
    assert [each.bytes_in_flight + each.bytes_waiting for each in stats] == [0, 0]


async def test_what_is_behind_a_large_write_waits_its_turn(redis_url: str) -> None:
    value = os.urandom(5 * 2**20)
    async with connect(redis_url) as redis, redis.large() as files:
        tasks = [files.execute("SET", f"big{n}", value) for n in range(4)]
        tasks += [files.execute("ECHO", n) for n in range(50)]
        found = await asyncio.gather(*tasks)
        assert found == [b"OK"] * 4 + [b"%d" % n for n in range(50)]
        many = await files.execute_many([("GET", "big0"), ("SET", "big0", value), ("PING",)])
        assert many == [value, b"OK", b"PONG"]
        await redis.execute("DEL", *(f"big{n}" for n in range(4)))


async def test_a_large_write_to_nobody_is_let_go(redis_url: str) -> None:
    async with connect(redis_url) as redis, redis.large(deadline=20.0) as files:
        mine = await files.execute("CLIENT", "ID")
        await redis.execute("CLIENT", "PAUSE", 5000, "WRITE")
        writing = asyncio.create_task(files.execute("SET", "big", os.urandom(64 * 2**20)))
        async with asyncio.timeout(5):
            while not files.stats().in_flight:  # noqa: ASYNC110 - packing takes its time
                await asyncio.sleep(0.005)
        await redis.execute("CLIENT", "KILL", "ID", mine)
        with pytest.raises(StoreUnavailable, match="may have been executed"):
            await writing
        await redis.execute("CLIENT", "UNPAUSE")
        assert files.stats().bytes_in_flight == 0


async def test_the_line_is_bounded_in_bytes(redis_url: str) -> None:
    async with connect(
        redis_url, deadline=5.0, max_in_flight_bytes=1000, max_waiting_bytes=2000
    ) as redis:
        tasks = [asyncio.create_task(redis.execute("SET", "k", "x" * 900)) for _ in range(6)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        fine = [each for each in found if each == b"OK"]
        refused = [each for each in found if isinstance(each, StoreUnavailable)]
        assert len(fine) + len(refused) == 6
        assert len(fine) in {4, 5}
        assert "max_waiting_bytes" in str(refused[0])
        assert "it was not sent" in str(refused[0])
        stats = redis.stats()
        assert (stats.waiting, stats.bytes_waiting) == (0, 0)


async def test_bad_bounds_are_named() -> None:
    redis = connect("redis://localhost")
    with pytest.raises(ConfigurationError, match="deadline=0"):
        redis.large(deadline=0)
    with pytest.raises(ConfigurationError, match="max_reply=-1"):
        redis.large(max_reply=-1)
