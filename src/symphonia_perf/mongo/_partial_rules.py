"""What a partial index's filter cannot say. Measured on MongoDB 6.0.5, like `_index_rules`."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["filter_faults", "operator_faults"]

# What a partial filter may say; from 6.0 on also $or, $in and $geoIntersects (measured on 6.0.5).
# https://www.mongodb.com/docs/manual/core/index-partial/
_CONDITIONS = (
    *("$eq", "$exists", "$gt", "$gte", "$lt", "$lte", "$type", "$in"),
    *("$all", "$geoWithin", "$within", "$geoIntersects"),
)
_DBREF = {"$ref", "$id", "$db"}


def filter_faults(expression: Mapping[str, Any]) -> Iterator[str]:
    """What no server takes; which operators it has, each says for itself."""
    for path, wanted in expression.items():
        if path in {"$and", "$or"}:
            filters = wanted if isinstance(wanted, list) else ()
            if not filters or not all(isinstance(branch, Mapping) for branch in filters):
                yield f"partial: {path}={wanted!r}: expected a list of filters"
            for branch in filters:
                yield from filter_faults(branch)
        elif isinstance(wanted, Mapping) and not isinstance(wanted.get("$in", []), list):
            yield f"partial: {path}={wanted!r}: $in expects a list"


def operator_faults(expression: Mapping[str, Any]) -> Iterator[str]:
    """Operators that a query has and a partial filter has not."""
    for path, wanted in expression.items():
        if path in {"$and", "$or"}:
            for branch in wanted:
                yield from operator_faults(branch)
        elif path.startswith("$") and path != "$comment":
            yield f"partial: {path} is not allowed in a partial filter, but $and and $or are"
        elif isinstance(wanted, re.Pattern) or type(wanted).__name__ == "Regex":
            yield f"partial: {path}={wanted!r}: a regular expression is not allowed there"
        elif isinstance(wanted, Mapping) and next(iter(wanted), "").startswith("$"):
            yield from _condition_faults(path, wanted)


def _condition_faults(path: str, conditions: Mapping[str, Any]) -> Iterator[str]:
    for operator, given in conditions.items():
        if operator == "$exists" and not given:
            yield f"partial: {path}: $exists can only be True there"
        elif operator not in _CONDITIONS and operator not in _DBREF:
            yield (
                f"partial: {path}: {operator} is not allowed there, allowed are "
                f"{', '.join(_CONDITIONS)}"
            )
