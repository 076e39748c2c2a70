"""What can be said about a collection's indexes, and how it reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from symphonia_perf.errors import IndexConflict
from symphonia_perf.mongo._normalise import Specification

__all__ = [
    "Change",
    "CreateIndex",
    "ExistingIndexes",
    "Finding",
    "IndexClash",
    "IndexWarning",
    "KeptIndex",
    "UnmanagedIndex",
    "raise_conflicts",
    "shown",
    "shown_value",
    "told",
]

_CODE_NAMES = {67: "CannotCreateIndex", 85: "IndexOptionsConflict", 86: "IndexKeySpecsConflict"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingIndexes:
    """What one collection has: the input of `IndexRegistry.diff`."""

    indexes: Sequence[Specification] = ()  # the lines of listIndexes
    collation: Specification | None = None  # the collection's default, as listCollections says


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIndex:
    """A declared index that does not exist yet."""

    collection: str
    specification: Specification


Change: TypeAlias = CreateIndex
"""What `IndexPlan.apply` would do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptIndex:
    """A declared index that exists as declared."""

    collection: str
    specification: Specification


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmanagedIndex:
    """An index that nobody declared; the plan leaves it alone."""

    collection: str
    specification: Specification


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexClash:
    """A declared index that cannot be created beside an existing one."""

    collection: str
    declared: Specification
    existing: Specification
    reason: str
    code: int | None  # what the server would answer; None where it would silently do nothing

    @property
    def name(self) -> str:
        """The declared index's name."""
        return str(self.declared["name"])


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexWarning:
    """A declared index that works but deserves a second look."""

    collection: str
    name: str
    reason: str


Finding: TypeAlias = CreateIndex | KeptIndex | UnmanagedIndex | IndexClash | IndexWarning


def raise_conflicts(clashes: Sequence[IndexClash]) -> None:
    """Return when there are none.

    Raises:
        IndexConflict: the message tells every conflict, the attributes are the first one's.
    """
    if not clashes:
        return
    first = clashes[0]
    raise IndexConflict(
        "; ".join(map(told, clashes)),
        declared=first.declared,
        existing=first.existing,
        code=first.code,
        code_name=None if first.code is None else _CODE_NAMES[first.code],
        operation=f"createIndexes {first.collection}",
    )


def told(item: IndexClash | IndexWarning) -> str:
    """A sentence that begins with the index."""
    return f"{item.collection}: {item.name} {item.reason}"


def shown(item: Change | KeptIndex | UnmanagedIndex) -> str:
    """One index on one line: `orders: idx_code {code: 1} unique=true`."""
    options = [
        f" {option}={shown_value(value)}"
        for option, value in item.specification.items()
        if option not in {"v", "name", "key", "2dsphereIndexVersion", "textIndexVersion"}
        and value != {"locale": "simple"}
    ]
    name, key = item.specification["name"], shown_value(item.specification["key"])
    return f"{item.collection}: {name} {key}{''.join(options)}"


def shown_value(value: Any) -> str:
    """A value as the mongo shell would show it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {shown_value(item)}" for name, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "unset", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, int | float) else repr(value)
