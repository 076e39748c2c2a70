"""What the tests of subscriptions and of tracking share."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from symphonia_perf.errors import StoreError
from symphonia_perf.redis import Lost, Message, RedisClient

__all__ = ["answers", "channels", "forked", "heard", "next_of", "subscribers", "until"]

PATIENCE = 20.0  # seconds; more than any of these takes on a loaded machine


async def until(condition: Callable[[], bool]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a server
            await asyncio.sleep(0.005)


async def next_of(listener: AsyncIterator[Message | Lost]) -> Message | Lost:
    """What it hears next."""
    async with asyncio.timeout(PATIENCE):
        return await anext(listener)


async def heard(listener: AsyncIterator[Message | Lost]) -> bytes:
    """The payload of the next message; a gap fails the test."""
    message = await next_of(listener)
    assert isinstance(message, Message), message
    return message.payload


async def answers(execute: Callable[..., Awaitable[Any]]) -> None:
    """Return when the client reaches its server again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StoreError):
                await execute("PING")
                return
            await asyncio.sleep(0.02)


async def forked(use: Callable[[], Coroutine[Any, Any, object]]) -> str:
    """What `use` raises in a forked child, by name."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(use())
            os.write(writing, b"nothing")
        except BaseException as error:  # noqa: BLE001 - told to the parent
            os.write(writing, type(error).__name__.encode())
        os._exit(0)
    os.close(writing)
    said = await asyncio.to_thread(os.read, reading, 100)
    os.close(reading)
    await asyncio.to_thread(os.waitpid, pid, 0)
    return said.decode()


async def subscribers(redis: RedisClient) -> int:
    """How many connections of the server hear messages."""
    clients = await redis.execute("CLIENT", "LIST", "TYPE", "PUBSUB")
    return len(clients.splitlines())


async def channels(redis: RedisClient, expected: list[bytes]) -> None:
    """Return when these are the channels that the server knows of."""
    async with asyncio.timeout(PATIENCE):
        while await redis.execute("PUBSUB", "CHANNELS") != expected:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
