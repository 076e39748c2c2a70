from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

import pytest
from bson import Binary, Decimal128, Int64, ObjectId, Timestamp, encode
from bson.codec_options import CodecOptions, DatetimeConversion, TypeCodec, TypeRegistry
from bson.datetime_ms import DatetimeMS
from bson.tz_util import utc

from symphonia_perf.errors import (
    ConfigurationError,
    InvalidCursor,
    MongoOperationError,
    SymphoniaError,
)
from symphonia_perf.mongo._cursor import Seal, signing_keys
from tests.same import same

PLAIN: CodecOptions[Any] = CodecOptions()
SORT = [("createdAt", -1), ("_id", -1)]
QUERY: dict[str, Any] = {"filter": {"status": "OPEN", "n": {"$gt": 5}}, "sort": SORT}
OLD, NEW = b"o" * 16, b"n" * 32
DATE = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=utc)
PLACE = [DATE, ObjectId("65a000000000000000000001")]


def seal(query: dict[str, Any] = QUERY, *keys: bytes, name: str = "orders") -> Seal:
    return Seal(name, query, PLAIN, signing_keys(keys or None))


def sealed(raw: bytes, *, version: bytes = b"\x01") -> str:
    """What somebody makes who knows the query, where there is no key."""
    made = blake2b(b"\x01" + seal()._query + raw, digest_size=16).digest()
    return urlsafe_b64encode(version + made + raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -5,
        Int64(2**40),
        1.5,
        float("inf"),
        "",
        "é\0\U0001f600",
        b"",
        b"bytes",
        Binary(b"a" * 16, 4),
        Binary(b"a", 128),
        ObjectId(),
        DATE,
        DatetimeMS(2**60),
        Timestamp(1, 2),
        Decimal128("1.50"),
        Decimal128("-0"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_a_place_comes_back_as_it_was(value: Any, keys: tuple[bytes, ...]) -> None:
    token = seal(QUERY, *keys).token([value, 1])
    assert same(seal(QUERY, *keys).place(token), [value, 1])


def test_a_token_of_a_date_and_an_id_is_short_and_fit_for_a_url() -> None:
    token = seal(QUERY, NEW).token(PLACE)
    assert len(token) == 64
    assert token.replace("-", "").replace("_", "").isalnum()


def test_what_the_collection_decodes_is_encoded_by_its_own_options() -> None:
    class Money(TypeCodec):
        python_type = Decimal
        bson_type = Decimal128

        def transform_python(self, value: Any) -> Any:
            return Decimal128(value)

        def transform_bson(self, value: Any) -> Any:
            return value.to_decimal()

    options: CodecOptions[Any] = CodecOptions(
        type_registry=TypeRegistry([Money()]), uuid_representation=4
    )
    ours = Seal("orders", {"filter": {"m": Decimal(1)}, "sort": SORT}, options, [b""])
    number = UUID(int=7)
    assert ours.place(ours.token([Decimal("1.5"), number])) == [
        Decimal128("1.5"),
        Binary.from_uuid(number),
    ]
    aware = DATE.astimezone(timezone(timedelta(hours=5)))
    assert ours.place(ours.token([aware, aware.astimezone(UTC).replace(tzinfo=None)])) == [DATE] * 2


OTHERS: dict[str, Seal] = {
    "filter": seal({**QUERY, "filter": {"status": "DONE", "n": {"$gt": 5}}}),
    "a part of it": seal({**QUERY, "filter": {"status": "OPEN"}}),
    "type in it": seal({**QUERY, "filter": {"status": "OPEN", "n": {"$gt": "5"}}}),
    "sort": seal({**QUERY, "sort": [("updatedAt", -1), ("_id", -1)]}),
    "direction": seal({**QUERY, "sort": [("createdAt", 1), ("_id", -1)]}),
    "collation": seal({**QUERY, "collation": {"locale": "en"}}),
    "collection": seal(name="carriers"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_another_query_does_not_take_it(other: Seal) -> None:
    with pytest.raises(InvalidCursor, match="belongs to another query, sort or collection"):
        other.place(seal().token(PLACE))


def test_what_does_not_change_the_order_does_not_change_the_token() -> None:
    turned = {"n": {"$gt": 5}, "status": "OPEN"}
    other = {"filter": turned, "sort": SORT, "limit": 7, "projection": {"a": 1}, "comment": "c"}
    assert seal(other).place(seal(QUERY).token(PLACE)) == PLACE


def test_the_first_key_signs_and_every_key_verifies() -> None:
    before, rotating = seal(QUERY, OLD), seal(QUERY, NEW, OLD)
    assert rotating.place(before.token(PLACE)) == PLACE
    assert seal(QUERY, NEW).place(rotating.token(PLACE)) == PLACE
    for keys, token in [((NEW,), before.token(PLACE)), ((OLD,), rotating.token(PLACE))]:
        with pytest.raises(InvalidCursor, match="signed with another key"):
            seal(QUERY, *keys).place(token)


def test_keys_and_no_keys_do_not_mix() -> None:
    for one, other in [(seal(), seal(QUERY, NEW)), (seal(QUERY, NEW), seal())]:
        with pytest.raises(InvalidCursor):
            one.place(other.token(PLACE))


@pytest.mark.parametrize("keys", [(), (NEW,)])
def test_every_altered_byte_is_found(keys: tuple[bytes, ...]) -> None:
    ours = seal(QUERY, *keys)
    token = ours.token(PLACE)
    data = urlsafe_b64decode(token)
    for position in range(len(data)):
        for bit in (1, 128):
            changed = bytearray(data)
            changed[position] ^= bit
            with pytest.raises(InvalidCursor):
                ours.place(urlsafe_b64encode(bytes(changed)).rstrip(b"=").decode())
    for end in range(len(token)):
        with pytest.raises(InvalidCursor):
            ours.place(token[:end])


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        " ",
        "A",
        "AAAA\n",
        "====",
        "not a token",
        "é",
        "AQ==",
        "A" * 5000,
        "\0",
        b"AAAA",
        5,
        [],
        {},
    ],
)
def test_garbage_is_refused(garbage: Any) -> None:
    with pytest.raises(InvalidCursor, match="begin again at the first page"):
        seal().place(garbage)


def test_one_place_has_one_text() -> None:
    token = seal().token(["abc", 1])  # 43 bytes: the last character has unused bits
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same_bytes = [
        token[:-1] + each
        for each in last
        if urlsafe_b64decode(token[:-1] + each + "=" * (-len(token) % 4))
        == urlsafe_b64decode(token + "=" * (-len(token) % 4))
    ]
    assert len(same_bytes) > 1
    for each in same_bytes:
        if each != token:
            with pytest.raises(InvalidCursor):
                seal().place(each)


@pytest.mark.parametrize("token", ["nope", "Ag", "AgAA", "A" * 40, "n" * 40])
def test_what_nobody_sealed_is_not_of_another_version(token: str) -> None:
    with pytest.raises(InvalidCursor, match=r"not one of ours; begin again"):
        seal().place(token)


def test_another_version_says_so() -> None:
    token = sealed(encode({"0": 1, "1": 2}), version=b"\x02")
    with pytest.raises(InvalidCursor, match="made by another version"):
        seal().place(token)


FORGED = {
    "operator": (encode({"0": {"$gt": ""}, "1": 1}), "'createdAt' holds a value of type dict"),
    "array": (encode({"0": 1, "1": [1]}), "'_id' holds a value of type list"),
    "too few": (encode({"0": 1}), "shorter"),
    "too many": (encode({"0": 1, "1": 2, "2": 3}), "longer"),
    "nothing": (b"", ""),
    "no end": (b"\x05\0\0\0", ""),
    "wrong length": (b"\x10\0\0\0\x020\0\x02\0\0\0a\0\0", ""),
    "no UTF-8": (b"\x0f\0\0\0\x020\0\x02\0\0\0\xff\0\0", ""),
    "unknown type": (b"\x08\0\0\0\x7e0\0\0", ""),
}


@pytest.mark.parametrize(("raw", "message"), FORGED.values(), ids=FORGED)
def test_a_forged_token_holds_nothing_but_plain_values(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidCursor, match="the page token holds no place: ") as caught:
        seal().place(sealed(raw))
    assert message in str(caught.value)


def test_a_well_made_one_is_read() -> None:
    assert seal().place(sealed(encode({"0": 1, "1": 2}))) == [1, 2]


def test_an_invalid_cursor_is_a_value_error_of_ours() -> None:
    assert issubclass(InvalidCursor, ValueError)
    assert issubclass(InvalidCursor, SymphoniaError)


@pytest.mark.parametrize("value", [[1], {"a": 1}, "x" * 4096], ids=["list", "document", "long"])
def test_no_page_ends_at_a_value_that_makes_no_token(value: Any) -> None:
    with pytest.raises(MongoOperationError, match="no page can begin or end here") as caught:
        seal().token([value, 1])
    assert caught.value.operation == "find"


def test_a_value_that_can_only_be_decoded_makes_no_token() -> None:
    class Opened:
        pass

    with pytest.raises(MongoOperationError, match=r"cannot encode object.*Opened"):
        seal().token([Opened(), 1])


def test_a_filter_that_bson_has_no_form_for_is_refused_by_name() -> None:
    for value in (object(), {1, 2}, 2**80):
        with pytest.raises(ConfigurationError, match="filter="):
            seal({**QUERY, "filter": {"a": value}})


@pytest.mark.parametrize(
    "keys",
    [
        b"n" * 32,
        "n" * 32,
        5,
        [],
        (),
        [""],
        [b""],
        [b"short"],
        ["short"],
        [5],
        [None],
        [NEW, b"short"],
    ],
    ids=repr,
)
def test_keys_are_a_list_of_long_secrets(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match="keys") as caught:
        signing_keys(keys)
    assert "short" not in str(caught.value)
    assert "nnnn" not in str(caught.value)


def test_keys_may_be_text() -> None:
    assert signing_keys(["é" * 8, NEW]) == [("é" * 8).encode(), NEW]
    assert len(signing_keys(["\ud800" * 16])[0]) == 48  # what is no UTF-8 is a key as well
    assert signing_keys(iter([NEW])) == [NEW]


def test_no_keys_are_said_by_none() -> None:
    assert signing_keys(None) == [b""]


def test_a_date_that_was_clamped_is_no_place() -> None:
    clamp: CodecOptions[Any] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_CLAMP)
    ours = Seal("orders", QUERY, clamp, [b""])
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999000, UTC)
    for edge in (first, last, last.replace(tzinfo=None)):
        with pytest.raises(MongoOperationError, match=r"'createdAt' holds .* DATETIME_CLAMP may"):
            ours.token([edge, 1])
        assert seal().token([edge, 1])
    assert ours.place(ours.token(PLACE)) == PLACE


def test_long_keys_count_in_full() -> None:
    one, other = b"k" * 64 + b"1", b"k" * 64 + b"2"
    token = seal(QUERY, one).token(PLACE)
    assert seal(QUERY, one).place(token) == PLACE
    with pytest.raises(InvalidCursor):
        seal(QUERY, other).place(token)
    assert signing_keys([b"k" * 64]) == [b"k" * 64]
