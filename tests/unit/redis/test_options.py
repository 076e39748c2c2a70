"""URLs as redis-py reads them, in our words when they are wrong."""

import ssl
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from symphonia_perf.errors import ConfigurationError
from symphonia_perf.redis import RedisOptions


def test_a_url_says_where_and_who() -> None:
    options = RedisOptions(url="redis://user:p%40ss@db.example:7000/3?client_name=api")
    assert (options.host, options.port, options.database) == ("db.example", 7000, 3)
    assert options.credentials == ("user", "p@ss")
    assert options.name == "api"
    assert options.address == "db.example:7000"
    assert options.protocol == 3
    assert options.tls() is None
    assert options.path is None


def test_defaults_are_a_local_server() -> None:
    options = RedisOptions()
    assert (options.address, options.database, options.name) == ("localhost:6379", 0, None)
    assert options.credentials is None
    assert RedisOptions(url="redis://:secret@h").credentials == ("default", "secret")
    assert RedisOptions(url="redis://reader@h").credentials == ("reader", "")
    assert RedisOptions(url="redis://h?client_name=a", client_name="b").name == "b"


def test_a_unix_socket() -> None:
    for url in ("redis://h/3", "redis://h/3/", "redis://h?db=3", "redis:///3", "redis://h/x?db=3"):
        assert RedisOptions(url=url).database == 3
    # What redis-py reads for its own pools and connections may stay in the URL.
    assert RedisOptions(url="redis://h?max_connections=5&socket_timeout=1&timeout=3").host == "h"
    assert RedisOptions(url="unix://me:pw@/run/valkey.sock").credentials == ("me", "pw")
    options = RedisOptions(url="unix:///run/valkey.sock?db=2&protocol=2")
    assert (options.path, options.address) == ("/run/valkey.sock", "/run/valkey.sock")
    assert (options.database, options.protocol) == (2, 2)


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_tls_is_as_redis_py_makes_it(scheme: str) -> None:
    strict = RedisOptions(url=f"{scheme}://h").tls()
    assert strict is not None
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    lax = RedisOptions(url=f"{scheme}://h?ssl_cert_reqs=none&ssl_check_hostname=False").tls()
    assert lax is not None
    assert lax.verify_mode == ssl.CERT_NONE


def test_a_missing_certificate_file_is_named_as_tls(tmp_path: Path) -> None:
    options = RedisOptions(url=f"rediss://h?ssl_ca_certs={tmp_path}/none.pem")
    with pytest.raises(ConfigurationError, match="TLS settings"):
        options.tls()


def test_durations_may_be_timedeltas() -> None:
    assert RedisOptions(deadline=timedelta(milliseconds=100)).deadline == 0.1
    assert RedisOptions(reconnect_step=0).reconnect_step == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": "redis://h/?protocol=5"}, "protocol=5"),
        ({"url": "redis://h/?decode_responses=true"}, "decode_responses"),
        ({"url": "redis://h:port"}, "url"),
        ({"url": "redis://h?db=x"}, "url"),
        ({"url": "redis://h/1/2"}, "expected /NUMBER; not '/1/2'"),
        ({"url": "redis://h/abc"}, "not '/abc'"),
        ({"url": "redis:///x"}, "not '/x'"),
        ({"url": "redis://h#x"}, "url with a #"),
        ({"url": "redis://h?port=70000"}, "port that is no number from 1 to 65535"),
        ({"url": "redis://h?port=abc"}, "port that is no number"),
        ({"url": "redis://h?path=/run/valkey.sock"}, "unix:///path"),
        ({"client_name": "two words"}, "client_name='two words'"),
        ({"client_name": ""}, "client_name=''"),
        ({"client_name": 7}, "client_name=7"),
        ({"url": "unix://run/valkey.sock"}, "unix:///path"),
        ({"url": "redis://h?sockt_timeout=1"}, "'sockt_timeout': .* mean socket_timeout="),
        ({"url": "redis://h?zzz=1"}, "'zzz': there is no such option"),
        ({"url": "ftp://h"}, "scheme 'ftp'"),
        ({"url": "h:6379"}, "scheme 'h'"),
        ({"url": "redis://a..b:6379"}, r"host 'a\.\.b'"),
        ({"url": f"redis://{'x' * 64}"}, "host 'xxx"),
        ({"url": "redis://h\0"}, "NUL"),
        ({"url": "unix:///run/\0"}, "NUL"),
        ({"url": None}, "NoneType"),
        ({"deadline": "1s"}, "deadline='1s'"),
        ({"connect_timeout": 0}, "connect_timeout=0"),
        ({"health_interval": float("nan")}, "health_interval=nan"),
        ({"reconnect_most": -1}, "reconnect_most=-1"),
        ({"max_waiting": 0}, "max_waiting=0"),
        ({"max_reply": 1.5}, "max_reply=1.5"),
    ],
)
def test_what_cannot_work_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RedisOptions(**changed)


