"""The demo's stage: a real mongod with the data, a real Valkey, and both variants as processes."""

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Any, NamedTuple

import aiohttp
from bson import ObjectId
from pymongo import AsyncMongoClient

from examples.orders import data, settings
from examples.orders.demo import STATISTICS_PATH
from symphonia_perf.errors import SymphoniaError
from symphonia_perf.loadtest import Plan, Request, settle
from symphonia_perf.mongo import PoolOptions, create_async_client
from symphonia_perf.typing import Document

__all__ = ["Counters", "Service", "ServiceFailed", "Stage", "fill", "serving"]

HOST = "127.0.0.1"
HEALTH = Request(path="/health")
IDLE_PATIENCE = 30.0  # seconds for the leftovers of an overload
OPERATIONS = ("insert", "query", "update", "delete", "getmore", "command")
START_PATIENCE = 60.0  # seconds; `after` builds twelve indexes as it starts


class ServiceFailed(SymphoniaError):
    """A variant's process ended or did not answer; the message ends with its own last lines."""


class Counters(NamedTuple):
    """What MongoDB did for a service, as running totals."""

    database_seconds: float  # the application waited for answers, by command events
    operations: int  # serverStatus.opcounters, all kinds
    bytes_out: int  # serverStatus.network, on the wire

    def since(self, earlier: "Counters") -> "Counters":
        """The difference."""
        return Counters(
            self.database_seconds - earlier.database_seconds,
            self.operations - earlier.operations,
            self.bytes_out - earlier.bytes_out,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One variant of the application, under uvicorn in its own process."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that runs while the demo measures."""

    client: AsyncMongoClient[Document]
    http: aiohttp.ClientSession
    services: dict[str, Service]
    order_ids: list[ObjectId]

    async def counters(self, variant: str) -> Counters:
        """The running totals for one variant, read now."""
        async with self.http.get(self.services[variant].url + STATISTICS_PATH) as answer:
            application: dict[str, float] = await answer.json()
        server: dict[str, Any] = await self.client["admin"].command("serverStatus")
        return Counters(
            database_seconds=application["seconds"],
            operations=sum(server["opcounters"][kind] for kind in OPERATIONS),
            bytes_out=int(server["network"]["physicalBytesOut"]),
        )

    async def until_idle(self) -> None:
        """Return when nobody works for a client that has long given up.

        An overloaded service goes on after its clients have left, and so does MongoDB. What
        comes next must not pay for that.

        Raises:
            ServiceFailed: not so within `IDLE_PATIENCE`.
        """
        ours = {
            "active": True,
            "ns": {"$regex": "^(before|after)[.]"},
            "cursor.awaitData": {"$ne": True},  # who waits for changes is not at work
        }
        try:
            async with asyncio.timeout(IDLE_PATIENCE):
                for service in self.services.values():
                    health = Plan(base_url=service.url, requests=(HEALTH,), rate=1, duration=1)
                    await settle(health, limit=0.25, patience=IDLE_PATIENCE)
                while await self._operations(ours):  # noqa: ASYNC110 - the server sends no event
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise ServiceFailed(f"still busy {IDLE_PATIENCE:g} s after the load ended") from error

    async def _operations(self, which: Document) -> list[Document]:
        found = await self.client["admin"].aggregate([{"$currentOp": {}}, {"$match": which}])
        return await found.to_list()


async def fill(
    mongodb_uri: str, *, orders: int, progress: Callable[[int], object]
) -> list[ObjectId]:
    """Load the data once for each variant; returns a sample of order ids to ask for.

    Both databases hold the same documents. Only what a variant itself creates (`after`: indexes)
    tells them apart.
    """
    client = create_async_client(PoolOptions.from_uri(mongodb_uri, compressors=()))
    async with client:
        first = client["before"]
        await data.load(first, orders=orders, progress=progress)
        for name in (settings.PLANS, settings.CARRIERS, settings.ORDERS):
            copy = {"$out": {"db": "after", "coll": name}}
            await (await first[name].aggregate([copy])).to_list()
        found = first[settings.ORDERS].find({}, {"_id": 1}).sort("_id", 1)
        ids = [order["_id"] for order in await found.to_list()]
    return ids[:: len(ids) // 300]


@asynccontextmanager
async def serving(
    mongodb_uri: str, redis_url: str, order_ids: list[ObjectId]
) -> AsyncGenerator[Stage, None]:
    """Both variants, answering, until the block ends."""
    services: dict[str, Service] = {}
    client = create_async_client(PoolOptions.from_uri(mongodb_uri, min_size=1))
    async with client, aiohttp.ClientSession() as http:
        try:
            for name in ("before", "after"):
                services[name] = _start(name, mongodb_uri, redis_url)
                await _until_healthy(services[name], http)
            yield Stage(client=client, http=http, services=services, order_ids=order_ids)
        finally:
            for service in services.values():
                _stop(service)


def _start(name: str, mongodb_uri: str, redis_url: str) -> Service:
    # A file, not a pipe: nobody reads while the service runs, and a full pipe would stop it.
    log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the service
    # The parent binds, the child serves: nobody can take the port in between.
    with socket.create_server((HOST, 0), backlog=1024) as listening:
        port = listening.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "examples.orders.demo.serve"),
                *(name, mongodb_uri, redis_url, str(listening.fileno())),
            ],
            stdin=subprocess.PIPE,
            stderr=log,
            pass_fds=[listening.fileno()],
            start_new_session=True,  # a terminal's Ctrl-C is the demo's; this ends with its stdin
        )
    return Service(name=name, url=f"http://{HOST}:{port}", process=process, log=log)


async def _until_healthy(service: Service, http: aiohttp.ClientSession) -> None:
    try:
        async with asyncio.timeout(START_PATIENCE):
            while service.process.poll() is None:
                with suppress(aiohttp.ClientError):
                    async with http.get(service.url + "/health") as answer:
                        if answer.status == HTTPStatus.OK:
                            return
                await asyncio.sleep(0.05)
            reason = f"ended with exit status {service.process.returncode}"
    except TimeoutError:
        reason = f"was not healthy within {START_PATIENCE:g} s"
    service.log.seek(0)
    tail = service.log.read().decode(errors="replace").splitlines()[-20:]
    raise ServiceFailed("\n".join([f"the service {service.name!r} {reason}; it said:", *tail]))


def _stop(service: Service) -> None:
    assert service.process.stdin is not None  # PIPE
    service.process.stdin.close()
    try:
        service.process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        service.process.kill()
        service.process.wait()
    service.log.close()
