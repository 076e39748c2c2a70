"""Indexes declared in code: compared with the database, and created where they are missing.

```python
from symphonia_perf.mongo import Index, IndexRegistry

indexes = IndexRegistry()
indexes.add(
    "transport_orders",
    Index("status", "-createdAt", name="idx_status_created"),
    Index.geo("pickupLocation.coordinates", name="idx_pickup_geo"),
)
```
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._diff import findings, repetitions
from symphonia_perf.mongo._documents import copied, split_direction
from symphonia_perf.mongo._findings import (
    Change,
    CreateIndex,
    ExistingIndexes,
    IndexClash,
    IndexWarning,
    KeptIndex,
    UnmanagedIndex,
)
from symphonia_perf.mongo._index_rules import (
    key_faults,
    option_faults,
    weight_faults,
    whole_seconds,
    wildcard_faults,
)
from symphonia_perf.mongo._plan import IndexPlan
from symphonia_perf.typing import Document, Seconds

if TYPE_CHECKING:
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.database import Database

__all__ = [
    "Change",
    "CreateIndex",
    "ExistingIndexes",
    "Index",
    "IndexClash",
    "IndexOptions",
    "IndexPlan",
    "IndexRegistry",
    "IndexWarning",
    "KeptIndex",
    "UnmanagedIndex",
]

Key: TypeAlias = str | tuple[str, int | str]


class IndexOptions(TypedDict, total=False):
    """What every kind of index takes; see `Index`."""

    name: str
    unique: bool
    sparse: bool
    expire_after: Seconds
    partial: Mapping[str, Any]
    collation: Mapping[str, Any]
    hidden: bool


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Index:
    """One declared index; checked when it is made, so a mistake fails at import.

    ```python
    from symphonia_perf.mongo import Index

    index = Index("clientId", "-createdAt", partial={"status": "OPEN"})
    assert index.name == "clientId_1_createdAt_-1"
    ```

    Args:
        keys: fields in order, `"-field"` for descending; or pairs as the driver takes them, such as
            `("position", "2d")`, for compound indexes of special kinds.
        name: default: MongoDB's own, made of fields and directions.
        unique: refuse a second document with the same values.
        sparse: leave out documents that have none of the fields.
        expire_after: seconds after which a document is deleted, counted from the date in the one
            indexed field; whole seconds, or a `timedelta` of such.
        partial: index only the documents that match this filter.
        collation: how text compares, as in `{"locale": "en", "strength": 2}`; default: the
            collection's own.
        hidden: maintained, but not used by the query planner.

    Raises:
        ConfigurationError: MongoDB would refuse the index, or could never use it.
    """

    keys: tuple[tuple[str, int | str], ...]
    name: str
    _options: Document = field(hash=False)

    def __init__(
        self,
        *keys: Key,
        name: str | None = None,
        unique: bool = False,
        sparse: bool = False,
        expire_after: Seconds | None = None,
        partial: Mapping[str, Any] | None = None,
        collation: Mapping[str, Any] | None = None,
        hidden: bool = False,
    ) -> None:
        shown = f"Index({', '.join(map(repr, keys))})" if name is None else f"Index {name!r}"
        pairs = tuple(_pair(key, shown) for key in keys)
        _refuse(shown, key_faults(pairs))
        # The server's own form: https://www.mongodb.com/docs/manual/indexes/#index-names
        chosen = "_".join(f"{path}_{kind}" for path, kind in pairs) if name is None else name
        given = {
            "unique": unique,
            "sparse": sparse,
            "expire_after": expire_after,
            "partial": partial,
            "collation": collation,
            "hidden": hidden,
        }
        _refuse(shown, option_faults(pairs, chosen, given))
        object.__setattr__(self, "keys", pairs)
        object.__setattr__(self, "name", chosen)
        object.__setattr__(self, "_options", _createindexes_options(shown, pairs, given))

    def __repr__(self) -> str:
        return f"Index({self.specification()})"

    @classmethod
    def geo(cls, path: str, *then: Key, **options: Unpack[IndexOptions]) -> "Index":
        """A 2dsphere index on GeoJSON at `path`: what `$near` needs.

        Raises:
            ConfigurationError: as for `Index`.
        """
        return cls((path, "2dsphere"), *then, **options)

    @classmethod
    def hashed(cls, path: str, *then: Key, **options: Unpack[IndexOptions]) -> "Index":
        """A hashed index: equality only, spreads a shard key evenly.

        Raises:
            ConfigurationError: as for `Index`.
        """
        return cls((path, "hashed"), *then, **options)

    @classmethod
    def text(
        cls,
        *paths: str,
        weights: Mapping[str, int] | None = None,
        language: str = "english",
        language_field: str = "language",
        **options: Unpack[IndexOptions],
    ) -> "Index":
        """A text index for `$text`; a collection can have one.

        Args:
            paths: the fields to search; `"$**"` for all text of a document.
            weights: field -> how much a word counts there, 1 to 99,999; default 1.
            language: whose stop words and stems are used; `"none"` for neither.
            language_field: where a document may name its own language.
            options: as for `Index`.

        Raises:
            ConfigurationError: as for `Index`, or a weight for a field that is not in `paths`.
        """
        index = cls(*((path, "text") for path in paths), **options)
        _refuse(f"Index {index.name!r}", weight_faults(paths, weights or {}))
        return index._with(
            weights={**dict.fromkeys(paths, 1), **(weights or {})},
            default_language=language,
            language_override=language_field,
        )

    @classmethod
    def wildcard(
        cls,
        path: str = "",
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        **options: Unpack[IndexOptions],
    ) -> "Index":
        """An index on every field below `path`, or on those that `include` or `exclude` leave.

        Raises:
            ConfigurationError: as for `Index`, or `path`, `include` and `exclude` were combined.
        """
        index = cls(f"{path}.$**" if path else "$**", **options)
        _refuse(f"Index {index.name!r}", wildcard_faults(path, include, exclude))
        if not include and not exclude:
            return index
        return index._with(
            wildcardProjection={**dict.fromkeys(include, 1), **dict.fromkeys(exclude, 0)}
        )

    def specification(self) -> Document:
        """The index as createIndexes takes it; a new document on every call."""
        return {"key": dict(self.keys), "name": self.name, **copied(self._options)}

    def _with(self, **options: Any) -> "Index":
        # Only for an index that a class method has just made.
        object.__setattr__(self, "_options", {**self._options, **options})
        return self


class IndexRegistry:
    """All indexes a service needs, declared at module scope; compares and creates them.

    ```python
    from symphonia_perf.mongo import Index, IndexRegistry

    indexes = IndexRegistry()
    indexes.add("carriers", Index("code", unique=True), Index("country", "name"))
    assert len(indexes.diff({}).changes) == 2
    ```
    """

    def __init__(self) -> None:
        self._declared: dict[str, tuple[Index, ...]] = {}

    @property
    def declared(self) -> dict[str, tuple[Index, ...]]:
        """Collection -> its indexes, in the order of their declaration."""
        return dict(self._declared)

    def add(self, collection: str, *indexes: Index) -> None:
        """Declare indexes of a collection; call it as often as is convenient.

        Raises:
            ConfigurationError: not a collection's name, not an `Index`, or declared already (by
                name, or the same index under another name). Nothing was added then.
        """
        if not _is_collection(collection):
            raise ConfigurationError(f"{collection!r}: expected a collection's name")
        if not indexes:
            raise ConfigurationError(
                f"{collection}: no index given; write add('orders', Index(...))"
            )
        declared = list(self._declared.get(collection, ()))
        for index in indexes:
            if not isinstance(index, Index):
                raise ConfigurationError(f"{collection}: {index!r} is not an Index")
            for other in declared:
                faults = repetitions(index.specification(), other.specification())
                _refuse(f"{collection}: Index {index.name!r}", faults)
            declared.append(index)
        self._declared[collection] = tuple(declared)

    def diff(self, existing: Mapping[str, ExistingIndexes]) -> IndexPlan:
        """The plan for a database that has `existing`, without asking any."""
        declared = {
            collection: [index.specification() for index in indexes]
            for collection, indexes in self._declared.items()
        }
        return IndexPlan.of(findings(declared, existing))

    async def plan(self, db: "AsyncDatabase[Any]") -> IndexPlan:
        """The plan for a database of `pymongo.AsyncMongoClient`.

        Reads only: one listIndexes per declared collection, and one listCollections.

        Raises:
            MongoOperationError: the server refused (a view has code 166), or is out of reach.
        """
        from symphonia_perf.mongo._apply import read  # noqa: PLC0415 - it loads the driver

        return self.diff(await read(db, self._declared))

    def plan_sync(self, db: "Database[Any]") -> IndexPlan:
        """The same as `plan`, for a database of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._apply import read_sync  # noqa: PLC0415 - it loads the driver

        return self.diff(read_sync(db, self._declared))


