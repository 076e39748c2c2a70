"""Entries in this process, bounded, the least recently used leaving first."""

import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from symphonia_perf._core.clock import Clock, SystemClock
from symphonia_perf.cache.entry import Entry
from symphonia_perf.cache.stores import Found
from symphonia_perf.errors import ConfigurationError, NotEncodable

__all__ = ["MemoryCacheStore"]

DEFAULT_ENTRIES = 10_000
# What an entry costs beside key and value: slot, entry, two dict cells (measured, CPython 3.11).
OVERHEAD = 400
# Nobody can change these, so they need no copy.
_IMMUTABLE = frozenset({type(None), bool, int, float, complex, str, bytes})


@dataclass(frozen=True, slots=True)
class _Slot:
    entry: Entry  # its value is the pickled form when `packed`
    packed: bool
    size: int


class MemoryCacheStore:
    """A cache store in this process's memory, gone with it.

    It holds the most recently used entries within its bounds. An entry whose time is over is never
    served, and leaves when it is asked for or when room is needed.

    With `copy=True` a value is kept as bytes and every reader gets an object of its own, so nobody
    can change what is cached. The bytes are made by `pickle` and never leave the process; they
    cost about as much to read as the same value from msgpack. `copy=False` hands one object to
    all: many times faster, for values that nobody changes.

    It is for one thread: caches on other threads' event loops need stores of their own.

    ```python
    from symphonia_perf.cache import Cache, MemoryCacheStore

    async with Cache(MemoryCacheStore(max_bytes=64 * 2**20)) as cache:
        await cache.set("plan:1", {"price": 30})
        plan = await cache.get("plan:1")
        plan["price"] = 0
        assert await cache.get("plan:1") == {"price": 30}
    ```

    Args:
        max_entries: at most so many entries; default 10,000 when `max_bytes` is not given either.
        max_bytes: at most so many bytes of keys, values and their overhead; needs `copy=True`,
            because only bytes have a size. A value that alone exceeds it is not kept.
        copy: whether every reader gets an object of its own; default True.
        clock: where time comes from.

    Raises:
        ConfigurationError: a bound that is not an int above 0, or `max_bytes` without copies.
    """

    def __init__(
        self,
        *,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        copy: bool = True,
        clock: Clock | None = None,
    ) -> None:
        for option, bound in (("max_entries", max_entries), ("max_bytes", max_bytes)):
            if bound is not None and (type(bound) is not int or bound < 1):
                raise ConfigurationError(f"{option}={bound!r}: expected an int from 1, or None")
        if max_bytes is not None and not copy:
            raise ConfigurationError(
                f"max_bytes={max_bytes!r} with copy=False: a shared object has no known size; use"
                " max_entries, or copy=True"
            )
        if max_entries is None and max_bytes is None:
            max_entries = DEFAULT_ENTRIES
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._copy = copy
        self._now = (clock or SystemClock()).monotonic
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._bytes = 0
        self._evicted = 0

    def __len__(self) -> int:
        """How many entries it holds, stale ones that nobody asked for included."""
        return len(self._slots)

    @property
    def size(self) -> int:
        """Bytes of what it holds, as counted against `max_bytes`; 0 when values are shared."""
        return self._bytes

    @property
    def evicted(self) -> int:
        """How many entries left because room was needed."""
        return self._evicted

    def peek(self, key: str) -> Entry | None:
        """The entry if it is there and fresh, at once."""
        slot = self._slots.get(key)
        if slot is None:
            return None
        if not slot.entry.is_fresh(self._now()):
            self._remove(key)
            return None
        self._slots.move_to_end(key)
        return _unpacked(slot.entry) if slot.packed else slot.entry

    async def get_many(self, keys: Sequence[str]) -> Found:
        """The entries that are there and fresh; one that cannot be unpickled is only named."""
        found: dict[str, Entry] = {}
        corrupt: list[str] = []
        for key in keys:
            entry = self.peek(key)
            if entry is not None:
                found[key] = entry
            elif key in self._slots:
                corrupt.append(key)
        return Found(entries=found, corrupt=corrupt)

    async def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store entries in place of what was there.

        Raises:
            NotEncodable: a value cannot be copied; then nothing was stored.
        """
        now = self._now()
        slots = {key: self._slot(key, entry, now) for key, entry in entries.items()}
        for key, slot in slots.items():
            self._remove(key)
            if self._max_bytes is not None and slot.size > self._max_bytes:
                self._evicted += 1  # itself, and not everything else for nothing
                continue
            self._slots[key] = slot
            self._bytes += slot.size
        self._make_room()

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Remove entries; how many of them were there and fresh."""
        now = self._now()
        slots = [slot for key in keys if (slot := self._remove(key)) is not None]
        return sum(slot.entry.is_fresh(now) for slot in slots)

    def _slot(self, key: str, entry: Entry, now: float) -> _Slot:
        if not self._copy:
            return _Slot(replace(entry, created=now), packed=False, size=0)
        data = _pickled(entry.value)
        size = len(key.encode("utf-8", "surrogatepass")) + len(data) + OVERHEAD
        packed = type(entry.value) not in _IMMUTABLE
        value = data if packed else entry.value
        return _Slot(replace(entry, value=value, created=now), packed=packed, size=size)

    def _remove(self, key: str) -> _Slot | None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._bytes -= slot.size
        return slot

    def _make_room(self) -> None:
        most = len(self._slots) if self._max_entries is None else self._max_entries
        room = self._bytes if self._max_bytes is None else self._max_bytes
        while len(self._slots) > most or self._bytes > room:
            _, slot = self._slots.popitem(last=False)
            self._bytes -= slot.size
            self._evicted += 1


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # any class may say no in its own way
        raise NotEncodable(
            f"a {type(value).__name__} that cannot be copied by pickle: {error}; store plain data,"
            " or share it with copy=False",
            store="memory",
            operation="set",
        ) from error


def _unpacked(entry: Entry) -> Entry | None:
    try:
        # Bytes that this process made and kept to itself.
        value = pickle.loads(entry.value)  # noqa: S301
    except Exception:  # noqa: BLE001 - a class that pickles and does not unpickle: a damaged entry
        return None
    return Entry(value=value, ttl=entry.ttl, created=entry.created)
