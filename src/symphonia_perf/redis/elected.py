"""Work that runs in one process of many."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isasyncgenfunction, isawaitable, isgeneratorfunction, signature
from types import TracebackType
from typing import Literal, Self

from symphonia_perf._core.binding import Binding
from symphonia_perf._core.durations import seconds
from symphonia_perf._core.events import LeaseEvent, emit
from symphonia_perf.errors import ConfigurationError, LeaseLost, NotOpen, WrongLoop
from symphonia_perf.redis._lease_record import chance, local_time
from symphonia_perf.redis._lease_rules import failures_in_a_row, poll_pause, restart_pause
from symphonia_perf.redis.lease import Lease
from symphonia_perf.typing import Seconds

__all__ = ["Elected"]


class Elected:
    """Runs `work` in exactly one of all processes that say the same.

    The others wait. When the process dies, another takes over within the lease's length; when it
    ends in an orderly way, at once. When the lease is lost, `work` is cancelled and has the last
    tenth of the length to end before anybody else may start: what it does in `finally` should be
    quick. Work that returns has ended for this process, and the next one begins it: what is to be
    done once needs a mark that it was.

    Work that swallows that cancellation goes on beside another's: an `overrun` event tells of it,
    and it is cancelled again, when the lease has ended and after each further length. Where it
    swallows the one on leaving, the lease stays here and `async with` waits for it.

    `async with` runs it in the background, so it can stand in `symphonia_perf.lifespan()`;
    `run()` runs it here.

    Args:
        lease: what decides, with `timeout=None` and `on_lost="cancel"`; leave it to this.
        work: called with the lease as often as this process is elected.
        on_error: what follows an exception of `work`: `restart` gives the lease back and stands
            for election again after a pause; `raise` ends, with that error.
            In the background that error comes out when the body of `async with` ends.
        restart_after: seconds of the first pause, default 1; it doubles up to a minute, and begins
            anew after work that went on for longer than that.

    Raises:
        ConfigurationError: names the option, its value and what is allowed.

    ```python
    import asyncio

    from fakeredis import FakeAsyncRedis

    from symphonia_perf.redis import Elected, Lease, wrap

    redis = wrap(FakeAsyncRedis())
    working = asyncio.Event()

    async def watch(lease: Lease) -> None:
        working.set()
        await asyncio.sleep(3600)

    async with Elected(Lease(redis, "watch-orders"), watch) as elected:
        await working.wait()
        assert elected.working
    ```
    """

    def __init__(
        self,
        lease: Lease,
        work: Callable[[Lease], Awaitable[None]],
        *,
        on_error: Literal["restart", "raise"] = "restart",
        restart_after: Seconds = 1.0,
    ) -> None:
        if not isinstance(lease, Lease):
            raise ConfigurationError(
                f"lease={lease!r:.100}: expected a Lease, as in Elected(Lease(redis, 'name'), work)"
            )
        if lease.on_lost != "cancel" or lease.timeout is not None:
            raise ConfigurationError(
                f"lease with on_lost={lease.on_lost!r} and timeout={lease.timeout!r}: expected "
                "'cancel', so that work ends before it begins elsewhere, and None"
            )
        _check(work, lease)
        if on_error not in ("restart", "raise"):
            raise ConfigurationError(f"on_error={on_error!r}: expected 'restart' or 'raise'")
        self._lease = lease
        self._work = work
        self._on_error = on_error
        self._restart_after = seconds(restart_after, option="restart_after")
        self._binding = Binding(f"the work under lease {lease.name!r}")
        self._task: asyncio.Task[None] | None = None

    @property
    def working(self) -> bool:
        """Whether this process is the one, and may still act."""
        return self._lease.held

    async def run(self) -> None:
        """Wait, work, hand over, and again; return when `work` has returned.

        Raises:
            Exception: what `work` raised, with `on_error="raise"` or when it was cancelled.
            SymphoniaError: it runs already.
            ConfigurationError: `work` is not async, or is not set up rightly.
            NotOpen, WrongLoop: the client is not open, or belongs to another event loop.
        """
        self._binding.open()
        try:
            await self._terms()
        finally:
            self._binding.close()

    async def __aenter__(self) -> Self:
        """Stand for election in the background.

        Raises:
            SymphoniaError: it runs already.
        """
        self._binding.open()
        name = f"work under lease {self._lease.name!r}"
        self._task = asyncio.get_running_loop().create_task(self._terms(), name=name)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cancel `work`, and return when it has ended and another may begin.

        Who is cancelled meanwhile waits on, as an `asyncio.TaskGroup` does: there is no moment at
        which `work` goes on without an owner.

        Raises:
            Exception: what `work` raised, with `on_error="raise"` or when it was cancelled.
            NotOpen, WrongLoop: entered in another process, or on another event loop.
        """
        self._binding.check()
        task, self._task = self._task, None
        assert task is not None  # noqa: S101 - entered
        task.cancel()
        cancelled = await _end_of(task)
        self._binding.close()
        failure = None if task.cancelled() else task.exception()
        if cancelled is not None:
            raise cancelled
        if failure is not None and error is None:
            raise failure

    async def _terms(self) -> None:
        failures = 0
        while True:
            term = _Term(self._lease, self._begun)
            # In a task of its own: whatever cancels this one wants us to end. What is cancelled in
            # the other is the lease's matter or its own, and its count tells nothing (see
            # Cancelling).
            name = f"one term of lease {self._lease.name!r}"
            task = asyncio.get_running_loop().create_task(term.serve(), name=name)
            ends = await _end_of(task, passes_on=True)
            error = _error_of(task)
            if ends is not None and (error is None or isinstance(error, asyncio.CancelledError)):
                raise ends
            if error is None:
                return
            if ends is None and term.lost(error):
                pause = poll_pause(None, chance())
            else:
                failures = failures_in_a_row(failures, local_time() - term.began)
                ours = error is not term.error
                pause = self._failed(error, failures, ours=ours, ends=ends is not None)
            await asyncio.sleep(pause)

    def _begun(self, lease: Lease) -> Awaitable[None]:
        doing: object = self._work(lease)
        if not isawaitable(doing):
            raise ConfigurationError(
                f"work={self._work!r:.100} returned {doing!r:.100}: expected an async function of "
                "a Lease; a plain one would block the event loop, and with it the renewal"
            )
        return doing

    def _failed(self, error: BaseException, failures: int, *, ours: bool, ends: bool) -> float:
        """Seconds until it starts again; raises the error where it does not."""
        # Of the lease itself these would come again; what is the matter with work may pass.
        fault = ours and isinstance(error, NotOpen | WrongLoop | ConfigurationError)
        again = self._on_error == "restart" and not fault and not ends
        pause = restart_pause(failures, self._restart_after, chance()) if again else 0.0
        event = LeaseEvent(
            source="redis",
            kind="failed",
            name=self._lease.name,
            reason=repr(error),
            duration=pause,
        )
        emit(self._lease.observer, event)
        if not again:
            raise error
        return pause