def _pair(key: Any, shown: str) -> tuple[Any, Any]:
    if not isinstance(key, tuple):
        return split_direction(key)
    if len(key) != 2:
        raise ConfigurationError(f"{shown}: {key!r}: expected a pair such as ('position', '2d')")
    return key


def _is_collection(name: object) -> bool:
    # https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions
    return isinstance(name, str) and bool(name) and not {"$", "\0"} & set(name)


def _refuse(shown: str, faults: Iterator[str]) -> None:
    for fault in faults:
        raise ConfigurationError(f"{shown}: {fault}")


def _createindexes_options(
    shown: str, pairs: Sequence[tuple[str, int | str]], given: Mapping[str, Any]
) -> Document:
    options: Document = {flag: True for flag in ("unique", "sparse", "hidden") if given[flag]}
    if (lifetime := given["expire_after"]) is not None:
        options["expireAfterSeconds"] = whole_seconds(lifetime, option=f"{shown}: expire_after")
    if given["partial"] is not None:
        options["partialFilterExpression"] = copied(given["partial"], f"{shown}: partial")
    if given["collation"] is not None:
        options["collation"] = dict(given["collation"])
    elif {"text", "2d"} & {kind for _, kind in pairs}:
        # They have none, and must say so in a collection that has a default (67).
        options["collation"] = {"locale": "simple"}
    return options
