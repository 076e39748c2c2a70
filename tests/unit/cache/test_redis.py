"""What the Redis store sends, and what it makes of bytes that are not its own."""

import struct
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis

from symphonia_perf._core.codecs import JsonCodec
from symphonia_perf.cache import Entry, RedisCacheStore
from symphonia_perf.errors import ConfigurationError, NotEncodable
from symphonia_perf.redis import Commands, wrap


@pytest.fixture
async def client() -> AsyncIterator[FakeAsyncRedis]:
    async with FakeAsyncRedis() as client:
        yield client


class Recorder:
    """Passes commands on and remembers each round trip."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self.trips: list[list[Any]] = []

    async def execute(self, *args: Any, deadline: Any = None) -> Any:
        self.trips.append([args[0]])
        return await self._commands.execute(*args, deadline=deadline)

    async def execute_many(self, commands: Sequence[Any], **options: Any) -> list[Any]:
        self.trips.append([each[0] for each in commands])
        return await self._commands.execute_many(commands, **options)

    def script(self, lua: str) -> Any:
        return self._commands.script(lua)


async def test_each_operation_is_one_round_trip(client: FakeAsyncRedis) -> None:
    recorder = Recorder(wrap(client))
    store = RedisCacheStore(recorder)
    await store.set_many({"a": Entry(value=1, ttl=1.0), "b": Entry(value=2, ttl=1.0)})
    await store.get_many(["a"])
    await store.get_many(["a", "b", "c"])
    await store.delete_many(["a", "b"])
    assert recorder.trips == [["SET", "SET"], ["MGET"], ["MGET"] * 3, ["UNLINK"] * 2]


@pytest.mark.parametrize(
    ("ttl", "milliseconds"), [(60.0, 60_000), (1.4996, 1500), (1e-9, 1), (1e306, 3_153_600_000_000)]
)
async def test_the_server_counts_the_time(ttl: float, milliseconds: int) -> None:
    sent: list[Any] = []

    class Commands:
        async def execute_many(self, commands: Sequence[Any]) -> list[Any]:
            sent.extend(commands)
            return [b"OK"]

    await RedisCacheStore(Commands()).set_many({"k": Entry(value=1, ttl=ttl)})  # type: ignore[arg-type]
    ((name, key, _, px, length),) = sent
    assert (name, key, px, length) == ("SET", "k", "PX", milliseconds)


GOOD = struct.pack(">Bd", 1, 60.0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"plain text of somebody else",
        struct.pack(">Bd", 2, 60.0) + b"the form of a newer version",
        GOOD,
        GOOD + b"\x00\xff\xff",
    ],
    ids=repr,
)
async def test_foreign_bytes_are_named_and_never_raise(client: FakeAsyncRedis, data: bytes) -> None:
    store = RedisCacheStore(wrap(client))
    await store.set_many({"good": Entry(value=1, ttl=60.0)})
    await client.set("bad", data)
    found = await store.get_many(["bad", "good", "none"])
    assert list(found.corrupt) == ["bad"]
    assert list(found.entries) == ["good"]


async def test_a_truncated_entry_is_named(client: FakeAsyncRedis) -> None:
    store = RedisCacheStore(wrap(client))
    await store.set_many({"k": Entry(value={"a": [1, 2, 3]}, ttl=60.0)})
    data = await client.get("k")
    assert isinstance(data, bytes)
    for length in range(len(data)):
        await client.set("k", data[:length])
        assert list((await store.get_many(["k"])).corrupt) == ["k"], length


async def test_a_key_of_another_type_is_a_miss(client: FakeAsyncRedis) -> None:
    await client.rpush("list", "x")  # type: ignore[misc]  # typed as either colour
    found = await RedisCacheStore(wrap(client)).get_many(["list"])
    assert not found.entries


async def test_a_value_that_cannot_be_stored_keeps_all_from_being_sent(
    client: FakeAsyncRedis,
) -> None:
    store = RedisCacheStore(wrap(client))
    with pytest.raises(NotEncodable):
        await store.set_many({"a": Entry(value=1, ttl=1.0), "b": Entry(value=object(), ttl=1.0)})
    assert await client.exists("a") == 0


async def test_a_codec_of_choice(client: FakeAsyncRedis) -> None:
    store = RedisCacheStore(wrap(client), codec=JsonCodec())
    await store.set_many({"k": Entry(value={"a": [1]}, ttl=60.0)})
    assert (await store.get_many(["k"])).entries["k"].value == {"a": [1]}
    assert list((await RedisCacheStore(wrap(client)).get_many(["k"])).corrupt) == ["k"]


async def test_a_client_that_was_not_wrapped_is_refused(client: FakeAsyncRedis) -> None:
    with pytest.raises(ConfigurationError, match=r"write RedisCacheStore\(wrap\(client\)\)"):
        RedisCacheStore(client)  # type: ignore[arg-type]
