"""Leases among real processes on a real server: kill -9, SIGSTOP, restarts, many contenders."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis, RedisCluster

from symphonia_perf._core.events import Event, LeaseEvent
from symphonia_perf.errors import LeaseLost, LeaseTimeout, StoreUnavailable
from symphonia_perf.redis import Commands, Elected, Lease, RedisClient, connect, wrap
from symphonia_perf.testing.servers import RedisServer, redis_server
from tests.integration.redis.listening import answers

pytestmark = pytest.mark.redis

PROGRAM = Path(__file__).with_name("lease_process.py")
# What a loaded machine may add before a test calls it a hang.
SLACK = 10.0


class Contender:
    """A process that wants the lease."""

    def __init__(self, what: str, url: str, *numbers: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), what, url, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(redis_url: str) -> Iterator[Callable[..., Contender]]:
    """Starts contenders, and ends them."""
    started: list[Contender] = []

    def start(what: str, *numbers: float) -> Contender:
        started.append(Contender(what, redis_url, *numbers))
        return started[-1]

    yield start
    for contender in started:
        contender.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[RedisClient]:
    async with connect(redis_url, deadline=5.0) as client:
        yield client


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with redis_server() as started:
        yield started


async def until(condition: Callable[[], Any], patience: float = SLACK) -> None:
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a server
            await asyncio.sleep(0.005)


async def log(redis: Commands) -> list[tuple[int, int, str]]:
    """Who wrote, with which number, and what."""
    lines = [line.split() for line in await redis.execute("LRANGE", "log", 0, -1)]
    return [(int(pid), int(number), what.decode()) for pid, number, what in lines]


async def holder(redis: Commands) -> int | None:
    """The process that holds it now, as its token tells."""
    token = await redis.execute("GET", "lease:{a}")
    return int(token.split(b":")[-2]) if token else None


def smaller(entries: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """What was written after somebody else had written a greater number."""
    greatest, found = 0, []
    for entry in entries:
        if entry[1] < greatest:
            found.append(entry)
        greatest = max(greatest, entry[1])
    return found


async def calls(redis: Commands) -> dict[str, int]:
    """How often the server was told to run a script, by the command."""
    stats = (await redis.execute("INFO", "commandstats")).decode()
    return {
        line.split(":")[0].removeprefix("cmdstat_"): int(line.split("calls=")[1].split(",")[0])
        for line in stats.splitlines()
        if line.startswith("cmdstat_eval")
    }


async def worked(redis: Commands, *, times: int) -> None:
    """Return when the lease has been held so often."""
    async with asyncio.timeout(60):
        while len(await log(redis)) < 2 * times:  # noqa: ASYNC110 - others write it
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_hundred_contenders_whose_holders_are_killed(
    redis: RedisClient, start: Callable[..., Contender]
) -> None:
    contenders = {one.pid: one for one in (start("contend", 2.0, 12, 60) for _ in range(8))}
    await worked(redis, times=20)
    killed = 0
    ends = time.monotonic() + 5
    while time.monotonic() < ends or killed < 3:
        pid = await holder(redis)
        if pid in contenders:
            contenders.pop(pid).send(signal.SIGKILL)
            killed += 1
            one = start("contend", 2.0, 12, 60)
            contenders[one.pid] = one
            await worked(redis, times=len(await log(redis)) // 2 + 50)
        await asyncio.sleep(0.01)
    for one in contenders.values():
        one.send(signal.SIGKILL)
    entries = await log(redis)
    assert smaller(entries) == []
    begun = [number for _, number, what in entries if what == "begin"]
    assert len(set(begun)) == len(begun) > 100
    assert len({pid for pid, *_ in entries}) > 3


@pytest.mark.slow
async def test_holders_that_are_stopped_for_longer_than_the_lease(
    redis: RedisClient, start: Callable[..., Contender]
) -> None:
    contenders = {one.pid: one for one in (start("contend", 1.5, 12, 60) for _ in range(4))}
    await worked(redis, times=20)
    stopped = set()
    while len(stopped) < 3:
        pid = await holder(redis)
        if pid in contenders and pid not in stopped:
            contenders[pid].send(signal.SIGSTOP)
            stopped.add(pid)
            before = len(await log(redis)) // 2
            await worked(redis, times=before + 20)  # the others go on
            contenders[pid].send(signal.SIGCONT)
        await asyncio.sleep(0.01)
    await worked(redis, times=len(await log(redis)) // 2 + 20)
    for one in contenders.values():
        one.send(signal.SIGKILL)
    # Nothing can stop a process between its look at the clock and its write, so the number decides.
    late = smaller(await log(redis))
    assert {pid for pid, *_ in late} <= stopped
    assert len(late) <= len(stopped)


@pytest.mark.slow
async def test_a_hundred_processes(redis: RedisClient, start: Callable[..., Contender]) -> None:
    """Ten seconds, one holder at a time, and at most five questions a second of each."""
    await redis.execute("CONFIG", "RESETSTAT")
    crowd = start("crowd", 5.0, 100, 10)
    assert await asyncio.to_thread(crowd.process.wait, 90) == 0
    assert await asyncio.to_thread(crowd.line) == ""  # none was lost
    entries = await log(redis)
    assert [what for *_, what in entries] == ["begin", "end"] * (len(entries) // 2)
    begun, ended = entries[::2], entries[1::2]
    assert [entry[:2] for entry in begun] == [entry[:2] for entry in ended]
    numbers = [number for _, number, _ in begun]
    assert numbers == sorted(set(numbers))
    assert len({pid for pid, *_ in begun}) > 30
    # Each time it was held took one question and one release; the others were in vain.
    asked = await calls(redis)
    assert asked["eval"] + asked["evalsha"] - 2 * len(begun) <= 100 * 5 * 10


async def test_a_holder_that_was_stopped_learns_it_before_it_writes(
    redis: RedisClient, start: Callable[..., Contender]
) -> None:
    held = start("hold", 1.5)
    first = int(await asyncio.to_thread(held.line))
    held.say()
    assert await asyncio.to_thread(held.line) == "written"
    held.send(signal.SIGSTOP)
    async with Lease(redis, "a", length=5, timeout=SLACK) as lease:
        assert lease.check() > first
        held.say()
        held.send(signal.SIGCONT)
        assert await asyncio.to_thread(held.line) == "LeaseLost"
        assert await asyncio.to_thread(held.process.wait, 10) == 3
        assert lease.held
    assert await log(redis) == [(held.pid, first, "write")]


async def test_a_killed_holder_is_followed_within_the_length(
    redis: RedisClient, start: Callable[..., Contender]
) -> None:
    held = start("hold", 1.0)
    first = int(await asyncio.to_thread(held.line))
    with pytest.raises(LeaseTimeout, match=f":{held.pid}:"):
        await Lease(redis, "a", length=1.0, timeout=1.5).acquire()  # it is renewed
    waiting = asyncio.create_task(Lease(redis, "a", length=1.0).acquire())
    await asyncio.sleep(0)
    held.send(signal.SIGKILL)
    killed = time.monotonic()
    await asyncio.wait_for(waiting, SLACK)
    assert int(await redis.execute("GET", "lease:{a}:number")) > first
    assert time.monotonic() - killed < 1.0 + SLACK / 4


async def test_work_moves_on_when_its_process_is_killed(
    start: Callable[..., Contender],
) -> None:
    one, other = start("elect", 1.0), start("elect", 1.0)
    lines = {asyncio.create_task(asyncio.to_thread(each.line)): each for each in (one, other)}
    done, waiting = await asyncio.wait(lines, return_when=asyncio.FIRST_COMPLETED, timeout=SLACK)
    (leading,), (follows,) = done, waiting
    lines[leading].send(signal.SIGKILL)
    killed = time.monotonic()
    assert int(await asyncio.wait_for(follows, SLACK)) > int(leading.result())
    assert time.monotonic() - killed < 1.0 + 0.35 + SLACK / 4


@pytest.mark.parametrize("kind", ["redis-py", "cluster", "native resp2"])
async def test_it_works_over_any_client(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "native resp2":
        async with connect(request.getfixturevalue("redis_url") + "?protocol=2") as client:
            await hold_and_wait(client)
        return
    if kind == "cluster":
        cluster = request.getfixturevalue("redis_cluster")
        for node in cluster.nodes:
            node.start()
            node.resume()
        cluster.wait_until_ok()
        driver: Any = RedisCluster.from_url(cluster.url)
    else:
        driver = Redis.from_url(request.getfixturevalue("redis_url"))
    async with wrap(driver, deadline=5.0) as adapter:
        await hold_and_wait(adapter)
    await driver.aclose()


async def hold_and_wait(commands: Commands) -> None:
    async with Lease(commands, "a", length=1.0, timeout=SLACK) as lease:
        number = lease.check()
        waiter = Lease(commands, "a", length=1.0)
        waiting = asyncio.create_task(waiter.acquire())
        await asyncio.sleep(0.5)
        assert lease.check() == number
        assert not waiting.done()
    await asyncio.wait_for(waiting, SLACK)
    assert waiter.check() > number
    await waiter.release()


async def test_nobody_follows_while_a_holder_lives_whom_a_restart_has_forgotten(
    server: RedisServer,
) -> None:
    events: list[Event] = []
    async with connect(server.url, deadline=1.0, reconnect_most=0.1) as redis:

        async def hold() -> None:
            async with Lease(redis, "a", length=1.5, observer=events.append):
                events.clear()
                held.set()
                await asyncio.sleep(60)

        held = asyncio.Event()
        holding = asyncio.create_task(hold())
        await asyncio.wait_for(held.wait(), SLACK)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        async with Lease(
            redis, "a", length=1.5, timeout=2 * SLACK, observer=events.append
        ) as next_:
            assert next_.held
        with pytest.raises(LeaseLost):
            await holding
    kinds = [event.kind for event in events if isinstance(event, LeaseEvent)]
    assert [kind for kind in kinds if kind in {"lost", "acquired"}] == ["lost", "acquired"]


async def test_a_server_that_freezes_costs_the_lease_in_time(server: RedisServer) -> None:
    async with connect(server.url, deadline=0.2) as redis:

        async def hold() -> None:
            async with Lease(redis, "a", length=1.0, after_restart="grant"):
                server.pause()
                await asyncio.sleep(60)

        began = time.monotonic()
        with pytest.raises(LeaseLost, match=r"no renewal within 0\.9 s"):
            await asyncio.wait_for(hold(), SLACK)
        assert time.monotonic() - began > 0.85
        server.resume()
        async with Lease(redis, "a", timeout=SLACK, after_restart="grant") as lease:
            assert lease.held


@pytest.mark.parametrize("kind", ["native", "redis-py"])
async def test_a_frozen_server_does_not_hold_up_who_waits(server: RedisServer, kind: str) -> None:
    """The client would wait for 30 seconds, each time."""
    async with AsyncExitStack() as stack:
        if kind == "native":
            redis: Any = await stack.enter_async_context(connect(server.url, deadline=30.0))
        else:
            client = await stack.enter_async_context(Redis.from_url(server.url))
            redis = await stack.enter_async_context(wrap(client, deadline=30.0))
        await redis.execute("PING")
        server.pause()
        for wake in (None, redis.pubsub()):
            lease = Lease(redis, "a", length=1.0, timeout=0.3, after_restart="grant", wake=wake)
            began = time.monotonic()
            with pytest.raises(LeaseTimeout, match="the server did not answer"):
                await lease.acquire()
            assert 0.3 < time.monotonic() - began < 0.3 + 0.35 + SLACK / 4
        server.resume()
        # What was granted and not heard of has been given back, or ends by itself.
        async with Lease(redis, "a", timeout=SLACK, after_restart="grant") as lease:
            assert lease.held


async def test_trying_across_a_restart(server: RedisServer) -> None:
    async with connect(server.url, deadline=5.0, reconnect_step=0.01) as redis:
        holder = Lease(redis, "a", length=0.5, after_restart="grant")
        assert await holder.try_acquire()
        number = holder.check()
        lease = Lease(redis, "a", length=0.5)
        assert not await lease.try_acquire()
        server.pause()
        asking = asyncio.create_task(lease.try_acquire())
        await until(lambda: redis.stats().in_flight > 0)
        await asyncio.to_thread(server.kill)
        with pytest.raises(StoreUnavailable):
            await asking
        with pytest.raises(StoreUnavailable):  # nobody is there, and the object works as before
            await lease.try_acquire()
        await asyncio.to_thread(server.start)
        await answers(redis.execute)
        assert not await lease.try_acquire()  # it may have forgotten a holder, and did
        await until(lambda: not holder.held)
        with pytest.raises(LeaseLost):
            await holder.release()
        async with asyncio.timeout(SLACK):
            while not await lease.try_acquire():  # noqa: ASYNC110 - the server decides
                await asyncio.sleep(0.05)
        assert lease.check() > number
        await lease.release()


async def test_a_server_that_is_away_is_waited_for(server: RedisServer) -> None:
    await asyncio.to_thread(server.kill)
    async with connect(server.url, reconnect_most=0.1) as redis:
        with pytest.raises(LeaseTimeout, match="not sent"):
            await Lease(redis, "a", timeout=0.3).acquire()
        lease = Lease(redis, "a", after_restart="grant")
        waiting = asyncio.create_task(lease.acquire())
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(waiting, SLACK)
        await lease.release()


async def test_scripts_that_were_flushed_come_back(redis: RedisClient) -> None:
    async with Lease(redis, "a", length=1.0, timeout=SLACK) as lease:
        await redis.execute("SCRIPT", "FLUSH")
        await asyncio.sleep(1.2)
        assert lease.held
        await redis.execute("SCRIPT", "FLUSH")
    assert await redis.execute("EXISTS", "lease:{a}") == 0


async def test_a_lease_is_handed_on_in_an_orderly_way(redis: RedisClient) -> None:
    begun: list[int] = []

    async def work(lease: Lease) -> None:
        begun.append(lease.check())
        await asyncio.sleep(60)

    one, other = (
        Elected(Lease(redis, "a", length=60, after_restart="grant"), work) for _ in range(2)
    )
    async with one:
        await until(lambda: len(begun) == 1)
        async with other:
            pass
        assert len(begun) == 1
    async with other:
        await until(lambda: len(begun) == 2)
    assert begun[1] > begun[0]


async def test_a_waiter_hears_of_the_release(redis: RedisClient) -> None:
    """It asks twice and then not for a minute."""
    lease = Lease(redis, "a", length=60, after_restart="grant")
    await lease.acquire()
    waiter = Lease(redis, "a", length=60, after_restart="grant", wake=redis.pubsub())
    waiting = asyncio.create_task(waiter.acquire())
    await until(lambda: redis.pubsub().stats().names == 1)
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await lease.release()
    await asyncio.wait_for(waiting, SLACK)
    await waiter.release()
    assert redis.pubsub().stats().listeners == 0


async def test_the_first_holder_of_a_server_needs_two_round_trips(
    redis: RedisClient, redis_url: str
) -> None:
    await redis.execute("SCRIPT", "FLUSH")
    await redis.execute("CONFIG", "RESETSTAT")
    async with connect(redis_url, deadline=5.0) as another:
        for _ in range(2):
            async with Lease(another, "a", after_restart="grant"):
                pass
    assert await calls(redis) == {"eval": 1, "evalsha": 3}
