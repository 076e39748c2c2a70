"""Objects of the wrong kind are refused before anything is sent; none of these needs a server."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient

from symphonia_perf.errors import ConfigurationError, MongoOperationError, NotOpen, WrongLoop
from symphonia_perf.mongo import Index, IndexPlan, IndexRegistry, Query

NOBODY = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50"

REGISTRY = IndexRegistry()
REGISTRY.add("c", Index("a", serves=[Query({"a": 1})]))
PLAN: IndexPlan = REGISTRY.diff({})

SYNC: dict[str, Callable[[Any], object]] = {
    "plan": REGISTRY.plan_sync,
    "apply": PLAN.apply_sync,
    "verify": REGISTRY.verify_sync,
    "unused": REGISTRY.unused_sync,
    "export": IndexRegistry.export_sync,
}
ASYNC: dict[str, Callable[[Any], Any]] = {
    "plan": REGISTRY.plan,
    "apply": PLAN.apply,
    "verify": REGISTRY.verify,
    "unused": REGISTRY.unused,
    "export": IndexRegistry.export,
}


@pytest.mark.parametrize("method", SYNC)
async def test_each_method_says_which_database_it_takes(method: str) -> None:
    motor: Any = AsyncIOMotorClient(NOBODY, connect=False)
    with MongoClient[Any](NOBODY, connect=False) as client:
        async with AsyncMongoClient[Any](NOBODY, connect=False) as aclient:
            wrong: list[tuple[Any, str]] = [
                (aclient["x"], r"type AsyncDatabase, .*: await the method whose name has no _sync"),
                (client, r"type MongoClient, .*: name a database of this client"),
                (client["x"]["c"], r"type Collection, .* of pymongo\.MongoClient: as in client"),
                (motor["x"], "Motor's are not supported; make a pymongo.MongoClient"),
                (NOBODY, "type str, expected a database of pymongo.MongoClient"),
                (None, "type NoneType"),
            ]
            for given, message in wrong:
                with pytest.raises(ConfigurationError, match=message):
                    SYNC[method](given)
            wrong_for_async: list[tuple[Any, str]] = [
                (client["x"], r"type Database, .*: call the method whose name ends in _sync"),
                (aclient, r"type AsyncMongoClient, .*: name a database of this client"),
                (aclient["x"]["c"], "type AsyncCollection"),
                (motor["x"], "Motor's are not supported; make a pymongo.AsyncMongoClient"),
                (None, "type NoneType"),
            ]
            for given, message in wrong_for_async:
                with pytest.raises(ConfigurationError, match=message):
                    await ASYNC[method](given)
    motor.close()


def test_a_closed_client_and_another_loop_are_our_errors() -> None:
    client = MongoClient[Any](NOBODY, connect=False)
    client.close()
    with pytest.raises(NotOpen, match="buildInfo: Cannot use MongoClient after close"):
        REGISTRY.plan_sync(client["x"])
    aclient = AsyncMongoClient[Any](NOBODY)
    with asyncio.Runner() as runner, asyncio.Runner() as other:
        with pytest.raises(MongoOperationError):  # nobody answers, but the client has its loop
            runner.run(REGISTRY.plan(aclient["x"]))
        with pytest.raises(WrongLoop, match=r"buildInfo: .*different event loop"):
            other.run(REGISTRY.plan(aclient["x"]))
        runner.run(aclient.close())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": "no"}, "drop='no': expected True or False"),
        ({"allow_gap": 1}, "allow_gap=1: expected True or False"),
        ({"progress": "bar"}, "progress='bar': expected a function"),
        ({"progress": asyncio.sleep}, "expected a function that is no async"),
        ({"timeout": "30m"}, "timeout='30m': expected more than 0 seconds"),
    ],
)
def test_permissions_are_checked_before_anything(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        PLAN.apply_sync(None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("collections", ["orders", 7, [3], ["a$"], [None]])
def test_an_export_takes_names_of_collections(collections: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected a"):
        IndexRegistry.export_sync(None, collections=collections)  # type: ignore[arg-type]


@pytest.mark.parametrize("existing", [None, [], {"c": [{"key": {"a": 1}, "name": "a_1"}]}])
def test_a_diff_takes_existing_indexes(existing: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"ExistingIndexes\(indexes=...\)"):
        REGISTRY.diff(existing)


@pytest.mark.parametrize("server", ["6.0", 6, (6,), (6, "0"), (6, 0, 5)])
def test_a_diff_takes_a_version_of_two_numbers(server: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"such as \(6, 0\)"):
        REGISTRY.diff({}, server=server)
