"""Caches that follow a real MongoDB, written to by others, killed, dropped and restarted."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from bson import Binary
from bson.datetime_ms import DatetimeMS
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError

from symphonia_perf._core.codecs import MsgpackCodec
from symphonia_perf._core.events import Event
from symphonia_perf.cache import (
    Cache,
    ChangeStreamEvent,
    ChangeStreamInvalidator,
    MemoryCacheStore,
    RedisCacheStore,
    Route,
    TieredCacheStore,
)
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.testing import MongoReplicaSet, RedisServer, mongo_replica_set
from symphonia_perf.testing.servers.mongo import MongoMember
from symphonia_perf.testing.servers.process import serving
from tests.integration.cache.patience import until
from tests.integration.cache.watched import ROUTES, RULES

pytestmark = [pytest.mark.redis, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("watching_process.py")
DATABASE = "followed"


class Scene:
    """A cache, a database, and somebody else's client to write with."""

    def __init__(self, redis: RedisClient, uri: str) -> None:
        self.redis = redis
        self.uri = uri
        self.events: list[Event] = []
        self.near = TieredCacheStore(MemoryCacheStore(), RedisCacheStore(redis))
        self.cache = Cache(self.near, rules=RULES)
        self.shell: MongoClient[dict[str, Any]] = MongoClient(uri)
        self.db = self.shell[DATABASE]

    def watcher(self, db: Any, **options: Any) -> ChangeStreamInvalidator:
        given: dict[str, Any] = {
            "routes": ROUTES,
            "redis": self.redis,
            "lease": 0.6,
            "observer": self.events.append,
        }
        return ChangeStreamInvalidator(db, self.cache, **{**given, **options})

    async def cached(self, *keys: str, tags: Sequence[str] = ()) -> None:
        """Something is cached under these keys, in both tiers."""
        for key in keys:
            await self.cache.set(key, "old", tags=tags)
            async with asyncio.timeout(10):
                while self.cache.peek(key) is None:
                    assert await self.cache.get(key) == "old"
                    await asyncio.sleep(0)

    async def gone(self, *keys: str) -> None:
        for key in keys:
            await until(lambda key=key: self.cache.peek(key) is None)
            async with asyncio.timeout(20):
                while await self.cache.get(key) is not None:  # noqa: ASYNC110 - of servers
                    await asyncio.sleep(0.005)

    @property
    def told(self) -> list[str]:
        return [event.kind for event in self.events if isinstance(event, ChangeStreamEvent)]


@asynccontextmanager
async def scene_on(redis_server: RedisServer, uri: str) -> AsyncGenerator[Scene]:
    redis_server.start()
    redis_server.resume()
    redis_server.ask("FLUSHALL")
    async with connect(redis_server.url, deadline=5.0) as redis:
        scene = Scene(redis, uri)
        try:
            async with scene.cache:
                await until(lambda: scene.near.stats().listening)
                yield scene
            with suppress(PyMongoError):
                scene.shell.drop_database(DATABASE)
        finally:
            scene.shell.close()


@pytest.fixture
async def scene(redis_server: RedisServer, mongo_url: str) -> AsyncIterator[Scene]:
    async with scene_on(redis_server, mongo_url) as scene:
        scene.shell.drop_database(DATABASE)
        yield scene


@asynccontextmanager
async def watching(scene: Scene, **options: Any) -> AsyncGenerator[ChangeStreamInvalidator]:
    async with (
        AsyncMongoClient(scene.uri) as client,
        scene.watcher(client[DATABASE], **options) as watcher,
    ):
        await until(lambda: watcher.stats().watching)
        yield watcher


