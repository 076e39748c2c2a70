"""What is said first, and what a refusal of it means."""

from importlib.metadata import PackageNotFoundError

import pytest

from symphonia_perf.errors import CommandError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis import RedisOptions
from symphonia_perf.redis._handshake import greeting, plain_greeting, refusal, wants_plain
from symphonia_perf.redis._replies import explained, needs_reconnect, raise_first, refused, told
from symphonia_perf.redis.connection import Broken, ServerRefusal


def words(said: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, ...]]:
    return [each for _, each in said if each[:2] != ("CLIENT", "SETINFO")]


def test_hello_carries_who_and_what_name() -> None:
    options = RedisOptions(url="redis://u:p@h/2", client_name="me")
    assert words(greeting(options)) == [
        ("HELLO", "3", "AUTH", "u", "p", "SETNAME", "me"),
        ("SELECT", "2"),
    ]
    assert words(plain_greeting(options)) == [
        ("AUTH", "u", "p"),
        ("CLIENT", "SETNAME", "me"),
        ("SELECT", "2"),
    ]
    assert words(greeting(RedisOptions())) == [("HELLO", "3")]
    assert words(plain_greeting(RedisOptions(url="redis://:p@h"))) == [("AUTH", "p")]
    assert words(plain_greeting(RedisOptions())) == []


def test_what_else_is_said_comes_last_and_must_succeed() -> None:
    extra = [("CLIENT", "TRACKING", "ON")]
    for said in (greeting(RedisOptions(), extra), plain_greeting(RedisOptions(), extra)):
        assert said[-1] == ("CLIENT TRACKING", extra[0])
        replies = [*([b"OK"] * (len(said) - 1)), ServerRefusal("NOPERM no")]
        error = refusal(said, replies, "h:1")
        assert isinstance(error, CommandError)
        assert (error.operation, error.code) == ("CLIENT TRACKING", "NOPERM")
        assert "ACL SETUSER" in str(error)


def test_an_error_that_names_the_command_is_not_chained_to_the_one_that_does_not() -> None:
    late = explained(StoreTimeout("no reply"), "GET")
    assert (type(late), str(late), late.operation) == (StoreTimeout, "GET: no reply", "GET")
    broken = explained(Broken("gone"), "GET")
    assert (type(broken), broken.__cause__) == (StoreUnavailable, None)
    cause = ServerRefusal("OOM full")
    assert explained(cause, "SET").__cause__ is cause
    with pytest.raises(StoreUnavailable) as first:
        raise_first([b"x", broken, late])
    assert first.value is broken


def test_resp2_is_tried_where_hello_is_not_known_and_nowhere_else() -> None:
    assert wants_plain([ServerRefusal("ERR unknown command 'HELLO'")])
    assert wants_plain([ServerRefusal("NOPROTO unsupported protocol version")])
    assert not wants_plain([ServerRefusal("WRONGPASS invalid username-password pair")])
    assert not wants_plain([{b"proto": 3}])


def test_only_what_matters_makes_a_connection_useless() -> None:
    said = greeting(RedisOptions(url="redis://h/1"))
    fine = [{b"proto": 3}, b"OK", ServerRefusal("ERR unknown subcommand"), b"OK"]
    assert refusal(said, fine, "h:1") is None
    wrong = [{b"proto": 3}, ServerRefusal("ERR DB index is out of range"), b"", b""]
    error = refusal(said, wrong, "h:1")
    assert isinstance(error, CommandError)
    assert (error.operation, error.code) == ("SELECT", "ERR")
    assert str(error) == "h:1 refused SELECT: ERR DB index is out of range"


def test_a_refused_greeting_tells_what_to_do_and_no_secret() -> None:
    said = greeting(RedisOptions(url="redis://u:secret@h/1"))
    for code, advice in (("WRONGPASS", "in the url are right"), ("NOAUTH", "redis://USER:")):
        error = refusal(said, [ServerRefusal(f"{code} no"), *[b"OK"] * (len(said) - 1)], "h:1")
        assert isinstance(error, CommandError)
        assert str(error).startswith(f"h:1 refused HELLO: {code} no; ")
        assert advice in str(error)
        assert "secret" not in str(error)


def test_a_server_that_is_busy_when_it_is_greeted_is_asked_again() -> None:
    said = greeting(RedisOptions(url="redis://h/1"))
    busy = [{b"proto": 3}, ServerRefusal("BUSY running a script"), b"OK", b"OK"]
    error = refusal(said, busy, "h:1")
    assert type(error) is StoreUnavailable
    assert "SELECT: BUSY" in str(error)


def test_a_server_that_cannot_serve_now_is_away() -> None:
    for code in ("LOADING", "BUSY", "MASTERDOWN", "READONLY", "NOAUTH"):
        error = refused(ServerRefusal(f"{code} not now"), "SET")
        assert isinstance(error, StoreUnavailable)
        assert "not executed" in str(error)
        assert needs_reconnect(ServerRefusal(f"{code} not now")) == (code in {"READONLY", "NOAUTH"})


def test_other_refusals_keep_their_code() -> None:
    for code in ("OOM", "MISCONF", "NOPERM", "WRONGTYPE"):
        error = refused(ServerRefusal(f"{code} because"), "SET")
        assert isinstance(error, CommandError)
        assert (error.code, error.operation) == (code, "SET")
    plain = refused(ServerRefusal("something lower case"), "SET")
    assert isinstance(plain, CommandError)
    assert plain.code == "ERR"


def test_errors_inside_a_scripts_list_are_ours() -> None:
    inner = told([1, [ServerRefusal("ERR deep")]], "EVALSHA")
    (mapped,) = told({b"a": ServerRefusal("ERR deep")}, "EVAL").values()
    assert type(mapped) is CommandError
    assert isinstance(inner[1][0], CommandError)
    same = [ServerRefusal("ERR deep")]
    assert told(same, "LRANGE") is same
    assert told(b"x", "GET") == b"x"


def test_a_source_tree_that_was_never_installed_has_no_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("symphonia_perf.redis._handshake.version", missing)
    said = [each for _, each in greeting(RedisOptions())]
    assert said[-1] == ("CLIENT", "SETINFO", "LIB-VER", "0")
