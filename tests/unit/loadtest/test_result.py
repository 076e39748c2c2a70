import json
import math
from array import array
from dataclasses import replace

import pytest

from symphonia_perf.errors import ConfigurationError, GeneratorLagged
from symphonia_perf.loadtest.result import Failure, Result, percentile


def result(
    latencies: list[float],
    *,
    lags: list[float] | None = None,
    kinds: list[int] | None = None,
    outcomes: list[int] | None = None,
) -> Result:
    count = len(latencies)
    return Result(
        names=("a", "b"),
        kinds=array("H", kinds or [0] * count),
        latencies=array("d", latencies),
        lags=array("d", lags or [0.0] * count),
        outcomes=array("H", outcomes or [200] * count),
        sizes=array("Q", range(count)),
        elapsed=2.0,
    )


@pytest.mark.parametrize(
    ("p", "expected"), [(0.1, 1), (10, 1), (10.1, 2), (50, 5), (90, 9), (99, 10), (100, 10)]
)
def test_percentile_is_nearest_rank(p: float, expected: int) -> None:
    assert percentile(range(1, 11), p) == expected


def test_percentile_is_not_misled_by_binary_fractions() -> None:
    # 99.9 / 100 * 1000 is 999.0000000000001 in floats.
    assert percentile(range(1, 1001), 99.9) == 999


@pytest.mark.parametrize("p", [0, -1, 100.1, math.nan])
def test_percentile_refuses_what_is_none(p: float) -> None:
    with pytest.raises(ConfigurationError, match="above 0 and up to 100"):
        percentile([1.0], p)


def test_no_values_have_no_percentile() -> None:
    assert math.isnan(result([]).percentile(50))


def test_counts_errors_and_statuses() -> None:
    outcomes = [200, 304, 404, 503, 503, Failure.TIMEOUT, Failure.REFUSED, Failure.DROPPED]
    found = result([1.0] * 8, outcomes=outcomes)
    assert found.errors == {"HTTP 503": 2, "HTTP 404": 1, "timeout": 1, "refused": 1, "dropped": 1}
    assert found.statuses == {200: 1, 304: 1, 404: 1, 503: 2}
    assert (found.succeeded, found.error_rate, found.throughput) == (2, 0.75, 1.0)
    assert found.bytes_received == sum(range(8))


def test_nothing_measured_has_no_errors_and_is_valid() -> None:
    empty = result([])
    assert (empty.error_rate, empty.drift, empty.lagged) == (0.0, 0.0, "")
    assert empty.require_valid() is empty
    assert math.isnan(empty.lag_max)


def test_only_picks_one_kind() -> None:
    found = result([1.0, 2.0, 3.0], kinds=[0, 1, 0]).only("a")
    assert list(found.latencies) == [1.0, 3.0]
    assert list(found.sizes) == [0, 2]
    with pytest.raises(ConfigurationError, match="name='c': expected one of a, b"):
        found.only("c")


def test_drift_compares_the_last_third_with_the_first() -> None:
    assert result([1.0, 1.0, 5.0, 5.0, 4.0, 4.0]).drift == 3.0


@pytest.mark.parametrize(
    ("latency", "lags", "said"),
    [
        (0.001, [0.0001] * 1000, ""),
        (0.001, [0.0001] * 991 + [0.09] * 9, ""),
        (0.001, [0.0001] * 980 + [0.011] * 20, "p99 lag 11.0 ms (allowed 10.0)"),
        (0.001, [0.0001] * 999 + [0.101], "worst 101.0 ms (allowed 100.0)"),
        (1.0, [0.0001] * 900 + [0.09] * 100, ""),
        (1.0, [0.0001] * 900 + [0.11] * 100, "p99 lag 110.0 ms (allowed 100.0)"),
        (5.0, [0.0001] * 999 + [0.4], ""),
    ],
)
def test_lag_may_be_small_or_a_tenth(latency: float, lags: list[float], said: str) -> None:
    found = result([latency] * 1000, lags=lags)
    assert bool(found.lagged) == bool(said)
    assert said in found.lagged
    if said:
        with pytest.raises(GeneratorLagged, match="lower the rate"):
            found.require_valid()


def test_the_quickest_kind_decides_how_much_lag_is_allowed() -> None:
    found = result([1.0, 0.01] * 500, kinds=[0, 1] * 500, lags=[0.05] * 1000)
    assert "allowed 10.0" in found.lagged


def test_merge_joins_rows_and_time_and_leaves_its_parts_alone() -> None:
    first, second = result([1.0]), result([2.0, 3.0], outcomes=[200, 500])
    merged = Result.merge([first, second])
    assert list(merged.latencies) == [1.0, 2.0, 3.0]
    assert (merged.elapsed, len(first), merged.errors) == (4.0, 1, {"HTTP 500": 1})


def test_merge_wants_results_of_one_mix() -> None:
    with pytest.raises(ConfigurationError, match="one or more of one mix"):
        Result.merge([])
    with pytest.raises(ConfigurationError, match="a, b"):
        Result.merge([result([1.0]), replace(result([1.0]), names=("c",))])


def test_json_gives_the_same_result_back() -> None:
    found = result([0.1, 1 / 3], outcomes=[200, Failure.TIMEOUT])
    assert Result.from_json(found.to_json()) == found


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, '{"kinds": [-1]}'])
def test_json_that_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a result"):
        Result.from_json(text)


@pytest.mark.parametrize(
    "changed", [{"lags": []}, {"kinds": [0, 7]}, {"outcomes": [200, 50]}, {"sizes": ["x", "y"]}]
)
def test_json_with_rows_that_do_not_fit_is_refused(changed: dict) -> None:
    data = json.loads(result([0.1, 0.2]).to_json())
    with pytest.raises(ConfigurationError, match="not a result"):
        Result.from_json(json.dumps(data | changed))
