"""Realistic transport orders, the same for the same seed, and the way into a database.

An order is about 3 KB of BSON: two places with GeoJSON coordinates, its goods, what happened to
it, and its papers. What many orders share (sites, goods) is drawn once, so that 50,000 orders are
made in seconds.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, islice
from typing import NamedTuple, TypeVar

from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from examples.orders import settings
from examples.orders.vocabulary import CITIES, COMPANY_ENDS, COMPANY_STARTS, GOODS, STREETS, City
from symphonia_perf.typing import Document

__all__ = ["SEED", "UNTIL", "load", "make_carriers", "make_orders", "make_plans"]

T = TypeVar("T")

SEED = 2026
UNTIL = datetime(2026, 11, 1, tzinfo=UTC)  # every order is older than this
DAYS = 180
OPEN_DAYS = 18  # an order older than this has ended, one way or the other
CLIENTS = 300
SITES_PER_CITY = 24
GOODS_LINES = 3_000
BATCH = 1_000  # documents in one insert

TRANSPORT_TYPES: tuple[settings.TransportType, ...] = (
    "FTL", "LTL", "LTL", "LTL", "EXPRESS", "REFRIGERATED", "ADR",
)  # fmt: skip
# What has happened to an order by the time it has this status.
STEPS = {
    "PENDING": ("CREATED", "VALIDATED"),
    "ASSIGNED": ("CREATED", "VALIDATED", "OFFERED", "ASSIGNED"),
    "IN_TRANSIT": ("CREATED", "VALIDATED", "OFFERED", "ASSIGNED", "PICKED_UP", "IN_TRANSIT"),
    "DELIVERED": (
        "CREATED", "VALIDATED", "OFFERED", "ASSIGNED", "PICKED_UP", "IN_TRANSIT", "DELIVERED",
    ),
    "CANCELLED": ("CREATED", "VALIDATED", "CANCELLED"),
}  # fmt: skip
SYSTEMS = ("portal", "edi-gateway", "dispatch", "driver-app", "tms-sync")
NOTES = ("accepted unchanged", "window adjusted", "morning batch", "by telephone", "by telematics")
INSTRUCTIONS = (
    "Report to the gate office with the order reference; safety shoes and vest are required.",
    "Tail lift needed. Call the warehouse thirty minutes before arrival.",
    "Dock is assigned on arrival. Waiting time counts from the booked window.",
    "No unloading between noon and one o'clock. Exchange of empty pallets at the gate.",
)


async def load(
    db: AsyncDatabase[Document],
    *,
    orders: int = 50_000,
    seed: int = SEED,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Replace the database's plans, carriers and orders, and their indexes, with generated ones.

    Args:
        db: where to; its three collections are dropped first.
        orders: how many orders.
        seed: the same seed and number give the same documents.
        progress: called after every batch with the number of orders stored so far.
    """
    for name in (settings.PLANS, settings.CARRIERS, settings.ORDERS):
        await db.drop_collection(name)
    await db[settings.PLANS].insert_many(make_plans())
    await db[settings.CARRIERS].insert_many(make_carriers(seed=seed))
    stream, stored = make_orders(orders, seed=seed), 0
    while batch := list(islice(stream, BATCH)):
        await db[settings.ORDERS].insert_many(batch, ordered=False)
        stored += len(batch)
        if progress is not None:
            progress(stored)


def make_plans() -> list[Document]:
    """The 20 subscription plans: five tiers, by month and by year, with and without tracking."""
    tiers = ("starter", "team", "business", "network", "enterprise")
    made: list[Document] = []
    for rank, tier in enumerate(tiers, start=1):
        for interval, months in (("monthly", 1), ("yearly", 10)):
            for tracking in (False, True):
                cents = (4_900 * rank * rank + 1_900 * rank * tracking) * months
                made.append(
                    {
                        "_id": f"plan-{tier}-{interval}{'-tracking' if tracking else ''}",
                        "name": f"{tier.title()}{' with live tracking' if tracking else ''}",
                        "interval": interval,
                        "price": {"cents": cents, "currency": "EUR"},
                        "limits": {"ordersPerMonth": 200 * 4**rank, "users": 5 * 2**rank},
                        "features": ["order-portal", "edi", "documents", "carrier-offers"][:rank]
                        + ["live-tracking"] * tracking,
                        "active": True,
                        "createdAt": UNTIL - timedelta(days=900 - 30 * rank),
                    }
                )
    return made


def make_carriers(*, seed: int = SEED) -> list[Document]:
    """The 200 carriers, `carrier-001` to `carrier-200`."""
    rng = random.Random(f"carriers {seed}")
    return [_carrier(rng, number) for number in range(1, 201)]


