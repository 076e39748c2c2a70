"""Carrying a plan out: builds, changes in place, retirement. Procedures for `_run`."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from symphonia_perf.errors import ConfigurationError, IndexConflict, MongoOperationError
from symphonia_perf.mongo._build import LOOK, SHOWN, TRIES, Patience, create, ids_text
from symphonia_perf.mongo._findings import (
    DropIndex,
    HideIndex,
    IndexClash,
    ModifyIndex,
)
from symphonia_perf.mongo._normalise import Specification, normalise
from symphonia_perf.mongo._progress import IndexProgress
from symphonia_perf.mongo._reading import counters, read
from symphonia_perf.mongo._steps import Command, Pause, Procedure, Unanswered
from symphonia_perf.mongo._texts import index_line, index_text
from symphonia_perf.mongo._usage import Counters
from symphonia_perf.typing import Document

__all__ = ["Orders", "apply"]

_NOT_UNIQUE = 359
# Another index build on the collection; the same change by another process.
_BUSY = (12587, 117)
_ABORTED = 276
_RACED = 125  # CommandFailed: two processes made the index unique at the same moment
_GONE = (26, 27)  # the collection, the index


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What `apply` was told, besides the plan."""

    database: str
    planned: str | None  # the database that was read for it, None where none was
    records: str
    creates: Mapping[str, Sequence[Specification]]
    modifies: Sequence[ModifyIndex]
    rebuilds: Sequence[IndexClash]
    hides: Sequence[HideIndex]
    drops: Sequence[DropIndex]
    progress: Callable[[IndexProgress], None] | None
    timeout: float | None  # seconds
    monotonic: Callable[[], float] = time.monotonic


def apply(orders: Orders) -> Procedure[None]:
    """Build first, then change, then hide, then drop: no query loses an index before its heir.

    Raises:
        ConfigurationError: the plan was made for another database.
        MongoOperationError: see `IndexPlan.apply`.
    """
    if orders.planned not in {None, orders.database}:
        raise ConfigurationError(
            f"the plan was made for the database {orders.planned!r}, not for "
            f"{orders.database!r}: make one for each"
        )
    clock = Patience(
        database=orders.database,
        progress=orders.progress,
        timeout=orders.timeout,
        monotonic=orders.monotonic,
    )
    for collection, specifications in orders.creates.items():
        yield from create(clock, collection, specifications)
    for clash in orders.rebuilds:
        yield from _rebuild(clock, clash)
    for change in orders.modifies:
        yield from _modify(clock, change, orders.records)
    for hide in orders.hides:
        yield from _hide(clock, hide, orders.records)
    for drop in orders.drops:
        if (yield from _is_there(drop.collection, drop.specification)):
            yield from _drop(clock, drop.collection, drop.name)
        yield _forget(orders.records, drop.collection, drop.name)


def _rebuild(clock: Patience, clash: IndexClash) -> Procedure[None]:
    """Drop and build; should the server refuse the new index, the old one is built again."""
    old = clash.existing or {}
    if (yield from _is_there(clash.collection, old, or_already=clash.declared)):
        yield from _drop(clock, clash.collection, old["name"])
    aborted = 0
    while True:
        try:
            yield from create(clock, clash.collection, [clash.declared])
        except MongoOperationError as error:
            aborted += error.code == _ABORTED
            if error.code == _ABORTED and aborted < TRIES:
                continue  # another process dropped it: that one still saw the old
            if error.code is not None and not isinstance(error, Unanswered):
                with suppress(IndexConflict):  # another process was quicker
                    yield from create(clock, clash.collection, [old])
            raise
        return


def _is_there(
    collection: str,
    planned: Specification,
    *,
    in_place: bool = False,
    or_already: Specification | None = None,
) -> Procedure[bool]:
    """Whether an index is still what the plan saw; False when it is gone, or as wanted already.

    A name may have passed to another index since, or a query missed a hidden one and somebody
    brought it back: nobody agreed to drop that, or to let its documents expire.

    Args:
        collection: where it is.
        planned: what the plan saw.
        in_place: what collMod can change may differ: another process may have done it.
        or_already: what is to stand under this name at last.

    Raises:
        MongoOperationError: it is another one.
    """
    seen = yield from read([collection])
    for listed in seen.existing[collection].indexes:
        if listed["name"] != planned["name"]:
            continue
        found, expected = normalise(listed), normalise(planned)
        if found == expected or (in_place and found.lasting == expected.lasting):
            return True
        inherited = seen.existing[collection].collation
        if or_already and found == normalise(or_already, inherited=inherited):
            return False
        raise MongoOperationError(
            f"{collection}: {planned['name']} is no longer as it was planned with: "
            f"{index_text(listed)} instead of {index_text(planned)}; make a new plan",
            operation=f"listIndexes {collection}",
        )
    return False


