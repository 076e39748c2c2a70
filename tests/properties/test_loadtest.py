from array import array
from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from symphonia_perf.loadtest import (
    Plan,
    Request,
    Result,
    Trial,
    bar_chart,
    next_rate,
    percentile,
    percentile_chart,
)
from symphonia_perf.loadtest.plan import arrivals

latencies = st.floats(min_value=0, max_value=1e6)
percents = st.floats(min_value=0, max_value=100, exclude_min=True) | st.sampled_from(
    [0.1, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0]
)


@given(values=st.lists(latencies, min_size=1), p=percents)
def test_percentile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[float], p: float
) -> None:
    values.sort()
    found = percentile(values, p)
    enough = Fraction(repr(p)) / 100 * len(values)
    assert found in values
    assert sum(value <= found for value in values) >= enough
    assert sum(value < found for value in values) < enough


@given(
    rate=st.floats(min_value=0.1, max_value=2000),
    duration=st.floats(min_value=0.01, max_value=2),
    warmup=st.floats(min_value=0, max_value=1),
    spacing=st.sampled_from(["poisson", "uniform"]),
    seed=st.integers(),
)
def test_a_schedule_is_in_order_within_bounds_and_always_the_same(
    rate: float, duration: float, warmup: float, spacing: str, seed: int
) -> None:
    plan = Plan(
        base_url="http://127.0.0.1:1",
        requests=(Request(path="/a"), Request(path="/b", weight=0.1)),
        rate=rate,
        duration=duration,
        warmup=warmup,
        spacing=spacing,  # type: ignore[arg-type]
        seed=seed,
    )
    schedule = arrivals(plan)
    assert list(schedule.due) == sorted(schedule.due)
    assert all(0 <= due < warmup + duration for due in schedule.due)
    assert len(schedule.which) == len(schedule.due)
    assert set(schedule.which) <= {0, 1}
    again = replace(Plan.from_json(plan.to_json()), base_url="https://elsewhere")
    assert arrivals(again) == schedule


rows = st.tuples(
    st.integers(0, 2),
    latencies,
    latencies,
    st.sampled_from([1, 2, 3, 4, 200, 404, 500]),
    st.integers(0, 2**40),
)


def build(drawn: list[tuple[int, float, float, int, int]]) -> Result:
    columns = list(zip(*drawn, strict=True)) or [()] * 5
    return Result(
        names=("a", "b", "c"),
        kinds=array("H", columns[0]),
        latencies=array("d", columns[1]),
        lags=array("d", columns[2]),
        outcomes=array("H", columns[3]),
        sizes=array("Q", columns[4]),
        elapsed=1.0,
    )


@given(first=st.lists(rows), second=st.lists(rows))
def test_results_survive_json_and_add_up_when_merged(
    first: list[tuple[int, float, float, int, int]],
    second: list[tuple[int, float, float, int, int]],
) -> None:
    one, two = build(first), build(second)
    assert Result.from_json(one.to_json()) == one
    both = Result.merge([one, two])
    assert replace(both, elapsed=1.0) == build(first + second)
    kinds = [both.only(name) for name in both.names]
    assert sum(map(len, kinds)) == len(both)
    assert sum(kind.bytes_received for kind in kinds) == both.bytes_received
    assert sum(kind.succeeded for kind in kinds) == both.succeeded


@given(
    carries=st.floats(min_value=1, max_value=1e5),
    start=st.floats(min_value=1, max_value=1e4),
    maximum=st.floats(min_value=1, max_value=1e5),
)
def test_a_search_ends_at_what_is_carried(carries: float, start: float, maximum: float) -> None:
    trials: list[Trial] = []
    while (rate := next_rate(trials, start=start, maximum=maximum)) is not None:
        assert 0 < rate <= maximum
        trials.append(Trial(rate=rate, strain=0.5 if rate <= carries else 1.5))
        assert len(trials) <= 60
    best = max((trial.rate for trial in trials if trial.clean), default=0.0)
    within = min(carries, maximum)
    assert best <= within
    given_up = best == 0.0 and within < min(start, maximum) / 512
    assert best >= within / 1.1 or given_up


@given(answers=st.lists(st.floats(min_value=0, max_value=10), min_size=80, max_size=80))
def test_a_search_ends_whatever_the_noise(answers: list[float]) -> None:
    trials: list[Trial] = []
    while (rate := next_rate(trials, start=100, maximum=10_000)) is not None:
        trials.append(Trial(rate=rate, strain=answers[len(trials)]))


numbers = st.floats()
names = st.text(max_size=20)


@given(
    title=names,
    categories=st.lists(names, max_size=4),
    series=st.lists(names, max_size=4, unique=True),
    log=st.booleans(),
    data=st.data(),
)
def test_bar_charts_are_well_formed_whatever_they_show(
    title: str,
    categories: list[str],
    series: list[str],
    log: bool,  # noqa: FBT001
    data: st.DataObject,
) -> None:
    size = len(categories)
    values = {name: data.draw(st.lists(numbers, min_size=size, max_size=size)) for name in series}
    check(bar_chart(title, categories, values, log=log))


@given(
    title=names,
    series=st.dictionaries(names, st.lists(numbers, max_size=30), max_size=4),
    log=st.booleans(),
)
def test_percentile_charts_are_well_formed_whatever_they_show(
    title: str,
    series: dict[str, list[float]],
    log: bool,  # noqa: FBT001
) -> None:
    check(percentile_chart(title, series, log=log))


def check(svg: str) -> None:
    root = ET.fromstring(svg)
    for element in root.iter():
        for name, value in element.attrib.items():
            if name in {"x", "y", "width", "height", "cx", "cy"}:
                assert -20 <= float(value) < 1e4
            assert "nan" not in value
            assert "inf" not in value
