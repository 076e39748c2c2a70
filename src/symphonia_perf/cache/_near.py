"""The near tier: entries in this process that are never older than what it has heard. No I/O.

The race that matters: a read of the far store is answered with the old value, then somebody writes,
the word of that arrives, and only then is the answer looked at. Kept, it would stay wrong until its
time is over. So every far read leaves a mark under its keys before it is sent; a change takes the
marks of its key away, and an answer whose mark is gone is not kept. Marks exist only while reads
are under way, so they need no bound.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from weakref import WeakSet

from symphonia_perf.cache.entry import Entry, Generation
from symphonia_perf.cache.memory import MemoryCacheStore
from symphonia_perf.cache.tags import TagVector
from symphonia_perf.errors import NotEncodable

__all__ = ["NearTier", "Ticket"]


class Ticket:
    """The marks of one far read; a mark is shared by all reads of its key that nothing overtook."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}


class Mark:
    """One key that is being read."""

    __slots__ = ("readers",)

    def __init__(self) -> None:
        self.readers = 0


class NearTier:
    """What is held here of a far store, while its changes are heard of; else nothing.

    Args:
        store: holds the entries; it is nobody else's.
        ttl: seconds that an entry is held, and a generation known, at most.
        max_tags: generations that are remembered.
        now: monotonic time, the store's own.

    Attributes:
        hears: whether every change at the far store is told to `changed` or `flush`.
        flushes: how often everything was forgotten while it heard.
        overtaken: far reads that were not kept because their key was changed meanwhile.
        tags: the generations that are known.
    """

    def __init__(
        self, store: MemoryCacheStore, *, ttl: float, max_tags: int, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._ttl = ttl
        self._now = now
        self._marks: dict[str, Mark] = {}
        self.tags = TagVector(max_tags, lasts=ttl, now=now)
        self.hears = False
        self.flushes = 0
        self.overtaken = 0
        store.follow(self.tags)
        self.flush(hears=False)
        _all.add(self)

    # What it holds

    def look(self, keys: Iterable[str]) -> dict[str, Entry]:
        """The entries that are held and still right."""
        entries, damaged = self._store.look(keys)
        for key in damaged:  # the far store has it, in better health or not
            self._store.drop(key)
        return entries

    def is_current(self, entry: Entry, numbers: Mapping[str, Generation]) -> bool:
        """Whether none of its tags was bumped, by generations just read and by those known."""
        return not entry.tags or all(
            (numbers[tag] == number) if tag in numbers else not self.tags.moved_from({tag: number})
            for tag, number in entry.tags.items()
        )

    # Far reads

    def begin(self, names: Iterable[str]) -> Ticket:
        """To be called before keys or tags are asked for; give it to `end` whatever happens."""
        ticket = Ticket()
        self.join(ticket, names)
        return ticket

    def join(self, ticket: Ticket, names: Iterable[str]) -> None:
        """The same read asks for these too."""
        if not self.hears:
            return
        for name in names:
            if name not in ticket.marks:
                mark = self._marks.get(name)
                if mark is None:
                    mark = self._marks[name] = Mark()
                mark.readers += 1
                ticket.marks[name] = mark

    def learn(self, ticket: Ticket, numbers: Mapping[str, Generation]) -> None:
        """Remember generations that were read, except for tags that were bumped since `begin`."""
        for tag, number in numbers.items():
            if self._is_valid(ticket, tag):
                self.tags.learn(tag, number)

    def keep(self, ticket: Ticket, entries: Mapping[str, Entry]) -> None:
        """Hold entries that were read, except for those that were changed since `begin`."""
        now = self._now()
        for key, entry in entries.items():
            if not self._is_valid(ticket, key):
                continue
            created = entry.created
            if created is None:  # somebody made it last forever
                created, entry = now, entry._replace(created=now)  # noqa: PLW2901 - the same entry
            # Only what is fresh: what is stale is about to be replaced, by whoever reads it first.
            until = min(created + entry.ttl, now + self._ttl)
            if entry.tags:
                # A bump that went unheard is seen when the generation is asked for anew: kept for
                # longer, an entry that fits the old one would outlast it. A tag that is not known
                # ends nothing: until it is learnt the entry counts as gone.
                until = min(until, self.tags.until(entry.tags))
            if until > now:
                with suppress(NotEncodable):  # the reader gets it all the same
                    self._store.keep(key, entry, until=until)

    def end(self, ticket: Ticket) -> None:
        """The read is over."""
        for name, mark in ticket.marks.items():
            mark.readers -= 1
            if not mark.readers and self._marks.get(name) is mark:
                del self._marks[name]

    def _is_valid(self, ticket: Ticket, name: str) -> bool:
        mark = ticket.marks.get(name)
        if mark is None:
            return False
        if self._marks.get(name) is mark:
            return True
        self.overtaken += 1
        return False

    # Changes

    def changed(self, name: str) -> None:
        """A key was written, or a tag bumped."""
        self._marks.pop(name, None)
        self._store.drop(name)
        self.tags.forget(name)

    def changed_many(self, names: Sequence[str]) -> None:
        """The same for several."""
        for name in names:
            self.changed(name)

    def flush(self, *, hears: bool) -> None:
        """Everything may have been changed; and whether what is changed from now on is heard."""
        if self.hears:
            self.flushes += 1
        self.hears = hears
        self._marks.clear()
        self._store.clear()
        self.tags.clear()


# Every near tier of this process: a forked child hears nothing.
_all: "WeakSet[NearTier]" = WeakSet()


def _forked() -> None:
    for each in tuple(_all):
        each.flush(hears=False)


os.register_at_fork(after_in_child=_forked)
