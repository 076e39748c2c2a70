"""A store behind a failure policy: each answer is counted, each failure is an event."""

from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias, TypeVar

from symphonia_perf._core.breaker import Breaker, BreakerOptions, BreakerState, Permit, answered
from symphonia_perf._core.events import BreakerEvent
from symphonia_perf.cache._journal import CacheStats, Journal
from symphonia_perf.cache.entry import Entry, Generation, State
from symphonia_perf.cache.stores import CacheStore, Found, Lease
from symphonia_perf.errors import StoreError, StoreUnavailable

__all__ = [
    "BreakerEvent",
    "BreakerOptions",
    "CacheStats",
    "GuardedStore",
    "Look",
    "each_tried",
    "not_bypassed",
]

T = TypeVar("T")
_GetEntry: TypeAlias = Callable[[str], Coroutine[Any, Any, Entry | Found]]


class Look(NamedTuple):
    """What a look at the store found."""

    entry: Entry | None
    state: State
    generations: Mapping[str, Generation] | None  # of the tags; None: the store did not answer


_NO_ANSWER = Look(None, "gone", None)
_NEVER = BreakerOptions(failures=2**62)  # for a store that is always asked
# Of this context only: what fails for others at the same time tells nothing about our own.
_bypassed: ContextVar[list[StoreError] | None] = ContextVar("bypassed", default=None)


@contextmanager
def not_bypassed() -> Generator[None]:
    """For whoever must know that the store did what it was told, also where it may be bypassed.

    Raises:
        StoreError: it did not; told only when the block is over.
    """
    failures: list[StoreError] = []
    token = _bypassed.set(failures)
    try:
        yield
    finally:
        _bypassed.reset(token)
    if failures:
        raise failures[0]