def test_the_environment_is_read_and_an_argument_beats_it() -> None:
    environ = {
        "REDIS_URL": "valkeys://:secret@cache:6380/1",
        "REDIS_DEADLINE": "100ms",
        "REDIS_MAX_IN_FLIGHT": "20",
        "REDIS_RETRY_READS": "yes",
        "REDIS_TLS_CA_FILE": "/etc/ca.pem",
        "REDIS_CLIENT_NAME": "",
        "REDIS_PORT": "tcp://10.0.0.1:6379",  # what Kubernetes sets for a service called redis
    }
    options = RedisOptions.from_env(environ=environ, max_in_flight=30)
    assert (options.address, options.deadline, options.retry_reads) == ("cache:6380", 0.1, True)
    assert (options.max_in_flight, options.client_name) == (30, None)
    assert options.tls_ca_file == "/etc/ca.pem"
    assert "secret" not in repr(options)
    assert RedisOptions.from_env("CACHE_", {"CACHE_URL": "redis://c"}).host == "c"


def test_the_environment_is_the_process_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_REDIS_URL", "redis://orders")
    assert RedisOptions.from_env("ORDERS_REDIS_").host == "orders"


@pytest.mark.parametrize(
    ("environ", "settings", "said"),
    [
        ({"REDIS_URI": "redis://h"}, {}, "REDIS_URI: .*REDIS_URL"),
        ({"REDIS_URL": "http://h"}, {}, "REDIS_URL: url with the scheme 'http'"),
        ({"REDIS_DEADLINE": "0"}, {}, "REDIS_DEADLINE: deadline=0"),
        ({"REDIS_DEADLINE": "soon"}, {}, "REDIS_DEADLINE='soon'"),
        ({"REDIS_DEADLINE": "1"}, {"deadline": 0}, "^deadline=0"),
        ({}, {"dead_line": 1}, "from_env.*dead_line"),
    ],
)
def test_a_bad_variable_is_named(
    environ: dict[str, str], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RedisOptions.from_env(environ=environ, **settings)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tls_ca_file": "/ca.pem"}, "tls_ca_file without TLS: .*rediss://"),
        ({"url": "rediss://h", "tls_ca_file": 7}, "tls_ca_file=7: expected the path"),
        ({"url": "rediss://h", "tls_cert_file": ""}, "tls_cert_file=''"),
        ({"url": "rediss://h", "tls_key_file": "/k"}, "tls_key_file without tls_cert_file"),
        ({"retry_reads": 1}, "retry_reads=1: expected True or False"),
        ({"max_waiting_bytes": 0}, "max_waiting_bytes=0"),
    ],
)
def test_options_that_cannot_work_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        RedisOptions(**options)


def test_tls_files_that_are_missing_are_told_when_they_are_read(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.pem")
    with pytest.raises(ConfigurationError, match=r"TLS settings: .*No such file"):
        RedisOptions(url="rediss://h", tls_ca_file=absent).tls()
    beside = RedisOptions(url=f"rediss://h?ssl_certfile={absent}", tls_key_file=absent)
    with pytest.raises(ConfigurationError, match="TLS settings"):
        beside.tls()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:s3cr/et@host:6379/0",
        "redis://:12345/s3cret@host:6379/0",
        "redis://app:s3cret#x@host:6379/0",
        "redis://:12345#s3cret@host:6379/0",
        "redis://:a?s3cret=b@host:6379",
        "redis://:12345?s3cret=b@host:6379",
        "redis://:s3[cret@host:6379",
        "redis://app:S3cret/Pass@host/0",
        "rediss://app:s3cret?@host/0",
    ],
)
def test_no_message_shows_a_piece_of_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"%2F") as refused:
        RedisOptions(url=url)
    shown = "".join(traceback.format_exception(refused.value))
    message = shown.rpartition("ConfigurationError: ")[2].lower()
    for piece in ("s3c", "cret", "12345", "pass@"):
        assert piece not in message


def test_words_for_a_pool_are_no_trouble_for_tls() -> None:
    options = RedisOptions(url="rediss://h?max_connections=10&timeout=20&ssl_cert_reqs=none")
    assert options.tls() is not None


@pytest.mark.parametrize("query", ["ssl_cert_reqs=CERT_NONE", "retry=3"])
def test_what_redis_py_cannot_use_is_ours(query: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^TLS settings: "):
        RedisOptions(url=f"rediss://h?{query}").tls()
