"""What a store keeps under a key, and when it may still be served."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Entry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value and how long it lives.

    Time is never another host's wall clock: a store either notes its own monotonic time in
    `created`, or leaves expiry to its server and `created` empty.

    ```python
    from symphonia_perf.cache import Entry

    entry = Entry(value=None, ttl=60.0, created=1000.0)
    assert entry.is_fresh(1059.9)
    assert not entry.is_fresh(1060.0)
    ```
    """

    value: Any  # None is a value like any other
    ttl: float  # seconds it may be served, from when it was stored
    created: float | None = None  # the holding process's monotonic time; default: the server knows

    def is_fresh(self, now: float) -> bool:
        """Whether it may be served at the process's monotonic time `now`."""
        return self.created is None or now - self.created < self.ttl
