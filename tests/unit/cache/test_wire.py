import struct
from typing import Any

import msgspec
import pytest

from symphonia_perf._core.codecs import Codec, JsonCodec, MsgpackCodec, PickleCodec
from symphonia_perf.cache import Entry
from symphonia_perf.cache._wire import encode, reader
from symphonia_perf.errors import CorruptEntry, MissingExtra

PICKLE = PickleCodec(keys=[b"a key of sixteen bytes or more"])
CODECS: list[Codec] = [MsgpackCodec(), MsgpackCodec(compress_above=10), JsonCodec(), PICKLE]
NAMES = ["msgpack", "packed", "json", "pickle"]
ENTRIES = [
    Entry(value={"a": [1]}, ttl=60.0),
    Entry(value="x" * 100, ttl=60.0),
    Entry(value=None, ttl=60.0, stale_for=5.0, stale_on_error=2.5),
    Entry(value="x", ttl=0.25, tags={"cache:~tag:plans": 2**63 - 1, "é": 1}),
    Entry(value=["a.B", 1], ttl=1.0, raised=True),
    Entry(value=["a.B"], ttl=1.0, stale_for=1.0, tags={"t": 7}, raised=True),
    Entry(value=["x" * 100], ttl=1.0, stale_for=1.0, tags={"t": 7}),
]
read = reader(CODECS[0])
pack = msgspec.msgpack.encode


@pytest.mark.parametrize("codec", CODECS, ids=NAMES)
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_what_goes_in_comes_out(entry: Entry, codec: Codec) -> None:
    assert reader(codec)(encode(entry, codec)) == entry


@pytest.mark.parametrize("codec", CODECS, ids=NAMES)
@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_a_truncated_entry_is_corrupt_wherever_it_ends(entry: Entry, codec: Codec) -> None:
    data = encode(entry, codec)
    for length in range(len(data)):
        with pytest.raises(CorruptEntry):
            reader(codec)(data[:length])
    with pytest.raises(CorruptEntry):
        reader(codec)(data + b"\0")


def seven(place: int, value: Any) -> bytes:
    """An entry with one part that is not as we write it."""
    parts: list[Any] = [2, 60.0, 1.0, 0.0, {}, False, "value"]
    parts[place] = value
    return pack(parts)


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        b"",
        b"plain text of somebody else",
        b'{"plans": []}',
        struct.pack(">BBd", 2, 0, 60.0) + b"\x01\xa1x",  # the form before this one
        *(pack(foreign) for foreign in (None, 5, "abc", [1], {"a": 1, "b": 2, "c": 3})),
        *(pack([2, ttl, "value"]) for ttl in (float("nan"), float("inf"), -1.0, "60", None)),
        pack([4, 60.0, "the form of a newer version"]),
        *(seven(0, form) for form in (0, 4, "2", None)),
        *(seven(place, value) for place in (1, 2, 3) for value in (-1.0, float("inf"), 1, "1")),
        *(seven(4, tags) for tags in (None, {"t": 1.0}, {1: 1}, {f"{n}": n for n in range(33)})),
        *(seven(5, raised) for raised in (0, None)),
        *(pack([2, 60.0, 0.0, 0.0, {}, True, no]) for no in (5, None, "a.B", [], [{"a": 1}])),
        pack([3, 60.0, 1.0, 0.0, {}, False, "not bytes"]),
        pack([3, 60.0, 1.0, 0.0, {}, False, b"\xffnot of the codec"]),
    ],
    ids=repr,
)
def test_what_is_not_ours_is_corrupt(data: object) -> None:
    with pytest.raises(CorruptEntry):
        read(data)


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_another_codecs_entry_is_corrupt(entry: Entry) -> None:
    for writer in CODECS:
        for other in CODECS:
            if type(writer) is not type(other):
                with pytest.raises(CorruptEntry):
                    reader(other)(encode(entry, writer))


def test_what_an_extra_is_missing_for_is_corrupt() -> None:
    class WithoutBson(JsonCodec):
        def decode(self, data: bytes) -> object:  # noqa: ARG002 - the role has it
            raise MissingExtra("bson", "mongo")

    with pytest.raises(CorruptEntry, match=r"cannot be read here: 'bson' is not installed"):
        reader(WithoutBson())(encode(ENTRIES[0], WithoutBson()))


def test_want_of_memory_is_no_fault_of_the_entry() -> None:
    class Exhausted(JsonCodec):
        def decode(self, data: bytes) -> object:  # noqa: ARG002 - the role has it
            raise MemoryError

    with pytest.raises(MemoryError):
        reader(Exhausted())(encode(ENTRIES[0], Exhausted()))
