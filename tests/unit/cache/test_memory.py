import threading
from typing import Any

import pytest

from symphonia_perf.cache import Entry, MemoryCacheStore
from symphonia_perf.errors import ConfigurationError, NotEncodable


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
