"""What `wrap()` takes, and whose event loop an adapter belongs to."""

import asyncio
import subprocess
import sys
from datetime import timedelta
from functools import partialmethod, wraps
from typing import Any

import fakeredis
import pytest
import redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import Pipeline

from symphonia_perf.errors import ConfigurationError, StoreUnavailable, WrongLoop
from symphonia_perf.redis import CancellationEvent, wrap
from symphonia_perf.redis._pooled import suits


@pytest.mark.parametrize(
    "make",
    [
        redis.Redis,
        fakeredis.FakeRedis,
        lambda: Redis().pipeline(),
        lambda: Redis().pubsub(),
        lambda: Redis,
        lambda: "redis://localhost",
        lambda: None,
    ],
    ids=["sync", "fake sync", "pipeline", "pubsub", "class", "url", "nothing"],
)
def test_another_kind_of_client_is_refused(make: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"wrap\(\) got a .*; expected redis.asyncio.Redis"
    ):
        wrap(make())


@pytest.mark.parametrize("make", [redis.Redis, fakeredis.FakeRedis])
def test_a_blocking_client_is_told_its_async_sibling(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"import .*Redis from redis\.asyncio"):
        wrap(make())


@pytest.mark.parametrize("make", [Redis, fakeredis.FakeAsyncRedis])
def test_decoded_replies_are_refused_at_once(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="decode_responses=True"):
        wrap(make(decode_responses=True))


def test_decoded_replies_of_a_cluster_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="decode_responses=True"):
        wrap(RedisCluster(host="localhost", decode_responses=True))


@pytest.mark.parametrize("deadline", [0, -1, True, "1", float("inf"), None])
def test_a_bad_deadline_is_named(deadline: Any) -> None:
    with pytest.raises(ConfigurationError, match="deadline="):
        wrap(fakeredis.FakeAsyncRedis(), deadline=deadline)


