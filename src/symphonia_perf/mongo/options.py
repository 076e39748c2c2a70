"""`PoolOptions`: how many connections a MongoDB client keeps, and how long anything may take."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import wraps
from types import MappingProxyType
from typing import Any, Literal, Self, TypeAlias, TypedDict, TypeVar, Unpack, cast

from symphonia_perf._core.env import from_environ, nearest, variable_names
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._domains import FieldDomain
from symphonia_perf.mongo._profiles import WEB, WORKER
from symphonia_perf.mongo._settings import OPTIONS
from symphonia_perf.mongo._uri import MongoURI, parse_uri
from symphonia_perf.typing import Seconds

__all__ = [
    "OPTION_OF",
    "Compressor",
    "PoolOptions",
    "PoolSettings",
    "ReadPreference",
    "field_meant",
]

T = TypeVar("T")

Compressor: TypeAlias = Literal["zlib", "zstd", "snappy"]
"""What can compress the wire; zstd and snappy need a package of their own."""

ReadPreference: TypeAlias = Literal[
    "primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"
]
"""Which member answers reads."""

Profile: TypeAlias = Literal["web", "worker"]
"""What kind of process it is for; see `PoolOptions.web` and `PoolOptions.worker`."""

_PROFILES: dict[str, Mapping[str, Any]] = {"web": WEB, "worker": WORKER}

OPTION_OF = {
    "max_size": "maxPoolSize",
    "min_size": "minPoolSize",
    "max_connecting": "maxConnecting",
    "max_idle": "maxIdleTimeMS",
    "wait_queue_timeout": "waitQueueTimeoutMS",
    "connect_timeout": "connectTimeoutMS",
    "socket_timeout": "socketTimeoutMS",
    "server_selection_timeout": "serverSelectionTimeoutMS",
    "heartbeat": "heartbeatFrequencyMS",
    "retry_writes": "retryWrites",
    "retry_reads": "retryReads",
    "w": "w",
    "read_preference": "readPreference",
    "compressors": "compressors",
    "zlib_level": "zlibCompressionLevel",
    "app_name": "appName",
}
"""Field -> the option's name in a URI and as a driver keyword."""

_FIELD_OF = {option: field for field, option in OPTION_OF.items()}
_FIELD_OF_WORDS = {
    word.replace("_", "").lower().removesuffix("ms"): field
    for field, option in OPTION_OF.items()
    for word in (field, option)
}
# maxIdleTimeMS -> MAX_IDLE_TIME: the environment takes `30s`, so no unit stands in the name.
_VARIABLE_OF = {
    field: re.sub("(?<=[a-z])(?=[A-Z])", "_", option.removesuffix("MS")).upper()
    for field, option in OPTION_OF.items()
}


def field_meant(name: str) -> str | None:
    """The field of `PoolOptions` that a driver's keyword means, in whatever spelling."""
    return _FIELD_OF_WORDS.get(name.replace("_", "").lower().removesuffix("ms"))


def _named(kind: type[T]) -> type[T]:
    """Let the constructor answer a misspelt setting with the right one."""
    plain = kind.__init__

    @wraps(plain)
    def init(self: T, *args: object, **settings: Any) -> None:
        if args:
            raise ConfigurationError(
                "PoolOptions: settings have names; PoolOptions.from_uri(...) reads a URI"
            )
        for name in settings.keys() - OPTION_OF.keys() - {"uri"}:
            field = field_meant(name) or nearest(name, OPTION_OF)
            hint = f"; did you mean {field}=?" if field else f"; there are {', '.join(OPTION_OF)}"
            raise ConfigurationError(f"{name}: not a setting of PoolOptions{hint}")
        plain(self, **settings)

    kind.__init__ = init  # type: ignore[assignment, method-assign]
    return kind


class PoolSettings(TypedDict, total=False):
    """The keyword arguments of `PoolOptions`, without the URI."""

    max_size: int
    min_size: int
    max_connecting: int
    max_idle: Seconds | None
    wait_queue_timeout: Seconds | None
    connect_timeout: Seconds | None
    socket_timeout: Seconds | None
    server_selection_timeout: Seconds
    heartbeat: Seconds
    retry_writes: bool
    retry_reads: bool
    w: int | str
    read_preference: ReadPreference
    compressors: tuple[Compressor, ...]
    zlib_level: int
    app_name: str | None