def make_orders(count: int = 50_000, *, seed: int = SEED) -> Iterator[Document]:
    """Transport orders, oldest first, as they would have been written over 180 days."""
    rng = random.Random(f"orders {seed}")
    world = _World.draw(rng)
    for number, (created, client) in enumerate(_arrivals(rng, count), start=1):
        yield _order(rng, world, number, created, client)


class _World(NamedTuple):
    """What orders are put together from."""

    cities: list[City]  # repeated by weight, so that a plain choice is a weighted one
    sites: dict[str, list[Document]]
    goods: list[Document]
    clients: list[str]
    carrier_shares: list[float]

    @classmethod
    def draw(cls, rng: random.Random) -> "_World":
        return cls(
            cities=[city for city in CITIES for _ in range(city.weight)],
            sites={city.name: [_site(rng, city) for _ in range(SITES_PER_CITY)] for city in CITIES},
            goods=[_goods_line(rng, number) for number in range(GOODS_LINES)],
            clients=[_company(rng) for _ in range(CLIENTS)],
            # A few carriers do most of the work: the share of rank r falls with 1 / sqrt(r).
            carrier_shares=list(accumulate(rank**-0.5 for rank in range(1, 201))),
        )


def _arrivals(rng: random.Random, count: int) -> list[tuple[int, int]]:
    """When each order came (milliseconds) and from which client, oldest first.

    One arrival in twelve is an EDI file of two to six orders, stored with one timestamp: equal
    `createdAt` values are part of the trade, and pages must not lose an order over them.
    """
    end = int(UNTIL.timestamp() * 1000)
    days = [day for day in range(DAYS) for _ in range(_workload(UNTIL - timedelta(days=day + 1)))]
    shares = list(accumulate(rank**-0.6 for rank in range(1, CLIENTS + 1)))
    arrivals: list[tuple[int, int]] = []
    while len(arrivals) < count:
        hour = rng.triangular(4.0, 22.0, 10.0)
        at = end - (_pick(rng, days) + 1) * 86_400_000 + int(hour * 3_600_000)
        client = rng.choices(range(1, CLIENTS + 1), cum_weights=shares)[0]
        arrivals += [(at, client)] * (rng.randint(2, 6) if rng.random() < 1 / 12 else 1)
    return sorted(arrivals[:count])


def _workload(day: datetime) -> int:
    """How busy a day is: a weekday counts ten times a Sunday, a Saturday three times."""
    return {5: 3, 6: 1}.get(day.weekday(), 10)


def _order(rng: random.Random, world: _World, number: int, created: int, client: int) -> Document:
    at = datetime.fromtimestamp(created / 1000, UTC)
    status = _status(rng, UNTIL - at)
    pickup = at + timedelta(hours=_between(rng, 12, 72))
    delivery = pickup + timedelta(hours=_between(rng, 6, 96))
    origin = _pick(rng, world.cities)
    lines = [_pick(rng, world.goods) for _ in range(_between(rng, 2, 6))]
    history = _history(rng, status, at, origin.name)
    carrier = rng.choices(range(1, 201), cum_weights=world.carrier_shares)[0]
    return {
        "_id": _object_id(rng, created),
        "reference": f"TO-{at.year}-{number:06d}",
        "status": status,
        "transportType": _pick(rng, TRANSPORT_TYPES),
        "clientId": f"client-{client:03d}",
        "clientName": world.clients[client - 1],
        # Nobody has taken a pending order yet.
        "carrierId": None if status == "PENDING" else f"carrier-{carrier:03d}",
        "pickupLocation": _location(rng, world, origin, pickup),
        "deliveryLocation": _location(rng, world, _pick(rng, world.cities), delivery),
        "items": lines,
        "totals": {
            "packages": sum(line["quantity"] for line in lines),
            "weightKg": sum(line["weightKg"] for line in lines),
        },
        "price": {"cents": _between(rng, 9_000, 480_000), "currency": "EUR", "vatRate": 0.2},
        "references": _references(rng, number),
        "statusHistory": history,
        "documents": _documents(rng, number, status, delivery),
        "createdAt": at,
        "updatedAt": history[-1]["at"],
    }


