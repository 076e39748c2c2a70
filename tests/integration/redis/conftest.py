"""What every test of the transport leaves behind: nothing."""

import asyncio
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest


def sockets() -> int:
    """Open sockets of this process."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found += os.readlink(descriptor).startswith("socket:")  # noqa: PTH115 - no path at all
        except OSError:  # the listing's own
            continue
    return found


def pending() -> "Counter[str]":
    """Futures and tasks that somebody could still wait for, by what they run.

    The test runner has some of its own, as many before a test as after it.
    """
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        # isinstance() would ask proxies and mocks for their class, and wake them.
        if type(each) is asyncio.Task and not each.done():
            found[each.get_coro().__qualname__] += 1  # type: ignore[union-attr]
        elif type(each) is asyncio.Future and not each.done():
            found["a future"] += 1
    return found


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """No task, no pending future and no socket more than before the test."""
    waiting, opened = pending(), sockets()
    yield
    async with asyncio.timeout(5):
        # A transport closes its socket in a later turn of the loop.
        while sockets() > opened:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    if pending() - waiting:
        gc.collect()  # nobody can wait for what is only garbage
    assert pending() - waiting == Counter()
