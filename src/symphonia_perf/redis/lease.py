"""One holder at a time among many processes, with a number that tells holders apart."""

import asyncio
import math
import os
from types import TracebackType
from typing import Any, Literal, Self

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.broadcast import Broadcast
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import LeaseEvent, LeaseKind, Observer, emit, log_observer
from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    LeaseLost,
    LeaseTimeout,
    NotOpen,
    StoreError,
    SymphoniaError,
)
from symphonia_perf.redis._cancelling import Cancelling
from symphonia_perf.redis._lease_keeper import FORGOTTEN, Keeper
from symphonia_perf.redis._lease_record import AfterRestart, Record, Refused, local_time
from symphonia_perf.redis._lease_rules import Tenure, checked_length, checked_name
from symphonia_perf.redis._lease_waiting import Waiting
from symphonia_perf.redis.commands import Commands
from symphonia_perf.typing import Seconds

__all__ = ["Lease", "LeaseEvent"]

# Seconds that a server without a word may add to `timeout`: for the answer to the last question,
# which is asked when the time is up, and for that to the release which follows a question without
# one. The release has been sent by then, and is carried out whether anybody waits for it or not.
_LAST_ANSWER = 0.25
_TAKEN_BACK = 0.1

# What nobody waits for any more; the event loop alone would forget it.
_releasing: set[asyncio.Task[bool]] = set()


