"""What each codec keeps, what it refuses, and what it says of bytes that are not its own."""

import collections
import dataclasses
import enum
import hmac
import math
import pickle
import struct
import sys
import threading
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import bson.tz_util
import msgspec
import pytest
import zstandard
from bson import Binary, Decimal128, Int64, ObjectId, Regex

from symphonia_perf._core.codecs import Codec, JsonCodec, MsgpackCodec, PickleCodec
from symphonia_perf._core.codecs._extensions import extension_for_code
from symphonia_perf._core.codecs.frame import MAX_SIZE
from symphonia_perf.errors import ConfigurationError, CorruptEntry, MissingExtra, NotEncodable
from tests.same import same

KEY = b"a key of at least 16 bytes"
NEW_KEY = b"another key of 16 bytes"

CODECS = {
    "msgpack": MsgpackCodec(),
    "msgpack-zstd": MsgpackCodec(compress_above=0),
    "json": JsonCodec(),
    "json-zstd": JsonCodec(compress_above=0),
    "pickle": PickleCodec(keys=[KEY]),
    "pickle-zstd": PickleCodec(keys=[KEY], compress_above=0),
}


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> Codec:
    found: Codec = CODECS[request.param]
    return found


def cases(values: list[Any]) -> list[Any]:
    return [pytest.param(value, id=f"{n}-{type(value).__name__}") for n, value in enumerate(values)]


# PyMongo gives naive datetimes unless asked otherwise.
NAIVE = datetime(2026, 11, 3, 10, 30, 15, 123456)  # noqa: DTZ001 - the subject

JSON_VALUES = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**30,
    0.0, -0.0, 1.5, 1e300, 5e-324, "", "é\u2028\U0001f600\x00", [], {}, [[], [{}]],
    {"a": {"b": [1, 2.5, None, True]}}, {"": ""}, [1, True, 1.0, "1"],
]  # fmt: skip

PYTHON_VALUES = [
    b"", b"\x00\xff", math.nan, math.inf, -math.inf, (), (1,), ((), ((1, [2]),)), set(), {1, "a"},
    frozenset({(1, 2), frozenset({3})}), {1: "int", 1.5: "float", None: "none", b"b": "bytes"},
    {True: 1}, {(1, "a"): [1]}, {frozenset({1}): 1},
    {date(2026, 1, 1): {"deep": {UUID(int=7): ()}}},
    NAIVE, NAIVE.replace(year=1), NAIVE.replace(year=9999),
    datetime(2026, 11, 3, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC),
    NAIVE.replace(fold=1), datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris")),
    datetime(2026, 11, 3, tzinfo=timezone(timedelta(hours=-3, minutes=-30, microseconds=7))),
    datetime(2026, 11, 3, tzinfo=timezone(timedelta(hours=2), "Été")),
    datetime(2026, 11, 3, tzinfo=timezone(timedelta(0), "")),
    date.min, date.max, time(23, 59, 59, 999999, fold=1), time(1, tzinfo=UTC),
    timedelta.min, timedelta.max, timedelta(microseconds=-1), UUID(int=2**128 - 1),
    Decimal("1.10"), Decimal("-0"), Decimal("NaN123"), Decimal("sNaN"), Decimal("-Infinity"),
    Decimal("1E+999999"), 2**64, -(2**63) - 1, 2**4096, -(2**4096), {2**70: 1, -(2**70): 2},
]  # fmt: skip

BSON_VALUES = [
    ObjectId(), Decimal128("1.10"), Decimal128("NaN"), Int64(2**40), Int64(-1),
    Binary(b"\x00", 0), Binary(b"\x01" * 16, 4), {"_id": ObjectId()}, {ObjectId(): 1},
    datetime(2026, 11, 3, tzinfo=bson.tz_util.utc),
]  # fmt: skip


@pytest.mark.parametrize("value", cases(JSON_VALUES))
def test_what_json_knows_comes_back(codec: Codec, value: Any) -> None:
    assert same(codec.decode(codec.encode(value)), value)


