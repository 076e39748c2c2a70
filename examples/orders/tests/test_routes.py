"""The routes over a wiring that only remembers what it was asked."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import ObjectId
from pymongo.errors import ServerSelectionTimeoutError
from starlette.background import BackgroundTask

from examples.orders import routes
from examples.orders.routes import Cursor, NotFound
from examples.orders.settings import PAGE
from examples.orders.tests.asgi import Client
from symphonia_perf.typing import Document

NOON = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
ORDER_ID = ObjectId("65f000000000000000000001")
CHANGES = {"name": "Norda Cargo", "active": True, "rating": 4, "transportTypes": ["FTL", "ADR"]}


class FakeOrders:
    """Knows one carrier, one order, and as many orders in its list as it was given."""

    def __init__(self, listed: int = 0, *, task: BackgroundTask | None = None) -> None:
        self.listed: list[Document] = [
            {"_id": ObjectId(f"{number:024x}"), "createdAt": NOON - timedelta(seconds=number)}
            for number in range(listed)
        ]
        self.task = task
        self.asked: list[tuple[Any, ...]] = []
        self.down = False

    async def ping(self) -> None:
        if self.down:
            raise ServerSelectionTimeoutError("no servers found")

    async def plans(self) -> list[Document]:
        return [{"_id": "plan-team", "createdAt": NOON}]

    async def carriers(self) -> list[Document]:
        return [{"_id": "carrier-001"}]

    async def carrier(self, carrier_id: str) -> Document:
        if carrier_id != "carrier-001":
            raise NotFound("carrier", carrier_id)
        return {"_id": carrier_id}

    async def update_carrier(self, carrier_id: str, changes: Document) -> Document:
        return {**await self.carrier(carrier_id), **changes}

    async def orders(self, wanted: Document, *, after: Cursor | None, limit: int) -> list[Document]:
        self.asked.append((wanted, after))
        return self.listed[:limit]

    async def order(self, order_id: ObjectId) -> Document:
        if order_id != ORDER_ID:
            raise NotFound("transport order", order_id)
        return {"_id": order_id, "createdAt": NOON}

    async def near(self, latitude: float, longitude: float) -> list[Document]:
        self.asked.append((latitude, longitude))
        return []

    async def notify(self, order_id: ObjectId, recipient: str) -> BackgroundTask | None:
        await self.order(order_id)
        self.asked.append((order_id, recipient))
        return self.task


def client(orders: FakeOrders | None = None) -> Client:
    return Client(routes.create_app(orders or FakeOrders()))


async def test_documents_become_json() -> None:
    answer = await client().get(f"/api/transport-orders/{ORDER_ID}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"_id": str(ORDER_ID), "createdAt": "2026-05-01T12:00:00.123000Z"}


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/health", {"status": "ok"}),
        (
            "/api/plans",
            {"plans": [{"_id": "plan-team", "createdAt": "2026-05-01T12:00:00.123000Z"}]},
        ),
        ("/api/carriers", {"carriers": [{"_id": "carrier-001"}]}),
        ("/api/carriers/carrier-001", {"_id": "carrier-001"}),
    ],
)
async def test_simple_reads(path: str, content: Document) -> None:
    answer = await client().get(path)
    assert (answer.status, answer.json()) == (200, content)


async def test_the_filter_reaches_the_wiring() -> None:
    orders = FakeOrders()
    await client(orders).get("/api/transport-orders", status="IN_TRANSIT", clientId="client-007")
    await client(orders).get("/api/transport-orders", status="", clientId="", after="")
    assert orders.asked == [({"status": "IN_TRANSIT", "clientId": "client-007"}, None), ({}, None)]


@pytest.mark.parametrize("listed", [0, 1, PAGE])
async def test_the_last_page_has_no_next(listed: int) -> None:
    answer = await client(FakeOrders(listed)).get("/api/transport-orders")
    assert len(answer.json()["orders"]) == listed
    assert answer.json()["next"] is None


async def test_next_is_the_cursor_of_the_next_page() -> None:
    orders = FakeOrders(PAGE + 1)
    answer = await client(orders).get("/api/transport-orders")
    assert len(answer.json()["orders"]) == PAGE
    last = orders.listed[PAGE - 1]
    await client(orders).get("/api/transport-orders", after=answer.json()["next"])
    assert orders.asked[1] == ({}, Cursor(created_at=last["createdAt"], order_id=last["_id"]))


async def test_near_takes_the_whole_globe() -> None:
    orders = FakeOrders()
    for latitude, longitude in (("-90", "180"), ("48.8566", "2.3522"), ("1e1", "-0")):
        answer = await client(orders).get("/api/transport-orders/near", lat=latitude, lon=longitude)
        assert answer.status == 200
    assert orders.asked == [(-90.0, 180.0), (48.8566, 2.3522), (10.0, 0.0)]


async def test_put_answers_with_the_changed_carrier() -> None:
    answer = await client().put("/api/carriers/carrier-001", CHANGES)
    assert (answer.status, answer.json()) == (200, {"_id": "carrier-001", **CHANGES})


async def test_a_notification_that_was_sent() -> None:
    orders = FakeOrders()
    answer = await client(orders).post(
        f"/api/transport-orders/{ORDER_ID}/notify", {"email": "dock@norda.example"}
    )
    assert (answer.status, answer.json()["success"]) == (200, True)
    assert orders.asked == [(ORDER_ID, "dock@norda.example")]


async def test_a_notification_for_later_runs_after_the_answer() -> None:
    ran: list[str] = []
    orders = FakeOrders(task=BackgroundTask(ran.append, "sent"))
    answer = await client(orders).post(
        f"/api/transport-orders/{ORDER_ID}/notify", {"email": "dock@norda.example"}
    )
    assert (answer.status, answer.json()["success"]) == (202, True)
    assert ran == ["sent"]


@pytest.mark.parametrize(
    "query",
    [
        "status=in_transit",
        "status=IN_TRANSIT%00",
        "clientId=$ne",
        "clientId=" + "a" * 65,
        "clientId=%ff",
        "after=1",
        "after=2026-05-01T12:00:00.123Z",
        "after=2026-05-01T12:00:00.123Z_65f0",
        "after=2026-02-30T12:00:00.123Z_65f000000000000000000001",
        "after=0000-01-01T00:00:00.000Z_65f000000000000000000001",
        "after=2026-05-01T12:00:00.123Z_65f000000000000000000001%0a",
        "after=2026-05-01T12:00:00.123%2b00:00_65f000000000000000000001",
    ],
)
async def test_a_bad_list_is_refused(query: str) -> None:
    orders = FakeOrders()
    answer = await client(orders).send("GET", "/api/transport-orders", query=query)
    assert_problem(answer, 400, query.partition("=")[0])
    assert not orders.asked


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", "lat"),
        ("lat=1", "lon"),
        ("lat=nan&lon=1", "lat"),
        ("lat=1&lon=inf", "lon"),
        ("lat=90.01&lon=1", "lat"),
        ("lat=1&lon=-180.5", "lon"),
        ("lat=north&lon=1", "lat"),
        ("lat=1e999&lon=1", "lat"),
    ],
)
async def test_a_bad_place_is_refused(query: str, name: str) -> None:
    answer = await client().send("GET", "/api/transport-orders/near", query=query)
    assert_problem(answer, 400, name)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/transport-orders/42"),
        ("GET", "/api/transport-orders/zzzzzzzzzzzzzzzzzzzzzzzz"),
        ("POST", "/api/transport-orders/42/notify"),
        ("GET", "/api/carriers/Carrier 1"),
        ("GET", "/api/carriers/caf\u00e9"),
        ("PUT", "/api/carriers/{}"),
    ],
)
async def test_a_bad_id_is_refused(method: str, path: str) -> None:
    assert_problem(await client().send(method, path, body=b"{}"), 400, "id")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"name": "x"}',
        b'{"name": "x", "active": true, "rating": 1, "transportTypes": ["FTL"], "role": "admin"}',
        b'{"name": "", "active": true, "rating": 1, "transportTypes": ["FTL"]}',
        b'{"name": "\\ud800", "active": true, "rating": 1, "transportTypes": ["FTL"]}',
        b'{"name": "x", "active": 1, "rating": 1, "transportTypes": ["FTL"]}',
        b'{"name": "x", "active": true, "rating": 5.1, "transportTypes": ["FTL"]}',
        b'{"name": "x", "active": true, "rating": NaN, "transportTypes": ["FTL"]}',
        b'{"name": "x", "active": true, "rating": 1e999, "transportTypes": ["FTL"]}',
        b'{"name": "x", "active": true, "rating": 1, "transportTypes": []}',
        b'{"name": "x", "active": true, "rating": 1, "transportTypes": ["SHIP"]}',
        b'{"name": {"$gt": ""}, "active": true, "rating": 1, "transportTypes": ["FTL"]}',
    ],
)
async def test_a_bad_carrier_is_refused(body: bytes) -> None:
    answer = await client().send("PUT", "/api/carriers/carrier-001", body=body)
    assert_problem(answer, 400, "body")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"email": "nobody"}', b'{"email": "a@b\\n"}', b'{"email": null}']
)
async def test_a_bad_recipient_is_refused(body: bytes) -> None:
    orders = FakeOrders()
    path = f"/api/transport-orders/{ORDER_ID}/notify"
    assert_problem(await client(orders).send("POST", path, body=body), 400, "body")
    assert not orders.asked


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/carriers/carrier-999"),
        ("PUT", "/api/carriers/carrier-999"),
        ("GET", "/api/transport-orders/65f0000000000000000000ff"),
        ("POST", "/api/transport-orders/65f0000000000000000000ff/notify"),
    ],
)
async def test_an_unknown_id_is_not_found(method: str, path: str) -> None:
    body = {"PUT": CHANGES, "POST": {"email": "dock@norda.example"}}.get(method)
    answer = await client().send(method, path, body=json.dumps(body).encode())
    assert_problem(answer, 404, "ff" if "ff" in path else "carrier-999")


async def test_an_unknown_path_and_method_are_problems_too() -> None:
    assert_problem(await client().get("/api/nothing"), 404, "Not Found")
    answer = await client().send("DELETE", "/api/plans")
    assert_problem(answer, 405, "Method Not Allowed")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_a_database_that_is_down_is_said_so() -> None:
    orders = FakeOrders()
    orders.down = True
    assert_problem(await client(orders).get("/health"), 503, "database")


def assert_problem(answer: Any, status: int, named: str) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert named in problem["detail"]
