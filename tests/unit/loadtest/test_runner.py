import asyncio
import math
import sys
import time
from dataclasses import replace
from time import monotonic

import pytest

from symphonia_perf.errors import GeneratorLagged, MissingExtra
from symphonia_perf.loadtest.plan import Plan, Request, arrivals
from symphonia_perf.loadtest.runner import measure, run

PLAN = Plan(
    base_url="http://127.0.0.1:1",
    requests=(Request(path="/"),),
    rate=200,
    duration=0.3,
    spacing="uniform",
)


async def answer(_: Request) -> tuple[int, int]:
    return 200, 7


async def test_every_arrival_is_a_row() -> None:
    mix = (Request(path="/a"), Request(path="/b", weight=2))
    plan = replace(PLAN, requests=mix, spacing="poisson")
    result = await measure(plan, send=answer)
    assert list(result.kinds) == list(arrivals(plan).which)
    assert set(result.outcomes) == {200}
    assert result.bytes_received == 7 * len(result)
    assert result.elapsed == pytest.approx(plan.duration, abs=0.1)


async def test_the_warm_up_is_sent_but_not_counted() -> None:
    sent = 0

    async def count(_: Request) -> tuple[int, int]:
        nonlocal sent
        sent += 1
        return 200, 0

    result = await measure(replace(PLAN, warmup=0.1), send=count)
    assert (sent, len(result)) == (80, 60)


async def test_a_stall_is_felt_by_everyone_due_in_it() -> None:
    """The test of coordinated omission: a service that freezes for a second."""
    plan = replace(PLAN, rate=100, duration=2)
    began = monotonic()
    freeze, thaw = began + 0.5, began + 1.5

    async def freezing(_: Request) -> tuple[int, int]:
        now = monotonic()
        if freeze <= now < thaw:
            await asyncio.sleep(thaw - now)
        return 200, 0

    result = await measure(plan, send=freezing)
    assert len(result) == 200
    waited = 0
    for due, latency in zip(arrivals(plan).due, result.latencies, strict=True):
        at = began + due
        if freeze + 0.1 <= at < thaw - 0.1:
            # The run began a little after `began`, so the wait may be that much shorter.
            assert latency >= thaw - at - 0.1
            waited += 1
    assert waited == 80
    # One sender that waits for each answer would have seen one slow request in a hundred.
    assert result.percentile(75) > 0.2


async def test_the_schedule_does_not_depend_on_the_service() -> None:
    async def sent_at(delay: float) -> list[float]:
        times: list[float] = []
        began = monotonic()

        async def slow(_: Request) -> tuple[int, int]:
            times.append(monotonic() - began)
            await asyncio.sleep(delay)
            return 200, 0

        await measure(PLAN, send=slow)
        return times

    quick, slow = await sent_at(0), await sent_at(0.3)
    assert len(quick) == len(slow) == 60
    assert slow[-1] == pytest.approx(quick[-1], abs=0.15)


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (ConnectionRefusedError(), "refused"),
        (ConnectionResetError(), "disconnected"),
        (TimeoutError(), "timeout"),
    ],
)
async def test_failures_are_named_and_rank_as_slow_as_the_timeout(
    error: OSError, named: str
) -> None:
    async def fail(_: Request) -> tuple[int, int]:
        raise error

    result = await measure(replace(PLAN, timeout=3), send=fail)
    assert result.errors == {named: 60}
    assert min(result.latencies) >= 3


async def test_a_quick_error_does_not_look_quick() -> None:
    async def refuse(_: Request) -> tuple[int, int]:
        return 503, 5

    result = await measure(replace(PLAN, timeout=3), send=refuse)
    assert (result.errors, result.percentile(1)) == ({"HTTP 503": 60}, 3.0)


async def test_the_timeout_counts_from_the_due_time() -> None:
    blocked = False

    async def hang(_: Request) -> tuple[int, int]:
        nonlocal blocked
        if not blocked:
            blocked = True
            time.sleep(0.2)  # noqa: ASYNC251 - the next forty are sent late
        await asyncio.Event().wait()
        return 200, 0

    result = await measure(replace(PLAN, timeout=0.3), send=hang)
    assert result.errors == {"timeout": 60}
    assert min(result.latencies) >= 0.3
    # By the time of sending, the second would have had 0.5 s.
    assert result.lags[1] > 0.15
    assert result.latencies[1] < 0.45
    assert result.elapsed < 1.0


