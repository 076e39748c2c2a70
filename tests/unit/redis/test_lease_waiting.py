"""Waiting for a lease: how often is asked, what wakes, and when it is over."""

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest

from symphonia_perf._core.broadcast import MemoryBroadcast
from symphonia_perf.errors import LeaseTimeout, NotOpen, StoreTimeout, StoreUnavailable
from symphonia_perf.redis import Lease
from tests.unit.redis.lease_commands import Network, no_task_is_left, until

CHANNEL = "lease:{a}"
OVER = 0.35  # seconds that `timeout` may be exceeded by
SLACK = 1.5  # what a loaded machine may add


@pytest.fixture
async def network() -> AsyncIterator[Network]:
    async with no_task_is_left():
        yield Network()


def most_in_a_second(times: list[float]) -> int:
    """How many of them are within a second of one another."""
    return max(bisect_left(times, first + 1.0) - n for n, first in enumerate(times))


# How often is asked


async def test_a_waiter_asks_at_most_five_times_a_second(network: Network) -> None:
    """Also with the last time, when its time is up, and with the subscription on the way."""
    async with Lease(network, "a"):
        for wake in (None, MemoryBroadcast()):
            network.asked.clear()
            with pytest.raises(LeaseTimeout):
                await Lease(network, "a", timeout=0.8, wake=wake).acquire()
            assert most_in_a_second(network.asked) <= 5
            assert len(network.asked) >= 3


async def test_a_flood_of_messages_makes_no_flood_of_questions(network: Network) -> None:
    broadcast = MemoryBroadcast()
    async with Lease(network, "a"):
        network.asked.clear()
        waiter = Lease(network, "a", wake=broadcast, timeout=0.8)
        waiting = asyncio.create_task(waiter.acquire())
        while not waiting.done():
            await broadcast.publish(CHANNEL, b"")
            await asyncio.sleep(0.005)
        with pytest.raises(LeaseTimeout):
            await waiting
    assert most_in_a_second(network.asked) <= 5
    assert len(network.asked) >= 3


# When it is over


async def test_a_waiter_gives_up_in_time_and_says_who_held_it(network: Network) -> None:
    async with Lease(network, "a"):
        for timeout in (0, 0.05):
            with pytest.raises(LeaseTimeout, match=rf":{os.getpid()}:\w+ holds it, for \d") as told:
                await Lease(network, "a", timeout=timeout).acquire()
            assert isinstance(told.value, TimeoutError)


async def test_a_server_without_a_word_is_not_waited_for_longer(network: Network) -> None:
    network.gates |= {"acquire": asyncio.Event(), "release": asyncio.Event()}
    lease = Lease(network, "a", timeout=0.1)
    began = time.monotonic()
    with pytest.raises(LeaseTimeout, match=r"not ours within 0\.1 s: the server did not answer"):
        await lease.acquire()
    assert 0.1 + OVER - 0.01 < time.monotonic() - began < 0.1 + OVER + SLACK
    assert await network.holder() is None  # it was given back, though nobody said so
    network.gates.clear()
    async with lease:
        assert lease.held


async def test_a_server_that_falls_silent_is_not_waited_for_longer(network: Network) -> None:
    async with Lease(network, "a"):
        waiter = Lease(network, "a", timeout=0.2)
        waiting = asyncio.create_task(waiter.acquire())
        await until(lambda: network.verbs.count("acquire") == 2)
        network.gates["acquire"] = asyncio.Event()
        began = time.monotonic()
        with pytest.raises(LeaseTimeout, match="the server did not answer"):
            await waiting
        assert time.monotonic() - began < 0.2 + OVER + SLACK


async def test_who_asks_once_waits_for_the_answer(network: Network) -> None:
    """As long as the client does, which ends it with an error of its own."""
    network.gates["acquire"] = asyncio.Event()
    lease = Lease(network, "a", timeout=0)
    waiting = asyncio.create_task(lease.acquire())
    await asyncio.sleep(OVER + 0.05)
    assert not waiting.done()
    network.gates["acquire"].set()
    await waiting
    await lease.release()
    network.loses.add("acquire")
    with pytest.raises(LeaseTimeout, match="may have been executed") as raised:
        await lease.acquire()
    assert isinstance(raised.value.__cause__, StoreTimeout)


