"""The service as the study found it. Each practice names the section that criticises it.

Nothing is worse here than the study says: pages have its limit, the driver its defaults, `near`
is sorted by the server, and what every MongoDB has (the index on `_id`) is used.

Run it with `uvicorn --factory examples.orders.before:create_app_from_env`.
"""

import math
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from bson import ObjectId
from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import CommandListener
from starlette.applications import Starlette
from starlette.background import BackgroundTask

from examples.orders import routes, settings
from examples.orders.routes import Cursor, NotFound
from examples.orders.settings import SendNotification
from symphonia_perf.typing import Document

__all__ = ["create_app", "create_app_from_env"]

EARTH_RADIUS = 6_378_100.0  # metres, as MongoDB has it


def create_app(
    mongodb_uri: str,
    *,
    database: str = settings.DATABASE,
    event_listeners: Sequence[CommandListener] = (),
    send: SendNotification = settings.simulated_send,
) -> Starlette:
    """The service without any of our blocks.

    Args:
        mongodb_uri: where; used as it is, with the driver's defaults.
        database: which.
        event_listeners: PyMongo listeners, given to the client of every request.
        send: sends one notification.
    """
    return routes.create_app(_Found(mongodb_uri, database, event_listeners, send))


def create_app_from_env() -> Starlette:
    """The service for MONGODB_URI and MONGODB_DATABASE."""
    return create_app(
        os.environ.get("MONGODB_URI", settings.MONGODB_URI),
        database=os.environ.get("MONGODB_DATABASE", settings.DATABASE),
    )


class _Found:
    def __init__(
        self,
        uri: str,
        database: str,
        event_listeners: Sequence[CommandListener],
        send: SendNotification,
    ) -> None:
        self._uri = uri
        self._name = database
        self._event_listeners = list(event_listeners)
        self._send = send

    @asynccontextmanager
    async def _database(self) -> AsyncGenerator[AsyncDatabase[Document], None]:
        # "Connection Pooling": new connections for every request.
        client = AsyncMongoClient[Document](self._uri, event_listeners=self._event_listeners)
        async with client:
            yield settings.open_database(client, self._name)

    async def ping(self) -> None:
        async with self._database() as db:
            await db.command("ping")

    async def plans(self) -> list[Document]:
        # "Response Caching": semi-static data is read anew every time.
        async with self._database() as db:
            return await db[settings.PLANS].find().sort("_id").to_list()

    async def carriers(self) -> list[Document]:
        # "Response Caching" again, and "Query Optimization": whole documents in a list.
        async with self._database() as db:
            return await db[settings.CARRIERS].find().sort("_id").to_list()

    async def carrier(self, carrier_id: str) -> Document:
        async with self._database() as db:
            found = await db[settings.CARRIERS].find_one({"_id": carrier_id})
        if found is None:
            raise NotFound("carrier", carrier_id)
        return found

    async def update_carrier(self, carrier_id: str, changes: Document) -> Document:
        async with self._database() as db:
            changed = await db[settings.CARRIERS].find_one_and_update(
                {"_id": carrier_id},
                {"$set": changes, "$currentDate": {"updatedAt": True}},
                return_document=ReturnDocument.AFTER,
            )
        if changed is None:
            raise NotFound("carrier", carrier_id)
        return changed

    async def orders(self, wanted: Document, *, after: Cursor | None, limit: int) -> list[Document]:
        # "Create Essential Indexes": no index fits, so every page scans the collection and sorts
        # what matches. "Query Optimization": whole documents in a list.
        if after is not None:
            older = {"createdAt": {"$lt": after.created_at}}
            tied = {"createdAt": after.created_at, "_id": {"$lt": after.order_id}}
            wanted = {**wanted, "$or": [older, tied]}
        async with self._database() as db:
            cursor = db[settings.ORDERS].find(wanted)
            return await cursor.sort([("createdAt", -1), ("_id", -1)]).limit(limit).to_list()

    async def order(self, order_id: ObjectId) -> Document:
        # "Query Optimization", the study's own "bad" example: returns all fields.
        async with self._database() as db:
            found = await db[settings.ORDERS].find_one({"_id": order_id})
        if found is None:
            raise NotFound("transport order", order_id)
        return found

    async def near(self, latitude: float, longitude: float) -> list[Document]:
        # "Create Essential Indexes": `$near` needs the geospatial index that is missing. What works
        # without is a scan for the circle, and a sort by distance.
        centre = [[longitude, latitude], settings.NEAR_RADIUS / EARTH_RADIUS]
        pipeline = [
            {"$match": {"pickupLocation.coordinates": {"$geoWithin": {"$centerSphere": centre}}}},
            {"$set": {"distance": _haversine(latitude, longitude)}},
            {"$sort": {"distance": 1}},
            {"$limit": settings.NEAR_LIMIT},
            {"$unset": "distance"},
        ]
        async with self._database() as db:
            cursor = await db[settings.ORDERS].aggregate(pipeline)
            return await cursor.to_list()

    async def notify(self, order_id: ObjectId, recipient: str) -> BackgroundTask | None:
        await self.order(order_id)
        # "Async Processing": the client waits while the e-mail is sent.
        await self._send(recipient, order_id)
        return None


def _haversine(latitude: float, longitude: float) -> Document:
    """An expression that grows with an order's distance from here: the haversine of the angle."""
    place = "$pickupLocation.coordinates.coordinates"
    there_longitude = {"$degreesToRadians": {"$arrayElemAt": [place, 0]}}
    there_latitude = {"$degreesToRadians": {"$arrayElemAt": [place, 1]}}
    here_longitude, here_latitude = math.radians(longitude), math.radians(latitude)

    def half_chord(there: Document, here: float) -> Document:
        sine = {"$sin": {"$divide": [{"$subtract": [there, here]}, 2]}}
        return {"$pow": [sine, 2]}

    cosines = {"$multiply": [math.cos(here_latitude), {"$cos": there_latitude}]}
    across = {"$multiply": [cosines, half_chord(there_longitude, here_longitude)]}
    return {"$add": [half_chord(there_latitude, here_latitude), across]}
