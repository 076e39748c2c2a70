"""Caches that follow a database, whoever writes to it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Self

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Event, LogObserver, Observer, Warn, emit
from symphonia_perf.cache._changes import Operation, Route, Routes
from symphonia_perf.cache._following import STANDALONE, Follower, Kind
from symphonia_perf.cache._resume import ResumeToken
from symphonia_perf.cache.keys import encode
from symphonia_perf.cache.manager import Cache
from symphonia_perf.errors import ConfigurationError, NotOpen, SymphoniaError, WrongLoop
from symphonia_perf.redis.commands import Commands
from symphonia_perf.redis.elected import Elected
from symphonia_perf.redis.lease import Lease
from symphonia_perf.typing import Seconds

__all__ = [
    "ChangeStreamEvent",
    "ChangeStreamInvalidator",
    "ChangeStreamStats",
    "Operation",
    "Route",
]

_HELLO = 5.0  # seconds to ask on opening what kind of server it is


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStreamEvent(Event):
    """What became of the watching of a database.

    `watching` is told when it begins or goes on, `interrupted` when the database failed under it,
    `failed` when watching can never work here, which closing raises, too.
    `lost` is a history with a gap, so that the whole cache was cleared; `cleared` is a change that
    meant the same: a collection dropped, a document whose fields are not known any more. `lagging`
    is told once when changes are heard later than they should be, `caught_up` when that is over.
    """

    kind: Kind
    database: str
    reason: str = ""
    removed: int = 0  # entries and tags' generations that were cleared
    lag: float = 0.0  # seconds between the last change and its effect on the cache

    def warning(self) -> Warn | None:
        """What is wrong with the watching of which database."""
        what = f"change stream of {self.database!r}"
        match self.kind:
            case "watching" | "caught_up":
                return None
            case "lost" if not self.removed:
                return None  # a first start, or one after Redis was flushed: nothing was lost
            case "lagging":
                return Warn(what, "lags behind", f"{self.lag:.1f} s")
            case "interrupted":
                return Warn(what, "was interrupted", self.reason)
            case "failed":
                return Warn(what, "is not watched by this process", self.reason)
            case "lost" | "cleared":
                return Warn(what, "cleared the cache", self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeStreamStats:
    """What this process did of the watching."""

    watching: bool = False  # whether it is the one that watches now
    changes: int = 0  # heard of
    batches: int = 0  # in which they were told to the cache
    clears: int = 0  # of the whole cache
    interruptions: int = 0  # times that the database failed
    # Seconds from the last change to its effect, by the clocks of server and process; None: none
    # was heard yet, or another process watches.
    lag: float | None = None


class ChangeStreamInvalidator:
    """Invalidates what changes in a MongoDB database, by whatever program it is changed.

    Each change of a routed collection is an event of the cache's rules. One process watches for all
    that say the same; when it dies another goes on where it was, within `lease` seconds. That place
    (the resume token) is kept in Redis after its changes had their effect, so each has it at least
    once, and once more costs nothing but a load.

    Where the place is lost (Redis was flushed, the oplog is too short for a pause, or the driver
    cannot decode what follows), nobody knows what was changed. Then the cache is cleared:
    `Cache.clear`, and not only the tags of the rules, because entries that rules delete by key
    would be missed by those. It removes the generations of tags, too, so that loads under way that
    carry any are gone when they are stored. The stream is opened before, so nothing falls in
    between. The same follows where a collection is dropped or renamed whose event needs a
    document's fields.

    * It needs a replica set, of one member at least; PyMongo's async databases and Motor's do.
    * A cache that shares nothing (`MemoryCacheStore`) is invalidated in the watching process only.
    * With `on_error="bypass"` a store that fails is noticed, and the changes are told again.

    ```python
    from symphonia_perf.cache import (
        Cache, ChangeStreamInvalidator, InvalidationRules, RedisCacheStore, on
    )
    from symphonia_perf.mongo import PoolOptions, create_async_client
    from symphonia_perf.redis import connect

    redis = connect("redis://localhost:6379/0")
    db = create_async_client(PoolOptions())["shop"]
    rules = InvalidationRules(on("carrier.changed", delete=["carrier:{id}"], tags=["carriers"]))
    cache = Cache(RedisCacheStore(redis), rules=rules)
    watcher = ChangeStreamInvalidator(
        db, cache, routes={"carriers": "carrier.changed"}, redis=redis
    )
    ```

    Enter it after `redis` and `cache`, as in `lifespan(redis, cache, watcher)`.

    Args:
        db: an async database of PyMongo or Motor; no driver is imported for it.
        cache: whose rules say what each event makes wrong; it must be open as long as this is.
        routes: by collection, the event that its changes are, or a `Route` that says more.
        redis: elects the watcher and keeps its place; best the one of the cache's store.
        name: tells apart databases of one name on several clusters; default the database's.
        lease: seconds until another process goes on after the watcher died; default 5.
        max_lag: seconds behind the database above which an event tells of it; default 10.
        observer: told of every event; by default only trouble is told, to the log.

    Raises:
        ConfigurationError: a sync database, an event without rules, a field whose place is not
            known, or another option that cannot work.
    """

    def __init__(
        self,
        db: Any,
        cache: Cache,
        *,
        routes: Mapping[str, str | Route],
        redis: Commands,
        name: str | None = None,
        lease: Seconds = 5.0,
        max_lag: Seconds = 10.0,
        observer: Observer | None = None,
    ) -> None:
        _check(db)
        if not isinstance(cache, Cache):
            raise ConfigurationError(f"cache={cache!r:.100}: expected a Cache")
        if not callable(getattr(redis, "script", None)):
            raise ConfigurationError(
                f"redis={redis!r:.100}: expected what connect() or wrap() of symphonia_perf.redis"
                " returns"
            )
        self._db = db
        self._observer: Observer = observer or LogObserver()
        table, start = Routes(routes, cache.rules), cache.key_start
        place = encode(db.name if name is None else name)
        # Who would do something else at the same change (another version of the service, say)
        # watches for itself, and begins anew: what it routes now may have changed before.
        self._name = f"changes:{start}{place}:{table.fingerprint(start)}"
        self._follower = Follower(
            db,
            cache,
            table,
            token=ResumeToken(redis, self._name),
            max_lag=seconds(max_lag, option="max_lag"),
            tell=self._tell,
        )
        self._lease = Lease(
            redis,
            self._name,
            length=lease,
            # Two at once do no harm, and nobody should wait after a restart.
            after_restart="grant",
            wake=_wake(redis),
            observer=self._observer,
        )
        self._binding = Binding(f"the watching of {db.name!r}")
        self._elected: Elected | None = None
        self._fault: SymphoniaError | None = None  # by which watching can never work here

    async def __aenter__(self) -> Self:
        """Stand for election in the background.

        Raises:
            ConfigurationError: the server is a standalone mongod.
            SymphoniaError: it is open already.
        """
        self._binding.open()
        try:
            await self._greet()
            self._fault = None
            self._elected = Elected(self._lease, self._work)
            await self._elected.__aenter__()
        except BaseException:
            self._binding.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop watching; another process goes on at once.

        Raises:
            SymphoniaError: watching had ended, because it could not work.
            NotOpen, WrongLoop: entered in another process, or on another event loop.
        """
        self._binding.check()
        elected, self._elected = self._elected, None
        assert elected is not None  # noqa: S101 - entered
        try:
            await elected.__aexit__(kind, error, traceback)
        finally:
            self._binding.close()
        if self._fault is not None:
            raise self._fault

    def stats(self) -> ChangeStreamStats:
        """What this process did of the watching since this was made."""
        follower = self._follower
        return ChangeStreamStats(
            watching=follower.watching,
            changes=follower.changes,
            batches=follower.batches,
            clears=follower.clears,
            interruptions=follower.interruptions,
            lag=follower.lag if follower.watching else None,
        )

    async def _work(self, lease: Lease) -> None:
        try:
            await self._follower.work(lease)
        except (ConfigurationError, NotOpen, WrongLoop) as error:
            # To try again would not help; another process may be set up better.
            self._fault = error
            self._tell("failed", str(error), 0.0)

    async def _greet(self) -> None:
        """Return if the server may have change streams, or is not there yet."""
        try:
            async with asyncio.timeout(_HELLO):
                hello = await self._db.command("hello")
        except Exception:  # noqa: BLE001 - the driver's; watching will meet it again, and tell
            return
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise ConfigurationError(STANDALONE)

    def _tell(self, kind: Kind, reason: str, lag: float, removed: int = 0) -> None:
        event = ChangeStreamEvent(
            source="cache",
            kind=kind,
            database=self._db.name,
            reason=reason,
            removed=removed,
            lag=lag,
        )
        emit(self._observer, event)


def _check(db: Any) -> None:
    watch = getattr(db, "watch", None)
    module = type(db).__module__
    if not callable(watch) or not isinstance(getattr(db, "name", None), str):
        raise ConfigurationError(f"db={db!r:.100}: expected an async database of PyMongo or Motor")
    if not iscoroutinefunction(watch) and not module.startswith("motor."):
        raise ConfigurationError(
            f"db is a {module}.{type(db).__qualname__}, which blocks the event loop: take one of"
            " AsyncMongoClient, as create_async_client() of symphonia_perf.mongo makes it"
        )


def _wake(redis: Any) -> Any:
    """What tells waiting processes at once that the watcher has gone; None: they ask for it."""
    try:
        return redis.pubsub()
    except (AttributeError, ConfigurationError):
        return None