class _Term:
    """One candidacy: waits for the lease, and does the work under it."""

    def __init__(self, lease: Lease, begin: Callable[[Lease], Awaitable[None]]) -> None:
        self._lease = lease
        self._begin = begin
        self._work_lost = False  # whether the lease was lost when the work raised
        self.began = local_time()
        self.error: BaseException | None = None  # what the work raised

    async def serve(self) -> None:
        async with self._lease as lease:
            self.began = local_time()
            doing = self._begin(lease)
            try:
                await doing
            except BaseException as error:
                self.error, self._work_lost = error, not lease.held
                raise

    def lost(self, error: BaseException) -> bool:
        """Whether that says no more than that the lease was lost; of another's it says more."""
        if error is self.error:
            return self._work_lost and isinstance(error, LeaseLost | asyncio.CancelledError)
        return isinstance(error, LeaseLost)


async def _end_of(
    task: asyncio.Task[None], *, passes_on: bool = False
) -> asyncio.CancelledError | None:
    """Wait until it has ended; the last cancellation of the one that waits.

    Args:
        task: is waited for.
        passes_on: whether it is cancelled, too.
    """
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
            if passes_on:
                task.cancel()
    return cancelled


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    """What ended it, a cancellation included."""
    try:
        task.result()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is any of work's
        return error
    return None


def _check(work: object, lease: Lease) -> None:
    """Raise for what can be seen at once; a plain function may still return an awaitable.

    Raises:
        ConfigurationError: not to be called with a lease, or never async.
    """
    wanted = f"work={work!r:.100}: expected an async function of a Lease"
    if not callable(work) or isinstance(work, type):
        raise ConfigurationError(wanted)
    if isasyncgenfunction(work) or isgeneratorfunction(work):
        raise ConfigurationError(f"{wanted}, and this one has a `yield`")
    try:
        called = signature(work)
    except (TypeError, ValueError):  # one of those in C that do not say
        return
    try:
        called.bind(lease)
    except TypeError as error:
        raise ConfigurationError(f"{wanted}, and this one says: {error}") from error
