"""The study's four rules: what each change makes gone, and what it leaves."""

import pytest

from examples.orders.rules import RULES
from symphonia_perf.cache import Cache, MemoryCacheStore

TAGGED = {"plans:list": ["plans"], "carriers:list": ["carriers"]}
KEYS = (
    *("plan:a", "plan:b", "carrier:a", "carrier:b", "user:a", "user:b"),
    *("orders:list:a:1", "orders:list:a:2", "orders:list:b:1"),
)


@pytest.mark.parametrize(
    ("event", "gone"),
    [
        ("plan.changed", {"plan:a", "plans:list"}),
        ("carrier.changed", {"carrier:a", "carriers:list"}),
        ("user.changed", {"user:a", "orders:list:a:1", "orders:list:a:2"}),
    ],
)
async def test_a_change_takes_what_it_made_wrong(event: str, gone: set[str]) -> None:
    async with Cache(MemoryCacheStore(), rules=RULES) as cache:
        await cache.set_many(dict.fromkeys(KEYS, 1))
        for key, tags in TAGGED.items():
            await cache.set(key, 1, tags=tags)
        await cache.changed(event, id="a")
        left = await cache.get_many([*KEYS, *TAGGED])
        assert {*KEYS, *TAGGED} - left.keys() == gone


async def test_orders_are_never_cached_so_that_nothing_is_wrong() -> None:
    async with Cache(MemoryCacheStore(), rules=RULES) as cache:
        await cache.set_many(dict.fromkeys(KEYS, 1))
        await cache.changed("order.changed")
        assert len(await cache.get_many(KEYS)) == len(KEYS)
