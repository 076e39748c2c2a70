"""Redis and Valkey: one role for all stores, over our own connection or a client you have."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.redis.adapter import wrap as wrap
    from symphonia_perf.redis.client import RedisClient as RedisClient
    from symphonia_perf.redis.client import RedisStats as RedisStats
    from symphonia_perf.redis.client import connect as connect
    from symphonia_perf.redis.commands import Argument as Argument
    from symphonia_perf.redis.commands import Commands as Commands
    from symphonia_perf.redis.commands import Reply as Reply
    from symphonia_perf.redis.commands import Script as Script
    from symphonia_perf.redis.events import ConnectionEvent as ConnectionEvent
    from symphonia_perf.redis.options import RedisOptions as RedisOptions
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "adapter": ("wrap",),
            "client": ("RedisClient", "RedisStats", "connect"),
            "commands": ("Argument", "Commands", "Reply", "Script"),
            "events": ("ConnectionEvent",),
            "options": ("RedisOptions",),
        },
    )

__all__ = [
    "Argument",
    "Commands",
    "ConnectionEvent",
    "RedisClient",
    "RedisOptions",
    "RedisStats",
    "Reply",
    "Script",
    "connect",
    "wrap",
]
