import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest

from symphonia_perf._core.events import BreakerEvent, BypassEvent, CacheEvent, Event
from symphonia_perf.cache import (
    TTL,
    BreakerOptions,
    Cache,
    CacheStats,
    Entry,
    Found,
    InvalidationRules,
    Lifetime,
    MemoryCacheStore,
    on,
)
from symphonia_perf.errors import (
    ConfigurationError,
    NotEncodable,
    NotOpen,
    StoreUnavailable,
    SymphoniaError,
    WrongLoop,
)
from tests.unit.cache.far import Clock, Loader, SlowStore, exactly, kinds, make, settle


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def slow() -> SlowStore:
    return SlowStore()


@pytest.fixture
async def cache(slow: SlowStore, events: list[Event]) -> AsyncIterator[Cache]:
    async with make(slow, observer=events.append) as cache:
        yield cache


async def test_missing_and_none_are_different(cache: Cache) -> None:
    missing = object()
    assert await cache.get("k", missing) is missing
    assert await cache.get("k") is None
    await cache.set("k", None)
    assert await cache.get("k", missing) is None
    load = Loader()
    assert await cache.get_or_load("k", load) is None
    assert load.runs == 0


async def test_a_result_is_loaded_once_and_kept(
    cache: Cache, slow: SlowStore, events: list[Event]
) -> None:
    load = Loader()
    assert await cache.get_or_load("plan:1", load) == "loaded"
    assert await cache.get_or_load("plan:1", load) == "loaded"
    assert load.runs == 1
    assert slow.data["cache:plan:1"].ttl == 3600.0
    assert kinds(events) == ["miss", "load", "set", "hit"]
    assert {event.key for event in events if isinstance(event, CacheEvent)} == {"cache:plan:1"}
    assert cache.stats() == CacheStats(hits=1, misses=1, loads=1, sets=1)


async def test_prefix_version_and_ttl(slow: SlowStore) -> None:
    async with make(slow, prefix="shop", version=2, ttl=exactly(5)) as cache:
        await cache.set("a", 1)
        await cache.set("b", 1, ttl=7)
        await cache.get_or_load("c", Loader(), ttl=8)
    assert {key: entry.ttl for key, entry in slow.data.items()} == {
        "shop:v2:a": 5.0,
        "shop:v2:b": 7.0,
        "shop:v2:c": 8.0,
    }


async def test_a_thousand_callers_one_load(cache: Cache, slow: SlowStore) -> None:
    load = Loader()
    load.go.clear()
    slow.gates["get"].clear()
    callers = [asyncio.create_task(cache.get_or_load("k", load)) for _ in range(1000)]
    await settle()
    slow.gates["get"].set()
    await settle()
    load.go.set()
    assert set(await asyncio.gather(*callers)) == {"loaded"}
    assert load.runs == 1


async def test_a_slow_miss_does_not_load_again(cache: Cache, slow: SlowStore) -> None:
    load = Loader()
    slow.gates["get"].clear()
    late = asyncio.create_task(cache.get_or_load("k", load))
    await settle()
    # Another caller loads and stores while the answer "not there" is still on its way.
    await cache.refresh("k", load)
    slow.gates["get"].set()
    assert await late == "loaded"
    assert load.runs == 1
    assert slow.calls.count("get") == 2


async def test_a_miss_that_a_load_without_result_overtook_loads(
    cache: Cache, slow: SlowStore
) -> None:
    slow.gates["get"].clear()
    late = asyncio.create_task(cache.get_or_load("k", Loader("mine")))
    await settle()
    # It ends meanwhile, and what it found is not kept: there is still nothing to be found.
    await cache.refresh("k", Loader("theirs"), condition=lambda _: False)
    slow.gates["get"].set()
    assert await late == "mine"
    assert slow.calls == ["get", "get", "set"]


