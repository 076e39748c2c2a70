"""MongoDB: connection pools, an index registry and queries, over the driver's own clients."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.mongo.clients import create_async_client as create_async_client
    from symphonia_perf.mongo.clients import create_client as create_client
    from symphonia_perf.mongo.clients import create_motor_client as create_motor_client
    from symphonia_perf.mongo.clients import warm as warm
    from symphonia_perf.mongo.clients import warm_sync as warm_sync
    from symphonia_perf.mongo.indexes import CreateIndex as CreateIndex
    from symphonia_perf.mongo.indexes import ExistingIndexes as ExistingIndexes
    from symphonia_perf.mongo.indexes import Index as Index
    from symphonia_perf.mongo.indexes import IndexClash as IndexClash
    from symphonia_perf.mongo.indexes import IndexPlan as IndexPlan
    from symphonia_perf.mongo.indexes import IndexRegistry as IndexRegistry
    from symphonia_perf.mongo.indexes import IndexWarning as IndexWarning
    from symphonia_perf.mongo.indexes import KeptIndex as KeptIndex
    from symphonia_perf.mongo.indexes import UnmanagedIndex as UnmanagedIndex
    from symphonia_perf.mongo.options import PoolOptions as PoolOptions
    from symphonia_perf.mongo.query import Query as Query
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "clients": (
                "create_async_client",
                "create_client",
                "create_motor_client",
                "warm",
                "warm_sync",
            ),
            "indexes": (
                "CreateIndex",
                "ExistingIndexes",
                "Index",
                "IndexClash",
                "IndexPlan",
                "IndexRegistry",
                "IndexWarning",
                "KeptIndex",
                "UnmanagedIndex",
            ),
            "options": ("PoolOptions",),
            "query": ("Query",),
        },
    )

__all__ = [
    "CreateIndex",
    "ExistingIndexes",
    "Index",
    "IndexClash",
    "IndexPlan",
    "IndexRegistry",
    "IndexWarning",
    "KeptIndex",
    "PoolOptions",
    "Query",
    "UnmanagedIndex",
    "create_async_client",
    "create_client",
    "create_motor_client",
    "warm",
    "warm_sync",
]
