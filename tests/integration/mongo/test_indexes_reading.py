"""verify, unused and export against a real server."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Code, DatetimeMS, DBRef, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp
from pymongo import AsyncMongoClient, MongoClient, ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database

from symphonia_perf.errors import IndexNotUsed, MongoOperationError
from symphonia_perf.mongo import Index, IndexRegistry, Query
from symphonia_perf.testing.servers import MongoReplicaSet

pytestmark = pytest.mark.mongo

NAME = "symphonia_test_index_reading"


def registry_of(*indexes: Index) -> IndexRegistry:
    registry = IndexRegistry()
    registry.add("c", *indexes)
    return registry


BY_STATUS = Query({"status": "OPEN"}).only("status", "at").sort("-at").limit(10)


async def test_declared_queries_are_explained(
    awork: AsyncDatabase[Any], work: Database[Any]
) -> None:
    work["c"].insert_many(
        [{"status": "OPEN" if n % 3 else "DONE", "at": n, "p": [2.0, 48.0]} for n in range(300)]
    )
    registry = registry_of(
        Index("status", "-at", name="by_status", serves=[BY_STATUS, Query({"status": "DONE"})]),
        Index.geo(
            "p",
            serves=[
                Query({"p": {"$near": {"$geometry": {"type": "Point", "coordinates": [2, 48]}}}})
            ],
        ),
    )
    await (await registry.plan(awork)).apply(awork)
    served = await registry.verify(awork)
    assert [item.used for item in served] == [("by_status",), ("by_status",), ("p_2dsphere",)]
    assert [item.fault for item in served] == [None] * 3
    assert registry.verify_sync(work) == served
    assert served[0].describe() == ("c: by_status for {status: 'OPEN'} sorted by {at: -1}: wins")


def test_another_winner_fails(work: Database[Any]) -> None:
    work["c"].insert_many([{"a": n, "b": n % 2, "_id": n} for n in range(200)])
    registry = registry_of(
        Index("b", serves=[Query({"a": 7, "b": 1}), Query({"z": 1}), Query({"_id": 3})]),
        Index("a"),
        Index("b", "a", name="sorting", serves=[Query({"b": {"$gt": 0}}).sort("a")]),
    )
    registry.plan_sync(work).apply_sync(work)
    work["c"].drop_index("b_1")
    with pytest.raises(IndexNotUsed) as caught:
        registry.verify_sync(work)
    assert [(item.index, item.used, item.sorts) for item in caught.value.queries] == [
        ("b_1", ("a_1",), False),
        ("b_1", (), False),
        ("b_1", ("_id_",), False),
        ("sorting", caught.value.queries[3].used, caught.value.queries[3].sorts),
    ]
    assert "c: b_1 for {a: 7, b: 1}: 'a_1' wins; " in str(caught.value)
    assert "c: b_1 for {z: 1}: a scan of the collection wins" in str(caught.value)


def test_a_plan_warns_of_a_sort_that_verify_finds(work: Database[Any]) -> None:
    # The trap of RESEARCH: (createdAt, _id) on an index of createdAt alone.
    query = Query({"status": "OPEN"}).sort("-at", "-_id")
    registry = registry_of(Index("status", "-at", serves=[query]))
    work["c"].insert_one({})
    (warning,) = registry.plan_sync(work).warnings
    assert "does not serve the sort {at: -1, _id: -1}" in warning.reason
    registry.plan_sync(work).apply_sync(work)
    work["c"].insert_many([{"status": "OPEN", "at": n % 10} for n in range(50)])
    with pytest.raises(IndexNotUsed, match="sorts in memory"):
        registry.verify_sync(work)


def test_an_empty_collection_is_told(work: Database[Any]) -> None:
    registry = registry_of(Index("b", serves=[Query({"b": 7})]))
    for _ in ("no collection", "no document"):
        with pytest.raises(IndexNotUsed, match="the collection is empty, so that proves little"):
            registry.verify_sync(work)
        work["c"].insert_one({"_id": 1})
        work["c"].delete_one({"_id": 1})
    work["c"].insert_one({"b": 7})
    with pytest.raises(IndexNotUsed, match=r"a scan of the collection wins$"):
        registry.verify_sync(work)


async def test_a_plan_says_which_collections_are_not_there(
    awork: AsyncDatabase[Any], work: Database[Any]
) -> None:
    registry = IndexRegistry()
    registry.add("orderz", Index("a"), Index("b"))
    registry.add("zebra", Index("a"))
    empty = "makes a new collection: this database is empty"
    assert [item.reason for item in registry.plan_sync(work).warnings] == [empty] * 2
    work["orders"].insert_one({})
    plan = await registry.plan(awork)
    assert [(item.name, item.reason) for item in plan.warnings] == [
        (
            "a_1",
            "makes a new collection: there is no 'orderz' yet (did you mean 'orders'?)",
        ),
        ("a_1", "makes a new collection: there is no 'zebra' yet"),
    ]
    await plan.apply(awork)
    assert not (await registry.plan(awork)).warnings
    work.create_collection(
        "series", timeseries={"timeField": "at"}
    )  # it is there, and may have no index
    series = IndexRegistry()
    series.add("series", Index("at"))
    assert not series.plan_sync(work).warnings


def test_a_query_that_the_server_refuses_is_our_error(work: Database[Any]) -> None:
    registry = registry_of(Index("a", serves=[Query({"$nope": 1})]))
    with pytest.raises(MongoOperationError) as caught:
        registry.verify_sync(work)
    assert (caught.value.code, caught.value.operation) == (2, "explain c")


def test_a_view_has_no_plan_to_verify(work: Database[Any]) -> None:
    work.create_collection("c", viewOn="d", pipeline=[{"$group": {"_id": "$a"}}])
    work["d"].insert_one({"a": 1})
    with pytest.raises(MongoOperationError, match="explain c: it is a view") as caught:
        registry_of(Index("a", serves=[Query({"a": 1})])).verify_sync(work)
    assert caught.value.code == 166


async def test_unused_asks_every_member(mongo_replica_set_of_three: MongoReplicaSet) -> None:
    uri = mongo_replica_set_of_three.uri
    mongo_replica_set_of_three.wait_until_complete()
    registry = registry_of(
        Index("idle"),
        Index("read_by_primary"),
        Index("read_by_secondary"),
        Index("lonely", unique=True),
        Index("at", expire_after=60),
        Index("hidden", hidden=True),
    )
    registry.add("never", Index("x"))
    with MongoClient[Any](uri, w=3) as client:
        client.drop_database(NAME)
        db = client[NAME]
        registry.plan_sync(db).apply_sync(db)
        db["c"].insert_many([{"idle": n, "read_by_primary": n, "lonely": n} for n in range(10)])
        list(db["c"].find({"read_by_primary": 1}))
        secondary = db.with_options(read_preference=ReadPreference.SECONDARY)
        list(secondary["c"].find({"read_by_secondary": 1}))
        found = registry.unused_sync(db, observed=0)
        assert registry.unused_sync(db) == ()  # nothing was counted for a week
        assert [(item.collection, item.name) for item in found] == [
            ("c", "idle_1"),
            ("never", "x_1"),
        ]
        assert len(found[0].members) == 3
        assert 0 <= found[0].counted_for < 600
        assert registry.unused_sync(db, observed=3600) == ()
        # A retired index keeps what every member had counted before it was hidden.
        retiring = IndexRegistry()
        retiring.retire("c", "old_1")
        db["c"].create_index("old")
        list(secondary["c"].find({"old": 1}))
        retiring.plan_sync(db).apply_sync(db)
        record = db["symphonia_perf_indexes"].find_one()
        assert record is not None
        assert sorted(item["uses"] for item in record["before"]["members"]) == [0, 0, 1]
    async with AsyncMongoClient[Any](uri) as client:
        assert [item.name for item in await registry.unused(client[NAME], observed=0)] == [
            "idle_1",
            "x_1",
        ]
    member = mongo_replica_set_of_three.members[1]
    with (
        MongoClient[Any](member.uri) as direct,  # it sees no other
        pytest.raises(MongoOperationError, match="connect to the replica set"),
    ):
        registry.unused_sync(direct[NAME])


async def test_unused_is_not_known_while_a_member_is_down(
    mongo_replica_set_of_three: MongoReplicaSet,
) -> None:
    mongo_replica_set_of_three.wait_until_complete()
    primary = mongo_replica_set_of_three.primary()
    lost = next(m for m in mongo_replica_set_of_three.members if m is not primary)
    with MongoClient[Any](mongo_replica_set_of_three.uri, w=3) as client:
        client[NAME]["c"].create_index("a")  # not later: a build waits for every voting member
    lost.kill()
    try:
        async with AsyncMongoClient[Any](mongo_replica_set_of_three.uri) as survivor:
            with pytest.raises(MongoOperationError) as caught:
                await registry_of(Index("a")).unused(survivor[NAME])
            assert f"127.0.0.1:{lost.port} does not tell its $indexStats" in str(caught.value)
    finally:
        lost.start()
        mongo_replica_set_of_three.wait_until_complete()


EXPORTED = (
    Index("a", "-b", unique=True, partial={"s": {"$in": ["A", "q\"'\\\n"]}, "n": {"$gt": 5}}),
    Index("at", expire_after=3600, name="ttl"),
    Index("s", sparse=True, hidden=True),
    Index("name", collation={"locale": "fr_CA", "strength": 2, "numericOrdering": True}),
    Index("plain", collation={"locale": "simple"}),
    Index.text("x", "y", weights={"y": 3}, language="french", language_field="lang"),
    Index.geo("p", "-at"),
    Index.flat("q", "at", bits=20, minimum=-10, maximum=10),
    Index.hashed("h", "at"),
    Index.wildcard(include=["z.k", "w"]),
    Index.wildcard(exclude=["secret"], name="all but"),
    Index.wildcard("attributes"),
    Index("owner.$id"),
    Index.raw({"key": {"odd": 2, "-minus": -1}, "name": "odd"}),
    Index.raw(
        {
            "key": {"engine": 1},
            "name": "engine",
            "storageEngine": {"wiredTiger": {"configString": "prefix_compression=false"}},
        }
    ),
    Index(
        "values",
        partial={
            "when": {"$gt": datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)},
            "owner": ObjectId("64b7f9c2a1b2c3d4e5f60718"),
            "price": Decimal128("5.0"),
            "big": Int64(2**40),
            "inf": float("-inf"),
            "none": None,
            "yes": True,
            "deep": {"x": [1, 2.5]},
            "pattern": {"$in": [re.compile("^a", re.IGNORECASE), Regex("b", "i")]},
            "reference": DBRef("orders", ObjectId("64b7f9c2a1b2c3d4e5f60718")),
            "late": {"$lt": DatetimeMS(2**55)},
            "moment": Timestamp(1, 2),
            "bytes": {"$gt": b"\x00\xff"},
            "code": Code("f()", {"x": 1}),
            "least": {"$gt": MinKey()},
        },
    ),
)


@pytest.mark.parametrize("collation", [None, {"locale": "en", "strength": 2}], ids=["plain", "en"])
@pytest.mark.parametrize("index", EXPORTED, ids=lambda index: index.name)
def test_an_export_gives_the_database_back(
    work: Database[Any], index: Index, collation: dict[str, Any] | None
) -> None:
    work.create_collection("c", collation=collation)
    registry = registry_of(index)
    registry.plan_sync(work).apply_sync(work)
    source = IndexRegistry.export_sync(work)
    names: dict[str, Any] = {}
    exec(source, names)
    again = names["indexes"].plan_sync(work)
    assert again.is_empty, again.describe()
    assert len(again.kept) == 1
    assert not again.unmanaged
    assert ("Index.raw" in source) == (index.name in {"odd", "engine"}), source


async def test_an_export_reads_like_a_declaration(
    awork: AsyncDatabase[Any], work: Database[Any]
) -> None:
    work["orders"].create_index([("status", 1), ("at", -1)], name="by_status")
    work["orders"].create_index("at", partialFilterExpression={"at": {"$gt": datetime.now(UTC)}})
    work["orders"].create_index([("p", 1), ("t", "text")], name="compound text")
    work["carriers"].create_index("code", unique=True)
    work.create_collection("empty")
    work.create_collection("view", viewOn="orders", pipeline=[])
    source = await IndexRegistry.export(awork)
    assert source.startswith(
        f'"""The indexes of the database "{work.name}"."""\n\n'
        "from datetime import UTC, datetime\n\n"
        "from symphonia_perf.mongo import Index, IndexRegistry\n\n"
        "indexes = IndexRegistry()\n\n"
        'indexes.add(\n    "carriers",\n    Index("code", name="code_1", unique=True),\n)\n\n'
        'indexes.add(\n    "orders",\n    Index("status", "-at", name="by_status"),\n'
    )
    assert "view" not in source
    assert "empty" not in source
    names: dict[str, Any] = {}
    exec(source, names)
    assert (await names["indexes"].plan(awork)).is_empty
    some = await IndexRegistry.export(awork, collections=["carriers", "missing"])
    assert "orders" not in some
    assert "missing" not in some
