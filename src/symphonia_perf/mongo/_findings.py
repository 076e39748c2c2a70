"""What can be said about a collection's indexes: values only; `_texts` says how they read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from symphonia_perf.mongo._normalise import Specification
from symphonia_perf.typing import Document

__all__ = [
    "Change",
    "CreateIndex",
    "Declaration",
    "DropIndex",
    "ExistingIndexes",
    "Finding",
    "HideIndex",
    "IndexClash",
    "IndexWarning",
    "KeptIndex",
    "ModifyIndex",
    "RetiringIndex",
    "UnmanagedIndex",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingIndexes:
    """What one collection has: the input of `IndexRegistry.diff`."""

    indexes: Sequence[Specification] = ()  # the lines of listIndexes
    collation: Specification | None = None  # the collection's default, as listCollections says
    building: Collection[str] = ()  # names of indexes that are listed, but not built yet
    hidden_for: Mapping[str, float] = field(default_factory=dict)  # name -> seconds, as recorded
    absent: str = ""  # where there is no such collection yet: that, as the end of a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a registry says about one collection."""

    indexes: Sequence[Specification] = ()
    retired: Mapping[str, float] = field(default_factory=dict)  # name -> seconds to observe
    queries: Mapping[str, Sequence[Document]] = field(
        default_factory=dict
    )  # name -> find()'s words


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIndex:
    """A declared index that does not exist yet, or is still being built."""

    collection: str
    specification: Specification
    building: bool = False  # another process has begun it; to apply means to wait for it

    @property
    def name(self) -> str:
        """The index's name."""
        return str(self.specification["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyIndex:
    """A declared index that exists, and that collMod makes as declared without a new build."""

    collection: str
    specification: Specification  # as declared
    existing: Specification
    options: Mapping[str, bool | int]  # what is told to collMod

    @property
    def name(self) -> str:
        """The index's name."""
        return str(self.specification["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class HideIndex:
    """A retired index that is in use: it is hidden, and the moment is recorded."""

    collection: str
    specification: Specification
    observe: float  # seconds from then until it may be dropped

    @property
    def name(self) -> str:
        """The index's name."""
        return str(self.specification["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class DropIndex:
    """A retired index that was hidden long enough; dropped when `apply` is told `drop=True`."""

    collection: str
    specification: Specification
    hidden_for: float  # seconds

    @property
    def name(self) -> str:
        """The index's name."""
        return str(self.specification["name"])


Change: TypeAlias = CreateIndex | ModifyIndex | HideIndex | DropIndex
"""What `IndexPlan.apply` would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptIndex:
    """A declared index that exists as declared."""

    collection: str
    specification: Specification


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiringIndex:
    """A retired index that is hidden and observed; there is nothing to do yet."""

    collection: str
    specification: Specification
    hidden_for: float  # seconds
    observe: float  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmanagedIndex:
    """An index that nobody declared; the plan leaves it alone."""

    collection: str
    specification: Specification


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexClash:
    """A declared index that cannot be created as things stand."""

    collection: str
    declared: Specification
    existing: Specification | None  # None where it is not another index that stands in the way
    reason: str
    code: int | None  # what the server would answer; None where it would silently do nothing
    gap: bool = False  # whether `allow_gap=True` solves it: drop the existing, build the declared

    @property
    def name(self) -> str:
        """The declared index's name."""
        return str(self.declared["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexWarning:
    """An index that works but deserves a second look."""

    collection: str
    name: str
    reason: str


Finding: TypeAlias = (
    CreateIndex
    | ModifyIndex
    | HideIndex
    | DropIndex
    | KeptIndex
    | RetiringIndex
    | UnmanagedIndex
    | IndexClash
    | IndexWarning
)
