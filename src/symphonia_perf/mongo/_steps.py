"""What a procedure asks of a database: values that two shells carry out, with await and without.

A procedure is a generator. It yields a step, is sent what came of it, and has a step's error raised
at its `yield`; so reading, building and retiring indexes is written once, without `await`.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from symphonia_perf.errors import MongoOperationError
from symphonia_perf.typing import Document

__all__ = ["Command", "Pause", "Procedure", "Step", "Together", "Unanswered", "Watched"]

T = TypeVar("T")


class Unanswered(MongoOperationError):
    """The command may have reached the server, but no answer came: whether it acts is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command; what comes of it is the reply, or all documents of its cursor."""

    operation: str  # for people: `listIndexes orders`
    document: Document
    cursor: bool = False
    admin: bool = False  # to the database `admin`
    write: bool = False  # waits for the database's write concern
    unhurried: bool = False  # `timeoutMS` would make the server give up a build
    member: str | None = None  # host:port, as the members call it: to be asked itself
    nothing_on: tuple[int, ...] = ()  # error codes that mean: there is nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Commands in no order; what comes of them is their results, in theirs."""

    commands: Sequence[Command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A long command, and another one to ask from time to time while it runs."""

    command: Command
    look: Command
    report: Callable[[Any], None]  # is given what came of `look`
    interval: float  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nothing, for a while."""

    seconds: float


Step: TypeAlias = Command | Together | Watched | Pause
Procedure: TypeAlias = Generator[Step, Any, T]
