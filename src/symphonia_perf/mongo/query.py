"""Queries as values: filter, projection, sort and limit, put together once and used often."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Observer
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._documents import copied, is_ordinary, path_fault
from symphonia_perf.mongo._given import checked_collection
from symphonia_perf.mongo.projection import Field, project
from symphonia_perf.typing import Document, Seconds

if TYPE_CHECKING:
    from bson.raw_bson import RawBSONDocument
    from pymongo.asynchronous.client_session import AsyncClientSession
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.cursor import AsyncCursor
    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection
    from pymongo.cursor import Cursor

    from symphonia_perf.mongo._covered import Coverage
    from symphonia_perf.mongo._index import Index
    from symphonia_perf.mongo.pagination import Page

__all__ = ["Query", "raw_documents"]

D = TypeVar("D", bound=Mapping[str, Any])

_MAX_SORT_FIELDS = 32  # 13103 above
_MAX_LIMIT = 2**63 - 1  # a BSON integer
_MAX_INT32 = 2**31 - 1


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

    __slots__ = ("_find",)

    _find: Document  # find()'s keyword arguments; nobody outside ever holds them

    def __init__(self, filter: Mapping[str, Any] | None = None) -> None:  # noqa: A002 - find()'s word
        if filter is not None and not isinstance(filter, Mapping):
            raise ConfigurationError(
                f"filter={filter!r}: expected a document such as {{'status': 'OPEN'}}"
            )
        self._find = {"filter": copied(filter or {}, "filter")}

    def only(self, *fields: Field) -> "Query":
        """Return these fields instead of whole documents; a later call replaces an earlier one.

        A field is a path (`"address.city"`), fields in a field (`{"address": ["city"]}`), or a
        model whose fields are meant: a dataclass, a TypedDict, a pydantic model. `_id` comes along,
        as MongoDB has it, unless `"-_id"` is among the fields.

        Raises:
            ProjectionError: a path that the server would refuse or misread; see `project`.
        """
        return self._with("projection", project(*fields))

    def sort(self, *fields: str) -> "Query":
        """Sort by these fields, `"-field"` for descending; a later call replaces an earlier one.

        Raises:
            ConfigurationError: no field, a bad path, a field twice, or more than 32 fields.
        """
        order: dict[str, int] = {}
        named: tuple[object, ...] = fields
        for given in named:
            if not isinstance(given, str) or given.startswith("+"):
                raise ConfigurationError(
                    f"sort: {given!r} is no field; name each as text of its own, '-year' for "
                    "descending and 'year' for ascending, as in sort('-year', '_id')"
                )
            path, direction = (given[1:], -1) if given.startswith("-") else (given, 1)
            if not is_ordinary(path) and (fault := path_fault(path)):
                raise ConfigurationError(f"sort: the field {path!r} {fault}")
            if path in order:
                raise ConfigurationError(f"sort: the field {path!r} is named twice")
            order[path] = direction
        if not 1 <= len(order) <= _MAX_SORT_FIELDS:
            raise ConfigurationError(
                f"sort: {len(order)} fields, expected 1 to {_MAX_SORT_FIELDS}, as in sort('-age')"
            )
        return self._with("sort", list(order.items()))

    def limit(self, count: int) -> "Query":
        """Return at most `count` documents; a later call replaces an earlier one.

        Raises:
            ConfigurationError: not a whole number of 1 or more. (To the driver 0 means "no limit",
                and a negative number "one batch": neither is what such a value wanted.)
        """
        return self._with("limit", _count("limit", count, _MAX_LIMIT))

    def batch_size(self, count: int) -> "Query":
        """Fetch `count` documents at a time; default: the server's, 101 and then up to 16 MB.

        Raises:
            ConfigurationError: not a whole number of 1 to 2147483647.
        """
        return self._with("batch_size", _count("batch_size", count, _MAX_INT32))

    def hint(self, index: "Index | str") -> "Query":
        """Use this index, whatever the query planner thinks; the server refuses one it lacks (2).

        Raises:
            ConfigurationError: neither a declared `Index` nor the name of one.
        """
        name = getattr(index, "name", index)
        if not isinstance(name, str) or not name or name.startswith("$"):
            raise ConfigurationError(f"hint={index!r}: expected an Index or the name of one")
        return self._with("hint", name)

    def comment(self, text: str) -> "Query":
        """Mark the query in the server's log and profiler, and in slow-operation events.

        Raises:
            ConfigurationError: not a text, or empty.
        """
        given: object = text
        if not isinstance(given, str) or not given:
            raise ConfigurationError(f"comment={given!r}: expected a text such as 'orders list'")
        return self._with("comment", text)

    def max_time(self, limit: Seconds) -> "Query":
        """Let the server give up after so many seconds (code 50); it counts work, not waiting.

        Seconds, unlike the driver's `max_time_ms`: `max_time(2)` is that one's 2000.

        Raises:
            ConfigurationError: not a duration above 0, or more than 24 days.
        """
        milliseconds = max(1, round(seconds(limit, option="max_time") * 1000))
        if milliseconds > _MAX_INT32:
            raise ConfigurationError(f"max_time={limit!r}: expected at most {_MAX_INT32 // 1000} s")
        return self._with("max_time_ms", milliseconds)

    def collation(self, collation: Mapping[str, Any]) -> "Query":
        """Compare text by these rules, as in `{"locale": "en", "strength": 2}`.

        Only an index with the same collation serves the query's text; default: the collection's.

        Raises:
            ConfigurationError: not a mapping with a locale.
        """
        given: object = collation
        if not isinstance(given, Mapping) or not isinstance(given.get("locale"), str):
            raise ConfigurationError(
                f"collation={collation!r}: expected a mapping such as {{'locale': 'en'}}"
            )
        return self._with("collation", copied(collation, "collation"))

    def find_kwargs(self) -> Document:
        """Exactly what the driver's `find()` and `find_one()` are given; a new document each time.

        What was not asked for is left out.
        """
        kwargs = self._find.copy()
        kwargs["filter"] = copied(kwargs["filter"])
        for word in ("projection", "sort", "collation"):
            if word in kwargs:
                kwargs[word] = kwargs[word].copy()
        return kwargs

    @overload
    def find(self, collection: "AsyncCollection[D]") -> "AsyncCursor[D]": ...
    @overload
    def find(self, collection: "Collection[D]") -> "Cursor[D]": ...
    def find(self, collection: Any) -> Any:
        """The driver's own cursor, from its own `find()`; errors are the driver's too."""
        return checked_collection(collection, "find").find(**self.find_kwargs())

    async def page(
        self,
        collection: "AsyncCollection[D]",
        *,
        after: str | None = None,
        before: str | None = None,
        number: int | None = None,
        keys: Iterable[bytes | str] | None = None,
        total: Literal["none", "estimated", "capped", "exact"] = "none",
        session: "AsyncClientSession | None" = None,
        observer: Observer | None = None,
    ) -> "Page[D]":
        """One page of `limit` documents, and tokens for the pages around it.

        The query needs a `limit` and a `sort` that ends with `_id`, so that the order has no ties;
        give the index the same fields. What comes after a token is asked for by value, so page
        5,000 costs what page 1 costs, and no document is lost or doubled when others are inserted.

        Args:
            collection: of `pymongo.AsyncMongoClient`.
            after: a page's `next`: what comes behind that page.
            before: a page's `previous`: what comes in front of it.
            number: the page's number from 1, for those who must: the server counts through all
                documents in front of it. More than 10,000 of them emit a `DeepPageEvent`.
            keys: secrets of at least 16 bytes that sign the tokens: the first signs, all verify.
                None: a token can be forged, to point elsewhere in the same query only.
            total: how many documents the query has in all: not asked; `estimated` from the
                collection's metadata, for a query without filter; `capped` counts to 1,000 and
                stops; `exact` counts them all.
            session: of the client, to read the page and its total in a transaction or snapshot.
            observer: what to tell of deep pages; default: a warning in the log.

        Raises:
            InvalidCursor: the token was altered, signed with another key, made by another version,
                belongs to another query, or there is one after and one before.
            ConfigurationError: the query or an argument does not fit a page.
            MongoOperationError: the server refused, or a document has no place of its own in the
                order, because it holds an array or a document where it is sorted by.
            StoreUnavailable: no server could be reached.
            StoreTimeout: none answered in time; `max_time` ran out.
        """
        from symphonia_perf.mongo._paging import fetch, request  # noqa: PLC0415 - it loads bson

        wanted = request(
            self.find_kwargs(),
            checked_collection(collection, "page"),
            after=after,
            before=before,
            number=number,
            keys=keys,
            total=total,
            session=session,
            observer=observer,
        )
        return await fetch(wanted, collection)

    def page_sync(
        self,
        collection: "Collection[D]",
        *,
        after: str | None = None,
        before: str | None = None,
        number: int | None = None,
        keys: Iterable[bytes | str] | None = None,
        total: Literal["none", "estimated", "capped", "exact"] = "none",
        session: "ClientSession | None" = None,
        observer: Observer | None = None,
    ) -> "Page[D]":
        """The same as `page`, for a collection of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._paging import fetch_sync, request  # noqa: PLC0415 - loads bson

        wanted = request(
            self.find_kwargs(),
            checked_collection(collection, "page_sync"),
            after=after,
            before=before,
            number=number,
            keys=keys,
            total=total,
            session=session,
            observer=observer,
        )
        return fetch_sync(wanted, collection)

    def covered_by(self, index: "Index") -> "Coverage":
        """Whether this index alone answers the query, so that no document is read; true or false.

        Decided by the declarations, without asking a server: it holds as long as no document has an
        array in one of the index's fields.

        ```python
        from symphonia_perf.mongo import Index, Query

        index = Index("status", "-createdAt")
        listed = Query({"status": "OPEN"}).sort("-createdAt")
        assert listed.only("createdAt", "-_id").covered_by(index)
        print(listed.only("createdAt").covered_by(index).reason)
        ```
        """
        from symphonia_perf.mongo._covered import coverage  # noqa: PLC0415 - only tests ask

        return coverage(self._find, index)

    async def explain_check(self, collection: "AsyncCollection[Any]") -> tuple[str, ...]:
        """The names of the indexes that serve the query, for a test that holds it to them.

        Raises:
            MongoOperationError: no index serves it: the server would read the whole collection, or
                sort in memory; or it cannot explain the query.
        """
        from symphonia_perf.mongo._explain import check  # noqa: PLC0415 - it loads the driver

        return await check(checked_collection(collection, "explain_check"), self.find_kwargs())

    def explain_check_sync(self, collection: "Collection[Any]") -> tuple[str, ...]:
        """The same as `explain_check`, for a collection of `pymongo.MongoClient`."""
        from symphonia_perf.mongo._explain import check_sync  # noqa: PLC0415 - it loads the driver

        checked = checked_collection(collection, "explain_check_sync")
        return check_sync(checked, self.find_kwargs())

    def __repr__(self) -> str:
        calls = [f"Query({self._find['filter']!r})"]
        calls += [shown(self._find[word]) for word, shown in _SHOWN.items() if word in self._find]
        return ".".join(calls)

    def _with(self, word: str, value: Any) -> "Query":
        new = object.__new__(Query)
        new._find = {**self._find, word: value}
        return new


