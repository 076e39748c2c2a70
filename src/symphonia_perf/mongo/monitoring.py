"""What a client's pools and operations do, told by the driver's own events.

Listeners go to the client that they listen to: `create_async_client(options,
event_listeners=[monitor, slow])`. They run inside the driver, so they do next to nothing there.
"""

import os
from threading import RLock
from typing import Any
from weakref import WeakSet

from pymongo import monitoring

from symphonia_perf._core.events import (
    ConnectionBudgetEvent,
    Observer,
    PoolEvent,
    SlowOperationEvent,
    emit,
)
from symphonia_perf.mongo._fleet import check_budget, check_budget_sync
from symphonia_perf.mongo._given import checked_observer
from symphonia_perf.mongo._pool_counts import PoolCounts, PoolStats, address_text
from symphonia_perf.mongo._slow import SlowOperationListener

__all__ = [
    "ConnectionBudgetEvent",
    "PoolEvent",
    "PoolMonitor",
    "PoolStats",
    "SlowOperationEvent",
    "SlowOperationListener",
    "check_budget",
    "check_budget_sync",
]

_DRIVERS_MAX_SIZE = 100  # the event of a new pool only tells what is not the driver's default
_REMEMBERED = 100  # servers; those that left are forgotten beyond


class _Pools(dict[Any, PoolCounts]):
    """The counts by the driver's address; a new one's begin at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = RLock()  # a signal handler may use the client that it interrupted

    def __missing__(self, address: Any) -> PoolCounts:
        return self.setdefault(address, PoolCounts(address_text(address), self.lock))


class PoolMonitor(monitoring.ConnectionPoolListener):
    """Statistics of a client's connection pools, one for each server.

    Give each client its own, or share one to have the pools of several clients counted together; it
    may be read from any thread. A checkout that failed and a pool that was dropped are also events.

    ```python
    from symphonia_perf.mongo import PoolMonitor, PoolOptions, create_client

    monitor = PoolMonitor()
    with create_client(PoolOptions(max_size=20), event_listeners=[monitor]):
        for address, pool in monitor.stats().items():       # nothing has connected yet
            print(address, pool.in_use, pool.max_size, pool.waiting, pool.checkouts.p99)
    ```

    Args:
        observer: receives a `PoolEvent` for each failed checkout and dropped pool, inside the
            driver, which holds the pool's lock: it must be quick, and one that waits for the same
            client waits for ever. None: they are logged, at most one of a kind in 10 s.

    Raises:
        ConfigurationError: the observer is no callable.
    """

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = checked_observer(observer)
        self._pools = _Pools()
        _monitors.add(self)

    def stats(self) -> dict[str, PoolStats]:
        """The pools as they are now, by `host:port`."""
        return {pool.address: pool.stats() for pool in list(self._pools.values())}

    def _after_fork(self) -> None:
        self._pools.lock = RLock()
        for pool in self._pools.values():
            pool.after_fork(self._pools.lock)

    # ---------------------------------------------------------------------------- of the driver

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """The client has met a server."""
        if len(self._pools) >= _REMEMBERED:
            for address, gone in list(self._pools.items()):
                if not gone.pools:
                    self._pools.pop(address, None)
        pool = self._pools[event.address]
        pool.max_size = event.options.get("maxPoolSize", _DRIVERS_MAX_SIZE) or None
        pool.pools += 1

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """The server answers."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """The driver lost the server."""
        pool = self._pools[event.address]
        in_use = pool.cleared()
        emit(
            self._observer,
            PoolEvent(source="mongo", kind="cleared", address=pool.address, in_use=in_use),
        )

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """The client was closed, or the server has left the set."""
        self._pools[event.address].pools -= 1

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        """A connection is being opened."""
        self._pools[event.address].opened()

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """It is open."""

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        """A connection was closed, or could not be opened."""
        self._pools[event.address].closed(event.reason)

    def connection_check_out_started(
        self, event: monitoring.ConnectionCheckOutStartedEvent
    ) -> None:
        """Somebody wants a connection."""
        self._pools[event.address].asked()

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """Nobody got one."""
        pool = self._pools[event.address]
        in_use = pool.refused(event.reason)
        emit(
            self._observer,
            PoolEvent(
                source="mongo",
                kind="checkout_failed",
                address=pool.address,
                in_use=in_use,
                reason=event.reason,
                duration=event.duration or 0.0,
            ),
        )

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """Somebody got one."""
        self._pools[event.address].checked_out(event.duration or 0.0)

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """It came back."""
        self._pools[event.address].checked_in()


# Python keeps a fork's callbacks for ever, so there is one for all.
_monitors: WeakSet[PoolMonitor] = WeakSet()


def _after_fork() -> None:
    for monitor in list(_monitors):
        monitor._after_fork()  # noqa: SLF001 - its own module


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
