"""How much a service can carry: a search over short runs, its decisions apart from them."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Literal

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import ConfigurationError, GeneratorLagged
from symphonia_perf.loadtest.plan import Plan
from symphonia_perf.loadtest.process import run_in_process
from symphonia_perf.loadtest.result import Result
from symphonia_perf.loadtest.runner import http_client

__all__ = ["CleanRate", "Trial", "highest_clean_rate", "next_rate", "settle", "strain"]

_CLEAR = 2.0  # a strain that needs no second look
_CLOSE = 1.1  # neighbouring rates that a search ends between
_ATTEMPTS = 2  # a trial just above its limit is repeated once: noise is not the service's
_DRIFT = 0.25  # share of the limit by which a run's median may grow within it


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One short run of a search.

    ```python
    from symphonia_perf.loadtest import Trial

    print(Trial(rate=200, strain=0.4).clean)  # True
    ```
    """

    rate: float  # arrivals per second
    strain: float  # the worst measure as a fraction of its limit; infinite: generator lagged

    @property
    def clean(self) -> bool:
        """Whether every measure was within its limit."""
        return self.strain <= 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRate:
    """What a search found.

    ```python
    from symphonia_perf.loadtest import CleanRate, Trial

    found = CleanRate(rate=200, limited_by="service", trials=(Trial(rate=200, strain=0.4),))
    ```
    """

    rate: float  # highest clean arrivals per second; 0 when none was
    limited_by: Literal["service", "generator", "maximum", "budget"]  # the last: time ran out
    trials: tuple[Trial, ...]  # every run, in order


def strain(result: Result, *, limit: float, max_error_rate: float) -> float:
    """The worst of p99, error rate and backlog growth, each as a fraction of its limit.

    A rate slightly too high fills a queue slowly: the median grows during the run before p99 is
    over the limit. So the growth counts too; it may be a quarter of the limit.
    """
    if not len(result):
        return 0.0
    return max(
        result.percentile(99) / limit,
        result.error_rate / max_error_rate,
        result.drift / (limit * _DRIFT),
    )


def next_rate(trials: Sequence[Trial], *, start: float, maximum: float) -> float | None:
    """The rate to try next, or None when the search is over.

    Doubles while it is clean, halves while it is not, then bisects (by the geometric mean, since
    rates are compared by their ratio) until the lowest unclean rate is at most 10 percent above
    the highest clean one below it. A rate just above its limit is tried twice.

    ```python
    from symphonia_perf.loadtest import Trial, next_rate

    assert next_rate([], start=100, maximum=10_000) == 100
    assert next_rate([Trial(rate=100, strain=0.2)], start=100, maximum=10_000) == 200
    ```
    """
    start = min(start, maximum)
    if not trials:
        return start
    last = trials[-1]
    tries = sum(trial.rate == last.rate for trial in trials)
    if 1 < last.strain <= _CLEAR and tries < _ATTEMPTS:
        return last.rate
    low, high = bracket(trials)
    if high == math.inf:
        return None if low >= maximum else min(low * 2, maximum)
    if low == 0:
        # A thousandth of the start: this service answers nothing in time.
        return None if high <= start / 1024 else high / 2
    return None if high <= low * _CLOSE else math.sqrt(low * high)


def bracket(trials: Sequence[Trial]) -> tuple[float, float]:
    """The highest clean rate (or 0) below the lowest that never was (or infinity)."""
    clean = {trial.rate for trial in trials if trial.clean}
    high = min({trial.rate for trial in trials} - clean, default=math.inf)
    return max((rate for rate in clean if rate < high), default=0.0), high


async def settle(plan: Plan, *, limit: float, patience: float = 30.0) -> bool:
    """Whether the service is idle again: three requests in a row, alone, each within `limit`.

    A run above what a service can carry leaves work behind that its clients no longer wait for.
    Wait for its end, or the next run pays for it.

    Args:
        plan: where; its first request is sent.
        limit: seconds that an answer of an idle service may take.
        patience: seconds to wait for that at most.

    Raises:
        MissingExtra: aiohttp is not installed.
    """
    limit, patience = seconds(limit, option="limit"), seconds(patience, option="patience")
    in_row = 0
    try:
        async with asyncio.timeout(patience), http_client(plan) as client:
            while in_row < 3:
                began = monotonic()
                try:
                    await client.send(plan.requests[0])
                except OSError:
                    in_row = 0
                    await asyncio.sleep(limit)  # refused at once: do not hammer
                    continue
                in_row = in_row + 1 if monotonic() - began <= limit else 0
    except TimeoutError:
        return False
    return True


async def highest_clean_rate(
    plan: Plan,
    *,
    limit: float,
    max_error_rate: float = 0.01,
    maximum: float = 10_000.0,
    budget: float = 60.0,
    wait_idle: bool = True,
    run: Callable[[Plan], Awaitable[Result]] = run_in_process,
) -> CleanRate:
    """The highest arrival rate that the service answers within `limit` at p99.

    Every trial is `plan` at another rate, from `plan.rate` on, and begins when the service is idle
    (`settle`). Give the plan a short `timeout`: a trial takes that long at worst after its last
    arrival.

    Args:
        plan: what to send; `rate` is where the search starts.
        limit: seconds that p99 may take.
        max_error_rate: failed share of the requests that is still clean.
        maximum: arrivals per second that are not exceeded.
        budget: seconds for the whole search; a trial that might not fit is not begun.
        wait_idle: whether to wait before each trial for the leftovers of the one before.
        run: measures one plan.

    Raises:
        ConfigurationError: a limit that is not above 0.
        GeneratorFailed: a generator ended without a result.
    """
    limit, budget = seconds(limit, option="limit"), seconds(budget, option="budget")
    for option, value in (("max_error_rate", max_error_rate), ("maximum", maximum)):
        if not 0 < value < math.inf:
            raise ConfigurationError(f"{option}={value!r}: expected a finite number above 0")
    trials: list[Trial] = []
    lagged_at = math.inf
    latest = monotonic() + budget - plan.warmup - plan.duration - plan.timeout
    while (rate := next_rate(trials, start=plan.rate, maximum=maximum)) is not None:
        left = latest - monotonic()
        if left <= 0 or (wait_idle and not await settle(plan, limit=limit, patience=left)):
            break
        try:
            result = await run(replace(plan, rate=rate))
            found = strain(result, limit=limit, max_error_rate=max_error_rate)
        except GeneratorLagged:
            found = math.inf
            lagged_at = min(lagged_at, rate)
        trials.append(Trial(rate=rate, strain=found))
    low, high = bracket(trials)
    return CleanRate(rate=low, limited_by=_reason(rate, high, lagged_at), trials=tuple(trials))


def _reason(
    rate: float | None, high: float, lagged_at: float
) -> Literal["service", "generator", "maximum", "budget"]:
    if rate is not None:
        return "budget"
    if high == math.inf:
        return "maximum"
    return "generator" if high == lagged_at else "service"
