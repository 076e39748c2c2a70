"""Pytest fixtures for real servers; enable them in the root `conftest.py`.

```python
pytest_plugins = ["symphonia_perf.testing.fixtures"]
```

`redis_url` and `mongo_url` are what most tests take. They prefer the servers named by
`SYMPHONIA_TEST_REDIS_URL` and `SYMPHONIA_TEST_MONGODB_URI`, which must be there for tests only:
tests flush and fill them. The other fixtures give servers that may be killed, so they always start
their own. Where no binary is installed a test is skipped; under `REQUIRE_SERVERS=1` it fails.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

import pytest

from symphonia_perf.errors import ServerNotFound
from symphonia_perf.testing import servers

__all__ = [
    "mongo_replica_set_of_three",
    "mongo_server",
    "mongo_url",
    "redis_cluster",
    "redis_sentinel",
    "redis_server",
    "redis_url",
]

T = TypeVar("T")


def _running(servers: AbstractContextManager[T]) -> Iterator[T]:
    with ExitStack() as stack:
        try:
            running = stack.enter_context(servers)
        except ServerNotFound as error:
            if os.environ.get("REQUIRE_SERVERS") == "1":
                raise
            pytest.skip(str(error))
        yield running


@pytest.fixture(scope="session")
def redis_server() -> "Iterator[servers.RedisServer]":
    """A Valkey or Redis server that may be killed and paused; start it again afterwards."""
    yield from _running(servers.redis_server())


@pytest.fixture(scope="session")
def redis_cluster() -> "Iterator[servers.RedisCluster]":
    """A cluster of three primaries."""
    yield from _running(servers.redis_cluster())


@pytest.fixture(scope="session")
def redis_sentinel() -> "Iterator[servers.RedisSentinel]":
    """A primary and a replica under Sentinel."""
    yield from _running(servers.redis_sentinel())


@pytest.fixture(scope="session")
def mongo_server() -> "Iterator[servers.MongoReplicaSet]":
    """A replica set of one mongod: transactions and change streams, no failover."""
    yield from _running(servers.mongo_replica_set())


@pytest.fixture(scope="session")
def mongo_replica_set_of_three() -> "Iterator[servers.MongoReplicaSet]":
    """A replica set of three mongods, for failover."""
    yield from _running(servers.mongo_replica_set(members=3))


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where an empty Valkey or Redis answers; only the URL's own database is emptied."""
    if url := os.environ.get("SYMPHONIA_TEST_REDIS_URL"):
        _flush(url)
        return url
    server: servers.RedisServer = request.getfixturevalue("redis_server")
    server.start()  # an earlier test may have killed or paused it
    server.resume()
    server.ask("FLUSHALL")
    return server.url


@pytest.fixture
def mongo_url(request: pytest.FixtureRequest) -> str:
    """Where a MongoDB replica set answers; use a database of your own, and drop it."""
    if url := os.environ.get("SYMPHONIA_TEST_MONGODB_URI"):
        return url
    replica_set: servers.MongoReplicaSet = request.getfixturevalue("mongo_server")
    (member,) = replica_set.members
    member.start()
    member.resume()
    replica_set.primary()
    return replica_set.uri


def _flush(url: str) -> None:
    from redis import Redis  # noqa: PLC0415 - only where the server is not ours

    with Redis.from_url(url) as client:
        client.flushdb()