@pytest.mark.parametrize("value", cases(PYTHON_VALUES + BSON_VALUES))
@pytest.mark.parametrize("compress_above", [None, 0])
def test_msgpack_gives_back_type_and_value(value: Any, compress_above: int | None) -> None:
    codec = MsgpackCodec(compress_above=compress_above)
    for whole in (value, [value], {"k": value}, (value, value), {"k": [{"k": (value,)}]}):
        assert same(codec.decode(codec.encode(whole)), whole)


def test_a_zone_comes_back_as_itself() -> None:
    codec = MsgpackCodec()
    for zone in (UTC, ZoneInfo("Asia/Kolkata"), bson.tz_util.utc):
        assert codec.decode(codec.encode(datetime(2026, 1, 1, tzinfo=zone))).tzinfo is zone


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Real(float):
    pass


class Data(bytes):
    pass


class Items(list[Any]):
    pass


class Mapping(dict[Any, Any]):
    pass


class Pair(tuple[Any, ...]):
    __slots__ = ()


class Day(date):
    pass


class Moment(datetime):
    pass


class Nowhere(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)


@dataclasses.dataclass
class Record:
    a: int = 1


class Struct(msgspec.Struct):
    a: int = 1


STRANGERS = [
    Colour.RED, Text("x"), Number(1), Real(1.0), Data(b"x"), Items([1]), Mapping(a=1), Pair((1,)),
    Day(2026, 1, 1), Moment(2026, 1, 1), collections.OrderedDict(a=1), collections.defaultdict(int),
    collections.Counter("aa"), collections.deque([1]), collections.namedtuple("P", "a")(1),  # noqa: PYI024
    Record(), Struct(), msgspec.Raw(b"\x01"), msgspec.msgpack.Ext(1, b"x"), bytearray(b"x"),
    memoryview(b"x"), range(3), 1j, object(), len, int, ..., NotImplemented, Regex("x"),
    datetime(2026, 1, 1, tzinfo=Nowhere()), datetime(2026, 1, 1, tzinfo=ZoneInfo.no_cache("UTC")),
    time(1, tzinfo=Nowhere()), "\ud800", "\udc80", {"\ud800": 1},
]  # fmt: skip


@pytest.mark.parametrize("value", cases(STRANGERS))
@pytest.mark.parametrize("codec", ["msgpack", "json"], indirect=True)
def test_what_would_come_back_changed_is_refused(codec: Codec, value: Any) -> None:
    for whole in (value, [value], {"k": value}, {"k": [1, {"k": [value]}]}):
        with pytest.raises(NotEncodable):
            codec.encode(whole)


@pytest.mark.parametrize("value", cases(STRANGERS))
def test_a_stranger_is_refused_inside_extensions_too(value: Any) -> None:
    codec = MsgpackCodec()
    for whole in ((value,), {(1,): value}, ([{"k": (value,)}],)):
        with pytest.raises(NotEncodable):
            codec.encode(whole)


@pytest.mark.parametrize(
    "key",
    [Colour.RED, Text("x"), Number(1), Real(1.5), Data(b"x"), Pair((1,)), Day(2026, 1, 1)],
    ids=lambda key: type(key).__name__,
)
@pytest.mark.parametrize("codec", ["msgpack", "json"], indirect=True)
def test_a_key_that_would_come_back_changed_is_refused(codec: Codec, key: Any) -> None:
    # Also behind keys that are fine: a dictionary looks at its keys one by one.
    for whole in ({key: 1}, {"a": 1, "b": 2, key: 3}, [{"a": {key: 1}}]):
        with pytest.raises(NotEncodable):
            codec.encode(whole)


@pytest.mark.parametrize(
    "value",
    cases([
        math.nan, math.inf, -math.inf, (1,), {1}, b"x", {1: 1}, {None: 1}, {True: 1}, {1.5: 1},
        NAIVE, Decimal(1), UUID(int=1), [{"a": [math.nan]}], ObjectId(),
    ]),
)  # fmt: skip
def test_json_refuses_what_json_does_not_know(value: Any) -> None:
    with pytest.raises(NotEncodable, match="JSON has no"):
        JsonCodec().encode(value)


