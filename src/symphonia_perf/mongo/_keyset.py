"""What comes after a place in MongoDB's own sort order, as conditions of a query.

A sort compares values of all BSON types, a query's `$lt` only those of its operand's: `{$lt: 5}`
finds neither null nor text. So each condition here names the types on the far side as well. Null
and missing fields sort as one, NaN before all numbers.
https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson import Binary, Decimal128, Int64, MinKey, ObjectId, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef

from symphonia_perf.typing import Document

__all__ = ["Sort", "beyond", "order_fault", "place_fault", "place_of", "reversed_order"]

Sort = Sequence[tuple[str, int]]

# In the order of a sort; the types of one row compare by value. Arrays are left out: they sort by
# one of their elements, and no page can end at such a document.
_ORDER: tuple[tuple[tuple[str, ...], tuple[type, ...]], ...] = (
    (("minKey",), ()),
    (("null",), (type(None),)),
    (("number",), (int, Int64, float, Decimal128)),
    (("string", "symbol"), (str,)),
    (("object",), ()),
    (("binData",), (bytes, Binary)),
    (("objectId",), (ObjectId,)),
    (("bool",), (bool,)),
    (("date",), (datetime, DatetimeMS)),
    (("timestamp",), (Timestamp,)),
    (("regex",), ()),
    (("dbPointer",), ()),
    (("javascript",), ()),
    (("javascriptWithScope",), ()),
    (("maxKey",), ()),
)
_NULL, _NUMBER = 1, 2
_OPERATORS = {1: "$gt", -1: "$lt"}
_ROWS = {each: row for row, (_, types) in enumerate(_ORDER) for each in types}
_EARLIER = [
    [name for names, _ in _ORDER[_NULL + 1 : row] for name in names] for row in range(len(_ORDER))
]
_LATER = [[name for names, _ in _ORDER[row + 1 :] for name in names] for row in range(len(_ORDER))]


def beyond(sort: Sort, place: Sequence[Any]) -> list[Document]:
    """What sorts behind `place`: filters to ask with in turn. Nearly always the first fills a page.

    For a sort by a and b: a is the same and b lies further; or a lies further. Each alternative is
    a range of an index on the sort's fields, so the server reads a page, not more, by one scan or
    by merging several in order.

    * What lies further by the first field's type is the last to ask for: in most collections there
      is none, and the scans that find that out cost a tenth of a page.
    * Where a field before the last is null, what shares that null is asked for piece by piece. The
      server's merge would go wrong there: it takes a missing field for less than null, which the
      sort does not (measured on 6.0.5).

    Args:
        sort: paths and directions; the last is `_id`.
        place: values of `place_of`, as BSON decodes without any options; see `place_fault`.
    """
    (first, towards), start = sort[0], place[0]
    near, far = _further(first, towards, start)
    bound = {first: {f"{_OPERATORS[towards]}e": start}} if near and not _is_nan(start) else {}
    if bound and len(sort) == 2:
        # Within the bound, what is not at the place lies behind it: this is the cheapest to plan.
        # With more fields the merge could meet null and missing in the second.
        at_the_place, other_ids = _further(*sort[1], place[1])
        pieces, ties = list[Document](), at_the_place + other_ids
    else:
        pieces, ties = _ties(sort, place)
    return [*pieces, *_either([*ties, *near], bound), *_either(far, {})]


def reversed_order(sort: Sort) -> list[tuple[str, int]]:
    """The same order, from the other end."""
    return [(path, -direction) for path, direction in sort]


def place_of(document: Mapping[str, Any], sort: Sort) -> list[Any]:
    """The values a document is sorted by; a missing field counts as null."""
    return [_value(document, path) for path, _ in sort]


def place_fault(place: Sequence[Any], sort: Sort) -> str | None:
    """Why no page can begin or end at `place`, None when one can."""
    for (path, _), value in zip(sort, place, strict=True):
        if type(value) not in _ROWS:
            return f"{path!r} holds a value of type {type(value).__name__}"
    return None


def order_fault(documents: Sequence[Mapping[str, Any]], sort: Sort) -> str | None:
    """Which document has no place of its own among the others, None when all have one."""
    for path, _ in sort:
        if "." in path:
            values = [_value(document, path) for document in documents]
        else:
            values = [document.get(path) for document in documents]
        kinds = set(map(type, values))
        if path == "_id" and type(None) in kinds and any("_id" not in each for each in documents):
            return "a document has no '_id', as in a view that leaves it out"
        if kinds <= _ROWS.keys():
            continue
        for document, value in zip(documents, values, strict=True):
            if isinstance(value, list | Mapping):
                kind = "an array" if isinstance(value, list) else "a document"
                return f"{path!r} holds {kind} where _id is {document.get('_id')!r}"
    return None


def _value(document: Mapping[str, Any], path: str) -> Any:
    """What stands at `path`; an array on the way to it is what the server sorts by."""
    value: Any = document
    for part in path.split("."):
        if isinstance(value, list):
            break
        if isinstance(value, DBRef):  # what the driver makes of a document with $ref and $id
            value = value.as_doc()
        # A value that is no document has no fields: the path is missing, and sorts as null.
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _ties(sort: Sort, place: Sequence[Any]) -> tuple[list[Document], list[Document]]:
    """What lies further by a later field: behind a null one by one, and else together."""
    pieces: list[Document] = []
    together: list[Document] = []
    same: Document = {}
    for (path, direction), value in zip(sort, place, strict=True):
        if same:
            alternatives = [{**same, **each} for each in _all_further(path, direction, value)]
            if {"$eq": None} in same.values():
                pieces = alternatives + pieces
            else:
                together = alternatives + together
        same[path] = {"$eq": value}
    return pieces, together


def _all_further(path: str, direction: int, value: Any) -> list[Document]:
    if path == "_id":
        # Never missing, never an array: there an expression compares all types, as the sort does.
        return [{"$expr": {_OPERATORS[direction]: ["$_id", {"$literal": value}]}}]
    near, far = _further(path, direction, value)
    return near + far


def _further(path: str, direction: int, value: Any) -> tuple[list[Document], list[Document]]:
    """What lies further within the type of `value`, and all that does by its type."""
    row = _ROWS[type(value)]
    near: list[Document] = []
    if _is_nan(value):
        near = [{path: {"$gte": float("-inf")}}] if direction == 1 else []
    elif value is not None:
        near = [{path: {_OPERATORS[direction]: value}}]
    if direction == 1:
        return near, [{path: {"$type": _LATER[row]}}]
    # An empty array sorts before null; found here, it is refused instead of overlooked.
    least: list[Any] = [MinKey(), []]
    if row != _NULL:
        least.append(None)  # a missing field as well, which `$type` does not find
    if row == _NUMBER and near:
        least.append(float("nan"))
    earlier = [{path: {"$type": _EARLIER[row]}}] if row > _NUMBER else []
    return near, [*earlier, {path: {"$in": least}}]


def _either(alternatives: list[Document], bound: Document) -> list[Document]:
    """One filter for any of these; `bound` is what they share, where one scan can begin."""
    if len(alternatives) < 2:
        return alternatives
    return [{**bound, "$or": alternatives}]


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal128):
        return bool(value.to_decimal().is_nan())
    return bool(value != value)  # noqa: PLR0124 - which is NaN's own definition
