"""What goes wrong while indexes are built: time, networks, other processes, documents, rights."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from symphonia_perf.errors import IndexConflict, MongoOperationError
from symphonia_perf.mongo import Index, IndexProgress, IndexRegistry
from symphonia_perf.testing.servers import MongoReplicaSet, mongo_replica_set
from tests.integration.mongo.loopback import Proxy
from tests.integration.mongo.standalone import standalone_with_users

pytestmark = pytest.mark.mongo

NAME = "symphonia_test_index_faults"
ROOT = Path(__file__).parents[3]
PROCESSES = 10

DEPLOY = """
import sys
from pymongo import MongoClient
from tests.integration.mongo.deployment import indexes
print("ready", flush=True)
sys.stdin.readline()  # all at once
with MongoClient(sys.argv[1]) as client:
    indexes.plan_sync(client[sys.argv[2]]).apply_sync(client[sys.argv[2]])
"""


def registry_of(*indexes: Index) -> IndexRegistry:
    registry = IndexRegistry()
    registry.add("c", *indexes)
    return registry


def wait_until(look: Callable[[], object], *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def slow_server() -> Iterator[MongoReplicaSet]:
    """A server whose index builds can be held up."""
    with mongo_replica_set(args=["--setParameter", "enableTestCommands=1"]) as replica_set:
        yield replica_set


@pytest.fixture
def db(slow_server: MongoReplicaSet) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](slow_server.uri) as client:
        client.drop_database(NAME)
        client[NAME]["c"].insert_many([{"a": n, "b": n} for n in range(1000)])
        yield client[NAME]
        client.drop_database(NAME)


@contextmanager
def builds_held_up(db: Database[Any]) -> Iterator[Callable[[], None]]:
    """Index builds hang after their scan, until the block ends or the function is called."""

    def tell(mode: str) -> None:
        db.client.admin.command("configureFailPoint", "hangAfterStartingIndexBuild", mode=mode)

    tell("alwaysOn")
    try:
        yield lambda: tell("off")
    finally:
        tell("off")


def is_building(db: Database[Any]) -> bool:
    answer = db.command("listIndexes", "c", includeBuildUUIDs=True)
    return any("buildUUID" in line for line in answer["cursor"]["firstBatch"])


async def test_a_build_outlives_the_socket_timeout(
    db: Database[Any], slow_server: MongoReplicaSet
) -> None:
    registry = registry_of(Index("a"), Index("b"))
    seen: list[IndexProgress] = []
    async with AsyncMongoClient[Any](slow_server.uri, socketTimeoutMS=700) as client:
        with builds_held_up(db) as release:
            plan = await registry.plan(client[NAME])
            task = asyncio.create_task(plan.apply(client[NAME], progress=seen.append))
            await asyncio.sleep(2.0)  # the subject: longer than two socket timeouts
            assert not task.done()
            release()
            await asyncio.wait_for(task, 20)
        assert (await registry.plan(client[NAME])).is_empty
    assert {item.indexes for item in seen} == {("a_1", "b_1")}
    assert {item.collection for item in seen} == {"c"}
    assert seen[-1].phase == "scanning collection"
    assert (seen[-1].done, seen[-1].total, seen[-1].fraction) == (1000, 1000, 1.0)


def test_a_build_outlives_the_clients_own_limit_sync(
    db: Database[Any], slow_server: MongoReplicaSet
) -> None:
    # Under `timeoutMS` alone the server would be told to give up: code 50.
    registry = registry_of(Index("a"))
    seen: list[IndexProgress] = []
    with (
        MongoClient[Any](slow_server.uri, timeoutMS=700) as client,
        builds_held_up(db) as release,
    ):
        plan = registry.plan_sync(client[NAME])
        timer = threading.Timer(1.5, release)
        timer.start()
        plan.apply_sync(client[NAME], progress=seen.append)
        timer.join()
        assert registry.plan_sync(client[NAME]).is_empty
    assert seen


async def test_a_cancelled_deploy_leaves_its_build_to_the_server(
    db: Database[dict[str, Any]], slow_server: MongoReplicaSet
) -> None:
    registry = registry_of(Index("a"))
    async with AsyncMongoClient[Any](slow_server.uri) as client:
        with builds_held_up(db) as release:
            plan = await registry.plan(client[NAME])
            seen: list[IndexProgress] = []
            task = asyncio.create_task(plan.apply(client[NAME], progress=seen.append))
            await asyncio.to_thread(wait_until, lambda: is_building(db))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            release()
            await (await registry.plan(client[NAME])).apply(client[NAME])
        assert (await registry.plan(client[NAME])).is_empty


WATCHED = """
import sys
from pymongo import MongoClient
from symphonia_perf.mongo import Index, IndexRegistry
registry = IndexRegistry()
registry.add("c", Index("a"))
with MongoClient(sys.argv[1]) as client:
    plan = registry.plan_sync(client[sys.argv[2]])
    plan.apply_sync(client[sys.argv[2]], progress=lambda seen: print("seen", flush=True))
