"""What a server's refusal means for the caller, and for the connection: pure."""

from typing import Any

from symphonia_perf.errors import CommandError, StoreError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis._slots import Late
from symphonia_perf.redis.connection import ServerRefusal

__all__ = [
    "AWAY",
    "NOT_SENT",
    "UNSERVED",
    "alone",
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
NOT_SENT = "it was not sent"
"""What the message of an error says where the server has surely not seen the command."""

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
    """The reply, with refusals in our words, also inside a script's lists and maps."""
    if isinstance(reply, ServerRefusal):
        return refused(reply, operation)
    if operation in _PROGRAMS:
        if type(reply) is list:
            return [told(item, operation) for item in reply]
        if type(reply) is dict:
            return {key: told(value, operation) for key, value in reply.items()}
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


def alone(replies: list[Any]) -> Any:
    """The only reply; raises it where it is an error of ours."""
    reply = replies.pop()  # not left where a traceback would keep it
    if isinstance(reply, StoreError):
        try:
            raise reply
        finally:
            del reply
    return reply


def raise_first(replies: list[Any]) -> None:
    """Raise the first of the replies that is an error of ours.

    The replies are let go of then: a list that holds an error whose traceback holds the list is
    garbage that only a collection finds.
    """
    for reply in replies:
        if isinstance(reply, StoreError):
            replies.clear()
            try:
                raise reply
            finally:
                del reply
