"""Commands as bytes: whatever way they take, they are the same."""

from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis._packing import is_plain, pack_words, packed, packed_shared


@pytest.mark.parametrize(
    "args",
    [
        ("GET", "k"),
        ("set", "k", b"v" * 3_000_000, "EX", 60),  # joined here
        ("SET", "k", b"v" * 3_000_000),
        ("SET", "é", 2**70),
        ("SET", "k", 1.5),
        ["SET", "k", 7],
        ("XREAD", "STREAMS", "s", "0"),
    ],
    ids=lambda args: str(args)[:20],
)
def test_every_way_gives_the_same_bytes(args: Any) -> None:
    as_text = [each if isinstance(each, bytes) else str(each).encode() for each in args]
    expected = b"*%d\r\n" % len(args)
    expected += b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in as_text)
    assert packed(args, may_block=False).upper() == expected.upper()
    assert packed_shared(args).upper() == expected.upper()


def test_what_hiredis_packs_otherwise_is_not_plain() -> None:
    assert is_plain(("SET", b"k", 1, 0.5))
    assert not is_plain(("SET", "k", 2**64))
    assert not is_plain(("SET", "k", b"x" * (2**20 + 1)))
    assert not is_plain(("SET", "k", True))
    assert pack_words(("GET", "k")) == b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "needs a name"),
        ("GET", "sequence"),
        (("GET", "\ud800"), "GET argument 1: not UTF-8"),
        (([], "k"), "command name"),
    ],
)
def test_bad_commands_are_named(args: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        packed(args, may_block=False)
    with pytest.raises(ConfigurationError, match=said):
        packed_shared(args)