@_named
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PoolOptions:
    """Every setting of a client's connection pool, checked and with its default in sight.

    A pool belongs to one process and one server: a service with 4 workers on a set of 3 members may
    hold 4 * 3 * `max_size` connections. Durations are seconds or a `timedelta`, and are kept as
    seconds, to the millisecond; `None` means no limit. Equal options are equal objects.

    ```python
    from dataclasses import replace
    from symphonia_perf.mongo import PoolOptions

    options = PoolOptions.from_uri(
        "mongodb://db1,db2/?replicaSet=rs0&maxPoolSize=20", read_preference="secondaryPreferred"
    )
    assert options.max_size == 20
    assert options.uri == "mongodb://db1,db2/?replicaSet=rs0"
    assert replace(options, max_size=30).driver_kwargs()["maxPoolSize"] == 30
    ```

    The constructor takes a URI that says where and who (hosts, credentials, TLS, replica set), and
    refuses one that repeats a setting of the pool: `from_uri` and `from_env` decide between them.

    Raises:
        ConfigurationError: a value is of the wrong type or out of its domain, the URI is not one
            the driver takes without a warning, or settings contradict one another. The message
            names the setting as it was written, its value and what is allowed.
    """

    uri: str = "mongodb://localhost:27017"  # no pool settings in it; default: this host

    # --- the pool -------------------------------------------------------------------------------
    max_size: int = 50  # connections per server; 50 (the study; the driver's own is 100)
    min_size: int = 10  # connections per server, kept open; 10 (the study), warm() opens them
    max_connecting: int = 2  # handshakes at a time; 2, the driver's: no storm after a failover
    max_idle: Seconds | None = 30.0  # seconds unused until closed; 30 (the study)
    # Seconds a caller waits for a free connection; 2: the driver's own wait has no end, so that a
    # full pool looks like a hanging service.
    wait_queue_timeout: Seconds | None = 2.0

    # --- how long a server may take ---------------------------------------------------------------
    connect_timeout: Seconds | None = 10.0  # seconds for TCP, TLS, log-in; 10 (the study)
    socket_timeout: Seconds | None = 45.0  # seconds for one answer; 45 (the study)
    # Seconds until "no server" is an error; 15: an election takes 10 to 12, so that writes survive
    # a lost primary (measured: 5 s lost four writes), and the driver's 30 keeps callers too long.
    server_selection_timeout: Seconds = 15.0
    # Seconds between looks at each server; 2: a frozen host is noticed after this plus
    # connect_timeout: reads stalled 19.1 s with 10 + 10 s, 11.0 with 2 + 10, 3.0 with 2 + 2
    # (measured: benchmarks/mongo/bench_failover.py).
    heartbeat: Seconds = 2.0

    # --- reads and writes -------------------------------------------------------------------------
    retry_writes: bool = True  # once, after a lost primary or connection; True (the study)
    retry_reads: bool = True  # once, likewise; True (the study)
    w: int | str = "majority"  # members that confirm a write; majority (the study): none is undone
    # Which member answers; primaryPreferred (the study): reads go on during an election, and may
    # then be stale.
    read_preference: ReadPreference = "primaryPreferred"

    # --- the wire ---------------------------------------------------------------------------------
    # In order of preference, () for none; zlib (the study). Worth it between zones; on a fast local
    # network it costs more than it saves (50 documents: 1.5 ms without, 6.5 ms with; measured).
    compressors: tuple[Compressor, ...] = ("zlib",)
    zlib_level: int = (
        6  # 1 fast to 9 small, 0 none, -1 zlib's own; 6 (the study); only what we send
    )
    app_name: str | None = None  # shown in the server's log and currentOp; None: not sent

    def __post_init__(self) -> None:
        uri = parse_uri(self.uri)
        for entry in uri.entries:
            if field := _FIELD_OF.get(entry.option.name):
                raise ConfigurationError(
                    f"uri: {entry.written} belongs into PoolOptions({field}=...); "
                    "PoolOptions.from_uri(...) takes it from the URI"
                )
        object.__setattr__(self, "uri", uri.text())
        for name in OPTION_OF:
            # Normal forms (seconds, tuples) make equal options equal.
            object.__setattr__(self, name, _check(name, getattr(self, name), name))
        _check_together({name: getattr(self, name) for name in OPTION_OF}, {}, uri)

    @classmethod
    def from_uri(cls, uri: str, **settings: Unpack[PoolSettings]) -> Self:
        """Options for `uri`, in which an argument beats what the URI says.

        The URI's options that are fields here move into the fields; the others (credentials, TLS,
        replica set ...) stay in `.uri`. Where only `max_size` is given, `min_size` is lowered to it
        if its default is higher.

        Raises:
            ConfigurationError: see `PoolOptions`.
        """
        return cls._resolve(parse_uri(uri), {}, {}, settings)

    @classmethod
    def from_env(
        cls,
        prefix: str = "MONGODB_",
        environ: Mapping[str, str] | None = None,
        *,
        uri: str | None = None,
        profile: Profile | None = None,
        **settings: Unpack[PoolSettings],
    ) -> Self:
        """Options from the environment: an argument beats the URI, which beats a variable.

        A variable beats the profile, where one is named.

        The variables are `MONGODB_URI` and one per field, named after the driver's option:
        `MONGODB_MAX_POOL_SIZE=20`, `MONGODB_MAX_IDLE_TIME=45s`, `MONGODB_RETRY_WRITES=no`,
        `MONGODB_COMPRESSORS=zstd,zlib`. An empty variable counts as not set. A variable that looks
        like one of these and is none (`MONGODB_URL`) is an error; others are not ours to judge.

        ```python
        from symphonia_perf.mongo import PoolOptions

        options = PoolOptions.from_env(environ={"MONGODB_URI": "mongodb://db", "MONGODB_W": "1"})
        assert (options.uri, options.w, options.max_size) == ("mongodb://db", 1, 50)
        assert PoolOptions.from_env(environ={}, profile="web").connect_timeout == 2.0
        ```

        Args:
            prefix: what the variables begin with.
            environ: in place of `os.environ`.
            uri: in place of `MONGODB_URI`.
            profile: `"web"` or `"worker"`: what those methods put in place of the defaults.
            **settings: fields of `PoolOptions`.

        Raises:
            ConfigurationError: see `PoolOptions`; the message names the variable.
        """
        if profile is not None and profile not in _PROFILES:
            raise ConfigurationError(
                f"profile={profile!r}: expected one of {', '.join(map(repr, _PROFILES))}"
            )
        environ = os.environ if environ is None else environ
        found = from_environ(cls, environ, prefix=prefix, names=_VARIABLE_OF)
        labels = variable_names(cls, prefix=prefix, names=_VARIABLE_OF)
        there = found.pop("uri", None)
        if uri is not None:
            parsed = parse_uri(uri)
        elif there is not None:
            parsed = parse_uri(there, label=labels["uri"])
        else:
            parsed = parse_uri(_DEFAULTS["uri"])
        return cls._resolve(parsed, found, labels, settings, _PROFILES[profile] if profile else {})

    @classmethod
    def web(cls, uri: str = "mongodb://localhost:27017", **settings: Unpack[PoolSettings]) -> Self:
        """Options for a process that answers requests: it loses a dead server early.

        As `from_uri`, with these in place of the defaults: connect_timeout 2 s, socket_timeout
        10 s, no compression. An argument beats the URI, which beats the profile;
        `from_env(profile="web")` reads variables as well.

        ```python
        from symphonia_perf.mongo import PoolOptions

        options = PoolOptions.web("mongodb://db1,db2/?replicaSet=rs0", max_size=20)
        assert (options.connect_timeout, options.max_size) == (2.0, 20)
        ```

        Args:
            uri: where and who; default: this host.
            **settings: fields of `PoolOptions`.

        Raises:
            ConfigurationError: see `PoolOptions`.
        """
        return cls._resolve(parse_uri(uri), {}, {}, settings, WEB)

    @classmethod
    def worker(
        cls, uri: str = "mongodb://localhost:27017", **settings: Unpack[PoolSettings]
    ) -> Self:
        """Options for a process that runs jobs: few connections, and patience.

        As `from_uri`, with these in place of the defaults: max_size 10, min_size 1, max_idle 300 s,
        wait_queue_timeout and server_selection_timeout 30 s, connect_timeout 5 s, socket_timeout
        300 s, reads from the primary. An argument beats the URI, which beats the profile.

        ```python
        from symphonia_perf.mongo import PoolOptions

        assert PoolOptions.worker().max_size == 10
        assert PoolOptions.worker("mongodb://db/?maxPoolSize=4").max_size == 4
        ```

        Args:
            uri: where and who; default: this host.
            **settings: fields of `PoolOptions`.

        Raises:
            ConfigurationError: see `PoolOptions`.
        """
        return cls._resolve(parse_uri(uri), {}, {}, settings, WORKER)

    @classmethod
    def _resolve(
        cls,
        uri: MongoURI,
        environment: Mapping[str, Any],
        variables: Mapping[str, str],
        settings: PoolSettings,
        profile: Mapping[str, Any] = MappingProxyType({}),
    ) -> Self:
        """Settings win over the URI, the URI over the environment; each is checked by its name."""
        defaults = {**_DEFAULTS, **profile}
        values: dict[str, Any] = {}
        labels: dict[str, str] = {}
        for name, value in environment.items():
            labels[name] = variables[name]
            values[name] = _check(name, value, labels[name])
        for entry in uri.entries:
            if name := _FIELD_OF.get(entry.option.name, ""):
                labels[name] = entry.written
                values[name] = entry.value
        for name, value in settings.items():
            labels[name] = name
            values[name] = _check(name, value, name) if name in OPTION_OF else value
        if "max_size" in values and "min_size" not in values:
            values["min_size"] = min(defaults["min_size"], values["max_size"])
        _check_together(defaults | values, labels, uri)
        return cls(**defaults | values | {"uri": uri.text(without=_FIELD_OF)})

    def driver_kwargs(self) -> dict[str, Any]:
        """What the driver is given: `MongoClient(**options.driver_kwargs())`, times in ms."""
        kwargs: dict[str, Any] = {"host": self.uri}
        for name, option in OPTION_OF.items():
            value = getattr(self, name)
            kwargs[option] = (
                round(value * 1000) if option.endswith("MS") and value is not None else value
            )
        kwargs["compressors"] = list(self.compressors)
        if "zlib" not in self.compressors:
            del kwargs["zlibCompressionLevel"]
        if self.app_name is None:
            del kwargs["appName"]
        return kwargs

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in OPTION_OF)
        return f"{type(self).__name__}(uri={parse_uri(self.uri).redacted()!r}, {settings})"


