"""Opens a client's minimum pool before the first request needs it."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import PyMongoError
from pymongo.read_preferences import PrimaryPreferred

from symphonia_perf._core.durations import seconds
from symphonia_perf.mongo._errors import as_ours
from symphonia_perf.mongo._given import async_client, sync_client
from symphonia_perf.typing import Document, Seconds

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClient
    from pymongo.pool_options import PoolOptions as DriverPoolOptions

__all__ = ["warm", "warm_sync"]

_PRIMARY = PrimaryPreferred()
_HOLD = 100  # ms that a server keeps a `hello` waiting, and with it the connection


async def warm(
    client: "AsyncMongoClient[Any] | AsyncIOMotorClient[Any]",
    *,
    timeout: Seconds = 10.0,  # noqa: ASYNC109 - a deadline for the driver: it says what it met
) -> int:
    """The number of connections open to the primary, once the client's minimum pool stands.

    The driver fills its pools in the background, so that the first burst of a fresh process pays
    for the handshakes. Await this at start-up, before the service reports ready: it opens
    `min_size` connections to the primary (to a secondary where there is none) and lets the driver
    do the other members. Where time runs out first, the number is smaller than `min_size`.

    Args:
        client: from `create_async_client` or `create_motor_client`, or your own.
        timeout: seconds until it stops trying.

    Raises:
        StoreUnavailable: no server was found, or the connection broke.
        StoreTimeout: not one connection stood in time.
        MongoOperationError: the server refused, as it does wrong credentials.
        ConfigurationError: this is no client of that kind; or DNS does not know the host of a
            `mongodb+srv://` URI.
        NotOpen: the client was closed.
        WrongLoop: the client belongs to another event loop.
    """
    driver = async_client(client, "warm")
    if isinstance(driver, MongoClient):
        # Motor runs at most 5 commands per core at a time, in threads: too few to hold a pool open.
        return await asyncio.to_thread(warm_sync, driver, timeout=timeout)
    limit = seconds(timeout, option="timeout")
    deadline = asyncio.get_running_loop().time() + limit
    roll = _Roll(driver.options.pool_options)
    with as_ours("warm", "hello"):
        with pymongo.timeout(limit):
            roll.take([await driver.admin.command(roll.command, read_preference=_PRIMARY)])
        with suppress(TimeoutError), _untimed():
            async with asyncio.timeout_at(deadline):
                while not roll.complete:
                    calls = [
                        driver.admin.command(roll.command, read_preference=_PRIMARY)
                        for _ in range(roll.wanted)
                    ]
                    roll.take(await asyncio.gather(*calls, return_exceptions=True))
    return len(roll.open)


def warm_sync(client: MongoClient[Any], *, timeout: Seconds = 10.0) -> int:
    """What `warm` does, for a `pymongo.MongoClient`.

    Args:
        client: from `create_client`, or your own.
        timeout: seconds until it stops trying.

    Raises:
        StoreUnavailable: no server was found, or the connection broke.
        StoreTimeout: not one connection stood in time.
        MongoOperationError: the server refused, as it does wrong credentials.
        ConfigurationError: this is no client of that kind; or DNS does not know the host of a
            `mongodb+srv://` URI.
        NotOpen: the client was closed.
    """
    limit = seconds(timeout, option="timeout")
    deadline = time.monotonic() + limit
    roll = _Roll(sync_client(client, "warm_sync").options.pool_options)

    def call() -> Document:
        with _untimed():  # per thread
            return client.admin.command(roll.command, read_preference=_PRIMARY)

    threads = ThreadPoolExecutor(roll.wanted, thread_name_prefix="warm")
    try:
        with as_ours("warm", "hello"):
            with pymongo.timeout(limit):
                roll.take([client.admin.command(roll.command, read_preference=_PRIMARY)])
            while not roll.complete:
                calls = [threads.submit(call) for _ in range(roll.wanted)]
                done, late = wait(calls, timeout=max(0, deadline - time.monotonic()))
                roll.take([call.exception() or call.result() for call in done])
                roll.complete |= bool(late)
    finally:
        # Not waited for: where a server is frozen, its thread ends with the socket timeout.
        threads.shutdown(wait=False, cancel_futures=True)
    return len(roll.open)


class _Roll:
    """Counts a pool's connections by their own numbers, and says what to ask the server next.

    `hello` answers with the number of its connection. With the topology version it gave before, and
    `maxAwaitTimeMS`, it answers only after that time, as it does for the driver's monitors. As many
    of those at once as the pool's minimum need as many connections; where handshakes take longer
    than the wait, the next round finds more of them open.
    """

    def __init__(self, pool: "DriverPoolOptions") -> None:
        self.wanted = max(1, pool.min_pool_size)
        self.open: set[tuple[object, object]] = set()
        self.complete = False
        self.command: Document = {"hello": 1}  # the first finds the server and its version
        self._hold = min(_HOLD, round((pool.socket_timeout or 60) * 500))

    def take(self, replies: Sequence[Document | BaseException]) -> None:
        """Count the answers; raises an error among them, but ends after one that came too late."""
        for reply in replies:
            if isinstance(reply, BaseException):
                if not (isinstance(reply, PyMongoError) and reply.timeout):
                    raise reply
                self.complete = True
                continue
            version = reply.get("topologyVersion", {})
            self.open.add((version.get("processId"), reply.get("connectionId")))
            if version:
                self.command = {
                    "hello": 1,
                    "topologyVersion": version,
                    "maxAwaitTimeMS": self._hold,
                }
            # Servers that only speak like MongoDB may not number their connections.
            self.complete |= len(self.open) >= self.wanted or "connectionId" not in reply


def _untimed() -> AbstractContextManager[None]:
    """Keeps the client's own `timeoutMS` off: a `hello` that waits fails under a `maxTimeMS`."""
    return pymongo.timeout(0)
