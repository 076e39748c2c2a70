import math
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.raw_bson import RawBSONDocument

from symphonia_perf.mongo._keyset import (
    beyond,
    order_fault,
    place_fault,
    place_of,
    reversed_order,
)

DATE = datetime(2026, 1, 1, tzinfo=UTC)
AFTER_DATE = [
    *("timestamp", "regex", "dbPointer", "javascript", "javascriptWithScope", "maxKey"),
]
BEFORE_DATE = ["number", "string", "symbol", "object", "binData", "objectId", "bool"]


def condition(value: Any, direction: int) -> list[Any]:
    """What lies behind `value` in a sort by one field."""
    found = [
        each for step in beyond([("a", direction)], [value]) for each in step.get("$or", [step])
    ]
    return [each["a"] for each in found]


def test_ascending_what_is_greater_and_all_later_types() -> None:
    assert condition(DATE, 1) == [{"$gt": DATE}, {"$type": AFTER_DATE}]


def test_descending_what_is_less_all_earlier_types_and_what_is_missing() -> None:
    assert condition(DATE, -1) == [
        {"$lt": DATE},
        {"$type": BEFORE_DATE},
        {"$in": [MinKey(), [], None]},
    ]


def test_null_comes_before_everything_else() -> None:
    (later,) = condition(None, 1)
    assert later["$type"] == [*BEFORE_DATE, "date", *AFTER_DATE]
    assert condition(None, -1) == [{"$in": [MinKey(), []]}]


@pytest.mark.parametrize("value", [5, Int64(6), 0.5, Decimal128("5")])
def test_numbers_lie_between_null_and_text_and_behind_nan(value: Any) -> None:
    greater, later = condition(value, 1)
    assert greater == {"$gt": value}
    assert later["$type"][0] == "string"
    less, least = condition(value, -1)
    assert less == {"$lt": value}
    assert least["$in"][:3] == [MinKey(), [], None]
    assert math.isnan(least["$in"][3])


@pytest.mark.parametrize("nan", [math.nan, Decimal128("NaN"), Decimal128("sNaN")])
def test_nan_is_the_least_number(nan: Any) -> None:
    greater, later = condition(nan, 1)
    assert greater == {"$gte": -math.inf}
    assert later["$type"][0] == "string"
    assert condition(nan, -1) == [{"$in": [MinKey(), [], None]}]


@pytest.mark.parametrize(
    ("value", "first_later"),
    [
        ("text", "object"),
        (b"bytes", "objectId"),
        (Binary(b"b", 4), "objectId"),
        (ObjectId(), "bool"),
        (False, "date"),
        (DatetimeMS(2**60), "timestamp"),
        (Timestamp(1, 1), "regex"),
    ],
)
def test_every_type_knows_its_row(value: Any, first_later: str) -> None:
    greater, later = condition(value, 1)
    assert greater == {"$gt": value}
    assert later["$type"][0] == first_later


def test_a_tie_is_broken_by_the_next_field() -> None:
    nearest, other_types = beyond([("a", -1), ("b.c", 1), ("_id", -1)], ["x", 7, 5])
    tie, *between, less = nearest.pop("$or")
    same = {"a": {"$eq": "x"}}
    assert tie == {**same, "b.c": {"$eq": 7}, "$expr": {"$lt": ["$_id", {"$literal": 5}]}}
    assert between[0] == {**same, "b.c": {"$gt": 7}}
    assert between[1]["a"] == {"$eq": "x"}
    assert [set(each["b.c"]) for each in between] == [{"$gt"}, {"$type"}]
    assert less == {"a": {"$lt": "x"}}
    assert nearest == {"a": {"$lte": "x"}}  # where one scan can begin
    assert other_types == {
        "$or": [{"a": {"$type": ["number"]}}, {"a": {"$in": [MinKey(), [], None]}}]
    }


def test_two_fields_need_no_more_than_a_bound_and_what_is_further() -> None:
    nearest, _ = beyond([("a", 1), ("_id", -1)], [1, ObjectId("0" * 24)])
    less, other, least, greater = nearest["$or"]
    assert nearest["a"] == {"$gte": 1}
    assert greater == {"a": {"$gt": 1}}
    assert less == {"_id": {"$lt": ObjectId("0" * 24)}}
    assert [set(each["_id"]) for each in (other, least)] == [{"$type"}, {"$in"}]


