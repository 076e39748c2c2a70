from collections.abc import Callable
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from symphonia_perf.errors import ConfigurationError, ProjectionError
from symphonia_perf.mongo import Index, Query, raw_documents


def test_a_query_asks_for_nothing_that_was_not_said() -> None:
    assert Query().find_kwargs() == {"filter": {}}
    assert Query({"a": 1}).find_kwargs() == {"filter": {"a": 1}}


def test_every_part_arrives_as_the_driver_takes_it() -> None:
    query = Query({"a": 1}).only("b", "-_id").sort("-c", "d.e").limit(5)
    assert query.find_kwargs() == {
        "filter": {"a": 1},
        "projection": {"b": 1, "_id": 0},
        "sort": [("c", -1), ("d.e", 1)],
        "limit": 5,
    }


def test_every_option_arrives_by_the_drivers_name() -> None:
    query = (
        Query()
        .batch_size(200)
        .hint("status_1")
        .comment("orders list")
        .max_time(1.5)
        .collation({"locale": "en", "strength": 2})
    )
    assert query.find_kwargs() == {
        "filter": {},
        "batch_size": 200,
        "hint": "status_1",
        "comment": "orders list",
        "max_time_ms": 1500,
        "collation": {"locale": "en", "strength": 2},
    }


def test_a_declared_index_is_hinted_by_its_name() -> None:
    assert Query().hint(Index("a", "-b")).find_kwargs()["hint"] == "a_1_b_-1"


@pytest.mark.parametrize(
    ("limit", "milliseconds"),
    [(timedelta(seconds=2), 2000), (0.0001, 1), (0.0016, 2), (2147483, 2147483000)],
)
def test_max_time_is_milliseconds_to_the_driver(limit: Any, milliseconds: int) -> None:
    assert Query().max_time(limit).find_kwargs()["max_time_ms"] == milliseconds


def test_every_call_returns_a_new_query() -> None:
    base = Query({"a": 1})
    derived = base.only("b").sort("c").limit(1)
    assert base.find_kwargs() == {"filter": {"a": 1}}
    assert derived.only("x").sort("-y").limit(2).find_kwargs() == {
        "filter": {"a": 1},
        "projection": {"x": 1},
        "sort": [("y", -1)],
        "limit": 2,
    }
    assert derived.find_kwargs()["projection"] == {"b": 1}


def test_nobody_changes_a_query_from_outside() -> None:
    owner = ObjectId()
    conditions: dict[str, Any] = {"status": {"$in": ["A"]}, "owner": owner}
    rules = {"locale": "en"}
    query = Query(conditions).only("a").sort("b").collation(rules)
    expected = {
        "filter": {"status": {"$in": ["A"]}, "owner": owner},
        "projection": {"a": 1},
        "sort": [("b", 1)],
        "collation": {"locale": "en"},
    }
    rules["locale"] = "fr"
    conditions["status"]["$in"].append("B")
    conditions["other"] = 1
    got = query.find_kwargs()
    assert got == expected
    got["filter"]["status"]["$in"].append("C")
    got["projection"]["x"] = 1
    got["sort"].append(("x", 1))
    got["collation"]["strength"] = 1
    assert query.find_kwargs() == expected


