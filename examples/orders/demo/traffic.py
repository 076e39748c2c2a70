"""What the demo's clients ask for: a fixed mix, the same for both variants."""

import json
from collections.abc import Sequence

from bson import ObjectId

from examples.orders.settings import STATUSES
from examples.orders.vocabulary import CITIES
from symphonia_perf.loadtest import Request

__all__ = ["MIX", "mix"]

# Kind of request -> its share in percent. The notification is left out until there is a job queue.
MIX = {
    "plans": 20,
    "carriers": 10,
    "carrier": 10,
    "change carrier": 2,
    "orders by status": 18,
    "orders by client": 10,
    "order": 22,
    "near": 8,
}

# The first 20 clients send a third of all orders; what they look at is what gets looked at.
CLIENTS = 20
CARRIERS = 40


def mix(order_ids: Sequence[ObjectId]) -> tuple[Request, ...]:
    """The requests with their weights; each kind's share is spread evenly over its variants."""
    change = json.dumps({"name": "Nord Cargo", "active": True, "rating": 4.5})
    bodies = {"change carrier": change.replace("}", ', "transportTypes": ["FTL", "LTL"]}').encode()}
    paths = {
        "plans": ["/api/plans"],
        "carriers": ["/api/carriers"],
        "carrier": [f"/api/carriers/carrier-{n:03d}" for n in range(1, CARRIERS + 1)],
        "change carrier": [f"/api/carriers/carrier-{n:03d}" for n in range(1, CARRIERS + 1, 4)],
        "orders by status": [f"/api/transport-orders?status={status}" for status in STATUSES],
        "orders by client": [
            f"/api/transport-orders?clientId=client-{n:03d}" for n in range(1, CLIENTS + 1)
        ],
        "order": [f"/api/transport-orders/{order_id}" for order_id in order_ids],
        "near": [
            f"/api/transport-orders/near?lat={city.latitude}&lon={city.longitude}"
            for city in CITIES
        ],
    }
    return tuple(
        Request(
            name=name,
            method="PUT" if name in bodies else "GET",
            path=path,
            body=bodies.get(name, b""),
            headers=(("content-type", "application/json"),) if name in bodies else (),
            weight=share / len(paths[name]),
        )
        for name, share in MIX.items()
        for path in paths[name]
    )
