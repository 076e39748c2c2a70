from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import BSON
from pymongo import AsyncMongoClient, MongoClient
from pymongo.collection import Collection

from symphonia_perf.mongo import Query

pytestmark = pytest.mark.mongo

NAME = "symphonia_test_query"
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

LIST = (
    Query({"status": "IN_TRANSIT"})
    .only("reference", "status", "pickupLocation.city", "createdAt")
    .sort("-createdAt", "-_id")
    .limit(20)
)


def order(number: int) -> dict[str, Any]:
    """About 3 KB, as the study's transport orders are."""
    place = {"city": f"city {number % 7}", "street": "x" * 200, "coordinates": [2.3, 48.8]}
    return {
        "_id": number,
        "reference": f"ORD-{number:06}",
        "status": ("IN_TRANSIT", "DELIVERED")[number % 2],
        "createdAt": BEGINNING + timedelta(minutes=number // 3),
        "pickupLocation": place,
        "deliveryLocation": place,
        "items": [{"name": "y" * 100, "weight": n} for n in range(15)],
        "stops": [{"city": "a", "at": 1}, {"city": "b", "at": 2}],
    }


@pytest.fixture
def orders(mongo_url: str) -> Iterator[Collection[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.drop_database(NAME)
        client[NAME]["orders"].insert_many([order(number) for number in range(100)])
        yield client[NAME]["orders"]
        client.drop_database(NAME)


def size(documents: list[dict[str, Any]]) -> int:
    return sum(len(BSON.encode(document)) for document in documents)


def test_the_driver_returns_what_it_would_without_us(orders: Collection[dict[str, Any]]) -> None:
    ours = LIST.find(orders).to_list()
    theirs = (
        orders.find(
            {"status": "IN_TRANSIT"},
            {"reference": 1, "status": 1, "pickupLocation.city": 1, "createdAt": 1},
        )
        .sort([("createdAt", -1), ("_id", -1)])
        .limit(20)
        .to_list()
    )
    assert ours == theirs
    assert len(ours) == 20
    assert set(ours[0]) == {"_id", "reference", "status", "pickupLocation", "createdAt"}
    assert ours[0]["pickupLocation"] == {"city": "city 0"}
    assert orders.find_one(**LIST.find_kwargs()) == theirs[0]


async def test_it_is_the_same_with_the_async_driver(
    orders: Collection[dict[str, Any]], mongo_url: str
) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        ours = await LIST.find(client[NAME]["orders"]).to_list()
        assert await client[NAME]["orders"].find_one(**LIST.find_kwargs()) == ours[0]
    assert ours == LIST.find(orders).to_list()


def test_a_list_projection_moves_a_twentieth_of_the_bytes(
    orders: Collection[dict[str, Any]],
) -> None:
    whole = Query({"status": "IN_TRANSIT"}).sort("-createdAt", "-_id").limit(20)
    assert size(LIST.find(orders).to_list()) <= size(whole.find(orders).to_list()) * 0.05


def test_id_is_left_out_on_request(orders: Collection[dict[str, Any]]) -> None:
    assert Query({"_id": 4}).only("reference", "-_id").find(orders).to_list() == [
        {"reference": "ORD-000004"}
    ]


def test_an_array_is_projected_by_the_names_in_it(orders: Collection[dict[str, Any]]) -> None:
    (found,) = Query({"_id": 4}).only("stops.city").find(orders).to_list()
    assert found == {"_id": 4, "stops": [{"city": "a"}, {"city": "b"}]}


def test_a_query_without_anything_returns_everything(orders: Collection[dict[str, Any]]) -> None:
    assert Query().find(orders).to_list() == orders.find().to_list()
