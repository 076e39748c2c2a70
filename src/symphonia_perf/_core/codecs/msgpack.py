"""MessagePack by msgspec: the default, the smallest and the fastest."""

import gc
from collections.abc import Callable
from typing import Any

import msgspec

from symphonia_perf._core.codecs._extensions import extension_for_code, extension_for_type
from symphonia_perf._core.codecs.frame import Frame
from symphonia_perf.errors import CorruptEntry, NotEncodable, SymphoniaError

__all__ = ["MsgpackCodec"]

_TAG = 0x01

# What msgspec gives back unchanged, by exact type.
_LEAVES = frozenset({str, int, float, bool, bytes, type(None)})
_PLAIN = _LEAVES | {dict, list}
_TEXT = frozenset({str})

# What _pack leaves alone without a call; an int may be too large.
_ATOMS = _LEAVES - {int}

# Containers are extensions too, but what is in them must be packed in turn.
_TUPLE, _SET, _FROZENSET, _MAP = 64, 65, 66, 67
_COLLECTIONS: dict[type, int] = {tuple: _TUPLE, set: _SET, frozenset: _FROZENSET}


class MsgpackCodec:
    """MessagePack that gives back what it was given, type and value, or refuses to store it.

    Beyond what JSON knows it keeps bytes, tuple, set, frozenset, datetime (naive, fixed offset,
    `ZoneInfo`), date, time, timedelta, UUID, Decimal, integers of any size, dictionaries with any
    of these as keys, and of bson ObjectId, Decimal128, Int64 and Binary. Subclasses (an IntEnum,
    a named tuple, an OrderedDict), dataclasses and everything else raise `NotEncodable`: turn them
    into one of the above first.

    Args:
        compress_above: bodies of more bytes than this are packed by zstd, None never.

    Raises:
        ConfigurationError: `compress_above` is not a number of bytes.
        MissingExtra: `compress_above` without zstandard.

    ```python
    from datetime import datetime

    from symphonia_perf._core.codecs import MsgpackCodec

    codec = MsgpackCodec()
    order = {"status": "IN_TRANSIT", "stops": ("Lyon", "Paris"), "at": datetime(2026, 11, 3)}
    assert codec.decode(codec.encode(order)) == order
    ```
    """

    PLAIN = bytes([_TAG])  # the first byte of what is not packed

    def __init__(self, *, compress_above: int | None = None) -> None:
        self._frame = Frame(_TAG, compress_above=compress_above)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(ext_hook=self._unpack).decode
        # Reads what stands behind that byte, without a look at it. It raises anything; `decode`
        # says what it means.
        self.read_plain: Callable[[bytes], Any] = self._decode

    def encode(self, value: Any) -> bytes:
        """The bytes to store.

        Raises:
            NotEncodable: the value holds something that could not be given back unchanged.
        """
        try:
            body = self._encode_plain(value)
            if body is None:
                body = self._encode(self._pack(value))
        except RecursionError as error:
            raise NotEncodable("the value is nested too deeply, or contains itself") from error
        except (OverflowError, ValueError) as error:
            raise NotEncodable(f"the value cannot be encoded: {error}") from error
        return self._frame.seal(body)

    def decode(self, data: bytes) -> Any:
        """The value that was stored.

        Raises:
            CorruptEntry: the bytes are not what this codec writes.
            MissingExtra: the value holds a bson type and PyMongo is not installed here.
        """
        try:
            return self._decode(self._frame.open(data))
        except (SymphoniaError, MemoryError):
            raise
        except Exception as error:
            # Whatever damaged bytes make msgspec or a constructor say, it is one thing to callers.
            raise CorruptEntry(f"not what this codec writes: {error}") from error

    def _encode_plain(self, value: Any) -> bytes | None:
        """The body when nothing in `value` needs an extension, else None.

        msgspec writes a tuple or a set as a list, a datetime as text and a dataclass as a map
        without a word, so every type has to be looked at. gc.get_referents lists what containers
        hold, in C (of a dictionary the values, and the keys unless all are exactly str): one level
        of the document per call. For a 1.8 KB order this look takes 4.2 us, a loop in Python 8.8,
        beside 1.9 for msgspec's encode. Encoding comes first because it ends on a value that
        contains itself.
        """
        try:
            body = self._encode(value)
        except (TypeError, OverflowError):
            return None
        level = [value]
        while level:
            if not _PLAIN.issuperset(map(type, level)):
                return None
            level = gc.get_referents(*level)
        return body

    def _pack(self, value: Any) -> Any:
        """`value` with extensions where msgspec would change a type."""
        kind = type(value)
        if kind is int:
            return value if -(2**63) <= value < 2**64 else _pack_leaf(value)
        if kind in _ATOMS:
            return value
        if kind is list:
            return [item if type(item) in _ATOMS else self._pack(item) for item in value]
        if kind is dict:
            if _TEXT.issuperset(map(type, value)):
                return {
                    key: item if type(item) in _ATOMS else self._pack(item)
                    for key, item in value.items()
                }
            return self._pack_many(_MAP, (part for item in value.items() for part in item))
        if kind in _COLLECTIONS:
            return self._pack_many(_COLLECTIONS[kind], value)
        return _pack_leaf(value)

    def _pack_many(self, code: int, items: Any) -> msgspec.msgpack.Ext:
        return msgspec.msgpack.Ext(code, self._encode([self._pack(item) for item in items]))

    def _unpack(self, code: int, data: memoryview) -> Any:
        if code < _TUPLE:
            return extension_for_code(code).unpack(bytes(data))
        items = self._decode(data)
        if type(items) is list:
            if code == _TUPLE:
                return tuple(items)
            if code == _SET:
                return set(items)
            if code == _FROZENSET:
                return frozenset(items)
            if code == _MAP:
                return dict(zip(items[::2], items[1::2], strict=True))
        raise ValueError(f"unknown extension type {code}")


def _pack_leaf(value: Any) -> msgspec.msgpack.Ext:
    extension = extension_for_type(type(value))
    if extension is None:
        raise NotEncodable(
            # Not the value itself: its __repr__ may raise, and what is cached may be personal.
            f"a {type(value).__module__}.{type(value).__qualname__} cannot be given back unchanged;"
            " turn it into a dict, list, tuple, set, str, number, bytes, datetime, UUID or Decimal"
        )
    return msgspec.msgpack.Ext(extension.code, extension.pack(value))
