import re
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    ObjectId,
    Regex,
    Timestamp,
)

from symphonia_perf.mongo import ExistingIndexes, Index, IndexRegistry
from symphonia_perf.mongo._source import python_source


def restored(existing: dict[str, ExistingIndexes]) -> tuple[str, IndexRegistry]:
    source = python_source("shop", existing)
    names: dict[str, Any] = {}
    exec(source, names)
    found = names["indexes"]
    assert isinstance(found, IndexRegistry)
    plan = found.diff(existing)
    assert plan.is_empty, plan.describe()
    assert not plan.unmanaged
    return source, found


def source_of(specification: dict[str, Any], collation: dict[str, Any] | None = None) -> str:
    """The one call that declares it."""
    existing = ExistingIndexes(indexes=[{"v": 2, **specification}], collation=collation)
    source, _ = restored({"c": existing})
    found = re.search(r'"c",\n(.*)\n\)', source, re.DOTALL)
    assert found is not None
    return found[1].strip()


ENGLISH = {"locale": "en", "strength": 2}


@pytest.mark.parametrize(
    ("index", "source"),
    [
        (Index("a", "-b.c", name="n"), 'Index("a", "-b.c", name="n"),'),
        (
            Index("a", name="n", unique=True, sparse=True, hidden=True),
            'Index("a", name="n", unique=True, sparse=True, hidden=True),',
        ),
        (Index("a", name="n", expire_after=5), 'Index("a", name="n", expire_after=5),'),
        (Index(("a desc", -1), "b", name="n"), 'Index(("a desc", -1), "b", name="n"),'),
        (Index.geo("p", "-a", name="n"), 'Index.geo("p", "-a", name="n"),'),
        (Index.hashed("p", name="n"), 'Index.hashed("p", name="n"),'),
        (
            Index.flat("p", name="n", bits=20, minimum=-1.5),
            'Index.flat("p", bits=20, minimum=-1.5, name="n"),',
        ),
        (Index(("p", "2d"), "a", name="n"), 'Index.flat("p", "a", name="n"),'),
        (Index("a", ("p", "2dsphere"), name="n"), 'Index("a", ("p", "2dsphere"), name="n"),'),
        (Index.wildcard(name="n"), 'Index.wildcard(name="n"),'),
        (Index.wildcard("a.b", name="n"), 'Index.wildcard("a.b", name="n"),'),
        (
            Index.wildcard(exclude=["a", "b"], name="n"),
            'Index.wildcard(exclude=["a", "b"], name="n"),',
        ),
        (
            Index("a", name="n", collation=ENGLISH),
            'Index("a", name="n", collation={"locale": "en", "strength": 2}),',
        ),
        (Index.raw({"key": {"-a": 1}, "name": "n"}), 'Index.raw({"key": {"-a": 1}, "name": "n"}),'),
        (
            Index.raw({"key": {"$**": 1}, "name": "n", "wildcardProjection": {"b": 0, "_id": 1}}),
            'Index.raw({"key": {"$**": 1}, "name": "n", "wildcardProjection": {"b": 0, "_id": 1}}),',  # noqa: E501
        ),
        (Index.raw({"key": {"a": 2}, "name": "n"}), 'Index.raw({"key": {"a": 2}, "name": "n"}),'),
    ],
)
def test_the_shortest_declaration(index: Index, source: str) -> None:
    assert source_of(index.specification()) == source


def test_a_text_index_as_the_server_lists_it() -> None:
    listed = {
        "key": {"_fts": "text", "_ftsx": 1},
        "name": "n",
        "weights": {"a": 1, "b": 5},
        "default_language": "english",
        "language_override": "lang",
        "textIndexVersion": 3,
    }
    expected = 'Index.text("a", "b", weights={"b": 5}, language_field="lang", name="n"),'
    assert source_of(listed) == expected
    assert source_of(listed, ENGLISH) == expected
    compound = {**listed, "key": {"p": 1, "_fts": "text", "_ftsx": 1}}
    assert source_of(compound).startswith("Index.raw(")


def test_the_collections_collation_goes_without_saying() -> None:
    inherits = {"key": {"a": 1}, "name": "n", "collation": {**ENGLISH, "version": "57.1"}}
    assert source_of(inherits, ENGLISH) == 'Index("a", name="n"),'
    simple = {"key": {"a": 1}, "name": "n"}
    assert source_of(simple, ENGLISH) == 'Index("a", name="n", collation={"locale": "simple"}),'
    odd = {"key": {"a": 2}, "name": "n"}
    assert '"collation": {"locale": "simple"}' in source_of(odd, ENGLISH)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6000), "datetime(2026, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)"),  # noqa: DTZ001 - as listed
        (
            datetime(2026, 1, 2, 4, tzinfo=timezone(timedelta(hours=1))),
            "datetime(2026, 1, 2, 3, 0, 0, 0, tzinfo=UTC)",
        ),
        (datetime(2026, 1, 2, tzinfo=UTC), "datetime(2026, 1, 2, 0, 0, 0, 0, tzinfo=UTC)"),
        (float("inf"), 'float("inf")'),
        (True, "True"),
        (None, "None"),
        (Int64(7), "7"),
        ([1, "x"], '[1, "x"]'),
        ({"x": 1.5}, '{"x": 1.5}'),
        (ObjectId("64b7f9c2a1b2c3d4e5f60718"), "ObjectId('64b7f9c2a1b2c3d4e5f60718')"),
        (Decimal128("5.0"), "Decimal128('5.0')"),
        (Timestamp(1, 2), "Timestamp(1, 2)"),
        (MaxKey(), "MaxKey()"),
        (Code("f()", {"x": 1}), "Code('f()', {'x': 1})"),
        (Regex("^a", 2), "Regex('^a', 2)"),
        (DBRef("orders", 7), "DBRef('orders', 7)"),
        (DatetimeMS(2**55), "DatetimeMS(36028797018963968)"),
        (Binary(b"x", 128), "Binary(b'x', 128)"),
        (uuid.UUID(int=7), "UUID('00000000-0000-0000-0000-000000000007')"),
        ("it's \"q\" \\' \n é", r'''"it's \"q\" \\' \n é"'''),
    ],
    ids=repr,
)
def test_values_come_back(value: Any, written: str) -> None:
    listed = {"key": {"a": 1}, "name": "n", "partialFilterExpression": {"b": {"$gt": value}}}
    assert f'partial={{"b": {{"$gt": {written}}}}}' in source_of(listed)


def test_a_long_declaration_is_wrapped_and_collections_without_indexes_are_left_out() -> None:
    long = Index("a" * 60, "b" * 40, name="n")
    source, _ = restored(
        {
            "orders": ExistingIndexes(
                indexes=[{"key": {"_id": 1}, "name": "_id_"}, long.specification()]
            ),
            "empty": ExistingIndexes(indexes=[{"key": {"_id": 1}, "name": "_id_"}]),
        }
    )
    assert (
        f'    Index(\n        "{"a" * 60}",\n        "{"b" * 40}",\n        name="n",\n    ),'
        in source
    )
    assert "empty" not in source
    assert max(map(len, source.splitlines())) <= 100
