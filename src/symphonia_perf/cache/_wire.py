"""An entry as bytes: a MessagePack list that begins with its form and ends with its value.

Most entries have a value, a ttl and nothing else: they are a list of three, which one call reads.
Others are a list of seven. Where msgspec writes the value as it is, it stands in the list itself;
what another codec wrote, or what is packed, stands there as bytes. What has another form was
written by another version, and is unreadable for this one: a miss.
"""

import math
import struct
from collections.abc import Callable
from typing import Any

import msgspec

from symphonia_perf._core.codecs import Codec, MsgpackCodec
from symphonia_perf.cache.entry import MAX_TAGS, Entry
from symphonia_perf.errors import CorruptEntry

__all__ = ["NO_TAGS", "encode", "reader"]

_INLINE, _SEALED = 2, 3  # the forms; 1 was a struct
_BARE = struct.Struct(">3sd")  # a list of three up to its value: mark, form, mark of a float; ttl
_THREE = bytes([0x93, _INLINE, 0xCB])
_SEVEN = b"\x97"
_REST = Entry(value=None, ttl=0.0)[2:]
NO_TAGS = Entry(value=None, ttl=0.0).tags
"""The tags of what was a list of three; of a list of seven they are a dict, if an empty one."""
_encode = msgspec.msgpack.Encoder().encode
_new: Any = tuple.__new__


def encode(entry: Entry, codec: Codec) -> bytes:
    """The bytes to store.

    Raises:
        NotEncodable: the codec cannot give the value back unchanged.
    """
    sealed = codec.encode(entry.value)
    inline = type(codec) is MsgpackCodec and sealed.startswith(MsgpackCodec.PLAIN)
    if inline and entry[2:] == _REST:
        return _BARE.pack(_THREE, entry.ttl) + sealed[1:]
    _, ttl, stale_for, stale_on_error, tags, raised, _ = entry
    head = [_INLINE if inline else _SEALED, ttl, stale_for, stale_on_error, dict(tags), raised]
    if inline:
        return _SEVEN + _encode(head)[1:] + sealed[1:]
    return _encode([*head, sealed])


def reader(codec: Codec) -> Callable[[Any], Entry]:
    """What gives the entry that was stored, or raises `CorruptEntry`.

    It raises that where the bytes are not what this version of the library writes by this codec, or
    hold what only an extra can read that is not installed here. Of a 2 KB order msgspec's own part
    takes 6.7 us, and all the rest 0.8.
    """
    plain = codec if type(codec) is MsgpackCodec else None
    read_list = msgspec.msgpack.Decoder().decode if plain is None else plain.read_plain

    def read(data: Any) -> Entry:
        try:
            parts = read_list(data)
            if type(parts) is list and len(parts) == 3 and plain is not None:
                form, ttl, value = parts
                if form == _INLINE and 0 <= ttl < math.inf:
                    bare: Entry = _new(Entry, (value, ttl) + _REST)  # noqa: RUF005 - half the time
                    return bare
            return _full(parts, codec, inline=plain is not None)
        except (CorruptEntry, MemoryError):
            raise
        except Exception as error:  # whatever foreign bytes make of this, it is one thing
            raise CorruptEntry(f"an entry that cannot be read here: {error}") from error

    return read


def _full(parts: Any, codec: Codec, *, inline: bool) -> Entry:
    form, ttl, stale_for, stale_on_error, tags, raised, value = parts
    if form == _SEALED:
        value = codec.decode(value)
    elif form != _INLINE or not inline:
        raise CorruptEntry(f"an entry of form {form!r}: of another version, or another codec")
    for duration in (ttl, stale_for, stale_on_error):
        if type(duration) is not float or not 0 <= duration < math.inf:
            raise CorruptEntry(f"an entry with a time of {duration!r} s")
    if len(tags) > MAX_TAGS:
        raise CorruptEntry(f"an entry with {len(tags)} tags, at most {MAX_TAGS} are written")
    for tag, number in tags.items():
        if type(tag) is not str or type(number) is not int:
            raise CorruptEntry(f"an entry with tag {tag!r}: {number!r}")
    if type(raised) is not bool:
        raise CorruptEntry(f"an entry that is {raised!r} instead of raised or not")
    if raised and not (type(value) is list and value and type(value[0]) is str):
        raise CorruptEntry("an entry of an error that does not begin with the error's name")
    entry: Entry = _new(Entry, (value, ttl, stale_for, stale_on_error, tags, raised, None))
    return entry
