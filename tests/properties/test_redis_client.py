"""No reply ever reaches the wrong caller: the whole client against a server in a list.

Time stands still unless the machine says otherwise, and bytes travel when, and as far as, it says.
Every command carries a number of its own and the server answers with it, so that a reply in the
wrong hands is seen at once.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import hiredis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from symphonia_perf.errors import CommandError, StoreTimeout, StoreUnavailable
from symphonia_perf.redis import RedisClient, connect
from symphonia_perf.redis.connection import pack_words

DEADLINE = 0.25
GARBAGE = [
    b"nonsense\r\n",
    b"$-7\r\n",
    b"%1\r\n*0\r\n:1\r\n",
    b"*4294967296000\r\n",
    b":1\r\n" * 99,
]


class Loop(asyncio.SelectorEventLoop):
    """A loop whose clock is moved by hand, and whose connections are wires."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.refuses = False
        self.wires: list[Wire] = []

    def time(self) -> float:
        return self.now

    async def create_connection(self, factory: Any, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(0)
        if self.refuses:
            raise ConnectionRefusedError("refused, as the machine says")
        wire = Wire(self, factory())
        self.wires.append(wire)
        wire.protocol.connection_made(wire)
        return wire, wire.protocol

    @property
    def wire(self) -> "Wire | None":
        """The one that is open."""
        opened = [wire for wire in self.wires if not wire.closed]
        assert len(opened) <= 1
        return opened[0] if opened else None


class Socket:
    """What the link asks a transport for."""

    def setsockopt(self, *_: int) -> None:
        """Nobody listens."""


class Wire(asyncio.Transport):
    """A connection and the server behind it."""

    def __init__(self, loop: Loop, protocol: Any) -> None:
        super().__init__()
        self.loop = loop
        self.protocol = protocol
        self.reader: Any = hiredis.Reader(notEnoughData=None)
        self.asked: deque[list[bytes]] = deque()
        self.outbox = b""
        self.queued: list[list[bytes]] | None = None
        self.seen: list[bytes] = []
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return Socket() if name == "socket" else default

    def write(self, data: Any) -> None:
        assert not self.closed
        self.reader.feed(bytes(data))
        while (command := self.reader.gets()) is not None:
            if command[0] in {b"HELLO", b"CLIENT"}:  # so that it gets going
                self.loop.call_soon(self.deliver, b"+OK\r\n")
            else:
                self.asked.append(command)
                self.seen.append(command[-1])

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.protocol.connection_lost, None)

    def deliver(self, data: bytes) -> None:
        if not self.closed:
            self.protocol.data_received(data)

    def answer(self, refusal: bytes) -> None:
        """Execute the first command that was asked for."""
        command = self.asked.popleft()
        if command[0] == b"MULTI":
            self.queued = []
            self.outbox += b"+OK\r\n"
        elif command[0] == b"EXEC":
            assert self.queued is not None
            self.outbox += b"*%d\r\n" % len(self.queued)
            self.outbox += b"".join(self.say(each) for each in self.queued)
            self.queued = None
        elif self.queued is not None:
            self.queued.append(command)
            self.outbox += b"+QUEUED\r\n"
        else:
            self.outbox += refusal + b"\r\n" if refusal else self.say(command)

    def say(self, command: list[bytes]) -> bytes:
        """The command's own number, in one of the ways in which a server says things."""
        number = command[-1]
        ways = (b"$%d\r\n%s\r\n" % (len(number), number), b"*1\r\n+%s\r\n" % number)
        return ways[len(number) % 2] if number != b"PING" else b"+PONG\r\n"


class Caller:
    """One call, and what it should come to."""

    def __init__(
        self, task: "asyncio.Task[Any]", numbers: list[bytes], expires: float, *, reads: bool
    ) -> None:
        self.task = task
        self.numbers = numbers
        self.expires = expires
        self.reads = reads


