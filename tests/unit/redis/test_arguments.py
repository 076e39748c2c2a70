"""What may be sent on a shared connection, and what a refusal says."""

import enum
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis._arguments import blocks_for, listed, pack


class Word(enum.StrEnum):
    KEY = "key"


class Number(enum.IntEnum):
    SEVEN = 7


class Real(float):
    def __repr__(self) -> str:
        return "Real(0.5)"


class Data(bytes):
    pass


@pytest.mark.parametrize(
    ("argument", "sent"),
    [
        ("é", b"\xc3\xa9"),
        ("", b""),
        (b"\x00\xff", b"\x00\xff"),
        (7, b"7"),
        (-(2**70), b"-1180591620717411303424"),
        (0.1, b"0.1"),
        (1e300, b"1e+300"),
        (float("inf"), b"inf"),
        (Word.KEY, b"key"),
        (Number.SEVEN, b"7"),
        (Real(0.5), b"0.5"),
        (Data(b"x"), b"x"),
    ],
    ids=lambda value: f"{type(value).__name__}-{value!r:.20}",
)
def test_arguments_become_bytes(argument: Any, sent: bytes) -> None:
    name, packed = pack(("GET", argument))
    assert (name, packed) == ("GET", sent)
    assert type(packed) is bytes


@pytest.mark.parametrize(
    "argument",
    [None, True, False, [], {}, (), bytearray(b"x"), memoryview(b"x"), object(), 1j, "\ud800"],
    ids=lambda value: type(value).__name__ + repr(value)[:9],
)
def test_a_bad_argument_is_named_by_its_position(argument: Any) -> None:
    with pytest.raises(ConfigurationError, match="SET argument 2: "):
        pack(("set", "k", argument))


@pytest.mark.parametrize("name", ["get", "GET", "Get", b"get", b"GET"], ids=repr)
def test_a_name_is_in_capitals(name: str | bytes) -> None:
    assert pack((name, "k")) == ("GET", b"k")


@pytest.mark.parametrize(
    "name", ["", " ", "CONFIG GET", " GET", "GET ", "GET\n", "\u212aEYS", b"", b"MULTI ", b"\xff"],
    ids=repr,
)  # fmt: skip
def test_a_name_is_one_word(name: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match="expected one word"):
        pack((name, "k"))


@pytest.mark.parametrize("name", [None, 1, 1.5, ["GET"]], ids=repr)
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="command name: expected str or bytes"):
        pack((name, "k"))


def test_a_command_has_a_name() -> None:
    with pytest.raises(ConfigurationError, match="a command needs a name"):
        pack(())


@pytest.mark.parametrize(
    ("command", "way"),
    [
        ("MULTI", "pipeline"), ("EXEC", "pipeline"), ("DISCARD", "pipeline"),
        ("WATCH k", "pipeline"), ("UNWATCH", "pipeline"),
        ("SUBSCRIBE c", "pubsub"), ("PSUBSCRIBE c", "pubsub"), ("SSUBSCRIBE c", "pubsub"),
        ("UNSUBSCRIBE", "pubsub"), ("PUNSUBSCRIBE", "pubsub"), ("SUNSUBSCRIBE", "pubsub"),
        ("SELECT 1", "is built"), ("AUTH p", "is built"), ("HELLO 3", "is built"),
        ("RESET", "is built"), ("QUIT", "is built"), ("MONITOR", "is built"),
        ("READONLY", "is built"), ("READWRITE", "is built"), ("ASKING", "is built"),
        ("SYNC", "is built"), ("PSYNC ? -1", "is built"), ("REPLCONF ACK 1", "is built"),
        ("HIMPORT SET", "is built"), ("CLIENT REPLY OFF", "is built"),
        ("CLIENT TRACKING ON", "is built"), ("CLIENT CACHING YES", "is built"),
        ("CLIENT SETNAME n", "is built"), ("CLIENT SETINFO a b", "is built"),
        ("CLIENT NO-EVICT ON", "is built"), ("CLIENT NO-TOUCH ON", "is built"),
        ("SCRIPT DEBUG YES", "is built"),
        ("BLPOP k 0", "client itself"), ("BRPOP k 0", "client itself"),
        ("BLMOVE a b LEFT RIGHT 0", "client itself"), ("BRPOPLPUSH a b 0", "client itself"),
        ("BLMPOP 0 1 k LEFT", "client itself"), ("BZPOPMIN k 0", "client itself"),
        ("BZPOPMAX k 0", "client itself"), ("BZMPOP 0 1 k MIN", "client itself"),
        ("WAIT 1 0", "client itself"), ("WAITAOF 1 0 0", "client itself"),
        ("XREAD COUNT 2 BLOCK 0 STREAMS s $", "client itself"),
        ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "client itself"),
        ("XREADGROUP GROUP g c COUNT 1 BLOCK 0 NOACK STREAMS s >", "client itself"),
    ],
)  # fmt: skip
def test_what_a_shared_connection_cannot_take_is_refused_with_the_way_that_works(
    command: str, way: str
) -> None:
    words = command.split()
    for spelt in (words, [word.lower() for word in words], [word.encode() for word in words]):
        with pytest.raises(ConfigurationError, match=f"^{words[0]}.*{way}"):
            pack(spelt)


