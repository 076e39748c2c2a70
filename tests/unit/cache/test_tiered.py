"""A tiered store: what is answered near, what it asks the far server, and what it must not keep."""

import asyncio
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import RedisCluster

from symphonia_perf.cache import (
    Cache,
    Entry,
    Found,
    MemoryCacheStore,
    RedisCacheStore,
    TieredCacheStore,
)
from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    NotOpen,
    StoreUnavailable,
    SymphoniaError,
)
from symphonia_perf.redis import wrap
from tests.unit.cache.far import Clock, exactly, settle
from tests.unit.cache.tiers import FakeServer, tiered


def plain(value: Any, **fields: Any) -> Entry:
    return Entry(**{"value": value, "ttl": 600.0, **fields})


def at_once(store: TieredCacheStore, key: str, *tags: str) -> Found | None:
    """What the store answers without a suspension; None: it waits for something."""
    reading = store.get_many([key], tags)
    try:
        reading.send(None)
    except StopIteration as done:
        found: Found = done.value
        return found
    reading.close()
    return None


async def value(store: TieredCacheStore, key: str = "k") -> Any:
    entry = (await store.get_many([key])).entries.get(key)
    return None if entry is None else entry.value


async def test_a_second_read_is_near_and_without_a_suspension() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        await store.set_many({"k": plain([1])})
        assert store.peek("k") is None
        assert await value(store) == [1]
        server.trips.clear()
        near = store.peek("k")
        assert near is not None
        assert near.value == [1]
        assert at_once(store, "k") is not None
        near.value.append(2)
        assert await value(store) == [1]
        assert server.trips == []


async def test_only_what_is_not_near_is_asked_for() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        await store.set_many({"a": plain(1), "b": plain(2)})
        await store.get_many(["a"])
        server.trips.clear()
        found = await store.get_many(["a", "b", "c"])
        assert {key: entry.value for key, entry in found.entries.items()} == {"a": 1, "b": 2}
        assert server.trips == [["b", "c", "PTTL", "PTTL"]]


async def test_a_write_by_anybody_takes_the_near_entry() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening("cache:"):
        assert server.word.prefix == "cache:"
        await store.set_many({"k": plain("old")})
        assert await value(store) == "old"
        await RedisCacheStore(server.commands).set_many({"k": plain("new")})
        assert await value(store) == "old"  # the word of it is on its way
        server.word.tell("k")
        assert await value(store) == "new"


@pytest.mark.parametrize("by", ["key", "flush", "loss", "own"])
async def test_a_read_that_a_change_overtakes_is_not_kept(by: str) -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        await store.set_many({"k": plain("old")})
        server.answering.clear()
        reading = asyncio.create_task(value(store))
        await settle()  # the server has answered with the old value
        writing = None
        if by == "own":
            writing = asyncio.create_task(store.set_many({"k": plain("new")}))
            await settle()
        else:
            await RedisCacheStore(server.commands).set_many({"k": plain("new")})
            {"key": lambda: server.word.tell("k"), "flush": server.word.flush,
             "loss": server.word.lose}[by]()  # fmt: skip
        server.answering.set()
        assert await reading == "old"
        if writing is not None:
            await writing
        assert store.peek("k") is None
        assert await value(store) == "new"


async def test_who_reads_after_a_change_was_heard_asks_for_itself() -> None:
    # All in one turn of the loop, in which the server may well answer one and tell of a change.
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        server.accepting.clear()
        before = len(server.trips)
        reads = [store.get_many(["k"]) for _ in range(3)]
        for each in reads[:2]:
            each.send(None)
        server.word.tell("k")
        reads[2].send(None)
        assert server.trips[before:] == [["k", "PTTL"]] * 3
        for each in reads:
            each.close()


async def test_an_own_write_that_fails_may_have_been_done() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        await store.set_many({"k": plain("old")})
        await store.get_many(["k"])
        server.fails = True
        for change in (
            lambda: store.set_many({"k": plain("new")}),
            lambda: store.delete_many(["k"]),
            lambda: store.delete_matching("k*"),
        ):
            with pytest.raises(StoreUnavailable):
                await change()
            assert store.peek("k") is None
            server.fails = False
            await RedisCacheStore(server.commands).set_many({"k": plain("newer")})
            assert await value(store) == "newer"
            server.fails = True