@pytest.mark.parametrize("direction", [1, -1])
def test_nan_is_nothing_to_begin_a_range_with(direction: int) -> None:
    nearest, _ = beyond([("a", direction), ("_id", 1)], [math.nan, 5])
    assert "a" not in nearest or "$or" not in nearest
    first = nearest.get("$or", [nearest])[0]
    assert math.isnan(first["a"]["$eq"])


def test_an_id_that_looks_like_an_expression_is_taken_literally() -> None:
    nearest, _ = beyond([("a", 1), ("b", 1), ("_id", 1)], [1, 2, "$a"])
    assert nearest["$or"][0]["$expr"] == {"$gt": ["$_id", {"$literal": "$a"}]}


def test_an_order_by_id_alone_needs_no_expression() -> None:
    near, far = beyond([("_id", 1)], [5])
    assert near == {"_id": {"$gt": 5}}
    assert far["_id"]["$type"][0] == "string"


def test_what_shares_a_null_is_asked_for_piece_by_piece_nearest_first() -> None:
    steps = beyond([("a", 1), ("b", 1), ("c", 1), ("_id", 1)], [1, None, "x", 5])
    tie, greater, other, nearest, other_types = steps
    same = {"a": {"$eq": 1}, "b": {"$eq": None}}
    assert tie == {**same, "c": {"$eq": "x"}, "$expr": {"$gt": ["$_id", {"$literal": 5}]}}
    assert greater == {**same, "c": {"$gt": "x"}}
    assert set(other["c"]) == {"$type"}
    assert [list(each) for each in nearest["$or"]] == [["a", "b"], ["a"]]
    assert list(other_types) == ["a"]


def test_a_null_in_the_first_field_leaves_no_empty_step() -> None:
    tie, others = beyond([("a", 1), ("_id", 1)], [None, 5])
    assert tie == {"a": {"$eq": None}, "$expr": {"$gt": ["$_id", {"$literal": 5}]}}
    assert set(others["a"]) == {"$type"}


def test_the_other_end_turns_every_direction() -> None:
    assert reversed_order([("a", 1), ("_id", -1)]) == [("a", -1), ("_id", 1)]


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"a": 1, "b": {"c": 2}}, [1, 2]),
        ({}, [None, None]),
        ({"a": None, "b": {}}, [None, None]),
        ({"a": None, "b": "text"}, [None, None]),
        ({"a": [1], "b": [{"c": 1}]}, [[1], [{"c": 1}]]),
        ({"a": 1, "b": {"c": [2]}}, [1, [2]]),
    ],
)
def test_the_place_of_a_document(document: Any, place: list[Any]) -> None:
    assert place_of(document, [("a", 1), ("b.c", -1)]) == place


def test_a_reference_is_a_document_with_fields() -> None:
    """The driver decodes what holds `$ref` and `$id` into an object of its own."""
    document = {"_id": 1, "owner": DBRef("users", 7)}
    assert place_of(document, [("owner.$id", 1), ("owner.$db", 1), ("_id", 1)]) == [7, None, 1]


def test_the_place_of_a_raw_document() -> None:
    from bson import encode

    raw = RawBSONDocument(encode({"a": 1, "b": {"c": 2}}))
    assert place_of(raw, [("a", 1), ("b.c", -1)]) == [1, 2]


@pytest.mark.parametrize(
    "value", [[1], {"$gt": 1}, Regex("a"), Code("a"), MinKey(), MaxKey(), object(), 1j]
)
def test_only_single_values_are_places(value: Any) -> None:
    fault = place_fault([1, value], [("a", 1), ("b", 1)])
    assert fault == f"'b' holds a value of type {type(value).__name__}"
    assert place_fault([1, "a"], [("a", 1), ("b", 1)]) is None


@pytest.mark.parametrize(
    ("value", "kind"), [([1], "an array"), ([], "an array"), ({"c": 1}, "a document")]
)
def test_arrays_and_documents_have_no_place_of_their_own(value: Any, kind: str) -> None:
    documents = [{"_id": 6, "a": 1}, {"_id": 7, "a": value}]
    assert order_fault(documents, [("a", 1)]) == f"'a' holds {kind} where _id is 7"


def test_a_place_in_a_part_is_looked_at_too() -> None:
    found = [{"_id": 1, "in": {"x": 1}}, {"_id": 2, "in": [{"x": 1}]}]
    assert order_fault(found, [("in.x", 1)]) == "'in.x' holds an array where _id is 2"
    assert order_fault(found[:1], [("in.x", 1)]) is None


def test_other_values_are_no_trouble_between_two_pages() -> None:
    assert order_fault([{"a": Regex("x")}, {"a": MaxKey()}, {}], [("a", 1)]) is None
