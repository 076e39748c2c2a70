"""The service with our blocks: one pool, the study's indexes, small answers, a cache in two tiers.

Run it with `uvicorn --factory examples.orders.after:create_app_from_env`.
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import CommandListener
from starlette.applications import Starlette
from starlette.background import BackgroundTask

from examples.orders import routes, settings
from examples.orders.routes import Cursor, NotFound
from examples.orders.rules import RULES
from examples.orders.settings import SendNotification
from symphonia_perf.cache import (
    TTL,
    Cache,
    CacheStore,
    ChangeStreamInvalidator,
    MemoryCacheStore,
    RedisCacheStore,
    TieredCacheStore,
)
from symphonia_perf.mongo import (
    Index,
    IndexRegistry,
    PoolOptions,
    Query,
    create_async_client,
    warm,
)
from symphonia_perf.redis import connect
from symphonia_perf.typing import Document

__all__ = ["create_app", "create_app_from_env", "seed_indexes"]

# The study's two projections: what a list shows, and what a page about one order shows.
SUMMARY = ("reference", "status", "pickupLocation.city", "createdAt")
DETAIL = (
    "reference",
    "status",
    "clientId",
    "carrierId",
    "pickupLocation",
    "deliveryLocation",
    "createdAt",
)

# Which of the rules' events a change of a collection is, whoever makes it.
ROUTES = {settings.PLANS: "plan.changed", settings.CARRIERS: "carrier.changed"}

ALL_PLANS = Query().sort("_id")
ALL_CARRIERS = Query().only("name", "active", "rating", "transportTypes", "country").sort("_id")


def seed_indexes() -> IndexRegistry:
    """The study's twelve indexes on orders; "Create Essential Indexes"."""
    indexes = IndexRegistry()
    indexes.add(
        settings.ORDERS,
        Index("status", name="idx_status"),
        Index("clientId", name="idx_clientId"),
        Index("carrierId", name="idx_carrierId"),
        Index("-createdAt", name="idx_createdAt_desc"),
        Index("pickupLocation.city", name="idx_pickup_city"),
        Index("deliveryLocation.city", name="idx_delivery_city"),
        Index("transportType", name="idx_transport_type"),
        Index("status", "-createdAt", name="idx_status_created"),
        Index("clientId", "status", name="idx_client_status"),
        Index("carrierId", "status", name="idx_carrier_status"),
        Index.geo("pickupLocation.coordinates", name="idx_pickup_geo"),
        Index.geo("deliveryLocation.coordinates", name="idx_delivery_geo"),
    )
    return indexes


def create_app(
    mongodb_uri: str,
    redis_url: str | None = None,
    *,
    database: str = settings.DATABASE,
    event_listeners: Sequence[CommandListener] = (),
    send: SendNotification = settings.simulated_send,
) -> Starlette:
    """The service on our blocks. Nothing connects until it starts.

    Args:
        mongodb_uri: where; what its query does not say is the study's pool configuration.
        redis_url: where the cache is, which then follows the database; None keeps it in this
            process, where it only learns of the service's own changes.
        database: which.
        event_listeners: PyMongo listeners for the one client.
        send: sends one notification.
    """
    client = create_async_client(
        PoolOptions.from_uri(mongodb_uri), event_listeners=list(event_listeners)
    )
    db = settings.open_database(client, database)
    redis = connect(redis_url) if redis_url else None
    # What is cached is rendered and never changed, so all readers may have one object.
    near = MemoryCacheStore(copy=False, max_entries=1_000)
    store: CacheStore = near if redis is None else TieredCacheStore(near, RedisCacheStore(redis))
    cache = Cache(store, rules=RULES)
    watcher = None
    if redis is not None:
        watcher = ChangeStreamInvalidator(db, cache, routes=ROUTES, redis=redis)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(client.close)
            await warm(client)
            plan = await seed_indexes().plan(db)
            await plan.apply(db)
            if redis is not None:
                await stack.enter_async_context(redis)
            await stack.enter_async_context(cache)
            if watcher is not None:
                await stack.enter_async_context(watcher)
            yield

    app = routes.create_app(_Improved(db, cache, send), lifespan=lifespan)
    app.state.watcher = watcher
    return app


def create_app_from_env() -> Starlette:
    """The service for MONGODB_URI, MONGODB_DATABASE and REDIS_URL."""
    return create_app(
        os.environ.get("MONGODB_URI", settings.MONGODB_URI),
        os.environ.get("REDIS_URL"),
        database=os.environ.get("MONGODB_DATABASE", settings.DATABASE),
    )


