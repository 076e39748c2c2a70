"""What is said first on a new connection, and what the answers mean: pure, no I/O."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from symphonia_perf.errors import CommandError
from symphonia_perf.redis.connection import ServerRefusal
from symphonia_perf.redis.options import RedisOptions

__all__ = ["MUST_SUCCEED", "greeting", "plain_greeting", "refusal", "wants_plain"]

MUST_SUCCEED = frozenset({"HELLO", "AUTH", "SELECT", "CLIENT SETNAME"})
"""Greetings whose refusal means that the connection cannot be used."""


def greeting(options: RedisOptions) -> list[tuple[str, tuple[str, ...]]]:
    """The commands for a server that speaks RESP3, each with what it is called in a message."""
    hello = ["HELLO", "3"]
    if credentials := options.credentials:
        hello += ["AUTH", *credentials]
    if options.name:
        hello += ["SETNAME", options.name]
    return [("HELLO", tuple(hello)), *_rest(options)]


def plain_greeting(options: RedisOptions) -> list[tuple[str, tuple[str, ...]]]:
    """The same for RESP2: an old server, a proxy, or `protocol=2` in the URL."""
    said: list[tuple[str, tuple[str, ...]]] = []
    if credentials := options.credentials:
        user, password = credentials
        # Before Redis 6 there are no users, and AUTH takes the password alone.
        said.append(("AUTH", ("AUTH", password) if user == "default" else ("AUTH", user, password)))
    if options.name:
        said.append(("CLIENT SETNAME", ("CLIENT", "SETNAME", options.name)))
    return [*said, *_rest(options)]


def _rest(options: RedisOptions) -> list[tuple[str, tuple[str, ...]]]:
    said: list[tuple[str, tuple[str, ...]]] = []
    if options.database:
        said.append(("SELECT", ("SELECT", str(options.database))))
    # Redis before 7.2 does not know these; what it says to them is nobody's trouble.
    said.append(("CLIENT SETINFO", ("CLIENT", "SETINFO", "LIB-NAME", "symphonia-perf")))
    said.append(("CLIENT SETINFO", ("CLIENT", "SETINFO", "LIB-VER", _version())))
    return said


def _version() -> str:
    try:
        return version("symphonia-perf")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"


def wants_plain(replies: Sequence[Any]) -> bool:
    """Whether the server or a proxy refuses RESP3, so that RESP2 should be tried."""
    first = replies[0]
    return isinstance(first, ServerRefusal) and str(first).startswith(("ERR", "NOPROTO"))


def refusal(
    said: Sequence[tuple[str, tuple[str, ...]]], replies: Sequence[Any]
) -> CommandError | None:
    """The first refusal that makes the connection useless, in our words; None where all is well."""
    for (name, _), reply in zip(said, replies, strict=True):
        if isinstance(reply, ServerRefusal) and name in MUST_SUCCEED:
            code = str(reply).partition(" ")[0]
            return CommandError(f"{name}: {reply}", code=code, operation=name)
    return None
