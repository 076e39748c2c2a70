"""A subscriber connection over redis-py or fakeredis, for clients that were wrapped.

redis-py subscribes again by itself after it reconnected, and tells nobody. So it is not told what
is subscribed: the commands go past it to the connection, and a callback tells of each new one.
"""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from symphonia_perf._core.listener import Word
from symphonia_perf.errors import CommandError
from symphonia_perf.redis._errors import translate
from symphonia_perf.redis._replies import refused
from symphonia_perf.redis._subscriber import VERBS
from symphonia_perf.redis._subscriptions import Subscriptions

__all__ = ["DriverSubscriber"]

logger = logging.getLogger("symphonia_perf")

_SILENCE = 5.0  # seconds until a ping, and then until the connection is given up
_PAUSE = 0.5  # seconds between two attempts; the client has its own retries besides
# redis-py on Python 3.11 can lose a cancellation while it writes (asyncio.wait_for). So who writes
# is not cancelled, and who reads, and seldom writes, more than once if need be.
_CANCEL_AGAIN = 0.05  # seconds


class DriverSubscriber:
    """One connection of the client's pool that keeps hearing what `subscriptions` want.

    Args:
        client: `redis.asyncio.Redis` or `fakeredis.FakeAsyncRedis`; it stays its owner's.
    """

    def __init__(self, client: Redis) -> None:
        self.subscriptions = Subscriptions(self._ask)
        self.connected = False
        self._client = client
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._steps: asyncio.Queue[tuple[Word, bool] | None] = asyncio.Queue()  # None is the end
        # What was sent and not answered, in order; None is a ping.
        self._sent: deque[tuple[Word, bool] | None] = deque()

    def start(self) -> None:
        """Connect in the background, unless that was done."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name="redis subscriber")

    async def aclose(self) -> None:
        """Close the connection and stop trying."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN)
        if self._writer is not None:
            await asyncio.wait({self._writer})

    def _ask(self, word: Word, hear: bool) -> None:  # noqa: FBT001 - a step has no other argument
        self._steps.put_nowait((word, hear))

    async def _keep(self) -> None:
        # redis-py swallows cancellations, and asyncio.run() sends only one.
        while not _is_cancelled():
            pubsub: Any = self._client.pubsub()
            try:
                await pubsub.connect()
                pubsub.connection.register_connect_callback(self._anew)
                await self._anew()
                await self._serve(pubsub)
            # Not only what redis-py means to raise: under a connection that ends it raises
            # AttributeError, too, and nobody else would start this again.
            except Exception as failure:
                if not isinstance(failure, RedisError | OSError):
                    logger.exception("the driver failed under subscriptions; they are made anew")
                error = translate(failure, "SUBSCRIBE")
                if isinstance(error, CommandError):  # a wrong password, say
                    self._task = None  # the next listener tries again
                    self.subscriptions.close(error)
                    return
            finally:
                self.connected = False
                self.subscriptions.lost()
                with suppress(Exception):
                    await pubsub.aclose()
            self.subscriptions.unreachable()
            await asyncio.sleep(_PAUSE)

    async def _anew(self, _connection: object = None) -> None:
        """There is a new connection: made by us, or again by redis-py."""
        self._forget()
        self.connected = True
        self.subscriptions.connected()

    def _forget(self) -> None:
        """What was asked is for a connection that is no more."""
        while not self._steps.empty():
            self._steps.get_nowait()
        self._sent.clear()

    async def _serve(self, pubsub: Any) -> None:
        self._writer = asyncio.create_task(
            self._write(pubsub.connection, self._steps), name="redis subscriber writes"
        )
        try:
            await self._read(pubsub)
        finally:
            self._forget()
            self._steps.put_nowait(None)
            self._steps = asyncio.Queue()

    async def _write(self, connection: Any, steps: asyncio.Queue[tuple[Word, bool] | None]) -> None:
        while (step := await steps.get()) is not None:
            word, hear = step
            await self._send(connection, step, VERBS[hear, word.is_pattern], word.name)

    async def _send(self, connection: Any, step: tuple[Word, bool] | None, *words: Any) -> None:
        """Send a command, whose answer is that to `step`; if it fails, who reads finds out."""
        if not connection.is_connected:
            return  # redis-py would connect anew, and then send this after all that is asked again
        self._sent.append(step)
        try:
            await connection.send_command(*words, check_health=False)
        except Exception:  # noqa: BLE001 - redis-py raises AttributeError, too, when it is closed
            with suppress(Exception):
                await connection.disconnect(nowait=True)

    async def _read(self, pubsub: Any) -> None:
        """Return when the connection is of no use any more."""
        while not _is_cancelled():
            try:
                reply = await pubsub.parse_response(block=False, timeout=_SILENCE)
            except ResponseError as refusal:
                reply = refusal
            if reply is None:
                if None in self._sent:
                    return
                await self._send(pubsub.connection, None, "PING")
            elif not isinstance(reply, list) or not self.subscriptions.heard(reply):
                step = self._sent.popleft() if self._sent else None
                if step is not None and not self._answered(step, reply):
                    return

    def _answered(self, step: tuple[Word, bool], reply: Any) -> bool:
        """Whether the connection can go on being used."""
        word, hear = step
        if not isinstance(reply, ResponseError):
            self.subscriptions.answered(word, hears=hear)
            return True
        verb = VERBS[hear, word.is_pattern]
        if not isinstance(refused(reply, verb), CommandError):
            return False  # it cannot serve now
        self.subscriptions.refused(word, translate(reply, verb))
        return True


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
