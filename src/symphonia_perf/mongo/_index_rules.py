"""What MongoDB would refuse in an index declaration, or accept and never use.

Measured on MongoDB 6.0.5; where the server has a code for it, the rule names it. A fault is the
end of a sentence that begins with the index. Rules come in the order in which they can be asked:
each may rely on those above it.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.env import nearest
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._documents import is_sayable, path_fault
from symphonia_perf.mongo._partial_rules import filter_faults, operator_faults
from symphonia_perf.typing import Seconds

__all__ = [
    "flat_faults",
    "key_faults",
    "name_faults",
    "option_faults",
    "raw_faults",
    "spelling_faults",
    "text_faults",
    "unknown_faults",
    "whole_seconds",
    "wildcard_faults",
]

_KINDS = ("2d", "2dsphere", "hashed", "text")
_MAX_FIELDS = 32  # 13103
_MAX_SECONDS = 2147483647  # 67
_MAX_WEIGHT = 99_999  # 67
_MAX_BITS = 32  # 67
_LOWEST = -180.0  # of a 2d index, in degrees; the highest is its opposite
_YES_NO = (True, False)
# https://www.mongodb.com/docs/manual/reference/collation/
_COLLATION: dict[str, tuple[object, ...]] = {
    "caseLevel": _YES_NO,
    "caseFirst": ("upper", "lower", "off"),
    "strength": (1, 2, 3, 4, 5),
    "numericOrdering": _YES_NO,
    "alternate": ("non-ignorable", "shifted"),
    "maxVariable": ("punct", "space"),
    "normalization": _YES_NO,
    "backwards": _YES_NO,
}
# What `normalise` takes apart to tell which index a raw specification is.
_DOCUMENTS = {
    "collation": "{'locale': 'en'}",
    "partialFilterExpression": "{'status': 'OPEN'}",
    "weights": "{'title': 5}",
    "wildcardProjection": "{'title': 1}",
}
_DIRECTED = re.compile(
    r"\+(?P<plain>.+)|(?P<path>[^\s:,]+)[\s:,]+(?P<way>-?1|asc(ending)?|desc(ending)?)",
    re.IGNORECASE,
)
_OPTIONS = (
    *("name", "unique", "sparse", "expire_after", "partial", "collation", "hidden", "serves"),
    *("weights", "language", "language_field", "include", "exclude", "bits", "minimum", "maximum"),
)
_OUR_WORD = {
    "expireAfterSeconds": "expire_after",
    "partialFilterExpression": "partial",
    "default_language": "Index.text(language=...)",
    "language_override": "Index.text(language_field=...)",
    "weights": "Index.text(weights=...)",
    "wildcardProjection": "Index.wildcard(include=...)",
    "bits": "Index.flat(bits=...)",
    "min": "Index.flat(minimum=...)",
    "max": "Index.flat(maximum=...)",
}


def key_faults(keys: Sequence[tuple[Any, Any]]) -> Iterator[str]:
    """What is wrong with the fields and their kinds, the first that matters first."""
    if not keys:
        yield "it has no field; write for example Index('status', '-createdAt')"
    if len(keys) > _MAX_FIELDS:
        yield f"{len(keys)} fields, MongoDB allows {_MAX_FIELDS}"
    for path, kind in keys:
        named = path[: -len(".$**")] if _is_wildcard(path) else path
        if path != "$**" and (fault := path_fault(named)):
            yield f"the field {path!r} {fault}"
        if isinstance(kind, bool | float) or kind not in (1, -1, *_KINDS):
            yield f"{path!r} is of kind {kind!r}, allowed are 1, -1, {', '.join(map(repr, _KINDS))}"
    paths = [path for path, _ in keys]
    for path in paths:
        if paths.count(path) > 1:
            yield f"the field {path!r} is named twice"
    yield from _kind_faults(keys)


def spelling_faults(key: str) -> Iterator[str]:
    """A direction as other tools write it, which MongoDB would take for a part of the name."""
    if found := _DIRECTED.fullmatch(key):
        path = (found["plain"] or found["path"]).removeprefix("-")
        meant = f"-{path}" if (found["way"] or "").startswith(("-", "d", "D")) else path
        yield (
            f"{key!r} would be the name of a field; did you mean {meant!r}? A field that is really "
            f"called so is declared as a pair, ({key!r}, 1)"
        )


def _kind_faults(keys: Sequence[tuple[str, int | str]]) -> Iterator[str]:
    kinds = [kind for _, kind in keys]
    texts = [place for place, kind in enumerate(kinds) if kind == "text"]
    wildcards = [kind for path, kind in keys if _is_wildcard(path) and kind != "text"]
    if len(keys) == 1 and keys[0][0] == "_id" and kinds[0] in (1, -1):
        yield "MongoDB keeps an index on _id of its own, in both directions; leave it out"
    if kinds.count("hashed") > 1:
        yield "MongoDB allows one hashed field"  # 31303
    if "2d" in kinds[1:]:
        yield "the 2d field must come first"  # 16801
    if texts and texts[-1] - texts[0] >= len(texts):
        yield "the text fields must stand side by side"  # 67
    if len(wildcards) > 1 or any(kind != 1 for kind in wildcards):
        yield "a wildcard index has one wildcard, and it is ascending"  # 67


def option_faults(
    keys: Sequence[tuple[str, int | str]], name: object, options: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with the options, alone and for these keys."""
    yield from name_faults(name)
    for flag in ("unique", "sparse", "hidden"):
        if not isinstance(options[flag], bool):
            yield f"{flag}={options[flag]!r}: expected True or False"
    yield from _document_faults(options["partial"], options["collation"])
    kinds = {kind for _, kind in keys}
    wildcard = any(_is_wildcard(path) for path, _ in keys) and "text" not in kinds
    if options["sparse"] and options["partial"] is not None:
        yield "sparse and partial exclude each other; let partial say {'$exists': True}"  # 67
    if options["unique"] and (wildcard or "hashed" in kinds):
        yield "a hashed or wildcard index cannot be unique"  # 16764, 67
    if options["sparse"] and wildcard:
        yield "a wildcard index is sparse by itself; leave sparse out"  # 67
    if options["collation"] is not None and kinds & {"text", "2d"}:
        yield "a text or 2d index takes no collation"  # 67
    if options["expire_after"] is not None and (len(keys) > 1 or wildcard or not kinds <= {1, -1}):
        # 67; for special kinds it is accepted, but the server deletes by ranges of dates.
        yield "expire_after needs an index on a single field, ascending or descending"


