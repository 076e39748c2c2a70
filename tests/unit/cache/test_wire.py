import struct

import pytest

from symphonia_perf._core.codecs import JsonCodec, MsgpackCodec
from symphonia_perf.cache import Entry
from symphonia_perf.cache._wire import decode, encode
from symphonia_perf.errors import CorruptEntry, MissingExtra

CODEC = MsgpackCodec()
ENTRIES = [
    Entry(value={"a": [1]}, ttl=60.0),
    Entry(value=None, ttl=60.0, stale_for=5.0, stale_on_error=2.5),
    Entry(value=b"x", ttl=0.25, tags={"cache:~tag:plans": 2**63 - 1, "é": 1}),
    Entry(value=["a.B", 1], ttl=1.0, raised=True),
    Entry(value=1, ttl=1.0, stale_for=1.0, tags={"t": 7}, raised=True),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_what_goes_in_comes_out(entry: Entry) -> None:
    assert decode(encode(entry, CODEC), CODEC) == entry


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_a_truncated_entry_is_corrupt_wherever_it_ends(entry: Entry) -> None:
    data = encode(entry, CODEC)
    for length in range(len(data)):
        with pytest.raises(CorruptEntry):
            decode(data[:length], CODEC)


@pytest.mark.parametrize(
    "data",
    [
        None,
        "text",
        b"plain text of somebody else",
        struct.pack(">BBd", 1, 0, 60.0) + CODEC.encode(1),
        struct.pack(">BBd", 3, 0, 60.0) + CODEC.encode(1),
        struct.pack(">BBd", 2, 0, float("nan")) + CODEC.encode(1),
        struct.pack(">BBd", 2, 0, -1.0) + CODEC.encode(1),
        struct.pack(">BBddd", 2, 1, 1.0, float("inf"), 0.0) + CODEC.encode(1),
        struct.pack(">BBdB", 2, 2, 1.0, 33) + CODEC.encode(1),
        struct.pack(">BBdBQH", 2, 2, 1.0, 1, 1, 1) + b"\xff" + CODEC.encode(1),
    ],
    ids=repr,
)
def test_what_is_not_ours_is_corrupt(data: object) -> None:
    with pytest.raises(CorruptEntry):
        decode(data, CODEC)


def test_another_codecs_entry_is_corrupt() -> None:
    with pytest.raises(CorruptEntry):
        decode(encode(ENTRIES[0], JsonCodec()), CODEC)


def test_what_an_extra_is_missing_for_is_corrupt() -> None:
    class WithoutBson(MsgpackCodec):
        def decode(self, data: bytes) -> object:  # noqa: ARG002 - the role has it
            raise MissingExtra("bson", "mongo")

    with pytest.raises(CorruptEntry, match=r"cannot be read here: 'bson' is not installed"):
        decode(encode(ENTRIES[0], CODEC), WithoutBson())