async def test_what_callers_say_is_remembered_as_they_said_it(
    cache: Cache, slow: SlowStore
) -> None:
    for n in range(1_100):
        await cache.get_or_load(f"k{n}", Loader(), ttl=n + 1)
        await cache.get_or_load("x" * 300 + str(n), Loader(), ttl=timedelta(seconds=n + 1))
    assert {slow.data[f"cache:k{n}"].ttl for n in range(1_100)} == set(map(float, range(1, 1_101)))
    assert max(map(len, (cache._recent, cache._naming._recipes))) <= 1_024
    assert max(map(len, cache._recent)) <= 200
    await cache.get_or_load("a", Loader(), ttl=1)
    for ttl in (True, [1]):  # equal to 1 is not 1, and not everything is a key of a dict
        with pytest.raises(ConfigurationError, match="ttl="):
            await cache.get_or_load("a", Loader(), ttl=ttl)  # type: ignore[arg-type]
    for n in (1, 2):
        await cache.get_or_load(f"b{n}", Loader(), ttl=lambda _, n=n: n + 1)
    assert [slow.data[f"cache:b{n}"].ttl for n in (1, 2)] == [2.0, 3.0]


async def test_the_first_of_ten_callers_is_cancelled(cache: Cache) -> None:
    load = Loader()
    load.go.clear()
    callers = [asyncio.create_task(cache.get_or_load("k", load)) for _ in range(10)]
    await settle()
    callers[0].cancel()
    await settle()
    load.go.set()
    assert await asyncio.gather(*callers[1:]) == ["loaded"] * 9
    assert load.runs == 1


async def test_a_loader_that_raises_raises_for_all_and_is_not_stored(
    cache: Cache, slow: SlowStore
) -> None:
    load = Loader(LookupError("gone"))
    callers = [asyncio.create_task(cache.get_or_load("k", load)) for _ in range(10)]
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 10
    assert load.runs == 1
    assert not slow.data
    load.value = "better"
    assert await cache.get_or_load("k", load) == "better"
    assert (cache.stats().errors, cache.stats().loads) == (1, 1)


@pytest.mark.parametrize("change", ["delete", "set", "refresh"])
async def test_a_change_overtakes_a_load_under_way(
    cache: Cache, slow: SlowStore, change: str
) -> None:
    old, new = Loader("old"), Loader("new")
    old.go.clear()
    early = asyncio.create_task(cache.get_or_load("k", old))
    await settle()
    if change == "delete":
        await cache.delete("k")
    elif change == "set":
        await cache.set("k", "new")
    else:
        await cache.refresh("k", new)
    later = await cache.get_or_load("k", new)
    old.go.set()
    assert await early == "old"
    assert later == "new"
    assert slow.data["cache:k"].value == "new"


async def test_a_delete_waits_for_a_result_that_is_being_stored(
    cache: Cache, slow: SlowStore
) -> None:
    slow.gates["set"].clear()
    loading = asyncio.create_task(cache.get_or_load("k", Loader("old")))
    await settle()
    deleting = asyncio.create_task(cache.delete("k"))
    await settle()
    assert slow.calls == ["get", "set"]
    slow.gates["set"].set()
    assert await deleting is True
    assert not slow.data
    assert await loading == "old"


async def test_refresh_serves_the_old_value_meanwhile_and_keeps_it_on_error(cache: Cache) -> None:
    await cache.set("k", "old")
    load = Loader("new")
    load.go.clear()
    refreshing = asyncio.create_task(cache.refresh("k", load))
    await settle()
    assert await cache.get("k") == "old"
    load.go.set()
    assert await refreshing == "new"
    with pytest.raises(LookupError):
        await cache.refresh("k", Loader(LookupError()))
    assert await cache.get("k") == "new"


async def test_delete_many(cache: Cache, slow: SlowStore) -> None:
    for key in "abc":
        await cache.set(key, 1)
    assert await cache.delete_many(key for key in ["a", "b", "b", "x"]) == 2
    assert set(slow.data) == {"cache:c"}
    assert await cache.delete("a") is False
    slow.calls.clear()
    assert await cache.delete_many([]) == 0
    assert not slow.calls


async def test_a_store_that_is_down_is_bypassed(
    cache: Cache, slow: SlowStore, events: list[Event]
) -> None:
    slow.failing = {"get", "set", "delete"}
    load = Loader()
    assert await cache.get_or_load("k", load) == "loaded"
    # A store that did not answer is not asked to keep the result: that would cost a deadline more.
    assert slow.calls == ["get"]
    assert await cache.get("k", "default") == "default"
    await cache.set("k", 1)
    assert await cache.delete("k") is False
    assert kinds(events) == ["bypass get", "load", "bypass get", "bypass set", "bypass delete"]
    assert cache.stats().bypassed == 4


