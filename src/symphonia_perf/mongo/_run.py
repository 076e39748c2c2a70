"""Carries procedures out with PyMongo: the two thin shells around everything the registry asks.

The only module of the registry that imports the driver.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, Generic, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.read_preferences import Nearest

from symphonia_perf.errors import MongoOperationError
from symphonia_perf.mongo._steps import (
    Command,
    Member,
    Pause,
    Procedure,
    Step,
    Together,
    Unanswered,
    Watched,
)
from symphonia_perf.typing import Document

__all__ = ["run", "run_sync"]

T = TypeVar("T")
C = TypeVar("C")

_AT_ONCE = 8  # reads; small against the smallest sensible pool
_NEAREST = Nearest()  # any member, so that the selector below decides which
_MEMBER_PATIENCE = 5_000  # ms to find a member, and to wait for its counters
_ADVICE = {
    13: "a user needs the role readWrite to build indexes, dbAdmin for collMod, and clusterMonitor "
    "(on admin) for $indexStats",
    72: "the server, or its featureCompatibilityVersion, may be too old for it",
    166: "it is a view: declare its indexes on the collection it reads from",
    171: "a document has arrays in two of the indexed fields, and one index can hold only one",
    10107: "this member takes no writes: connect to the replica set, not to one member",
}


async def run(db: AsyncDatabase[Any], procedure: Procedure[T]) -> T:
    """What `procedure` returns, carried out with an asynchronous client.

    Raises:
        MongoOperationError: what the procedure does not catch.
    """
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
    finally:
        await shell.close()


def run_sync(db: Database[Any], procedure: Procedure[T]) -> T:
    """The same as `run`, with a synchronous client."""
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
    finally:
        shell.close()


class _AsyncShell:
    def __init__(self, db: AsyncDatabase[Any]) -> None:
        self._db = db
        self._members: _Members[AsyncMongoClient[Any]] = _Members(db.client)

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

    async def close(self) -> None:
        if client := self._members.finish():
            await client.close()

    async def _command(self, step: Command) -> Any:
        target, question, how = _asked(self._db, step, self._members)
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
        self._members: _Members[MongoClient[Any]] = _Members(db.client)

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

    def close(self) -> None:
        if client := self._members.finish():
            client.close()

    def _command(self, step: Command) -> Any:
        target, question, how = _asked(self._db, step, self._members)
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
    threads = ThreadPoolExecutor(1, thread_name_prefix="index-build")
    try:
        future = threads.submit(command, step.command)
        while not wait([future], timeout=step.interval).done:
            with suppress(MongoOperationError):
                step.report(command(step.look))
        return future.result()
    finally:
        threads.shutdown(wait=False)  # after Ctrl-C the build goes on, on the server


class _Members(Generic[C]):
    """A second client, made when it is needed, of which each command chooses the member.

    Commands to members therefore come one after the other.
    """

    def __init__(self, client: C) -> None:
        self._original = client
        self._client: C | None = None
        self._wanted: str | None = None

    def client_for(self, member: Member) -> C:
        """A client with the caller's settings, whose next command goes to this member."""
        self._wanted = member.address
        if self._client is None:
            # The driver's own way to a client with the same credentials and TLS: they are not to
            # be had elsewhere. A selector beats a rewritten URI: it works with every seed list.
            self._client = self._original._duplicate(  # type: ignore[attr-defined] # noqa: SLF001
                server_selector=self._only_wanted,
                replicaSet=member.replica_set,
                directConnection=False,
                minPoolSize=0,
                serverSelectionTimeoutMS=_MEMBER_PATIENCE,
                connectTimeoutMS=_MEMBER_PATIENCE,
                socketTimeoutMS=_MEMBER_PATIENCE,
                event_listeners=[],
            )
        return self._client

    def finish(self) -> C | None:
        """The client to close, which tells some server, any, that its sessions have ended."""
        self._wanted = None
        return self._client

    def _only_wanted(self, servers: list[Any]) -> list[Any]:
        return [
            item
            for item in servers
            if self._wanted is None or "{}:{}".format(*item.address) == self._wanted
        ]


def _asked(db: Any, step: Command, members: _Members[Any]) -> tuple[Any, Document, dict[str, Any]]:
    """Which database takes the command, the command, and how it is sent."""
    concern = db.write_concern.document if step.write else None
    question = {**step.document, "writeConcern": concern} if concern else step.document
    # Plain dicts whatever the caller's documents are, with the caller's own types in them.
    how: dict[str, Any] = {"codec_options": db.codec_options.with_options(document_class=dict)}
    if step.member is not None:
        return (
            members.client_for(step.member)[db.name],
            question,
            how | {"read_preference": _NEAREST},
        )
    return (db.client.admin if step.admin else db), question, how


def _hurry(step: Command) -> AbstractContextManager[None]:
    """The client's own time limits, or none: with `timeoutMS` the server would abort a build."""
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
            f"{step.operation}: {details.get('errmsg', error)}{advice}",
            code=code,
            code_name=details.get("codeName"),
            operation=step.operation,
        ) from error
    except ServerSelectionTimeoutError as error:
        raise MongoOperationError(f"{step.operation}: {error}", operation=step.operation) from error
    except AutoReconnect as error:
        raise Unanswered(f"{step.operation}: {error}", operation=step.operation) from error
    except (PyMongoError, BSONError) as error:
        raise MongoOperationError(f"{step.operation}: {error}", operation=step.operation) from error