@pytest.mark.parametrize("driver", ["pymongo", "motor"])
async def test_a_write_by_any_program_is_felt(scene: Scene, driver: str) -> None:
    if driver == "motor":
        client: Any = AsyncIOMotorClient(scene.uri)
    else:
        client = AsyncMongoClient(scene.uri)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(closed, client)
        watcher = await stack.enter_async_context(scene.watcher(client[DATABASE]))
        await until(lambda: watcher.stats().watching)
        carriers = scene.db["carriers"]
        for write in (
            lambda: carriers.insert_one({"_id": 1, "n": 0}),
            lambda: carriers.update_one({"_id": 1}, {"$inc": {"n": 1}}),
            lambda: carriers.replace_one({"_id": 1}, {"n": 5}),
            lambda: carriers.find_one_and_update({"_id": 1}, {"$set": {"n": 1}}),
            lambda: carriers.delete_one({"_id": 1}),
        ):
            await scene.cached("carrier:1")
            await scene.cached("carriers:list", tags=["carriers"])
            await scene.cached("carrier:2", "plans:list", tags=["plans"])
            await asyncio.to_thread(write)
            await scene.gone("carrier:1", "carriers:list")
            assert await scene.cache.get_many(["carrier:2", "plans:list"]) == {
                "carrier:2": "old",
                "plans:list": "old",
            }
        heard = watcher.stats().changes
        await scene.cached(*(f"carrier:{n}" for n in range(20)))
        await asyncio.to_thread(carriers.insert_many, [{"_id": n} for n in range(20)])
        await scene.gone(*(f"carrier:{n}" for n in range(20)))
        await asyncio.to_thread(scene.db["orders"].insert_one, {"_id": 1})
        await scene.cached("plans:list", tags=["plans"])
        await asyncio.to_thread(scene.db["plans"].insert_one, {"_id": 1})
        await scene.gone("plans:list")
        assert watcher.stats().changes == heard + 21  # and nothing of orders
        lag = watcher.stats().lag
        assert lag is not None
        assert 0 <= lag < 10


async def closed(client: Any) -> None:
    """Close it: PyMongo's is awaited, Motor's is not."""
    closing = client.close()
    if closing is not None:
        await closing


async def test_collections_and_databases_that_go(scene: Scene) -> None:
    async with watching(scene) as watcher:
        for end in (
            scene.db["carriers"].drop,
            lambda: scene.db["carriers"].rename("former", dropTarget=True),
            lambda: scene.db["former"].rename("carriers", dropTarget=True),
            lambda: scene.shell.drop_database(DATABASE),
        ):
            await asyncio.to_thread(scene.db["carriers"].insert_one, {"n": 1})
            await asyncio.to_thread(scene.db["former"].insert_one, {"n": 1})
            await scene.cached("carrier:1", "plans:list", tags=["plans"])
            clears = watcher.stats().clears
            await asyncio.to_thread(end)
            await scene.gone("carrier:1", "plans:list")
            await until(lambda clears=clears: watcher.stats().clears > clears)
            # It goes on, in a collection and a database that are made anew.
            await until(lambda: watcher.stats().watching)
            await scene.cached("carrier:1")
            await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 1})
            await scene.gone("carrier:1")
            await asyncio.to_thread(scene.db["carriers"].delete_one, {"_id": 1})
        assert watcher.stats().interruptions == 0


async def test_fields_of_what_a_document_is_and_was(scene: Scene) -> None:
    route = Route("contract.changed", fields={"id": "_id", "client_id": "client.id"}, before=True)
    kept = {"changeStreamPreAndPostImages": {"enabled": True}}
    await asyncio.to_thread(lambda: scene.db.create_collection("contracts", **kept))
    contracts = scene.db["contracts"]
    async with watching(scene, routes={"contracts": route}) as watcher:
        for write, clients in (
            (lambda: contracts.insert_one({"_id": 1, "client": {"id": 4}}), [4]),
            (lambda: contracts.update_one({"_id": 1}, {"$set": {"client.id": 5}}), [4, 5]),
            (lambda: contracts.delete_one({"_id": 1}), [5]),
        ):
            for client in (4, 5, 6):
                await scene.cached(f"client-list:{client}", tags=[f"client:{client}"])
            await asyncio.to_thread(write)
            await scene.gone(*(f"client-list:{client}" for client in clients))
            assert await scene.cache.get("client-list:6") == "old"
        assert watcher.stats().clears == 1  # at the beginning


async def test_a_place_that_is_lost_clears(scene: Scene) -> None:
    async with watching(scene) as watcher:
        pass
    await scene.cached("carrier:1")
    async with watching(scene):
        assert await scene.cache.get("carrier:1") == "old"
    await scene.redis.execute("DEL", watcher._name)
    async with watching(scene):
        assert await scene.cache.get("carrier:1") is None
    assert scene.told.count("lost") == 2


async def test_what_was_changed_while_nobody_watched_is_felt_later(scene: Scene) -> None:
    async with watching(scene):
        await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 0})
    await scene.cached("carrier:1", "carrier:2")
    await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 1})
    async with watching(scene) as watcher:
        await scene.gone("carrier:1")
        assert await scene.cache.get("carrier:2") == "old"
        assert watcher.stats().clears == 0


