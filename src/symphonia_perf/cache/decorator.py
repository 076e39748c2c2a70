"""The typed wrapper that `Cache.cached` returns."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial, update_wrapper, wraps
from threading import get_ident
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from symphonia_perf.cache._arguments import Arguments, name_of
from symphonia_perf.cache._loading import Load, Loading
from symphonia_perf.cache.entry import Entry
from symphonia_perf.cache.options import Recipe
from symphonia_perf.errors import ConfigurationError, StoreError

__all__ = ["Cached", "Decorator", "WriterDecorator", "writer"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


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
        loading: Loading,
        *,
        arguments: Callable[[Callable[..., Any]], Arguments],
        recipe: Recipe,
    ) -> None:
        update_wrapper(self, function)
        self._function: Callable[..., Coroutine[Any, Any, R]] = asynchronous(function)
        self._arguments = arguments(function)
        self._place = self._arguments.place
        self._loading = loading
        self._recipe = recipe
        self._bound: tuple[Any, ...] = ()

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The cached result, or the function's own, which is then cached."""
        given = self._bound + args if self._bound else args
        key, tags = self._place(given, kwargs)
        loading = self._loading
        if get_ident() != loading.thread:
            loading.check()
        value: R
        peek = loading.peek
        if peek is not None and (entry := peek(key)) is not None:  # as `at_hand`
            journal = loading.journal
            journal.hits += 1
            if journal.listens:
                journal.hit(key)
            value = entry.value
            return value
        landings, first = loading.flights.landings, loading.first(key, self._recipe, tags)
        try:
            found = None if first is None else await first
        except StoreError as error:
            found = loading.failed(error)
        if isinstance(found, Entry):
            loading.journal.hits += 1
            value = found.value
        else:
            load = partial(self._function, *given, **kwargs)
            value = await loading.result(Load(key, load, self._recipe, tags), found, landings)
        return value

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
        self._loading.check()
        given = self._bound + args
        key, tags = self._place(given, kwargs)
        load = partial(self._function, *given, **kwargs)
        value: R = await self._loading.fresh(Load(key, load, self._recipe, tags))
        return value

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the entry of this call; whether there was one. See `Cache.delete`."""
        key, _ = self._place(self._bound + args, kwargs)
        return await self._loading.delete([key]) == 1

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
        attributes = self.__dict__.copy()  # update() takes 0.4 us more, for every call of a method
        attributes["_bound"] = (*self._bound, instance)
        bound.__dict__ = attributes
        return bound


class Decorator(Protocol):
    """What `Cache.cached` returns: wraps an async function, or a sync one, run in a thread."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Cached[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Cached[P, R]: ...


class WriterDecorator(Protocol):
    """What `Cache.invalidates` returns: wraps an async function and keeps its form."""

    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R]]:
        """The function, followed by the event."""
        ...


def writer(
    function: Callable[..., Coroutine[Any, Any, Any]],
    changed: Callable[[Mapping[str, Any]], Awaitable[None]],
    fields: Mapping[str, str | Callable[[Any], object]],
) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The function, followed by the event it causes.

    Args:
        function: what writes.
        changed: tells the cache, with the event's fields, as many as are known.
        fields: each field's parameter, or what finds it in the result.

    Raises:
        ConfigurationError: not an async function, or one without such a parameter.
    """
    name = name_of(function)
    if not inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{name} is not an async function")
    signature = inspect.signature(function)
    for field, source in fields.items():
        if isinstance(source, str) and source not in signature.parameters:
            raise ConfigurationError(
                f"{name} has no parameter {source!r} for {field!r}; it takes"
                f" {list(signature.parameters)}: say {field}='parameter', or"
                f" {field}=lambda result: ..."
            )
    of_result = {field: find for field, find in fields.items() if not isinstance(find, str)}

    @wraps(function)
    async def write(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        known = {f: bound.arguments[p] for f, p in fields.items() if isinstance(p, str)}
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            # It may have been written all the same: a reply that was lost, a caller that left.
            await _told(changed(known), error)
            raise
        for field, find in of_result.items():
            try:
                known[field] = find(result)
            except Exception as error:
                failure = ConfigurationError(
                    f"{name} has returned, and {field}= did not find its field in the result:"
                    f" {error!r}; entries that it names may be old"
                )
                await _told(changed(known), failure)
                raise failure from error
        await changed(known)
        return result

    return write


async def _told(telling: Awaitable[None], error: BaseException) -> None:
    """Tell the cache; what goes wrong with that is a note of the error, which comes first."""
    try:
        await telling
    except Exception as failure:  # noqa: BLE001 - whatever it is, it must not hide the error
        error.add_note(f"and the cache could not be told: {failure!r}")


def asynchronous(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
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
    return partial(asyncio.to_thread, partial(_carried, function))


def _carried(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What the function returns, in a thread.

    Raises:
        RuntimeError: it raised StopIteration, which no future takes: who waits would wait for ever.
            Coroutines make the same of it (PEP 479).
    """
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        raise RuntimeError(f"{name_of(function)} raised StopIteration") from error