"""


def test_ctrl_c_does_not_wait_for_a_build_that_is_watched(
    db: Database[Any], slow_server: MongoReplicaSet
) -> None:
    with builds_held_up(db):
        process = subprocess.Popen(
            [sys.executable, "-c", WATCHED, slow_server.uri, NAME],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "seen\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
        assert said.strip().endswith("KeyboardInterrupt")
        assert is_building(db)
    registry = registry_of(Index("a"))
    registry.plan_sync(db).apply_sync(db)
    assert registry.plan_sync(db).is_empty


def test_a_progress_that_fails_ends_the_waiting(
    db: Database[Any], slow_server: MongoReplicaSet
) -> None:
    def broken(_: IndexProgress) -> None:
        raise ZeroDivisionError

    with MongoClient[Any](slow_server.uri) as client, builds_held_up(db):
        plan = registry_of(Index("a")).plan_sync(client[NAME])
        with pytest.raises(ZeroDivisionError):
            plan.apply_sync(client[NAME], progress=broken)


def test_waiting_has_an_end_where_one_is_asked_for(
    db: Database[Any], slow_server: MongoReplicaSet
) -> None:
    registry = registry_of(Index("a"))
    with (
        MongoClient[Any](slow_server.uri, socketTimeoutMS=300) as client,
        builds_held_up(db) as release,
    ):
        plan = registry.plan_sync(client[NAME])
        with pytest.raises(MongoOperationError, match=r"not done within 0.5 s; what has begun"):
            plan.apply_sync(client[NAME], timeout=0.5)
        # It is listed by now, but it is not there yet: the plan says so, and applying waits.
        waiting = registry.plan_sync(client[NAME])
        assert waiting.describe().splitlines()[0] == "+ c: a_1 {a: 1} (being built)"
        release()
        waiting.apply_sync(client[NAME])
        assert registry.plan_sync(client[NAME]).is_empty


def test_another_process_builds_meanwhile(db: Database[Any], slow_server: MongoReplicaSet) -> None:
    db["c"].create_index("b")
    with builds_held_up(db) as release, MongoClient[Any](slow_server.uri) as other:
        theirs = threading.Thread(target=lambda: other[NAME]["c"].create_index("a", name="n"))
        theirs.start()
        wait_until(lambda: is_building(db))
        # The very index: we wait for it. Another one of that name: a conflict, at once.
        assert registry_of(Index("a", name="n")).plan_sync(db).changes
        with pytest.raises(IndexConflict, match=r"n exists with key \{a: 1\}"):
            registry_of(Index("x", name="n")).plan_sync(db).apply_sync(db, allow_gap=True)
        # A change in place has to wait until the collection is free (12587).
        modify = registry_of(Index("b", hidden=True)).plan_sync(db)
        with pytest.raises(MongoOperationError, match="not done within"):
            modify.apply_sync(db, timeout=0.1)
        threading.Timer(0.5, release).start()
        modify.apply_sync(db)
        theirs.join()
    assert registry_of(Index("a", name="n"), Index("b", hidden=True)).plan_sync(db).is_empty


def test_the_network_is_lost_in_the_middle_and_a_rerun_finishes(
    db: Database[Any], slow_server: MongoReplicaSet
) -> None:
    registry = registry_of(Index("a"), Index("b"))
    (member,) = slow_server.members
    with Proxy(member.port) as proxy, builds_held_up(db) as release:
        address = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
        with MongoClient[Any](address, serverSelectionTimeoutMS=500) as client:
            plan = registry.plan_sync(client[NAME])
            failure: list[MongoOperationError] = []

            def deploy() -> None:
                try:
                    plan.apply_sync(client[NAME])
                except MongoOperationError as error:
                    failure.append(error)

            thread = threading.Thread(target=deploy)
            thread.start()
            wait_until(lambda: is_building(db))
            proxy.close()
            thread.join()
        assert "to apply again finishes what was begun" in str(failure[0])
        assert failure[0].operation == "createIndexes c"
        release()
        registry.plan_sync(db).apply_sync(db)
    assert registry.plan_sync(db).is_empty


def test_a_broken_connection_alone_is_no_failure(
    db: Database[Any], slow_server: MongoReplicaSet
) -> None:
    registry = registry_of(Index("a"))
    (member,) = slow_server.members
    with Proxy(member.port) as proxy, builds_held_up(db) as release:
        address = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
        with MongoClient[Any](address) as client:
            plan = registry.plan_sync(client[NAME])
            thread = threading.Thread(target=plan.apply_sync, args=(client[NAME],))
            thread.start()
            wait_until(lambda: is_building(db))
            proxy.break_connections()
            release()
            thread.join()
    assert registry.plan_sync(db).is_empty


def test_ten_processes_deploy_at_once(db: Database[Any], slow_server: MongoReplicaSet) -> None:
    from tests.integration.mongo.deployment import indexes

    db["orders"].create_index("at", expireAfterSeconds=60)
    db["orders"].create_index("code")
    db["orders"].create_index("old")
    db["orders"].insert_many([{"code": n, "a": n, "b": n, "old": n} for n in range(20_000)])
    deploy(DEPLOY, slow_server.uri)
    plan = indexes.plan_sync(db)
    assert plan.is_empty, plan.describe()
    assert len(plan.kept) == sum(map(len, indexes.declared.values()))
    assert [item.specification["name"] for item in plan.retiring] == ["old_1"]


GAP = """
import sys
from pymongo import MongoClient
from symphonia_perf.mongo import Index, IndexRegistry
registry = IndexRegistry()
registry.add("c", Index("a", name="n", sparse=True), Index("b", name="m", unique=True))
registry.retire("c", "old", observe=0)
print("ready", flush=True)
sys.stdin.readline()  # all at once
with MongoClient(sys.argv[1]) as client:
    plan = registry.plan_sync(client[sys.argv[2]])
    plan.apply_sync(client[sys.argv[2]], allow_gap=True, drop=True)
