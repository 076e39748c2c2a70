"""Field paths, and documents that nobody else can change: shared by indexes and queries."""

import re
from collections.abc import Mapping
from typing import Any

from symphonia_perf.errors import ConfigurationError

__all__ = ["copied", "is_ordinary", "is_sayable", "path_fault", "split_direction"]

# Nearly every path there is, told apart in 0.3 us: letters, digits and dots, no part a number.
is_ordinary = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII).fullmatch

# The parts of a DBRef, which MongoDB lets a path end with: `owner.$id`.
_DBREF = ("$ref", "$id", "$db")
_SCALARS = (str, int, float, type(None))
_MAX_DEPTH = 200  # BSON deeper than that the server does not read (Overflow, 15)
_INT64 = 2**63


def is_sayable(text: str) -> bool:
    """Whether BSON can hold it, which is UTF-8: no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def path_fault(path: object) -> str | None:
    """What is wrong with a dotted field path, as the end of a sentence; None when nothing is."""
    if isinstance(path, str) and is_ordinary(path):
        return None
    if not isinstance(path, str):
        return f"is a {type(path).__name__}, expected a field's path as text, such as 'city.name'"
    if not path:
        return "is empty, expected a field's path such as 'city.name'"
    if path.startswith("-"):
        return "starts with '-', which only means descending, once and before a plain field"
    if "\0" in path or not is_sayable(path):
        return "holds a NUL character or half of a surrogate pair, which no field name may"
    for number, part in enumerate(path.split(".")):
        if not part:
            return "has an empty part; write 'a.b' without leading, trailing or double dots"
        if part.startswith("$") and not (number and part in _DBREF):
            return f"has a part that starts with '$' ({part!r}); only field names belong here"
    return None


def split_direction(key: object) -> tuple[object, int]:
    """`("field", -1)` for `"-field"`, `(key, 1)` for anything else; the path is not checked."""
    if isinstance(key, str) and key.startswith("-"):
        return key[1:], -1
    return key, 1


def copied(value: Any, what: str = "document", depth: int = 1) -> Any:
    """`value` with new containers all the way down; the values in them are shared.

    Args:
        value: a document, a list or any value in one.
        what: how it is called in an error message.
        depth: how deep `value` is already.

    Raises:
        ConfigurationError: what BSON cannot say: a key that is not text, a whole number of more
            than 64 bits, more than 200 levels (or a document in itself).
    """
    if isinstance(value, _SCALARS):
        if isinstance(value, int) and not -_INT64 <= value < _INT64:
            raise ConfigurationError(
                f"{what}: a whole number of {value.bit_length()} bits, BSON has 64"
            )
        return value
    if depth > _MAX_DEPTH:
        raise ConfigurationError(f"{what}: nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigurationError(
                    f"{what}: the key {key!r} is a {type(key).__name__}, expected text"
                )
        return {key: copied(item, what, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item, what, depth + 1) for item in value]
    return value
