import gc
import math
import pickle
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from bson import ObjectId

from symphonia_perf._core.events import CacheEvent, Event
from symphonia_perf.cache import Entry, MemoryCacheStore, _copying, memory
from symphonia_perf.errors import ConfigurationError, NotEncodable
from tests.same import same


@dataclass
class Own:
    number: int


class Named(NamedTuple):
    rows: list[int]


class ManualClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 0.0

    async def sleep(self, delay: float) -> None:
        self.now += delay


class Unreadable:
    """Pickles, and does not unpickle."""

    def __setstate__(self, state: object) -> None:
        raise ValueError("no")

    def __getstate__(self) -> dict[str, int]:
        return {"a": 1}


def entry(value: Any, ttl: float = 60.0) -> Entry:
    return Entry(value=value, ttl=ttl)


async def fill(store: MemoryCacheStore, *keys: str, value: Any = "x") -> None:
    for key in keys:
        await store.set_many({key: entry(value)})


async def held(store: MemoryCacheStore, keys: str) -> str:
    return "".join((await store.get_many(list(keys))).entries)


async def test_tags_count_as_bytes() -> None:
    store = MemoryCacheStore(max_bytes=100_000)
    await store.set_many({"k": Entry(value=1, ttl=9.0)})
    bare = store.size
    tags = {"x" * 100: 2**61, "y" * 50: 2**61}
    await store.set_many({"k": Entry(value=1, ttl=9.0, tags=tags)})
    assert 350 <= store.size - bare <= 450
    tags = {"x" * 9_000: 1}
    await store.set_many({f"k{n}": Entry(value=n, ttl=9.0, tags=tags) for n in range(50)})
    assert store.size <= 100_000
    assert len(store) <= 10


@pytest.mark.parametrize(
    ("atom", "size"),
    [
        *(("", 0), ("abc", 3), ("é", 2), ("\ud800", 3), (b"abc", 3)),
        *((0, 8), (2**63, 16), (2**800, 108), (None, 16), (1.5, 16), (True, 8), (1j, 16)),
    ],
    ids=ascii,
)
def test_what_is_kept_as_it_is_has_a_size(atom: Any, size: int) -> None:
    assert _copying.size_of(atom) == size


async def test_the_least_recently_used_entry_leaves_first() -> None:
    store = MemoryCacheStore(max_entries=3)
    await fill(store, "a", "b", "c")
    assert store.peek("a") is not None
    await fill(store, "d")
    assert await held(store, "abcd") == "acd"
    await fill(store, "c")
    assert len(store) == 3
    assert store.evicted == 1


async def test_bytes_are_bounded() -> None:
    store = MemoryCacheStore(max_bytes=10_000)
    for n in range(100):
        await store.set_many({str(n): entry("x" * 1000)})
        assert store.size <= 10_000
    assert 5 <= len(store) <= 9
    assert store.peek("99") is not None
    assert store.peek("0") is None
    await store.delete_many([str(n) for n in range(100)])
    assert (store.size, len(store)) == (0, 0)


async def test_a_value_above_all_bounds_is_not_kept_and_drives_nobody_out() -> None:
    store = MemoryCacheStore(max_bytes=10_000)
    await fill(store, "small", "big")
    await store.set_many({"big": entry("x" * 20_000)})
    assert store.peek("big") is None
    assert store.peek("small") is not None
    assert store.evicted == 1


async def test_there_is_a_bound_by_default() -> None:
    store = MemoryCacheStore()
    await store.set_many({str(n): entry(n) for n in range(10_001)})
    assert len(store) == 10_000


async def test_expired_entries_leave_when_they_are_asked_for() -> None:
    clock = ManualClock()
    store = MemoryCacheStore(clock=clock)
    await store.set_many({"a": entry({}, ttl=10.0), "b": entry({}, ttl=10.0)})
    clock.now = 10.0
    assert len(store) == 2
    assert store.peek("a") is None
    assert not (await store.get_many(["a"])).entries
    assert len(store) == 1
    assert await store.delete_many(["b"]) == 0
    assert (len(store), store.size) == (0, 0)


