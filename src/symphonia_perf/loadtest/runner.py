"""The open-loop runner: sends on schedule, whatever comes back, and measures from the due time."""

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from time import monotonic

from symphonia_perf._core.lazy import missing_extra
from symphonia_perf.loadtest.plan import Arrivals, Plan, Request, arrivals
from symphonia_perf.loadtest.result import LAG_MAX, Failure, Result, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from symphonia_perf.loadtest.client import HttpClient

__all__ = ["Progress", "SendRequest", "http_client", "measure", "run"]

SendRequest = Callable[[Request], Awaitable[tuple[int, int]]]
"""Sends one request and returns its status and the size of its body.

It raises `ConnectionRefusedError`, `TimeoutError` or another `OSError` when there is no answer; any
other exception is a fault in itself and ends the run.
"""

Progress = Callable[[int, int, int], None]
"""Told now and then how many requests were sent, how many are done, how many there will be."""

PROGRESS_INTERVAL = 0.2
WATCH_INTERVAL = 0.02  # seconds between two looks at whether the loop still turns


async def run(
    plan: Plan, *, send: SendRequest | None = None, progress: Progress | None = None
) -> Result:
    """What `plan` measured, sent from this event loop.

    Prefer `run_in_process`: whatever else runs on this loop delays the generator, and a run in
    which it was late is refused.

    ```python
    from symphonia_perf.errors import GeneratorLagged
    from symphonia_perf.loadtest import Plan, Request, run

    async def answer(request: Request) -> tuple[int, int]:
        return 200, 1024

    mix = (Request(path="/"),)
    plan = Plan(base_url="http://127.0.0.1:1", requests=mix, rate=100, duration=0.2)
    try:
        result = await run(plan, send=answer)
        print(len(result), result.percentile(99), result.errors)
    except GeneratorLagged as late:  # on a busy machine: measure again
        print(late)
    ```

    Args:
        plan: what to send, when.
        send: sends one request; HTTP over aiohttp unless given.
        progress: called from the loop, five times a second.

    Raises:
        GeneratorLagged: the generator was late, so that its latencies would be partly its own.
        ConfigurationError: the process may not open enough connections.
        MissingExtra: aiohttp is not installed.
    """
    return (await measure(plan, send=send, progress=progress)).require_valid()


async def measure(
    plan: Plan, *, send: SendRequest | None = None, progress: Progress | None = None
) -> Result:
    """What `run` returns, but without a look at whether it may be used."""
    if send is None:
        async with http_client(plan) as client:
            return await _Run(plan, client.send).measure(progress)
    return await _Run(plan, send).measure(progress)


def http_client(plan: Plan) -> "HttpClient":
    """A client for `plan`, which brings aiohttp only now.

    Raises:
        MissingExtra: aiohttp is not installed.
    """
    try:
        from symphonia_perf.loadtest.client import HttpClient  # noqa: PLC0415 - the purpose
    except ModuleNotFoundError as error:
        if clear := missing_extra(error):
            raise clear from error
        raise
    return HttpClient(plan)


class _Run:
    """One run under way: the schedule, and a row per arrival that its request fills in."""

    def __init__(self, plan: Plan, send: SendRequest) -> None:
        self._plan = plan
        self._send = send
        self._schedule: Arrivals = arrivals(plan)
        total = len(self._schedule.due)
        self._latencies = array("d", bytes(8 * total))
        self._lags = array("d", bytes(8 * total))
        self._outcomes = array("H", bytes(2 * total))
        self._sizes = array("Q", bytes(8 * total))
        self._sent = self._done = 0
        self._start = self._last = 0.0
        self._stalls: list[tuple[float, float]] = []  # from and until, as `due` counts

    async def measure(self, progress: Progress | None) -> Result:
        try:
            # A group each, so that the others end when the last answer is in.
            async with asyncio.TaskGroup() as outer:
                others = [outer.create_task(self._report(progress))]
                others.append(outer.create_task(self._watch()))
                async with asyncio.TaskGroup() as group:
                    await self._dispatch(group)
                for other in others:
                    other.cancel()
        except ExceptionGroup as failed:
            raise _first(failed) from None
        self._tell(progress)
        return self._result()

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        """Start each request when it is due; those that became due meanwhile, all at once."""
        self._start = monotonic()
        for row, due in enumerate(self._schedule.due):
            delay = self._start + due - monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            self._sent = row + 1
            if row - self._done < self._plan.max_in_flight:
                group.create_task(self._request(row))
            else:
                self._lags[row] = self._since(due)
                self._finish(row, Failure.DROPPED, 0)

    async def _request(self, row: int) -> None:
        due = self._schedule.due[row]
        request = self._plan.requests[self._schedule.which[row]]
        lag = self._lags[row] = self._since(due)
        size = 0
        try:
            async with asyncio.timeout(self._plan.timeout - lag):
                outcome, size = await self._send(request)
        except TimeoutError:
            outcome = Failure.TIMEOUT
        except ConnectionRefusedError:
            outcome = Failure.REFUSED
        except OSError:
            outcome = Failure.DISCONNECTED
        self._finish(row, outcome, size)

    def _finish(self, row: int, outcome: int, size: int) -> None:
        latency = self._since(self._schedule.due[row])
        self._last = self._schedule.due[row] + latency
        self._latencies[row] = max(latency, self._plan.timeout) if failed(outcome) else latency
        self._outcomes[row] = outcome
        self._sizes[row] = size
        self._done += 1

    async def _report(self, progress: Progress | None) -> None:
        while True:
            self._tell(progress)
            await asyncio.sleep(PROGRESS_INTERVAL)

    async def _watch(self) -> None:
        """Note when the loop stood still: what was answered meanwhile was noticed late.

        Lags alone tell of it only where a request was due meanwhile.
        """
        while True:
            expected = monotonic() + WATCH_INTERVAL
            await asyncio.sleep(WATCH_INTERVAL)
            now = monotonic()
            if now - expected > LAG_MAX:
                self._stalls.append((expected - self._start, now - self._start))

    def _count_stalls(self) -> None:
        """Put each stall into the lags of the requests that were under way."""
        for row, due in enumerate(self._schedule.due):
            done = due + self._latencies[row]
            for since, until in self._stalls:
                self._lags[row] = max(self._lags[row], min(until, done) - max(since, due))

    def _tell(self, progress: Progress | None) -> None:
        if progress is not None:
            progress(self._sent, self._done, len(self._schedule.due))

    def _result(self) -> Result:
        """The rows that were due after the warm-up."""
        self._count_stalls()
        plan = self._plan
        measured = slice(bisect_left(self._schedule.due, plan.warmup), None)
        index = {name: number for number, name in enumerate(plan.names)}
        kinds = [index[request.name] for request in plan.requests]
        return Result(
            names=plan.names,
            kinds=array("H", map(kinds.__getitem__, self._schedule.which[measured])),
            latencies=self._latencies[measured],
            lags=self._lags[measured],
            outcomes=self._outcomes[measured],
            sizes=self._sizes[measured],
            elapsed=max(plan.duration, self._last - plan.warmup),
        )

    def _since(self, due: float) -> float:
        return monotonic() - self._start - due


def _first(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception that ended a run; its companions are the same fault, met by others."""
    error = failed.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
