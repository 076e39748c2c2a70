import re
from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from bson import Code, DatetimeMS, DBRef, Decimal128, ObjectId, Regex

from symphonia_perf.mongo._diff import findings
from symphonia_perf.mongo._findings import (
    CreateIndex,
    Declaration,
    ExistingIndexes,
    IndexClash,
    KeptIndex,
    ModifyIndex,
)
from symphonia_perf.mongo._normalise import normalise, shortest_collation
from tests.unit.mongo.spellings import BY_COLLMOD, PAIRS, Specification

OUTCOMES = {"same": KeptIndex, "second": CreateIndex}


@pytest.mark.parametrize("spelling", PAIRS)
def test_a_plan_says_what_the_server_would(spelling: str) -> None:
    first, second, verdict = PAIRS[spelling]
    declared = {"c": Declaration(indexes=[second])}
    finding, *_ = findings(declared, {"c": ExistingIndexes(indexes=[first])})
    if spelling in BY_COLLMOD:
        assert isinstance(finding, ModifyIndex)
    elif isinstance(verdict, int):
        assert isinstance(finding, IndexClash)
        assert finding.code == verdict
    else:
        assert isinstance(finding, OUTCOMES[verdict])


def partial(expression: dict[str, Any]) -> object:
    return normalise({"key": {"k": 1}, "name": "n", "partialFilterExpression": expression})


def test_an_index_inherits_the_collation_of_its_collection() -> None:
    english = {"locale": "en", "strength": 2}
    plain: Specification = {"key": {"k": 1}, "name": "n"}
    assert normalise(plain, inherited=english) == normalise({**plain, "collation": english})
    assert normalise({**plain, "collation": {"locale": "simple"}}, inherited=english) == normalise(
        plain
    )


def test_what_the_server_adds_to_a_collation_is_no_difference() -> None:
    listed = {
        "locale": "en",
        "caseLevel": False,
        "caseFirst": "off",
        "strength": 3,
        "numericOrdering": False,
        "alternate": "non-ignorable",
        "maxVariable": "punct",
        "normalization": False,
        "backwards": False,
        "version": "57.1",
    }
    key = {"key": {"k": 1}, "name": "n"}
    assert normalise({**key, "collation": {"locale": "en"}}) == normalise(
        {"v": 2, **key, "collation": listed}
    )


def test_the_shortest_collation_says_what_its_locale_does_not() -> None:
    listed = {"locale": "fr_CA", "strength": 3, "backwards": True, "version": "57.1"}
    assert shortest_collation(listed) == {"locale": "fr_CA"}
    assert shortest_collation({**listed, "backwards": False}) == {
        "locale": "fr_CA",
        "backwards": False,
    }
    assert shortest_collation(None) == shortest_collation({"locale": "simple"})


def test_dates_compare_as_milliseconds_in_utc() -> None:
    listed = datetime(2026, 1, 1, 12, 0, 0, 1000)  # noqa: DTZ001 - as the driver lists it
    paris = timezone(timedelta(hours=1))
    for declared in (
        datetime(2026, 1, 1, 12, 0, 0, 1999, tzinfo=UTC),
        datetime(2026, 1, 1, 13, 0, 0, 1000, tzinfo=paris),
    ):
        assert partial({"at": {"$gt": declared}}) == partial({"at": {"$gt": listed}})
    assert partial({"at": listed}) != partial({"at": listed + timedelta(milliseconds=1)})


def test_other_values_compare_by_type_and_content() -> None:
    one, other = ObjectId(), ObjectId()
    assert partial({"owner": one}) == partial({"owner": ObjectId(str(one))})
    assert partial({"owner": one}) != partial({"owner": other})
    assert partial({"owner": one}) != partial({"owner": str(one)})
    assert partial({"a": None}) != partial({"a": False})
    assert partial({"a": float("nan")}) == partial({"a": float("nan")})


def test_what_the_driver_lists_as_its_own_types_is_what_was_declared() -> None:
    assert partial({"a": {"$in": [re.compile("x", re.IGNORECASE)]}}) == partial(
        {"a": {"$in": [Regex("x", re.IGNORECASE | re.UNICODE)]}}
    )
    assert partial({"a": re.compile("x")}) != partial({"a": re.compile("x", re.IGNORECASE)})
    reference = {"$ref": "orders", "$id": 1}
    assert partial({"a": reference}) == partial({"a": DBRef("orders", 1)})
    assert partial({"a": {"$eq": {"b": reference}}}) == partial({"a": {"b": DBRef("orders", 1)}})
    assert partial({"a": reference}) != partial({"a": DBRef("orders", 2)})
    late = 2**55  # milliseconds, beyond the year 9999
    assert partial({"a": {"$gt": DatetimeMS(late)}}) != partial(
        {"a": {"$gt": DatetimeMS(late + 1)}}
    )
    start = datetime(1970, 1, 1, tzinfo=UTC)
    assert partial({"a": DatetimeMS(0)}) == partial({"a": start})


def test_an_enumeration_is_what_it_stores_and_code_is_no_text() -> None:
    class Status(StrEnum):
        OPEN = "open"

    class Level(IntEnum):
        HIGH = 3

    assert partial({"a": Status.OPEN, "b": Level.HIGH}) == partial({"a": "open", "b": 3})
    assert partial({"a": Code("open")}) != partial({"a": "open"})
    assert partial({"a": Code("f", {"x": 1})}) != partial({"a": Code("f", {"x": 2})})


def test_a_direction_of_old_is_no_fault() -> None:
    for kind in (True, None, {"x": 1}, "yes"):
        form = normalise({"key": {"k": kind}, "name": "n"})
        assert form != normalise({"key": {"k": 1}, "name": "n"})
    assert normalise({"key": {"k": Decimal128("1.0")}, "name": "n"}) == normalise(
        {"key": {"k": 1}, "name": "n"}
    )


def test_a_form_knows_whether_it_is_a_text_index() -> None:
    assert normalise({"key": {"a": "text"}, "name": "n"}).is_text
    assert not normalise({"key": {"a": 1}, "name": "n"}).is_text
