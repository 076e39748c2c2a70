"""Whatever a caller hands in, what is wrong with it is told in our words, and at once."""

from collections.abc import Callable
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis

from symphonia_perf.cache import (
    BreakerOptions,
    Cache,
    InvalidationRules,
    KeyScheme,
    Lifetime,
    LoadOptions,
    MemoryCacheStore,
    RedisCacheStore,
    Template,
    on,
)
from symphonia_perf.errors import ConfigurationError, SymphoniaError
from symphonia_perf.redis import connect, wrap


def one() -> int:
    return 1


ODD: list[Any] = [
    *(None, 5, -1, True, float("nan"), "", "~x", "a b", "\ud800", b"x", [], {}, object(), one),
    *([None], [""], ["\ud800"], {"a": 1}, MemoryCacheStore),
]
FAKE = FakeAsyncRedis()
RULES = InvalidationRules(on("e", delete=["k:{id}"], tags=["t:{id}"], match=["m:{id}*"]))
MAKERS: dict[str, Callable[[Any], object]] = {
    "Cache": Cache,
    **{
        f"Cache({name}=)": lambda odd, name=name: Cache(MemoryCacheStore(), **{name: odd})
        for name in (
            *("prefix", "version", "ttl", "rules", "loading"),
            *("on_error", "breaker", "observer", "clock"),
        )
    },
    **{
        f"MemoryCacheStore({name}=)": lambda odd, name=name: MemoryCacheStore(**{name: odd})
        for name in ("max_entries", "max_bytes", "copy", "observer", "clock")
    },
    "RedisCacheStore": RedisCacheStore,
    **{
        f"RedisCacheStore({name}=)": lambda odd, name=name: RedisCacheStore(
            wrap(FAKE), **{name: odd}
        )
        for name in ("codec", "compress_above", "clock")
    },
    **{
        f"{kind.__name__}({name}=)": lambda odd, kind=kind, name=name: kind(**{name: odd})
        for kind, names in (
            (Lifetime, ("ttl", "stale_for", "stale_on_error", "negative", "errors", "jitter")),
            (LoadOptions, ("lock", "timeout", "lease")),
            (BreakerOptions, ("failures", "lasting", "pause")),
            (KeyScheme, ("prefix", "version")),
        )
        for name in names
    },
    "Template": Template,
    "Template.key": lambda odd: Template("a:{x}").key(x=odd),
    "InvalidationRules": InvalidationRules,
    "on": on,
    **{
        f"on({name}=)": lambda odd, name=name: on("e", **{name: odd})
        for name in ("delete", "tags", "match")
    },
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_cannot_be_made_is_refused_in_our_words(name: str) -> None:
    refused = 0
    for odd in ODD:
        try:
            MAKERS[name](odd)
        except ConfigurationError:
            refused += 1
    assert refused >= 5  # an odd thing may be right somewhere, most are not


CALLS: dict[str, Callable[[Cache, Any], Any]] = {
    "get": lambda cache, odd: cache.get(odd),
    "get_or_load": lambda cache, odd: cache.get_or_load(odd, load),
    "get_or_load(load)": lambda cache, odd: cache.get_or_load("new", odd),
    **{
        f"get_or_load({name}=)": lambda cache, odd, name=name: cache.get_or_load(
            f"{name}{ODD.index(odd)}", load, **{name: odd}
        )
        for name in ("ttl", "stale_for", "tags", "lock", "timeout", "condition", "misspelt")
    },
    "refresh": lambda cache, odd: cache.refresh(odd, load),
    "refresh(load)": lambda cache, odd: cache.refresh("k", odd),
    "set": lambda cache, odd: cache.set(odd, 1),
    "set(ttl=)": lambda cache, odd: cache.set("k", 1, ttl=None if odd is one else odd),
    "set(tags=)": lambda cache, odd: cache.set("k", 1, tags=odd),
    "set_many": lambda cache, odd: cache.set_many(odd),
    "get_many": lambda cache, odd: cache.get_many(odd),
    "delete": lambda cache, odd: cache.delete(odd),
    "delete_many": lambda cache, odd: cache.delete_many(odd),
    "invalidate_tags": lambda cache, odd: cache.invalidate_tags(odd),
    "invalidate_pattern": lambda cache, odd: cache.invalidate_pattern(odd),
    "changed": lambda cache, odd: cache.changed(odd),
    "changed(id=)": lambda cache, odd: cache.changed("e", id=odd),
}


async def load() -> int:
    return 1


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", ["memory", "bytes", "redis"])
async def test_what_cannot_be_asked_is_refused_in_our_words(name: str, kind: str) -> None:
    store: Any = {
        "memory": MemoryCacheStore,
        "bytes": lambda: MemoryCacheStore(max_bytes=2**20),
        "redis": lambda: RedisCacheStore(wrap(FakeAsyncRedis())),
    }[kind]()
    refused = 0
    async with Cache(store, rules=RULES, on_error="raise") as cache:
        for odd in ODD:
            try:
                await CALLS[name](cache, odd)
            except SymphoniaError:
                refused += 1
    assert refused >= 5


@pytest.mark.parametrize("name", ["key", "ignore", "ttl", "stale_for", "tags", "lock", "timeout"])
def test_what_cannot_be_cached_is_refused_in_our_words(name: str) -> None:
    cache, refused = Cache(MemoryCacheStore(), rules=RULES), 0
    for odd in ODD:
        try:
            cache.cached("plan:{plan_id}", **{name: odd})(_load_plan)
        except ConfigurationError:
            refused += 1
    assert refused >= 5


async def _load_plan(plan_id: str) -> str:
    return plan_id


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_what_cannot_be_decorated_is_refused_in_our_words(odd: Any) -> None:
    cache = Cache(MemoryCacheStore(), rules=RULES)
    for use in (
        lambda: cache.cached(odd)(_load_plan),
        lambda: cache.cached("plan")(odd),
        lambda: cache.invalidates(odd)(_load_plan),
        lambda: cache.invalidates("e", id="plan_id")(odd),
        lambda: cache.invalidates("e", id=odd)(_load_plan),
    ):
        try:
            use()
        except ConfigurationError:
            continue


@pytest.mark.parametrize(
    ("store", "hint"),
    [
        (MemoryCacheStore, "an object of MemoryCacheStore, not the class"),
        (connect(), r"a store over it: Cache\(RedisCacheStore\(redis\)\)"),
        (wrap(FAKE), r"a store over it: Cache\(RedisCacheStore\(redis\)\)"),
        (FAKE, r"a store over it: Cache\(RedisCacheStore\(wrap\(client\)\)\)"),
        ("redis://user:secret@host", "a CacheStore; this one has no get_many"),
    ],
    ids=["class", "client", "adapter", "redis-py", "text"],
)
def test_what_is_no_store_is_told_what_to_write(store: Any, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^store=[\w.]+: expected {hint}$"):
        Cache(store)


async def test_a_loader_that_is_not_async_is_named() -> None:
    async with Cache(MemoryCacheStore()) as cache:
        for use in (cache.get_or_load, cache.refresh):
            with pytest.raises(ConfigurationError, match="returned a int, which cannot be awaited"):
                await use("k", lambda: 1)  # type: ignore[arg-type,return-value]
            with pytest.raises(ConfigurationError, match="load=5: expected an async function"):
                await use("k", 5)  # type: ignore[arg-type]


async def test_values_stay_out_of_the_messages() -> None:
    async with Cache(MemoryCacheStore()) as cache:
        with pytest.raises(ConfigurationError, match=r"expected a dict of values .* not list$"):
            await cache.set_many([("k", "a secret")])  # type: ignore[arg-type]
