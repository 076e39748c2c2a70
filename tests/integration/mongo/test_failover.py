"""A replica set of three loses its primary: clients of ours go on, as soon as the driver's own."""

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    NetworkTimeout,
    PyMongoError,
    WriteError,
)

from symphonia_perf.mongo import PoolMonitor, PoolOptions, create_async_client, create_client
from symphonia_perf.testing.servers import MongoMember, MongoReplicaSet

pytestmark = [
    pytest.mark.mongo,
    pytest.mark.slow,
    # Where connecting is cut off, PyMongo leaves the half-open socket to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

NAME = "symphonia_test_failover"


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
async def replica_set(
    mongo_replica_set_of_three: MongoReplicaSet,
) -> AsyncIterator[MongoReplicaSet]:
    """Whole before the test, and whole again after it."""
    await asyncio.to_thread(mend, mongo_replica_set_of_three)
    yield mongo_replica_set_of_three
    await asyncio.to_thread(mend, mongo_replica_set_of_three)


def mend(replica_set: MongoReplicaSet) -> None:
    for member in replica_set.members:
        member.start()
        member.resume()
    replica_set.wait_until_complete()


def kill(primary: MongoMember) -> None:
    primary.kill()


def freeze(primary: MongoMember) -> None:
    primary.pause()


def step_down(primary: MongoMember) -> None:
    primary.ask({"replSetStepDown": 30, "secondaryCatchUpPeriodSecs": 5})


class Repeated:
    """An operation, one after another, and the longest time without a success."""

    def __init__(self, operation: Callable[[], Awaitable[Any]]) -> None:
        self._operation = operation
        self.last = time.monotonic()
        self.stall = 0.0
        self.failed: list[PyMongoError] = []
        self.done: list[Any] = []

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                self.done.append(await self._operation())
            except PyMongoError as error:
                self.failed.append(error)
            else:
                now = time.monotonic()
                self.stall = max(self.stall, now - self.last)
                self.last = now
            await asyncio.sleep(0.02)


class Traffic:
    """A reader and a writer of one client."""

    def __init__(self, client: AsyncMongoClient[Any], name: str) -> None:
        orders = client[NAME][name]
        numbers = iter(range(1_000_000))

        async def write() -> int:
            number = next(numbers)
            await orders.insert_one({"_id": number})
            return number

        self.orders = orders
        self.reads = Repeated(orders.find_one)
        self.writes = Repeated(write)


@asynccontextmanager
async def clients_of(uri: str) -> AsyncIterator[dict[str, Any]]:
    ours = PoolOptions.from_uri(uri)
    async with AsyncExitStack() as stack:
        yield {
            "raw": await stack.enter_async_context(AsyncMongoClient(**ours.driver_kwargs())),
            "default": await stack.enter_async_context(create_async_client(ours)),
            "web": await stack.enter_async_context(create_async_client(PoolOptions.web(uri))),
            "worker": await stack.enter_async_context(create_async_client(PoolOptions.worker(uri))),
        }


async def live_through(
    fault: Callable[[MongoMember], None], replica_set: MongoReplicaSet
) -> dict[str, Traffic]:
    """All clients read and write until each does so again after the election.

    A set takes up to 20 s to replace a frozen primary, whatever its election timeout, and a write
    waits until the other secondary follows the new one. So stalls are compared, not predicted.
    """
    async with clients_of(replica_set.uri) as clients:
        await clients["raw"].drop_database(NAME)
        traffic = {name: Traffic(client, name) for name, client in clients.items()}
        loops = [loop for pair in traffic.values() for loop in (pair.reads, pair.writes)]
        for loop in loops:
            await loop._operation()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for loop in loops:
                loop.last = time.monotonic()
                tasks.create_task(loop.run(stop))
            old = await asyncio.to_thread(replica_set.primary)
            await asyncio.to_thread(fault, old)
            async with asyncio.timeout(60):
                # One that is paused or dead cannot answer, one that stepped down says so.
                while await asyncio.to_thread(replica_set.primary) is old:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                elected = time.monotonic()
                while not all(loop.last > elected + 0.5 for loop in loops):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            stop.set()
        for pair in traffic.values():
            stored = {document["_id"] async for document in pair.orders.find({})}
            # Nothing that was confirmed is lost.
            assert set(pair.writes.done) <= stored
        return traffic


def go_on(traffic: dict[str, Traffic]) -> None:
    """Writes stall no longer than the driver's own with our options, and hardly any fails."""
    raw = traffic["raw"]
    apart = PoolOptions().heartbeat + 1  # the clients' heartbeats are not in step
    assert traffic["default"].reads.stall <= raw.reads.stall + apart
    for pair in traffic.values():
        assert pair.writes.stall <= raw.writes.stall + apart
        # The driver retries once, and may meet the old primary again (NotPrimaryError) or be cut
        # off. Its own client with its own settings lost a write in 184 step downs (WriteError).
        failed = pair.reads.failed + pair.writes.failed
        assert len(failed) <= 2
        assert all(isinstance(error, AutoReconnect | WriteError) for error in failed)
        assert not any(isinstance(error, DuplicateKeyError) for error in failed)


class TestALostPrimary:
    async def test_killed(self, replica_set: MongoReplicaSet) -> None:
        traffic = await live_through(kill, replica_set)
        go_on(traffic)
        for name in ("default", "web"):
            assert traffic[name].reads.stall < 1.5  # secondaries answer meanwhile

    async def test_frozen(self, replica_set: MongoReplicaSet) -> None:
        traffic = await live_through(freeze, replica_set)
        go_on(traffic)
        assert traffic["web"].reads.stall < 2 + 2 + 1.5  # heartbeat, connect_timeout
        assert traffic["web"].reads.stall < traffic["default"].reads.stall

    async def test_stepped_down(self, replica_set: MongoReplicaSet) -> None:
        go_on(await live_through(step_down, replica_set))


async def test_a_client_of_threads_recovers(replica_set: MongoReplicaSet) -> None:
    monitor = PoolMonitor()
    options = PoolOptions.web(replica_set.uri)
    with create_client(options, event_listeners=[monitor]) as client:
        orders = client[NAME]["threads"]
        orders.drop()
        stop, failed = threading.Event(), list[PyMongoError]()
        written = 0

        def write() -> None:
            nonlocal written
            while not stop.wait(0.01):
                try:
                    orders.insert_one({})
                except PyMongoError as error:
                    failed.append(error)
                else:
                    written += 1

        thread = threading.Thread(target=write)
        thread.start()
        try:
            lost = await asyncio.to_thread(replica_set.primary)
            lost.kill()
            await asyncio.to_thread(replica_set.primary)
            enough = written + 20
            async with asyncio.timeout(30):
                while written < enough:  # noqa: ASYNC110 - a thread's progress
                    await asyncio.sleep(0.02)
        finally:
            stop.set()
            thread.join(30)
        assert len(failed) <= 1
        assert all(isinstance(error, AutoReconnect) for error in failed)
        assert written <= orders.count_documents({}) <= written + len(failed)
        pools = monitor.stats()
        assert pools[f"127.0.0.1:{lost.port}"].clears >= 1
        assert {pool.in_use for pool in pools.values()} == {0}
    assert {(pool.size, pool.in_use) for pool in monitor.stats().values()} == {(0, 0)}


async def test_a_write_that_reports_a_timeout_may_be_stored(replica_set: MongoReplicaSet) -> None:
    """The primary stores it, and waits for a majority that does not answer."""
    async with create_async_client(PoolOptions.from_uri(replica_set.uri)) as patient:
        await patient[NAME]["idempotent"].drop()
        await patient[NAME]["idempotent"].insert_one({"_id": "before"})
    options = PoolOptions.from_uri(replica_set.uri, socket_timeout=0.4, read_preference="primary")
    async with create_async_client(options) as client:
        orders = client[NAME]["idempotent"]
        primary = await asyncio.to_thread(replica_set.primary)
        others = [member for member in replica_set.members if member is not primary]
        for member in others:
            member.pause()
        try:
            with pytest.raises(NetworkTimeout):
                await orders.insert_one({"_id": "order-1"})
        finally:
            for member in others:
                member.resume()
        await asyncio.to_thread(replica_set.wait_until_complete)
    async with create_async_client(PoolOptions.from_uri(replica_set.uri)) as patient:
        orders = patient[NAME]["idempotent"]
        # With an _id of one's own, a repeated write finds the first instead of doubling it.
        with suppress(DuplicateKeyError):
            await orders.insert_one({"_id": "order-1"})
        assert await orders.count_documents({"_id": "order-1"}) == 1
        with pytest.raises(DuplicateKeyError):
            await orders.insert_one({"_id": "order-1"})
