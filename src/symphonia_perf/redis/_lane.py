"""Commands on their way to one server: all of an event-loop turn leave in one pipeline."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any

from symphonia_perf.errors import StoreTimeout, StoreUnavailable
from symphonia_perf.redis._arguments import Packed

__all__ = ["Lane"]

# What a waiting command takes beside its bytes, roughly: a tuple, a future, a place in the queue.
_OVERHEAD = 256
# redis-py on Python 3.11 can lose a cancellation while it writes (asyncio.wait_for), so an
# abandoned pipeline is cancelled again after this many seconds until it has ended.
_CANCEL_AGAIN = 0.05


class _Call:
    """What one caller asked for and waits for; errors travel as results, so none goes unread."""

    __slots__ = ("commands", "deadline", "expires", "future", "sent", "size")

    def __init__(
        self,
        commands: Sequence[Packed],
        deadline: float,
        expires: float,
        future: "asyncio.Future[Sequence[Any]]",
    ) -> None:
        self.commands = commands
        self.deadline = deadline
        self.expires = expires
        self.future = future
        self.sent = False
        self.size = sum(_OVERHEAD + sum(map(len, command)) for command in commands)

    def finish(self, replies: Sequence[Any]) -> None:
        """Tell the caller, unless it was told already or is gone."""
        if not self.future.done():
            self.future.set_result(replies)

    def expire(self) -> None:
        """Tell the caller that its time is up."""
        what = "no reply; it may have been executed" if self.sent else "it was not sent"
        self.finish(
            [
                StoreTimeout(
                    f"{command[0]}: {what} (deadline {self.deadline:g} s)",
                    store="redis",
                    operation=command[0],
                )
                for command in self.commands
            ]
        )


class Lane:
    """One pipeline at a time; what is asked for meanwhile leaves together in the next.

    One at a time keeps the order in which callers spoke, and costs little: a server executes its
    commands one after the other anyway.

    Args:
        loop: the running event loop.
        send: executes commands as one pipeline; its replies are in order, errors in place.
        max_waiting: bytes of commands that may wait; more are refused at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Sequence[Packed]], Awaitable[Sequence[Any]]],
        max_waiting: int,
    ) -> None:
        self._loop = loop
        self._send = send
        self._max_waiting = max_waiting
        self._waiting: list[_Call] = []
        self._waiting_size = 0
        self._batch: Sequence[_Call] = ()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def submit(
        self, commands: Sequence[Packed], deadline: float
    ) -> "asyncio.Future[Sequence[Any]]":
        """The replies to come, errors in place; done after `deadline` seconds at the latest."""
        call = _Call(commands, deadline, self._loop.time() + deadline, self._loop.create_future())
        if self._waiting_size >= self._max_waiting:
            call.finish([self._refusal(command[0]) for command in commands])
            return call.future
        self._waiting.append(call)
        self._waiting_size += call.size
        if self._task is None:
            self._start()
        # One timer for all: a timer per command costs a third of the throughput at 64 tasks.
        if self._timer is None or call.expires < self._timer.when():
            self._set_timer(call.expires)
        return call.future

    async def drain(self) -> None:
        """Return when nobody waits any more, at the latest at the last deadline."""
        while self._task is not None:
            await asyncio.wait({self._task})
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refusal(self, operation: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{operation} was not sent: {self._waiting_size} bytes of commands wait already "
            f"(max_waiting={self._max_waiting})",
            store="redis",
            operation=operation,
        )

    def _start(self) -> None:
        # Its first step comes after the tasks that are ready in this turn have spoken. A context
        # of its own, because a pipeline belongs to no single caller's request.
        self._task = self._loop.create_task(self._run(), name="redis pipeline", context=Context())
        # Not the task's own last words: cancelled before its first step it would say none.
        self._task.add_done_callback(self._ended)

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._task = None
        self._batch = ()
        if self._waiting:
            self._start()

    async def _run(self) -> None:
        batch = self._batch = [call for call in self._waiting if not call.future.done()]
        self._waiting.clear()
        self._waiting_size = 0
        replies: Sequence[Any] = ()
        error: Exception = ConnectionError("the pipeline was cancelled")
        for call in batch:
            call.sent = True
        try:
            if batch:
                replies = await self._send([c for call in batch for c in call.commands])
        except Exception as failure:  # noqa: BLE001 - it is every caller's answer
            error = failure
        finally:
            start = 0
            for call in batch:
                end = start + len(call.commands)
                call.finish(replies[start:end] or [error] * len(call.commands))
                start = end

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        """End the calls whose time is up, and a pipeline that nobody waits for any more."""
        self._timer = None
        now = self._loop.time()
        for call in (*self._batch, *self._waiting):
            if call.expires <= now:
                call.expire()
        self._waiting = [call for call in self._waiting if not call.future.done()]
        self._waiting_size = sum(call.size for call in self._waiting)
        pending = [call.expires for call in (*self._batch, *self._waiting) if call.expires > now]
        # An empty batch is one that has yet to take its first step.
        nobody_waits = self._batch and all(call.expires <= now for call in self._batch)
        if self._task is not None and nobody_waits:
            # redis-py drops the connection of a cancelled pipeline, and with it the late replies.
            self._task.cancel()
            pending.append(now + _CANCEL_AGAIN)
        if pending:
            self._set_timer(min(pending))
