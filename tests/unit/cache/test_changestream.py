"""Watching a database that says what the test tells it to say."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, Self

import pytest
from bson.errors import InvalidBSON
from fakeredis import FakeAsyncRedis

from symphonia_perf._core.codecs import MsgpackCodec
from symphonia_perf._core.events import Event
from symphonia_perf.cache import (
    Cache,
    ChangeStreamEvent,
    ChangeStreamInvalidator,
    InvalidationRules,
    MemoryCacheStore,
    RedisCacheStore,
    changestream,
    on,
)
from symphonia_perf.cache import _following as following
from symphonia_perf.cache._resume import ResumeToken
from symphonia_perf.errors import CommandError, ConfigurationError, NotOpen, SymphoniaError
from symphonia_perf.redis import Elected, wrap
from tests.unit.cache.far import SlowStore

RULES = InvalidationRules(
    on("carrier.changed", delete=["carrier:{id}"], tags=["carriers"], match=["lists:*"]),
    on("plan.changed", tags=["plans"]),
)
ROUTES = {"carriers": "carrier.changed", "plans": "plan.changed"}
START, IDLE = "57A7", "1D7E"  # places: hex digits, as a server's


class Failure(ConnectionError):
    """As a driver raises it."""

    def __init__(self, code: int | None = None) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Stream:
    """Says what its database's script has."""

    start: Mapping[str, str] | None = MappingProxyType({"_data": START})

    def __init__(self, db: "Database", start_after: Any) -> None:
        self._db = db
        self.alive = True
        self.resume_token = start_after or (self.start and dict(self.start))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._db.closed += 1

    async def try_next(self) -> Any:
        said = await self._db.script.get()
        if isinstance(said, Exception):
            raise said
        if isinstance(said, str):
            self.resume_token = {"_data": said}
            return None
        self.resume_token = said["_id"]
        if said["operationType"] == "invalidate":
            self.alive = False
        return said


class Database:
    """A database's changes, by script."""

    name = "shop"

    def __init__(self) -> None:
        self.script: asyncio.Queue[Any] = asyncio.Queue()
        self.refusals: list[Exception] = []
        self.opened: list[Any] = []
        self.options: dict[str, Any] = {}
        self.closed = 0
        self.hello: Any = {"setName": "rs0"}

    async def command(self, name: str) -> Any:
        assert name == "hello"
        if isinstance(self.hello, Exception):
            raise self.hello
        return self.hello

    async def watch(self, pipeline: Any, *, start_after: Any, **options: Any) -> Stream:
        del pipeline
        self.opened.append(start_after)
        self.options = options
        if self.refusals:
            raise self.refusals.pop(0)
        return Stream(self, start_after)

    def say(self, *changes: Any) -> None:
        for each in changes:
            self.script.put_nowait(each)


def change(number: int, _id: Any = 7, *, operation: str = "update", **more: Any) -> dict[str, Any]:
    return {
        "_id": {"_data": f"{number}"},
        "operationType": operation,
        "ns": {"db": "shop", "coll": "carriers"},
        "documentKey": {"_id": _id},
        **more,
    }


class Setting:
    """A cache over fakeredis, a database, and what watches it."""

    def __init__(self, **options: Any) -> None:
        self.redis = wrap(FakeAsyncRedis(), deadline=10.0)
        self.db = Database()
        self.events: list[Event] = []
        self.cache = Cache(options.pop("store", RedisCacheStore(self.redis)), rules=RULES)
        self.options = {
            "routes": ROUTES,
            "redis": self.redis,
            "observer": self.events.append,
            "lease": 0.5,
            **options,
        }

    def watcher(self, **options: Any) -> ChangeStreamInvalidator:
        return ChangeStreamInvalidator(self.db, self.cache, **{**self.options, **options})

    @property
    def told(self) -> list[str]:
        return [event.kind for event in self.events if isinstance(event, ChangeStreamEvent)]

    @property
    def kinds(self) -> list[str]:
        return [getattr(event, "kind", "") for event in self.events]

    async def token(self, watcher: ChangeStreamInvalidator) -> Any:
        return await ResumeToken(self.redis, watcher._name).load()


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    setting = Setting()
    async with setting.cache:
        yield setting


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(following, "_LONGEST_PAUSE", 0.002)
    monkeypatch.setattr(changestream, "Elected", partial(Elected, restart_after=0.01))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - on tasks of the library
            await asyncio.sleep(0.001)


