"""One holder at a time, over a network and clocks that do what they like.

The script is the real one, run by Lua; what holders believe is decided by the real rules. Only the
sockets and the timers are not there: Hypothesis says when a message arrives, or that it never does.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from symphonia_perf.redis._lease_rules import Tenure
from tests.unit.redis.lease_server import LuaServer

LENGTH = 10.0
PROCESSES = st.integers(0, 1)
DELAYS = st.sampled_from([0.0, 2.0])
# Of 100 seconds, a bad quartz tells 99.99; these are a thousand times worse.
RATES = (0.95, 1.05)


@dataclass
class Process:
    """One contender: its clock, what it believes, and which token it uses now."""

    number: int
    rate: float
    started: int = 0
    tenure: Tenure | None = None
    token: str = ""

    def clock(self, now: float) -> float:
        return self.rate * now + 1000 * self.number

    def begin(self) -> None:
        self.started += 1
        self.token = f"{LENGTH * 1000:.0f} host:{self.number}:{self.started}"
        self.tenure = None

    def holds(self, now: float) -> bool:
        return self.tenure is not None and self.tenure.holds(self.clock(now))


@dataclass
class Asked:
    """A message on its way to the server, or its answer on the way back."""

    process: Process
    verb: Literal["acquire", "renew", "release"]
    token: str
    sent: float  # by the process's clock
    reply: Any = field(default=None)


class Leases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = LuaServer()
        self.now = self.server.now  # where nobody sets a clock
        self.processes = [Process(n, rate) for n, rate in enumerate(RATES)]
        for process in self.processes:
            process.begin()
        self.asked: list[Asked] = []
        self.answers: list[Asked] = []
        self.granted = 0
        self.written = 0

    def pass_(self, seconds: float) -> None:
        self.now += seconds
        self.server.now += seconds

    def ask(self, process: Process, verb: Literal["acquire", "renew", "release"]) -> None:
        clock = process.clock(self.now)
        self.asked.append(Asked(process, verb, process.token, clock))

    @rule(seconds=st.sampled_from([0.001, 3.4, 8.9, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.pass_(seconds)

    @rule(number=PROCESSES)
    def acquire(self, number: int) -> None:
        """Ask, or ask again after no answer."""
        process = self.processes[number]
        if not process.holds(self.now):
            process.tenure = None
            self.ask(process, "acquire")

    @rule(number=PROCESSES)
    def renew(self, number: int) -> None:
        process = self.processes[number]
        if process.holds(self.now):
            self.ask(process, "renew")

    @rule(number=PROCESSES)
    def write(self, number: int) -> None:
        process = self.processes[number]
        if process.holds(self.now):
            assert process.tenure is not None
            assert process.tenure.number >= self.written
            self.written = process.tenure.number

    @rule(number=PROCESSES)
    def release(self, number: int) -> None:
        """Give it back, as a holder or as a waiter that gave up."""
        process = self.processes[number]
        self.ask(process, "release")
        process.begin()

    @rule(number=PROCESSES)
    def die(self, number: int) -> None:
        self.processes[number].begin()

    @rule(number=PROCESSES, there=DELAYS, back=DELAYS)
    def get_or_renew(self, number: int, there: float, back: float) -> None:
        """As above, but nothing else happens meanwhile."""
        process = self.processes[number]
        if process.holds(self.now):
            self.ask(process, "renew")
        else:
            process.tenure = None
            self.ask(process, "acquire")
        self.pass_(there)
        self.execute(self.asked.pop())
        self.pass_(back)
        self.arrive(self.answers.pop())

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def the_server_executes(self, data: st.DataObject) -> None:
        self.execute(self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1))))

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def an_answer_arrives(self, data: st.DataObject) -> None:
        self.arrive(self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1))))

    def execute(self, asked: Asked) -> None:
        asked.reply = self.server.run(asked.verb, asked.token)
        if asked.verb == "acquire" and asked.reply[0]:
            assert asked.reply[1] > self.granted
            self.granted = asked.reply[1]
        self.answers.append(asked)

    def arrive(self, answer: Asked) -> None:
        process, now = answer.process, answer.process.clock(self.now)
        if answer.token != process.token:
            return  # nobody waits for it any more
        if answer.verb == "acquire" and answer.reply[0] and process.tenure is None:
            tenure = Tenure(number=answer.reply[1], length=LENGTH, sent=answer.sent)
            if tenure.holds(now):
                process.tenure = tenure
        elif answer.verb == "renew" and process.holds(self.now):
            assert process.tenure is not None
            if not answer.reply:
                process.begin()
            elif answer.sent > process.tenure.sent:
                process.tenure = process.tenure.renewed(sent=answer.sent)

    @precondition(lambda self: self.asked or self.answers)
    @rule()
    def everything_on_its_way_is_lost(self) -> None:
        self.asked.clear()
        self.answers.clear()

    # Behind its own start it would not know how long ago that was.
    @precondition(lambda self: self.server.now - self.server.started > 4000)
    @rule(seconds=st.sampled_from([1.0, 9.0, 3600.0]))
    def the_server_clock_is_set_back(self, seconds: float) -> None:
        self.server.now -= seconds

    # One that was set back and forgets its last number would give out a smaller one.
    @precondition(lambda self: self.server.now >= self.now)
    @precondition(lambda self: self.now - self.server.started > 60)
    @rule(loses=st.booleans())
    def the_server_restarts(self, loses: bool) -> None:  # noqa: FBT001 - drawn
        self.server.restart(loses=loses)

    @invariant()
    def while_one_holds_nobody_else_can(self) -> None:
        holders = [one.number for one in self.processes if one.holds(self.now)]
        assert len(holders) <= 1, holders
        if holders:
            assert self.server.run("acquire", "10000 host:9:1")[0] == 0


TestLeases = Leases.TestCase
TestLeases.settings = settings(stateful_step_count=60)
