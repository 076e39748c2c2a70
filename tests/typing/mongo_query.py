"""What a type checker must see of queries and pages, and what it must refuse."""

from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.collection import Collection
from pymongo.cursor import Cursor

from symphonia_perf.mongo import Index, Page, Query, raw_documents
from symphonia_perf.typing import Document


class Order(TypedDict):
    _id: int
    reference: str


@dataclass
class Summary:
    reference: str


QUERY = Query({"status": "OPEN"}).only(Order, Summary, "a.b", {"c": ["d"]}).sort("_id").limit(5)
sync_orders: Collection[Document] = MongoClient[Document]()["x"]["orders"]
orders: AsyncCollection[Document] = AsyncMongoClient[Document]()["x"]["orders"]


async def pages(typed: AsyncCollection[Order]) -> None:
    page: Page[Document] = await QUERY.page(orders, after=None)
    assert_type(await QUERY.page(typed), Page[Order])
    assert_type((await QUERY.page(typed)).items, list[Order])
    assert_type(page.next, str | None)
    assert_type(page.total, int | None)
    assert_type(page.has_next, bool)
    assert_type(QUERY.page_sync(sync_orders, keys=[b"k", "k"]), Page[Document])
    assert_type(await QUERY.page(raw_documents(orders)), Page[RawBSONDocument])
    async with AsyncMongoClient[Document]().start_session() as session:
        assert_type(await QUERY.page(orders, session=session, keys=None), Page[Document])
    assert_type(await QUERY.explain_check(orders), tuple[str, ...])
    assert_type(QUERY.explain_check_sync(sync_orders), tuple[str, ...])


def finds() -> None:
    assert_type(QUERY.find(orders), AsyncCursor[Document])
    assert_type(QUERY.find(sync_orders), Cursor[Document])
    assert_type(QUERY.find(raw_documents(sync_orders)), Cursor[RawBSONDocument])
    assert_type(QUERY.find_kwargs(), dict[str, Any])
    assert_type(bool(QUERY.covered_by(Index("a"))), bool)
    assert_type(QUERY.covered_by(Index("a")).reason, str | None)
    QUERY.hint(Index("a")).hint("a_1").max_time(1.5).collation({"locale": "en"})


async def mistakes() -> None:
    Query([("a", 1)])  # type: ignore[arg-type]
    QUERY.only(1)  # type: ignore[arg-type]
    QUERY.limit("5")  # type: ignore[arg-type]
    await QUERY.page(orders, total="all")  # type: ignore[arg-type]
    await QUERY.page(orders, number="5")  # type: ignore[arg-type]
    await QUERY.page(sync_orders)  # type: ignore[arg-type]
    QUERY.page_sync(orders)  # type: ignore[arg-type]
    QUERY.page_sync(sync_orders, session=AsyncMongoClient().start_session())  # type: ignore[arg-type]
