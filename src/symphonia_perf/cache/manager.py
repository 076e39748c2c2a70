"""The cache itself: look, else load once, and never let a store's failure break a request."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.clock import Clock, SystemClock
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import Observer
from symphonia_perf._core.singleflight import Flight, SingleFlight
from symphonia_perf.cache._arguments import name_of
from symphonia_perf.cache.decorator import Cached, Decorator
from symphonia_perf.cache.entry import Entry
from symphonia_perf.cache.guarded import CacheStats, GuardedStore
from symphonia_perf.cache.keys import KeyScheme, Template
from symphonia_perf.cache.stores import CacheStore
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

__all__ = ["Cache"]

T = TypeVar("T")


class Cache:
    """Results kept in a store, loaded once when they are missing.

    Make it at module scope, open it with `async with`, and give it
    keys such as `plan:12345`; in the store they are `cache:plan:12345`.

    * Callers that miss the same key at the same time share one load in this process, which runs in
      a task of its own: a cancelled caller harms nobody. They get the same object.
    * `delete`, `set` and `refresh` overtake a load under way: its callers get its result, but it is
      not stored.
    * With `on_error="bypass"` a store that fails never breaks a request: reads go to the loader,
      results are not stored, and every such case is an event. Note that a `delete` that failed
      leaves the old entry in place until its time is over.

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
        store: where entries are kept. The cache opens and closes nothing of it.
        prefix: what every key begins with; default `cache`.
        version: raise it when stored values change their shape: keys then begin with `cache:v2:`.
        ttl: seconds an entry may be served unless a call says otherwise; default 3,600.
        on_error: `bypass` (default) or `raise`, when the store fails.
        observer: told of every event; by default only bypasses are told, to the log.
        clock: where durations in events come from.

    Raises:
        ConfigurationError: an option that cannot work.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        prefix: str = "cache",
        version: int | None = None,
        ttl: Seconds = 3600,
        on_error: Literal["bypass", "raise"] = "bypass",
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        if on_error not in {"bypass", "raise"}:
            raise ConfigurationError(f"on_error={on_error!r}: expected 'bypass' or 'raise'")
        self._now = (clock or SystemClock()).monotonic
        self._store = GuardedStore(
            store, raises=on_error == "raise", observer=observer, now=self._now
        )
        self._start = KeyScheme(prefix=prefix, version=version).start
        self._ttl = seconds(ttl, option="ttl")
        self._templates: dict[str, Template] = {}
        self._binding = Binding("the cache")
        self._flights: SingleFlight[Any] = SingleFlight()

    async def __aenter__(self) -> Self:
        """Bind the cache to this process and event loop."""
        self._binding.open()
        self._flights = SingleFlight()  # what an earlier loop left behind is not waited for
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel loads under way; the store stays as it is. The cache may be opened again."""
        self._binding.check()
        self._binding.close()
        await self._flights.aclose()

    def peek(self, key: str) -> Entry | None:
        """The entry, if the store has it at hand without waiting; None says nothing.

        Raises:
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
        """
        self._binding.check()
        try:
            full = self._start + key
        except TypeError:
            full = self._full(key)  # names what is no text
        return self._store.peek(full)

    async def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`, or `default` when there is none.

        A stored None is a value: pass a `default` of your own to tell it from a missing one.

        Raises:
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
            StoreError: the store failed and `on_error` is `raise`.
        """
        entry = self.peek(key)
        if entry is None:
            entry, _ = await self._store.read(self._full(key))
        return default if entry is None else entry.value

    async def get_or_load(
        self, key: str, load: Callable[[], Awaitable[T]], *, ttl: Seconds | None = None
    ) -> T:
        """The value under `key`, or what `load()` returns, which is then stored.

        What `load` raises is raised to all callers of that run, as one object, and is not stored.

        Args:
            key: as in `carriers:list`; build one from foreign values with `Template.key`.
            load: an async function without arguments.
            ttl: seconds the result may be served; default the cache's own.

        Raises:
            SymphoniaError: `load` asks for its own key, or the cache was closed meanwhile.
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
            StoreError: the store failed and `on_error` is `raise`.
        """
        value: T
        self._binding.check()
        try:
            full = self._start + key
        except TypeError:
            full = self._full(key)  # names what is no text
        entry = self._store.peek(full)  # not self.peek: this is the path where a call is felt
        if entry is not None:
            value = entry.value
            return value
        full, lifetime, keep = self._full(key), self._lifetime(ttl), True
        while full not in self._flights:
            (entry, keep), landed = await self._flights.look(full, self._store.read)
            if entry is not None:
                value = entry.value
                return value
            if not landed:
                break
        value = await self._flights.run(full, partial(self._load, full, load, lifetime, keep=keep))
        return value

    async def refresh(
        self, key: str, load: Callable[[], Awaitable[T]], *, ttl: Seconds | None = None
    ) -> T:
        """What `load()` returns now, stored in place of the entry; raises as `get_or_load` does.

        Until then the old entry is served, and it stays when `load` raises.
        """
        self._binding.check()
        full, lifetime = self._full(key), self._lifetime(ttl)
        await self._flights.supersede(full)
        run = partial(self._load, full, load, lifetime, keep=True)
        value: T = await self._flights.run(full, run)
        return value

    async def set(self, key: str, value: Any, *, ttl: Seconds | None = None) -> None:
        """Store `value` under `key`, for `ttl` seconds or the cache's own default, never forever.

        Raises:
            NotOpen, WrongLoop: used outside `async with`, or elsewhere.
            StoreError: the store failed, or cannot hold the value, and `on_error` is `raise`.
        """
        self._binding.check()
        full, lifetime = self._full(key), self._lifetime(ttl)
        await self._flights.supersede(full)
        await self._store.write(full, value, lifetime)

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

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove several entries in one round trip; how many there were. See `delete`."""
        self._binding.check()
        if isinstance(keys, str):
            raise ConfigurationError(f"keys={keys!r}: expected a list of keys, as in [{keys!r}]")
        full = list(dict.fromkeys(self._full(key) for key in keys))
        if not full:
            return 0
        for each in full:
            await self._flights.supersede(each)
        return await self._store.delete(full)

    def cached(
        self, template: str, *, ttl: Seconds | None = None, ignore: Iterable[str] = ()
    ) -> Decorator:
        """A decorator that caches a function's results under keys of this template.

        Args:
            template: as in `plan:{plan_id}`; fields are the function's parameters. See `Template`.
            ttl: seconds a result may be served; default the cache's own.
            ignore: parameters that do not change the result, such as `self`.

        Raises:
            ConfigurationError: the template is malformed or could make a key of another function
                of this cache; a field is not a parameter, or a parameter is neither in the template
                nor ignored; or the function's result cannot be cached.
        """
        parsed, lifetime = Template(template), self._lifetime(ttl)

        def decorate(function: Callable[..., Any], /) -> Cached[Any, Any]:
            cached: Cached[Any, Any] = Cached(
                function, self, template=parsed, ignore=ignore, ttl=lifetime
            )
            self._claim(parsed, name_of(function))
            return cached

        return decorate

    def stats(self) -> CacheStats:
        """What happened since the cache was made."""
        return self._store.stats

    def _full(self, key: object) -> str:
        if not isinstance(key, str) or not key:
            raise ConfigurationError(f"key={key!r}: expected a text such as 'plan:12345'")
        return self._start + key

    def _lifetime(self, ttl: Seconds | None) -> float:
        return self._ttl if ttl is None else seconds(ttl, option="ttl")

    def _claim(self, template: Template, owner: str) -> None:
        for other, taken in self._templates.items():
            if other != owner and template.overlaps(taken):
                raise ConfigurationError(
                    f"template {template.pattern!r} of {owner} can make the same key as"
                    f" {taken.pattern!r} of {other}: they would get each other's results"
                )
        self._templates[owner] = template

    async def _load(
        self,
        full: str,
        load: Callable[[], Awaitable[T]],
        ttl: float,
        flight: Flight,
        *,
        keep: bool,
    ) -> T:
        started = self._now()
        try:
            value = await load()
        except Exception:
            self._store.note("error", full, started)
            raise
        self._store.note("load", full, started)
        if keep and not flight.superseded:
            flight.committing = True
            await self._store.write(full, value, ttl)
        return value
