"""One declared index, checked when it is made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Never, Protocol, TypeAlias, TypedDict, Unpack

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._documents import copied, split_direction
from symphonia_perf.mongo._index_rules import (
    flat_faults,
    key_faults,
    option_faults,
    raw_faults,
    spelling_faults,
    text_faults,
    unknown_faults,
    whole_seconds,
    wildcard_faults,
)
from symphonia_perf.typing import Document, Seconds

__all__ = ["Findable", "Index", "IndexOptions", "Key"]

Key: TypeAlias = str | tuple[str, int | str]


class Findable(Protocol):
    """What an index can serve: a `Query`, or whatever else knows the words of `find()`."""

    def find_kwargs(self) -> Document:
        """The keyword arguments of the driver's `find()`."""
        ...


class IndexOptions(TypedDict, total=False):
    """What every kind of index takes; see `Index`."""

    name: str
    unique: bool
    sparse: bool
    expire_after: Seconds
    partial: Mapping[str, Any]
    collation: Mapping[str, Any]
    hidden: bool
    serves: Sequence[Findable]


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
        serves: the queries it is made for; `IndexRegistry.verify` asks the server whether it wins
            them. No part of the index: two that differ in this only are equal.

    Raises:
        ConfigurationError: MongoDB would refuse the index, or could never use it.
    """

    keys: tuple[tuple[str, int | str], ...]
    name: str
    serves: tuple[Findable, ...] = field(compare=False)
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
        serves: Sequence[Findable] = (),
        **unknown: Never,  # a type checker refuses them; where there is none, we say the way out
    ) -> None:
        shown = f"Index({', '.join(map(repr, keys))})" if name is None else f"Index {name!r}"
        _refuse(shown, unknown_faults(unknown))
        pairs = tuple(_pair(key, shown) for key in keys)
        _refuse(shown, key_faults(pairs))
        # The server's own form: https://www.mongodb.com/docs/manual/indexes/#index-names
        chosen = "_".join(f"{path}_{kind}" for path, kind in pairs) if name is None else name
        given = {
            "unique": unique,
            "sparse": sparse,
            "expire_after": expire_after,
            "partial": copied(partial, f"{shown}: partial"),
            "collation": copied(collation, f"{shown}: collation"),
            "hidden": hidden,
        }
        _refuse(shown, option_faults(pairs, chosen, given))
        _refuse(shown, _query_faults(serves))
        self._set(pairs, chosen, serves, _createindexes_options(shown, pairs, given))

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
    def flat(
        cls,
        path: str,
        *then: Key,
        bits: int | None = None,
        minimum: float | None = None,
        maximum: float | None = None,
        **options: Unpack[IndexOptions],
    ) -> "Index":
        """A 2d index on pairs of plane coordinates at `path`.

        Args:
            path: where a document has its `[x, y]`.
            then: further keys.
            bits: precision of each coordinate, 1 to 32; the server's default is 26.
            minimum: the smallest coordinate, itself allowed; the server's default is -180.
            maximum: what every coordinate is smaller than; the server's default is 180.
            options: as for `Index`.

        Raises:
            ConfigurationError: as for `Index`, or bits or bounds that MongoDB would refuse.
        """
        index = cls((path, "2d"), *then, **options)
        given = {"bits": bits, "min": minimum, "max": maximum}
        _refuse(f"Index {index.name!r}", flat_faults(bits, minimum, maximum))
        return index._with(**{word: value for word, value in given.items() if value is not None})

    @classmethod
    def raw(cls, specification: Mapping[str, Any], *, serves: Sequence[Findable] = ()) -> "Index":
        """An index as createIndexes takes it, for what the other forms cannot say.

        Only what decides which index it is gets checked here; the rest is between you and the
        server.

        ```python
        from symphonia_perf.mongo import Index

        engine = {"wiredTiger": {"configString": "prefix_compression=false"}}
        Index.raw({"key": {"code": 1}, "name": "idx_code", "storageEngine": engine})
        ```

        Raises:
            ConfigurationError: it has no usable key or name, or an option of another type.
        """
        shown = f"Index.raw({specification!r})"
        options = copied(specification, "Index.raw")
        _refuse(shown, raw_faults(options))
        _refuse(shown, _query_faults(serves))
        pairs, name = tuple(options.pop("key").items()), options.pop("name")
        index = object.__new__(cls)
        index._set(pairs, name, serves, options)
        return index

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
            ConfigurationError: as for `Index`, or a weight for a field that is not in `paths`, or
                a language that is no text.
        """
        index = cls(*((path, "text") for path in paths), **options)
        _refuse(f"Index {index.name!r}", text_faults(paths, weights, language, language_field))
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
        _refuse(f"Index.wildcard({path!r})", wildcard_faults(path, include, exclude))
        index = cls(f"{path}.$**" if path else "$**", **options)
        if not include and not exclude:
            return index
        return index._with(
            wildcardProjection={**dict.fromkeys(include, 1), **dict.fromkeys(exclude, 0)}
        )

    def specification(self) -> Document:
        """The index as createIndexes takes it; a new document on every call."""
        return {"key": dict(self.keys), "name": self.name, **copied(self._options)}

    def _set(
        self,
        keys: tuple[tuple[str, Any], ...],
        name: str,
        serves: Sequence[Findable],
        options: Document,
    ) -> None:
        object.__setattr__(self, "keys", keys)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "serves", tuple(serves))
        object.__setattr__(self, "_options", options)

    def _with(self, **options: Any) -> "Index":
        # Only for an index that a class method has just made.
        object.__setattr__(self, "_options", {**self._options, **options})
        return self


def _pair(key: Any, shown: str) -> tuple[Any, Any]:
    if isinstance(key, list | set | Mapping):
        raise ConfigurationError(
            f"{shown}: {key!r} is a {type(key).__name__}; give the fields one by one, as in "
            "Index('status', ('createdAt', -1))"
        )
    if isinstance(key, int):
        raise ConfigurationError(
            f"{shown}: {key!r} stands alone; a direction belongs to its field, as in "
            "Index('-createdAt') or Index(('createdAt', -1))"
        )
    if isinstance(key, str):
        _refuse(shown, spelling_faults(key))
    if not isinstance(key, tuple):
        return split_direction(key)
    if len(key) != 2:
        raise ConfigurationError(f"{shown}: {key!r}: expected a pair such as ('position', '2d')")
    return key


def _refuse(shown: str, faults: Iterator[str]) -> None:
    for fault in faults:
        raise ConfigurationError(f"{shown}: {fault}")


def _query_faults(queries: object) -> Iterator[str]:
    if isinstance(queries, Sequence) and not isinstance(queries, str | bytes):
        for query in queries:
            if isinstance(query, type) or not callable(getattr(query, "find_kwargs", None)):
                yield f"serves: {query!r} is not a Query"
    else:
        yield f"serves={queries!r}: expected a list of queries"


def _createindexes_options(
    shown: str, pairs: Sequence[tuple[str, int | str]], given: Mapping[str, Any]
) -> Document:
    options: Document = {flag: True for flag in ("unique", "sparse", "hidden") if given[flag]}
    if (lifetime := given["expire_after"]) is not None:
        options["expireAfterSeconds"] = whole_seconds(lifetime, option=f"{shown}: expire_after")
    if given["partial"] is not None:
        options["partialFilterExpression"] = given["partial"]
    if given["collation"] is not None:
        options["collation"] = given["collation"]
    elif {"text", "2d"} & {kind for _, kind in pairs}:
        # They have none, and must say so in a collection that has a default (67).
        options["collation"] = {"locale": "simple"}
    return options
