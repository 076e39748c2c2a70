"""How findings read, for people and in error messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from symphonia_perf.errors import IndexConflict
from symphonia_perf.mongo._findings import (
    Change,
    CreateIndex,
    DropIndex,
    HideIndex,
    IndexClash,
    IndexWarning,
    KeptIndex,
    ModifyIndex,
    RetiringIndex,
    UnmanagedIndex,
)
from symphonia_perf.mongo._normalise import Specification

__all__ = [
    "age",
    "change_line",
    "index_line",
    "index_text",
    "raise_conflicts",
    "retiring_line",
    "told",
    "value",
]

_CODE_NAMES = {67: "CannotCreateIndex", 85: "IndexOptionsConflict", 86: "IndexKeySpecsConflict"}
_UNSAID = {"v", "name", "key", "2dsphereIndexVersion", "textIndexVersion"}
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60))


def raise_conflicts(clashes: Sequence[IndexClash]) -> None:
    """Return when there are none.

    Raises:
        IndexConflict: the message tells every conflict, the attributes are the first one's.
    """
    if not clashes:
        return
    first = clashes[0]
    raise IndexConflict(
        "; ".join(map(told, clashes)),
        declared=first.declared,
        existing=first.existing or {},
        code=first.code,
        code_name=None if first.code is None else _CODE_NAMES[first.code],
        operation=f"createIndexes {first.collection}",
    )


def told(item: IndexClash | IndexWarning) -> str:
    """A sentence that begins with the index."""
    hint = " (or allow_gap=True, --allow-gap)" if isinstance(item, IndexClash) and item.gap else ""
    return f"{item.collection}: {item.name} {item.reason}{hint}"


def change_line(change: Change) -> str:
    """`+` create, `~` modify or hide, `-` drop: one change on one line."""
    match change:
        case CreateIndex():
            return f"+ {index_line(change)}{' (being built)' if change.building else ''}"
        case ModifyIndex():
            turns = ", ".join(
                f"{option} {value(change.existing.get(option))} -> {value(wanted)}"
                for option, wanted in change.options.items()
            )
            return f"~ {change.collection}: {change.name} {turns}"
        case HideIndex():
            return (
                f"~ {index_line(change)} is retired: hide it, drop it after {age(change.observe)}"
            )
        case _:
            return f"- {index_line(change)} was hidden for {age(change.hidden_for)}: drop it"


def retiring_line(item: RetiringIndex) -> str:
    """One retired index that is observed."""
    return (
        f"{index_line(item)} has been hidden for {age(item.hidden_for)}, "
        f"to be dropped after {age(item.observe)}"
    )


def index_line(
    item: CreateIndex | HideIndex | DropIndex | KeptIndex | RetiringIndex | UnmanagedIndex,
) -> str:
    """One index on one line: `orders: idx_code {code: 1} unique=true`."""
    return f"{item.collection}: {index_text(item.specification)}"


def index_text(specification: Specification) -> str:
    """A specification: `idx_code {code: 1} unique=true`."""
    options = [
        f" {option}={value(given)}"
        for option, given in specification.items()
        if option not in _UNSAID and given != {"locale": "simple"}
    ]
    return f"{specification['name']} {value(specification['key'])}{''.join(options)}"


def value(given: Any) -> str:
    """A value as the mongo shell would show it."""
    if isinstance(given, Mapping):
        return "{" + ", ".join(f"{name}: {value(item)}" for name, item in given.items()) + "}"
    if isinstance(given, list | tuple):
        return "[" + ", ".join(map(value, given)) + "]"
    if given is None or isinstance(given, bool):
        return {None: "unset", True: "true", False: "false"}[given]
    return str(given) if isinstance(given, int | float) else repr(given)


def age(seconds: float) -> str:
    """A duration by its largest unit, rounded down: `7 d`, `90 min`, `12 s`."""
    for unit, length in _UNITS:
        if seconds >= 2 * length or (seconds >= length and seconds % length == 0):
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"