async def test_a_cancelled_write_leaves_nothing_behind() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        await store.set_many({"k": plain("old")})
        await store.get_many(["k"])
        server.answering.clear()
        writing = asyncio.create_task(store.delete_many(["k"]))
        await settle()
        writing.cancel()
        await settle()
        server.answering.set()
        assert writing.cancelled()
        assert await value(store) is None


async def test_while_nothing_is_heard_the_far_tier_answers() -> None:
    server = FakeServer()
    server.away = True
    store = tiered(server)
    assert await value(store) is None
    async with store.listening(""):
        assert not store.stats().listening
        await store.set_many({"k": plain(1)})
        for _ in range(2):
            assert await value(store) == 1
            assert store.peek("k") is None
        server.word.connect()
        assert await value(store) == 1
        assert store.peek("k") is not None
        server.word.lose()
        assert store.peek("k") is None
        assert await value(store) == 1
        assert store.peek("k") is None
        server.word.connect()
        assert await value(store) == 1
        assert store.stats().entries == 1
    assert store.peek("k") is None


async def test_the_time_of_an_entry_is_what_it_has_left() -> None:
    server, clock = FakeServer(), Clock()
    store = tiered(server, clock=clock, near_ttl=1000.0)
    soft = plain(1, ttl=100.0, stale_for=50.0, stale_on_error=400.0)
    async with store.listening(""):
        await store.set_many({"k": soft})
        await server.commands.execute("PEXPIRE", "k", 470_000)  # 80 seconds later
        (entry,) = (await store.get_many(["k"])).entries.values()
        assert entry.created == pytest.approx(clock.now - 80.0, abs=0.5)
        near = store.peek("k")
        assert near is not None
        assert near == entry
        assert near.ttl == 100.0
        clock.now += 19.0
        assert store.peek("k") is not None
        clock.now += 2.0
        # Stale now: the far tier knows whether somebody has loaded it anew.
        assert store.peek("k") is None
        await server.commands.execute("PEXPIRE", "k", 449_000)
        server.trips.clear()
        for _ in range(2):
            (entry,) = (await store.get_many(["k"])).entries.values()
            assert entry.state(clock.now) == "stale"
        assert server.trips == [["k", "PTTL"]] * 2
        assert store.peek("k") is None


async def test_the_belt() -> None:
    server, clock = FakeServer(), Clock()
    store = tiered(server, clock=clock, near_ttl=5.0)
    async with store.listening(""):
        await store.set_many({"k": plain("old")})
        await store.get_many(["k"])
        await RedisCacheStore(server.commands).set_many({"k": plain("new")})
        clock.now += 4.9
        assert await value(store) == "old"
        clock.now += 0.1
        assert await value(store) == "new"


async def test_what_stands_for_an_error_is_near_and_not_peeked_at() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        await store.set_many({"k": plain(["app.NotFound"], raised=True)})
        await store.get_many(["k"])
        assert store.peek("k") is None
        found = at_once(store, "k")
        assert found is not None
        assert found.entries["k"].raised


# Tags


async def test_with_known_tags_a_far_hit_is_one_read_and_a_near_one_nothing() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        now = (await store.get_many(["k"], ["t", "u"])).generations
        assert server.trips == [["k", "t", "u", "PTTL"], ["SET", "SET", "t", "u"]]
        await store.set_many({k: plain(k, tags=now) for k in ("a", "b")})
        server.trips.clear()
        assert await value(store, "a") == "a"
        assert (await store.get_many(["b"], ["t"])).entries["b"].value == "b"
        assert server.trips == [["a", "PTTL"], ["b", "PTTL"]]
        assert store.peek("a") is not None
        found = at_once(store, "b", "u", "t")
        assert found is not None
        assert found.generations == now
        assert (await store.get_many([], ["t"])).generations == {"t": now["t"]}
        assert len(server.trips) == 2


