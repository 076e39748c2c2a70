"""What the tests of the cache share: a far store that can be held up, a clock, a loader."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from symphonia_perf._core.events import BypassEvent, CacheEvent, Event
from symphonia_perf.cache import Cache, Entry, Found, Lifetime
from symphonia_perf.errors import CommandError, StoreUnavailable

__all__ = ["Clock", "Loader", "SlowStore", "exactly", "kinds", "settle"]


class Clock:
    """It stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 0.0

    async def sleep(self, delay: float) -> None:
        self.now += delay


class SlowLease:
    def __init__(self, store: "SlowStore", key: str) -> None:
        self._store, self._key = store, key

    async def acquire(self) -> bool:
        await self._store.pass_("lease")
        if self._key in self._store.leased:
            return False
        self._store.leased.add(self._key)
        return True

    async def release(self) -> None:
        await self._store.gates["release"].wait()
        self._store.leased.discard(self._key)


class SlowStore:
    """A far store: every operation waits until it is let through, and may be told to fail."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.data: dict[str, Entry] = {}
        self.bumps: Counter[str] = Counter()
        self.leased: set[str] = set()
        names = ("get", "set", "delete", "scan", "bump", "lease", "release")
        self.gates = {name: asyncio.Event() for name in names}
        for gate in self.gates.values():
            gate.set()
        self.failing: set[str] = set()
        self.refusing: set[str] = set()
        self.calls: list[str] = []
        self.asked_ages: list[bool] = []

    async def pass_(self, name: str) -> None:
        self.calls.append(name)
        await self.gates[name].wait()
        if name in self.failing:
            raise StoreUnavailable("down", store="slow", operation=name)
        if name in self.refusing:
            raise CommandError("OOM: no memory", code="OOM", operation=name)

    async def get_many(
        self, keys: Sequence[str], tags: Sequence[str] = (), *, ages: bool = False
    ) -> Found:
        seen = {
            key: entry if ages else entry._replace(created=None)
            for key in keys
            if (entry := self.data.get(key)) is not None
            and entry.state(self.clock.now) != "gone"
            and all(self.bumps[tag] == number for tag, number in entry.tags.items())
        }
        generations = {tag: self.bumps[tag] for tag in tags}
        self.asked_ages.append(ages)
        await self.pass_("get")
        return Found(entries=seen, generations=generations)

    async def set_many(self, entries: Mapping[str, Entry]) -> None:
        await self.pass_("set")
        for key, entry in entries.items():
            self.data[key] = entry._replace(created=self.clock.now)

    async def delete_many(self, keys: Sequence[str]) -> int:
        await self.pass_("delete")
        return sum(self.data.pop(key, None) is not None for key in keys)

    async def delete_matching(self, pattern: str) -> int:
        await self.pass_("scan")
        start = pattern.removesuffix("*")
        return sum(
            self.data.pop(key, None) is not None for key in list(self.data) if key.startswith(start)
        )

    async def bump_tags(self, tags: Sequence[str]) -> None:
        await self.pass_("bump")
        self.bumps.update(tags)

    def lease(self, key: str, length: Any) -> SlowLease:  # noqa: ARG002 - the role has it
        return SlowLease(self, key)


class Loader:
    def __init__(self, value: Any = "loaded") -> None:
        self.value = value
        self.runs = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> Any:
        self.runs += 1
        value = self.value  # read at the start, as a database would
        await self.go.wait()
        if isinstance(value, Exception):
            raise value
        return value


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def exactly(seconds: float, **options: Any) -> Lifetime:
    """A lifetime without chance."""
    return Lifetime(ttl=seconds, jitter=0, **options)


def kinds(events: list[Event]) -> list[str]:
    return [
        event.kind if isinstance(event, CacheEvent) else f"bypass {event.operation}"
        for event in events
        if isinstance(event, CacheEvent | BypassEvent)
    ]


def make(store: SlowStore, **options: Any) -> Cache:
    """A cache over it, without chance."""
    return Cache(store, **{"ttl": exactly(3600), "clock": store.clock, **options})
