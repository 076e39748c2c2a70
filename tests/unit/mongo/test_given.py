"""Wrong objects: each call says what it expected, and never shows a password."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest.mock import AsyncMock, Mock

import mongomock
import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo import (
    PoolOptions,
    Query,
    budget,
    check_budget,
    check_budget_sync,
    raw_documents,
    warm,
    warm_sync,
)
from symphonia_perf.mongo._given import async_client, checked_collection, checked_observer
from symphonia_perf.testing import RecordingCollection

URI = "mongodb://user:hunter2@h"
PAGED: Any = Query().sort("_id").limit(1)


@pytest.fixture
async def clients() -> AsyncIterator[tuple[Any, Any]]:
    """One of each driver, not connected."""
    sync: Any = MongoClient(connect=False)
    asynchronous: Any = AsyncMongoClient(connect=False)
    yield sync, asynchronous
    sync.close()
    await asynchronous.close()


async def refusal(call: Callable[[], Any]) -> str:
    async def made() -> None:
        if hasattr(awaited := call(), "__await__"):
            await awaited

    with pytest.raises(ConfigurationError) as caught:
        await made()
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("wrong", [URI, PoolOptions(uri=URI), None, 5], ids=str)
async def test_a_call_for_a_client_is_given_something_else(wrong: Any) -> None:
    kind = type(wrong).__name__
    for name, call in (
        ("warm", lambda: warm(wrong)),
        ("check_budget", lambda: check_budget(wrong, processes=1)),
    ):
        expected = f"{name}: expected a client as of create_async_client(...), not {kind}"
        assert await refusal(call) == expected
    for name, call in (
        ("warm_sync", lambda: warm_sync(wrong)),
        ("check_budget_sync", lambda: check_budget_sync(wrong, processes=1)),
    ):
        expected = f"{name}: expected a client as of create_client(...), not {kind}"
        assert await refusal(call) == expected


async def test_a_client_of_the_other_driver_is_shown_the_way(clients: tuple[Any, Any]) -> None:
    sync, asynchronous = clients
    assert (await refusal(lambda: warm(sync))).endswith("not MongoClient; use warm_sync")
    assert (await refusal(lambda: warm_sync(asynchronous))).endswith("AsyncMongoClient; use warm")
    assert (await refusal(lambda: warm(sync["db"]))).endswith("not Database")
    assert (await refusal(lambda: check_budget(sync, processes=1))).endswith(
        "use check_budget_sync"
    )
    assert (await refusal(lambda: check_budget_sync(asynchronous, processes=1))).endswith(
        "use check_budget"
    )


async def test_motors_client_is_the_one_beneath() -> None:
    motor: Any = AsyncIOMotorClient(connect=False)
    assert async_client(motor, "warm") is motor.delegate
    motor.close()


async def test_options_of_a_budget_are_not_shown() -> None:
    wrong: Any = URI
    said = await refusal(lambda: budget(1, 1500, wrong))
    assert said == "options: expected PoolOptions, not str"


async def test_a_call_for_a_collection_is_given_something_else(clients: tuple[Any, Any]) -> None:
    wrongs = [*clients, *(client["shop"] for client in clients), "orders", b"orders", None, 5]
    for wrong in wrongs:
        for name, call in (
            ("find", PAGED.find),
            ("page", PAGED.page),
            ("page_sync", PAGED.page_sync),
            ("explain_check", PAGED.explain_check),
            ("explain_check_sync", PAGED.explain_check_sync),
            ("raw_documents", raw_documents),
        ):
            said = await refusal(lambda call=call, wrong=wrong: call(wrong))  # type: ignore[misc]
            assert said == (
                f"{name}: expected a collection, as client['shop']['orders'] is, "
                f"not {type(wrong).__name__}"
            )


async def test_a_collection_of_the_other_driver_is_shown_the_way(
    clients: tuple[Any, Any],
) -> None:
    sync, asynchronous = (client["shop"]["orders"] for client in clients)
    for call, wrong, said in (
        (PAGED.page, sync, "page: Collection is not asynchronous; use page_sync"),
        (PAGED.page_sync, asynchronous, "page_sync: AsyncCollection is asynchronous; use page"),
        (
            PAGED.explain_check,
            sync,
            "explain_check: Collection is not asynchronous; use explain_check_sync",
        ),
        (
            PAGED.explain_check_sync,
            asynchronous,
            "explain_check_sync: AsyncCollection is asynchronous; use explain_check",
        ),
    ):
        assert await refusal(lambda call=call, wrong=wrong: call(wrong)) == said  # type: ignore[misc]


async def test_mocks_and_fakes_are_collections(clients: tuple[Any, Any]) -> None:
    stands_in = [mongomock.MongoClient()["x"]["y"], RecordingCollection(), Mock(), AsyncMock()]
    for collection in [client["x"]["y"] for client in clients] + stands_in:
        assert checked_collection(collection, "find") is collection


def test_an_observer_is_a_callable() -> None:
    assert checked_observer(print) is print
    with pytest.raises(ConfigurationError, match="observer=5: expected a callable"):
        checked_observer(5)  # type: ignore[arg-type]