async def test_a_set_that_fails_does_not_break_the_load(cache: Cache, slow: SlowStore) -> None:
    slow.failing = {"set"}
    assert await cache.get_or_load("k", Loader()) == "loaded"
    assert not slow.data


async def test_with_raise_every_failure_is_ours(slow: SlowStore) -> None:
    async with Cache(slow, on_error="raise") as cache:
        slow.failing = {"get", "set", "delete"}
        load = Loader()
        for use in (
            cache.get("k"),
            cache.get_or_load("k", load),
            cache.set("k", 1),
            cache.delete("k"),
        ):
            with pytest.raises(StoreUnavailable, match="down"):
                await use
        assert load.runs == 0
        slow.failing = {"set"}
        with pytest.raises(StoreUnavailable):
            await cache.get_or_load("k", load)
        assert cache.stats().bypassed == 0


BREAKER = BreakerOptions(failures=3, lasting=0.2, pause=1.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def guarded(slow: SlowStore, events: list[Event], clock: Clock) -> AsyncIterator[Cache]:
    async with make(slow, breaker=BREAKER, observer=events.append, clock=clock) as cache:
        yield cache


async def break_it(cache: Cache, slow: SlowStore, clock: Clock) -> None:
    slow.failing = {"get", "set", "delete"}
    for _ in range(3):
        clock.now += 0.25
        await cache.get("k")
    assert cache.stats().breaker == "open"
    slow.calls.clear()


async def test_a_store_that_keeps_failing_is_not_asked(
    guarded: Cache, slow: SlowStore, events: list[Event], clock: Clock
) -> None:
    await break_it(guarded, slow, clock)
    load = Loader()
    assert await guarded.get_or_load("k", load) == "loaded"
    assert await guarded.get("k", "default") == "default"
    assert not slow.calls
    assert load.runs == 1
    assert guarded.stats() == CacheStats(loads=1, bypassed=5, opened=1, breaker="open")
    (refused,) = {e.error.args for e in events[-2:] if isinstance(e, BypassEvent)}
    assert refused == (
        "get: the store was not asked, the breaker is open after StoreUnavailable: down",
    )


async def test_it_is_asked_again_after_the_pause(
    guarded: Cache, slow: SlowStore, events: list[Event], clock: Clock
) -> None:
    await break_it(guarded, slow, clock)
    clock.now += 1.0
    await guarded.get("k")  # a probe that fails
    clock.now += 0.5
    await guarded.get("k")
    assert slow.calls == ["get"]
    slow.failing = set()
    clock.now += 0.5
    assert await guarded.get_or_load("k", Loader()) == "loaded"
    assert await guarded.get("k") == "loaded"
    assert slow.calls == ["get", "get", "set", "get"]
    assert (guarded.stats().breaker, guarded.stats().opened) == ("closed", 1)
    opened, closed = (event for event in events if isinstance(event, BreakerEvent))
    assert (opened.kind, repr(opened.error)) == ("opened", "StoreUnavailable('down')")
    assert (closed.kind, closed.error, closed.duration) == ("closed", None, 2.0)


async def test_opening_is_logged_by_default_and_closing_is_no_trouble(
    slow: SlowStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Cache(slow, breaker=BREAKER, clock=clock) as cache:
        await break_it(cache, slow, clock)
        assert (
            "cache: breaker opened (0 more since the last warning): StoreUnavailable('down')"
            in caplog.messages
        )
        caplog.clear()
        slow.failing = set()
        clock.now += 1.0
        await cache.get("k")
        assert cache.stats().breaker == "closed"
        assert not caplog.messages


async def test_of_a_crowd_one_asks_and_another_when_it_is_cancelled(
    guarded: Cache, slow: SlowStore, clock: Clock
) -> None:
    await break_it(guarded, slow, clock)
    clock.now += 1.0
    slow.failing = set()
    slow.gates["get"].clear()
    crowd = [asyncio.create_task(guarded.get("k", n)) for n in range(100)]
    await settle()
    assert slow.calls == ["get"]
    assert guarded.stats().breaker == "half-open"
    assert [task.done() for task in crowd] == [False] + [True] * 99
    crowd[0].cancel()
    await settle()
    second = asyncio.create_task(guarded.get("k"))
    await settle()
    assert slow.calls == ["get", "get"]
    slow.gates["get"].set()
    await second
    assert guarded.stats().breaker == "closed"


async def test_a_change_is_tried_where_nobody_would_hear_that_it_was_not(
    guarded: Cache, slow: SlowStore, clock: Clock
) -> None:
    slow.data["cache:k"] = Entry(value="old", ttl=60)
    await break_it(guarded, slow, clock)
    assert await guarded.delete("k") is False
    slow.failing = set()
    assert await guarded.delete("k") is True
    await guarded.set("k", "new")
    assert slow.data["cache:k"].value == "new"
    assert slow.calls == ["delete", "delete", "set"]
    assert guarded.stats().breaker == "open"


async def test_with_raise_an_open_breaker_raises_at_once(slow: SlowStore, clock: Clock) -> None:
    async with Cache(slow, on_error="raise", breaker=BREAKER, clock=clock) as cache:
        slow.failing = {"get"}
        for _ in range(3):
            clock.now += 0.25
            with pytest.raises(StoreUnavailable, match=r"^down$"):
                await cache.get("k")
        slow.calls.clear()
        load = Loader()
        for use, name in (
            (cache.get("k"), "get"),
            (cache.get_or_load("k", load), "get"),
            (cache.set("k", 1), "set"),
            (cache.delete("k"), "delete"),
        ):
            with pytest.raises(StoreUnavailable, match="the breaker is open") as refused:
                await use
            assert (refused.value.store, refused.value.operation) == ("cache", name)
        assert not slow.calls
        assert load.runs == 0


async def test_without_a_breaker_it_is_always_asked(slow: SlowStore, clock: Clock) -> None:
    async with Cache(slow, breaker=None, clock=clock, observer=lambda _: None) as cache:
        slow.failing = {"get"}
        for _ in range(100):
            clock.now += 0.25
            await cache.get("k")
        assert slow.calls == ["get"] * 100
        assert cache.stats() == CacheStats(bypassed=100)


async def test_what_the_caller_did_wrong_opens_nothing(
    guarded: Cache, slow: SlowStore, clock: Clock
) -> None:
    class Unencodable(SlowStore):
        async def set_many(self, entries: Mapping[str, Entry]) -> None:
            raise NotEncodable(f"{entries}: a lock", store="redis", operation="SET")

    slow.refusing = {"get", "set"}
    async with Cache(Unencodable(), breaker=BREAKER, clock=clock) as other:
        for _ in range(100):
            clock.now += 0.25
            await guarded.get("k")
            await guarded.set("k", 1)
            await other.set("k", 1)
        assert guarded.stats() == CacheStats(bypassed=200)
        assert other.stats() == CacheStats(bypassed=100)


async def test_a_refusal_is_an_answer_and_closes_it(
    guarded: Cache, slow: SlowStore, events: list[Event], clock: Clock
) -> None:
    await break_it(guarded, slow, clock)
    slow.failing, slow.refusing = set(), {"get"}
    clock.now += 1.0
    await guarded.get("k")
    assert guarded.stats().breaker == "closed"
    assert [e.kind for e in events if isinstance(e, BreakerEvent)] == ["opened", "closed"]


async def test_opened_again_the_cache_asks_its_store(slow: SlowStore, clock: Clock) -> None:
    cache = Cache(slow, breaker=BREAKER, clock=clock, observer=lambda _: None)
    async with cache:
        await break_it(cache, slow, clock)
    slow.failing = set()
    async with cache:
        assert cache.stats().breaker == "closed"
        await cache.get("k")
        assert slow.calls == ["get"]


async def test_what_cannot_be_stored_is_returned_and_told() -> None:
    events: list[Event] = []
    async with Cache(MemoryCacheStore(), observer=events.append) as cache:
        value = threading.Lock()
        assert await cache.get_or_load("k", Loader(value)) is value
        (event,) = [event for event in events if isinstance(event, BypassEvent)]
        assert event.operation == "set"
        assert isinstance(event.error, NotEncodable)
    async with Cache(MemoryCacheStore(), on_error="raise") as cache:
        with pytest.raises(NotEncodable):
            await cache.get_or_load("k", Loader(value))


async def test_a_bypass_is_logged_by_default(
    slow: SlowStore, caplog: pytest.LogCaptureFixture
) -> None:
    slow.failing = {"get"}
    async with Cache(slow) as cache:
        for _ in range(3):
            await cache.get("k")
    assert len(caplog.records) == 1
    assert "cache: get failed and was bypassed" in caplog.text


async def test_a_corrupt_entry_is_a_miss_and_is_counted(events: list[Event]) -> None:
    class Damaged(SlowStore):
        async def get_many(self, keys: Sequence[str], *_: Any, **__: Any) -> Found:
            return Found(entries={}, corrupt=keys)

    async with Cache(Damaged(), observer=events.append) as cache:
        assert await cache.get_or_load("k", Loader()) == "loaded"
        assert (cache.stats().corrupt, cache.stats().misses) == (1, 1)
    assert kinds(events) == ["corrupt", "miss", "load", "set"]


async def test_a_hit_in_memory_suspends_nobody(events: list[Event]) -> None:
    async with Cache(MemoryCacheStore(), observer=events.append) as cache:
        await cache.set("k", "v")
        step = cache.get_or_load("k", Loader())
        with pytest.raises(StopIteration) as done:
            step.send(None)
        assert done.value.value == "v"
        peeked = cache.peek("k")
        assert peeked is not None
        assert peeked.value == "v"
        assert cache.peek("other") is None
        assert kinds(events) == ["set", "hit", "hit"]


@pytest.mark.parametrize("on_error", ["raise", "bypass"])
async def test_of_an_event_every_step_is_tried(on_error: Any) -> None:
    store = SlowStore()
    rules = InvalidationRules(on("c", delete=["carrier:{id}"], tags=["carriers"], match=["l:*"]))
    async with Cache(store, rules=rules, on_error=on_error) as cache:
        store.failing |= {"bump", "delete"}
        with pytest.raises(StoreUnavailable) if on_error == "raise" else nullcontext() as failed:
            await cache.changed("c", id=1)
        assert store.calls == ["bump", "delete", "scan"]
        assert failed is None or failed.value.operation == "bump"


async def test_a_far_store_has_nothing_to_peek_at(cache: Cache) -> None:
    await cache.set("k", 1)
    assert cache.peek("k") is None


@pytest.mark.parametrize("lock", ["local", "distributed", "none"])
@pytest.mark.parametrize("lifetime", [exactly(60), TTL.ORDERS], ids=["kept", "never kept"])
@pytest.mark.parametrize("way", ["call", "refresh"])
async def test_a_load_that_asks_for_its_own_key_fails_at_once(
    cache: Cache, lock: Any, lifetime: Lifetime, way: str
) -> None:
    runs = 0

    @cache.cached("fibonacci:{n}", lock=lock, ttl=lifetime)
    async def fibonacci(n: int) -> int:
        nonlocal runs
        runs += 1
        again = fibonacci if way == "call" else fibonacci.refresh
        return await again(n)

    with pytest.raises(SymphoniaError, match=r"'cache:fibonacci:7' asks for 'cache:fibonacci:7'"):
        await fibonacci(7)
    assert runs == 1


async def test_it_is_used_where_it_is_open(slow: SlowStore) -> None:
    cache = Cache(slow)

    @cache.cached("cached")
    async def cached() -> int:
        return 1

    with pytest.raises(NotOpen, match="async with"):
        await cache.get("k")
    async with cache:
        await cache.set("k", 1)
        with pytest.raises(SymphoniaError, match="open already"):
            await cache.__aenter__()
        for elsewhere in (cache.get("k"), cache.get_or_load("k", Loader()), cached()):
            with pytest.raises(WrongLoop):
                await asyncio.to_thread(asyncio.run, elsewhere)
    for use in (
        *(cache.set("k", 1), cache.delete("k"), cache.refresh("k", Loader())),
        *(cache.get("k"), cache.get_or_load("k", Loader()), cached(), cached.refresh()),
    ):
        with pytest.raises(NotOpen, match="use it inside `async with`"):
            await use
    async with cache:
        assert await cache.get("k") == 1


async def test_closing_ends_loads_under_way(slow: SlowStore) -> None:
    load = Loader()
    load.go.clear()
    async with Cache(slow) as cache:
        caller = asyncio.create_task(cache.get_or_load("k", load))
        await settle()
    with pytest.raises(SymphoniaError, match="load of 'cache:k' was cancelled"):
        await caller


async def test_events_tell_durations() -> None:
    clock, events = Clock(), list[Event]()

    async def load() -> int:
        await clock.sleep(1.5)
        return 1

    async with Cache(MemoryCacheStore(), observer=events.append, clock=clock) as cache:
        await cache.get_or_load("k", load)
    durations = {event.kind: event.duration for event in events if isinstance(event, CacheEvent)}
    assert durations == {"miss": 0.0, "load": 1.5, "set": 0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"breaker": False}, r"breaker=False: expected BreakerOptions\(...\) or None"),
        ({"loading": "distributed"}, r"loading='distributed': expected LoadOptions\(...\)"),
        ({"rules": []}, r"rules=\[\]: expected InvalidationRules\(on\(...\), ...\)"),
        ({"on_error": "ignore"}, "on_error='ignore': expected 'bypass' or 'raise'"),
        ({"ttl": 0}, "ttl=0"),
        ({"ttl": None}, "ttl=None"),
        ({"ttl": float("inf")}, "ttl=inf"),
        ({"prefix": "a*"}, "prefix="),
        ({"version": -1}, "version=-1"),
    ],
    ids=str,
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Cache(MemoryCacheStore(), **options)