async def test_no_reader_can_change_what_is_cached() -> None:
    store = MemoryCacheStore()
    value = {"rows": [1]}
    await fill(store, "a", value=value)
    value["rows"].append(2)
    for _ in range(2):
        peeked = store.peek("a")
        assert peeked is not None
        assert peeked.value == {"rows": [1]}
        peeked.value["rows"].append(3)


@pytest.mark.parametrize("value", [None, True, 5, 1.5, "text", b"bytes", 1j], ids=repr)
async def test_what_nobody_can_change_is_not_copied(value: object) -> None:
    store = MemoryCacheStore()
    await fill(store, "a", value=value)
    peeked = store.peek("a")
    assert peeked is not None
    assert peeked.value is value


async def test_shared_values_are_one_object_of_any_kind() -> None:
    store = MemoryCacheStore(copy=False)
    value = threading.Lock()
    await fill(store, "a", value=value)
    peeked = store.peek("a")
    assert peeked is not None
    assert peeked.value is value
    assert store.size == 0


async def test_a_value_that_cannot_be_copied_is_refused_and_nothing_is_stored() -> None:
    store = MemoryCacheStore()
    await fill(store, "a", value="old")
    with pytest.raises(NotEncodable, match=r"cannot be copied by pickle.*copy=False") as caught:
        await store.set_many({"b": entry(1), "a": entry(threading.Lock())})
    assert (caught.value.store, caught.value.operation) == ("memory", "set")
    assert await held(store, "ab") == "a"


async def test_a_value_that_does_not_come_back_is_named_as_damaged() -> None:
    store = MemoryCacheStore()
    await fill(store, "a", value=Unreadable())
    assert store.peek("a") is None
    found = await store.get_many(["a", "b"])
    assert list(found.corrupt) == ["a"]
    assert not found.entries


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_entries": 0}, "max_entries=0: expected an int from 1"),
        ({"max_entries": True}, "max_entries=True"),
        ({"max_bytes": -1}, "max_bytes=-1"),
        ({"max_bytes": 1.5}, "max_bytes=1.5"),
        ({"max_bytes": 10, "copy": False}, "max_bytes=10 with copy=False"),
    ],
    ids=str,
)
def test_bounds_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MemoryCacheStore(**options)


async def test_what_has_ended_makes_room_first() -> None:
    clock, gone = ManualClock(), list[Event]()
    store = MemoryCacheStore(max_entries=3, clock=clock, observer=gone.append)
    await store.set_many({"a": entry(1, ttl=100.0), "b": entry(1, ttl=10.0), "c": entry(1)})
    clock.now = 10.0
    await fill(store, "d")
    assert await held(store, "abcd") == "acd"
    assert (store.evicted, gone) == (0, [])
    await fill(store, "e")
    assert await held(store, "acde") == "cde"
    assert [(e.kind, e.key) for e in gone if isinstance(e, CacheEvent)] == [("evict", "a")]


async def test_the_queue_of_ends_is_bounded() -> None:
    store = MemoryCacheStore(max_entries=10)
    for n in range(5_000):
        await store.set_many({str(n % 20): entry(n, ttl=1e9)})
    assert len(store._ends) <= 2 * 10 + 101


async def test_an_entry_that_was_replaced_ends_at_its_own_time() -> None:
    clock = ManualClock()
    store = MemoryCacheStore(clock=clock)
    await store.set_many({"a": entry("old", ttl=10.0)})
    await store.set_many({"a": entry("new", ttl=20.0)})
    clock.now = 15.0
    await fill(store, "b")
    assert await held(store, "ab") == "ab"


