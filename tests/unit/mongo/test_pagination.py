import logging
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from types import SimpleNamespace
from typing import Any

import pytest
from bson.codec_options import CodecOptions

from symphonia_perf._core.events import Event
from symphonia_perf.errors import ConfigurationError, InvalidCursor, MongoOperationError
from symphonia_perf.mongo import DeepPageEvent, Page, Query
from symphonia_perf.mongo._paging import PageRequest, request

LIST = Query({"status": "OPEN"}).only("a", "at").sort("-at", "_id").limit(2)
ORDERS = SimpleNamespace(name="orders", full_name="shop.orders", codec_options=CodecOptions())


def asked(query: Query = LIST, **given: Any) -> PageRequest:
    defaults: dict[str, Any] = {
        "after": None,
        "before": None,
        "number": None,
        "keys": None,
        "total": "none",
        "session": None,
        "observer": None,
    }
    return request(query.find_kwargs(), ORDERS, **{**defaults, **given})


def documents(*numbers: int) -> list[Any]:
    return [{"_id": number, "at": 1} for number in numbers]


def token(*numbers: int) -> str:
    """For the place of the last of these documents."""
    made = asked().page([*documents(0, *numbers), *documents(99)], None).next
    assert made is not None
    return made


def test_the_first_page_asks_for_one_document_more() -> None:
    first = asked()
    (step,) = first.steps
    assert first.asked(step, 0) == {**LIST.find_kwargs(), "limit": 3}
    assert first.asked(step, 2)["limit"] == 1


def test_a_page_beyond_the_servers_first_batch_comes_in_one() -> None:
    long = asked(LIST.limit(200))
    assert long.asked({}, 0)["batch_size"] == 201
    assert long.asked({}, 150)["limit"] == 51
    assert "batch_size" not in long.asked({}, 150)
    assert "batch_size" not in asked(LIST.limit(100)).asked({}, 0)
    assert asked(LIST.limit(200).batch_size(7)).asked({}, 0)["batch_size"] == 7


def test_a_page_that_is_not_full_is_the_last() -> None:
    page = asked().page(documents(1), None)
    assert (page.items, page.next, page.previous) == (documents(1), None, None)
    assert (page.has_next, page.has_previous) == (False, False)


def test_a_full_page_without_anything_behind_is_the_last() -> None:
    assert asked().page(documents(1, 2), None) == Page(items=documents(1, 2))


def test_the_document_too_many_tells_that_there_is_more() -> None:
    page = asked().page(documents(1, 2, 3), None)
    assert page.items == documents(1, 2)
    assert page.has_next
    assert not page.has_previous
    following = asked(after=page.next)
    step, other_types = following.steps
    assert step["status"] == other_types["status"] == "OPEN"
    (place,) = step["$and"]
    assert place["at"] == {"$lte": 1}
    assert place["$or"][0] == {"_id": {"$gt": 2}}
    assert place["$or"][-1] == {"at": {"$lt": 1}}
    assert set(other_types["$and"][0]) == {"at"}
    assert following.find["sort"] == [("at", -1), ("_id", 1)]


def test_a_following_page_leads_back() -> None:
    page = asked(after=token(2)).page(documents(3, 4), None)
    assert not page.has_next
    back = asked(before=page.previous)
    step, _ = back.steps
    (place,) = step["$and"]
    assert place["at"] == {"$gte": 1}
    assert place["$or"][0] == {"_id": {"$lt": 3}}
    assert place["$or"][-1] == {"at": {"$gt": 1}}
    assert back.find["sort"] == [("at", 1), ("_id", -1)]
    # Read from the end: the document too many is the one farthest in front.
    page = back.page(documents(2, 1, 0), None)
    assert page.items == documents(1, 2)
    assert page.has_next
    assert page.has_previous
    first = back.page(documents(2, 1), None)
    assert first.has_next
    assert not first.has_previous


def test_an_empty_page_leads_nowhere() -> None:
    for given in ({}, {"after": token(2)}, {"before": token(2)}, {"number": 7}):
        assert asked(**given).page([], None) == Page(items=[])


def test_a_null_makes_several_steps_under_the_same_filter() -> None:
    cursor = asked().page([{"_id": 1}, {"_id": 2}, {"_id": 3}], None).next
    tie, less = asked(after=cursor).steps
    assert tie["status"] == less["status"] == "OPEN"
    assert tie["$and"] == [{"at": {"$eq": None}, "$expr": {"$gt": ["$_id", {"$literal": 2}]}}]
    assert [set(each) for each in less["$and"]] == [{"at"}]