async def test_a_change_that_cannot_be_decoded_does_not_end_the_watching(scene: Scene) -> None:
    far = DatetimeMS(2**62)  # a date that `datetime` does not have
    async with watching(scene) as watcher:
        await scene.cached("carrier:1", "carrier:other")
        await asyncio.to_thread(scene.db["carriers"].insert_many, [{"_id": 1}, {"_id": far}])
        await scene.gone("carrier:1", "carrier:other")
        await until(lambda: watcher.stats().watching and watcher.stats().clears == 2)
        await scene.cached("carrier:2")
        await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 2})
        await scene.gone("carrier:2")
        assert watcher.stats().clears == 2
    reasons = [e.reason for e in scene.events if getattr(e, "kind", "") == "lost"]
    assert "InvalidBSON" in reasons[-1]


@pytest.mark.parametrize(
    "token",
    [
        *({}, {"_data": "zz"}, {"_data": "8" * 9}, {"_data": "8" * 60_000}, {"_data": 2**63}),
        *({"_data": "82", "a\0b": 1}, {"_data": "82", 1: 2}),
    ],
    ids=lambda token: f"{token}"[:30],
)
async def test_a_place_that_was_damaged_clears(scene: Scene, token: Any) -> None:
    async with watching(scene) as watcher:
        pass
    await scene.cached("carrier:1")
    await scene.redis.execute("SET", watcher._name, MsgpackCodec().encode(token))
    async with watching(scene) as watcher:
        await scene.gone("carrier:1")
        assert watcher.stats().clears == 1
        await scene.cached("carrier:2")
        await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 2})
        await scene.gone("carrier:2")


async def test_a_uuid_is_felt_and_clears_nothing(scene: Scene) -> None:
    number = UUID(int=5)
    async with watching(scene) as watcher:
        await scene.cached(f"carrier:{number}", "carrier:other")
        one = {"_id": Binary.from_uuid(number)}
        await asyncio.to_thread(scene.db["carriers"].insert_one, one)
        await scene.gone(f"carrier:{number}")
        assert await scene.cache.get("carrier:other") == "old"
        assert watcher.stats().clears == 1


# Servers and processes that fail


@pytest.fixture(scope="module")
def mortal() -> Iterator[MongoReplicaSet]:
    """A server that is killed here. With frequent checkpoints its oplog is cut soon."""
    with mongo_replica_set(cache_gb=0.25, args=("--syncdelay", "1")) as replica_set:
        yield replica_set


async def test_a_server_that_is_killed_and_comes_back(
    redis_server: RedisServer, mortal: MongoReplicaSet
) -> None:
    uri = f"{mortal.uri}&serverSelectionTimeoutMS=500"
    async with scene_on(redis_server, uri) as scene, watching(scene) as watcher:
        await scene.cached("carrier:1", "carrier:2")
        (member,) = mortal.members
        member.kill()
        await until(lambda: watcher.stats().interruptions > 0)
        await asyncio.to_thread(member.start)
        await asyncio.to_thread(mortal.primary)
        await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 1})
        await scene.gone("carrier:1")
        assert await scene.cache.get("carrier:2") == "old"
        assert watcher.stats().clears == 1


async def test_an_oplog_that_is_too_short_for_the_pause(
    redis_server: RedisServer, mortal: MongoReplicaSet
) -> None:
    async with scene_on(redis_server, mortal.uri) as scene:
        async with watching(scene):
            await asyncio.to_thread(scene.db["carriers"].insert_one, {})
        await scene.cached("carrier:1")
        await asyncio.to_thread(overflow, scene)
        async with watching(scene) as watcher:
            await scene.gone("carrier:1")
            assert watcher.stats().clears == 1
            await scene.cached("carrier:1")
            await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 1})
            await scene.gone("carrier:1")
        lost = [e.reason for e in scene.events if getattr(e, "kind", "") == "lost"]
        assert len(lost) == 2
        assert "no longer be in the oplog" in lost[1]


