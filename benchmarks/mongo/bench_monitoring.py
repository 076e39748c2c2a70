"""Microseconds that the listeners add to one find_one, sync and async.

Run: .venv/bin/python benchmarks/mongo/bench_monitoring.py
The clients take turns in short rounds, each in a new order, so that a slow moment of the machine
hits all of them; what a listener adds is the median over the rounds of its difference to the client
without listeners. It is processor time of the calling thread: listeners wait for nothing, and other
programs do not count. `no-op` does nothing: what the driver itself charges for making the events.
"""

import asyncio
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from pymongo import monitoring

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from symphonia_perf.mongo import (
    PoolMonitor,
    PoolOptions,
    SlowOperationListener,
    create_async_client,
    create_client,
)
from symphonia_perf.testing.servers import mongo_replica_set

ROUNDS = 400
EACH = 15


def ignore(_self: object, _event: object) -> None:
    """Any event."""


class NoCommands(monitoring.CommandListener):
    """Listens to commands, and does nothing."""

    started = succeeded = failed = ignore


class NoPools(monitoring.ConnectionPoolListener):
    """Listens to pools, and does nothing."""

    pool_created = pool_ready = pool_cleared = pool_closed = ignore
    connection_created = connection_ready = connection_closed = ignore
    connection_check_out_started = connection_check_out_failed = ignore
    connection_checked_out = connection_checked_in = ignore


SIDES: dict[str, Callable[[], Sequence[Any]]] = {
    "raw": list,
    "no-op command": lambda: [NoCommands()],
    "no-op pool": lambda: [NoPools()],
    "no-op both": lambda: [NoPools(), NoCommands()],
    "monitor": lambda: [PoolMonitor()],
    "slow": lambda: [SlowOperationListener()],
    "both": lambda: [PoolMonitor(), SlowOperationListener()],
}


def report(colour: str, times: dict[str, list[float]]) -> None:
    """Print what each side adds to the first."""
    raw = times["raw"]
    line(
        "mongo.monitoring",
        "pymongo",
        colour=colour,
        find_one_cpu_us=round(median(raw) * 1e6, 1),
        rounds=ROUNDS,
        commands_per_round=EACH,
        added_cpu_us={
            name: round(median(b - a for a, b in zip(raw, found, strict=True)) * 1e6, 1)
            for name, found in times.items()
            if name != "raw"
        },
    )


def measure_sync(options: PoolOptions) -> None:
    clients = {name: create_client(options, event_listeners=make()) for name, make in SIDES.items()}
    times: dict[str, list[float]] = {name: [] for name in SIDES}
    clients["raw"]["bench"]["one"].replace_one({"_id": 1}, {"text": "x" * 200}, upsert=True)
    for turn in range(-3, ROUNDS):  # the first three warm up
        for name in random.sample(list(SIDES), len(SIDES)):
            collection = clients[name]["bench"]["one"]
            start = time.thread_time()
            for _ in range(EACH):
                collection.find_one({"_id": 1})
            if turn >= 0:
                times[name].append((time.thread_time() - start) / EACH)
    for client in clients.values():
        client.close()
    report("sync", times)


async def measure_async(options: PoolOptions) -> None:
    clients = {
        name: create_async_client(options, event_listeners=make()) for name, make in SIDES.items()
    }
    times: dict[str, list[float]] = {name: [] for name in SIDES}
    for turn in range(-3, ROUNDS):
        for name in random.sample(list(SIDES), len(SIDES)):
            collection = clients[name]["bench"]["one"]
            start = time.thread_time()
            for _ in range(EACH):
                await collection.find_one({"_id": 1})
            if turn >= 0:
                times[name].append((time.thread_time() - start) / EACH)
    for client in clients.values():
        await client.close()
    report("async", times)


if __name__ == "__main__":
    with mongo_replica_set() as servers:
        pool = PoolOptions.from_uri(servers.uri, min_size=1, compressors=())
        measure_sync(pool)
        asyncio.run(measure_async(pool))
