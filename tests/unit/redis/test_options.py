"""URLs as redis-py reads them, in our words when they are wrong."""

import ssl
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
