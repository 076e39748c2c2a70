"""One canonical form for index specifications.

A declaration and a line of listIndexes have equal forms exactly when MongoDB takes them for the
same index, although the server renames, fills in and drops half of what it was given. Every rule
below was measured by creating both spellings on MongoDB 6.0.5 and asking whether a second index,
an error or "all indexes already exist" came back.
"""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, TypeAlias

__all__ = ["Form", "Specification", "normalise", "shortest_collation"]

Specification: TypeAlias = Mapping[str, Any]
"""An index as createIndexes takes it and listIndexes gives it."""

# Versions of the stored format, and what newer servers ignore.
_IGNORED = frozenset(
    ("v", "ns", "background", "textIndexVersion", "2dsphereIndexVersion", "clustered")
)
# Two indexes that differ in one of these exist side by side (MongoDB 5.0 and later); with any other
# option they are the same index, declared differently.
_IDENTITY = ("unique", "sparse", "partialFilterExpression", "collation", "wildcardProjection")
_IN_PLACE = frozenset(("expireAfterSeconds", "hidden", "unique", "prepareUnique"))
_TEXT_DEFAULTS = {"default_language": "english", "language_override": "language"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER = 2147483647  # the largest expireAfterSeconds; what the server stores for NaN

_COLLATION_DEFAULTS: dict[str, Any] = {
    "caseLevel": False,
    "caseFirst": "off",
    "strength": 3,
    "numericOrdering": False,
    "alternate": "non-ignorable",
    "maxVariable": "punct",
    "normalization": False,
    "backwards": False,
}
# ICU 57.1, which all supported servers carry: locales whose own defaults differ.
_NORMALISED_LOCALES = frozenset(
    (
        *("as", "bn", "el", "fa", "fa_AF", "gu", "he", "hi", "ig", "km", "kn", "kok", "mr", "my"),
        *("or", "pa", "ps", "si", "ta", "te", "th", "vi", "yi", "yo"),
    )
)
_LOCALE_DEFAULTS: dict[str, dict[str, Any]] = {
    "da": {"caseFirst": "upper"},
    "fr_CA": {"backwards": True},
    "mt": {"caseFirst": "upper"},
    "th": {"alternate": "shifted"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """An index as it compares: equal forms are one index, declared in the same way."""

    name: str
    key: tuple[tuple[str, str], ...]  # numbers as text: "1", "-1"
    options: Mapping[str, Hashable]  # those that are not at their default

    @property
    def identity(self) -> tuple[Hashable, ...]:
        """What makes it another index: two with one identity cannot exist in one collection."""
        return (self.key, *(self.options.get(option) for option in _IDENTITY))

    @property
    def lasting(self) -> tuple[Hashable, ...]:
        """What collMod cannot change."""
        options = [pair for pair in self.options.items() if pair[0] not in _IN_PLACE]
        return (self.name, self.key, *sorted(options))

    @property
    def is_text(self) -> bool:
        """Whether it is a text index, of which a collection can have one."""
        return "weights" in self.options


def normalise(specification: Specification, *, inherited: Specification | None = None) -> Form:
    """The canonical form of a declaration, or of what listIndexes says.

    Args:
        specification: the index.
        inherited: for a declaration, its collection's default collation, which an index gets that
            names none. Leave it out for what listIndexes says: that is complete.
    """
    given = {name: value for name, value in specification.items() if name not in _IGNORED}
    options: dict[str, Hashable] = {}
    name = given.pop("name")
    key = tuple(_key(given.pop("key"), given))
    if collation := _collation(given.pop("collation", None) or inherited):
        options["collation"] = collation
    for flag in ("unique", "sparse", "hidden", "prepareUnique"):
        if given.pop(flag, False):
            options[flag] = True
    if (lifetime := given.pop("expireAfterSeconds", None)) is not None:
        options["expireAfterSeconds"] = _FOREVER if math.isnan(lifetime) else int(lifetime)
    if (expression := given.pop("partialFilterExpression", None)) is not None:
        options["partialFilterExpression"] = _conjunction(expression)
    if projection := given.pop("wildcardProjection", None):
        options["wildcardProjection"] = tuple(sorted(_wildcard_paths(projection)))
    options.update((option, _value(value)) for option, value in given.items())
    return Form(name=name, key=key, options=options)


def _key(key: Mapping[str, Any], options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields and kinds in order; text fields become `_fts`, `_ftsx` and weights in `options`."""
    texts = [field for field, kind in key.items() if kind == "text" and field != "_fts"]
    if texts or "_fts" in key:
        weights = {**dict.fromkeys(texts, 1), **options.get("weights", {})}
        options.update({**_TEXT_DEFAULTS, **options, "weights": dict(sorted(weights.items()))})
    for field, kind in key.items():
        if field in texts:
            if field == texts[0]:
                yield from (("_fts", "text"), ("_ftsx", "1"))
        else:
            yield field, _kind(kind)


def _kind(kind: Any) -> str:
    number = isinstance(kind, int | float) and not isinstance(kind, bool)
    if number or hasattr(kind, "to_decimal"):
        return _number(kind)
    return str(kind)  # servers before 3.4 took anything for a direction, and still list it


def _collation(collation: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...] | None:
    if collation is None or collation["locale"] == "simple":
        return None
    filled = {**_COLLATION_DEFAULTS, **_locale_defaults(collation["locale"]), **collation}
    filled.pop("version", None)
    return tuple(sorted(filled.items()))


def shortest_collation(collation: Specification | None) -> dict[str, Any]:
    """The collation without what its locale implies; `{"locale": "simple"}` for none."""
    if collation is None or collation["locale"] == "simple":
        return {"locale": "simple"}
    defaults = {**_COLLATION_DEFAULTS, **_locale_defaults(collation["locale"]), "version": None}
    return {
        option: value
        for option, value in collation.items()
        if option != "version" and (option not in defaults or defaults[option] != value)
    }


def _locale_defaults(locale: str) -> dict[str, Any]:
    base, _, variant = locale.partition("@collation=")
    if variant.startswith("search"):
        return {"normalization": True}
    if variant == "eor" or base not in _NORMALISED_LOCALES:
        return {} if variant else _LOCALE_DEFAULTS.get(base, {})
    return {"normalization": True, **({} if variant else _LOCALE_DEFAULTS.get(base, {}))}


def _conjunction(expression: Mapping[str, Any]) -> tuple[Hashable, ...]:
    return tuple(sorted(_conditions(expression), key=repr))


def _conditions(expression: Mapping[str, Any]) -> Iterator[tuple[Hashable, ...]]:
    """Single conditions that all must hold, whichever way `$and` and order spelled them."""
    for field, wanted in expression.items():
        if field == "$and" or (field == "$or" and len(wanted) == 1):
            for branch in wanted:
                yield from _conditions(branch)
        elif field == "$or":
            yield (field, tuple(sorted(map(_conjunction, wanted), key=repr)))
        elif operators := _operators(wanted):
            for operator, operand in operators.items():
                yield (field, *_condition(operator, operand))
        else:
            yield (field, "$eq", _value(wanted))


def _operators(wanted: Any) -> Mapping[str, Any]:
    """`{"$gt": 5}` as it is, a reference as `{"$ref": ..., "$id": ...}`; empty for a value."""
    if hasattr(wanted, "as_doc"):  # the driver makes a DBRef of such a document when it lists it
        wanted = wanted.as_doc()
    is_some = isinstance(wanted, Mapping) and any(name.startswith("$") for name in wanted)
    return wanted if is_some else {}


def _condition(operator: str, operand: Any) -> tuple[str, Hashable]:
    if operator == "$exists":
        return operator, bool(operand)
    if operator == "$in":
        members = sorted({_value(member) for member in operand}, key=repr)
        return ("$eq", members[0]) if len(members) == 1 else (operator, tuple(members))
    return operator, _value(operand)


def _wildcard_paths(projection: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool]]:
    for field, wanted in projection.items():
        if isinstance(wanted, Mapping):
            yield from _wildcard_paths(wanted, f"{prefix}{field}.")
        elif wanted or prefix + field != "_id":  # leaving `_id` out is the default
            yield prefix + field, bool(wanted)


def _value(value: Any) -> Hashable:
    """A value as BSON compares it: 5 equals 5.0 but not true, and a document's order counts."""
    if isinstance(value, bool | None):
        return type(value).__name__, value
    if isinstance(value, str):  # a StrEnum is stored as what it says; bson.Code is no text
        return ("code", repr(value)) if hasattr(value, "scope") else ("str", str.__str__(value))
    if isinstance(value, int | float) or hasattr(value, "to_decimal"):
        return "number", _number(value)
    if isinstance(value, datetime):
        return "date", _milliseconds(value)
    if isinstance(value, Mapping):
        return "document", tuple((name, _value(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return "array", tuple(map(_value, value))
    return _driver_value(value)


def _driver_value(value: Any) -> Hashable:
    """What only the driver's own types say, known by their methods: this module needs no driver."""
    if hasattr(value, "as_datetime") and hasattr(
        value, "__int__"
    ):  # outside the years of `datetime`: milliseconds already
        return "date", int(value)
    if hasattr(value, "as_doc"):  # a DBRef
        return _value(value.as_doc())
    if hasattr(value, "pattern"):  # the driver lists bson.Regex where re.Pattern was declared
        return "regex", (value.pattern, int(value.flags))
    return type(value).__name__, repr(value)


def _number(value: Any) -> str:
    """One text for every type of number: int, float, Int64 and (by duck typing) Decimal128."""
    exact = value.to_decimal() if hasattr(value, "to_decimal") else value
    try:
        return str(Fraction(exact))
    except (ValueError, OverflowError):  # NaN, infinity
        return str(float(exact))


def _milliseconds(value: datetime) -> int:
    """What BSON stores. The driver lists dates naive and in UTC unless told otherwise."""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)