def test_the_filter_stays_as_it_is_beside_the_place() -> None:
    for conditions in ({"$or": [{"a": 1}, {"a": 2}], "_id": {"$ne": 7}}, {"$and": [{"b": 1}]}):
        query = Query(conditions).sort("_id").limit(1)
        cursor = asked(query).page(documents(1, 2), None).next
        step, _ = asked(query, after=cursor).steps
        assert step == {**conditions, "$and": [*conditions.get("$and", ()), {"_id": {"$gt": 1}}]}


def test_a_query_without_filter_asks_for_the_place_alone() -> None:
    query = Query().sort("_id").limit(1)
    cursor = asked(query).page(documents(1, 2), None).next
    step, _ = asked(query, after=cursor).steps
    assert step == {"_id": {"$gt": 1}}


@pytest.mark.parametrize(("value", "kind"), [([1], "an array"), ({"x": 1}, "a document")])
def test_a_document_without_a_place_is_refused_wherever_it_lies(value: Any, kind: str) -> None:
    found = [{"_id": 1, "at": value}, *documents(2, 3)]
    for order in (found, found[::-1], [found[1], found[0], found[2]]):
        with pytest.raises(MongoOperationError) as caught:
            asked().page(list(order), None)
        assert f"page: 'at' holds {kind} where _id is 1" in str(caught.value)


def test_two_tokens_are_a_clients_mistake() -> None:
    with pytest.raises(InvalidCursor, match="two tokens, one after and one before; give one"):
        asked(after=token(1), before=token(2))


def test_a_numbered_page_skips_and_hands_out_tokens() -> None:
    third = asked(number=3)
    assert third.find["skip"] == 4
    page = third.page(documents(5, 6, 7), None)
    assert page.has_next
    assert page.has_previous
    first = asked(number=1)
    assert "skip" not in first.find
    assert not first.page(documents(1, 2, 3), None).has_previous


def test_a_deep_page_is_an_event() -> None:
    events: list[Event] = []
    asked(number=5_001, observer=events.append)
    assert events == []
    asked(number=5_002, observer=events.append)
    assert events == [
        DeepPageEvent(source="mongo", collection="orders", number=5_002, skipped=10_002)
    ]


def test_a_deep_page_is_in_the_log_without_an_observer(caplog: pytest.LogCaptureFixture) -> None:
    # Another name than other tests use: the log holds a subject's warnings back for ten seconds.
    with caplog.at_level(logging.WARNING, "symphonia_perf"):
        collection = SimpleNamespace(
            name="deep", full_name="shop.deep", codec_options=CodecOptions()
        )
        request(
            LIST.find_kwargs(),
            collection,
            after=None,
            before=None,
            number=9_000,
            keys=None,
            total="none",
            session=None,
            observer=None,
        )
    (record,) = caplog.records
    assert "mongo: page of deep skipped 17998 documents" in record.getMessage()
    assert "page 9000 by its number" in record.getMessage()


FULL = LIST.comment("c").max_time(2).hint("i").collation({"locale": "en"})
OPTIONS = {"comment": "c", "maxTimeMS": 2000, "hint": "i", "collation": {"locale": "en"}}


@pytest.mark.parametrize(
    ("query", "total", "count"),
    [
        (LIST, "none", None),
        (LIST, "exact", ("count_documents", {"filter": {"status": "OPEN"}})),
        (LIST, "capped", ("count_documents", {"filter": {"status": "OPEN"}, "limit": 1001})),
        (FULL, "exact", ("count_documents", {"filter": {"status": "OPEN"}, **OPTIONS})),
        (Query().sort("_id").limit(1), "estimated", ("estimated_document_count", {})),
        (
            Query().sort("_id").limit(1).comment("c").max_time(2).hint("i"),
            "estimated",
            ("estimated_document_count", {"comment": "c", "maxTimeMS": 2000}),
        ),
    ],
    ids=["none", "exact", "capped", "exact with options", "estimated", "estimated with options"],
)
def test_totals_are_counted_under_the_querys_own_options(
    query: Query, total: str, count: Any
) -> None:
    assert asked(query, total=total).count == count


