"""MongoDB: connection pools, an index registry and queries, over the driver's own clients."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.mongo._budget import ConnectionBudget as ConnectionBudget
    from symphonia_perf.mongo._budget import budget as budget
    from symphonia_perf.mongo._covered import Coverage as Coverage
    from symphonia_perf.mongo._histogram import CheckoutTimes as CheckoutTimes
    from symphonia_perf.mongo.clients import create_async_client as create_async_client
    from symphonia_perf.mongo.clients import create_client as create_client
    from symphonia_perf.mongo.clients import create_motor_client as create_motor_client
    from symphonia_perf.mongo.clients import warm as warm
    from symphonia_perf.mongo.clients import warm_sync as warm_sync
    from symphonia_perf.mongo.indexes import CreateIndex as CreateIndex
    from symphonia_perf.mongo.indexes import DropIndex as DropIndex
    from symphonia_perf.mongo.indexes import ExistingIndexes as ExistingIndexes
    from symphonia_perf.mongo.indexes import HideIndex as HideIndex
    from symphonia_perf.mongo.indexes import Index as Index
    from symphonia_perf.mongo.indexes import IndexClash as IndexClash
    from symphonia_perf.mongo.indexes import IndexPlan as IndexPlan
    from symphonia_perf.mongo.indexes import IndexProgress as IndexProgress
    from symphonia_perf.mongo.indexes import IndexRegistry as IndexRegistry
    from symphonia_perf.mongo.indexes import IndexWarning as IndexWarning
    from symphonia_perf.mongo.indexes import KeptIndex as KeptIndex
    from symphonia_perf.mongo.indexes import ModifyIndex as ModifyIndex
    from symphonia_perf.mongo.indexes import RetiringIndex as RetiringIndex
    from symphonia_perf.mongo.indexes import ServedQuery as ServedQuery
    from symphonia_perf.mongo.indexes import UnmanagedIndex as UnmanagedIndex
    from symphonia_perf.mongo.indexes import UnusedIndex as UnusedIndex
    from symphonia_perf.mongo.monitoring import ConnectionBudgetEvent as ConnectionBudgetEvent
    from symphonia_perf.mongo.monitoring import PoolEvent as PoolEvent
    from symphonia_perf.mongo.monitoring import PoolMonitor as PoolMonitor
    from symphonia_perf.mongo.monitoring import PoolStats as PoolStats
    from symphonia_perf.mongo.monitoring import SlowOperationEvent as SlowOperationEvent
    from symphonia_perf.mongo.monitoring import SlowOperationListener as SlowOperationListener
    from symphonia_perf.mongo.monitoring import check_budget as check_budget
    from symphonia_perf.mongo.monitoring import check_budget_sync as check_budget_sync
    from symphonia_perf.mongo.options import PoolOptions as PoolOptions
    from symphonia_perf.mongo.pagination import DeepPageEvent as DeepPageEvent
    from symphonia_perf.mongo.pagination import Page as Page
    from symphonia_perf.mongo.query import Query as Query
    from symphonia_perf.mongo.query import raw_documents as raw_documents
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_budget": ("ConnectionBudget", "budget"),
            "_covered": ("Coverage",),
            "_histogram": ("CheckoutTimes",),
            "clients": (
                "create_async_client",
                "create_client",
                "create_motor_client",
                "warm",
                "warm_sync",
            ),
            "indexes": (
                "CreateIndex",
                "DropIndex",
                "ExistingIndexes",
                "HideIndex",
                "Index",
                "IndexClash",
                "IndexPlan",
                "IndexProgress",
                "IndexRegistry",
                "IndexWarning",
                "KeptIndex",
                "ModifyIndex",
                "RetiringIndex",
                "ServedQuery",
                "UnmanagedIndex",
                "UnusedIndex",
            ),
            "monitoring": (
                "ConnectionBudgetEvent",
                "PoolEvent",
                "PoolMonitor",
                "PoolStats",
                "SlowOperationEvent",
                "SlowOperationListener",
                "check_budget",
                "check_budget_sync",
            ),
            "options": ("PoolOptions",),
            "pagination": ("DeepPageEvent", "Page"),
            "query": ("Query", "raw_documents"),
        },
    )

__all__ = [
    "CheckoutTimes",
    "ConnectionBudget",
    "ConnectionBudgetEvent",
    "Coverage",
    "CreateIndex",
    "DeepPageEvent",
    "DropIndex",
    "ExistingIndexes",
    "HideIndex",
    "Index",
    "IndexClash",
    "IndexPlan",
    "IndexProgress",
    "IndexRegistry",
    "IndexWarning",
    "KeptIndex",
    "ModifyIndex",
    "Page",
    "PoolEvent",
    "PoolMonitor",
    "PoolOptions",
    "PoolStats",
    "Query",
    "RetiringIndex",
    "ServedQuery",
    "SlowOperationEvent",
    "SlowOperationListener",
    "UnmanagedIndex",
    "UnusedIndex",
    "budget",
    "check_budget",
    "check_budget_sync",
    "create_async_client",
    "create_client",
    "create_motor_client",
    "raw_documents",
    "warm",
    "warm_sync",
]
