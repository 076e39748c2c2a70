"""How long reads and writes stall when the primary of three is killed, frozen or stepped down.

Run: .venv/bin/python benchmarks/mongo/bench_failover.py
     .venv/bin/python benchmarks/mongo/bench_failover.py 2     (only elections of 2 s)
All clients live through the same fault at the same time, each with one reader and one writer that
work one operation after the other. A stall is the longest time between two successes. A fault lasts
until every client reads and writes again. 10 s is a server's own electionTimeoutMillis; 2 s is what
the tests set.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.lines import line
from symphonia_perf.errors import MongoOperationError
from symphonia_perf.mongo import PoolOptions, create_async_client
from symphonia_perf.testing.servers import MongoMember, MongoReplicaSet, mongo_replica_set
from symphonia_perf.testing.servers.mongo import ask

PAUSE = 0.02  # seconds between two operations
CALM = 1.0  # seconds before the fault, and after everybody is back
PATIENCE = 50.0  # seconds until a client counts as lost


def raw_same_options(uri: str) -> AsyncMongoClient[Any]:
    """The driver alone, with the values of our defaults written out."""
    return AsyncMongoClient(
        uri,
        maxPoolSize=50,
        minPoolSize=10,
        maxConnecting=2,
        maxIdleTimeMS=30_000,
        waitQueueTimeoutMS=2_000,
        connectTimeoutMS=10_000,
        socketTimeoutMS=45_000,
        serverSelectionTimeoutMS=15_000,
        heartbeatFrequencyMS=2_000,
        retryWrites=True,
        retryReads=True,
        w="majority",
        readPreference="primaryPreferred",
        compressors=["zlib"],
        zlibCompressionLevel=6,
    )


def the_study(uri: str) -> AsyncMongoClient[Any]:
    """What the study set; it says nothing of heartbeat and server selection."""
    options = PoolOptions.from_uri(
        uri, wait_queue_timeout=None, server_selection_timeout=30, heartbeat=10
    )
    return create_async_client(options)


CLIENTS: dict[str, Callable[[str], AsyncMongoClient[Any]]] = {
    "driver defaults": AsyncMongoClient,
    "the study's": the_study,
    "driver, our options": raw_same_options,
    "PoolOptions()": lambda uri: create_async_client(PoolOptions.from_uri(uri)),
    "PoolOptions.web()": lambda uri: create_async_client(PoolOptions.web(uri)),
    "PoolOptions.worker()": lambda uri: create_async_client(PoolOptions.worker(uri)),
}


def kill(primary: MongoMember) -> None:
    primary.kill()


def freeze(primary: MongoMember) -> None:
    primary.pause()


def step_down(primary: MongoMember) -> None:
    with suppress(MongoOperationError, OSError):
        primary.ask({"replSetStepDown": 60, "secondaryCatchUpPeriodSecs": 5})


FAULTS = {"kill -9": kill, "SIGSTOP": freeze, "step down": step_down}


@dataclass
class Worker:
    """Repeats one operation, and notes the longest time without a success."""

    operation: Callable[[], Awaitable[object]]
    last: float = field(default_factory=time.monotonic)
    stall: float = 0.0
    failed: list[str] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; a client that is lost is cancelled by then."""
        self.last = time.monotonic()
        while not stop.is_set():
            try:
                await self.operation()
            except PyMongoError as error:
                self.failed.append(type(error).__name__)
            else:
                now = time.monotonic()
                self.stall = max(self.stall, now - self.last)
                self.last = now
            await asyncio.sleep(PAUSE)


async def measure(replica_set: MongoReplicaSet, fault: str, election: float) -> None:
    clients = {name: make(replica_set.uri) for name, make in CLIENTS.items()}
    work: dict[str, tuple[Worker, Worker]] = {}
    for name, client in clients.items():
        orders = client["failover"]["orders"]
        await orders.insert_one({"client": name})
        work[name] = (
            Worker(lambda orders=orders, name=name: orders.find_one({"client": name})),
            Worker(lambda orders=orders, name=name: orders.insert_one({"client": name})),
        )
    workers = [worker for pair in work.values() for worker in pair]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(worker.run(stop)) for worker in workers]
    await asyncio.sleep(CALM)
    primary = await asyncio.to_thread(replica_set.primary)
    fell = time.monotonic()
    await asyncio.to_thread(FAULTS[fault], primary)
    # An operation from before the fault may still succeed; so only what succeeds after counts.
    elected = None
    while time.monotonic() < fell + PATIENCE:
        await asyncio.sleep(0.2)
        if elected is None and await asyncio.to_thread(leader, replica_set) not in {None, primary}:
            elected = time.monotonic()
        if elected and all(worker.last > elected + CALM for worker in workers):
            break
    stop.set()
    end = time.monotonic()
    _, lost = await asyncio.wait(tasks, timeout=1)
    for task in lost:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for name, (reader, writer) in work.items():
        line(
            "mongo.failover",
            "pymongo",
            fault=fault,
            election_s=election,
            new_primary_after_s=round(elected - fell, 1) if elected else None,
            client=name,
            read_stall_s=round(max(reader.stall, end - reader.last), 1),
            write_stall_s=round(max(writer.stall, end - writer.last), 1),
            reads_failed=len(reader.failed),
            writes_failed=len(writer.failed),
            errors=sorted({*reader.failed, *writer.failed}),
        )
    if fault == "kill -9":
        await asyncio.to_thread(primary.start)
    elif fault == "SIGSTOP":
        primary.resume()
    else:
        primary.ask({"replSetFreeze": 0})
    await asyncio.to_thread(replica_set.wait_until_complete)
    for client in clients.values():
        await client.close()


def leader(replica_set: MongoReplicaSet) -> MongoMember | None:
    """The member that takes writes, if there is one now."""
    with suppress(Exception):
        return replica_set.primary(timeout=0.1)
    return None


def set_election(replica_set: MongoReplicaSet, seconds: float) -> None:
    """Let the members wait this long for a silent primary."""
    primary = replica_set.primary()
    config = primary.ask({"replSetGetConfig": 1})["config"]
    config["version"] += 1
    config["settings"]["electionTimeoutMillis"] = round(seconds * 1000)
    ask(primary.port, {"replSetReconfig": config}, timeout=60.0)  # it waits for the members


if __name__ == "__main__":
    elections = [float(text) for text in sys.argv[1:]] or [10.0, 2.0]
    with mongo_replica_set(members=3) as servers:
        for seconds in elections:
            set_election(servers, seconds)
            for name in FAULTS:
                asyncio.run(measure(servers, name, seconds))