@overload
def raw_documents(
    collection: "AsyncCollection[Any]",
) -> "AsyncCollection[RawBSONDocument]": ...
@overload
def raw_documents(collection: "Collection[Any]") -> "Collection[RawBSONDocument]": ...
def raw_documents(collection: Any) -> Any:
    """The same collection, for long lists that are passed on: documents stay BSON until read.

    A `RawBSONDocument` is a read-only mapping that decodes a level when it is first asked for a
    field, and keeps its bytes in `.raw`. 50 orders of 3 KB came in 1.0 ms instead of 1.7; nothing
    is won where every field is read. Works for `find`, for `page` and for the driver's
    own methods; make it once, beside the collection.
    """
    from bson.raw_bson import RawBSONDocument  # noqa: PLC0415 - only here is it needed

    checked_collection(collection, "raw_documents")
    options = collection.codec_options.with_options(document_class=RawBSONDocument)
    return collection.with_options(codec_options=options)


def _signed(call: str, fields: Iterable[tuple[str, bool]]) -> str:
    return f"{call}({', '.join(repr(path if plain else f'-{path}') for path, plain in fields)})"


_SHOWN: dict[str, Callable[[Any], str]] = {
    "projection": lambda given: _signed("only", ((path, bool(on)) for path, on in given.items())),
    "sort": lambda given: _signed("sort", ((path, direction == 1) for path, direction in given)),
    "limit": "limit({!r})".format,
    "batch_size": "batch_size({!r})".format,
    "hint": "hint({!r})".format,
    "comment": "comment({!r})".format,
    "max_time_ms": lambda given: f"max_time({given / 1000!r})",
    "collation": "collation({!r})".format,
}


def _count(option: str, value: object, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ConfigurationError(f"{option}={value!r}: expected a whole number, 1 to {most}")
    return value