def test_how_exact_a_total_is() -> None:
    everything = Query().sort("_id").limit(1)
    expected = {
        ("exact", 5000): (5000, True),
        ("capped", 1000): (1000, True),
        ("capped", 1001): (1000, False),
        ("estimated", 5000): (5000, False),
        ("none", None): (None, True),
    }
    for (total, counted), (shown, exact) in expected.items():
        page = asked(everything, total=total).page([], counted)
        assert (page.total, page.total_is_exact) == (shown, exact)


def test_a_session_reads_the_page_and_its_total() -> None:
    session = object()
    for total in ("exact", "capped", "estimated"):
        wanted = asked(Query().sort("_id").limit(1), session=session, total=total)
        assert wanted.asked({}, 0)["session"] is session
        assert wanted.count is not None
        assert wanted.count[1]["session"] is session
    assert "session" not in asked().find


def test_documents_without_an_id_are_refused() -> None:
    with pytest.raises(MongoOperationError, match="a document has no '_id', as in a view"):
        asked().page([{"at": 1}, {"at": 1}], None)
    one_null: list[Any] = [{"_id": None, "at": 1}, {"_id": 1, "at": 1}]
    assert asked().page(list(one_null), None).items == one_null


def test_a_token_of_another_database_is_refused() -> None:
    other = SimpleNamespace(**{**vars(ORDERS), "full_name": "tenant.orders"})
    made = token(1)
    given: dict[str, Any] = dict.fromkeys(("before", "number", "keys", "session", "observer"))
    query = LIST.find_kwargs()
    with pytest.raises(InvalidCursor):
        request(query, other, after=made, total="none", **given)
    request(query, ORDERS, after=made, total="none", **given)


BARE = Query().sort("_id").limit(1)
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "no limit": (lambda: asked(Query().sort("_id")), "limit is None, expected a page's size"),
    "huge limit": (lambda: asked(Query().sort("_id").limit(2**40)), "limit is 1099511627776"),
    "no sort": (lambda: asked(Query().limit(1)), "sorted by [], expected a sort that ends with"),
    "a sort with ties": (lambda: asked(Query().sort("at").limit(1)), "sorted by ['at']"),
    "_id not last": (lambda: asked(Query().sort("_id", "at").limit(1)), "ends with '_id'"),
    "sorted by what is left out": (
        lambda: asked(BARE.sort("at", "_id").only("a")),
        "only(...) leaves out 'at'",
    ),
    "sorted by more than is returned": (
        lambda: asked(BARE.sort("at", "_id").only("at.day")),
        "only(...) leaves out 'at'",
    ),
    "_id left out": (lambda: asked(BARE.only("a", "-_id")), "only(...) leaves out '_id'"),
    "three places": (lambda: asked(after="a", before="b", number=1), "after, before and number"),
    "number and place": (lambda: asked(after="a", number=1), "after, before and number exclude"),
    "number 0": (lambda: asked(number=0), "number=0: expected a whole number, 1 or more"),
    "number -1": (lambda: asked(number=-1), "number=-1"),
    "number True": (lambda: asked(number=True), "number=True"),
    "number '2'": (lambda: asked(number="2"), "number='2'"),
    "number 2.0": (lambda: asked(number=2.0), "number=2.0"),
    "absurd number": (lambda: asked(number=10**12), "skips 1999999999998 documents, expected at"),
    "unknown total": (lambda: asked(total="all"), "total='all', allowed are none, estimated, cap"),
    "no total": (lambda: asked(total=None), "total=None"),
    "estimate of a filter": (lambda: asked(total="estimated"), "this query has a filter"),
    "one key": (lambda: asked(keys=b"k" * 32), "keys: expected a list of secrets"),
    "lost keys": (lambda: asked(keys=[]), "keys: empty; give at least one secret"),
    "wrong observer": (lambda: asked(observer=5), "observer=5: expected a callable"),
    "short key": (lambda: asked(keys=[b"k"]), "keys[0]: expected text or bytes, at least 16"),
    "filter without a form": (lambda: asked(BARE._with("filter", {"a": {1}})), "filter={'a': {1}}"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_page_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert message in str(caught.value)


def test_what_lies_in_a_returned_part_is_returned() -> None:
    query = Query().only("at", {"in": ["x"]}).sort("at.day", "in.x", "_id").limit(1)
    assert asked(query).limit == 1


def test_a_page_is_a_value() -> None:
    page: Page[Any] = Page(items=[])
    with pytest.raises(FrozenInstanceError):
        page.next = "a"  # type: ignore[misc]
    assert page == Page(items=[], total=None, total_is_exact=True)