async def test_who_is_cancelled_does_not_wait_for_a_release_without_an_answer(
    network: Network,
) -> None:
    network.gates |= {"acquire": asyncio.Event(), "release": asyncio.Event()}
    waiting = asyncio.create_task(Lease(network, "a").acquire())
    await until(lambda: "acquire" in network.verbs)
    began = time.monotonic()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert time.monotonic() - began < OVER + SLACK
    assert network.verbs == ["acquire", "release"]


async def test_a_timeout_that_is_not_the_waiters_is_raised(network: Network) -> None:
    network.raises["acquire"] = TimeoutError("of somebody who knows no errors of ours")
    with pytest.raises(TimeoutError, match="of somebody") as raised:
        await Lease(network, "a", timeout=5).acquire()
    assert not isinstance(raised.value, LeaseTimeout)


# What wakes


async def test_a_waiter_gets_it_when_it_is_given_back(network: Network) -> None:
    lease = Lease(network, "a")
    await lease.acquire()
    waiter = Lease(network, "a")
    waiting = asyncio.create_task(waiter.acquire())
    await until(lambda: network.verbs.count("acquire") == 2)
    await lease.release()
    async with asyncio.timeout(5):
        await waiting
    assert waiter.held
    await waiter.release()


async def test_a_message_wakes_a_waiter(network: Network) -> None:
    broadcast = MemoryBroadcast()
    lease = Lease(network, "a", length=60)
    await lease.acquire()
    waiter = Lease(network, "a", wake=broadcast)
    waiting = asyncio.create_task(waiter.acquire())
    await until(lambda: network.verbs.count("acquire") == 3)  # again, once it listens
    await lease.release()
    await broadcast.publish(CHANNEL, b"")
    async with asyncio.timeout(5):
        await waiting
    assert network.verbs.count("acquire") == 4
    await waiter.release()


async def test_a_waiter_that_hears_nothing_asks_when_the_holder_may_have_died(
    network: Network,
) -> None:
    await network.redis.execute("SET", CHANNEL, "400 host:1:dead", "PX", 400)
    async with asyncio.timeout(5), Lease(network, "a", wake=MemoryBroadcast()) as lease:
        assert lease.held
    assert 3 <= network.verbs.count("acquire") <= 4


class Deaf:
    """A broadcast that fails when it is listened to, or ends at once."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    async def publish(self, channel: str, payload: str | bytes) -> None:
        raise NotImplementedError

    def subscribe(self, *channels: str, **options: Any) -> Self:  # noqa: ARG002 - the role's
        return self

    async def __aenter__(self) -> Self:
        if self.fault == "enter":
            raise NotOpen("the client is not open")
        if self.fault == "hangs":
            await asyncio.sleep(30)
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self.fault == "error":
            raise StoreUnavailable("it went away")
        raise StopAsyncIteration


@pytest.mark.parametrize("fault", ["enter", "error", "end"])
async def test_a_waiter_that_cannot_listen_asks(network: Network, fault: str) -> None:
    lease, waiter = Lease(network, "a"), Lease(network, "a", wake=Deaf(fault))
    await lease.acquire()
    waiting = asyncio.create_task(waiter.acquire())
    await until(lambda: network.verbs.count("acquire") >= 4)
    await lease.release()
    async with asyncio.timeout(5):
        await waiting
    await waiter.release()


async def test_a_broadcast_that_does_not_let_in_is_not_waited_for(network: Network) -> None:
    async with Lease(network, "a"):
        network.asked.clear()
        began = time.monotonic()
        with pytest.raises(LeaseTimeout, match="holds it"):
            await Lease(network, "a", timeout=0.3, wake=Deaf("hangs")).acquire()
        assert time.monotonic() - began < 0.3 + OVER + SLACK
        assert len(network.asked) == 2
