"""Everything that is only read: indexes, their use, query plans. Procedures for `_run`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from symphonia_perf._core.env import nearest
from symphonia_perf.errors import IndexNotUsed, MongoOperationError
from symphonia_perf.mongo._findings import Declaration, ExistingIndexes
from symphonia_perf.mongo._requirements import Version
from symphonia_perf.mongo._serving import ServedQuery, explain_command, verdict
from symphonia_perf.mongo._source import python_source
from symphonia_perf.mongo._steps import Command, Procedure, Together
from symphonia_perf.mongo._usage import (
    Counters,
    UnusedIndex,
    counters_pipeline,
    unused_indexes,
)
from symphonia_perf.typing import Document

__all__ = ["Seen", "counters", "export", "read", "unused", "verify"]

_MISSING = (26,)  # NamespaceNotFound: a collection that does not exist has no indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a plan is made from."""

    existing: Mapping[str, ExistingIndexes]
    server: Version


def read(
    collections: Collection[str], *, records: str | None = None, absent: bool = False
) -> Procedure[Seen]:
    """What each collection has, and since when its retired indexes are hidden.

    Args:
        collections: their names.
        records: the collection that remembers when indexes were hidden, None where none was.
        absent: ask, too, whether a collection without an index is there at all.
    """
    names = tuple(dict.fromkeys(collections))
    questions = [
        Command(operation="buildInfo", document={"buildInfo": 1}),
        Command(
            operation="listCollections",
            document={
                "listCollections": 1,
                "filter": {"name": {"$in": list(names)}, "options.collation": {"$exists": True}},
            },
            cursor=True,
        ),
        *map(_list_indexes, names),
    ]
    if records is not None:
        questions.append(_hidden_for(records, names))
    build, collated, *listed = yield Together(commands=questions)
    hidden = listed.pop() if records is not None else []
    collations = {item["name"]: item["options"]["collation"] for item in collated}
    unlisted = [name for name, lines in zip(names, listed, strict=True) if absent and not lines]
    without = yield from _absent(unlisted)
    existing = {
        name: _existing(lines, collations.get(name), _of(hidden, name), without.get(name, ""))
        for name, lines in zip(names, listed, strict=True)
    }
    major, minor, *_ = build["versionArray"]
    return Seen(existing=existing, server=(major, minor))


def _absent(unlisted: Collection[str]) -> Procedure[dict[str, str]]:
    """Which of these collections are not there, and what a plan says about it.

    Perhaps the name is misspelt: nothing else would tell, since createIndexes makes a collection.
    """
    if not unlisted:
        return {}
    listed = yield Command(
        operation="listCollections",
        document={"listCollections": 1, "nameOnly": True, "authorizedCollections": True},
        cursor=True,
    )
    there = {item["name"] for item in listed}
    others = sorted(name for name in there if not name.startswith("system."))
    if not others:
        return dict.fromkeys(unlisted, "makes a new collection: this database is empty")
    close = {name: nearest(name, others) for name in unlisted if name not in there}
    return {
        name: f"makes a new collection: there is no {name!r} yet"
        + (f" (did you mean {meant!r}?)" if meant else "")
        for name, meant in close.items()
    }


def verify(declared: Mapping[str, Declaration]) -> Procedure[tuple[ServedQuery, ...]]:
    """What the planner does with every declared query."""
    wanted = [
        (collection, index, query)
        for collection, declaration in declared.items()
        for index, queries in declaration.queries.items()
        for query in queries
    ]
    answers = yield Together(
        commands=[
            Command(operation=f"explain {collection}", document=explain_command(collection, query))
            for collection, _, query in wanted
        ]
    )
    for (collection, *_), answer in zip(wanted, answers, strict=True):
        if "queryPlanner" not in answer:
            raise MongoOperationError(
                f"explain {collection}: it is a view: declare its indexes on the collection it "
                "reads from",
                code=166,
                code_name="CommandNotSupportedOnView",
                operation=f"explain {collection}",
            )
    served = tuple(
        verdict(*question, answer) for question, answer in zip(wanted, answers, strict=True)
    )
    empty = yield from _empty({item.collection for item in served if item.fault})
    served = tuple(replace(item, empty=item.collection in empty) for item in served)
    if failed := [item for item in served if item.fault]:
        raise IndexNotUsed("; ".join(item.describe() for item in failed), queries=served)
    return served