@asynccontextmanager
async def watching(setting: Setting, **options: Any) -> AsyncGenerator[ChangeStreamInvalidator]:
    async with setting.watcher(**options) as watcher:
        await until(lambda: watcher.stats().watching)
        yield watcher


async def test_a_change_of_a_document_is_an_event_of_the_rules(setting: Setting) -> None:
    cache = setting.cache
    async with watching(setting) as watcher:
        await cache.set_many({f"carrier:{n}": n for n in (7, 8)})
        await cache.set("carriers", "all", tags=["carriers"])
        await cache.set("lists:1", "some")
        await cache.set("plans:list", "others", tags=["plans"])
        setting.db.say(change(1))
        await until(lambda: watcher.stats().changes == 1)
        kept = await cache.get_many(["carrier:7", "carrier:8", "carriers", "lists:1", "plans:list"])
        assert kept == {"carrier:8": 8, "plans:list": "others"}
        setting.db.say(change(2, ns={"coll": "plans"}))
        await until(lambda: watcher.stats().changes == 2)
        assert await cache.get("plans:list") is None
    assert watcher.stats().batches == 2
    assert not watcher.stats().watching
    assert setting.db.options == {"max_await_time_ms": 1_000}
    assert setting.db.closed == 1


async def test_the_place_is_kept_after_the_changes_had_their_effect(setting: Setting) -> None:
    async with watching(setting) as watcher:
        assert setting.db.opened == [None]
        setting.db.say(change(1), change(2), change(3))
        await until(lambda: watcher.stats().changes == 3)
        # Not at once for each change: what is told twice costs little.
        assert await setting.token(watcher) == {"_data": START}
        setting.db.say(IDLE)
        await until(lambda: watcher.stats().lag == 0.0)
        assert await setting.token(watcher) == {"_data": IDLE}
    async with watching(setting):
        assert setting.db.opened[-1] == {"_data": IDLE}
    assert setting.told == ["lost", "watching", "watching"]
    assert 0 < await setting.redis.execute("TTL", watcher._name) <= 7 * 86_400


async def test_changes_that_wait_are_told_together(setting: Setting) -> None:
    setting.db.say(*(change(n, n % 3) for n in range(100)))
    async with watching(setting) as watcher:
        await until(lambda: watcher.stats().changes == 100)
        assert watcher.stats().batches <= 5
        assert setting.cache.stats().deletes <= 15


@pytest.mark.parametrize(
    "kept",
    [
        *(None, b"", b"\x00", b"foreign"),
        *map(
            MsgpackCodec().encode,
            [
                *({}, [], [1], "82", 5, {"x": 1}, {1: 2}, {"_data": None}, {"_data": 2**63}),
                *({"_data": ""}, {"_data": "zz"}, {"_data": "82\n"}, {"_data": b"82"}),
                *({"_data": {"a": 1}}, {"_data": "8" * 65_537}),
            ],
        ),
    ],
)
async def test_without_a_place_the_cache_is_cleared_once_the_stream_is_open(
    setting: Setting, kept: bytes | None
) -> None:
    watcher = setting.watcher()
    await setting.cache.set("carrier:1", "who knows how old", tags=["carriers"])
    if kept is not None:
        await setting.redis.execute("SET", watcher._name, kept)
    async with watcher:
        await until(lambda: watcher.stats().watching)
        assert await setting.cache.get("carrier:1") is None
        assert watcher.stats().clears == 1
    assert setting.db.opened == [None]
    assert setting.told == ["lost", "watching"]


async def test_a_stream_that_fails_before_it_says_anything_goes_on_from_its_beginning(
    setting: Setting,
) -> None:
    setting.db.say(Failure(), change(1))
    async with setting.watcher() as watcher:
        await until(lambda: watcher.stats().changes == 1)
    assert setting.db.opened == [None, {"_data": START}]
    assert setting.told == ["lost", "watching", "interrupted", "watching"]


