"""A cancellation at each await of a lease: nothing is left behind, and the object works again."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from symphonia_perf._core.broadcast import MemoryBroadcast
from symphonia_perf.errors import LeaseLost, LeaseTimeout
from symphonia_perf.redis import Elected, Lease, _lease_rules
from symphonia_perf.redis._cancelling import Cancelling
from tests.cancelled import Cancelled
from tests.unit.redis.lease_commands import Network, no_task_is_left

KEY = "lease:{a}"
OTHER = b"10000 host:1:other"
MOST = 500  # awaits; more would be a loop without end


class Wide(Network):
    """With an await before a command is sent, and one when it was answered."""

    async def execute(self, *args: Any, deadline: Any = None) -> Any:
        await asyncio.sleep(0)
        try:
            return await super().execute(*args, deadline=deadline)
        finally:
            await asyncio.sleep(0)

    async def is_held_by_another(self, milliseconds: int) -> None:
        await self.redis.execute("SET", KEY, OTHER, "PX", milliseconds)


Scene: TypeAlias = Callable[[Wide, Lease], Awaitable[Coroutine[Any, Any, object]]]
"""Sets the stage, and gives what is cancelled."""


async def acquire(_: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    return lease.acquire()


async def wait_for_another(network: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    await network.is_held_by_another(12)
    return lease.acquire()


async def wait_for_a_message(network: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    lease._wake = MemoryBroadcast()
    return await wait_for_another(network, lease)


async def give_up(network: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    await network.is_held_by_another(10_000)
    lease.timeout = 0.005

    async def wait() -> None:
        with pytest.raises(LeaseTimeout):
            await lease.acquire()

    return wait()


async def ask_twice(network: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    """The first answer is lost."""
    network.loses.add("acquire")

    async def wait() -> None:
        asyncio.get_running_loop().call_later(0.005, network.loses.clear)
        await lease.acquire()

    return wait()


async def try_acquire(_: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    return lease.try_acquire()


async def try_in_vain(network: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    await network.is_held_by_another(10_000)
    return lease.try_acquire()


async def release(_: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    await lease.acquire()
    return lease.release()


async def release_what_is_lost(network: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    await lease.acquire()
    await network.is_held_by_another(10_000)

    async def late() -> None:
        with pytest.raises(LeaseLost):
            await lease.release()

    return late()


async def enter_and_leave(_: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    async def block() -> None:
        async with lease:
            await asyncio.sleep(0)

    return block()


async def fail_inside(_: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    async def block() -> None:
        async with lease:
            raise ZeroDivisionError

    async def failing() -> None:
        with pytest.raises(ZeroDivisionError):
            await block()

    return failing()


async def be_elected(_: Wide, lease: Lease) -> Coroutine[Any, Any, object]:
    async def work(_: Lease) -> None:
        await asyncio.sleep(0)

    return Elected(lease, work).run()


TAKING = [
    acquire,
    wait_for_another,
    wait_for_a_message,
    give_up,
    ask_twice,
    try_acquire,
    try_in_vain,
]
HAVING = [release, release_what_is_lost, enter_and_leave, fail_inside, be_elected]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lease_rules, "_POLL", 0.003)
    monkeypatch.setattr(_lease_rules, "_JITTER", 0.0)


@pytest.mark.parametrize("again", [False, True], ids=["once", "again and again"])
@pytest.mark.parametrize("scene", [*TAKING, *HAVING], ids=lambda scene: scene.__name__)
async def test_a_cancellation_at_any_await(scene: Scene, again: bool) -> None:  # noqa: FBT001
    for at in range(1, MOST):
        network = Wide()
        lease = Lease(network, "a", length=10)
        async with no_task_is_left():
            cancelled = Cancelled(await scene(network, lease), at=at, again=again)
            task = asyncio.create_task(cancelled.run())
            await asyncio.wait({task})
            if cancelled.awaits < at:
                await task
                if lease.held:
                    await lease.release()
                break  # every one of them was tried
            assert task.cancelled()
            assert not lease.held
            assert "renew" not in network.verbs
        # It was given back, also where each await was cancelled.
        assert await network.holder() in {None, OTHER}
        await works(network, lease)
    assert at > (1 if scene in {release, release_what_is_lost, be_elected} else 2)
    await works(network, lease)


@pytest.mark.parametrize("woken", [False, True], ids=["waiting", "woken"])
@pytest.mark.parametrize("order", ["ours", "ours another", "another ours"])
async def test_a_cancel_of_another_in_the_same_turn_is_told(order: str, woken: bool) -> None:  # noqa: FBT001
    gate = asyncio.Event()
    scopes: list[Cancelling] = []

    async def block() -> bool:
        scopes.append(Cancelling("ours"))
        try:
            await gate.wait()
        except asyncio.CancelledError as error:
            return scopes[0].close(error)
        raise AssertionError

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    if woken:
        gate.set()
    for who in order.split():
        (scopes[0] if who == "ours" else task).cancel()
    assert await task is (order == "ours")
    assert task.cancelling() == order.count("another")


async def works(network: Wide, lease: Lease) -> None:
    """The object may be used as if nothing had happened."""
    network.loses.clear()
    await network.redis.execute("DEL", KEY)
    async with asyncio.timeout(10), lease:
        assert lease.check() > 0
    assert await network.holder() is None
