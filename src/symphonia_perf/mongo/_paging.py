"""One page of a query: decided before the server is asked, and made of what it answered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from symphonia_perf._core.events import LogObserver, Observer, emit
from symphonia_perf.errors import ConfigurationError, InvalidCursor, MongoOperationError
from symphonia_perf.mongo._cursor import Seal, signing_keys
from symphonia_perf.mongo._errors import as_ours
from symphonia_perf.mongo._given import checked_cursor, checked_observer
from symphonia_perf.mongo._keyset import Sort, beyond, order_fault, place_of, reversed_order
from symphonia_perf.mongo.pagination import DeepPageEvent, Page
from symphonia_perf.typing import Document

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.collection import Collection

__all__ = ["PageRequest", "fetch", "fetch_sync", "request"]

D = TypeVar("D", bound=Mapping[str, Any])

_TOTALS = ("none", "estimated", "capped", "exact")
_FIRST_BATCH = 101  # documents that a server sends at first when nobody says how many
_CAP = 1_000  # documents that total="capped" counts; about 1.5 ms
_DEEP = 10_000  # documents skipped; 5,000 pages of 50 take 88 ms instead of 1.1
_MOST_SKIPPED = 2**31 - 1
# find()'s words, and those of the methods that count.
_ESTIMATE = {"comment": "comment", "max_time_ms": "maxTimeMS", "session": "session"}
_COUNT = {**_ESTIMATE, "hint": "hint", "collation": "collation"}
_log = LogObserver()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """One page, decided before a server is asked."""

    find: Document  # find()'s keyword arguments
    steps: list[Document]  # filters to ask with in turn, until there is one document too many
    count: tuple[str, Document] | None  # a method of the collection and its keyword arguments
    limit: int
    sort: Sort
    backwards: bool  # read from the page's end to its beginning
    is_first: bool  # nothing lies in front
    seal: Seal

    def asked(self, step: Document, have: int) -> Document:
        """The arguments of the next find(), after `have` documents."""
        wanted = self.limit + 1 - have
        find = {**self.find, "filter": step, "limit": wanted}
        if wanted > _FIRST_BATCH:  # else the server's own choice costs a getMore more
            find.setdefault("batch_size", wanted)
        return find

    def page(self, documents: list[D], counted: int | None) -> Page[D]:
        """The page made of what was read; `documents` becomes its items.

        Raises:
            MongoOperationError: a document has no place of its own in the order.
        """
        if fault := order_fault(documents, self.sort):
            raise MongoOperationError(
                f"page: {fault}, so its place among the pages is ambiguous; sort by another field, "
                "or leave such documents out by the filter",
                operation="find",
            )
        more = len(documents) > self.limit
        del documents[self.limit :]
        if self.backwards:
            documents.reverse()
        behind = self.backwards or more
        in_front = more if self.backwards else not self.is_first
        method = self.count[0] if self.count else ""
        capped = self.count is not None and counted == self.count[1].get("limit")
        return Page(
            items=documents,
            next=self._token(documents[-1:]) if behind else None,
            previous=self._token(documents[:1]) if in_front else None,
            total=_CAP if capped else counted,
            total_is_exact=not capped and method != "estimated_document_count",
        )

    def _token(self, documents: Sequence[Mapping[str, Any]]) -> str | None:
        return self.seal.token(place_of(documents[0], self.sort)) if documents else None


def request(
    query: Document,
    collection: Any,
    *,
    after: str | None,
    before: str | None,
    number: int | None,
    keys: Iterable[bytes | str] | None,
    total: str,
    session: Any,
    observer: Observer | None,
) -> PageRequest:
    """What to ask for; `query` is find()'s keyword arguments, ours to change. See `Query.page`."""
    observer = _log if observer is None else checked_observer(observer)
    if session is not None:
        query["session"] = session
    limit = _checked_limit(query)
    sort: Sort = query["sort"]
    if after is not None and before is not None and number is None:  # both came from one request
        raise InvalidCursor("page: two tokens, one after and one before; give one")
    if sum(given is not None for given in (after, before, number)) > 1:
        raise ConfigurationError("page: after, before and number exclude each other; give one")
    count = _counting(query, total)
    seal = Seal(collection.full_name, query, collection.codec_options, signing_keys(keys))
    backwards = before is not None
    order = reversed_order(sort) if backwards else sort
    find = {**query, "sort": order}
    steps: list[Document] = [query["filter"]]
    if after is not None or backwards:
        place = seal.place(before if backwards else after)
        steps = [_narrowed(query["filter"], step) for step in beyond(order, place)]
    if number is not None and (skipped := _skipped(number, limit)):
        find["skip"] = skipped
        if skipped > _DEEP:
            event = DeepPageEvent(
                source="mongo", collection=collection.name, number=number, skipped=skipped
            )
            emit(observer, event)
    return PageRequest(
        find=find,
        steps=steps,
        count=count,
        limit=limit,
        sort=sort,
        backwards=backwards,
        is_first=after is None and number in (None, 1),
        seal=seal,
    )


