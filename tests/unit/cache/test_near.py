"""The near tier by itself: what it holds, what overtakes a far read, and when it holds nothing."""

from typing import Any

import pytest

from symphonia_perf.cache import Entry, MemoryCacheStore
from symphonia_perf.cache._near import NearTier, _forked
from tests.unit.cache.far import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def near(clock: Clock) -> NearTier:
    store = MemoryCacheStore(clock=clock)
    near = NearTier(store, ttl=60.0, max_tags=10, now=clock.monotonic)
    near.flush(hears=True)
    return near


def read(near: NearTier, *keys: str, entry: Entry, **numbers: int) -> None:
    """One far read that gave this entry for each key, and these generations."""
    ticket = near.begin(keys)
    near.join(ticket, numbers)
    near.learn(ticket, numbers)
    near.keep(ticket, dict.fromkeys(keys, entry))
    near.end(ticket)


def held(near: NearTier, *keys: str) -> list[str]:
    return sorted(near.look(keys))


def entry(clock: Clock, value: Any = 1, **fields: Any) -> Entry:
    return Entry(**{"value": value, "ttl": 600.0, "created": clock.now, **fields})


def test_what_was_read_is_held(near: NearTier, clock: Clock) -> None:
    read(near, "a", "b", entry=entry(clock, [1]))
    assert near.look(["a", "c"]) == {"a": entry(clock, [1])}
    assert near._marks == {}
    assert (near.flushes, near.overtaken) == (0, 0)


def test_nothing_is_held_while_nothing_is_heard(near: NearTier, clock: Clock) -> None:
    read(near, "a", entry=entry(clock), t=1)
    near.flush(hears=False)
    assert held(near, "a") == []
    assert len(near.tags) == 0
    read(near, "a", entry=entry(clock), t=1)
    assert held(near, "a") == []
    assert len(near.tags) == 0
    assert near.flushes == 1
    near.flush(hears=True)
    assert near.flushes == 1
    read(near, "a", entry=entry(clock))
    assert held(near, "a") == ["a"]


def test_a_read_that_began_before_anything_was_heard_is_not_held(
    near: NearTier, clock: Clock
) -> None:
    near.flush(hears=False)
    ticket = near.begin(["a"])
    near.flush(hears=True)
    near.keep(ticket, {"a": entry(clock)})
    near.end(ticket)
    assert held(near, "a") == []


@pytest.mark.parametrize("everything", [False, True])
def test_a_change_overtakes_the_reads_under_way(
    near: NearTier, clock: Clock, *, everything: bool
) -> None:
    early = near.begin(["a", "b"])
    near.join(early, ["a", "t"])  # a key twice is one mark
    near.changed("b")
    near.flush(hears=True) if everything else near.changed_many(["a", "t"])
    late = near.begin(["a"])
    near.join(late, ["t"])
    near.learn(late, {"t": 2})
    near.keep(late, {"a": entry(clock, "new")})
    near.learn(early, {"t": 1})
    near.keep(early, {"a": entry(clock, "old"), "b": entry(clock, "old")})
    near.end(early)
    assert near.look(["a", "b"]) == {"a": entry(clock, "new")}
    assert near.tags.known(["t"]) == {"t": 2}
    assert near.overtaken == 3
    near.end(late)
    assert near._marks == {}


def test_readers_of_one_key_share_its_mark(near: NearTier, clock: Clock) -> None:
    one, other = near.begin(["a"]), near.begin(["a"])
    near.end(one)
    near.keep(other, {"a": entry(clock)})
    near.end(other)
    assert held(near, "a") == ["a"]
    assert near._marks == {}


def test_a_change_takes_what_is_held(near: NearTier, clock: Clock) -> None:
    read(near, "a", "b", entry=entry(clock))
    near.changed("a")
    assert held(near, "a", "b") == ["b"]


def test_nothing_is_held_for_longer_than_its_time_or_the_belt(near: NearTier, clock: Clock) -> None:
    old = entry(clock, ttl=90.0, stale_for=30.0, created=clock.now - 80.0)
    read(near, "short", entry=old)
    read(near, "long", entry=entry(clock))
    read(near, "ageless", entry=entry(clock, ttl=30.0, created=None))
    assert near.look(["short"]) == {"short": old}
    clock.now += 10.0
    assert held(near, "short", "long", "ageless") == ["ageless", "long"]
    clock.now += 20.0
    assert held(near, "long", "ageless") == ["long"]
    clock.now += 30.0
    assert held(near, "long") == []


def test_what_is_stale_already_is_not_held(near: NearTier, clock: Clock) -> None:
    stale = entry(clock, ttl=5.0, stale_for=60.0, created=clock.now - 5.0)
    read(near, "a", entry=stale)
    assert held(near, "a") == []


def test_a_value_that_cannot_be_copied_is_not_held(near: NearTier, clock: Clock) -> None:
    read(near, "a", entry=entry(clock, lambda: None))
    assert held(near, "a") == []


def test_a_damaged_value_is_forgotten(near: NearTier, clock: Clock) -> None:
    read(near, "a", entry=entry(clock, Unreadable()))
    assert held(near, "a") == []
    assert len(near._store) == 0


class Unreadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return (int, ("x",))


def test_an_entry_is_right_while_its_tags_are_known_and_the_same(
    near: NearTier, clock: Clock
) -> None:
    tagged = entry(clock, tags={"t": 1, "u": 2})
    read(near, "a", entry=tagged, t=1, u=2)
    assert held(near, "a") == ["a"]
    near.changed("u")
    assert held(near, "a") == []
    read(near, "a", entry=tagged, u=3)
    assert held(near, "a") == []


def test_generations_just_read_count_before_those_known(near: NearTier, clock: Clock) -> None:
    near.tags.learn("t", 1)
    assert near.is_current(entry(clock), {})
    assert near.is_current(entry(clock, tags={"t": 1}), {})
    assert not near.is_current(entry(clock, tags={"t": 1}), {"t": 2})
    assert near.is_current(entry(clock, tags={"t": 2, "u": 5}), {"t": 2, "u": 5})
    assert not near.is_current(entry(clock, tags={"t": 1, "u": 5}), {})


def test_a_forked_child_hears_nothing(near: NearTier, clock: Clock) -> None:
    read(near, "a", entry=entry(clock))
    _forked()
    assert not near.hears
    assert held(near, "a") == []


def test_an_entry_is_held_no_longer_than_the_generations_it_depends_on(
    near: NearTier, clock: Clock
) -> None:
    tagged = entry(clock, tags={"t": 1})
    read(near, "a", entry=tagged, t=1)
    clock.now += 50.0
    read(near, "b", entry=tagged)  # by what is known of the tag, which may be wrong by now
    read(near, "plain", entry=entry(clock))
    assert held(near, "a", "b", "plain") == ["a", "b", "plain"]
    clock.now += 10.0
    assert "t" not in near.tags
    assert held(near, "a", "b", "plain") == ["plain"]
    read(near, "b", entry=tagged, t=1)
    clock.now += 59.0
    assert held(near, "b") == ["b"]
    near.tags.forget("t")
    read(near, "c", entry=tagged)
    assert held(near, "c") == []