def test_any_mapping_can_be_a_filter() -> None:
    nested = MappingProxyType({"a": MappingProxyType({"$in": (1, 2)})})
    (conditions,) = Query(nested).find_kwargs().values()
    assert conditions == {"a": {"$in": [1, 2]}}
    assert type(conditions["a"]) is dict


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "list as filter": (
        lambda: Query([("a", 1)]),  # type: ignore[arg-type]
        "filter=[('a', 1)]: expected a document",
    ),
    "text as filter": (lambda: Query("a"), "filter='a'"),  # type: ignore[arg-type]
    "number as key": (lambda: Query({1: 2}), "filter: the key 1 is a int, expected text"),  # type: ignore[dict-item]
    "nested number as key": (lambda: Query({"a": [{1: 2}]}), "filter: the key 1 is a int"),
    "limit 0": (lambda: Query().limit(0), "limit=0: expected a whole number, 1 to "),
    "limit -1": (lambda: Query().limit(-1), "limit=-1"),
    "limit True": (lambda: Query().limit(True), "limit=True"),
    "limit '5'": (lambda: Query().limit("5"), "limit='5'"),  # type: ignore[arg-type]
    "limit 5.0": (lambda: Query().limit(5.0), "limit=5.0"),  # type: ignore[arg-type]
    "limit 2**63": (lambda: Query().limit(2**63), "limit=9223372036854775808"),
    "batch_size 0": (lambda: Query().batch_size(0), "batch_size=0: expected a whole number, 1 to"),
    "batch_size 2**31": (lambda: Query().batch_size(2**31), "batch_size=2147483648"),
    "batch_size True": (lambda: Query().batch_size(True), "batch_size=True"),
    "empty hint": (lambda: Query().hint(""), "hint='': expected an Index or the name of one"),
    "natural hint": (lambda: Query().hint("$natural"), "hint='$natural'"),
    "hint by keys": (
        lambda: Query().hint([("a", 1)]),  # type: ignore[arg-type]
        "hint=[('a', 1)]",
    ),
    "empty comment": (lambda: Query().comment(""), "comment='': expected a text"),
    "comment 5": (lambda: Query().comment(5), "comment=5"),  # type: ignore[arg-type]
    "max_time 0": (lambda: Query().max_time(0), "max_time=0: expected more than 0 seconds"),
    "max_time '5'": (lambda: Query().max_time("5"), "max_time='5'"),  # type: ignore[arg-type]
    "max_time too long": (
        lambda: Query().max_time(timedelta(days=30)),
        "max_time=datetime.timedelta(days=30): expected at most 2147483 s",
    ),
    "collation by name": (
        lambda: Query().collation("en"),  # type: ignore[arg-type]
        "collation='en': expected a mapping",
    ),
    "collation without locale": (lambda: Query().collation({"strength": 1}), "collation={'str"),
    "no sort field": (lambda: Query().sort(), "sort: 0 fields, expected 1 to 32"),
    "33 sort fields": (lambda: Query().sort(*(f"f{n}" for n in range(33))), "sort: 33 fields"),
    "sort twice": (lambda: Query().sort("a", "-a"), "sort: the field 'a' is named twice"),
    "empty sort": (lambda: Query().sort(""), "sort: the field '' is empty"),
    "sort by a sign": (lambda: Query().sort("-"), "sort: the field '' is empty"),
    "sort by two signs": (lambda: Query().sort("--a"), "the field '-a' starts with '-'"),
    "sort a pair": (
        lambda: Query().sort(("a", 1)),  # type: ignore[arg-type]
        "sort: ('a', 1) is no field; name each as text of its own, '-year' for descending",
    ),
    "sort a direction": (
        lambda: Query().sort("a", -1),  # type: ignore[arg-type]
        "sort: -1 is no field; name each as text of its own",
    ),
    "sort a list": (lambda: Query().sort(["a"]), "sort: ['a'] is no field"),  # type: ignore[arg-type]
    "sort a plus": (lambda: Query().sort("+a"), "'year' for ascending, as in sort('-year', '_id')"),
    "cover by name": (
        lambda: Query().covered_by("a_1"),  # type: ignore[arg-type]
        "covered_by: 'a_1' is no Index",
    ),
    "sort dot": (lambda: Query().sort("a."), "'a.' has an empty part"),
    "sort dollar": (lambda: Query().sort("$a"), "starts with '$'"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert message in str(caught.value)


def test_a_projection_is_checked_when_the_query_is_built() -> None:
    with pytest.raises(ProjectionError, match=r"'a\.b' is part of 'a'"):
        Query().only("a", "a.b")


def test_an_array_element_can_be_sorted_by() -> None:
    assert Query().sort("arr.0.x").find_kwargs()["sort"] == [("arr.0.x", 1)]


def test_find_hands_everything_to_the_collection() -> None:
    class Collection:
        def find(self, **kwargs: Any) -> dict[str, Any]:
            return kwargs

    query = Query({"a": 1}).limit(3)
    recording: Any = Collection()
    assert query.find(recording) == query.find_kwargs()


def test_a_query_shows_how_it_was_written() -> None:
    query = Query({"a": 1}).only("b", "-_id").sort("-c", "d").limit(5)
    assert repr(query) == "Query({'a': 1}).only('b', '-_id').sort('-c', 'd').limit(5)"
    assert repr(Query()) == "Query({})"
    options = (
        Query().batch_size(5).hint("a_1").comment("c").max_time(1.5).collation({"locale": "en"})
    )
    assert repr(options) == (
        "Query({}).batch_size(5).hint('a_1').comment('c').max_time(1.5).collation({'locale': 'en'})"
    )


def test_whether_an_index_covers_a_query_is_true_or_says_why_not() -> None:
    listed = Query({"status": "OPEN"}).sort("-at")
    index = Index("status", "-at")
    covered = listed.only("at", "-_id").covered_by(index)
    assert covered
    assert covered.reason is None
    for query, reason in (
        (listed, "whole documents are returned; name the fields with only(...)"),
        (listed.only("at"), "'_id' comes along and is not in the index; leave it out with '-_id'"),
        (listed.only("b", "-_id"), "'b' is returned and not in the index"),
    ):
        assert not query.covered_by(index)
        assert query.covered_by(index).reason == reason


def test_raw_documents_are_an_option_of_the_collection() -> None:
    with MongoClient[dict[str, Any]](connect=False, tz_aware=True) as client:
        orders = client["x"]["orders"]
        raw = raw_documents(orders)
        assert raw.codec_options.document_class is RawBSONDocument
        assert raw.codec_options.tz_aware
        assert raw == orders
        assert orders.codec_options.document_class is dict
