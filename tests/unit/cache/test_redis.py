"""What the Redis store sends, and what it makes of bytes that are not its own."""

import asyncio
import struct
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis

from symphonia_perf._core.codecs import JsonCodec
from symphonia_perf._core.events import CacheEvent, Event
from symphonia_perf.cache import (
    BreakerOptions,
    Cache,
    CacheStats,
    Entry,
    Found,
    Lifetime,
    RedisCacheStore,
)
from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    MissingExtra,
    NotEncodable,
    StoreTimeout,
    StoreUnavailable,
)
from symphonia_perf.redis import Commands, wrap
from tests.unit.cache.far import Clock, settle


@pytest.fixture
async def client() -> AsyncIterator[FakeAsyncRedis]:
    async with FakeAsyncRedis() as client:
        yield client


class Recorder:
    """Passes commands on and remembers each round trip."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.trips: list[list[Any]] = []

    async def execute(self, *args: Any, deadline: Any = None) -> Any:
        self.trips.append([args[0]])
        return await self._commands.execute(*args, deadline=deadline)

    async def execute_many(self, commands: Sequence[Any], **options: Any) -> list[Any]:
        self.trips.append([each[0] for each in commands])
        return await self._commands.execute_many(commands, **options)

    def script(self, lua: str) -> Any:
        return self._commands.script(lua)


async def test_each_operation_is_one_round_trip(client: FakeAsyncRedis) -> None:
    recorder = Recorder(wrap(client, deadline=10.0))
    store = RedisCacheStore(recorder)
    await store.set_many({"a": Entry(value=1, ttl=1.0), "b": Entry(value=2, ttl=1.0)})
    await store.get_many(["a"])
    await store.get_many(["a", "b", "c"])
    await store.delete_many(["a", "b"])
    await store.get_many(["a", "b"], ages=True)
    await store.bump_tags(["t", "u"])
    await store.get_many(["a"], ["t", "u"], ages=True)
    await store.get_entry("a")
    await store.set_many({"a": Entry(value=1, ttl=1.0)})
    assert recorder.trips == [
        *(["SET", "SET"], ["MGET"], ["MGET"], ["UNLINK"] * 2),
        *(["MGET", "PTTL", "PTTL"], ["SET", "SET"], ["MGET", "PTTL"], ["GET"], ["SET"]),
    ]


async def test_many_names_take_a_round_trip_for_each_thousand(client: FakeAsyncRedis) -> None:
    recorder = Recorder(wrap(client, deadline=10.0))
    store = RedisCacheStore(recorder)
    keys = [f"k{n}" for n in range(2_001)]
    numbers = (await store.get_many([], ["t"])).generations
    await client.set("foreign", b"\x00")
    recorder.trips.clear()
    await store.set_many({key: Entry(value=key, ttl=9.0, tags=numbers) for key in keys})
    found = await store.get_many([*keys, "foreign"], ["t"])
    assert {key: entry.value for key, entry in found.entries.items()} == {key: key for key in keys}
    assert (found.corrupt, found.generations) == (["foreign"], numbers)
    await store.bump_tags(["t", *keys])
    assert await store.delete_many([*keys, "none"]) == 2_001
    sizes = [len(trip) for trip in recorder.trips]
    assert sizes == [1_000, 1_000, 1, 1, 1, 1, 1_000, 1_000, 2, 1_000, 1_000, 2]


async def test_a_tag_is_bumped_where_the_server_has_no_room(client: FakeAsyncRedis) -> None:
    class Full(Recorder):
        code = "OOM"

        async def execute_many(self, commands: Sequence[Any], **options: Any) -> list[Any]:
            if full and any(each[0] == "SET" for each in commands):
                raise CommandError("no room", code=self.code)
            return await super().execute_many(commands, **options)

    full = False
    server = Full(wrap(client, deadline=10.0))
    store = RedisCacheStore(server)
    tags = (await store.get_many([], ["t", "u"])).generations
    await store.set_many({"a": Entry(value=1, ttl=9.0, tags=tags)})
    full = True
    await store.bump_tags(["t", "u"])
    assert not (await store.get_many(["a"])).entries
    full = False
    again = await store.get_many(["a"], ["t", "u"])
    assert not again.entries
    assert not set(again.generations.values()) & set(tags.values())
    full, server.code = True, "READONLY"
    with pytest.raises(CommandError, match="no room"):
        await store.bump_tags(["t", "u"])


async def test_a_tag_without_a_generation_takes_one_more_trip_once(client: FakeAsyncRedis) -> None:
    recorder = Recorder(wrap(client, deadline=10.0))
    store = RedisCacheStore(recorder)
    first = await store.get_many(["a"], ["t"])
    assert (await store.get_many(["a"], ["t"])).generations == first.generations
    assert recorder.trips == [["MGET"], ["SET", "MGET"], ["MGET"]]
    assert 29 * 86_400 < await client.ttl("t") <= 30 * 86_400
    other = await RedisCacheStore(wrap(client, deadline=10.0)).get_many([], ["t"])
    assert other.generations == first.generations


async def test_tags_that_were_not_asked_for_are_checked_too(client: FakeAsyncRedis) -> None:
    recorder = Recorder(wrap(client, deadline=10.0))
    store = RedisCacheStore(recorder)
    now = (await store.get_many([], ["t", "u"])).generations
    await store.set_many({"k": Entry(value=1, ttl=60.0, tags=now)})
    recorder.trips.clear()
    assert (await store.get_many(["k"], ["t"])).entries
    assert (await store.get_entry("k")) is not None
    assert recorder.trips == [["MGET"], ["MGET"], ["GET"], ["MGET"]]


@pytest.mark.parametrize("damage", [b"", b"x", b"-5", b"9" * 40])
async def test_a_generation_that_is_lost_or_damaged_makes_entries_gone(
    client: FakeAsyncRedis, damage: bytes
) -> None:
    store = RedisCacheStore(wrap(client, deadline=10.0))
    now = (await store.get_many([], ["t"])).generations
    await store.set_many({"k": Entry(value=1, ttl=60.0, tags=now)})
    if damage:
        await client.set("t", damage)
    else:
        await client.delete("t")
    assert not (await store.get_many(["k"])).entries
    assert not (await store.get_many(["k"], ["t"])).entries
    assert not (await store.get_many(["k"])).entries


async def test_a_key_that_somebody_made_last_has_no_age(client: FakeAsyncRedis) -> None:
    store = RedisCacheStore(wrap(client, deadline=10.0))
    await store.set_many({"k": Entry(value=1, ttl=60.0, stale_for=5.0)})
    await client.persist("k")
    assert (await store.get_many(["k"], ages=True)).entries["k"].created is None


async def test_reads_of_one_turn_share_a_command_and_no_object(client: FakeAsyncRedis) -> None:
    recorder = Recorder(wrap(client, deadline=10.0))
    store = RedisCacheStore(recorder)
    await store.set_many({"k": Entry(value=[1], ttl=60.0, stale_for=1.0)})
    recorder.trips.clear()
    found = await asyncio.gather(
        *(store.get_many(["k"], ages=ages) for ages in (False, True) for _ in range(10))
    )
    # The first reader is alone; of the others each kind shares.
    assert sorted(recorder.trips) == [["MGET"], ["MGET"], ["MGET", "PTTL"]]
    values = [each.entries["k"].value for each in found]
    assert values == [[1]] * 20
    assert len({id(value) for value in values}) == 20
    assert [each.entries["k"].created is None for each in found] == [True] * 10 + [False] * 10


def alone(key: str, found: Entry | Found) -> Any:
    """The value that was found under the key."""
    if isinstance(found, Found):
        entry = found.entries.get(key)
        return None if entry is None else entry.value
    return found.value


async def test_reads_of_one_entry_are_shared_by_the_shorter_way_too(client: FakeAsyncRedis) -> None:
    recorder = Recorder(wrap(client, deadline=10.0))
    store = RedisCacheStore(recorder)
    tags = (await store.get_many([], ["t"])).generations
    await store.set_many({"k": Entry(value=[1], ttl=60.0), "t:k": Entry([2], 60.0, tags=tags)})
    await client.rpush("list", "x")  # type: ignore[misc]  # typed as either colour
    for key, value in (("k", [1]), ("none", None), ("t:k", [2]), ("list", None)):
        recorder.trips.clear()
        found = await asyncio.gather(*(store.get_entry(key) for _ in range(10)))
        values = [alone(key, each) for each in found]
        assert values == [value] * 10
        assert value is None or len({id(each) for each in values}) == 10
        assert recorder.trips[:2] == [["GET"], ["GET"]]
    await client.set("k", b"foreign")
    found = await asyncio.gather(*(store.get_entry("k") for _ in range(3)))
    assert found == [Found({}, ("k",))] * 3
    assert isinstance(await store.get_entry("t:k"), Found)  # it has more to say than its value
    await store.bump_tags(["t"])
    assert alone("t:k", await store.get_entry("t:k")) is None


@pytest.mark.parametrize("listens", [True, False])
async def test_a_cache_over_it_counts_what_it_finds(
    client: FakeAsyncRedis, *, listens: bool
) -> None:
    events: list[Event] = []
    soft, plain = Lifetime(ttl=60, stale_for=60, jitter=0), Lifetime(ttl=60, jitter=0)
    observer = events.append if listens else None
    async with Cache(
        RedisCacheStore(wrap(client, deadline=10.0)), observer=observer, ttl=plain
    ) as cache:

        async def load() -> str:
            return "loaded"

        await client.set("cache:corrupt", b"foreign")
        await cache.set("soft", "old", ttl=soft)
        for key in ("corrupt", "soft", "none"):
            await cache.get_or_load(key, load)
            await cache.get_or_load(key, load)
        assert cache.stats() == CacheStats(hits=4, misses=2, corrupt=1, loads=2, sets=3)
        kinds = [event.kind for event in events if isinstance(event, CacheEvent)]
        assert not listens or kinds == [
            *("set", "corrupt", "miss", "load", "set", "hit"),
            *("hit", "hit", "miss", "load", "set", "hit"),
        ]
        await client.pexpire("cache:soft", 30_000)  # it is stale by now, whoever reads it
        assert await cache.get_or_load("soft", load) == "old"
        assert cache.stats().stale == 1


@pytest.mark.parametrize("on_error", ["bypass", "raise"])
async def test_a_cache_over_it_goes_without_it_and_comes_back(
    client: FakeAsyncRedis, on_error: Any
) -> None:
    class Away(Recorder):
        away = False

        async def execute(self, *args: Any, deadline: Any = None) -> Any:
            reply = await super().execute(*args, deadline=deadline)
            if self.away:
                raise StoreTimeout("late", store="redis", operation="GET")
            return reply

    recorder, clock = Away(wrap(client, deadline=10.0)), Clock()
    store = RedisCacheStore(recorder, clock=clock)
    breaker = BreakerOptions(failures=3, lasting=0.2, pause=1)
    async with Cache(store, breaker=breaker, clock=clock, on_error=on_error) as cache:

        @cache.cached("plan:{plan_id}")
        async def load_plan(plan_id: str) -> str:
            return f"loaded {plan_id}"

        async def ask(plan_id: str) -> str:
            clock.now += 0.25
            try:
                one = await load_plan(plan_id)
                load = partial(load_plan.uncached, plan_id)
                other = await cache.get_or_load(f"plan:{plan_id}", load)
            except StoreTimeout:
                return "late"
            except StoreUnavailable:
                return "open"
            assert one == other
            return one

        assert await ask("1") == "loaded 1"
        recorder.away = True
        found = [await ask("1") for _ in range(4)]
        raised = ["late", "late", "late", "open"]
        assert found == (["loaded 1"] * 4 if on_error == "bypass" else raised)
        assert (cache.stats().breaker, cache.stats().opened) == ("open", 1)
        assert cache.stats().bypassed == (8 if on_error == "bypass" else 0)
        recorder.away, clock.now = False, clock.now + 1.0
        recorder.trips.clear()
        hits = cache.stats().hits
        assert await ask("1") == "loaded 1"
        assert cache.stats().breaker == "closed"
        assert cache.stats().hits == hits + 2
        assert recorder.trips == [["GET"]] * 2


async def test_who_is_late_to_tell_of_an_open_breaker_tells_nothing(
    client: FakeAsyncRedis,
) -> None:
    gate = asyncio.Event()

    class Frozen(Recorder):
        async def execute(self, *args: Any, deadline: Any = None) -> Any:
            if args[0] == "GET":
                await gate.wait()
                raise StoreTimeout("late", store="redis", operation="GET")
            return await super().execute(*args, deadline=deadline)

    clock = Clock()
    store = RedisCacheStore(Frozen(wrap(client, deadline=10.0)), clock=clock)
    breaker = BreakerOptions(failures=1, lasting=0, pause=1)
    async with Cache(store, breaker=breaker, clock=clock) as cache:

        async def load() -> str:
            return "loaded"

        crowd = [asyncio.create_task(cache.get_or_load(f"k{n}", load)) for n in range(10)]
        await settle()
        gate.set()
        assert await asyncio.gather(*crowd) == ["loaded"] * 10
        assert (cache.stats().bypassed, cache.stats().opened) == (10, 1)


async def test_when_who_asks_is_cancelled_the_others_ask_themselves(client: FakeAsyncRedis) -> None:
    recorder = Recorder(wrap(client, deadline=10.0))
    store = RedisCacheStore(recorder)
    await store.set_many({"k": Entry(value=1, ttl=60.0)})
    for ask in (lambda: store.get_entry("k"), lambda: store.get_many(["k"])):
        tasks = [asyncio.ensure_future(ask()) for _ in range(5)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # on its own
        tasks[1].cancel()  # who leads the others
        done = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = [isinstance(each, asyncio.CancelledError) for each in done]
        assert cancelled == [True, True, False, False, False]
        assert await ask()


async def test_a_cluster_says_once_that_keys_live_apart(client: FakeAsyncRedis) -> None:
    class Apart(Recorder):
        refusal = CommandError("MGET: keys of several slots", code="CROSSSLOT", operation="MGET")

        def refuse(self, *commands: Any) -> None:
            if any(each[0] == "MGET" and len(each) > 2 for each in commands):
                raise self.refusal

        async def execute(self, *args: Any, deadline: Any = None) -> Any:
            self.refuse(args)
            return await super().execute(*args, deadline=deadline)

        async def execute_many(self, commands: Sequence[Any], **options: Any) -> list[Any]:
            self.refuse(*commands)
            return await super().execute_many(commands, **options)

    recorder = Apart(wrap(client, deadline=10.0))
    store = RedisCacheStore(recorder)
    await store.set_many({key: Entry(value=key, ttl=60.0) for key in "ab"})
    for ages in (False, True):
        found = await store.get_many(["a", "b", "c"], ages=ages)
        assert {key: entry.value for key, entry in found.entries.items()} == {"a": "a", "b": "b"}
    assert recorder.trips[1:] == [["MGET"] * 3, [*["MGET"] * 3, *["PTTL"] * 3]]
    recorder.refusal = CommandError("NOPERM", code="NOPERM", operation="MGET")
    with pytest.raises(CommandError, match="NOPERM"):
        await RedisCacheStore(recorder).get_many(["a", "b"])


async def test_large_values_are_packed_where_that_is_asked_for(client: FakeAsyncRedis) -> None:
    value = "x" * 100_000
    packing, plain = (
        RedisCacheStore(wrap(client, deadline=10.0), compress_above=n) for n in (1000, None)
    )
    await packing.set_many({"big": Entry(value=value, ttl=60.0), "small": Entry(value=1, ttl=1.0)})
    assert await client.strlen("big") < 1000
    assert (await plain.get_many(["big"])).entries["big"].value == value
    with pytest.raises(ConfigurationError, match="compress_above=5 beside a codec"):
        RedisCacheStore(wrap(client, deadline=10.0), codec=JsonCodec(), compress_above=5)


async def test_without_zstd_a_packed_entry_is_a_miss_and_packing_is_refused(
    client: FakeAsyncRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await RedisCacheStore(wrap(client, deadline=10.0), compress_above=10).set_many(
        {"k": Entry(value="x" * 1000, ttl=60.0)}
    )
    monkeypatch.setitem(sys.modules, "zstandard", None)
    found = await RedisCacheStore(wrap(client, deadline=10.0)).get_many(["k"])
    assert (list(found.corrupt), found.entries) == (["k"], {})
    with pytest.raises(MissingExtra, match="zstandard"):
        RedisCacheStore(wrap(client, deadline=10.0), compress_above=10)


@pytest.mark.parametrize(
    ("ttl", "milliseconds"), [(60.0, 60_000), (1.4996, 1500), (1e-9, 1), (1e306, 3_153_600_000_000)]
)
async def test_the_server_counts_the_time(ttl: float, milliseconds: int) -> None:
    sent: list[Any] = []

    class Commands:
        async def execute(self, *command: Any) -> bytes:
            sent.append(command)
            return b"OK"

        async def execute_many(self, commands: Sequence[Any]) -> None: ...

    await RedisCacheStore(Commands()).set_many({"k": Entry(value=1, ttl=ttl)})  # type: ignore[arg-type]
    ((name, key, _, px, length),) = sent
    assert (name, key, px, length) == ("SET", "k", "PX", milliseconds)


GOOD = struct.pack(">BBd", 2, 0, 60.0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"plain text of somebody else",
        struct.pack(">BBd", 3, 0, 60.0) + b"the form of a newer version",
        GOOD,
        GOOD + b"\x00\xff\xff",
    ],
    ids=repr,
)
async def test_foreign_bytes_are_named_and_never_raise(client: FakeAsyncRedis, data: bytes) -> None:
    store = RedisCacheStore(wrap(client, deadline=10.0))
    await store.set_many({"good": Entry(value=1, ttl=60.0)})
    await client.set("bad", data)
    found = await store.get_many(["bad", "good", "none"])
    assert list(found.corrupt) == ["bad"]
    assert list(found.entries) == ["good"]


async def test_a_truncated_entry_is_named(client: FakeAsyncRedis) -> None:
    store = RedisCacheStore(wrap(client, deadline=10.0))
    await store.set_many({"k": Entry(value={"a": [1, 2, 3]}, ttl=60.0)})
    data = await client.get("k")
    assert isinstance(data, bytes)
    for length in range(len(data)):
        await client.set("k", data[:length])
        assert list((await store.get_many(["k"])).corrupt) == ["k"], length


async def test_a_key_of_another_type_is_a_miss(client: FakeAsyncRedis) -> None:
    await client.rpush("list", "x")  # type: ignore[misc]  # typed as either colour
    found = await RedisCacheStore(wrap(client, deadline=10.0)).get_many(["list"])
    assert not found.entries


async def test_a_value_that_cannot_be_stored_keeps_all_from_being_sent(
    client: FakeAsyncRedis,
) -> None:
    store = RedisCacheStore(wrap(client, deadline=10.0))
    with pytest.raises(NotEncodable):
        await store.set_many({"a": Entry(value=1, ttl=1.0), "b": Entry(value=object(), ttl=1.0)})
    assert await client.exists("a") == 0


async def test_a_codec_of_choice(client: FakeAsyncRedis) -> None:
    store = RedisCacheStore(wrap(client, deadline=10.0), codec=JsonCodec())
    await store.set_many({"k": Entry(value={"a": [1]}, ttl=60.0)})
    assert (await store.get_many(["k"])).entries["k"].value == {"a": [1]}
    assert list((await RedisCacheStore(wrap(client, deadline=10.0)).get_many(["k"])).corrupt) == [
        "k"
    ]


async def test_a_client_that_was_not_wrapped_is_refused(client: FakeAsyncRedis) -> None:
    with pytest.raises(ConfigurationError, match=r"write RedisCacheStore\(wrap\(client\)\)"):
        RedisCacheStore(client)  # type: ignore[arg-type]


async def test_a_generation_evicted_as_it_is_made_is_nobody_elses(client: FakeAsyncRedis) -> None:
    class Evicting(Recorder):
        async def execute_many(self, commands: Sequence[Any], **options: Any) -> list[Any]:
            replies = await super().execute_many(commands, **options)
            if commands[0][0] == "SET" and "NX" in commands[0]:
                await client.delete("t")
                replies[-1] = [None]
            return replies

    store = RedisCacheStore(Evicting(wrap(client, deadline=10.0)))
    one = (await store.get_many([], ["t"])).generations
    await store.set_many({"k": Entry(value=1, ttl=60.0, tags=one)})
    found = await store.get_many(["k"], ["t"])
    assert not found.entries
    assert found.generations != one
