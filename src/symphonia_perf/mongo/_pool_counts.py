"""The running counts of one server's connection pool, from the driver's events."""

from asyncio import Task, _get_running_loop, current_task
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import get_ident
from typing import Any
from weakref import ReferenceType, ref

from symphonia_perf.mongo._histogram import CheckoutTimes, Histogram

__all__ = ["PoolCounts", "PoolStats", "address_text"]

_MANY_WAITING = 1_000  # callers; when so many more wait than last time, the gone are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """One server's connection pool, as it was when asked.

    Where several clients share a monitor, the pools of one server are counted together.
    """

    address: str  # host:port, or the path of a socket
    max_size: int | None  # connections it may open; None: no limit
    size: int  # open connections, those being opened among them
    in_use: int
    waiting: int  # callers that asked for a connection and have none yet
    peak_size: int  # most connections open at once
    peak_in_use: int  # most in use at once
    checkouts: CheckoutTimes  # how long callers waited for a connection, and how many got one
    failures: Mapping[str, int]  # checkouts without success: timeout, connectionError, poolClosed
    created: int  # connections opened since the start
    closed: Mapping[str, int]  # and closed: idle, stale (pool cleared), error, poolClosed
    clears: int  # how often the driver dropped the pool, as it does for a server it lost

    @property
    def idle(self) -> int:
        """Connections that are open, or being opened, and not in use."""
        return self.size - self.in_use


class PoolCounts:
    """Counts for one server.

    `lock` is shared by the counts of a monitor and held for a few integer operations, so that they
    stay exact on free-threaded builds; around no call of anybody else's. Waiting callers are kept
    by who they are, in a dictionary whose single operations are atomic: the driver tells nothing of
    a task that was cancelled while it waited, so that started minus finished would only grow.
    """

    __slots__ = (
        "_checkouts",
        "_clears",
        "_closed",
        "_created",
        "_failures",
        "_in_use",
        "_lock",
        "_peak_in_use",
        "_peak_size",
        "_size",
        "_sweep_at",
        "_waiting",
        "address",
        "max_size",
        "pools",
    )

    def __init__(self, address: str, lock: AbstractContextManager[object]) -> None:
        self.address = address
        self.max_size: int | None = None
        self.pools = 0  # open ones: 0 after the client was closed or the server has left the set
        self._lock = lock
        # By the identity of a task or of a thread. Another one may have a dead one's identity, and
        # its place.
        self._waiting: dict[int, ReferenceType[Task[Any]] | None] = {}
        self._sweep_at = _MANY_WAITING
        self._size = self._peak_size = self._in_use = self._peak_in_use = 0
        self._created = self._clears = 0
        self._checkouts = Histogram()
        self._failures: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()

    def asked(self) -> None:
        """The caller wants a connection."""
        task = _task()
        if task is None:
            self._waiting[get_ident()] = None
            return
        if len(self._waiting) >= self._sweep_at:
            self._sweep_at = _MANY_WAITING + 2 * self._forget_cancelled()
        self._waiting[id(task)] = ref(task)

    def _answered(self) -> None:
        # The same task or thread as in asked(): the driver checks out in its caller.
        task = _task()
        self._waiting.pop(get_ident() if task is None else id(task), None)

    def _forget_cancelled(self) -> int:
        """Drop the callers that ended without an answer; returns how many still wait."""
        waiting = list(self._waiting.items())
        for caller, reference in waiting:
            if reference is not None and ((task := reference()) is None or task.done()):
                self._waiting.pop(caller, None)
        return len(self._waiting)

    def checked_out(self, duration: float) -> None:
        """The caller got one."""
        self._answered()
        with self._lock:
            self._checkouts.add(duration)
            self._in_use = in_use = self._in_use + 1
            self._peak_in_use = max(self._peak_in_use, in_use)

    def refused(self, reason: str) -> int:
        """The caller got none; returns how many are in use."""
        self._answered()
        with self._lock:
            self._failures[reason] += 1
            return self._in_use

    def checked_in(self) -> None:
        """A connection came back."""
        with self._lock:
            self._in_use -= 1

    def opened(self) -> None:
        """A connection is being opened."""
        with self._lock:
            self._created += 1
            self._size += 1
            self._peak_size = max(self._peak_size, self._size)

    def closed(self, reason: str) -> None:
        """A connection was closed, or could not be opened."""
        with self._lock:
            self._closed[reason] += 1
            self._size -= 1

    def cleared(self) -> int:
        """The driver dropped the pool; returns how many connections are in use."""
        with self._lock:
            self._clears += 1
            return self._in_use

    def after_fork(self, lock: AbstractContextManager[object]) -> None:
        """In a child: the other threads are gone, with their connections and maybe the lock.

        The idle connections are dropped by the driver, which says so.
        """
        self._lock = lock
        self._size -= self._in_use
        self._in_use = 0
        self._waiting.clear()

    def stats(self) -> PoolStats:
        """The counts as they are now."""
        waiting = self._forget_cancelled()
        with self._lock:
            return PoolStats(
                address=self.address,
                max_size=self.max_size,
                size=self._size,
                in_use=self._in_use,
                waiting=waiting,
                peak_size=self._peak_size,
                peak_in_use=self._peak_in_use,
                checkouts=self._checkouts.times(),
                failures=dict(self._failures),
                created=self._created,
                closed=dict(self._closed),
                clears=self._clears,
            )


def address_text(address: Any) -> str:
    """`host:port` of an address as the driver has it."""
    host, port = address
    if port is None:  # a socket's path
        return str(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _task() -> "Task[Any] | None":
    loop = _get_running_loop()  # the form that does not raise in a thread without one
    return None if loop is None else current_task(loop)