async def test_only_what_can_be_handed_out_as_it_is_is_peeked_at() -> None:
    clock = ManualClock()
    store = MemoryCacheStore(clock=clock)
    await store.set_many(
        {
            "soft": Entry(value=1, ttl=10.0, stale_for=10.0),
            "error": Entry(value=["x"], ttl=10.0, raised=True),
            "tagged": Entry(value=2, ttl=10.0, tags={"t": 0}),
        }
    )
    assert [store.peek(key) is None for key in ("soft", "error", "tagged")] == [False, True, False]
    clock.now = 10.0
    await store.bump_tags(["t"])
    assert store.peek("soft") is None
    assert set((await store.get_many(["soft", "tagged"])).entries) == {"soft"}
    assert len(store) == 2


async def test_forgotten_tags_revive_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_TAGS", 3)
    store = MemoryCacheStore()
    old = (await store.get_many([], ["a"])).generations
    await store.set_many({"k": Entry(value=1, ttl=60.0, tags=old)})
    await store.bump_tags(["a", "b", "c", "d", "e", "f"])
    assert not (await store.get_many(["k"])).entries
    assert len(store._generations._bumped) == 3


async def test_a_lease_whose_holder_is_gone_is_free() -> None:
    store = MemoryCacheStore()
    holder = store.lease("k", 1.0)
    assert await holder.acquire()
    assert not await store.lease("k", 1.0).acquire()
    del holder
    gc.collect()
    assert await store.lease("k", 1.0).acquire()
    await store.lease("k", 1.0).release()
    with pytest.raises(ConfigurationError, match="length=0"):
        store.lease("k", 0)


async def test_without_msgspec_pickle_makes_the_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    _copying._tools.cache_clear()
    try:
        store = MemoryCacheStore(max_bytes=10_000)
        await fill(store, "a", value={"rows": [1]})
        make = store._slots["a"].make
        assert isinstance(make, partial)
        assert make.func is pickle.loads
        peeked = store.peek("a")
        assert peeked is not None
        assert peeked.value == {"rows": [1]}
    finally:
        _copying._tools.cache_clear()


ROW = {"sku": "a", "weight": 1.5}
VALUES = [
    {"at": datetime(2026, 1, 1, tzinfo=UTC), "of": (UUID(int=1), Decimal("1.50"))},
    {"rows": [ROW, ROW], "mixed": [ROW, 1, [2, [3]]], "empty": [[], {}, (), set()]},
    {"_id": ObjectId(), (1, 2): {"deep": {"er": [b"x"]}}, frozenset({1}): frozenset()},
    (1, [2], ({"a": [1]},)),
    {1, (2, 3)},
    [math.nan],
    [Own(5)],
    [OrderedDict(a=[1])],
    Named([1]),
]


@pytest.mark.parametrize("bound", ["max_bytes", "max_entries"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_every_reader_has_a_copy_of_the_same_types(value: Any, bound: str) -> None:
    store = MemoryCacheStore(**{bound: 100_000})  # type: ignore[arg-type]
    await fill(store, "a", value=value)
    found = [store.peek("a"), store.peek("a")]
    copies = [each.value for each in found if each is not None]
    assert len(copies) == 2
    for copy in copies:
        assert same(copy, value)
    assert not inner(copies[0]) & (inner(copies[1]) | inner(value))


def inner(value: Any) -> set[int]:
    """The identities of everything in it that can be changed."""
    if isinstance(value, Own):
        return {id(value)}
    if isinstance(value, dict):
        parts: Any = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        parts = value
    else:
        return set()
    own = set() if isinstance(value, tuple | frozenset) else {id(value)}
    return own.union(*map(inner, parts))


async def test_a_value_that_contains_itself_is_copied_by_pickle() -> None:
    value: list[Any] = [1]
    value.append(value)
    store = MemoryCacheStore()
    await fill(store, "a", value=value)
    peeked = store.peek("a")
    assert peeked is not None
    assert peeked.value[1] is peeked.value
    assert peeked.value is not value


async def test_many_keys_stay_within_their_bytes() -> None:
    store, bound = MemoryCacheStore(max_bytes=2**20), 2**20
    for start in range(0, 20_000, 1_000):
        await store.set_many({f"order:{n}": entry([n]) for n in range(start, start + 1_000)})
        assert store.size <= bound
    assert 1_000 < len(store) < 3_000
