"""The cache itself: look, else load once, and never let a store's failure break a request."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack

from symphonia_perf._core.breaker import BreakerOptions
from symphonia_perf._core.clock import Clock
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Observer
from symphonia_perf._core.globs import Glob
from symphonia_perf.cache._arguments import Arguments
from symphonia_perf.cache._claims import Claims
from symphonia_perf.cache._given import (
    checked_function,
    checked_mapping,
    checked_observer,
    checked_store,
    listed,
    steady,
)
from symphonia_perf.cache._journal import CacheStats, Journal
from symphonia_perf.cache._loading import Load, Loading, chance
from symphonia_perf.cache._naming import NO_TAGS, Naming
from symphonia_perf.cache.decorator import Cached, Decorator, WriterDecorator, writer
from symphonia_perf.cache.entry import MAX_TAGS, Entry
from symphonia_perf.cache.guarded import GuardedStore, each_tried
from symphonia_perf.cache.keys import KeyScheme, Template
from symphonia_perf.cache.lifetime import Lifetime
from symphonia_perf.cache.options import CallOptions, LoadOptions, Recipe, Ttl
from symphonia_perf.cache.rules import Effects, InvalidationRules
from symphonia_perf.cache.stores import CacheStore, hearing
from symphonia_perf.errors import ConfigurationError, StoreError
from symphonia_perf.typing import Seconds

__all__ = ["Cache"]

T = TypeVar("T")
_LOADER = "an async function without arguments"


class Cache:
    """Results kept in a store, loaded once when they are missing.

    Make it at module scope, open it with `async with`, and give it
    keys such as `plan:12345`; in the store they are `cache:plan:12345`.

    * Callers that miss the same key at the same time share one load in this process, which runs in
      a task of its own: a cancelled caller harms nobody. They get the same object.
    * `delete`, `set` and `refresh` overtake a load under way: its callers get its result, but it is
      not stored. A change of a tag does the same, in every process that shares the store.
    * With `on_error="bypass"` a store that fails never breaks a request: reads go to the loader,
      results are not stored, and every such case is an event. Note that a `delete` that failed
      leaves the old entry in place until its time is over.
    * A store that keeps failing is not asked for a while (a circuit breaker): reads then go to the
      loader at once, instead of waiting for a deadline each. What changes entries is still tried.
      With `on_error="raise"` everything raises `StoreUnavailable` at once.

    ```python
    from symphonia_perf.cache import Cache, MemoryCacheStore

    cache = Cache(MemoryCacheStore(), ttl=900)

    async def load_carriers() -> list[str]:
        return ["DHL", "UPS"]

    async with cache:
        assert await cache.get_or_load("carriers:list", load_carriers) == ["DHL", "UPS"]
        assert await cache.get("carriers:list") == ["DHL", "UPS"]
        await cache.delete("carriers:list")
        print(cache.stats())
    ```

    Args:
        store: where entries are kept; the cache opens nothing of it but the ear of a tiered one.
        prefix: what every key begins with; default `cache`. It should not be the first parts of
            another cache's, see `KeyScheme`.
        version: raise it when stored values change their shape: keys then begin with `cache:v2:`.
        ttl: seconds an entry is fresh, or a `Lifetime`; default an hour.
        rules: what `changed` makes of events.
        loading: how loaders are run.
        on_error: `bypass` (default) or `raise`, when the store fails.
        breaker: when a failing store is not asked for a while; None: it is always asked.
        observer: told of every event; by default only trouble is told, to the log.
        clock: where durations and ages come from; the store's own must run alike.

    Raises:
        ConfigurationError: an option that cannot work; also of the methods, where an argument
            cannot.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        prefix: str = "cache",
        version: int | None = None,
        ttl: Seconds | Lifetime = 3600,
        rules: InvalidationRules | None = None,
        loading: LoadOptions = LoadOptions(),  # noqa: B008 - a frozen value
        on_error: Literal["bypass", "raise"] = "bypass",
        breaker: BreakerOptions | None = BreakerOptions(),  # noqa: B008 - the same
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        if on_error not in ("bypass", "raise"):
            raise ConfigurationError(f"on_error={on_error!r}: expected 'bypass' or 'raise'")
        if breaker is not None and not isinstance(breaker, BreakerOptions):
            raise ConfigurationError(f"breaker={breaker!r}: expected BreakerOptions(...) or None")
        if not isinstance(loading, LoadOptions):
            raise ConfigurationError(f"loading={loading!r}: expected LoadOptions(...)")
        if rules is not None and not isinstance(rules, InvalidationRules):
            raise ConfigurationError(f"rules={rules!r}: expected InvalidationRules(on(...), ...)")
        checked_observer(observer)
        now = steady(clock)
        self._journal = Journal(observer=observer, now=now)
        self._store = GuardedStore(
            checked_store(store),
            raises=on_error == "raise",
            breaker=breaker,
            journal=self._journal,
            now=now,
        )
        self._loading = Loading(self._store, journal=self._journal, now=now)
        self._scheme = KeyScheme(prefix=prefix, version=version)
        self._start = self._scheme.start
        lifetime = ttl if isinstance(ttl, Lifetime) else Lifetime(ttl=seconds(ttl, option="ttl"))
        self._recipe = Recipe(lifetime, loading)
        self._rules = rules or InvalidationRules()
        self._claims = Claims()
        self._naming = Naming(self._scheme, self._recipe)
        self._recent = self._naming.recent
        self._changes: set[asyncio.Task[None]] = set()
        self._hearing = partial(hearing, store, self._start)
        self._ear = self._hearing()

    async def __aenter__(self) -> Self:
        """Bind the cache to this process and event loop, and let a tiered store hear of changes.

        Raises:
            ConfigurationError: a rule deletes keys that no function makes; a tiered store is deaf.
            CommandError: the server refuses to tell a tiered store of changes.
            SymphoniaError: it is open already, or another cache has opened its tiered store.
        """
        self._rules.check(self._claims.templates)
        self._loading.open()
        self._changes = set()
        self._ear = self._hearing()
        try:
            await self._ear.__aenter__()
        except BaseException:
            await self._loading.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel loads under way; the store stays as it is. The cache may be opened again."""
        self._loading.check()
        try:
            if self._changes:
                await asyncio.wait(self._changes)
        finally:  # also where whoever closes is cancelled: else it could not be opened again
            try:
                await self._loading.aclose()
            finally:
                await self._ear.__aexit__(None, None, None)

    @property
    def key_start(self) -> str:
        """What every key of this cache begins with in the store, as in `cache:` or `cache:v2:`."""
        return self._start

    @property
    def rules(self) -> InvalidationRules:
        """What `changed` makes of events."""
        return self._rules

    # One entry

    def peek(self, key: str) -> Entry | None:
        """The entry, if the store has it at hand without waiting; None says nothing.

        Raises:
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
        """
        return self._loading.at_hand(self._naming.full(key))

    async def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`, or `default` when there is none.

        A stored None is a value: pass a `default` of your own to tell it from a missing one. A
        stale value is served too, as there is nothing here to load it anew.

        Raises:
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
            StoreError: the store failed and `on_error` is `raise`.
        """
        full = self._naming.full(key)
        entry = self._loading.at_hand(full)
        if entry is None:
            self._loading.check()
            entry = (await self._store.read_many((full,))).get(full)
        return default if entry is None or entry.raised else entry.value

    async def get_or_load(
        self, key: str, load: Callable[[], Awaitable[T]], **options: Unpack[CallOptions]
    ) -> T:
        """The value under `key`, or what `load()` returns, which is then stored.

        What `load` raises is raised to all callers of that run, as one object, and is not stored
        unless the `Lifetime` says so.

        Args:
            key: as in `carriers:list`; build one from foreign values with `Template.key`.
            load: an async function without arguments.
            options: `ttl`, `stale_for`, `tags`, `lock`, `timeout` and `condition`; see
                `CallOptions`.

        Raises:
            SymphoniaError: `load` asks for its own key, or the cache was closed meanwhile.
            LoadTimeout: `load` took too long.
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
            StoreError: the store failed and `on_error` is `raise`.
        """
        value: T
        loading = self._loading
        try:
            full = self._recent[key]
        except (KeyError, TypeError):
            full = self._naming.remembered(key)
        if get_ident() != loading.thread:
            loading.check()
        peek = loading.peek
        if peek is not None and (entry := peek(full)) is not None:  # as `at_hand`
            journal = loading.journal
            journal.hits += 1
            if journal.listens:
                journal.hit(full)
            value = entry.value
            return value
        recipe, tags = self._recipe, NO_TAGS
        if options:
            recipe, tags = self._naming.told(options)
        landings, first = loading.flights.landings, loading.first(full, recipe, tags)
        try:
            found = None if first is None else await first
        except StoreError as error:
            found = loading.failed(error)
        if isinstance(found, Entry):
            loading.journal.hits += 1
            value = found.value
        else:
            call = Load(full, checked_function("load", load, _LOADER), recipe, tags)
            value = await loading.result(call, found, landings)
        return value

    async def refresh(
        self, key: str, load: Callable[[], Awaitable[T]], **options: Unpack[CallOptions]
    ) -> T:
        """What `load()` returns now, stored in place of the entry; raises as `get_or_load` does.

        Until then the old entry is served, and it stays when `load` raises.
        """
        self._loading.check()
        full = self._naming.full(key)
        recipe, tags = self._naming.told(options)
        call = Load(full, checked_function("load", load, _LOADER), recipe, tags)
        value: T = await self._loading.fresh(call)
        return value

    async def set(
        self, key: str, value: Any, *, ttl: Ttl | None = None, tags: Iterable[str] = ()
    ) -> None:
        """Store `value` under `key`, for `ttl` seconds or the cache's own default, never forever.

        Raises:
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
            StoreError: the store failed, or cannot hold the value, and `on_error` is `raise`.
        """
        self._naming.full(key)  # before it is a key of a dict
        await self.set_many({key: value}, ttl=ttl, tags=tags)

    async def delete(self, key: str) -> bool:
        """Remove the entry under `key`; whether there was one.

        When the store fails and `on_error` is `bypass`, this is False and a `BypassEvent`, and the
        old entry may be served until its time is over. Use `on_error="raise"` where that must not
        go unnoticed.

        Raises:
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
            StoreError: the store failed and `on_error` is `raise`.
        """
        return await self.delete_many([key]) == 1

    # Many, in one round trip for each thousand of names

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values that are there, by bulk; raises as `get` does."""
        self._loading.check()
        full = self._naming.full_many(keys)
        found = await self._store.read_many(list(full)) if full else {}
        return {full[key]: entry.value for key, entry in found.items() if not entry.raised}

    async def set_many(
        self,
        values: Mapping[str, Any],
        *,
        ttl: Ttl | None = None,
        tags: Iterable[str] = (),
    ) -> None:
        """Store all of them by bulk, with the same options; raises as `set` does."""
        self._loading.check()
        checked_mapping("values", values)
        recipe, named = (
            self._recipe if ttl is None else self._recipe.varied({"ttl": ttl}),
            self._naming.tags(tags),
        )
        for key in (full := self._naming.full_many(values)):
            await self._loading.flights.supersede(key)
        generations = await self._store.generations(named)
        if generations is None:
            return  # told already
        entries = {
            key: entry
            for key, short in full.items()
            if (entry := recipe.entry(values[short], generations, chance())) is not None
        }
        if entries:
            await self._store.write(entries)

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove several entries by bulk; how many there were. See `delete`."""
        return await self._loading.delete(list(self._naming.full_many(keys)))

    async def invalidate_tags(self, tags: Iterable[str]) -> None:
        """Make every entry gone that carries one of the tags, however many those are.

        That holds for entries whose loader runs now, in any process. Raises as `delete` does.
        """
        self._loading.check()
        named = self._naming.tags(tags, at_most=None)
        for key in self._loading.flights.under_way(named):
            await self._loading.flights.supersede(key)
        if named:
            await self._store.bump_tags(named)

    async def invalidate_pattern(self, pattern: str) -> int:
        r"""Remove entries whose key is of this form; how many there were.

        This walks through all keys of the store, in slices that let others through (SCAN and UNLINK
        in Redis, never KEYS). It is for maintenance: use tags for everyday changes. A load that
        is under way in another process may still store its result. Raises as `delete` does.

        Args:
            pattern: Redis's glob, as in `carriers:list*`, within the cache's prefix; `\` before
                `* ? [` means the character itself.
        """
        self._loading.check()
        full = self._naming.full(pattern)
        glob = Glob(full.encode("utf-8", "surrogatepass"))
        for key in self._loading.flights.under_way():
            if glob.matches(key.encode("utf-8", "surrogatepass")):
                await self._loading.flights.supersede(key)
        return await self._store.delete_matching(full)

    async def clear(self) -> int:
        """Remove every entry under this prefix and version; how many there were.

        Those of a cache whose prefix continues this one (`cache:eu`), or has a version where this
        has none, are under it too. See `invalidate_pattern`.
        """
        return await self.invalidate_pattern("*")

    # Functions and events

    def cached(
        self,
        template: str,
        *,
        key: Callable[..., Mapping[str, object]] | None = None,
        ignore: Iterable[str] = (),
        **options: Unpack[CallOptions],
    ) -> Decorator:
        """A decorator that caches a function's results under keys of this template.

        Args:
            template: as in `plan:{plan_id}`; fields are the function's parameters. See `Template`.
            key: takes some of the function's parameters, by name, and gives a dict of the fields
                that are no parameters, at every call: for arguments that have no place in a key.
            ignore: parameters that do not change the result, such as `self`.
            options: `ttl`, `stale_for`, `tags` (templates, too), `lock`, `timeout` and
                `condition`; see `CallOptions`.

        Raises:
            ConfigurationError: the template is malformed or could make a key of another function
                of this cache (a function that its module defines again replaces the first, what
                another function makes twice is two); a field is not a parameter, or a parameter is
                neither in the template nor ignored; or the function's result cannot be cached.
        """
        parsed = Template(template)
        named = [Template(tag) for tag in listed("tags", options.get("tags", ()))]
        recipe = self._recipe.varied(options)
        if len(named) > MAX_TAGS:
            raise ConfigurationError(f"tags: {len(named)} of them, an entry may have {MAX_TAGS}")

        def decorate(function: Callable[..., Any], /) -> Cached[Any, Any]:
            cached: Cached[Any, Any] = Cached(
                function,
                self._loading,
                arguments=partial(
                    Arguments, parsed, ignore=ignore, tags=named, key=key, scheme=self._scheme
                ),
                recipe=recipe,
            )
            self._claims.claim(parsed, function)
            return cached

        return decorate

    def invalidates(
        self, event: str, /, **fields: str | Callable[[Any], object]
    ) -> WriterDecorator:
        """A decorator for functions that write: afterwards it tells `changed(event, ...)`.

        It tells also when the function raises or its caller is cancelled, as it may have written:
        then the rules are applied whose fields are parameters. The function's own error is what is
        raised, with a note where the cache could not be told.

        Args:
            event: one that the cache's rules are about.
            fields: where each of the event's fields comes from: the name of a parameter, or a
                function of the result. A field of the same name as a parameter needs no mention.

        Raises:
            ConfigurationError: no rule is about the event, a field is not one of its, or the
                function has no such parameter.
        """
        wanted = self._rules.fields(event)
        if unknown := sorted(fields.keys() - wanted):
            raise ConfigurationError(f"event {event!r} tells {sorted(wanted)}, not {unknown}")
        sources = {field: fields.get(field, field) for field in sorted(wanted)}

        async def changed(values: Mapping[str, Any]) -> None:
            effects = self._rules.effects(event, values, partly=True)
            task = asyncio.get_running_loop().create_task(self._apply(effects))
            self._changes.add(task)
            task.add_done_callback(self._changes.discard)
            await asyncio.shield(task)

        return lambda function: writer(function, changed, sources)

    async def changed(self, event: str, /, **fields: object) -> None:
        """Do what the rules say about this event, in at most three steps; raises as `delete` does.

        A step that fails does not keep the others from being tried; then the first error is raised.

        Raises:
            ConfigurationError: no rule is about it, or a field is missing or unknown.
        """
        self._loading.check()
        await self._apply(self._rules.effects(event, fields))

    async def _apply(self, effects: Effects) -> None:
        # Tags first: what is loaded from now on is right, and they are the quickest.
        # An empty step would only fail, where the cache was closed under way.
        await each_tried(
            (
                *((partial(self.invalidate_tags, effects.tags),) if effects.tags else ()),
                *((partial(self.delete_many, effects.delete),) if effects.delete else ()),
                *(partial(self.invalidate_pattern, pattern) for pattern in effects.match),
            )
        )

    def stats(self) -> CacheStats:
        """What happened since the cache was made."""
        return self._journal.stats(breaker=self._store.breaker)
