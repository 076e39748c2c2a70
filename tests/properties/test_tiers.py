"""A near tier against a server in steps: whatever the order, it holds nothing it heard is old."""

from itertools import count
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from symphonia_perf.cache import Entry, MemoryCacheStore
from symphonia_perf.cache._near import NearTier, Ticket
from tests.unit.cache.far import Clock

KEYS = st.sampled_from(["a", "b"])
TAGS = st.sampled_from(["t", "u"])
SOME_TAGS = st.sets(TAGS, max_size=1)
EVENTS = st.lists(
    st.sampled_from(
        ["write", "bump", "own write", "own bump", "hear", "write, heard", "bump, heard", "flush"]
    ),
    max_size=3,
)
RARELY = st.sampled_from([False] * 7 + [True])
INDEX = st.integers(min_value=0, max_value=2)


class Read:
    """One far read: begun, then served, then answered or lost."""

    def __init__(self, keys: set[str], tags: set[str], ticket: Ticket) -> None:
        self.keys, self.tags, self.ticket = keys, tags, ticket
        self.entries: dict[str, Entry] | None = None
        self.numbers: dict[str, int] = {}


class NearAgainstServer(RuleBasedStateMachine):
    """Reads, writes, bumps, words of them, losses: each a step of its own, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = MemoryCacheStore(max_entries=1, clock=self.clock)
        self.near = NearTier(self.store, ttl=60.0, max_tags=1, now=self.clock.monotonic)
        self.numbers = count(1)
        self.entries: dict[str, Entry] = {}
        self.generations: dict[str, int] = {}
        self.words: list[tuple[str, int]] = []  # on their way: a name, and its number since then
        self.changed = dict.fromkeys("abtu", 0)  # of each name the number of its last change
        self.heard = dict(self.changed)  # the same, as far as it was told
        self.reads: list[Read] = []
        self.reconnect()

    # The server

    def entry(self, tags: set[str]) -> Entry:
        return Entry(
            value=next(self.numbers),
            ttl=600.0,
            tags={tag: self.generations.get(tag, 0) for tag in tags},
            created=self.clock.now,
        )

    def tell(self, name: str, number: int) -> None:
        self.changed[name] = number
        if self.near.hears:
            self.words.append((name, number))

    @rule(key=KEYS, tags=SOME_TAGS)
    def write(self, key: str, tags: set[str]) -> None:
        self.entries[key] = self.entry(tags)
        self.tell(key, self.entries[key].value)

    @rule(key=KEYS)
    def remove(self, key: str) -> None:
        self.entries.pop(key, None)
        self.tell(key, next(self.numbers))

    @rule(tag=TAGS)
    def bump(self, tag: str) -> None:
        self.generations[tag] = next(self.numbers)
        self.tell(tag, self.generations[tag])

    @rule(tag=TAGS)
    def evict(self, tag: str) -> None:
        self.generations.pop(tag, None)
        self.tell(tag, next(self.numbers))

    # The process

    @rule(key=KEYS, tags=SOME_TAGS)
    def own_write(self, key: str, tags: set[str]) -> None:
        self.write(key, tags)
        self.near.changed_many([key])
        self.heard[key] = max(self.heard[key], self.entries[key].value)

    @rule(tag=TAGS)
    def own_bump(self, tag: str) -> None:
        self.bump(tag)
        self.near.changed_many([tag])
        self.heard[tag] = max(self.heard[tag], self.generations[tag])

    @rule(keys=st.sets(KEYS, min_size=1), tags=SOME_TAGS)
    def begin(self, keys: set[str], tags: set[str]) -> None:
        ticket = self.near.begin(sorted(keys))
        self.near.join(ticket, sorted(tags))
        self.reads.append(Read(keys, tags, ticket))

    @rule(key=KEYS, tag=TAGS, tagged=st.booleans(), events=st.tuples(EVENTS, EVENTS, EVENTS))
    def read_meanwhile(
        self, key: str, tag: str, events: tuple[list[str], list[str], list[str]], *, tagged: bool
    ) -> None:
        """A read during which the same key and tag see one thing or another."""
        tags = {tag} if tagged else set()
        first, then, last = events
        happens = {
            "write": lambda: self.write(key, tags),
            "bump": lambda: self.bump(tag),
            "own write": lambda: self.own_write(key, tags),
            "own bump": lambda: self.own_bump(tag),
            "hear": self.hear_all,
            "write, heard": lambda: (self.write(key, tags), self.hear_all()),
            "bump, heard": lambda: (self.bump(tag), self.hear_all()),
            "flush": lambda: self.near.hears and self.reconnect(),
        }
        if tag not in self.generations:
            self.bump(tag)
        self.write(key, tags)
        self.hear_all()
        self.begin({key}, tags)
        for event in first:
            happens[event]()
        self.serve(-1)
        for event in then:
            happens[event]()
        self.answer(-1)
        self.nothing_is_older_than_what_was_heard()
        for event in last:
            happens[event]()

    @precondition(lambda self: self.reads)
    @rule(index=INDEX)
    def serve(self, index: int) -> None:
        read = self.reads[index % len(self.reads)]
        if read.entries is None:
            read.entries = {key: self.entries[key] for key in read.keys if key in self.entries}
            for tag in sorted(read.tags):
                if tag not in self.generations:
                    self.bump(tag)  # seeded by the read itself
                read.numbers[tag] = self.generations[tag]

    @precondition(lambda self: self.reads)
    @rule(index=INDEX)
    def answer(self, index: int) -> None:
        read = self.reads[index % len(self.reads)]
        if read.entries is not None:
            self.reads.remove(read)
            near = self.near
            current = {k: e for k, e in read.entries.items() if near.is_current(e, read.numbers)}
            near.learn(read.ticket, read.numbers)
            near.keep(read.ticket, current)
            near.end(read.ticket)

    @precondition(lambda self: self.reads)
    @rule(index=INDEX)
    def lose_an_answer(self, index: int) -> None:
        self.near.end(self.reads.pop(index % len(self.reads)).ticket)

    @precondition(lambda self: self.words)
    @rule()
    def hear(self) -> None:
        name, number = self.words.pop(0)
        self.near.changed(name)
        self.heard[name] = max(self.heard[name], number)

    @rule()
    def hear_all(self) -> None:
        while self.words:
            self.hear()

    @precondition(lambda self: self.near.hears)
    @rule(surely=RARELY)
    def cut(self, *, surely: bool) -> None:
        if not surely:
            return
        self.words.clear()
        self.near.flush(hears=False)

    @rule(surely=RARELY)
    def flush_the_server(self, *, surely: bool) -> None:
        if surely and self.near.hears:
            self.entries.clear()
            self.generations.clear()
            self.reconnect()

    @precondition(lambda self: not self.near.hears)
    @rule()
    def reconnect(self) -> None:
        self.words.clear()
        self.near.flush(hears=True)
        self.heard = dict(self.changed)

    @rule(delay=st.sampled_from([1.0, 59.0, 60.0]))
    def wait(self, delay: float) -> None:
        self.clock.now += delay

    # What must be so

    @invariant()
    def nothing_is_older_than_what_was_heard(self) -> None:
        for key, entry in self.near.look("ab").items():
            assert entry.value >= self.heard[key], key
            for tag, number in entry.tags.items():
                assert number >= self.heard[tag] or number == self.generations.get(tag), tag

    @invariant()
    def when_all_is_heard_all_is_right(self) -> None:
        held: dict[str, Any] = self.near.look("ab")
        if not self.near.hears:
            assert not held
        elif not self.words:
            assert held.items() <= self.entries.items()
            for entry in held.values():
                assert entry.is_current(self.generations)

    @invariant()
    def marks_are_those_of_reads_under_way(self) -> None:
        names = {name for read in self.reads for name in read.keys | read.tags}
        assert self.near._marks.keys() <= names
        assert len(self.near.tags) <= 1


TestNearAgainstServer = NearAgainstServer.TestCase
