"""Reads a database's changes and lets a cache feel them, for as long as that may be done here."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from time import monotonic, time
from typing import Any, Literal, TypeAlias

from symphonia_perf.cache._changes import Batch, Routes, changed_at, may_resume
from symphonia_perf.cache._resume import ResumeToken
from symphonia_perf.cache.guarded import not_bypassed
from symphonia_perf.cache.manager import Cache
from symphonia_perf.errors import ConfigurationError, SymphoniaError
from symphonia_perf.redis.lease import Lease
from symphonia_perf.typing import Document

__all__ = ["STANDALONE", "Follower", "Kind"]

Kind: TypeAlias = Literal[
    "watching", "interrupted", "lost", "cleared", "lagging", "caught_up", "failed"
]

STANDALONE = (
    "the server is a standalone mongod, which has no change streams: start it with --replSet and"
    " run rs.initiate(); a replica set of one member is enough"
)
_NO_REPLICA_SET = 40573  # the server's code for that
_WAIT = 1_000  # milliseconds until the server answers that there is no change
_AHEAD = 256  # changes that are read ahead: more would hold up the event loop for milliseconds
_SAVE_EVERY = 1.0  # seconds between two tokens that are kept while changes come
# Seconds that a database may fail until another process tries. More than the minute after which
# `Elected` counts failures anew: it would pause ever longer, up to a minute, before it tries again.
_PATIENCE = 65.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between two tries
_CANCEL_AGAIN = 0.05  # seconds after which a cancellation has been swallowed


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the stream said: a change or none, and the place behind it; or why it says no more."""

    change: Document | None = None
    place: Document | None = None
    failure: Exception | None = None


