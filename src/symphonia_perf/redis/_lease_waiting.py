"""What a waiter does between two tries: sleep, or listen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Self

from symphonia_perf._core.broadcast import Broadcast
from symphonia_perf.errors import SymphoniaError
from symphonia_perf.redis._lease_record import chance
from symphonia_perf.redis._lease_rules import poll_pause, spacing

__all__ = ["Waiting"]

_LISTENS = 5.0  # seconds: a broadcast that does not let in by then has failed


class Waiting:
    """The pauses of one waiter.

    Args:
        wake: what hears of releases, if anything does; where it fails, the waiter only asks.
        channel: where they are told of.
    """

    def __init__(self, wake: Broadcast | None, channel: str) -> None:
        self._wake = wake
        self._channel = channel
        self._releases: AsyncIterator[Any] | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def pause(self, left: float | None, *, at_most: float) -> None:
        """Return when it is time to try again.

        Args:
            left: seconds that the holder's lease lasts, where that is known.
            at_most: seconds.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._wake is not None:
            wake, self._wake = self._wake, None
            await self._listen(wake, at_most)
            left = None  # it may have been released before anybody heard
        if self._releases is not None:
            await self._hear(self._releases, began + min(poll_pause(left, chance()), at_most))
        waited = loop.time() - began
        await asyncio.sleep(min(spacing(waited, chance()), max(at_most - waited, 0.0)))

    async def _listen(self, wake: Broadcast, at_most: float) -> None:
        with suppress(SymphoniaError, TimeoutError):
            async with asyncio.timeout(min(at_most, _LISTENS)):
                # One message says as much as many, and a gap says the same: look.
                listener = wake.subscribe(self._channel, max_messages=1)
                self._releases = await self._stack.enter_async_context(listener)

    async def _hear(self, releases: AsyncIterator[Any], until: float) -> None:
        """Return when it was released, or at that time."""
        try:
            async with asyncio.timeout_at(until):
                if await anext(releases, None) is None:
                    self._releases = None
        except TimeoutError:
            return
        except SymphoniaError:
            self._releases = None
