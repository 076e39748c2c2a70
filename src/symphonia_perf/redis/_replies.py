"""What a server's refusal means for the caller, and for the connection: pure."""

from collections.abc import Iterable
from typing import Any

from symphonia_perf.errors import CommandError, StoreError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis._slots import Late
from symphonia_perf.redis.connection import ServerRefusal

__all__ = [
    "AWAY",
    "UNSERVED",
    "code_of",
    "explained",
    "needs_reconnect",
    "raise_first",
    "refused",
    "timed_out",
    "told",
]

# The server is there and cannot serve now; the command was not executed.
AWAY = frozenset({"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN"})
# It will not serve this connection any more: another primary, or another password.
_RECONNECT = frozenset({"NOAUTH", "READONLY"})
UNSERVED = AWAY | _RECONNECT
# Only what runs a program can answer with errors inside a list.
_PROGRAMS = frozenset({"EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "EXEC", "FCALL", "FCALL_RO"})


def code_of(refusal: BaseException) -> str:
    """The first word of what the server said, where that is a code."""
    first = str(refusal).partition(" ")[0]
    return first if first.isupper() else "ERR"


def needs_reconnect(refusal: BaseException) -> bool:
    """Whether this connection will refuse everything of its kind from now on."""
    return code_of(refusal) in _RECONNECT


def refused(refusal: BaseException, operation: str) -> StoreError:
    """An error of ours with the server's as `__cause__`."""
    code = code_of(refusal)
    message = f"{operation}: {refusal}"
    error: StoreError
    if code in UNSERVED:
        error = StoreUnavailable(
            f"{message} (it was not executed)", store="redis", operation=operation
        )
    else:
        error = CommandError(message, code=code, operation=operation)
    error.__cause__ = refusal
    return error


def told(reply: Any, operation: str) -> Any:
    """The reply, with refusals in our words, also inside a script's list."""
    if isinstance(reply, ServerRefusal):
        return refused(reply, operation)
    if type(reply) is list and operation in _PROGRAMS:
        return [told(item, operation) for item in reply]
    return reply


def explained(error: Exception, operation: str) -> StoreError:
    """What went wrong below, as an error that names the command."""
    if isinstance(error, ServerRefusal):
        return refused(error, operation)
    kind = StoreTimeout if isinstance(error, StoreTimeout) else StoreUnavailable
    new = kind(f"{operation}: {error}", store="redis", operation=operation)
    new.__cause__ = None  # not chained to the nameless one: it says the same
    return new


def timed_out(late: Late, operation: str) -> StoreTimeout:
    """No reply in time, as an error that names the command."""
    return StoreTimeout(f"{operation}: {late.reason}", store="redis", operation=operation)


def raise_first(replies: Iterable[Any]) -> None:
    """Raise the first of the replies that is an error of ours."""
    for reply in replies:
        if isinstance(reply, StoreError):
            raise reply
