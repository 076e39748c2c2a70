"""What a type checker must see of the cache, and what it must refuse."""

from typing import Any, assert_type

from symphonia_perf.cache import (
    TTL,
    Cache,
    Cached,
    CacheStats,
    CacheStore,
    ChangeStreamInvalidator,
    ChangeStreamStats,
    Entry,
    InvalidationRules,
    Lifetime,
    ListeningStore,
    LoadOptions,
    MemoryCacheStore,
    PeekableStore,
    QuickStore,
    RedisCacheStore,
    Route,
    TieredCacheStore,
    TierStats,
    on,
)
from symphonia_perf.redis import Commands

rules = InvalidationRules(on("plan.changed", delete=["plan:{id}"], tags=["plans"]))
cache = Cache(MemoryCacheStore(), rules=rules, loading=LoadOptions(lock="distributed"))


@cache.cached("plan:{plan_id}:?full={full}", ttl=3600)
async def load_plan(plan_id: str, *, full: bool = False) -> dict[str, int]:
    return {plan_id: full}


@cache.cached("size:{path}")
def size_of(path: str) -> int:
    return len(path)


def fields_of(order: dict[str, str]) -> dict[str, str]:
    return {"order_id": order["_id"]}


@cache.cached(
    "order:{order_id}",
    ttl=lambda order: 5 if order else TTL.PLANS,
    stale_for=60,
    tags=["orders", "order:{order_id}"],
    lock="none",
    timeout=None,
    condition=bool,
    key=fields_of,
)
async def render(order: dict[str, str]) -> bytes:
    return order["_id"].encode()


@cache.invalidates("plan.changed", id=lambda plan: plan["_id"])
async def write_plan(name: str, *, price: int) -> dict[str, str]:
    return {"_id": f"{name}{price}"}


class Repository:
    @cache.cached("carrier:{carrier_id}", ignore=["self"])
    async def carrier(self, carrier_id: int) -> list[str]:
        return [str(carrier_id)]

    @cache.cached("logo:{carrier_id}:{size}", ignore=["self"])
    def logo(self, carrier_id: int, *, size: str = "s") -> bytes:
        return f"{carrier_id}{size}".encode()

    @staticmethod
    @cache.cached("rate:{currency}")
    async def rate(currency: str) -> float:
        return len(currency)

    @cache.invalidates("plan.changed", id="plan_id")
    async def change(self, plan_id: str, price: int) -> int:
        return len(plan_id) * price


async def load_carriers() -> list[str]:
    return []


async def calls() -> None:
    assert_type(await load_plan("1"), dict[str, int])
    assert_type(await load_plan("1", full=True), dict[str, int])
    assert_type(await load_plan.refresh("1"), dict[str, int])
    assert_type(await load_plan.uncached(plan_id="1"), dict[str, int])
    assert_type(await load_plan.invalidate("1"), bool)
    assert_type(load_plan.key("1"), str)
    assert_type(await size_of("a"), int)
    assert_type(await size_of.refresh(path="a"), int)
    assert_type(await size_of.uncached("a"), int)
    assert_type(await size_of.invalidate("a"), bool)
    assert_type(size_of.key("a"), str)
    assert_type(await Repository().logo(5), bytes)
    assert_type(await Repository().logo(5, size="l"), bytes)
    assert_type(await Repository().logo.refresh(5, size="l"), bytes)
    assert_type(await Repository().logo.uncached(carrier_id=5), bytes)
    assert_type(await Repository().logo.invalidate(5), bool)
    assert_type(Repository().logo.key(5, size="l"), str)
    assert_type(Repository.logo.key(Repository(), 5), str)
    assert_type(await Repository.rate("EUR"), float)
    assert_type(await Repository().change("1", price=5), int)
    assert_type(await Repository().carrier(5), list[str])
    assert_type(await Repository().carrier.invalidate(carrier_id=5), bool)
    positional: Cached[[int], list[str]] = Repository().carrier
    assert_type(await positional(5), list[str])
    assert_type(await Repository.carrier(Repository(), 5), list[str])
    assert_type(await cache.get_or_load("carriers:list", load_carriers), list[str])
    assert_type(await cache.refresh("carriers:list", load_carriers), list[str])
    assert_type(await render({"_id": "7"}), bytes)
    assert_type(await write_plan("a", price=1), dict[str, str])
    assert_type(await cache.get_or_load("k", load_carriers, ttl=Lifetime(ttl=5)), list[str])
    assert_type(await cache.get_many(["a"]), dict[str, Any])
    assert_type(await cache.invalidate_pattern("plan:*"), int)
    assert_type(await cache.get("carriers:list"), Any)
    assert_type(await cache.delete("carriers:list"), bool)
    assert_type(await cache.delete_many(["carriers:list"]), int)
    assert_type(cache.peek("carriers:list"), Entry | None)
    assert_type(cache.stats(), CacheStats)