def _object_id(rng: random.Random, created: int) -> ObjectId:
    """An id as a driver makes it: the second of creation, then bytes of the writing process."""
    return ObjectId((created // 1000).to_bytes(4, "big") + rng.randbytes(8))


def _status(rng: random.Random, age: timedelta) -> str:
    if age.days >= OPEN_DAYS:
        return "CANCELLED" if rng.random() < 0.06 else "DELIVERED"
    return rng.choices(settings.STATUSES, cum_weights=(15, 35, 75, 97, 100))[0]


def _location(rng: random.Random, world: _World, city: City, opens: datetime) -> Document:
    # About 8 km around the centre; six decimals are 0.1 m, as a handset reports them.
    longitude = round(city.longitude + rng.gauss(0.0, 0.08), 6)
    latitude = round(city.latitude + rng.gauss(0.0, 0.06), 6)
    return {
        **_pick(rng, world.sites[city.name]),
        "coordinates": {"type": "Point", "coordinates": [longitude, latitude]},
        "window": {"from": opens, "to": opens + timedelta(hours=4)},
    }


def _history(rng: random.Random, status: str, at: datetime, city: str) -> list[Document]:
    history: list[Document] = []
    steps = STEPS[status]
    # At most eleven hours between two steps, less where the order is younger than that.
    pace = min((UNTIL - at).total_seconds() / len(steps), 40_000.0)
    for step in steps:
        by, note = _pick(rng, SYSTEMS), _pick(rng, NOTES)
        history.append({"status": step, "at": at, "by": by, "city": city, "note": note})
        at += timedelta(seconds=int(pace * rng.random()))
    return history


def _references(rng: random.Random, number: int) -> Document:
    return {
        "purchaseOrder": f"PO-{rng.getrandbits(28):09d}",
        "deliveryNote": f"DN-{number + 4_000_000}",
        "customerOrder": f"C{rng.getrandbits(24):08d}/{_between(rng, 1, 9)}",
        "costCentre": f"{_between(rng, 1000, 9999)}-{_between(rng, 10, 99)}",
    }


def _documents(rng: random.Random, number: int, status: str, delivery: datetime) -> list[Document]:
    papers = ("ORDER", "CMR", "POD") if status == "DELIVERED" else ("ORDER", "CMR")
    return [
        {
            "type": paper,
            "file": f"orders/{number // 1000:04d}/{number:06d}-{paper.lower()}.pdf",
            "bytes": _between(rng, 40_000, 900_000),
            "sha1": rng.randbytes(20).hex(),
            "uploadedAt": delivery,
        }
        for paper in papers
    ]


def _site(rng: random.Random, city: City) -> Document:
    company = _company(rng)
    slug = company.lower().replace(" ", "-")
    return {
        "company": company,
        "street": f"{_pick(rng, STREETS)} {rng.randint(1, 240)}",
        "postalCode": f"{rng.randint(10_000, 99_999)}",
        "city": city.name,
        "country": city.country,
        # Reserved for fiction: the domain `.example` (RFC 2606) and the French numbers 01 99 00.
        "contact": {
            "role": "Goods in and out",
            "email": f"warehouse@{slug}.example",
            "phone": f"+33 1 99 00 {rng.randint(10, 99)} {rng.randint(10, 99)}",
        },
        "instructions": _pick(rng, INSTRUCTIONS),
    }


def _goods_line(rng: random.Random, number: int) -> Document:
    description, packaging, weight = _pick(rng, GOODS)
    quantity = rng.randint(1, 12)
    return {
        "sku": f"SKU-{number:05d}-{rng.randint(100, 999)}",
        "description": description,
        "packaging": packaging,
        "quantity": quantity,
        "weightKg": quantity * weight,
        "sizeCm": [120, 80, rng.randint(40, 220)],
        "stackable": rng.random() < 0.4,
        "tariffCode": f"{rng.randint(10_000_000, 99_999_999)}",
    }


def _carrier(rng: random.Random, number: int) -> Document:
    city, company = _pick(rng, CITIES), _company(rng)
    return {
        "_id": f"carrier-{number:03d}",
        "name": f"{company} {number}",
        "active": rng.random() < 0.93,
        "rating": round(rng.triangular(2.5, 5.0, 4.3), 1),
        "transportTypes": sorted({_pick(rng, TRANSPORT_TYPES) for _ in range(3)}),
        "country": city.country,
        "address": _site(rng, city) | {"company": company},
        "fleet": [
            {
                "kind": kind,
                "count": rng.randint(1, 80),
                "emissionClass": _pick(rng, ("VI", "E", "V")),
            }
            for kind in ("tractor", "rigid", "van")
        ],
        "insurance": {
            "policy": f"CMR-{rng.getrandbits(30):010d}",
            "coverCents": 30_000_000,
            "validUntil": UNTIL + timedelta(days=rng.randint(20, 400)),
        },
        "serves": sorted({_pick(rng, CITIES).country for _ in range(6)}),
        "createdAt": UNTIL - timedelta(days=rng.randint(200, 2_000)),
        "updatedAt": UNTIL - timedelta(days=rng.randint(0, 199)),
    }


def _company(rng: random.Random) -> str:
    return f"{_pick(rng, COMPANY_STARTS)} {_pick(rng, COMPANY_ENDS)}"


def _between(rng: random.Random, low: int, high: int) -> int:
    return low + int(rng.random() * (high - low + 1))


def _pick(rng: random.Random, values: Sequence[T]) -> T:
    """`rng.choice`, at a third of its cost: there are two million of these in 50,000 orders."""
    return values[int(rng.random() * len(values))]
