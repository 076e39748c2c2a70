from datetime import timedelta
from typing import Any

import pytest

from symphonia_perf.cache import TTL, Entry, Lifetime
from symphonia_perf.errors import ConfigurationError


class NotFound(LookupError):
    def __init__(self, what: str, key: str) -> None:
        super().__init__(what, key)


class Changed(Exception):
    """It does not come back as it was."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")


class TwoArguments(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one + two)


def test_the_presets_are_the_studys() -> None:
    found = {name: getattr(TTL, name).ttl for name in ("PLANS", "CARRIERS", "PRICING", "HEALTH")}
    assert found == {"PLANS": 3600, "CARRIERS": 900, "PRICING": 1800, "HEALTH": 60}
    assert not TTL.ORDERS.keeps
    assert TTL.ORDERS.entry("x", {}, 0.5) is None


def test_durations_become_seconds() -> None:
    lifetime = Lifetime(ttl=timedelta(minutes=15), stale_for=1, negative=timedelta(seconds=2))
    assert (lifetime.ttl, lifetime.stale_for, lifetime.negative) == (900.0, 1.0, 2.0)


def test_chance_takes_a_part_of_the_time_off() -> None:
    lifetime = Lifetime(ttl=100, stale_for=10, stale_on_error=5, jitter=0.1)
    assert lifetime.entry("x", {"t": 1}, 0.0) == Entry(
        value="x", ttl=100.0, stale_for=10.0, stale_on_error=5.0, tags={"t": 1}
    )
    assert lifetime.entry("x", {}, 0.5) == Entry(
        value="x", ttl=95.0, stale_for=9.5, stale_on_error=5.0
    )


def test_none_is_a_value_unless_it_is_told_otherwise() -> None:
    assert Lifetime(ttl=100, jitter=0).entry(None, {}, 0.5) == Entry(value=None, ttl=100.0)
    short = Lifetime(ttl=100, stale_for=50, negative=7, jitter=0)
    assert short.entry(None, {"t": 3}, 0.5) == Entry(value=None, ttl=7.0, tags={"t": 3})
    only = Lifetime(ttl=0, negative=7, jitter=0)
    assert only.entry(None, {}, 0.5) == Entry(value=None, ttl=7.0)
    assert only.entry(0, {}, 0.5) is None


def test_a_negative_time_stands_in_place_of_every_other() -> None:
    only = Lifetime(ttl=0, negative=30, errors=(NotFound,), jitter=0)
    missing = NotFound("plan", "7")
    assert only.keeps
    assert only.entry("there", {}, 0.0) is None
    for entry in (only.entry(None, {}, 0.0), only.entry_of_error(missing, {}, 0.0)):
        assert entry is not None
        assert entry.ttl == 30


def test_an_error_is_kept_by_name_and_arguments() -> None:
    lifetime = Lifetime(negative=5, errors=(NotFound,), jitter=0.5)
    entry = lifetime.entry_of_error(NotFound("plan", "7"), {"t": 1}, 1.0)
    assert entry is not None
    assert entry == Entry(
        value=[f"{__name__}.NotFound", "plan", "7"], ttl=2.5, tags={"t": 1}, raised=True
    )
    again = lifetime.error(entry)
    assert type(again) is NotFound
    assert again.args == ("plan", "7")
    assert Lifetime(negative=5, errors=(LookupError,)).error(entry) is None


@pytest.mark.parametrize(
    "error", [LookupError("a base class"), Changed(5), TwoArguments(1, 2)], ids=repr
)
def test_an_error_that_is_not_asked_for_or_does_not_come_back_is_not_kept(error: Exception) -> None:
    lifetime = Lifetime(negative=5, errors=(NotFound, Changed, TwoArguments))
    assert lifetime.entry_of_error(error, {}, 0.0) is None


def test_a_ttl_may_be_many_things() -> None:
    default = Lifetime(ttl=10, stale_for=5)
    assert Lifetime.of(None, default) is default
    assert Lifetime.of(TTL.PLANS, default) is TTL.PLANS
    assert Lifetime.of(20, default) == Lifetime(ttl=20, stale_for=5)
    with pytest.raises(ConfigurationError, match="ttl=0: expected more than 0"):
        Lifetime.of(0, default)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": -1}, "ttl=-1"),
        ({"stale_for": "x"}, "stale_for='x'"),
        ({"stale_on_error": float("inf")}, "stale_on_error=inf"),
        ({"negative": 0}, "negative=0"),
        ({"jitter": 1}, "jitter=1: expected 0 or more and less than 1"),
        ({"jitter": True}, "jitter=True"),
        ({"jitter": "a"}, "jitter='a'"),
        ({"errors": LookupError, "negative": 1}, "expected a tuple of exception classes"),
        ({"errors": (5,), "negative": 1}, r"errors=\(5,\)"),
        ({"errors": (KeyboardInterrupt,), "negative": 1}, "errors="),
        ({"errors": (LookupError,)}, "say how long they are kept by negative="),
        ({"ttl": 0, "stale_for": 1}, "what is not kept cannot be served when it is stale"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Lifetime(**options)