async def fetch(wanted: PageRequest, collection: "AsyncCollection[D]") -> Page[D]:
    """Ask for the page, and count if that is wanted."""
    counted: int | None = None
    documents: list[D] = []
    for step in wanted.steps:
        if len(documents) > wanted.limit:
            break
        with as_ours("page", "find"):
            cursor = collection.find(**wanted.asked(step, len(documents)))
            documents += await checked_cursor(cursor, collection, "page").to_list(None)
    if wanted.count is not None:
        method, arguments = wanted.count
        with as_ours("page", "count"):
            counted = await getattr(collection, method)(**arguments)
    return wanted.page(documents, counted)


def fetch_sync(wanted: PageRequest, collection: "Collection[D]") -> Page[D]:
    """The same as `fetch`."""
    counted: int | None = None
    documents: list[D] = []
    for step in wanted.steps:
        if len(documents) > wanted.limit:
            break
        with as_ours("page", "find"):
            cursor = collection.find(**wanted.asked(step, len(documents)))
            documents += checked_cursor(cursor, collection, "page_sync")
    if wanted.count is not None:
        method, arguments = wanted.count
        with as_ours("page", "count"):
            counted = getattr(collection, method)(**arguments)
    return wanted.page(documents, counted)


def _checked_limit(query: Document) -> int:
    """The page's size, of a query that can be paged."""
    limit: int | None = query.get("limit")
    if limit is None or limit > _MOST_SKIPPED:
        raise ConfigurationError(
            f"page: limit is {limit}, expected a page's size, as in Query(...).limit(50), and at "
            f"most {_MOST_SKIPPED}"
        )
    paths = [path for path, _ in query.get("sort", ())]
    if paths[-1:] != ["_id"]:
        raise ConfigurationError(
            f"page: sorted by {paths}, expected a sort that ends with '_id', as in "
            "sort('-createdAt', '-_id'): only then has every document one place. End the index "
            "with '_id' as well, or the server sorts all matches for each page"
        )
    for path in paths:
        if "projection" in query and not _returns(query["projection"], path):
            raise ConfigurationError(
                f"page: only(...) leaves out {path!r}, which the query is sorted by and the next "
                "page begins with; name it as well"
            )
    return limit


def _returns(projection: Mapping[str, int], path: str) -> bool:
    if path == "_id":
        return projection.get("_id", 1) == 1
    parts = path.split(".")
    return any(".".join(parts[:end]) in projection for end in range(1, len(parts) + 1))


def _narrowed(conditions: Document, further: Document) -> Document:
    if not conditions:
        return further
    return {**conditions, "$and": [*conditions.get("$and", ()), further]}


def _skipped(number: object, limit: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ConfigurationError(f"page: number={number!r}: expected a whole number, 1 or more")
    if (skipped := (number - 1) * limit) > _MOST_SKIPPED:
        raise ConfigurationError(
            f"page: number={number} skips {skipped} documents, expected at most {_MOST_SKIPPED}"
        )
    return skipped


def _counting(query: Document, total: str) -> tuple[str, Document] | None:
    """The method that counts and its arguments, under the query's own options."""
    if total not in _TOTALS:
        raise ConfigurationError(f"page: total={total!r}, allowed are {', '.join(_TOTALS)}")
    if total == "none":
        return None
    if total == "estimated":
        if query["filter"]:
            raise ConfigurationError(
                "page: total='estimated' counts the whole collection, and this query has a filter; "
                "use 'capped' or 'exact'"
            )
        return "estimated_document_count", _renamed(query, _ESTIMATE)
    options = {"filter": query["filter"], **_renamed(query, _COUNT)}
    if total == "capped":
        options["limit"] = _CAP + 1
    return "count_documents", options


def _renamed(query: Document, words: Mapping[str, str]) -> Document:
    return {theirs: query[ours] for ours, theirs in words.items() if ours in query}
