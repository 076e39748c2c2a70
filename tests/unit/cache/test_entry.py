import pytest

from symphonia_perf.cache import Entry
from symphonia_perf.cache.entry import State


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (100.0, "fresh"),
        (159.9, "fresh"),
        (160.0, "stale"),
        (189.9, "stale"),
        (190.0, "spare"),
        (199.9, "spare"),
        (200.0, "gone"),
    ],
)
def test_an_entry_is_fresh_then_stale_then_a_spare_then_gone(now: float, state: State) -> None:
    entry = Entry(value=None, ttl=60.0, stale_for=30.0, stale_on_error=10.0, created=100.0)
    assert entry.state(now) == state
    assert entry.lasts == 100.0


def test_without_a_time_of_its_own_the_server_decides() -> None:
    plain = Entry(value=1, ttl=60.0)
    assert plain.state(1e12) == "fresh"


def test_an_entry_is_current_until_one_of_its_tags_is_bumped() -> None:
    entry = Entry(value=1, ttl=60.0, tags={"plans": 1, "client:7": 5})
    assert entry.is_current({"plans": 1, "client:7": 5, "other": 9})
    assert not entry.is_current({"plans": 2, "client:7": 5})
    assert not entry.is_current({"plans": 1})
    assert Entry(value=1, ttl=60.0).is_current({})
