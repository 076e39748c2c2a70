"""What callers hand us: clients, collections and observers of the right kind.

A client gives a database for any attribute and a database a collection, so that a wrong object
fails late and in words that nobody understands. The messages show kinds, not values: a URI given in
place of a client holds a password.
"""

from typing import TYPE_CHECKING, Any

from symphonia_perf._core.events import LogObserver, Observer
from symphonia_perf.errors import ConfigurationError

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient, MongoClient

__all__ = [
    "async_client",
    "checked_collection",
    "checked_cursor",
    "checked_observer",
    "sync_client",
]


def async_client(client: Any, who: str) -> "AsyncMongoClient[Any] | MongoClient[Any]":
    """An asynchronous client as it is, of a Motor client the one of threads beneath it."""
    from pymongo import AsyncMongoClient, MongoClient  # noqa: PLC0415 - queries need no driver

    if isinstance(client, AsyncMongoClient):
        return client
    beneath: object = getattr(client, "__dict__", {}).get("delegate")
    if isinstance(beneath, MongoClient):
        return beneath
    way = f"; use {who}_sync" if isinstance(client, MongoClient) else ""
    raise ConfigurationError(
        f"{who}: expected a client as of create_async_client(...), not {type(client).__name__}{way}"
    )


def sync_client(client: Any, who: str) -> "MongoClient[Any]":
    """A client of threads as it is."""
    from pymongo import AsyncMongoClient, MongoClient  # noqa: PLC0415 - queries need no driver

    if isinstance(client, MongoClient):
        return client
    is_other = isinstance(client, AsyncMongoClient)
    way = f"; use {who.removesuffix('_sync')}" if is_other else ""
    raise ConfigurationError(
        f"{who}: expected a client as of create_client(...), not {type(client).__name__}{way}"
    )


def checked_collection(collection: Any, who: str) -> Any:
    """A collection as it is, of whatever driver, mock or fake."""
    kind = type(collection)
    wrong = isinstance(collection, str | bytes) or not hasattr(collection, "find")
    if wrong or hasattr(kind, "get_collection") or hasattr(kind, "get_database"):
        raise ConfigurationError(
            f"{who}: expected a collection, as client['shop']['orders'] is, not {kind.__name__}"
        )
    return collection


def checked_cursor(cursor: Any, collection: Any, who: str) -> Any:
    """A cursor as it is, of a collection that is awaited, or for `..._sync` is not."""
    wants_sync = who.endswith("_sync")
    if hasattr(cursor, "__iter__" if wants_sync else "__aiter__"):
        return cursor
    way = f"asynchronous; use {who[:-5]}" if wants_sync else f"not asynchronous; use {who}_sync"
    raise ConfigurationError(f"{who}: {type(collection).__name__} is {way}")


def checked_observer(observer: Observer | None) -> Observer:
    """The observer, or the one that logs."""
    if observer is None:
        return LogObserver()
    if not callable(observer):
        raise ConfigurationError(f"observer={observer!r}: expected a callable that takes an event")
    return observer
