"""What the tests of the index registry share."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database

NAME = "symphonia_test_index_work"


@pytest.fixture
def work(mongo_url: str) -> Iterator[Database[dict[str, Any]]]:
    """A database of this test alone."""
    with MongoClient[dict[str, Any]](mongo_url) as client:
        client.drop_database(NAME)
        yield client[NAME]
        client.drop_database(NAME)


@pytest.fixture
async def awork(
    work: Database[dict[str, Any]], mongo_url: str
) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """The same, for an asynchronous client."""
    async with AsyncMongoClient[dict[str, Any]](mongo_url) as client:
        yield client[work.name]
