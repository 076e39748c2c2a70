"""A plan for declared indexes: what it holds, how it reads, how it is carried out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._findings import (
    Change,
    CreateIndex,
    DropIndex,
    Finding,
    HideIndex,
    IndexClash,
    IndexWarning,
    KeptIndex,
    ModifyIndex,
    RetiringIndex,
    UnmanagedIndex,
)
from symphonia_perf.mongo._normalise import Specification
from symphonia_perf.mongo._progress import IndexProgress
from symphonia_perf.mongo._texts import (
    change_line,
    index_line,
    raise_conflicts,
    retiring_line,
    told,
)
from symphonia_perf.typing import Seconds

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

    from symphonia_perf.mongo._apply import Orders

__all__ = ["RECORDS", "IndexPlan"]

RECORDS = "symphonia_perf_indexes"  # the collection; see `IndexRegistry`

T = TypeVar("T")


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
    retiring: tuple[RetiringIndex, ...] = ()
    unmanaged: tuple[UnmanagedIndex, ...] = ()
    warnings: tuple[IndexWarning, ...] = ()
    records: str = field(default=RECORDS, compare=False)
    database: str | None = field(default=None, compare=False)  # None: made without one, by `diff`

    @classmethod
    def of(
        cls,
        findings: Sequence[Finding],
        *,
        records: str = RECORDS,
        database: str | None = None,
    ) -> "IndexPlan":
        """The plan that these findings make, each kind in its order."""
        return cls(
            changes=(
                *_only(CreateIndex, findings),
                *_only(ModifyIndex, findings),
                *_only(HideIndex, findings),
                *_only(DropIndex, findings),
            ),
            conflicts=_only(IndexClash, findings),
            kept=_only(KeptIndex, findings),
            retiring=_only(RetiringIndex, findings),
            unmanaged=_only(UnmanagedIndex, findings),
            warnings=_only(IndexWarning, findings),
            records=records,
            database=database,
        )

    @property
    def is_empty(self) -> bool:
        """Whether the database is as declared: nothing to change and nothing in conflict."""
        return not (self.changes or self.conflicts)

    def __bool__(self) -> bool:
        return not self.is_empty

    def describe(self) -> str:
        """The plan for people, one line for each finding, then a line of counts.

        `+` create, `~` modify or hide, `-` drop, `=` keep, `.` hidden and observed, `!` conflict,
        `?` unmanaged, then warnings.
        """
        counts = {
            "to create": len(_only(CreateIndex, self.changes)),
            "to modify": len(_only(ModifyIndex, self.changes)),
            "to hide": len(_only(HideIndex, self.changes)),
            "to drop": len(_only(DropIndex, self.changes)),
            "kept": len(self.kept),
            "retiring": len(self.retiring),
            "in conflict": len(self.conflicts),
            "unmanaged": len(self.unmanaged),
        }
        always = {"to create", "kept", "in conflict", "unmanaged"}
        return "\n".join(
            [
                *map(change_line, self.changes),
                *(f"= {index_line(item)}" for item in self.kept),
                *(f". {retiring_line(item)}" for item in self.retiring),
                *(f"! {told(item)}" for item in self.conflicts),
                *(f"? {index_line(item)}" for item in self.unmanaged),
                *(f"warning: {told(item)}" for item in self.warnings),
                ", ".join(f"{n} {what}" for what, n in counts.items() if n or what in always),
            ]
        )

    def creates(self) -> dict[str, list[Specification]]:
        """What to create, by collection: each is one createIndexes command."""
        batches: dict[str, list[Specification]] = {}
        for change in _only(CreateIndex, self.changes):
            batches.setdefault(change.collection, []).append(change.specification)
        return batches

    async def apply(
        self,
        db: "AsyncDatabase[Any]",
        *,
        drop: bool = False,
        allow_gap: bool = False,
        progress: Callable[[IndexProgress], None] | None = None,
        timeout: Seconds | None = None,  # noqa: ASYNC109 - a build goes on after it: it says so
    ) -> None:
        """Carry the plan out on a database of `pymongo.AsyncMongoClient`.

        Sends one createIndexes per collection that lacks an index, and returns when they are
        built, also where that takes longer than the client's `socketTimeoutMS` or `timeoutMS`.
        Then changes in place, hides what is retired, and drops what it may. Safe to repeat, and to
        run from several processes at once.

        Args:
            db: the database that the plan was made for.
            drop: drop the retired indexes that were hidden long enough; otherwise they stay.
            allow_gap: where an index stands in the way of its new declaration, drop it and build
                the new one: meanwhile queries have neither. Without it that is a conflict.
            progress: is told every half second how far a build is (with PyMongo's synchronous
                client the build then runs in a thread); needs the privilege `inprog`.
            timeout: seconds to wait for builds; default: as long as they take.

        Raises:
            IndexConflict: before anything is written, when the plan holds a conflict; from the
                server, when an index that stands in the way was created meanwhile.
            MongoOperationError: the server refused (duplicates are named by their `_id`), could
                not be reached, or `timeout` has passed; a new plan finishes what was begun.
        """
        from symphonia_perf.mongo._apply import apply  # noqa: PLC0415 - only with a database

        if orders := self._orders(db, drop, allow_gap, progress, timeout):
            from symphonia_perf.mongo._run import run  # noqa: PLC0415 - it loads the driver

            await run(db, apply(orders))

    def apply_sync(
        self,
        db: "Database[Any]",
        *,
        drop: bool = False,
        allow_gap: bool = False,
        progress: Callable[[IndexProgress], None] | None = None,
        timeout: Seconds | None = None,
    ) -> None:
        """The same as `apply`, on a database of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._apply import apply  # noqa: PLC0415 - only with a database

        if orders := self._orders(db, drop, allow_gap, progress, timeout):
            from symphonia_perf.mongo._run import run_sync  # noqa: PLC0415 - it loads the driver

            run_sync(db, apply(orders))

    def _orders(
        self,
        db: Any,
        drop: bool,  # noqa: FBT001 - private, and handed on
        allow_gap: bool,  # noqa: FBT001
        progress: Any,
        timeout: Seconds | None,
    ) -> "Orders | None":
        """What is to be done with this much permission, None when that is nothing.

        Raises:
            ConfigurationError: not such permissions.
            IndexConflict: a conflict that these permissions do not solve.
        """
        from symphonia_perf.mongo._apply import Orders  # noqa: PLC0415 - only with a database

        flags: dict[str, object] = {"drop": drop, "allow_gap": allow_gap}
        for option, given in flags.items():
            if not isinstance(given, bool):
                raise ConfigurationError(f"{option}={given!r}: expected True or False")
        if progress is not None and (not callable(progress) or iscoroutinefunction(progress)):
            raise ConfigurationError(f"progress={progress!r}: expected a function that is no async")
        limit = None if timeout is None else seconds(timeout, option="timeout")
        raise_conflicts([item for item in self.conflicts if not (allow_gap and item.gap)])
        drops = _only(DropIndex, self.changes) if drop else ()
        if not (self.conflicts or drops or len(self.changes) > len(_only(DropIndex, self.changes))):
            return None
        return Orders(
            database=getattr(db, "name", ""),  # whether it is a database is asked when it is used
            planned=self.database,
            records=self.records,
            creates=self.creates(),
            modifies=_only(ModifyIndex, self.changes),
            rebuilds=self.conflicts,
            hides=_only(HideIndex, self.changes),
            drops=drops,
            progress=progress,
            timeout=limit,
        )


def _only(kind: type[T], findings: Iterable[Finding]) -> tuple[T, ...]:
    return tuple(item for item in findings if isinstance(item, kind))