class ClientAgainstScript(RuleBasedStateMachine):
    """Commands, cancels, deadlines, losses and split replies in any order."""

    @initialize(
        in_flight=st.sampled_from([1, 3, 100, 100]),
        waiting=st.sampled_from([2, 100]),
        retry_reads=st.booleans(),
        refuses=st.sampled_from([False, False, False, True]),
    )
    def open(self, *, in_flight: int, waiting: int, retry_reads: bool, refuses: bool) -> None:
        self.loop = Loop()
        self.loop.refuses = refuses
        self.callers: list[Caller] = []
        self.number = 0
        self.retry_reads = retry_reads
        self.client: RedisClient = connect(
            "redis://nowhere",
            deadline=DEADLINE,
            max_in_flight=in_flight,
            max_in_flight_bytes=400,
            max_waiting=waiting,
            max_waiting_bytes=600,
            max_reply=500,
            retry_reads=retry_reads,
            observer=lambda _: None,
        )
        self.run(self.client.__aenter__())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def settle(self) -> None:
        """Let everything happen that is due now, and judge who is done."""

        async def turns() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.run(turns())
        for caller in [each for each in self.callers if each.task.done()]:
            self.callers.remove(caller)
            self.judge(caller)
        late = [each.numbers for each in self.callers if each.expires < self.loop.now]
        assert not late, "their time is up and nobody told them"

    def judge(self, caller: Caller) -> None:
        times = sum(wire.seen.count(caller.numbers[0]) for wire in self.loop.wires)
        assert times <= 1 + (self.retry_reads and caller.reads)
        if caller.task.cancelled():
            return
        error = caller.task.exception()
        if error is None:
            said = caller.task.result()
            said = said if type(said) is list else [said]
            flat = [each[0] if type(each) is list else each for each in said]
            assert flat == caller.numbers, "a reply that is another's"
            assert times
        else:
            assert isinstance(error, StoreTimeout | StoreUnavailable | CommandError)
            assert repr(error)
            if "not sent" in str(error) and not (self.retry_reads and caller.reads):
                assert not times, "it was sent, and the caller was told that it was not"

    def call(
        self, ask: Callable[[list[bytes], float | None], Any], count: int, *, reads: bool, own: Any
    ) -> None:
        numbers = []
        for _ in range(count):
            self.number += 1
            numbers.append(b"n%d" % self.number)
        task = self.loop.create_task(ask(numbers, own))
        expires = self.loop.now + (DEADLINE if own is None else own)
        self.callers.append(Caller(task, numbers, expires, reads=reads))

    # What callers do

    @rule(
        count=st.integers(1, 6),
        reads=st.booleans(),
        own=st.none() | st.sampled_from([1e-9, 0.1, 2.0]),
        settle=st.booleans(),
    )
    def execute(self, *, count: int, reads: bool, own: float | None, settle: bool) -> None:
        name = "ECHO" if reads else "SET"
        for _ in range(count):
            self.call(
                lambda numbers, own: self.client.execute(name, numbers[0], deadline=own),
                1,
                reads=reads,
                own=own,
            )
        if settle:
            self.settle()

    @rule(count=st.integers(2, 4), whole=st.booleans(), own=st.none() | st.sampled_from([0.1, 2.0]))
    def execute_many(self, *, count: int, whole: bool, own: float | None) -> None:
        def ask(numbers: list[bytes], own: float | None) -> Any:
            commands = [("SET", number) for number in numbers]
            if whole:
                return self.client.transaction(commands, deadline=own)
            return self.client.execute_many(commands, deadline=own)

        self.call(ask, count, reads=False, own=own)

    @precondition(lambda self: self.callers)
    @rule(data=st.data(), settle=st.booleans())
    def cancel(self, *, data: st.DataObject, settle: bool) -> None:
        data.draw(st.sampled_from(self.callers)).task.cancel()
        if settle:
            self.settle()

    # What the server and the network do

    @rule(
        count=st.integers(1, 8),
        refusal=st.sampled_from([b"", b"", b"", b"-ERR no", b"-LOADING wait", b"-READONLY no"]),
        size=st.sampled_from([0, 3, 20, 1000]),
        settle=st.booleans(),
    )
    def serve(self, *, count: int, refusal: bytes, size: int, settle: bool) -> None:
        """Answer some commands, and let so many bytes of the answers through."""
        if (wire := self.loop.wire) is None:
            return
        for _ in range(min(count, len(wire.asked))):
            wire.answer(refusal)
        self.deliver(wire, size)
        if settle:
            self.settle()

    def deliver(self, wire: Wire, size: int) -> None:
        piece, wire.outbox = wire.outbox[:size], wire.outbox[size:]
        if piece:
            wire.deliver(piece)

    @rule(size=st.integers(1, 30))
    def let_through(self, *, size: int) -> None:
        if (wire := self.loop.wire) is not None:
            wire.outbox += b">2\r\n+news\r\n:1\r\n" * (size % 2)
            self.deliver(wire, size)

    @rule(seconds=st.sampled_from([0.001, 0.1, 0.16, 0.3]))
    def wait(self, *, seconds: float) -> None:
        self.settle()
        self.loop.now += seconds
        self.settle()

    @rule(what=st.sampled_from(["drop", "drop", "refuse", "silence", "reopen", *GARBAGE]))
    def fail(self, *, what: str | bytes) -> None:
        """One thing that goes wrong, and the time that it takes to get over it."""
        wire = self.loop.wire
        self.loop.refuses = what == "refuse"
        if what == "reopen":
            self.run(self.client.__aexit__(None, None, None))
            self.nothing_is_left()
            self.run(self.client.__aenter__())
        elif wire is not None and what in {"drop", "refuse"}:
            wire.close()
        elif wire is not None and isinstance(what, bytes):
            self.deliver(wire, 1000)
            self.settle()
            if not self.client.stats().in_flight:  # else it may be taken for a reply
                wire.deliver(what)
        for seconds in (0.0, 0.2, 11.0 if what == "silence" else 0.0):
            self.wait(seconds=seconds)

    @rule()
    def recover(self) -> None:
        self.loop.refuses = False
        for _ in range(3):
            self.wait(seconds=1.5)

    # The end

    def nothing_is_left(self) -> None:
        self.settle()
        assert self.callers == [], "they wait for a client that is closed"
        assert self.loop.wire is None
        assert asyncio.all_tasks(self.loop) == set()
        timers = self.loop._scheduled  # type: ignore[attr-defined]  # where timers are
        assert [timer for timer in timers if not timer.cancelled()] == []

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        complaints: list[Any] = []
        self.loop.set_exception_handler(lambda _, said: complaints.append(said))
        try:
            self.run(self.client.__aexit__(None, None, None))
            self.nothing_is_left()
            gc.collect(0)  # a future whose error nobody saw complains when it goes
        finally:
            self.loop.close()
        assert complaints == []


TestClientAgainstScript = ClientAgainstScript.TestCase


def test_the_script_answers_as_the_client_asks() -> None:
    """The machine's own server is what it claims to be."""
    machine = ClientAgainstScript()
    machine.open(in_flight=100, waiting=100, retry_reads=False, refuses=False)
    machine.call(
        lambda numbers, _: machine.client.execute("SET", numbers[0]), 1, reads=False, own=None
    )
    machine.settle()
    wire = machine.loop.wire
    assert wire is not None
    assert list(wire.asked) == [[b"SET", b"n1"]]
    assert pack_words(("SET", "n1")).endswith(b"n1\r\n")
    machine.serve(count=1, refusal=b"", size=100, settle=True)
    assert machine.callers == []
    machine.teardown()