class Lease:
    """A lease of a name: whoever holds it is alone, among all processes that use the server.

    It is renewed while it is held, so `length` only says how long the death of a holder goes
    unnoticed. When it is lost (no renewal got through for nine tenths of the length, or the server
    gave it to another), the block is cancelled before anybody else can begin, and `LeaseLost` comes
    out of it. A block that swallows the cancellation is cancelled again when the lease ends and
    after each further length, with an `overrun` event each time. Nothing can stop a process that is
    frozen in the middle of a write, so what matters most carries the fencing number that `check()`
    gives: numbers only grow, and whoever has seen a greater one refuses a smaller.

    An object has one holder at a time, like an open file. Make one where it is needed: it costs
    nothing until it is entered, and may be entered again when its block has ended.

    Args:
        commands: what executes commands: `connect()`, or `wrap(client)` over a redis-py client.
        name: what is leased, 1 to 200 printable characters without braces.
        length: seconds that it lasts without a renewal, 0.1 to a day; default 10.
        timeout: seconds to wait; default None waits on and on. Whatever the server does, it is over
            0.35 s later at most. 0 asks once, within the client's deadline.
        on_lost: `cancel` ends the block of `async with` when the lease is lost; with `raise` only
            `check()` and the end of the block tell.
        after_restart: `wait` gives it to nobody for one length after the server has started,
            because it may have forgotten a holder; `grant` takes that risk.
        wake: what hears the server's messages, `redis.pubsub()`: waiters then learn of a release at
            once, and ask only when a holder may have died. Default: they ask.
        observer: gets a `LeaseEvent` for whatever happens to it.

    Raises:
        ConfigurationError: names the option, its value and what is allowed.

    ```python
    from fakeredis import FakeAsyncRedis

    from symphonia_perf.redis import Lease, wrap

    lease = Lease(wrap(FakeAsyncRedis()), "nightly-report")

    async with lease:
        number = lease.check()  # the fencing number, or LeaseLost
    async with lease:
        assert lease.check() > number
    ```
    """

    def __init__(
        self,
        commands: Commands,
        name: str,
        *,
        length: Seconds = 10.0,
        timeout: Seconds | None = None,
        on_lost: Literal["cancel", "raise"] = "cancel",
        after_restart: AfterRestart = "wait",
        wake: Broadcast | None = None,
        observer: Observer | None = None,
    ) -> None:
        if isinstance(commands, type) or not callable(getattr(commands, "script", None)):
            raise ConfigurationError(
                f"commands={commands!r:.100}: expected what connect() or wrap() of "
                f"symphonia_perf.redis returns; write Lease(wrap(client), {name!r:.200})"
            )
        if on_lost not in ("cancel", "raise"):
            raise ConfigurationError(f"on_lost={on_lost!r}: expected 'cancel' or 'raise'")
        if after_restart not in ("wait", "grant"):
            raise ConfigurationError(f"after_restart={after_restart!r}: expected 'wait' or 'grant'")
        if wake is not None and (isinstance(wake, type) or not hasattr(wake, "subscribe")):
            raise ConfigurationError(f"wake={wake!r:.100}: expected a Broadcast: redis.pubsub()")
        if observer is not None and not callable(observer):
            raise ConfigurationError(f"observer={observer!r:.100}: expected a function of an event")
        self.name = checked_name(name)
        self.length = checked_length(length)
        self.on_lost = on_lost
        self.timeout = None if timeout is None else seconds(timeout, option="timeout", zero=True)
        self._wake = wake
        self.observer = observer or log_observer
        self._record = Record(commands, name, length=self.length, after_restart=after_restart)
        self._binding = Binding(f"lease {name!r}")
        self._keeper: Keeper | None = None
        self._scope: Cancelling | None = None
        self._insisting: asyncio.TimerHandle | None = None
        self._unsure = False  # whether the server may have granted what we do not know of

    # Taking it

    async def __aenter__(self) -> Self:
        """Wait until the lease is ours.

        Raises:
            SymphoniaError: as `acquire` raises it.
        """
        await self.acquire()
        self._scope = Cancelling(f"lease {self.name!r} was lost")
        return self

    async def acquire(self) -> None:
        """Wait until the lease is ours; a server that is away is waited for like a holder.

        A waiter asks at most five times a second. There is no queue: anybody may be the next.

        Raises:
            LeaseTimeout: not within `timeout` seconds; the message says why.
            CommandError: the server refuses, for example a user without the right.
            SymphoniaError: this object holds it already, waits for it, or its block goes on.
            NotOpen, WrongLoop: the client is not open, or belongs to another event loop.
        """
        token = self._open()
        started = local_time()
        try:
            tenure = await self._in_time(token)
        except BaseException:
            await self._abandon(token)
            raise
        self._hold(token, tenure, waited=local_time() - started)

    async def try_acquire(self) -> bool:
        """Whether the lease is ours now: asks once and does not wait.

        Raises:
            StoreError: the server cannot be asked, or refuses.
            SymphoniaError: this object holds it already, or waits for it.
            NotOpen, WrongLoop: the client is not open, or belongs to another event loop.
        """
        token = self._open()
        try:
            answer = await self._attempt(token)
        except BaseException:
            await self._abandon(token)
            raise
        if isinstance(answer, Refused):
            await self._abandon(token)
            return False
        self._hold(token, answer)
        return True

    # Having it

    @property
    def held(self) -> bool:
        """Whether the lease is surely ours; any thread may ask."""
        keeper = self._keeper
        return keeper is not None and keeper.pid == os.getpid() and not keeper.lost()

    def check(self) -> int:
        """The fencing number; call it before each write that must not come from two.

        It costs a look at the clock, and any thread of the process may call it.

        Raises:
            LeaseLost: the lease ended, and another may hold it.
            NotOpen: not acquired, given back already, or inherited through a fork.
        """
        keeper = self._keeper
        if keeper is None or keeper.pid != os.getpid():
            raise NotOpen(f"lease {self.name!r} is not held here: acquire it, in this process")
        if reason := keeper.lost():
            raise self._was_lost(reason)
        return keeper.tenure.number

    # Giving it back

    async def release(self) -> None:
        """Give it back; the next one may have it at once.

        A server that does not answer is told of in an event only: the work was done while the
        lease was held, which then ends by itself.

        Raises:
            LeaseLost: it was not held until now.
            NotOpen, WrongLoop: not acquired, or somewhere else.
        """
        self._binding.check()
        if self._keeper is None:
            raise NotOpen(f"lease {self.name!r} is not held: it is still waited for")
        if lost := await self._give_back(self._keeper):
            raise self._was_lost(lost)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back.

        Raises:
            LeaseLost: it was not held until now, and the block did not raise of itself.
            NotOpen, WrongLoop: entered in another process, or on another event loop.
        """
        if self._keeper is not None:
            self._binding.check()
        scope, self._scope = self._scope, None
        self._insist_no_more()
        cancelled_for_it = scope is not None and scope.close(error)
        lost = ""
        if self._keeper is not None:  # else it was released in the block
            lost = await self._give_back(self._keeper)
        if cancelled_for_it or (lost and error is None):
            raise self._was_lost(lost or "it was lost in the block") from error

    # How

    def _open(self) -> str:
        if self._scope is not None and self._keeper is None and self._scope.going_on:
            # Its end would give back what another task took, and cancel for what it did not hold.
            raise SymphoniaError(
                f"lease {self.name!r} was released in a block that has not ended: leave it before "
                "you acquire again, or make another Lease"
            )
        try:
            self._binding.open()
        except SymphoniaError:
            raise SymphoniaError(
                f"this object holds lease {self.name!r} already, or waits for it, and would wait "
                "for itself: another holder needs a Lease of its own"
            ) from None
        self._keeper = self._scope = None  # a forked child has its parent's
        self._unsure = False
        return self._record.new_token()

    async def _in_time(self, token: str) -> Tenure:
        answer: Tenure | Refused = Refused(reason="the server did not answer")
        whole = asyncio.timeout(self.timeout + _LAST_ANSWER if self.timeout else None)
        try:
            async with whole:
                answer = await self._until_ours(token)
        except TimeoutError:
            if not whole.expired():  # another's: of what listens for us, say
                raise
        if isinstance(answer, Tenure):
            return answer
        raise LeaseTimeout(
            f"lease {self.name!r}: not ours within {self.timeout:g} s: {answer.reason}",
            store="redis",
            operation="acquire",
        ) from answer.error

    async def _until_ours(self, token: str) -> Tenure | Refused:
        """The tenure; or why there is none, when the time is up."""
        ends = math.inf if self.timeout is None else local_time() + self.timeout
        answer = await self._patiently(token)
        if isinstance(answer, Tenure):
            return answer
        async with Waiting(self._wake, self._record.channel) as waiting:
            while isinstance(answer, Refused) and (left := ends - local_time()) > 0:
                await waiting.pause(answer.left, at_most=left)
                answer = await self._patiently(token)
            return answer

    async def _patiently(self, token: str) -> Tenure | Refused:
        try:
            return await self._attempt(token)
        except CommandError:
            raise
        except StoreError as error:
            self._tell("unreachable", reason=repr(error))
            return Refused(reason=str(error), error=error)

    async def _attempt(self, token: str) -> Tenure | Refused:
        self._unsure = True
        answer = await self._record.acquire(token)
        if isinstance(answer, Tenure) and not answer.holds(local_time()):
            return Refused(reason="it was granted, but the answer took too long to be of use")
        self._unsure = False
        return answer

    async def _abandon(self, token: str) -> None:
        """Wait no more. What was perhaps granted goes back, so that nobody waits for its end."""
        try:
            if self._unsure:
                await self._send_release(token, patience=_TAKEN_BACK)
        except SymphoniaError:
            pass  # it ends by itself
        finally:
            self._binding.close()

    async def _send_release(self, token: str, *, patience: float | None = None) -> bool:
        """Whether it was this holder's, as far as was heard within the patience.

        In a task of its own, because over `wrap()` a command has not left yet when its first await
        is cancelled, and under anyio every await is cancelled. Who is cancelled waits a little,
        because the client may be closed next.
        """
        loop = asyncio.get_running_loop()
        name = f"release of lease {self.name!r}"
        releasing = loop.create_task(self._record.release(token), name=name)
        _releasing.add(releasing)
        releasing.add_done_callback(_released)
        try:
            await asyncio.wait({releasing}, timeout=patience)
        except asyncio.CancelledError:
            loop.call_later(_TAKEN_BACK, releasing.cancel)  # also where this wait is cancelled
            await asyncio.wait({releasing})
            raise
        if releasing.done():
            return releasing.result()
        loop.call_later(_TAKEN_BACK, releasing.cancel)  # a busy machine may just be slow
        return False

    def _hold(self, token: str, tenure: Tenure, *, waited: float = 0.0) -> None:
        self._keeper = Keeper(self._record, token, tenure, on_lost=self._on_lost)
        self._tell("acquired", number=tenure.number, duration=waited)

    def _on_lost(self, tenure: Tenure, reason: str) -> None:
        self._tell("lost", number=tenure.number, reason=reason)
        if self._scope is not None and self.on_lost == "cancel":
            self._scope.cancel()
            # The last tenth is there to end in; who is late for another reason gets as much.
            left = max(tenure.end - local_time(), tenure.length / 10)
            self._insist(tenure, self._scope, left)

    def _insist(self, tenure: Tenure, scope: Cancelling, delay: float) -> None:
        """Cancel a block again that goes on after the end: it swallowed the cancellation."""

        def again() -> None:
            late = max(local_time() - tenure.end, 0.0)
            self._tell("overrun", number=tenure.number, duration=late)
            scope.cancel()
            self._insist(tenure, scope, tenure.length)

        self._insisting = asyncio.get_running_loop().call_later(delay, again)

    def _insist_no_more(self) -> None:
        if self._insisting is not None:
            self._insisting.cancel()
            self._insisting = None

    async def _give_back(self, keeper: Keeper) -> str:
        """Give it back; why it was lost before that, or nothing."""
        lost = keeper.stop()
        self._keeper = None
        self._insist_no_more()  # whoever releases it in the block has noticed
        number, ended = keeper.tenure.number, local_time()
        if lost and ended > keeper.tenure.end:
            self._tell("overrun", number=number, duration=ended - keeper.tenure.end)
        try:
            ours = await self._send_release(keeper.token)
        except SymphoniaError as error:
            self._tell("kept", number=number, reason=repr(error))
            return lost
        finally:
            self._binding.close()
        if ours:
            self._tell("released", number=number, duration=ended - keeper.since)
        elif not lost:
            lost = FORGOTTEN
            self._tell("lost", number=number, reason=lost)
        return lost

    def _was_lost(self, reason: str) -> LeaseLost:
        return LeaseLost(f"lease {self.name!r}: {reason}", store="redis", operation="lease")

    def _tell(self, kind: LeaseKind, **details: Any) -> None:
        event = LeaseEvent(source="redis", kind=kind, name=self.name, **details)
        emit(self.observer, event)


def _released(task: asyncio.Task[bool]) -> None:
    _releasing.discard(task)
    if not task.cancelled():
        task.exception()  # which nobody may be left to hear
