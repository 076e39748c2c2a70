"""Real Valkey, Redis and MongoDB servers for tests, on free loopback ports in temporary folders.

Each context manager returns when its servers answer. They are gone when its block ends, and also
when the test process ends in any other way, `kill -9` included.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.testing.servers.mongo import MongoMember as MongoMember
    from symphonia_perf.testing.servers.mongo import MongoReplicaSet as MongoReplicaSet
    from symphonia_perf.testing.servers.mongo import mongo_replica_set as mongo_replica_set
    from symphonia_perf.testing.servers.redis import RedisServer as RedisServer
    from symphonia_perf.testing.servers.redis import redis_server as redis_server
    from symphonia_perf.testing.servers.redis_groups import RedisCluster as RedisCluster
    from symphonia_perf.testing.servers.redis_groups import RedisSentinel as RedisSentinel
    from symphonia_perf.testing.servers.redis_groups import redis_cluster as redis_cluster
    from symphonia_perf.testing.servers.redis_groups import redis_sentinel as redis_sentinel
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "mongo": ("MongoMember", "MongoReplicaSet", "mongo_replica_set"),
            "redis": ("RedisServer", "redis_server"),
            "redis_groups": ("RedisCluster", "RedisSentinel", "redis_cluster", "redis_sentinel"),
        },
    )

__all__ = [
    "MongoMember",
    "MongoReplicaSet",
    "RedisCluster",
    "RedisSentinel",
    "RedisServer",
    "mongo_replica_set",
    "redis_cluster",
    "redis_sentinel",
    "redis_server",
]
