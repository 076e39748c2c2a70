"""How results are loaded, and what is kept of them: the options of one cached function."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, TypedDict

from symphonia_perf._core.durations import seconds
from symphonia_perf.cache.entry import Entry, Generation
from symphonia_perf.cache.lifetime import Lifetime
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

__all__ = ["CallOptions", "LoadOptions", "Lock", "Recipe", "Ttl"]

Lock: TypeAlias = Literal["local", "distributed", "none"]
"""Who runs a loader once.

`local`: of all callers in this process, the first. `distributed`: of all processes that share the
store, one. `none`: every caller runs it, and a change of its key does not overtake it.
"""

Ttl: TypeAlias = Seconds | Lifetime | Callable[[Any], Seconds | Lifetime | None]
"""Seconds, a lifetime, or a function of the result that gives one of these; its None keeps nothing.
"""

_LOCKS = ("local", "distributed", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a cache runs loaders, where a call does not say otherwise.

    ```python
    from symphonia_perf.cache import Cache, LoadOptions, MemoryCacheStore

    cache = Cache(MemoryCacheStore(), loading=LoadOptions(lock="distributed", timeout=20))
    ```

    Raises:
        ConfigurationError: names the option, its value and what is allowed.
    """

    lock: Lock = "local"  # who runs a loader once; default "local"
    # A loader that takes longer is cancelled and its callers get `LoadTimeout`, and so is the wait
    # for another process that loads; None: never. Default 60 s.
    timeout: Seconds | None = 60.0
    # With `distributed`: when another process may load what a dead one was loading; default 10 s.
    # A live one keeps its lease for as long as it loads.
    lease: Seconds = 10.0

    def __post_init__(self) -> None:
        """Check every field."""
        if self.lock not in _LOCKS:
            raise ConfigurationError(f"lock={self.lock!r}: expected one of {list(_LOCKS)}")
        if self.timeout is not None:
            object.__setattr__(self, "timeout", seconds(self.timeout, option="timeout"))
        object.__setattr__(self, "lease", seconds(self.lease, option="lease"))


class CallOptions(TypedDict, total=False):
    """What one call or function says otherwise than its cache.

    They are collected in a dict because Python fills keyword-only defaults slowly: six of them
    cost 0.3 us, a third of a hit in memory.
    """

    # Seconds that a result is fresh, a `Lifetime`, or a function of the result that gives one of
    # these, or None for what is not kept; default the cache's own. Where the function raises, the
    # result is served and not kept, and an event tells.
    ttl: Ttl
    # Seconds that a result is served after that, while one task loads it anew.
    stale_for: Seconds
    # What it depends on, at most 32; see `Cache.invalidate_tags`. Of a function they are templates,
    # as in `client:{client_id}`.
    tags: Iterable[str]
    # `local` runs the loader once for all callers in this process, `distributed` once for all
    # processes that share the store, `none` for each caller.
    lock: Lock
    # Seconds that the loader may take, else its callers get `LoadTimeout`; None: any.
    timeout: Seconds | None
    # Whether a result is stored; where it raises, as with `ttl`.
    condition: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one cached function wants: how its results are loaded and kept. Pure."""

    lifetime: Lifetime
    loading: LoadOptions
    choose: Callable[[Any], Seconds | Lifetime | None] | None = None
    condition: Callable[[Any], bool] | None = None
    # Derived once, because they are asked for at every far hit: whether a store has no part in it,
    # and whether what it reads may be stale.
    keeps_nothing: bool = field(init=False)
    wants_ages: bool = field(init=False)

    def __post_init__(self) -> None:
        """Derive what is asked for most."""
        lifetime, chooses = self.lifetime, self.choose is not None
        soft = chooses or bool(lifetime.stale_for or lifetime.stale_on_error)
        object.__setattr__(self, "keeps_nothing", not lifetime.keeps and not chooses)
        object.__setattr__(self, "wants_ages", soft)

    @property
    def timeout(self) -> float | None:
        """Seconds a loader may take."""
        timeout = self.loading.timeout
        return None if timeout is None else seconds(timeout, option="timeout")

    @property
    def lease(self) -> float:
        """Seconds until what a dead process was loading may be loaded by another."""
        return seconds(self.loading.lease, option="lease")

    def entry(self, value: Any, tags: Mapping[str, Generation], chance: float) -> Entry | None:
        """The entry for a result; None where it is not kept."""
        if self.condition is not None and not self.condition(value):
            return None
        lifetime = self.lifetime
        if self.choose is not None:
            chosen = self.choose(value)
            if chosen is None:
                return None
            lifetime = Lifetime.of(chosen, self.lifetime)
        return lifetime.entry(value, tags, chance)

    def varied(self, options: CallOptions) -> "Recipe":
        """This one with what a function or a call says otherwise; its tags are not looked at.

        Raises:
            ConfigurationError: an option that cannot work, or that there is not.
        """
        if unknown := options.keys() - CallOptions.__annotations__.keys():
            raise ConfigurationError(
                f"{sorted(unknown)}: there is no such option; expected one of"
                f" {list(CallOptions.__annotations__)}"
            )
        lifetime, choose, ttl = self.lifetime, self.choose, options.get("ttl")
        if callable(ttl):
            _check_plain("ttl", ttl, "seconds, a Lifetime(...), or a function of the result")
            choose = ttl
        else:
            lifetime = Lifetime.of(ttl, lifetime)
        if (stale_for := options.get("stale_for")) is not None:
            lifetime = replace(lifetime, stale_for=stale_for)
        condition = options.get("condition", self.condition)
        if condition is not None and condition is not bool:  # the one class that says yes or no
            _check_plain("condition", condition, "a function of the result")
        lock = options.get("lock", self.loading.lock)
        timeout = options.get("timeout", self.loading.timeout)
        return Recipe(
            lifetime=lifetime,
            loading=replace(self.loading, lock=lock, timeout=timeout),
            choose=choose,
            condition=condition,
        )


def _check_plain(option: str, function: object, expected: str) -> None:
    """Refuse what could not answer about any result, before there is one."""
    called = getattr(type(function), "__call__", None)  # noqa: B004 - not whether, but how
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
    if not callable(function) or is_async or isinstance(function, type):
        kind = ", not an async one" if is_async else ""
        raise ConfigurationError(f"{option}={function!r}: expected {expected}{kind}")