def unknown_faults(options: Iterable[str]) -> Iterator[str]:
    """Options that there are not, and what was probably meant."""
    for option in options:
        meant = _OUR_WORD.get(option) or nearest(option, _OPTIONS)
        allowed = f"allowed are {', '.join(_OPTIONS[:8])}; Index.raw takes what createIndexes does"
        yield f"there is no option {option!r}; {f'did you mean {meant}?' if meant else allowed}"


def name_faults(name: object) -> Iterator[str]:
    """What is wrong with an index's name."""
    if not isinstance(name, str) or not name or "\0" in name or not is_sayable(name):
        yield f"name={name!r}: expected text without NUL characters"  # 67
    if name in {"_id_", "*"}:
        yield f"name={name!r} is reserved by MongoDB"  # 2


def _document_faults(partial: Any, collation: Any) -> Iterator[str]:
    if partial is not None and (not isinstance(partial, Mapping) or not partial):
        yield f"partial={partial!r}: expected a filter such as {{'status': 'OPEN'}}"
    else:
        yield from filter_faults(partial or {})
        yield from operator_faults(partial or {})
    if collation is None:
        return
    yield from _locale_faults(collation)
    for option, given in collation.items():
        allowed = (given,) if option == "locale" else _COLLATION.get(option, ())
        if not allowed:
            yield f"collation has no {option!r}, allowed are locale, {', '.join(_COLLATION)}"
        if given not in allowed or isinstance(given, bool) != isinstance(allowed[0], bool):
            shown = ", ".join(map(repr, allowed))
            yield f"collation: {option}={given!r}: expected one of {shown}"


def _locale_faults(collation: object) -> Iterator[str]:
    if not isinstance(collation, Mapping) or not isinstance(collation.get("locale"), str):
        yield f"collation={collation!r}: expected a mapping such as {{'locale': 'en'}}"


