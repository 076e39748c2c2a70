"""Pages show every document once, in the server's own order, whatever it is sorted by."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.collection import Collection

from symphonia_perf.errors import MongoOperationError
from symphonia_perf.mongo import Query
from symphonia_perf.mongo._keyset import beyond, place_fault, place_of
from symphonia_perf.testing.servers import MongoReplicaSet

pytestmark = pytest.mark.mongo

NAME = "symphonia_test_page_properties"
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
MISSING = object()

numbers = st.one_of(
    st.integers(-2, 2),
    st.sampled_from([0.5, -0.0, float("inf"), float("-inf"), float("nan")]),
    st.sampled_from([Int64(1), Int64(2**63 - 1), 2**53, 2**53 + 1, 2.0**53, 1e308, 5e-324]),
    st.sampled_from([Decimal128(text) for text in ("0.5", "1.0", "-0", "1E+6000")]),
    st.sampled_from([Decimal128(text) for text in ("NaN", "-Infinity")]),
)
values = st.one_of(
    st.sampled_from([None, MISSING, True, False]),
    numbers,
    st.sampled_from(["", "a", "b", "B", "é", "e\u0301", "\0", "$a", "\uffff", "\U0001f600"]),
    st.integers(0, 2).map(lambda days: BEGINNING + timedelta(days=days)),
    st.sampled_from([DatetimeMS(0), DatetimeMS(2**60), DatetimeMS(-(2**62))]),
    st.sampled_from([ObjectId("0" * 24), ObjectId("f" * 24)]),
    st.sampled_from([b"", b"a", b"ab", Binary(b"a", 5), Binary(b"x" * 16, 4)]),
    st.sampled_from([Timestamp(0, 1), Timestamp(1, 1), Timestamp(1, 2)]),
)
few = st.sampled_from([None, MISSING, 1, 2, "a", BEGINNING])  # so that there are ties
ids = st.one_of(st.integers(0, 50), st.text("abc", min_size=1, max_size=2), st.booleans())
rows = st.lists(
    st.tuples(ids, few, values, values), max_size=14, unique_by=lambda row: (type(row[0]), row[0])
)
collations = st.none() | st.integers(1, 3).map(lambda level: {"locale": "en", "strength": level})
orders = st.lists(st.sampled_from(["x", "y", "in.z"]), unique=True, max_size=3).flatmap(
    lambda paths: st.tuples(*(st.sampled_from([path, f"-{path}"]) for path in [*paths, "_id"]))
)


def document(row: tuple[Any, Any, Any, Any]) -> dict[str, Any]:
    number, x, y, z = row
    # A value in the place of a document has no fields.
    inner = {"in": y} if z is MISSING and y is not MISSING else {"in": {"z": z}}
    if z is MISSING and y is MISSING:
        inner = {}
    outer = {name: value for name, value in (("x", x), ("y", y)) if value is not MISSING}
    return {"_id": number, **outer, **inner}


def ids_of(documents: list[dict[str, Any]]) -> list[Any]:
    return [(type(each["_id"]), each["_id"]) for each in documents]


@pytest.fixture(scope="module")
def collection(mongo_server: MongoReplicaSet) -> Iterator[Collection[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](
        mongo_server.uri, tz_aware=True, datetime_conversion="DATETIME_AUTO"
    ) as client:
        yield client[NAME]["c"]
        client.drop_database(NAME)


def fill(collection: Collection[dict[str, Any]], documents: list[dict[str, Any]]) -> None:
    collection.delete_many({})
    if documents:
        collection.insert_many(documents)


@given(rows=rows, order=orders, size=st.integers(1, 5), indexed=st.booleans(), collation=collations)
def test_pages_are_the_servers_order_cut_up_and_backwards_its_mirror(  # noqa: PLR0917
    collection: Collection[dict[str, Any]],
    rows: list[Any],
    order: tuple[str, ...],
    size: int,
    indexed: bool,  # noqa: FBT001 - hypothesis passes by name
    collation: dict[str, Any] | None,
) -> None:
    collection.drop()
    if collation:  # by numbers, as some texts are the same to it
        rows = [(number, *row[1:]) for number, row in enumerate(rows)]
    fill(collection, [document(row) for row in rows])
    if indexed and len(order) > 1:  # there is one on _id
        signs = [(path.removeprefix("-"), -1 if path[0] == "-" else 1) for path in order]
        collection.create_index(signs, collation=collation)
    query = Query().sort(*order).limit(size)
    if collation:
        query = query.collation(collation)
    sort = query.find_kwargs()["sort"]
    whole = ids_of(list(collection.find(sort=sort, collation=collation)))
    seen: list[Any] = []
    page = query.page_sync(collection)
    pages = [page.items]
    while page.has_next:
        assert len(page.items) == size
        page = query.page_sync(collection, after=page.next)
        pages.append(page.items)
    for items in pages:
        seen += ids_of(items)
    assert seen == whole
    back = ids_of(page.items)
    while page.has_previous:
        page = query.page_sync(collection, before=page.previous)
        assert len(page.items) == size
        assert page.has_next
        back = ids_of(page.items) + back
    assert back == whole


@given(
    rows=st.lists(st.one_of(values, st.sampled_from([[], [1], [None], ["a", 5], {"b": 1}, {}]))),
    order=st.sampled_from([("v", "_id"), ("-v", "-_id"), ("-v", "w", "_id")]),
    size=st.integers(1, 3),
)
def test_a_walk_shows_every_document_or_is_refused(
    collection: Collection[dict[str, Any]], rows: list[Any], order: tuple[str, ...], size: int
) -> None:
    collection.drop()
    fill(
        collection,
        [
            {"_id": number} if value is MISSING else {"_id": number, "v": value}
            for number, value in enumerate(rows)
        ],
    )
    query = Query().sort(*order).limit(size)
    seen: list[Any] = []
    try:
        page = query.page_sync(collection)
        seen += page.items
        while page.has_next:
            page = query.page_sync(collection, after=page.next)
            seen += page.items
    except MongoOperationError:
        assert any(isinstance(value, list | dict) for value in rows)
    else:
        assert ids_of(seen) == ids_of(list(collection.find(sort=query.find_kwargs()["sort"])))
        assert not any(isinstance(value, list | dict) for value in rows)


# Types that no page can begin or end at, but that may lie between.
between = st.sampled_from(
    [MinKey(), MaxKey(), Regex("a"), Regex("b", "i"), Code("a"), {"a": 1}, []]
)


@given(
    rows=st.lists(st.one_of(values, between), min_size=1, max_size=10),
    direction=st.sampled_from([1, -1]),
    start=st.integers(0, 9),
)
def test_no_type_is_overlooked_behind_a_place(
    collection: Collection[dict[str, Any]], rows: list[Any], direction: int, start: int
) -> None:
    collection.drop()
    fill(
        collection,
        [
            {"_id": number} if value is MISSING else {"_id": number, "v": value}
            for number, value in enumerate(rows)
        ],
    )
    sort = [("v", direction), ("_id", -direction)]
    whole = list(collection.find(sort=sort))
    start %= len(whole)
    place = place_of(whole[start], sort)
    if place_fault(place, sort) is None:
        steps = beyond(sort, place)
        behind = [each for step in steps for each in collection.find(step, sort=sort)]
        assert ids_of(behind) == ids_of(whole[start + 1 :])


@settings(max_examples=20)
@given(
    order=orders,
    size=st.integers(1, 4),
    rows=rows.filter(lambda rows: len(rows) > 4),
    late=st.lists(st.tuples(few, values, values), min_size=1, max_size=12),
    stride=st.integers(1, 3),
)
def test_what_was_there_throughout_is_seen_once_while_others_come_and_go(  # noqa: PLR0917
    collection: Collection[dict[str, Any]],
    order: tuple[str, ...],
    size: int,
    rows: list[Any],
    late: list[Any],
    stride: int,
) -> None:
    collection.drop()
    fill(collection, [document(row) for row in rows])
    query = Query().sort(*order).limit(size)
    stayed = [each for each in collection.find(sort=query.find_kwargs()["sort"]) if "x" in each]
    arriving = [document((f"late {number}", *row)) for number, row in enumerate(late)]
    leaving = list(collection.find({"x": {"$exists": False}}, {"_id": 1}))
    page = query.page_sync(collection)
    seen = page.items
    while page.has_next:
        for each in arriving[:stride]:
            collection.insert_one(each)
        for each in leaving[:1]:
            collection.delete_one(each)
        arriving, leaving = arriving[stride:], leaving[1:]
        page = query.page_sync(collection, after=page.next)
        seen = seen + page.items
    kept = {repr(each) for each in ids_of(stayed)}
    assert [each for each in ids_of(seen) if repr(each) in kept] == ids_of(stayed)
    assert len({repr(each) for each in ids_of(seen)}) == len(seen)
