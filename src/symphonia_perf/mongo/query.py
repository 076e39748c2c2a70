"""Queries as values: filter, projection, sort and limit, put together once and used often."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._documents import copied, path_fault, split_direction
from symphonia_perf.mongo.projection import project
from symphonia_perf.typing import Document

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.cursor import AsyncCursor
    from pymongo.collection import Collection
    from pymongo.cursor import Cursor

__all__ = ["Query"]

D = TypeVar("D", bound=Mapping[str, Any])

_MAX_SORT_FIELDS = 32  # 13103 above
_MAX_LIMIT = 2**63 - 1  # a BSON integer


class Query:
    """What to find, as an immutable value: every call returns a new one.

    So a query can be a module constant; neither the caller's filter nor what `find_kwargs` returned
    can change it afterwards.

    ```python
    from symphonia_perf.mongo import Query

    in_transit = (
        Query({"status": "IN_TRANSIT"})
        .only("reference", "pickupLocation.city")
        .sort("-createdAt", "-_id")
        .limit(50)
    )
    assert in_transit.find_kwargs() == {
        "filter": {"status": "IN_TRANSIT"},
        "projection": {"reference": 1, "pickupLocation.city": 1},
        "sort": [("createdAt", -1), ("_id", -1)],
        "limit": 50,
    }
    ```

    Args:
        filter: what documents must match; default: all.

    Raises:
        ConfigurationError: the filter is not a document.
    """

    __slots__ = ("_filter", "_limit", "_projection", "_sort")

    _filter: Document
    _projection: dict[str, int] | None
    _sort: tuple[tuple[str, int], ...]
    _limit: int | None

    def __init__(self, filter: Mapping[str, Any] | None = None) -> None:  # noqa: A002 - find()'s word
        self._filter = copied(_document(filter), "filter")
        self._projection = None
        self._sort = ()
        self._limit = None

    def only(self, *fields: str) -> "Query":
        """Return these fields instead of whole documents; a later call replaces an earlier one.

        `_id` comes along, as MongoDB has it, unless `"-_id"` is among the fields.

        Raises:
            ProjectionError: a path that the server would refuse or misread; see `project`.
        """
        return self._with(_projection=project(*fields))

    def sort(self, *fields: str) -> "Query":
        """Sort by these fields, `"-field"` for descending; a later call replaces an earlier one.

        Raises:
            ConfigurationError: no field, a bad path, a field twice, or more than 32 fields.
        """
        order: dict[str, int] = {}
        for given in fields:
            path, direction = split_direction(given)
            if fault := path_fault(path):
                raise ConfigurationError(f"sort: the field {path!r} {fault}")
            if path in order:
                raise ConfigurationError(f"sort: the field {path!r} is named twice")
            order[str(path)] = direction
        if not 1 <= len(order) <= _MAX_SORT_FIELDS:
            raise ConfigurationError(
                f"sort: {len(order)} fields, expected 1 to {_MAX_SORT_FIELDS}, as in sort('-age')"
            )
        return self._with(_sort=tuple(order.items()))

    def limit(self, count: int) -> "Query":
        """Return at most `count` documents; a later call replaces an earlier one.

        Raises:
            ConfigurationError: not a whole number of 1 or more. (To the driver 0 means "no limit",
                and a negative number "one batch": neither is what such a value wanted.)
        """
        if not _is_count(count):
            raise ConfigurationError(f"limit={count!r}: expected a whole number, 1 or more")
        return self._with(_limit=count)

    def find_kwargs(self) -> Document:
        """Exactly what the driver's `find()` and `find_one()` are given; a new document each time.

        What was not asked for is left out.
        """
        kwargs: Document = {"filter": copied(self._filter)}
        if self._projection is not None:
            kwargs["projection"] = dict(self._projection)
        if self._sort:
            kwargs["sort"] = list(self._sort)
        if self._limit is not None:
            kwargs["limit"] = self._limit
        return kwargs

    @overload
    def find(self, collection: "AsyncCollection[D]") -> "AsyncCursor[D]": ...
    @overload
    def find(self, collection: "Collection[D]") -> "Cursor[D]": ...
    def find(self, collection: Any) -> Any:
        """The driver's own cursor, from its own `find()`; errors are the driver's too."""
        return collection.find(**self.find_kwargs())

    def __repr__(self) -> str:
        calls = [f"Query({self._filter!r})"]
        if self._projection is not None:
            paths = [path if wanted else f"-{path}" for path, wanted in self._projection.items()]
            calls.append(f"only({', '.join(map(repr, paths))})")
        if self._sort:
            order = [path if direction == 1 else f"-{path}" for path, direction in self._sort]
            calls.append(f"sort({', '.join(map(repr, order))})")
        if self._limit is not None:
            calls.append(f"limit({self._limit})")
        return ".".join(calls)

    def _with(self, **changes: Any) -> "Query":
        new = object.__new__(Query)
        new._filter = self._filter
        new._projection = self._projection
        new._sort = self._sort
        new._limit = self._limit
        for slot, value in changes.items():
            setattr(new, slot, value)
        return new


def _document(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            f"filter={value!r}: expected a document such as {{'status': 'OPEN'}}"
        )
    return value


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_LIMIT
