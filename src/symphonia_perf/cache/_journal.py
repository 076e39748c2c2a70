"""What a cache did: counted, and told to whoever listens."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from symphonia_perf._core.breaker import BreakerState
from symphonia_perf._core.events import BypassEvent, CacheEvent, Event, LogObserver, Observer, emit

__all__ = ["BypassEvent", "CacheEvent", "CacheStats", "Journal"]

Kind = Literal["stale", "miss", "load", "error", "set", "delete", "corrupt", "invalidate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a cache did since it was made."""

    hits: int = 0  # fresh entries served
    stale: int = 0  # stale ones served: while they were loaded anew, or because that failed
    misses: int = 0  # looks at the store that found nothing to serve, corrupt entries included
    loads: int = 0  # loaders that returned
    errors: int = 0  # loaders that raised, and functions of their results (ttl=, condition=)
    sets: int = 0  # entries stored
    deletes: int = 0  # keys deleted, whether they were there or not
    invalidations: int = 0  # tags bumped, patterns removed
    corrupt: int = 0  # entries that could not be read
    bypassed: int = 0  # operations in which the store failed, or was not asked
    opened: int = 0  # times that the breaker opened
    breaker: BreakerState = "closed"  # now; closed, too, where there is none


_COUNTED = {
    "stale": "stale",
    "miss": "misses",
    "load": "loads",
    "error": "errors",
    "set": "sets",
    "delete": "deletes",
    "corrupt": "corrupt",
    "invalidate": "invalidations",
}


class Journal:
    """Counts and tells.

    Args:
        observer: told of every event; None tells only trouble, to the log.
        now: monotonic time, for durations.

    Attributes:
        listens: whether somebody wants every event.
        hits: fresh entries served. Whoever serves one counts it here and tells it by `hit` where
            somebody listens: as a call of `note` that would take a tenth of a far hit.
    """

    __slots__ = ("_counts", "_now", "_observer", "hits", "listens")

    def __init__(self, *, observer: Observer | None, now: Callable[[], float]) -> None:
        self._observer: Observer = observer or LogObserver()
        self._counts: Counter[str] = Counter()
        self._now = now
        self.hits = 0
        self.listens = observer is not None

    def note(self, kind: Kind, key: str, started: float) -> None:
        """Count what was done since `started`, and tell it."""
        self._counts[_COUNTED[kind]] += 1
        if self.listens:
            duration = self._now() - started
            self.tell(CacheEvent(source="cache", kind=kind, key=key, duration=duration))

    def hit(self, key: str, started: float | None = None) -> None:
        """Tell of a hit, which the caller counted; without `started` it took no time."""
        duration = 0.0 if started is None else self._now() - started
        self.tell(CacheEvent(source="cache", kind="hit", key=key, duration=duration))

    def bypassed(self, operation: str, error: BaseException) -> None:
        """Count and tell that the store failed and was done without."""
        self._counts["bypassed"] += 1
        self.tell(BypassEvent(source="cache", operation=operation, error=error))

    def opened(self) -> None:
        """Count that the breaker opened."""
        self._counts["opened"] += 1

    def tell(self, event: Event) -> None:
        """Tell of anything."""
        emit(self._observer, event)

    def stats(self, *, breaker: BreakerState) -> CacheStats:
        """The counts so far."""
        return CacheStats(breaker=breaker, hits=self.hits, **self._counts)
