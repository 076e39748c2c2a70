import asyncio
import contextvars
import gc
import traceback
import weakref
from collections.abc import Awaitable, Callable

import pytest

from symphonia_perf._core import singleflight
from symphonia_perf._core.singleflight import Flight, SingleFlight
from symphonia_perf.errors import SymphoniaError


class Loader:
    """Counts its runs and ends when it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = asyncio.Event()
        self.flights: list[Flight] = []

    async def __call__(self, flight: Flight) -> int:
        self.runs += 1
        self.flights.append(flight)
        run = self.runs
        await self.go.wait()
        return run


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_thousand_callers_share_one_run() -> None:
    flights, load = SingleFlight[int](), Loader()
    callers = [asyncio.create_task(flights.run("k", load)) for _ in range(1000)]
    await settle()
    assert "k" in flights
    load.go.set()
    assert set(await asyncio.gather(*callers)) == {1}
    assert load.runs == 1
    assert "k" not in flights
    assert len(flights) == 0


async def test_keys_do_not_wait_for_one_another() -> None:
    flights, load = SingleFlight[int](), Loader()
    first = asyncio.create_task(flights.run("a", load))
    await settle()
    other = Loader()
    other.go.set()
    assert await flights.run("b", other) == 1
    load.go.set()
    assert await first == 1


async def test_a_cancelled_first_caller_harms_nobody() -> None:
    flights, load = SingleFlight[int](), Loader()
    callers = [asyncio.create_task(flights.run("k", load)) for _ in range(10)]
    await settle()
    callers[0].cancel()
    await settle()
    assert callers[0].cancelled()
    load.go.set()
    assert await asyncio.gather(*callers[1:]) == [1] * 9


async def test_a_run_ends_when_all_its_callers_are_gone() -> None:
    flights, load = SingleFlight[int](), Loader()
    caller = asyncio.create_task(flights.run("k", load))
    await settle()
    caller.cancel()
    await settle()
    assert "k" in flights
    load.go.set()
    await settle()
    assert "k" not in flights


async def fail(flight: Flight) -> int:
    await asyncio.sleep(0)
    raise LookupError(f"no {flight.superseded}")


async def test_an_error_reaches_every_caller_and_is_forgotten() -> None:
    flights = SingleFlight[int]()
    callers = [asyncio.create_task(flights.run("k", fail)) for _ in range(100)]
    errors = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(error) for error in errors] == ["no False"] * 100
    load = Loader()
    load.go.set()
    assert await flights.run("k", load) == 1


async def test_the_traceback_of_a_shared_error_does_not_grow_with_its_callers() -> None:
    flights = SingleFlight[int]()

    async def depth(callers: int) -> int:
        tasks = [asyncio.create_task(flights.run("k", fail)) for _ in range(callers)]
        *_, error = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(error, LookupError)
        frames = traceback.extract_tb(error.__traceback__)
        assert frames[-1].name == "fail"
        return len(frames)

    assert await depth(200) == await depth(1)


async def test_an_error_that_nobody_waits_for_is_not_reported() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    flights = SingleFlight[int]()
    caller = asyncio.create_task(flights.run("k", fail))
    await asyncio.sleep(0)
    caller.cancel()
    await settle()
    gc.collect()
    assert complaints == []


async def test_a_cancelled_run_does_not_look_like_a_cancelled_caller() -> None:
    flights = SingleFlight[int]()

    async def cancels_itself(_: Flight) -> int:
        raise asyncio.CancelledError

    with pytest.raises(SymphoniaError, match="the load of 'k' was cancelled"):
        await flights.run("k", cancels_itself)


async def test_closing_ends_runs_superseded_ones_included() -> None:
    flights, load = SingleFlight[int](), Loader()
    first = asyncio.create_task(flights.run("k", load))
    await settle()
    await flights.supersede("k")
    second = asyncio.create_task(flights.run("k", load))
    await settle()
    assert len(flights) == 2
    await flights.aclose()
    assert len(flights) == 0
    for caller in (first, second):
        with pytest.raises(SymphoniaError, match="cancelled"):
            await caller


async def test_closing_ends_a_run_that_did_not_begin() -> None:
    flights, load = SingleFlight[int](), Loader()
    caller = asyncio.create_task(flights.run("k", load))
    await asyncio.sleep(0)
    await flights.aclose()
    with pytest.raises(SymphoniaError, match="the load of 'k' was cancelled"):
        await caller
    assert load.runs == 0
    assert "k" not in flights


async def test_a_caller_that_wakes_finds_no_run_any_more() -> None:
    flights, load = SingleFlight[int](), Loader()

    async def twice() -> list[int]:
        return [await flights.run("k", load), await flights.run("k", load)]

    callers = [asyncio.create_task(twice()) for _ in range(3)]
    await settle()
    load.go.set()
    assert await asyncio.gather(*callers) == [[1, 2]] * 3


async def test_a_superseded_run_keeps_its_callers_and_gets_no_new_ones() -> None:
    flights, load = SingleFlight[int](), Loader()
    old = asyncio.create_task(flights.run("k", load))
    await settle()
    await flights.supersede("k")
    await flights.supersede("k")
    new = asyncio.create_task(flights.run("k", load))
    await settle()
    assert [flight.superseded for flight in load.flights] == [True, False]
    load.go.set()
    assert await asyncio.gather(old, new) == [1, 2]


async def test_superseding_waits_for_a_run_that_publishes() -> None:
    flights, load, order = SingleFlight[str](), Loader(), list[str]()

    async def publish(flight: Flight) -> str:
        flight.committing = True
        await load.go.wait()
        order.append("published")
        return "old"

    caller = asyncio.create_task(flights.run("k", publish))
    await settle()

    async def change() -> None:
        await flights.supersede("k")
        order.append("changed")

    change_task = asyncio.create_task(change())
    await settle()
    assert order == []
    load.go.set()
    await change_task
    assert order == ["published", "changed"]
    assert await caller == "old"


async def test_a_run_that_asks_for_itself_fails_at_once() -> None:
    flights = SingleFlight[int]()

    async def outer(_: Flight) -> int:
        return await flights.run("inner", inner)

    async def inner(_: Flight) -> int:
        return await flights.run("outer", outer)

    with pytest.raises(SymphoniaError, match="load of 'outer' asks for 'outer'"):
        await flights.run("outer", outer)


async def test_a_run_for_one_caller_that_asks_for_itself_fails_at_once() -> None:
    flights, others = SingleFlight[int](), SingleFlight[int]()

    async def deeper(flight: Flight) -> int:
        assert await others.alone("k", one) == 1  # the same key of somebody else
        return await flights.alone(flight.key, deeper)

    async def one(_: Flight) -> int:
        return 1

    with pytest.raises(SymphoniaError, match="'k' asks for 'k'"):
        await flights.alone("k", deeper)
    assert [await flights.alone("k", one) for _ in range(2)] == [1, 1]
    assert "k" not in flights


async def test_a_run_is_told_where_a_new_one_would_start_the_next() -> None:
    flights = SingleFlight[int]()
    left: list[asyncio.Task[None]] = []
    go = asyncio.Event()

    async def later() -> None:
        await go.wait()
        flights.refuse_circle("k")

    async def load(_: Flight) -> int:
        flights.refuse_circle("other")
        with pytest.raises(SymphoniaError, match="'k' asks for 'k'"):
            flights.refuse_circle("k")
        left.append(asyncio.create_task(later()))
        return 1

    assert await flights.run("k", load) == 1
    go.set()
    await left[0]  # it has ended


async def test_runs_that_wait_for_one_another_fail_at_once() -> None:
    flights, both = SingleFlight[int](), asyncio.Barrier(2)

    async def one(_: Flight) -> int:
        await both.wait()
        return await flights.run("middle", middle)

    async def middle(_: Flight) -> int:
        return await flights.run("other", other)

    async def other(_: Flight) -> int:
        await both.wait()
        return await flights.run("one", one)

    async with asyncio.timeout(5):
        found = await asyncio.gather(
            flights.run("one", one), flights.run("other", other), return_exceptions=True
        )
    assert {type(error) for error in found} == {SymphoniaError}
    assert len(flights) == 0


async def test_runs_that_wait_for_one_another_through_tasks_fail_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(singleflight, "PATIENCE", 0.05)
    flights, both = SingleFlight[int](), asyncio.Barrier(2)

    def load(other: str) -> Callable[[Flight], Awaitable[int]]:
        async def gathers(_: Flight) -> int:
            await both.wait()
            (result,) = await asyncio.gather(flights.run(other, load("none")))
            return result

        return gathers

    async with asyncio.timeout(5):
        found = await asyncio.gather(
            flights.run("a", load("b")), flights.run("b", load("a")), return_exceptions=True
        )
    one, other = found  # whoever closed the circle fails, and so the other
    assert isinstance(one, SymphoniaError)
    assert other is one
    assert len(flights) == 0


async def test_a_loads_own_timeout_is_not_taken_for_a_circle() -> None:
    flights, ask = SingleFlight[int](), asyncio.Event()
    left: list[asyncio.Task[int]] = []

    async def one(_: Flight) -> int:
        await ask.wait()
        left.append(asyncio.create_task(flights.run("other", other)))
        await settle()
        raise TimeoutError("its own")

    async def other(_: Flight) -> int:
        return await flights.run("one", one)

    first = asyncio.create_task(flights.run("one", one))
    await settle()
    second = asyncio.create_task(flights.run("other", other))
    await settle()
    ask.set()
    found = await asyncio.gather(first, second, return_exceptions=True)
    assert [str(error) for error in (*found, left[0].exception())] == ["its own"] * 3


async def test_a_run_in_the_background_makes_nobody_wait() -> None:
    flights, load = SingleFlight[int](), Loader()
    flights.launch("k", load, labels=["red"])
    flights.launch("k", load)
    await settle()
    assert (load.runs, flights.awaited("k"), flights.under_way()) == (1, False, ["k"])
    assert (flights.under_way({"green"}), flights.under_way({"red", "green"})) == ([], ["k"])
    assert load.flights[0].background
    caller = asyncio.create_task(flights.run("k", load))
    load.go.set()
    assert await caller == 1
    flights.launch("k", fail)
    await settle()
    assert flights.under_way() == []


async def test_a_task_that_a_run_does_not_wait_for_closes_no_circle() -> None:
    flights, ask, go = SingleFlight[int](), asyncio.Event(), asyncio.Event()
    left: list[asyncio.Task[int]] = []

    async def one(_: Flight) -> int:
        await ask.wait()
        left.append(asyncio.create_task(flights.run("other", other)))
        await go.wait()
        return 1

    async def other(_: Flight) -> int:
        return 1 + await flights.run("one", one)

    first = asyncio.create_task(flights.run("one", one))
    await settle()
    second = asyncio.create_task(flights.run("other", other))
    for event in (ask, go):
        await settle()
        event.set()
    assert await asyncio.gather(first, second) == [1, 2]
    assert await left[0] == 2


async def test_an_error_keeps_nothing_alive_once_it_is_forgotten() -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    async def fail_with_something(_: Flight) -> int:
        something = Held()
        held.append(weakref.ref(something))
        raise LookupError

    flights = SingleFlight[int]()
    gc.disable()
    try:
        with pytest.raises(LookupError):
            await flights.run("k", fail_with_something)
        await settle()
        assert held[0]() is None
    finally:
        gc.enable()


async def test_a_task_left_by_a_run_keeps_no_result_alive_and_may_ask_again() -> None:
    class Result:
        pass

    flights, go = SingleFlight[Result](), asyncio.Event()
    left: list[asyncio.Task[Result]] = []

    async def make(_: Flight) -> Result:
        return Result()

    async def ask_again() -> Result:
        await go.wait()
        return await flights.run("k", make)

    async def load(_: Flight) -> Result:
        left.append(asyncio.create_task(ask_again()))
        return Result()

    result = weakref.ref(await flights.run("k", load))
    await settle()
    gc.collect()
    assert result() is None
    go.set()
    assert isinstance(await left[0], Result)


async def test_a_run_has_the_first_callers_context() -> None:
    user = contextvars.ContextVar("user", default="nobody")
    user.set("ann")
    flights = SingleFlight[str]()

    async def load(_: Flight) -> str:
        return user.get()

    assert await flights.run("k", load) == "ann"


async def test_it_knows_what_landed_meanwhile_and_forgets_it_in_the_end() -> None:
    flights = SingleFlight[int]()

    async def quick(_: Flight) -> int:
        return 1

    before = flights.landings
    await flights.run("other", quick)
    assert not flights.landed_since("k", before)
    await flights.run("k", quick)
    await settle()
    assert flights.landed_since("k", before)
    assert not flights.landed_since("k", flights.landings)
    for n in range(1_000):
        await flights.run(f"k{n}", quick)
    await settle()
    assert not flights.landed_since("k", before)
    assert len(flights._landed) == 1_000
