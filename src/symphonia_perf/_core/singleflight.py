"""One run per key in a process, so that a thousand callers cost what one does."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from symphonia_perf.errors import SymphoniaError

__all__ = ["Flight", "SingleFlight"]

R = TypeVar("R")
T = TypeVar("T")


class Flight:
    """One run, as the run itself sees it.

    Attributes:
        superseded: what it loads was changed meanwhile: its callers get the result, nobody else.
        committing: set by the run before it publishes its result; from then on `supersede` waits.
        waits_for: the flight whose result the run itself waits for now.
    """

    __slots__ = ("committing", "superseded", "waits_for")

    def __init__(self) -> None:
        self.superseded = False
        self.committing = False
        self.waits_for: Flight | None = None

    def lands_after(self, other: "Flight | None") -> bool:
        """Whether it waits for `other`, through however many flights in between, or is it."""
        flight: Flight | None = self
        while flight is not None and flight is not other:
            flight = flight.waits_for
        return flight is not None


# The flights that the running code is part of: one that waits for itself would never land.
_ancestors: ContextVar[tuple[Flight, ...]] = ContextVar("_ancestors", default=())
# Whose task a flight is. A task that a run started has its context, but need not hold it up.
_flying: WeakKeyDictionary[asyncio.Task[Any], Flight] = WeakKeyDictionary()


class _Look:
    """Reads of one key that began after the last run for it landed."""

    __slots__ = ("landed", "readers")

    def __init__(self) -> None:
        self.readers = 0
        self.landed = False


class _Run(Generic[T]):
    """A flight and its task; apart, so that a context variable keeps no result alive."""

    def __init__(self, name: str, load: Callable[[Flight], Awaitable[T]]) -> None:
        self.flight = Flight()
        self.traceback: TracebackType | None = None
        # Not a method: the traceback of an error would lead back to its own task.
        self.task = asyncio.get_running_loop().create_task(_fly(self.flight, load), name=name)
        _flying[self.task] = self.flight
        self.task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[T]) -> None:
        # Reading the error also keeps asyncio from reporting it when all callers were cancelled.
        if not task.cancelled() and (error := task.exception()) is not None:
            self.traceback = error.__traceback__

    async def result(self) -> T:
        """What the run returns or raises; a caller that is cancelled leaves it alone."""
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if self.task.cancelled() and caller is not None and not caller.cancelling():
                # Nobody cancelled this caller, so it must not end as if somebody had.
                raise SymphoniaError(f"the {self.task.get_name()} was cancelled") from None
            raise
        except Exception as error:
            # Else a thousand callers would each lengthen the one traceback by their frames.
            error.__traceback__ = self.traceback
            raise
        finally:
            del self  # else the error would hold itself, and what its load held, by this frame


async def _fly(flight: Flight, load: Callable[[Flight], Awaitable[T]]) -> T:
    _ancestors.set((*_ancestors.get(), flight))
    return await load(flight)


class SingleFlight(Generic[T]):
    """Concurrent calls for one key share one run.

    The run is a task of its own, with the first caller's context variables: a caller that is
    cancelled leaves it to the others, and it ends even when nobody waits any more, because the next
    caller wants its result too. An error reaches every caller of that run, as one object, and is
    forgotten with it.
    """

    def __init__(self) -> None:
        self._runs: dict[str, _Run[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()
        self._looks: dict[str, _Look] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: str) -> bool:
        return key in self._runs

    async def run(self, key: str, load: Callable[[Flight], Awaitable[T]]) -> T:
        """The result of `load(flight)`, or of the run for `key` that is under way already.

        Raises:
            SymphoniaError: the run waits for itself, or it was cancelled before it had a result.
        """
        task = asyncio.current_task()
        mine = _flying.get(task) if task is not None else None
        run = self._runs.get(key)
        if run is None:
            run = self._start(key, load)
        elif run.flight in _ancestors.get() or (mine and run.flight.lands_after(mine)):
            raise SymphoniaError(f"the load of {key!r} asks for {key!r}: it would wait for itself")
        if mine is not None:
            mine.waits_for = run.flight
        try:
            return await run.result()
        finally:
            if mine is not None:
                mine.waits_for = None
            del run  # as in result()

    async def look(self, key: str, read: Callable[[str], Awaitable[R]]) -> tuple[R, bool]:
        """What `read(key)` returns, and whether a run for `key` landed meanwhile.

        If one did, a miss means little: the answer may have been on its way while the run stored
        its result. Looking again is then cheaper than running again.
        """
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = _Look()
        look.readers += 1
        try:
            return await read(key), look.landed
        finally:
            look.readers -= 1
            if not look.readers and self._looks.get(key) is look:
                del self._looks[key]

    async def supersede(self, key: str) -> None:
        """Give later callers a run of their own, and let the present one publish nothing.

        A run that is publishing is waited for, so that what the caller does next comes after it.
        """
        run = self._runs.pop(key, None)
        if run is not None:
            run.flight.superseded = True
            if run.flight.committing:
                await asyncio.wait((run.task,))

    async def aclose(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: str, load: Callable[[Flight], Awaitable[T]]) -> _Run[T]:
        run = _Run(f"load of {key!r}", load)

        def done(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            if self._runs.get(key) is run:
                del self._runs[key]
            if (look := self._looks.pop(key, None)) is not None:
                look.landed = True

        self._runs[key] = run
        self._tasks.add(run.task)
        run.task.add_done_callback(done)
        return run
