"""Indexes declared in code: compared with the database, created, changed, retired and verified.

```python
from symphonia_perf.mongo import Index, IndexRegistry

indexes = IndexRegistry()
indexes.add(
    "transport_orders",
    Index("status", "-createdAt", name="idx_status_created"),
    Index.geo("pickupLocation.coordinates", name="idx_pickup_geo"),
)
indexes.retire("transport_orders", "idx_status")
```
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._advice import redundant
from symphonia_perf.mongo._diff import findings, repetitions
from symphonia_perf.mongo._findings import (
    Change,
    CreateIndex,
    Declaration,
    DropIndex,
    ExistingIndexes,
    HideIndex,
    IndexClash,
    IndexWarning,
    KeptIndex,
    ModifyIndex,
    RetiringIndex,
    UnmanagedIndex,
)
from symphonia_perf.mongo._index import Findable, Index, IndexOptions
from symphonia_perf.mongo._index_rules import name_faults
from symphonia_perf.mongo._normalise import normalise
from symphonia_perf.mongo._plan import RECORDS, IndexPlan
from symphonia_perf.mongo._progress import IndexProgress
from symphonia_perf.mongo._registry_rules import (
    check_collection,
    check_existing,
    check_index,
    checked_collections,
)
from symphonia_perf.mongo._requirements import Version
from symphonia_perf.mongo._serving import ServedQuery
from symphonia_perf.mongo._usage import UnusedIndex
from symphonia_perf.typing import Seconds

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

__all__ = [
    "Change",
    "CreateIndex",
    "DropIndex",
    "ExistingIndexes",
    "Findable",
    "HideIndex",
    "Index",
    "IndexClash",
    "IndexOptions",
    "IndexPlan",
    "IndexProgress",
    "IndexRegistry",
    "IndexWarning",
    "KeptIndex",
    "ModifyIndex",
    "RetiringIndex",
    "ServedQuery",
    "UnmanagedIndex",
    "UnusedIndex",
]

_WEEK = 7 * 86_400.0  # a service is used in another way at weekends


class IndexRegistry:
    """All indexes a service needs, declared at module scope; compares and creates them.

    ```python
    from symphonia_perf.mongo import Index, IndexRegistry

    indexes = IndexRegistry()
    indexes.add("carriers", Index("code", unique=True), Index("country", "name"))
    assert len(indexes.diff({}).changes) == 2
    ```

    Args:
        records: the collection, in the same database, that remembers since when a retired index
            has been hidden. It is written only when something is retired.

    Raises:
        ConfigurationError: not a collection's name.
    """

    def __init__(self, *, records: str = RECORDS) -> None:
        check_collection(records)
        self._records = records
        self._declared: dict[str, tuple[Index, ...]] = {}
        self._retired: dict[str, dict[str, float]] = {}

    @property
    def declared(self) -> dict[str, tuple[Index, ...]]:
        """Collection -> its indexes, in the order of their declaration."""
        return dict(self._declared)

    @property
    def retired(self) -> dict[str, dict[str, float]]:
        """Collection -> names of indexes that shall go -> seconds of observation."""
        return {collection: dict(names) for collection, names in self._retired.items()}

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections that something was declared for."""
        return tuple(dict.fromkeys((*self._declared, *self._retired)))

    def add(self, collection: str, *indexes: Index) -> None:
        """Declare indexes of a collection; call it as often as is convenient.

        Raises:
            ConfigurationError: not a collection's name, not an `Index`, or declared already (by
                name, or the same index under another name), or retired. Nothing was added then.
        """
        check_collection(collection)
        if not indexes:
            raise ConfigurationError(
                f"{collection}: no index given; write add('orders', Index(...))"
            )
        declared = list(self._declared.get(collection, ()))
        for index in indexes:
            check_index(collection, index)
            shown = f"{collection}: Index {index.name!r}"
            if index.name in self._retired.get(collection, {}):
                raise ConfigurationError(f"{shown}: is retired; a new index needs a new name")
            for other in declared:
                for fault in repetitions(index.specification(), other.specification()):
                    raise ConfigurationError(f"{shown}: {fault}")
            declared.append(index)
        self._declared[collection] = tuple(declared)

    def retire(self, collection: str, name: str, *, observe: Seconds = _WEEK) -> None:
        """Declare that an index shall go: it is hidden first, and dropped by a later run.

        To replace an index, declare the new one under a new name and retire the old one: `apply`
        builds the new, then hides the old, which costs writes but takes part in no query. Should a
        query miss it, unhiding brings it back at once. When it was hidden for `observe` seconds, a
        run of `apply(drop=True)` drops it. What is not there is no work, so the line may stay.

        Raises:
            ConfigurationError: not names, `_id_`, a declared index, or not a duration.
        """
        check_collection(collection)
        for fault in name_faults(name):
            raise ConfigurationError(f"{collection}: retire: {fault}")
        if name in {index.name for index in self._declared.get(collection, ())}:
            raise ConfigurationError(f"{collection}: {name!r} is declared, so it cannot be retired")
        length = seconds(observe, option=f"{collection}: retire({name!r}): observe", zero=True)
        self._retired.setdefault(collection, {})[name] = length

    def diff(
        self, existing: Mapping[str, ExistingIndexes], *, server: Version | None = None
    ) -> IndexPlan:
        """The plan for a database that has `existing`, without asking any.

        Args:
            existing: collection -> what it has; one that is missing has no indexes.
            server: its version, as in `(6, 0)`; what it is too old for is then a conflict.

        Raises:
            ConfigurationError: not such a mapping, or not such a version.
        """
        return self._diff(existing, server=server, database=None)

    def _diff(
        self,
        existing: Mapping[str, ExistingIndexes],
        *,
        server: Version | None,
        database: str | None,
    ) -> IndexPlan:
        check_existing(existing, server)
        found = findings(self._declarations(), existing, server=server)
        return IndexPlan.of(found, records=self._records, database=database)

    def redundant(self) -> tuple[IndexWarning, ...]:
        """The declared indexes that a longer declared one makes superfluous; asks no database."""
        return tuple(
            IndexWarning(collection=collection, name=name, reason=reason)
            for collection, indexes in self._declared.items()
            for name, reason in redundant([normalise(item.specification()) for item in indexes])
        )

    async def plan(self, db: "AsyncDatabase[Any]") -> IndexPlan:
        """The plan for a database of `pymongo.AsyncMongoClient`.

        Reads only: one listIndexes per declared collection, some at a time, one listCollections,
        one buildInfo, and the records of retired indexes where there are any. A declared collection
        that does not exist costs one listCollections more, and is warned of.

        Raises:
            MongoOperationError: the server refused (a view has code 166), or is out of reach.
        """
        from symphonia_perf.mongo._reading import read  # noqa: PLC0415 - only with a database
        from symphonia_perf.mongo._run import run  # noqa: PLC0415 - it loads the driver

        seen = await run(db, read(self.collections, records=self._asked_records(), absent=True))
        return self._diff(seen.existing, server=seen.server, database=db.name)

    def plan_sync(self, db: "Database[Any]") -> IndexPlan:
        """The same as `plan`, for a database of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._reading import read  # noqa: PLC0415 - only with a database
        from symphonia_perf.mongo._run import run_sync  # noqa: PLC0415 - it loads the driver

        seen = run_sync(db, read(self.collections, records=self._asked_records(), absent=True))
        return self._diff(seen.existing, server=seen.server, database=db.name)

    async def verify(self, db: "AsyncDatabase[Any]") -> tuple[ServedQuery, ...]:
        """Explain every query declared with an index, on documents like those of production.

        Nothing is executed. An empty collection proves little: its plans are all equally good.

        Raises:
            IndexNotUsed: another plan wins, or the sort is done in memory; tells all such queries.
            MongoOperationError: the server refused, or is out of reach.
        """
        from symphonia_perf.mongo._reading import verify  # noqa: PLC0415 - only with a database
        from symphonia_perf.mongo._run import run  # noqa: PLC0415 - it loads the driver

        return await run(db, verify(self._declarations()))

    def verify_sync(self, db: "Database[Any]") -> tuple[ServedQuery, ...]:
        """The same as `verify`, for a database of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._reading import verify  # noqa: PLC0415 - only with a database
        from symphonia_perf.mongo._run import run_sync  # noqa: PLC0415 - it loads the driver

        return run_sync(db, verify(self._declarations()))

    async def unused(
        self, db: "AsyncDatabase[Any]", *, observed: Seconds = _WEEK
    ) -> tuple[UnusedIndex, ...]:
        """The indexes of the declared collections that no member has used since it counts.

        Every data-bearing member that clients can see is asked, since each counts its own queries;
        a hidden member is seen by none, so an index that only its reports use looks idle.
        An index that does something by itself is never unused: `_id_`, TTL and unique ones; nor is
        a hidden one, which queries cannot use.

        Args:
            db: a database of a client that sees the whole replica set.
            observed: seconds that every member must have counted, default a week: an index that
                was counted for less is no answer, used or not. Counters begin at zero when a member
                starts and when an index is created, hidden or unhidden. With 0 every index that
                was not used so far is an answer, right after a deploy all of them.

        Raises:
            MongoOperationError: the server refused, or a member is out of reach, or the answer
                would not be known for all members, as behind mongos.
        """
        from symphonia_perf.mongo._reading import unused  # noqa: PLC0415 - only with a database
        from symphonia_perf.mongo._run import run  # noqa: PLC0415 - it loads the driver

        length = seconds(observed, option="observed", zero=True)
        return await run(db, unused(self.collections, observed=length))

    def unused_sync(
        self, db: "Database[Any]", *, observed: Seconds = _WEEK
    ) -> tuple[UnusedIndex, ...]:
        """The same as `unused`, for a database of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._reading import unused  # noqa: PLC0415 - only with a database
        from symphonia_perf.mongo._run import run_sync  # noqa: PLC0415 - it loads the driver

        length = seconds(observed, option="observed", zero=True)
        return run_sync(db, unused(self.collections, observed=length))

    @staticmethod
    async def export(
        db: "AsyncDatabase[Any]", *, collections: Collection[str] | None = None
    ) -> str:
        """Python source that declares what a live database has; to run it makes `indexes`.

        Args:
            db: a database of `pymongo.AsyncMongoClient`.
            collections: default: all that are no views and not the server's own.

        Raises:
            ConfigurationError: not names of collections, or not such a database.
            MongoOperationError: the server refused, or is out of reach.
        """
        from symphonia_perf.mongo._reading import export  # noqa: PLC0415 - only with a database
        from symphonia_perf.mongo._run import run  # noqa: PLC0415 - it loads the driver

        return await run(db, export(getattr(db, "name", ""), checked_collections(collections)))

    @staticmethod
    def export_sync(db: "Database[Any]", *, collections: Collection[str] | None = None) -> str:
        """The same as `export`, for a database of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._reading import export  # noqa: PLC0415 - only with a database
        from symphonia_perf.mongo._run import run_sync  # noqa: PLC0415 - it loads the driver

        return run_sync(db, export(getattr(db, "name", ""), checked_collections(collections)))

    def _declarations(self) -> dict[str, Declaration]:
        return {
            collection: Declaration(
                indexes=[index.specification() for index in self._declared.get(collection, ())],
                retired=self._retired.get(collection, {}),
                queries=_queries(self._declared.get(collection, ())),
            )
            for collection in self.collections
        }

    def _asked_records(self) -> str | None:
        return self._records if self._retired else None


def _queries(indexes: Iterable[Index]) -> dict[str, list[dict[str, Any]]]:
    return {
        index.name: [query.find_kwargs() for query in index.serves]
        for index in indexes
        if index.serves
    }
