"""The typed wrapper that `Cache.cached` returns."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from symphonia_perf.cache._arguments import Arguments, name_of
from symphonia_perf.cache.entry import Entry
from symphonia_perf.cache.keys import Template
from symphonia_perf.errors import ConfigurationError

__all__ = ["Cached", "Decorator"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class _Cache(Protocol):
    """What a cached function needs of its cache."""

    def peek(self, key: str) -> Entry | None: ...

    async def get_or_load(self, key: str, load: Callable[[], Awaitable[R]], *, ttl: float) -> R: ...

    async def refresh(self, key: str, load: Callable[[], Awaitable[R]], *, ttl: float) -> R: ...

    async def delete(self, key: str) -> bool: ...


class Cached(Generic[P, R]):
    """A function whose results are cached; made by `Cache.cached`.

    Calling it is awaiting the cached result. The other methods take the function's own parameters,
    so a wrong argument is an error for the type checker. On an instance it is a bound method.

    ```python
    from symphonia_perf.cache import Cache, MemoryCacheStore

    cache = Cache(MemoryCacheStore())

    @cache.cached("plan:{plan_id}", ttl=3600)
    async def load_plan(plan_id: str) -> dict[str, str]:
        return {"_id": plan_id}

    async with cache:
        assert await load_plan("12345") == {"_id": "12345"}
        assert load_plan.key("12345") == "plan:12345"
        assert await load_plan.invalidate(plan_id="12345")
    ```
    """

    def __init__(
        self,
        function: Callable[P, Coroutine[Any, Any, R]] | Callable[P, R],
        cache: _Cache,
        *,
        template: Template,
        ignore: Iterable[str],
        ttl: float,
    ) -> None:
        update_wrapper(self, function)
        self._function: Callable[..., Coroutine[Any, Any, R]] = _asynchronous(function)
        self._arguments = Arguments(template, function, ignore)
        self._cache = cache
        self._ttl = ttl
        self._bound: tuple[Any, ...] = ()

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The cached result, or the function's own, which is then cached."""
        given = self._bound + args
        key = self._arguments.key(given, kwargs)
        entry = self._cache.peek(key)
        if entry is not None:
            value: R = entry.value
            return value
        load = partial(self._function, *given, **kwargs)
        return await self._cache.get_or_load(key, load, ttl=self._ttl)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of this call, as `Cache.get` and `Cache.delete` take it.

        Raises:
            ConfigurationError: an argument cannot be part of a key.
        """
        return self._arguments.key(self._bound + args, kwargs)

    async def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The function's own result, as if it were not cached."""
        return await self._function(*self._bound, *args, **kwargs)

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function now and put its result in place of the entry; see `Cache.refresh`."""
        given = self._bound + args
        load = partial(self._function, *given, **kwargs)
        key = self._arguments.key(given, kwargs)
        return await self._cache.refresh(key, load, ttl=self._ttl)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the entry of this call; whether there was one. See `Cache.delete`."""
        return await self._cache.delete(self._arguments.key(self._bound + args, kwargs))

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> "Cached[P, R]": ...

    @overload
    def __get__(
        self: "Cached[Concatenate[S, Q], R]", instance: S, owner: type[S] | None = None
    ) -> "Cached[Q, R]": ...

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """The function itself on a class, a bound method on an instance."""
        if instance is None:
            return self
        bound: Cached[Any, Any] = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._bound = (*self._bound, instance)
        return bound


class Decorator(Protocol):
    """What `Cache.cached` returns: wraps an async function, or a sync one, run in a thread."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Cached[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Cached[P, R]: ...


def _asynchronous(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The function itself when it is async, else one that runs it in a thread.

    Raises:
        ConfigurationError: not a function whose result can be stored.
    """
    name = name_of(function)
    if isinstance(function, staticmethod | classmethod):
        raise ConfigurationError(f"{name}: write @staticmethod or @classmethod above the cache")
    if not callable(function):
        raise ConfigurationError(f"{function!r} is not a function")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(
            f"{name} is a generator, which is used up by its first reader; return a list"
        )
    if inspect.iscoroutinefunction(function):
        return function
    call = type(function).__call__
    if inspect.iscoroutinefunction(call):
        return partial(call, function)
    return partial(asyncio.to_thread, function)
