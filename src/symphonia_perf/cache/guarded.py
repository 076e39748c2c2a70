"""A store behind a failure policy: each answer is counted, each failure is an event."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from symphonia_perf._core.events import BypassEvent, CacheEvent, LogObserver, Observer, emit
from symphonia_perf.cache.entry import Entry
from symphonia_perf.cache.stores import CacheStore
from symphonia_perf.errors import StoreError

__all__ = ["CacheStats", "GuardedStore"]

Kind = Literal["hit", "miss", "load", "error", "set", "delete", "corrupt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """What a cache did since it was made."""

    hits: int = 0
    misses: int = 0  # looks at the store that found nothing, corrupt entries included
    loads: int = 0  # loaders that returned
    errors: int = 0  # loaders that raised
    sets: int = 0  # entries stored
    deletes: int = 0  # keys deleted, whether they were there or not
    corrupt: int = 0  # entries that could not be read
    bypassed: int = 0  # operations in which the store failed


_COUNTED = {
    "miss": "misses",
    "load": "loads",
    "error": "errors",
    "set": "sets",
    "delete": "deletes",
    "corrupt": "corrupt",
}


def _nothing(_: str) -> None:
    """What a store that cannot be peeked at has at hand."""


class GuardedStore:
    """What the cache asks of its store, one key at a time.

    Args:
        store: the store itself.
        raises: whether a failure is raised; else the operation is answered without the store.
        observer: told of every event; None tells only failures, to the log.
        now: monotonic time, for durations.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        raises: bool,
        observer: Observer | None,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._peek: Callable[[str], Entry | None] = getattr(store, "peek", _nothing)
        self._raises = raises
        self._observer = observer
        self._warn: Observer = observer or LogObserver()
        self._now = now
        # Not in the Counter: a hit in memory is the one path where a dict access is felt.
        self._hits = 0
        self._counts: Counter[str] = Counter()

    @property
    def stats(self) -> CacheStats:
        """The counts so far."""
        return CacheStats(hits=self._hits, **self._counts)

    def peek(self, key: str) -> Entry | None:
        """The entry if the store has it at hand."""
        entry = self._peek(key)
        if entry is not None:
            self._hits += 1
            if self._observer is not None:
                emit(self._observer, CacheEvent(source="cache", kind="hit", key=key))
        return entry

    async def read(self, key: str) -> tuple[Entry | None, bool]:
        """The entry, and whether the store answered at all."""
        started = self._now()
        try:
            found = await self._store.get_many((key,))
        except StoreError as error:
            self._failed("get", error)
            return None, False
        entry = found.entries.get(key)
        if entry is not None:
            self._hits += 1
            if self._observer is not None:
                self._tell(self._observer, "hit", key, started)
            return entry, True
        if key in found.corrupt:
            self.note("corrupt", key, started)
        self.note("miss", key, started)
        return None, True

    async def write(self, key: str, value: Any, ttl: float) -> None:
        """Store a value."""
        started = self._now()
        try:
            await self._store.set_many({key: Entry(value=value, ttl=ttl)})
        except StoreError as error:
            self._failed("set", error)
        else:
            self.note("set", key, started)

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were."""
        started = self._now()
        try:
            count = await self._store.delete_many(keys)
        except StoreError as error:
            self._failed("delete", error)
            return 0
        for key in keys:
            self.note("delete", key, started)
        return count

    def note(self, kind: Kind, key: str, started: float) -> None:
        """Count what was done since `started`, and tell it."""
        self._counts[_COUNTED[kind]] += 1
        if self._observer is not None:
            self._tell(self._observer, kind, key, started)

    def _tell(self, observer: Observer, kind: Kind, key: str, started: float) -> None:
        duration = self._now() - started
        emit(observer, CacheEvent(source="cache", kind=kind, key=key, duration=duration))

    def _failed(self, operation: str, error: StoreError) -> None:
        """Raise the error that is being handled, or tell that the store was bypassed."""
        if self._raises:
            raise error
        self._counts["bypassed"] += 1
        emit(self._warn, BypassEvent(source="cache", operation=operation, error=error))
