"""Where a redis-py client connects to, so that another connection may be made beside its own."""

from typing import Any, Self

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis.options import RedisOptions

__all__ = ["DriverOptions"]

_INSTEAD = "publish what was changed and listen by pubsub() instead"
# What redis-py keeps of a URL, or of its client's arguments, about the server; TLS is beside it.
_KEPT = frozenset({"host", "port", "path", "db", "username", "password", "client_name"})
_KINDS = frozenset({Connection, SSLConnection, UnixDomainSocketConnection})
# What a client of redis-py does before it uses a connection, and nobody else can do for it.
_OWN_WAYS = ("credential_provider", "redis_connect_func")


class DriverOptions(RedisOptions):
    """`RedisOptions` that say what a client of redis-py was told, TLS and credentials included.

    The protocol is not among them: the other connection speaks the one that it needs.
    """

    @classmethod
    def of(cls, client: Redis | RedisCluster, *, deadline: float) -> Self:
        """The options by which `tracking()` connects where this client does.

        Args:
            client: is looked at, and not used.
            deadline: seconds for each command.

        Raises:
            ConfigurationError: a client that cannot be followed: a cluster's, Sentinel's, fakeredis
                or another with connections of its own making.
        """
        if isinstance(client, RedisCluster):
            raise ConfigurationError(
                "tracking() over a RedisCluster: each of its nodes tells of its own keys only; "
                f"wrap() a redis.asyncio.Redis for one of them, {_INSTEAD}"
            )
        pool = client.connection_pool
        kind, told = pool.connection_class, pool.connection_kwargs
        if kind not in _KINDS:
            raise ConfigurationError(
                f"tracking() over connections of {kind.__module__}.{kind.__qualname__}: it makes "
                f"one of its own, and cannot make that kind; {_INSTEAD}"
            )
        for option in _OWN_WAYS:
            if told.get(option) is not None:
                raise ConfigurationError(
                    f"tracking() over a client with {option}=: it makes a connection of its own, "
                    f"and cannot prepare it in that way; take connect(url).tracking(...), or "
                    f"{_INSTEAD}"
                )
        return cls._following(kind, told, deadline=deadline)

    @classmethod
    def _following(cls, kind: type, told: dict[str, Any], *, deadline: float) -> Self:
        patience = told.get("socket_connect_timeout")
        options = cls(deadline=deadline, **({"connect_timeout": patience} if patience else {}))
        # What is empty redis-py does not say, so it is not said here. Of TLS, False is an answer.
        parsed = {name: told[name] for name in _KEPT & told.keys() if told[name]}
        if kind is SSLConnection:
            parsed["connection_class"] = SSLConnection
            parsed |= {
                name: value
                for name, value in told.items()
                if name.startswith("ssl_") and value is not None
            }
        object.__setattr__(options, "_parsed", parsed)
        return options
