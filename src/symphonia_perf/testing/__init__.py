"""What a service's tests need: real servers that start in a second and never stay behind.

The pytest fixtures live in `symphonia_perf.testing.fixtures`, apart from this table of contents,
because only pytest should load pytest:

```python
pytest_plugins = ["symphonia_perf.testing.fixtures"]
```
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.testing.mongo_fake import RecordedCall as RecordedCall
    from symphonia_perf.testing.mongo_fake import RecordingCollection as RecordingCollection
    from symphonia_perf.testing.servers import MongoMember as MongoMember
    from symphonia_perf.testing.servers import MongoReplicaSet as MongoReplicaSet
    from symphonia_perf.testing.servers import RedisCluster as RedisCluster
    from symphonia_perf.testing.servers import RedisSentinel as RedisSentinel
    from symphonia_perf.testing.servers import RedisServer as RedisServer
    from symphonia_perf.testing.servers import mongo_replica_set as mongo_replica_set
    from symphonia_perf.testing.servers import redis_cluster as redis_cluster
    from symphonia_perf.testing.servers import redis_sentinel as redis_sentinel
    from symphonia_perf.testing.servers import redis_server as redis_server
else:
    from symphonia_perf._core.lazy import lazy_exports

    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "mongo_fake": ("RecordedCall", "RecordingCollection"),
            "servers": (
                "MongoMember",
                "MongoReplicaSet",
                "RedisCluster",
                "RedisSentinel",
                "RedisServer",
                "mongo_replica_set",
                "redis_cluster",
                "redis_sentinel",
                "redis_server",
            ),
        },
    )

__all__ = [
    "MongoMember",
    "MongoReplicaSet",
    "RecordedCall",
    "RecordingCollection",
    "RedisCluster",
    "RedisSentinel",
    "RedisServer",
    "mongo_replica_set",
    "redis_cluster",
    "redis_sentinel",
    "redis_server",
]
