"""Both wirings on a real mongod and a real Valkey: the same answers, by different work."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple, cast

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from examples.orders import after, before, data, settings
from examples.orders.tests.asgi import Client, running
from symphonia_perf.typing import Document

pytestmark = [pytest.mark.mongo, pytest.mark.redis]

ORDERS = 500
CHANGES = {"name": "Norda Cargo", "active": False, "rating": 4.5, "transportTypes": ["ADR"]}
PARIS = {"lat": 48.8566, "lon": 2.3522}


class Commands(CommandListener):
    """The names of the commands that were sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class Outbox:
    """A gateway that keeps what it was given, and sends when it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, ObjectId]] = []
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, recipient: str, order_id: ObjectId) -> None:
        self.entered.set()
        await self.open.wait()
        self.sent.append((recipient, order_id))


class Variant(NamedTuple):
    client: Client
    db: AsyncDatabase[Document]
    commands: Commands
    outbox: Outbox


class Both(NamedTuple):
    before: Variant
    after: Variant


@dataclass
class Databases:
    """Two databases that all tests here share, loaded again after a test that changed them."""

    names: tuple[str, str]
    url: str = ""
    clean: bool = False


@pytest.fixture(scope="module")
def databases() -> Generator[Databases, None, None]:
    unique = ObjectId()
    shared = Databases((f"orders_before_{unique}", f"orders_after_{unique}"))
    yield shared
    if shared.url:
        with MongoClient[Document](shared.url) as client:
            for name in shared.names:
                client.drop_database(name)


@pytest.fixture
async def both(databases: Databases, mongo_url: str, redis_url: str) -> AsyncGenerator[Both, None]:
    """The two services, each on a database of its own with the same content."""
    commands, outboxes = (Commands(), Commands()), (Outbox(), Outbox())
    databases.url = mongo_url
    async with AsyncMongoClient[Document](mongo_url) as admin:
        stored = [settings.open_database(admin, name) for name in databases.names]
        if not databases.clean:
            for db in stored:
                await data.load(db, orders=ORDERS)
            databases.clean = True
        first = before.create_app(
            mongo_url,
            database=databases.names[0],
            event_listeners=[commands[0]],
            send=outboxes[0].send,
        )
        second = after.create_app(
            mongo_url,
            redis_url,
            database=databases.names[1],
            event_listeners=[commands[1]],
            send=outboxes[1].send,
        )
        async with running(first) as one, running(second) as two:
            await until(lambda: second.state.watcher.stats().watching)
            yield Both(
                Variant(one, stored[0], commands[0], outboxes[0]),
                Variant(two, stored[1], commands[1], outboxes[1]),
            )


@pytest.fixture
def changing(both: Both, databases: Databases) -> Both:
    """The same, for a test that changes what is stored."""
    databases.clean = False
    return both


async def test_small_reads_are_the_same(both: Both) -> None:
    for path in ("/health", "/api/plans", "/api/carriers/carrier-042"):
        first, second = [await variant.client.get(path) for variant in both]
        assert first.status == second.status == 200
        assert first.json() == second.json()
    # Once more, from the cache.
    again = await both.after.client.get("/api/carriers/carrier-042")
    assert again.json() == second.json()


async def test_the_carrier_list_is_the_same_but_smaller(both: Both) -> None:
    whole, small = [await variant.client.get("/api/carriers") for variant in both]
    assert [carrier["_id"] for carrier in small.json()["carriers"]] == [
        f"carrier-{number:03d}" for number in range(1, 201)
    ]
    assert_parts(small.json()["carriers"], whole.json()["carriers"])
    assert len(small.body) < len(whole.body) / 3


async def test_an_order_is_the_same_but_smaller(both: Both) -> None:
    order_id = next(data.make_orders(ORDERS))["_id"]
    whole, small = [
        await variant.client.get(f"/api/transport-orders/{order_id}") for variant in both
    ]
    assert_part(small.json(), whole.json())
    assert set(small.json()) == {"_id", *after.DETAIL}
    assert set(whole.json()) > {"items", "statusHistory"}


async def test_pages_visit_every_order_once(both: Both) -> None:
    newest_first = sorted(
        data.make_orders(ORDERS), key=lambda o: (o["createdAt"], o["_id"]), reverse=True
    )
    filters: list[dict[str, str]] = [
        {},
        {"status": "DELIVERED"},
        {"clientId": "client-001"},
        {"clientId": "client-001", "status": "DELIVERED"},
        {"clientId": "client-nobody"},
    ]
    for wanted in filters:
        expected = [str(order["_id"]) for order in newest_first if wanted.items() <= order.items()]
        for variant in both:
            assert [order["_id"] for order in await every_order(variant, wanted)] == expected


async def test_pages_that_end_inside_an_import(changing: Both) -> None:
    """130 orders of one instant: more than two pages, all of them equal by `createdAt`."""
    for variant in changing:
        orders = variant.db[settings.ORDERS]
        newest = await orders.find().sort("createdAt", -1).limit(1).to_list()
        ids = sorted((ObjectId() for _ in range(130)), key=str)
        await orders.insert_many([{**newest[0], "_id": order_id} for order_id in ids[::-1]])
        seen = await every_order(variant, {})
        assert len(seen) == len({order["_id"] for order in seen}) == ORDERS + 130
        tied = [order["_id"] for order in seen if order["createdAt"] == seen[0]["createdAt"]]
        assert tied == sorted(tied, reverse=True)


async def test_listed_orders_are_the_same_but_smaller(both: Both) -> None:
    whole, small = [
        await variant.client.get("/api/transport-orders", status="DELIVERED") for variant in both
    ]
    assert whole.json()["next"] == small.json()["next"] is not None
    assert_parts(small.json()["orders"], whole.json()["orders"])
    assert len(small.body) < len(whole.body) / 10


async def test_near_is_sorted_by_distance(both: Both) -> None:
    whole, small = [
        await variant.client.get("/api/transport-orders/near", **PARIS) for variant in both
    ]
    assert_parts(small.json()["orders"], whole.json()["orders"])
    assert "distance" not in whole.json()["orders"][0]
    everything = sorted(distance(order) for order in data.make_orders(ORDERS))
    expected = [far for far in everything if far <= settings.NEAR_RADIUS][: settings.NEAR_LIMIT]
    assert len(expected) == settings.NEAR_LIMIT
    assert [distance(order) for order in small.json()["orders"]] == pytest.approx(expected)


async def test_nothing_is_near_the_ocean(both: Both) -> None:
    for variant in both:
        for place in ({"lat": 0, "lon": -30}, {"lat": 90, "lon": 180}, {"lat": -90, "lon": -180}):
            answer = await variant.client.get("/api/transport-orders/near", **place)
            assert (answer.status, answer.json()) == (200, {"orders": []})


async def test_a_change_is_visible_at_once(changing: Both) -> None:
    for variant in changing:
        await variant.client.get("/api/carriers")
        old = (await variant.client.get("/api/carriers/carrier-007")).json()
        answer = await variant.client.put("/api/carriers/carrier-007", CHANGES)
        assert answer.status == 200
        changed = (await variant.client.get("/api/carriers/carrier-007")).json()
        assert changed == answer.json() == {**old, **CHANGES, "updatedAt": changed["updatedAt"]}
        assert changed["updatedAt"] > old["updatedAt"]
        listed = (await variant.client.get("/api/carriers")).json()["carriers"][6]
        assert {key: listed[key] for key in CHANGES} == CHANGES


async def test_a_change_by_anybody_is_felt(changing: Both) -> None:
    """As by a shell, past the service."""
    client, carriers = changing.after.client, changing.after.db[settings.CARRIERS]
    paths = ("/api/carriers", "/api/carriers/carrier-007")
    for path in paths * 2:
        await client.get(path)
    await carriers.update_one({"_id": "carrier-007"}, {"$set": {"name": "By hand"}})

    async def names() -> set[str]:
        listed, one = [(await client.get(path)).json() for path in paths]
        return {listed["carriers"][6]["name"], one["name"]}

    async with asyncio.timeout(10):
        while await names() != {"By hand"}:  # noqa: ASYNC110 - on servers
            await asyncio.sleep(0.01)


async def test_unknown_ids_are_not_found(both: Both) -> None:
    nobody = ObjectId()
    for variant in both:
        client = variant.client
        for answer in (
            await client.get("/api/carriers/carrier-999"),
            await client.put("/api/carriers/carrier-999", CHANGES),
            await client.get(f"/api/transport-orders/{nobody}"),
            await client.post(f"/api/transport-orders/{nobody}/notify", {"email": "a@b.example"}),
        ):
            assert answer.status == 404
        assert not variant.outbox.sent


async def test_a_carrier_that_appears_is_found(changing: Both) -> None:
    """That there was no such carrier is not cached."""
    assert (await changing.after.client.get("/api/carriers/carrier-999")).status == 404
    await changing.after.db[settings.CARRIERS].insert_one({"_id": "carrier-999"})
    assert (await changing.after.client.get("/api/carriers/carrier-999")).status == 200


async def test_before_waits_for_the_mail_and_after_does_not(both: Both) -> None:
    order_id = next(data.make_orders(ORDERS))["_id"]
    path, body = f"/api/transport-orders/{order_id}/notify", {"email": "dock@norda.example"}
    for variant, status in zip(both, (200, 202), strict=True):
        variant.outbox.open.clear()
        variant.client.answered.clear()
        request = asyncio.ensure_future(variant.client.post(path, body))
        await asyncio.wait_for(variant.outbox.entered.wait(), 10)
        assert variant.client.answered.is_set() is (status == 202)
        assert not variant.outbox.sent
        variant.outbox.open.set()
        assert (await request).status == status
        assert variant.outbox.sent == [("dock@norda.example", order_id)]


async def test_cached_answers_cost_no_command(both: Both) -> None:
    for variant, commands in ((both.before, ["find"] * 6), (both.after, ["find"] * 3)):
        variant.commands.names.clear()
        for path in ("/api/plans", "/api/carriers", "/api/carriers/carrier-001") * 2:
            assert (await variant.client.get(path)).status == 200
        assert [name for name in variant.commands.names if name == "find"] == commands


async def test_orders_are_never_cached(changing: Both) -> None:
    order_id = next(data.make_orders(ORDERS))["_id"]
    path = f"/api/transport-orders/{order_id}"
    for variant in changing:
        await variant.client.get(path)
        change = {"$set": {"reference": "TO-CHANGED"}}
        await variant.db[settings.ORDERS].update_one({"_id": order_id}, change)
        assert (await variant.client.get(path)).json()["reference"] == "TO-CHANGED"


async def test_before_scans_and_after_does_not(changing: Both) -> None:
    for variant in changing:
        await variant.db.command("profile", 2)
        await call_everything(variant)
        await variant.db.command("profile", 0)
        profile = await variant.db["system.profile"].find({"planSummary": {"$ne": None}}).to_list()
        plans = {entry["planSummary"] for entry in profile}
        orders = [entry for entry in profile if entry["ns"].endswith(settings.ORDERS)]
        lists = [entry for entry in orders if "createdAt" in entry["command"].get("sort", ())]
        # What is sorted in memory: everything, or only orders of one instant at a page's end.
        sorted_in_memory = [entry["docsExamined"] for entry in orders if entry.get("hasSortStage")]
        assert len(lists) == 3
        if variant is changing.before:
            assert "COLLSCAN" in plans
            assert all(count == ORDERS for count in sorted_in_memory)
            assert len(sorted_in_memory) == 4  # three lists, and near
        else:
            assert "COLLSCAN" not in plans
            assert any("GEO_NEAR_2DSPHERE" in plan for plan in plans)
            assert all(entry["docsExamined"] <= settings.PAGE + 10 for entry in lists)
            assert all(count <= 10 for count in sorted_in_memory)


async def test_indexes_are_the_studys_and_are_kept(both: Both) -> None:
    names = {name async for name in index_names(both.after.db)}
    assert len(names) == 13  # with `_id_`
    assert {name async for name in index_names(both.before.db)} == {"_id_"}
    # A second start finds everything as declared.
    plan = await after.seed_indexes().plan(both.after.db)
    assert not plan.changes


async def test_after_works_with_a_cache_in_the_process(both: Both, mongo_url: str) -> None:
    app = after.create_app(mongo_url, database=both.after.db.name)
    async with running(app) as client:
        for _ in range(2):
            assert len((await client.get("/api/plans")).json()["plans"]) == 20


async def test_the_services_can_be_made_from_the_environment(
    both: Both, mongo_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGODB_URI", mongo_url)
    monkeypatch.setenv("MONGODB_DATABASE", both.after.db.name)
    monkeypatch.setenv("REDIS_URL", redis_url)
    for module in (before, after):
        async with running(module.create_app_from_env()) as client:
            assert len((await client.get("/api/plans")).json()["plans"]) == 20


async def test_loading_reports_progress_and_replaces(changing: Both) -> None:
    stored: list[int] = []
    await data.load(changing.after.db, orders=2_500, progress=stored.append)
    assert stored == [1_000, 2_000, 2_500]
    assert await changing.after.db[settings.ORDERS].count_documents({}) == 2_500
    assert await changing.after.db[settings.CARRIERS].count_documents({}) == 200


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - on servers
            await asyncio.sleep(0.01)


async def every_order(variant: Variant, wanted: dict[str, str]) -> list[Document]:
    seen: list[Document] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await variant.client.get("/api/transport-orders", **wanted, after=cursor)).json()
        seen += page["orders"]
        cursor = page["next"]
    return seen


async def call_everything(variant: Variant) -> None:
    client = variant.client
    order_id = next(data.make_orders(ORDERS))["_id"]
    first = (await client.get("/api/transport-orders", status="DELIVERED")).json()
    for path, query in (
        ("/health", {}),
        ("/api/plans", {}),
        ("/api/carriers", {}),
        ("/api/carriers/carrier-001", {}),
        ("/api/transport-orders", {}),
        ("/api/transport-orders", {"status": "DELIVERED", "after": first["next"]}),
        (f"/api/transport-orders/{order_id}", {}),
        ("/api/transport-orders/near", PARIS),
    ):
        assert (await client.get(path, **query)).status == 200
    await client.put("/api/carriers/carrier-001", CHANGES)
    await client.post(f"/api/transport-orders/{order_id}/notify", {"email": "a@b.example"})


async def index_names(db: AsyncDatabase[Document]) -> AsyncGenerator[str, None]:
    async for index in await db[settings.ORDERS].list_indexes():
        yield index["name"]


def distance(order: Document) -> float:
    """Metres between an order's pickup and Paris (haversine)."""
    longitude, latitude = order["pickupLocation"]["coordinates"]["coordinates"]
    here, there = math.radians(PARIS["lat"]), math.radians(latitude)
    across = math.radians(longitude - PARIS["lon"]) / 2
    chord = math.sin((there - here) / 2) ** 2
    chord += math.cos(here) * math.cos(there) * math.sin(across) ** 2
    return 2 * before.EARTH_RADIUS * math.asin(math.sqrt(chord))


def assert_parts(parts: list[Document], wholes: list[Document]) -> None:
    assert parts
    for part, whole in zip(parts, wholes, strict=True):
        assert_part(part, whole)


def assert_part(part: Document, whole: Document) -> None:
    """Every field of `part` says what `whole` says."""
    for name, value in part.items():
        if isinstance(value, dict):
            assert_part(cast("Document", value), whole[name])
        else:
            assert value == whole[name]