async def mistakes() -> None:
    await load_plan(1)  # type: ignore[arg-type]
    await load_plan.invalidate()  # type: ignore[call-arg]
    await load_plan.refresh("1", True)  # type: ignore[call-arg]
    await Repository().carrier("5")  # type: ignore[arg-type]
    await size_of(5)  # type: ignore[arg-type]
    await size_of()  # type: ignore[call-arg]
    len(size_of("a"))  # type: ignore[arg-type]
    await Repository().logo(5, "l")  # type: ignore[call-arg]
    await Repository().logo.invalidate()  # type: ignore[call-arg]
    Repository().logo.key("5")  # type: ignore[arg-type]
    await Repository().change("1")  # type: ignore[call-arg]
    load_plan.key(id="1")  # type: ignore[call-arg]
    Cache(MemoryCacheStore(), on_error="ignore")  # type: ignore[arg-type]
    await write_plan(5, price=1)  # type: ignore[arg-type]
    await write_plan("a")  # type: ignore[call-arg]
    await cache.get_or_load("k", load_carriers, lock="global")  # type: ignore[arg-type]
    await cache.get_or_load("k", load_carriers, tll=5)  # type: ignore[call-arg]
    cache.cached("k", stale_for="1m")  # type: ignore[arg-type]


def stores(commands: Commands) -> None:
    near: PeekableStore = MemoryCacheStore()
    far: CacheStore = RedisCacheStore(commands)
    Cache(near)
    Cache(far)
    quick: QuickStore = RedisCacheStore(commands)
    Cache(quick)
    not_quick: QuickStore = MemoryCacheStore()  # type: ignore[assignment]
    Cache(not_quick)
    not_peekable: PeekableStore = RedisCacheStore(commands)  # type: ignore[assignment]
    Cache(not_peekable)
    tiered = TieredCacheStore(MemoryCacheStore(), RedisCacheStore(commands), near_ttl=30)
    assert_type(tiered.stats(), TierStats)
    peekable: PeekableStore = tiered
    listening: ListeningStore = tiered
    Cache(peekable)
    Cache(listening)
    TieredCacheStore(RedisCacheStore(commands), MemoryCacheStore())  # type: ignore[arg-type]
    TieredCacheStore(
        MemoryCacheStore(),
        RedisCacheStore(commands),
        invalidation="never",  # type: ignore[arg-type]
    )


def watchers(db: object, commands: Commands) -> None:
    route = Route("plan.changed", fields={"id": "_id"}, operations=["insert", "delete"])
    watcher = ChangeStreamInvalidator(
        db, cache, routes={"plans": route, "tariffs": "plan.changed"}, redis=commands
    )
    assert_type(watcher.stats(), ChangeStreamStats)
    Route("plan.changed", operations=["upsert"])  # type: ignore[list-item]
    ChangeStreamInvalidator(db, cache, routes={"plans": 5}, redis=commands)  # type: ignore[dict-item]
    ChangeStreamInvalidator(db, cache, routes={"plans": route})  # type: ignore[call-arg]
