"""One run per key in a process, so that a thousand callers cost what one does."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from symphonia_perf.errors import SymphoniaError

__all__ = ["Flight", "SingleFlight"]

T = TypeVar("T")

# Seconds to wait for a run that may be waiting for the asker, through a task of one of the two.
PATIENCE = 2.0
_LANDED = 1_000  # keys whose last landing is remembered
_CIRCLE = "the load of {key!r} asks for {key!r}: it would wait for itself"


class Flight:
    """One run, as the run itself sees it.

    Attributes:
        key: what it loads, of those who share `home`.
        background: nobody waited for it when it began: there is something to be served meanwhile.
        superseded: what it loads was changed meanwhile: its callers get the result, nobody else.
        committing: set by the run before it publishes its result; from then on `supersede` waits.
        waits_for: the flight whose result the run itself waits for now.
        helped_by: the flights whose results tasks wait for that the run has started.
        labels: what its starter says of it, to find it by.
        waiters: futures of those to be woken when it has ended; None: it has.
    """

    __slots__ = (
        "background",
        "committing",
        "helped_by",
        "home",
        "key",
        "labels",
        "superseded",
        "waiters",
        "waits_for",
    )

    def __init__(
        self, key: str, home: object, *, background: bool = False, labels: Sequence[str] = ()
    ) -> None:
        self.key = key
        self.home = home
        self.background = background
        self.labels = labels
        self.superseded = False
        self.committing = False
        self.waits_for: Flight | None = None
        self.helped_by: list[Flight] = []
        self.waiters: list[asyncio.Future[None]] | None = []

    def lands_after(self, other: "Flight", *, surely: bool) -> bool:
        """Whether it waits for `other`, through however many flights in between, or is it.

        Surely is what runs themselves wait for. What their tasks wait for may hold them up
        (`gather`) or not (a task that is left to itself): asyncio does not tell.
        """
        seen: set[int] = set()
        ahead = [self]
        while ahead:
            flight = ahead.pop()
            if flight is other:
                return True
            if id(flight) not in seen:
                seen.add(id(flight))
                ahead += () if flight.waits_for is None else (flight.waits_for,)
                ahead += () if surely else flight.helped_by
        return False


# The flights that the running code is part of: one that waits for itself would never land.
_ancestors: ContextVar[tuple[Flight, ...]] = ContextVar("_ancestors", default=())
# Whose task a flight is. A task that a run started has its context, but need not hold it up.
_flying: WeakKeyDictionary[asyncio.Task[Any], Flight] = WeakKeyDictionary()


class _Run(Generic[T]):
    """A flight and its task; apart, so that a context variable keeps no result alive."""

    def __init__(
        self,
        name: str,
        load: Callable[[Flight], Awaitable[T]],
        flight: Flight,
        landed: Callable[[], None],
    ) -> None:
        self.flight = flight
        self._traceback: TracebackType | None = None
        # Not a method: the traceback of an error would lead back to its own task.
        fly = _fly(flight, load, landed)
        self.task = asyncio.get_running_loop().create_task(fly, name=name)
        _flying[self.task] = flight

    async def result(self) -> T:
        """What the run returns or raises; a caller that is cancelled leaves it alone.

        Each caller waits for a future of its own, which the run wakes as it ends. A shielded task
        would wake it a turn of the loop later, which is a tenth of a miss.
        """
        task, error = self.task, None
        try:
            if self.flight.waiters is not None:
                mine = asyncio.get_running_loop().create_future()
                self.flight.waiters.append(mine)
                await mine
            if task.cancelled():
                # Nobody cancelled this caller, so it must not end as if somebody had.
                raise SymphoniaError(f"the {task.get_name()} was cancelled")
            error = task.exception()
            if error is None:
                return task.result()
            # Else a thousand callers would each lengthen the one traceback by their frames.
            self._traceback = self._traceback or error.__traceback__
            raise error.with_traceback(self._traceback)
        finally:
            # Else the error would hold itself, and what its load held, by this frame.
            del self, task, error


async def _fly(
    flight: Flight, load: Callable[[Flight], Awaitable[T]], landed: Callable[[], None]
) -> T:
    _ancestors.set((*_ancestors.get(), flight))
    try:
        return await load(flight)
    finally:
        landed()
        del landed  # it leads to the task, and this frame may stay in the traceback of an error


class SingleFlight(Generic[T]):
    """Concurrent calls for one key share one run.

    The run is a task of its own, with the first caller's context variables: a caller that is
    cancelled leaves it to the others, and it ends even when nobody waits any more, because the next
    caller wants its result too. An error reaches every caller of that run, as one object, and is
    forgotten with it.
    """

    def __init__(self) -> None:
        self._home = object()  # not itself: a context variable must keep no result alive
        self._runs: dict[str, _Run[T]] = {}
        self._tasks: set[asyncio.Task[T]] = set()
        self.landings = 0  # how many runs have ended, for `landed_since`
        self._landed: OrderedDict[str, int] = OrderedDict()  # the landing of each key that was last

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, key: str) -> bool:
        return key in self._runs

    async def run(
        self, key: str, load: Callable[[Flight], Awaitable[T]], *, labels: Sequence[str] = ()
    ) -> T:
        """The result of `load(flight)`, or of the run for `key` that is under way already.

        Raises:
            SymphoniaError: the run waits for itself, or it was cancelled before it had a result.
        """
        outer = _ancestors.get()
        run = self._runs.get(key)
        joined = run is not None
        if run is None:
            run = self._start(key, load, Flight(key, self._home, labels=labels))
        try:
            if not outer:
                return await run.result()
            return await self._nested(key, run, outer, joined=joined)
        finally:
            del run  # as in result()

    async def _nested(
        self, key: str, run: _Run[T], outer: tuple[Flight, ...], *, joined: bool
    ) -> T:
        """The result of `run`, asked for by the code of another run, or of a task it started."""
        task = asyncio.current_task()
        mine = _flying.get(task) if task is not None else None
        flight, asks = run.flight, outer[-1]
        patience = None
        if joined:
            if flight in outer or (mine and flight.lands_after(mine, surely=True)):
                raise SymphoniaError(_CIRCLE.format(key=key))
            if flight.lands_after(asks, surely=False):
                patience = PATIENCE
        if mine is None:
            asks.helped_by.append(flight)
        else:
            mine.waits_for = flight
        limit = asyncio.timeout(patience)
        try:
            async with limit:
                return await run.result()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise SymphoniaError(_CIRCLE.format(key=key)) from error
        finally:
            if mine is None:
                asks.helped_by.remove(flight)
            else:
                mine.waits_for = None
            del run  # as in result()

    def launch(
        self, key: str, load: Callable[[Flight], Awaitable[T]], *, labels: Sequence[str] = ()
    ) -> None:
        """Start a run that nobody waits for, unless one is under way."""
        if key not in self._runs:
            flight = Flight(key, self._home, background=True, labels=labels)
            self._start(key, load, flight)

    async def alone(self, key: str, load: Callable[[Flight], Awaitable[T]]) -> T:
        """The result of `load(flight)`, run by and for the caller alone.

        Raises:
            SymphoniaError: the caller is such a run, for the same key.
        """
        self.refuse_circle(key)
        flight, outer = Flight(key, self._home), _ancestors.get()
        _ancestors.set((*outer, flight))
        try:
            return await load(flight)
        finally:
            flight.waiters = None
            _ancestors.set(outer)

    def refuse_circle(self, key: str) -> None:
        """Return if the caller is no part of a run for `key`: a new one would start the next.

        Raises:
            SymphoniaError: it is.
        """
        for flight in _ancestors.get():
            if flight.key == key and flight.home is self._home and flight.waiters is not None:
                raise SymphoniaError(_CIRCLE.format(key=key))

    def awaited(self, key: str) -> bool:
        """Whether a run is under way whose result callers must wait for."""
        run = self._runs.get(key)
        return run is not None and not run.flight.background

    def landed_since(self, key: str, landings: int) -> bool:
        """Whether a run for `key` ended after so many `landings`.

        If one did, a miss means little: the answer may have been on its way while the run stored
        its result. Looking again is then cheaper than running again. Who finds something need not
        ask, so that a hit costs one look at a number. Of runs so many landings ago that they are
        forgotten this says False, which costs a second run.
        """
        return self._landed.get(key, 0) > landings

    def under_way(self, labels: Iterable[str] | None = None) -> list[str]:
        """The keys that are being loaded now; with `labels`, only what bears one of them."""
        if labels is None:
            return list(self._runs)
        wanted = frozenset(labels)
        return [key for key, run in self._runs.items() if wanted.intersection(run.flight.labels)]

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

    def _start(self, key: str, load: Callable[[Flight], Awaitable[T]], flight: Flight) -> _Run[T]:
        def landed() -> None:
            if flight.waiters is None:
                return
            if self._runs.get(key) is run:
                del self._runs[key]
            self.landings += 1
            self._landed[key] = self.landings
            self._landed.move_to_end(key)
            if len(self._landed) > _LANDED:
                self._landed.popitem(last=False)
            waiters, flight.waiters = flight.waiters, None
            for each in waiters:
                if not each.done():
                    each.set_result(None)

        def done(task: asyncio.Task[T]) -> None:
            self._tasks.discard(task)
            landed()  # where it was cancelled before it began
            if not task.cancelled():
                task.exception()  # else asyncio reports it when all callers were cancelled

        run = self._runs[key] = _Run(f"load of {key!r}", load, flight, landed)
        self._tasks.add(run.task)
        run.task.add_done_callback(done)
        return run
