"""The driver's errors as ours, for what we ask a server ourselves."""

from collections.abc import Iterator
from contextlib import contextmanager

from bson.errors import BSONError
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
from symphonia_perf.mongo._words import driver_words

__all__ = ["as_ours"]


@contextmanager
def as_ours(who: str, command: str) -> Iterator[None]:
    """What a driver's call raises, as our error: `who` of ours asked with this command."""
    try:
        yield
    except (PyMongoError, BSONError) as error:
        raise _translate(error, who, command) from error
    except RuntimeError as error:
        # PyMongo's and asyncio's own word for a loop that is not the client's; others have no type
        # of their own either.
        if "loop" not in str(error):
            raise
        raise WrongLoop(f"{who}: {error}") from error


def _translate(error: PyMongoError | BSONError, who: str, command: str) -> SymphoniaError:
    text = f"{who}: {driver_words(error)}"
    where = {"store": "mongodb", "operation": command}
    match error:
        case BSONError():  # a date beyond Python's years, for example
            return MongoOperationError(text, operation=command)
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
