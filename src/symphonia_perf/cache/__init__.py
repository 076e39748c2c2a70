"""A cache for async services: decorate a function, keep its results in memory or in Redis."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.cache.decorator import Cached as Cached
    from symphonia_perf.cache.entry import Entry as Entry
    from symphonia_perf.cache.guarded import CacheStats as CacheStats
    from symphonia_perf.cache.keys import KeyScheme as KeyScheme
    from symphonia_perf.cache.keys import Template as Template
    from symphonia_perf.cache.manager import Cache as Cache
    from symphonia_perf.cache.memory import MemoryCacheStore as MemoryCacheStore
    from symphonia_perf.cache.redis import RedisCacheStore as RedisCacheStore
    from symphonia_perf.cache.stores import CacheStore as CacheStore
    from symphonia_perf.cache.stores import Found as Found
    from symphonia_perf.cache.stores import PeekableStore as PeekableStore
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "decorator": ("Cached",),
            "entry": ("Entry",),
            "guarded": ("CacheStats",),
            "keys": ("KeyScheme", "Template"),
            "manager": ("Cache",),
            "memory": ("MemoryCacheStore",),
            "redis": ("RedisCacheStore",),
            "stores": ("CacheStore", "Found", "PeekableStore"),
        },
    )

__all__ = [
    "Cache",
    "CacheStats",
    "CacheStore",
    "Cached",
    "Entry",
    "Found",
    "KeyScheme",
    "MemoryCacheStore",
    "PeekableStore",
    "RedisCacheStore",
    "Template",
]