async def test_a_server_that_gives_no_place_yet_begins_anew(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "start", None)
    setting.db.say(Failure(), change(1))
    async with setting.watcher() as watcher:
        await until(lambda: watcher.stats().changes == 1)
    assert setting.db.opened == [None, None]
    assert watcher.stats().clears == 2


async def test_while_changes_come_the_place_is_kept_now_and_then(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_SAVE_EVERY", 0.0)
    async with watching(setting) as watcher:
        setting.db.say(change(1))
        await until(lambda: watcher.stats().changes == 1)
        setting.db.say(change(2))
        await until(lambda: watcher.stats().changes == 2)
        assert await setting.token(watcher) != {"_data": START}


@pytest.mark.parametrize("when", ["opening", "reading"])
async def test_a_lost_history_begins_anew_and_clears(setting: Setting, when: str) -> None:
    watcher = setting.watcher()
    await ResumeToken(setting.redis, watcher._name).save({"_data": "82", "_typeBits": b"\x01"})
    if when == "opening":
        setting.db.refusals.append(Failure(286))
    async with watcher:
        await until(lambda: watcher.stats().watching)
        await setting.cache.set("carrier:1", "old")
        if when == "reading":
            setting.db.say(change(1), Failure(286))
        else:
            setting.db.say(IDLE)
        await until(lambda: watcher.stats().clears == 1 and watcher.stats().watching)
        setting.db.say(IDLE)
        await until(lambda: watcher.stats().lag == 0.0)
        assert await setting.token(watcher) == {"_data": IDLE}
    assert setting.db.opened == [{"_data": "82", "_typeBits": b"\x01"}, None]
    reasons = [e.reason for e in setting.events if isinstance(e, ChangeStreamEvent) and e.reason]
    assert len(reasons) == 1
    assert "code 286" in reasons[0]
    if when == "reading":
        assert await setting.cache.get("carrier:1") is None


@pytest.mark.parametrize("when", ["opening", "reading"])
async def test_what_would_fail_there_for_ever_is_a_lost_place(setting: Setting, when: str) -> None:
    async with watching(setting) as watcher:
        setting.db.say(change(1))
        await until(lambda: watcher.stats().changes == 1)
        await setting.cache.set("carrier:other", "old")
        broken = InvalidBSON("year 146140482 is out of range")
        if when == "opening":
            setting.db.refusals += [Failure(), broken]
        setting.db.say(Failure() if when == "opening" else broken)
        await until(lambda: watcher.stats().clears == 2 and watcher.stats().watching)
        assert await setting.cache.get("carrier:other") is None
        assert await setting.token(watcher) == {"_data": START}
        setting.db.say(change(2))
        await until(lambda: watcher.stats().changes == 2)
        assert setting.db.opened[-1] is None
        assert watcher.stats().interruptions == (2 if when == "opening" else 0)
    lost = [e for e in setting.events if isinstance(e, ChangeStreamEvent) and e.kind == "lost"]
    assert "InvalidBSON('year 146140482 is out of range')" in lost[-1].reason
    assert lost[-1].warning() is not None


async def test_without_a_place_what_fails_is_tried_again_after_a_pause(setting: Setting) -> None:
    setting.db.refusals += [InvalidBSON("one"), InvalidBSON("two")]
    async with watching(setting) as watcher:
        assert watcher.stats().interruptions == 2
        assert watcher.stats().clears == 1
    assert setting.told == ["interrupted", "interrupted", "lost", "watching"]


async def test_a_dropped_collection_clears_and_a_dropped_database_goes_on(
    setting: Setting,
) -> None:
    async with watching(setting) as watcher:
        await setting.cache.set("carrier:1", "old")
        setting.db.say(change(1, operation="drop"))
        await until(lambda: watcher.stats().clears == 2)
        assert await setting.cache.get("carrier:1") is None
        setting.db.say(change(2, operation="dropDatabase"), change(3, operation="invalidate"))
        await until(lambda: len(setting.db.opened) == 2)
        assert setting.db.opened[1] == {"_data": "3"}
        assert await setting.token(watcher) == {"_data": "3"}
        setting.db.say(change(4))
        await until(lambda: watcher.stats().changes == 4)
        assert watcher.stats().interruptions == 0
    assert setting.told.count("cleared") == 2


async def test_a_database_that_fails_is_tried_again_where_it_was(setting: Setting) -> None:
    async with watching(setting) as watcher:
        setting.db.refusals += [Failure(), Failure(91)]
        setting.db.say(change(1), Failure(189), change(2))
        await until(lambda: watcher.stats().changes == 2)
        assert setting.db.opened == [None, *[{"_data": "1"}] * 3]
        assert watcher.stats().interruptions == 3
    assert setting.told == ["lost", "watching", *["interrupted"] * 3, "watching"]


async def test_a_stream_that_ends_without_a_word_is_opened_again(setting: Setting) -> None:
    async with watching(setting) as watcher:
        ended = change(1)
        setting.db.say(ended)
        await until(lambda: watcher.stats().changes == 1)

        async def dead(stream: Any) -> Any:
            stream.alive = False

        original, Stream.try_next = Stream.try_next, dead  # type: ignore[method-assign]
        try:
            setting.db.say("wakes who reads")
            await until(lambda: watcher.stats().interruptions)
        finally:
            Stream.try_next = original  # type: ignore[method-assign]
        setting.db.say(change(2))
        await until(lambda: watcher.stats().changes == 2)


async def test_a_database_that_fails_for_too_long_is_left_to_another(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_PATIENCE", 0.0)
    setting.db.refusals.append(Failure())
    async with setting.watcher() as one, setting.watcher() as other:
        await until(lambda: one.stats().watching or other.stats().watching)
        assert one.stats().interruptions + other.stats().interruptions == 1
    assert "failed" in setting.kinds
    assert setting.kinds.count("acquired") >= 2


async def test_a_standalone_server_is_named_on_opening_or_later(setting: Setting) -> None:
    setting.db.hello = {"isWritablePrimary": True}
    with pytest.raises(ConfigurationError, match=r"standalone mongod.*--replSet"):
        async with setting.watcher():
            pass
    setting.db.hello = {"msg": "isdbgrid"}
    async with watching(setting):
        pass
    setting.db.hello = Failure()  # it is away; what it is turns out later
    setting.db.refusals.append(Failure(40573))
    watcher = setting.watcher()
    await watcher.__aenter__()
    await until(lambda: "failed" in setting.kinds)
    with pytest.raises(ConfigurationError, match="standalone"):
        await watcher.__aexit__(None, None, None)
    async with watching(setting):
        pass


@pytest.mark.parametrize("fails", ["bump", "delete", "scan"])
async def test_a_store_that_fails_is_told_again(fails: str) -> None:
    store = SlowStore()
    setting = Setting(store=store)
    async with setting.cache, watching(setting) as watcher:
        store.failing.add(fails)
        setting.db.say(change(1), change(2))
        await until(lambda: "failed" in setting.kinds)
        assert watcher.stats().changes == 0
        # From there the stream says again what was not told.
        assert await setting.token(watcher) == {"_data": START}
        store.failing.clear()
        await until(lambda: watcher.stats().watching)
        assert setting.db.opened == [None, {"_data": START}]


async def test_what_fails_for_others_meanwhile_is_not_told_again() -> None:
    store = SlowStore()
    setting = Setting(store=store)
    async with setting.cache, watching(setting) as watcher:
        store.failing.add("set")
        store.gates["bump"].clear()
        setting.db.say(change(1))
        await until(lambda: "bump" in store.calls)
        await setting.cache.set("another's", object())
        assert setting.cache.stats().bypassed == 1
        store.gates["bump"].set()
        await until(lambda: watcher.stats().changes == 1)
    assert "failed" not in setting.kinds


async def test_a_cache_that_raises_is_told_again_too(setting: Setting) -> None:
    store = SlowStore()
    setting.cache = Cache(store, rules=RULES, on_error="raise")
    async with setting.cache, watching(setting):
        store.failing.add("bump")
        setting.db.say(change(1))
        await until(lambda: "failed" in setting.kinds)


async def test_a_lag_is_told_once_and_when_it_is_over() -> None:
    setting = Setting(max_lag=5.0)
    late = datetime.now(tz=UTC) - timedelta(seconds=60)
    async with setting.cache, watching(setting) as watcher:
        assert watcher.stats().lag is None
        for number in (1, 2):
            setting.db.say(change(number, wallTime=late))
            await until(lambda number=number: watcher.stats().changes == number)
        lag = watcher.stats().lag
        assert lag is not None
        assert 60.0 <= lag < 70.0
        setting.db.say(change(3, clusterTime=SimpleNamespace(time=int(time.time()) + 60)))
        await until(lambda: watcher.stats().changes == 3)
        assert watcher.stats().lag == 0.0
        setting.db.say(IDLE)
    assert setting.told == ["lost", "watching", "lagging", "caught_up"]
    assert watcher.stats().lag is None


async def test_one_watches_and_another_goes_on(setting: Setting) -> None:
    async with setting.watcher() as first:
        await until(lambda: first.stats().watching)
        setting.db.say(change(1), "1")
        await until(lambda: first.stats().lag == 0.0)
        async with setting.watcher() as second:
            await asyncio.sleep(0.02)
            assert not second.stats().watching
            await first.__aexit__(None, None, None)
            await until(lambda: second.stats().watching)
            assert setting.db.opened == [None, {"_data": "1"}]
            await first.__aenter__()
    assert setting.told.count("lost") == 1


@pytest.mark.parametrize("where", ["opening", "reading", "closing"])
async def test_it_ends_where_the_driver_swallows_a_cancellation(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    waits, never = asyncio.Event(), asyncio.Event()

    async def swallows() -> None:
        if not waits.is_set():
            waits.set()
            with suppress(asyncio.CancelledError):
                await never.wait()

    async def watch(db: Database, *_: Any, **options: Any) -> Stream:
        await swallows()
        return Stream(db, options["start_after"])

    async def read(stream: Stream) -> Any:
        await swallows()
        return await stream._db.script.get()

    async def close(*_: object) -> None:
        await swallows()

    owner, name, stubborn = {
        "opening": (Database, "watch", watch),
        "reading": (Stream, "try_next", read),
        "closing": (Stream, "__aexit__", close),
    }[where]
    monkeypatch.setattr(owner, name, stubborn)
    if where == "closing":
        setting.db.say(Failure())
    watcher = setting.watcher()
    await watcher.__aenter__()
    await until(waits.is_set)
    left = asyncio.create_task(watcher.__aexit__(None, None, None))
    await asyncio.wait({left}, timeout=5)
    assert left.done()
    async with watching(setting):  # it has given back its lease
        pass


async def test_who_is_cancelled_meanwhile_waits_until_the_reading_has_ended() -> None:
    over = asyncio.Event()

    async def read() -> None:
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()

    reading = asyncio.create_task(read())
    stopping = asyncio.create_task(following._stopped(reading))
    for _ in range(3):
        await asyncio.sleep(0)
        stopping.cancel()
    assert not stopping.done()
    over.set()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert reading.done()


async def test_other_routes_rules_prefixes_and_names_watch_for_themselves(
    setting: Setting,
) -> None:
    others = [
        setting.watcher(routes={"carriers": "carrier.changed"}),
        setting.watcher(name="shop on another cluster {x}"),
        ChangeStreamInvalidator(
            setting.db, Cache(MemoryCacheStore(), prefix="b", rules=RULES), **setting.options
        ),
    ]
    names = {each._name for each in (setting.watcher(), *others)}
    assert len(names) == 4
    assert setting.watcher(name="shop")._name in names


async def test_motor_opens_its_streams_on_entering(setting: Setting) -> None:
    db = setting.db

    class Motor(Database):
        __module__ = "motor.motor_asyncio"

        def watch(self, *_: Any, **options: Any) -> Any:  # type: ignore[override]
            return Stream(db, options["start_after"])

    motor: Any = Motor()
    async with ChangeStreamInvalidator(motor, setting.cache, **setting.options) as watcher:
        db.say(change(1))
        await until(lambda: watcher.stats().changes == 1)


async def test_it_is_opened_once_at_a_time_and_where_it_is_used(setting: Setting) -> None:
    watcher = setting.watcher()
    with pytest.raises(NotOpen):
        await watcher.__aexit__(None, None, None)
    async with watcher:
        with pytest.raises(SymphoniaError, match="the watching of 'shop' is open already"):
            await watcher.__aenter__()


async def test_a_cache_that_is_not_open_ends_it(setting: Setting) -> None:
    watcher = ChangeStreamInvalidator(
        setting.db, Cache(MemoryCacheStore(), rules=RULES), **setting.options
    )
    await watcher.__aenter__()
    await until(lambda: "failed" in setting.kinds)
    await asyncio.sleep(0.01)
    with pytest.raises(NotOpen):
        await watcher.__aexit__(None, None, None)


async def test_a_place_that_cannot_be_asked_for_is_an_error(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any) -> None:
        raise CommandError("GET: no permission", code="NOPERM")

    assert await ResumeToken(setting.redis, "other").load() is None
    monkeypatch.setattr(setting.redis, "execute", refuse)
    with pytest.raises(SymphoniaError):
        await ResumeToken(setting.redis, "t").load()


async def test_what_is_no_place_at_all_is_replaced(setting: Setting) -> None:
    token = ResumeToken(setting.redis, "t")
    await setting.redis.execute("LPUSH", "t", "x")
    assert await token.load() is None
    await token.save({"_data": "82"})
    assert await token.load() == {"_data": "82"}


async def test_a_first_start_over_an_empty_cache_is_no_trouble(setting: Setting) -> None:
    for removed in (0, 1):
        async with watching(setting) as watcher:
            await setting.redis.execute("DEL", watcher._name)
        lost = [e for e in setting.events if isinstance(e, ChangeStreamEvent) and e.kind == "lost"]
        assert lost[-1].removed == removed
        assert bool(lost[-1].warning()) == bool(removed)
        await setting.cache.set("plan:1", 1)


@pytest.mark.parametrize(
    ("kind", "warned"),
    [
        ("watching", None),
        ("caught_up", None),
        ("lagging", "lags behind"),
        ("interrupted", "was interrupted"),
        ("lost", "cleared the cache"),
        ("cleared", "cleared the cache"),
    ],
)
def test_what_is_trouble_is_warned_of(kind: Any, warned: str | None) -> None:
    event = ChangeStreamEvent(
        source="cache", kind=kind, database="shop", reason="x", removed=1, lag=12.34
    )
    warning = event.warning()
    assert (warning.happened if warning else None) == warned
    if kind == "lagging":
        assert warning is not None
        assert warning.detail == "12.3 s"


class Blocking:
    """As `pymongo.database.Database`."""

    name = "shop"

    def watch(self) -> None: ...


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"db": object()}, "db=.*expected an async database of PyMongo or Motor"),
        ({"db": Blocking()}, "Blocking, which blocks the event loop: take one of AsyncMongoClient"),
        ({"cache": object()}, "cache=.*expected a Cache"),
        ({"routes": {}}, "routes="),
        ({"routes": {"x": "order.changed"}}, "no rule is about event 'order.changed'"),
        ({"redis": object()}, r"redis=.*connect\(\) or wrap\(\)"),
        ({"lease": 0}, "length=0"),
        ({"max_lag": 0}, "max_lag=0"),
    ],
)
def test_options_that_cannot_work_are_named(options: dict[str, Any], said: str) -> None:
    setting = Setting()
    given: dict[str, Any] = {"db": setting.db, "cache": setting.cache, **setting.options, **options}
    with pytest.raises(ConfigurationError, match=said):
        ChangeStreamInvalidator(given.pop("db"), given.pop("cache"), **given)


def test_a_redis_without_messages_is_asked() -> None:
    setting = Setting()

    class Bare:
        script = setting.redis.script

        async def execute(self) -> None: ...

    watcher = setting.watcher(redis=Bare())
    assert watcher._lease._wake is None
    assert setting.watcher()._lease._wake is not None
