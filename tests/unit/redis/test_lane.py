"""Who travels together, whose time is up, and what becomes of a pipeline nobody waits for."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from symphonia_perf.errors import StoreTimeout, StoreUnavailable
from symphonia_perf.redis._arguments import Packed
from symphonia_perf.redis._lane import Lane


class Server:
    """Answers each command with its first argument, when it is told to."""

    def __init__(self) -> None:
        self.pipelines: list[list[Packed]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.cancelled = 0
        self.swallows = 0
        self.fails: BaseException | None = None

    async def send(self, commands: Sequence[Packed]) -> Sequence[Any]:
        self.pipelines.append(list(commands))
        while not self.open.is_set():
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.swallows < self.cancelled:
                    raise
        if self.fails is not None:
            raise self.fails
        return [command[1] for command in commands]


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def lane(server: Server) -> Lane:
    return Lane(asyncio.get_running_loop(), server.send, max_waiting=10_000, patience=60)


def get(key: str) -> Packed:
    return ("GET", key.encode())


async def test_a_turn_leaves_together(lane: Lane, server: Server) -> None:
    futures = [lane.submit([get("a")], 1), lane.submit([get("b"), get("c")], 1)]
    assert [await future for future in futures] == [[b"a"], [b"b", b"c"]]
    assert server.pipelines == [[get("a"), get("b"), get("c")]]


async def test_what_comes_meanwhile_leaves_together_afterwards(lane: Lane, server: Server) -> None:
    server.open.clear()
    first = lane.submit([get("a")], 1)
    await asyncio.sleep(0)
    others = [lane.submit([get(key)], 1) for key in "bc"]
    server.open.set()
    assert await first == [b"a"]
    assert [await other for other in others] == [[b"b"], [b"c"]]
    assert [len(pipeline) for pipeline in server.pipelines] == [1, 2]


async def test_whoever_gave_up_before_it_left_is_left_out(lane: Lane, server: Server) -> None:
    gone, here = lane.submit([get("a")], 1), lane.submit([get("b")], 1)
    gone.cancel()
    assert await here == [b"b"]
    assert server.pipelines == [[get("b")]]
    alone = lane.submit([get("c")], 1)
    alone.cancel()
    await lane.drain()
    assert server.pipelines == [[get("b")]]


async def test_deadlines_are_each_caller_s_own(lane: Lane, server: Server) -> None:
    server.open.clear()
    late, early = lane.submit([get("a")], 5), lane.submit([get("b"), get("c")], 0.01)
    errors = await early
    assert [type(error) for error in errors] == [StoreTimeout, StoreTimeout]
    assert errors[0] is not errors[1]
    assert str(errors[0]) == ("GET: no reply; it may have been executed (deadline 0.01 s)")
    assert server.cancelled == 0  # the other still waits
    server.open.set()
    assert await late == [b"a"]


async def test_what_was_not_sent_says_so(lane: Lane, server: Server) -> None:
    server.open.clear()
    first = lane.submit([get("a")], 5)
    await asyncio.sleep(0)
    (error,) = await lane.submit([("INCR", b"n")], 0.01)
    assert str(error) == "INCR: it was not sent (deadline 0.01 s)"
    server.open.set()
    await first
    await lane.drain()
    assert server.pipelines == [[get("a")]]


@pytest.mark.parametrize("swallows", [0, 2])
async def test_a_pipeline_nobody_waits_for_is_cancelled_until_it_ends(
    lane: Lane, server: Server, swallows: int
) -> None:
    server.swallows = swallows
    server.open.clear()
    (error,) = await lane.submit([get("a")], 0.01)
    assert isinstance(error, StoreTimeout)
    await lane.drain()
    assert server.cancelled == swallows + 1
    server.open.set()
    assert await lane.submit([get("b")], 1) == [b"b"]


async def test_a_cancelled_caller_does_not_cancel_the_pipeline(lane: Lane, server: Server) -> None:
    server.open.clear()
    gone, here = lane.submit([get("a")], 1), lane.submit([get("b")], 1)
    await asyncio.sleep(0)
    gone.cancel()
    server.open.set()
    assert await here == [b"b"]
    assert server.cancelled == 0


async def test_a_failure_is_everybody_s_answer(lane: Lane, server: Server) -> None:
    server.fails = OSError("gone")
    one, two = lane.submit([get("a")], 1), lane.submit([get("b"), get("c")], 1)
    assert [await one, await two] == [[server.fails], [server.fails] * 2]
    server.fails = None
    assert await lane.submit([get("d")], 1) == [b"d"]


async def test_a_cancelled_pipeline_is_an_answer_too(lane: Lane, server: Server) -> None:
    server.open.clear()
    future = lane.submit([get("a")], 1)
    await asyncio.sleep(0)
    lane._batches[0].task.cancel()
    (error,) = await future
    assert isinstance(error, ConnectionError)


async def test_a_pipeline_cancelled_before_its_first_step_starts_again(
    lane: Lane, server: Server
) -> None:
    future = lane.submit([get("a")], 1)
    lane._batches[0].task.cancel()
    assert await future == [b"a"]
    assert server.pipelines == [[get("a")]]


async def test_a_timer_that_is_due_spares_a_pipeline_that_has_not_begun(
    lane: Lane, server: Server
) -> None:
    future = lane.submit([get("a")], 1)
    lane._expire()
    assert lane._batches[0].task.cancelling() == 0
    assert await future == [b"a"]
    assert server.pipelines == [[get("a")]]


async def test_a_lane_that_was_never_used_is_drained(lane: Lane) -> None:
    await lane.drain()
    assert lane._timer is None


async def test_too_much_waiting_is_refused_at_once(lane: Lane, server: Server) -> None:
    server.open.clear()
    first = lane.submit([get("a")], 5)
    await asyncio.sleep(0)
    large = lane.submit([("SET", b"k", b"x" * 20_000)], 5)  # one more may always wait
    refused = lane.submit([get("b"), get("c")], 5)
    assert refused.done()
    for error in await refused:
        assert isinstance(error, StoreUnavailable)
        assert "GET was not sent" in str(error)
        assert "max_waiting=10000" in str(error)
    server.open.set()
    assert await first == [b"a"]
    assert await large == [b"k"]
    assert await lane.submit([get("d")], 5) == [b"d"]


async def test_those_whose_time_is_up_make_room(lane: Lane, server: Server) -> None:
    server.open.clear()
    first = lane.submit([get("a")], 5)
    await asyncio.sleep(0)
    await lane.submit([("SET", b"k", b"x" * 20_000)], 0.01)
    last = lane.submit([get("b")], 5)
    assert not last.done()
    server.open.set()
    assert [await first, await last] == [[b"a"], [b"b"]]


async def test_a_drained_lane_leaves_nothing_behind(lane: Lane) -> None:
    await lane.submit([get("a")], 5)
    await lane.drain()
    assert lane._timer is None
    assert not lane._batches
    assert [task.get_name() for task in asyncio.all_tasks()].count("redis pipeline") == 0


async def test_a_pipeline_runs_in_a_context_of_its_own(server: Server) -> None:
    from contextvars import ContextVar

    request: ContextVar[str] = ContextVar("request", default="none")
    seen: list[str] = []

    async def send(commands: Sequence[Packed]) -> Sequence[Any]:
        seen.append(request.get())
        return await server.send(commands)

    lane = Lane(asyncio.get_running_loop(), send, max_waiting=10_000, patience=60)
    request.set("one caller's")
    await lane.submit([get("a")], 1)
    assert seen == ["none"]


async def test_a_pipeline_that_hangs_does_not_hold_up_the_next(server: Server) -> None:
    lane = Lane(asyncio.get_running_loop(), server.send, max_waiting=10_000, patience=0.02)
    server.open.clear()
    patient = lane.submit([get("a")], 60)
    await asyncio.sleep(0)
    behind = lane.submit([get("b")], 60)  # nobody speaks after this one: a timer lets it go
    while len(server.pipelines) < 2:  # noqa: ASYNC110 - bounded by the test's own timeout
        await asyncio.sleep(0.001)
    assert server.pipelines == [[get("a")], [get("b")]]
    assert server.cancelled == 0
    server.open.set()
    assert [await patient, await behind] == [[b"a"], [b"b"]]
    await lane.drain()
    assert not lane._batches


async def test_whoever_speaks_after_the_patience_leaves_at_once(server: Server) -> None:
    lane = Lane(asyncio.get_running_loop(), server.send, max_waiting=10_000, patience=0.01)
    server.open.clear()
    patient = lane.submit([get("a")], 60)
    await asyncio.sleep(0.05)
    late = lane.submit([get("b")], 60)
    await asyncio.sleep(0)
    assert server.pipelines == [[get("a")], [get("b")]]
    server.open.set()
    assert [await patient, await late] == [[b"a"], [b"b"]]


async def test_no_more_than_four_pipelines_hang(server: Server) -> None:
    lane = Lane(asyncio.get_running_loop(), server.send, max_waiting=10_000, patience=1e-6)
    server.open.clear()
    futures = []
    for number in range(6):
        futures.append(lane.submit([get(str(number))], 60))
        await asyncio.sleep(0.01)
    (error,) = await lane.submit([get("unsent")], 0.01)
    assert str(error) == "GET: it was not sent (deadline 0.01 s)"
    assert len(server.pipelines) == 4
    server.open.set()
    assert [await future for future in futures] == [[str(n).encode()] for n in range(6)]
    assert server.pipelines[4] == [get("4"), get("5")]