@pytest.mark.parametrize(
    "command",
    [
        "CLIENT LIST", "CLIENT ID", "CLIENT", "SCRIPT FLUSH", "SCRIPT LOAD x", "XREAD",
        "XREAD COUNT 2 STREAMS s 0", "XREAD STREAMS BLOCK 0",
        "XREADGROUP GROUP BLOCK BLOCK STREAMS s >",
        "XREADGROUP", "SET BLOCK 1", "LMOVE a b LEFT RIGHT", "PUBLISH c m",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_allowed(command: str) -> None:
    words = command.split()
    assert pack(words) == (words[0], *(word.encode() for word in words[1:]))


@pytest.mark.parametrize(
    ("command", "lasts"),
    [
        (("BLPOP", "a", "b", 1.5), 1.5),
        (("blpop", "a", b"2"), 2.0),
        (("BRPOPLPUSH", "a", "b", "3"), 3.0),
        (("BLMOVE", "a", "b", "LEFT", "RIGHT", 4), 4.0),
        (("BLMPOP", 5, 1, "a", "LEFT"), 5.0),
        (("BZMPOP", "6", 1, "a", "MIN"), 6.0),
        (("WAIT", 1, 7000), 7.0),
        (("WAITAOF", 1, 1, 8000), 8.0),
        (("XREAD", "block", 9000, "STREAMS", "s", "$"), 9.0),
        (("XREADGROUP", "GROUP", "g", "c", b"BLOCK", b"10000", "STREAMS", "s", ">"), 10.0),
        (("XREADGROUP", "GROUP", "BLOCK", "5", "BLOCK", 11000, "STREAMS", "s", ">"), 11.0),
        (("XREAD", "STREAMS", "block", "0-0"), 0.0),
        (("BLPOP", "a", 0), None),  # for ever
        (("XREAD", "BLOCK", 0, "STREAMS", "s", "$"), None),
        (("BLPOP", "a", "inf"), 0.0),
        (("BLPOP", "a", "nan"), 0.0),
        (("BLPOP", "a", None), 0.0),
        ((["BLPOP"],), 0.0),
        ((), 0.0),
        (("BLPOP", "a", -1), 0.0),  # the server refuses it
        (("BLPOP", "a", "soon"), 0.0),
        (("BLPOP",), 0.0),
        (("WAIT", 1), 0.0),
        (("XREAD", "STREAMS", "s", "$"), 0.0),
        (("GET", "a"), 0.0),
    ],
)
def test_how_long_a_command_may_block(command: tuple[Any, ...], lasts: float | None) -> None:
    assert blocks_for(command) == lasts


@pytest.mark.parametrize("commands", [None, 5, "GET k", b"GET", {"GET": "k"}])
def test_no_list_of_commands(commands: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^commands=.*expected a list of commands"):
        listed(commands)


@pytest.mark.parametrize("command", [None, 5, "GET k", b"GET", {"GET": "k"}, {"GET"}, iter("ab")])
def test_no_command(command: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^command .*expected a list of commands"):
        listed([("GET", "k"), command])


def test_any_sequences_are_commands() -> None:
    assert listed(each for each in (["GET", "a"], ("GET", "b"))) == (["GET", "a"], ("GET", "b"))
