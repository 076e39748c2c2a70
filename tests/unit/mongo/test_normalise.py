from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from bson import ObjectId

from symphonia_perf.mongo._diff import findings
from symphonia_perf.mongo._findings import ExistingIndexes
from symphonia_perf.mongo._normalise import normalise
from symphonia_perf.mongo._plan import IndexPlan
from tests.unit.mongo.spellings import PAIRS, Specification

OUTCOMES = {"same": "kept", "ignored": "conflicts", "second": "changes"}


@pytest.mark.parametrize(("first", "second", "verdict"), PAIRS.values(), ids=PAIRS)
def test_a_plan_says_what_the_server_would(
    first: Specification, second: Specification, verdict: str | int
) -> None:
    plan = IndexPlan.of(findings({"c": [second]}, {"c": ExistingIndexes(indexes=[first])}))
    assert len(getattr(plan, OUTCOMES.get(str(verdict), "conflicts"))) == 1
    if plan.conflicts:
        assert plan.conflicts[0].code == (verdict if isinstance(verdict, int) else None)


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


def test_a_form_knows_whether_it_is_a_text_index() -> None:
    assert normalise({"key": {"a": "text"}, "name": "n"}).is_text
    assert not normalise({"key": {"a": 1}, "name": "n"}).is_text