async def each_tried(steps: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """Take every step, also behind one that failed.

    Raises:
        StoreError: the first failure.
    """
    failure: StoreError | None = None
    for step in steps:
        try:
            await step()
        except StoreError as error:
            failure = failure or error
    if failure is not None:
        raise failure


class GuardedStore:
    """What the cache asks of its store.

    Args:
        store: the store itself.
        raises: whether a failure is raised; else the operation is answered without the store.
        breaker: when a store that does not answer is no longer asked; None: it always is.
        journal: counts and tells.
        now: monotonic time.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        raises: bool,
        breaker: BreakerOptions | None,
        journal: Journal,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        # None where it cannot be peeked at.
        self.peek: Callable[[str], Entry | None] | None = getattr(store, "peek", None)
        # A shorter way to one entry, where the store has one; it gives a `Found` where the entry is
        # not simply to be served.
        self._get_entry: _GetEntry | None = getattr(store, "get_entry", None)
        self._raises = raises
        self._options = breaker
        self._journal = journal
        self._now = now
        self.open()

    def open(self) -> None:
        """Forget what the breaker learnt: it may have been in another process, before a fork."""
        self._breaker = Breaker(self._options or _NEVER)
        self._opened_at = 0.0
        self._why = ""
        self._settle()

    def _settle(self) -> None:
        """Let readers take the store's own way where nothing is to be done on it.

        That is, where nobody listens, failures are bypassed, and the breaker is closed and has
        nothing to forget. Who takes it counts its own hit and tells of a failure by `failed`: a far
        hit is shorter by a thirtieth for it.
        """
        breaker, journal = self._breaker, self._journal
        calm = breaker.state == "closed" and not breaker.excess
        self.quick = None if self._raises or journal.listens or not calm else self._get_entry

    def failed(self, error: StoreError) -> Look:
        """What the quick way has found where it failed.

        Raises:
            StoreError: it was not the quick way, and that is raised.
        """
        if self._raises:
            raise error
        if self._breaker.state == "closed":  # else somebody else has told it
            self._judge(self._breaker.permit, error)
        self._failed("get", error)
        return _NO_ANSWER

    @property
    def breaker(self) -> BreakerState:
        """What the breaker is now; closed, too, where there is none."""
        return self._breaker.state

    async def look(self, key: str, tags: Sequence[str], *, ages: bool) -> Entry | Look:
        """What is under the key: the entry alone, where it is fresh and none of an error.

        Who gets it alone counts the hit. This does what `_ask` does without its calls, of which
        each takes a hundredth of a far hit, and reads the clock only for who listens.
        """
        breaker, journal = self._breaker, self._journal
        started = self._now() if journal.listens else 0.0
        try:
            permit = breaker.permit if breaker.state == "closed" else self._admit("get")
            found: Entry | Found
            try:
                if self._get_entry is None or tags or ages:
                    found = await self._store.get_many((key,), tags, ages=ages)
                else:
                    found = await self._get_entry(key)
            except BaseException as error:
                self._judge(permit, error)
                raise
            if breaker.excess or breaker.state != "closed":
                self._answered(permit)
        except StoreError as error:
            self._failed("get", error)
            return _NO_ANSWER
        if isinstance(found, Found):
            seen = self.seen(key, found, ages=ages, started=started)
            return await self.look(key, tags, ages=True) if seen is None else seen
        if journal.listens:
            journal.hit(key, started)
        return found

    def seen(
        self, key: str, found: Found, *, ages: bool = False, started: float = 0.0
    ) -> Entry | Look | None:
        """What it means that this was found; None where its age has to be asked for.

        That is where code that keeps stale entries has written what code reads that does not. What
        is not the entry alone is counted here.
        """
        entry = found.entries.get(key)
        soft = entry is not None and (entry.stale_for or entry.stale_on_error)
        if soft and not ages and entry is not None and entry.created is None:
            return None
        state: State = "gone" if entry is None else entry.state(self._now())
        if entry is not None and state == "fresh" and not entry.raised:
            if self._journal.listens:
                self._journal.hit(key, started)
            return entry
        self._note(key, found, state, started)
        return Look(entry, state, found.generations)

    async def read_many(self, keys: Sequence[str]) -> Mapping[str, Entry]:
        """The entries that may be served, stale ones included."""
        started = self._now()
        try:
            found = await self._get(keys)
        except StoreError as error:
            self._failed("get", error)
            return {}
        now, served = self._now(), {}
        for key in keys:
            entry = found.entries.get(key)
            state: State = "gone" if entry is None else entry.state(now)
            self._note(key, found, state, started)
            if entry is not None and state in {"fresh", "stale"}:
                served[key] = entry
        return served

    async def generations(self, tags: Sequence[str]) -> Mapping[str, Generation] | None:
        """The tags' generations now; None: the store did not answer."""
        if not tags:
            return {}
        try:
            return (await self._get((), tags)).generations
        except StoreError as error:
            self._failed("get", error)
            return None

    async def write(self, entries: Mapping[str, Entry]) -> None:
        """Store entries."""
        started = self._now()
        try:
            await self._ask("set", lambda: self._store.set_many(entries))
        except StoreError as error:
            self._failed("set", error)
            return
        for key in entries:
            self._journal.note("set", key, started)

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove entries; how many there were."""
        started = self._now()
        count = await self._change("delete", lambda: self._store.delete_many(keys))
        if count is None:
            return 0
        for key in keys:
            self._journal.note("delete", key, started)
        return count

    async def delete_matching(self, pattern: str) -> int:
        """Remove entries by pattern; how many there were."""
        started = self._now()
        count = await self._change("scan", lambda: self._store.delete_matching(pattern))
        if count is None:
            return 0
        self._journal.note("invalidate", pattern, started)
        return count

    async def bump_tags(self, tags: Sequence[str]) -> None:
        """Give tags another generation."""
        started = self._now()
        try:
            await self._ask("bump", lambda: self._store.bump_tags(tags))
        except StoreError as error:
            self._failed("bump", error)
            return
        for tag in tags:
            self._journal.note("invalidate", tag, started)

    def lease(self, key: str, length: float) -> Lease:
        """A lease to load the key."""
        return self._store.lease(key, length)

    async def acquired(self, lease: Lease) -> bool | None:
        """Whether the lease is ours now; None: the store did not answer."""
        return await self._change("lease", lease.acquire)

    async def _get(
        self, keys: Sequence[str], tags: Sequence[str] = (), *, ages: bool = False
    ) -> Found:
        return await self._ask("get", lambda: self._store.get_many(keys, tags, ages=ages))

    def _note(self, key: str, found: Found, state: State, started: float) -> None:
        if state == "fresh":
            self._journal.hits += 1
            if self._journal.listens:
                self._journal.hit(key, started)
        elif state == "stale":
            self._journal.note("stale", key, started)
        else:
            if key in found.corrupt:
                self._journal.note("corrupt", key, started)
            self._journal.note("miss", key, started)

    async def _change(self, operation: str, call: Callable[[], Awaitable[T]]) -> T | None:
        """What the store answers; None where it fails and that is bypassed."""
        try:
            return await self._ask(operation, call)
        except StoreError as error:
            self._failed(operation, error)
            return None

    async def _ask(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """What the store answers, unless the breaker says that it need not be asked."""
        permit = self._admit(operation)
        try:
            answer = await call()
        except BaseException as error:
            self._judge(permit, error)
            raise
        self._answered(permit)
        return answer

    def _admit(self, operation: str) -> Permit | None:
        """The breaker's permit; None where it wants no report.

        Raises:
            StoreUnavailable: the store need not be asked.
        """
        permit = self._breaker.admit(self._now())
        # A change is tried all the same where nobody would hear that it was not: skipped, it would
        # leave the old value to everyone, also when the store is back already.
        if permit is None and (self._raises or operation in {"get", "lease"}):
            raise StoreUnavailable(
                f"{operation}: the store was not asked, the breaker is open after {self._why}",
                store="cache",
                operation=operation,
            )
        return permit

    def _answered(self, permit: Permit | None) -> None:
        """Tell the breaker that the store answered."""
        if permit is not None and self._breaker.succeeded(permit):
            self._closed()
        self._settle()

    def _closed(self) -> None:
        """Tell that the breaker did."""
        duration = self._now() - self._opened_at
        self._journal.tell(BreakerEvent(source="cache", kind="closed", duration=duration))

    def _judge(self, permit: Permit | None, error: BaseException) -> None:
        """Tell the breaker what the error says about the store."""
        if permit is None:
            return
        verdict, now = answered(error), self._now()
        if verdict is None:
            self._breaker.withdrawn(permit, now)
        elif verdict:
            self._answered(permit)
        else:
            self._why = f"{type(error).__name__}: {error}"
            if self._breaker.failed(permit, now):
                self._opened_at = now
                self._journal.opened()
                self._journal.tell(BreakerEvent(source="cache", kind="opened", error=error))
            self._settle()

    def _failed(self, operation: str, error: StoreError) -> None:
        """Raise the error that is being handled, or tell that the store was bypassed."""
        if self._raises:
            raise error
        if (failures := _bypassed.get()) is not None:
            failures.append(error)
        self._journal.bypassed(operation, error)
