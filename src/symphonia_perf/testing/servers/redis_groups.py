"""Valkey or Redis servers that belong together: a cluster, and a primary under Sentinel."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from symphonia_perf.errors import CommandError, ConfigurationError
from symphonia_perf.testing.servers.binaries import find_redis
from symphonia_perf.testing.servers.ports import HOST, free_port
from symphonia_perf.testing.servers.process import serving, wait_for
from symphonia_perf.testing.servers.redis import RedisServer
from symphonia_perf.typing import Seconds

__all__ = ["RedisCluster", "RedisSentinel", "redis_cluster", "redis_sentinel"]

SLOTS = 16_384


class _Node(RedisServer):
    """A cluster node; its bus port is a free one too, not simply the client port plus 10 000."""

    bus = 0

    def _command(self) -> Sequence[str]:
        if not self._settled:
            self.bus = free_port()
        return [
            *super()._command(),
            *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
            *("--cluster-port", str(self.bus), "--cluster-announce-ip", HOST),
            *("--cluster-node-timeout", "1000"),
        ]


class RedisCluster:
    """Three primaries that share the 16 384 slots; a killed node's slots are down until it starts.

    ```python
    from symphonia_perf.testing.servers import redis_cluster

    def test_all_slots_are_served() -> None:
        with redis_cluster() as cluster:
            assert "cluster_state:ok" in cluster.nodes[0].ask("CLUSTER", "INFO")
    ```
    """

    def __init__(self, nodes: Sequence[RedisServer]) -> None:
        self.nodes = tuple(nodes)

    @property
    def url(self) -> str:
        """The first node; clients learn of the others from it."""
        return self.nodes[0].url

    @property
    def startup_nodes(self) -> list[tuple[str, int]]:
        """Host and port of every node."""
        return [(HOST, node.port) for node in self.nodes]

    def wait_until_ok(self, *, timeout: Seconds = 30.0) -> None:
        """Return when every node sees all nodes and all slots, as after `start()` of one.

        Raises:
            ServerStartError: not so within `timeout` seconds.
        """
        wait_for(
            lambda: all(map(self._is_ok, self.nodes)),
            timeout=timeout,
            otherwise=lambda: f"no cluster yet; the log of one node ends:\n{self.nodes[0].tail()}",
        )

    def _is_ok(self, node: RedisServer) -> bool:
        try:
            said = set(node.ask("CLUSTER", "INFO").split())
        except (OSError, CommandError):
            return False
        return {
            "cluster_state:ok",
            f"cluster_slots_ok:{SLOTS}",
            f"cluster_known_nodes:{len(self.nodes)}",
        } <= said


@contextmanager
def redis_cluster(*, args: Sequence[str] = (), timeout: Seconds = 30.0) -> Iterator[RedisCluster]:
    """A cluster of three primaries that serves every slot, until the block ends.

    Args:
        args: further command line options of each node.
        timeout: seconds it may take to answer, and again to agree.

    Raises:
        ServerNotFound: no binary is installed.
        ServerStartError: a node ended, or they did not answer or agree in time.
    """
    nodes = [_Node(args=args, name=f"node-{n}", timeout=timeout) for n in range(3)]
    with serving(*nodes):
        for n, node in enumerate(nodes):
            first, last = SLOTS * n // 3, SLOTS * (n + 1) // 3 - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            # Different epochs from the start, else the nodes first have to settle who has which.
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(n + 1))
            if node is not nodes[0]:
                nodes[0].ask("CLUSTER", "MEET", HOST, str(node.port), str(node.bus))
        cluster = RedisCluster(nodes)
        cluster.wait_until_ok(timeout=timeout)
        yield cluster


class _Sentinel(RedisServer):
    """A Sentinel process; it keeps what it learns in its configuration file."""

    def __init__(
        self, *, service: str, watched: RedisServer, quorum: int, name: str, timeout: Seconds
    ) -> None:
        super().__init__(name=name, timeout=timeout)
        self._monitor = f"{service} {HOST} {watched.port} {quorum}"
        self._service = service

    def _command(self) -> Sequence[str]:
        config = self.folder / "sentinel.conf"
        if not self._settled:
            config.write_text(
                f"port {self.port}\n"
                f"bind {HOST}\n"
                f"dir {self.folder}\n"
                f"sentinel monitor {self._monitor}\n"
                f"sentinel down-after-milliseconds {self._service} 1000\n"
                f"sentinel failover-timeout {self._service} 1000\n"
            )
        return [str(find_redis()), str(config), "--sentinel"]


class RedisSentinel:
    """A primary and a replica, watched by Sentinel processes that fail over after a second.

    Attributes:
        service: the name under which clients ask Sentinel for the primary.
        servers: the two servers; which one is primary changes.
        sentinels: the Sentinel processes.

    ```python
    from symphonia_perf.testing.servers import redis_sentinel

    def test_fails_over() -> None:
        with redis_sentinel() as group:
            lost = group.primary()
            lost.kill()
            assert group.primary() is not lost       # waits for the failover
    ```
    """

    service = "primary"

    def __init__(self, *, servers: Sequence[RedisServer], sentinels: Sequence[RedisServer]) -> None:
        self.servers = tuple(servers)
        self.sentinels = tuple(sentinels)

    def primary(self, *, timeout: Seconds = 30.0) -> RedisServer:
        """The server that takes writes and that the Sentinels name; waits for it while they vote.

        Raises:
            ServerStartError: none within `timeout` seconds.
        """
        return wait_for(
            lambda: next(filter(self._is_primary, self.servers), None),
            timeout=timeout,
            otherwise=lambda: f"no primary yet; Sentinel's log ends:\n{self.sentinels[0].tail()}",
        )

    def replicas(self) -> list[RedisServer]:
        """The servers that are not `primary()`, running or not."""
        primary = self.primary()
        return [server for server in self.servers if server is not primary]

    def _is_primary(self, server: RedisServer) -> bool:
        named = f"address={HOST}:{server.port}"
        try:
            return server.info("replication")["role"] == "master" and any(
                named in sentinel.info("sentinel")["master0"].split(",")
                for sentinel in self.sentinels
                if sentinel.running
            )
        except OSError:
            return False

    def _is_complete(self) -> bool:
        """Whether every Sentinel knows the others, and knows of a replica that it may promote."""
        others = f",sentinels={len(self.sentinels)}"
        try:
            return all(
                sentinel.info("sentinel")["master0"].endswith(others)
                # A replica that was found but not yet asked counts as unfit.
                and "master-link-status\nok\n" in sentinel.ask("SENTINEL", "REPLICAS", self.service)
                for sentinel in self.sentinels
            )
        except OSError:
            return False


@contextmanager
def redis_sentinel(
    *, sentinels: int = 1, args: Sequence[str] = (), timeout: Seconds = 30.0
) -> Iterator[RedisSentinel]:
    """A primary with a replica under Sentinel, ready to fail over, until the block ends.

    Args:
        sentinels: how many Sentinel processes; more than half of them must agree on a failover.
        args: further command line options of the two servers.
        timeout: seconds the servers may take to answer, and again to know each other.

    Raises:
        ConfigurationError: fewer than one Sentinel.
        ServerNotFound: no binary is installed.
        ServerStartError: a server ended, or they did not answer or agree in time.
    """
    if sentinels < 1:
        raise ConfigurationError(f"sentinels={sentinels!r}: expected 1 or more")
    first = RedisServer(args=args, name="server-0", timeout=timeout)
    with serving(first):
        follow = ("--replicaof", f"{HOST} {first.port}")
        second = RedisServer(args=(*args, *follow), name="server-1", timeout=timeout)
        watchers = [
            _Sentinel(
                service=RedisSentinel.service,
                watched=first,
                quorum=sentinels // 2 + 1,
                name=f"sentinel-{n}",
                timeout=timeout,
            )
            for n in range(sentinels)
        ]
        with serving(second, *watchers):
            group = RedisSentinel(servers=[first, second], sentinels=watchers)
            wait_for(
                group._is_complete,  # noqa: SLF001 - its own factory
                timeout=timeout,
                otherwise=lambda: f"not complete; Sentinel's log ends:\n{watchers[0].tail()}",
            )
            yield group
