"""Whether an index alone answers a query, by rule: measured on MongoDB 6.0.5.

https://www.mongodb.com/docs/manual/core/query-optimization/#covered-query
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._serving import sort_fault
from symphonia_perf.typing import Document

if TYPE_CHECKING:
    from symphonia_perf.mongo._index import Index

__all__ = ["Coverage", "coverage"]

# Operators that an index key answers; all others look at the document.
_BY_KEY = frozenset(("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"))
# Those that find only documents which have the field.
_PRESENT = frozenset(("$eq", "$gt", "$gte", "$lt", "$lte", "$in"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """True when an index covers a query; otherwise it says why not."""

    reason: str | None  # why not; None: it does

    def __bool__(self) -> bool:
        return self.reason is None


def coverage(query: Document, index: "Index") -> Coverage:
    """See `Query.covered_by`; `query` is find()'s keyword arguments."""
    if not hasattr(index, "specification"):
        raise ConfigurationError(f"covered_by: {index!r} is no Index; Index('status') is one")
    if "projection" not in query:
        return Coverage(reason="whole documents are returned; name the fields with only(...)")
    return Coverage(reason=next(_faults(query, index), None))


def _faults(query: Document, index: "Index") -> Iterator[str]:
    options = index.specification()
    yield from _kind_faults(query, index, options)
    keys = [path for path, _ in index.keys]
    projection = query["projection"]
    if "_id" not in keys and projection.get("_id", 1):
        yield "'_id' comes along and is not in the index; leave it out with '-_id'"
    conditions = list(_conditions(query["filter"]))
    asked = {
        "returned": [path for path, wanted in projection.items() if wanted],
        "filtered by": [path for path, _, _ in conditions],
        "sorted by": [path for path, _ in query.get("sort", ())],
    }
    for use, paths in asked.items():
        for path in paths:
            if path not in keys:
                yield f"{path!r} is {use} and not in the index"
    for path, operator, operand in conditions:
        yield from _condition_faults(path, operator, operand)
    yield from _choice_faults(query, index, options)


def _kind_faults(query: Document, index: "Index", options: Document) -> Iterator[str]:
    for path, kind in index.keys:
        if isinstance(kind, str) or path.endswith("$**"):
            yield f"{path!r} is indexed as {kind!r}, which does not keep the value as it is"
    if options.get("hidden"):
        yield "the index is hidden"
    for given in (options.get("collation"), query.get("collation")):
        if given and given["locale"] != "simple":
            yield "under a collation an index keeps sort keys instead of text"


def _condition_faults(path: str, operator: str, operand: Any) -> Iterator[str]:
    if operator not in _BY_KEY:
        yield f"{operator} looks at the document ({path!r})"
    operands = operand if operator in ("$in", "$nin") else [operand]
    for each in operands:
        if each is None:
            yield f"null also means missing, which only the document tells ({path!r})"
        if isinstance(each, list):
            yield f"an array is compared with the document ({path!r})"


def _choice_faults(query: Document, index: "Index", options: Document) -> Iterator[str]:
    """Why the planner would not choose the index, or must not."""
    fixed = _fixed(query["filter"])
    partial = options.get("partialFilterExpression", {})
    for path, wanted in partial.items():
        if (path, wanted) not in list(query["filter"].items()):
            yield f"it indexes only documents with {path!r}: {wanted!r}; filter by the same"
    if options.get("sparse") and not fixed & {path for path, _ in index.keys}:
        yield "it is sparse: without a filter on its fields, documents would be missing"
    first = index.keys[0][0]
    if query.get("hint", index.name) != index.name:
        yield f"the query's hint is another index, {query['hint']!r}"
    if first in fixed:
        return
    key = [(path, str(kind)) for path, kind in index.keys]
    if "sort" not in query or sort_fault(key, query):
        yield f"the query does not begin with {first!r}, so the planner passes over the index"


def _conditions(conditions: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Every single comparison of a filter, whichever way it is nested."""
    for path, wanted in conditions.items():
        if path in ("$and", "$or", "$nor"):
            for branch in wanted:
                yield from _conditions(branch)
        elif path.startswith("$"):
            yield path, path, wanted
        elif isinstance(wanted, Mapping) and any(word.startswith("$") for word in wanted):
            for operator, operand in wanted.items():
                yield path, operator, operand
        else:
            yield path, "$eq", wanted


def _fixed(conditions: Mapping[str, Any]) -> set[str]:
    """The fields that every match has, with a value within some range."""
    found = {
        path
        for path, wanted in conditions.items()
        if not path.startswith("$")
        and any(o in _PRESENT for _, o, _ in _conditions({path: wanted}))
    }
    for branch in conditions.get("$and", ()):
        found |= _fixed(branch)
    if branches := conditions.get("$or"):
        found |= set.intersection(*map(_fixed, branches))
    return found
