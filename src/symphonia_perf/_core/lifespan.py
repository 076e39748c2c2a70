"""Several resources as one ASGI lifespan."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

from symphonia_perf.errors import ConfigurationError

__all__ = ["lifespan"]

Resource: TypeAlias = AbstractAsyncContextManager[Any]


def lifespan(
    *resources: Resource | Callable[[], Resource],
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """What Starlette and FastAPI take as `lifespan=`: opens in order, closes in reverse.

    A resource that fails to open closes those before it, and the server does not start.

    Args:
        resources: whatever opens with `async with`: a Redis client, a cache, a PyMongo client; or
            a function without parameters that makes one for each start, such as one with
            `@asynccontextmanager` in front.

    Raises:
        ConfigurationError: one of them does not open with `async with`, or only once.

    ```python
    from contextlib import asynccontextmanager

    import symphonia_perf
    from symphonia_perf.cache import Cache, MemoryCacheStore

    cache = Cache(MemoryCacheStore())


    @asynccontextmanager
    async def warmed():
        await cache.set("plan:1", "free")
        yield


    running = symphonia_perf.lifespan(cache, warmed)  # Starlette(lifespan=running)

    async with running(None):
        assert await cache.get("plan:1") == "free"
    ```
    """
    for resource in resources:
        if isinstance(resource, _ONCE):
            # The same app is started again by every test client: what can be entered only once
            # would fail there, far from here.
            raise ConfigurationError(
                "lifespan() got the result of a function with @asynccontextmanager, which opens "
                "only once; pass the function itself, without calling it"
            )
        if not isinstance(resource, AbstractAsyncContextManager) and not callable(resource):
            raise _wrong(resource)

    @asynccontextmanager
    async def run(app: Any) -> AsyncGenerator[None, None]:  # noqa: ARG001 - Starlette passes it
        async with AsyncExitStack() as stack:
            for resource in resources:
                if not isinstance(resource, AbstractAsyncContextManager):
                    opened = resource()
                    if not isinstance(opened, AbstractAsyncContextManager):
                        raise _wrong(opened)
                    await stack.enter_async_context(opened)
                else:
                    await stack.enter_async_context(resource)
            yield

    return run


def _wrong(resource: object) -> ConfigurationError:
    return ConfigurationError(
        f"lifespan() got {resource!r:.100}; expected what opens with `async with`, or a function "
        "that makes it"
    )


@asynccontextmanager
async def _nothing() -> AsyncGenerator[None, None]:
    yield


_ONCE = type(_nothing())