@pytest.mark.parametrize("key", ["", None, 5, b"k"], ids=repr)
async def test_a_key_is_a_text(cache: Cache, key: Any) -> None:
    load = Loader()
    for use in (
        *(cache.set(key, 1), cache.delete(key), cache.refresh(key, load)),
        *(cache.get(key), cache.get_or_load(key, load)),
    ):
        with pytest.raises(ConfigurationError, match="expected a text such as 'plan:12345'"):
            await use


async def test_one_text_is_not_a_list_of_keys(cache: Cache) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a list of keys, as in \['plan:1'\]"):
        await cache.delete_many("plan:1")


@pytest.mark.parametrize("nothing", [None, 5, b"k"], ids=repr)
async def test_what_is_no_list_is_refused_by_name(cache: Cache, nothing: Any) -> None:
    for use, name in (
        (cache.get_many(nothing), "keys"),
        (cache.delete_many(nothing), "keys"),
        (cache.invalidate_tags(nothing), "tags"),
        (cache.get_or_load("k", Loader(), tags=nothing), "tags"),
    ):
        with pytest.raises(ConfigurationError, match=f"{name}=.*: expected a list of {name}$"):
            await use
    pairs: Any = [("k", 1)]
    with pytest.raises(ConfigurationError, match="expected a dict of values by their keys, not"):
        await cache.set_many(pairs)


