import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest

from symphonia_perf._core.events import CacheEvent, Event
from symphonia_perf.cache import Cache, InvalidationRules, MemoryCacheStore, on
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


async def test_a_hit_in_memory_is_told() -> None:
    events: list[Event] = []
    async with Cache(MemoryCacheStore(), observer=events.append) as cache:

        @cache.cached("plan:{plan_id}")
        async def load_plan(plan_id: str) -> str:
            return plan_id

        assert [await load_plan("1") for _ in range(2)] == ["1", "1"]
        kinds = [event.kind for event in events if isinstance(event, CacheEvent)]
        assert kinds == ["miss", "load", "set", "hit"]
        assert cache.stats().hits == 1


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
    assert 57.0 <= entry.ttl <= 60.0
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


async def test_a_sync_function_that_stops_iterating_says_so(cache: Cache) -> None:
    @cache.cached("first:{above}", timeout=5)
    def first(above: int) -> int:
        return next(n for n in (1, 2) if n > above)

    assert await first(1) == 2
    with pytest.raises(RuntimeError, match=r"\.first raised StopIteration") as caught:
        await first(2)
    assert isinstance(caught.value.__cause__, StopIteration)


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


async def test_tags_come_from_the_arguments(cache: Cache) -> None:
    runs = 0

    @cache.cached("orders:{client_id}:?page={page}", tags=["orders", "client:{client_id}"])
    async def orders(client_id: int, page: int = 1) -> int:  # noqa: ARG001 - they are in the key
        nonlocal runs
        runs += 1
        return runs

    assert [await orders(1), await orders(1, 2), await orders(2)] == [1, 2, 3]
    await cache.invalidate_tags(["client:1"])
    assert [await orders(1), await orders(1, 2), await orders(2)] == [4, 5, 3]
    await cache.invalidate_tags(["orders"])
    assert await orders(2) == 6


async def test_options_are_those_of_a_call(cache: Cache) -> None:
    @cache.cached("a:{n}", condition=lambda value: value > 1, lock="none", timeout=None)
    async def load(n: int) -> int:
        return n

    await load(1)
    await load(2)
    assert await cache.get_many(["a:1", "a:2"]) == {"a:2": 2}


async def test_what_has_no_place_in_a_key_gives_one_by_a_function(cache: Cache) -> None:
    seen: list[str] = []

    @cache.cached(
        "order:{order_id}:{form}",
        key=lambda order: {"order_id": order["_id"]},
        tags=["order:{order_id}"],
        ignore=["trace"],
    )
    async def render(order: dict[str, str], form: str, trace: object = None) -> str:  # noqa: ARG001
        seen.append(order["_id"])
        return f"{order['_id']} as {form}"

    assert await render({"_id": "7"}, "html") == await render({"_id": "7"}, form="html", trace=5)
    assert render.key({"_id": "7"}, "html") == "order:7:html"
    assert seen == ["7"]
    await cache.invalidate_tags(["order:7"])
    assert await render({"_id": "7"}, "html") == "7 as html"
    assert seen == ["7", "7"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (lambda order: {"id": order}, r"neither a parameter nor key= gives 'order_id'"),
        (lambda order: order, "returned a str; expected a dict of the template's fields"),
    ],
)
async def test_a_key_function_that_gives_something_else_is_named(
    cache: Cache, key: Any, message: str
) -> None:
    @cache.cached("order:{order_id}", key=key)
    async def render(order: str) -> str:
        return order

    with pytest.raises(ConfigurationError, match=message):
        await render("x")


def test_a_key_function_takes_parameters_of_the_function() -> None:
    async def render(order: dict[str, str], form: str) -> None: ...

    cached = Cache(MemoryCacheStore()).cached
    with pytest.raises(ConfigurationError, match=r"key: .*render has no parameter 'ordr'; did you"):
        cached("order:{order_id}", key=lambda ordr: {"order_id": ordr})(render)
    with pytest.raises(ConfigurationError, match="calls that differ in 'form' would share"):
        cached("order:{order_id}", key=lambda order: {"order_id": order})(render)
    with pytest.raises(ConfigurationError, match=r"template 'client:{client}': .* no parameter"):
        cached("order:{form}", tags=["client:{client}"], ignore=["order"])(render)


def test_too_many_tags_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="tags: 33 of them, an entry may have 32"):
        Cache(MemoryCacheStore()).cached("a", tags=[f"t{n}" for n in range(33)])
    with pytest.raises(ConfigurationError, match=r"tags='plans': expected a list of tags"):
        Cache(MemoryCacheStore()).cached("a", tags="plans")


class Store:
    """A writer of plans, whose third write is lost on the way back."""

    def __init__(self) -> None:
        self.plans: dict[str, int] = {}

    async def write(self, plan_id: str, price: int) -> dict[str, Any]:
        self.plans[plan_id] = price
        if price == 13:
            raise ConnectionError("the reply was lost")
        return {"_id": plan_id, "price": price}


RULES = InvalidationRules(
    on("plan.changed", delete=["plan:{plan_id}"], tags=["plans"]),
    on("plan.made", delete=["plan:{id}"]),
)


