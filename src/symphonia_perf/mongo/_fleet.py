"""Asks a server whether a fleet's pools fit into what it accepts."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymongo import AsyncMongoClient, MongoClient
from pymongo.read_preferences import PrimaryPreferred

from symphonia_perf._core.events import ConnectionBudgetEvent, Observer, emit
from symphonia_perf.errors import ConfigurationError, MongoOperationError
from symphonia_perf.mongo._budget import ConnectionBudget, budget_of_size
from symphonia_perf.mongo._errors import as_ours
from symphonia_perf.mongo._given import async_client, checked_observer, sync_client
from symphonia_perf.typing import Document

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClient

__all__ = ["check_budget", "check_budget_sync"]

_MANY = 2**31 - 1
_UNAUTHORIZED = 13
_PRIMARY = PrimaryPreferred()
_STATUS = {"serverStatus": 1, "metrics": 0, "repl": 0, "tcmalloc": 0, "wiredTiger": 0}


async def check_budget(
    client: "AsyncMongoClient[Any] | AsyncIOMotorClient[Any]",
    *,
    processes: int,
    observer: Observer | None = None,
) -> ConnectionBudget:
    """What a fleet of processes with this client may open, against what its server accepts.

    Await it at start-up. It asks the primary (a secondary where there is none) for `serverStatus`,
    which a user needs the role `clusterMonitor` for; `budget` does the same sum without a server.
    A verdict other than `fits` is also a `ConnectionBudgetEvent`.

    Args:
        client: as the processes have it.
        processes: of all hosts together, see `budget`.
        observer: receives the event; None: it is logged.

    Raises:
        ConfigurationError: `processes` is not a whole number of at least 1, this is no client of
            that kind, or its pool has no limit.
        MongoOperationError: the server refused, with code 13 where the user may not ask.
        StoreUnavailable: no server was found, or the connection broke.
        StoreTimeout: it did not answer in time.
        NotOpen: the client was closed.
        WrongLoop: the client belongs to another event loop.
    """
    driver = async_client(client, "check_budget")
    if isinstance(driver, MongoClient):
        return await asyncio.to_thread(
            check_budget_sync, driver, processes=processes, observer=observer
        )
    check = _Check(driver, processes, observer)
    with _permitted(), as_ours("check_budget", "serverStatus"):
        status = await driver.admin.command(_STATUS, read_preference=_PRIMARY)
    return check.conclude(status, len(driver.nodes))


def check_budget_sync(
    client: MongoClient[Any], *, processes: int, observer: Observer | None = None
) -> ConnectionBudget:
    """What `check_budget` does, for a `pymongo.MongoClient`.

    Args:
        client: as the processes have it.
        processes: of all hosts together, see `budget`.
        observer: receives the event; None: it is logged.

    Raises:
        ConfigurationError: `processes` is not a whole number of at least 1, this is no client of
            that kind, or its pool has no limit.
        MongoOperationError: the server refused, with code 13 where the user may not ask.
        StoreUnavailable: no server was found, or the connection broke.
        StoreTimeout: it did not answer in time.
        NotOpen: the client was closed.
    """
    check = _Check(sync_client(client, "check_budget_sync"), processes, observer)
    with _permitted(), as_ours("check_budget", "serverStatus"):
        status = client.admin.command(_STATUS, read_preference=_PRIMARY)
    return check.conclude(status, len(client.nodes))


@contextmanager
def _permitted() -> Iterator[None]:
    """Adds what to do to the server's word that the user may not ask."""
    try:
        yield
    except MongoOperationError as error:
        if error.code != _UNAUTHORIZED:
            raise
        raise MongoOperationError(
            f"{error}; the role clusterMonitor may ask, and budget(...) does the sum without",
            code=error.code,
            code_name=error.code_name,
            operation=error.operation,
        ) from error.__cause__


class _Check:
    """Both colours' half without I/O: what is wrong is told before a server is asked."""

    def __init__(
        self,
        client: AsyncMongoClient[Any] | MongoClient[Any],
        processes: int,
        observer: Observer | None,
    ) -> None:
        size = int(client.options.pool_options.max_pool_size)
        if not size:
            raise ConfigurationError("maxPoolSize=0: a pool without a limit has no budget")
        self._observer = checked_observer(observer)
        self._fits = budget_of_size(processes, _MANY, size, servers=1)

    def conclude(self, status: Document, servers: int) -> ConnectionBudget:
        # Of maxIncomingConnections and the limit of open files the server takes the lower one.
        connections = status["connections"]
        limit = connections["current"] + connections["available"]
        found = replace(self._fits, limit=limit, servers=max(1, servers))
        if found.verdict != "fits":
            event = ConnectionBudgetEvent(
                source="mongo", per_server=found.per_server, limit=limit, advice=str(found)
            )
            emit(self._observer, event)
        return found
