"""What `covered_by` claims, held against what the server examines."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from symphonia_perf.mongo import Index, Query
from symphonia_perf.mongo._serving import explain_command

pytestmark = pytest.mark.mongo

NAME = "symphonia_test_covered"
AB = Index("a", "b")
BARE = Query({"a": 1}).only("a", "-_id")


@pytest.fixture(scope="module")
def collection(mongo_server: Any) -> Iterator[Collection[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_server.uri) as client:
        client.drop_database(NAME)
        yield client[NAME]["c"]
        client.drop_database(NAME)


# (query, index, whether the server reads no document)
CASES: dict[str, tuple[Query, Index, bool]] = {
    "equality": (BARE, AB, True),
    "range": (Query({"a": {"$gte": 1, "$lt": 3}}).only("a", "b", "-_id"), AB, True),
    "in": (Query({"a": {"$in": [1, 2]}}).only("b", "-_id"), AB, True),
    "not equal": (Query({"a": 1, "b": {"$ne": 3}}).only("b", "-_id"), AB, True),
    "not in": (Query({"a": 1, "b": {"$nin": [3, 4]}}).only("b", "-_id"), AB, True),
    "and": (Query({"$and": [{"a": 1}, {"b": {"$gt": 0}}]}).only("b", "-_id"), AB, True),
    "or": (Query({"$or": [{"a": 1}, {"a": 2, "b": 1}]}).only("b", "-_id"), AB, True),
    "sort only": (Query().only("a", "-_id").sort("a", "b"), AB, True),
    "sort against": (Query().only("a", "-_id").sort("-a", "-b"), AB, True),
    "sort in memory": (Query({"a": 1}).only("a", "b", "-_id").sort("-b", "a"), AB, True),
    "nested": (Query({"in.x": 1}).only("in.x", "-_id"), Index("in.x"), True),
    "_id in the index": (Query({"a": 1}).only("a"), Index("a", "_id"), True),
    "_id alone": (Query({"a": 1}).only("_id"), Index("a", "_id"), True),
    "hinted": (BARE.hint(AB), AB, True),
    "hinted without its first field": (Query({"b": 1}).only("a", "-_id").hint(AB), AB, False),
    "hint of another": (BARE.hint("_id_"), AB, False),
    "unique": (Query({"u": 1}).only("u", "-_id"), Index("u", unique=True), True),
    "sparse": (BARE, Index("a", sparse=True), True),
    "partial": (
        Query({"a": 1, "b": 1}).only("a", "-_id"),
        Index("a", "b", partial={"b": 1}),
        True,
    ),
    "whole documents": (Query({"a": 1}), AB, False),
    "with _id": (Query({"a": 1}).only("a"), AB, False),
    "returned elsewhere": (Query({"a": 1}).only("a", "u", "-_id"), AB, False),
    "filtered elsewhere": (Query({"a": 1, "u": 1}).only("a", "-_id"), AB, False),
    "sorted elsewhere": (Query({"a": 1}).only("a", "-_id").sort("u"), AB, False),
    "the whole of an indexed part": (Query({"in.x": 1}).only("in", "-_id"), Index("in.x"), False),
    "a part of an indexed whole": (
        Query({"in": {"x": 1}}).only("in.x", "-_id"),
        Index("in"),
        False,
    ),
    "null": (Query({"a": 1, "b": None}).only("a", "-_id"), AB, False),
    "null in a list": (Query({"a": 1, "b": {"$in": [1, None]}}).only("a", "-_id"), AB, False),
    "exists": (Query({"a": 1, "b": {"$exists": True}}).only("a", "-_id"), AB, False),
    "size": (Query({"a": 1, "b": {"$size": 1}}).only("a", "-_id"), AB, False),
    "array": (Query({"a": 1, "b": [1]}).only("a", "-_id"), AB, False),
    "expression": (Query({"$expr": {"$eq": ["$a", 1]}}).only("a", "-_id"), AB, False),
    "not the first field": (Query({"b": 1}).only("a", "-_id"), AB, False),
    "no filter": (Query().only("a", "-_id"), AB, False),
    "another order": (Query().only("a", "-_id").sort("a", "-b"), AB, False),
    "or elsewhere": (Query({"$or": [{"a": 1}, {"b": 1}]}).only("a", "-_id"), AB, False),
    "hidden": (BARE, Index("a", hidden=True), False),
    "hashed": (BARE, Index.hashed("a"), False),
    "sparse without filter": (Query().only("a", "-_id").sort("a"), Index("a", sparse=True), False),
    "partial without its filter": (BARE, Index("a", partial={"b": 1}), False),
    "partial by another field": (
        Query({"a": 1, "b": 1}).only("a", "-_id"),
        Index("a", partial={"b": 1}),
        False,
    ),
    "collation of the index": (
        Query({"s": "x"}).only("s", "-_id").collation({"locale": "en"}),
        Index("s", collation={"locale": "en"}),
        False,
    ),
    "collation of the query": (
        Query({"s": "x"}).only("s", "-_id").collation({"locale": "en"}),
        Index("s"),
        False,
    ),
}
# Covered in truth, not claimed: nobody declares these for it.
MODEST: dict[str, tuple[Query, Index]] = {
    "wildcard": (Query({"a": 1}).only("a", "-_id"), Index.wildcard()),
    "type": (Query({"a": 1, "b": {"$type": "object"}}).only("a", "-_id"), AB),
    "mod": (Query({"a": {"$mod": [2, 1]}}).only("b", "-_id"), AB),
    "regular expression": (Query({"s": {"$regex": "^x"}}).only("s", "-_id"), Index("s")),
}


def is_covered(collection: Collection[dict[str, Any]], query: Query, index: Index) -> bool:
    """Whether the server's plan reads no document."""
    collection.drop()
    collection.insert_many(
        [
            {"_id": n, "a": n % 3, "b": n % 4, "u": n, "in": {"x": n % 3}, "s": "xyz"[n % 3]}
            for n in range(60)
        ]
    )
    collection.database.command(
        {"createIndexes": collection.name, "indexes": [index.specification()]}
    )
    return reads_no_document(collection, query)


def reads_no_document(collection: Collection[dict[str, Any]], query: Query) -> bool:
    plan = collection.database.command(explain_command(collection.name, query.find_kwargs()))
    return not {"FETCH", "COLLSCAN"} & set(
        re.findall(r"[A-Z]+", repr(plan["queryPlanner"]["winningPlan"]))
    )


@pytest.mark.parametrize(("query", "index", "covered"), CASES.values(), ids=CASES)
def test_a_claim_is_what_the_server_does(
    collection: Collection[dict[str, Any]],
    query: Query,
    index: Index,
    covered: bool,  # noqa: FBT001
) -> None:
    assert is_covered(collection, query, index) is covered
    claimed = query.covered_by(index)
    assert bool(claimed) is covered, claimed.reason
    assert (claimed.reason is None) is covered


@pytest.mark.parametrize(("query", "index"), MODEST.values(), ids=MODEST)
def test_some_are_not_claimed(
    collection: Collection[dict[str, Any]], query: Query, index: Index
) -> None:
    assert is_covered(collection, query, index)
    assert not query.covered_by(index)


def test_an_array_in_the_index_is_what_the_declaration_cannot_know(
    collection: Collection[dict[str, Any]],
) -> None:
    assert is_covered(collection, BARE, AB)
    collection.insert_one({"_id": "array", "a": [1]})
    assert not reads_no_document(collection, BARE)
    assert BARE.covered_by(AB)
