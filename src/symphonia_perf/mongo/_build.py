"""Building indexes: a build is the server's, so what is lost with a connection is found again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from symphonia_perf.errors import MongoOperationError
from symphonia_perf.mongo._diff import findings
from symphonia_perf.mongo._findings import Declaration, IndexClash
from symphonia_perf.mongo._normalise import Specification
from symphonia_perf.mongo._progress import IndexProgress, progress_command, progress_of
from symphonia_perf.mongo._reading import read
from symphonia_perf.mongo._steps import Command, Pause, Procedure, Unanswered, Watched
from symphonia_perf.mongo._texts import raise_conflicts, value
from symphonia_perf.mongo._words import bounded
from symphonia_perf.typing import Document

__all__ = ["LOOK", "SHOWN", "TRIES", "Patience", "create", "ids_text"]

LOOK = 0.5  # seconds between two looks at a build, and at a busy collection
SHOWN = 3  # duplicates in an error; more help nobody
TRIES = 3  # of a command that left no trace when its answer was lost, or that lost a race
_CONFLICTS = (67, 85, 86)
_DUPLICATE = 11000
_ID_LENGTH = 60  # characters; an `_id` can be a document
_SEARCH = 10_000  # ms for finding duplicates without an index; the build read as much before


class Patience:
    """How long to wait for builds, and whom to tell about them."""

    def __init__(
        self,
        *,
        database: str,
        progress: Callable[[IndexProgress], None] | None,
        timeout: float | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._database = database
        self._progress = progress
        self._timeout = timeout
        self._monotonic = monotonic
        self._deadline = None if timeout is None else monotonic() + timeout

    def check(self, error: MongoOperationError) -> None:
        """Return while there is time.

        Raises:
            MongoOperationError: time is up; it says what is still going on.
        """
        if self._deadline is not None and self._monotonic() >= self._deadline:
            raise MongoOperationError(
                f"{error.operation}: not done within {self._timeout:g} s; what has begun "
                f"goes on on the server, and to apply again waits for it: {error}",
                operation=error.operation,
            ) from error

    def watched(self, command: Command, collection: str) -> Command | Watched:
        """The command, with looks at its progress where somebody wants to know."""
        if self._progress is None:
            return command
        return Watched(
            command=command,
            look=progress_command(self._database, collection),
            report=partial(_report, self._progress, collection),
            interval=LOOK,
        )


def _report(
    progress: Callable[[IndexProgress], None], collection: str, operations: Iterable[Document]
) -> None:
    for item in progress_of(collection, operations):
        progress(item)


def create(
    clock: Patience, collection: str, specifications: Sequence[Specification]
) -> Procedure[None]:
    """One createIndexes. A build outlives the connection that asked for it: look, and ask again.

    The server lets a repeated createIndexes wait for the running build (measured on 6.0.5), so
    that neither a socket timeout nor an election ends it for us.
    """
    command = Command(
        operation=f"createIndexes {collection}",
        document={"createIndexes": collection, "indexes": list(specifications)},
        write=True,
        unhurried=True,
    )
    traceless = 0
    while True:
        try:
            yield clock.watched(command, collection)
        except Unanswered as error:
            clock.check(error)
            ready, building = yield from _progress_after(error, collection, specifications)
            if ready:
                return
            traceless = 0 if building else traceless + 1
            if traceless == TRIES:
                raise
            yield Pause(seconds=0.0 if building else LOOK)
        except MongoOperationError as error:
            yield from _explained(error, collection, specifications)
            raise
        else:
            return


def _progress_after(
    error: Unanswered, collection: str, specifications: Sequence[Specification]
) -> Procedure[tuple[bool, bool]]:
    """Whether the indexes are all there, and whether one of them is being built."""
    try:
        seen = yield from read([collection])
    except MongoOperationError as second:
        raise MongoOperationError(
            f"{error}; looking again failed too ({second}): to apply again finishes what was begun",
            operation=error.operation,
        ) from error
    existing = seen.existing[collection]
    names = {item["name"] for item in existing.indexes} - set(existing.building)
    wanted = {item["name"] for item in specifications}
    return wanted <= names, bool(wanted & set(existing.building))


def _explained(
    error: MongoOperationError, collection: str, specifications: Sequence[Specification]
) -> Procedure[None]:
    """Raise what says more than the server's answer, where there is more to say."""
    if error.code in _CONFLICTS:
        seen = yield from read([collection])
        declared = {collection: Declaration(indexes=specifications)}
        found = findings(declared, seen.existing)
        try:
            raise_conflicts([item for item in found if isinstance(item, IndexClash)])
        except MongoOperationError as conflict:
            raise conflict from error.__cause__
    details: Any = getattr(error.__cause__, "details", None) or {}
    if error.code == _DUPLICATE and "keyValue" in details:
        try:
            ids = yield from _sharing(collection, specifications, details)
        except MongoOperationError:  # the answer we have says what is wrong, if not where
            return
        if ids:
            where = f"the same value is in the documents with _id {ids_text(ids)}"
            raise MongoOperationError(
                f"{error}; {where}",
                code=error.code,
                code_name=error.code_name,
                operation=error.operation,
            ) from error.__cause__


def ids_text(ids: Sequence[Any]) -> str:
    """The first of these `_id`s, and how many there are besides."""
    shown = ", ".join(bounded(value(each), _ID_LENGTH) for each in ids[:SHOWN])
    more = len(ids) - SHOWN
    return shown + (f" and {more} more" if more > 0 else "")


def _sharing(
    collection: str, specifications: Sequence[Specification], details: Mapping[str, Any]
) -> Procedure[list[Any]]:
    """The `_id` of documents with a value that is there twice."""
    key = dict(details["keyPattern"])
    twice = (item for item in specifications if item.get("unique") and dict(item["key"]) == key)
    condition = next(twice, {}).get("partialFilterExpression", {})
    if "hexEncoded" in details:  # under a collation the server names a sort key, not the value
        collation = {name: it for name, it in details["collation"].items() if name != "version"}
        fields = {str(n): f"${path}" for n, path in enumerate(key)}
        pipeline: list[Document] = [
            {"$match": condition},
            {"$group": {"_id": fields, "ids": {"$firstN": {"input": "$_id", "n": SHOWN}}}},
            {"$match": {"ids.1": {"$exists": True}}},
            {"$limit": 1},
        ]
        groups = yield Command(
            operation=f"aggregate {collection}",
            document={
                "aggregate": collection,
                "pipeline": pipeline,
                "collation": collation,
                "cursor": {},
                "allowDiskUse": True,
                "maxTimeMS": _SEARCH,
            },
            cursor=True,
        )
        return list(groups[0]["ids"]) if groups else []
    found = yield Command(
        operation=f"find {collection}",
        document={
            "find": collection,
            "filter": {"$and": [dict(details["keyValue"]), condition]},
            "projection": {"_id": 1},
            "limit": SHOWN,
        },
        cursor=True,
    )
    return [item["_id"] for item in found]
