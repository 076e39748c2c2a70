"""What a holder may believe of its lease, and when it acts: arithmetic, on a local clock.

A lease ends at the server, whose clock is not ours. So a holder counts from the moment *before* it
sent the command that was granted: the server began later, and ends later.
"""

from dataclasses import dataclass, replace

from symphonia_perf._core.durations import seconds
from symphonia_perf.errors import ConfigurationError
from symphonia_perf.typing import Seconds

__all__ = [
    "Tenure",
    "checked_length",
    "checked_name",
    "failures_in_a_row",
    "poll_pause",
    "restart_pause",
    "retry_pause",
    "spacing",
]

_SHORTEST, _LONGEST = 0.1, 86_400.0  # seconds: below, networks decide; above, a holder's death does
# Seconds between two tries of a waiter at least: four in a second, one more when its time is up.
_POLL = 0.25
_JITTER = 0.1  # seconds more, so that waiters do not come together
_RESTART_MOST = 60.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """One time of holding a lease.

    The last tenth of the length is not used: it covers clocks that do not run alike, and gives the
    work time to stop before anybody else may start.
    """

    number: int  # the fencing number
    length: float  # seconds
    sent: float  # local time before the last command that was granted left

    @property
    def renewal(self) -> float:
        """When to renew: two more tries fit in before anything is lost."""
        return self.sent + self.length / 3

    @property
    def until(self) -> float:
        """From when on it counts as lost."""
        return self.sent + self.length * 0.9

    @property
    def end(self) -> float:
        """Until when nobody else can have it."""
        return self.sent + self.length

    def holds(self, now: float) -> bool:
        """Whether the holder may still act."""
        return now < self.until

    def renewed(self, *, sent: float) -> "Tenure":
        """With what a renewal gives that was sent then."""
        return replace(self, sent=sent)

    def patience(self, now: float) -> float:
        """Seconds to wait for the answer to one renewal, so that a lost reply leaves time."""
        return max(min(self.length / 6, self.until - now), 0.001)


def retry_pause(length: float, chance: float) -> float:
    """Seconds between a renewal that failed and the next; `chance` is 0 to 1."""
    return length * (0.05 + 0.05 * chance)


def poll_pause(left: float | None, chance: float) -> float:
    """Seconds between two tries of a waiter.

    Args:
        left: seconds that the holder's lease lasts if it is not renewed, where a message tells of
            its release; None where asking alone does.
        chance: 0 to 1.
    """
    return max(left or 0.0, _POLL) + _JITTER * chance


def spacing(waited: float, chance: float) -> float:
    """Seconds that a waiter who was woken after `waited` seconds still has to keep."""
    return max(0.0, _POLL + _JITTER * chance - waited)


def failures_in_a_row(before: int, worked: float) -> int:
    """With the present one; work that went on for a while was well until then."""
    return 1 if worked > _RESTART_MOST else before + 1


def restart_pause(failures: int, first: float, chance: float) -> float:
    """Seconds until work that failed `failures` times in a row starts again.

    They double up to a minute, and half is left to chance, so that processes do not come together.
    """
    whole = min(first * 2.0 ** min(failures - 1, 30), max(first, _RESTART_MOST))
    return whole * (0.5 + 0.5 * chance)


def checked_length(length: Seconds) -> float:
    """The length in seconds.

    Raises:
        ConfigurationError: not a duration, or one that cannot work.
    """
    number = seconds(length, option="length")
    if not _SHORTEST <= number <= _LONGEST:
        raise ConfigurationError(
            f"length={length!r}: expected {_SHORTEST} to {_LONGEST:.0f} seconds; it is renewed "
            "while held, so it only says how long the death of a holder goes unnoticed"
        )
    return number


def checked_name(name: object) -> str:
    """The name.

    Raises:
        ConfigurationError: not a text that can be part of a key.
    """
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= 200
        or not name.isprintable()
        or not {"{", "}"}.isdisjoint(name)
    ):
        raise ConfigurationError(
            f"name={name!r:.200}: expected 1 to 200 printable characters without braces, which "
            "Redis Cluster reads in keys"
        )
    return name
