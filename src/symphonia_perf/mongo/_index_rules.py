"""What MongoDB would refuse in an index declaration, or accept and never use.

Measured on MongoDB 6.0.5; where the server has a code for it, the rule names it. A fault is the
end of a sentence that begins with the index. Rules come in the order in which they can be asked:
each may rely on those above it.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._documents import path_fault
from symphonia_perf.typing import Seconds

__all__ = [
    "flat_faults",
    "key_faults",
    "name_faults",
    "option_faults",
    "raw_faults",
    "weight_faults",
    "whole_seconds",
    "wildcard_faults",
]

_KINDS = ("2d", "2dsphere", "hashed", "text")
_MAX_FIELDS = 32  # 13103
_MAX_SECONDS = 2147483647  # 67
_MAX_WEIGHT = 99_999  # 67
_MAX_BITS = 32  # 67
_LOWEST = -180.0  # of a 2d index, in degrees; the highest is its opposite
_COLLATION_FIELDS = (
    "locale",
    "caseLevel",
    "caseFirst",
    "strength",
    "numericOrdering",
    "alternate",
    "maxVariable",
    "normalization",
    "backwards",
)


def key_faults(keys: Sequence[tuple[Any, Any]]) -> Iterator[str]:
    """What is wrong with the fields and their kinds, the first that matters first."""
    if not keys:
        yield "it has no field; write for example Index('status', '-createdAt')"
    if len(keys) > _MAX_FIELDS:
        yield f"{len(keys)} fields, MongoDB allows {_MAX_FIELDS}"
    for path, kind in keys:
        named = path[: -len(".$**")] if _is_wildcard(path) and path != "$**" else path
        if named != "$**" and (fault := path_fault(named)):
            yield f"the field {path!r} {fault}"
        if isinstance(kind, bool | float) or kind not in (1, -1, *_KINDS):
            yield f"{path!r} is of kind {kind!r}, allowed are 1, -1, {', '.join(map(repr, _KINDS))}"
    paths = [path for path, _ in keys]
    for path in paths:
        if paths.count(path) > 1:
            yield f"the field {path!r} is named twice"
    yield from _kind_faults(keys)


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


def name_faults(name: object) -> Iterator[str]:
    """What is wrong with an index's name."""
    if not isinstance(name, str) or not name or "\0" in name:
        yield f"name={name!r}: expected text without NUL characters"  # 67
    if name in {"_id_", "*"}:
        yield f"name={name!r} is reserved by MongoDB"  # 2


def _document_faults(partial: object, collation: object) -> Iterator[str]:
    if partial is not None and (not isinstance(partial, Mapping) or not partial):
        yield f"partial={partial!r}: expected a filter such as {{'status': 'OPEN'}}"
    if collation is None:
        return
    if isinstance(collation, Mapping) and isinstance(collation.get("locale"), str):
        for option in collation:
            if option not in _COLLATION_FIELDS:
                yield f"collation has no {option!r}, allowed are {', '.join(_COLLATION_FIELDS)}"
    else:
        yield f"collation={collation!r}: expected a mapping such as {{'locale': 'en'}}"


def weight_faults(paths: Sequence[str], weights: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a text index's weights; the server would index an unknown field."""
    for path, weight in weights.items():
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
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not isfinite(bound):
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
        yield from name_faults(specification.get("name"))


def wildcard_faults(path: str, include: Sequence[str], exclude: Sequence[str]) -> Iterator[str]:
    """What is wrong with the choice of fields of a wildcard index."""
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


def _is_wildcard(path: object) -> bool:
    return isinstance(path, str) and (path == "$**" or path.endswith(".$**"))
