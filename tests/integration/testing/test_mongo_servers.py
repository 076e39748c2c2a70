import socket
import threading

import pytest
from pymongo import MongoClient

from symphonia_perf.errors import ConfigurationError, MongoOperationError, ServerStartError
from symphonia_perf.testing.servers import MongoReplicaSet, mongo_replica_set, process
from symphonia_perf.testing.servers.mongo import ask
from symphonia_perf.testing.servers.ports import HOST, free_port

pytestmark = pytest.mark.mongo


def test_one_node_has_transactions_and_little_on_disk(mongo_server: MongoReplicaSet) -> None:
    assert mongo_server.uri.endswith("/?replicaSet=rs0")
    (member,) = mongo_server.members
    with MongoClient(mongo_server.uri) as client:
        with client.start_session() as session, session.start_transaction():
            client.testing_servers.orders.insert_one({"_id": 1}, session=session)
        assert client.testing_servers.orders.count_documents({}) == 1
        client.drop_database("testing_servers")
    assert not (member.folder / "data" / "diagnostic.data").exists()


def test_a_members_own_uri_reaches_that_member(mongo_server: MongoReplicaSet) -> None:
    (member,) = mongo_server.members
    with MongoClient(member.uri) as client:
        assert client.admin.command("serverStatus")["pid"] == member.pid


def test_a_refused_command_keeps_its_code(mongo_server: MongoReplicaSet) -> None:
    with pytest.raises(MongoOperationError) as caught:
        mongo_server.members[0].ask({"noSuchCommand": 1})
    error = caught.value
    assert (error.code, error.code_name) == (59, "CommandNotFound")
    assert error.operation == "noSuchCommand"


def test_kill_stop_and_start_keep_port_and_data() -> None:
    with mongo_replica_set(args=("--quiet",), cache_gb=0.25) as replica_set:
        (member,) = replica_set.members
        port = member.port
        assert "cache_size=256M" in member.log.read_text()
        with MongoClient(replica_set.uri, w="majority", journal=True) as client:
            client.shop.orders.insert_one({"_id": 1})
        for end in (member.kill, member.stop):
            end()
            member.start()
            assert member.port == port
            assert replica_set.primary() is member
            with MongoClient(replica_set.uri) as client:
                assert client.shop.orders.find_one() == {"_id": 1}


@pytest.mark.slow
def test_three_nodes_elect_again_when_the_primary_is_killed(
    mongo_replica_set_of_three: MongoReplicaSet,
) -> None:
    replica_set = mongo_replica_set_of_three
    lost = replica_set.primary()
    with MongoClient(replica_set.uri, w="majority") as client:
        client.testing_servers.orders.insert_one({"_id": 1})
        lost.kill()
        elected = replica_set.primary()
        assert elected is not lost
        assert client.testing_servers.orders.find_one() == {"_id": 1}
        lost.start()
        replica_set.wait_until_complete()
        assert replica_set.primary() is elected
        client.drop_database("testing_servers")


@pytest.mark.slow
def test_a_primary_back_from_a_pause_does_not_count(
    mongo_replica_set_of_three: MongoReplicaSet,
) -> None:
    replica_set = mongo_replica_set_of_three
    paused = replica_set.primary()
    paused.pause()
    elected = replica_set.primary()
    assert elected is not paused
    paused.resume()
    assert replica_set.primary() is elected
    replica_set.wait_until_complete()


def test_no_primary_within_the_timeout(mongo_server: MongoReplicaSet) -> None:
    (member,) = mongo_server.members
    member.pause()
    try:
        with pytest.raises(
            ServerStartError,
            match=r"no primary yet \(mongod-0 on port \d+ runs\); a member's log ends",
        ):
            mongo_server.primary(timeout=0.1)
    finally:
        member.resume()
    assert mongo_server.primary() is member


def test_a_port_taken_meanwhile_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as taken:
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr(process, "free_port", lambda: next(ports))
        with mongo_replica_set() as replica_set:
            (member,) = replica_set.members
            assert member.port != taken.getsockname()[1]
            assert replica_set.primary() is member


@pytest.mark.parametrize("members", [0, 2, 4])
def test_one_or_three_members(members: int) -> None:
    expected = pytest.raises(ConfigurationError, match=f"members={members}: expected 1 or 3")
    with expected, mongo_replica_set(members=members):
        pass


@pytest.mark.parametrize("sent", [b"", b"\x30\x00\x00\x00" + b"\x00" * 20])
def test_a_reply_cut_off_is_a_connection_error(sent: bytes) -> None:
    with socket.create_server((HOST, 0)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(4096)
                link.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConnectionError, match="closed the connection"):
            ask(listener.getsockname()[1], {"hello": 1})
        thread.join()
