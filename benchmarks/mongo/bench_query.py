"""What a query costs beside the server's work: building it, its bytes, and its 5,000th page.

Run: .venv/bin/python benchmarks/mongo/bench_query.py
Starts a mongod with 300,000 orders of about 3 KB. What is compared takes turns.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import bson
from pymongo import MongoClient
from pymongo.collection import Collection

from benchmarks.lines import line
from symphonia_perf.mongo import Page, Query, raw_documents
from symphonia_perf.testing.servers import mongo_replica_set

ORDERS = 300_000
PAGE = 50
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = [b"k" * 32]
LIST = ("reference", "status", "pickupLocation.city", "createdAt")
FULL = Query({"status": "IN_TRANSIT"}).sort("-createdAt", "-_id").limit(PAGE)
LISTED = FULL.only(*LIST)
COVERED = FULL.only("status", "createdAt", "reference", "-_id")
EVERY = Query().only(*LIST).sort("-createdAt", "-_id").limit(PAGE)


def build() -> Query:
    """The chain that a handler writes when it builds a query for each request."""
    return (
        Query({"status": "IN_TRANSIT"})
        .only("reference", "status", "pickupLocation.city", "createdAt")
        .sort("-createdAt", "-_id")
        .limit(PAGE)
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
    }


def fill(orders: Collection[dict[str, Any]]) -> None:
    for start in range(0, ORDERS, 5_000):
        orders.insert_many([order(number) for number in range(start, start + 5_000)])
    orders.create_index([("status", 1), ("createdAt", -1), ("_id", -1)])
    orders.create_index([("createdAt", -1), ("_id", -1)])
    orders.create_index([("status", 1), ("createdAt", -1), ("_id", -1), ("reference", 1)])


def microseconds(call: Callable[[], object], times: int = 20_000) -> float:
    """The best of five runs: what the code costs when nothing else runs."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(times):
            call()
        best = min(best, time.perf_counter() - start)
    return best / times * 1e6


def in_turns(calls: Mapping[str, Callable[[], object]], *, rounds: int = 200) -> dict[str, float]:
    """Median milliseconds of each call."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 5):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number >= 5:  # warm
                spent[name].append(time.perf_counter() - start)
    return {name: round(median(times) * 1000, 3) for name, times in spent.items()}


def builder(orders: Collection[dict[str, Any]]) -> None:
    made = build()
    find_one = in_turns({"find_one": lambda: orders.find_one({"_id": 5})})["find_one"] * 1000
    for part, call in {"chain": build, "find_kwargs": made.find_kwargs}.items():
        cost = microseconds(call)
        share = round(cost / find_one * 100, 1)
        line("query.builder", "pymongo", part=part, us=round(cost, 1), percent_of_find_one=share)


def tokens(orders: Collection[dict[str, Any]]) -> Iterator[str]:
    """The tokens of the pages, read with as little as a token needs."""
    page = EVERY.only("createdAt").limit(5_000).page_sync(orders, keys=KEYS)
    while page.next:
        yield page.next
        page = EVERY.only("createdAt").limit(5_000).page_sync(orders, after=page.next, keys=KEYS)


def pages(orders: Collection[dict[str, Any]]) -> None:
    token = list(tokens(orders))[49]  # 50 x 5,000 documents: 5,000 pages of 50
    page = EVERY.page_sync(orders, after=token, keys=KEYS)

    def numbered() -> Page[dict[str, Any]]:
        return EVERY.page_sync(orders, number=5_001, observer=ignore)

    assert page.items == numbered().items
    spent = in_turns(
        {
            "find of page 1, no tokens": lambda: EVERY.find(orders).to_list(),
            "page 1": lambda: EVERY.page_sync(orders, keys=KEYS),
            "page 5,001 by token": lambda: EVERY.page_sync(orders, after=token, keys=KEYS),
            "page 5,000 by token, backwards": lambda: EVERY.page_sync(
                orders, before=page.previous, keys=KEYS
            ),
        },
        rounds=300,
    )
    spent |= in_turns({"page 5,001 by number": numbered}, rounds=20)
    for what, milliseconds in spent.items():
        times = round(milliseconds / spent["page 1"], 2)
        line("query.page", "pymongo", what=what, ms=milliseconds, times_page_1=times)
    for total in ("none", "estimated", "capped", "exact"):
        spent = in_turns({total: partial(EVERY.page_sync, orders, total=total)}, rounds=20)
        line("query.total", "pymongo", total=total, ms=spent[total])


def ignore(_event: object) -> None:
    """Keep the warnings of deep pages out of the measurement."""


def sizes(orders: Collection[dict[str, Any]]) -> None:
    raw = raw_documents(orders)
    whole = sum(len(each.raw) for each in FULL.find(raw))
    spent = in_turns(
        {
            "full": lambda: FULL.find(orders).to_list(),
            "full, raw": lambda: FULL.find(raw).to_list(),
            "listed": lambda: LISTED.find(orders).to_list(),
            "listed, raw": lambda: LISTED.find(raw).to_list(),
            "covered": lambda: COVERED.find(orders).to_list(),
        }
    )
    queries = {"full": FULL, "listed": LISTED, "covered": COVERED}
    for what, milliseconds in spent.items():
        found = queries[what.partition(",")[0]].find(orders)
        size = sum(len(bson.encode(each)) for each in found)
        line(
            "query.list",
            "pymongo",
            what=what,
            ms=milliseconds,
            bytes=size,
            percent_of_full=round(size / whole * 100, 1),
        )


def main() -> None:
    """Print one line per figure."""
    with (
        mongo_replica_set() as servers,
        MongoClient[dict[str, Any]](servers.uri, tz_aware=True) as client,
    ):
        orders = client["bench"]["orders"]
        fill(orders)
        builder(orders)
        sizes(orders)
        pages(orders)


if __name__ == "__main__":
    main()