def overflow(scene: Scene) -> None:
    """Write until the oplog, of 128 MB, has forgotten what is in it now."""
    oplog = scene.shell["local"]["oplog.rs"]
    last = scene.shell.admin.command("hello")["lastWrite"]["opTime"]["ts"]
    bulk = [{"x": os.urandom(1_000_000)} for _ in range(12)]
    for _ in range(100):
        scene.db["bulk"].insert_many([{**each} for each in bulk])
        if next(oplog.find().sort("$natural", 1).limit(1))["ts"] > last:
            return
    pytest.fail("the oplog was not cut within a gigabyte")


async def test_a_primary_that_steps_down(
    redis_server: RedisServer, mongo_replica_set_of_three: MongoReplicaSet
) -> None:
    replica_set = mongo_replica_set_of_three
    async with scene_on(redis_server, replica_set.uri) as scene, watching(scene) as watcher:
        await scene.cached("carrier:1", "carrier:2")
        stepped = await asyncio.to_thread(replica_set.primary)
        await asyncio.to_thread(stepped.ask, {"replSetStepDown": 10, "force": True})
        async with asyncio.timeout(20):
            while True:  # the driver tries a write again once, which may be too soon
                with suppress(PyMongoError):
                    one = {"_id": 1}
                    await asyncio.to_thread(
                        scene.db["carriers"].replace_one, one, {"n": 1}, upsert=True
                    )
                    break
                await asyncio.sleep(0.1)
        await scene.gone("carrier:1")
        assert await scene.cache.get("carrier:2") == "old"
        assert watcher.stats().clears == 1
    await asyncio.to_thread(replica_set.wait_until_complete)


class Standalone(MongoMember):
    """A mongod without a replica set."""

    def _command(self) -> Sequence[str]:
        words = list(super()._command())
        at = words.index("--replSet")
        return words[:at] + words[at + 2 :]


async def test_a_server_without_a_replica_set_is_named(redis_server: RedisServer) -> None:
    server = Standalone(args=(), cache_gb=0.25, name="standalone", timeout=60.0)
    with serving(server):
        async with (
            connect(redis_server.url) as redis,
            Cache(RedisCacheStore(redis), rules=RULES) as cache,
            AsyncMongoClient(server.uri) as client,
        ):
            db = client[DATABASE]
            with pytest.raises(ConfigurationError, match="standalone mongod"):
                async with ChangeStreamInvalidator(db, cache, routes=ROUTES, redis=redis):
                    pass
            with pytest.raises(PyMongoError) as raised:
                await db.watch()
            assert raised.value.code == 40573  # type: ignore[attr-defined]


@asynccontextmanager
async def process(scene: Scene, url: str, lease: float) -> AsyncGenerator[Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *(str(PROGRAM), scene.uri, url, DATABASE, str(lease)),
        stdin=PIPE,
        stdout=PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": "."},
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def line(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def says(process: Process, wanted: str) -> None:
    while (said := await line(process)) != wanted:
        assert said, f"it ended without saying {wanted!r}"


async def test_a_watcher_that_is_killed_or_frozen_is_replaced(
    scene: Scene, redis_server: RedisServer
) -> None:
    lease = 0.6
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        first = await enter(process(scene, redis_server.url, lease))
        await says(first, "watching")
        second = await enter(process(scene, redis_server.url, lease))
        third = await enter(process(scene, redis_server.url, lease))
        for each in (second, third):
            await says(each, "ready")
        await scene.cached("carrier:0", "carrier:1", "carrier:2")
        await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 0})
        await scene.gone("carrier:0")
        first.kill()
        await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 1})
        await scene.gone("carrier:1")
        # One of the others watches now; frozen for longer than its lease, it loses that.
        watcher, other = await which_watches(second, third)
        watcher.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 2})
        await scene.gone("carrier:2")
        await says(other, "watching")
        watcher.send_signal(signal.SIGCONT)
        # Awake again it waits its turn, which comes when the other ends.
        await scene.cached("carrier:3")
        assert other.stdin is not None
        other.stdin.close()
        await says(watcher, "watching")
        await asyncio.to_thread(scene.db["carriers"].insert_one, {"_id": 3})
        await scene.gone("carrier:3")
        assert watcher.stdin is not None
        watcher.stdin.close()
        assert (await line(watcher)).startswith("heard")


async def which_watches(*processes: Process) -> tuple[Process, Process]:
    """The one that says so first, and the other."""
    one, other = processes
    saying = {asyncio.create_task(says(each, "watching")): each for each in processes}
    done, pending = await asyncio.wait(saying, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.wait(saying)
    (first,) = done
    return (one, other) if saying[first] is one else (other, one)