@pytest.mark.parametrize("bound", [0, -1, True, 1.5, None])
def test_a_bad_bound_is_named(bound: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_waiting="):
        wrap(fakeredis.FakeAsyncRedis(), max_waiting=bound)


async def test_a_bad_deadline_of_one_call_is_named() -> None:
    adapter = wrap(fakeredis.FakeAsyncRedis())
    with pytest.raises(ConfigurationError, match="deadline="):
        await adapter.execute("PING", deadline=0)
    assert await adapter.execute("PING", deadline=timedelta(seconds=1)) == b"PONG"


def test_a_pool_without_a_server_is_not_touched_when_it_is_built() -> None:
    wrap(Redis(host="203.0.113.1", port=1)).script("return 1")


async def test_it_never_closes_what_it_did_not_open() -> None:
    client = fakeredis.FakeAsyncRedis()
    async with wrap(client) as adapter:
        await adapter.execute("SET", "k", "v")
    assert await client.get("k") == b"v"


async def test_it_may_be_used_again_after_it_was_closed() -> None:
    adapter = wrap(fakeredis.FakeAsyncRedis())
    await adapter.aclose()
    for _ in range(2):
        async with adapter:
            assert await adapter.execute("PING") == b"PONG"
    assert await adapter.execute("PING") == b"PONG"


async def test_closing_waits_for_those_who_wait() -> None:
    adapter = wrap(fakeredis.FakeAsyncRedis())
    waiting = asyncio.ensure_future(adapter.execute("PING"))
    await asyncio.sleep(0)
    await adapter.aclose()
    assert waiting.done() or await waiting == b"PONG"


def test_another_loop_is_refused_until_it_was_closed() -> None:
    adapter = wrap(fakeredis.FakeAsyncRedis())

    async def ping() -> Any:
        return await adapter.execute("PING")

    with asyncio.Runner() as first, asyncio.Runner() as second:
        assert first.run(ping()) == b"PONG"
        with pytest.raises(WrongLoop, match="another event loop"):
            second.run(ping())
        with pytest.raises(WrongLoop):
            second.run(adapter.__aenter__())
        with pytest.raises(WrongLoop):
            second.run(adapter.aclose())
        first.run(adapter.aclose())
        assert second.run(ping()) == b"PONG"


def test_a_loop_that_has_ended_is_still_another() -> None:
    adapter = wrap(fakeredis.FakeAsyncRedis())

    async def ping() -> Any:
        return await adapter.execute("PING")

    assert asyncio.run(ping()) == b"PONG"
    with pytest.raises(WrongLoop):
        asyncio.run(ping())
    asyncio.run(adapter.aclose())
    assert asyncio.run(ping()) == b"PONG"


async def test_a_full_queue_is_a_store_that_is_unavailable() -> None:
    adapter = wrap(fakeredis.FakeAsyncRedis(), max_waiting=1)
    first, second = await asyncio.gather(
        adapter.execute("PING"), adapter.execute("PING"), return_exceptions=True
    )
    assert first == b"PONG"
    assert isinstance(second, StoreUnavailable)
    replies = await asyncio.gather(
        adapter.execute("PING"), adapter.execute_many([("PING",)] * 2, return_errors=True)
    )
    assert [type(reply) for reply in replies[1]] == [StoreUnavailable] * 2


def test_who_wants_to_see_the_commands_gets_redis_py_s_own_pipeline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Own(Redis):
        pass

    assert suits(Redis())
    assert not suits(Own())
    assert not suits(fakeredis.FakeAsyncRedis())
    assert not suits(RedisCluster(host="localhost"))
    original = Pipeline.execute

    @wraps(original)
    async def traced(self: Any, **options: Any) -> Any:
        return await original(self, **options)

    async def bare(self: Any, **options: Any) -> Any:
        return await original(self, **options)

    for patched in (traced, bare, partialmethod(original)):
        monkeypatch.setattr(Pipeline, "execute", patched)
        assert not suits(Redis())


ABANDONED = """
import asyncio, gc
from fakeredis import FakeAsyncRedis
from symphonia_perf.redis import CancellationEvent, wrap

async def main():
    # What a busy machine takes its time for is no complaint.
    asyncio.get_running_loop().slow_callback_duration = 60.0
    adapter = wrap(FakeAsyncRedis(), deadline=10.0)
    await adapter.execute("PING")
    {last}

asyncio.run(main())
gc.collect()
"""


@pytest.mark.parametrize(
    "last",
    [
        "pass",
        "asyncio.ensure_future(adapter.execute('PING'))",
        "asyncio.ensure_future(adapter.execute('PING')); await asyncio.sleep(0)",
        "await asyncio.gather(adapter.execute('PING', deadline=1e-9), return_exceptions=True)",
    ],
    ids=["idle", "asked", "sent", "timed out"],
)
def test_an_adapter_that_is_not_closed_leaves_no_complaint(last: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", ABANDONED.format(last=last)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("make", "timeouts"),
    [
        (lambda: Redis(socket_timeout=2.0), [2.0]),
        (lambda: Redis.from_url("redis://h?socket_timeout=3"), [3.0]),
        (lambda: Redis(socket_timeout=None), []),
        (fakeredis.FakeAsyncRedis, []),
    ],
)
async def test_a_client_that_may_lose_cancellations_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, make: Any, timeouts: list[float]
) -> None:
    monkeypatch.setattr("sys.version_info", (3, 11, 7))
    events: list[Any] = []
    adapter = wrap(make(), observer=events.append)
    assert events == []  # nothing is told when it is made
    for _ in range(2):
        async with adapter:
            pass
    assert [event.socket_timeout for event in events] == timeouts
    assert all(isinstance(event, CancellationEvent) for event in events)
    assert all("socket_timeout=None" in event.warning().detail for event in events)


async def test_python_3_12_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.version_info", (3, 12, 0))
    events: list[Any] = []
    async with wrap(Redis(socket_timeout=2.0), observer=events.append):
        assert events == []
