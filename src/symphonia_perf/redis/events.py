"""What the Redis client tells its observer."""

from dataclasses import dataclass
from typing import Literal

from symphonia_perf._core.events import Event, Warn

__all__ = ["CancellationEvent", "ConnectionEvent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEvent(Event):
    """A connection was made, could not be made (`unreachable`), was lost, or closed by us."""

    kind: Literal["connected", "unreachable", "lost", "closed"]
    address: str
    reason: str  # empty where it was made

    def warning(self) -> Warn | None:
        """That the server is away, and why."""
        if self.kind in {"connected", "closed"}:
            return None
        # One subject, so that a server that stays away is one line in the log now and then.
        happened = "was lost" if self.kind == "lost" else "could not be made"
        return Warn(f"connection to {self.address}", happened, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationEvent(Event):
    """A wrapped client may lose cancellations: redis-py with `socket_timeout`, before Python 3.12.

    It writes by `asyncio.wait_for` then, which can swallow one (200 of 200 with redis-py 8.1 on
    Python 3.11; none with `socket_timeout=None`). Callers of `wrap()` are not affected, users of
    the client itself are.
    """

    socket_timeout: float  # seconds

    def warning(self) -> Warn:
        """What to set."""
        return Warn(
            "the wrapped client",
            "may lose cancellations where it is used directly",
            f"it has socket_timeout={self.socket_timeout:g}, and Python is older than 3.12; build "
            "it with socket_timeout=None: wrap() keeps deadlines itself",
        )
