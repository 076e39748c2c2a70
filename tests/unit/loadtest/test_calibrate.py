import math
from array import array

import pytest

from symphonia_perf.errors import ConfigurationError, GeneratorLagged
from symphonia_perf.loadtest.calibrate import (
    Trial,
    highest_clean_rate,
    next_rate,
    strain,
)
from symphonia_perf.loadtest.plan import Plan, Request
from symphonia_perf.loadtest.result import Result

PLAN = Plan(
    base_url="http://127.0.0.1:1", requests=(Request(path="/"),), rate=100, duration=1, timeout=1
)


def measured(latencies: list[float], *, status: int = 200) -> Result:
    count = len(latencies)
    return Result(
        names=("/",),
        kinds=array("H", [0] * count),
        latencies=array("d", latencies),
        lags=array("d", [0.0] * count),
        outcomes=array("H", [status] * count),
        sizes=array("Q", [0] * count),
        elapsed=1.0,
    )


def trials(*pairs: tuple[float, float]) -> list[Trial]:
    return [Trial(rate=rate, strain=found) for rate, found in pairs]


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        ([], 100),
        ([(100, 0.5)], 200),
        ([(100, 0.5), (200, 1.0)], 400),
        ([(100, 0.5), (800, 0.5)], 1000),
        ([(1000, 0.5)], None),
        ([(100, 1.5)], 100),
        ([(100, 1.5), (100, 1.5)], 50),
        ([(100, 1.5), (100, 0.9)], 200),
        ([(100, 9.0)], 50),
        ([(100, math.inf)], 50),
        ([(0.09, 9.0)], None),
        ([(100, 0.5), (400, 9.0)], 200),
        ([(100, 0.5), (109, 9.0)], None),
    ],
)
def test_next_rate(past: list[tuple[float, float]], expected: float | None) -> None:
    assert next_rate(trials(*past), start=100, maximum=1000) == expected


def test_a_start_above_the_maximum_is_the_maximum() -> None:
    assert next_rate([], start=100, maximum=10) == 10


def test_a_clean_rate_above_an_unclean_one_counts_for_nothing() -> None:
    past = trials((100, 0.5), (400, 9.0), (800, 0.5))
    assert next_rate(past, start=100, maximum=1000) == 200


def test_strain_is_the_worst_of_three() -> None:
    assert strain(measured([]), limit=0.1, max_error_rate=0.01) == 0.0
    assert strain(measured([0.05] * 9), limit=0.1, max_error_rate=0.01) == pytest.approx(0.5)
    assert strain(measured([0.0] * 9, status=500), limit=0.1, max_error_rate=0.01) == 100
    growing = [0.01] * 3 + [0.03] * 3 + [0.06] * 3
    assert strain(measured(growing), limit=0.1, max_error_rate=0.01) == pytest.approx(2.0)


class Service:
    """Carries a rate, and no more."""

    def __init__(self, carries: float, generator: float = math.inf) -> None:
        self.carries = carries
        self.generator = generator

    async def __call__(self, plan: Plan) -> Result:
        if plan.rate > self.generator:
            raise GeneratorLagged("late")
        return measured([0.01 if plan.rate <= self.carries else 5.0] * 100)


@pytest.mark.parametrize("carries", [3.0, 90.0, 100.0, 777.0, 5_000.0])
async def test_the_search_ends_within_a_tenth_below_what_the_service_carries(
    carries: float,
) -> None:
    found = await highest_clean_rate(PLAN, limit=0.1, wait_idle=False, run=Service(carries))
    assert carries / 1.1 <= found.rate <= carries
    assert found.limited_by == "service"
    assert len(found.trials) <= 20


async def test_the_search_says_what_limited_it() -> None:
    found = await highest_clean_rate(
        PLAN, limit=0.1, maximum=300, wait_idle=False, run=Service(math.inf)
    )
    assert (found.rate, found.limited_by) == (300, "maximum")
    found = await highest_clean_rate(
        PLAN, limit=0.1, wait_idle=False, run=Service(math.inf, generator=300)
    )
    assert found.limited_by == "generator"
    assert 300 / 1.1 <= found.rate <= 300
    found = await highest_clean_rate(
        PLAN, limit=0.1, budget=0.5, wait_idle=False, run=Service(math.inf)
    )
    assert (found.rate, found.limited_by, found.trials) == (0.0, "budget", ())
    found = await highest_clean_rate(PLAN, limit=0.1, wait_idle=False, run=Service(0))
    assert (found.rate, found.limited_by) == (0.0, "service")


@pytest.mark.parametrize("option", ["limit", "max_error_rate", "maximum", "budget"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan])
async def test_bad_limits_are_refused(option: str, value: float) -> None:
    options = {"limit": 0.1, option: value}
    with pytest.raises(ConfigurationError, match=option):
        await highest_clean_rate(PLAN, **options)
