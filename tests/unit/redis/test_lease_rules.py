"""What a holder may believe, and when it acts."""

from datetime import timedelta
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis._lease_rules import (
    Tenure,
    checked_length,
    checked_name,
    failures_in_a_row,
    poll_pause,
    restart_pause,
    retry_pause,
    spacing,
)

TENURE = Tenure(number=7, length=30.0, sent=100.0)


def test_a_tenure_counts_from_before_it_was_asked_for() -> None:
    assert TENURE.renewal == 110
    assert TENURE.until == 127
    assert TENURE.end == 130


@pytest.mark.parametrize(("now", "holds"), [(100, True), (126.9, True), (127, False), (999, False)])
def test_the_last_tenth_is_not_used(now: float, holds: object) -> None:
    assert TENURE.holds(now) is holds


def test_a_renewal_moves_everything_but_the_number() -> None:
    later = TENURE.renewed(sent=110.0)
    assert (later.number, later.renewal, later.until, later.end) == (7, 120, 137, 140)


@pytest.mark.parametrize(("now", "patience"), [(110, 5), (120, 5), (125, 2), (127, 0.001)])
def test_a_renewal_waits_no_longer_than_it_could_help(now: float, patience: float) -> None:
    assert TENURE.patience(now) == patience


def test_a_lost_renewal_leaves_time_for_more() -> None:
    now, tries = TENURE.renewal, 0
    while TENURE.holds(now):
        now += TENURE.patience(now) + retry_pause(TENURE.length, 1.0)
        tries += 1
    assert tries == 3


@pytest.mark.parametrize("left", [None, -0.001, 0.0, 0.1])
def test_a_waiter_asks_at_most_five_times_a_second(left: float | None) -> None:
    assert poll_pause(left, 0.0) == 0.25
    assert poll_pause(left, 1.0) == pytest.approx(0.35)


def test_a_waiter_that_hears_of_releases_waits_for_the_end_of_a_dead_holder() -> None:
    assert poll_pause(8.0, 0.5) == pytest.approx(8.05)


@pytest.mark.parametrize(
    ("waited", "rest"), [(0.0, 0.25), (0.15, 0.1), (0.25, 0.0), (7.0, 0.0)], ids=str
)
def test_who_is_woken_often_still_keeps_its_distance(waited: float, rest: float) -> None:
    assert spacing(waited, 0.0) == pytest.approx(rest)


def test_pauses_between_starts_double_up_to_a_minute() -> None:
    assert [restart_pause(n, 1.0, 1.0) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert restart_pause(3, 1.0, 0.0) == 2
    assert restart_pause(10**9, 1.0, 1.0) == 60
    assert restart_pause(5, 300.0, 1.0) == 300


def test_work_that_went_well_for_long_begins_anew() -> None:
    assert failures_in_a_row(4, 60.0) == 5
    assert failures_in_a_row(4, 60.1) == 1


@pytest.mark.parametrize("length", [0.1, 10, 86_400, timedelta(seconds=30)], ids=str)
def test_a_length(length: Any) -> None:
    assert checked_length(length) == pytest.approx(
        length.total_seconds() if isinstance(length, timedelta) else length
    )


@pytest.mark.parametrize("length", [0.09, 86_401, 0, -1, True, "10", None, float("nan")], ids=repr)
def test_a_length_that_cannot_work(length: Any) -> None:
    with pytest.raises(ConfigurationError, match="length="):
        checked_length(length)


@pytest.mark.parametrize("name", ["a", "orders:report 2", "Übersicht", "x" * 200], ids=repr)
def test_a_name(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 201, "a{b", "a}b", "a\nb", "a\0b", "\ud800", b"a", 7, None], ids=repr
)
def test_a_name_that_cannot_be_part_of_a_key(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="name="):
        checked_name(name)
