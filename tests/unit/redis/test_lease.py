"""Holding a lease: what its holder is told, and when, over a server that loses and delays."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis

from symphonia_perf._core.events import Event, LeaseEvent, LeaseKind
from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    LeaseLost,
    LeaseTimeout,
    NotOpen,
    StoreTimeout,
    StoreUnavailable,
    SymphoniaError,
)
from symphonia_perf.redis import Lease, PubSub, wrap
from symphonia_perf.redis.scripts import LuaScript
from tests.unit.redis.lease_commands import Network, no_task_is_left, until

CHANNEL = "lease:{a}"


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with no_task_is_left():
        yield Network()


@pytest.fixture
def events() -> list[Event]:
    return []


def told(events: list[Event]) -> list[str]:
    return [event.kind for event in events if isinstance(event, LeaseEvent)]


async def test_it_is_held_inside_and_free_outside(network: Network, events: list[Event]) -> None:
    lease = Lease(network, "a", observer=events.append)
    assert not lease.held
    async with lease as entered:
        assert entered is lease
        assert lease.held
        first = lease.check()
        assert (await network.holder() or b"").startswith(b"10000 ")
        assert f":{os.getpid()}:".encode() in (await network.holder() or b"")
    assert not lease.held
    assert await network.holder() is None
    async with lease:
        assert lease.check() > first
    assert told(events) == ["acquired", "released"] * 2


async def test_the_first_holder_of_a_server_needs_two_round_trips(network: Network) -> None:
    async with Lease(network, "a"):
        pass
    assert network.verbs == ["acquire", "release"]


class Slotted:
    """A client of one's own that cannot be referred to weakly."""

    __slots__ = ("network",)
    __hash__ = None  # type: ignore[assignment]  # as a dataclass has none

    def __init__(self, network: Network) -> None:
        self.network = network

    async def execute(self, *args: Any, deadline: Any = None) -> Any:
        return await self.network.execute(*args, deadline=deadline)

    async def execute_many(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def script(self, lua: str) -> LuaScript:
        return LuaScript(self, lua)


async def test_any_client_will_do(network: Network) -> None:
    for _ in range(2):
        async with Lease(Slotted(network), "a"):
            assert await network.holder() is not None
    assert network.verbs == ["acquire", "release"] * 2


async def test_who_does_not_wait_is_told_no(network: Network) -> None:
    one, other = Lease(network, "a"), Lease(network, "a")
    assert await one.try_acquire()
    assert not await other.try_acquire()
    await one.release()
    assert await other.try_acquire()
    await other.release()


async def test_an_object_has_one_holder(network: Network) -> None:
    lease = Lease(network, "a")
    async with lease:
        for attempt in (lease.acquire, lease.try_acquire, lease.__aenter__):
            with pytest.raises(SymphoniaError, match="holds lease 'a' already"):
                await attempt()
        assert lease.held
    with pytest.raises(NotOpen):
        await lease.release()


async def test_what_is_still_waited_for_cannot_be_released(network: Network) -> None:
    async with Lease(network, "a"):
        lease = Lease(network, "a")
        waiting = asyncio.create_task(lease.acquire())
        await until(lambda: network.verbs.count("acquire") == 2)
        with pytest.raises(NotOpen, match="still waited for"):
            await lease.release()
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_it_may_be_released_inside(network: Network) -> None:
    async with Lease(network, "a") as lease:
        await lease.release()
        assert await network.holder() is None
        with pytest.raises(NotOpen, match="not held here"):
            lease.check()


async def test_a_foreign_value_at_the_key_is_named(network: Network) -> None:
    await network.redis.execute("SET", CHANNEL, "mine")
    with pytest.raises(LeaseTimeout, match=r"'lease:\{a\}' has a value of somebody else: 'mine'"):
        await Lease(network, "a", timeout=0).acquire()


async def test_leases_share_the_log(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        lease = Lease(network, "held back")
        await lease.acquire()
        await network.redis.execute("DEL", "lease:{held back}")
        with suppress(LeaseLost):
            await lease.release()
    assert caplog.text.count("lease 'held back' was lost") <= 1


async def test_it_is_not_acquired_again_inside(network: Network) -> None:
    """Whoever released a lost lease has noticed, and is not cancelled a second time."""
    lease = Lease(network, "a", length=0.3)
    async with lease:
        await network.redis.execute("DEL", CHANNEL)
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        with pytest.raises(LeaseLost):
            await lease.release()
        for attempt in (lease.acquire, lease.try_acquire, lease.__aenter__):
            with pytest.raises(SymphoniaError, match="block that has not ended"):
                await attempt()
        await asyncio.sleep(0.1)  # longer than until the second cancellation
    async with lease:
        assert lease.held


async def test_it_is_renewed_while_it_is_held(network: Network) -> None:
    async with Lease(network, "a", length=1.2) as lease:
        number = lease.check()
        await until(lambda: network.verbs.count("renew") >= 4)
        assert lease.check() == number
    assert network.deadlines[1:-1] == [pytest.approx(0.2)] * network.verbs.count("renew")


async def test_another_holder_takes_it_away(network: Network, events: list[Event]) -> None:
    lease = Lease(network, "a", length=0.3, observer=events.append)

    async def hold() -> None:
        async with lease:
            await network.redis.execute("SET", CHANNEL, "somebody")
            await asyncio.sleep(30)

    with pytest.raises(LeaseLost, match="gave it to another") as lost:
        await hold()
    assert isinstance(lost.value.__cause__, asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert told(events) == ["acquired", "lost"]
    assert await network.holder() == b"somebody"
    with pytest.raises(NotOpen):
        lease.check()


@pytest.mark.parametrize("fault", ["loses", "refuses"])
async def test_without_a_renewal_it_is_lost_before_its_end(
    network: Network, events: list[Event], fault: str
) -> None:
    getattr(network, fault).add("renew")
    if fault == "loses":
        network.gates["renew"] = asyncio.Event()  # never: only the lease's own clock can tell
    loop = asyncio.get_running_loop()

    async def hold() -> None:
        async with Lease(network, "a", length=0.5, observer=events.append) as lease:
            began = loop.time()
            try:
                await asyncio.sleep(30)
            finally:
                assert not lease.held
                with pytest.raises(LeaseLost):
                    lease.check()
                assert loop.time() - began > 0.4

    with pytest.raises(LeaseLost, match=r"no renewal within 0\.45 s"):
        await hold()
    assert told(events)[:2] == ["acquired", "lost"]


async def test_a_renewal_whose_reply_is_lost_is_tried_again(network: Network) -> None:
    network.loses.add("renew")
    async with Lease(network, "a", length=1.5) as lease:
        await until(lambda: network.verbs.count("renew") == 2)
        network.loses.clear()
        await until(lambda: network.verbs.count("renew") == 4)
        assert lease.held


async def test_only_the_end_tells_where_that_is_wanted(network: Network) -> None:
    ended = asyncio.Event()

    async def hold() -> None:
        async with Lease(network, "a", length=0.3, on_lost="raise") as lease:
            await network.redis.execute("DEL", CHANNEL)
            await until(lambda: not lease.held)
            ended.set()

    with pytest.raises(LeaseLost):
        await hold()
    assert ended.is_set()


async def test_the_end_tells_although_nothing_was_noticed(
    network: Network, events: list[Event]
) -> None:
    with pytest.raises(LeaseLost):
        async with Lease(network, "a", observer=events.append):
            await network.redis.execute("DEL", CHANNEL)
    assert told(events) == ["acquired", "lost"]


async def test_the_clock_alone_is_enough_to_know(
    network: Network, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pause of the whole process: no timer has fired, no message has come."""
    from symphonia_perf.redis import _lease_keeper
    from symphonia_perf.redis import lease as module

    now = module.local_time

    async def hold() -> None:
        async with Lease(network, "a", observer=events.append) as lease:
            monkeypatch.setattr(_lease_keeper, "local_time", lambda: now() + 12)
            monkeypatch.setattr(module, "local_time", lambda: now() + 12)
            assert not lease.held
            lease.check()

    with pytest.raises(LeaseLost, match="stopped or blocked"):
        await hold()
    assert told(events) == ["acquired", "lost", "overrun", "released"]


async def test_a_renewal_that_is_answered_too_late_does_not_count(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from symphonia_perf.redis import _lease_keeper

    now = _lease_keeper.local_time
    network.gates["renew"] = asyncio.Event()
    lease = Lease(network, "a", length=1.5)
    await lease.acquire()
    await until(lambda: "renew" in network.verbs)
    monkeypatch.setattr(_lease_keeper, "local_time", lambda: now() + 2)
    network.gates["renew"].set()
    await asyncio.sleep(0.01)
    assert not lease.held
    with pytest.raises(LeaseLost):
        await lease.release()


async def test_a_process_that_wakes_too_late_asks_for_nothing(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from symphonia_perf.redis import _lease_keeper

    now = _lease_keeper.local_time
    lease = Lease(network, "a", length=0.6)
    await lease.acquire()
    monkeypatch.setattr(_lease_keeper, "local_time", lambda: now() + 2)
    await asyncio.sleep(0.3)
    assert network.verbs == ["acquire"]
    with pytest.raises(LeaseLost):
        await lease.release()


async def test_a_timer_that_comes_early_is_set_again(network: Network) -> None:
    network.gates["renew"] = asyncio.Event()
    async with Lease(network, "a", length=1.5, on_lost="raise") as lease:
        await until(lambda: "renew" in network.verbs)
        keeper = lease._keeper
        assert keeper is not None
        keeper._timer.cancel()
        keeper._watch_end()
        assert lease.held
        await until(lambda: keeper._lost)
        with pytest.raises(LeaseLost):
            await lease.release()


async def test_a_block_that_fails_of_itself_keeps_its_error(network: Network) -> None:
    async def hold() -> None:
        async with Lease(network, "a"):
            await network.redis.execute("DEL", CHANNEL)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await hold()


async def test_a_cancel_from_outside_stays_one(network: Network) -> None:
    """Also when the lease is lost at the same moment."""
    entered = asyncio.Event()

    async def hold() -> None:
        async with Lease(network, "a", length=0.3):
            entered.set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                await network.redis.execute("DEL", CHANNEL)
                raise

    holding = asyncio.create_task(hold())
    await entered.wait()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding


async def test_a_cancel_while_it_is_lost_stays_one(network: Network) -> None:
    async def hold() -> None:
        async with Lease(network, "a", length=0.3) as lease:
            await network.redis.execute("DEL", CHANNEL)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                assert not lease.held
                task = asyncio.current_task()
                assert task is not None
                task.cancel()  # somebody else, meanwhile
                await asyncio.sleep(0)

    holding = asyncio.create_task(hold())
    with pytest.raises(asyncio.CancelledError):
        await holding


async def test_a_task_group_that_failed_is_no_cancel(network: Network) -> None:
    async def bad() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def fail_and_lose(*, cancelled: bool) -> None:
        async with Lease(network, "a", length=0.3):
            with suppress(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(bad())  # 3.11 and 3.12 leave task.cancelling() one higher
            await network.redis.execute("DEL", CHANNEL)
            try:
                await asyncio.sleep(30)
            finally:
                if cancelled:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                    await asyncio.sleep(30)

    with pytest.raises(LeaseLost):
        await asyncio.create_task(fail_and_lose(cancelled=False))
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(fail_and_lose(cancelled=True))


async def test_a_cancel_on_its_way_before_it_is_lost_stays_one(network: Network) -> None:
    entered = asyncio.Event()

    async def block() -> None:
        async with Lease(network, "a", length=0.3):
            entered.set()
            try:
                await asyncio.sleep(30)
            finally:
                await network.redis.execute("DEL", CHANNEL)
                await asyncio.sleep(30)  # until it is lost

    task = asyncio.create_task(block())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_block_that_catches_the_cancel_is_told_all_the_same(network: Network) -> None:
    async def hold() -> None:
        async with Lease(network, "a", length=0.3):
            await network.redis.execute("DEL", CHANNEL)
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(30)

    with pytest.raises(LeaseLost):
        await hold()
    await asyncio.sleep(0)  # not cancelled any more


async def test_a_lost_lease_that_is_released_inside(network: Network) -> None:
    async def hold() -> None:
        async with Lease(network, "a", length=0.3) as lease:
            await network.redis.execute("DEL", CHANNEL)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                with pytest.raises(LeaseLost):
                    await lease.release()
                raise

    with pytest.raises(LeaseLost):
        await hold()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_grant_whose_reply_is_lost_is_asked_for_again(
    network: Network, events: list[Event]
) -> None:
    network.loses.add("acquire")
    lease = Lease(network, "a", observer=events.append)
    acquiring = asyncio.create_task(lease.acquire())
    await until(lambda: "unreachable" in told(events))
    network.loses.clear()
    await acquiring
    assert lease.held
    await lease.release()
    assert network.verbs.count("acquire") == 2


@pytest.mark.parametrize("how", ["try_acquire", "acquire", "cancel"])
async def test_who_gives_up_leaves_nothing_behind(network: Network, how: str) -> None:
    """The server granted it, and nobody knows."""
    network.loses.add("acquire")
    if how == "cancel":
        network.gates["acquire"] = asyncio.Event()
        acquiring = asyncio.create_task(Lease(network, "a").acquire())
        await until(lambda: network.verbs == ["acquire"])
        assert await network.holder() is not None
        acquiring.cancel()
        await asyncio.wait({acquiring})
        assert acquiring.cancelled()
    elif how == "acquire":
        with pytest.raises(LeaseTimeout, match="may have been executed") as raised:
            await Lease(network, "a", timeout=0).acquire()
        assert isinstance(raised.value.__cause__, StoreTimeout)
    else:
        with pytest.raises(StoreTimeout):
            await Lease(network, "a").try_acquire()
    # Nobody waits longer than 0.1 s for it, and a busy machine may take longer.
    await until(lambda: network.verbs == ["acquire", "release"])
    assert await network.holder() is None


async def test_who_gives_up_while_the_server_is_away_says_why(network: Network) -> None:
    network.refuses |= {"acquire", "release"}
    with pytest.raises(StoreUnavailable):
        await Lease(network, "a").try_acquire()
    with pytest.raises(LeaseTimeout, match="not sent"):
        await Lease(network, "a", timeout=0).acquire()


async def test_a_grant_that_comes_too_late_is_none(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from symphonia_perf.redis import lease as module

    now = module.local_time
    monkeypatch.setattr(module, "local_time", lambda: now() + 9.5)
    assert not await Lease(network, "a").try_acquire()
    assert await network.holder() is None


async def test_a_refusal_is_no_reason_to_wait(network: Network) -> None:
    network.raises["acquire"] = CommandError("NOPERM", code="NOPERM")
    lease = Lease(network, "a")
    with pytest.raises(CommandError, match="NOPERM"):
        await lease.acquire()
    network.raises.clear()
    async with lease:
        assert lease.held


@pytest.mark.parametrize("fault", ["loses", "refuses"])
async def test_a_lease_that_cannot_be_given_back_ends_by_itself(
    network: Network, events: list[Event], fault: str
) -> None:
    getattr(network, fault).add("release")
    async with Lease(network, "a", observer=events.append):
        pass
    assert told(events) == ["acquired", "kept"]


async def test_a_cancelled_release_is_a_cancel(network: Network) -> None:
    network.gates["release"] = asyncio.Event()
    lease = Lease(network, "a")
    await lease.acquire()
    releasing = asyncio.create_task(lease.release())
    await until(lambda: "release" in network.verbs)
    releasing.cancel()
    await asyncio.wait({releasing})
    assert releasing.cancelled()
    assert await network.holder() is None
    network.gates.clear()
    async with lease:
        assert lease.held


async def test_a_thread_may_check(network: Network) -> None:
    async with Lease(network, "a") as lease:
        assert await asyncio.to_thread(lease.check) == lease.check()


async def test_another_loop_is_refused(network: Network) -> None:
    async with Lease(network, "a") as lease:
        caught: list[BaseException] = []

        def elsewhere() -> None:
            for use in (lease.acquire, lease.release):
                try:
                    asyncio.run(use())
                except BaseException as error:  # noqa: BLE001 - looked at below
                    caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert [type(error).__name__ for error in caught] == ["SymphoniaError", "WrongLoop"]
        assert lease.held


async def test_a_forked_child_does_not_hold_it(network: Network) -> None:
    async with Lease(network, "a") as lease:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            said = [str(lease.held)]
            for use in (lease.check, lambda: asyncio.run(lease.__aexit__(None, None, None))):
                try:
                    use()
                except BaseException as error:  # noqa: BLE001 - told to the parent
                    said.append(type(error).__name__)
            os.write(writing, " ".join(said).encode())
            os._exit(0)
        os.close(writing)
        said = await asyncio.to_thread(os.read, reading, 100)
        os.close(reading)
        await asyncio.to_thread(os.waitpid, pid, 0)
        assert said == b"False NotOpen NotOpen"
        assert lease.held
        assert await network.holder() is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "a{b}"}, "name='a{b}'"),
        ({"length": 0.01}, "length=0.01"),
        ({"timeout": -1}, "timeout=-1"),
        ({"on_lost": "ignore"}, "on_lost='ignore'"),
        ({"on_lost": ["raise"]}, r"on_lost=\['raise'\]"),
        ({"after_restart": True}, "after_restart=True"),
        ({"after_restart": {}}, r"after_restart=\{\}"),
        ({"wake": "redis"}, r"wake='redis'.*redis\.pubsub\(\)"),
        ({"wake": PubSub}, r"wake=<class.*redis\.pubsub\(\)"),
        ({"wake": wrap(FakeAsyncRedis())}, r"wake=<.*redis\.pubsub\(\)"),
        ({"observer": 5}, "observer=5: expected a function"),
        ({"commands": FakeAsyncRedis()}, r"Redis.*Lease\(wrap\(client\), 'a'\)"),
        ({"commands": Network}, r"commands=<class .*Network'>: expected what connect\(\)"),
        ({"commands": None}, "commands=None: expected what connect"),
        ({"length": "10"}, "length='10': expected more than 0 seconds"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_options_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Lease(**({"commands": Network(), "name": "a"} | options))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("acquired", None),
        ("released", None),
        ("unreachable", "lease 'a' cannot be asked for"),
        ("kept", "lease 'a' could not be given back"),
        ("lost", "lease 'a' was lost"),
        ("overrun", "lease 'a' had ended before its work"),
        ("failed", "work under lease 'a' failed"),
    ],
)
def test_what_is_trouble_is_logged(kind: LeaseKind, said: str | None) -> None:
    warning = LeaseEvent(source="redis", kind=kind, name="a", reason="why").warning()
    if said is None:
        assert warning is None
    else:
        assert warning is not None
        assert f"{warning.what} {warning.happened}".startswith(said)
