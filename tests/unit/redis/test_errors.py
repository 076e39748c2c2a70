"""redis-py's exceptions in our words."""

import pytest
import redis.exceptions as driver

from symphonia_perf.errors import CommandError, StoreError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis._errors import cannot_be_routed, translate
from symphonia_perf.redis._slots import Late


def caused(error: Exception) -> Exception:
    error.__cause__ = OSError("refused")
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (driver.TimeoutError("slow"), StoreTimeout),
        (driver.ConnectionError("gone"), StoreUnavailable),
        (driver.BusyLoadingError("loading"), StoreUnavailable),
        (driver.AuthenticationError("wrong"), StoreUnavailable),
        (driver.MaxConnectionsError("full"), StoreUnavailable),
        (driver.ClusterDownError("down"), StoreUnavailable),
        (driver.SlotNotCoveredError("slot 7"), StoreUnavailable),
        (caused(driver.RedisClusterException("cannot be connected")), StoreUnavailable),
        (driver.ResponseError("ERR x"), CommandError),
        (OSError("gone"), StoreUnavailable),
        (RuntimeError(), StoreUnavailable),
    ],
    ids=repr,
)
def test_each_becomes_one_of_ours(error: Exception, kind: type[StoreError]) -> None:
    found = translate(error, "GET")
    assert type(found) is kind
    assert found.__cause__ is error
    assert (found.store, found.operation) == ("redis", "GET")
    assert str(found).startswith("GET: ")
    assert str(error) in str(found)


def test_each_waiter_gets_an_error_of_its_own() -> None:
    error = driver.ConnectionError("gone")
    assert translate(error, "GET") is not translate(error, "GET")


def test_an_error_without_words_is_named() -> None:
    assert str(translate(RuntimeError(), "GET")) == "GET: RuntimeError"


def test_one_of_ours_stays() -> None:
    error = StoreTimeout("late", operation="SET")
    assert translate(error, "GET") is error


def test_one_of_ours_that_names_no_command_gets_its_name() -> None:
    found = translate(StoreUnavailable("too much waits; it was not sent"), "GET")
    assert type(found) is StoreUnavailable
    assert str(found) == "GET: too much waits; it was not sent"
    assert found.operation == "GET"


def test_no_reply_is_a_timeout() -> None:
    found = translate(Late("no reply"), "GET")
    assert type(found) is StoreTimeout
    assert (str(found), found.operation) == ("GET: no reply", "GET")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (driver.ResponseError("WRONGTYPE Operation"), "WRONGTYPE"),
        (driver.ResponseError("unknown command"), "ERR"),
        (driver.ResponseError(""), "ERR"),
        (driver.ResponseError("syntax error", status_code="ERR"), "ERR"),
        (driver.NoScriptError("No matching script."), "NOSCRIPT"),
        (driver.NoScriptError("No such script.", status_code="NOSCRIPT"), "NOSCRIPT"),
        (driver.OutOfMemoryError("command not allowed"), "OOM"),
        (driver.NoPermissionError("no"), "NOPERM"),
        (driver.MovedError("1 127.0.0.1:1"), "MOVED"),
        (driver.AskError("1 127.0.0.1:1"), "ASK"),
        (driver.ClusterCrossSlotError("Keys"), "CROSSSLOT"),
        (driver.RedisClusterException("all keys must map to the same key slot"), "CROSSSLOT"),
        (driver.RedisClusterException("No way to dispatch this command"), "ERR"),
        (driver.RedisError("X command doesn't exist"), "ERR"),
    ],
    ids=lambda value: f"{value!r}-{value}",
)  # fmt: skip
def test_a_refusal_keeps_its_code(error: Exception, code: str) -> None:
    found = translate(error, "GET")
    assert isinstance(found, CommandError)
    assert found.code == code


@pytest.mark.parametrize(
    "error",
    [
        driver.ReadOnlyError("You can't write"),
        driver.TryAgainError("again"),
        driver.ResponseError("BUSY Redis is busy running a script."),
        driver.ResponseError("MASTERDOWN Link with MASTER is down"),
    ],
    ids=["READONLY", "TRYAGAIN", "BUSY", "MASTERDOWN"],
)
def test_a_server_that_cannot_serve_now_is_away_as_for_our_own_client(error: Exception) -> None:
    found = translate(error, "GET")
    assert isinstance(found, StoreUnavailable)
    assert "it was not executed" in str(found)


def test_errors_inside_a_program_s_list_are_ours() -> None:
    error = driver.ResponseError("WRONGTYPE no")
    found = translate([1, [error, b"x"], b"y"], "EVALSHA")
    assert found[0] == 1
    assert isinstance(found[1][0], CommandError)
    assert found[1:] == [[found[1][0], b"x"], b"y"]


def test_other_replies_are_not_touched() -> None:
    for reply in (b"OK", None, 0, 1.5, True, {b"a"}):
        assert translate(reply, "EVAL") is reply
    assert translate({b"a": 1}, "EVAL") == {b"a": 1}
    reply = [b"a", None]
    assert translate(reply, "MGET") is reply


def test_only_a_command_s_own_fault_cannot_be_routed() -> None:
    assert cannot_be_routed(driver.RedisClusterException("all keys must map"))
    assert cannot_be_routed(driver.RedisError("doesn't exist"))
    assert cannot_be_routed(CommandError("FLUSHALL is for every node"))
    assert not cannot_be_routed(driver.ConnectionError("gone"))
    assert not cannot_be_routed(driver.SlotNotCoveredError("slot"))
    assert not cannot_be_routed(caused(driver.RedisClusterException("cannot be connected")))


def test_errors_inside_a_program_s_maps_are_ours() -> None:
    (found,) = translate({b"a": driver.ResponseError("ERR x")}, "EVAL").values()
    assert type(found) is CommandError
