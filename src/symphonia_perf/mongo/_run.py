"""Carries procedures out with PyMongo: the two thin shells around everything the registry asks.

The only module of the registry that imports the driver.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from threading import Thread
from typing import Any, TypeVar

import pymongo
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    InvalidOperation,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_preferences import Nearest
from pymongo.server_selectors import Selection

from symphonia_perf.errors import ConfigurationError, MongoOperationError, NotOpen, WrongLoop
from symphonia_perf.mongo._steps import (
    Command,
    Pause,
    Procedure,
    Step,
    Together,
    Unanswered,
    Watched,
)
from symphonia_perf.mongo._words import driver_words
from symphonia_perf.typing import Document

__all__ = ["run", "run_sync"]

T = TypeVar("T")

_AT_ONCE = 8  # reads; small against the smallest sensible pool
_MEMBER_PATIENCE = 5.0  # seconds to find a member, and to wait for its counters
_ADVICE = {
    13: "a user needs the role read to plan, readWrite to build indexes, dbAdmin for collMod, and "
    "clusterMonitor (on admin) for $indexStats",
    72: "such a collection has no such index, or the server (or its featureCompatibilityVersion) "
    "is too old for it",
    166: "it is a view: declare its indexes on the collection it reads from",
    171: "a document has arrays in two of the indexed fields, and one index can hold only one",
    10107: "this member takes no writes: connect to the replica set, not to one member",
}


async def run(db: AsyncDatabase[Any], procedure: Procedure[T]) -> T:
    """What `procedure` returns, carried out with an asynchronous client.

    Raises:
        ConfigurationError: `db` is something else.
        MongoOperationError: what the procedure does not catch.
        NotOpen: the client was closed.
        WrongLoop: the client belongs to another event loop.
    """
    _check(db, AsyncDatabase)
    shell = _AsyncShell(db)
    try:
        step = next(procedure)
        while True:
            try:
                came = await shell.perform(step)
            except MongoOperationError as error:
                step = procedure.throw(error)
            else:
                step = procedure.send(came)
    except StopIteration as end:
        result: T = end.value
        return result


def run_sync(db: Database[Any], procedure: Procedure[T]) -> T:
    """The same as `run`, with a synchronous client."""
    _check(db, Database)
    shell = _SyncShell(db)
    try:
        step = next(procedure)
        while True:
            try:
                came = shell.perform(step)
            except MongoOperationError as error:
                step = procedure.throw(error)
            else:
                step = procedure.send(came)
    except StopIteration as end:
        result: T = end.value
        return result


def _check(db: object, expected: type) -> None:
    if isinstance(db, expected):
        return
    wanted = "AsyncMongoClient" if expected is AsyncDatabase else "MongoClient"
    if isinstance(db, AsyncDatabase):
        advice = "await the method whose name has no _sync: await indexes.plan(db)"
    elif isinstance(db, Database):
        advice = "call the method whose name ends in _sync: indexes.plan_sync(db)"
    elif isinstance(db, MongoClient | AsyncMongoClient):
        advice = "name a database of this client, as in client['shop']"
    elif type(db).__module__.partition(".")[0] == "motor":
        advice = f"Motor's are not supported; make a pymongo.{wanted} with the same URI"
    else:
        advice = "as in client['shop']"
    raise ConfigurationError(
        f"db is of type {type(db).__qualname__}, expected a database of pymongo.{wanted}: {advice}"
    )


class _AsyncShell:
    def __init__(self, db: AsyncDatabase[Any]) -> None:
        self._db = db

    async def perform(self, step: Step) -> Any:
        match step:
            case Command():
                return await self._command(step)
            case Together():
                return await _together(self._command, step.commands)
            case Watched():
                return await _watched(self._command, step)
            case Pause():
                return await asyncio.sleep(step.seconds)

    async def _command(self, step: Command) -> Any:
        target, question, how = _asked(self._db, step)
        came: Any = []
        with _ours(step), _hurry(step):
            if step.cursor:
                async with await target.cursor_command(question, **how) as documents:
                    came = await documents.to_list()
            else:
                came = await target.command(question, **how)
        return came


class _SyncShell:
    def __init__(self, db: Database[Any]) -> None:
        self._db = db

    def perform(self, step: Step) -> Any:
        match step:
            case Command():
                return self._command(step)
            case Together():
                return [self._command(each) for each in step.commands]
            case Watched():
                return _watched_sync(self._command, step)
            case Pause():
                return time.sleep(step.seconds)

    def _command(self, step: Command) -> Any:
        target, question, how = _asked(self._db, step)
        came: Any = []
        with _ours(step), _hurry(step):
            if step.cursor:
                with target.cursor_command(question, **how) as documents:
                    came = documents.to_list()
            else:
                came = target.command(question, **how)
        return came


async def _together(
    command: Callable[[Command], Awaitable[Any]], commands: Sequence[Command]
) -> list[Any]:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Command) -> Any:
        async with slots:
            return await command(each)

    # Every read ends before the first error is raised, so that none is left running behind it.
    tasks = [asyncio.ensure_future(one(each)) for each in commands]
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]


async def _watched(command: Callable[[Command], Awaitable[Any]], step: Watched) -> Any:
    task = asyncio.ensure_future(command(step.command))
    try:
        while not (await asyncio.wait({task}, timeout=step.interval))[0]:
            with suppress(MongoOperationError):  # a look that fails harms nobody
                step.report(await command(step.look))
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _watched_sync(command: Callable[[Command], Any], step: Watched) -> Any:
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(command(step.command))
        except BaseException as error:  # noqa: BLE001 - raised below
            future.set_exception(error)

    # No pool: the interpreter would wait for its thread, and after Ctrl-C the build goes on.
    Thread(target=work, name="index-build", daemon=True).start()
    while not wait([future], timeout=step.interval).done:
        with suppress(MongoOperationError):
            step.report(command(step.look))
    return future.result()


class _Member(Nearest):
    """The read preference for one member: PyMongo calls it to choose among the servers it knows."""

    __slots__ = ("_address",)

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def __call__(self, selection: Selection) -> Selection:
        """The member, if it is there."""
        found = [
            server
            for server in selection.server_descriptions
            if "{}:{}".format(*server.address) == self._address
        ]
        return selection.with_server_descriptions(found)


def _asked(db: Any, step: Command) -> tuple[Any, Document, dict[str, Any]]:
    """Which database takes the command, the command, and how it is sent."""
    concern = db.write_concern.document if step.write else None
    question = {**step.document, "writeConcern": concern} if concern else step.document
    # Plain dicts whatever the caller's documents are, with the caller's own types in them.
    # A date beyond the year 9999 in one partial filter must not hide all indexes.
    options = db.codec_options.with_options(
        document_class=dict, datetime_conversion=DatetimeConversion.DATETIME_AUTO
    )
    how: dict[str, Any] = {"codec_options": options}
    if step.member is not None:
        # To such a client every address would be the one member that it knows.
        if db.client.topology_description.topology_type_name == "Single":
            raise MongoOperationError(
                f"{step.operation}: this client sees one member only; connect to the replica set",
                operation=step.operation,
            )
        how["read_preference"] = _Member(step.member)
    return (db.client.admin if step.admin else db), question, how


def _hurry(step: Command) -> AbstractContextManager[None]:
    """The client's own time limits, or none: with `timeoutMS` the server would abort a build."""
    if step.member is not None:
        return pymongo.timeout(_MEMBER_PATIENCE)
    return pymongo.timeout(0) if step.unhurried else nullcontext()


