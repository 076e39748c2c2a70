"""What goes in equals what comes out, or it is refused; noise is corrupt and nothing else."""

import datetime as dt
from contextlib import suppress
from typing import Any

import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import example, given
from hypothesis import strategies as st

from symphonia_perf._core.codecs import Codec, JsonCodec, MsgpackCodec, PickleCodec
from symphonia_perf.errors import CorruptEntry, NotEncodable
from tests.same import same

CODECS: list[Codec] = [
    MsgpackCodec(),
    MsgpackCodec(compress_above=0),
    JsonCodec(),
    JsonCodec(compress_above=0),
    PickleCodec(keys=[b"a key of at least 16 bytes"]),
]

zones = (
    st.none()
    | st.timezones()
    | st.builds(
        dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)), st.text()
    )
)
leaves = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**70), 2**70) | st.floats()
    | st.text() | st.binary() | st.dates() | st.times(timezones=zones) | st.timedeltas()
    | st.datetimes(timezones=zones) | st.uuids() | st.decimals(allow_nan=False)
    | st.binary(min_size=12, max_size=12).map(ObjectId)
    | st.integers(-(2**63), 2**63 - 1).map(Int64)
)  # fmt: skip
# Deferred, because Hypothesis writes out what a strategy is made of.
keys = st.deferred(
    lambda: leaves | st.lists(keys, max_size=3).map(tuple) | st.frozensets(keys, max_size=3)
)
values = st.deferred(
    lambda: (
        keys
        | st.binary(min_size=16, max_size=16).map(Decimal128.from_bid)
        | st.lists(values, max_size=4)
        | st.lists(values, max_size=4).map(tuple)
        | st.dictionaries(st.text() | keys, values, max_size=4)
        | st.sets(keys, max_size=4)
    )
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(values)
def test_msgpack_gives_back_type_and_value(value: Any) -> None:
    for codec in CODECS[:2]:
        assert same(codec.decode(codec.encode(value)), value)


@given(json_values)
def test_every_codec_gives_back_what_json_knows(value: Any) -> None:
    for codec in CODECS:
        assert same(codec.decode(codec.encode(value)), value)


@given(values)
def test_json_gives_back_or_refuses(value: Any) -> None:
    try:
        data = JsonCodec().encode(value)
    except NotEncodable:
        return
    assert same(JsonCodec().decode(data), value)


@pytest.mark.parametrize("codec", CODECS, ids=["msgpack", "zstd", "json", "json-zstd", "pickle"])
@given(data=st.binary(), tag=st.sampled_from([1, 2, 3, 0x81, 0x82, 0x83]))
@example(data=b"\xdd\xff\xff\xff\xff", tag=1)
@example(data=b"\xc9\xff\xff\xff\xff\x40", tag=1)
def test_noise_is_corrupt_and_nothing_else(codec: Codec, data: bytes, tag: int) -> None:
    for noise in (data, bytes([tag]) + data):
        with suppress(CorruptEntry):
            codec.decode(noise)


@given(
    value=values, position=st.integers(0), bit=st.integers(0, 7), above=st.sampled_from([None, 0])
)
def test_a_flipped_bit_is_corrupt_or_a_value(
    value: Any, position: int, bit: int, above: int | None
) -> None:
    codec = MsgpackCodec(compress_above=above)
    data = bytearray(codec.encode(value))
    data[position % len(data)] ^= 1 << bit
    with suppress(CorruptEntry):
        codec.decode(bytes(data))
