"""Who travels together, whose time is up, and what becomes of a pipeline nobody waits for."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from symphonia_perf.errors import StoreUnavailable
from symphonia_perf.redis._arguments import Packed
from symphonia_perf.redis._lane import Lane
from symphonia_perf.redis._slots import Late, Many


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


def ask(lane: Lane, *commands: Packed, deadline: float = 1) -> asyncio.Future[list[Any]]:
    """The results to come of commands that one caller asks for."""
    future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    size = sum(len(word) for command in commands for word in command)
    lane.submit(commands, size, deadline, Many(future, len(commands), own_deadline=True))
    return future


async def test_a_turn_leaves_together(lane: Lane, server: Server) -> None:
    futures = [ask(lane, get("a")), ask(lane, get("b"), get("c"))]
    assert [await future for future in futures] == [[b"a"], [b"b", b"c"]]
    assert server.pipelines == [[get("a"), get("b"), get("c")]]


async def test_what_comes_meanwhile_leaves_together_afterwards(lane: Lane, server: Server) -> None:
    server.open.clear()
    first = ask(lane, get("a"))
    await asyncio.sleep(0)
    others = [ask(lane, get(key)) for key in "bc"]
    server.open.set()
    assert await first == [b"a"]
    assert [await other for other in others] == [[b"b"], [b"c"]]
    assert [len(pipeline) for pipeline in server.pipelines] == [1, 2]


async def test_whoever_gave_up_before_it_left_is_left_out(lane: Lane, server: Server) -> None:
    gone, here = ask(lane, get("a")), ask(lane, get("b"))
    gone.cancel()
    assert await here == [b"b"]
    assert server.pipelines == [[get("b")]]
    alone = ask(lane, get("c"))
    alone.cancel()
    await lane.drain()
    assert server.pipelines == [[get("b")]]


async def test_deadlines_are_each_caller_s_own(lane: Lane, server: Server) -> None:
    server.open.clear()
    late, early = ask(lane, get("a"), deadline=5), ask(lane, get("b"), get("c"), deadline=0.01)
    errors = await early
    assert [type(error) for error in errors] == [Late, Late]
    assert errors[0].reason == "no reply; it may have been executed (deadline 0.01 s)"
    assert server.cancelled == 0  # the other still waits
    server.open.set()
    assert await late == [b"a"]


async def test_what_was_not_sent_says_so(lane: Lane, server: Server) -> None:
    server.open.clear()
    first = ask(lane, get("a"), deadline=5)
    await asyncio.sleep(0)
    (error,) = await ask(lane, ("INCR", b"n"), deadline=0.01)
    assert error.reason == "it was not sent (deadline 0.01 s)"
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
    (error,) = await ask(lane, get("a"), deadline=0.01)
    assert isinstance(error, Late)
    await lane.drain()
    assert server.cancelled == swallows + 1
    server.open.set()
    assert await ask(lane, get("b")) == [b"b"]


async def test_a_cancelled_caller_does_not_cancel_the_pipeline(lane: Lane, server: Server) -> None:
    server.open.clear()
    gone, here = ask(lane, get("a")), ask(lane, get("b"))
    await asyncio.sleep(0)
    gone.cancel()
    server.open.set()
    assert await here == [b"b"]
    assert server.cancelled == 0


async def test_a_failure_is_everybody_s_answer(lane: Lane, server: Server) -> None:
    server.fails = OSError("gone")
    one, two = ask(lane, get("a")), ask(lane, get("b"), get("c"))
    assert [await one, await two] == [[server.fails], [server.fails] * 2]
    server.fails = None
    assert await ask(lane, get("d")) == [b"d"]


async def test_a_reply_too_few_is_a_failure_for_all(server: Server) -> None:
    async def send(commands: Sequence[Packed]) -> Sequence[Any]:
        return (await server.send(commands))[1:]

    lane = Lane(asyncio.get_running_loop(), send, max_waiting=10_000, patience=60)
    one, two = ask(lane, get("a")), ask(lane, get("b"), get("c"))
    for error in await one + await two:
        assert isinstance(error, ConnectionError)
        assert "2 replies to 3 commands" in str(error)


async def test_a_cancelled_pipeline_is_an_answer_too(lane: Lane, server: Server) -> None:
    server.open.clear()
    future = ask(lane, get("a"))
    await asyncio.sleep(0)
    lane._batches[0].task.cancel()
    (error,) = await future
    assert isinstance(error, ConnectionError)


async def test_a_pipeline_cancelled_before_its_first_step_starts_again(
    lane: Lane, server: Server
) -> None:
    future = ask(lane, get("a"))
    lane._batches[0].task.cancel()
    assert await future == [b"a"]
    assert server.pipelines == [[get("a")]]


async def test_a_timer_that_is_due_spares_a_pipeline_that_has_not_begun(
    lane: Lane, server: Server
) -> None:
    future = ask(lane, get("a"))
    lane._expire()
    assert lane._batches[0].task.cancelling() == 0
    assert await future == [b"a"]
    assert server.pipelines == [[get("a")]]


async def test_a_lane_that_was_never_used_is_drained(lane: Lane) -> None:
    await lane.drain()
    assert lane._timer is None


async def test_too_much_waiting_is_refused_at_once(lane: Lane, server: Server) -> None:
    server.open.clear()
    first = ask(lane, get("a"), deadline=5)
    await asyncio.sleep(0)
    large = ask(lane, ("SET", b"k", b"x" * 20_000), deadline=5)  # one more may always wait
    refused = ask(lane, get("b"), get("c"), deadline=5)
    assert refused.done()
    for error in await refused:
        assert isinstance(error, StoreUnavailable)
        assert "it was not sent" in str(error)
        assert "max_waiting=10000" in str(error)
    server.open.set()
    assert await first == [b"a"]
    assert await large == [b"k"]
    assert await ask(lane, get("d"), deadline=5) == [b"d"]


async def test_those_whose_time_is_up_make_room(lane: Lane, server: Server) -> None:
    server.open.clear()
    first = ask(lane, get("a"), deadline=5)
    await asyncio.sleep(0)
    await ask(lane, ("SET", b"k", b"x" * 20_000), deadline=0.01)
    last = ask(lane, get("b"), deadline=5)
    assert not last.done()
    server.open.set()
    assert [await first, await last] == [[b"a"], [b"b"]]


async def test_a_drained_lane_leaves_nothing_behind(lane: Lane) -> None:
    await ask(lane, get("a"), deadline=5)
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
    await ask(lane, get("a"))
    assert seen == ["none"]


async def test_a_pipeline_that_hangs_does_not_hold_up_the_next(server: Server) -> None:
    lane = Lane(asyncio.get_running_loop(), server.send, max_waiting=10_000, patience=0.02)
    server.open.clear()
    patient = ask(lane, get("a"), deadline=60)
    await asyncio.sleep(0)
    behind = ask(lane, get("b"), deadline=60)  # nobody speaks after this one: a timer lets it go
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
    patient = ask(lane, get("a"), deadline=60)
    await asyncio.sleep(0.05)
    late = ask(lane, get("b"), deadline=60)
    await asyncio.sleep(0)
    assert server.pipelines == [[get("a")], [get("b")]]
    server.open.set()
    assert [await patient, await late] == [[b"a"], [b"b"]]


async def test_no_more_than_four_pipelines_hang(server: Server) -> None:
    lane = Lane(asyncio.get_running_loop(), server.send, max_waiting=10_000, patience=1e-6)
    server.open.clear()
    futures = []
    for number in range(6):
        futures.append(ask(lane, get(str(number)), deadline=60))
        await asyncio.sleep(0.01)
    (error,) = await ask(lane, get("unsent"), deadline=0.01)
    assert error.reason == "it was not sent (deadline 0.01 s)"
    assert len(server.pipelines) == 4
    server.open.set()
    assert [await future for future in futures] == [[str(n).encode()] for n in range(6)]
    assert server.pipelines[4] == [get("4"), get("5")]