def _modify(clock: Patience, change: ModifyIndex, records: str) -> Procedure[None]:
    yield from _is_there(change.collection, change.existing, in_place=True)
    options = {name: wanted for name, wanted in change.options.items() if name != "unique"}
    if options:
        yield from _coll_mod(clock, change.collection, change.name, options)
    if change.options.get("unique"):
        yield from _make_unique(clock, change)
    if change.options.get("hidden") is False:
        yield _forget(records, change.collection, change.name)


def _make_unique(clock: Patience, change: ModifyIndex) -> Procedure[None]:
    """New duplicates are refused first, then the old ones looked for, then it is unique.

    https://www.mongodb.com/docs/manual/core/index-unique/convert-to-unique/
    """
    tell = partial(_coll_mod, clock, change.collection, change.name)
    yield from tell({"prepareUnique": True})
    try:
        yield from tell({"unique": True}, dry_run=True)
        yield from tell({"unique": True})
    except MongoOperationError as error:
        if error.code != _NOT_UNIQUE:
            raise
        if not change.existing.get("prepareUnique"):
            yield from tell({"prepareUnique": False})
        details: Any = getattr(error.__cause__, "details", None) or {}
        raise MongoOperationError(
            f"{error}; {_duplicates(details.get('violations', ()))}",
            code=error.code,
            code_name=error.code_name,
            operation=error.operation,
        ) from error.__cause__


def _duplicates(violations: Sequence[Mapping[str, Any]]) -> str:
    shown = "; ".join(ids_text(group["ids"]) for group in violations[:SHOWN])
    more = len(violations) - SHOWN
    return f"documents with equal values by _id: {shown}" + (f"; {more} more" if more > 0 else "")


def _coll_mod(
    clock: Patience,
    collection: str,
    name: str,
    options: Mapping[str, Any],
    *,
    dry_run: bool = False,
) -> Procedure[None]:
    document: Document = {"collMod": collection, "index": {"name": name, **options}}
    yield from _when_free(
        clock,
        Command(
            operation=f"collMod {collection}",
            document=document | ({"dryRun": True} if dry_run else {}),
            write=not dry_run,
        ),
    )


def _hide(clock: Patience, change: HideIndex, records: str) -> Procedure[None]:
    # To hide an index resets its counters, on every member. They are worth a look later, but no
    # reason to keep the index in use.
    if not (yield from _is_there(change.collection, change.specification, in_place=True)):
        return
    try:
        told = yield from counters([change.collection])
    except MongoOperationError as error:
        told = Counters(members={}, silent={"$indexStats": str(error)})
    try:
        yield from _coll_mod(clock, change.collection, change.name, {"hidden": True})
    except MongoOperationError as error:
        if error.code not in _GONE:
            raise
        return
    uses = {
        member: {"uses": row["ops"], "countedForSeconds": row["counted_for"]}
        for member, collections in told.members.items()
        for row in collections[change.collection]
        if row["name"] == change.name
    }
    record = {
        "index": index_line(change),
        "members": [{"member": member, **counted} for member, counted in uses.items()],
        "silent": [{"member": member, "reason": why} for member, why in told.silent.items()],
    }
    yield Command(
        operation=f"findAndModify {records}",
        document={
            "findAndModify": records,
            "query": {"_id": {"collection": change.collection, "index": change.name}},
            # Of ten processes the first one's moment counts.
            "update": [
                {
                    "$set": {
                        "hiddenAt": {
                            "$cond": [
                                {"$eq": [{"$type": "$hiddenAt"}, "date"]},
                                "$hiddenAt",
                                "$$NOW",
                            ]
                        },
                        "before": {"$ifNull": ["$before", {"$literal": record}]},
                    }
                }
            ],
            "upsert": True,
        },
        write=True,
    )


def _drop(clock: Patience, collection: str, name: str) -> Procedure[None]:
    yield from _when_free(
        clock,
        Command(
            operation=f"dropIndexes {collection}",
            document={"dropIndexes": collection, "index": name},
            write=True,
            nothing_on=_GONE,
        ),
    )


def _forget(records: str, collection: str, name: str) -> Command:
    """A record that is no longer true would cut the next observation short."""
    return Command(
        operation=f"findAndModify {records}",
        document={
            "findAndModify": records,
            "query": {"_id": {"collection": collection, "index": name}},
            "remove": True,
        },
        write=True,
    )


def _when_free(clock: Patience, command: Command) -> Procedure[None]:
    """The command, again while an index build or another process has the collection."""
    races = 0
    while True:
        try:
            yield command
        except MongoOperationError as error:
            races += error.code == _RACED
            if error.code not in (*_BUSY, _RACED) or races == TRIES:
                raise
            clock.check(error)
            yield Pause(seconds=LOOK)
        else:
            return
