"""Several resources as one ASGI lifespan."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from symphonia_perf.errors import ConfigurationError

__all__ = ["lifespan"]


def lifespan(
    *resources: AbstractAsyncContextManager[Any],
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """What Starlette and FastAPI take as `lifespan=`: opens in order, closes in reverse.

    A resource that fails to open closes those before it, and the server does not start.

    Args:
        resources: whatever opens with `async with`: a Redis client, a cache, a PyMongo client.

    Raises:
        ConfigurationError: one of them does not open with `async with`.

    ```python
    import symphonia_perf
    from symphonia_perf.cache import Cache, MemoryCacheStore

    cache = Cache(MemoryCacheStore())
    running = symphonia_perf.lifespan(cache)  # Starlette(lifespan=running)

    async with running(None):
        await cache.set("plan:1", "free")
    ```
    """
    for resource in resources:
        if not isinstance(resource, AbstractAsyncContextManager):
            raise ConfigurationError(
                f"lifespan() got {resource!r:.100}; expected what opens with `async with`"
            )

    @asynccontextmanager
    async def run(app: Any) -> AsyncGenerator[None, None]:  # noqa: ARG001 - Starlette passes it
        async with AsyncExitStack() as stack:
            for resource in resources:
                await stack.enter_async_context(resource)
            yield

    return run