async def test_a_writer_tells_what_it_changed() -> None:
    store = Store()
    async with Cache(MemoryCacheStore(), rules=RULES) as cache:

        @cache.cached("plan:{plan_id}")
        async def load(plan_id: str) -> int | None:
            return store.plans.get(plan_id)

        @cache.invalidates("plan.changed")
        async def change(plan_id: str, *, price: int = 1) -> dict[str, Any]:
            """Change it."""
            return await store.write(plan_id, price)

        @cache.invalidates("plan.made", id=lambda plan: plan["_id"])
        async def make(name: str, price: int) -> dict[str, Any]:
            return await store.write(name.lower(), price)

        assert await load("a") is None
        assert await change("a") == {"_id": "a", "price": 1}
        assert await load("a") == 1
        with pytest.raises(ConnectionError):
            await change(plan_id="a", price=13)
        assert await load("a") == 13  # it was written after all
        assert await load("b") is None
        await make("B", 5)
        assert await load("b") == 5
        with pytest.raises(ConnectionError):
            await make("B", 13)  # which one is known to nobody
        assert (change.__name__, change.__doc__) == ("change", "Change it.")


PARTS = InvalidationRules(
    on("plan.made", delete=["plan:{id}", "plans:{kind}"], tags=["plans"], match=["all:{id}*"]),
)


async def test_a_writer_whose_result_is_not_known_tells_what_is() -> None:
    async with Cache(MemoryCacheStore(), rules=PARTS) as cache:

        @cache.invalidates("plan.made", id=lambda plan: plan["_id"])
        async def make(kind: str) -> dict[str, str]:
            if kind == "lost":
                raise ConnectionError("the reply was lost")
            return {"id": "of another shape"}

        for kind, error in (("lost", ConnectionError), ("basic", ConfigurationError)):
            await cache.set_many({"plan:1": 1, f"plans:{kind}": 1})
            await cache.set("tagged", 1, tags=["plans"])
            with pytest.raises(error) as caught:
                await make(kind)
            assert await cache.get_many(["plan:1", f"plans:{kind}", "tagged"]) == {"plan:1": 1}
        assert "id= did not find its field in the result: KeyError('_id')" in str(caught.value)
        assert isinstance(caught.value.__cause__, KeyError)


async def test_a_writers_own_error_comes_before_the_caches() -> None:
    async with Cache(MemoryCacheStore(), rules=RULES) as cache:

        @cache.invalidates("plan.changed")
        async def change(plan_id: object) -> None:
            raise ConnectionError(f"the reply about {type(plan_id).__name__} was lost")

        with pytest.raises(ConnectionError, match="the reply about object was lost") as caught:
            await change(object())
        (note,) = caught.value.__notes__
        assert note.startswith("and the cache could not be told: ConfigurationError(")


async def test_a_writer_whose_caller_left_tells_all_the_same() -> None:
    written, go = asyncio.Event(), asyncio.Event()
    async with Cache(MemoryCacheStore(), rules=RULES) as cache:

        @cache.invalidates("plan.changed")
        async def change(plan_id: str) -> str:
            written.set()
            await go.wait()
            return plan_id

        await cache.set("plan:a", "old")
        task = asyncio.create_task(change("a"))
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await cache.get("plan:a") is None


def test_a_writer_that_cannot_tell_is_refused() -> None:
    cache = Cache(MemoryCacheStore(), rules=RULES)

    async def change(plan: str) -> None: ...

    with pytest.raises(ConfigurationError, match="has no parameter 'plan_id' for 'plan_id'"):
        cache.invalidates("plan.changed")(change)
    cache.invalidates("plan.changed", plan_id="plan")(change)
    with pytest.raises(ConfigurationError, match=r"tells \['plan_id'\], not \['id'\]"):
        cache.invalidates("plan.changed", id="plan")
    with pytest.raises(ConfigurationError, match=r"no rule is about event 'plan\.chnged'"):
        cache.invalidates("plan.chnged")
    with pytest.raises(ConfigurationError, match="is not an async function"):
        cache.invalidates("plan.changed")(lambda plan_id: plan_id)


async def test_a_change_is_what_the_rules_make_of_it() -> None:
    rules = InvalidationRules(
        on("user.changed", delete=["user:{id}"], match=["orders:list:{id}*"], tags=["users"])
    )
    async with Cache(MemoryCacheStore(), rules=rules) as cache:
        await cache.set_many(dict.fromkeys(["user:7", "orders:list:7:?page=1", "user:8"], 1))
        await cache.set("users:list", 1, tags=["users"])
        await cache.changed("user.changed", id=7)
        keys = ["user:7", "orders:list:7:?page=1", "user:8", "users:list"]
        assert await cache.get_many(keys) == {"user:8": 1}
        with pytest.raises(ConfigurationError, match="tells"):
            await cache.changed("user.changed")


async def test_a_rule_that_deletes_what_nothing_makes_is_found_when_it_opens() -> None:
    cache = Cache(MemoryCacheStore(), rules=RULES)

    @cache.cached("plan:{plan_id}:full")
    async def load(plan_id: str) -> None: ...

    with pytest.raises(ConfigurationError, match=r"rule 'plan\.changed' deletes 'plan:{plan_id}'"):
        await cache.__aenter__()
