"""What the Redis client tells its observer."""

from dataclasses import dataclass
from typing import Literal

from symphonia_perf._core.events import Event

__all__ = ["ConnectionEvent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEvent(Event):
    """A connection was made or lost, or could not be made."""

    kind: Literal["connected", "lost", "unreachable"]
    reason: str  # empty where it was made
