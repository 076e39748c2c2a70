"""PoolOptions: defaults, precedence, checks, and what the driver is given."""

import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, replace
from datetime import timedelta
from typing import Any, get_type_hints

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo.options import OPTION_OF, PoolOptions, PoolSettings


def refused(**settings: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        PoolOptions(**settings)
    return str(caught.value)


def test_the_documented_defaults_are_what_the_driver_gets() -> None:
    assert PoolOptions().driver_kwargs() == {
        "host": "mongodb://localhost:27017",
        "maxPoolSize": 50,
        "minPoolSize": 10,
        "maxConnecting": 2,
        "maxIdleTimeMS": 30_000,
        "waitQueueTimeoutMS": 2_000,
        "connectTimeoutMS": 10_000,
        "socketTimeoutMS": 45_000,
        "serverSelectionTimeoutMS": 15_000,
        "heartbeatFrequencyMS": 2_000,
        "retryWrites": True,
        "retryReads": True,
        "w": "majority",
        "readPreference": "primaryPreferred",
        "compressors": ["zlib"],
        "zlibCompressionLevel": 6,
    }


def test_absent_and_endless_settings() -> None:
    options = PoolOptions(
        max_idle=None,
        wait_queue_timeout=None,
        connect_timeout=None,
        socket_timeout=None,
        compressors=(),
        app_name="orders",
    )
    kwargs = options.driver_kwargs()
    endless = ("maxIdleTimeMS", "waitQueueTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
    assert [kwargs[name] for name in endless] == [None] * 4
    assert kwargs["compressors"] == []
    assert "zlibCompressionLevel" not in kwargs
    assert kwargs["appName"] == "orders"


def test_the_keyword_types_follow_the_fields() -> None:
    hints = get_type_hints(PoolOptions)
    assert get_type_hints(PoolSettings) == {name: hints[name] for name in OPTION_OF}
    assert ["uri", *OPTION_OF] == [field.name for field in fields(PoolOptions)]


class TestValue:
    def test_frozen(self) -> None:
        with pytest.raises(FrozenInstanceError):
            PoolOptions().max_size = 5  # type: ignore[misc] # the subject

    def test_equal_in_any_unit_and_spelling(self) -> None:
        one = PoolOptions(uri="mongodb://a/?REPLICASET=r", max_idle=30, compressors=("zlib",))
        other = PoolOptions.from_uri("mongodb://a/?replicaSet=r", max_idle=timedelta(seconds=30))
        assert one == other
        assert hash(one) == hash(other)
        assert len({one, other, PoolOptions()}) == 2

    def test_lists_are_kept_as_tuples(self) -> None:
        assert PoolOptions(compressors=["zlib"]).compressors == ("zlib",)  # type: ignore[arg-type] # lenient

    def test_replace_checks_again(self) -> None:
        options = replace(PoolOptions(), max_size=20)
        assert (options.max_size, options.min_size) == (20, 10)
        with pytest.raises(ConfigurationError, match="min_size=10 is more than max_size=5"):
            replace(options, max_size=5)

    def test_survives_pickling(self) -> None:
        options = PoolOptions(uri="mongodb://u:p@a", socket_timeout=None)
        assert pickle.loads(pickle.dumps(options)) == options

    def test_repr_shows_every_setting_and_no_password(self) -> None:
        text = repr(PoolOptions(uri="mongodb://user:hunter2@a/db", max_size=20))
        assert "uri='mongodb://user:***@a/db'" in text
        assert "max_size=20" in text
        assert "hunter2" not in text
        assert all(f"{name}=" in text for name in OPTION_OF)


class TestChecks:
    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"max_size": 0}, "max_size=0: expected a whole number >= 1"),
            ({"max_size": -1}, "max_size=-1: expected"),
            ({"max_size": True}, "max_size=True: expected"),
            ({"max_size": "50"}, "max_size='50': expected"),
            ({"max_size": 50.0}, "max_size=50.0: expected"),
            ({"max_size": None}, "max_size=None: expected"),
            ({"max_size": 2**31}, "max_size=2147483648: expected"),
            ({"min_size": -1}, "min_size=-1: expected a whole number >= 0"),
            ({"min_size": 51}, "min_size=51 is more than max_size=50"),
            ({"max_connecting": 0}, "max_connecting=0: expected a whole number >= 1"),
            ({"max_idle": "30s"}, "max_idle='30s': expected None (no limit) or 0.001 to"),
            ({"max_idle": 0}, "max_idle=0: expected None (no limit) or"),
            ({"max_idle": True}, "max_idle=True: expected"),
            ({"max_idle": 1e6}, "max_idle=1000000.0: expected"),
            ({"max_idle": float("nan")}, "max_idle=nan: expected"),
            ({"wait_queue_timeout": -1}, "wait_queue_timeout=-1: expected"),
            ({"wait_queue_timeout": 0.0001}, "wait_queue_timeout=0.0001: expected"),
            ({"heartbeat": 0.4}, "heartbeat=0.4: expected 0.5 to 999999.999 seconds"),
            ({"heartbeat": None}, "heartbeat=None: expected 0.5 to"),
            ({"server_selection_timeout": None}, "server_selection_timeout=None: expected 0 to"),
            ({"retry_writes": "true"}, "retry_writes='true': expected True or False"),
            ({"retry_reads": 1}, "retry_reads=1: expected True or False"),
            ({"w": True}, 'w=True: expected "majority", a whole number from 0 to 50'),
            ({"w": "1"}, "w='1': expected"),
            ({"w": 51}, "w=51: expected"),
            ({"w": 1.0}, "w=1.0: expected"),
            ({"w": "Majority"}, "did you mean 'majority'?"),
            ({"read_preference": "Primary"}, "did you mean 'primary'?"),
            ({"read_preference": None}, "read_preference=None: expected one of primary, "),
            ({"compressors": "zlib"}, "compressors='zlib': expected a tuple of zlib, zstd, snappy"),
            ({"compressors": 7}, "compressors=7: expected a tuple"),
            ({"compressors": ("gzip",)}, "compressors='gzip': expected one of zlib, zstd, snappy"),
            ({"compressors": (None,)}, "compressors=None: expected one of"),
            ({"compressors": ("zlib", "zlib")}, "expected each of them once"),
            ({"zlib_level": 12}, "zlib_level=12: expected a whole number from -1 to 9"),
            ({"zlib_level": -2}, "zlib_level=-2: expected a whole number from -1 to 9"),
            ({"app_name": ""}, "app_name='': expected None, or printable text of 1 to 128 bytes"),
            ({"app_name": "é" * 65}, "expected None, or printable text of 1 to 128 bytes"),
            ({"app_name": "\udc80"}, "expected None, or printable text"),
            ({"app_name": 5}, "app_name=5: expected None, or"),
            ({"uri": None}, "uri: expected text, not NoneType"),
            ({"uri": "mongodb://"}, "uri: empty host"),
        ],
    )
    def test_names_setting_value_and_what_is_allowed(
        self, settings: dict[str, Any], says: str
    ) -> None:
        assert says in refused(**settings)

    def test_edges_are_taken(self) -> None:
        options = PoolOptions(
            max_size=1,
            min_size=0,
            max_idle=0.001,
            server_selection_timeout=0,
            heartbeat=timedelta(milliseconds=500),
            w=0,
            zlib_level=-1,
            compressors=(),
            app_name="é" * 64,
        )
        kwargs = options.driver_kwargs()
        assert kwargs["maxIdleTimeMS"] == 1
        assert kwargs["serverSelectionTimeoutMS"] == 0
        assert kwargs["heartbeatFrequencyMS"] == 500
        assert kwargs["w"] == 0

    @pytest.mark.parametrize(
        ("query", "settings", "says"),
        [
            (
                "readPreferenceTags=dc:a",
                {"read_preference": "primary"},
                "readPreferenceTags in the URI contradicts read_preference='primary'",
            ),
            (
                "maxStalenessSeconds=90",
                {"read_preference": "primary"},
                "maxStalenessSeconds in the URI contradicts read_preference='primary'",
            ),
            (
                "maxStalenessSeconds=90",
                {"heartbeat": 81},
                "maxStalenessSeconds=90 is less than a heartbeat of 81 seconds plus 10",
            ),
            ("journal=true", {"w": 0}, "w=0 contradicts journal=true in the URI"),
        ],
    )
    def test_settings_and_uri_may_not_contradict(
        self, query: str, settings: dict[str, Any], says: str
    ) -> None:
        assert says in refused(uri=f"mongodb://h/?{query}", **settings)

    @pytest.mark.parametrize(
        ("query", "settings"),
        [
            ("maxStalenessSeconds=-1", {"read_preference": "primary"}),
            ("maxStalenessSeconds=90", {"heartbeat": 80}),
            ("readPreferenceTags=dc:a&readPreferenceTags=", {"read_preference": "nearest"}),
            ("journal=true", {"w": 1}),
            ("journal=false", {"w": 0}),
        ],
    )
    def test_what_only_looks_like_a_contradiction(
        self, query: str, settings: dict[str, Any]
    ) -> None:
        uri = f"mongodb://h/?{query}"
        assert PoolOptions(uri=uri, **settings).uri == uri


