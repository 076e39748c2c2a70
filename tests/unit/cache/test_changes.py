"""What is asked of the database, and what each change means for the cache."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, ObjectId, Timestamp
from bson.errors import InvalidBSON
from pymongo import errors

from symphonia_perf.cache import InvalidationRules, Route, on
from symphonia_perf.cache._changes import Batch, Routes, changed_at, may_resume
from symphonia_perf.errors import ConfigurationError

RULES = InvalidationRules(
    on("plan.changed", tags=["plans"]),
    on("carrier.changed", delete=["carrier:{id}"], tags=["carriers"], match=["carriers:list*"]),
    on("contract.changed", delete=["contract:{id}"], tags=["client:{client_id}"]),
)
CONTRACT = {"id": "_id", "client_id": "client.id"}
RESUMABLE = "ResumableChangeStreamError"
LIVING = ("insert", "update", "replace")


def routes(**given: Any) -> Routes:
    return Routes(given, RULES)


def judged(table: Routes, *changes: dict[str, Any]) -> dict[str, Any]:
    """What the changes make wrong together, without what is empty."""
    batch = Batch()
    for change in changes:
        assert table.judge(change, batch)
    found = {
        "tags": list(batch.tags),
        "keys": list(batch.keys),
        "patterns": list(batch.patterns),
        "everything": batch.everything,
    }
    return {name: each for name, each in found.items() if each}


def change(operation: str, collection: str, _id: Any = 7, **more: Any) -> dict[str, Any]:
    return {
        "operationType": operation,
        "ns": {"db": "shop", "coll": collection},
        "documentKey": {"_id": _id},
        **more,
    }


# What is asked


def test_the_server_sends_only_what_is_routed() -> None:
    table = routes(
        plans="plan.changed",
        carriers=Route("carrier.changed", operations=["delete", "update", "delete"]),  # type: ignore[list-item]
        tariffs="plan.changed",
    )
    match, project = table.pipeline()
    every = {"$in": ["plans", "carriers", "tariffs"]}
    assert match["$match"]["$or"] == [
        {
            "operationType": {"$in": ["insert", "update", "replace", "delete"]},
            "ns.coll": {"$in": ["plans", "tariffs"]},
        },
        {"operationType": {"$in": ["delete", "update"]}, "ns.coll": {"$in": ["carriers"]}},
        {"operationType": {"$in": ["drop", "rename"]}, "ns.coll": every},
        {"operationType": {"$in": ["drop", "rename"]}, "to.coll": every},
        {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
    ]
    assert list(project["$project"]) == [
        *("operationType", "ns", "to", "documentKey", "clusterTime", "wallTime")
    ]
    assert table.options() == {}


def test_documents_are_looked_up_where_their_key_does_not_say_enough() -> None:
    table = routes(
        contracts=Route("contract.changed", fields=CONTRACT, before=True),
        carriers=Route("carrier.changed", fields={"id": "client"}, operations=LIVING),
    )
    assert table.options() == {
        "full_document": "updateLookup",
        "full_document_before_change": "whenAvailable",
    }
    shown = table.pipeline()[1]["$project"]
    # The server refuses a projection of a path beside one within it.
    assert [path for path in shown if "ull" in path] == [
        "fullDocument.client",
        "fullDocumentBeforeChange.client.id",
    ]
    inserts = Route("contract.changed", fields=CONTRACT, operations=["insert"])
    assert routes(contracts=inserts).options() == {}
    inside = Route("contract.changed", fields={"id": "_id", "client_id": "_id.client"})
    assert routes(contracts=inside).options() == {}


# What it means


def test_a_document_is_known_by_its_key() -> None:
    carriers = routes(carriers="carrier.changed")
    identity = ObjectId()
    for operation in ("insert", "update", "replace", "delete"):
        assert judged(carriers, change(operation, "carriers", identity)) == {
            "tags": ["carriers"],
            "keys": [f"carrier:{identity}"],
            "patterns": ["carriers:list*"],
        }


def test_an_event_without_fields_needs_none() -> None:
    plans = routes(plans="plan.changed")
    for each in (change("delete", "plans"), change("drop", "plans"), change("rename", "plans")):
        assert judged(plans, each) == {"tags": ["plans"]}
    assert judged(plans, {"operationType": "dropDatabase", "ns": {"db": "shop"}}) == {
        "tags": ["plans"]
    }


def test_changes_add_up_and_each_effect_is_named_once() -> None:
    table = routes(carriers="carrier.changed", plans="plan.changed")
    changes = [change("update", "carriers", n % 2) for n in range(10)]
    assert judged(table, *changes, change("insert", "plans")) == {
        "tags": ["carriers", "plans"],
        "keys": ["carrier:0", "carrier:1"],
        "patterns": ["carriers:list*"],
    }


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (change("drop", "carriers"), "drop of 'carriers'"),
        (change("rename", "carriers", to={"coll": "old"}), "rename of 'carriers'"),
        (change("rename", "new", to={"coll": "carriers"}), "rename of 'carriers'"),
        ({"operationType": "dropDatabase", "ns": {"db": "shop"}}, "dropDatabase of 'carriers'"),
    ],
)
def test_a_collection_that_goes_takes_everything_where_documents_count(
    ended: dict[str, Any], said: str
) -> None:
    assert judged(routes(carriers="carrier.changed"), ended) == {"everything": said}


def test_the_streams_end_is_told() -> None:
    batch = Batch()
    assert not routes(plans="plan.changed").judge({"operationType": "invalidate"}, batch)
    assert not batch.everything


CLIENT = {"client": {"id": 5}}
OLD = {"client": {"id": 4}}
LOST = {"everything": "a document of 'contracts' whose fields are not known any more"}


@pytest.mark.parametrize(
    ("operation", "images", "clients"),
    [
        ("insert", {"fullDocument": CLIENT}, [5]),
        ("replace", {"fullDocument": CLIENT, "fullDocumentBeforeChange": OLD}, [5, 4]),
        ("update", {"fullDocument": CLIENT, "fullDocumentBeforeChange": CLIENT}, [5]),
        # Deleted since: that is told, too.
        ("update", {"fullDocumentBeforeChange": OLD}, [4]),
        ("delete", {"fullDocumentBeforeChange": OLD}, [4]),
    ],
)
def test_with_what_was_before_a_document_is_told_as_it_was_and_is(
    operation: str, images: dict[str, Any], clients: list[int]
) -> None:
    table = routes(contracts=Route("contract.changed", fields=CONTRACT, before=True))
    assert judged(table, change(operation, "contracts", **images)) == {
        "tags": [f"client:{each}" for each in clients],
        "keys": ["contract:7"],
    }


@pytest.mark.parametrize(
    ("operation", "images"),
    [
        ("update", {}),
        ("update", {"fullDocument": CLIENT}),
        ("replace", {"fullDocument": CLIENT}),
        ("delete", {"fullDocumentBeforeChange": None}),
    ],
)
def test_what_was_before_and_is_not_known_takes_everything(
    operation: str, images: dict[str, Any]
) -> None:
    table = routes(contracts=Route("contract.changed", fields=CONTRACT, before=True))
    found = judged(table, change(operation, "contracts", **images))
    assert found["everything"] == LOST["everything"]


def test_without_it_a_document_is_told_as_it_is() -> None:
    table = routes(contracts=Route("contract.changed", fields=CONTRACT, operations=LIVING))
    assert judged(table, change("update", "contracts", fullDocument=CLIENT))["tags"] == ["client:5"]
    assert judged(table, change("update", "contracts", fullDocument={}))["tags"] == ["client:~none"]
    assert judged(table, change("update", "contracts", fullDocument={"client": 5}))["tags"] == [
        "client:~none"
    ]
    assert judged(table, change("update", "contracts")) == LOST


def test_a_shard_key_says_enough() -> None:
    table = routes(contracts=Route("contract.changed", fields=CONTRACT, before=True))
    deleted = change("delete", "contracts")
    deleted["documentKey"]["client"] = {"id": 9}
    assert judged(table, deleted) == {"tags": ["client:9"], "keys": ["contract:7"]}


def test_a_value_that_no_key_can_have_takes_everything() -> None:
    found = judged(routes(carriers="carrier.changed"), change("update", "carriers", {"a": 1}))
    assert found["everything"].startswith("a document of 'carriers': id: {'a': 1} (dict)")


def test_a_uuid_is_one_however_the_driver_gives_it() -> None:
    table, number = routes(carriers="carrier.changed"), UUID(int=5)
    for given in (number, Binary(number.bytes, 4)):
        found = judged(table, change("update", "carriers", given))
        assert found["keys"] == [f"carrier:{number}"]
    # Of the old subtype nobody knows in which order the bytes are.
    for given in (Binary(number.bytes, 3), Binary(b"short", 4), Binary(number.bytes), b"x" * 16):
        assert "everything" in judged(table, change("update", "carriers", given))


# Fingerprints


def test_a_fingerprint_tells_apart_what_would_do_otherwise() -> None:
    table = routes(carriers="carrier.changed")
    others = [
        (routes(carriers="carrier.changed", plans="plan.changed"), "cache:"),
        (routes(carriers=Route("carrier.changed", operations=["insert"])), "cache:"),
        (table, "cache:v2:"),
        (Routes({"carriers": "carrier.changed"}, InvalidationRules(
            on("carrier.changed", delete=["carrier:{id}", "names:{id}"]))), "cache:"),
    ]  # fmt: skip
    prints = {each.fingerprint(start) for each, start in [(table, "cache:"), *others]}
    assert len(prints) == 5
    assert routes(carriers=Route("carrier.changed")).fingerprint("cache:") in prints


# When, and why not


def test_when_it_changed_is_the_servers_word() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    naive = at.replace(tzinfo=None)
    stamp = Timestamp(1_700_000_000, 1)
    assert changed_at({"wallTime": at}) == changed_at({"wallTime": naive}) == at.timestamp()
    assert changed_at({"clusterTime": stamp}) == 1_700_000_000.0
    assert changed_at({"clusterTime": SimpleNamespace(time="x")}) is None
    assert changed_at({}) is None


def test_where_a_stream_may_go_on_is_known_by_code_or_label() -> None:
    def error(code: int | None, *labels: str) -> Any:
        failure: Any = Exception()
        failure.code, failure.has_error_label = code, labels.__contains__
        return failure

    assert not may_resume(error(286))
    assert not may_resume(error(260))
    assert not may_resume(error(1, "NonResumableChangeStreamError"))
    assert may_resume(error(1, "ResumableChangeStreamError"))
    assert may_resume(error(43))


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (ConnectionError(), True),
        (TimeoutError(), True),
        (errors.AutoReconnect(), True),
        (errors.NotPrimaryError(), True),
        (errors.NetworkTimeout(), True),
        (errors.ServerSelectionTimeoutError(), True),
        (errors.WaitQueueTimeoutError(), True),
        (errors.CursorNotFound("gone", 43), True),
        (errors.ExecutionTimeout("too long", 50), True),
        (errors.OperationFailure("not authorized", 13), True),
        (errors.OperationFailure("interrupted", 1, {"errorLabels": [RESUMABLE]}), True),
        (errors.InvalidOperation("Cannot use AsyncMongoClient after close"), True),
        (errors.OperationFailure("resume token string was not a valid hex string", 9), False),
        (errors.OperationFailure("the oplog has moved on", 286), False),
        (errors.OperationFailure("both", 91, {"errorLabels": [f"Non{RESUMABLE}"]}), False),
        (InvalidBSON("year 146140482 is out of range"), False),
        (errors.InvalidDocument("documents must have only string keys"), False),
        (OverflowError("MongoDB can only handle up to 8-byte ints"), False),
    ],
)
def test_what_passes_keeps_the_place_and_all_else_does_not(error: Exception, *, may: bool) -> None:
    assert may_resume(error) is may


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"event": ""}, "event='': expected a name"),
        ({"event": 5}, "event=5"),
        ({"operations": "insert"}, "operations='insert': expected some of"),
        ({"operations": ()}, r"operations=\(\)"),
        ({"operations": ["upsert"]}, r"operations=\['upsert'\]"),
        ({"fields": ["id"]}, r"fields=\['id'\]: expected a dict"),
        ({"fields": {"id": ""}}, "fields: 'id' comes from ''"),
        ({"fields": {"id": "$x"}}, "fields: 'id' comes from '\\$x'"),
        ({"fields": {"id": 5}}, "fields: 'id' comes from 5"),
    ],
)
def test_a_route_that_cannot_work_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Route(**{"event": "carrier.changed", **options})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "routes={}: expected a dict"),
        (["carriers"], r"routes=\['carriers'\]: expected a dict"),
        ({"": "plan.changed"}, "routes: '' is no collection's name"),
        ({"$cmd": "plan.changed"}, r"routes: '\$cmd'"),
        ({5: "plan.changed"}, "routes: 5"),
        ({"carriers": None}, "routes: 'carriers' leads to None"),
        ({"carriers": "carrier.chnged"}, "did you mean 'carrier.changed'"),
        ({"contracts": "contract.changed"}, r"tells \['client_id', 'id'\].*find \[\]; write Route"),
        ({"carriers": Route("carrier.changed", fields={})}, r"tells \['id'\]"),
        ({"plans": Route("plan.changed", fields={"id": "_id"})}, r"tells \[\].*find \['id'\]"),
        (
            {"contracts": Route("contract.changed", fields=CONTRACT)},
            r"a deletion in 'contracts' tells only.*\['client.id'\].*before=True",
        ),
    ],
)
def test_routes_that_cannot_work_are_named(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Routes(given, RULES)
