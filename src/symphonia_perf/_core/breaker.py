"""When to stop asking a store that does not answer, and when to ask again: pure, no clock, no I/O.

The rule is a leaky count. A failure adds one, up to `failures`; a success takes one away. The
breaker opens at a failure that finds the count full when the trouble, which began as the count left
zero, is `lasting` seconds old. So it takes more than one bad moment, however many calls were in
flight in it, and a store that answers more often than it fails is left in use. All that a breaker
remembers is its state and four numbers.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import (
    CommandError,
    ConfigurationError,
    StoreTimeout,
    StoreUnavailable,
)
from symphonia_perf.typing import Seconds

__all__ = ["Breaker", "BreakerOptions", "BreakerState", "Permit", "answered"]

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]
Permit: TypeAlias = int

# Seconds after which a probe that never reported (its task was dropped, or its store has no
# deadline) counts as lost. Far above any deadline, so that a slow probe is not joined by a second.
_LOST = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOptions:
    """When a breaker opens, and for how long.

    ```python
    from symphonia_perf.cache import BreakerOptions, Cache, MemoryCacheStore

    cache = Cache(MemoryCacheStore(), breaker=BreakerOptions(pause=5))
    ```

    Raises:
        ConfigurationError: names the option, its value and what is allowed.
    """

    # Failures more than successes; default 3: one may be a slow command, two a restart.
    failures: int = 3
    # Seconds that the trouble must last; default 0.3. A lost connection fails all calls in flight
    # in one moment and is made again after 0.1 to 0.2 s (`RedisOptions.reconnect_step`).
    lasting: Seconds = 0.3
    # Seconds until one call tries the store again; default 1. That call may wait for its whole
    # deadline, so with the usual 0.25 s an outage costs a process one slow call a second.
    pause: Seconds = 1.0

    def __post_init__(self) -> None:
        """Check every field."""
        if type(self.failures) is not int or self.failures < 1:
            raise ConfigurationError(f"failures={self.failures!r}: expected a whole number above 0")
        object.__setattr__(self, "lasting", seconds(self.lasting, option="lasting", zero=True))
        object.__setattr__(self, "pause", seconds(self.pause, option="pause"))


class Breaker:
    """Whether a store may be asked now.

    Closed, all calls are admitted. Open, none is. When the pause is over, the next one is admitted
    alone, as a probe (half-open): its success closes the breaker, its failure is another pause, and
    if it is withdrawn the next call is the probe.

    Every admitted call reports once, with its permit. Reports of calls that were admitted before
    the breaker last changed its state say nothing about the store as it is now, and are ignored.

    ```python
    from symphonia_perf._core.breaker import Breaker, BreakerOptions

    breaker = Breaker(BreakerOptions(failures=1, lasting=0, pause=5))
    permit = breaker.admit(now=100.0)
    assert breaker.failed(permit, now=100.3)  # it opened
    assert breaker.admit(now=101.0) is None
    probe = breaker.admit(now=105.3)
    assert breaker.admit(now=105.3) is None  # one at a time
    assert breaker.succeeded(probe)  # it closed
    ```

    Args:
        options: when it opens, and for how long.

    Attributes:
        state: what it is now.
        permit: while it is closed, what `admit` gives whatever the time.
        excess: while it is closed, failures that successes have not made good; where there are
            none, a success need not be reported.
    """

    __slots__ = (
        "_failures",
        "_lasting",
        "_pause",
        "_since",
        "_until",
        "excess",
        "permit",
        "state",
    )

    def __init__(self, options: BreakerOptions) -> None:
        self._failures = options.failures
        self._lasting = seconds(options.lasting, option="lasting", zero=True)
        self._pause = seconds(options.pause, option="pause")
        self.state: BreakerState = "closed"
        self.permit: Permit = 0  # another one after each change of state
        self.excess = 0  # the leaky count
        self._since = 0.0  # when it left zero
        self._until = 0.0  # open: of the pause; half-open: when the probe counts as lost

    def admit(self, now: float) -> Permit | None:
        """A permit to ask the store, or None."""
        if self.state == "closed":
            return self.permit
        if now < self._until:
            return None
        self._change("half-open", now + _LOST)
        return self.permit

    def succeeded(self, permit: Permit) -> bool:
        """Take note that the store answered; whether that closed the breaker."""
        if permit != self.permit:
            return False
        if self.state == "closed":
            if self.excess:
                self.excess -= 1
            return False
        self.excess = 0
        self._change("closed", 0.0)
        return True

    def failed(self, permit: Permit, now: float) -> bool:
        """Take note that the store did not answer; whether that opened a closed breaker."""
        if permit != self.permit:
            return False
        if self.state == "closed":
            if not self.excess:
                self._since = now
            self.excess = min(self.excess + 1, self._failures)
            if self.excess < self._failures or now - self._since < self._lasting:
                return False
            opened = True
        else:
            opened = False
        self._change("open", now + self._pause)
        return opened

    def withdrawn(self, permit: Permit, now: float) -> None:
        """Take note that a call ended without asking, or without waiting for the answer."""
        if permit == self.permit and self.state == "half-open":
            self._change("open", now)

    def _change(self, state: BreakerState, until: float) -> None:
        self.state = state
        self._until = until
        self.permit += 1


def answered(error: BaseException) -> bool | None:
    """Whether the error is an answer of the store; None where it says nothing about the store.

    `StoreTimeout` and `StoreUnavailable` are none. Our Redis client raises the latter also where
    the server says that it serves nobody now: LOADING, MASTERDOWN, CLUSTERDOWN, BUSY, TRYAGAIN,
    NOAUTH and READONLY. Every other refusal (`CommandError`: WRONGTYPE, NOPERM, and also OOM and
    MISCONF, under which reads go on) came promptly from a server that works. A value that could not
    be encoded, a cancelled caller or a mistake in the program says nothing.
    """
    if isinstance(error, StoreTimeout | StoreUnavailable):
        return False
    return True if isinstance(error, CommandError) else None
