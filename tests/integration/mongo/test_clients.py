"""On a real mongod: settings arrive, pools keep their bounds, and warm() opens the minimum."""

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo import monitoring
from pymongo.errors import WaitQueueTimeoutError

from symphonia_perf.errors import (
    MongoOperationError,
    NotOpen,
    StoreTimeout,
    StoreUnavailable,
    WrongLoop,
)
from symphonia_perf.mongo import (
    PoolOptions,
    create_async_client,
    create_client,
    create_motor_client,
    warm,
    warm_sync,
)
from symphonia_perf.testing.servers import MongoReplicaSet

# Where close() meets a monitor that is just connecting, PyMongo leaves the socket to the collector.
pytestmark = [pytest.mark.mongo, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


class PoolLog(monitoring.ConnectionPoolListener):
    """Counts a client's connections by the driver's own events."""

    def __init__(self, *, after_the_first: Callable[[], None] | None = None) -> None:
        self.settings: dict[str, Any] = {}
        self.open = self.peak = self.created = self.checked_out = 0
        self._after_the_first = after_the_first

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        self.settings = event.options

    def connection_created(self, _event: object) -> None:
        self.created += 1
        self.open += 1
        self.peak = max(self.peak, self.open)

    def connection_closed(self, _event: object) -> None:
        self.open -= 1

    def connection_checked_out(self, _event: object) -> None:
        self.checked_out += 1

    def connection_checked_in(self, _event: object) -> None:
        action, self._after_the_first = self._after_the_first, None
        if action is not None:
            action()

    def ignore(self, _event: object) -> None:
        """The rest."""

    pool_ready = pool_cleared = pool_closed = connection_ready = ignore
    connection_check_out_started = connection_check_out_failed = ignore


ASYNC = [create_async_client, create_motor_client]


@asynccontextmanager
async def client_of(
    create: Callable[..., Any], options: PoolOptions, **keywords: Any
) -> AsyncIterator[Any]:
    client = create(options, **keywords)
    try:
        yield client
    finally:
        if (closing := client.close()) is not None:
            await closing


def is_frozen(pid: int) -> bool:
    """SIGSTOP returns before every thread has stopped, so that one more answer may come."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(thread.read_text().rpartition(") ")[2][0] in "Tt" for thread in threads)


async def until(condition: Callable[[], bool], within: float = 10.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - the event comes from the driver's own tasks
            await asyncio.sleep(0.005)


async def waiting_hello(client: Any, hold: float) -> dict[str, Any]:
    """A command that really keeps its connection for `hold` seconds."""
    hello = await client.admin.command("hello")
    return {
        "hello": 1,
        "topologyVersion": hello["topologyVersion"],
        "maxAwaitTimeMS": round(hold * 1000),
    }


class TestSettings:
    async def test_pool_settings_arrive(self, mongo_url: str) -> None:
        log = PoolLog()
        options = PoolOptions.from_uri(mongo_url, max_size=7, min_size=3, app_name="arrival")
        async with client_of(create_async_client, options, event_listeners=[log]) as client:
            await warm(client)
            assert log.settings["maxPoolSize"] == 7
            assert log.settings["minPoolSize"] == 3
            assert log.settings["maxIdleTimeMS"] == 30_000
            assert log.settings["waitQueueTimeoutMS"] == 2_000
            cursor = await client.admin.aggregate(
                [
                    {"$currentOp": {"allUsers": True, "idleConnections": True}},
                    {"$match": {"appName": "arrival"}},
                ]
            )
            assert len(await cursor.to_list()) >= 3

    @pytest.mark.parametrize(("compressors", "compressed"), [(("zlib",), True), ((), False)])
    def test_the_wire_is_compressed_as_asked(
        self, mongo_url: str, compressors: Any, *, compressed: bool
    ) -> None:
        options = PoolOptions.from_uri(mongo_url, compressors=compressors, min_size=0)
        with create_client(options) as client:
            read = "network.compression.zlib.decompressor.bytesIn"

            def received() -> int:
                value: Any = client.admin.command("serverStatus")
                for part in read.split("."):
                    value = value.get(part, {})
                return value or 0

            before = received()
            client.admin.command("ping", comment="x" * 20_000)
            gained = received() - before
            assert (gained > 0) is compressed


class TestBounds:
    async def test_a_full_pool_is_an_error_after_the_wait_queue_timeout(
        self, mongo_url: str
    ) -> None:
        log = PoolLog()
        options = PoolOptions.from_uri(
            mongo_url, max_size=1, min_size=0, wait_queue_timeout=0.2, retry_reads=False
        )
        async with client_of(create_async_client, options, event_listeners=[log]) as client:
            command = await waiting_hello(client, 1.5)
            before = log.checked_out
            holding = asyncio.create_task(client.admin.command(command))
            await until(lambda: log.checked_out > before)
            start = time.monotonic()
            with pytest.raises(WaitQueueTimeoutError):
                await client.admin.command("ping")
            assert 0.15 < time.monotonic() - start < 1.2
            assert (await holding)["ok"] == 1

    @pytest.mark.parametrize("create", ASYNC)
    async def test_no_burst_opens_more_than_the_maximum(
        self, mongo_url: str, create: Callable[..., Any]
    ) -> None:
        log = PoolLog()
        options = PoolOptions.from_uri(mongo_url, max_size=5, min_size=2)
        async with client_of(create, options, event_listeners=[log]) as client:
            await asyncio.gather(*[client.admin.command("ping") for _ in range(200)])
            assert log.peak <= 5
            assert log.checked_out >= 200

    def test_no_burst_of_threads_either(self, mongo_url: str) -> None:
        log = PoolLog()
        options = PoolOptions.from_uri(mongo_url, max_size=5, min_size=2)
        with create_client(options, event_listeners=[log]) as client:
            with ThreadPoolExecutor(20) as threads:
                list(threads.map(lambda _: client.admin.command("ping"), range(200)))
            assert log.peak <= 5
            assert log.checked_out >= 200


class TestWarm:
    @pytest.mark.parametrize("create", ASYNC)
    @pytest.mark.parametrize(("minimum", "at_a_time"), [(10, 2), (10, 1), (1, 2), (25, 25)])
    async def test_the_minimum_stands_and_a_burst_of_it_opens_nothing(
        self, mongo_url: str, create: Callable[..., Any], minimum: int, at_a_time: int
    ) -> None:
        log = PoolLog()
        options = PoolOptions.from_uri(mongo_url, min_size=minimum, max_connecting=at_a_time)
        async with client_of(create, options, event_listeners=[log]) as client:
            assert await warm(client) == minimum
            # The driver's own filling may have opened one or two at the same time.
            assert minimum <= log.open <= minimum + at_a_time
            created = log.created
            await asyncio.gather(*[client.admin.command("ping") for _ in range(minimum)])
            assert log.created == created

    def test_the_same_for_threads(self, mongo_url: str) -> None:
        log = PoolLog()
        options = PoolOptions.from_uri(mongo_url)
        with create_client(options, event_listeners=[log]) as client:
            assert warm_sync(client) == 10
            assert 10 <= log.open <= 12

    @pytest.mark.parametrize("create", ASYNC)
    async def test_no_minimum_still_proves_that_a_server_answers(
        self, mongo_url: str, create: Callable[..., Any]
    ) -> None:
        options = PoolOptions.from_uri(mongo_url, min_size=0)
        async with client_of(create, options) as client:
            assert await warm(client) == 1

    async def test_a_client_with_a_timeout_of_its_own(self, mongo_url: str) -> None:
        separator = "&" if "?" in mongo_url else "/?"
        options = PoolOptions.from_uri(f"{mongo_url}{separator}timeoutMS=5000")
        async with client_of(create_async_client, options) as client:
            assert await warm(client) == 10
        with create_client(options) as sync:
            assert warm_sync(sync) == 10

    async def test_a_short_socket_timeout_does_not_cut_it_off(self, mongo_url: str) -> None:
        options = PoolOptions.from_uri(mongo_url, socket_timeout=0.09)
        async with client_of(create_async_client, options) as client:
            assert await warm(client) == 10

    @pytest.mark.parametrize("create", ASYNC)
    async def test_no_server(self, create: Callable[..., Any]) -> None:
        async with client_of(create, PoolOptions(uri="mongodb://127.0.0.1:1")) as client:
            start = time.monotonic()
            with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1.*refused|failed") as caught:
                await warm(client, timeout=0.5)
            assert time.monotonic() - start < 2
            assert caught.value.store == "mongodb"
            assert "Topology" not in str(caught.value)
            assert isinstance(caught.value.__cause__, pymongo.errors.PyMongoError)

    def test_no_server_for_threads(self) -> None:
        with create_client(PoolOptions(uri="mongodb://127.0.0.1:1")) as client:
            start = time.monotonic()
            with pytest.raises(StoreUnavailable):
                warm_sync(client, timeout=0.5)
            assert time.monotonic() - start < 2

    async def test_a_frozen_server(self, mongo_server: MongoReplicaSet) -> None:
        (member,) = mongo_server.members
        async with client_of(create_async_client, PoolOptions.from_uri(mongo_server.uri)) as client:
            await warm(client)
            member.pause()
            try:
                await until(lambda: is_frozen(member.pid))
                start = time.monotonic()
                with pytest.raises(StoreTimeout):
                    await warm(client, timeout=0.5)
                assert time.monotonic() - start < 2
            finally:
                member.resume()
            assert await warm(client) == 10

    @pytest.mark.parametrize("create", [*ASYNC, create_client])
    async def test_what_stood_before_the_server_froze_is_counted(
        self, mongo_server: MongoReplicaSet, create: Callable[..., Any]
    ) -> None:
        (member,) = mongo_server.members
        log = PoolLog(after_the_first=member.pause)
        options = PoolOptions.from_uri(mongo_server.uri, socket_timeout=2)
        async with client_of(create, options, event_listeners=[log]) as client:
            start = time.monotonic()
            try:
                if create is create_client:
                    opened = await asyncio.to_thread(warm_sync, client, timeout=0.5)
                else:
                    opened = await warm(client, timeout=0.5)
            finally:
                member.resume()
            assert time.monotonic() - start < 2
            assert opened == 1

    async def test_wrong_credentials(self, mongo_url: str) -> None:
        options = PoolOptions.from_uri(mongo_url, min_size=0)
        async with client_of(
            create_async_client, options, username="nobody", password="hunter2"
        ) as client:
            with pytest.raises(MongoOperationError) as caught:
                await warm(client)
        assert (caught.value.code, caught.value.code_name) == (18, "AuthenticationFailed")
        assert "hunter2" not in str(caught.value)

    async def test_a_closed_client(self, mongo_url: str) -> None:
        client = create_async_client(PoolOptions.from_uri(mongo_url))
        await client.close()
        with pytest.raises(NotOpen):
            await warm(client)
        sync = create_client(PoolOptions.from_uri(mongo_url))
        sync.close()
        with pytest.raises(NotOpen):
            warm_sync(sync)


class TestWhatAClientIsBoundTo:
    def test_one_event_loop(self, mongo_url: str) -> None:
        client = create_async_client(PoolOptions.from_uri(mongo_url, min_size=0))
        with asyncio.Runner() as first:
            assert first.run(warm(client)) == 1
            with asyncio.Runner() as second, pytest.raises(WrongLoop, match="event loop"):
                second.run(warm(client))
            first.run(client.close())

    def test_one_process(self, mongo_url: str) -> None:
        script = """
import os, sys, warnings
from symphonia_perf.mongo import PoolOptions, create_client
warnings.simplefilter("always")
used, unused = (create_client(PoolOptions.from_uri(sys.argv[1], min_size=0)) for _ in "ab")
used.admin.command("ping")
if (child := os.fork()) == 0:
    with warnings.catch_warnings(record=True) as caught:
        unused.admin.command("ping")
        before = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
        used.admin.command("ping")
        after = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    sys.stdout.write(f"{len(before)} {'fork' in str(after)}")
    sys.stdout.flush()
    os._exit(0)
_, status = os.waitpid(child, 0)
used.close(), unused.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""
        run = subprocess.run(
            [sys.executable, "-c", script, mongo_url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (run.returncode, run.stdout) == (0, "0 True"), run.stderr
