"""What a client of redis-py says of its server, and which clients cannot be followed."""

import ssl
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import Connection
from redis.asyncio.sentinel import Sentinel
from redis.credentials import UsernamePasswordCredentialProvider

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis import wrap
from symphonia_perf.redis._driver_options import DriverOptions


def of(client: Redis) -> DriverOptions:
    return DriverOptions.of(client, deadline=0.5)


def test_a_client_without_a_word() -> None:
    client = Redis()
    options = of(client)
    assert options.address == "localhost:6379"
    assert (options.path, options.database, options.credentials) == (None, 0, None)
    assert (options.name, options.protocol, options.tls()) == (None, 3, None)
    patience = client.get_connection_kwargs()["socket_connect_timeout"]  # by its version
    assert (options.deadline, options.connect_timeout) == (0.5, patience or 10.0)


def test_arguments_are_followed() -> None:
    options = of(
        Redis(
            host="cache",
            port=6380,
            db=7,
            username="me",
            password="p:/@%",
            client_name="orders",
            protocol=2,
            socket_connect_timeout=1.5,
        )
    )
    assert (options.host, options.port, options.database) == ("cache", 6380, 7)
    assert options.credentials == ("me", "p:/@%")
    assert (options.name, options.protocol) == ("orders", 3)
    assert options.connect_timeout == 1.5


def test_a_url_is_followed() -> None:
    options = of(Redis.from_url("redis://:secret@cache:6380/2"))
    assert (options.address, options.database) == ("cache:6380", 2)
    assert options.credentials == ("default", "secret")
    assert options.connect_timeout == 10.0  # it says nothing, and neither does the pool


def test_a_pool_is_followed() -> None:
    pool = BlockingConnectionPool.from_url("unix:///run/redis.sock?db=3")
    options = of(Redis.from_pool(pool))
    assert (options.path, options.database) == ("/run/redis.sock", 3)


def test_an_empty_password_is_none_as_with_redis_py() -> None:
    assert of(Redis(username="", password="")).credentials is None
    assert of(Redis(username="me", password="")).credentials == ("me", "")


@pytest.mark.parametrize(
    ("told", "verifies", "names"),
    [
        ({}, ssl.CERT_REQUIRED, True),
        ({"ssl_check_hostname": False}, ssl.CERT_REQUIRED, False),
        ({"ssl_cert_reqs": "none", "ssl_check_hostname": False}, ssl.CERT_NONE, False),
        ({"ssl_min_version": ssl.TLSVersion.TLSv1_3}, ssl.CERT_REQUIRED, True),
    ],
    ids=str,
)
def test_tls_is_followed(told: dict[str, Any], verifies: ssl.VerifyMode, names: object) -> None:
    options = of(Redis(ssl=True, **told))
    context = options.tls()
    assert options.secure
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (verifies, names)
    if "ssl_min_version" in told:
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3


class Own(Connection):
    """As somebody may have made one."""


@pytest.mark.parametrize(
    ("client", "said"),
    [
        (FakeAsyncRedis(), r"connections of fakeredis\..*FakeAsyncRedisConnection"),
        (Sentinel([("localhost", 1)]).master_for("main"), "SentinelManagedConnection"),
        (Redis.from_url("redis://localhost", connection_class=Own), "test_driver_options.Own"),
        (RedisCluster(host="localhost", port=1), "each of its nodes tells of its own keys only"),
        (
            Redis(credential_provider=UsernamePasswordCredentialProvider("me", "pw")),
            r"credential_provider=.*take connect\(url\)\.tracking",
        ),
        (Redis(redis_connect_func=print), "redis_connect_func="),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_client_that_cannot_be_followed_is_told_what_works(client: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{said}.*listen by pubsub\(\) instead"):
        wrap(client).tracking("plan:", on_key=print, on_flush=print)


def test_bad_prefixes_are_named_here_too() -> None:
    with pytest.raises(ConfigurationError, match="prefixes="):
        wrap(Redis()).tracking(on_key=print, on_flush=print)
