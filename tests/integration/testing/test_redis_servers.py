import pytest

from symphonia_perf.errors import CommandError, ConfigurationError, ServerStartError
from symphonia_perf.testing.servers import (
    RedisCluster,
    RedisSentinel,
    RedisServer,
    redis_groups,
    redis_sentinel,
    redis_server,
)
from tests.integration.testing.processes import eventually


def test_the_url_is_what_a_driver_takes(redis_server: RedisServer) -> None:
    from redis import Redis

    assert redis_server.url == f"redis://{redis_server.host}:{redis_server.port}/0"
    with Redis.from_url(redis_server.url) as client:
        assert client.ping() is True
        assert client.info("server")["process_id"] == redis_server.pid


def test_it_keeps_nothing_on_disk(redis_server: RedisServer) -> None:
    redis_server.ask("SET", "k", "v")
    assert {file.name for file in redis_server.folder.iterdir()} == {"server.log"}
    assert redis_server.info("persistence")["aof_enabled"] == "0"


def test_a_password_of_the_tests_own_does_not_stop_it() -> None:
    refused = pytest.raises(CommandError, match="NOAUTH")
    with redis_server(args=("--requirepass", "secret")) as server, refused:
        server.ask("PING")


def test_the_cluster_serves_every_slot(redis_cluster: RedisCluster) -> None:
    from redis.cluster import ClusterNode, RedisCluster

    said = redis_cluster.nodes[0].ask("CLUSTER", "INFO").split()
    assert "cluster_state:ok" in said
    assert "cluster_slots_ok:16384" in said
    nodes = [ClusterNode(host, port) for host, port in redis_cluster.startup_nodes]
    with RedisCluster(startup_nodes=nodes) as client:
        for n in range(50):
            client.set(f"key-{n}", n)
        assert [int(client.get(f"key-{n}")) for n in range(50)] == list(range(50))
        client.flushall(target_nodes=RedisCluster.PRIMARIES)
    with RedisCluster.from_url(redis_cluster.url) as client:
        assert len(client.get_primaries()) == 3


def test_a_cluster_node_comes_back_on_its_ports(redis_cluster: RedisCluster) -> None:
    node = redis_cluster.nodes[2]
    port, bus = node.port, node.bus
    node.kill()
    with pytest.raises(ServerStartError, match="no cluster yet; the log of one node ends"):
        redis_cluster.wait_until_ok(timeout=0.2)
    node.start()
    redis_cluster.wait_until_ok()
    assert (node.port, node.bus) == (port, bus)


def test_sentinel_knows_the_primary(redis_sentinel: RedisSentinel) -> None:
    from redis import Sentinel

    primary = redis_sentinel.primary()
    (replica,) = redis_sentinel.replicas()
    assert {primary, replica} == set(redis_sentinel.servers)
    sentinel = Sentinel([(each.host, each.port) for each in redis_sentinel.sentinels])
    assert sentinel.discover_master(redis_sentinel.service) == (primary.host, primary.port)
    for each in sentinel.sentinels:
        each.close()


@pytest.mark.slow
def test_sentinel_fails_over() -> None:
    with redis_sentinel(sentinels=3) as group:
        assert len(group.sentinels) == 3
        lost = group.primary()
        lost.ask("SET", "k", "v")
        assert lost.ask("WAIT", "1", "5000") == "1"
        group.sentinels[0].kill()  # two of three can still agree
        lost.kill()
        promoted = group.primary()
        assert promoted is not lost
        assert promoted.ask("GET", "k") == "v"
        assert group.replicas() == [lost]
        group.sentinels[0].start()  # it has kept what it had learnt, and learns the rest
        address = f"address=127.0.0.1:{promoted.port}"
        eventually(lambda: address in group.sentinels[0].info("sentinel")["master0"], within=30)


def test_no_primary_within_the_timeout(
    redis_sentinel: RedisSentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paused(_server: RedisServer, _section: str) -> dict[str, str]:
        raise TimeoutError

    monkeypatch.setattr(RedisServer, "info", paused)
    with pytest.raises(ServerStartError, match="no primary yet; Sentinel's log ends"):
        redis_sentinel.primary(timeout=0.1)
    assert not redis_sentinel._is_complete()


def test_a_cluster_node_that_was_not_heard(
    redis_cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_server: RedisServer, *_words: str) -> str:
        raise CommandError("LOADING", code="LOADING")

    monkeypatch.setattr(redis_groups.RedisServer, "ask", refused)
    assert not redis_cluster._is_ok(redis_cluster.nodes[0])


def test_sentinels_are_at_least_one() -> None:
    expected = pytest.raises(ConfigurationError, match="sentinels=0: expected 1 or more")
    with expected, redis_sentinel(sentinels=0):
        pass


def test_a_key_that_is_not_there_is_the_empty_text(redis_server: RedisServer) -> None:
    assert redis_server.ask("GET", "a key that was never set") == ""