def test_json_refuses_an_integer_of_more_digits_than_python_reads_back() -> None:
    with pytest.raises(NotEncodable, match="digits"):
        JsonCodec().encode(10**5000)


@pytest.mark.parametrize("codec", ["msgpack", "json"], indirect=True)
def test_a_bomb_is_refused(codec: Codec) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    endless: list[Any] = []
    endless += [endless, endless]
    looped: dict[str, Any] = {}
    looped["k"] = [looped]
    for bomb in (nested, endless, looped):
        with pytest.raises(NotEncodable, match="nested too deeply"):
            codec.encode(bomb)


def test_a_bomb_of_tuples_is_refused() -> None:
    nested: tuple[Any, ...] = ()
    for _ in range(100_000):
        nested = (nested,)
    with pytest.raises(NotEncodable, match="nested too deeply"):
        MsgpackCodec().encode(nested)


class Shy:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("codec", ["msgpack", "json"], indirect=True)
def test_a_refusal_asks_a_stranger_nothing(codec: Codec) -> None:
    for value in (Shy(), [Shy()], {Shy(): 1}):
        with pytest.raises(NotEncodable):
            codec.encode(value)


def test_a_refusal_says_what_and_why() -> None:
    with pytest.raises(NotEncodable, match=r"a \S+\.Record cannot be given back"):
        MsgpackCodec().encode({"k": Record()})
    with pytest.raises(NotEncodable, match="time zone"):
        MsgpackCodec().encode(datetime(2026, 1, 1, tzinfo=Nowhere()))


# ---------------------------------------------------------------- bytes that are not ours


def test_other_codecs_bytes_are_corrupt() -> None:
    for writer_name, writer in CODECS.items():
        for reader_name, reader in CODECS.items():
            if writer_name.partition("-")[0] == reader_name.partition("-")[0]:
                continue
            with pytest.raises(CorruptEntry):
                reader.decode(writer.encode({"a": [1, 2, 3]}))


def test_another_version_is_corrupt(codec: Codec) -> None:
    data = codec.encode({"a": 1})
    with pytest.raises(CorruptEntry):
        codec.decode(bytes([data[0] ^ 0x40]) + data[1:])


def test_every_truncation_is_corrupt(codec: Codec) -> None:
    data = codec.encode({"a": [1, "text", None], "b": "x" * 100})
    for length in range(len(data)):
        with pytest.raises(CorruptEntry):
            codec.decode(data[:length])


def test_trailing_bytes_are_corrupt(codec: Codec) -> None:
    with pytest.raises(CorruptEntry):
        codec.decode(codec.encode({"a": 1}) + b"x")


EXT = msgspec.msgpack.Ext


