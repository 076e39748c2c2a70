"""Python types that MessagePack has no word for, as extension types.

Each is packed so that unpacking validates: a damaged entry raises, it does not become a datetime
with 200 hours. The codes are part of the stored format: never reuse one.
"""

import struct
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from symphonia_perf.errors import MissingExtra, NotEncodable

__all__ = ["Extension", "extension_for_code", "extension_for_type"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """How one exact type becomes bytes and comes back."""

    code: int
    kind: type
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


_DATE = struct.Struct(">HBB")  # year, month, day
_TIME = struct.Struct(">BBBIB")  # hour, minute, second, microsecond, fold
_MOMENT = struct.Struct(">HBBBBBIB")  # one after the other
_DELTA = struct.Struct(">iii")  # days, seconds, microseconds


def _pack_delta(value: timedelta) -> bytes:
    return _DELTA.pack(value.days, value.seconds, value.microseconds)


def _unpack_delta(data: bytes) -> timedelta:
    return timedelta(*_DELTA.unpack(data))


def _pack_zone(zone: tzinfo | None) -> bytes:
    if zone is None:
        return b""
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined] # typeshed omits it
        return b"o" + _pack_delta(offset) + b"".join(b"=" + text.encode() for text in name)
    # Only what ZoneInfo(key) gives back: zones compare by identity, and in a repeated hour two
    # zones are never equal (datetime documentation, "Naive and aware comparisons").
    if type(zone) is ZoneInfo and zone.key and ZoneInfo(zone.key) is zone:
        return b"z" + zone.key.encode()
    # What PyMongo gives with tz_aware=True.
    if "bson.tz_util" in sys.modules and zone is sys.modules["bson.tz_util"].utc:
        return b"b"
    raise NotEncodable(
        f"cannot encode the time zone {zone!r}: use datetime.timezone or zoneinfo.ZoneInfo(key)"
    )


def _unpack_zone(data: bytes) -> tzinfo | None:
    kind, rest = data[:1], data[1:]
    if kind == b"":
        return None
    if kind == b"o":
        offset, mark, name = _unpack_delta(rest[:12]), rest[12:13], rest[13:]
        if mark == b"=":
            return timezone(offset, name.decode())
        if not mark:
            return timezone(offset)
    if kind == b"z":
        return ZoneInfo(rest.decode())
    if kind == b"b" and not rest:
        _bson_extensions()
        return sys.modules["bson.tz_util"].utc  # type: ignore[no-any-return]
    raise ValueError("not a time zone")


def _pack_clock(value: time | datetime) -> bytes:
    clock = _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)
    return clock + _pack_zone(value.tzinfo)


def _unpack_time(data: bytes) -> time:
    hour, minute, second, microsecond, fold = _TIME.unpack(data[:8])
    return time(hour, minute, second, microsecond, _unpack_zone(data[8:]), fold=fold)


def _pack_date(value: date) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def _unpack_date(data: bytes) -> date:
    return date(*_DATE.unpack(data))


def _unpack_datetime(data: bytes) -> datetime:
    year, month, day, hour, minute, second, microsecond, fold = _MOMENT.unpack(data[:12])
    zone = _unpack_zone(data[12:])
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _pack_int(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, signed=True)


def _unpack_int(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


_STANDARD = (
    Extension(code=1, kind=int, pack=_pack_int, unpack=_unpack_int),
    Extension(
        code=2,
        kind=datetime,
        pack=lambda value: _pack_date(value) + _pack_clock(value),
        unpack=_unpack_datetime,
    ),
    Extension(code=3, kind=date, pack=_pack_date, unpack=_unpack_date),
    Extension(code=4, kind=time, pack=_pack_clock, unpack=_unpack_time),
    Extension(code=5, kind=timedelta, pack=_pack_delta, unpack=_unpack_delta),
    Extension(
        code=6, kind=UUID, pack=lambda value: value.bytes, unpack=lambda data: UUID(bytes=data)
    ),
    Extension(
        code=7,
        kind=Decimal,
        pack=lambda value: str(value).encode(),
        unpack=lambda data: Decimal(data.decode("ascii")),
    ),
)
_BY_TYPE = {extension.kind: extension for extension in _STANDARD}
_BY_CODE = {extension.code: extension for extension in _STANDARD}
_BSON_CODES = range(32, 48)


@cache
def _bson_extensions() -> Mapping[type, Extension]:
    """The types of the bson package, which is imported by the first value that needs it."""
    try:
        from bson import Binary, Decimal128, Int64, ObjectId  # noqa: PLC0415 - see above
        from bson import tz_util as _  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtra("bson", "mongo") from error
    extensions = (
        Extension(
            code=32,
            kind=ObjectId,
            pack=lambda value: value.binary,
            unpack=ObjectId,
        ),
        Extension(
            code=33,
            kind=Decimal128,
            pack=lambda value: value.bid,
            unpack=Decimal128.from_bid,
        ),
        Extension(
            code=34,
            kind=Int64,
            pack=lambda value: _pack_int(int(value)),
            unpack=lambda data: Int64(_unpack_int(data)),
        ),
        Extension(
            code=35,
            kind=Binary,
            pack=lambda value: bytes([value.subtype]) + bytes(value),
            unpack=lambda data: Binary(data[1:], data[0]),
        ),
    )
    return {extension.kind: extension for extension in extensions}


def extension_for_type(kind: type) -> Extension | None:
    """How values of exactly this type are packed, or None."""
    found = _BY_TYPE.get(kind)
    # A value of a bson type can only exist where bson was imported.
    if found is None and "bson" in sys.modules and kind.__module__.startswith("bson."):
        found = _bson_extensions().get(kind)
    return found


def extension_for_code(code: int) -> Extension:
    """How a stored extension is unpacked.

    Raises:
        MissingExtra: a bson type, and PyMongo is not installed here.
        ValueError: no such code.
    """
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code in _BSON_CODES:
        for extension in _bson_extensions().values():
            if extension.code == code:
                return extension
    raise ValueError(f"unknown extension type {code}")