@contextmanager
def _ours(step: Command) -> Iterator[None]:
    """Turn the driver's errors into ours, with the driver's as `__cause__`.

    Swallows those that mean that there is nothing.
    """
    try:
        yield
    except (OperationFailure, NotPrimaryError) as error:
        details: Any = error.details or {}
        code = getattr(error, "code", None) or details.get("code")
        if code in step.nothing_on:
            return
        advice = f"; {_ADVICE[code]}" if code in _ADVICE else ""
        kind = Unanswered if isinstance(error, NotPrimaryError) else MongoOperationError
        raise kind(
            f"{step.operation}: {driver_words(details.get('errmsg', error))}{advice}",
            code=code,
            code_name=details.get("codeName"),
            operation=step.operation,
        ) from error
    except ServerSelectionTimeoutError as error:
        raise MongoOperationError(
            f"{step.operation}: no server to ask: {driver_words(error)}; check that MongoDB runs "
            "there and that this host may reach it",
            operation=step.operation,
        ) from error
    except AutoReconnect as error:
        told = driver_words(error)
        raise Unanswered(f"{step.operation}: {told}", operation=step.operation) from error
    except InvalidOperation as error:
        raise NotOpen(f"{step.operation}: {error}") from error
    except RuntimeError as error:  # PyMongo's word for a loop that is not the client's
        raise WrongLoop(f"{step.operation}: {error}") from error
    except (PyMongoError, BSONError, UnicodeError) as error:  # the last two: not to be encoded
        told = driver_words(error)
        raise MongoOperationError(f"{step.operation}: {told}", operation=step.operation) from error
