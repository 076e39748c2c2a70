"""How a near tier hears of changes: the server's word on keys, or what writers publish."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from symphonia_perf._core.listener import Lost
from symphonia_perf.cache._near import NearTier
from symphonia_perf.errors import ConfigurationError, NotOpen, SymphoniaError

if TYPE_CHECKING:
    from symphonia_perf.redis.tracking import Tracking

__all__ = ["Hearing", "Published", "Tracked"]

T = TypeVar("T")
logger = logging.getLogger("symphonia_perf")

_INSTEAD = 'use invalidation="pubsub", by which writers publish what they change'
_PAUSE = 1.0  # seconds until a subscription that ended is tried again
_AT_ONCE = 1_000  # keys in one message


class Hearing(Protocol):
    """Keeps a near tier told."""

    def open(self, prefix: str) -> AbstractAsyncContextManager[None]:
        """Hear of changes of keys with this prefix, as long as it is entered."""
        ...

    def check(self) -> None:
        """Flush the near tier if nothing is heard now and nobody has said so."""
        ...

    async def told(self, names: Sequence[str] | None, write: Callable[[], Awaitable[T]]) -> T:
        """What `write` returns, when others are or will be told of it; None stands for all keys."""
        ...


class Tracked:
    """By CLIENT TRACKING: the server tells, whoever writes and by whatever program.

    Args:
        client: what `connect()` gives.
        near: is told.

    Raises:
        ConfigurationError: another client.
    """

    def __init__(self, client: Any, near: NearTier) -> None:
        if not callable(getattr(client, "tracking", None)):
            raise ConfigurationError(
                f"{type(client).__qualname__} cannot track keys: expected what connect() of "
                f"symphonia_perf.redis returns, or {_INSTEAD}"
            )
        self._client = client
        self._near = near

    @asynccontextmanager
    async def open(self, prefix: str) -> AsyncGenerator[None]:
        """Hear of every key with this prefix that is written, expires or is evicted.

        Raises:
            ConfigurationError: the server, a proxy, the protocol or the user's rights forbid it.
            CommandError: the server refuses for another reason.
        """
        near, entered = self._near, False
        try:
            tracking: Tracking = self._client.tracking(
                prefix,
                on_key=near.changed,
                on_flush=lambda: near.flush(hears=tracking.active),
                on_lost=lambda: near.flush(hears=False),
            )
            async with tracking:
                entered = True
                try:
                    yield
                finally:
                    near.flush(hears=False)
        except ConfigurationError as error:
            if entered:
                raise
            raise ConfigurationError(f"{error}; for a cache: {_INSTEAD}") from error
        finally:
            near.flush(hears=False)

    def check(self) -> None:
        """Nothing to do: the end of the connection is told at once."""

    async def told(self, names: Sequence[str] | None, write: Callable[[], Awaitable[T]]) -> T:
        """What `write` returns: the server tells the others."""
        del names
        return await write()


class Published:
    """By publish and subscribe: writers tell, if they use this class too.

    A message is a JSON array: who tells, and the keys that were written; null stands for all keys.

    Args:
        client: what `connect()` or `wrap()` gives.
        near: is told.

    Raises:
        ConfigurationError: a client that cannot subscribe, such as one of a whole cluster.
    """

    def __init__(self, client: Any, near: NearTier) -> None:
        if not callable(getattr(client, "pubsub", None)):
            raise ConfigurationError(
                f"{type(client).__qualname__} cannot publish and subscribe: expected what connect()"
                " or wrap() of symphonia_perf.redis returns"
            )
        try:
            self._pubsub = client.pubsub()
        except ConfigurationError as error:
            raise ConfigurationError(
                'invalidation="pubsub" over a cluster: every node passes on every message, so give '
                "one of them to listen on: listen_on=connect(url), open while the cache is"
            ) from error
        self._near = near
        self._me = ""
        self._channel = ""
        self._writes: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def open(self, prefix: str) -> AsyncGenerator[None]:
        """Hear of what others that use this prefix write.

        Raises:
            CommandError: the server refuses.
            NotOpen, WrongLoop: the client is not open here.
        """
        self._channel = f"{prefix}~near"
        self._me = token_hex(8)
        self._writes = set()
        loop = asyncio.get_running_loop()
        entered: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(self._listen(entered), name=f"near tier {self._channel}")
        try:
            await entered
            yield
        finally:
            try:
                if self._writes:
                    await asyncio.wait(self._writes)
            finally:  # also where whoever closes is cancelled; the writes tell the others later
                self._near.flush(hears=False)
                task.cancel()
                await asyncio.wait({task})

    def check(self) -> None:
        """Flush the near tier if the connection is away.

        The listener itself is told of that only when there is another connection.
        """
        if self._near.hears and not self._pubsub.stats().connected:
            self._near.flush(hears=False)

    async def told(self, names: Sequence[str] | None, write: Callable[[], Awaitable[T]]) -> T:
        """What `write` returns, when the others were told.

        A caller that is cancelled leaves that to a task: the write may have been done.

        Raises:
            StoreError: the write failed, or nobody could be told of it.
        """
        if not self._channel:  # never opened: nobody listens to this
            return await write()
        task = asyncio.get_running_loop().create_task(self._write(names, write))
        self._writes.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio reports it where the caller was cancelled

    async def _write(self, names: Sequence[str] | None, write: Callable[[], Awaitable[T]]) -> T:
        try:
            result = await write()
        except BaseException:
            # It may have been done all the same. That it failed is what the caller is told.
            with suppress(SymphoniaError):
                await self._publish(names)
            raise
        await self._publish(names)
        return result

    async def _publish(self, names: Sequence[str] | None) -> None:
        words: Sequence[str | None] = (None,) if names is None else names
        for at in range(0, len(words), _AT_ONCE):
            some = words[at : at + _AT_ONCE]
            await self._pubsub.publish(self._channel, json.dumps([self._me, *some]))

    async def _listen(self, entered: asyncio.Future[None]) -> None:
        while True:
            try:
                async with self._pubsub.subscribe(self._channel) as listener:
                    if not entered.done():
                        entered.set_result(None)
                    # It comes back when the server has confirmed the subscription. Where that
                    # takes a new connection, a `Lost` says so.
                    with suppress(SymphoniaError):
                        await self._pubsub.publish(self._channel, json.dumps([self._me]))
                    async for heard in listener:
                        if isinstance(heard, Lost):
                            self._near.flush(hears=True)
                        else:
                            self._hear(heard.payload)
            except Exception as error:  # noqa: BLE001 - raised on opening, told later
                if not entered.done():
                    entered.set_exception(error)
                    return
                logger.warning("cache: the near tier is not used, as it hears nothing: %r", error)
                if isinstance(error, NotOpen):
                    return
            finally:
                self._near.flush(hears=False)
            await asyncio.sleep(_PAUSE)

    def _hear(self, payload: bytes) -> None:
        near = self._near
        try:
            sender, *names = json.loads(payload)
            if sender == self._me:
                # What this process wrote its near tier learns when the write returns.
                if not near.hears:
                    near.flush(hears=True)
            elif None in names:
                near.flush(hears=near.hears)
            else:
                near.changed_many(names)
        except (ValueError, TypeError, RecursionError):
            near.flush(hears=near.hears)  # not one of ours, whatever it means
