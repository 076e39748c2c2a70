"""Stale, negative and tagged entries, leases and time limits: what a load does besides loading."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from symphonia_perf._core import singleflight
from symphonia_perf._core.events import Event
from symphonia_perf.cache import Cache, Entry, Lifetime, LoadOptions, MemoryCacheStore
from symphonia_perf.errors import LoadTimeout, SymphoniaError
from tests.unit.cache.far import Clock, Loader, SlowStore, exactly, kinds, make, settle


class NotFound(LookupError):
    pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def far(clock: Clock) -> SlowStore:
    return SlowStore(clock)


@pytest.fixture
async def cache(far: SlowStore, events: list[Event]) -> AsyncIterator[Cache]:
    async with make(far, observer=events.append) as cache:
        yield cache


SOFT = exactly(10, stale_for=5)


@pytest.fixture(params=["far", "near"])
async def either(
    request: pytest.FixtureRequest, far: SlowStore, clock: Clock, events: list[Event]
) -> AsyncIterator[Cache]:
    """Over a store that is peeked at, and over one that is not."""
    store = far if request.param == "far" else MemoryCacheStore(clock=clock)
    async with Cache(store, ttl=exactly(3600), clock=clock, observer=events.append) as cache:
        yield cache


async def test_a_stale_value_is_served_and_loaded_anew_once(
    either: Cache, clock: Clock, events: list[Event]
) -> None:
    load = Loader("old")
    assert await either.get_or_load("k", load, ttl=SOFT) == "old"
    load.value = "new"
    clock.now += 9.9
    assert await either.get_or_load("k", load, ttl=SOFT) == "old"
    assert load.runs == 1
    clock.now += 0.1
    load.go.clear()
    calls = [either.get_or_load("k", load, ttl=SOFT) for _ in range(100)]
    assert set(await asyncio.gather(*calls)) == {"old"}
    await settle()
    assert load.runs == 2
    assert await either.get_or_load("k", load, ttl=SOFT) == "old"  # nobody waits for it
    load.go.set()
    await settle()
    assert await either.get_or_load("k", load, ttl=SOFT) == "new"
    assert load.runs == 2
    assert kinds(events)[:3] == ["miss", "load", "set"]
    assert kinds(events).count("stale") == either.stats().stale == 101


async def test_a_stale_value_is_gone_in_the_end(either: Cache, clock: Clock) -> None:
    await either.set("k", "old", ttl=SOFT)
    clock.now += 15.0
    load = Loader("new")
    assert await either.get_or_load("k", load, ttl=SOFT) == "new"
    assert await either.get("k") == "new"
    clock.now += 12.0
    assert await either.get("k") == "new"  # stale, and there is nothing to load it with
    clock.now += 3.0
    assert await either.get("k", "gone") == "gone"


async def test_a_stale_value_survives_a_loader_that_raises_and_lets_it_rest(
    either: Cache, clock: Clock
) -> None:
    await either.set("k", "old", ttl=SOFT)
    clock.now += 10.0
    load = Loader(LookupError("down"))
    for _ in range(5):
        assert await either.get_or_load("k", load, ttl=SOFT) == "old"
        await settle()
    assert load.runs == 1
    clock.now += 1.0
    assert await either.get_or_load("k", load, ttl=SOFT) == "old"
    await settle()
    assert load.runs == 2
    assert either.stats().errors == 2


async def test_a_key_rests_no_longer_than_it_is_remembered(cache: Cache, clock: Clock) -> None:
    load = Loader(LookupError("down"))
    keys = [f"k{n}" for n in range(1001)]
    await cache.set_many(dict.fromkeys(keys, "old"), ttl=SOFT)
    clock.now += 10.0
    for key in keys:
        await cache.get_or_load(key, load, ttl=SOFT)
    await settle()
    assert load.runs == 1001
    await cache.get_or_load("k0", load, ttl=SOFT)  # forgotten: there were too many
    await settle()
    assert load.runs == 1002


async def test_who_waits_for_a_load_gets_a_spare_when_it_raises(
    either: Cache, clock: Clock
) -> None:
    spare = exactly(10, stale_for=5, stale_on_error=100)
    await either.set("k", "old", ttl=spare)
    clock.now += 15.0
    load = Loader(LookupError("down"))
    assert await either.get_or_load("k", load, ttl=spare) == "old"
    assert load.runs == 1
    load.value = "new"
    assert await either.get_or_load("k", load, ttl=spare) == "new"
    load.value = LookupError("down")
    clock.now += 115.0
    with pytest.raises(LookupError, match="down"):
        await either.get_or_load("k", load, ttl=spare)


async def test_a_spare_that_ended_or_was_deleted_meanwhile_is_not_served(
    cache: Cache, clock: Clock
) -> None:
    spare = exactly(10, stale_on_error=100)
    for change in ("time", "delete"):
        await cache.set("k", "old", ttl=spare)
        clock.now += 10.0
        load = Loader(LookupError(change))
        load.go.clear()
        waiting = asyncio.create_task(cache.get_or_load("k", load, ttl=spare))
        await settle()
        if change == "time":
            clock.now += 100.0
        else:
            await cache.delete("k")
        load.go.set()
        with pytest.raises(LookupError, match=change):
            await waiting


async def test_who_finds_nothing_waits_for_a_load_in_the_background(
    cache: Cache, clock: Clock, far: SlowStore
) -> None:
    await cache.set("k", "old", ttl=SOFT)
    clock.now += 10.0
    load = Loader("new")
    load.go.clear()
    assert await cache.get_or_load("k", load, ttl=SOFT) == "old"
    await settle()
    far.data.clear()  # evicted
    waiting = asyncio.create_task(cache.get_or_load("k", load, ttl=SOFT))
    await settle()
    load.go.set()
    assert await waiting == "new"
    assert load.runs == 1


async def test_stale_entries_of_other_code_are_not_taken_for_fresh(
    cache: Cache, clock: Clock, far: SlowStore
) -> None:
    await cache.set("k", "old", ttl=SOFT)
    clock.now += 15.0 - 1e-9
    far.calls.clear()
    load = Loader("new")
    assert await cache.get_or_load("k", load, ttl=exactly(10)) == "old"
    assert far.calls == ["get", "get"]
    assert far.asked_ages[-2:] == [False, True]
    await settle()
    assert await cache.get("k") == "new"


async def test_closing_cancels_what_runs_in_the_background(far: SlowStore, clock: Clock) -> None:
    load = Loader("new")
    async with make(far) as cache:
        await cache.set("k", "old", ttl=SOFT)
        clock.now += 10.0
        load.go.clear()
        await cache.get_or_load("k", load, ttl=SOFT)
        await settle()
    assert load.runs == 1
    assert far.data["cache:k"].value == "old"


# Results that are not like others


async def test_none_has_a_time_of_its_own(cache: Cache, clock: Clock, far: SlowStore) -> None:
    short = exactly(100, stale_for=50, negative=5)
    load = Loader(None)
    assert await cache.get_or_load("k", load, ttl=short) is None
    assert far.data["cache:k"] == Entry(value=None, ttl=5.0, created=clock.now)
    assert await cache.get_or_load("k", load, ttl=short) is None
    assert load.runs == 1


async def test_an_error_is_an_answer_where_that_was_asked_for(either: Cache, clock: Clock) -> None:
    kept = exactly(100, negative=5, errors=(NotFound,))
    load = Loader(NotFound("plan", 7))
    for _ in range(3):
        with pytest.raises(NotFound) as raised:
            await either.get_or_load("k", load, ttl=kept)
        assert raised.value.args == ("plan", 7)
    assert load.runs == 1
    assert await either.get("k", "default") == "default"
    assert either.peek("k") is None
    with pytest.raises(NotFound):  # this function knows nothing of it: it is loaded
        await either.get_or_load("k", load)
    assert load.runs == 2
    clock.now += 5.0
    load.value = "there"
    assert await either.get_or_load("k", load, ttl=kept) == "there"
    load.value = KeyError("x")
    clock.now += 100.0
    for _ in range(2):
        with pytest.raises(KeyError):
            await either.get_or_load("k", load, ttl=kept)
    assert load.runs == 5


async def test_what_is_kept_depends_on_the_result(cache: Cache, far: SlowStore) -> None:
    def choose(value: str) -> float | None:
        return {"draft": 5.0, "secret": None}.get(value, 50.0)

    for value in ("draft", "secret", "public"):
        await cache.get_or_load(value, Loader(value), ttl=choose)
        await cache.get_or_load(f"{value}2", Loader(value), condition=lambda v: v == "public")
    assert {key: entry.ttl for key, entry in far.data.items()} == {
        "cache:draft": 5.0,
        "cache:public": 50.0,
        "cache:public2": 3600.0,
    }


def _open(value: dict[str, float]) -> float:
    return value["open"]


@pytest.mark.parametrize(
    "options",
    [{"ttl": _open}, {"ttl": lambda _: -1.0}, {"condition": lambda value: value["open"]}],
    ids=["ttl raises", "ttl is none", "condition raises"],
)
async def test_a_result_that_a_function_fails_on_is_served_and_not_kept(
    either: Cache, events: list[Event], options: Any
) -> None:
    assert await either.get_or_load("k", Loader({}), **options) == {}
    assert await either.get("k") is None
    assert kinds(events) == ["miss", "load", "error", "bypass lifetime", "miss"]


async def test_a_stale_value_rests_when_a_function_fails_on_the_new_one(
    cache: Cache, clock: Clock
) -> None:
    load = Loader({"open": 10.0})
    await cache.get_or_load("k", load, ttl=_open, stale_for=60)
    clock.now += 10.5
    load.value = {}
    for _ in range(5):
        assert await cache.get_or_load("k", load, ttl=_open, stale_for=60) == {"open": 10.0}
        await settle()
    assert load.runs == 2
    clock.now += 1.0
    await cache.get_or_load("k", load, ttl=_open, stale_for=60)
    await settle()
    assert load.runs == 3


async def test_an_error_that_cannot_be_kept_is_raised_all_the_same(far: SlowStore) -> None:
    async with make(far, on_error="raise") as cache:
        far.failing = {"set"}
        kept = exactly(3600, negative=5, errors=(NotFound,))
        with pytest.raises(NotFound, match="7") as caught:
            await cache.get_or_load("k", Loader(NotFound("7")), ttl=kept)
        (note,) = caught.value.__notes__
        assert note.startswith("and it could not be kept: StoreUnavailable(")


async def test_what_is_never_kept_costs_nothing(cache: Cache, far: SlowStore) -> None:
    load = Loader()
    for _ in range(2):
        assert await cache.get_or_load("k", load, ttl=Lifetime(ttl=0)) == "loaded"
    await cache.set("k", 1, ttl=Lifetime(ttl=0))
    assert (load.runs, far.calls) == (2, [])


# Tags


@pytest.mark.parametrize("when", ["before", "during"])
async def test_a_bumped_tag_makes_every_entry_gone_and_every_load_old(
    either: Cache, when: str
) -> None:
    load = Loader("old")
    load.go.clear()
    first = asyncio.create_task(either.get_or_load("k", load, tags=["plans", "all"]))
    await settle()
    if when == "before":
        load.go.set()
        await first
    load.value = "new"
    await either.invalidate_tags(["plans"])
    later = asyncio.create_task(either.get_or_load("k", load, tags=["plans", "all"]))
    await settle()
    load.go.set()
    assert (await first, await later) == ("old", "new")
    assert await either.get("k") == "new"
    assert load.runs == 2
    assert either.stats().invalidations == 1


async def test_a_bump_in_another_process_makes_a_load_old(cache: Cache, far: SlowStore) -> None:
    load = Loader("old")
    load.go.clear()
    first = asyncio.create_task(cache.get_or_load("k", load, tags=["plans"]))
    await settle()
    await far.bump_tags(["cache:~tag:plans"])
    load.go.set()
    assert await first == "old"
    assert await cache.get("k", "gone") == "gone"


async def test_set_and_refresh_carry_tags_too(either: Cache) -> None:
    await either.set("a", 1, tags=["t"])
    await either.set_many({"b": 1, "c": 1}, tags=["t"])
    await either.refresh("d", Loader(1), tags=["t"])
    assert await either.get_many(list("abcd")) == dict.fromkeys("abcd", 1)
    await either.invalidate_tags(["t"])
    assert await either.get_many(list("abcd")) == {}
    await either.invalidate_tags([])


async def test_without_an_answer_about_tags_nothing_is_stored(cache: Cache, far: SlowStore) -> None:
    far.failing = {"get"}
    await cache.set("a", 1, tags=["t"])
    assert await cache.refresh("b", Loader(2), tags=["t"]) == 2
    assert "set" not in far.calls


# One at a time


DISTRIBUTED = LoadOptions(lock="distributed", timeout=5)


async def test_one_process_loads_and_the_others_find_it(far: SlowStore) -> None:
    load = Loader()
    load.go.clear()
    async with (
        make(far, loading=DISTRIBUTED) as one,
        make(far, loading=DISTRIBUTED) as other,
    ):
        calls = [asyncio.create_task(cache.get_or_load("k", load)) for cache in (one, other) * 10]
        await settle()
        assert load.runs == 1
        load.go.set()
        assert set(await asyncio.gather(*calls)) == {"loaded"}
    assert load.runs == 1
    assert not far.leased


async def test_a_loader_that_raises_gives_the_next_one_its_turn(far: SlowStore) -> None:
    async with make(far, loading=DISTRIBUTED) as cache:
        with pytest.raises(LookupError):
            await cache.get_or_load("k", Loader(LookupError()))
        assert not far.leased
        assert await cache.get_or_load("k", Loader()) == "loaded"


async def test_nobody_waits_until_a_lease_is_given_back(far: SlowStore) -> None:
    async with make(far, loading=DISTRIBUTED) as cache:
        far.gates["release"].clear()
        assert await cache.get_or_load("k", Loader(1)) == 1
        assert far.leased == {"cache:k"}
        await cache.delete("k")
        again = asyncio.create_task(cache.get_or_load("k", Loader(2)))
        await settle()
        assert far.calls.count("lease") == 1  # not asked for what is on its way back
        asyncio.get_running_loop().call_soon(far.gates["release"].set)
        assert await again == 2
        far.gates["release"].clear()
        await cache.delete("k")
        assert await cache.get_or_load("k", Loader(3)) == 3
        asyncio.get_running_loop().call_later(0.01, far.gates["release"].set)
    assert not far.leased  # closing waits for it


async def test_who_waits_too_long_for_another_process_is_told(
    far: SlowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("symphonia_perf.cache._loading._POLL", 0.04)
    monkeypatch.setattr("symphonia_perf.cache._loading._JITTER", 0.02)
    far.leased.add("cache:k")
    async with make(far, loading=DISTRIBUTED) as cache:
        with pytest.raises(LoadTimeout, match=r"another process has been loading it for 0\.3 s"):
            await cache.get_or_load("k", Loader(), timeout=0.3)
    assert 2 <= far.calls.count("lease") <= 8  # a loaded machine asks less often


async def test_without_a_lease_a_result_is_loaded_and_not_kept(far: SlowStore) -> None:
    async with make(far, loading=DISTRIBUTED, observer=lambda _: None) as cache:
        far.failing = {"lease"}
        assert await cache.get_or_load("k", Loader()) == "loaded"
        assert far.calls == ["get", "lease"]
        far.failing = {"get", "lease"}
        assert await cache.get_or_load("k", Loader()) == "loaded"
        assert far.calls == ["get", "lease", "get"]


async def test_without_a_lock_everybody_loads(cache: Cache) -> None:
    load = Loader()
    load.go.clear()
    calls = [asyncio.create_task(cache.get_or_load("k", load, lock="none")) for _ in range(5)]
    await settle()
    load.go.set()
    await asyncio.gather(*calls)
    assert load.runs == 5


async def test_a_loader_that_hangs_does_not_block_its_key(cache: Cache) -> None:
    hangs = Loader()
    hangs.go.clear()
    with pytest.raises(LoadTimeout, match=r"'cache:k' took longer than 0\.01 s; give it more"):
        await cache.get_or_load("k", hangs, timeout=0.01)
    assert await cache.get_or_load("k", Loader(), timeout=None) == "loaded"
    assert cache.stats().errors == 1


async def test_a_loaders_own_timeout_is_its_own(cache: Cache) -> None:
    with pytest.raises(TimeoutError, match="mine") as raised:
        await cache.get_or_load("k", Loader(TimeoutError("mine")))
    assert not isinstance(raised.value, LoadTimeout)


async def test_loads_that_cross_inside_gather_fail_instead_of_hanging(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(singleflight, "PATIENCE", 0.05)
    both = asyncio.Barrier(2)

    async def load(other: str) -> Any:
        await both.wait()
        back = "a" if other == "b" else "b"
        return await asyncio.gather(cache.get_or_load(other, lambda: load(back)))

    async with asyncio.timeout(5):
        found = await asyncio.gather(
            cache.get_or_load("a", lambda: load("b")),
            cache.get_or_load("b", lambda: load("a")),
            return_exceptions=True,
        )
    assert {type(error) for error in found} == {SymphoniaError}


# Many


async def test_many_are_one_call_each(cache: Cache, far: SlowStore) -> None:
    await cache.set_many({f"k{n}": n for n in range(100)}, ttl=9)
    assert await cache.get_many([*(f"k{n}" for n in range(100)), "none"]) == {
        f"k{n}": n for n in range(100)
    }
    assert far.calls == ["set", "get"]
    assert cache.stats().hits == 100
    assert cache.stats().misses == 1
    assert await cache.get_many([]) == {}
    await cache.set_many({})
    assert far.calls == ["set", "get"]


async def test_many_of_a_store_that_is_down(cache: Cache, far: SlowStore) -> None:
    far.failing = {"get", "set", "scan", "bump"}
    await cache.set_many({"a": 1})
    assert await cache.get_many(["a"]) == {}
    assert await cache.clear() == 0
    await cache.invalidate_tags(["t"])
    assert cache.stats().bypassed == 4


async def test_a_pattern_removes_its_keys_and_overtakes_their_loads(
    either: Cache,
) -> None:
    await either.set_many({"plan:1": 1, "plan:2": 2, "plans": 3})
    load = Loader("old")
    load.go.clear()
    waiting = asyncio.create_task(either.get_or_load("plan:3", load))
    other = asyncio.create_task(either.get_or_load("other", load))
    await settle()
    assert await either.invalidate_pattern("plan:*") == 2
    load.go.set()
    assert [await waiting, await other] == ["old", "old"]
    assert await either.get_many(["plan:1", "plan:3", "plans", "other"]) == {
        "plans": 3,
        "other": "old",
    }


async def test_clear_stays_within_its_prefix(far: SlowStore) -> None:
    async with make(far) as one, make(far, prefix="shop") as other:
        await one.set_many({"a": 1, "b": 2})
        await other.set("a", 1)
        assert await one.clear() == 2
        assert set(far.data) == {"shop:a"}
