"""Clients are built without any I/O, from what PoolOptions says and nothing else."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pymongo
import pytest
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient, compression_support
from pymongo.errors import (
    AutoReconnect,
    InvalidOperation,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.server_api import ServerApi

from symphonia_perf.errors import (
    ConfigurationError,
    MissingExtra,
    MongoOperationError,
    NotOpen,
    StoreTimeout,
    StoreUnavailable,
    SymphoniaError,
    WrongLoop,
)
from symphonia_perf.mongo import (
    PoolOptions,
    create_async_client,
    create_client,
    create_motor_client,
)
from symphonia_perf.mongo import clients as module
from symphonia_perf.mongo._errors import _translate, as_ours
from symphonia_perf.mongo._warm import _Roll

FACTORIES: list[tuple[Callable[..., Any], type[Any]]] = [
    (create_client, MongoClient),
    (create_async_client, AsyncMongoClient),
    (create_motor_client, AsyncIOMotorClient),
]


async def close(client: Any) -> None:
    if (closing := client.close()) is not None:
        await closing


@pytest.mark.parametrize(("create", "kind"), FACTORIES)
class TestEveryFactory:
    async def test_gives_the_drivers_own_client_with_our_settings(
        self, create: Callable[..., Any], kind: type[Any]
    ) -> None:
        client = create(PoolOptions.from_uri("mongodb://a,b/?replicaSet=rs0", max_size=20))
        assert type(client) is kind
        pool = client.options.pool_options
        assert (pool.max_pool_size, pool.min_pool_size) == (20, 10)
        assert client.options.replica_set_name == "rs0"
        assert client.options.read_preference.mongos_mode == "primaryPreferred"
        await close(client)

    async def test_none_means_the_documented_defaults(
        self, create: Callable[..., Any], kind: type[Any]
    ) -> None:
        client = create()
        assert isinstance(client, kind)
        assert client.options.pool_options.wait_queue_timeout == 2.0
        await close(client)

    async def test_other_keywords_reach_the_driver(
        self, create: Callable[..., Any], kind: type[Any]
    ) -> None:
        client = create(
            PoolOptions(),
            document_class=RawBSONDocument,
            tz_aware=True,
            server_api=ServerApi("1"),
            username="u",
            password="p",
        )
        assert isinstance(client, kind)
        assert client.codec_options.document_class is RawBSONDocument
        assert client.codec_options.tz_aware is True
        assert client.options.pool_options.server_api.version == "1"
        await close(client)

    async def test_an_srv_uri_asks_no_dns_yet(
        self, create: Callable[..., Any], kind: type[Any]
    ) -> None:
        client = create(PoolOptions.from_uri("mongodb+srv://nowhere.invalid/?maxPoolSize=20"))
        assert isinstance(client, kind)
        await close(client)

    @pytest.mark.parametrize(
        ("keyword", "says"),
        [
            ("maxPoolSize", r"^maxPoolSize: .* use PoolOptions\(max_size=\.\.\.\)"),
            ("maxpoolsize", r"^maxpoolsize: .* use PoolOptions\(max_size=\.\.\.\)"),
            ("readPreference", r"use PoolOptions\(read_preference=\.\.\.\)"),
            ("read_preference", r"use PoolOptions\(read_preference=\.\.\.\), and the URI"),
            ("host", r"use PoolOptions\(uri=\.\.\.\)"),
            ("port", r"use PoolOptions\(uri=\.\.\.\)"),
            ("max_pool_size", r"^max_pool_size: .* use PoolOptions\(max_size=\.\.\.\)"),
            ("max_size", r"^max_size: .* use PoolOptions\(max_size=\.\.\.\)"),
            ("connect", r"use warm\(client\)"),
            ("replicaSet", "replicaSet: the URI says it already"),
            ("ssl", "ssl: the URI says it already"),
        ],
    )
    def test_a_keyword_may_not_overrule_the_options(
        self, create: Callable[..., Any], kind: type[Any], keyword: str, says: str
    ) -> None:
        assert kind
        options = PoolOptions(uri="mongodb://h/?replicaSet=rs0&tls=false")
        with pytest.raises(ConfigurationError, match=says):
            create(options, **{keyword: "hunter2"})

    @pytest.mark.parametrize(
        ("uri", "keywords", "says"),
        [
            ("mongodb://h", {"banana": 1}, "Unknown option: banana"),
            ("mongodb://h", {"event_listeners": [1]}, "event_listeners"),
            ("mongodb://h", {"document_class": int}, "document_class"),
            ("mongodb://u@h", {}, "password is required"),
            ("mongodb://h/?tlsCAFile=no-such-file.pem", {}, "No such file"),
        ],
    )
    def test_what_the_driver_refuses_is_our_error(
        self,
        create: Callable[..., Any],
        kind: type[Any],
        uri: str,
        keywords: dict[str, Any],
        says: str,
    ) -> None:
        assert kind
        with pytest.raises(ConfigurationError, match=f"the driver refuses.*{says}") as caught:
            create(PoolOptions(uri=uri), **keywords)
        assert caught.value.__cause__ is not None

    def test_a_uri_is_not_options(self, create: Callable[..., Any], kind: type[Any]) -> None:
        assert kind
        with pytest.raises(ConfigurationError, match="expected PoolOptions, not str") as caught:
            create("mongodb://u:hunter2@h")
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("compressor", ["zstd", "snappy"])
    async def test_a_compressor_needs_its_package(
        self,
        create: Callable[..., Any],
        kind: type[Any],
        compressor: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        assert kind
        options = PoolOptions(compressors=(compressor, "zlib"))
        monkeypatch.setitem(module._HAVE, compressor, lambda: False)
        with pytest.raises(ConfigurationError, match=f"pip install 'pymongo\\[{compressor}\\]'"):
            create(options)

    def test_an_option_newer_than_the_driver_is_refused(
        self, create: Callable[..., Any], kind: type[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert kind
        monkeypatch.setattr(pymongo, "version_tuple", (4, 16, 0))
        options = PoolOptions(uri="mongodb://h/?maxAdaptiveRetries=1")
        with pytest.raises(ConfigurationError, match=r"maxAdaptiveRetries .* PyMongo 4\.17"):
            create(options)


def test_the_drivers_own_word_on_packages_is_asked() -> None:
    assert module._HAVE["zstd"] is compression_support._have_zstd
    assert module._HAVE["snappy"] is compression_support._have_snappy
    assert module._HAVE["zlib"]()


@pytest.mark.skipif(pymongo.version_tuple[:2] < (4, 17), reason="needs PyMongo 4.17")
def test_a_newer_option_is_taken_by_a_new_driver() -> None:
    with create_client(PoolOptions(uri="mongodb://h/?maxAdaptiveRetries=1")) as client:
        assert client.options.max_adaptive_retries == 1


def test_a_missing_motor_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "motor"]:
        monkeypatch.delitem(sys.modules, name)

    monkeypatch.setitem(sys.modules, "motor", None)
    with pytest.raises(MissingExtra) as caught:
        create_motor_client()
    assert caught.value.extra == "motor"


def test_another_missing_module_is_not_mistaken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise ModuleNotFoundError("No module named 'elsewhere'", name="elsewhere")

    monkeypatch.setitem(sys.modules, "motor.motor_asyncio", Broken("motor.motor_asyncio"))
    with pytest.raises(ModuleNotFoundError, match="elsewhere") as caught:
        create_motor_client()
    assert not isinstance(caught.value, MissingExtra)


@pytest.mark.parametrize(
    ("driver", "ours"),
    [
        (ServerSelectionTimeoutError("no server"), StoreUnavailable),
        (NetworkTimeout("late"), StoreTimeout),
        (WaitQueueTimeoutError("full"), StoreTimeout),
        (AutoReconnect("gone"), StoreUnavailable),
        (InvalidOperation("closed"), NotOpen),
        (DriverConfigurationError("no such name"), ConfigurationError),
        (OperationFailure("no", 18, {"codeName": "AuthenticationFailed"}), MongoOperationError),
        (OperationFailure("no", 18), MongoOperationError),
        (PyMongoError("anything"), StoreUnavailable),
        (InvalidBSON("year 20000 is out of range"), MongoOperationError),
    ],
)
def test_the_drivers_errors_become_ours(
    driver: PyMongoError | InvalidBSON, ours: type[SymphoniaError]
) -> None:
    error = _translate(driver, "warm", "hello")
    assert type(error) is ours
    assert str(driver).partition(", full error")[0] in str(error)


def test_only_a_loops_runtime_error_is_a_wrong_loop() -> None:
    said = "bound to a different event loop"
    with pytest.raises(WrongLoop, match=f"warm: {said}") as caught, as_ours("warm", "hello"):
        raise RuntimeError(said)
    assert isinstance(caught.value.__cause__, RuntimeError)
    for error in (RuntimeError("can't start new thread"), RecursionError("too deep")):
        with pytest.raises(type(error)) as other, as_ours("warm", "hello"):
            raise error
        assert other.value is error


def test_what_fills_a_page_stays_in_the_cause() -> None:
    said = "h:1: refused, Timeout: 0.2s, Topology Description: <TopologyDescription ...>"
    lost = ServerSelectionTimeoutError(said)
    assert str(_translate(lost, "warm", "hello")) == "warm: h:1: refused (waited 0.2 s)"
    refused = OperationFailure("not allowed", 13, {"ok": 0.0, "errmsg": "not allowed"})
    assert "full error" in str(refused)
    assert str(_translate(refused, "warm", "hello")) == "warm: not allowed"


def test_the_servers_code_is_kept() -> None:
    refused = OperationFailure("no", 18, {"codeName": "AuthenticationFailed"})
    error = _translate(refused, "warm", "hello")
    assert isinstance(error, MongoOperationError)
    assert (error.code, error.code_name, error.operation) == (18, "AuthenticationFailed", "hello")


class TestRoll:
    """The count behind `warm`."""

    def roll(self, **settings: Any) -> _Roll:
        with create_client(PoolOptions(**settings)) as client:
            return _Roll(client.options.pool_options)

    def reply(self, number: int, process: str = "p") -> dict[str, Any]:
        return {"connectionId": number, "topologyVersion": {"processId": process, "counter": 1}}

    def test_it_is_complete_when_as_many_connections_as_the_minimum_answered(self) -> None:
        roll = self.roll(min_size=3)
        assert roll.command == {"hello": 1}
        roll.take([self.reply(1)])
        assert roll.command["maxAwaitTimeMS"] == 100
        assert roll.command["topologyVersion"] == {"processId": "p", "counter": 1}
        roll.take([self.reply(1), self.reply(1), self.reply(2)])
        assert not roll.complete
        roll.take([self.reply(2), self.reply(1), self.reply(3)])
        assert roll.complete
        assert len(roll.open) == 3

    def test_the_same_number_on_another_server_is_another_connection(self) -> None:
        roll = self.roll(min_size=2)
        roll.take([self.reply(1, "p"), self.reply(1, "q")])
        assert roll.complete

    def test_no_minimum_still_proves_that_a_server_answers(self) -> None:
        roll = self.roll(min_size=0)
        assert not roll.complete
        roll.take([self.reply(1)])
        assert roll.complete

    def test_a_late_answer_ends_it_and_another_error_is_raised(self) -> None:
        roll = self.roll(min_size=3)
        roll.take([self.reply(1), NetworkTimeout("late")])
        assert roll.complete
        assert len(roll.open) == 1
        with pytest.raises(AutoReconnect):
            roll.take([AutoReconnect("gone")])

    def test_a_server_that_numbers_nothing_is_asked_once(self) -> None:
        roll = self.roll(min_size=3)
        roll.take([{"ok": 1}])
        assert roll.complete
        assert roll.command == {"hello": 1}

    def test_a_server_waits_shorter_than_a_short_socket_timeout(self) -> None:
        roll = self.roll(min_size=3, socket_timeout=0.05)
        roll.take([self.reply(1)])
        assert roll.command["maxAwaitTimeMS"] == 25
