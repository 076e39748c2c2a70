import json
import math
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.loadtest.plan import Plan, Request, arrivals

PLAN = Plan(base_url="http://127.0.0.1:1", requests=(Request(path="/"),), rate=100, duration=2)


def test_a_request_is_named_after_method_and_path() -> None:
    assert Request(path="/a?b=1", method="POST").name == "POST /a"
    assert Request(path="/a", name="x").name == "x"


def test_headers_may_be_a_list_and_a_request_is_a_value() -> None:
    request = Request(path="/a", headers=[["a", "b"]])  # type: ignore[arg-type, list-item]
    assert request == Request(path="/a", headers=(("a", "b"),))
    assert hash(request) == hash(Request(path="/a", headers=(("a", "b"),)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "a"}, "path='a'"),
        ({"path": "/a b"}, "path='/a b'"),
        ({"path": "/é"}, "path='/é'"),
        ({"path": "/", "method": "GE T"}, "method='GE T'"),
        ({"path": "/", "headers": (("a b", "1"),)}, "headers="),
        ({"path": "/", "headers": (("a", "1\r\nx: y"),)}, "headers="),
        ({"path": "/", "weight": 0}, "weight=0"),
        ({"path": "/", "weight": math.nan}, "weight=nan"),
        ({"path": "/", "weight": True}, "weight=True"),
        ({"path": "/", "weight": "1"}, "weight='1'"),
    ],
)
def test_a_bad_request_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match="expected") as refused:
        Request(**options)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("base_url", "127.0.0.1:80"),
        ("base_url", "ftp://host"),
        ("base_url", "http://"),
        ("base_url", "http://host?x=1"),
        ("base_url", "http://host#x"),
        ("base_url", "http://host:0"),
        ("base_url", "http://host:99999"),
        ("base_url", "http://host:port"),
        ("base_url", "http://[::1"),
        ("base_url", "http://host\n"),
        ("base_url", None),
        ("requests", ()),
        ("requests", ("/",)),
        ("rate", 0),
        ("rate", -1),
        ("rate", math.nan),
        ("rate", math.inf),
        ("rate", "100"),
        ("duration", 0),
        ("duration", math.inf),
        ("warmup", -1),
        ("timeout", 0),
        ("seed", 1.5),
        ("max_in_flight", 0),
        ("max_in_flight", True),
        ("spacing", "bursty"),
    ],
)
def test_a_bad_plan_is_refused(option: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match="expected") as refused:
        replace(PLAN, **{option: value})
    assert str(refused.value).startswith(f"{option}={value!r}")


def test_durations_may_be_timedeltas_and_become_floats() -> None:
    plan = replace(PLAN, duration=timedelta(minutes=1), warmup=1)
    assert (plan.duration, plan.warmup) == (60.0, 1.0)
    assert isinstance(plan.warmup, float)


def test_names_are_in_order_and_once() -> None:
    mix = tuple(Request(path=path, name=path[1]) for path in ("/b1", "/a1", "/b2"))
    assert replace(PLAN, requests=mix).names == ("b", "a")


def test_json_gives_the_same_plan_back() -> None:
    plan = replace(
        PLAN,
        requests=(Request(path="/x", method="POST", body=b"\0\xff", headers=(("a", "b"),)),),
        warmup=0.5,
        spacing="uniform",
    )
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"requests": [{"body": "", "headers": []}]}',
        '{"requests": 1}',
    ],
)
def test_json_that_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a plan"):
        Plan.from_json(text)


def test_json_with_a_bad_value_keeps_the_message_about_it() -> None:
    text = json.dumps({**json.loads(PLAN.to_json()), "rate": -1})
    with pytest.raises(ConfigurationError, match=r"^rate=-1"):
        Plan.from_json(text)


def test_only_bytes_are_encoded() -> None:
    with pytest.raises(TypeError):
        replace(PLAN, requests=(Request(path="/", body={1}),)).to_json()  # type: ignore[arg-type]


def test_uniform_arrivals_are_a_metronome() -> None:
    schedule = arrivals(replace(PLAN, spacing="uniform", rate=10, duration=0.5, warmup=0.5))
    assert list(schedule.due) == [number / 10 for number in range(10)]


def test_poisson_gaps_are_exponential() -> None:
    due = arrivals(replace(PLAN, rate=1000, duration=20)).due
    gaps = sorted(after - before for before, after in pairwise(due))
    assert len(due) == pytest.approx(20_000, rel=0.03)
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.001, rel=0.03)
    # The median of an exponential distribution is its mean times ln 2.
    assert gaps[len(gaps) // 2] == pytest.approx(mean * math.log(2), rel=0.05)


def test_the_mix_follows_its_weights() -> None:
    mix = (Request(path="/a", weight=3), Request(path="/b"))
    which = arrivals(replace(PLAN, requests=mix, rate=10_000)).which
    assert sum(which) / len(which) == pytest.approx(0.25, abs=0.02)


def test_the_seed_decides_the_schedule_and_the_target_does_not() -> None:
    assert arrivals(PLAN) == arrivals(replace(PLAN, base_url="http://other", timeout=1))
    assert arrivals(PLAN) != arrivals(replace(PLAN, seed=1))
