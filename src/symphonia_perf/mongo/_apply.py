"""Reading and creating indexes with PyMongo: the two thin shells around the pure plan.

The only module of the registry that imports the driver.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bson.errors import BSONError
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from symphonia_perf.errors import MongoOperationError
from symphonia_perf.mongo._diff import findings
from symphonia_perf.mongo._findings import ExistingIndexes, IndexClash, raise_conflicts
from symphonia_perf.mongo._normalise import Specification
from symphonia_perf.typing import Document

__all__ = ["apply", "apply_sync", "read", "read_sync"]

_CONCURRENT_READS = 8  # small against the smallest sensible pool
_CONFLICTS = (67, 85, 86)
_ADVICE = {
    13: "the user needs the actions listCollections, listIndexes and createIndex, "
    "which the role readWrite brings",
    166: "it is a view: declare its indexes on the collection it reads from",
}


async def read(db: AsyncDatabase[Any], collections: Collection[str]) -> dict[str, ExistingIndexes]:
    """What each collection has. One listIndexes each, some at a time, and one listCollections.

    Raises:
        MongoOperationError: the server refused one (a view has code 166), or is out of reach.
    """
    slots = asyncio.Semaphore(_CONCURRENT_READS)

    async def collations() -> dict[str, Document]:
        with _ours("listCollections"):
            cursor = await db.list_collections(filter=_with_collation(collections))
            return {item["name"]: item["options"]["collation"] async for item in cursor}

    async def indexes(collection: str) -> list[Document]:
        async with slots:
            with _ours(f"listIndexes {collection}"):
                return [dict(item) async for item in await db[collection].list_indexes()]

    # Every read ends before the first error is raised, so that none is left running behind it.
    tasks = [asyncio.ensure_future(indexes(collection)) for collection in collections]
    defaults = asyncio.ensure_future(collations())
    await asyncio.gather(defaults, *tasks, return_exceptions=True)
    return _existing(collections, [task.result() for task in tasks], defaults.result())


def read_sync(db: Database[Any], collections: Collection[str]) -> dict[str, ExistingIndexes]:
    """The same as `read`, one after the other."""
    listed = []
    with _ours("listCollections"):
        cursor = db.list_collections(filter=_with_collation(collections))
        defaults = {item["name"]: item["options"]["collation"] for item in cursor}
    for collection in collections:
        with _ours(f"listIndexes {collection}"):
            listed.append([dict(item) for item in db[collection].list_indexes()])
    return _existing(collections, listed, defaults)


async def apply(db: AsyncDatabase[Any], creates: Mapping[str, Sequence[Specification]]) -> None:
    """Create what is asked for, one createIndexes per collection.

    Raises:
        IndexConflict: the server met an index that was created since the plan was made.
        MongoOperationError: it refused for another reason, or is out of reach.
    """
    for collection, specifications in creates.items():
        try:
            with _ours(f"createIndexes {collection}"):
                await db[collection].create_indexes(_models(specifications))
        except MongoOperationError as error:
            if error.code in _CONFLICTS:
                existing = await read(db, [collection])
                _raise_conflict({collection: specifications}, existing, error)
            raise


def apply_sync(db: Database[Any], creates: Mapping[str, Sequence[Specification]]) -> None:
    """The same as `apply`."""
    for collection, specifications in creates.items():
        try:
            with _ours(f"createIndexes {collection}"):
                db[collection].create_indexes(_models(specifications))
        except MongoOperationError as error:
            if error.code in _CONFLICTS:
                existing = read_sync(db, [collection])
                _raise_conflict({collection: specifications}, existing, error)
            raise


def _with_collation(collections: Collection[str]) -> Document:
    return {"name": {"$in": list(collections)}, "options.collation": {"$exists": True}}


def _existing(
    collections: Collection[str],
    listed: Sequence[Sequence[Document]],
    collations: Mapping[str, Document],
) -> dict[str, ExistingIndexes]:
    return {
        collection: ExistingIndexes(indexes=indexes, collation=collations.get(collection))
        for collection, indexes in zip(collections, listed, strict=True)
    }


def _models(specifications: Sequence[Specification]) -> list[IndexModel]:
    """The driver's own form: so `create_indexes` brings its write concern and sessions along."""
    return [
        IndexModel(list(key.items()), **options)
        for key, options in (
            (item["key"], {name: value for name, value in item.items() if name != "key"})
            for item in specifications
        )
    ]


def _raise_conflict(
    declared: Mapping[str, Sequence[Specification]],
    existing: Mapping[str, ExistingIndexes],
    error: MongoOperationError,
) -> None:
    """Say which indexes clash, which the server's answer does not; return if none do by now."""
    found = findings(declared, existing)
    try:
        raise_conflicts([item for item in found if isinstance(item, IndexClash)])
    except MongoOperationError as conflict:
        raise conflict from error.__cause__


@contextmanager
def _ours(operation: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with the driver's as `__cause__`."""
    try:
        yield
    except OperationFailure as error:
        details = error.details or {}
        advice = f"; {_ADVICE[error.code]}" if error.code in _ADVICE else ""
        raise MongoOperationError(
            f"{operation}: {details.get('errmsg', error)}{advice}",
            code=error.code,
            code_name=details.get("codeName"),
            operation=operation,
        ) from error
    except (PyMongoError, BSONError) as error:
        raise MongoOperationError(f"{operation}: {error}", operation=operation) from error
