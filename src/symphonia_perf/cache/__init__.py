"""A cache for async services: decorate a function, keep its results in memory or in Redis."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf._core.breaker import BreakerOptions as BreakerOptions
    from symphonia_perf._core.events import BreakerEvent as BreakerEvent
    from symphonia_perf._core.events import BypassEvent as BypassEvent
    from symphonia_perf._core.events import CacheEvent as CacheEvent
    from symphonia_perf.cache._journal import CacheStats as CacheStats
    from symphonia_perf.cache.changestream import ChangeStreamEvent as ChangeStreamEvent
    from symphonia_perf.cache.changestream import (
        ChangeStreamInvalidator as ChangeStreamInvalidator,
    )
    from symphonia_perf.cache.changestream import ChangeStreamStats as ChangeStreamStats
    from symphonia_perf.cache.changestream import Route as Route
    from symphonia_perf.cache.decorator import Cached as Cached
    from symphonia_perf.cache.entry import Entry as Entry
    from symphonia_perf.cache.keys import KeyScheme as KeyScheme
    from symphonia_perf.cache.keys import Template as Template
    from symphonia_perf.cache.lifetime import TTL as TTL
    from symphonia_perf.cache.lifetime import Lifetime as Lifetime
    from symphonia_perf.cache.manager import Cache as Cache
    from symphonia_perf.cache.memory import MemoryCacheStore as MemoryCacheStore
    from symphonia_perf.cache.options import CallOptions as CallOptions
    from symphonia_perf.cache.options import LoadOptions as LoadOptions
    from symphonia_perf.cache.redis import RedisCacheStore as RedisCacheStore
    from symphonia_perf.cache.rules import InvalidationRules as InvalidationRules
    from symphonia_perf.cache.rules import Rule as Rule
    from symphonia_perf.cache.rules import on as on
    from symphonia_perf.cache.stores import CacheStore as CacheStore
    from symphonia_perf.cache.stores import Found as Found
    from symphonia_perf.cache.stores import Lease as Lease
    from symphonia_perf.cache.stores import ListeningStore as ListeningStore
    from symphonia_perf.cache.stores import PeekableStore as PeekableStore
    from symphonia_perf.cache.stores import QuickStore as QuickStore
    from symphonia_perf.cache.tiered import TieredCacheStore as TieredCacheStore
    from symphonia_perf.cache.tiered import TierStats as TierStats
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_journal": ("BypassEvent", "CacheEvent", "CacheStats"),
            "changestream": (
                "ChangeStreamEvent",
                "ChangeStreamInvalidator",
                "ChangeStreamStats",
                "Route",
            ),
            "decorator": ("Cached",),
            "entry": ("Entry",),
            "guarded": ("BreakerEvent", "BreakerOptions"),
            "keys": ("KeyScheme", "Template"),
            "lifetime": ("TTL", "Lifetime"),
            "manager": ("Cache",),
            "memory": ("MemoryCacheStore",),
            "options": ("CallOptions", "LoadOptions"),
            "redis": ("RedisCacheStore",),
            "rules": ("InvalidationRules", "Rule", "on"),
            "stores": (
                "CacheStore",
                "Found",
                "Lease",
                "ListeningStore",
                "PeekableStore",
                "QuickStore",
            ),
            "tiered": ("TierStats", "TieredCacheStore"),
        },
    )

__all__ = [
    "TTL",
    "BreakerEvent",
    "BreakerOptions",
    "BypassEvent",
    "Cache",
    "CacheEvent",
    "CacheStats",
    "CacheStore",
    "Cached",
    "CallOptions",
    "ChangeStreamEvent",
    "ChangeStreamInvalidator",
    "ChangeStreamStats",
    "Entry",
    "Found",
    "InvalidationRules",
    "KeyScheme",
    "Lease",
    "Lifetime",
    "ListeningStore",
    "LoadOptions",
    "MemoryCacheStore",
    "PeekableStore",
    "QuickStore",
    "RedisCacheStore",
    "Route",
    "Rule",
    "Template",
    "TierStats",
    "TieredCacheStore",
    "on",
]