class Follower:
    """Follows one database.

    Args:
        db: whose changes.
        cache: feels them.
        routes: what they mean.
        token: keeps the place.
        max_lag: seconds above which it is told that the cache lags behind.
        tell: called with what happens, why, the lag, and how many entries were cleared.

    Attributes:
        watching: whether changes are heard now.
        changes, batches, clears, interruptions: how many there were.
        lag: seconds from the last change to its effect; None: none was heard yet.
    """

    def __init__(
        self,
        db: Any,
        cache: Cache,
        routes: Routes,
        *,
        token: ResumeToken,
        max_lag: float,
        tell: Callable[..., None],
    ) -> None:
        self._db = db
        self._cache = cache
        self._routes = routes
        self._token = token
        self._max_lag = max_lag
        self._tell = tell
        self._lagging = False
        self._place: Document | None = None  # where it goes on; None: it begins anew
        self._saved: Document | None = None
        self._saved_at = 0.0
        self._well_at, self._pause = 0.0, _FIRST_PAUSE
        self._cancelled = 0  # times that its task had been cancelled when it began
        self.watching = False
        self.changes = self.batches = self.clears = self.interruptions = 0
        self.lag: float | None = None

    async def work(self, lease: Lease) -> None:
        """Follow the database for as long as the lease is held.

        Raises:
            ConfigurationError: the server has no change streams.
            StoreError: the cache or the place could not be reached.
            Exception: the driver's, when the database has failed for too long.
        """
        self._place = self._saved = await self._token.load()
        why_lost = "no place to go on from is known, as at a first start"
        self._well_at, self._pause = monotonic(), _FIRST_PAUSE
        self._cancelled = _cancellations()
        while True:
            _heed(self._cancelled)
            try:
                async with self._stream() as stream:
                    _heed(self._cancelled)
                    if self._place is None:
                        await self._begin(stream, lease, why_lost)
                    self._tell("watching", "", self.lag or 0.0)
                    self.watching = True
                    await self._follow(stream, lease)
            except SymphoniaError:
                raise
            except Exception as error:
                if getattr(error, "code", None) == _NO_REPLICA_SET:
                    raise ConfigurationError(STANDALONE) from error
                if self._place is None or may_resume(error):
                    self._interrupted(error)
                else:  # to go on there would fail for ever
                    self._place, why_lost = None, f"the stream cannot go on there: {error!r}"
                if monotonic() - self._well_at > _PATIENCE:
                    raise
                await asyncio.sleep(self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            finally:
                self.watching = False

    @asynccontextmanager
    async def _stream(self) -> AsyncGenerator[Any]:
        opening = self._db.watch(
            self._routes.pipeline(),
            start_after=self._place,  # which also goes on behind an `invalidate`
            max_await_time_ms=_WAIT,
            **self._routes.options(),
        )
        # PyMongo opens it here, Motor on entering.
        async with (await opening) if isawaitable(opening) else opening as stream:
            yield stream

    async def _begin(self, stream: Any, lease: Lease, reason: str) -> None:
        """Trust nothing that was cached before; the stream is open, so nothing falls in between."""
        await self._clear("lost", reason)
        if stream.resume_token is not None:  # a server before 4.0.7 gives none yet
            await self._save(stream.resume_token, lease)

    async def _follow(self, stream: Any, lease: Lease) -> None:
        """Apply changes until the stream ends, as it does when the database is dropped."""
        ahead: asyncio.Queue[_Heard] = asyncio.Queue(_AHEAD)
        reading = asyncio.create_task(_read(stream, ahead), name=f"changes of {self._db.name!r}")
        try:
            goes_on = True
            while goes_on:
                _heed(self._cancelled)
                heard = [await ahead.get()]
                while not ahead.empty():
                    heard.append(ahead.get_nowait())
                failure = heard.pop().failure if heard[-1].failure else None
                if heard:
                    goes_on = await self._apply([each.change for each in heard if each.change])
                    await self._reached(heard[-1], lease, at_once=not goes_on)
                if failure is not None and goes_on:
                    raise failure
        finally:
            await _stopped(reading)

    async def _apply(self, changes: Sequence[Document]) -> bool:
        """Let the cache feel changes; False: the last of them was the stream's."""
        batch, goes_on = Batch(), True
        for change in changes:
            goes_on = self._routes.judge(change, batch)
        if batch.everything:
            await self._clear("cleared", batch.everything)
        else:
            await self._invalidate(batch)
        self.changes += len(changes)
        self.batches += bool(changes)
        return goes_on

    async def _reached(self, last: _Heard, lease: Lease, *, at_once: bool) -> None:
        """Its changes have had their effect."""
        self._place, self._well_at, self._pause = last.place, monotonic(), _FIRST_PAUSE
        if last.change is None:
            self._note_lag(0.0)
            at_once = True
        elif (at := changed_at(last.change)) is not None:
            self._note_lag(max(0.0, time() - at))
        due = at_once or self._well_at - self._saved_at >= _SAVE_EVERY
        if due and last.place is not None and last.place != self._saved:
            await self._save(last.place, lease)

    async def _save(self, place: Document, lease: Lease) -> None:
        lease.check()  # who has lost it must not put back an older place
        await self._token.save(place)
        self._place = self._saved = place
        self._saved_at = monotonic()

    async def _invalidate(self, batch: Batch) -> None:
        with not_bypassed():  # else it is told again
            if batch.tags:
                await self._cache.invalidate_tags(batch.tags)
            if batch.keys:
                await self._cache.delete_many(batch.keys)
            for pattern in batch.patterns:
                await self._cache.invalidate_pattern(pattern)

    async def _clear(self, kind: Literal["lost", "cleared"], reason: str) -> None:
        with not_bypassed():
            removed = await self._cache.clear()
        self.clears += 1
        self._tell(kind, reason, self.lag or 0.0, removed)

    def _interrupted(self, error: Exception) -> None:
        self.interruptions += 1
        self._tell("interrupted", repr(error), self.lag or 0.0)

    def _note_lag(self, lag: float) -> None:
        self.lag = lag
        if lag > self._max_lag and not self._lagging:
            self._lagging = True
            self._tell("lagging", "", lag)
        elif lag < self._max_lag / 2 and self._lagging:
            self._lagging = False
            self._tell("caught_up", "", lag)


async def _read(stream: Any, ahead: asyncio.Queue[_Heard]) -> None:
    """Pass on what the stream says, and at last why it says no more."""
    try:
        while stream.alive:
            change = await stream.try_next()
            _heed(0)
            await ahead.put(_Heard(change, stream.resume_token))
    except Exception as error:  # noqa: BLE001 - raised by who follows, after what came before it
        await ahead.put(_Heard(failure=error))
    else:
        await ahead.put(_Heard(failure=ConnectionError("the stream has ended")))


async def _stopped(reading: asyncio.Task[None]) -> None:
    """Return when it has ended, also where the driver swallows what cancels it.

    `asyncio.wait_for` does that on Python 3.11 when its answer comes in the same turn
    (python/cpython#86296), and PyMongo sends by it.
    """
    cancelled = None
    while not reading.done():
        reading.cancel()
        try:
            await asyncio.wait({reading}, timeout=_CANCEL_AGAIN)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _cancellations() -> int:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - called in a coroutine
    return task.cancelling()


def _heed(before: int) -> None:
    """Raise a cancellation that was swallowed since there were so many: they are counted."""
    if _cancellations() > before:
        raise asyncio.CancelledError
