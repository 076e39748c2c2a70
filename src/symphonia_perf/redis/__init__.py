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
    from symphonia_perf.redis.elected import Elected as Elected
    from symphonia_perf.redis.events import CancellationEvent as CancellationEvent
    from symphonia_perf.redis.events import ConnectionEvent as ConnectionEvent
    from symphonia_perf.redis.lease import Lease as Lease
    from symphonia_perf.redis.lease import LeaseEvent as LeaseEvent
    from symphonia_perf.redis.options import RedisOptions as RedisOptions
    from symphonia_perf.redis.pubsub import Broadcast as Broadcast
    from symphonia_perf.redis.pubsub import Listener as Listener
    from symphonia_perf.redis.pubsub import Lost as Lost
    from symphonia_perf.redis.pubsub import MemoryBroadcast as MemoryBroadcast
    from symphonia_perf.redis.pubsub import Message as Message
    from symphonia_perf.redis.pubsub import PubSub as PubSub
    from symphonia_perf.redis.pubsub import PubSubStats as PubSubStats
    from symphonia_perf.redis.tracking import Tracking as Tracking
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "adapter": ("wrap",),
            "client": ("RedisClient", "RedisStats", "connect"),
            "commands": ("Argument", "Commands", "Reply", "Script"),
            "elected": ("Elected",),
            "events": ("CancellationEvent", "ConnectionEvent"),
            "lease": ("Lease", "LeaseEvent"),
            "options": ("RedisOptions",),
            "pubsub": (
                "Broadcast",
                "Listener",
                "Lost",
                "MemoryBroadcast",
                "Message",
                "PubSub",
                "PubSubStats",
            ),
            "tracking": ("Tracking",),
        },
    )

__all__ = [
    "Argument",
    "Broadcast",
    "CancellationEvent",
    "Commands",
    "ConnectionEvent",
    "Elected",
    "Lease",
    "LeaseEvent",
    "Listener",
    "Lost",
    "MemoryBroadcast",
    "Message",
    "PubSub",
    "PubSubStats",
    "RedisClient",
    "RedisOptions",
    "RedisStats",
    "Reply",
    "Script",
    "Tracking",
    "connect",
    "wrap",
]
