import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

import mongomock
import pymongo
import pytest
from bson import Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.collection import Collection

from symphonia_perf.errors import (
    ConfigurationError,
    InvalidCursor,
    MongoOperationError,
    StoreTimeout,
    StoreUnavailable,
)
from symphonia_perf.mongo import Index, Page, Query, raw_documents

pytestmark = pytest.mark.mongo

NAME = "symphonia_test_pages"
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
KEY = b"k" * 32
LIST = Query({"status": "OPEN"}).only("at").sort("-at", "_id").limit(10)
INDEX = Index("status", "-at", "_id")


def documents(count: int) -> list[dict[str, Any]]:
    return [
        {"_id": n, "status": "OPEN", "at": BEGINNING + timedelta(hours=n // 7), "more": "x" * 50}
        for n in range(count)
    ]


@pytest.fixture
def orders(mongo_url: str) -> Iterator[Collection[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.drop_database(NAME)
        client[NAME]["orders"].insert_many(documents(64))
        yield client[NAME]["orders"]
        client.drop_database(NAME)


@pytest.fixture
async def async_orders(
    orders: Collection[dict[str, Any]], mongo_url: str
) -> AsyncIterator[AsyncCollection[dict[str, Any]]]:
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        yield client[NAME][orders.name]


def ids(page: Page[Any]) -> list[Any]:
    return [document["_id"] for document in page.items]


def walk(query: Query, orders: Any, **options: Any) -> list[list[Any]]:
    """The ids of every page."""
    page = query.page_sync(orders, **options)
    found = [ids(page)]
    while page.has_next:
        page = query.page_sync(orders, after=page.next, **options)
        found.append(ids(page))
    return found


async def test_pages_forward_and_back_with_both_drivers(
    orders: Collection[dict[str, Any]], async_orders: AsyncCollection[dict[str, Any]]
) -> None:
    forward = walk(LIST, orders)
    assert [len(page) for page in forward] == [10] * 6 + [4]
    assert sorted(chain.from_iterable(forward)) == list(range(64))
    page = await LIST.page(async_orders)
    pages = [page]
    while page.has_next:
        page = await LIST.page(async_orders, after=page.next)
        pages.append(page)
    assert [ids(page) for page in pages] == forward
    back = [page]
    while page.has_previous:
        page = await LIST.page(async_orders, before=page.previous)
        back.append(page)
    assert [ids(page) for page in reversed(back)] == forward
    assert pages[0].items[0] == {
        "_id": 63,
        "at": (BEGINNING + timedelta(hours=9)).replace(tzinfo=None),
    }


async def test_pages_go_on_among_and_behind_nulls(
    orders: Collection[dict[str, Any]], async_orders: AsyncCollection[dict[str, Any]]
) -> None:
    orders.delete_many({})
    orders.insert_many(
        [{"_id": n, "at": None if n % 2 else BEGINNING} if n % 3 else {"_id": n} for n in range(20)]
    )
    for order in (("at", "_id"), ("-at", "_id")):
        query = Query().sort(*order).limit(4)
        page = await query.page(async_orders)
        seen = ids(page)
        while page.has_next:
            page = await query.page(async_orders, after=page.next)
            seen += ids(page)
        whole = orders.find(sort=query.find_kwargs()["sort"])
        assert seen == [document["_id"] for document in whole]
        assert list(chain.from_iterable(walk(query, orders))) == seen


async def test_signed_tokens_survive_a_rotation(
    async_orders: AsyncCollection[dict[str, Any]],
) -> None:
    old, new = b"o" * 32, "n" * 32
    page = await LIST.page(async_orders, keys=[old])
    following = await LIST.page(async_orders, after=page.next, keys=[new, old])
    assert len(ids(following)) == 10
    third = await LIST.page(async_orders, after=following.next, keys=[new])
    assert not set(ids(third)) & {*ids(page), *ids(following)}
    with pytest.raises(InvalidCursor):
        await LIST.page(async_orders, after=page.next, keys=[new])
    with pytest.raises(InvalidCursor):
        await LIST.page(async_orders, after=page.next)
    with pytest.raises(InvalidCursor):
        await (
            Query({"status": "DONE"})
            .only("at")
            .sort("-at", "_id")
            .limit(10)
            .page(async_orders, after=page.next, keys=[old])
        )


async def test_totals(
    orders: Collection[dict[str, Any]], async_orders: AsyncCollection[dict[str, Any]]
) -> None:
    everything = Query().sort("_id").limit(1)
    for total, expected in (
        ("none", (None, True)),
        ("exact", (64, True)),
        ("capped", (64, True)),
        ("estimated", (64, False)),
    ):
        page = await everything.page(async_orders, total=total)  # type: ignore[arg-type]
        assert (page.total, page.total_is_exact) == expected
        assert everything.page_sync(orders, total=total) == page  # type: ignore[arg-type]
    orders.insert_many([{"_id": number} for number in range(1000, 2000)])
    page = await everything.page(async_orders, total="capped")
    assert (page.total, page.total_is_exact) == (1000, False)
    full = LIST.comment("c").max_time(5).collation({"locale": "en"})
    assert (await full.page(async_orders, total="capped")).total == 64


def test_a_numbered_page_leads_on_by_tokens(orders: Collection[dict[str, Any]]) -> None:
    forward = walk(LIST, orders)
    third = LIST.page_sync(orders, number=3)
    assert ids(third) == forward[2]
    assert ids(LIST.page_sync(orders, after=third.next)) == forward[3]
    assert ids(LIST.page_sync(orders, before=third.previous)) == forward[1]
    assert LIST.page_sync(orders, number=100) == Page(items=[])


async def test_raw_documents_page_like_others(
    orders: Collection[dict[str, Any]], async_orders: AsyncCollection[dict[str, Any]]
) -> None:
    raw = raw_documents(orders)
    assert walk(LIST, raw) == walk(LIST, orders)
    page = await LIST.page(raw_documents(async_orders))
    assert type(page.items[0]) is RawBSONDocument
    assert isinstance(page.items[0].raw, bytes)
    # A token knows nothing of how its documents were read.
    assert ids(LIST.page_sync(orders, after=page.next)) == walk(LIST, orders)[1]
    assert await LIST.find(raw_documents(async_orders)).to_list() == page.items


def test_uuids_and_aware_dates_are_read_back_as_the_collection_writes_them(
    orders: Collection[dict[str, Any]],
) -> None:
    from uuid import UUID

    options: CodecOptions[dict[str, Any]] = CodecOptions(uuid_representation=4, tz_aware=True)
    exact = orders.with_options(codec_options=options)
    exact.delete_many({})
    exact.insert_many([{"_id": UUID(int=n), "at": BEGINNING} for n in range(5)])
    query = Query({"_id": {"$gt": UUID(int=0)}}).sort("-at", "-_id").limit(2)
    assert walk(query, exact) == [[UUID(int=4), UUID(int=3)], [UUID(int=2), UUID(int=1)]]
    plain = walk(Query().sort("_id").limit(3), orders)
    assert plain[1][-1] == Binary.from_uuid(UUID(int=4))


def test_text_pages_by_the_collation_of_the_query_and_of_the_collection(
    orders: Collection[dict[str, Any]],
) -> None:
    names = ["a", "B", "c", "á", "b", "A"]
    rules = {"locale": "en", "strength": 1}
    orders.database.drop_collection("named")
    named = orders.database.create_collection("named", collation=rules)
    for collection, query in (
        (named, Query().sort("name", "_id").limit(2)),
        (orders, Query().sort("name", "_id").limit(2).collation(rules)),
    ):
        collection.delete_many({})
        collection.insert_many([{"_id": n, "name": name} for n, name in enumerate(names)])
        # a, á and A are one, and so are B and b: `_id` decides.
        assert walk(query, collection) == [[0, 3], [5, 1], [4, 2]]


@pytest.mark.parametrize("order", [("at", "_id"), ("-at", "_id")])
@pytest.mark.parametrize("value", [[BEGINNING], [], {"day": 1}], ids=["array", "empty", "document"])
def test_what_has_no_place_is_refused_not_lost(
    orders: Collection[dict[str, Any]], order: tuple[str, ...], value: Any
) -> None:
    orders.insert_one({"_id": 1000, "at": value})
    with pytest.raises(MongoOperationError, match=r"page: 'at' holds an? .* where _id is 1000"):
        walk(Query().sort(*order).limit(7), orders)
    assert len(walk(Query({"status": "OPEN"}).sort(*order).limit(7), orders)) == 10


@pytest.mark.parametrize("order", [("owner.$id", "_id"), ("-owner.$id", "_id")])
def test_references_are_sorted_by_their_parts(
    orders: Collection[dict[str, Any]], order: tuple[str, ...]
) -> None:
    orders.delete_many({})
    orders.insert_many([{"_id": n, "owner": DBRef("users", n % 3)} for n in range(7)])
    query = Query().sort(*order).limit(2)
    whole = [each["_id"] for each in orders.find(sort=query.find_kwargs()["sort"])]
    assert list(chain.from_iterable(walk(query, orders))) == whole


@pytest.mark.parametrize("order", [("at", "-_id"), ("-at", "-_id")])
def test_dates_beyond_pythons_years(
    orders: Collection[dict[str, Any]], order: tuple[str, ...]
) -> None:
    orders.delete_many({})
    far = [DatetimeMS(2**50 + n) for n in range(3)] + [DatetimeMS(-(2**55) + n) for n in range(3)]
    orders.insert_many([{"_id": n, "at": at} for n, at in enumerate([*far, BEGINNING])])
    query = Query().sort(*order).limit(1)

    def read(conversion: DatetimeConversion) -> Collection[dict[str, Any]]:
        options: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=conversion)
        return orders.with_options(codec_options=options)

    exact = read(DatetimeConversion.DATETIME_AUTO)
    whole = [each["_id"] for each in exact.find(sort=query.find_kwargs()["sort"])]
    assert list(chain.from_iterable(walk(query, exact))) == whole
    with pytest.raises(MongoOperationError, match=r"page: year .* is out of range"):
        walk(query, orders)
    with pytest.raises(MongoOperationError, match=r"'at' holds .* DATETIME_CLAMP may have made"):
        walk(query, read(DatetimeConversion.DATETIME_CLAMP))


def test_a_view_without_ids_is_refused(orders: Collection[dict[str, Any]]) -> None:
    without = [{"$project": {"_id": 0, "at": 1}}]
    orders.database.create_collection("seen", viewOn="orders", pipeline=without)
    with pytest.raises(MongoOperationError, match="a document has no '_id'"):
        Query().sort("at", "_id").limit(3).page_sync(orders.database["seen"])


async def test_a_token_stays_in_its_database(
    orders: Collection[dict[str, Any]], async_orders: AsyncCollection[dict[str, Any]]
) -> None:
    page = await LIST.page(async_orders, keys=[KEY])
    other = orders.database.client[f"{NAME}_2"]["orders"]
    with pytest.raises(InvalidCursor):
        LIST.page_sync(other, after=page.next, keys=[KEY])


async def test_pages_and_totals_of_a_session(
    orders: Collection[dict[str, Any]], async_orders: AsyncCollection[dict[str, Any]]
) -> None:
    """In a transaction they see what it wrote, and later pages what it began with."""
    client = async_orders.database.client
    async with client.start_session() as session, await session.start_transaction():
        await async_orders.insert_one({"_id": 100, "status": "OPEN", "at": None}, session=session)
        page = await LIST.page(async_orders, session=session, total="exact")
        orders.insert_one({"_id": 101, "status": "OPEN", "at": None})
        seen = ids(page)
        assert page.total == 65
        while page.has_next:
            page = await LIST.page(async_orders, after=page.next, session=session)
            seen += ids(page)
        assert sorted(seen) == [*range(64), 100]
        await session.abort_transaction()
    with orders.database.client.start_session() as sync:
        assert LIST.page_sync(orders, session=sync, total="capped").total == 65


def test_a_timeout_of_the_driver_is_ours(orders: Collection[dict[str, Any]]) -> None:
    slow = Query({"$where": "sleep(50) || true"}).sort("_id").limit(5)
    with pytest.raises(StoreTimeout), pymongo.timeout(0.1):
        slow.page_sync(orders)
    sleeps = {
        "$function": {"body": "function() { sleep(20); return true }", "args": [], "lang": "js"}
    }
    counted = Query({"$expr": sleeps}).sort("_id").limit(1).max_time(0.5)
    assert counted.page_sync(orders).has_next
    with pytest.raises(StoreTimeout) as caught:  # 64 * 20 ms
        counted.page_sync(orders, total="exact")
    assert caught.value.operation == "count"


async def test_a_cancelled_page_leaves_the_client_usable(
    async_orders: AsyncCollection[dict[str, Any]],
) -> None:
    slow = Query({"$where": "sleep(50) || true"}).sort("_id").limit(20)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await slow.page(async_orders)
    pages = await asyncio.gather(*[LIST.page(async_orders, total="capped") for _ in range(20)])
    assert all(page == pages[0] for page in pages)


def test_the_servers_refusals_are_ours(orders: Collection[dict[str, Any]]) -> None:
    with pytest.raises(MongoOperationError, match="page: ") as caught:
        LIST.hint("no_such_index").page_sync(orders)
    assert (caught.value.code, caught.value.code_name) == (2, "BadValue")
    assert caught.value.operation == "find"
    with pytest.raises(MongoOperationError) as caught:
        Query({"at": {"$no": 1}}).sort("_id").limit(1).page_sync(orders)
    assert caught.value.code == 2
    orders.insert_one({"_id": 1000, "x": [1, 2], "y": [1, 2]})
    with pytest.raises(MongoOperationError, match="parallel arrays") as caught:
        Query().sort("x", "y", "_id").limit(1).page_sync(orders)
    assert caught.value.code == 2
    assert "full error" not in str(caught.value)
    slow = Query({"$where": "sleep(50) || true"}).sort("_id").limit(5).max_time(0.02)
    with pytest.raises(StoreTimeout):
        slow.page_sync(orders)


async def test_a_server_out_of_reach_is_our_error() -> None:
    async with AsyncMongoClient[dict[str, Any]](
        "127.0.0.1", 1, serverSelectionTimeoutMS=50
    ) as client:
        with pytest.raises(StoreUnavailable):
            await LIST.page(client["x"]["orders"])
        with pytest.raises(StoreUnavailable):
            await LIST.explain_check(client["x"]["orders"])


async def test_a_collection_of_the_other_driver_is_refused(orders: Any, async_orders: Any) -> None:
    with pytest.raises(ConfigurationError, match="Collection is not asynchronous; use page_sync"):
        await LIST.page(orders)
    with pytest.raises(ConfigurationError, match="AsyncCollection is asynchronous; use page"):
        LIST.page_sync(async_orders)


async def test_explain_check_names_the_index_or_fails(
    orders: Collection[dict[str, Any]], async_orders: AsyncCollection[dict[str, Any]]
) -> None:
    with pytest.raises(MongoOperationError, match="served by no index: it reads the whole"):
        await LIST.explain_check(async_orders)
    orders.create_index([("at", -1)])
    # The trap: the index delivers `at`, the tie-break by `_id` makes it a sort of all matches.
    with pytest.raises(MongoOperationError, match=r"sorted in memory: 'at_-1' finds") as caught:
        await LIST.hint("at_-1").explain_check(async_orders)
    assert caught.value.operation == "explain"
    orders.database.command({"createIndexes": "orders", "indexes": [INDEX.specification()]})
    assert await LIST.explain_check(async_orders) == (INDEX.name,)
    assert LIST.explain_check_sync(orders) == (INDEX.name,)
    assert await Query({"_id": 5}).explain_check(async_orders) == ("_id_",)
    with pytest.raises(MongoOperationError, match="hint provided does not") as caught:
        await LIST.hint("none").explain_check(async_orders)
    assert caught.value.code == 2


async def test_explain_check_of_what_is_not_there(
    orders: Collection[dict[str, Any]], async_orders: AsyncCollection[dict[str, Any]]
) -> None:
    missing = async_orders.database["missing"]
    with pytest.raises(MongoOperationError, match="served by no index"):
        await LIST.explain_check(missing)
    orders.database.create_collection("seen", viewOn="orders", pipeline=[{"$unwind": "$status"}])
    with pytest.raises(MongoOperationError):
        await LIST.explain_check(async_orders.database["seen"])


def test_a_later_page_is_served_by_the_same_index(orders: Collection[dict[str, Any]]) -> None:
    orders.database.command({"createIndexes": "orders", "indexes": [INDEX.specification()]})
    orders.insert_many([{"_id": n, "status": "OPEN", "at": BEGINNING} for n in range(1000, 3000)])
    page = LIST.page_sync(orders)
    for _ in range(100):
        page = LIST.page_sync(orders, after=page.next)
    command = {"profile": 2}
    orders.database.command(command)
    try:
        LIST.comment("deep").page_sync(orders, after=page.next)
        LIST.comment("deep").page_sync(orders, before=page.previous)
    finally:
        orders.database.command({"profile": 0})
    entries = list(orders.database["system.profile"].find({"command.comment": "deep"}))
    assert len(entries) == 2
    for entry in entries:
        assert "hasSortStage" not in entry or not entry["hasSortStage"]
        assert entry["docsExamined"] <= 2 * 11
        assert entry["keysExamined"] <= 4 * 11


async def test_nothing_is_lost_or_doubled_under_concurrent_inserts(
    async_orders: AsyncCollection[dict[str, Any]],
) -> None:
    there = set(range(64))
    stop = asyncio.Event()

    async def insert() -> None:
        number = 1000
        while not stop.is_set():
            at = BEGINNING + timedelta(hours=number % 9)
            await async_orders.insert_one({"_id": number, "status": "OPEN", "at": at})
            number += 1

    writer = asyncio.create_task(insert())
    try:
        page = await LIST.page(async_orders)
        seen = ids(page)
        while page.has_next and not there <= set(seen):
            page = await LIST.page(async_orders, after=page.next)
            seen += ids(page)
    finally:
        stop.set()
        await writer
    assert there <= set(seen)
    assert len(seen) == len(set(seen))


def test_a_smoke_test_with_mongomock_reaches_the_first_page() -> None:
    """And no further: it knows no `$type` of several types."""
    orders: Any = mongomock.MongoClient()["x"]["orders"]
    orders.insert_many(documents(64))
    page = LIST.page_sync(orders, total="exact")
    assert ids(page) == [63, 56, 57, 58, 59, 60, 61, 62, 49, 50]
    assert page.total == 64
    assert page.has_next
    assert ids(LIST.page_sync(orders, number=7)) == [3, 4, 5, 6]
