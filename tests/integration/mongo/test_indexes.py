import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.monitoring import CommandListener, CommandStartedEvent

from symphonia_perf.errors import IndexConflict, MongoOperationError
from symphonia_perf.mongo import Index, IndexRegistry
from tests.unit.mongo.spellings import BY_COLLMOD, PAIRS, Specification

pytestmark = pytest.mark.mongo

NAME = "symphonia_test_indexes"
ENGLISH = {"locale": "en", "strength": 2}

# The study's optimisation script, as it creates them.
ORDERS = (
    Index("status", name="idx_status"),
    Index("clientId", name="idx_clientId"),
    Index("carrierId", name="idx_carrierId"),
    Index("-createdAt", name="idx_createdAt_desc"),
    Index("pickupLocation.city", name="idx_pickup_city"),
    Index("deliveryLocation.city", name="idx_delivery_city"),
    Index("transportType", name="idx_transport_type"),
    Index("status", "-createdAt", name="idx_status_created"),
    Index("clientId", "status", name="idx_client_status"),
    Index("carrierId", "status", name="idx_carrier_status"),
    Index.geo("pickupLocation.coordinates", name="idx_pickup_geo"),
    Index.geo("deliveryLocation.coordinates", name="idx_delivery_geo"),
)


class Recorder(CommandListener):
    """The names of the commands that a client sent."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.commands.append(event.command_name)

    def succeeded(self, event: object) -> None:
        """Nothing to note."""

    def failed(self, event: object) -> None:
        """Nothing to note."""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def db(mongo_url: str, recorder: Recorder) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_url, event_listeners=[recorder]) as client:
        client.drop_database(NAME)
        recorder.commands.clear()
        yield client[NAME]
        client.drop_database(NAME)


@pytest.fixture
async def adb(
    db: Database[dict[str, Any]], mongo_url: str, recorder: Recorder
) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url, event_listeners=[recorder]) as client:
        yield client[db.name]


@pytest.fixture
def orders() -> IndexRegistry:
    registry = IndexRegistry()
    registry.add("transport_orders", *ORDERS)
    return registry


def registry_of(*indexes: Index, collection: str = "c") -> IndexRegistry:
    registry = IndexRegistry()
    registry.add(collection, *indexes)
    return registry


async def test_the_studys_indexes_from_empty_to_kept(
    adb: AsyncDatabase[Any], orders: IndexRegistry, recorder: Recorder
) -> None:
    first = await orders.plan(adb)
    assert sorted(recorder.commands) == ["buildInfo", *["listCollections"] * 2, "listIndexes"]
    assert [change.specification["name"] for change in first.changes] == [
        index.name for index in ORDERS
    ]
    assert [warning.name for warning in first.warnings] == [
        ORDERS[0].name,  # there is no such collection yet
        "idx_status",
        "idx_clientId",
        "idx_carrierId",
    ]

    recorder.commands.clear()
    await first.apply(adb)
    assert recorder.commands == ["createIndexes"]

    second = await orders.plan(adb)
    assert len(second.kept) == 12
    assert second.is_empty
    recorder.commands.clear()
    await second.apply(adb)
    assert recorder.commands == []

    # A plan that is out of date changes nothing either.
    await first.apply(adb)
    assert len(await (await adb["transport_orders"].list_indexes()).to_list()) == 13

    await adb["transport_orders"].create_index("weight")
    (foreign,) = (await orders.plan(adb)).unmanaged
    assert foreign.specification["name"] == "weight_1"


def test_the_studys_indexes_from_empty_to_kept_sync(
    db: Database[Any], orders: IndexRegistry, recorder: Recorder
) -> None:
    first = orders.plan_sync(db)
    assert recorder.commands == ["buildInfo", "listCollections", "listIndexes", "listCollections"]
    assert len(first.changes) == 12
    assert len(first.warnings) == 4
    recorder.commands.clear()
    first.apply_sync(db)
    assert recorder.commands == ["createIndexes"]
    second = orders.plan_sync(db)
    assert len(second.kept) == 12
    recorder.commands.clear()
    second.apply_sync(db)
    assert recorder.commands == []
    db["transport_orders"].create_index("weight")
    assert [item.specification["name"] for item in orders.plan_sync(db).unmanaged] == ["weight_1"]


async def test_one_command_for_each_collection(adb: AsyncDatabase[Any], recorder: Recorder) -> None:
    registry = IndexRegistry()
    for number in range(20):
        registry.add(f"c{number}", Index("a"), Index("b"))
    plan = await registry.plan(adb)
    assert sorted(set(recorder.commands)) == ["buildInfo", "listCollections", "listIndexes"]
    assert len(recorder.commands) == 23  # twice listCollections: which of them are there at all?
    recorder.commands.clear()
    await plan.apply(adb)
    assert recorder.commands == ["createIndexes"] * 20
    recorder.commands.clear()
    assert (await registry.plan(adb)).is_empty
    assert len(recorder.commands) == 22


async def test_many_processes_may_deploy_at_once(
    adb: AsyncDatabase[Any], orders: IndexRegistry
) -> None:
    plans = await asyncio.gather(*(orders.plan(adb) for _ in range(5)))
    await asyncio.gather(*(plan.apply(adb) for plan in plans))
    assert len((await orders.plan(adb)).kept) == 12


def server_says(db: Database[Any], specification: Specification) -> Any:
    answer = db.command("createIndexes", "c", indexes=[specification], check=False)
    before, after = answer.get("numIndexesBefore"), answer.get("numIndexesAfter")
    return answer.get("code") or ("same" if before == after else "second")


@pytest.mark.parametrize("spelling", PAIRS)
def test_the_server_agrees_with_our_table_and_our_plan(db: Database[Any], spelling: str) -> None:
    first, second, verdict = PAIRS[spelling]
    db.command("createIndexes", "c", indexes=[first])
    registry = registry_of(Index.raw(second))
    plan = registry.plan_sync(db)
    said = server_says(db, second)
    assert said == ("same" if verdict == "ignored" else verdict)
    assert bool(plan.kept) == (verdict == "same")
    assert bool(plan.changes) == (verdict == "second" or spelling in BY_COLLMOD)
    if plan.conflicts:
        assert plan.conflicts[0].code == said
    if spelling in BY_COLLMOD:
        plan.apply_sync(db)
        assert registry.plan_sync(db).is_empty


KINDS = (
    Index("a", "-b", unique=True, partial={"s": {"$in": ["A", "B"]}, "n": {"$gt": 5}}),
    Index("at", expire_after=3600),
    Index("s", sparse=True, hidden=True),
    Index("name", collation={"locale": "th"}),
    Index.text("x", "y", weights={"y": 3}, language="french"),
    Index.geo("p", "-at"),
    Index(("q", "2d"), "at"),
    Index.flat("f", bits=20, minimum=-10, maximum=10),
    Index.hashed("h", "at"),
    Index.wildcard(include=["z.k", "w"]),
    Index.wildcard("attributes"),
    Index("owner.$id"),
)


@pytest.mark.parametrize("collation", [None, ENGLISH], ids=["plain", "collated"])
def test_every_kind_is_kept_by_the_second_plan(
    db: Database[Any], collation: dict[str, Any] | None
) -> None:
    db.create_collection("c", collation=collation)
    registry = registry_of(*KINDS)
    registry.plan_sync(db).apply_sync(db)
    again = registry.plan_sync(db)
    assert len(again.kept) == len(KINDS), again.describe()
    assert not again.unmanaged


async def test_a_plan_sees_conflicts_and_writes_nothing(
    adb: AsyncDatabase[Any], recorder: Recorder
) -> None:
    await adb["c"].create_index("a")
    plan = await registry_of(Index("a", sparse=True), Index("new")).plan(adb)
    recorder.commands.clear()
    with pytest.raises(IndexConflict, match="sparse unset instead of true") as caught:
        await plan.apply(adb)
    assert caught.value.code == 86
    assert recorder.commands == []


async def test_an_index_that_appears_after_the_plan_is_named(adb: AsyncDatabase[Any]) -> None:
    plan = await registry_of(Index("b"), Index("a", name="n")).plan(adb)
    await adb["c"].create_index("other", name="n")
    with pytest.raises(IndexConflict) as caught:
        await plan.apply(adb)
    assert "c: n exists with key {other: 1} instead of {a: 1}" in str(caught.value)
    assert (caught.value.code, caught.value.code_name) == (86, "IndexKeySpecsConflict")
    assert caught.value.declared["key"] == {"a": 1}
    assert caught.value.existing["key"] == {"other": 1}
    assert isinstance(caught.value.__cause__, OperationFailure)


def test_an_index_that_appears_after_the_plan_is_named_sync(db: Database[Any]) -> None:
    plan = registry_of(Index("a", name="n")).plan_sync(db)
    db["c"].create_index("a", name="m")
    with pytest.raises(IndexConflict, match="exists under the name 'm'") as caught:
        plan.apply_sync(db)
    assert caught.value.code == 85
    assert isinstance(caught.value.__cause__, OperationFailure)


async def test_a_view_is_refused_with_advice(adb: AsyncDatabase[Any]) -> None:
    await adb.create_collection("v", viewOn="c", pipeline=[])
    registry = registry_of(Index("a"), collection="v")
    with pytest.raises(MongoOperationError, match="it is a view: declare its indexes on") as caught:
        await registry.plan(adb)
    assert (caught.value.code, caught.value.code_name) == (166, "CommandNotSupportedOnView")
    assert caught.value.operation == "listIndexes v"
    assert isinstance(caught.value.__cause__, OperationFailure)
    with pytest.raises(MongoOperationError) as offline:
        await registry.diff({}).apply(adb)
    assert (offline.value.code, offline.value.operation) == (166, "createIndexes v")


def test_a_view_is_refused_with_advice_sync(db: Database[Any]) -> None:
    db.create_collection("v", viewOn="c", pipeline=[])
    with pytest.raises(MongoOperationError, match="it is a view") as caught:
        registry_of(Index("a"), collection="v").plan_sync(db)
    assert caught.value.code == 166


def test_duplicates_stop_a_unique_index_and_are_told(db: Database[Any]) -> None:
    db["c"].insert_many([{"a": 7}, {"a": 7}])
    plan = registry_of(Index("a", unique=True)).plan_sync(db)
    with pytest.raises(MongoOperationError, match=r"dup key: \{ a: 7 \}") as caught:
        plan.apply_sync(db)
    assert caught.value.code == 11000
    assert not isinstance(caught.value, IndexConflict)


async def test_what_bson_cannot_say_is_our_error(adb: AsyncDatabase[Any]) -> None:
    plan = await registry_of(Index("a", partial={"b": object()})).plan(adb)
    with pytest.raises(MongoOperationError, match=r"createIndexes c: .*cannot encode object"):
        await plan.apply(adb)


async def test_a_server_out_of_reach_is_our_error() -> None:
    registry = registry_of(Index("a"))
    # Port 1 answers nobody; the driver gives up after 50 ms.
    address = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50"
    async with AsyncMongoClient[dict[str, Any]](address) as unreachable:
        with pytest.raises(MongoOperationError) as caught:
            await registry.plan(unreachable["x"])
        assert caught.value.code is None
        assert caught.value.operation == "buildInfo"
    with (
        MongoClient[dict[str, Any]](address) as unreachable_sync,
        pytest.raises(MongoOperationError) as caught,
    ):
        registry.plan_sync(unreachable_sync["x"])
    assert caught.value.operation == "buildInfo"