class _Improved:
    def __init__(self, db: AsyncDatabase[Document], cache: Cache, send: SendNotification) -> None:
        self._db = db
        self._plans = db[settings.PLANS]
        self._carriers = db[settings.CARRIERS]
        self._orders = db[settings.ORDERS]
        self._cache = cache
        self._send = send
        # "Response Caching", with the study's keys and times.
        self.plans = cache.cached("plans:list", ttl=TTL.PLANS, tags=["plans"])(self._read_plans)
        self.carriers = cache.cached("carriers:list", ttl=TTL.CARRIERS, tags=["carriers"])(
            self._read_carriers
        )
        self.carrier = cache.cached("carrier:{carrier_id}", ttl=TTL.CARRIERS)(self._read_carrier)

    async def ping(self) -> None:
        # The study would cache this for a minute. A ping on an open connection takes less than a
        # millisecond, and an answer a minute old says nothing about health.
        await self._db.command("ping")

    async def _read_plans(self) -> list[Document]:
        return await ALL_PLANS.find(self._plans).to_list()

    async def _read_carriers(self) -> list[Document]:
        return await ALL_CARRIERS.find(self._carriers).to_list()

    async def _read_carrier(self, carrier_id: str) -> Document:
        found = await self._carriers.find_one({"_id": carrier_id})
        if found is None:
            raise NotFound("carrier", carrier_id)  # not cached: made-up ids must not fill the cache
        return found

    async def update_carrier(self, carrier_id: str, changes: Document) -> Document:
        changed = await self._carriers.find_one_and_update(
            {"_id": carrier_id},
            {"$set": changes, "$currentDate": {"updatedAt": True}},
            return_document=ReturnDocument.AFTER,
        )
        if changed is None:
            raise NotFound("carrier", carrier_id)
        # The watcher will say so, too, some milliseconds later; whoever reads now must see it.
        await self._cache.changed("carrier.changed", id=carrier_id)
        return changed

    # Orders are never cached: they change too often, says the study.

    async def orders(self, wanted: Document, *, after: Cursor | None, limit: int) -> list[Document]:
        """Pages by key: each starts in the index where the last one ended.

        The indexes end with `createdAt`, so asking for `(createdAt, _id)` would sort every match in
        memory on each page. The index's own order is asked for instead, and only where a page
        would end between orders of one instant are those orders read again, by `_id`.
        """
        if after is not None:
            seen = {"createdAt": after.created_at, "_id": {"$gte": after.order_id}}
            wanted = {**wanted, "createdAt": {"$lte": after.created_at}, "$nor": [seen]}
        newest = Query(wanted).only(*SUMMARY).sort("-createdAt").limit(limit + 1)
        found = await newest.find(self._orders).to_list()
        if len(found) > limit and found[limit - 1]["createdAt"] == found[limit]["createdAt"]:
            instant = found[limit]["createdAt"]
            found = [order for order in found if order["createdAt"] > instant]
            tied = Query({**wanted, "createdAt": instant}).only(*SUMMARY).sort("-_id")
            found += await tied.limit(limit - len(found)).find(self._orders).to_list()
        found.sort(key=lambda order: (order["createdAt"], order["_id"]), reverse=True)
        return found[:limit]

    async def order(self, order_id: ObjectId) -> Document:
        return await self._order(order_id, *DETAIL)

    async def near(self, latitude: float, longitude: float) -> list[Document]:
        here = {"type": "Point", "coordinates": [longitude, latitude]}
        near = {"$near": {"$geometry": here, "$maxDistance": settings.NEAR_RADIUS}}
        nearest = Query({"pickupLocation.coordinates": near}).limit(settings.NEAR_LIMIT)
        shown = nearest.only(*SUMMARY, "pickupLocation.coordinates")
        return await shown.find(self._orders).to_list()

    async def notify(self, order_id: ObjectId, recipient: str) -> BackgroundTask | None:
        await self._order(order_id, "_id")
        # Honest about its limits: this runs in the web process after the answer has left. It is
        # not tried again, and is lost when the process ends. A job queue is what the study asks
        # for; until the library has one, this only shows what the client would feel.
        return BackgroundTask(self._send, recipient, order_id)

    async def _order(self, order_id: ObjectId, *fields: str) -> Document:
        query = Query({"_id": order_id}).only(*fields)
        found = await self._orders.find_one(**query.find_kwargs())
        if found is None:
            raise NotFound("transport order", order_id)
        return found
