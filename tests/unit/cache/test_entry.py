import pytest

from symphonia_perf.cache.entry import Entry


@pytest.mark.parametrize(("now", "fresh"), [(100.0, True), (159.9, True), (160.0, False)])
def test_an_entry_is_fresh_until_its_ttl_has_passed(now: float, *, fresh: bool) -> None:
    assert Entry(value=1, ttl=60.0, created=100.0).is_fresh(now) is fresh


def test_without_a_time_of_its_own_the_server_decides() -> None:
    assert Entry(value=1, ttl=0.001).is_fresh(1e9)
