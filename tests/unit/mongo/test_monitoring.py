"""The listeners, fed with the driver's own event objects; no server."""

import asyncio
import gc
import logging
import math
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, asdict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import monitoring

from symphonia_perf._core.events import Event, LogObserver
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo import (
    CheckoutTimes,
    ConnectionBudgetEvent,
    PoolEvent,
    PoolMonitor,
    PoolOptions,
    PoolStats,
    SlowOperationEvent,
    SlowOperationListener,
    _slow,
    budget,
    check_budget,
    check_budget_sync,
    create_async_client,
    create_client,
)
from symphonia_perf.mongo import monitoring as module
from symphonia_perf.mongo._histogram import BOUNDS, Histogram
from symphonia_perf.mongo._pool_counts import PoolCounts

HOST = ("db", 27017)
NAME = "db:27017"


def pool(monitor: PoolMonitor, name: str = NAME) -> PoolStats:
    return monitor.stats()[name]


def ask(monitor: PoolMonitor) -> None:
    monitor.connection_check_out_started(monitoring.ConnectionCheckOutStartedEvent(HOST))


def get(monitor: PoolMonitor, duration: float = 0.001) -> None:
    monitor.connection_checked_out(monitoring.ConnectionCheckedOutEvent(HOST, 1, duration))


def fail(monitor: PoolMonitor, reason: str) -> None:
    monitor.connection_check_out_failed(monitoring.ConnectionCheckOutFailedEvent(HOST, reason, 2.0))


def give_back(monitor: PoolMonitor) -> None:
    monitor.connection_checked_in(monitoring.ConnectionCheckedInEvent(HOST, 1))


def connect(monitor: PoolMonitor, *, times: int = 1) -> None:
    for number in range(times):
        monitor.connection_created(monitoring.ConnectionCreatedEvent(HOST, number))
        monitor.connection_ready(monitoring.ConnectionReadyEvent(HOST, number, 0.01))


def disconnect(monitor: PoolMonitor, reason: str) -> None:
    monitor.connection_closed(monitoring.ConnectionClosedEvent(HOST, 1, reason))


def create(monitor: PoolMonitor, address: Any = HOST, **options: Any) -> None:
    monitor.pool_created(monitoring.PoolCreatedEvent(address, options))
    monitor.pool_ready(monitoring.PoolReadyEvent(address))


@pytest.fixture
def seen() -> list[Event]:
    return []