"""


def test_ten_processes_rebuild_at_once(db: Database[Any], slow_server: MongoReplicaSet) -> None:
    db["c"].create_index("a", name="n")
    db["c"].create_index("z", name="m")
    db["c"].create_index("y", name="old")
    deploy(GAP, slow_server.uri)
    information = db["c"].index_information()
    assert (information["n"]["sparse"], information["m"]["unique"]) == (True, True)


def deploy(source: str, uri: str) -> None:
    """Run ten processes, let them go together, and see each of them succeed."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", source, uri, NAME],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(PROCESSES)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=90)[1] for process in running]
    assert [process.returncode for process in running] == [0] * PROCESSES, "\n".join(said)


def test_documents_with_equal_values_are_named(db: Database[Any]) -> None:
    db["c"].insert_many([{"_id": n, "k": {"x": n // 4}, "on": n > 1} for n in range(1, 8)])
    registry = registry_of(Index("k.x", unique=True, partial={"on": True}))
    with pytest.raises(MongoOperationError) as caught:
        registry.plan_sync(db).apply_sync(db)
    assert caught.value.code == 11000
    assert "the same value is in the documents with _id 2, 3" in str(caught.value)


@pytest.mark.parametrize("inherited", [False, True])
def test_documents_with_equal_values_are_named_under_a_collation(
    db: Database[Any], *, inherited: bool
) -> None:
    collation = {"locale": "en", "strength": 2}
    db.drop_collection("c")
    db.create_collection("c", collation=collation if inherited else None)
    db["c"].insert_many([{"_id": n, "k": text} for n, text in enumerate(["a", "b", "B", "c"])])
    registry = registry_of(Index("k", unique=True, collation=None if inherited else collation))
    with pytest.raises(MongoOperationError, match=r"documents with _id 1, 2$") as caught:
        registry.plan_sync(db).apply_sync(db)
    assert caught.value.code == 11000


def test_duplicates_among_the_documents_of_a_sparse_index_are_named(db: Database[Any]) -> None:
    db["c"].insert_many([{"_id": 1}, {"_id": 2, "k": "x"}, {"_id": 3, "k": "x"}, {"_id": 4}])
    with pytest.raises(MongoOperationError, match=r"documents with _id 2, 3$"):
        registry_of(Index("k", unique=True, sparse=True)).plan_sync(db).apply_sync(db)


def test_parallel_arrays_are_explained(db: Database[Any]) -> None:
    db["c"].insert_one({"x": [1, 2], "y": [3, 4]})
    with pytest.raises(MongoOperationError, match="one index can hold only one") as caught:
        registry_of(Index("x", "y")).plan_sync(db).apply_sync(db)
    assert (caught.value.code, caught.value.code_name) == (171, "CannotIndexParallelArrays")


def test_two_text_indexes_and_a_collation_of_the_collection(db: Database[Any]) -> None:
    db.create_collection("t", collation={"locale": "fr", "strength": 1})
    db["t"].create_index([("x", "text")], name="first", collation={"locale": "simple"})
    registry = IndexRegistry()
    registry.add("t", Index.text("y", name="second"), Index("name"))
    plan = registry.plan_sync(db)
    assert plan.conflicts[0].code in {67, 85}
    with pytest.raises(IndexConflict, match="second text index beside 'first'"):
        plan.apply_sync(db)
    db["t"].drop_index("first")
    registry.plan_sync(db).apply_sync(db)
    assert registry.plan_sync(db).is_empty
    assert db["t"].index_information()["name_1"]["collation"]["locale"] == "fr"


def test_time_series_and_capped_collections(db: Database[Any]) -> None:
    db.create_collection("measured", timeseries={"timeField": "t", "metaField": "m"})
    db.create_collection("ring", capped=True, size=4096)
    registry = IndexRegistry()
    registry.add("measured", Index("m.site", "-t"), Index.geo("place"), Index("m.x", hidden=True))
    registry.add("ring", Index("a"))
    registry.plan_sync(db).apply_sync(db)
    plan = registry.plan_sync(db)
    assert plan.is_empty, plan.describe()
    assert len(plan.kept) == 4
    for collection, index in (
        ("measured", Index("m.u", unique=True)),
        ("ring", Index("a", expire_after=5)),
    ):
        refused = IndexRegistry()
        refused.add(collection, index)
        with pytest.raises(MongoOperationError, match=r"not supported .*; such a collection has"):
            refused.plan_sync(db).apply_sync(db)


@pytest.mark.parametrize(
    "index",
    [
        Index("a", name="n" * 3_000),
        Index("a" * 1_000),
        Index("été.日本", "-ß", name="' \" \\ \n 名"),
        Index(*(f"f{n}" for n in range(32))),
        Index("a.0.b", "0"),
        Index("owner.$ref", "owner.$id"),
        Index("a", partial={"s": {"$gt": "日本"}, "deep": eval('{"x":' * 90 + "1" + "}" * 90)}),
    ],
    ids=["name", "field", "unicode", "32 fields", "numbers", "reference", "deep"],
)
def test_odd_names_and_shapes_are_kept(db: Database[Any], index: Index) -> None:
    registry = registry_of(index)
    registry.plan_sync(db).apply_sync(db)
    assert len(registry.plan_sync(db).kept) == 1


def test_what_cannot_be_encoded_is_our_error(db: Database[Any]) -> None:
    plan = registry_of(Index("a", partial={"b": "\ud800"})).plan_sync(db)
    with pytest.raises(MongoOperationError, match=r"createIndexes c: .*surrogates not allowed"):
        plan.apply_sync(db)


def test_a_missing_collection_is_created_with_its_indexes(db: Database[Any]) -> None:
    registry = IndexRegistry()
    registry.add("new", Index("a"))
    registry.retire("other", "a_1")
    registry.plan_sync(db).apply_sync(db)
    assert "new" in db.list_collection_names()
    assert "other" not in db.list_collection_names()


def test_one_index_too_many_is_known_before(db: Database[Any]) -> None:
    registry = IndexRegistry()
    registry.add("many", *(Index(f"f{n}") for n in range(64)))
    plan = registry.plan_sync(db)
    (clash,) = plan.conflicts
    assert (clash.name, clash.code) == ("f63_1", 67)
    fits = IndexRegistry()
    fits.add("many", *(Index(f"f{n}") for n in range(63)))
    fits.plan_sync(db).apply_sync(db)
    assert [item.name for item in fits.plan_sync(db).warnings] == ["f62_1"]
    with pytest.raises(OperationFailure, match="too many indexes"):
        db["many"].create_index("f63")


def test_an_older_server_is_told_of_beforehand(db: Database[Any]) -> None:
    db["c"].create_index("a")
    plan = registry_of(Index("a", unique=True)).plan_sync(db)
    db.client.admin.command("setFeatureCompatibilityVersion", "5.0")
    try:
        with pytest.raises(MongoOperationError, match="featureCompatibilityVersion") as caught:
            plan.apply_sync(db)
        assert caught.value.code == 72
    finally:
        db.client.admin.command("setFeatureCompatibilityVersion", "6.0")


async def test_a_secondary_takes_no_writes(mongo_replica_set_of_three: MongoReplicaSet) -> None:
    primary = mongo_replica_set_of_three.primary()
    secondary = next(m for m in mongo_replica_set_of_three.members if m is not primary)
    async with AsyncMongoClient[Any](secondary.uri) as client:
        plan = await registry_of(Index("a")).plan(client[NAME])
        with pytest.raises(MongoOperationError, match="connect to the replica set") as caught:
            await plan.apply(client[NAME])
    assert caught.value.code == 10107


def test_an_election_during_a_build_is_survived(
    mongo_replica_set_of_three: MongoReplicaSet,
) -> None:
    registry = registry_of(Index("a"), Index("b"), Index("a", "b"))
    with MongoClient[Any](mongo_replica_set_of_three.uri) as client:
        client.drop_database(NAME)
        client[NAME]["c"].insert_many([{"a": n, "b": -n} for n in range(150_000)])
        plan = registry.plan_sync(client[NAME])
        deposed = threading.Timer(
            0.15,
            lambda: mongo_replica_set_of_three.primary().ask(
                {"replSetStepDown": 30, "secondaryCatchUpPeriodSecs": 10, "force": True}
            ),
        )
        deposed.start()
        plan.apply_sync(client[NAME])
        deposed.join()
        mongo_replica_set_of_three.wait_until_complete()
        assert registry.plan_sync(client[NAME]).is_empty
        client.drop_database(NAME)


def test_the_primary_is_killed_during_a_build(mongo_replica_set_of_three: MongoReplicaSet) -> None:
    registry = registry_of(Index("a"), Index("b"), Index("a", "b"))
    mongo_replica_set_of_three.wait_until_complete()
    with MongoClient[Any](mongo_replica_set_of_three.uri, w="majority") as client:
        client.drop_database(NAME)
        client[NAME]["c"].insert_many([{"a": n, "b": -n} for n in range(100_000)])
        plan = registry.plan_sync(client[NAME])
        failure: list[MongoOperationError] = []

        def apply() -> None:
            try:
                plan.apply_sync(client[NAME], timeout=120)
            except MongoOperationError as error:
                failure.append(error)

        thread = threading.Thread(target=apply)
        thread.start()
        wait_until(lambda: is_building(client[NAME]))
        victim = mongo_replica_set_of_three.primary()
        victim.kill()
        # A build commits when every voting member has it, so it waits for this one, too.
        victim.start()
        mongo_replica_set_of_three.wait_until_complete()
        thread.join(130)
        assert not thread.is_alive()
        assert not failure, failure[0]
        assert registry.plan_sync(client[NAME]).is_empty
        client.drop_database(NAME)


def test_a_user_without_rights_is_told_which_ones(tmp_path: Path) -> None:
    with standalone_with_users(tmp_path) as server:
        with MongoClient[Any](server.uri("reader")) as client:
            plan = registry_of(Index("a")).plan_sync(client["app"])
            with pytest.raises(
                MongoOperationError, match="read to plan, readWrite to build"
            ) as caught:
                plan.apply_sync(client["app"])
            assert (caught.value.code, caught.value.code_name) == (13, "Unauthorized")
        with MongoClient[Any](server.uri("nobody")) as client:
            with pytest.raises(MongoOperationError) as caught:
                registry_of(Index("a")).plan_sync(client["app"])
            assert caught.value.code == 13
        with MongoClient[Any](server.uri("writer")) as client:
            registry = registry_of(Index("a"))
            seen: list[IndexProgress] = []
            registry.plan_sync(client["app"]).apply_sync(client["app"], progress=seen.append)
            hidden = registry_of(Index("a", hidden=True))
            with pytest.raises(MongoOperationError, match="dbAdmin for collMod"):
                hidden.plan_sync(client["app"]).apply_sync(client["app"])
            with pytest.raises(MongoOperationError, match=r"clusterMonitor .* for \$indexStats"):
                registry.unused_sync(client["app"])
        with MongoClient[Any](server.uri("admin")) as client:
            client["app"]["c"].create_index("old")
            registry.retire("c", "old_1")
            registry.plan_sync(client["app"]).apply_sync(client["app"])
            (record,) = client["app"]["symphonia_perf_indexes"].find()
            assert record["before"]["members"] == []
            assert "not authorized" in record["before"]["silent"][0]["reason"]
        with MongoClient[Any](server.uri("watcher")) as client:
            assert [item.name for item in registry.unused_sync(client["app"], observed=0)] == [
                "a_1"
            ]
