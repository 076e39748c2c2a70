"""What the memory broadcast does beyond the suite that all pass: loops, processes, leftovers."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from symphonia_perf._core.broadcast import MemoryBroadcast
from symphonia_perf._core.listener import Message
from symphonia_perf.errors import WrongLoop


async def one_message(broadcast: MemoryBroadcast) -> None:
    async with broadcast.subscribe("plans", patterns=["p*"]) as listener:
        await broadcast.publish("plans", b"1")
        assert await anext(listener) == Message("plans", b"1")
        assert await anext(listener) == Message("plans", b"1", "p*")


def test_one_loop_after_another_may_use_it() -> None:
    broadcast = MemoryBroadcast()
    for _ in range(2):
        asyncio.run(one_message(broadcast))
    assert not broadcast._listeners
    assert not broadcast._globs


def test_two_loops_at_once_are_refused() -> None:
    broadcast = MemoryBroadcast()
    listener = broadcast.subscribe("plans")

    def refused(attempt: Coroutine[Any, Any, object]) -> None:
        with pytest.raises(WrongLoop):
            asyncio.run(attempt)

    with asyncio.Runner() as runner:
        runner.run(listener.__aenter__())
        refused(broadcast.publish("plans", b"1"))
        refused(broadcast.subscribe("other").__aenter__())
        runner.run(listener.__aexit__(None, None, None))


def test_listeners_of_a_loop_that_ended_are_forgotten() -> None:
    broadcast = MemoryBroadcast()
    left_behind = broadcast.subscribe("plans", patterns=["p*"], max_messages=1, on_full="close")
    asyncio.run(left_behind.__aenter__())
    asyncio.run(one_message(broadcast))
    assert not left_behind._buffer
    assert not broadcast._listeners
    # Even what is still dropped later finds nothing to harm.
    asyncio.run(left_behind.__aexit__(None, None, None))


async def test_who_leaves_while_it_is_told_harms_nobody() -> None:
    broadcast = MemoryBroadcast()
    async with (
        broadcast.subscribe("plans", max_messages=1, on_full="close") as first,
        broadcast.subscribe("plans") as second,
    ):
        for n in range(3):
            await broadcast.publish("plans", b"%d" % n)
        assert [(await anext(second)).payload for _ in range(3)] == [b"0", b"1", b"2"]  # type: ignore[union-attr]
        assert await anext(first) == Message("plans", b"0")
        assert len(broadcast._listeners) == 1
