"""Whether a fleet's pools fit into what a MongoDB server accepts."""

from dataclasses import dataclass
from typing import Literal

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._domains import Integer
from symphonia_perf.mongo.options import PoolOptions

__all__ = ["ConnectionBudget", "budget", "budget_of_size"]

# Of each client and server: one waits for news, one measures the round trip.
# https://github.com/mongodb/specifications/blob/master/source/server-discovery-and-monitoring/server-monitoring.md
MONITORING = 2
# Four fifths: the members themselves, backups, shells and the old processes of a rolling deploy
# connect too.
COMFORTABLE = 0.8
_AT_LEAST_ONE = Integer(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionBudget:
    """What a fleet may open on one server, against what that server accepts.

    `str()` of it is one sentence for a log.
    """

    processes: int
    max_size: int  # of each process' pool for a server
    servers: int
    limit: int  # connections that one server accepts

    @property
    def per_server(self) -> int:
        """Connections that the fleet may open on each server."""
        return self.processes * (self.max_size + MONITORING)

    @property
    def total(self) -> int:
        """Connections that the fleet may open on all servers together."""
        return self.per_server * self.servers

    @property
    def per_process(self) -> int:
        """Connections, and so file descriptors, that one process may open."""
        return (self.max_size + MONITORING) * self.servers

    @property
    def headroom(self) -> int:
        """Connections that each server has left for others; negative where the fleet exceeds it."""
        return self.limit - self.per_server

    @property
    def verdict(self) -> Literal["fits", "tight", "exceeds"]:
        """`fits` up to 80 % of the limit, `tight` up to all of it, then `exceeds`."""
        if self.per_server > self.limit:
            return "exceeds"
        return "tight" if self.per_server > self.limit * COMFORTABLE else "fits"

    @property
    def suggested_max_size(self) -> int | None:
        """The present `max_size` or the largest smaller one that fits; None where none does."""
        largest = int(self.limit * COMFORTABLE) // self.processes - MONITORING
        return min(self.max_size, largest) if largest > 0 else None

    def __str__(self) -> str:
        said = (
            f"{self.processes} processes with max_size={self.max_size} may open {self.per_server} "
            f"connections on each server, which accepts {self.limit}"
        )
        if self.verdict == "fits":
            return said
        if self.suggested_max_size is None:
            return f"{said}; run fewer processes or raise the server's limit"
        return f"{said}; max_size={self.suggested_max_size} leaves a fifth for others"


def budget(
    processes: int, max_connections: int, options: PoolOptions, *, servers: int = 1
) -> ConnectionBudget:
    """What a fleet may open at most, against what each server accepts.

    Each process opens up to `max_size` connections to every server it uses, and two more that watch
    it. Count processes, not hosts, and those of a rolling deploy twice: old and new overlap.

    ```python
    from symphonia_perf.mongo import PoolOptions, budget

    found = budget(40, 1500, PoolOptions(max_size=50))     # Atlas M10: 1,500 for each node
    assert (found.verdict, found.headroom) == ("exceeds", -580)
    assert found.suggested_max_size == 28
    assert budget(40, 1500, PoolOptions(max_size=28)).verdict == "fits"
    ```

    Args:
        processes: of all hosts together; a worker of uvicorn or gunicorn is one.
        max_connections: what one server accepts: `maxIncomingConnections` (on Linux also 80 % of
            its limit of open files, if that is less), or the limit of an Atlas tier.
        options: of every process.
        servers: members of the set, or mongos processes.

    Raises:
        ConfigurationError: a number is not a whole number of at least 1, or `options` are not
            PoolOptions.
    """
    if not isinstance(options, PoolOptions):
        raise ConfigurationError(  # not the value: a URI has a password
            f"options: expected PoolOptions, not {type(options).__name__}"
        )
    return budget_of_size(processes, max_connections, options.max_size, servers=servers)


def budget_of_size(processes: int, limit: int, max_size: int, *, servers: int) -> ConnectionBudget:
    """The same for a pool of this size."""
    return ConnectionBudget(
        processes=_AT_LEAST_ONE.check(processes, "processes"),
        max_size=max_size,
        servers=_AT_LEAST_ONE.check(servers, "servers"),
        limit=_AT_LEAST_ONE.check(limit, "max_connections"),
    )