class TestFromURI:
    def test_the_constructor_refuses_pool_settings_in_the_uri(self) -> None:
        message = refused(uri="mongodb://h/?maxpoolsize=20")
        assert "maxpoolsize belongs into PoolOptions(max_size=...)" in message
        assert "PoolOptions.from_uri" in message

    def test_pool_settings_move_out_of_the_uri_and_the_rest_stays(self) -> None:
        options = PoolOptions.from_uri(
            "mongodb://u:p%40@a:1,b/db?replicaSet=r&maxPoolSize=20&minPoolSize=5&maxConnecting=4"
            "&maxIdleTimeMS=1000&waitQueueTimeoutMS=500&connectTimeoutMS=0&socketTimeoutMS=250"
            "&serverSelectionTimeoutMS=0&heartbeatFrequencyMS=750&retryWrites=false"
            "&retryReads=false&w=2&readPreference=nearest&compressors=zstd,zlib"
            "&zlibCompressionLevel=1&appName=my%20app&authSource=admin"
        )
        assert options == PoolOptions(
            uri="mongodb://u:p%40@a:1,b/db?replicaSet=r&authSource=admin",
            max_size=20,
            min_size=5,
            max_connecting=4,
            max_idle=1,
            wait_queue_timeout=0.5,
            connect_timeout=None,
            socket_timeout=0.25,
            server_selection_timeout=0,
            heartbeat=0.75,
            retry_writes=False,
            retry_reads=False,
            w=2,
            read_preference="nearest",
            compressors=("zstd", "zlib"),
            zlib_level=1,
            app_name="my app",
        )

    def test_an_argument_beats_the_uri_and_the_uri_beats_the_default(self) -> None:
        options = PoolOptions.from_uri(
            "mongodb://h/?maxPoolSize=20&readPreference=nearest",
            read_preference="secondaryPreferred",
        )
        assert (options.max_size, options.read_preference) == (20, "secondaryPreferred")
        assert options.max_idle == 30.0
        assert options.uri == "mongodb://h"

    def test_an_srv_uri_is_split_without_dns(self) -> None:
        options = PoolOptions.from_uri("mongodb+srv://u:p@c.example.org/?maxPoolSize=20&w=1")
        assert options.uri == "mongodb+srv://u:p@c.example.org"
        assert (options.max_size, options.w) == (20, 1)

    def test_the_default_minimum_yields_to_a_smaller_maximum(self) -> None:
        assert PoolOptions.from_uri("mongodb://h/?maxPoolSize=5").min_size == 5
        assert PoolOptions.from_uri("mongodb://h", max_size=3).min_size == 3
        assert PoolOptions.from_uri("mongodb://h", max_size=30).min_size == 10

    def test_a_given_minimum_does_not(self) -> None:
        with pytest.raises(ConfigurationError, match="minPoolSize=6 is more than maxPoolSize=5"):
            PoolOptions.from_uri("mongodb://h/?maxPoolSize=5&minPoolSize=6")
        with pytest.raises(ConfigurationError, match="minPoolSize=60 is more than max_size=50"):
            PoolOptions.from_uri("mongodb://h/?minPoolSize=60")

    def test_an_argument_is_checked_by_its_own_name(self) -> None:
        with pytest.raises(ConfigurationError, match=r"^max_size='20': expected"):
            PoolOptions.from_uri("mongodb://h/?maxPoolSize=5", max_size="20")  # type: ignore[arg-type] # the subject

    @pytest.mark.parametrize(
        ("wrong", "meant"),
        [
            ("max_sise", "did you mean max_size=?"),
            ("max_pool_size", "did you mean max_size=?"),
            ("maxPoolSize", "did you mean max_size=?"),
            ("maxIdleTimeMS", "did you mean max_idle=?"),
            ("max_idle_time_ms", "did you mean max_idle=?"),
            ("banana", "there are max_size, min_size, "),
        ],
    )
    def test_a_setting_that_is_none_is_shown_the_way(self, wrong: str, meant: str) -> None:
        makers: list[Callable[..., PoolOptions]] = [
            PoolOptions,
            PoolOptions.from_uri,
            PoolOptions.from_env,
            PoolOptions.web,
            PoolOptions.worker,
        ]
        for make in makers:
            with pytest.raises(ConfigurationError) as caught:
                make(**{"uri": "mongodb://h", wrong: 3})
            assert f"{wrong}: not a setting of PoolOptions; {meant}" in str(caught.value)

    def test_a_uri_without_a_name_is_shown_the_way(self) -> None:
        with pytest.raises(ConfigurationError, match=r"PoolOptions\.from_uri") as caught:
            PoolOptions("mongodb://u:hunter2@h")  # type: ignore[misc] # the subject
        assert "hunter2" not in str(caught.value)

    def test_the_constructor_still_tells_what_it_takes(self) -> None:
        assert list(inspect.signature(PoolOptions).parameters)[:2] == ["uri", "max_size"]


