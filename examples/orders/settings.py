"""What both wirings agree on: names, sizes, and the simulated e-mail gateway."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from symphonia_perf.typing import Document

__all__ = [
    "CARRIERS",
    "DATABASE",
    "MONGODB_URI",
    "NEAR_LIMIT",
    "NEAR_RADIUS",
    "ORDERS",
    "PAGE",
    "PLANS",
    "STATUSES",
    "SendNotification",
    "TransportType",
    "open_database",
    "simulated_send",
]

MONGODB_URI = "mongodb://localhost:27017"
DATABASE = "rt-subscriptions-contracts"  # the study's name

ORDERS = "transport_orders"
CARRIERS = "carriers"
PLANS = "plans"

PAGE = 50  # orders in one answer; the study's own limit
NEAR_RADIUS = 50_000.0  # metres; pickups farther away are not near
NEAR_LIMIT = 20  # orders

STATUSES = ("PENDING", "ASSIGNED", "IN_TRANSIT", "DELIVERED", "CANCELLED")

TransportType: TypeAlias = Literal["FTL", "LTL", "EXPRESS", "REFRIGERATED", "ADR"]

SendNotification: TypeAlias = Callable[[str, ObjectId], Awaitable[None]]
"""Sends one e-mail: the recipient, and the order it is about."""


def open_database(client: AsyncMongoClient[Document], name: str) -> AsyncDatabase[Document]:
    """The database, with times that know they are UTC: in JSON they end with `Z`."""
    options = client.codec_options.with_options(tz_aware=True)
    return client.get_database(name, codec_options=options)


async def simulated_send(recipient: str, order_id: ObjectId) -> None:  # noqa: ARG001 - nothing leaves
    """Take the one to three seconds that the study says an e-mail takes."""
    await asyncio.sleep(random.uniform(1.0, 3.0))
