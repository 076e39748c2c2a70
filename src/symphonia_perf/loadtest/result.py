"""What a run measured: one column per property, one row per request, nothing summarised away."""

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Any

from symphonia_perf.errors import ConfigurationError, GeneratorLagged

__all__ = ["LAG_MAX", "LAG_P99", "Failure", "Result", "failed", "percentile"]

# On an idle two-core virtual machine, a bare sleep of 2 ms ends up to 8 ms late: less than that
# cannot be asked of a generator.
LAG_P99 = 0.01
"""Seconds of p99 scheduling lag that are always allowed."""

LAG_MAX = 0.1
"""Seconds of scheduling lag that any one request may always have."""


class Failure(IntEnum):
    """Why there was no answer; kept where an HTTP status (100 and up) would stand."""

    TIMEOUT = 1
    REFUSED = 2
    DISCONNECTED = 3
    DROPPED = 4


def percentile(ordered: Sequence[float], p: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `p` percent do not exceed.

    It is always a value that was measured, never an interpolation between two.

    ```python
    from symphonia_perf.loadtest import percentile

    assert percentile([1.0, 2.0, 3.0, 40.0], 75) == 3.0
    ```

    Args:
        ordered: the values in ascending order; without any, the answer is NaN.
        p: more than 0, at most 100.

    Raises:
        ConfigurationError: `p` is outside that range.
    """
    if not 0 < p <= 100:
        raise ConfigurationError(f"p={p!r}: expected a percentage above 0 and up to 100")
    if not ordered:
        return math.nan
    # In floats, 99.9 / 100 * 1000 is more than 999 and would pick the next rank.
    return ordered[math.ceil(Fraction(str(p)) * len(ordered) / 100) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Every measured request of one run, or of several merged, in the order they were due.

    A latency runs from the moment a request was **due** to the end of its answer's body, so that a
    stall is felt by all whom it kept waiting ("coordinated omission"). A failed request (timeout,
    refused or broken connection, dropped, status 400 and up) ranks as slow as the plan's timeout,
    or slower: failing fast must not make a service look quick.

    ```python
    from array import array
    from symphonia_perf.loadtest import Result

    result = Result(
        names=("plans",), kinds=array("H", [0, 0]), latencies=array("d", [0.002, 0.010]),
        lags=array("d", [0.0001, 0.0002]), outcomes=array("H", [200, 503]),
        sizes=array("Q", [512, 0]), elapsed=1.0,
    )
    print(result.percentile(50), result.error_rate, result.errors)  # 0.002 0.5 {'HTTP 503': 1}
    ```
    """

    names: tuple[str, ...]  # the kinds of request
    kinds: "array[int]"  # index into names
    latencies: "array[float]"  # seconds from due to complete, by the rule above
    # Seconds from due to handed over to the client, or dropped; or for how long the generator stood
    # still while it waited for the answer, if that was longer.
    lags: "array[float]"
    outcomes: "array[int]"  # HTTP status, or a Failure
    sizes: "array[int]"  # bytes of the body, as sent on the wire
    elapsed: float  # seconds from the start of measuring to the last answer

    def __len__(self) -> int:
        return len(self.latencies)

    def only(self, name: str) -> "Result":
        """The requests of one kind.

        Raises:
            ConfigurationError: there is no such kind.
        """
        if name not in self.names:
            raise ConfigurationError(f"name={name!r}: expected one of {', '.join(self.names)}")
        wanted = self.names.index(name)
        rows = [row for row, kind in enumerate(self.kinds) if kind == wanted]
        columns = {
            column: array(values.typecode, map(values.__getitem__, rows))
            for column, values in _columns(self).items()
        }
        return Result(names=self.names, elapsed=self.elapsed, **columns)

    def percentile(self, p: float) -> float:
        """Seconds that `p` percent of the requests did not exceed; NaN where there were none.

        Raises:
            ConfigurationError: `p` is not above 0 and up to 100.
        """
        return percentile(sorted(self.latencies), p)

    @property
    def errors(self) -> dict[str, int]:
        """How often each error happened: `timeout`, `refused`, `dropped`, `HTTP 503` ..."""
        counts = Counter(outcome for outcome in self.outcomes if failed(outcome))
        return {_label(outcome): count for outcome, count in counts.most_common()}

    @property
    def statuses(self) -> dict[int, int]:
        """How often each HTTP status was answered."""
        return dict(sorted(Counter(item for item in self.outcomes if item >= 100).items()))

    @property
    def succeeded(self) -> int:
        """Requests that were answered with a status below 400."""
        return len(self) - sum(self.errors.values())

    @property
    def error_rate(self) -> float:
        """The failed share of all requests, 0 to 1; 0 where there were none."""
        return sum(self.errors.values()) / len(self) if len(self) else 0.0

    @property
    def throughput(self) -> float:
        """Successful answers per second, until the last one was in."""
        return self.succeeded / self.elapsed

    @property
    def bytes_received(self) -> int:
        """Bytes of all bodies, as they came over the wire."""
        return sum(self.sizes)

    @property
    def drift(self) -> float:
        """Seconds by which the last third's median exceeds the first third's: a growing backlog."""
        third = len(self) // 3
        if not third:
            return 0.0
        first, last = sorted(self.latencies[:third]), sorted(self.latencies[-third:])
        return percentile(last, 50) - percentile(first, 50)

    @property
    def lag_p99(self) -> float:
        """Seconds from due to sent that 99 percent of the requests did not exceed."""
        return percentile(sorted(self.lags), 99)

    @property
    def lag_max(self) -> float:
        """Seconds from due to sent of the worst request."""
        return max(self.lags, default=math.nan)

    @property
    def lagged(self) -> str:
        """In what the generator failed its own schedule, in words; empty when it kept it.

        Lag is part of the latency it spoils. It may be a tenth of what was measured at the same
        rank, for the quickest kind of request, and always 10 ms at p99 and 100 ms at most. Poisson
        arrivals meet the generator's loop as it is on average, so their lag also tells how late
        answers were noticed.
        """
        kinds = [self.only(name) for name in set(self.names)]
        kinds = [kind for kind in kinds if len(kind)]
        if not kinds:
            return ""
        p99 = max(LAG_P99, min(kind.percentile(99) for kind in kinds) / 10)
        most = max(LAG_MAX, min(max(kind.latencies) for kind in kinds) / 10)
        if self.lag_p99 <= p99 and self.lag_max <= most:
            return ""
        return (
            f"p99 lag {self.lag_p99 * 1e3:.1f} ms (allowed {p99 * 1e3:.1f}), "
            f"worst {self.lag_max * 1e3:.1f} ms (allowed {most * 1e3:.1f})"
        )

    def require_valid(self) -> "Result":
        """This result, if the generator kept its schedule.

        Raises:
            GeneratorLagged: it did not, so its latencies are partly its own.
        """
        if lagged := self.lagged:
            raise GeneratorLagged(
                f"the load generator did not keep its own schedule: {lagged}; "
                "lower the rate, or free a core for the generator"
            )
        return self

    @classmethod
    def merge(cls, results: Iterable["Result"]) -> "Result":
        """All requests of several runs of one mix, one run after the other.

        Raises:
            ConfigurationError: no result, or results of different mixes.
        """
        runs = list(results)
        if len({run.names for run in runs}) != 1:
            mixes = sorted(", ".join(run.names) for run in runs)
            raise ConfigurationError(f"results={mixes!r}: expected one or more of one mix")
        columns = {name: values[:] for name, values in _columns(runs[0]).items()}
        for run in runs[1:]:
            for name, values in _columns(run).items():
                columns[name].extend(values)
        return cls(names=runs[0].names, elapsed=sum(run.elapsed for run in runs), **columns)

    def to_json(self) -> str:
        """This result as JSON text, every request included."""
        columns = {name: values.tolist() for name, values in _columns(self).items()}
        return json.dumps({"names": self.names, "elapsed": self.elapsed, **columns})

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """The result that `to_json` wrote.

        Raises:
            ConfigurationError: the text is not a result.
        """
        try:
            data: dict[str, Any] = json.loads(text)
            columns = {name: array(code, data[name]) for name, code in _CODES.items()}
            names, elapsed = tuple(map(str, data["names"])), float(data["elapsed"])
            _check(names, columns)
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            known = ", ".join(("names", "elapsed", *_CODES))
            raise ConfigurationError(f"not a result ({error}): expected {known}") from error
        return cls(names=names, elapsed=elapsed, **columns)


_CODES = {"kinds": "H", "latencies": "d", "lags": "d", "outcomes": "H", "sizes": "Q"}


def _columns(result: Result) -> Mapping[str, "array[Any]"]:
    return {name: getattr(result, name) for name in _CODES}


def _check(names: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> None:
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError("columns of different lengths")
    if max(columns["kinds"], default=-1) >= len(names):
        raise ValueError("a kind without a name")
    for outcome in set(columns["outcomes"]):
        _label(outcome)


def failed(outcome: int) -> bool:
    """Whether there was no answer, or one of 400 and up: a mix full of 404 measures nothing."""
    return outcome < 100 or outcome >= 400


def _label(outcome: int) -> str:
    return f"HTTP {outcome}" if outcome >= 100 else Failure(outcome).name.lower()
