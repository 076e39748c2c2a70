"""Entries in this process, bounded, the least recently used leaving first."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Protocol
from weakref import WeakValueDictionary

from symphonia_perf._core.clock import Clock
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import CacheEvent, Observer, emit
from symphonia_perf._core.globs import Glob
from symphonia_perf.cache._copying import ATOMS, Make, copied, packed, size_of
from symphonia_perf.cache._given import checked_observer, steady
from symphonia_perf.cache.entry import Entry, Generation
from symphonia_perf.cache.stores import Found
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

__all__ = ["MemoryCacheStore"]

DEFAULT_ENTRIES = 10_000
# What an entry costs beside the bytes of key and value: slot, entry, two dict cells, its place in
# the queue of ends; and what reads a value from its bytes. By the resident memory of a process with
# 100,000 entries (CPython 3.11, `benchmarks/cache/bench_peers.py memory`).
OVERHEAD, READER = 690, 160
TAG = 120  # what each tag costs beside its name: text, number, its cell of a dict
_new: Any = tuple.__new__
_SLICE = 1_000  # keys that are looked at in one go where all of them are
_TAGS = 100_000  # bumped tags that are remembered


class _Slot:
    """An entry as it is held."""

    __slots__ = ("at_hand_until", "entry", "fresh_until", "make", "size", "until")

    def __init__(self, entry: Entry, make: Make, size: int, now: float) -> None:
        self.entry = entry
        self.make = make  # a reader's own value; None: the entry's
        self.size = size
        self.until = now + entry.lasts  # monotonic time
        # What stands for an error is nothing to hand out as it is.
        self.fresh_until = now if entry.raised else now + entry.ttl
        # What has tags needs a look at them.
        self.at_hand_until = now if entry.tags else self.fresh_until

    def end(self, until: float) -> None:
        """End at that time, if not fresh before."""
        self.until = until
        self.fresh_until = min(self.fresh_until, until)
        self.at_hand_until = min(self.at_hand_until, until)


class _Currency(Protocol):
    """What knows whether a tag was bumped since."""

    def moved_from(self, tags: Mapping[str, Generation]) -> bool:
        """Whether one of the tags has another generation, or one that is not known."""
        ...


class _Generations:
    """The generation of each tag: the number of the bump that was its last.

    Only bumped tags take room. When the oldest of too many is forgotten, its number becomes that of
    all tags without one of their own: entries may be gone too early by that, never too late,
    because the number only grows.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._bumped: OrderedDict[str, Generation] = OrderedDict()
        self._others = self._count = 0

    def of(self, tag: str) -> Generation:
        return self._bumped.get(tag, self._others)

    def bump(self, tag: str) -> None:
        self._count += 1
        self._bumped[tag] = self._count
        self._bumped.move_to_end(tag)
        if len(self._bumped) > self._at_most:
            _, self._others = self._bumped.popitem(last=False)

    def moved_from(self, tags: Mapping[str, Generation]) -> bool:
        return any(self.of(tag) != number for tag, number in tags.items())


class _MemoryLease:
    """Held by who lives in this process; one that is dropped is free again."""

    def __init__(self, held: WeakValueDictionary[str, "_MemoryLease"], key: str) -> None:
        self._held = held
        self._key = key

    async def acquire(self) -> bool:
        return self._held.setdefault(self._key, self) is self

    async def release(self) -> None:
        if self._held.get(self._key) is self:
            del self._held[self._key]


