"""What we take, PyMongo takes without a warning; what we refuse, we refuse with our own error."""

import warnings
from contextlib import suppress
from urllib.parse import quote, quote_plus

from hypothesis import example, given
from hypothesis import strategies as st
from pymongo import MongoClient

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._uri import parse_uri
from symphonia_perf.mongo.options import OPTION_OF, PoolOptions

BOOLEANS = st.sampled_from(["true", "false"])
MILLISECONDS = st.integers(1, 999_999_999).map(str)
TEXT = st.text(
    st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20
).filter(str.isprintable)

# Option -> its values as text, before percent-encoding. Options that need company, files or a
# package have their examples in tests/unit/mongo/test_uri.py.
VALUES = {
    "appName": TEXT,
    "compressors": st.just("zlib"),
    "connectTimeoutMS": MILLISECONDS | st.just("0"),
    "datetime_conversion": st.sampled_from(["DATETIME", "DATETIME_CLAMP"]),
    "heartbeatFrequencyMS": st.integers(500, 80_000).map(str),
    "localThresholdMS": MILLISECONDS | st.just("0"),
    "maxConnecting": st.integers(1, 100).map(str),
    "maxIdleTimeMS": MILLISECONDS,
    "maxPoolSize": st.integers(10, 500).map(str),
    "minPoolSize": st.integers(0, 10).map(str),
    "readConcernLevel": st.sampled_from(["local", "majority"]),
    "readPreference": st.sampled_from(["primary", "primaryPreferred", "nearest"]),
    "replicaSet": TEXT,
    "retryReads": BOOLEANS,
    "retryWrites": BOOLEANS,
    "serverMonitoringMode": st.sampled_from(["auto", "poll", "stream"]),
    "serverSelectionTimeoutMS": MILLISECONDS | st.just("0"),
    "socketTimeoutMS": MILLISECONDS | st.just("0"),
    "timeoutMS": MILLISECONDS | st.just("0"),
    "tz_aware": BOOLEANS,
    "unicode_decode_error_handler": st.sampled_from(["strict", "replace"]),
    "uuidRepresentation": st.sampled_from(["standard", "csharpLegacy"]),
    "w": st.integers(0, 50).map(str) | st.just("majority"),
    "wTimeoutMS": st.integers(0, 100_000).map(str),
    "waitQueueTimeoutMS": MILLISECONDS,
    "zlibCompressionLevel": st.integers(-1, 9).map(str),
}
HOSTS = st.lists(
    st.sampled_from(["localhost", "db_1:1", "10.0.0.1:65535", "[::1]:27017", "%2Ftmp%2Fm.sock"]),
    min_size=1,
    max_size=3,
    unique=True,
)


@st.composite
def uris(draw: st.DrawFn) -> str:
    user = draw(st.none() | st.tuples(TEXT, TEXT))
    userinfo = f"{quote_plus(user[0])}:{quote_plus(user[1])}@" if user else ""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True))
    pairs = [
        f"{draw(st.sampled_from([name, name.lower(), name.upper()]))}={quote(draw(VALUES[name]))}"
        for name in names
    ]
    pairs += draw(st.lists(st.sampled_from(pairs), max_size=2)) if pairs else []
    database = draw(st.sampled_from(["", "/", "/shop", "/b%C3%BCcher"]))
    query = f"?{'&'.join(pairs)}" if pairs else ""
    return f"mongodb://{userinfo}{','.join(draw(HOSTS))}{database}{query}"


@given(uris())
def test_pymongo_takes_what_we_take_and_understands_it_the_same(uri: str) -> None:
    options = PoolOptions.from_uri(uri)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client = MongoClient(**options.driver_kwargs(), connect=False)
    try:
        driver = client.options
        pool = driver.pool_options
        assert pool.max_pool_size == options.max_size
        assert pool.min_pool_size == options.min_size
        assert pool.max_connecting == options.max_connecting
        assert pool.max_idle_time_seconds == options.max_idle
        assert pool.wait_queue_timeout == options.wait_queue_timeout
        assert pool.connect_timeout == options.connect_timeout
        assert pool.socket_timeout == options.socket_timeout
        assert pool.appname == options.app_name
        assert driver.server_selection_timeout == options.server_selection_timeout
        assert driver.heartbeat_frequency == options.heartbeat
        assert driver.retry_writes is options.retry_writes
        assert driver.retry_reads is options.retry_reads
        assert driver.write_concern.document["w"] == options.w
        assert driver.read_preference.mongos_mode == options.read_preference
        said = parse_uri(uri)
        assert driver.replica_set_name == said.get("replicaSet")
        assert driver.server_monitoring_mode == (said.get("serverMonitoringMode") or "auto")
        assert driver.codec_options.tz_aware is (said.get("tz_aware") or False)
    finally:
        client.close()


@given(uris())
def test_reading_again_changes_nothing(uri: str) -> None:
    options = PoolOptions.from_uri(uri)
    settings = {name: getattr(options, name) for name in OPTION_OF}
    assert PoolOptions(uri=options.uri, **settings) == options
    canonical = parse_uri(uri).text()
    assert parse_uri(canonical).text() == canonical
    assert PoolOptions.from_uri(canonical) == options


@given(uris(), TEXT)
def test_no_repr_or_message_shows_the_password(uri: str, password: str) -> None:
    hidden = f"hunter2{password}"
    uri = f"mongodb://u:{quote_plus(hidden)}@" + uri.removeprefix("mongodb://").rpartition("@")[2]
    assert "hunter2" not in repr(PoolOptions.from_uri(uri))
    broken = f"mongodb://u:{hidden}@" + uri.rpartition("@")[2]
    try:
        shown = repr(PoolOptions.from_uri(broken))
    except ConfigurationError as error:
        shown = str(error)
    assert "hunter2" not in shown


@given(st.text())
@example("mongodb://[")
@example("mongodb://]")
@example("mongodb://[]:")
@example("mongodb://\udc80")
@example("mongodb://h/?w=%ED%B2%80")
@example("mongodb://h/?maxPoolSize=" + "9" * 10_000)
def test_any_text_is_taken_or_refused_with_our_error(text: str) -> None:
    for uri in (
        text,
        f"mongodb://{text}",
        f"mongodb+srv://{text}",
        f"mongodb://{text}@h",
        f"mongodb://h/{text}",
        f"mongodb://h/?{text}",
        f"mongodb://h/?appName={text}",
    ):
        with suppress(ConfigurationError):
            PoolOptions.from_uri(uri)


@given(st.sampled_from(sorted(VALUES)), st.text(max_size=30))
def test_any_value_is_taken_as_pymongo_takes_it_or_refused(name: str, value: str) -> None:
    try:
        options = PoolOptions.from_uri(f"mongodb://h/?{name}={quote(value, errors='replace')}")
    except ConfigurationError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MongoClient(**options.driver_kwargs(), connect=False).close()


@given(st.dictionaries(st.sampled_from(sorted(OPTION_OF)), st.text() | st.integers() | st.none()))
def test_any_argument_is_taken_or_refused_with_our_error(settings: dict[str, object]) -> None:
    with suppress(ConfigurationError):
        PoolOptions(**settings)  # type: ignore[arg-type] # the subject