async def test_tags_that_are_not_known_are_asked_for_once() -> None:
    server = FakeServer()
    store = tiered(server)
    now = (await RedisCacheStore(server.commands).get_many([], ["t", "u"])).generations
    await RedisCacheStore(server.commands).set_many({k: plain(k, tags=now) for k in "ab"})
    async with store.listening(""):
        assert await value(store, "a") == "a"
        assert server.trips == [["a", "PTTL"], ["t", "u"]]
        assert await value(store, "b") == "b"
        assert server.trips[2:] == [["b", "PTTL"]]
        assert store.peek("a") is not None
        assert store.stats().tags == 2


async def test_while_nothing_is_heard_tags_are_asked_for_every_time() -> None:
    server = FakeServer()
    server.away = True
    store = tiered(server)
    async with store.listening(""):
        now = (await store.get_many([], ["t"])).generations
        await store.set_many({"k": plain(1, tags=now)})
        server.trips.clear()
        for _ in range(2):
            assert (await store.get_many(["k"], ["t"])).entries["k"].value == 1
        assert server.trips == [["k", "t", "PTTL"]] * 2
        await RedisCacheStore(server.commands).bump_tags(["t"])
        assert await value(store) is None


async def test_a_bump_by_anybody_takes_near_entries_when_it_is_heard() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        now = (await store.get_many([], ["t", "u"])).generations
        await store.set_many(
            {"k": plain("old", tags=now), "other": plain("kept", tags={"u": now["u"]})}
        )
        await store.get_many(["k", "other"])
        await RedisCacheStore(server.commands).bump_tags(["t"])
        assert store.peek("k") is not None
        server.word.tell("t")
        assert store.peek("k") is None
        assert store.peek("other") is not None
        found = await store.get_many(["k", "other"], ["t"])
        assert list(found.entries) == ["other"]
        assert found.generations["t"] != now["t"]


async def test_an_own_bump_is_known_at_once() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        now = (await store.get_many([], ["t"])).generations
        await store.set_many({"k": plain("old", tags=now)})
        await store.get_many(["k"])
        await store.bump_tags(["t"])
        assert store.peek("k") is None
        assert await value(store) is None
        server.fails = True
        await_old = (await RedisCacheStore(server.commands).get_many([], ["t"])).generations
        with pytest.raises(StoreUnavailable):
            await store.bump_tags(["t"])
        server.fails = False
        assert (await store.get_many([], ["t"])).generations != await_old


async def test_a_generation_read_while_it_is_bumped_is_not_remembered() -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        before = (await RedisCacheStore(server.commands).get_many([], ["t"])).generations
        server.answering.clear()
        reading = asyncio.create_task(store.get_many([], ["t"]))
        await settle()
        await RedisCacheStore(server.commands).bump_tags(["t"])
        server.word.tell("t")
        server.answering.set()
        # Right for an entry that is made now: it was read before its value.
        assert (await reading).generations == before
        await store.set_many({"k": plain("old", tags=before)})
        assert await value(store) is None


async def test_a_bump_while_an_entrys_tags_are_asked_for() -> None:
    server = FakeServer()
    store = tiered(server)
    far = RedisCacheStore(server.commands)
    async with store.listening(""):
        now = (await store.get_many([], ["t"])).generations
        now = {**now, **(await far.get_many([], ["u"])).generations}
        await far.set_many({"k": plain("old", tags=now)})
        server.answering.clear()
        reading = asyncio.create_task(value(store))
        await settle()
        server.answering.set()
        server.accepting.clear()
        await settle()  # it knows of `t`, and asks for `u`
        await far.bump_tags(["t"])
        server.word.tell("t")
        server.accepting.set()
        assert await reading is None
        assert store.peek("k") is None