class MemoryCacheStore:
    """A cache store in this process's memory, gone with it.

    It holds the most recently used entries within its bounds. An entry whose time is over is never
    served; it leaves when it is asked for, or when something is stored.

    With `copy=True` every reader gets an object of its own, so nobody can change what is cached.
    Bounded by entries, the store keeps objects and copies their containers, which is fastest.
    Bounded by bytes, it keeps bytes, which have a size and take a fraction of the room. With
    `copy=False` one object is handed to all: many times faster, for values that nobody changes.

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
        max_bytes: at most so many bytes of keys, tags, values and their overhead; needs
            `copy=True`, because only bytes have a size. A value that alone exceeds it is not kept.
        copy: whether every reader gets an object of its own; default True.
        observer: gets a `CacheEvent` for every entry that leaves because room is needed.
        clock: where time comes from; the cache's own must run alike.

    Attributes:
        peek: gives the entry of a key at once, if it is there, fresh, no error, and its tags were
            not bumped; else None.

    Raises:
        ConfigurationError: a bound that is not an int above 0, or `max_bytes` without copies.
    """

    def __init__(
        self,
        *,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        copy: bool = True,
        observer: Observer | None = None,
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
        if type(copy) is not bool:
            raise ConfigurationError(f"copy={copy!r}: expected True or False")
        checked_observer(observer)
        if max_entries is None and max_bytes is None:
            max_entries = DEFAULT_ENTRIES
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._copy = copy
        self._observer = observer
        self._now = steady(clock)
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._ends: list[tuple[float, str]] = []  # a heap; may name what was replaced or removed
        self._generations = _Generations(_TAGS)
        self._currency: _Currency = self._generations
        self._leases: WeakValueDictionary[str, _MemoryLease] = WeakValueDictionary()
        self._bytes = 0
        self._evicted = 0
        self.peek = self._peeking()

    def __len__(self) -> int:
        """How many entries it holds, the ended that nobody asked for included."""
        return len(self._slots)

    @property
    def size(self) -> int:
        """Bytes of what it holds, as counted against `max_bytes`; without that bound about 0."""
        return self._bytes

    @property
    def evicted(self) -> int:
        """How many entries left because room was needed."""
        return self._evicted

    def _peeking(self) -> Callable[[str], Entry | None]:
        """A peek that looks nothing up but the entry: a method takes a twelfth more of a hit."""
        slots, now, checked = self._slots, self._now, self._peek_checked
        use = slots.move_to_end

        def peek(key: str) -> Entry | None:
            try:
                slot = slots[key]  # half of what a call of get() takes
            except KeyError:
                return None
            if now() < slot.at_hand_until:
                use(key)
                make = slot.make
                return slot.entry if make is None else _own(slot.entry, make)
            return checked(key, slot)

        return peek

    def _peek_checked(self, key: str, slot: _Slot) -> Entry | None:
        entry, make = slot.entry, slot.make
        if self._now() >= slot.fresh_until or self._currency.moved_from(entry.tags):
            return None
        self._slots.move_to_end(key)
        return entry if make is None else _own(entry, make)

    async def get_many(
        self, keys: Sequence[str], tags: Sequence[str] = (), *, ages: bool = False
    ) -> Found:
        """The entries that are there; one that cannot be unpickled is only named."""
        del ages  # they are always known
        found, corrupt = self.look(keys)
        generations = {tag: self._generations.of(tag) for tag in tags}
        return Found(entries=found, corrupt=corrupt, generations=generations)

    def look(self, keys: Iterable[str]) -> tuple[dict[str, Entry], list[str]]:
        """The entries that are there, and the keys of those that cannot be unpickled; at once."""
        found: dict[str, Entry] = {}
        corrupt: list[str] = []
        now = self._now()
        for key in keys:
            slot = self._slots.get(key)
            if slot is None:
                continue
            if self._is_gone(slot, now):
                self._remove(key)
                continue
            self._slots.move_to_end(key)
            entry = slot.entry if slot.make is None else _own(slot.entry, slot.make)
            if entry is None:
                corrupt.append(key)
            else:
                found[key] = entry
        return found, corrupt

    async def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store entries in place of what was there.

        Raises:
            NotEncodable: a value cannot be copied; then nothing was stored.
        """
        now = self._now()
        slots = {
            # As _replace(created=now), in a quarter of its 2 us.
            key: self._slot(key, _new(Entry, (*entry[:-1], now)), now)
            for key, entry in entries.items()
        }
        self._hold(slots, now)

    def keep(self, key: str, entry: Entry, *, until: float) -> None:
        """Hold an entry that another store gave, as old as it is, until that monotonic time.

        Raises:
            NotEncodable: the value cannot be copied.
        """
        now = self._now()
        slot = self._slot(key, entry, now)
        slot.end(until)
        self._hold({key: slot}, now)

    def drop(self, key: str) -> None:
        """Forget the entry under this key, at once."""
        self._remove(key)

    def clear(self) -> None:
        """Forget every entry, at once."""
        self._slots.clear()
        self._ends.clear()
        self._bytes = 0

    def follow(self, currency: "_Currency") -> None:
        """Learn from there whether tags were bumped, as for entries that another store gave."""
        self._currency = currency

    def _hold(self, slots: Mapping[str, _Slot], now: float) -> None:
        self._sweep(now)
        for key, slot in slots.items():
            self._remove(key)
            if self._max_bytes is not None and slot.size > self._max_bytes:
                self._evict(key)  # itself, and not everything else for nothing
                continue
            self._slots[key] = slot
            self._bytes += slot.size
            heappush(self._ends, (slot.until, key))
        self._make_room()

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Remove entries; how many of them were there."""
        now = self._now()
        slots = [slot for key in keys if (slot := self._remove(key)) is not None]
        return sum(not self._is_gone(slot, now) for slot in slots)

    async def delete_matching(self, pattern: str) -> int:
        """Remove entries whose key is of this form; others may run between two thousand keys."""
        matches = _matcher(pattern)
        keys = list(self._slots)
        count = 0
        for start in range(0, len(keys), _SLICE):
            count += await self.delete_many([k for k in keys[start : start + _SLICE] if matches(k)])
            await asyncio.sleep(0)
        return count

    async def bump_tags(self, tags: Sequence[str]) -> None:
        """Give each tag another generation; entries of the old one leave when asked for."""
        for tag in tags:
            self._generations.bump(tag)

    def lease(self, key: str, length: Seconds) -> _MemoryLease:
        """A lease among the users of this store; it needs no renewal, so `length` means nothing."""
        seconds(length, option="length")
        return _MemoryLease(self._leases, key)

    def _slot(self, key: str, entry: Entry, now: float) -> _Slot:
        if not self._copy:
            return _Slot(entry, None, 0, now)
        if self._max_bytes is None and (found := copied(entry.value)) is not None:
            value, make = found
            return _Slot(entry._replace(value=value), make, 0, now)
        size = size_of(key) + OVERHEAD + sum(size_of(tag) + TAG for tag in entry.tags)
        if type(entry.value) in ATOMS:
            return _Slot(entry, None, size + size_of(entry.value), now)
        data, make = packed(entry.value)
        # The bytes are held by what reads them.
        return _Slot(entry._replace(value=None), make, size + len(data) + READER, now)

    def _is_gone(self, slot: _Slot, now: float) -> bool:
        return now >= slot.until or self._currency.moved_from(slot.entry.tags)

    def _remove(self, key: str) -> _Slot | None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._bytes -= slot.size
        return slot

    def _sweep(self, now: float) -> None:
        """Remove what ended; the queue stays shorter than twice the entries."""
        ends = self._ends
        while ends and ends[0][0] <= now:
            _, key = heappop(ends)
            slot = self._slots.get(key)
            if slot is not None and slot.until <= now:
                self._remove(key)
        if len(ends) > 2 * len(self._slots) + 100:
            self._ends = [(slot.until, key) for key, slot in self._slots.items()]
            heapify(self._ends)

    def _make_room(self) -> None:
        most = len(self._slots) if self._max_entries is None else self._max_entries
        room = self._bytes if self._max_bytes is None else self._max_bytes
        while len(self._slots) > most or self._bytes > room:
            key, slot = self._slots.popitem(last=False)
            self._bytes -= slot.size
            self._evict(key)

    def _evict(self, key: str) -> None:
        self._evicted += 1
        if self._observer is not None:
            emit(self._observer, CacheEvent(source="cache", kind="evict", key=key))


def _own(entry: Entry, make: Callable[[], Any]) -> Entry | None:
    """The entry with a value of the reader's own."""
    try:
        value = make()
    except Exception:  # noqa: BLE001 - a class that pickles and does not unpickle: a damaged entry
        return None
    own: Entry = _new(Entry, (value,) + entry[1:])  # noqa: RUF005 - a third of the time of Entry(...)
    return own


def _matcher(pattern: str) -> Callable[[str], Any]:
    """What tells whether a key is of this form."""
    start = pattern[:-1]
    if pattern.endswith("*") and not set(start) & set("*?[\\"):
        return lambda key: key.startswith(start)
    glob = Glob(pattern.encode("utf-8", "surrogatepass"))
    return lambda key: glob.matches(key.encode("utf-8", "surrogatepass"))
