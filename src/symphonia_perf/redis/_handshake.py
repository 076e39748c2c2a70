"""What is said first on a new connection, and what the answers mean: pure, no I/O."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

from symphonia_perf.errors import CommandError, StoreError, StoreUnavailable
from symphonia_perf.redis._replies import AWAY, code_of
from symphonia_perf.redis.connection import ServerRefusal
from symphonia_perf.redis.options import RedisOptions

__all__ = ["MAY_FAIL", "Said", "greeting", "plain_greeting", "refusal", "wants_plain"]

MAY_FAIL = "CLIENT SETINFO"
"""Redis before 7.2 does not know it; the refusal of anything else makes a connection useless."""

_ADVICE = {
    "NOAUTH": "put user and password into the url, as in redis://USER:PASSWORD@host",
    "NOPERM": "give that user the right by ACL SETUSER",
    "WRONGPASS": "see whether user and password in the url are right and the user is enabled",
}

Said: TypeAlias = list[tuple[str, tuple[str, ...]]]
"""Commands, each after what it is called in a message: without its secrets."""


def greeting(options: RedisOptions, extra: Sequence[tuple[str, ...]] = ()) -> Said:
    """What is said to a server that speaks RESP3; `extra` comes last."""
    hello = ["HELLO", "3"]
    if credentials := options.credentials:
        hello += ["AUTH", *credentials]
    if options.name:
        hello += ["SETNAME", options.name]
    return [("HELLO", tuple(hello)), *_rest(options, extra)]


def plain_greeting(options: RedisOptions, extra: Sequence[tuple[str, ...]] = ()) -> Said:
    """The same for RESP2: an old server, a proxy, or `protocol=2` in the URL."""
    said: Said = []
    if credentials := options.credentials:
        user, password = credentials
        # Before Redis 6 there are no users, and AUTH takes the password alone.
        said.append(("AUTH", ("AUTH", password) if user == "default" else ("AUTH", user, password)))
    if options.name:
        said.append(("CLIENT SETNAME", ("CLIENT", "SETNAME", options.name)))
    return [*said, *_rest(options, extra)]


def _rest(options: RedisOptions, extra: Sequence[tuple[str, ...]]) -> Said:
    said: Said = []
    if options.database:
        said.append(("SELECT", ("SELECT", str(options.database))))
    said.append((MAY_FAIL, ("CLIENT", "SETINFO", "LIB-NAME", "symphonia-perf")))
    said.append((MAY_FAIL, ("CLIENT", "SETINFO", "LIB-VER", _version())))
    return [*said, *((" ".join(words[:2]), words) for words in extra)]


def _version() -> str:
    try:
        return version("symphonia-perf")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"


def wants_plain(replies: Sequence[Any]) -> bool:
    """Whether the server or a proxy refuses RESP3, so that RESP2 should be tried."""
    first = replies[0]
    return isinstance(first, ServerRefusal) and str(first).startswith(("ERR", "NOPROTO"))


def refusal(said: Said, replies: Sequence[Any], address: str) -> StoreError | None:
    """The first refusal that makes the connection useless, in our words; None where all is well.

    A server that cannot serve now is `StoreUnavailable`: it is asked again. What it would refuse
    the next time as well is `CommandError`.
    """
    for (name, _), reply in zip(said, replies, strict=True):
        if isinstance(reply, ServerRefusal) and name != MAY_FAIL:
            code = code_of(reply)
            if code in AWAY:
                return StoreUnavailable(f"{name}: {reply}", store="redis", operation=name)
            advice = f"; {_ADVICE[code]}" if code in _ADVICE else ""
            message = f"{address} refused {name}: {reply}{advice}"
            return CommandError(message, code=code, operation=name)
    return None