async def test_arrivals_beyond_the_bound_are_dropped_and_counted() -> None:
    most = now = 0

    async def hang(_: Request) -> tuple[int, int]:
        nonlocal most, now
        now += 1
        most = max(most, now)
        try:
            await asyncio.sleep(0.5)
        finally:
            now -= 1
        return 200, 0

    result = await measure(replace(PLAN, max_in_flight=5, timeout=2), send=hang)
    assert most == 5
    assert result.errors == {"dropped": 55}
    assert result.percentile(50) == 2.0
    assert len(result) == 60


async def test_a_blocked_loop_is_noticed() -> None:
    blocked = False

    async def block(_: Request) -> tuple[int, int]:
        nonlocal blocked
        if not blocked:
            blocked = True
            time.sleep(0.15)  # noqa: ASYNC251 - the subject
        return 200, 0

    with pytest.raises(GeneratorLagged, match="did not keep its own schedule: p99 lag 1"):
        await run(PLAN, send=block)


async def test_a_stall_that_only_answers_met_is_noticed_too() -> None:
    """Nothing is due while the generator stands still, but answers are: they look slow."""
    plan = replace(PLAN, rate=10, duration=0.3)
    last = asyncio.Event()
    sent = 0

    async def answer_after_a_stall(_: Request) -> tuple[int, int]:
        nonlocal sent
        sent += 1
        if sent == 3:
            last.set()
        await asyncio.sleep(0.3)
        return 200, 0

    async def stall() -> None:
        await last.wait()
        await asyncio.sleep(0.1)
        time.sleep(0.5)  # noqa: ASYNC251 - the subject

    stalling = asyncio.create_task(stall())
    result = await measure(plan, send=answer_after_a_stall)
    await stalling
    assert max(result.latencies) > 0.4
    assert 0.3 < result.lag_max < 0.6
    assert all(latency >= lag for latency, lag in zip(result.latencies, result.lags, strict=True))
    with pytest.raises(GeneratorLagged):
        result.require_valid()


async def test_latency_counts_from_the_due_time_not_from_sending() -> None:
    blocked = False

    async def block(_: Request) -> tuple[int, int]:
        nonlocal blocked
        if not blocked:
            blocked = True
            time.sleep(0.1)  # noqa: ASYNC251 - all due meanwhile are sent late, and answered at once
        return 200, 0

    result = await measure(PLAN, send=block)
    assert result.lag_max > 0.08
    assert all(latency >= lag for latency, lag in zip(result.latencies, result.lags, strict=True))


async def test_cancelling_leaves_no_task_behind() -> None:
    started = asyncio.Event()

    async def hang(_: Request) -> tuple[int, int]:
        started.set()
        await asyncio.Event().wait()
        return 200, 0

    before = asyncio.all_tasks()
    running = asyncio.create_task(measure(PLAN, send=hang))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == before


async def test_a_faulty_sender_ends_the_run() -> None:
    async def faulty(_: Request) -> tuple[int, int]:
        raise LookupError("a fault")

    before = asyncio.all_tasks()
    with pytest.raises(LookupError, match="a fault"):
        await measure(PLAN, send=faulty)
    assert asyncio.all_tasks() == before


async def test_progress_ends_with_everything_done() -> None:
    told: list[tuple[int, int, int]] = []
    await measure(PLAN, send=answer, progress=lambda *counts: told.append(counts))
    assert len(told) >= 2
    assert told[-1] == (60, 60, 60)
    assert told == sorted(told)


async def test_a_schedule_may_be_empty() -> None:
    result = await measure(replace(PLAN, rate=0.001, duration=0.01, spacing="poisson"), send=answer)
    assert len(result) == 0
    assert math.isnan(result.percentile(99))


async def test_without_aiohttp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "symphonia_perf.loadtest.client", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtra, match=r"symphonia-perf\[loadtest\]"):
        await measure(PLAN)


async def test_another_missing_module_is_not_taken_for_an_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "symphonia_perf.loadtest.client", None)
    with pytest.raises(ModuleNotFoundError) as missing:
        await measure(PLAN)
    assert not isinstance(missing.value, MissingExtra)
