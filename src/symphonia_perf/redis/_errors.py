"""redis-py's exceptions in our words."""

from typing import Any

import redis.exceptions as driver

from symphonia_perf.errors import CommandError, StoreError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis._replies import UNSERVED, explained, timed_out
from symphonia_perf.redis._slots import Late

__all__ = ["cannot_be_routed", "translate"]

# redis-py takes the code off the message; from 8.0 on it keeps it beside, before that only here.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (driver.NoScriptError, "NOSCRIPT"),
    (driver.ReadOnlyError, "READONLY"),
    (driver.OutOfMemoryError, "OOM"),
    (driver.NoPermissionError, "NOPERM"),
    (driver.TryAgainError, "TRYAGAIN"),
    (driver.MovedError, "MOVED"),
    (driver.AskError, "ASK"),
    (driver.ClusterCrossSlotError, "CROSSSLOT"),
)
# Only what runs a program can answer with errors inside a list.
_PROGRAMS = frozenset({"EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"})


def translate(reply: Any, operation: str) -> Any:
    """The reply; where it is an error, a new one of ours with the driver's as `__cause__`.

    Args:
        reply: what redis-py answered or raised; `Late` where it did not; an error of ours.
        operation: the command's name.
    """
    if type(reply) is Late:
        return timed_out(reply, operation)
    if isinstance(reply, Exception):
        if isinstance(reply, StoreError):
            return reply if reply.operation else explained(reply, operation)
        error = _translate(reply, operation)
        error.__cause__ = reply
        return error
    if operation in _PROGRAMS:
        if type(reply) is list:
            return [translate(item, operation) for item in reply]
        if type(reply) is dict:
            return {key: translate(value, operation) for key, value in reply.items()}
    return reply


def cannot_be_routed(error: Exception) -> bool:
    """Whether the command has no node of a cluster to go to: its fault, and nothing was sent.

    redis-py raises its base classes for that. A cluster that cannot be reached is one too, but it
    comes with a cause.
    """
    if isinstance(error, CommandError):
        return True
    return error.__cause__ is None and type(error) in {
        driver.RedisError,
        driver.RedisClusterException,
    }


def _translate(error: Exception, operation: str) -> StoreError:
    message = f"{operation}: {str(error) or type(error).__name__}"
    if isinstance(error, driver.TimeoutError):
        message = f"{message}; it may have been executed"
        return StoreTimeout(message, store="redis", operation=operation)
    # A cluster without its slots is a store that is away, not a command that is wrong.
    if isinstance(error, driver.ClusterDownError | driver.SlotNotCoveredError):
        return StoreUnavailable(message, store="redis", operation=operation)
    if isinstance(error, driver.ResponseError):
        code = _code(error)
        if code in UNSERVED:  # as our own client has it
            message = f"{message} (it was not executed)"
            return StoreUnavailable(message, store="redis", operation=operation)
        return CommandError(message, code=code, operation=operation)
    if cannot_be_routed(error):
        code = "CROSSSLOT" if "slot" in str(error) else "ERR"
        return CommandError(message, code=code, operation=operation)
    return StoreUnavailable(message, store="redis", operation=operation)


def _code(error: Exception) -> str:
    code = getattr(error, "status_code", None)
    if isinstance(code, str):
        return code
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    first, _, _ = str(error).partition(" ")
    return first if first.isupper() else "ERR"