class TestPoolMonitor:
    def test_a_checkout_from_beginning_to_end(self) -> None:
        monitor = PoolMonitor()
        create(monitor, maxPoolSize=7)
        connect(monitor, times=2)
        ask(monitor)
        waiting = pool(monitor)
        get(monitor, 0.004)
        busy = pool(monitor)
        give_back(monitor)
        idle = pool(monitor)
        assert (waiting.max_size, waiting.size, waiting.waiting, waiting.in_use) == (7, 2, 1, 0)
        assert (busy.waiting, busy.in_use, busy.idle) == (0, 1, 1)
        assert (idle.in_use, idle.idle, idle.peak_in_use, idle.peak_size) == (0, 2, 1, 2)
        assert (idle.checkouts.count, idle.checkouts.total, idle.created) == (1, 0.004, 2)

    def test_failures_closings_and_clears_by_reason(self, seen: list[Event]) -> None:
        monitor = PoolMonitor(seen.append)
        connect(monitor, times=3)
        ask(monitor)
        get(monitor)
        for reason in ("timeout", "timeout", "connectionError", "poolClosed"):
            ask(monitor)
            fail(monitor, reason)
        monitor.pool_cleared(monitoring.PoolClearedEvent(HOST))
        disconnect(monitor, "stale")
        disconnect(monitor, "idle")
        stats = pool(monitor)
        assert stats.failures == {"timeout": 2, "connectionError": 1, "poolClosed": 1}
        assert stats.closed == {"stale": 1, "idle": 1}
        assert (stats.clears, stats.size, stats.in_use, stats.waiting) == (1, 1, 1, 0)
        assert seen[0] == PoolEvent(
            source="mongo",
            kind="checkout_failed",
            address=NAME,
            in_use=1,
            reason="timeout",
            duration=2.0,
        )
        assert [event.kind for event in seen if isinstance(event, PoolEvent)] == [
            *["checkout_failed"] * 4,
            "cleared",
        ]

    @pytest.mark.parametrize(
        ("options", "limit"),
        [({}, 100), ({"maxPoolSize": 5}, 5), ({"maxPoolSize": 0}, None)],
    )
    def test_the_limit_is_the_pools(self, options: dict[str, Any], limit: int | None) -> None:
        monitor = PoolMonitor()
        create(monitor, **options)
        assert pool(monitor).max_size == limit

    @pytest.mark.parametrize(
        ("address", "name"),
        [
            (("db", 1), "db:1"),
            (("::1", 1), "[::1]:1"),
            (("/run/mongo.sock", None), "/run/mongo.sock"),
        ],
    )
    def test_addresses(self, address: Any, name: str) -> None:
        monitor = PoolMonitor()
        create(monitor, address)
        assert list(monitor.stats()) == [name]

    def test_servers_that_left_are_forgotten_in_the_end(self) -> None:
        monitor = PoolMonitor()
        create(monitor, ("stays", 1))
        for number in range(300):
            create(monitor, (f"pod-{number}", 1))
            monitor.pool_closed(monitoring.PoolClosedEvent((f"pod-{number}", 1)))
        assert len(monitor.stats()) <= 101
        assert "stays:1" in monitor.stats()

    def test_a_pool_that_was_opened_again_goes_on_counting(self) -> None:
        monitor = PoolMonitor()
        for _ in range(2):
            create(monitor)
            connect(monitor)
            disconnect(monitor, "poolClosed")
            monitor.pool_closed(monitoring.PoolClosedEvent(HOST))
        assert (pool(monitor).created, pool(monitor).size) == (2, 0)

    def test_stats_are_a_value(self) -> None:
        monitor = PoolMonitor()
        ask(monitor)
        fail(monitor, "timeout")
        before = pool(monitor)
        ask(monitor)
        fail(monitor, "timeout")
        assert before.failures == {"timeout": 1}
        assert asdict(before)["failures"] == {"timeout": 1}
        with pytest.raises(FrozenInstanceError):
            before.size = 3  # type: ignore[misc]

    def test_threads_lose_no_count(self) -> None:
        monitor = PoolMonitor()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:

            def work(_: int) -> None:
                for _ in range(500):
                    connect(monitor)
                    ask(monitor)
                    get(monitor)
                    give_back(monitor)
                    monitor.stats()

            with ThreadPoolExecutor(8) as threads:
                list(threads.map(work, range(8)))
        finally:
            sys.setswitchinterval(interval)
        stats = pool(monitor)
        assert (stats.created, stats.size, stats.checkouts.count) == (4000, 4000, 4000)
        assert (stats.in_use, stats.waiting) == (0, 0)
        assert 1 <= stats.peak_in_use <= 8

    def test_threads_wait_each_for_itself(self) -> None:
        monitor = PoolMonitor()
        both, done = threading.Barrier(3), threading.Event()

        def wait() -> None:
            ask(monitor)
            both.wait(10)
            done.wait(10)
            get(monitor)

        threads = [threading.Thread(target=wait) for _ in range(2)]
        for thread in threads:
            thread.start()
        both.wait(10)
        assert pool(monitor).waiting == 2
        done.set()
        for thread in threads:
            thread.join(10)
        assert pool(monitor).waiting == 0

    async def test_a_cancelled_task_waits_no_longer(self) -> None:
        monitor = PoolMonitor()

        async def wait() -> None:
            ask(monitor)
            await asyncio.sleep(60)

        tasks = [asyncio.create_task(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        assert pool(monitor).waiting == 3
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        assert pool(monitor).waiting == 2  # though the task is still at hand
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        del task, tasks
        gc.collect()
        assert pool(monitor).waiting == 0

    async def test_a_task_that_asks_again_waits_once(self) -> None:
        monitor = PoolMonitor()
        ask(monitor)
        ask(monitor)
        assert pool(monitor).waiting == 1
        get(monitor)
        assert pool(monitor).waiting == 0

    async def test_cancelled_tasks_do_not_pile_up(self) -> None:
        counts = PoolCounts(NAME, threading.Lock())

        async def wait() -> None:
            counts.asked()

        kept = [asyncio.create_task(wait()) for _ in range(5000)]  # no identity comes twice
        await asyncio.gather(*kept)
        assert len(counts._waiting) <= 1001
        assert counts.stats().waiting == 0

    async def test_as_many_as_there_are_may_wait(self) -> None:
        counts = PoolCounts(NAME, threading.Lock())
        stop = asyncio.Event()

        async def wait() -> None:
            counts.asked()
            await stop.wait()

        tasks = [asyncio.create_task(wait()) for _ in range(5000)]
        await asyncio.sleep(0)
        assert counts.stats().waiting == 5000
        stop.set()
        await asyncio.gather(*tasks)

    def test_a_callback_of_a_loop_is_no_task(self) -> None:
        monitor = PoolMonitor()

        async def main() -> None:
            loop = asyncio.get_running_loop()
            done = loop.create_future()
            loop.call_soon(lambda: (ask(monitor), get(monitor), done.set_result(None)))
            await done

        asyncio.run(main())
        assert (pool(monitor).waiting, pool(monitor).in_use) == (0, 1)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
    def test_a_fork_while_a_thread_counts(self) -> None:
        monitor = PoolMonitor()
        connect(monitor, times=3)
        ask(monitor)
        get(monitor)
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with monitor._pools.lock:
                held.set()
                release.wait(10)

        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(10)
        child = os.fork()
        if child == 0:
            try:
                connect(monitor)
                stats = pool(monitor)
                good = (stats.size, stats.in_use, stats.waiting) == (3, 0, 0)
            except BaseException:  # noqa: BLE001 - the child must not go on with the parent's tests
                good = False
            os._exit(0 if good else 1)
        release.set()
        holder.join(10)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_what_a_child_counts_on(self) -> None:
        monitor, unused = PoolMonitor(), PoolMonitor()
        connect(monitor, times=3)
        ask(monitor)
        get(monitor)
        ask(monitor)
        lock = monitor._pools.lock
        module._after_fork()
        stats = pool(monitor)
        assert (stats.size, stats.in_use, stats.waiting) == (2, 0, 0)
        assert monitor._pools.lock is not lock
        assert not unused.stats()

    def test_an_observer_that_raises_does_no_harm(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(_event: Event, /) -> None:
            raise ValueError

        monitor = PoolMonitor(broken)
        ask(monitor)
        fail(monitor, "timeout")
        assert pool(monitor).failures == {"timeout": 1}
        assert "observer" in caplog.text

    def test_what_is_logged_without_an_observer(self, caplog: pytest.LogCaptureFixture) -> None:
        monitor = PoolMonitor()
        for _ in range(50):
            ask(monitor)
            fail(monitor, "timeout")
        assert [record.getMessage() for record in caplog.records] == [
            (
                "mongo: pool of db:27017 gave no connection (timeout) "
                "(0 more since the last warning): after 2.000 s, 0 connections in use"
            ),
        ]
        caplog.clear()
        other = PoolMonitor()
        other.pool_cleared(monitoring.PoolClearedEvent(HOST))
        assert "pool of db:27017 was cleared" in caplog.text

    @pytest.mark.parametrize("observer", [3, "log", []])
    def test_an_observer_that_is_none(self, observer: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"observer=.*expected a callable"):
            PoolMonitor(observer)
        with pytest.raises(ConfigurationError, match=r"observer=.*expected a callable"):
            SlowOperationListener(0.1, observer)


def start(
    listener: SlowOperationListener, command: dict[str, Any], request: int = 1, name: str = ""
) -> None:
    event = monitoring.CommandStartedEvent(command or {name: 1}, "shop", request, HOST, request)
    listener.started(event)


def succeed(
    listener: SlowOperationListener,
    name: str,
    *,
    took: float,
    request: int = 1,
    reply: dict[str, Any] | None = None,
) -> None:
    listener.succeeded(
        monitoring.CommandSucceededEvent(
            timedelta(seconds=took),
            reply or {"ok": 1},
            name,
            request,
            HOST,
            request,
            database_name="shop",
            server_connection_id=42,
        )
    )


def fail_command(
    listener: SlowOperationListener,
    name: str,
    failure: dict[str, Any],
    *,
    took: float,
    request: int = 1,
) -> None:
    listener.failed(
        monitoring.CommandFailedEvent(
            timedelta(seconds=took), failure, name, request, HOST, request, database_name="shop"
        )
    )


FIND = {"find": "orders", "filter": {"secret": "hunter2"}, "comment": "GET /orders"}


class TestSlowOperations:
    def test_a_slow_one_is_told(self, seen: list[Event]) -> None:
        listener = SlowOperationListener(0.1, seen.append)
        start(listener, FIND)
        succeed(listener, "find", took=0.25)
        assert seen == [
            SlowOperationEvent(
                source="mongo",
                command="find",
                database="shop",
                collection="orders",
                duration=0.25,
                comment="GET /orders",
                address=NAME,
                connection=42,
                request_id=1,
            )
        ]
        assert "hunter2" not in repr(seen)

    @pytest.mark.parametrize(
        ("threshold", "took", "told"),
        [
            (0.1, 0.1, 0),
            (0.1, 0.100001, 1),
            (timedelta(seconds=1), 0.9, 0),
            (timedelta(seconds=1), 1.1, 1),
            (0, 0.000001, 1),
        ],
    )
    def test_the_threshold(self, seen: list[Event], threshold: Any, took: float, told: int) -> None:
        listener = SlowOperationListener(threshold, seen.append)
        start(listener, FIND)
        succeed(listener, "find", took=took)
        assert len(seen) == told

    @pytest.mark.parametrize("threshold", [-1, math.nan, math.inf, True, "1s", None])
    def test_a_threshold_that_is_none(self, threshold: Any) -> None:
        with pytest.raises(ConfigurationError, match="threshold="):
            SlowOperationListener(threshold)

    @pytest.mark.parametrize(
        ("command", "collection"),
        [
            ({"find": "orders"}, "orders"),
            ({"aggregate": "orders", "pipeline": [{"$match": {}}]}, "orders"),
            ({"aggregate": 1, "pipeline": [{"$currentOp": {}}]}, ""),
            ({"getMore": 7, "collection": "orders"}, "orders"),
            ({"insert": "orders"}, "orders"),
            ({"createIndexes": "orders"}, "orders"),
            ({"ping": 1}, ""),
            ({"dropUser": "alice"}, ""),  # no collection, and nobody's business
            ({"getParameter": "*"}, ""),
            ({"explain": {"find": "orders"}}, ""),
        ],
    )
    def test_collections(self, seen: list[Event], command: dict[str, Any], collection: str) -> None:
        listener = SlowOperationListener(0.1, seen.append)
        start(listener, command)
        succeed(listener, next(iter(command)), took=1)
        (event,) = seen
        assert isinstance(event, SlowOperationEvent)
        assert event.collection == collection

    @pytest.mark.parametrize(
        ("failure", "code", "error"),
        [
            ({"code": 50, "codeName": "MaxTimeMSExpired"}, 50, "MaxTimeMSExpired"),
            ({"errmsg": "timed out", "errtype": "NetworkTimeout"}, None, "NetworkTimeout"),
            ({"code": 12345}, 12345, "unknown error"),
        ],
    )
    def test_failures(
        self, seen: list[Event], failure: dict[str, Any], code: int | None, error: str
    ) -> None:
        listener = SlowOperationListener(0.1, seen.append)
        start(listener, FIND)
        fail_command(listener, "find", failure, took=0.05)
        assert not seen
        start(listener, FIND)
        fail_command(listener, "find", failure, took=3)
        (event,) = seen
        assert isinstance(event, SlowOperationEvent)
        assert (event.code, event.error, event.collection) == (code, error, "orders")

    def test_a_command_whose_start_was_missed(self, seen: list[Event]) -> None:
        listener = SlowOperationListener(0.1, seen.append)
        succeed(listener, "find", took=1)
        fail_command(listener, "find", {}, took=1)
        assert [(e.collection, e.comment) for e in seen if isinstance(e, SlowOperationEvent)] == [
            ("", None),
            ("", None),
        ]

    @pytest.mark.parametrize(
        "opening",
        [
            {"aggregate": "orders", "pipeline": [{"$changeStream": {}}]},
            {"find": "log", "tailable": True, "awaitData": True},
        ],
    )
    def test_a_cursor_that_waits_for_news_is_not_slow(
        self, seen: list[Event], opening: dict[str, Any]
    ) -> None:
        listener = SlowOperationListener(0.1, seen.append)
        start(listener, opening)
        succeed(listener, next(iter(opening)), took=0.01, reply={"cursor": {"id": 99}})
        start(listener, {"getMore": 99, "collection": "orders"})
        succeed(listener, "getMore", took=1)
        assert not seen
        start(listener, {"getMore": 100, "collection": "orders"})
        succeed(listener, "getMore", took=1)
        assert len(seen) == 1

    def test_a_greeting_that_waits_for_news_is_not_slow(self, seen: list[Event]) -> None:
        listener = SlowOperationListener(0.1, seen.append)
        start(listener, {"hello": 1, "topologyVersion": {}, "maxAwaitTimeMS": 100})
        succeed(listener, "hello", took=0.102)
        assert not seen
        assert not listener._cursors
        start(listener, {"hello": 1})
        succeed(listener, "hello", took=0.102)
        assert len(seen) == 1

    def test_opening_a_change_stream_may_be_slow(self, seen: list[Event]) -> None:
        listener = SlowOperationListener(0.1, seen.append)
        start(listener, {"aggregate": "orders", "pipeline": [{"$changeStream": {}}]})
        succeed(listener, "aggregate", took=1, reply={"cursor": {"id": 99}})
        assert len(seen) == 1

    @pytest.mark.parametrize("pipeline", [None, [], "x", [1], ({"$changeStream": {}},)])
    def test_a_pipeline_that_is_none(self, seen: list[Event], pipeline: Any) -> None:
        listener = SlowOperationListener(0.1, seen.append)
        start(listener, {"aggregate": "orders", "pipeline": pipeline})
        succeed(listener, "aggregate", took=1)
        assert len(seen) == 1

    def test_commands_that_never_end_are_forgotten(self) -> None:
        listener = SlowOperationListener(0.1)
        for request in range(10_000):
            start(listener, FIND, request)
        assert len(listener._pending) <= _slow._PENDING
        assert 9_999 in listener._pending

    def test_so_are_cursors(self) -> None:
        listener = SlowOperationListener(0.1)
        for cursor in range(1, 5_000):
            start(listener, {"find": "log", "tailable": True})
            succeed(listener, "find", took=0, reply={"cursor": {"id": cursor}})
        assert len(listener._cursors) <= _slow._CURSORS
        assert 4_999 in listener._cursors

    def test_threads_may_share_it(self) -> None:
        told: list[Event] = []
        listener = SlowOperationListener(0, told.append)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:

            def work(thread: int) -> None:
                for number in range(500):
                    request = thread * 10_000 + number
                    start(listener, {**FIND, "comment": request}, request)
                    succeed(listener, "find", took=1, request=request)

            with ThreadPoolExecutor(8) as threads:
                list(threads.map(work, range(8)))
        finally:
            sys.setswitchinterval(interval)
        assert len(told) == 4000
        assert not listener._pending
        assert all(isinstance(e, SlowOperationEvent) and e.comment == e.request_id for e in told)

    def test_a_hundred_thousand_that_never_end_take_no_memory(self) -> None:
        listener = SlowOperationListener(0.1)
        for request in range(100_000):
            start(listener, FIND, request)
        assert len(listener._pending) <= _slow._PENDING
        for request in range(100_000):
            fail_command(listener, "find", {"errtype": "AutoReconnect"}, took=0, request=request)
        assert not listener._pending

    def test_an_observer_that_raises_does_no_harm(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(_event: Event, /) -> None:
            raise ValueError

        listener = SlowOperationListener(0, broken)
        for _ in range(2):
            start(listener, FIND)
            succeed(listener, "find", took=1)
        assert len(caplog.records) == 2

    def test_what_the_observer_asks_itself_is_not_told(self, seen: list[Event]) -> None:
        def recursive(event: Event, /) -> None:
            seen.append(event)
            start(listener, {"insert": "slow_operations"}, 2)
            succeed(listener, "insert", took=1, request=2)

        listener = SlowOperationListener(0, recursive)
        for _ in range(2):
            start(listener, FIND)
            succeed(listener, "find", took=1)
        assert [event.command for event in seen if isinstance(event, SlowOperationEvent)] == [
            "find",
            "find",
        ]

    def test_an_observer_that_blocks_holds_up_only_its_own_thread(self, seen: list[Event]) -> None:
        blocked, release = threading.Event(), threading.Event()

        def blocks_once(event: Event, /) -> None:
            seen.append(event)
            if len(seen) == 1:
                blocked.set()
                release.wait(10)

        def work(request: int) -> None:
            start(listener, FIND, request)
            succeed(listener, "find", took=1, request=request)

        listener = SlowOperationListener(0, blocks_once)
        thread = threading.Thread(target=work, args=(1,))
        thread.start()
        assert blocked.wait(10)
        work(2)
        assert len(seen) == 2
        release.set()
        thread.join(10)
        assert not thread.is_alive()

    def test_what_is_logged_without_an_observer(self, caplog: pytest.LogCaptureFixture) -> None:
        listener = SlowOperationListener(0.1)
        for _ in range(50):
            start(listener, FIND)
            succeed(listener, "find", took=0.25)
        start(listener, {"ping": 1})
        fail_command(listener, "ping", {"errtype": "NetworkTimeout"}, took=2)
        assert [record.getMessage() for record in caplog.records] == [
            (
                "mongo: find on shop.orders took 0.250 s (0 more since the last warning): "
                "db:27017 conn42, comment 'GET /orders'"
            ),
            (
                "mongo: ping on shop took 2.000 s (0 more since the last warning): "
                "db:27017 connNone, failed with NetworkTimeout"
            ),
        ]
        assert all(record.levelno == logging.WARNING for record in caplog.records)


class TestCheckoutTimes:
    def test_percentiles(self) -> None:
        histogram = Histogram()
        for _ in range(90):
            histogram.add(0.00003)
        for _ in range(10):
            histogram.add(0.3)
        times = histogram.times()
        assert times.count == 100
        assert times.total == pytest.approx(90 * 0.00003 + 10 * 0.3)
        assert 0.00002 < times.p50 <= 0.00005
        assert 0.2 < times.p95 <= 0.3
        assert times.p95 < times.p99 <= times.longest == 0.3

    def test_longer_than_the_last_bound(self) -> None:
        histogram = Histogram()
        histogram.add(400.0)
        assert 50 < histogram.times().p99 <= 400

    def test_nothing(self) -> None:
        assert Histogram().times().p99 == 0.0

    @pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, "0.5", True, None])
    def test_a_share_that_is_none(self, share: Any) -> None:
        with pytest.raises(ConfigurationError, match="share="):
            Histogram().times().quantile(share)

    @given(
        st.lists(st.floats(0, 1000, allow_nan=False), min_size=1, max_size=200),
        st.floats(0, 1, allow_nan=False),
    )
    def test_an_estimate_stays_in_the_bucket(self, durations: list[float], share: float) -> None:
        histogram = Histogram()
        for duration in durations:
            histogram.add(duration)
        times = histogram.times()
        exact = sorted(durations)[max(0, math.ceil(share * len(durations)) - 1)]
        found = times.quantile(share)
        low = max([0.0, *[bound for bound in BOUNDS if bound < exact]])
        high = min([math.inf, *[bound for bound in BOUNDS if bound >= exact]])
        assert low <= found <= min(high, max(durations)) or math.isclose(found, low)
        assert times.count == len(durations)

    def test_it_is_a_value(self) -> None:
        times = CheckoutTimes(buckets=(1,) + (0,) * 21, total=0.0, longest=0.00001)
        assert len(times.buckets) == len(BOUNDS) + 1
        with pytest.raises(FrozenInstanceError):
            times.total = 1.0  # type: ignore[misc]


class TestBudget:
    @pytest.mark.parametrize(
        ("processes", "limit", "size", "verdict", "headroom", "suggested"),
        [
            (10, 1000, 50, "fits", 480, 50),
            (10, 650, 50, "fits", 130, 50),  # exactly four fifths
            (10, 649, 50, "tight", 129, 49),
            (10, 520, 50, "tight", 0, 39),
            (10, 519, 50, "exceeds", -1, 39),
            (100, 300, 50, "exceeds", -4900, None),
            (100, 500, 1, "fits", 200, 1),
        ],
    )
    def test_verdicts(  # noqa: PLR0917
        self,
        processes: int,
        limit: int,
        size: int,
        verdict: str,
        headroom: int,
        suggested: int | None,
    ) -> None:
        found = budget(processes, limit, PoolOptions(max_size=size, min_size=0))
        assert (found.verdict, found.headroom) == (verdict, headroom)
        assert found.suggested_max_size == suggested

    @given(st.integers(1, 5000), st.integers(1, 200_000), st.integers(1, 500))
    def test_what_is_suggested_fits_and_is_the_largest(
        self, processes: int, limit: int, size: int
    ) -> None:
        found = budget(processes, limit, PoolOptions(max_size=size, min_size=0))
        suggested = found.suggested_max_size
        for try_ in (suggested or 0, (suggested or 0) + 1):
            if 0 < try_ <= size:
                again = budget(processes, limit, PoolOptions(max_size=try_, min_size=0))
                assert (again.verdict == "fits") == (try_ == suggested)

    def test_servers(self) -> None:
        found = budget(4, 1500, PoolOptions(max_size=50), servers=3)
        assert (found.per_server, found.total, found.per_process) == (208, 624, 156)

    def test_sentences(self) -> None:
        options = PoolOptions(max_size=50)
        assert str(budget(2, 1500, options)).endswith("which accepts 1500")
        assert str(budget(40, 1500, options)).endswith("max_size=28 leaves a fifth for others")
        assert str(budget(999, 1500, options)).endswith("raise the server's limit")

    @pytest.mark.parametrize("bad", [0, -1, 1.5, True, "4", None])
    def test_bad_numbers(self, bad: Any) -> None:
        options = PoolOptions()
        with pytest.raises(ConfigurationError, match="processes="):
            budget(bad, 1500, options)
        with pytest.raises(ConfigurationError, match="max_connections="):
            budget(4, bad, options)
        with pytest.raises(ConfigurationError, match="servers="):
            budget(4, 1500, options, servers=bad)
        with pytest.raises(ConfigurationError, match="options: expected PoolOptions, not"):
            budget(4, 1500, bad)

    async def test_bad_arguments_are_told_without_a_server(self) -> None:
        client, sync = create_async_client(), create_client()
        with pytest.raises(ConfigurationError, match="processes="):
            await check_budget(client, processes=0)
        with pytest.raises(ConfigurationError, match="processes="):
            check_budget_sync(sync, processes=0)
        with pytest.raises(ConfigurationError, match="observer="):
            check_budget_sync(sync, processes=1, observer=3)  # type: ignore[arg-type]
        await client.close()
        sync.close()

    def test_a_pool_without_limit(self) -> None:
        import pymongo

        with (
            pymongo.MongoClient("mongodb://localhost/?maxPoolSize=0", connect=False) as client,
            pytest.raises(ConfigurationError, match="maxPoolSize=0"),
        ):
            check_budget_sync(client, processes=1)

    def test_the_event_in_a_log(self, caplog: pytest.LogCaptureFixture) -> None:
        LogObserver()(ConnectionBudgetEvent(source="mongo", per_server=9, limit=8, advice="less"))
        assert "connection budget 9 of 8 (0 more since the last warning): less" in caplog.text
