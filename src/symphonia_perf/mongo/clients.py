"""The driver's own clients, built from `PoolOptions`; nothing is wrapped and nothing connects.

A client belongs to the whole process: make one at module scope, share it, close it at shutdown.
`AsyncMongoClient` is bound to the event loop of its first operation, and no client survives a fork.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import AsyncMongoClient, MongoClient, compression_support
from pymongo.errors import ConfigurationError as DriverConfigurationError

from symphonia_perf._core.lazy import missing_extra
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo._settings import OPTIONS
from symphonia_perf.mongo._uri import parse_uri
from symphonia_perf.mongo._warm import warm, warm_sync
from symphonia_perf.mongo.options import OPTION_OF, PoolOptions, field_meant
from symphonia_perf.typing import Document

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClient

__all__ = ["create_async_client", "create_client", "create_motor_client", "warm", "warm_sync"]

# Keywords that say again, or otherwise, what PoolOptions says.
_BELONGS = {option.lower(): f"PoolOptions({field}=...)" for field, option in OPTION_OF.items()} | {
    "connect": "warm(client): a client never connects when it is built",
    "host": "PoolOptions(uri=...)",
    "port": "PoolOptions(uri=...)",
    "read_preference": "PoolOptions(read_preference=...), and the URI for its tags",
}
_HAVE = {
    "zlib": lambda: True,  # of the standard library
    # The driver's own tests: which package it takes for zstd depends on its version and Python's.
    "zstd": compression_support._have_zstd,  # noqa: SLF001
    "snappy": compression_support._have_snappy,  # noqa: SLF001
}


def create_client(options: PoolOptions | None = None, **keywords: object) -> MongoClient[Document]:
    """A `pymongo.MongoClient` with these options, not yet connected.

    ```python
    from symphonia_perf.mongo import PoolOptions, create_client

    with create_client(PoolOptions.from_uri("mongodb://db1,db2/?replicaSet=rs0")) as client:
        assert client.options.pool_options.max_pool_size == 50
    ```

    Args:
        options: None for the documented defaults and `mongodb://localhost:27017`.
        **keywords: what is no pool setting and goes to the driver untouched: `event_listeners`,
            `server_api`, `document_class`, `username`, `password` ...

    Raises:
        ConfigurationError: a keyword repeats a setting of `options`; a compressor's package is not
            installed; this PyMongo is too old for an option of the URI; the driver refuses
            something (unknown keyword, unreadable certificate file, incomplete credentials).
    """
    kwargs = _kwargs(options, keywords)
    with _as_configuration():
        return MongoClient(**kwargs)


def create_async_client(
    options: PoolOptions | None = None, **keywords: object
) -> AsyncMongoClient[Document]:
    """A `pymongo.AsyncMongoClient` with these options, not yet connected.

    It may be made without a running event loop; its first operation binds it to the loop that runs
    then.

    ```python
    from symphonia_perf.mongo import create_async_client

    client = create_async_client(tz_aware=True)      # PoolOptions() and localhost:27017
    assert client.options.pool_options.wait_queue_timeout == 2.0
    await client.close()
    ```

    Args:
        options: None for the documented defaults and `mongodb://localhost:27017`.
        **keywords: what is no pool setting, see `create_client`.

    Raises:
        ConfigurationError: see `create_client`.
    """
    kwargs = _kwargs(options, keywords)
    with _as_configuration():
        return AsyncMongoClient(**kwargs)


def create_motor_client(
    options: PoolOptions | None = None, **keywords: object
) -> "AsyncIOMotorClient[Document]":
    """A `motor.motor_asyncio.AsyncIOMotorClient` with these options, not yet connected.

    A bridge for services that still use Motor, which its makers deprecated in favour of
    `create_async_client`.

    Args:
        options: None for the documented defaults and `mongodb://localhost:27017`.
        **keywords: what is no pool setting, see `create_client`.

    Raises:
        ConfigurationError: see `create_client`.
        MissingExtra: Motor is not installed.
    """
    try:
        from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415 - an extra of its own
    except ModuleNotFoundError as error:
        if clear := missing_extra(error):
            raise clear from error
        raise
    kwargs = _kwargs(options, keywords)
    with _as_configuration():
        return AsyncIOMotorClient(**kwargs)


def _kwargs(options: PoolOptions | None, keywords: Mapping[str, object]) -> dict[str, Any]:
    """The driver's keywords, or an error where it would quietly prefer or ignore one."""
    if options is None:
        options = PoolOptions()
    elif not isinstance(options, PoolOptions):
        raise ConfigurationError(
            f"options: expected PoolOptions, not {type(options).__name__}; "
            "PoolOptions.from_uri(...) reads a URI"
        )
    said = {entry.option.name for entry in parse_uri(options.uri).entries}
    for keyword in keywords:
        option = OPTIONS.get(keyword.lower())
        name = option.name if option else keyword
        place = _BELONGS.get(name.lower())
        if place is None and option is None and (field := field_meant(name)):
            place = f"PoolOptions({field}=...)"
        if place:
            raise ConfigurationError(f"{keyword}: not a driver keyword here; use {place}")
        if name in said:
            raise ConfigurationError(f"{keyword}: the URI says it already; remove one of them")
    _check_installed(options, said)
    return {**options.driver_kwargs(), "connect": False, **keywords}


def _check_installed(options: PoolOptions, said: Iterable[str]) -> None:
    """The driver would warn, and go on without the compressor or the option."""
    for compressor in options.compressors:
        if not _HAVE[compressor]():
            raise ConfigurationError(
                f"compressors={options.compressors!r}: the package for {compressor} is not "
                f"installed; run: pip install 'pymongo[{compressor}]'"
            )
    for name in said:
        since = OPTIONS[name.lower()].since
        if pymongo.version_tuple[:2] < since:
            raise ConfigurationError(
                f"{name} in the URI needs PyMongo {since[0]}.{since[1]} or newer, "
                f"not {pymongo.version}"
            )


@contextmanager
def _as_configuration() -> Iterator[None]:
    """What the driver refuses when a client is built, as our error."""
    try:
        yield
    except (DriverConfigurationError, ValueError, TypeError, OSError) as error:
        raise ConfigurationError(f"the driver refuses these settings: {error}") from error