class TestFromEnv:
    def test_nothing_set_gives_the_defaults(self) -> None:
        assert PoolOptions.from_env(environ={}) == PoolOptions()

    def test_the_process_environment_is_the_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SYMPHONIA_UNIT_URI", "mongodb://there")
        monkeypatch.setenv("SYMPHONIA_UNIT_MAX_POOL_SIZE", "7")
        options = PoolOptions.from_env("SYMPHONIA_UNIT_")
        assert (options.uri, options.max_size, options.min_size) == ("mongodb://there", 7, 7)

    def test_every_field_has_a_variable(self) -> None:
        environ = {
            "MONGODB_URI": "mongodb://h",
            "MONGODB_MAX_POOL_SIZE": "20",
            "MONGODB_MIN_POOL_SIZE": "5",
            "MONGODB_MAX_CONNECTING": "4",
            "MONGODB_MAX_IDLE_TIME": "2m",
            "MONGODB_WAIT_QUEUE_TIMEOUT": "500ms",
            "MONGODB_CONNECT_TIMEOUT": "none",
            "MONGODB_SOCKET_TIMEOUT": "0.25",
            "MONGODB_SERVER_SELECTION_TIMEOUT": "0",
            "MONGODB_HEARTBEAT_FREQUENCY": "1s",
            "MONGODB_RETRY_WRITES": "no",
            "MONGODB_RETRY_READS": "0",
            "MONGODB_W": "2",
            "MONGODB_READ_PREFERENCE": "nearest",
            "MONGODB_COMPRESSORS": "zstd, zlib",
            "MONGODB_ZLIB_COMPRESSION_LEVEL": "1",
            "MONGODB_APP_NAME": "orders",
        }
        assert len(environ) == len(fields(PoolOptions))
        assert PoolOptions.from_env(environ=environ) == PoolOptions(
            uri="mongodb://h",
            max_size=20,
            min_size=5,
            max_connecting=4,
            max_idle=120,
            wait_queue_timeout=0.5,
            connect_timeout=None,
            socket_timeout=0.25,
            server_selection_timeout=0,
            heartbeat=1,
            retry_writes=False,
            retry_reads=False,
            w=2,
            read_preference="nearest",
            compressors=("zstd", "zlib"),
            zlib_level=1,
            app_name="orders",
        )

    def test_argument_then_uri_then_variable_then_default(self) -> None:
        environ = {
            "MONGODB_URI": "mongodb://h/?maxPoolSize=20&maxConnecting=4",
            "MONGODB_MAX_POOL_SIZE": "30",
            "MONGODB_MAX_CONNECTING": "5",
            "MONGODB_ZLIB_COMPRESSION_LEVEL": "1",
        }
        options = PoolOptions.from_env(environ=environ, max_size=40)
        assert options.max_size == 40
        assert options.max_connecting == 4
        assert options.zlib_level == 1
        assert options.max_idle == 30.0

    def test_an_argument_replaces_the_variables_uri(self) -> None:
        environ = {"MONGODB_URI": "not even one"}
        assert PoolOptions.from_env(environ=environ, uri="mongodb://h").uri == "mongodb://h"

    @pytest.mark.parametrize(
        ("environ", "says"),
        [
            ({"MONGODB_MAX_POOL_SIZE": "abc"}, "^MONGODB_MAX_POOL_SIZE='abc': expected"),
            ({"MONGODB_MAX_POOL_SIZE": "0"}, "^MONGODB_MAX_POOL_SIZE=0: expected"),
            ({"MONGODB_COMPRESSORS": "gzip"}, "^MONGODB_COMPRESSORS='gzip': expected"),
            ({"MONGODB_URI": "mongodb://h/?w=x%20"}, "^MONGODB_URI: w='x '"),
            (
                {"MONGODB_MIN_POOL_SIZE": "9", "MONGODB_MAX_POOL_SIZE": "8"},
                "^MONGODB_MIN_POOL_SIZE=9 is more than MONGODB_MAX_POOL_SIZE=8",
            ),
            (
                {"MONGODB_MIN_POOL_SIZE": "9", "MONGODB_URI": "mongodb://h/?maxPoolSize=8"},
                "^MONGODB_MIN_POOL_SIZE=9 is more than maxPoolSize=8",
            ),
            ({"MONGODB_URL": "mongodb://h"}, "^MONGODB_URL: .* MONGODB_URI"),
            ({"MONGODB_MAX_SIZE": "5"}, r"^MONGODB_MAX_SIZE: .* MONGODB_MAX_POOL_SIZE\?"),
            ({"MONGODB_HEARTBEAT": "5"}, r"^MONGODB_HEARTBEAT: .* MONGODB_HEARTBEAT_FREQUENCY\?"),
            ({"MONGODB_MAX_IDLE_TIME_MS": "5"}, r"did you mean MONGODB_MAX_IDLE_TIME\?"),
        ],
    )
    def test_a_message_names_the_variable(self, environ: dict[str, str], says: str) -> None:
        with pytest.raises(ConfigurationError, match=says):
            PoolOptions.from_env(environ=environ)

    def test_what_images_and_kubernetes_set_may_stand(self) -> None:
        names = (
            "ADVERTISED_HOSTNAME AUTH_SOURCE CONNECTION_STRING DATABASE DB DATA_DIR ENABLE_IPV6 "
            "EXTRA_FLAGS HOST HOSTNAME INITIAL_PRIMARY_HOST LOG_LEVEL NAME PASSWORD PORT "
            "PORT_27017_TCP PORT_27017_TCP_ADDR REPLICA_SET_KEY REPLICA_SET_MODE REPLICA_SET_NAME "
            "ROOT_PASSWORD ROOT_USER SERVICE_HOST SERVICE_PORT SERVICE_PORT_MONGODB TLS USER "
            "USERNAME VERSION WRITE_CONCERN"
        )
        environ = {f"MONGODB_{name}": "x" for name in names.split()}
        assert PoolOptions.from_env(environ=environ) == PoolOptions()
