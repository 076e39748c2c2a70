"""A breaker against a model that keeps its whole history and works everything out from it."""

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from symphonia_perf._core.breaker import Breaker, BreakerOptions, Permit

LOST = 60.0
# Quarters, so that sums of them are exact.
TIMES = st.integers(0, 12).map(lambda quarters: quarters / 4)


class Call(NamedTuple):
    permit: Permit
    probe: bool
    period: int  # which closed period or which probe it belongs to


def opens(history: list[tuple[float, bool]], options: BreakerOptions) -> bool:
    """Whether the last report of a closed period, worked out from all of them, opens."""
    count, since = 0, 0.0
    for now, good in history:
        if good:
            count = max(0, count - 1)
        else:
            since = since if count else now
            count = min(options.failures, count + 1)
    (now, good) = history[-1]
    assert isinstance(options.lasting, float)
    return not good and count == options.failures and now - since >= options.lasting


class Machine(RuleBasedStateMachine):
    """Callers that come, report, are withdrawn, or never report at all."""

    calls = Bundle("calls")

    @initialize(failures=st.integers(1, 4), lasting=TIMES, pause=TIMES.filter(bool))
    def build(self, failures: int, lasting: float, pause: float) -> None:
        self.options = BreakerOptions(failures=failures, lasting=lasting, pause=pause)
        self.pause = pause
        self.breaker = Breaker(self.options)
        self.now = 100.0
        self.period = 0
        self.history: list[tuple[float, bool]] = []
        self.closed = True
        self.rests_until = 0.0
        self.probe: Call | None = None
        self.probe_since = 0.0

    @rule(seconds=TIMES | st.just(LOST))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=calls)
    def ask(self) -> Call:
        permit = self.breaker.admit(self.now)
        if self.closed:
            assert permit is not None
            return Call(permit, probe=False, period=self.period)
        probe_out = self.probe is not None and self.now - self.probe_since < LOST
        if probe_out or (self.probe is None and self.now < self.rests_until):
            assert permit is None
            return Call(-1, probe=False, period=-1)
        assert permit is not None
        self.period += 1
        self.probe, self.probe_since = Call(permit, probe=True, period=self.period), self.now
        return self.probe

    @rule(call=consumes(calls))
    def succeed(self, call: Call) -> None:
        closes = call == self.probe
        assert self.breaker.succeeded(call.permit) is closes
        if closes:
            self.closed, self.probe, self.history = True, None, []
            self.period += 1
        elif self.closed and call.period == self.period:
            self.history.append((self.now, True))

    @rule(call=consumes(calls))
    def fail(self, call: Call) -> None:
        counts = self.closed and call.period == self.period
        if counts:
            self.history.append((self.now, False))
        opened = counts and opens(self.history, self.options)
        assert self.breaker.failed(call.permit, self.now) is opened
        if opened or call == self.probe:
            self.closed, self.probe = False, None
            self.rests_until = self.now + self.pause
            self.period += 1

    @rule(call=consumes(calls))
    def withdraw(self, call: Call) -> None:
        self.breaker.withdrawn(call.permit, self.now)
        if call == self.probe:
            self.probe, self.rests_until = None, self.now
            self.period += 1

    @invariant()
    def the_state_is_the_models(self) -> None:
        state = "closed" if self.closed else "open" if self.probe is None else "half-open"
        assert self.breaker.state == state


TestBreaker = pytest.mark.timeout(300)(Machine.TestCase)


@given(st.lists(st.tuples(TIMES, st.booleans()), max_size=60))
@settings(deadline=None)
def test_an_outage_always_ends(reports: list[tuple[float, bool]]) -> None:
    """Whatever happened, a store that answers from now on is asked again after one pause."""
    breaker = Breaker(BreakerOptions(failures=2, lasting=0.5, pause=1.0))
    now = 0.0
    for seconds, good in reports:
        now += seconds
        permit = breaker.admit(now)
        if permit is not None:
            if good:
                breaker.succeeded(permit)
            else:
                breaker.failed(permit, now)
    permit = breaker.admit(now + 1.0)
    assert permit is not None
    breaker.succeeded(permit)
    assert breaker.state == "closed"
