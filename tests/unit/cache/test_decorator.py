import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from symphonia_perf.cache import Cache, MemoryCacheStore
from symphonia_perf.errors import ConfigurationError


@pytest.fixture
async def cache() -> AsyncIterator[Cache]:
    async with Cache(MemoryCacheStore()) as cache:
        yield cache


async def test_calls_that_mean_the_same_share_a_result(cache: Cache) -> None:
    asked: list[tuple[str, int]] = []

    @cache.cached("plans:{kind}:?page={page}")
    async def load(kind: str, page: int = 1) -> list[int]:
        """Load it."""
        asked.append((kind, page))
        return [len(asked)]

    assert await load("basic") == [1]
    assert await load(kind="basic") == await load("basic", page=1) == await load("basic", 1) == [1]
    assert await load("basic", 2) == [2]
    assert asked == [("basic", 1), ("basic", 2)]
    assert load.key("basic", page=2) == "plans:basic:?page=2"
    assert await cache.get(load.key("basic", page=2)) == [2]
    assert (load.__doc__, load.__name__) == ("Load it.", "load")  # type: ignore[attr-defined]
    assert list(inspect.signature(load).parameters) == ["kind", "page"]


async def test_the_other_methods_take_the_same_arguments(cache: Cache) -> None:
    runs = 0

    @cache.cached("plan:{plan_id}", ttl=60)
    async def load(plan_id: str) -> str:
        nonlocal runs
        runs += 1
        return f"{plan_id} {runs}"

    assert await load("a") == "a 1"
    assert await load.uncached("a") == "a 2"
    assert await load("a") == "a 1"
    assert await load.refresh(plan_id="a") == "a 3"
    assert await load("a") == "a 3"
    entry = cache.peek("plan:a")
    assert entry is not None
    assert entry.ttl == 60.0
    assert await load.invalidate("a") is True
    assert await load.invalidate("a") is False
    assert await load("a") == "a 4"


async def test_a_method_ignores_its_instance_on_purpose(cache: Cache) -> None:
    class Repository:
        def __init__(self, name: str) -> None:
            self.name = name
            self.runs = 0

        @cache.cached("method:{plan_id}", ignore=["self"])
        async def load(self, plan_id: str) -> str:
            self.runs += 1
            return f"{self.name} {plan_id}"

    one, other = Repository("one"), Repository("other")
    assert await one.load("a") == "one a"
    assert await other.load(plan_id="a") == "one a"
    assert other.runs == 0
    assert await other.load.uncached("a") == "other a"
    assert await other.load.refresh("a") == "other a"
    assert await one.load("a") == "other a"
    assert one.load.key("a") == "method:a"
    assert await one.load.invalidate("a") is True
    assert await Repository.load(one, "a") == "one a"
    assert Repository.load.key(one, "b") == "method:b"


async def test_a_sync_function_runs_in_a_thread(cache: Cache) -> None:
    @cache.cached("thread:{n}")
    def slow(n: int) -> tuple[int, int]:
        return n, threading.get_ident()

    n, thread = await slow(3)
    assert n == 3
    assert thread != threading.get_ident()
    assert await slow(3) == (n, thread)


async def test_callables_that_are_async_in_other_ways(cache: Cache) -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    class Adder:
        async def __call__(self, a: int) -> int:
            return a + 20

    assert await cache.cached("partial:{b}")(partial(add, 10))(b=1) == 11
    assert await cache.cached("object:{a}")(Adder())(1) == 21


async def test_errors_are_not_cached(cache: Cache) -> None:
    runs = 0

    @cache.cached("flaky")
    async def flaky() -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise LookupError("first")
        return runs

    with pytest.raises(LookupError):
        await flaky()
    assert await flaky() == await flaky() == 2


async def test_an_argument_that_cannot_form_a_key_is_named(cache: Cache) -> None:
    @cache.cached("plan:{plan_id}")
    async def load(plan_id: object) -> None: ...

    with pytest.raises(ConfigurationError, match=r"plan_id: \['a'\] \(list\) cannot be part"):
        await load(["a"])


async def generator() -> AsyncIterator[int]:
    yield 1


def plain_generator() -> Iterator[int]:
    yield 1


async def plan(plan_id: str) -> None: ...


@pytest.mark.parametrize(
    ("template", "function", "message"),
    [
        ("a", generator, "generator is a generator"),
        ("a", plain_generator, "plain_generator is a generator"),
        ("a:{plan_id}", staticmethod(plan), "write @staticmethod or @classmethod above"),
        ("b:{plan_id}", classmethod(plan), "write @staticmethod or @classmethod above"),
        ("a", 5, "5 is not a function"),
        ("a:{plan}", plan, r"no parameter 'plan'; did you mean 'plan_id'\?"),
        ("a", plan, "calls that differ in 'plan_id' would share an entry"),
        (plan, plan, "expected a text such as"),
    ],
)
def test_what_cannot_be_cached_is_refused_at_decoration(
    template: Any, function: Any, message: str
) -> None:
    cache = Cache(MemoryCacheStore())
    with pytest.raises(ConfigurationError, match=message):
        cache.cached(template)(function)


def test_two_functions_cannot_get_each_others_results() -> None:
    cache = Cache(MemoryCacheStore())
    cache.cached("plan:{plan_id}")(plan)
    cache.cached("plan:{plan_id}")(plan)  # the same function: a module that is loaded again

    async def other(name: str) -> None: ...

    with pytest.raises(ConfigurationError, match=r"'plan:{name}' of .*other can make the same key"):
        cache.cached("plan:{name}")(other)
    cache.cached("plans:{name}")(other)
    Cache(MemoryCacheStore()).cached("plan:{name}")(other)


def test_the_ttl_is_checked_at_decoration() -> None:
    with pytest.raises(ConfigurationError, match="ttl=0"):
        Cache(MemoryCacheStore()).cached("a", ttl=0)
