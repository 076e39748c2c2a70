"""How long callers waited for a connection, counted in fixed buckets."""

from bisect import bisect_left
from dataclasses import dataclass

from symphonia_perf.errors import ConfigurationError

__all__ = ["BOUNDS", "CheckoutTimes", "Histogram"]

BOUNDS = tuple(float(f"{digit}e{power}") for power in range(-5, 2) for digit in (1, 2, 5))
"""Upper bounds of the buckets, in seconds: 10 us, 20 us, 50 us ... 50 s; one more has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutTimes:
    """How long successful checkouts took, as counts in buckets.

    Percentiles are estimates: the count knows a value's bucket, and inside of it values are taken
    to lie evenly. Bounds follow 1, 2, 5, 10, so an estimate is off by 2.5 times at the very most.

    ```python
    from symphonia_perf.mongo import CheckoutTimes

    nobody = CheckoutTimes(buckets=(0,) * 22, total=0.0, longest=0.0)
    assert (nobody.count, nobody.p99) == (0, 0.0)
    ```
    """

    buckets: tuple[int, ...]  # how many took at most 10 us, 20 us, 50 us ... 50 s, and longer
    total: float  # seconds, all together
    longest: float  # seconds

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)

    @property
    def p50(self) -> float:
        """Seconds that half of them took at most."""
        return self.quantile(0.50)

    @property
    def p95(self) -> float:
        """Seconds that 95 % took at most."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        """Seconds that 99 % took at most."""
        return self.quantile(0.99)

    def quantile(self, share: float) -> float:
        """Seconds that this share of them took at most; 0 where there were none.

        Raises:
            ConfigurationError: the share is not within 0 to 1.
        """
        if type(share) not in {int, float} or not 0 <= share <= 1:
            raise ConfigurationError(f"share={share!r}: expected a number from 0 to 1")
        rank = share * self.count
        below = 0
        for bucket, count in enumerate(self.buckets):
            if count and below + count >= rank:
                low = BOUNDS[bucket - 1] if bucket else 0.0
                high = min(BOUNDS[bucket], self.longest) if bucket < len(BOUNDS) else self.longest
                return low + (high - low) * (rank - below) / count
            below += count
        return 0.0


class Histogram:
    """Counts durations; whoever uses it from several threads holds a lock."""

    __slots__ = ("_buckets", "_longest", "_total")

    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._total = 0.0
        self._longest = 0.0

    def add(self, duration: float) -> None:
        """Count one of `duration` seconds."""
        self._buckets[bisect_left(BOUNDS, duration)] += 1
        self._total += duration
        self._longest = max(self._longest, duration)

    def times(self) -> CheckoutTimes:
        """What was counted until now."""
        return CheckoutTimes(buckets=tuple(self._buckets), total=self._total, longest=self._longest)
