"""The driver's errors as ours, for what we ask a server ourselves."""

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import (
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from symphonia_perf.errors import (
    ConfigurationError,
    MongoOperationError,
    NotOpen,
    StoreTimeout,
    StoreUnavailable,
    SymphoniaError,
    WrongLoop,
)

__all__ = ["as_ours"]


@contextmanager
def as_ours(who: str, command: str) -> Iterator[None]:
    """What a driver's call raises, as our error: `who` of ours asked with this command."""
    try:
        yield
    except (PyMongoError, RuntimeError) as error:
        raise _translate(error, who, command) from error


def _translate(error: PyMongoError | RuntimeError, who: str, command: str) -> SymphoniaError:
    text = f"{who}: {error}"
    where = {"store": "mongodb", "operation": command}
    match error:
        case RuntimeError():  # PyMongo's and asyncio's own word for a loop that is not the client's
            return WrongLoop(text)
        case ServerSelectionTimeoutError():
            return StoreUnavailable(text, **where)
        case PyMongoError(timeout=True):
            return StoreTimeout(text, **where)
        case OperationFailure(code=code, details=details):
            name = (details or {}).get("codeName")
            return MongoOperationError(text, code=code, code_name=name, operation=command)
        case InvalidOperation():
            return NotOpen(text)
        case DriverConfigurationError():
            return ConfigurationError(text)
        case _:
            return StoreUnavailable(text, **where)
