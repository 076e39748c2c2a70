"""The settings of `PoolOptions` for two kinds of process, where they differ from the defaults.

The figures are those of docs/explanation/choosing-pool-settings.md.
"""

from typing import Any

__all__ = ["WEB", "WORKER"]

# Somebody waits for every answer: lose a dead server early, and fail before the user gives up.
WEB: dict[str, Any] = {
    # A frozen host is noticed within heartbeat + connect_timeout, 4 s in place of 12. A handshake
    # within a region takes milliseconds; between continents, with TLS, less than one second.
    "connect_timeout": 2.0,
    # Nobody waits longer for a page. A report that takes its time is a worker's job.
    "socket_timeout": 10.0,
    # The network within a region is faster than zlib (50 documents: 1.5 ms without, 6.5 ms with).
    "compressors": (),
}

# Nobody waits, but a job that fails has to run again: keep few connections and be patient.
WORKER: dict[str, Any] = {
    # A worker runs as many operations at a time as it runs jobs; many of them share one server.
    "max_size": 10,
    "min_size": 1,
    "max_idle": 300.0,  # pauses between jobs are no reason to connect again
    # Longer than an election, so that a job that finds all connections stuck still gets one.
    "wait_queue_timeout": 30.0,
    "server_selection_timeout": 30.0,
    "connect_timeout": 5.0,
    "socket_timeout": 300.0,  # a job may aggregate for minutes
    # What a job reads it often writes back; a stale answer costs more than the wait.
    "read_preference": "primary",
}
