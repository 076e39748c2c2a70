"""A plan for declared indexes: what it holds, how it reads, how it is carried out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from symphonia_perf.mongo._findings import (
    Change,
    CreateIndex,
    Finding,
    IndexClash,
    IndexWarning,
    KeptIndex,
    UnmanagedIndex,
    raise_conflicts,
    shown,
    told,
)
from symphonia_perf.mongo._normalise import Specification

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

__all__ = ["IndexPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan:
    """The difference between declared and existing indexes: read `describe()`, then `apply`.

    A plan is true when something is to be done or in conflict, so a check in CI can say
    `if plan:`. It covers the collections that were declared; `_id_` is never part of it.

    ```python
    from symphonia_perf.mongo import Index, IndexRegistry

    indexes = IndexRegistry()
    indexes.add("orders", Index("status", "-createdAt", name="idx_status_created"))
    print(indexes.diff({}).describe())
    ```
    """

    changes: tuple[Change, ...] = ()
    conflicts: tuple[IndexClash, ...] = ()
    kept: tuple[KeptIndex, ...] = ()
    unmanaged: tuple[UnmanagedIndex, ...] = ()
    warnings: tuple[IndexWarning, ...] = ()

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> "IndexPlan":
        """The plan that these findings make, each kind in its order."""
        return cls(
            changes=tuple(item for item in findings if isinstance(item, CreateIndex)),
            conflicts=tuple(item for item in findings if isinstance(item, IndexClash)),
            kept=tuple(item for item in findings if isinstance(item, KeptIndex)),
            unmanaged=tuple(item for item in findings if isinstance(item, UnmanagedIndex)),
            warnings=tuple(item for item in findings if isinstance(item, IndexWarning)),
        )

    @property
    def is_empty(self) -> bool:
        """Whether the database is as declared: nothing to change and nothing in conflict."""
        return not (self.changes or self.conflicts)

    def __bool__(self) -> bool:
        return not self.is_empty

    def describe(self) -> str:
        """The plan for people: `+` create, `=` keep, `!` conflict, `?` unmanaged, then warnings."""
        counts = (
            f"{len(self.changes)} to create, {len(self.kept)} kept, "
            f"{len(self.conflicts)} in conflict, {len(self.unmanaged)} unmanaged"
        )
        return "\n".join(
            [
                *(f"+ {shown(item)}" for item in self.changes),
                *(f"= {shown(item)}" for item in self.kept),
                *(f"! {told(item)}" for item in self.conflicts),
                *(f"? {shown(item)}" for item in self.unmanaged),
                *(f"warning: {told(item)}" for item in self.warnings),
                counts,
            ]
        )

    def creates(self) -> dict[str, list[Specification]]:
        """What to create, by collection: each is one createIndexes command."""
        batches: dict[str, list[Specification]] = {}
        for change in self.changes:
            batches.setdefault(change.collection, []).append(change.specification)
        return batches

    async def apply(self, db: "AsyncDatabase[Any]") -> None:
        """Carry the plan out on a database of `pymongo.AsyncMongoClient`.

        Sends one createIndexes per collection that lacks an index, and returns when they are
        built. Safe to repeat, and to run from several processes at once. Never drops anything.

        Raises:
            IndexConflict: before anything is written, when the plan holds a conflict; from the
                server, when an index that stands in the way was created meanwhile.
            MongoOperationError: the server refused, or could not be reached.
        """
        from symphonia_perf.mongo._apply import apply  # noqa: PLC0415 - it loads the driver

        raise_conflicts(self.conflicts)
        await apply(db, self.creates())

    def apply_sync(self, db: "Database[Any]") -> None:
        """The same as `apply`, on a database of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._apply import apply_sync  # noqa: PLC0415 - it loads the driver

        raise_conflicts(self.conflicts)
        apply_sync(db, self.creates())