@pytest.mark.parametrize("how", ["evicted", "flushed"])
async def test_lost_generations_bring_nothing_back(how: str) -> None:
    server = FakeServer()
    store = tiered(server)
    async with store.listening(""):
        now = (await store.get_many([], ["t"])).generations
        await store.set_many({"k": plain("old", tags=now)})
        await store.get_many(["k"])
        data = await server.commands.execute("GET", "k")
        if how == "evicted":
            await server.commands.execute("DEL", "t")
            server.word.tell("t")
        else:
            await server.commands.execute("FLUSHALL")
            server.word.flush()
            await server.commands.execute("SET", "k", data)  # as from a replica that lagged
        assert store.peek("k") is None
        assert await value(store) is None
        again = (await store.get_many(["k"], ["t"])).generations
        assert again["t"] != now["t"]
        assert await value(store) is None
        await store.set_many({"k": plain("new", tags=again)})
        assert await value(store) == "new"


async def test_more_tags_than_are_remembered_cost_a_question() -> None:
    server = FakeServer()
    store = tiered(server, max_tags=2)
    async with store.listening(""):
        now = (await store.get_many([], ["t", "u", "v"])).generations
        await store.set_many({f"k:{tag}": plain(tag, tags={tag: n}) for tag, n in now.items()})
        for _ in range(2):
            assert [await value(store, f"k:{tag}") for tag in now] == list(now)
        assert store.stats().tags == 2


# Opening, options


async def test_it_is_opened_once_at_a_time() -> None:
    store = tiered(FakeServer())
    async with store.listening(""):
        with pytest.raises(SymphoniaError, match="this tiered store is open already"):
            async with store.listening("other:"):
                pass
    async with store.listening("other:"):
        assert store.stats().listening


async def test_a_cache_opens_it_with_its_prefix() -> None:
    server, clock = FakeServer(), Clock()
    store = tiered(server, clock=clock)
    cache = Cache(store, prefix="shop", version=2, ttl=exactly(600), clock=clock)
    assert cache.key_start == "shop:v2:"

    async def load() -> str:
        return "loaded"

    for _ in range(2):
        async with cache:
            assert server.word.prefix == "shop:v2:"
            for _ in range(3):
                assert await cache.get_or_load("k", load, tags=["t"]) == "loaded"
            assert cache.peek("k") is not None
            assert cache.rules.events == ()
            await cache.invalidate_tags(["t"])
            assert cache.peek("k") is None
        assert not server.word.active
        assert not store.stats().listening


async def test_where_keys_cannot_be_tracked_the_cache_says_what_to_do() -> None:
    server = FakeServer()
    server.refusal = ConfigurationError("the server does not let keys be tracked")
    cache = Cache(tiered(server))
    with pytest.raises(ConfigurationError, match='tracked; for a cache: use invalidation="pubsub"'):
        async with cache:
            pass
    server.refusal = CommandError("WRONGPASS", code="WRONGPASS", operation="AUTH")
    with pytest.raises(CommandError):
        async with cache:
            pass
    with pytest.raises(NotOpen):
        await cache.get("k")
    server.refusal = None
    async with cache:
        assert await cache.get("k") is None


async def test_an_error_in_the_block_is_the_blocks() -> None:
    store = tiered(FakeServer())
    with pytest.raises(ConfigurationError, match=r"^mine$"):
        async with store.listening(""):
            raise ConfigurationError("mine")
    assert not store.stats().listening


async def test_a_cluster_is_not_tracked_by_one_connection() -> None:
    cluster = RedisCluster(host="localhost", port=1)
    far = RedisCacheStore(wrap(cluster))
    server: Any = FakeServer()
    with pytest.raises(ConfigurationError, match="tracks one of its nodes"):
        TieredCacheStore(MemoryCacheStore(), far, listen_on=server)
    TieredCacheStore(MemoryCacheStore(), far, listen_on=server, invalidation="pubsub")
    await cluster.aclose()


