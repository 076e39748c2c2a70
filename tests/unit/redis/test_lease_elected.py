"""Work in one process of many: when it begins, when it ends, and when it begins again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from symphonia_perf._core.events import Event, LeaseEvent
from symphonia_perf.errors import ConfigurationError, LeaseLost, NotOpen, SymphoniaError
from symphonia_perf.redis import Elected, Lease
from tests.unit.redis.lease_commands import Network, no_task_is_left, until


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with no_task_is_left():
        yield Network()


@pytest.fixture
def events() -> list[Event]:
    return []


class Work:
    """What is to run once; says when it does, and what it does then."""

    def __init__(self) -> None:
        self.running = 0
        self.begun = 0
        self.raises: BaseException | None = None
        self.returns = False

    async def __call__(self, lease: Lease) -> None:
        assert lease.check() > 0
        self.begun += 1
        self.running += 1
        try:
            if self.raises is not None:
                raise self.raises
            if not self.returns:
                await asyncio.sleep(30)
        finally:
            self.running -= 1


async def test_one_of_many_works(network: Network) -> None:
    work = Work()
    many = [Elected(Lease(network, "a"), work) for _ in range(5)]
    for one in many:
        await one.__aenter__()
    for left in range(5, 0, -1):
        await until(lambda: work.running == 1)
        assert [one.working for one in many].count(True) == 1
        assert work.begun == 6 - left  # before another can begin, which it may while one leaves
        leader = next(one for one in many if one.working)
        await leader.__aexit__(None, None, None)
        many.remove(leader)
    assert work.running == 0
    assert await network.holder() is None


async def test_work_that_returns_has_ended(network: Network) -> None:
    work = Work()
    work.returns = True
    await Elected(Lease(network, "a"), work).run()
    assert work.begun == 1
    assert await network.holder() is None
    async with Elected(Lease(network, "a"), work):
        await until(lambda: work.begun == 2)


async def test_it_stops_when_the_lease_is_lost_and_begins_when_it_has_it_again(
    network: Network, events: list[Event]
) -> None:
    work = Work()
    async with Elected(Lease(network, "a", length=0.3, observer=events.append), work):
        await until(lambda: work.running == 1)
        await network.redis.execute("SET", "lease:{a}", "somebody", "PX", 600)
        await until(lambda: work.running == 0)
        assert await network.holder() == b"somebody"
        await until(lambda: work.running == 1)
    kinds = [event.kind for event in events if isinstance(event, LeaseEvent)]
    assert kinds == ["acquired", "lost", "acquired", "released"]


async def test_work_that_finds_the_lease_lost_waits_for_it_again(
    network: Network, events: list[Event]
) -> None:
    begun = 0

    async def work(lease: Lease) -> None:
        nonlocal begun
        begun += 1
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        lease.check()

    async with Elected(Lease(network, "a", length=0.3, observer=events.append), work):
        await until(lambda: begun == 1)
        await network.redis.execute("DEL", "lease:{a}")
        await until(lambda: begun == 2)
    assert "failed" not in [event.kind for event in events if isinstance(event, LeaseEvent)]


async def test_a_lost_lease_of_another_is_a_failure(network: Network, events: list[Event]) -> None:
    work = Work()
    work.raises = LeaseLost("another's")
    elected = Elected(Lease(network, "a", observer=events.append), work, on_error="raise")
    with pytest.raises(LeaseLost, match="another's"):
        await elected.run()
    assert work.begun == 1
    kinds = [event.kind for event in events if isinstance(event, LeaseEvent)]
    assert kinds == ["acquired", "released", "failed"]


@pytest.mark.parametrize("error", [NotOpen("a file"), ConfigurationError("a row")], ids=repr)
async def test_a_fault_of_the_work_is_not_the_lease_s(network: Network, error: Exception) -> None:
    work = Work()
    work.raises = error
    async with Elected(Lease(network, "a"), work, restart_after=0.01):
        await until(lambda: work.begun == 2)
        work.raises = None
        await until(lambda: work.running == 1)


async def fail_in_a_group() -> None:
    """On Python 3.11 and 3.12 `task.cancelling()` stays one higher."""

    async def bad() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async with asyncio.TaskGroup() as group:
        group.create_task(bad())


async def test_a_task_group_that_failed_does_not_end_it(
    network: Network, events: list[Event]
) -> None:
    begun = 0

    async def work(_: Lease) -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            await fail_in_a_group()
        with suppress(ExceptionGroup):
            await fail_in_a_group()
        await asyncio.sleep(30)

    lease = Lease(network, "a", length=0.3, observer=events.append)
    async with Elected(lease, work, restart_after=0.01):
        await until(lambda: begun == 2 and lease.held)
        await network.redis.execute("DEL", "lease:{a}")
        await until(lambda: begun == 3 and lease.held)
    kinds = [event.kind for event in events if isinstance(event, LeaseEvent)]
    assert kinds[:3] == ["acquired", "released", "failed"]
    assert kinds[3:] == ["acquired", "lost", "acquired", "released"]


async def test_who_is_cancelled_on_leaving_waits_for_the_end(network: Network) -> None:
    ending, may_end = asyncio.Event(), asyncio.Event()

    async def work(_: Lease) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ending.set()
            await may_end.wait()

    elected = Elected(Lease(network, "a"), work)

    async def block() -> None:
        async with elected:
            await until(lambda: elected.working)

    leaving = asyncio.create_task(block())
    await ending.wait()
    leaving.cancel()
    await asyncio.sleep(0)
    assert not leaving.done()
    assert elected.working
    with pytest.raises(SymphoniaError, match="open already"):
        await elected.__aenter__()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert await network.holder() is None
    async with elected:
        pass


async def test_a_cancellation_of_run_reaches_work_that_swallows_the_first(
    network: Network,
) -> None:
    swallowed = 0

    async def work(_: Lease) -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                swallowed += 1

    elected = Elected(Lease(network, "a"), work)
    running = asyncio.create_task(elected.run())
    await until(lambda: elected.working)
    for n in range(1, 4):
        running.cancel()
        await until(lambda n=n: swallowed == n)  # type: ignore[misc]
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await network.holder() is None


@pytest.mark.parametrize("error", [ValueError("bad"), asyncio.CancelledError()], ids=repr)
async def test_work_that_fails_lets_others_and_begins_again(
    network: Network, events: list[Event], error: BaseException
) -> None:
    work = Work()
    work.raises = error
    lease = Lease(network, "a", observer=events.append)
    async with Elected(lease, work, restart_after=0.01):
        await until(lambda: work.begun >= 3)
        work.raises = None
        await until(lambda: work.running == 1)
    failed = [event for event in events if isinstance(event, LeaseEvent) and event.kind == "failed"]
    assert len(failed) == work.begun - 1
    assert failed[0].reason == repr(error)
    assert 0.005 <= failed[0].duration <= 0.01
    assert 0.01 <= failed[1].duration <= 0.02
    assert network.verbs.count("release") == work.begun


async def test_work_that_fails_may_end_it(network: Network, events: list[Event]) -> None:
    work = Work()
    work.raises = ValueError("bad")
    elected = Elected(Lease(network, "a", observer=events.append), work, on_error="raise")
    with pytest.raises(ValueError, match="bad"):
        await elected.run()
    await elected.__aenter__()
    await until(lambda: [getattr(event, "kind", "") for event in events].count("failed") == 2)
    with pytest.raises(ValueError, match="bad"):
        await elected.__aexit__(None, None, None)
    assert [event.warning() for event in events][2] == (
        "work under lease 'a'",
        "failed",
        "ValueError('bad'); it ended",
    )


async def test_an_error_of_the_block_comes_first(network: Network) -> None:
    work = Work()
    work.raises = ValueError("bad")

    async def block() -> None:
        async with Elected(Lease(network, "a"), work, on_error="raise"):
            await until(lambda: work.begun == 1 and "release" in network.verbs)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await block()


async def test_a_client_that_is_not_open_is_no_reason_to_wait(network: Network) -> None:
    network.raises["acquire"] = NotOpen("the client is not open")
    with pytest.raises(NotOpen):
        await Elected(Lease(network, "a"), Work()).run()


async def test_it_runs_once(network: Network) -> None:
    elected = Elected(Lease(network, "a"), Work())
    async with elected:
        with pytest.raises(SymphoniaError, match="open already"):
            await elected.run()
        with pytest.raises(SymphoniaError, match="open already"):
            await elected.__aenter__()
    with pytest.raises(NotOpen):
        await elected.__aexit__(None, None, None)
    async with elected:
        pass


async def test_a_cancelled_run_gives_the_lease_back(network: Network) -> None:
    work = Work()
    running = asyncio.create_task(Elected(Lease(network, "a"), work).run())
    await until(lambda: work.running == 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert work.running == 0
    assert await network.holder() is None


class Stubborn:
    """Work that ends its last breath with an error, as cleaning up over a lost connection does."""

    def __init__(self, error: Exception) -> None:
        self.begun = 0
        self.error = error

    async def __call__(self, _: Lease) -> None:
        self.begun += 1
        try:
            await asyncio.sleep(30)
        finally:
            raise self.error


@pytest.mark.parametrize("error", [ValueError("bad"), LeaseLost("gone")], ids=repr)
async def test_work_that_fails_while_it_is_cancelled_has_ended(
    network: Network, error: Exception
) -> None:
    work = Stubborn(error)
    elected = Elected(Lease(network, "a"), work, restart_after=0.001)
    await elected.__aenter__()
    await until(lambda: work.begun == 1)
    with pytest.raises(type(error)):
        async with asyncio.timeout(10):
            await elected.__aexit__(None, None, None)
    running = asyncio.create_task(elected.run())
    await until(lambda: work.begun == 2)
    running.cancel()
    with pytest.raises(type(error)):
        await asyncio.wait_for(running, 10)
    assert await network.holder() is None


async def test_a_task_that_was_cancelled_before_may_run_it(network: Network) -> None:
    work = Work()
    work.raises = ValueError("once")

    async def last_words() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            await Elected(Lease(network, "a"), work, restart_after=0.001).run()

    task = asyncio.create_task(last_words())
    await asyncio.sleep(0)
    task.cancel()
    await until(lambda: work.begun == 2)
    work.raises, work.returns = None, True
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_that_is_not_async_is_named_and_not_repeated(
    network: Network, events: list[Event]
) -> None:
    called: list[Lease] = []
    work: Any = called.append
    elected = Elected(Lease(network, "a", observer=events.append), work, restart_after=0.001)
    with pytest.raises(ConfigurationError, match=r"work=.*append.* returned None.*async function"):
        await elected.run()
    assert len(called) == 1
    assert await network.holder() is None


async def test_work_that_swallows_its_cancellation_is_told_of_and_cancelled_again(
    network: Network, events: list[Event]
) -> None:
    begun: list[int] = []
    caught: list[BaseException] = []

    async def work(lease: Lease) -> None:
        begun.append(lease.check())
        while len(begun) == 1 and len(caught) < 3:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError as error:
                caught.append(error)
        await asyncio.sleep(30 if len(begun) > 1 else 0)

    lease = Lease(network, "a", length=0.3, observer=events.append)
    async with Elected(lease, work) as elected:
        await until(lambda: begun)
        network.refuses = {"renew"}
        await until(lambda: len(caught) == 1)
        network.refuses = set()
        assert not elected.working
        other = Lease(network, "a", length=0.3)
        await other.acquire()
        number = other.check()
        await other.release()
        await until(lambda: len(begun) == 2)
        kinds = [event.kind for event in events if isinstance(event, LeaseEvent)]
        assert kinds[:5] == ["acquired", "lost", "overrun", "overrun", "overrun"]
        overruns = [event for event in events if getattr(event, "kind", "") == "overrun"]
        lengths = [event.duration for event in overruns if isinstance(event, LeaseEvent)]
        assert lengths == sorted(lengths)
        assert begun[0] < number < begun[1]
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def watch_without_a_lease() -> None:
    """The lease is forgotten."""


async def watch_by_parts(_: Lease) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("work", [min, type("Bound", (), {"__call__": Work.__call__})()], ids=str)
def test_what_cannot_be_seen_at_once_is_let_in(work: Any) -> None:
    """`min` does not say what it takes."""
    assert not Elected(Lease(Network(), "a"), work).working


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lease": "a"}, "lease='a': expected a Lease"),
        ({"lease": Lease(Network(), "a", on_lost="raise")}, "on_lost='raise'"),
        ({"lease": Lease(Network(), "a", timeout=5)}, "timeout=5"),
        ({"work": None}, "work=None"),
        ({"work": Work}, "work=<class .*: expected an async function of a Lease"),
        ({"work": watch_without_a_lease}, "takes 0 positional|too many positional"),
        ({"work": watch_by_parts}, "has a `yield`"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"on_error": ["raise"]}, r"on_error=\['raise'\]"),
        ({"restart_after": 0}, "restart_after=0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_options_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Elected(**({"lease": Lease(Network(), "a"), "work": Work()} | options))