_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(PoolOptions)}


def _check(name: str, value: object, label: str) -> object:
    """`value` in its normal form, or an error that calls it `label`."""
    return cast("FieldDomain", OPTIONS[OPTION_OF[name].lower()].domain).check(value, label)


def _check_together(values: Mapping[str, Any], labels: Mapping[str, str], uri: MongoURI) -> None:
    """What no field can tell alone."""

    def say(name: str) -> str:
        return f"{labels.get(name, name)}={values[name]!r}"

    if values["min_size"] > values["max_size"]:
        raise ConfigurationError(
            f"{say('min_size')} is more than {say('max_size')}; lower the first or raise the second"
        )
    said = {entry.option.name: entry.value for entry in uri.entries}
    staleness = said.get("maxStalenessSeconds", -1)
    if values["read_preference"] == "primary":
        for name in ("readPreferenceTags", "maxStalenessSeconds"):
            if said.get(name, -1) != -1:
                raise ConfigurationError(
                    f"{name} in the URI contradicts {say('read_preference')}: there is one primary"
                )
    # Server selection specification: at least one heartbeat and the 10 s between idle writes.
    if isinstance(staleness, int) and -1 < staleness < values["heartbeat"] + 10:
        raise ConfigurationError(
            f"maxStalenessSeconds={staleness} is less than a heartbeat of "
            f"{values['heartbeat']:g} seconds plus 10"
        )
    if values["w"] == 0 and said.get("journal"):
        raise ConfigurationError(f"{say('w')} contradicts journal=true in the URI: nobody confirms")
