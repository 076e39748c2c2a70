"""What blocks tell the outside world, and whom they tell.

A block emits a small frozen dataclass; an `Observer` is any callable that takes one. Observers run
in line, so they must be quick; what they raise is logged and goes no further.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = [
    "BypassEvent",
    "CacheEvent",
    "Event",
    "LogObserver",
    "Observer",
    "emit",
]

logger = logging.getLogger("symphonia_perf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What all events share: the block that speaks."""

    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BypassEvent(Event):
    """A store failed and the block went on without it (`on_error="bypass"`)."""

    operation: str
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEvent(Event):
    """One thing that a cache did, and how long it took.

    `load` is a loader that returned, `error` one that raised; `corrupt` is an entry that could not
    be read and counts as a miss.
    """

    kind: Literal["hit", "miss", "load", "error", "set", "delete", "corrupt"]
    key: str
    duration: float = 0.0  # seconds


class Observer(Protocol):
    """Receives every event of the blocks it is given to."""

    def __call__(self, event: Event, /) -> None:
        """Take note of `event`, quickly."""
        ...


class LogObserver:
    """The default observer: warns in the log when a store was bypassed, at most once per interval.

    Args:
        interval: seconds between two warnings of one block and operation; the number of those held
            back is told with the next.
        monotonic: where time comes from.
    """

    def __init__(
        self, *, interval: float = 10.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = interval
        self._monotonic = monotonic
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def __call__(self, event: Event, /) -> None:
        """Log a bypass unless one of its kind was logged within the interval."""
        if not isinstance(event, BypassEvent):
            return
        now = self._monotonic()
        kind = (event.source, event.operation)
        held = 0
        if kind in self._last:
            at, held = self._last[kind]
            if now - at < self._interval:
                self._last[kind] = (at, held + 1)
                return
        self._last[kind] = (now, 0)
        logger.warning(
            "%s: %s failed and was bypassed (%d more since the last warning): %r",
            event.source,
            event.operation,
            held,
            event.error,
        )


def emit(observer: Observer, event: Event) -> None:
    """Tell `observer`; whatever it raises is logged and goes no further."""
    try:
        observer(event)
    except Exception:
        logger.exception("observer %r failed on %r", observer, event)
