"""The index registry: what a plan costs, and what the study's queries gain from its indexes.

Run: .venv/bin/python benchmarks/mongo/bench_indexes.py [orders]

`orders` defaults to 300,000 documents of about 3 KB; with them a run takes under two minutes on two
quiet cores. The queries return up to 50 orders; their times are medians as the client sees them.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from bson import encode
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient, MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from examples.orders.data import make_orders
from symphonia_perf.mongo import ExistingIndexes, Index, IndexRegistry, Query
from symphonia_perf.testing.servers import MongoReplicaSet, mongo_replica_set

COLLECTIONS, INDEXES = 50, 10
ROUNDS = 21
BATCH = 2_000

NEAR_PARIS = {"$near": {"$geometry": {"type": "Point", "coordinates": [2.35, 48.85]}}}
SHAPES = {
    "by_status": Query({"status": "IN_TRANSIT"}).sort("-createdAt").limit(50),
    "by_client": Query({"clientId": "client-280", "status": "IN_TRANSIT"}).limit(50),
    "by_carrier": Query({"carrierId": "carrier-150", "status": "IN_TRANSIT"}).limit(50),
    "by_city": Query({"pickupLocation.city": "Lyon"}).limit(50),
    "near": Query({"pickupLocation.coordinates": NEAR_PARIS}).limit(20),
}
ORDERS = IndexRegistry()
ORDERS.add(
    "orders",
    Index("status", "-createdAt", name="by_status", serves=[SHAPES["by_status"]]),
    Index("clientId", "status", name="by_client", serves=[SHAPES["by_client"]]),
    Index("carrierId", "status", name="by_carrier", serves=[SHAPES["by_carrier"]]),
    Index("pickupLocation.city", name="by_city", serves=[SHAPES["by_city"]]),
    Index.geo("pickupLocation.coordinates", name="near", serves=[SHAPES["near"]]),
)


def milliseconds(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of several runs."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return round(median(times) * 1000, 2)


async def bench_plan(replica_set: MongoReplicaSet) -> None:
    """plan() of 50 collections with 10 indexes each, all as declared."""
    registry = IndexRegistry()
    for number in range(COLLECTIONS):
        registry.add(f"c{number}", *(Index(f"f{n}", "-at") for n in range(INDEXES)))
    size = {"collections": COLLECTIONS, "indexes": INDEXES, "rounds": ROUNDS}
    with MongoClient[Any](replica_set.uri) as client:
        db = client["plans"]
        registry.plan_sync(db).apply_sync(db)
        assert registry.plan_sync(db).is_empty
        sync_ms = milliseconds(lambda: registry.plan_sync(db))
        existing = {
            name: ExistingIndexes(indexes=list(db[name].list_indexes()))
            for name in registry.collections
        }
    line("indexes.plan", "pymongo", what="plan_sync", ms=sync_ms, **size)
    line(
        "indexes.plan",
        "pymongo",
        what="diff alone",
        ms=milliseconds(lambda: registry.diff(existing)),
        **size,
    )
    async with AsyncMongoClient[Any](replica_set.uri) as async_client:
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            await registry.plan(async_client["plans"])
            times.append(time.perf_counter() - start)
    line("indexes.plan", "pymongo", what="plan", ms=round(median(times) * 1000, 2), **size)


def batches(count: int) -> Iterator[list[RawBSONDocument]]:
    """Orders, encoded as they come, so that memory holds one batch."""
    orders = (RawBSONDocument(encode(order)) for order in make_orders(count))
    while batch := list(islice(orders, BATCH)):
        yield batch


def bench_queries(replica_set: MongoReplicaSet, count: int) -> None:
    """The study's five query shapes, without and with their indexes."""
    with MongoClient[Any](replica_set.uri, w=1) as client:
        db = client["shop"]
        with ThreadPoolExecutor(1) as writer:  # the server stores one batch, we make the next
            stored: Future[Any] = writer.submit(int)
            for batch in batches(count):
                stored.result()
                stored = writer.submit(db["orders"].insert_many, batch, ordered=False)
            stored.result()
        before = {name: measured(db, query, rounds=5) for name, query in SHAPES.items()}
        start = time.perf_counter()
        ORDERS.plan_sync(db).apply_sync(db)
        built = time.perf_counter() - start
        line("indexes.apply", "pymongo", indexes=len(SHAPES), orders=count, s=round(built, 2))
        ORDERS.verify_sync(db)
        for name, query in SHAPES.items():
            after = measured(db, query, rounds=ROUNDS)
            line(
                "indexes.query",
                "pymongo",
                shape=name,
                orders=count,
                **{f"{key}_before": value for key, value in before[name].items()},
                **{f"{key}_after": value for key, value in after.items()},
            )


def measured(db: Database[Any], query: Query, *, rounds: int) -> dict[str, Any]:
    """Milliseconds, and documents examined for each one returned."""
    try:
        stats = query.find(db["orders"]).explain()["executionStats"]
    except OperationFailure as error:  # $near needs an index: 291
        return {"code": error.code}
    returned = stats["nReturned"]
    return {
        "ms": milliseconds(lambda: query.find(db["orders"]).to_list(), rounds),
        "returned": returned,
        "examined_per_returned": round(stats["totalDocsExamined"] / max(returned, 1), 1),
    }


def main() -> None:
    """Run both parts on a server of their own."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    with mongo_replica_set(cache_gb=3.0) as replica_set:
        asyncio.run(bench_plan(replica_set))
        bench_queries(replica_set, count)


if __name__ == "__main__":
    main()
