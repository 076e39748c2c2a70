"""Where a Redis or Valkey server is and how to behave towards it: a frozen value, no I/O."""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from inspect import signature
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import connection as driver
from redis.asyncio.connection import SSLConnection, parse_url

from symphonia_perf._core.durations import seconds
from symphonia_perf._core.env import from_environ, nearest, variable_names
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

__all__ = ["RedisOptions"]

# valkey-py's own spellings; redis-py's parser does the rest.
_SCHEMES = {"valkey": "redis", "valkeys": "rediss"}
_ENCODED = "in a password, / is written %2F, # is %23, ? is %3F and @ is %40"
# Field -> what redis-py calls it, in a URL and for its TLS context.
_TLS_FILES = {
    "tls_ca_file": "ssl_ca_certs",
    "tls_cert_file": "ssl_certfile",
    "tls_key_file": "ssl_keyfile",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """Every setting of a `RedisClient`.

    ```python
    from symphonia_perf.redis import RedisOptions

    options = RedisOptions(url="valkey://localhost:6379/2", deadline=0.1)
    assert options.address == "localhost:6379"
    ```

    Raises:
        ConfigurationError: names the option, its value and what is allowed.
    """

    # As redis-py parses it (redis://, rediss://, unix://), plus valkey:// and valkeys://.
    url: str = field(default="redis://localhost:6379/0", repr=False)  # it may hold a password
    deadline: Seconds = 0.25  # seconds until a command without a reply raises; default 0.25
    connect_timeout: Seconds = 10.0  # seconds for one attempt to connect; default 10
    reconnect_step: Seconds = 0.1  # seconds more between two attempts, each time; default 0.1
    reconnect_most: Seconds = 3.0  # seconds between two attempts at most; default 3
    health_interval: Seconds = (
        5.0  # seconds of silence until a ping, then until given up; default 5
    )
    max_in_flight: int = 10_000  # commands sent and not answered; more wait in line; default 10,000
    max_in_flight_bytes: int = 4 * 2**20  # of them, packed; default 4 MiB
    max_waiting: int = 10_000  # callers in line; more are refused at once; default 10,000
    max_waiting_bytes: int = 32 * 2**20  # of them, packed; more are refused; default 32 MiB
    max_reply: int = 64 * 2**20  # bytes of one reply; a larger one ends the connection; 64 MiB
    # Whether a read whose connection was lost is sent once more, within its deadline; default no.
    retry_reads: bool = False
    client_name: str | None = None  # as CLIENT LIST shows it; default none
    tls_ca_file: str | None = None  # who signed the server's certificate, PEM; default the system's
    tls_cert_file: str | None = None  # the client's own certificate, PEM; default none
    tls_key_file: str | None = None  # its key, where that is a file apart; default none
    _parsed: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Check every field and parse the URL."""
        for option in ("deadline", "connect_timeout", "health_interval"):
            object.__setattr__(self, option, seconds(getattr(self, option), option=option))
        for option in ("reconnect_step", "reconnect_most"):
            value = seconds(getattr(self, option), option=option, zero=True)
            object.__setattr__(self, option, value)
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name.startswith("max_") and (type(value) is not int or value < 1):
                raise ConfigurationError(f"{item.name}={value!r}: expected a whole number above 0")
        if type(self.retry_reads) is not bool:
            raise ConfigurationError(f"retry_reads={self.retry_reads!r}: expected True or False")
        name: object = self.client_name
        if name is not None and not (isinstance(name, str) and re.fullmatch(r"[!-~]+", name)):
            raise ConfigurationError(f"client_name={name!r:.100}: expected ASCII without spaces")
        parsed = _parse(self.url)
        object.__setattr__(self, "_parsed", parsed | self._tls_files(parsed))

    @classmethod
    def from_env(
        cls,
        prefix: str = "REDIS_",
        environ: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Self:
        """Options from the environment: an argument beats a variable, which beats the default.

        The variables are named after the fields: `REDIS_URL`, `REDIS_DEADLINE=100ms`,
        `REDIS_MAX_IN_FLIGHT=2000`, `REDIS_RETRY_READS=yes`, `REDIS_TLS_CA_FILE`. An empty variable
        counts as not set. One that looks like these and is none (`REDIS_DEADLNE`) is an error;
        others are not ours to judge.

        ```python
        from symphonia_perf.redis import RedisOptions

        options = RedisOptions.from_env(
            environ={"REDIS_URL": "redis://cache:6380/1", "REDIS_DEADLINE": "100ms"}
        )
        assert (options.address, options.deadline) == ("cache:6380", 0.1)
        ```

        Args:
            prefix: what the variables begin with.
            environ: in place of `os.environ`.
            **settings: fields of `RedisOptions`.

        Raises:
            ConfigurationError: see `RedisOptions`; a variable that cannot be read is named.
        """
        found = from_environ(cls, os.environ if environ is None else environ, prefix=prefix)
        try:
            return cls(**(found | settings))
        except TypeError as error:
            raise ConfigurationError(f"RedisOptions.from_env(): {error}") from error
        except ConfigurationError as error:
            option = re.match(r"\w*", str(error))[0]  # type: ignore[index]  # it always matches
            if option not in found.keys() - settings.keys():
                raise
            variable = variable_names(cls, prefix=prefix)[option]
            raise ConfigurationError(f"{variable}: {error}") from error

    @property
    def address(self) -> str:
        """Where, without credentials: for messages."""
        parsed = self._parsed
        if path := parsed.get("path"):
            return str(path)
        return f"{parsed.get('host', 'localhost')}:{parsed.get('port', 6379)}"

    @property
    def path(self) -> str | None:
        """The unix socket's path, or None for TCP."""
        return self._parsed.get("path")

    @property
    def host(self) -> str:
        """The server's host name or address."""
        return str(self._parsed.get("host", "localhost"))

    @property
    def port(self) -> int:
        """The server's port."""
        return int(self._parsed.get("port", 6379))

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken."""
        return self._parsed.get("connection_class") is SSLConnection

    @property
    def database(self) -> int:
        """The database's number."""
        return int(self._parsed.get("db", 0))

    @property
    def name(self) -> str | None:
        """The connection's name, from here or from the URL."""
        return self.client_name or self._parsed.get("client_name")

    @property
    def protocol(self) -> int:
        """3, unless the URL says `protocol=2`."""
        return int(self._parsed.get("protocol", 3))

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password, or None; without a user it is `default`."""
        user, password = self._parsed.get("username"), self._parsed.get("password")
        if not user and password is None:
            return None
        return user or "default", password or ""  # a user may need no password

    def _tls_files(self, parsed: dict[str, Any]) -> dict[str, str]:
        given = {option: getattr(self, option) for option in _TLS_FILES}
        files = {option: path for option, path in given.items() if path is not None}
        for option, path in files.items():
            if not isinstance(path, str) or not path:
                raise ConfigurationError(f"{option}={path!r:.100}: expected the path of a PEM file")
            if parsed.get("connection_class") is not SSLConnection:  # not parsed into self yet
                raise ConfigurationError(f"{option} without TLS: begin the url with rediss://")
        if (
            "tls_key_file" in files
            and "tls_cert_file" not in files
            and "ssl_certfile" not in parsed
        ):
            raise ConfigurationError("tls_key_file without tls_cert_file: name both")
        return {_TLS_FILES[option]: path for option, path in files.items()}

    def tls(self) -> ssl.SSLContext | None:
        """A new TLS context as redis-py makes it from the URL and the files above, or None.

        Raises:
            ConfigurationError: a certificate file that cannot be read.
        """
        if not self.secure:
            return None
        # What is for a pool would be too much for a connection.
        known = _parameters(driver.AbstractConnection, driver.Connection, SSLConnection)
        told = {name: value for name, value in self._parsed.items() if name in known}
        try:
            context = SSLConnection(**told).ssl_context.get()
        except Exception as error:  # redis-py raises whatever comes of a value it did not look at
            raise ConfigurationError(f"TLS settings: {_first_line(error)}") from error
        return context


def _parse(url: object) -> dict[str, Any]:
    wanted = "expected redis://host:port/db, rediss://, valkey://, valkeys:// or unix://path"
    if not isinstance(url, str):
        raise ConfigurationError(f"url of type {type(url).__qualname__}: {wanted}")
    scheme, separator, rest = url.partition("://")
    known = _SCHEMES.get(scheme, scheme)
    if not separator or known not in {"redis", "rediss", "unix"}:
        # Not the URL itself: what is behind the scheme may be a password.
        raise ConfigurationError(f"url with the scheme {scheme.partition(':')[0]!r:.40}: {wanted}")
    try:
        parsed: dict[str, Any] = dict(parse_url(f"{known}://{rest}"))
    except (ValueError, TypeError) as error:
        # It may quote a piece of a password; what it says of the query names the option only.
        said = _first_line(error) if "@" not in rest else _ENCODED
        raise ConfigurationError(f"url: {wanted}; {said}") from None
    _refuse_ignored(known, rest)
    host = parsed.get("host", "")
    try:
        host.encode("idna")  # what the resolver does with it
    except UnicodeError as error:
        raise ConfigurationError(
            f"url with the host {host!r:.100}: {_first_line(error)}"
        ) from error
    port = parsed.get("port", 6379)  # a text, where the query says it
    if not str(port).isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigurationError("url with a port that is no number from 1 to 65535")
    if "path" in parsed and known != "unix":
        raise ConfigurationError("url with path=: write unix:///path for a unix socket")
    if "\0" in rest:
        raise ConfigurationError("url with a NUL character")
    if parsed.get("decode_responses"):
        raise ConfigurationError("url with decode_responses: replies are bytes; leave it out")
    if parsed.get("protocol", 3) not in {2, 3}:
        raise ConfigurationError(f"url with protocol={parsed['protocol']!r}: expected 2 or 3")
    return parsed


def _refuse_ignored(scheme: str, rest: str) -> None:
    """Raise for what redis-py's parser passes over, or reads as something else.

    Raises:
        ConfigurationError: a database that is no number (`/abc` is 0 to redis-py, `/1/2` is 12), a
            socket's path without its first slash, or a word of the query that no connection and no
            pool of redis-py knows.
    """
    parts = urlsplit(f"{scheme}://{rest}")
    words = parse_qs(parts.query)
    # Then what looks like a path, a query or a fragment may be the rest of a password.
    torn = "@" in parts.path + parts.query + parts.fragment and "@" not in parts.netloc
    if scheme == "unix":
        if parts.hostname:
            raise ConfigurationError("url of a unix socket: write its path from / on, unix:///path")
    elif "db" not in words and not re.fullmatch(r"/*\d*/*", unquote(parts.path)):
        said = _ENCODED if torn else f"not {parts.path!r:.100}"
        raise ConfigurationError(f"url with a database: expected /NUMBER; {said}")
    if parts.fragment:
        raise ConfigurationError(f"url with a #: it means nothing here; {_ENCODED}")
    for word in sorted(words.keys() - _query_words()) if words else ():
        near = nearest(word, _query_words())
        hint = f"did you mean {near}=?" if near else "there is no such option"
        said = _ENCODED if torn else f"{word!r:.100}: {hint}"
        raise ConfigurationError(f"url with an unknown word behind the question mark; {said}")


@lru_cache(maxsize=1)
def _query_words() -> frozenset[str]:
    """What a URL may say to redis-py: the parameters of its connections and pools."""
    kinds = (driver.Connection, driver.UnixDomainSocketConnection, SSLConnection)
    pools = (driver.ConnectionPool, driver.BlockingConnectionPool)
    return _parameters(driver.AbstractConnection, *kinds, *pools)


def _parameters(*kinds: type) -> frozenset[str]:
    return frozenset(name for kind in kinds for name in signature(kind).parameters)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
