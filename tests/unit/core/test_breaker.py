import asyncio
from datetime import timedelta
from typing import Any

import pytest

from symphonia_perf._core.breaker import Breaker, BreakerOptions, Permit, answered
from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    CorruptEntry,
    NotEncodable,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(BreakerOptions(failures=3, lasting=0.2, pause=1.0))


def permit(breaker: Breaker, now: float = 0.0) -> Permit:
    found = breaker.admit(now)
    assert found is not None
    return found


def state(breaker: Breaker) -> str:
    """As a plain text: a type checker does not know that calls change it."""
    return breaker.state


def fail(breaker: Breaker, *times: float) -> list[bool]:
    return [breaker.failed(permit(breaker, now), now) for now in times]


@pytest.fixture
def opened(breaker: Breaker) -> Breaker:
    """Open since 10.0."""
    assert fail(breaker, 9.5, 9.75, 10.0) == [False, False, True]
    return breaker


def test_it_opens_when_calls_keep_failing(breaker: Breaker) -> None:
    assert state(breaker) == "closed"
    assert fail(breaker, 0.25, 0.5, 0.75) == [False, False, True]
    assert state(breaker) == "open"
    assert breaker.admit(1.74) is None


def test_many_failures_of_one_moment_are_no_outage(breaker: Breaker) -> None:
    assert not any(fail(breaker, *[5.0] * 1000, 5.19))
    assert fail(breaker, 5.2) == [True]


def test_as_many_successes_make_failures_good(breaker: Breaker) -> None:
    fail(breaker, *[5.0] * 1000)
    for _ in range(3):  # not a thousand: a burst counts no more than an outage
        assert not breaker.succeeded(permit(breaker))
    assert fail(breaker, 6.0, 6.1) == [False, False]  # trouble begins anew
    assert fail(breaker, 6.15, 6.19, 6.2) == [False, False, True]


def test_a_store_that_mostly_answers_is_left_in_use(breaker: Breaker) -> None:
    for step in range(1000):
        assert fail(breaker, step * 0.1, step * 0.1 + 0.01) == [False, False]
        breaker.succeeded(permit(breaker))
        breaker.succeeded(permit(breaker))
    assert state(breaker) == "closed"


def test_success_when_all_is_well_changes_nothing(breaker: Breaker) -> None:
    assert not breaker.succeeded(permit(breaker))
    # It also saves nothing up for worse times.
    assert fail(breaker, 0.0, 0.1, 0.2) == [False, False, True]


def test_without_a_time_the_count_alone_decides() -> None:
    assert fail(Breaker(BreakerOptions(failures=2, lasting=0)), 1.0, 1.0) == [False, True]


def test_after_the_pause_one_call_tries(opened: Breaker) -> None:
    assert opened.admit(10.99) is None
    probe = permit(opened, 11.0)
    assert state(opened) == "half-open"
    assert [opened.admit(11.0 + n / 100) for n in range(100)] == [None] * 100
    assert opened.succeeded(probe)
    assert state(opened) == "closed"
    assert permit(opened, 11.5) == permit(opened, 11.5)
    assert fail(opened, 12.0, 12.1) == [False, False]  # the old failures are forgotten


def test_a_probe_that_fails_is_another_pause_and_no_news(opened: Breaker) -> None:
    assert opened.failed(permit(opened, 11.0), 11.25) is False
    assert state(opened) == "open"
    assert opened.admit(12.24) is None
    assert opened.succeeded(permit(opened, 12.25))


def test_a_probe_that_is_withdrawn_leaves_the_place_to_the_next(opened: Breaker) -> None:
    first = permit(opened, 11.0)
    opened.withdrawn(first, 11.1)
    assert state(opened) == "open"
    second = permit(opened, 11.1)
    assert opened.admit(11.1) is None
    opened.withdrawn(first, 11.1)  # reports twice: nothing
    assert state(opened) == "half-open"
    assert opened.succeeded(second)


def test_a_probe_that_never_reports_is_given_up(opened: Breaker) -> None:
    lost = permit(opened, 11.0)
    assert opened.admit(70.9) is None
    probe = permit(opened, 71.0)
    assert not opened.succeeded(lost)
    assert state(opened) == "half-open"
    assert opened.succeeded(probe)


def test_a_withdrawn_call_says_nothing(breaker: Breaker) -> None:
    fail(breaker, 0.0, 0.2)
    breaker.withdrawn(permit(breaker), 0.2)
    assert state(breaker) == "closed"
    assert fail(breaker, 0.2) == [True]


def test_calls_from_before_a_change_say_nothing(breaker: Breaker) -> None:
    old = permit(breaker)
    assert fail(breaker, 9.5, 9.75, 10.0)[-1]
    assert not breaker.succeeded(old)
    assert not breaker.failed(old, 10.0)
    breaker.withdrawn(old, 10.0)
    assert breaker.admit(10.9) is None
    assert breaker.succeeded(permit(breaker, 11.0))
    for _ in range(10):
        assert not breaker.failed(old, 12.0)
    breaker.withdrawn(old, 12.0)
    assert state(breaker) == "closed"


async def test_a_thousand_callers_one_probe_also_when_it_is_cancelled(opened: Breaker) -> None:
    asked: list[int] = []
    gate = asyncio.Event()

    async def call(number: int) -> str:
        mine = opened.admit(11.0)
        if mine is None:
            return "refused"
        try:
            asked.append(number)
            await gate.wait()
        except asyncio.CancelledError:
            opened.withdrawn(mine, 11.0)
            raise
        assert opened.succeeded(mine)
        return "asked"

    crowd = [asyncio.create_task(call(n)) for n in range(1000)]
    await asyncio.sleep(0)
    assert asked == [0]
    crowd[0].cancel()
    await asyncio.wait(crowd[:1])
    crowd += [asyncio.create_task(call(n)) for n in range(1000, 2000)]
    await asyncio.sleep(0)
    assert asked == [0, 1000]
    gate.set()
    answers = await asyncio.gather(*crowd[1:])
    assert answers.count("asked") == 1
    assert state(opened) == "closed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failures": 0}, "failures=0: expected a whole number above 0"),
        ({"failures": 2.0}, r"failures=2\.0"),
        ({"failures": True}, "failures=True"),
        ({"lasting": -1}, "lasting=-1: expected 0 or more seconds"),
        ({"pause": 0}, "pause=0: expected more than 0 seconds"),
        ({"pause": "1s"}, "pause='1s'"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        BreakerOptions(**options)


def test_durations_may_be_timedeltas() -> None:
    assert BreakerOptions(pause=timedelta(seconds=3)) == BreakerOptions(pause=3.0)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (StoreTimeout("no reply"), False),
        (StoreUnavailable("LOADING"), False),
        (CommandError("WRONGTYPE", code="WRONGTYPE"), True),
        (CommandError("OOM", code="OOM"), True),
        (NotEncodable("a lock"), None),
        (CorruptEntry("foreign"), None),
        (StoreError("what a store of somebody's says"), None),
        (asyncio.CancelledError(), None),
        (TypeError("a mistake"), None),
    ],
    ids=repr,
)
def test_what_an_error_says_of_the_store(error: BaseException, verdict: object) -> None:
    assert answered(error) is verdict
