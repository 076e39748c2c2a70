"""What blocks tell the outside world, and whom they tell.

A block emits a small frozen dataclass; an `Observer` is any callable that takes one. Observers run
in line, so they must be quick; what they raise is logged and goes no further.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

from symphonia_perf.errors import ConfigurationError

__all__ = [
    "BreakerEvent",
    "BypassEvent",
    "CacheEvent",
    "ConnectionBudgetEvent",
    "Event",
    "LeaseEvent",
    "LeaseKind",
    "LogObserver",
    "Observer",
    "PoolEvent",
    "SlowOperationEvent",
    "Warn",
    "checked_observer",
    "emit",
    "log_observer",
]

logger = logging.getLogger("symphonia_perf")

_KINDS = 100  # of warnings that are told apart within an interval


class Warn(NamedTuple):
    """How an event reads in a log: `{source}: {what} {happened} (...): {detail}`."""

    what: str  # one of few: warnings are held back by source and this
    happened: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share: the block that speaks."""

    source: str

    def warning(self) -> Warn | None:
        """What the log should warn of; None where this is no trouble."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassEvent(Event):
    """A store failed and the block went on without it (`on_error="bypass"`).

    The operation `lifetime` is none of a store: a cache's `ttl=` or `condition=` function raised.
    """

    operation: str
    error: BaseException

    def warning(self) -> Warn:
        """The operation, and what the store raised."""
        return Warn(self.operation, "failed and was bypassed", repr(self.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerEvent(Event):
    """A block stopped asking its store (`opened`), or asks it again (`closed`)."""

    kind: Literal["opened", "closed"]
    error: BaseException | None = None  # what opened it
    duration: float = 0.0  # seconds that it was open, when it closes

    def warning(self) -> Warn | None:
        """That the store is not asked, and what it raised last."""
        if self.kind == "closed":
            return None
        return Warn("breaker", "opened", repr(self.error))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEvent(Event):
    """One thing that a cache did, and how long it took.

    `stale` is a hit that is loaded anew; `load` is a loader that returned, `error` one that raised,
    or a function of its result (`ttl=`, `condition=`), after which the result is not kept;
    `corrupt` is an entry that could not be read and counts as a miss; `evict` is an entry that left
    a memory store because room was needed. `invalidate` is a change of many entries at once: its
    key is the tag or the pattern.
    """

    kind: Literal[
        "hit", "stale", "miss", "load", "error", "set", "delete", "corrupt", "evict", "invalidate"
    ]
    key: str
    duration: float = 0.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolEvent(Event):
    """A MongoDB pool gave no connection, or was dropped by the driver.

    `checkout_failed` has a reason of the driver's: `timeout` (all connections were in use for the
    whole wait), `connectionError` or `poolClosed`. `cleared` is what it does for a lost server.
    """

    kind: Literal["checkout_failed", "cleared"]
    address: str
    in_use: int  # connections, at that moment
    reason: str = ""
    duration: float = 0.0  # seconds that the caller had waited

    def warning(self) -> Warn:
        """The server, and how busy its pool was."""
        what, detail = f"pool of {self.address}", f"{self.in_use} connections in use"
        if self.kind == "cleared":
            return Warn(what, "was cleared", detail)
        return Warn(
            what, f"gave no connection ({self.reason})", f"after {self.duration:.3f} s, {detail}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowOperationEvent(Event):
    """A MongoDB command that took longer than the threshold; it holds no values of documents."""

    command: str
    database: str
    collection: str  # "" where the command has none
    duration: float  # seconds
    comment: object  # as the operation was given one, else None
    address: str  # of the server
    connection: int | None  # the server's number of it, as in its log (conn42)
    request_id: int
    code: int | None = None  # of the failure, where the server refused
    error: str | None = None  # its name (MaxTimeMSExpired, NetworkTimeout); None: it succeeded

    def warning(self) -> Warn:
        """The command and its collection, how long it took, and where to find it."""
        where = f"{self.database}.{self.collection}" if self.collection else self.database
        detail = f"{self.address} conn{self.connection}"
        if self.comment is not None:
            detail += f", comment {self.comment!r}"
        if self.error is not None:
            detail += f", failed with {self.error}"
        return Warn(f"{self.command} on {where}", f"took {self.duration:.3f} s", detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionBudgetEvent(Event):
    """A fleet may open more MongoDB connections than a server comfortably accepts."""

    per_server: int  # connections that the fleet may open on each server
    limit: int  # connections that each server accepts
    advice: str

    def warning(self) -> Warn:
        """What may be opened, and what to do."""
        return Warn("connection budget", f"{self.per_server} of {self.limit}", self.advice)


LeaseKind: TypeAlias = Literal[
    "acquired", "released", "unreachable", "kept", "lost", "overrun", "failed"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseEvent(Event):
    """What became of a lease, or of the work that is done under one.

    `unreachable` is a store that cannot be asked for it, `kept` one that did not take it back, so
    that it lasts to its end. `overrun` is work that goes on after the end, when another may have
    begun: told when it ends, and before that once per length where it swallows its cancellation.
    `failed` is work that raised, and starts again.
    """

    kind: LeaseKind
    name: str
    number: int = 0  # the fencing number, where it is known
    reason: str = ""
    duration: float = 0.0  # seconds: waited for it, held it, too long, or until the next start

    def warning(self) -> Warn | None:
        """What is wrong with which lease."""
        what = f"lease {self.name!r}"
        match self.kind:
            case "acquired" | "released":
                return None
            case "unreachable":
                return Warn(what, "cannot be asked for", self.reason)
            case "kept":
                return Warn(what, "could not be given back and ends by itself", self.reason)
            case "lost":
                return Warn(what, "was lost", self.reason)
            case "overrun":
                return Warn(what, "had ended before its work", f"{self.duration:.3f} s too long")
            case "failed":
                again = f"starts again in {self.duration:.1f} s" if self.duration else "it ended"
                return Warn(f"work under {what}", "failed", f"{self.reason}; {again}")


class Observer(Protocol):
    """Receives every event of the blocks it is given to."""

    def __call__(self, event: Event, /) -> None:
        """Take note of `event`, quickly."""
        ...


class LogObserver:
    """The default observer: writes what is trouble to the log, at most once per interval.

    Args:
        interval: seconds between two warnings of one block and subject (an operation, a server);
            the number of those held back is told with the next. Where more than a hundred subjects
            speak within an interval, the others share one.
        monotonic: where time comes from.
    """

    def __init__(
        self, *, interval: float = 10.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = interval
        self._monotonic = monotonic
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, event: Event, /) -> None:
        """Log the event's warning unless one of its kind was logged within the interval."""
        warning = event.warning()
        if warning is None:
            return
        now = self._monotonic()
        kind = self._kind(event.source, warning.what, now)
        held = 0
        if kind in self._last:
            at, held = self._last[kind]
            if now - at < self._interval:
                self._last[kind] = (at, held + 1)
                return
        self._last[kind] = (now, 0)
        logger.warning(
            "%s: %s %s (%d more since the last warning): %s",
            event.source,
            warning.what,
            warning.happened,
            held,
            warning.detail,
        )

    def _kind(self, source: str, what: str, now: float) -> tuple[str, str]:
        """What the event is held back with; there are never more than a few."""
        kind = (source, what)
        if kind not in self._last and len(self._last) >= _KINDS:
            recent = [(k, v) for k, v in list(self._last.items()) if now - v[0] < self._interval]
            self._last = dict(recent)
            if len(recent) >= _KINDS:
                return (source, "")
        return kind


log_observer = LogObserver()
"""The default of what is made often, as leases are: one log, one count of what was held back."""


def checked_observer(observer: object) -> Observer | None:
    """The observer.

    Raises:
        ConfigurationError: neither a function nor None.
    """
    if observer is None or callable(observer):
        return observer
    raise ConfigurationError(
        f"observer={observer!r:.100}: expected a function of one event, or None"
    )


def emit(observer: Observer, event: Event) -> None:
    """Tell `observer`; whatever it raises is logged and goes no further."""
    try:
        observer(event)
    except Exception:
        logger.exception("observer %r failed on %r", observer, event)
