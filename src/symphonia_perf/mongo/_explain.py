"""Asking the server how it would run a query, so that a test can hold it to its indexes."""

from typing import TYPE_CHECKING, Any

from symphonia_perf.errors import MongoOperationError
from symphonia_perf.mongo._errors import as_ours
from symphonia_perf.mongo._given import checked_cursor
from symphonia_perf.mongo._serving import explain_command, verdict
from symphonia_perf.typing import Document

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.collection import Collection

__all__ = ["check", "check_sync"]


async def check(collection: "AsyncCollection[Any]", query: Document) -> tuple[str, ...]:
    """See `Query.explain_check`."""
    checked_cursor(collection.find({}), collection, "explain_check")
    with as_ours("explain_check", "explain"):
        answer = await collection.database.command(explain_command(collection.name, query))
    return _indexes(collection.name, query, answer)


def check_sync(collection: "Collection[Any]", query: Document) -> tuple[str, ...]:
    """The same as `check`."""
    checked_cursor(collection.find({}), collection, "explain_check_sync")
    with as_ours("explain_check", "explain"):
        answer = collection.database.command(explain_command(collection.name, query))
    return _indexes(collection.name, query, answer)


def _indexes(collection: str, query: Document, answer: Document) -> tuple[str, ...]:
    if "queryPlanner" not in answer:
        raise _unserved(collection, query, "is explained as an aggregation: it is a view")
    served = verdict(collection, "", query, answer)
    if not served.used:
        raise _unserved(collection, query, "is served by no index: it reads the whole collection")
    if served.sorts:
        used = " and ".join(map(repr, served.used))
        raise _unserved(
            collection, query, f"is sorted in memory: {used} finds the documents in another order"
        )
    return served.used


def _unserved(collection: str, query: Document, fault: str) -> MongoOperationError:
    shape = {word: query[word] for word in ("filter", "sort", "hint") if word in query}
    return MongoOperationError(f"{collection}: {shape} {fault}", operation="explain")
