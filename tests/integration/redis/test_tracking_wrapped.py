"""Tracking beside a client of redis-py: it goes where that one goes, as the same user."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from symphonia_perf.errors import CommandError, ConfigurationError
from symphonia_perf.redis import Lost, RedisClient, connect, wrap
from symphonia_perf.testing.servers import redis_server
from tests.integration.redis.listening import until

pytestmark = pytest.mark.redis


async def follows(driver: Redis) -> None:
    """What this client writes is told by the tracking beside it."""
    told: list[str] = []
    async with (
        driver,
        wrap(driver, deadline=5.0) as redis,
        redis.tracking("plan:", on_key=told.append, on_flush=lambda: told.append("FLUSH")) as near,
    ):
        assert near.active
        await redis.execute("SET", "plan:1", "x")
        await until(lambda: told == ["FLUSH", "plan:1"])


@pytest.mark.parametrize("options", [{}, {"protocol": 2}, {"protocol": 3, "db": 2}], ids=str)
async def test_it_speaks_resp3_whatever_the_client_speaks(
    redis_url: str, options: dict[str, Any]
) -> None:
    await follows(Redis.from_url(redis_url, **options))


async def test_it_is_the_same_user_on_the_same_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "redis.sock")
    with redis_server(args=("--unixsocket", path)) as server:
        async with connect(server.url, deadline=5.0) as admin:
            await admin.execute("ACL", "SETUSER", "near", "on", ">p:/@%", "+@all", "~*", "&*")
            await admin.execute("CONFIG", "SET", "requirepass", "other")
        await follows(Redis(unix_socket_path=path, username="near", password="p:/@%"))
        stranger = Redis(unix_socket_path=path, username="near", password="wrong")
        with pytest.raises(CommandError) as raised:
            await follows(stranger)
        assert raised.value.code == "WRONGPASS"


async def test_what_is_forbidden_is_named(redis_url: str) -> None:
    async with connect(redis_url, deadline=5.0) as admin:
        await admin.execute("ACL", "SETUSER", "blunt", "on", "nopass", "+@all", "~*", "-client")
        with pytest.raises(ConfigurationError, match=r"NOPERM.*pubsub\(\) instead"):
            await follows(Redis.from_url(redis_url, username="blunt", password="any"))
        await admin.execute("ACL", "DELUSER", "blunt")


async def test_what_was_missed_is_covered_by_a_flush(redis_url: str) -> None:
    told: list[str] = []
    async with (
        connect(redis_url, deadline=5.0) as admin,
        Redis.from_url(redis_url, client_name="near") as driver,
        wrap(driver, deadline=5.0) as redis,
        redis.tracking(
            "plan:",
            on_key=told.append,
            on_flush=lambda: told.append("FLUSH"),
            on_lost=lambda: told.append("LOST"),
        ),
    ):
        await kill_named(admin, "near")
        await until(lambda: told == ["FLUSH", "LOST", "FLUSH"])


async def kill_named(redis: RedisClient, name: str) -> None:
    for line in (await redis.execute("CLIENT", "LIST")).decode().splitlines():
        fields = dict(field.split("=", 1) for field in line.split())
        if fields["name"] == name:
            await redis.execute("CLIENT", "KILL", "ID", fields["id"])


async def test_what_its_error_proposes_works(redis_url: str) -> None:
    """Publish what was changed, and listen: also where keys cannot be tracked."""
    near = {"plan:1": "free", "plan:2": "free"}
    async with Redis.from_url(redis_url) as driver, wrap(driver, deadline=5.0) as redis:
        pubsub = redis.pubsub()
        async with pubsub.subscribe("changed") as listener:
            await redis.execute("SET", "plan:1", "pro")
            await pubsub.publish("changed", "plan:1")
            async with asyncio.timeout(10):
                async for heard in listener:
                    if isinstance(heard, Lost):
                        near.clear()
                    else:
                        near.pop(heard.payload.decode(), None)
                        break
    assert near == {"plan:2": "free"}
