"""On a real mongod: the driver's events add up to what its pools really do."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import ExecutionTimeout, WaitQueueTimeoutError

from symphonia_perf._core.events import Event
from symphonia_perf.errors import MongoOperationError, NotOpen, StoreUnavailable
from symphonia_perf.mongo import (
    ConnectionBudgetEvent,
    PoolEvent,
    PoolMonitor,
    PoolOptions,
    PoolStats,
    SlowOperationEvent,
    SlowOperationListener,
    check_budget,
    check_budget_sync,
    create_async_client,
    create_client,
    create_motor_client,
)
from tests.integration.mongo.standalone import PASSWORD, standalone_with_users

pytestmark = [
    pytest.mark.mongo,
    # Where connecting is cut off, PyMongo leaves the half-open socket to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

NAME = "symphonia_test_monitoring"
ASYNC = [create_async_client, create_motor_client]
SLEEPS = {"$where": "sleep(150) || true"}
SLEEPS_LONG = {"$where": "sleep(2000) || true"}  # for what is given up long before


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def url(mongo_url: str) -> Iterator[str]:
    with create_client(PoolOptions.from_uri(mongo_url)) as client:
        client.drop_database(NAME)
        client[NAME]["orders"].insert_one({"_id": 1})
        yield mongo_url
        client.drop_database(NAME)


@pytest.fixture
def seen() -> list[Event]:
    return []


@asynccontextmanager
async def client_of(
    create: Callable[..., Any], options: PoolOptions, *listeners: Any
) -> AsyncIterator[Any]:
    client = create(options, event_listeners=listeners)
    try:
        yield client
    finally:
        if (closing := client.close()) is not None:
            await closing


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - the driver's events come when they come
            await asyncio.sleep(0.005)


def only(monitor: PoolMonitor) -> PoolStats:
    (pool,) = monitor.stats().values()
    return pool


class TestPoolMonitor:
    @pytest.mark.parametrize("create", ASYNC)
    async def test_a_full_pool(self, url: str, create: Callable[..., Any]) -> None:
        monitor = PoolMonitor()
        options = PoolOptions.from_uri(url, max_size=3, min_size=0, wait_queue_timeout=10)
        async with client_of(create, options, monitor) as client:
            orders = client[NAME]["orders"]
            calls = [asyncio.ensure_future(orders.find_one(SLEEPS)) for _ in range(10)]
            # Motor has at most five threads for each core.
            await until(lambda: bool(monitor.stats()) and only(monitor).in_use == 3)
            await until(lambda: only(monitor).waiting >= 4)
            assert only(monitor).max_size == only(monitor).size == 3
            await asyncio.gather(*calls)
            rest = only(monitor)
            assert (rest.in_use, rest.waiting, rest.idle) == (0, 0, 3)
            assert (rest.peak_in_use, rest.peak_size, rest.created) == (3, 3, 3)
            assert rest.checkouts.count >= 10
            assert 0.1 < rest.checkouts.p95 <= rest.checkouts.longest < 10
        closed = only(monitor)
        assert (closed.size, closed.in_use, closed.closed) == (0, 0, {"poolClosed": 3})

    @pytest.mark.parametrize(("retry", "times"), [(False, 1), (True, 2)])
    async def test_a_checkout_that_timed_out(
        self, url: str, seen: list[Event], *, retry: bool, times: int
    ) -> None:
        monitor = PoolMonitor(seen.append)
        options = PoolOptions.from_uri(url, max_size=1, wait_queue_timeout=0.05, retry_reads=retry)
        async with client_of(create_async_client, options, monitor) as client:
            orders = client[NAME]["orders"]
            holder = asyncio.create_task(orders.find_one(SLEEPS))
            await until(lambda: bool(monitor.stats()) and only(monitor).in_use == 1)
            with pytest.raises(WaitQueueTimeoutError):
                await orders.find_one()
            assert only(monitor).failures == {"timeout": times}  # the driver asks again
            assert only(monitor).waiting == 0
            await holder
        event, *more = [event for event in seen if isinstance(event, PoolEvent)]
        assert len(more) == times - 1
        assert (event.reason, event.in_use) == ("timeout", 1)
        assert 0.05 <= event.duration < 1

    async def test_a_caller_that_was_cancelled_in_the_queue(self, url: str) -> None:
        monitor = PoolMonitor()
        options = PoolOptions.from_uri(url, max_size=1, wait_queue_timeout=10)
        async with client_of(create_async_client, options, monitor) as client:
            orders = client[NAME]["orders"]
            holder = asyncio.create_task(orders.find_one(SLEEPS))
            await until(lambda: bool(monitor.stats()) and only(monitor).in_use == 1)
            waiting = [asyncio.create_task(orders.find_one()) for _ in range(5)]
            await until(lambda: only(monitor).waiting == 5)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert only(monitor).waiting == 0
            await holder
            assert only(monitor).in_use == 0

    async def test_an_operation_that_was_cancelled_gives_its_connection_back(
        self, url: str
    ) -> None:
        monitor = PoolMonitor()
        options = PoolOptions.from_uri(url, max_size=2, min_size=0)
        async with client_of(create_async_client, options, monitor) as client:
            orders = client[NAME]["orders"]
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await orders.find_one(SLEEPS)
            await until(lambda: only(monitor).in_use == 0)
            assert only(monitor).closed == {"error": 1}
            assert only(monitor).size == 0

    def test_threads(self, url: str) -> None:
        monitor = PoolMonitor()
        options = PoolOptions.from_uri(url, max_size=2, min_size=0, wait_queue_timeout=10)
        with create_client(options, event_listeners=[monitor]) as client:
            orders = client[NAME]["orders"]
            threads = [threading.Thread(target=orders.find_one, args=(SLEEPS,)) for _ in range(6)]
            for thread in threads:
                thread.start()
            asyncio.run(until(lambda: bool(monitor.stats()) and only(monitor).waiting >= 2))
            for thread in threads:
                thread.join(10)
            rest = only(monitor)
            assert (rest.in_use, rest.waiting, rest.peak_in_use) == (0, 0, 2)
            assert rest.checkouts.count >= 6
        assert only(monitor).size == 0

    async def test_two_clients_may_share_one(self, url: str) -> None:
        monitor = PoolMonitor()
        options = PoolOptions.from_uri(url, min_size=0)
        async with client_of(create_async_client, options, monitor) as client:
            with create_client(options, event_listeners=[monitor]) as sync:
                await client[NAME]["orders"].find_one()
                sync[NAME]["orders"].find_one()
                assert only(monitor).size == 2
            assert only(monitor).size == 1
        assert only(monitor).size == 0


class TestSlowOperations:
    @pytest.mark.parametrize("create", ASYNC)
    async def test_only_the_slow_one(
        self, url: str, seen: list[Event], create: Callable[..., Any]
    ) -> None:
        slow = SlowOperationListener(0.1, seen.append)
        async with client_of(create, PoolOptions.from_uri(url), slow) as client:
            orders = client[NAME]["orders"]
            await orders.find_one({"_id": 1}, comment="quick")
            await orders.find_one(SLEEPS, comment={"route": "GET /orders"})
        (event,) = seen
        assert isinstance(event, SlowOperationEvent)
        assert (event.command, event.database, event.collection) == ("find", NAME, "orders")
        assert event.comment == {"route": "GET /orders"}
        assert 0.15 <= event.duration < 10
        assert event.address.startswith("127.0.0.1:")
        assert isinstance(event.connection, int)
        assert "sleep" not in repr(event)
        assert not slow._pending

    async def test_one_that_failed(self, url: str, seen: list[Event]) -> None:
        slow = SlowOperationListener(0.02, seen.append)
        async with client_of(create_async_client, PoolOptions.from_uri(url), slow) as client:
            with pytest.raises(ExecutionTimeout):
                await client[NAME]["orders"].find_one(SLEEPS, max_time_ms=50)
        failed = [e for e in seen if isinstance(e, SlowOperationEvent) and e.command == "find"]
        assert [(e.code, e.error) for e in failed] == [(50, "MaxTimeMSExpired")]

    async def test_waiting_for_news_is_not_slow(self, url: str, seen: list[Event]) -> None:
        slow = SlowOperationListener(0.1, seen.append)
        async with client_of(create_async_client, PoolOptions.from_uri(url), slow) as client:
            orders = client[NAME]["orders"]
            async with await orders.watch(max_await_time_ms=200) as changes:
                seen.clear()  # opening it may be slow
                assert await changes.try_next() is None
                await orders.insert_one({"_id": 2})
                change = await changes.try_next()
                assert change["documentKey"] == {"_id": 2}
                assert await changes.try_next() is None
        assert [
            e for e in seen if isinstance(e, SlowOperationEvent) and e.command == "getMore"
        ] == []

    async def test_cancelled_ones_are_not_told_and_forgotten(
        self, url: str, seen: list[Event]
    ) -> None:
        slow = SlowOperationListener(0.0, seen.append)
        async with client_of(create_async_client, PoolOptions.from_uri(url), slow) as client:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await client[NAME]["orders"].find_one(SLEEPS_LONG)
        assert "find" not in {e.command for e in seen if isinstance(e, SlowOperationEvent)}
        assert len(slow._pending) <= 1


class TestBudget:
    @pytest.mark.parametrize("create", ASYNC)
    async def test_the_servers_own_limit(
        self, url: str, seen: list[Event], create: Callable[..., Any]
    ) -> None:
        async with client_of(create, PoolOptions.from_uri(url, max_size=20)) as client:
            status = await client.admin.command("serverStatus")
            found = await check_budget(client, processes=2, observer=seen.append)
            connections = status["connections"]
            assert found.limit == connections["current"] + connections["available"]
            assert (found.per_server, found.servers, found.verdict) == (44, 1, "fits")
            assert not seen
            many = await check_budget(client, processes=found.limit, observer=seen.append)
        assert many.verdict == "exceeds"
        assert seen == [
            ConnectionBudgetEvent(
                source="mongo",
                per_server=found.limit * 22,
                limit=found.limit,
                advice=str(many),
            )
        ]

    def test_sync(self, url: str, caplog: pytest.LogCaptureFixture) -> None:
        with create_client(PoolOptions.from_uri(url)) as client:
            assert check_budget_sync(client, processes=1).verdict == "fits"
            assert not caplog.records
            check_budget_sync(client, processes=10**6)
            assert "mongo: connection budget" in caplog.text
            assert "1000000 processes" in caplog.text
        with pytest.raises(NotOpen, match="check_budget"):
            check_budget_sync(client, processes=1)

    async def test_a_user_who_may_not_ask(self, tmp_path: Path) -> None:
        with standalone_with_users(tmp_path) as server:
            for user, may in (("reader", False), ("watcher", True)):
                options = PoolOptions(uri=server.uri(user), w=1)
                async with client_of(create_async_client, options) as client:
                    if may:
                        assert (await check_budget(client, processes=1)).verdict == "fits"
                        continue
                    with pytest.raises(MongoOperationError) as caught:
                        await check_budget(client, processes=1)
                    assert (caught.value.code, caught.value.code_name) == (13, "Unauthorized")
                    assert "the role clusterMonitor may ask, and budget(...)" in str(caught.value)
                    assert PASSWORD not in str(caught.value)

    async def test_no_server(self) -> None:
        options = PoolOptions(uri="mongodb://127.0.0.1:1", server_selection_timeout=0.2)
        async with client_of(create_async_client, options) as client:
            with pytest.raises(StoreUnavailable, match=r"check_budget: 127\.0\.0\.1:1") as caught:
                await check_budget(client, processes=1)
            assert caught.value.operation == "serverStatus"