def _empty(collections: Collection[str]) -> Procedure[set[str]]:
    """Which of these collections hold no document, or are not there."""
    names = sorted(collections)
    counts = yield Together(
        commands=[Command(operation=f"count {name}", document={"count": name}) for name in names]
    )
    return {name for name, count in zip(names, counts, strict=True) if not count["n"]}


def counters(collections: Collection[str]) -> Procedure[Counters]:
    """The use of every index, as each member counted it; members that do not answer are named."""
    hello = yield Command(operation="hello", document={"hello": 1}, admin=True)
    if hello.get("msg") == "isdbgrid":
        return Counters(members={}, silent={"mongos": "it asks only one member of each shard"})
    addresses = [*hello.get("hosts", ()), *hello.get("passives", ())] or ["the server"]
    told: dict[str, dict[str, list[Document]]] = {}
    silent: dict[str, str] = {}
    for address in addresses:
        # Who is alone may call itself by a name that reaches it from within a container only.
        member = address if len(addresses) > 1 else None
        try:
            told[address] = {}
            for collection in collections:
                told[address][collection] = yield _index_stats(collection, member)
        except MongoOperationError as error:
            if error.code is not None:  # it answered, and refused
                raise
            del told[address]
            silent[address] = str(error)
    return Counters(members=told, silent=silent)


def unused(collections: Collection[str], *, observed: float) -> Procedure[tuple[UnusedIndex, ...]]:
    """The indexes without a use on any member."""
    told = yield from counters(collections)
    for member, reason in told.silent.items():
        raise MongoOperationError(
            f"{member} does not tell its $indexStats, so no index is known to be unused: {reason}",
            operation="$indexStats",
        )
    return tuple(
        index
        for collection in collections
        for index in unused_indexes(collection, told, observed=observed)
    )


def export(database: str, collections: Collection[str] | None) -> Procedure[str]:
    """Python source that declares what these collections have; default: all of them."""
    if collections is None:
        listed = yield Command(
            operation="listCollections",
            document={"listCollections": 1, "filter": {"type": {"$ne": "view"}}},
            cursor=True,
        )
        names = sorted(item["name"] for item in listed)
        collections = [name for name in names if not name.startswith("system.")]
    seen = yield from read(collections)
    return python_source(database, seen.existing)


def _list_indexes(collection: str) -> Command:
    # Without the flag, an index that is still being built looks as if it were there already.
    return Command(
        operation=f"listIndexes {collection}",
        document={"listIndexes": collection, "includeBuildUUIDs": True},
        cursor=True,
        nothing_on=_MISSING,
    )


def _hidden_for(records: str, collections: Sequence[str]) -> Command:
    # What anybody else wrote there, or changed, is no record of ours.
    ours = {
        "_id.collection": {"$in": list(collections)},
        "_id.index": {"$type": "string"},
        "hiddenAt": {"$type": "date"},
    }
    hidden_for = {"$divide": [{"$subtract": ["$$NOW", "$hiddenAt"]}, 1000]}
    return Command(
        operation=f"aggregate {records}",
        document={
            "aggregate": records,
            "pipeline": [{"$match": ours}, {"$project": {"hidden_for": hidden_for}}],
            "cursor": {},
        },
        cursor=True,
    )


def _index_stats(collection: str, member: str | None) -> Command:
    return Command(
        operation=f"$indexStats {collection}",
        document={"aggregate": collection, "pipeline": counters_pipeline(), "cursor": {}},
        cursor=True,
        member=member,
        nothing_on=_MISSING,
    )


def _of(records: list[Document], collection: str) -> dict[str, float]:
    """Index -> seconds for which it has been hidden."""
    return {
        record["_id"]["index"]: record["hidden_for"]
        for record in records
        if record["_id"]["collection"] == collection
    }


def _existing(
    lines: list[Document], collation: Document | None, hidden_for: dict[str, float], absent: str
) -> ExistingIndexes:
    specifications: list[Document] = [line.get("spec", line) for line in lines]
    building = [line["spec"]["name"] for line in lines if "buildUUID" in line]
    return ExistingIndexes(
        indexes=specifications,
        collation=collation,
        building=building,
        hidden_for=hidden_for,
        absent=absent,
    )
