"""Look, else load once, and serve what is stale while it is loaded anew."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from inspect import isawaitable
from threading import get_ident
from typing import Any, NamedTuple, NoReturn
from weakref import WeakSet

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.events import BypassEvent
from symphonia_perf._core.singleflight import Flight, SingleFlight
from symphonia_perf.cache._journal import Journal
from symphonia_perf.cache.entry import Entry, Generation
from symphonia_perf.cache.guarded import GuardedStore, Look
from symphonia_perf.cache.options import Recipe
from symphonia_perf.cache.stores import Found, Lease
from symphonia_perf.errors import ConfigurationError, LoadTimeout, NotOpen, StoreError

__all__ = ["Load", "Loading", "chance"]

_POLL, _JITTER = 0.2, 0.1  # seconds between two tries of a waiter: at most five a second
_REST = 1.0  # seconds between two background loads of a key whose loader raises
_RESTING = 1_000  # keys of which that is remembered
_opened: "WeakSet[Loading]" = WeakSet()


def _forked() -> None:
    """A child has opened nothing: what its parent opened must not answer from memory."""
    for each in tuple(_opened):
        each.peek = each.refuse


os.register_at_fork(after_in_child=_forked)


def chance() -> float:
    """0 to 1; it spreads what would happen at one moment."""
    from random import random  # noqa: PLC0415 - five modules, of no use before the first load

    return random()  # noqa: S311 - nobody gains by guessing it


class Load(NamedTuple):
    """One call: what is wanted, and how to get it."""

    key: str  # as the store has it
    load: Callable[[], Awaitable[Any]]
    recipe: Recipe
    tags: Sequence[str]  # as the store has them
    # From before the loader runs; None: the store did not answer, so nothing is kept in it.
    generations: Mapping[str, Generation] | None = None
    spare: Entry | None = None  # served if the loader raises


class Loading:
    """Gets results, from the store or from their loaders; keys and tags are the store's own.

    Args:
        store: where they are kept.
        journal: counts and tells.
        now: monotonic time.
    """

    def __init__(self, store: GuardedStore, *, journal: Journal, now: Callable[[], float]) -> None:
        self._store = store
        self.failed = store.failed  # what the quick way of `first` has found where it failed
        self.journal = journal
        self._now = now
        self._resting: dict[str, float] = {}
        self._releasing: dict[asyncio.Task[None], str] = {}  # each with its key
        self._binding = Binding("the cache")
        self.flights: SingleFlight[Any] = SingleFlight()
        # The store's, while this is open; None: it cannot be peeked at. It is for who has seen that
        # this is his `thread` and counts a hit in `journal`, as `at_hand` does: a call for that
        # would take a tenth of a hit.
        self.peek: Callable[[str], Entry | None] | None = self.refuse
        self.thread = 0

    def open(self) -> None:
        """Bind to this process and event loop; what an earlier loop left is not waited for."""
        self._binding.open()
        self._store.open()
        self.flights = SingleFlight()
        self._resting = {}
        self._releasing = {}
        self.peek = self._store.peek
        self.thread = get_ident()
        _opened.add(self)

    def refuse(self, key: str) -> NoReturn:
        """What a peek is while this is not open, or in a child of the process where it is.

        Raises:
            NotOpen: always.
        """
        raise NotOpen(
            f"the cache is not open in this process; use it inside `async with` ({key!r})"
        )

    def at_hand(self, key: str) -> Entry | None:
        """The entry, if it is at hand and can be served as it is.

        The event loop is looked at only where something is waited for: Python 3.11 asks the system
        for the process id whenever it is asked for the running loop, which takes as long as all
        this.

        Raises:
            NotOpen, WrongLoop: not open, or open elsewhere.
        """
        if get_ident() != self.thread:
            self.check()
        entry = None if self.peek is None else self.peek(key)
        if entry is not None:
            self.journal.hits += 1
            if self.journal.listens:
                self.journal.hit(key)
        return entry

    async def aclose(self) -> None:
        """Cancel loads under way, and wait for their leases."""
        self._binding.check()
        self._binding.close()
        self.peek = self.refuse
        await self.flights.aclose()
        if self._releasing:
            await asyncio.wait(self._releasing)

    def check(self) -> None:
        """Return if used where it was opened.

        Raises:
            NotOpen, WrongLoop: it is not.
        """
        self._binding.check()

    def first(
        self, key: str, recipe: Recipe, tags: Sequence[str]
    ) -> Coroutine[Any, Any, Entry | Look | Found] | None:
        """A look at the store, to be awaited; None where it is not to be asked.

        What it finds is the result if it is an `Entry`, and else the business of `result`. A far
        hit is over with that: each coroutine in between takes a fortieth of one where 64 tasks
        wait, as it is looked at by the garbage collector, too. As with what is at hand, the event
        loop is not looked at for a hit.
        """
        if recipe.keeps_nothing or self.flights.awaited(key):
            return None
        quick = self._store.quick
        if quick is None or tags or recipe.wants_ages:
            return self._store.look(key, tags, ages=recipe.wants_ages)
        return quick(key)

    async def result(self, call: Load, found: Look | Found | None, landings: int) -> Any:
        """What was found under the key, else what the loader returns, which is then stored.

        Args:
            call: what is wanted.
            found: what the first look found, if there was one.
            landings: of the flights, before it.

        Raises:
            SymphoniaError: the loader asks for its own key, or the cache was closed meanwhile.
            LoadTimeout: it took too long.
            StoreError: the store failed, and that is raised.
            Exception: whatever the loader raises.
        """
        self._binding.check()
        recipe, key, flights = call.recipe, call.key, self.flights
        if recipe.keeps_nothing:
            return await flights.alone(key, lambda _: self._timed(call))
        look = await self._seen(key, found) if isinstance(found, Found) else found
        while look is not None:
            if isinstance(look, Entry):
                return self._hit(look)
            entry = _stale(recipe, look)
            if entry is not None:
                self._refresh_behind(call._replace(generations=look.generations, spare=entry))
                return entry.value
            spare = look.entry if look.state == "spare" else None
            call = call._replace(generations=look.generations, spare=spare)
            if flights.awaited(key) or not flights.landed_since(key, landings):
                break
            landings = flights.landings
            look = await self._store.look(key, call.tags, ages=recipe.wants_ages)
        if recipe.loading.lock == "none":
            return await flights.alone(key, partial(self._load, call))
        return await flights.run(key, partial(self._load, call), labels=call.tags)

    async def _seen(self, key: str, found: Found) -> Entry | Look:
        """What the quick way has found."""
        seen = self._store.seen(key, found)
        return await self._store.look(key, (), ages=True) if seen is None else seen

    def _hit(self, entry: Entry) -> Any:
        self.journal.hits += 1
        return entry.value

    async def fresh(self, call: Load) -> Any:
        """What the loader returns now, stored in place of what is there; raises as `result`."""
        self.flights.refuse_circle(call.key)
        await self.flights.supersede(call.key)
        call = call._replace(generations=await self._store.generations(call.tags))
        run = partial(self._load_here, call)
        return await self.flights.run(call.key, run, labels=call.tags)

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove entries, and overtake loads of them; how many there were.

        Raises:
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
            StoreError: the store failed, and that is raised.
        """
        self._binding.check()
        for key in keys:
            await self.flights.supersede(key)
        return await self._store.delete(keys) if keys else 0

    def _refresh_behind(self, call: Load) -> None:
        """Load in the background, once at a time, and not again at once when that raises."""
        if self._now() >= self._resting.get(call.key, 0.0):
            self.flights.launch(call.key, partial(self._load, call), labels=call.tags)

    async def _load(self, call: Load, flight: Flight) -> Any:
        if call.recipe.loading.lock != "distributed" or call.generations is None:
            return await self._load_here(call, flight)
        lease = self._store.lease(call.key, call.recipe.lease)
        if not await self._my_turn(call, lease):
            return await self._load_here(call._replace(generations=None), flight)
        try:
            # Somebody may have loaded it between our look and our turn.
            look = await self._store.look(call.key, call.tags, ages=call.recipe.wants_ages)
            if isinstance(look, Entry):
                return self._hit(look)
            if look.state == "fresh":
                _stale(call.recipe, look)  # what another loader raised
            return await self._load_here(call._replace(generations=look.generations), flight)
        finally:
            self._release(call.key, lease)

    def _release(self, key: str, lease: Lease) -> None:
        """Give the lease back while the result is on its way: a store may have frozen meanwhile."""
        task = asyncio.get_running_loop().create_task(lease.release(), name=f"lease of {key!r}")
        self._releasing[task] = key
        task.add_done_callback(self._releasing.pop)

    async def _my_turn(self, call: Load, lease: Lease) -> bool:
        """Wait until the lease is ours; False where the store does not answer."""
        try:
            async with asyncio.timeout(call.recipe.timeout):
                if mine := [task for task, key in self._releasing.items() if key == call.key]:
                    await asyncio.wait(mine)
                while not (answer := await self._store.acquired(lease)):
                    if answer is None:
                        return False
                    await asyncio.sleep(_POLL + _JITTER * chance())
        except TimeoutError as error:
            raise LoadTimeout(
                f"{call.key!r}: another process has been loading it for {call.recipe.timeout:g} s"
            ) from error
        return True

    async def _load_here(self, call: Load, flight: Flight) -> Any:
        started = self._now()
        try:
            value = await self._timed(call)
        except Exception as error:
            self.journal.note("error", call.key, started)
            kept = call.recipe.lifetime.entry_of_error(error, call.generations or {}, chance())
            if kept is not None:
                try:
                    await self._keep(call, kept, flight)
                except StoreError as failure:
                    error.add_note(f"and it could not be kept: {failure!r}")
                raise
            self._rest(call.key)
            if flight.superseded or call.spare is None:
                raise
            if call.spare.state(self._now()) == "gone":
                raise
            if not flight.background:
                self.journal.note("stale", call.key, started)
            return call.spare.value
        self.journal.note("load", call.key, started)
        try:
            entry = call.recipe.entry(value, call.generations or {}, chance())
        except Exception as error:  # noqa: BLE001 - of the application's ttl= or condition=
            self.journal.note("error", call.key, started)
            self.journal.tell(BypassEvent(source="cache", operation="lifetime", error=error))
            self._rest(call.key)
            return value
        if entry is not None:
            await self._keep(call, entry, flight)
        return value

    async def _keep(self, call: Load, entry: Entry, flight: Flight) -> None:
        if call.generations is not None and not flight.superseded:
            flight.committing = True
            await self._store.write({call.key: entry})

    async def _timed(self, call: Load) -> Any:
        timeout = call.recipe.timeout
        if timeout is None:
            return await _called(call)
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                return await _called(call)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise LoadTimeout(
                f"the load of {call.key!r} took longer than {timeout:g} s; give it more by timeout="
            ) from error

    def _rest(self, key: str) -> None:
        if len(self._resting) >= _RESTING:
            self._resting.clear()
        self._resting[key] = self._now() + _REST


def _called(call: Load) -> Awaitable[Any]:
    found: object = call.load()
    if not isawaitable(found):
        raise ConfigurationError(
            f"the load of {call.key!r} returned a {type(found).__name__}, which cannot be awaited:"
            " expected an async function without arguments"
        )
    return found


def _stale(recipe: Recipe, look: Look) -> Entry | None:
    """The entry that is served while it is loaded anew.

    Raises:
        Exception: what the loader raised, where the entry stands for that.
    """
    entry = look.entry
    if entry is None or look.state in {"spare", "gone"}:
        return None
    if not entry.raised:
        return entry
    error = recipe.lifetime.error(entry)
    if error is not None:
        raise error
    return None
