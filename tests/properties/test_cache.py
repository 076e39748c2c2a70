"""Keys are injective, and a cache is a dict whose entries end."""

import asyncio
import string
from collections import OrderedDict
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from symphonia_perf.cache import Cache, Entry, Lifetime, MemoryCacheStore, Template
from symphonia_perf.cache.keys import encode

TEXT = st.text(st.characters(codec=None), max_size=250) | st.text(":?&={}%~*[]- \n", max_size=6)
MARKED = st.none() | st.booleans()
VALUES = TEXT | MARKED
# The same value in another type has the same text, so this is what a key can tell apart.
OTHERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes()
    | st.uuids()
)
TEMPLATES = [
    Template("orders:{a}:{b}:{c}"),
    Template("orders:list:a-{a}-z:?b={b}&c={c}"),
    Template("orders:?c={c}&b={b}&a={a}"),
    Template("orders:{a}:x{b}y:?c={c}"),
]


def told_apart(value: object) -> object:
    """What the key knows of a value: its text, or that it is one of the three marked ones."""
    if value is None or isinstance(value, bool):
        return (type(value), value)
    assert isinstance(value, str | int | float | Decimal | date | datetime | UUID)
    text = repr(value) if isinstance(value, float) else str(value)
    return value.isoformat() if isinstance(value, date) else text


@given(st.sampled_from(TEMPLATES), *[st.tuples(VALUES | OTHERS, VALUES, VALUES)] * 2)
def test_different_arguments_make_different_keys(
    template: Template, one: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    keys = [template.key(a=a, b=b, c=c) for a, b, c in (one, other)]
    same = [told_apart(value) for value in one] == [told_apart(value) for value in other]
    assert (keys[0] == keys[1]) is same


@given(st.data())
def test_arguments_that_differ_in_one_place_only(data: st.DataObject) -> None:
    template = data.draw(st.sampled_from(TEMPLATES))
    values = dict(zip("abc", data.draw(st.tuples(VALUES, VALUES, VALUES)), strict=True))
    place = data.draw(st.sampled_from("abc"))
    another = data.draw(VALUES)
    assume(told_apart(another) != told_apart(values[place]))
    assert template.key(**values) != template.key(**{**values, place: another})


@given(VALUES | OTHERS)
def test_a_value_brings_nothing_but_harmless_characters_into_a_key(value: object) -> None:
    text = encode(value)
    assert set(text) <= set(string.ascii_letters + string.digits + "%._-~")
    assert len(text) <= 200


PIECES = st.sampled_from(["a", "ab", "b", "{x}", "a{x}", "{x}b", "a{x}b", "ab{x}"])


@given(
    st.lists(PIECES, min_size=1, max_size=2), st.lists(PIECES, min_size=1, max_size=2), st.data()
)
def test_templates_that_do_not_overlap_never_make_one_key(
    one: list[str], other: list[str], data: st.DataObject
) -> None:
    def template(pieces: list[str]) -> Template:
        named = [piece.replace("x", f"x{n}") for n, piece in enumerate(pieces)]
        return Template(":".join(["r", *named]))

    first, second = template(one), template(other)
    values = st.text("ab", max_size=3)
    keys = [
        each.key(**{field: data.draw(values) for field in each.fields}) for each in (first, second)
    ]
    if keys[0] == keys[1]:
        assert first.overlaps(second)


class ManualClock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 0.0

    async def sleep(self, delay: float) -> None:
        self.now += delay


KEYS = st.sampled_from(["a", "b", "c", "d", "e"])
TTLS = st.sampled_from([1.0, 5.0, 60.0])
STORED = st.none() | st.integers() | st.lists(st.integers(), max_size=3)
MISSING = object()


class CacheAgainstDict(RuleBasedStateMachine):
    """The cache over a bounded memory store, against an ordered dict that does the same."""

    bound = 3

    @initialize(copy=st.booleans())
    def open(self, *, copy: bool) -> None:
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.store = MemoryCacheStore(max_entries=self.bound, copy=copy, clock=self.clock)
        self.cache = Cache(self.store, ttl=Lifetime(jitter=0), clock=self.clock)
        self.runner.run(self.cache.__aenter__())
        self.model: OrderedDict[str, tuple[Any, float]] = OrderedDict()
        self.loads = 0

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.cache.__aexit__(None, None, None))
            self.runner.close()

    def look(self, key: str) -> Any:
        value, deadline = self.model.get(key, (MISSING, 0.0))
        if value is MISSING:
            return MISSING
        if self.clock.now >= deadline:
            del self.model[key]
            return MISSING
        self.model.move_to_end(key)
        return value

    def put(self, key: str, value: Any, ttl: float) -> None:
        self.model.pop(key, None)
        for ended in [k for k, (_, deadline) in self.model.items() if self.clock.now >= deadline]:
            del self.model[ended]
        self.model[key] = (value, self.clock.now + ttl)
        while len(self.model) > self.bound:
            self.model.popitem(last=False)

    @rule(key=KEYS, value=STORED, ttl=TTLS)
    def set(self, key: str, value: Any, ttl: float) -> None:
        self.runner.run(self.cache.set(key, value, ttl=ttl))
        self.put(key, value, ttl)

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        assert self.runner.run(self.cache.get(key, MISSING)) == self.look(key)

    @rule(key=KEYS, value=STORED, ttl=TTLS)
    def get_or_load(self, key: str, value: Any, ttl: float) -> None:
        async def load() -> Any:
            self.loads += 1
            return value

        before, expected = self.loads, self.look(key)
        result = self.runner.run(self.cache.get_or_load(key, load, ttl=ttl))
        if expected is MISSING:
            self.put(key, value, ttl)
            assert (result, self.loads) == (value, before + 1)
        else:
            assert (result, self.loads) == (expected, before)

    @rule(key=KEYS, value=STORED)
    def refresh(self, key: str, value: Any) -> None:
        async def load() -> Any:
            return value

        assert self.runner.run(self.cache.refresh(key, load)) == value
        self.put(key, value, 3600.0)

    @rule(keys=st.lists(KEYS))
    def delete(self, keys: list[str]) -> None:
        there = sum(
            self.clock.now < self.model.pop(key, (None, 0.0))[1] for key in dict.fromkeys(keys)
        )
        assert self.runner.run(self.cache.delete_many(keys)) == there

    @rule(delay=st.sampled_from([0.5, 1.0, 5.0, 100.0]))
    def wait(self, delay: float) -> None:
        self.clock.now += delay

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        if hasattr(self, "store"):
            assert list(self.store._slots) == [f"cache:{key}" for key in self.model]


TestCacheAgainstDict = CacheAgainstDict.TestCase


@given(
    st.lists(st.tuples(KEYS, st.binary(max_size=3000)), max_size=30),
    st.integers(min_value=500, max_value=5000),
)
def test_bytes_never_exceed_their_bound(writes: list[tuple[str, bytes]], bound: int) -> None:
    store = MemoryCacheStore(max_bytes=bound)

    async def write() -> None:
        for key, value in writes:
            await store.set_many({key: Entry(value=[value], ttl=60.0)})
            assert store.size <= bound
            assert store.size == sum(slot.size for slot in store._slots.values())
            kept = store.peek(key)
            assert kept is None or kept.value == [value]

    asyncio.run(write())
