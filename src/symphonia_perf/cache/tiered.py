"""Two tiers: entries in this process for speed, in Redis for all, and never silently apart."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar
from weakref import WeakKeyDictionary

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.clock import Clock, SystemClock
from symphonia_perf._core.durations import seconds
from symphonia_perf.cache._hearing import Hearing, Published, Tracked
from symphonia_perf.cache._near import NearTier, Ticket
from symphonia_perf.cache.entry import Entry, Generation
from symphonia_perf.cache.memory import MemoryCacheStore
from symphonia_perf.cache.redis import RedisCacheStore
from symphonia_perf.cache.stores import Found, Lease
from symphonia_perf.cache.tags import MAX_KNOWN_TAGS
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

if TYPE_CHECKING:
    from symphonia_perf.redis.adapter import Adapter
    from symphonia_perf.redis.client import RedisClient

__all__ = ["TierStats", "TieredCacheStore"]

T = TypeVar("T")

# One flushes what another holds, and knows nothing of the other's tags.
_near_stores: "WeakKeyDictionary[MemoryCacheStore, Binding]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStats:
    """How a near tier is doing."""

    listening: bool  # whether changes are heard of; else the near tier is empty
    entries: int  # held near
    size: int  # their bytes, where the near store is bounded by bytes
    tags: int  # whose generations are remembered
    evicted: int  # entries that left because room was needed
    flushes: int  # times that everything was forgotten: a connection lost, a server flushed
    overtaken: int  # far reads that were not kept near because of a change meanwhile


class TieredCacheStore:
    """A cache store of two tiers: what is read from the far one is held near, in this process.

    A near hit takes no round trip and no suspension. Whoever writes a key, in whatever process or
    program, makes it leave every near tier: the server tells of each key that was written
    (`CLIENT TRACKING`). Whatever may have gone unheard empties the near tier: a lost connection,
    a flushed server. While nothing is heard it stays empty and the far tier answers. A far read
    that a write overtakes is not held. As a belt, nothing is held for longer than `near_ttl`, and
    no tag's generation believed for longer.

    The cache opens it, and tells it its prefix. A store belongs to one cache; several may share
    the client. After a write the near tier is filled by the next read, not by the write itself: the
    server's word on it cannot be told from that on somebody else's.

    With `invalidation="pubsub"` the writers publish what they change, each write taking one more
    round trip. That works on every server and on fakeredis, but only caches like this one are
    heard, and what a writer that died in between did not tell stays for `near_ttl`.

    ```python
    from symphonia_perf.cache import Cache, MemoryCacheStore, RedisCacheStore, TieredCacheStore
    from symphonia_perf.redis import connect
    from symphonia_perf.testing.servers import redis_server

    with redis_server() as server:
        async with connect(server.url) as redis:
            near = MemoryCacheStore(max_bytes=64 * 2**20)
            async with Cache(TieredCacheStore(near, RedisCacheStore(redis))) as cache:
                await cache.set("plan:1", {"price": 30})
                assert await cache.get("plan:1") == {"price": 30}
    ```

    Args:
        near: holds entries in this process, within its bounds; nobody else may use it. With
            `copy=False` readers share one object, which is fastest.
        far: has all entries.
        invalidation: `tracking` (default), or `pubsub` where that is not to be had.
        near_ttl: seconds that an entry is held near, and a tag's generation remembered, at most;
            default a minute.
        max_tags: tags whose generations are remembered here, beside the near store's bounds;
            default 10,000.
        listen_on: the client by which changes are heard, of the same server; default the far tier's
            own. To track, `connect(url)` need not be opened.
        clock: where time comes from; that of both tiers and of the cache must run alike.

    Attributes:
        peek: gives the entry of a key at once, if it is held near, fresh, no error, and its tags
            were not bumped; else None.

    Raises:
        ConfigurationError: an option that cannot work, or a client that cannot do it.
    """

    def __init__(
        self,
        near: MemoryCacheStore,
        far: RedisCacheStore,
        *,
        invalidation: Literal["tracking", "pubsub"] = "tracking",
        near_ttl: Seconds = 60.0,
        max_tags: int = MAX_KNOWN_TAGS,
        listen_on: "RedisClient | Adapter | None" = None,
        clock: Clock | None = None,
    ) -> None:
        for option, store, kind in (
            ("near", near, MemoryCacheStore),
            ("far", far, RedisCacheStore),
        ):
            if not isinstance(store, kind):
                raise ConfigurationError(f"{option}={store!r:.100}: expected a {kind.__name__}")
        if invalidation not in ("tracking", "pubsub"):
            raise ConfigurationError(
                f"invalidation={invalidation!r}: expected 'tracking' or 'pubsub'"
            )
        if listen_on is not None and invalidation == "tracking":
            _check_far(far)
        client = far.commands if listen_on is None else listen_on
        self._far = far
        self._store = near
        self._near = NearTier(
            near,
            ttl=seconds(near_ttl, option="near_ttl"),
            max_tags=max_tags,
            now=(clock or SystemClock()).monotonic,
        )
        self._hearing: Hearing
        if invalidation == "tracking":
            self._hearing = Tracked(client, self._near)
            # What was lost is told at once, and empties the near store: it needs no second look.
            self.peek: Callable[[str], Entry | None] = near.peek
        else:
            self._hearing = Published(client, self._near)
            self.peek = self._checked_peek
        self._binding = Binding("this tiered store")
        self._lent = _near_stores.setdefault(near, Binding("another store over this near one"))

    @asynccontextmanager
    async def listening(self, prefix: str) -> AsyncGenerator[None]:
        """Hear of changes of keys with this prefix; a cache does this while it is open.

        Without a server it is entered all the same, and hears from when there is one.

        Raises:
            ConfigurationError: the server, a proxy, the protocol or the user's rights forbid
                tracking.
            CommandError: the server refuses for another reason.
            SymphoniaError: it is open already, or another over its near store is: each cache needs
                stores of its own.
            NotOpen, WrongLoop: with `pubsub`, the client is not open here.
        """
        self._binding.open()
        try:
            self._lent.open()
            try:
                self._store.follow(self._near.tags)
                async with self._hearing.open(prefix):
                    yield
            finally:
                self._lent.close()
        finally:
            self._binding.close()

    async def get_many(
        self, keys: Sequence[str], tags: Sequence[str] = (), *, ages: bool = False
    ) -> Found:
        """The entries that are there: those held near, and the others from the far tier.

        It takes no round trip, one, or two where the generation of an entry's tag is not known.

        Raises:
            StoreError: the far tier failed.
        """
        del ages  # the near tier needs them in any case
        near = self._near
        self._hearing.check()
        entries = near.look(keys)
        known = near.tags.known(tags)
        far_keys = [key for key in keys if key not in entries] if entries else keys
        far_tags = [tag for tag in tags if tag not in known] if known else tags
        if not far_keys and not far_tags:
            return Found(entries, (), known)
        ticket = near.begin(far_keys)
        near.join(ticket, far_tags)
        try:
            found, corrupt, numbers = await self._far.get_many(
                far_keys, far_tags, ages=True, check=False
            )
            if any(entry.tags for entry in found.values()):
                found = await self._current(found, numbers, ticket)
            elif numbers:
                near.learn(ticket, numbers)
            self._hearing.check()
            near.keep(ticket, found)
        finally:
            near.end(ticket)
        if entries:
            found = {**entries, **found}
        return Found(found, corrupt, {**known, **numbers} if known else numbers)

    async def set_many(self, entries: Mapping[str, Entry]) -> None:
        """Store entries in the far tier, and forget what is held near of them.

        Raises:
            StoreError: the far tier failed; the near one has forgotten them all the same.
        """
        keys = list(entries)
        await self._change(keys, lambda: self._far.set_many(entries))

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Remove entries from both tiers; how many of them were in the far one.

        Raises:
            StoreError: the far tier failed; the near one has forgotten them all the same.
        """
        return await self._change(keys, lambda: self._far.delete_many(keys))

    async def delete_matching(self, pattern: str) -> int:
        """Remove entries whose key is of this form; the near tier forgets everything.

        Raises:
            StoreError: the far tier failed; the near one has forgotten everything all the same.
        """
        return await self._change(None, lambda: self._far.delete_matching(pattern))

    async def bump_tags(self, tags: Sequence[str]) -> None:
        """Give each tag another generation: entries that carry the old one are gone at once.

        Raises:
            StoreError: the far tier failed; here the generations are asked for anew all the same.
        """
        await self._change(tags, lambda: self._far.bump_tags(tags))

    def lease(self, key: str, length: Seconds) -> Lease:
        """A lease to load `key`, the far tier's.

        Raises:
            ConfigurationError: a length that cannot work.
        """
        return self._far.lease(key, length)

    def stats(self) -> TierStats:
        """How the near tier is doing."""
        self._hearing.check()
        near, store = self._near, self._store
        return TierStats(
            listening=near.hears,
            entries=len(store),
            size=store.size,
            tags=len(near.tags),
            evicted=store.evicted,
            flushes=near.flushes,
            overtaken=near.overtaken,
        )

    def _checked_peek(self, key: str) -> Entry | None:
        self._hearing.check()
        return self._store.peek(key)

    async def _change(self, names: Sequence[str] | None, write: Callable[[], Awaitable[T]]) -> T:
        """What `write` returns, once this process and the others have forgotten what was near."""

        async def here() -> T:
            try:
                return await write()
            finally:  # also where it failed: it may have been done
                if names is None:
                    self._near.flush(hears=self._near.hears)
                else:
                    self._near.changed_many(names)

        return await self._hearing.told(names, here)

    async def _current(
        self, found: Mapping[str, Entry], numbers: Mapping[str, Generation], ticket: Ticket
    ) -> Mapping[str, Entry]:
        """Of these entries, those whose tags were not bumped."""
        near = self._near
        used = {tag for entry in found.values() for tag in entry.tags}
        if others := sorted(tag for tag in used if tag not in numbers and tag not in near.tags):
            near.join(ticket, others)
            numbers = {**numbers, **(await self._far.get_many((), others)).generations}
        near.learn(ticket, numbers)
        return {key: entry for key, entry in found.items() if near.is_current(entry, numbers)}


def _check_far(far: RedisCacheStore) -> None:
    """Return unless the far tier is a cluster, of which one connection tracks one node."""
    try:
        subscribes = getattr(far.commands, "pubsub", None)
        if callable(subscribes):
            subscribes()
    except ConfigurationError as error:
        raise ConfigurationError(
            "listen_on with a far tier that is a cluster: one connection tracks one of its nodes;"
            ' use invalidation="pubsub"'
        ) from error
