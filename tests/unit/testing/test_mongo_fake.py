from typing import Any

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect

from symphonia_perf.errors import StoreUnavailable
from symphonia_perf.mongo import Query, raw_documents
from symphonia_perf.testing import RecordedCall, RecordingCollection

DOCUMENTS = [{"_id": number} for number in range(3)]
LIST = Query({"a": 1}).sort("_id").limit(2)


def fake(**options: Any) -> Any:
    return RecordingCollection(DOCUMENTS, **options)


async def test_find_gives_the_documents_and_notes_the_arguments() -> None:
    orders = fake()
    assert await LIST.find(orders).to_list() == DOCUMENTS[:2]
    assert await orders.find().to_list() == DOCUMENTS
    assert await orders.find().to_list(1) == DOCUMENTS[:1]
    assert [document async for document in orders.find({}, {"a": 1})] == DOCUMENTS
    assert orders.calls == [
        RecordedCall("find", LIST.find_kwargs()),
        RecordedCall("find", {}),
        RecordedCall("find", {}),
        RecordedCall("find", {"filter": {}, "projection": {"a": 1}}),
    ]


async def test_what_is_given_can_be_changed_without_changing_the_next_answer() -> None:
    orders = fake()
    (await orders.find_one())["_id"] = "changed"
    assert await orders.find_one({"_id": 0}) == {"_id": 0}
    assert orders.calls[1] == RecordedCall("find_one", {"filter": {"_id": 0}})
    assert await RecordingCollection().find_one() is None


async def test_aggregate_gives_a_cursor_when_awaited() -> None:
    orders = fake()
    cursor = await orders.aggregate([{"$match": {}}], hint="a_1")
    assert await cursor.to_list() == DOCUMENTS
    arguments = {"pipeline": [{"$match": {}}], "hint": "a_1"}
    assert orders.calls == [RecordedCall("aggregate", arguments)]


async def test_counts() -> None:
    orders = fake(count=500)
    assert await orders.count_documents({"a": 1}) == 500
    assert await orders.count_documents({"a": 1}, limit=10) == 10
    assert await orders.estimated_document_count(comment="c") == 500
    assert await fake().estimated_document_count() == 3
    assert [call.arguments for call in orders.calls] == [
        {"filter": {"a": 1}},
        {"filter": {"a": 1}, "limit": 10},
        {"comment": "c"},
    ]


async def test_pages() -> None:
    orders = fake(name="orders", count=1)
    page = await LIST.page(orders, total="exact")
    assert page.items == DOCUMENTS[:2]
    assert page.total == 1
    assert [call.method for call in orders.calls] == ["find", "count_documents"]
    assert orders.calls[0].arguments["limit"] == 3


async def test_raw_documents_are_asked_for_by_options() -> None:
    orders = fake()
    assert await raw_documents(orders).find_one() == {"_id": 0}
    assert orders.calls[0].arguments["codec_options"].document_class is RawBSONDocument


async def test_an_error_comes_from_every_call() -> None:
    lost = AutoReconnect("lost")
    orders = fake(error=lost)
    with pytest.raises(StoreUnavailable) as caught:
        await LIST.page(orders)
    assert caught.value.__cause__ is lost
    with pytest.raises(AutoReconnect):
        await orders.find_one()
    with pytest.raises(AutoReconnect):
        await orders.count_documents({})
    with pytest.raises(AutoReconnect):
        await (await orders.aggregate([])).to_list()
