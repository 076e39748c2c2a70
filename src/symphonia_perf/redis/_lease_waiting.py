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
        if self._wake is not None:
            wake, self._wake = self._wake, None
            with suppress(SymphoniaError):
                # One message says as much as many, and a gap says the same: look.
                listener = wake.subscribe(self._channel, max_messages=1)
                self._releases = await self._stack.enter_async_context(listener)
                return  # it may have been released before anybody heard
        if self._releases is None:
            await asyncio.sleep(min(poll_pause(None, chance()), at_most))
        else:
            await self._hear(self._releases, left, at_most)

    async def _hear(self, releases: AsyncIterator[Any], left: float | None, at_most: float) -> None:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(poll_pause(left, chance()), at_most)):
                if await anext(releases, None) is None:
                    self._releases = None
        except TimeoutError:
            return
        except SymphoniaError:
            self._releases = None
        waited = asyncio.get_running_loop().time() - began
        await asyncio.sleep(min(spacing(waited, chance()), max(at_most - waited, 0.0)))
