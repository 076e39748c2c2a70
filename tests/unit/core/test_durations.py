from datetime import timedelta

import pytest

from symphonia_perf._core.durations import parse_duration, seconds
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), (0.25, 0.25), (timedelta(minutes=15), 900.0), (timedelta(milliseconds=1), 0.001)],
)
def test_a_duration_is_seconds(value: Seconds, expected: float) -> None:
    result = seconds(value, option="ttl")
    assert result == expected
    assert type(result) is float


@pytest.mark.parametrize(
    "value",
    [0, -1, timedelta(0), float("nan"), float("inf"), 10**400, True, "15m", None, [1]],
    ids=lambda value: repr(value)[:12],
)
def test_what_is_not_a_duration_is_refused_by_name(value: Seconds) -> None:
    with pytest.raises(ConfigurationError, match=r"^ttl=.*: expected more than 0 seconds"):
        seconds(value, option="ttl")


def test_zero_is_a_duration_where_it_has_a_meaning() -> None:
    assert seconds(0, option="wait", zero=True) == 0.0
    with pytest.raises(ConfigurationError, match=r"expected 0 or more seconds"):
        seconds(-0.1, option="wait", zero=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("250ms", 0.25), ("45", 45.0), (" 15m ", 900.0), ("1.5 h", 5400.0), ("2d", 172_800.0)],
)
def test_text_from_the_environment(text: str, expected: float) -> None:
    assert parse_duration(text, option="TTL") == expected


@pytest.mark.parametrize("text", ["", "m", "15 min", "-1s", "1e3", "1s2", "٣s", "inf"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^TTL=.*: expected a duration such as 250ms"):
        parse_duration(text, option="TTL")