@pytest.mark.parametrize(
    "body",
    [
        EXT(2, struct.pack(">HBBBBBIB", 2026, 13, 1, 0, 0, 0, 0, 0)),
        EXT(2, struct.pack(">HBBBBBIB", 2026, 1, 1, 200, 0, 0, 0, 0)),
        EXT(2, struct.pack(">HBBBBBIB", 2026, 1, 1, 0, 0, 0, 0, 7)),
        EXT(2, struct.pack(">HBBBBBIB", 2026, 1, 1, 0, 0, 0, 0, 0) + b"zNowhere/Town"),
        EXT(2, struct.pack(">HBBBBBIB", 2026, 1, 1, 0, 0, 0, 0, 0) + b"z../../etc/passwd"),
        EXT(2, struct.pack(">HBBBBBIB", 2026, 1, 1, 0, 0, 0, 0, 0) + b"?"),
        EXT(2, struct.pack(">HBBBBBIB", 2026, 1, 1, 0, 0, 0, 0, 0) + b"bx"),
        EXT(2, struct.pack(">HBBBBBIB", 2026, 1, 1, 0, 0, 0, 0, 0) + b"o" + bytes(12) + b"?"),
        EXT(2, b""), EXT(3, b"1234567"), EXT(4, b"1"), EXT(5, b"\x7f" * 12), EXT(6, b"short"),
        EXT(7, b"ten"), EXT(7, b"\xff"), EXT(32, b"short"), EXT(33, b"short"), EXT(35, b""),
        EXT(47, b""), EXT(48, b""), EXT(63, b""), EXT(64, b""), EXT(64, b"\x01"), EXT(68, b"\x90"),
        EXT(65, msgspec.msgpack.encode([[]])), EXT(67, msgspec.msgpack.encode([1])),
        EXT(67, msgspec.msgpack.encode([[], 1])), EXT(0, b""), EXT(-128, b""), EXT(127, b""),
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_extension_is_corrupt(body: Any) -> None:
    for whole in (body, [body], {"k": body}):
        with pytest.raises(CorruptEntry):
            MsgpackCodec().decode(b"\x01" + msgspec.msgpack.encode(whole))


def test_a_nested_bomb_is_corrupt() -> None:
    with pytest.raises(CorruptEntry):
        MsgpackCodec().decode(b"\x01" + b"\x91" * 100_000 + b"\x01")
    with pytest.raises(CorruptEntry):
        JsonCodec().decode(b"\x02" + b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize("body", [b"NaN", b"Infinity", b"-Infinity", b"\xff", b"", b"{'a':1}"])
def test_what_json_does_not_allow_is_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptEntry):
        JsonCodec().decode(b"\x02" + body)


# ---------------------------------------------------------------- packing


def test_only_large_bodies_are_packed() -> None:
    codec = MsgpackCodec(compress_above=1000)
    assert codec.encode("x" * 900)[0] == 0x01
    packed = codec.encode("x" * 2000)
    assert packed[0] == 0x81
    assert len(packed) < 100
    # A reader need not have the writer's setting.
    assert MsgpackCodec().decode(packed) == "x" * 2000


def test_what_packing_would_make_larger_stays_as_it_is() -> None:
    assert MsgpackCodec(compress_above=0).encode(7) == b"\x01\x07"


def test_a_packed_bomb_is_corrupt_before_memory_is_given() -> None:
    compressor = zstandard.ZstdCompressor()
    bomb = compressor.compress(bytes(MAX_SIZE + 1))
    with pytest.raises(CorruptEntry, match=f"claims {MAX_SIZE + 1} bytes"):
        MsgpackCodec().decode(b"\x81" + bomb)
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(b"\xc0" * 10)
    with pytest.raises(CorruptEntry, match="claims -1 bytes"):
        MsgpackCodec().decode(b"\x81" + stream)


def test_a_body_too_large_to_unpack_is_not_packed() -> None:
    codec = MsgpackCodec(compress_above=0)
    data = codec.encode(bytes(MAX_SIZE))
    assert data[0] == 0x01
    assert len(codec.decode(data)) == MAX_SIZE


def test_threads_may_share_a_codec() -> None:
    codec = MsgpackCodec(compress_above=0)
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(200):
            value = {"text": f"{number} {turn} " * 200}
            if codec.decode(codec.encode(value)) != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("setting", [-1, True, 1.5, "1000"])
@pytest.mark.parametrize(
    "make", [MsgpackCodec, JsonCodec, lambda **o: PickleCodec(keys=[KEY], **o)]
)
def test_a_bad_threshold_is_named(make: Any, setting: Any) -> None:
    with pytest.raises(ConfigurationError, match="compress_above="):
        make(compress_above=setting)


# ---------------------------------------------------------------- what may be missing


def test_packing_without_zstandard_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = MsgpackCodec(compress_above=0).encode("x" * 1000)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match="zstandard"):
        MsgpackCodec(compress_above=0)
    with pytest.raises(MissingExtra, match="zstandard"):
        MsgpackCodec().decode(packed)


@pytest.mark.parametrize("value", [ObjectId(), datetime(2026, 1, 1, tzinfo=bson.tz_util.utc)])
def test_a_bson_value_without_pymongo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    from symphonia_perf._core.codecs import _extensions

    data = MsgpackCodec().encode([value])
    _extensions._bson_extensions.cache_clear()
    monkeypatch.setitem(sys.modules, "bson", None)
    with pytest.raises(MissingExtra, match="bson"):
        MsgpackCodec().decode(data)


def test_a_foreign_type_that_calls_itself_bson_is_refused() -> None:
    fake = type("ObjectId", (), {"__module__": "bson.objectid", "binary": b"x" * 12})
    with pytest.raises(NotEncodable, match="ObjectId"):
        MsgpackCodec().encode(fake())


def test_codes_are_stable() -> None:
    kinds = {code: extension_for_code(code).kind for code in (*range(1, 8), *range(32, 36))}
    assert kinds == {
        1: int, 2: datetime, 3: date, 4: time, 5: timedelta, 6: UUID, 7: Decimal,
        32: ObjectId, 33: Decimal128, 34: Int64, 35: Binary,
    }  # fmt: skip


def test_the_stored_format_is_stable() -> None:
    # Written by version 1: change the version byte when one of these has to change.
    assert MsgpackCodec().encode({"a": (1, date(2026, 11, 3))}).hex() == (
        "0181a161d7409201d60307ea0b03"
    )
    assert JsonCodec().encode({"a": [1, "é"]}) == b'\x02{"a":[1,"\xc3\xa9"]}'


# ---------------------------------------------------------------- pickle


def test_pickle_keeps_what_pickle_keeps() -> None:
    codec = PickleCodec(keys=[KEY])
    for value in (Colour.RED, Record(5), collections.OrderedDict(a=1), {1: (2,)}):
        assert same(codec.decode(codec.encode(value)), value)


def test_keys_rotate() -> None:
    old, both, new = (
        PickleCodec(keys=[KEY]),
        PickleCodec(keys=[NEW_KEY, KEY]),
        PickleCodec(keys=[NEW_KEY]),
    )
    assert both.decode(old.encode(1)) == 1
    assert new.decode(both.encode(2)) == 2
    with pytest.raises(CorruptEntry, match="signature"):
        old.decode(both.encode(3))


def test_a_signed_entry_of_another_version_is_corrupt() -> None:
    from symphonia_perf._core.codecs.pickle import _sign

    sealed = b"\x43" + pickle.dumps(1)
    with pytest.raises(CorruptEntry, match="first byte is 0x43"):
        PickleCodec(keys=[KEY]).decode(sealed[:1] + _sign(KEY, sealed) + sealed[1:])


class Evil:
    ran = False

    def __reduce__(self) -> Any:
        return (setattr, (Evil, "ran", True))


def test_nothing_is_unpickled_before_the_signature_was_verified() -> None:
    data = PickleCodec(keys=[b"a key that was guessed"]).encode(Evil())
    with pytest.raises(CorruptEntry, match="signature"):
        PickleCodec(keys=[KEY]).decode(data)
    # Nor does a signature made for another purpose pass, or one over another first byte.
    body = pickle.dumps(Evil())
    for signed in (body, b"\x03" + body):
        with pytest.raises(CorruptEntry, match="signature"):
            PickleCodec(keys=[KEY]).decode(b"\x03" + hmac.digest(KEY, signed, "sha256") + body)
    assert Evil.ran is False


def test_every_flipped_bit_of_a_signed_value_is_corrupt() -> None:
    codec = PickleCodec(keys=[KEY], compress_above=0)
    data = codec.encode({"a": "x" * 200})
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptEntry):
            codec.decode(bytes(flipped))


class Moody:
    def __init__(self, *, when: str) -> None:
        self.when = when

    def __getstate__(self) -> Any:
        if self.when == "out":
            raise ZeroDivisionError
        return {"when": self.when}

    def __setstate__(self, state: Any) -> None:
        raise ZeroDivisionError


def test_what_a_class_raises_is_ours() -> None:
    codec = PickleCodec(keys=[KEY])
    with pytest.raises(NotEncodable):
        codec.encode(Moody(when="out"))
    with pytest.raises(NotEncodable):
        codec.encode(lambda: 1)
    with pytest.raises(CorruptEntry):
        codec.decode(codec.encode(Moody(when="in")))


@pytest.mark.parametrize("keys", [[], (), b"one key of 16 bytes", "text", [b"short"], ["text" * 9]])
def test_bad_keys_are_refused_and_not_shown(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match="keys") as raised:
        PickleCodec(keys=keys)
    assert "short" not in str(raised.value)
