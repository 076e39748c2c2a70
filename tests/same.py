"""Equality that a codec has to keep: value and type, all the way down."""

import struct
from datetime import datetime, time
from decimal import Decimal
from typing import Any

from bson import Decimal128

__all__ = ["same"]


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type, all the way down; NaN equals NaN, and order counts."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set | frozenset):
        # Each has its like: 1 and True are equal, a set cannot tell them apart, this can.
        return len(one) == len(other) and all(any(same(a, b) for b in other) for a in one)
    return bool(_inside(one) == _inside(other))


def _inside(value: Any) -> Any:
    """What tells two values of one type apart where `==` does not, or will not."""
    if isinstance(value, float):
        return struct.pack(">d", value)
    if isinstance(value, datetime | time):
        return _clock(value)
    if isinstance(value, Decimal):
        return value.as_tuple()
    return value.bid if isinstance(value, Decimal128) else value


def _clock(value: datetime | time) -> tuple[Any, ...]:
    zone = () if value.tzinfo is None else (value.utcoffset(), value.tzname(), type(value.tzinfo))
    return (value.replace(tzinfo=None).isoformat(), value.fold, zone)
