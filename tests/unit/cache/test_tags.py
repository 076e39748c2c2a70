"""The generations that a process remembers."""

from math import inf
from typing import Any

import pytest

from symphonia_perf.cache.tags import TagVector
from symphonia_perf.errors import ConfigurationError
from tests.unit.cache.far import Clock


def test_what_was_learnt_is_known_until_it_is_forgotten() -> None:
    known = TagVector()
    assert known.known(["plans", "carriers"]) == {}
    known.learn("plans", 7)
    known.learn("carriers", 8)
    assert known.known(["carriers", "plans", "orders"]) == {"carriers": 8, "plans": 7}
    assert "plans" in known
    assert len(known) == 2
    known.forget("plans")
    known.forget("plans")
    assert known.known(["plans", "carriers"]) == {"carriers": 8}
    known.clear()
    assert len(known) == 0


def test_a_tag_that_is_not_known_counts_as_bumped() -> None:
    known = TagVector()
    known.learn("plans", 7)
    known.learn("carriers", 8)
    assert not known.moved_from({})
    assert not known.moved_from({"plans": 7, "carriers": 8})
    assert known.moved_from({"plans": 7, "carriers": 9})
    assert known.moved_from({"plans": 7, "orders": 1})


def test_the_least_recently_asked_for_leaves_first() -> None:
    known = TagVector(at_most=2)
    known.learn("a", 1)
    known.learn("b", 2)
    known.known(["a"])
    known.learn("c", 3)
    assert known.known(["a", "b", "c"]) == {"a": 1, "c": 3}
    known.learn("a", 4)
    known.learn("d", 5)
    assert known.known(["a", "c", "d"]) == {"a": 4, "d": 5}


@pytest.mark.parametrize("at_most", [0, -1, 1.5, True, None])
def test_a_bound_that_cannot_work_is_named(at_most: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"max_tags=.*expected an int from 1"):
        TagVector(at_most)


def test_what_was_learnt_is_asked_for_anew_when_its_time_is_over() -> None:
    clock = Clock()
    known = TagVector(at_most=2, lasts=5.0, now=clock.monotonic)
    start = clock.now
    known.learn("a", 1)
    clock.now += 2.0
    known.learn("b", 2)
    assert known.until(["a", "b", "c"]) == start + 5.0
    assert known.until(["b"]) == start + 7.0
    assert known.until(["c"]) == inf
    clock.now += 3.0
    assert "a" not in known
    assert "b" in known
    assert known.known(["a", "b"]) == {"b": 2}
    assert len(known) == 1
    known.learn("a", 1)
    known.learn("c", 3)  # takes the room of `b`, with its time
    assert known.until(["b"]) == inf
    assert known.until(["a"]) == start + 10.0
    known.forget("a")
    known.clear()
    assert known.until(["a", "c"]) == inf