async def test_a_client_that_cannot_track_is_helped_by_another() -> None:
    commands = wrap(FakeAsyncRedis())
    near, far = MemoryCacheStore(), RedisCacheStore(commands)
    with pytest.raises(ConfigurationError, match='invalidation="pubsub"'):
        async with TieredCacheStore(near, far).listening(""):
            pass
    server = FakeServer()
    store = TieredCacheStore(near, far, listen_on=server)  # type: ignore[arg-type]
    async with store.listening(""):
        await store.set_many({"k": plain(1)})
        await store.get_many(["k"])
        assert store.peek("k") is not None
    assert server.trips == []


async def test_a_near_store_serves_one_at_a_time() -> None:
    server, clock = FakeServer(), Clock()
    near = MemoryCacheStore(clock=clock)
    one, other = (tiered(server, near=near, clock=clock) for _ in range(2))
    for store in (one, other):
        async with store.listening(""):
            with pytest.raises(SymphoniaError, match="another store over this near one is open"):
                async with (other if store is one else one).listening(""):
                    pass
            tags = (await store.get_many([], ["t"])).generations
            await store.set_many({"k": plain(1, tags=tags)})
            await store.get_many(["k"])
            assert store.peek("k") is not None


async def test_stats() -> None:
    server, clock = FakeServer(), Clock()
    near = MemoryCacheStore(max_bytes=2_000, clock=clock)
    store = tiered(server, clock=clock, near=near)
    async with store.listening(""):
        await store.set_many({f"k{n}": plain("x" * 200) for n in range(5)})
        await store.get_many([f"k{n}" for n in range(5)])
        stats = store.stats()
        assert (stats.listening, stats.entries, stats.evicted) == (True, 2, 3)
        assert 400 < stats.size <= 2_000
        assert (stats.flushes, stats.overtaken, stats.tags) == (0, 0, 0)


class Bare:
    """It only executes commands."""

    async def execute_many(self) -> None: ...


async def test_tags_alone_are_bumped_without_a_listener() -> None:
    server = FakeServer()
    store = tiered(server)
    before = (await store.get_many([], ["t"])).generations
    await store.bump_tags(["t"])
    assert (await store.get_many([], ["t"])).generations != before
    lease = store.lease("k", 5.0)
    assert await lease.acquire()
    assert not await store.lease("k", 5.0).acquire()
    await lease.release()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"near": RedisCacheStore(wrap(FakeAsyncRedis()))}, "near=.*expected a MemoryCacheStore"),
        ({"far": MemoryCacheStore()}, "far=.*expected a RedisCacheStore"),
        ({"invalidation": "none"}, "invalidation='none': expected 'tracking' or 'pubsub'"),
        ({"near_ttl": 0}, "near_ttl=0"),
        ({"max_tags": 0}, "max_tags=0"),
        ({"far": RedisCacheStore(Bare())}, 'Bare cannot track.*invalidation="pubsub"'),  # type: ignore[arg-type]
        ({"listen_on": Bare(), "invalidation": "pubsub"}, "Bare cannot publish and subscribe"),
    ],
)
def test_options_that_cannot_work_are_named(options: dict[str, Any], said: str) -> None:
    defaults = {"near": MemoryCacheStore(), "far": RedisCacheStore(wrap(FakeAsyncRedis()))}
    with pytest.raises(ConfigurationError, match=said):
        TieredCacheStore(**{**defaults, **options})


async def test_a_bump_that_nobody_hears_of_is_noticed_when_the_belts_time_is_over() -> None:
    server, clock = FakeServer(), Clock()
    store, far = tiered(server, clock=clock, near_ttl=5.0), RedisCacheStore(server.commands)
    async with store.listening(""):
        now = (await store.get_many([], ["t"])).generations
        await store.set_many({"k": plain("old", tags=now)})
        assert await value(store) == "old"
        await far.bump_tags(["t"])
        clock.now += 3.0
        await store.set_many({"other": plain("old", tags=now)})
        assert [await value(store), await value(store, "other")] == ["old", "old"]
        clock.now += 2.0
        assert store.peek("k") is None
        assert store.peek("other") is None
        assert [await value(store), await value(store, "other")] == [None, None]
        again = (await store.get_many([], ["t"])).generations
        assert again == (await far.get_many([], ["t"])).generations