async def test_a_ttl_of_a_call_is_checked(cache: Cache) -> None:
    for use in (cache.set("k", 1, ttl=-1), cache.get_or_load("k", Loader(), ttl=-1)):
        with pytest.raises(ConfigurationError, match="ttl=-1"):
            await use


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ("plans", r"tags='plans': expected a list of tags, as in \['plans'\]"),
        ([""], "tags: '' is no text such as 'plans'"),
        ([5], "tags: 5 is no text"),
        ([f"t{n}" for n in range(33)], "tags: 33 of them, an entry may have 32"),
    ],
    ids=str,
)
async def test_tags_of_a_call_are_checked(cache: Cache, tags: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        await cache.set("k", 1, tags=tags)


async def test_a_cache_has_a_lifetime(slow: SlowStore) -> None:
    async with make(slow, ttl=exactly(9, stale_for=4)) as cache:
        await cache.get_or_load("k", Loader())
        await cache.get_or_load("other", Loader(), ttl=5)
        assert cache.peek("k") is None
    assert {key: (entry.ttl, entry.stale_for) for key, entry in slow.data.items()} == {
        "cache:k": (9.0, 4.0),
        "cache:other": (5.0, 4.0),
    }


FORKED = """
import asyncio, os, sys
from symphonia_perf.cache import Cache, MemoryCacheStore
from symphonia_perf.errors import NotOpen

async def main():
    async with Cache(MemoryCacheStore()) as cache:
        await cache.set("k", 1)
        assert cache.peek("k").value == 1
        if not (child := os.fork()):
            try:
                cache.peek("k")
            except NotOpen:
                os._exit(7)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert cache.peek("k").value == 1
        sys.exit(os.waitstatus_to_exitcode(status))

asyncio.run(main())
"""


def test_a_forked_child_gets_nothing_of_what_its_parent_has() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], check=False)
    assert done.returncode == 7