def text_faults(
    paths: Sequence[str], weights: Any, language: object, language_field: object
) -> Iterator[str]:
    """What is wrong with a text index's own options; the server would index an unknown field."""
    for option, given in (("language", language), ("language_field", language_field)):
        if not isinstance(given, str) or not given:
            yield f"{option}={given!r}: expected text"
    if weights is not None and not isinstance(weights, Mapping):
        yield f"weights={weights!r}: expected a mapping such as {{'title': 5}}"
    for path, weight in (weights or {}).items():
        whole = isinstance(weight, int) and not isinstance(weight, bool)
        if path not in paths or not whole or not 1 <= weight <= _MAX_WEIGHT:
            yield (
                f"weights[{path!r}]={weight!r}: expected a whole number from 1 to {_MAX_WEIGHT} "
                f"for one of {', '.join(map(repr, paths))}"
            )


def flat_faults(bits: object, minimum: object, maximum: object) -> Iterator[str]:
    """What is wrong with the precision and the bounds of a 2d index."""
    whole = isinstance(bits, int) and not isinstance(bits, bool) and 1 <= bits <= _MAX_BITS
    if bits is not None and not whole:
        yield f"bits={bits!r}: expected a whole number from 1 to {_MAX_BITS}"  # 67
    bounds: list[Any] = [
        _LOWEST if minimum is None else minimum,
        -_LOWEST if maximum is None else maximum,
    ]
    for name, bound in zip(("minimum", "maximum"), bounds, strict=True):
        if not _is_number(bound) or not abs(bound) <= sys.float_info.max:  # NaN is no less either
            yield f"{name}={bound!r}: expected a finite number"
    if bounds[0] >= bounds[1]:
        yield f"minimum={bounds[0]!r} is not below maximum={bounds[1]!r}"


def raw_faults(specification: object) -> Iterator[str]:
    """What is wrong with a specification whose options are nobody's business but the server's."""
    if not isinstance(specification, Mapping):
        yield "expected a document such as {'key': {'code': 1}, 'name': 'idx_code'}"
    else:
        key = specification.get("key")
        if not isinstance(key, Mapping) or not key:
            yield f"key={key!r}: expected a document such as {{'code': 1}}"
        for path, kind in (key or {}).items():
            if not isinstance(kind, str) and not _is_number(kind):
                yield f"key={key!r}: {path!r} is of kind {kind!r}, expected a number or text"
        yield from name_faults(specification.get("name"))
        for option, expected in _DOCUMENTS.items():
            if not isinstance(specification.get(option, {}), Mapping):
                yield f"{option}={specification[option]!r}: expected a document such as {expected}"
        if "collation" in specification:
            yield from _locale_faults(specification["collation"])
        lifetime = specification.get("expireAfterSeconds", 0)
        if not _is_number(lifetime) or lifetime in {inf, -inf}:
            yield f"expireAfterSeconds={lifetime!r}: expected seconds"
        yield from filter_faults(specification.get("partialFilterExpression", {}))


def wildcard_faults(path: object, include: Any, exclude: Any) -> Iterator[str]:
    """What is wrong with the choice of fields of a wildcard index."""
    if path and (fault := path_fault(path)):
        yield f"the field {path!r} {fault}"
    for option, given in (("include", include), ("exclude", exclude)):
        if not isinstance(given, Sequence) or isinstance(given, str | bytes):
            yield f"{option}={given!r}: expected a list of fields"
    if bool(path) + bool(include) + bool(exclude) > 1:
        yield "path, include and exclude exclude each other"
    for chosen in (*include, *exclude):
        if fault := path_fault(chosen):
            yield f"the field {chosen!r} {fault}"


def whole_seconds(value: Seconds, *, option: str) -> int:
    """`expire_after` as MongoDB takes it.

    Raises:
        ConfigurationError: not a duration, or not one that MongoDB can store.
    """
    number = seconds(value, option=option, zero=True)
    if number > _MAX_SECONDS or number != int(number):
        raise ConfigurationError(f"{option}={value!r}: expected whole seconds up to {_MAX_SECONDS}")
    return int(number)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_wildcard(path: object) -> bool:
    return isinstance(path, str) and (path == "$**" or path.endswith(".$**"))
