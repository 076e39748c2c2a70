from dataclasses import replace
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo import Index, IndexRegistry, Query, ServedQuery
from symphonia_perf.mongo._normalise import normalise
from symphonia_perf.mongo._serving import explain_command, sort_fault, verdict

NEAR = {"$near": {"$geometry": {"type": "Point", "coordinates": [2, 48]}}}


@pytest.mark.parametrize(
    ("index", "query"),
    [
        (Index("a", "-b"), Query({"a": 1}).sort("-b")),
        (Index("a", "-b"), Query({"a": 1}).sort("b")),
        (Index("a", "-b"), Query().sort("a", "-b")),
        (Index("a", "-b"), Query().sort("-a", "b")),
        (Index("a", "b", "c"), Query({"b": 2}).sort("a", "c")),
        (Index("a", "b"), Query({"a": {"$in": [1, 2]}}).sort("b")),
        (Index("a", "b"), Query({"a": {"$eq": 1}}).sort("a", "b")),
        (Index("a", "b"), Query({"$and": [{"a": 1}, {"b": {"$gt": 2}}]}).sort("b")),
        (Index("a", "b"), Query({"a": {"x": 1}}).sort("b")),
        (Index("a"), Query({"a": {"$gt": 3}}).sort("-a")),
        (Index("a"), Query({"$or": [{"a": 1}]})),
    ],
)
def test_a_sort_that_the_key_serves(index: Index, query: Query) -> None:
    form = normalise(index.specification())
    assert sort_fault(form.key, query.find_kwargs()) is None


@pytest.mark.parametrize(
    ("index", "query"),
    [
        (Index("a"), Query().sort("-a", "-_id")),
        (Index("a", "b"), Query().sort("b")),
        (Index("a", "b"), Query({"a": {"$gt": 1}}).sort("b")),
        (Index("a", "b"), Query().sort("a", "-b")),
        (Index("a", "b"), Query({"$or": [{"a": 1}, {"a": 2}]}).sort("b")),
        (Index.geo("p"), Query({"p": NEAR}).sort("p")),
        (Index.hashed("a"), Query({"b": 1}).sort("a")),
    ],
)
def test_a_sort_that_the_key_does_not_serve(index: Index, query: Query) -> None:
    form = normalise(index.specification())
    fault = sort_fault(form.key, query.find_kwargs())
    assert fault is not None
    assert fault.startswith("does not serve the sort {")


def test_a_sort_by_relevance_has_no_index_to_come_from() -> None:
    query = {"filter": {"$text": {"$search": "x"}}, "sort": [("score", {"$meta": "textScore"})]}
    assert sort_fault((("_fts", "text"), ("_ftsx", "1")), query) is None
    plan = {"stage": "SORT", "inputStage": {"stage": "TEXT_MATCH", "indexName": "t"}}
    served = verdict("c", "t", query, {"queryPlanner": {"winningPlan": plan}})
    assert (served.sorts, served.fault) == (False, None)


def test_find_in_the_words_of_the_server() -> None:
    class Words:
        def find_kwargs(self) -> dict[str, Any]:
            return {"filter": {}, "batch_size": 5, "max_time_ms": 7, "sort": [("a", 1)]}

    index = Index("a", serves=[Words()])
    assert explain_command("c", index.serves[0].find_kwargs()) == {
        "explain": {
            "find": "c",
            "filter": {},
            "batchSize": 5,
            "maxTimeMS": 7,
            "sort": {"a": 1},
        },
        "verbosity": "queryPlanner",
    }


def explained(plan: Any, query: Query | None = None) -> ServedQuery:
    find = (query or Query({"a": 1})).find_kwargs()
    return verdict("c", "n", find, {"queryPlanner": {"winningPlan": plan}})


SCAN = {"stage": "IXSCAN", "indexName": "n"}


@pytest.mark.parametrize(
    ("plan", "used", "fault"),
    [
        ({"stage": "FETCH", "inputStage": SCAN}, ("n",), None),
        ({"queryPlan": {"stage": "FETCH", "inputStage": SCAN}, "slotBasedPlan": {}}, ("n",), None),
        ({"shards": [{"winningPlan": SCAN}, {"winningPlan": SCAN}]}, ("n",), None),
        ({"stage": "COLLSCAN"}, (), "a scan of the collection wins"),
        ({"stage": "EOF"}, (), "a scan of the collection wins"),
        ({"stage": "IDHACK"}, ("_id_",), "'_id_' wins"),
        (
            {"stage": "OR", "inputStages": [SCAN, {"stage": "IXSCAN", "indexName": "m"}]},
            ("n", "m"),
            "'n' and 'm' wins",
        ),
    ],
)
def test_what_explain_says(plan: Any, used: tuple[str, ...], fault: str | None) -> None:
    served = explained(plan)
    assert (served.used, served.fault) == (used, fault)


def test_a_fault_in_an_empty_collection_says_so() -> None:
    lost = replace(explained({"stage": "EOF"}), empty=True)
    assert lost.fault == (
        "a scan of the collection wins, but the collection is empty, so that proves little"
    )
    assert replace(explained(SCAN), empty=True).fault is None


def test_a_sort_in_memory_is_a_fault() -> None:
    plan = {"stage": "SORT", "inputStage": SCAN}
    served = explained(plan, Query({"a": 1}).sort("b"))
    assert served.sorts
    assert served.describe() == "c: n for {a: 1} sorted by {b: 1}: sorts in memory"
    assert explained(SCAN).describe() == "c: n for {a: 1}: wins"


def test_a_plan_warns_of_it() -> None:
    registry = IndexRegistry()
    registry.add("c", Index("a", serves=[Query().sort("b"), Query({"a": 1})]))
    (warning,) = registry.diff({}).warnings
    assert warning.reason == "does not serve the sort {b: 1}: the server sorts in memory"


@pytest.mark.parametrize("serves", [["status"], [{"a": 1}], Query(), "query", 7])
def test_only_queries_can_be_served(serves: Any) -> None:
    with pytest.raises(ConfigurationError, match="Index 'n': serves"):
        Index("a", name="n", serves=serves)
    with pytest.raises(ConfigurationError, match=r"Index.raw\(.*serves"):
        Index.raw({"key": {"a": 1}, "name": "n"}, serves=serves)


def test_what_an_index_serves_is_no_part_of_it() -> None:
    assert Index("a", serves=[Query()]) == Index("a")
    assert hash(Index("a", serves=[Query()])) == hash(Index("a"))
