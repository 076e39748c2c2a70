"""Commands on their way to one server: all of an event-loop turn leave in one pipeline."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice
from typing import Any

from symphonia_perf.errors import StoreUnavailable
from symphonia_perf.redis._replies import NOT_SENT
from symphonia_perf.redis._slots import Late, Slot

__all__ = ["Lane"]

# What a waiting command takes beside its bytes, roughly: a tuple, a future, a place in the queue.
_OVERHEAD = 256
# redis-py on Python 3.11 can lose a cancellation while it writes (asyncio.wait_for), so an
# abandoned pipeline is cancelled again after this many seconds until it has ended.
_CANCEL_AGAIN = 0.05


# Pipelines that may hang beside one another, each with a connection; then the next one waits.
_MOST = 4


class _Call:
    """What one caller asked for and waits for; errors travel as results, so none goes unread."""

    __slots__ = ("commands", "deadline", "expires", "size", "slot")

    def __init__(
        self, slot: Slot, commands: Sequence[Any], size: int, deadline: float, expires: float
    ) -> None:
        self.slot = slot
        self.commands = commands
        self.size = size
        self.deadline = deadline
        self.expires = expires

    def finish(self, result: object) -> None:
        """Tell the caller the same of each command, unless it was told already or is gone."""
        if not self.slot.done():
            for _ in self.commands:
                self.slot.set_result(result)


class _Batch:
    """The calls of one pipeline; none before it takes its first step."""

    __slots__ = ("calls", "late_at", "task")

    def __init__(self, task: "asyncio.Task[None]") -> None:
        self.task = task
        self.calls: Sequence[_Call] = ()
        self.late_at = float("inf")


class Lane:
    """One pipeline at a time; what is asked for meanwhile leaves together in the next.

    One at a time keeps the order in which callers spoke, and costs little: a server executes its
    commands one after the other anyway. Only one that hangs is waited for no longer than
    `patience`: a caller with a long deadline on a dead connection must not hold up the others.

    Args:
        loop: the running event loop.
        send: executes commands as one pipeline; its replies are in order, errors in place.
        max_waiting: bytes of commands that may wait; more are refused at once.
        patience: seconds after which the next pipeline leaves beside one that is not through.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]],
        *,
        max_waiting: int,
        patience: float,
    ) -> None:
        self._loop = loop
        self._send = send
        self._max_waiting = max_waiting
        self._patience = patience
        self._waiting: list[_Call] = []
        self._waiting_size = 0
        self._batches: list[_Batch] = []  # in the order in which they began
        self._timer: asyncio.TimerHandle | None = None
        self._expire_at = 0.0

    def submit(self, commands: Sequence[Any], size: int, deadline: float, slot: Slot) -> None:
        """Give the replies to come to `slot`, after `deadline` seconds at the latest.

        Args:
            commands: as `send` takes them.
            size: their bytes.
            deadline: seconds.
            slot: gets a result for each command: the reply, the error in its place, or `Late`.
        """
        if self._waiting_size >= self._max_waiting:
            what = f"{self._waiting_size} bytes of commands wait already"
            error = StoreUnavailable(f"{what} (max_waiting={self._max_waiting}); {NOT_SENT}")
            for _ in commands:
                slot.set_result(error)
            return
        now = self._loop.time()
        expires = now + deadline
        size += _OVERHEAD * len(commands)
        self._waiting.append(_Call(slot, commands, size, deadline, expires))
        self._waiting_size += size
        if not self._batches:
            self._start()
        elif len(self._batches) < _MOST:
            late_at = self._batches[-1].late_at
            if late_at <= now:
                self._start()
            elif late_at < expires:
                expires = late_at
        # One timer for all: a timer per command costs a third of the throughput at 64 tasks.
        if self._timer is None or expires < self._expire_at:
            self._set_timer(expires)

    async def drain(self) -> None:
        """Return when nobody waits any more, at the latest at the last deadline."""
        while self._batches:
            await asyncio.wait({batch.task for batch in self._batches})
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        # Its first step comes after the tasks that are ready in this turn have spoken. A context
        # of its own, because a pipeline belongs to no single caller's request.
        task = self._loop.create_task(self._run(), name="redis pipeline", context=Context())
        # Not the task's own last words: cancelled before its first step it would say none.
        task.add_done_callback(self._ended)
        self._batches.append(_Batch(task))

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._batches = [batch for batch in self._batches if batch.task is not task]
        if self._waiting and self._may_start(self._loop.time()):
            self._start()

    def _may_start(self, now: float) -> bool:
        batches = self._batches
        return not batches or (batches[-1].late_at <= now and len(batches) < _MOST)

    async def _run(self) -> None:
        # Only the youngest has not begun.
        batch = self._batches[-1]
        calls = batch.calls = [call for call in self._waiting if not call.slot.done()]
        batch.late_at = self._loop.time() + self._patience
        self._waiting = []
        self._waiting_size = 0
        error: Exception = ConnectionError("the pipeline was cancelled")
        replies: Sequence[Any] = ()
        try:
            if calls:
                commands = [c for call in calls for c in call.commands]
                replies = await self._send(commands)
                if len(replies) != len(commands):  # some would wait for ever
                    error = ConnectionError(f"{len(replies)} replies to {len(commands)} commands")
                    replies = ()
        except Exception as failure:  # noqa: BLE001 - it is every caller's answer
            error = failure
        finally:
            if not replies:
                for call in calls:
                    call.finish(error)
        answers = iter(replies)
        for call in calls:
            slot = call.slot
            for reply in islice(answers, len(call.commands)):
                if not slot.done():
                    slot.set_result(reply)

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._expire)
        self._expire_at = when

    def _expire(self) -> None:
        """End the calls whose time is up, and pipelines that nobody waits for any more."""
        self._timer = None
        now = self._loop.time()
        due: list[float] = []
        for batch in self._batches:
            left = _expired(batch.calls, now, "no reply; it may have been executed")
            due += [call.expires for call in left]
            # An empty batch is one that has yet to take its first step.
            if batch.calls and not left:
                # redis-py drops the connection of a cancelled pipeline, and the late replies.
                batch.task.cancel()
                due.append(now + _CANCEL_AGAIN)
        left = _expired(self._waiting, now, NOT_SENT)
        self._waiting = [call for call in left if not call.slot.done()]
        self._waiting_size = sum(call.size for call in self._waiting)
        due += [call.expires for call in self._waiting]
        if self._waiting:
            if self._may_start(now):
                self._start()
            elif (late_at := self._batches[-1].late_at) > now:
                due.append(late_at)
        if due:
            self._set_timer(min(due))


def _expired(calls: Sequence[_Call], now: float, what: str) -> list[_Call]:
    """End those whose time is up; the others are left."""
    left: list[_Call] = []
    for call in calls:
        if call.expires <= now:
            call.finish(Late(f"{what} (deadline {call.deadline:g} s)"))
        else:
            left.append(call)
    return left
