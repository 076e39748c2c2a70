"""An entry as bytes: a head that says how long it lives and what it depends on, then the value.

The first byte is the form of the head. Another form makes an entry unreadable for older processes,
which then see a miss.
"""

import math
import struct
from typing import Any

from symphonia_perf._core.codecs import Codec
from symphonia_perf.cache.entry import MAX_TAGS, Entry, Generation
from symphonia_perf.errors import CorruptEntry, MissingExtra

__all__ = ["decode", "encode"]

_FORM = 2
_HEAD = struct.Struct(">BBd")  # form, flags, ttl
_SOFT, _TAGGED, _RAISED = 1, 2, 4
_EXTRA = struct.Struct(">dd")  # where it is soft: stale_for, stale_on_error
_TAG = struct.Struct(">QH")  # for each tag: generation, length of the name that follows


def encode(entry: Entry, codec: Codec) -> bytes:
    """The bytes to store.

    Raises:
        NotEncodable: the codec cannot give the value back unchanged.
    """
    soft, flags, middle = entry.lasts > entry.ttl, 0, b""
    if soft:
        flags |= _SOFT
        middle = _EXTRA.pack(entry.stale_for, entry.stale_on_error)
    if entry.tags:
        flags |= _TAGGED
        names = [(name.encode(), number) for name, number in entry.tags.items()]
        middle += bytes([len(names)])
        middle += b"".join(_TAG.pack(number, len(name)) + name for name, number in names)
    if entry.raised:
        flags |= _RAISED
    return _HEAD.pack(_FORM, flags, entry.ttl) + middle + codec.encode(entry.value)


def decode(data: Any, codec: Codec) -> Entry:
    """The entry that was stored.

    Raises:
        CorruptEntry: the bytes are not what this version of the library writes, or hold what only
            an extra can read that is not installed here.
    """
    if not isinstance(data, bytes) or len(data) < _HEAD.size or data[0] != _FORM:
        raise CorruptEntry("not an entry of this version", store="redis", operation="MGET")
    _, flags, ttl = _HEAD.unpack_from(data)
    try:
        if not flags and 0 <= ttl < math.inf:
            return Entry(codec.decode(data[_HEAD.size :]), ttl)
        at, stale_for, stale_on_error = _HEAD.size, 0.0, 0.0
        if flags & _SOFT:
            stale_for, stale_on_error = _EXTRA.unpack_from(data, at)
            at += _EXTRA.size
        tags, at = _tags(data, at) if flags & _TAGGED else ({}, at)
        return Entry(
            value=codec.decode(data[at:]),
            ttl=_checked(ttl),
            stale_for=_checked(stale_for),
            stale_on_error=_checked(stale_on_error),
            tags=tags,
            raised=bool(flags & _RAISED),
        )
    except (struct.error, IndexError, UnicodeDecodeError, MissingExtra) as error:
        raise CorruptEntry(f"an entry that cannot be read here: {error}") from error


def _tags(data: bytes, at: int) -> tuple[dict[str, Generation], int]:
    count = data[at]
    if count > MAX_TAGS:
        raise CorruptEntry(f"an entry with {count} tags, at most {MAX_TAGS} are written")
    at += 1
    tags: dict[str, Generation] = {}
    for _ in range(count):
        number, length = _TAG.unpack_from(data, at)
        at += _TAG.size + length
        tags[data[at - length : at].decode()] = number
    return tags, at


def _checked(duration: float) -> float:
    if not 0 <= duration < math.inf:
        raise CorruptEntry(f"an entry with a time of {duration} s")
    return duration
