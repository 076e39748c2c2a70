"""Waiting for what happens elsewhere, with a bound."""

import asyncio
from collections.abc import Callable

__all__ = ["until"]

PATIENCE = 20.0  # seconds; more than any of these takes on a loaded machine


async def until(condition: Callable[[], object]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a server
            await asyncio.sleep(0.005)
